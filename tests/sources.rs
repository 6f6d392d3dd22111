//! Sources that are asked again and again, against the real thing: Postgres, HTTP, S3, NATS, each interrupted in the middle.

mod http;
#[cfg(feature = "kafka")]
mod kafka;
mod nats;
mod objects;
mod sql;

use std::collections::BTreeMap;

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

/// Interrupt a run of ingest as soon as so many predictions are committed: the daemon is killed there.
async fn die_after(installation: &Installation, predictions: i64) {
    let pool = installation.pool().await;
    let context = installation.context();
    let seen = async {
        loop {
            let count: i64 =
                sqlx::query_scalar("select count(*) from prediction").fetch_one(&pool).await.expect("a count");
            if count >= predictions {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = seen => {}
        outcome = Job::Ingest.run(&context) => panic!("it was over before it could be interrupted: {outcome:?}"),
    }
    // The dead do not give their leases back.
    sqlx::query("update lease set expires_at = '-infinity'").execute(&pool).await.expect("it runs out");
}
