//! An S3 server of its own process, and a folder.

use std::process::Stdio;

use object_store::ObjectStoreExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;

use super::{die_after, exposed, ingest, ingest_after, pulled, scores, with_source};
use crate::support::{Child, Installation, free_port};

/// moto, in Python: in its own folder, where `scripts/install.sh` puts it, or wherever Python finds it.
fn start(port: u16) -> Child {
    let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/moto");
    let mut command = std::process::Command::new("python3");
    command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]).env("PYTHONPATH", tools);
    Child(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("python3 starts"))
}

/// A server with a bucket.
async fn serve(port: u16) -> Child {
    let child = start(port);
    for _ in 0..600 {
        let made = reqwest::Client::new().put(format!("http://127.0.0.1:{port}/exports")).send().await;
        if made.is_ok_and(|answer| answer.status().is_success()) {
            return child;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("moto does not answer; `make test` installs it");
}

fn bucket(port: u16) -> AmazonS3 {
    AmazonS3Builder::new()
        .with_bucket_name("exports")
        .with_region("us-east-1")
        .with_endpoint(format!("http://127.0.0.1:{port}"))
        .with_allow_http(true)
        .with_access_key_id("ward")
        .with_secret_access_key("s3cret")
        .build()
        .expect("a client")
}

fn csv(from: usize, to: usize) -> String {
    let rows = (from..to).map(|n| format!("s{n},2025-03-01T08:00:00Z,{}\n", n as f64 / 1e6));
    std::iter::once("study,at,effusion\n".to_owned()).chain(rows).collect()
}

fn ndjson(from: usize, to: usize) -> String {
    let rows = (from..to).map(|n| {
        format!("{{\"study\": \"s{n}\", \"at\": \"2025-03-01T08:00:00Z\", \"effusion\": {}}}\n", n as f64 / 1e6)
    });
    rows.collect()
}

async fn put(store: &AmazonS3, key: &str, content: impl Into<object_store::PutPayload>) {
    store.put(&Key::from(key), content.into()).await.expect("stored");
}

fn source(port: u16, more: &str) -> String {
    with_source(&format!(
        "kind = \"objects\"\nurl = \"s3://exports/daily\"\nendpoint = \"http://127.0.0.1:{port}\"\nallow_http = true\n\
        access_key_id = \"ward\"\nsecret_access_key = \"s3cret\"\ntimeout = \"5s\"\n{more}"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_read_once_by_what_they_hold_and_an_outage_loses_none() {
    let port = free_port();
    let server = serve(port).await;
    let store = bucket(port);
    put(&store, "daily/2025/a.csv", csv(0, 10)).await;
    put(&store, "daily/2025/b.ndjson", ndjson(10, 20)).await;
    put(&store, "daily/_SUCCESS", "x").await;
    put(&store, "elsewhere/c.csv", csv(500, 510)).await;
    let installation = Installation::new(&source(port, ""), "2025-03-02").await;
    ingest(&installation).await;
    assert_eq!(installation.count("prediction").await, 20);
    assert_eq!(installation.count("source_file").await, 2);
    let origin: String =
        sqlx::query_scalar("select min(origin) from batch").fetch_one(&installation.pool().await).await.expect("one");
    assert_eq!(origin, "s3://exports/daily/2025/a.csv");

    // The same content under another name, the same name with another content, a name that says nothing.
    put(&store, "daily/2025/copy.csv", csv(0, 10)).await;
    put(&store, "daily/2025/b.ndjson", ndjson(20, 30)).await;
    put(&store, "daily/2025/what", "x").await;
    let batches = installation.count("batch").await;
    for _ in 0..3 {
        ingest_after(&installation, 61).await;
    }
    assert_eq!(installation.count("prediction").await, 30);
    assert_eq!(installation.count("batch").await - batches, 2, "the new content and one refusal");
    let refused = ("s3://exports/daily/2025/what".to_owned(), 0, "unreadable-file".to_owned());
    assert_eq!(installation.rejections().await, [refused]);

    drop(server);
    ingest_after(&installation, 61).await;
    let state = pulled(&installation).await;
    assert_eq!(state.reason.as_deref(), Some("unreachable"), "{state:?}");
    let _server = serve(port).await;
    put(&bucket(port), "daily/d.csv", csv(30, 40)).await;
    ingest_after(&installation, 61).await;
    let scores = scores(&installation).await;
    assert_eq!((scores.len(), scores.values().max()), (40, Some(&1)));
    let exposed = exposed(&installation).await;
    assert!(exposed.contains("dosimeter_source_pending{source=\"upstream\"} 0"), "{exposed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_dies_goes_on_with_the_row_and_ascending_keys_are_not_listed_again() {
    let port = free_port();
    let _server = serve(port).await;
    let store = bucket(port);
    for day in 1..=3 {
        put(&store, &format!("daily/{day}.csv"), csv(day * 100, day * 100 + 100)).await;
    }
    let config = source(port, "ascending = true") + "\n[intake]\nbatch_rows = 10\n";
    let installation = Installation::new(&config, "2025-03-02").await;
    for part in 1..=4 {
        die_after(&installation, part * 50).await;
    }
    ingest_after(&installation, 61).await;
    let scores = scores(&installation).await;
    assert_eq!((scores.len(), scores.values().max()), (300, Some(&1)));
    ingest_after(&installation, 61).await;
    let cursors = installation.context().store.load_cursors("upstream").await.expect("readable");
    assert_eq!(cursors[0].position, "daily/3.csv");
    // A smaller key is not seen any more, as the plan says; a greater one is.
    put(&store, "daily/0.csv", csv(900, 910)).await;
    put(&store, "daily/4.csv", csv(400, 410)).await;
    ingest_after(&installation, 61).await;
    assert_eq!(installation.count("prediction").await, 310);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_a_store_too() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join("deep/er")).expect("folders");
    std::fs::write(folder.path().join("deep/er/a.csv"), csv(0, 5)).expect("a file");
    let config = with_source(&format!("kind = \"objects\"\nurl = \"file://{}\"", folder.path().display()));
    let installation = Installation::new(&config, "2025-03-02").await;
    ingest(&installation).await;
    assert_eq!(installation.count("prediction").await, 5);
}
