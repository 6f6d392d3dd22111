//! The record: a change to any covered row is found and named, whoever made it; what is appended by two at once has no gap.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use dosimeter::chain::from_hex;
use dosimeter::job::Job;
use dosimeter::job::anchor::{anchor, line};
use dosimeter::job::refold::check_summaries;
use dosimeter::person::Person;
use dosimeter::reference::{Maker, freeze};
use dosimeter::runtime::Outcome;
use dosimeter::store::alert::HumanStep;
use dosimeter::store::audit::AuditFilter;
use dosimeter::store::replay::NewReplay;
use dosimeter::store::role::{APPLICATION, Rights, TABLES};
use dosimeter::store::seal::RELATIONS;
use dosimeter::store::token::NewToken;
use dosimeter::verify::{Anchor, Depth, Report, anchors, verify, verify_against};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sqlx::{AssertSqlSafe, PgPool};

use crate::support::{Installation, SMALL, at, database, give_away, window};

const WATCH: &str = r#"
[[model.watch]]
name = "sensitivity"
measure = "sensitivity"
output = "effusion"
threshold = 0.5
limit = 0.95
unit = "case"
weekends = "alike"
maturity = "1d"

[[model.alert]]
name = "auroc-low"
metric = "auroc"
slice = "site=*"
window = "7d"
below = 0.75

[[source]]
name = "predictions""#;

fn config() -> String {
    let plan = SMALL.replacen("[[source]]\nname = \"predictions\"", WATCH.trim_start(), 1);
    plan + "\n[notify]\nto = [\"on-call@hospital.example\"]\nfrom = \"dosimeter@hospital.example\"\ndirectory = \"emails\"\n\
            \n[audit]\nanchor_file = \"anchors\"\nanchor_routes = [\"default\"]\n"
}

/// A fortnight around the end of a month: estimates, sealed days, evidence with an alarm, alerts that people were told of and took
/// up, a reference, a silence, tokens, anchors.
async fn lived_in() -> Installation {
    let installation = Installation::new(&config(), "2025-01-24T23:00:00Z").await;
    let store = installation.context().store;
    for day in ["25", "26", "27", "28", "29", "30", "31"].iter().map(|day| format!("2025-01-{day}")) {
        crate::alerting::write_day(&installation, &day);
        installation.hand.turn_to(at(&format!("{day}T23:00:00Z")));
        Box::pin(installation.pass()).await;
    }
    let context = installation.context();
    let maker = Maker { model: "chest-xray", version: None, person: "Dr Example", reason: "accepted" };
    let (reference, _) =
        Box::pin(freeze(&context, &maker, window("2025-01-25", "2025-01-29"))).await.expect("a reference");
    let now = context.clock.now();
    store.approve_reference(reference, "Dr Example", "read", now).await.expect("approved");
    for day in ["01", "02", "03"].iter().map(|day| format!("2025-02-{day}")) {
        crate::alerting::write_day(&installation, &day);
        installation.hand.turn_to(at(&format!("{day}T23:00:00Z")));
        Box::pin(installation.pass()).await;
    }
    let now = context.clock.now();
    let open = store.list_open_alerts().await.expect("alerts");
    let firing: Vec<i64> = open.iter().filter(|alert| alert.shown() == "firing").map(|alert| alert.alert_id).collect();
    assert!(firing.len() >= 2, "{open:?}");
    store.step_alert(firing[0], HumanStep::Acknowledge, "Dr Example", "seen", now).await.expect("taken up");
    store.step_alert(firing[1], HumanStep::Resolve, "Dr Example", "mended", now).await.expect("closed");
    let until = at("2025-03-01");
    for _ in 0..2 {
        store.silence_alert(firing[0], until, "Dr Example", "a new scanner", now).await.expect("a silence");
    }
    store.end_silence(1, "Dr Example", "it is well again", now).await.expect("ended");
    for (name, role) in [("ris", "ingest"), ("auditor", "audit"), ("old", "read")] {
        let roles = vec![dosimeter::access::Role::parse(role).expect("a role")];
        let token = NewToken { name: name.into(), roles, models: None, expires_at: None };
        store
            .create_token(&token, &format!("a secret of {name}"), ["Dr Example", "needed"], now)
            .await
            .expect("a token");
    }
    store.rotate_token(1, "another secret", until, ["Dr Example", "yearly"], now).await.expect("rotated");
    let lease =
        store.take_lease("replay", "a test", std::time::Duration::from_secs(60)).await.expect("free").expect("free");
    for verdict in ["agrees", "differs", "agrees"] {
        let replay = NewReplay { estimate_id: 1, verdict, words: String::new() };
        store.add_replays(&lease, &[replay], now).await.expect("noted");
    }
    store.revoke_token(3, ["Dr Example", "left"], now).await.expect("revoked");
    Box::pin(installation.pass()).await;
    installation
}

