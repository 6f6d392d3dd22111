//! A foreign Postgres: the test server itself, another database.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgPool};

use super::{die_after, exposed, ingest, ingest_after, pulled, scores, with_source};
use crate::support::{Installation, database};

/// A table of somebody else's with so many rows, two of the same instant each.
async fn foreign(rows: i64) -> (String, PgPool) {
    let url = database().await;
    let pool = PgPool::connect(&url).await.expect("the database answers");
    let table =
        "create table result (study numeric primary key, at timestamptz not null, changed_at timestamptz not null,
        effusion numeric, nodule double precision, site text, raw jsonb)";
    sqlx::query(table).execute(&pool).await.expect("a table");
    insert(&pool, 0, rows).await;
    (url, pool)
}

async fn insert(pool: &PgPool, from: i64, to: i64) {
    let rows = "insert into result select 12345678901234567890000 + n, '2025-03-01 08:00+01'::timestamptz + n * interval '1 second',
        '2025-03-01 10:00+01'::timestamptz + n / 2 * interval '1 second', n / 1000000.0, 0.1::float8 + 0.2::float8, 'north', '{\"a\": [1]}'
        from generate_series($1::bigint, $2::bigint - 1) n";
    sqlx::query(rows).bind(from).bind(to).execute(pool).await.expect("rows");
}

