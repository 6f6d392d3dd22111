//! Sources that are asked again and again, against the real thing: Postgres, HTTP, S3, NATS, each interrupted in the middle.

mod http;
#[cfg(feature = "kafka")]
mod kafka;
mod nats;
mod objects;
mod sql;

use std::collections::BTreeMap;

use dosimeter::app::App;
use dosimeter::job::Job;
use dosimeter::runtime::Outcome;
use dosimeter::store::cursor::Pulled;

use crate::support::{Installation, SMALL};

/// The small model with one source of predictions.
fn with_source(source: &str) -> String {
    let model = SMALL.split("[[source]]").next().expect("the model");
    format!(
        "{model}\n[[source]]\nname = \"upstream\"\n{source}\n\
        columns = {{ case = \"study\", occurred_at = \"at\" }}\nconstants = {{ version = \"1\" }}\n"
    )
}

/// Ask every source whose time has come; the job itself does not fail.
async fn ingest(installation: &Installation) {
    // What a job fails of is in the log; a failed test shows it.
    let _ = tracing_subscriber::fmt().with_test_writer().with_ansi(false).try_init();
    assert_ne!(Job::Ingest.run(&installation.context()).await, Outcome::Failed, "the job goes on");
}

/// Turn the clock by some seconds and ask.
async fn ingest_after(installation: &Installation, seconds: i64) {
    installation.hand.turn_to(installation.context().clock.now() + chrono::TimeDelta::seconds(seconds));
    ingest(installation).await;
}

async fn pulled(installation: &Installation) -> Pulled {
    installation.context().store.list_pulled().await.expect("readable").remove("upstream").expect("it was asked")
}

/// The scores of effusion as they are stored, as text, with how many predictions have each.
async fn scores(installation: &Installation) -> BTreeMap<String, i64> {
    let query = "select scores[1]::text, count(*) from prediction where until_batch is null group by 1";
    let rows: Vec<(String, i64)> = sqlx::query_as(query).fetch_all(&installation.pool().await).await.expect("rows");
    rows.into_iter().collect()
}

async fn exposed(installation: &Installation) -> String {
    assert_eq!(Job::Publish.run(&installation.context()).await, Outcome::Done);
    installation.context().exporter.render().expect("text")
}

/// A daemon of its own, with connections of its own, that is killed as soon as so many predictions are committed.
async fn die_after(installation: &Installation, predictions: i64) {
    let (pool, context) = (installation.pool().await, installation.context());
    let victim = App::start((*context.plan).clone(), context.clock.clone()).await.expect("it starts").context();
    let seen = async {
        loop {
            let count = sqlx::query_scalar("select count(*) from prediction");
            let count: i64 = count.fetch_one(&pool).await.expect("a count");
            if count >= predictions {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = seen => {}
        outcome = Job::Ingest.run(&victim) => panic!("it was over before it could be interrupted: {outcome:?}"),
    }
    // The dead do not give their leases back.
    sqlx::query("update lease set expires_at = '-infinity'").execute(&pool).await.expect("it runs out");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_is_told_of_by_rule_and_list_and_holds_up_no_other() {
    let nobody = crate::support::free_port();
    let failing = with_source(&format!(
        "kind = \"sql\"\nurl = \"postgres://ward:s3cret@127.0.0.1:{nobody}/ris\"\nquery = \"select 1 as n\"\ncursor = \"n\""
    ))
    .replace("stale_source = false", "stale_source = \"usual\"");
    let files = SMALL.split_once("[[source]]").expect("sources").1;
    let installation = Installation::new(&format!("{failing}\n[[source]]{files}"), "2025-03-02").await;
    installation.write("predictions/a.csv", "study,at,effusion\ns1,2025-03-01T08:00:00Z,0.5\n");
    ingest(&installation).await;
    assert_eq!(installation.count("prediction").await, 1, "the files are read");
    let listed = dosimeter::query::sources::list(&installation.context()).await.expect("readable");
    let row = listed.iter().find(|row| row.source == "upstream").expect("listed");
    let told = row.pulled.as_ref().expect("asked").message.clone().expect("a message");
    assert!(told.contains("cannot be reached"), "{told}");
    assert_eq!((row.kind, row.place.contains("127.0.0.1")), ("sql", true));
    assert!(!serde_json::to_string(&listed).expect("text").contains("s3cret"), "no secret is shown");
    assert_ne!(Job::Health.run(&installation.context()).await, Outcome::Failed);
    let rows = installation.context().store.list_health().await.expect("readable");
    let rule = rows.iter().find(|row| row.rule == "stale_source" && row.subject == "upstream").expect("judged");
    assert_eq!(rule.verdict, "broken");
    assert!(rule.reason.contains("cannot be reached") && !rule.reason.contains("s3cret"), "{rule:?}");
}