fn said(report: &Report) -> Vec<String> {
    report.breaches.iter().map(|breach| format!("{}, {}: {}", breach.relation, breach.row, breach.what)).collect()
}

async fn run(pool: &PgPool, statement: &str) -> Result<u64, sqlx::Error> {
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(pool).await.map(|done| done.rows_affected())
}

async fn texts(pool: &PgPool, query: &str) -> Vec<String> {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
        .fetch_all(pool)
        .await
        .unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// A superuser's hands on the database, without foreign keys in the way.
async fn superuser(installation: &Installation) -> PgPool {
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(1);
    let pool = options.connect(&installation.url).await.expect("the database answers");
    run(&pool, "set session_replication_role = replica").await.expect("a superuser");
    pool
}

/// What is covered: every sealed column, the chains, and the states that follow from something.
fn covered() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut tables: Vec<(&str, Vec<&str>)> = RELATIONS
        .iter()
        .map(|relation| {
            (relation.name, relation.columns.iter().map(|(column, _)| *column).chain(["seal_id"]).collect())
        })
        .collect();
    tables.push((
        "audit",
        vec!["audit_id", "at", "written_at", "actor", "action", "subject", "reason", "detail", "previous_hash", "hash"],
    ));
    tables.push(("seal", vec!["number", "seal_id", "relation", "leaves", "sealed_at", "previous_hash", "hash"]));
    tables.push((
        "batch",
        vec![
            "batch_id",
            "source",
            "origin",
            "committed_at",
            "accepted",
            "parts",
            "rows_digest",
            "previous_hash",
            "hash",
        ],
    ));
    tables.push((
        "prediction",
        vec!["case_id", "record_id", "version_id", "occurred_at", "attributes", "batch_id", "salt"],
    ));
    tables.push((
        "assertion",
        vec![
            "case_id",
            "record_id",
            "truth_id",
            "opinion",
            "source",
            "reader",
            "status",
            "observed_at",
            "batch_id",
            "salt",
        ],
    ));
    let states: [(&str, &[&str]); 10] = [
        ("_sqlx_migrations", &["version", "checksum"]),
        ("installation", &["installation_id", "identity_fingerprint", "link_key"]),
        ("model", &["fold_digest"]),
        ("current_estimate", &["estimate_id", "input_digest"]),
        (
            "alert",
            &["severity", "state", "breached", "since", "fired_at", "told_at", "escalation", "muted_by", "closed_at"],
        ),
        ("reference", &["approved_at", "approved_by", "approval_reason"]),
        ("silence", &["ended_at", "ended_by", "ended_reason"]),
        ("token", &["hash", "rotated_at", "revoked_at", "revoked_by", "revoked_reason"]),
        ("outbox", &["sent_at", "route", "channel", "recipient", "report"]),
        ("evidence", &["alert_id"]),
    ];
    tables.extend(states.map(|(table, columns)| (table, columns.to_vec())));
    tables
}

