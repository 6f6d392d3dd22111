//! Roles of the database: what only grows cannot be changed by the daemon, whatever a defect or a smuggled statement asks for.
//!
//! The owner (whoever migrates) owns the tables. The daemon works as `dosimeter_application`, which may add to the tables that
//! only grow, set the columns that are set later, and change states. What is over age, and persons who are to be forgotten, are
//! removed as `dosimeter_retention`, by the transactions that do that and nothing else. [`TABLES`] says what each may do.
//!
//! Roles belong to the whole server, and several databases may be set up on it at once: whoever finds one made meanwhile goes on.

use sqlx::Executor as _;
use sqlx::postgres::PgPoolOptions;

use super::{Error, Named, Result, Store, Transaction};

/// What the daemon works as.
pub const APPLICATION: &str = "dosimeter_application";
/// What removes what is over age, and persons who are to be forgotten.
pub const RETENTION: &str = "dosimeter_retention";

/// So often the roles are looked at again when somebody else changes them at the same moment.
const TRIES: u32 = 20;

/// What may be done to a table besides reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Nothing.
    Read,
    /// Rows are added; these columns are set later.
    Grows(&'static [&'static str]),
    /// The same, and rows are removed by [`RETENTION`].
    Ages(&'static [&'static str]),
    /// These columns of the rows that there are change.
    Changes(&'static [&'static str]),
    /// A state: everything.
    State,
}

use Rights::{Ages, Changes, Grows, Read, State};

/// What the roles may do to each table.
pub static TABLES: &[(&str, Rights)] = &[
    ("_sqlx_migrations", Read),
    ("alert", Grows(ALERT)),
    ("alert_event", Grows(&[])),
    ("alert_notice", Ages(&[])),
    ("assertion", Ages(&[])),
    ("audit", Grows(&[])),
    ("batch", Grows(&[])),
    ("batch_counter", Changes(&["last_batch", "head", "frozen_before", "gone"])),
    ("chain_head", Changes(&["number", "hash"])),
    ("contract_breach", State),
    ("current_estimate", State),
    ("dirty_bucket", State),
    ("erased_bucket", Grows(&[])),
    ("erased_leaf", Grows(&[])),
    ("erasure", Grows(&[])),
    ("estimate", Grows(&[])),
    ("evaluation", State),
    ("evidence", Grows(&["alert_id"])),
    ("finding", Grows(&[])),
    ("gone_case", Grows(&["erasure_id", "gone_at"])),
    ("health", State),
    ("identifier", Ages(&["key_id", "sealed", "erased_at"])),
    ("inference_event", State),
    ("installation", Changes(&["identity_fingerprint"])),
    ("lease", State),
    ("ledger", Grows(&[])),
    ("model", Grows(&["bucket", "fold_digest"])),
    ("model_version", Grows(&[])),
    ("outbox", Ages(OUTBOX)),
    ("output", Grows(&[])),
    ("pinned_body", Grows(&[])),
    ("pinned_input", Grows(&[])),
    ("pinned_part", Grows(&[])),
    ("pinned_summary", Grows(&[])),
    ("plan", Grows(&[])),
    ("prediction", Ages(&["until_batch"])),
    ("record_key", Ages(&["digest", "batch_id"])),
    ("reference", Grows(&["approved_at", "approved_by", "approval_reason"])),
    ("reference_summary", Grows(&[])),
    (
        "rejection",
        Ages(&[
            "field",
            "reason",
            "message",
            "key_id",
            "record",
            "replayed_at",
            "resolved_at",
            "resolved_by",
            "first_words",
        ]),
    ),
    ("rejections_retired", Grows(&[])),
    ("replay", Grows(&[])),
    ("retired_part", Grows(&[])),
    ("retirement", Grows(&[])),
    ("seal", Grows(&[])),
    ("sealed_day", Grows(&[])),
    ("silence", Grows(&["ended_at", "ended_by", "ended_reason"])),
    ("source_cursor", State),
    ("source_file", State),
    ("source_path", State),
    ("source_pull", State),
    ("stream", Grows(&["looked_until", "ended_at"])),
    ("stream_check", Grows(&[])),
    ("stream_tier", State),
    ("summary", State),
    ("tally", State),
    ("token", Grows(TOKEN)),
];

