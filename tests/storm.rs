//! A storm: daemon and Postgres are killed at random while records are being sent. What was acknowledged is there, once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::{RngExt, SeedableRng};

use crate::server::{folder, log, postmaster, ready, serve, terminate};
use crate::support::free_port;

/// What the senders have been told.
#[derive(Default)]
struct Told {
    acknowledged: Mutex<BTreeSet<String>>,
    refused: AtomicU64,
    stop: AtomicBool,
}

/// Send batch after batch; one that is not acknowledged is sent again, as it is, until it is.
fn send(sender: usize, port: u16, told: &Told) {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().expect("a client");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(sender as u64);
    let url = format!("http://127.0.0.1:{port}/api/v1/models/chest-xray/predictions");
    for batch in 0.. {
        if told.stop.load(Ordering::Relaxed) {
            return;
        }
        let ids: Vec<String> = (0..rng.random_range(1..30)).map(|item| format!("{sender}-{batch}-{item}")).collect();
        let body: String = ids
            .iter()
            .map(|id| {
                format!(
                    "{{\"id\": \"{id}\", \"case\": \"{id}\", \"occurred_at\": \"2025-02-01T10:00:00Z\", \"version\": \"1\", \
                     \"effusion\": 0.5}}\n"
                )
            })
            .collect();
        loop {
            let request = client.post(&url).header("content-type", "application/x-ndjson").body(body.clone());
            let status = runtime.block_on(async { request.send().await.map(|response| response.status().as_u16()) });
            match status {
                Ok(200) => {
                    told.acknowledged.lock().expect("no sender panics").extend(ids);
                    break;
                }
                Ok(status) => {
                    assert!(status == 503 || status == 500, "a good record is answered with {status}");
                    told.refused.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// The ids of all predictions in the private Postgres, and of their identities.
fn kept(folder: &std::path::Path) -> Vec<String> {
    let home = folder.join("data/postgres");
    let password = std::fs::read_to_string(home.join("password")).expect("a password");
    let pid_file = std::fs::read_to_string(home.join("data/postmaster.pid")).expect("it runs");
    let port = pid_file.lines().nth(3).expect("a port");
    let url = format!("postgres://dosimeter:{}@127.0.0.1:{port}/postgres", password.trim());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let pool = sqlx::PgPool::connect(&url).await.expect("the database answers");
        let records = |table: &str| format!("select split_part(record_id, chr(31), 2) from {table} order by 1");
        let list = async |table: &str| -> Vec<String> {
            sqlx::query_scalar(sqlx::AssertSqlSafe(records(table))).fetch_all(&pool).await.expect("rows")
        };
        let (predictions, identities) = (list("prediction").await, list("record_key").await);
        assert_eq!(predictions, identities);
        predictions
    })
}

#[test]
fn what_was_acknowledged_amid_kills_is_there_once_and_nothing_else() {
    let kills: u32 = std::env::var("DOSIMETER_CRASHES").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let port = free_port();
    let folder = folder(port);
    let mut daemon = serve(folder.path());
    ready(folder.path(), port);
    let told = Arc::new(Told::default());
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let told = told.clone();
            std::thread::spawn(move || send(sender, port, &told))
        })
        .collect();
    let count = || told.acknowledged.lock().expect("no sender panics").len();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(u64::from(kills));
    for number in 0..kills {
        // Each kill hits senders at work: some records have been acknowledged since the last.
        let (before, patience) = (count(), Instant::now());
        while count() < before + 50 {
            assert!(patience.elapsed() < Duration::from_secs(120), "nothing is taken in: {}", log(folder.path()));
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(0..400)));
        // Postgres alone, the daemon alone, or both.
        let whom = number % 3;
        let server = postmaster(folder.path()).filter(|_| whom != 1);
        if whom != 0 {
            daemon.0.kill().expect("it runs");
            daemon.0.wait().expect("it ends");
        }
        if let Some(server) = server {
            kill(Pid::from_raw(server), Signal::SIGKILL).expect("it runs");
        }
        if whom != 0 {
            daemon = serve(folder.path());
        }
        println!(
            "kill {}: {} acknowledged, {} told to come back",
            number + 1,
            count(),
            told.refused.load(Ordering::Relaxed)
        );
    }
    ready(folder.path(), port);
    let (before, patience) = (count(), Instant::now());
    while count() < before + 50 {
        assert!(patience.elapsed() < Duration::from_secs(120), "it recovers: {}", log(folder.path()));
        std::thread::sleep(Duration::from_millis(5));
    }
    told.stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().expect("no sender panics");
    }

    let acknowledged = told.acknowledged.lock().expect("no sender panics").clone();
    let kept = kept(folder.path());
    terminate(&mut daemon);
    assert_eq!(kept.len(), kept.iter().collect::<BTreeSet<_>>().len(), "nothing twice");
    assert_eq!(
        kept.into_iter().collect::<BTreeSet<_>>(),
        acknowledged,
        "every one that was acknowledged, and no other"
    );
}
