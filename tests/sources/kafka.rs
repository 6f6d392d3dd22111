//! The mock cluster of Kafka's own client library: its brokers speak the protocol over loopback.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};

use super::{die_after, exposed, ingest, ingest_after, pulled, scores, with_source};
use crate::support::Installation;

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn line(n: usize) -> String {
    format!("{{\"study\": \"s{n}\", \"at\": \"2025-03-01T08:00:00Z\", \"effusion\": {}}}", n as f64 / 1e6)
}

async fn send(cluster: &Cluster, from: usize, to: usize) {
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().expect("a producer");
    for n in from..to {
        let (key, payload) = (format!("s{n}"), line(n));
        let record = FutureRecord::to("scores").key(&key).payload(&payload);
        producer.send(record, Duration::from_secs(10)).await.expect("sent");
    }
}

fn source(cluster: &Cluster, more: &str) -> String {
    let brokers: Vec<String> = cluster.bootstrap_servers().split(',').map(|broker| format!("\"{broker}\"")).collect();
    with_source(&format!(
        "kind = \"kafka\"\nbrokers = [{}]\ntopic = \"scores\"\ntimeout = \"5s\"\n{more}",
        brokers.join(", ")
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_move_with_the_rows_and_survive_brokers_and_readers() {
    let cluster = MockCluster::new(1).expect("a cluster");
    cluster.create_topic("scores", 3, 1).expect("a topic");
    send(&cluster, 0, 300).await;
    let installation = Installation::new(&source(&cluster, "rows = 20"), "2025-03-02").await;
    for part in 1..=3 {
        die_after(&installation, part * 40).await;
    }
    cluster.broker_down(1).expect("it goes down");
    ingest_after(&installation, 61).await;
    let state = pulled(&installation).await;
    assert!(["unreachable", "timed-out"].contains(&state.reason.as_deref().expect("a reason")), "{state:?}");
    let before = installation.count("prediction").await;
    assert!((120..300).contains(&before), "in the middle: {before}");
    cluster.broker_up(1).expect("it comes up");
    send(&cluster, 300, 350).await;
    for _ in 0..10 {
        ingest_after(&installation, 61).await;
    }
    let scores = scores(&installation).await;
    assert_eq!((scores.len(), scores.values().max()), (350, Some(&1)), "each once");
    assert_eq!(installation.count("rejection").await, 0);
    // What every partition has given, by the offsets that are kept, is what there is; nothing was read twice after a commit.
    let cursors = installation.context().store.load_cursors("upstream").await.expect("readable");
    assert_eq!(cursors.len(), 3);
    let offsets: i64 = cursors.iter().map(|cursor| cursor.position["at"]["offset"].as_i64().expect("an offset")).sum();
    assert_eq!(offsets, 350);
    let duplicates: Option<i64> = sqlx::query_scalar("select sum(duplicates)::bigint from batch")
        .fetch_one(&installation.pool().await)
        .await
        .expect("a sum");
    assert_eq!(duplicates, Some(0), "offsets are kept in the transaction of the rows");
    let exposed = exposed(&installation).await;
    assert!(exposed.contains("dosimeter_source_pending{source=\"upstream\"} 0"), "{exposed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_told() {
    let cluster: Cluster = MockCluster::new(1).expect("a cluster");
    let config = source(&cluster, "").replace("topic = \"scores\"", "topic = \"no such\"");
    let installation = Installation::new(&config, "2025-03-02").await;
    ingest(&installation).await;
    let state = pulled(&installation).await;
    assert_eq!(state.reason.as_deref(), Some("misconfigured"), "{state:?}");
}