/// Another value of a column, whatever it is.
fn other(column: &str, kind: &str) -> String {
    match kind {
        "boolean" => format!("not {column}"),
        "bigint" | "integer" => format!("coalesce({column}, 0) + 1"),
        "double precision" => format!("{column} + 0.5"),
        "timestamp with time zone" => format!("coalesce({column}, '2025-01-01') + interval '1 second'"),
        "bytea" => format!("overlay({column} placing decode('55aa', 'hex') from octet_length({column}) - 1)"),
        "json" | "jsonb" => "'{\"altered\": 1}'".to_owned(),
        "ARRAY" => "array['admin']".to_owned(),
        _ => format!("coalesce({column}, '') || 'x'"),
    }
}

/// One way of bending a table: the statement, and what names the row that has to be found.
async fn tamper(rng: &mut ChaCha8Rng, pool: &PgPool, table: &str, columns: &[&str]) -> Option<String> {
    let rows = texts(pool, &format!("select ctid::text from {table} order by ctid")).await;
    let pick = |rng: &mut ChaCha8Rng| rows[rng.random_range(0..rows.len())].clone();
    if rows.is_empty() {
        return None;
    }
    let is_whole = columns.contains(&"seal_id") || ["audit", "batch", "prediction", "assertion"].contains(&table);
    let column = columns[rng.random_range(0..columns.len())];
    let kind = texts(
        pool,
        &format!(
            "select data_type from information_schema.columns where table_name = '{table}' and column_name = '{column}'"
        ),
    )
    .await
    .remove(0);
    let (done, how) = match if is_whole { rng.random_range(0..5) } else { 0 } {
        0 | 1 => {
            let row = pick(rng);
            let change = format!("update {table} set {column} = {} where ctid = '{row}'", other(column, &kind));
            (run(pool, &change).await, format!("{column} of a row of {table} altered"))
        }
        2 => (
            run(pool, &format!("delete from {table} where ctid = '{}'", pick(rng))).await,
            format!("a row of {table} deleted"),
        ),
        3 => {
            // A copy under another key.
            let key = columns[0];
            let names = texts(
                pool,
                &format!("select column_name::text from information_schema.columns where table_name = '{table}'"),
            )
            .await;
            let other = if key == "case_id" { "case_id || 'x'".to_owned() } else { format!("{key} + 100000") };
            let values: Vec<String> =
                names.iter().map(|name| if name == key { other.clone() } else { name.clone() }).collect();
            let copy = format!(
                "insert into {table} ({}) overriding system value select {} from {table} where ctid = '{}'",
                names.join(", "),
                values.join(", "),
                pick(rng)
            );
            (run(pool, &copy).await, format!("a row put into {table}"))
        }
        _ => {
            let (first, second) = (pick(rng), pick(rng));
            let swap = format!(
                "update {table} t set {column} = o.{column} from {table} o
                where (t.ctid, o.ctid) in (('{first}', '{second}'), ('{second}', '{first}'))
                    and t.{column}::text is distinct from o.{column}::text"
            );
            (run(pool, &swap).await, format!("{column} of two rows of {table} swapped"))
        }
    };
    // What a constraint refuses, or what changes nothing, is no tamper.
    done.is_ok_and(|rows| rows > 0).then_some(how)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_random_tampers_are_all_found_and_named() {
    let installation = Box::pin(lived_in()).await;
    let (store, pool) = (installation.context().store, superuser(&installation).await);
    let clean = verify(&store, Depth::Full).await.expect("a report");
    assert_eq!(said(&clean), Vec::<String>::new());
    let covered = covered();
    let unused: Vec<&str> =
        covered.iter().map(|(table, _)| *table).filter(|table| clean.checked.get(table) == Some(&0)).collect();
    assert_eq!(unused, Vec::<&str>::new(), "the installation has rows of every table: {:?}", clean.checked);
    let (mut rng, mut tampers, mut tables, mut attempts) =
        (ChaCha8Rng::seed_from_u64(20_261_127), 0, BTreeSet::new(), 0);
    while tampers < 100 {
        attempts += 1;
        assert!(attempts < 1000, "most tampers can be made");
        let (table, columns) = &covered[rng.random_range(0..covered.len())];
        run(&pool, &format!("create temporary table kept as table {table}")).await.expect("a copy");
        if let Some(how) = tamper(&mut rng, &pool, table, columns).await {
            let report = verify(&store, Depth::Full).await.expect("a report");
            let names_it = report.breaches.iter().any(|breach| breach.relation == *table && !breach.row.is_empty());
            assert!(names_it, "{how}: {:?}", said(&report));
            tampers += 1;
            tables.insert(*table);
        }
        run(&pool, &format!("delete from {table}")).await.expect("emptied");
        run(&pool, &format!("insert into {table} overriding system value select * from kept")).await.expect("restored");
        run(&pool, "drop table kept").await.expect("dropped");
    }
    assert!(tables.len() > 12, "of many tables: {tables:?}");
    assert_eq!(verify(&store, Depth::Full).await.expect("a report"), clean, "all of it is undone");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_tamper_is_named_for_what_it_is() {
    let installation = Box::pin(lived_in()).await;
    let (context, pool) = (installation.context(), superuser(&installation).await);
    let store = &context.store;
    let found = async |statement: &str| {
        for table in ["audit", "seal", "estimate", "chain_head"] {
            run(&pool, &format!("create temporary table kept_{table} as table {table}")).await.expect("a copy");
        }
        assert!(run(&pool, statement).await.expect("the statement is sound") > 0, "{statement}");
        let anchored =
            anchors(&std::fs::read_to_string(installation.path("anchors")).expect("anchors")).expect("anchors");
        let report = verify_against(store, Depth::Full, &anchored).await.expect("a report");
        for table in ["audit", "seal", "estimate", "chain_head"] {
            run(&pool, &format!("delete from {table}")).await.expect("emptied");
            run(&pool, &format!("insert into {table} overriding system value select * from kept_{table}"))
                .await
                .expect("restored");
            run(&pool, &format!("drop table kept_{table}")).await.expect("dropped");
        }
        said(&report)
    };
    let altered = found("update estimate set metrics = '[]' where estimate_id = 3").await;
    assert!(
        altered.iter().any(|breach| breach.starts_with("estimate, estimate_id 3: is not what seal_id")),
        "{altered:?}"
    );
    let deleted = found("delete from estimate where estimate_id = 3").await;
    assert!(
        deleted.iter().any(|breach| breach.starts_with("estimate, row") && breach.contains("is missing")),
        "{deleted:?}"
    );
    // Entry 3 is written anew with a hash that fits it: the entry behind it does not fit.
    let rehashed = "update audit set reason = 'another', hash = decode(repeat('ab', 32), 'hex') where audit_id = 3";
    let rehashed = found(rehashed).await;
    assert!(
        rehashed.contains(&"audit, audit_id 3: is not what the link behind it, 4, was chained to".to_owned()),
        "{rehashed:?}"
    );
    // The tail is cut off, and the head with it: what was kept outside says so.
    let cut = "with gone as (delete from audit where audit_id > (select max(audit_id) from audit where action = 'anchored') - 2)
        update chain_head set (number, hash) = (select audit_id, hash from audit
            where audit_id = (select max(audit_id) from audit where action = 'anchored') - 2) where chain = 'acts'";
    let cut = found(cut).await;
    assert!(
        cut.iter().any(|breach| breach.starts_with("audit, audit_id") && breach.ends_with("an anchor has seen it")),
        "{cut:?}"
    );
    let mut report = verify(store, Depth::Full).await.expect("a report");
    Box::pin(check_summaries(&context, &mut report)).await.expect("folded again");
    assert_eq!(said(&report), Vec::<String>::new());
    assert!(report.checked["summary"] > 100, "{:?}", report.checked);
    // A summary is no link of a chain: it is what its rows make, or it is not.
    let bend = "update summary set body = (select body from summary where slice = 'site=north' limit 1)
        where ctid = (select min(ctid) from summary where slice = 'site=south')";
    assert_eq!(run(&pool, bend).await.expect("altered"), 1);
    Box::pin(check_summaries(&context, &mut report)).await.expect("folded again");
    assert_eq!(report.breaches.len(), 1, "{:?}", said(&report));
    assert!(
        report.breaches[0].row.contains("slice site=south") && report.breaches[0].what == "is not what its rows make"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_anchors_outside_verifies_and_tells_of_a_breach() {
    let installation = Installation::new(&config(), "2025-01-24T23:00:00Z").await;
    let (context, pool) = (installation.context(), superuser(&installation).await);
    Box::pin(installation.pass()).await;
    assert_eq!(context.store.record_status().await.expect("a status").verified, None, "it is not due yet");
    installation.hand.turn_to(at("2025-01-25T23:00:00Z"));
    Box::pin(installation.pass()).await;
    let status = context.store.record_status().await.expect("a status");
    assert_eq!(status.anchored_at, Some(at("2025-01-25T23:00:00Z")));
    assert_eq!(status.verified, Some((at("2025-01-25T23:00:00Z"), 0)));
    let entry = context.store.last_act("anchored").await.expect("an answer").expect("an entry");
    let text = std::fs::read_to_string(installation.path("anchors")).expect("the file");
    assert_eq!(text, line(&context.catalog.installation, &entry) + "\n");
    let hash = from_hex(&entry.hash).expect("a hash");
    assert_eq!(anchors(&text), Ok(vec![Anchor { audit_id: entry.audit_id, hash }]));
    // A person's anchor is in the file at the next tick, and a last line that was cut off is an error that names the file.
    let person = Person::new("Dr Example", "before the audit").expect("a person");
    let [actor, reason] = person.said();
    anchor(&context, None, (actor, reason)).await.expect("anchored");
    assert_eq!(Job::Anchor.run(&context).await, Outcome::Done);
    let text = std::fs::read_to_string(installation.path("anchors")).expect("the file");
    assert_eq!(anchors(&text).map(|anchors| anchors.len()), Ok(2));
    std::fs::write(installation.path("anchors"), &text[..text.len() - 30]).expect("written");
    assert_eq!(Job::Anchor.run(&context).await, Outcome::Failed);
    std::fs::write(installation.path("anchors"), text).expect("written");
    let subjects = "select report->>'subject' from outbox order by outbox_id";
    assert_eq!(texts(&pool, subjects).await.len(), 2, "each anchor was sent");
    run(&pool, "update audit set actor = 'nobody' where audit_id = 1").await.expect("altered");
    installation.hand.turn_to(at("2025-01-26T23:00:00Z"));
    Box::pin(installation.pass()).await;
    let (_, breaches) = context.store.record_status().await.expect("a status").verified.expect("verified");
    assert_eq!(breaches, 1);
    let told = texts(&pool, subjects).await;
    assert!(told.iter().any(|subject| subject == "[page] the record does not fit together: 1 row(s)"), "{told:?}");
    assert_eq!(Job::Publish.run(&context).await, Outcome::Done);
    assert!(context.exporter.render().expect("metrics").contains("dosimeter_audit_breaches 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_append_at_once_leave_a_chain_without_gap_or_fork() {
    let installation = Installation::new(SMALL, "2025-03-01").await;
    let (first, second) = (installation.context().store, installation.context().store);
    let write = async |store: &dosimeter::store::Store, who: &str| {
        for number in 0..30 {
            let subject = format!("thing {number}");
            store.note(at("2025-03-01"), who, ["tried", &subject, ""], serde_json::json!({})).await.expect("noted");
        }
    };
    tokio::join!(write(&first, "one"), write(&second, "two"));
    let report = verify(&first, Depth::Full).await.expect("a report");
    assert_eq!(said(&report), Vec::<String>::new());
    let filter = AuditFilter { action: Some("tried".into()), ..AuditFilter::default() };
    assert_eq!(first.list_audit(&filter, 100).await.expect("entries").len(), 60);
    assert_eq!(u64::try_from(report.heads["acts"].number).expect("a count"), report.checked["audit"]);
}

/// What the role of the daemon is refused.
async fn refused(pool: &PgPool, statement: &str) -> bool {
    match run(pool, statement).await {
        Err(sqlx::Error::Database(error)) => error.code().is_some_and(|code| code == "42501"),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_may_not_change_what_only_grows() {
    let installation = Installation::new(SMALL, "2025-03-01").await;
    let (store, owner) = (installation.context().store, installation.pool().await);
    assert_eq!(store.works_as().await.expect("a role"), APPLICATION);
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(1);
    let pool = options.connect(&installation.url).await.expect("the database answers");
    let tables = texts(
        &owner,
        "select relname::text from pg_class where relnamespace = 'public'::regnamespace
        and relkind in ('r', 'p') and not relispartition order by 1",
    )
    .await;
    let known: Vec<String> = TABLES.iter().map(|(table, _)| (*table).to_owned()).collect();
    assert_eq!(tables, known, "store::role::TABLES says of every table, in order, what may be done to it");
    run(&pool, "set role dosimeter_application").await.expect("a member");
    let mut allowed = Vec::new();
    for (table, rights) in TABLES {
        let later: &[&str] = match rights {
            Rights::State => continue,
            Rights::Read => &[],
            Rights::Grows(columns) | Rights::Ages(columns) | Rights::Changes(columns) => columns,
        };
        let columns = texts(
            &owner,
            &format!(
                "select column_name::text from information_schema.columns
            where table_name = '{table}' and table_schema = 'public'"
            ),
        )
        .await;
        let mut statements: Vec<String> = columns
            .iter()
            .filter(|column| !later.contains(&column.as_str()))
            .map(|column| format!("update {table} set {column} = default"))
            .collect();
        statements.extend([format!("delete from {table}"), format!("truncate {table}"), format!("drop table {table}")]);
        for statement in statements {
            if !refused(&pool, &statement).await {
                allowed.push(statement);
            }
        }
    }
    assert_eq!(allowed, Vec::<String>::new());
    // Retention removes what ages, and nothing else.
    run(&pool, "set role dosimeter_retention").await.expect("a member");
    for (table, rights) in TABLES.iter().filter(|(_, rights)| *rights != Rights::State) {
        let is_refused = refused(&pool, &format!("delete from {table} where false")).await;
        assert_eq!(is_refused, !matches!(rights, Rights::Ages(_)), "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_owns_nothing_can_run_the_daemon_once_the_owner_has_set_it_up() {
    let url = crate::support::database().await;
    let owner = PgPool::connect(&url).await.expect("the database answers");
    drop(Installation::over(url.clone(), SMALL, "2025-03-01").await);
    let name = url.rsplit('/').next().and_then(|rest| rest.split('?').next()).expect("a name");
    let user = format!("daemon_of_{name}");
    for statement in
        [format!("create role {user} login"), format!("grant dosimeter_application, dosimeter_retention to {user}")]
    {
        run(&owner, &statement).await.expect("the server lets us make roles");
    }
    let options: sqlx::postgres::PgConnectOptions = url.parse().expect("an address");
    let own = sqlx::ConnectOptions::to_url_lossy(&options.username(&user)).to_string();
    let installation = Installation::over(own, SMALL, "2025-03-02").await;
    crate::alerting::write_day(&installation, "2025-03-01");
    installation.hand.turn_to(at("2025-03-03"));
    Box::pin(installation.pass()).await;
    assert!(installation.context().store.latest_estimates().await.expect("estimates").len() > 1);
    let report = verify(&installation.context().store, Depth::Full).await.expect("a report");
    assert_eq!(said(&report), Vec::<String>::new());
    installation.context().store.close().await;
    for statement in [format!("drop owned by {user}"), format!("drop role {user}")] {
        run(&owner, &statement).await.expect("the role is gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_that_is_written_once_is_sealed() {
    // What is set later or changes is checked against what it follows from, or is named as not covered in docs/audit.md.
    let later: [(&str, &[&str]); 7] = [
        ("model", &["bucket", "fold_digest"]),
        ("reference", &["approved_at", "approved_by", "approval_reason"]),
        ("stream", &["looked_until", "ended_at"]),
        ("evidence", &["alert_id"]),
        (
            "alert",
            &[
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
            ],
        ),
        ("silence", &["ended_at", "ended_by", "ended_reason"]),
        (
            "token",
            &[
                "hash",
                "previous_hash",
                "previous_until",
                "rotated_at",
                "last_used_at",
                "revoked_at",
                "revoked_by",
                "revoked_reason",
            ],
        ),
    ];
    let installation = Installation::new(SMALL, "2025-03-01").await;
    let pool = installation.pool().await;
    let mut wrong = String::new();
    for relation in &RELATIONS {
        let columns = format!(
            "select column_name::text from information_schema.columns where table_name = '{}' and table_schema = 'public'",
            relation.name
        );
        let there: BTreeSet<String> = texts(&pool, &columns).await.into_iter().collect();
        let set_later =
            later.iter().filter(|(table, _)| *table == relation.name).flat_map(|(_, columns)| columns.iter());
        let named = relation.columns.iter().map(|(column, _)| column).chain(set_later).chain(&["seal_id"]);
        let named: BTreeSet<String> = named.map(|column| (*column).to_owned()).collect();
        if named != there {
            let _ = writeln!(wrong, "{}: {:?}", relation.name, named.symmetric_difference(&there));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_list_verify_and_anchor_with_codes_for_programs() {
    let (folder, url) = (tempfile::tempdir().expect("a folder"), database().await);
    let config = format!("[service]\ndata_dir = \"data\"\n{SMALL}");
    std::fs::write(folder.path().join("config.toml"), config).expect("a file");
    for inbox in ["predictions", "truth"] {
        std::fs::create_dir(folder.path().join(inbox)).expect("a folder");
    }
    give_away(&[folder.path()]);
    let command = |arguments: &[&str]| crate::identifiers::run(folder.path(), &url, arguments);
    let (_, told) = command(&["import"]);
    assert!(told.contains("there is nothing to read"), "it sets the database up all the same: {told}");
    let made = command(&[
        "token",
        "create",
        "--name",
        "pacs",
        "--role",
        "ingest",
        "--by",
        "Dr Example",
        "--reason",
        "the new gateway",
    ]);
    assert_eq!(made.0, Some(0), "{}", made.1);
    let (code, told) = command(&["audit", "list", "--action", "token", "--actor", "Dr Example"]);
    assert!(code == Some(0) && told.contains("token created") && told.contains("the new gateway"), "{told}");
    assert!(!told.contains("plan adopted"), "{told}");
    let (_, told) = command(&["audit", "list", "--action", "token", "--from", "2100-01-01"]);
    assert!(!told.contains("token created"), "{told}");
    let (code, told) = command(&["audit", "list", "--limit", "1"]);
    assert!(code == Some(0) && told.contains("there may be more: --before"), "{told}");
    let (code, told) = command(&["audit", "list", "--limit", "100", "--format", "json"]);
    assert!(code == Some(0) && told.contains("\"action\": \"token created\""), "{told}");

    let (code, line) = command(&["audit", "anchor", "--by", "Dr Example", "--reason", "before the inspection"]);
    assert_eq!(code, Some(0), "{line}");
    let anchors = folder.path().join("anchors");
    let line = line.lines().find(|line| line.starts_with('{')).expect("an anchor").to_owned();
    std::fs::write(&anchors, format!("{line}\n")).expect("a file");
    let anchor = anchors.to_str().expect("text");
    for depth in [&["audit", "verify", "--anchor", anchor][..], &["audit", "verify", "--full", "--anchor", anchor]] {
        let (code, told) = command(depth);
        assert_eq!(code, Some(0), "{told}");
    }

    // Whoever owns the database can switch the guards off; what has been changed shows.
    let pool = sqlx::PgPool::connect(&url).await.expect("the database answers");
    run(&pool, "update audit set actor = 'nobody' where action = 'token created'").await.expect("the superuser may");
    let (code, told) = command(&["audit", "verify"]);
    assert!(code == Some(1) && told.contains("audit") && told.contains("1 row(s) do not fit"), "{told}");
    let (code, told) = command(&["audit", "verify", "--format", "json"]);
    assert!(code == Some(1) && told.contains("\"breaches\""), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_lists_what_is_asked_for_of_the_trail() {
    let installation = Installation::new(SMALL, "2025-03-01").await;
    let store = installation.context().store;
    for (day, actor, what) in [("01", "Dr A", "alert 1"), ("02", "Dr A", "alert 2"), ("03", "Dr B", "alert 2")] {
        let at = at(&format!("2025-03-{day}T12:00:00Z"));
        store.note(at, actor, ["alert acknowledged", what, "seen"], serde_json::json!({})).await.expect("noted");
    }
    let (_, secret) = crate::http::token(&installation, "auditor", &[dosimeter::access::Role::Audit], None).await;
    let place = format!("http://127.0.0.1:{}/api/v1/audit", crate::lifecycle::serve(&installation).await);
    let client = reqwest::Client::new();
    let list = async |query: &str| -> Vec<String> {
        let request = client.get(format!("{place}?{query}")).bearer_auth(&secret);
        let entries: serde_json::Value = request.send().await.expect("an answer").json().await.expect("a list");
        let entries = entries["items"].as_array().unwrap_or_else(|| panic!("{query}: {entries}")).iter();
        let said = |entry: &serde_json::Value| format!("{} {}", entry["actor"], entry["subject"]).replace('"', "");
        entries.filter(|entry| entry["action"] == "alert acknowledged").map(said).collect()
    };
    assert_eq!(list("action=alert").await, ["Dr B alert 2", "Dr A alert 2", "Dr A alert 1"]);
    assert_eq!(list("actor=Dr%20A").await, ["Dr A alert 2", "Dr A alert 1"]);
    assert_eq!(list("subject=alert%202").await, ["Dr B alert 2", "Dr A alert 2"]);
    assert_eq!(list("from=2025-03-02&to=2025-03-03").await, ["Dr A alert 2"]);
    assert_eq!(list("text=dr%20b").await, ["Dr B alert 2"]);
    assert!(list("action=plan").await.is_empty());
}

/// Not a test: `cargo test --test it -- --ignored --nocapture audit::` prints how fast rows are verified, for docs/audit.md.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn how_fast_a_verification_is() {
    let installation = Box::pin(lived_in()).await;
    let (store, pool) = (installation.context().store, superuser(&installation).await);
    let copy =
        "insert into audit select audit_id, at, written_at, actor, action, subject, reason, detail, previous_hash, hash
        from audit limit 0";
    run(&pool, copy).await.expect("sound");
    for number in 0..10_000 {
        let subject = format!("thing {number}");
        store.note(at("2025-03-01"), "one", ["tried", &subject, "to see"], serde_json::json!({})).await.expect("noted");
    }
    let estimates = store.latest_estimates().await.expect("estimates");
    let lease = store.take_lease("evaluate", "me", std::time::Duration::from_secs(600)).await.expect("a lease");
    let lease = lease.expect("free");
    for _ in 0..200 {
        let of = (estimates[0].version_id, "7d");
        store.publish_estimates(&lease, of, ("s", at("2025-03-01")), &estimates, &[]).await.expect("published");
    }
    for depth in [Depth::Chain, Depth::Full] {
        let began = std::time::Instant::now();
        let report = verify(&store, depth).await.expect("a report");
        println!("{depth:?}: {:?} in {:?}", report.checked, began.elapsed());
    }
}
