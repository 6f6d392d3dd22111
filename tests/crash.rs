//! `kill -9` at random moments: the same answers afterwards, bit for bit, and no duplicate.

use std::process::Stdio;
use std::time::Duration;

use rand::{RngExt, SeedableRng};

use crate::intake::{department, department_plan};
use crate::support::{binary, database, give_away};

/// What a question about a slice answers, by the command line.
fn answers(config: &std::path::Path, url: &str) -> String {
    ["effusion", "edema"]
        .map(|output| {
            let output = binary()
                .env("DATABASE_URL", url)
                .args([
                    "query",
                    "--model",
                    "chest-xray",
                    "--output",
                    output,
                    "--slice",
                    "site=north",
                    "--format",
                    "json",
                ])
                .args(["--from", "2025-01-06", "--to", "2025-01-27", "--config"])
                .arg(config)
                .output()
                .expect("the program runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
            answer["metrics"].to_string()
        })
        .join("\n")
}

fn import(config: &std::path::Path, url: &str) -> std::process::Command {
    let mut command = binary();
    command
        .env("DATABASE_URL", url)
        .args(["import", "--config"])
        .arg(config)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

async fn counts(url: &str) -> Vec<i64> {
    let pool = sqlx::PgPool::connect(url).await.expect("the database answers");
    let mut counts = Vec::new();
    for table in ["prediction", "assertion", "record_key", "rejection", "summary"] {
        let query = format!("select count(*) from {table}");
        counts.push(sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&pool).await.expect("a count"));
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_nothing_is_lost_or_counted_twice() {
    let kills: u32 = std::env::var("DOSIMETER_CRASHES").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let (folder, _) = department(3000);
    give_away(&[folder.path()]);
    let config = folder.path().join("config.toml");
    // Small batches: more moments at which a kill can hit.
    std::fs::write(&config, department_plan() + "\n[intake]\nbatch_rows = 200\n").expect("a file");

    let plain = database().await;
    assert!(import(&config, &plain).status().expect("the program runs").success());

    let stormy = database().await;
    let pool = sqlx::PgPool::connect(&stormy).await.expect("the database answers");
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(u64::from(kills));
    let (mut kill, mut hits) = (0, 0);
    while hits < kills {
        kill += 1;
        assert!(kill < 20 * kills, "only {hits} of {kill} kills hit a process at work");
        // A dead process keeps its leases until they run out: do not wait for that.
        if kill > 1 {
            sqlx::query("update lease set expires_at = '-infinity'").execute(&pool).await.expect("leases");
        }
        let mut child = import(&config, &stormy).spawn().expect("the program starts");
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..1500))).await;
        let at_work = child.try_wait().expect("a child").is_none();
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        let state: (i64, i64) = sqlx::query_as("select last_batch, (select count(*) from summary) from batch_counter")
            .fetch_one(&pool)
            .await
            .unwrap_or_default();
        println!(
            "kill {kill}: {} batches, {} summaries; it was {}at work",
            state.0,
            state.1,
            if at_work { "" } else { "not " }
        );
        if at_work {
            hits += 1;
        } else {
            // It had finished: start over, so that every kill has something to hit.
            sqlx::raw_sql(
                "truncate prediction, assertion, record_key, rejection, summary, dirty_bucket, source_file, source_path,
                 current_estimate, evaluation, estimate, tally, batch cascade; update batch_counter set last_batch = 0",
            )
            .execute(&pool)
            .await
            .expect("tables");
        }
    }
    sqlx::query("update lease set expires_at = '-infinity'").execute(&pool).await.expect("leases");
    assert!(import(&config, &stormy).status().expect("the program runs").success());

    assert_eq!(answers(&config, &stormy), answers(&config, &plain));
    assert_eq!(counts(&stormy).await, counts(&plain).await);
}
