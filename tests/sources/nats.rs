//! A real nats-server with its streams on disk, stopped in the middle.

use std::path::Path;
use std::process::Stdio;

use async_nats::jetstream::{self, stream};
use futures_util::future::join_all;

use super::{die_after, exposed, ingest, ingest_after, pulled, scores, with_source};
use crate::support::{Child, Installation, free_port, tool};

fn start(port: u16, folder: &Path) -> Child {
    let log = std::fs::File::create(folder.join("log")).expect("a log");
    let mut command = std::process::Command::new(tool("nats-server"));
    command.args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--jetstream", "--store_dir"]).arg(folder);
    command.args(["--user", "ward", "--pass", "s3cret"]);
    Child(command.stdout(Stdio::null()).stderr(log).spawn().expect("nats-server starts"))
}

async fn connect(port: u16) -> jetstream::Context {
    let options = || async_nats::ConnectOptions::with_user_and_password("ward".into(), "s3cret".into());
    for _ in 0..600 {
        if let Ok(client) = options().connect(format!("127.0.0.1:{port}")).await {
            return jetstream::new(client);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("nats-server does not answer");
}

fn line(n: usize) -> String {
    format!("{{\"study\": \"s{n}\", \"at\": \"2025-03-01T08:00:00Z\", \"effusion\": {}}}", n as f64 / 1e6)
}

async fn publish(context: &jetstream::Context, from: usize, to: usize) {
    let sent = (from..to).map(|n| async move {
        let sent = context.publish("scores.chest", line(n).into()).await.expect("sent");
        sent.await.expect("stored");
    });
    join_all(sent).await;
}

fn source(port: u16, more: &str) -> String {
    with_source(&format!(
        "kind = \"nats\"\nservers = [\"nats://127.0.0.1:{port}\"]\nstream = \"SCORES\"\nsubject = \"scores.>\"\nuser = \"ward\"\n\
        password = \"s3cret\"\ntimeout = \"5s\"\n{more}"
    ))
}

async fn stream(context: &jetstream::Context) -> stream::Stream {
    let config =
        stream::Config { name: "SCORES".into(), subjects: vec!["scores.>".into()], ..stream::Config::default() };
    context.create_stream(config).await.expect("a stream")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_acknowledged_when_it_is_committed_and_survives_its_server_and_its_reader() {
    let (port, folder) = (free_port(), tempfile::tempdir().expect("a folder"));
    let server = start(port, folder.path());
    let context = connect(port).await;
    let stream_of = stream(&context).await;
    publish(&context, 0, 300).await;
    let installation = Installation::new(&source(port, "rows = 20\nack_wait = \"1s\""), "2025-03-02").await;
    // The reader dies: what it had not acknowledged comes again.
    for part in 1..=3 {
        die_after(&installation, part * 40).await;
    }
    // The server dies: it remembers what was acknowledged, and what was not.
    drop(server);
    ingest_after(&installation, 61).await;
    let state = pulled(&installation).await;
    assert_eq!(state.reason.as_deref(), Some("unreachable"), "{state:?}");
    let before = installation.count("prediction").await;
    assert!((120..300).contains(&before), "in the middle: {before}");
    let _server = start(port, folder.path());
    let context = connect(port).await;
    publish(&context, 300, 400).await;
    for _ in 0..40 {
        ingest_after(&installation, 61).await;
        if installation.count("prediction").await == 400 && pulled(&installation).await.pending == Some(0) {
            break;
        }
        // The server's own clock says when a message comes again.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let scores = scores(&installation).await;
    assert_eq!((scores.len(), scores.values().max()), (400, Some(&1)), "each once");
    assert_eq!(installation.count("rejection").await, 0);
    let mut consumer: jetstream::consumer::PullConsumer = context
        .get_stream("SCORES")
        .await
        .expect("it is on the disk")
        .get_consumer("dosimeter-upstream")
        .await
        .expect("durable");
    let info = consumer.info().await.expect("answers");
    assert_eq!((info.num_pending, info.num_ack_pending), (0, 0), "all is acknowledged");
    let exposed = exposed(&installation).await;
    assert!(exposed.contains("dosimeter_source_pending{source=\"upstream\"} 0"), "{exposed}");
    drop(stream_of);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_hold_one_record_or_several_and_a_bad_one_holds_up_nothing() {
    let (port, folder) = (free_port(), tempfile::tempdir().expect("a folder"));
    let _server = start(port, folder.path());
    let context = connect(port).await;
    let installation = Installation::new(&source(port, ""), "2025-03-02").await;
    ingest(&installation).await;
    let state = pulled(&installation).await;
    assert_eq!(state.reason.as_deref(), Some("misconfigured"));
    assert!(state.message.as_ref().expect("a message").contains("there is no stream SCORES"), "{state:?}");
    stream(&context).await;
    let messages =
        [format!("{}\n{}\n", line(1), line(2)), format!("[{}, {}]", line(3), line(4)), line(5), "nonsense".into()];
    for message in messages {
        context.publish("scores.x", message.into()).await.expect("sent").await.expect("stored");
    }
    ingest_after(&installation, 61).await;
    assert_eq!(installation.count("prediction").await, 5);
    assert_eq!(installation.rejections().await, [("SCORES".to_owned(), 4, "malformed-row".to_owned())]);
    assert_eq!(pulled(&installation).await.pending, Some(0), "the bad one is acknowledged, for it is kept here");
    let locked = source(port, "").replace("s3cret", "wrong");
    let installation = Installation::new(&locked, "2025-03-02").await;
    ingest(&installation).await;
    assert_eq!(pulled(&installation).await.reason.as_deref(), Some("refused"));
}
