//! The store: the only SQL. One file per table family; a private Postgres beside it.
//!
//! Must never: decide anything about models or alerts. Statements are named after their functions.
//! Look next at `intake::Store::commit_batch`, the transaction that everything else depends on.

pub mod alarm;
pub mod alert;
pub mod anchor;
mod attempt;
pub mod audit;
pub mod batch;
pub mod browse;
pub mod bundle;
pub mod catalog;
pub mod contract;
pub mod contradiction;
mod copy;
pub mod cursor;
pub mod estimate;
pub mod erasure;
pub mod event;
mod few;
pub mod file;
pub mod health;
pub mod identifier;
pub mod intake;
pub mod key;
pub mod leaf;
pub mod lease;
pub mod ledger;
mod link;
pub mod look;
mod meet;
pub mod outbox;
pub mod overview;
pub mod pin;
pub mod plan;
pub mod proof;
pub mod reference;
pub mod rejection;
pub mod replay;
pub mod retention;
pub mod role;
pub mod rows;
pub mod schema;
pub mod seal;
pub mod series;
pub mod server;
pub mod silence;
pub mod status;
pub mod stream;
pub mod stream_check;
pub mod summary;
pub mod token;
pub mod tomb;
mod weigh;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};

use crate::vault::Ring;

/// Clocks of replicas may differ by so much; an instant further ahead is that of a clock that has been set back since.
const CLOCK_SKEW: std::time::Duration = std::time::Duration::from_secs(60);