const ALERT: &[&str] = &[
    "severity",
    "state",
    "breached",
    "since",
    "fired_at",
    "acknowledged_at",
    "missing_since",
    "told_at",
    "unanswered_since",
    "escalation",
    "owed",
    "muted_by",
    "muted_until",
    "closed_at",
];

const OUTBOX: &[&str] =
    &["queued_at", "next_attempt_at", "attempts", "last_error", "set_at", "claimed_by", "sent_at", "dead_at"];

const TOKEN: &[&str] = &[
    "hash",
    "previous_hash",
    "previous_until",
    "rotated_at",
    "last_used_at",
    "revoked_at",
    "revoked_by",
    "revoked_reason",
];

/// How far the connections of a store are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The user of the address.
    pub user: String,
    /// Whether this is a superuser, whom nothing holds.
    pub is_superuser: bool,
    /// Whether the connections work as [`APPLICATION`].
    pub is_confined: bool,
}

impl Rights {
    /// The statements that give them.
    fn grants(self, table: &str) -> Vec<String> {
        let update = |columns: &[&str]| {
            (!columns.is_empty()).then(|| format!("grant update ({}) on {table} to {APPLICATION}", columns.join(", ")))
        };
        let mut grants = vec![format!("grant select on {table} to {APPLICATION}")];
        match self {
            Read => {}
            Grows(columns) | Ages(columns) => {
                grants.push(format!("grant insert on {table} to {APPLICATION}"));
                grants.extend(update(columns));
            }
            Changes(columns) => grants.extend(update(columns)),
            State => grants.push(format!("grant insert, update, delete on {table} to {APPLICATION}")),
        }
        if let Ages(_) = self {
            grants.push(format!("grant delete on {table} to {RETENTION}"));
        }
        grants
    }
}