fn source(url: &str, more: &str) -> String {
    with_source(&format!(
        "kind = \"sql\"\nurl = \"{url}\"\nquery = \"select * from result where changed_at >= $1::timestamptz -- all of it\"\n\
        cursor = \"changed_at\"\nstart = \"2000-01-01\"\n{more}"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_exactly_page_by_page_and_what_comes_late_is_found_by_the_overlap() {
    let (url, foreign) = foreign(25).await;
    let installation =
        Installation::new(&source(&url, "rows = 3\noverlap = \"1h\"\nevery = \"1m\""), "2025-03-02T00:00:00Z").await;
    ingest(&installation).await;
    assert_eq!(installation.count("prediction").await, 25);
    let (at, nodule, case): (chrono::DateTime<chrono::Utc>, f64, i64) =
        sqlx::query_as("select min(occurred_at), min(scores[2]), count(distinct case_id) from prediction")
            .fetch_one(&installation.pool().await)
            .await
            .expect("a row");
    assert_eq!((at, nodule, case), (crate::support::at("2025-03-01T07:00:00Z"), 0.1 + 0.2, 25), "every digit counts");
    assert_eq!(installation.count("rejection").await, 0);

    // Nothing new: no batch is written, however often it is looked.
    let batches = installation.count("batch").await;
    ingest_after(&installation, 61).await;
    ingest_after(&installation, 61).await;
    let repeated = installation.count("batch").await - batches;
    ingest_after(&installation, 61).await;
    assert_eq!(installation.count("prediction").await, 25);
    assert!(repeated > 0, "an overlap of many pages is read again");

    // A row that commits late, with an earlier time than the newest.
    let late = "insert into result values (7, '2025-03-01 07:30+01', '2025-03-01 09:40+01', 0.5, 0.5, 'south', null)";
    sqlx::query(late).execute(&foreign).await.expect("a row");
    ingest_after(&installation, 30).await;
    assert_eq!(installation.count("prediction").await, 25, "not before its time: every minute");
    ingest_after(&installation, 31).await;
    assert_eq!(installation.count("prediction").await, 26);

    let exposed = exposed(&installation).await;
    let newest = crate::support::at("2025-03-01T07:00:24Z").timestamp();
    assert!(exposed.contains("dosimeter_source_failing{source=\"upstream\"} 0"), "{exposed}");
    assert!(exposed.contains(&format!("newest_record_timestamp_seconds{{source=\"upstream\"}} {newest}")), "{exposed}");
    assert!(
        exposed.contains("dosimeter_source_failures_total{source=\"upstream\",reason=\"unreachable\"} 0"),
        "{exposed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_same_as_last_time_makes_no_batch() {
    let (url, _foreign) = foreign(25).await;
    let installation = Installation::new(&source(&url, "overlap = \"1h\""), "2025-03-02T00:00:00Z").await;
    ingest(&installation).await;
    let batches = installation.count("batch").await;
    for _ in 0..3 {
        ingest_after(&installation, 61).await;
    }
    // The second reading starts elsewhere than the first did; from then on nothing changes.
    assert!(installation.count("batch").await <= batches + 1, "a source that is quiet costs nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backend_and_a_killed_daemon_lose_nothing_and_double_nothing() {
    let (url, foreign) = foreign(400).await;
    // Slow enough to be caught in the middle.
    let slow = "select *, (pg_sleep(0.001) is null)::text as nothing from result where changed_at >= $1::timestamptz";
    let config = source(&url, "rows = 20")
        .replace("select * from result where changed_at >= $1::timestamptz -- all of it", slow);
    let installation = Installation::new(&config, "2025-03-02T00:00:00Z").await;
    let mut deaths = 0;
    for part in 1..=3 {
        die_after(&installation, part * 40).await;
        deaths += 1;
    }
    // Now it is the other side that dies, once the backends of the dead readers are gone.
    let readers = "from pg_stat_activity where datname = current_database() and application_name = 'dosimeter'
        and query like '%nothing%'";
    let count = async |query: String| -> i64 {
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&foreign).await.expect("a count")
    };
    while count(format!("select count(*) {readers}")).await > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let killer = async {
        loop {
            let killed = count(format!("select count(pg_terminate_backend(pid)) {readers} and state = 'active'")).await;
            if killed > 0 {
                return killed;
            }
            tokio::task::yield_now().await;
        }
    };
    let context = installation.context();
    let (killed, outcome) = tokio::join!(killer, dosimeter::job::Job::Ingest.run(&context));
    assert_eq!(killed, 1);
    assert_ne!(outcome, dosimeter::runtime::Outcome::Failed, "a source that fails does not fail the job");
    let state = pulled(&installation).await;
    assert_eq!((state.reason.as_deref(), state.attempts), (Some("unreachable"), 1), "{state:?}");
    let before = installation.count("prediction").await;
    assert!(before < 400, "it was in the middle");
    ingest_after(&installation, 1).await;
    assert_eq!(installation.count("prediction").await, before, "it is left alone at first");
    for _ in 0..20 {
        ingest_after(&installation, 61).await;
    }
    let scores = scores(&installation).await;
    assert_eq!((scores.len(), scores.values().max()), (400, Some(&1)), "each once after {deaths} deaths");
    assert_eq!(installation.count("rejection").await, 0);
    let state = pulled(&installation).await;
    assert_eq!((state.reason, state.attempts), (None, 0));
    let exposed = exposed(&installation).await;
    assert!(
        exposed.contains("dosimeter_source_failures_total{source=\"upstream\",reason=\"unreachable\"} 1"),
        "{exposed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_cursors_too_and_a_rate_is_kept() {
    let (url, _foreign) = foreign(50).await;
    let config = source(&url, "rows = 10\noverlap = \"5\"\nrows_per_second = 1")
        .replace("cursor = \"changed_at\"", "cursor = \"study\"")
        .replace("start = \"2000-01-01\"", "start = \"0\"")
        .replace("changed_at >= $1::timestamptz", "study > $1::numeric");
    let installation = Installation::new(&config, "2025-03-02T00:00:00Z").await;
    ingest(&installation).await;
    assert_eq!(installation.count("prediction").await, 50, "a minute's worth at once");
    let (url, _foreign) = foreign_more(150).await;
    let installation = Installation::new(&config_of(&config, &url), "2025-03-02T00:00:00Z").await;
    ingest(&installation).await;
    assert_eq!(installation.count("prediction").await, 70);
    ingest_after(&installation, 5).await;
    assert_eq!(installation.count("prediction").await, 70, "a row a second is what the plan allows");
    ingest_after(&installation, 30).await;
    assert_eq!(installation.count("prediction").await, 100);
    for _ in 0..5 {
        ingest_after(&installation, 60).await;
    }
    assert_eq!(installation.count("prediction").await, 150);
}

async fn foreign_more(rows: i64) -> (String, PgPool) {
    foreign(rows).await
}

fn config_of(config: &str, url: &str) -> String {
    config
        .lines()
        .map(|line| if line.starts_with("url = ") { format!("url = \"{url}\"") } else { line.to_owned() })
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_with_its_remedy_and_nothing_is_ever_written() {
    let (url, foreign) = foreign(3).await;
    let fails = async |config: String| {
        let installation = Installation::new(&config, "2025-03-02T00:00:00Z").await;
        ingest(&installation).await;
        let state = pulled(&installation).await;
        (state.reason.expect("a reason"), state.message.expect("a message"))
    };
    let uncast = source(&url, "").replace("$1::timestamptz", "$1");
    let (reason, message) = fails(uncast).await;
    assert_eq!(reason, "misconfigured");
    assert!(message.contains("cast it: $1::timestamptz"), "{message}");
    let (_, message) = fails(source(&url, "").replace("cursor = \"changed_at\"", "cursor = \"changed\"")).await;
    assert!(message.contains("gives no column \"changed\""), "{message}");
    let (_, message) = fails(source(&url, "overlap = \"5\"")).await;
    assert!(message.contains("\"1000\" one that is a number"), "{message}");
    let function = "create function gone() returns timestamptz language plpgsql as
        'begin delete from result; return ''2000-01-01''; end'";
    sqlx::query(function).execute(&foreign).await.expect("a function");
    let (reason, message) = fails(source(&url, "").replace("$1::timestamptz", "gone() and $1 <> ''")).await;
    assert_eq!(reason, "misconfigured");
    assert!(message.contains("a source only reads"), "{message}");
    let left: i64 = sqlx::query_scalar("select count(*) from result").fetch_one(&foreign).await.expect("a count");
    assert_eq!(left, 3);
    let (reason, message) = fails(
        source(&url, "timeout = \"200ms\"").replace("changed_at >= ", "pg_sleep(2) is not null and changed_at >= "),
    )
    .await;
    assert!(["server", "timed-out"].contains(&reason.as_str()) && message.contains("timeout"), "{reason}: {message}");
    let nobody = format!("postgres://dosimeter@127.0.0.1:{}/x", crate::support::free_port());
    let (reason, _) = fails(source(&nobody, "")).await;
    assert_eq!(reason, "unreachable");
}