/// What goes wrong between us and Postgres, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server cannot be reached or broke off: try again later.
    #[error("Postgres cannot be reached; is it running, and is its address right (database.url, DATABASE_URL)?")]
    Unreachable(#[source] sqlx::Error),
    /// A statement failed: a defect, or somebody changed the schema.
    #[error("the statement {statement} failed")]
    Statement {
        /// Name of the statement.
        statement: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The schema cannot be brought up to date.
    #[error("the schema cannot be brought up to date; was the database written by a later release?")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// A stored value cannot be read.
    #[error("corrupt row in {table}.{column}, {row}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// Which row.
        row: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process has taken over the job.
    #[error("the lease {0} was taken over by another process")]
    LeaseLost(String),
    /// Another process has taken up a plan that folds a model into another shape.
    #[error("model {0} has another shape in the plan that is in force now; take the configuration up again (SIGHUP)")]
    PlanChanged(String),
    /// Another reference has come into force, and a model's embeddings are seen through it.
    #[error("another reference of model {0} is in force now; its buckets are folded again by themselves")]
    ReferenceChanged(String),
    /// Something that the caller named does not exist or is in the wrong state.
    #[error("{0}")]
    Refused(String),
    /// What the caller named does not exist.
    #[error("{0}")]
    Missing(String),
    /// Somebody else was there first: what it is now.
    #[error("{0}")]
    Conflict(String),
}

/// A result of the store.
pub type Result<T> = std::result::Result<T, Error>;

/// Name the statement that failed.
trait Named<T> {
    fn named(self, statement: &'static str) -> Result<T>;
}

impl<T> Named<T> for std::result::Result<T, sqlx::Error> {
    fn named(self, statement: &'static str) -> Result<T> {
        self.map_err(|source| match source {
            sqlx::Error::Io(_)
            | sqlx::Error::BeginFailed
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Tls(_) => Error::Unreachable(source),
            sqlx::Error::Database(error) if error.code().is_some_and(|code| is_passing(&code)) => {
                Error::Unreachable(sqlx::Error::Database(error))
            }
            // A text with a NUL, which Postgres has no way to keep.
            sqlx::Error::Database(error) if error.code().as_deref() == Some("22021") => Error::Refused(
                "a text holds a character that the database cannot keep (NUL, U+0000); leave it out".to_owned(),
            ),
            source => Error::Statement { statement, source },
        })
    }
}

/// Whether a state that Postgres reports (SQLSTATE) passes by itself: connections that break, resources that run out, a server
/// that stops, starts or takes no connections, and transactions that gave way to others.
fn is_passing(code: &str) -> bool {
    ["08", "40", "53", "57P", "55000"].iter().any(|class| code.starts_with(class))
}

/// Wait on a connection until the server lets itself be written to: a restored one first replays its log, and from the beginning again if
/// it is stopped meanwhile.
async fn await_writable(mut connection: PgConnection) -> Result<()> {
    let mut waited = 0;
    while sqlx::query_scalar("select pg_is_in_recovery()")
        .fetch_one(&mut connection)
        .await
        .map_err(Error::Unreachable)?
    {
        if waited % 30 == 0 {
            tracing::warn!("the server can only be read: it replays its log, or is the standby of another; waiting");
        }
        waited += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    connection.close().await.map_err(Error::Unreachable)
}

/// A pool of connections to one database.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
    references: Arc<Mutex<HashMap<i32, Arc<reference::Baseline>>>>,
    /// What encrypts identifiers and refused records; none before anything has been taken in.
    ring: Option<Ring>,
    /// What hides whose rows are gone.
    tombs: tomb::TombKey,
    /// Whether the connections work as an ordinary role.
    is_confined: bool,
}

impl Store {
    /// Connect to a server.
    ///
    /// # Errors
    /// When the address is malformed or nobody answers within ten seconds. It waits for a server that can only be read.
    pub async fn connect(url: &str, max_connections: u32) -> Result<Self> {
        let options: PgConnectOptions = url.parse().map_err(Error::Unreachable)?;
        // Statements here are short: compiling them takes longer than running them.
        let settings = [("timezone", "UTC"), ("synchronous_commit", "on"), ("jit", "off")];
        let options = options.application_name("dosimeter").options(settings);
        // A pool only says that it timed out; a single connection says why.
        let attempt = tokio::time::timeout(Duration::from_secs(10), options.connect()).await;
        let attempt = attempt.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut)).map_err(Error::Unreachable)?;
        await_writable(attempt).await?;
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options)
            .await
            .map_err(Error::Unreachable)?;
        Ok(Self::over(pool))
    }

    /// A store over an existing pool.
    #[must_use]
    pub fn over(pool: PgPool) -> Self {
        Self { pool, references: Arc::default(), ring: None, tombs: tomb::TombKey::default(), is_confined: false }
    }

    /// The same store with a ring of keys.
    #[must_use]
    pub fn with_ring(self, ring: Option<Ring>) -> Self {
        Self { ring, ..self }
    }

    /// The ring of keys.
    #[must_use]
    pub fn ring(&self) -> Option<&Ring> {
        self.ring.as_ref()
    }

    /// Whether the server answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query!("select 1 as one").fetch_one(&self.pool).await.named("ping")?;
        Ok(())
    }

    /// Let go of all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A named transaction.
type Transaction = sqlx::Transaction<'static, sqlx::Postgres>;

impl Store {
    async fn begin(&self) -> Result<Transaction> {
        self.pool.begin().await.named("begin")
    }

    /// A transaction that sees one instant of the database throughout.
    async fn snapshot(&self) -> Result<Transaction> {
        let mut transaction = self.begin().await?;
        sqlx::query("set transaction isolation level repeatable read, read only")
            .execute(&mut *transaction)
            .await
            .named("snapshot")?;
        Ok(transaction)
    }
}

/// Make a database anew on a server and return its address. Whatever it held is gone.
///
/// # Errors
/// When the address is malformed or the user may not make databases.
pub async fn fresh_database(url: &str, name: &str) -> Result<String> {
    let options: PgConnectOptions = url.parse().map_err(Error::Unreachable)?;
    let mut connection = options.connect().await.map_err(Error::Unreachable)?;
    // The name is ours, not a user's.
    for statement in [format!("drop database if exists {name} with (force)"), format!("create database {name}")] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.named("fresh_database")?;
    }
    connection.close().await.named("fresh_database")?;
    Ok(options.database(name).to_url_lossy().to_string())
}