impl Store {
    /// See that the roles are there and may do what they should; what this user may not do is left to a database administrator
    /// (docs/audit.md). `anew` when the schema has just changed.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn set_up_roles(&self, anew: bool) -> Result<()> {
        for _ in 0..TRIES {
            match self.try_roles().await {
                Err(error) if is_race(&error) => tokio::task::yield_now().await,
                Err(error) if is_denied(&error) => {
                    tracing::debug!(error = %error, "this user may not make roles");
                    break;
                }
                other => {
                    other.named("make_roles")?;
                    break;
                }
            }
        }
        let (are_there, is_owner, has_all): (bool, bool, bool) = sqlx::query_as(
            "select (select count(*) = 2 from pg_roles where rolname in ('dosimeter_application', 'dosimeter_retention')),
                (select bool_and(pg_has_role(current_user, relowner, 'USAGE')) from pg_class
                    where relnamespace = 'public'::regnamespace and relname in ('audit', 'seal')),
                (select bool_and(coalesce(has_table_privilege(r.oid, c.oid, 'SELECT'), false)) from pg_class c
                    left join pg_roles r on r.rolname = 'dosimeter_application'
                    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition)",
        )
        .fetch_one(&self.pool)
        .await
        .named("look_at_roles")?;
        if !are_there || !is_owner || (has_all && !anew) {
            return Ok(());
        }
        self.grant().await
    }

    async fn try_roles(&self) -> std::result::Result<(), sqlx::Error> {
        for role in [APPLICATION, RETENTION] {
            let exists: bool = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
                .bind(role)
                .fetch_one(&self.pool)
                .await?;
            if !exists {
                self.pool.execute(sqlx::AssertSqlSafe(format!("create role {role} nologin"))).await?;
            }
        }
        let (retention, own): (bool, bool) = sqlx::query_as(
            "select pg_has_role('dosimeter_retention', 'dosimeter_application', 'MEMBER'),
                pg_has_role(current_user, 'dosimeter_retention', 'MEMBER')",
        )
        .fetch_one(&self.pool)
        .await?;
        if !retention {
            self.pool.execute("grant dosimeter_application to dosimeter_retention").await?;
        }
        if !own {
            self.pool.execute("grant dosimeter_application, dosimeter_retention to current_user").await?;
        }
        Ok(())
    }

    /// Give each role what it may do, in one transaction.
    async fn grant(&self) -> Result<()> {
        let mut transaction = self.begin().await?;
        // Two daemons may start at once.
        sqlx::query("select pg_advisory_xact_lock(7261002)").execute(&mut *transaction).await.named("lock_grants")?;
        let tables: Vec<String> = sqlx::query_scalar(
            "select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
                and not relispartition order by relname",
        )
        .fetch_all(&mut *transaction)
        .await
        .named("list_tables")?;
        let mut statements = vec![
            format!("grant usage on schema public to {APPLICATION}"),
            format!("grant usage, select on all sequences in schema public to {APPLICATION}"),
            format!("grant execute on function drop_prediction_partition to {RETENTION}"),
        ];
        for table in &tables {
            let known = TABLES.iter().find(|(name, _)| name == table).map(|(_, rights)| *rights);
            statements.push(format!("revoke all on {table} from {APPLICATION}, {RETENTION}"));
            statements.extend(known.unwrap_or(State).grants(table));
        }
        for statement in statements {
            // Names of tables, columns and roles are ours.
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *transaction).await.named("grant")?;
        }
        transaction.commit().await.named("grant")
    }

    /// The same store with connections that work as [`APPLICATION`], if the user of its address may become that; and how far it is held.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn confine(self, max_connections: u32) -> Result<(Self, Standing)> {
        let (user, is_superuser): (String, bool) = sqlx::query_as(
            "select session_user::text, coalesce((select rolsuper from pg_roles where rolname = session_user), false)",
        )
        .fetch_one(&self.pool)
        .await
        .named("who_am_i")?;
        let mut attempt = self.begin().await?;
        let may = sqlx::query("set local role dosimeter_application").execute(&mut *attempt).await;
        let is_confined = match may {
            Ok(_) => true,
            Err(sqlx::Error::Database(error))
                if error.code().is_some_and(|code| code == "42501" || code == "22023") =>
            {
                false
            }
            Err(error) => return Err(error).named("set_role"),
        };
        drop(attempt);
        let standing = Standing { user, is_superuser, is_confined };
        if !is_confined {
            return Ok((self, standing));
        }
        let options = self.pool.connect_options().as_ref().clone();
        self.close().await;
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(std::time::Duration::from_secs(10))
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute("set role dosimeter_application").await.map(drop) })
            })
            .connect_with(options)
            .await
            .map_err(Error::Unreachable)?;
        Ok((Self { pool, is_confined, ..self }, standing))
    }

    /// The role that connections work as.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn works_as(&self) -> Result<String> {
        sqlx::query_scalar("select current_user::text").fetch_one(&self.pool).await.named("works_as")
    }

    /// A transaction that may remove what is over age.
    pub(super) async fn begin_removing(&self) -> Result<Transaction> {
        let mut transaction = self.begin().await?;
        if self.is_confined {
            sqlx::query("set local role dosimeter_retention")
                .execute(&mut *transaction)
                .await
                .named("become_retention")?;
        }
        Ok(transaction)
    }
}

/// Whether somebody else made the same change at the same moment.
fn is_race(error: &sqlx::Error) -> bool {
    // duplicate_object, unique_violation, and "tuple concurrently updated", which has no code of its own.
    matches!(error, sqlx::Error::Database(error) if error.code().is_some_and(|code| ["42710", "23505", "XX000"].contains(&&*code)))
}

fn is_denied(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().is_some_and(|code| code == "42501"))
}
