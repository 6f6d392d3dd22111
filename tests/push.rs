//! Records sent by HTTP: formats, answers, malformed bodies, back-pressure, and that what was acknowledged is there.

use std::io::{Read, Write};
use std::time::Duration;

use dosimeter::desk::{Desk, MOST_TOGETHER};
use dosimeter::job::Job;
use dosimeter::mending::{self, Fate, Mended};
use dosimeter::person::Person;
use dosimeter::store::rows::Knowledge;
use polars::prelude::*;
use serde_json::{Value, json};

use crate::support::{Installation, SMALL, at, said, window};

/// A running server.
pub struct Served {
    pub base: String,
    pub client: reqwest::Client,
    stop: tokio_util::sync::CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The installation's HTTP server on a port of its own, with the task that commits what is sent.
pub async fn serve(installation: &Installation, most_together: usize) -> Served {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let stop = tokio_util::sync::CancellationToken::new();
    let (desk, queue) = Desk::new();
    let context = &installation.app.context;
    tokio::spawn(queue.serve(context.subscribe(), most_together, stop.clone()));
    tokio::spawn(dosimeter::http::serve(listener, context.subscribe(), desk, stop.clone()));
    Served { base, client: reqwest::Client::new(), stop }
}

impl Served {
    pub fn url(&self, record: &str) -> String {
        format!("{}/api/v1/models/chest-xray/{record}", self.base)
    }

    /// Send a body; the status and the answer.
    pub async fn send(
        &self,
        record: &str,
        media: &str,
        encoding: &str,
        body: impl Into<reqwest::Body>,
    ) -> (u16, Value) {
        let request = self.client.post(self.url(record)).header("content-type", media);
        let request = if encoding.is_empty() { request } else { request.header("content-encoding", encoding) };
        let response = request.body(body).send().await.expect("an answer");
        let (status, text) = (response.status().as_u16(), response.text().await.expect("text"));
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    pub async fn send_json(&self, record: &str, body: &Value) -> (u16, Value) {
        self.send(record, "application/json", "", body.to_string()).await
    }
}

const NOW: &str = "2025-02-03";

async fn installation() -> Installation {
    Installation::new(SMALL, NOW).await
}

fn prediction(study: usize) -> Value {
    let minute = i64::try_from(study % 1400).expect("a minute");
    let (score, other) = ((study % 97) as f64 / 97.0, (study % 89) as f64 / 89.0);
    json!({ "id": format!("p{study}"), "case": format!("s{study}"), "subject": format!("q{}", study / 2),
        "occurred_at": (at("2025-02-01") + chrono::TimeDelta::minutes(minute)).to_rfc3339(), "version": "1",
        "scores": { "effusion": score, "nodule": other },
        "attributes": { "site": if study.is_multiple_of(3) { "north" } else { "south" }, "sex": "F" } })
}

fn assertion(study: usize) -> Value {
    json!({ "case": format!("s{study}"), "source": "report", "reader": "a", "observed_at": "2025-02-02T08:00:00Z",
        "values": { "effusion": i32::from(study.is_multiple_of(5)), "nodule": i32::from(study.is_multiple_of(7)) } })
}

fn lines(records: &[Value]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

/// The columns of predictions as a frame.
fn frame(records: &[Value]) -> DataFrame {
    let text = |read: &dyn Fn(&Value) -> &Value| -> Vec<String> {
        records.iter().map(|record| read(record).as_str().expect("a text").to_owned()).collect()
    };
    let number = |name: &str| -> Vec<f64> {
        records.iter().map(|record| record["scores"][name].as_f64().expect("a number")).collect()
    };
    let mut columns: Vec<Column> = ["id", "case", "subject", "occurred_at", "version"]
        .map(|name| Column::new(name.into(), text(&|record| &record[name])))
        .to_vec();
    columns.extend(["effusion", "nodule"].map(|name| Column::new(name.into(), number(name))));
    columns.extend(["site", "sex"].map(|name| Column::new(name.into(), text(&|record| &record["attributes"][name]))));
    DataFrame::new(records.len(), columns).expect("a frame")
}

pub fn arrow(frame: &DataFrame) -> Vec<u8> {
    use polars_arrow::io::ipc::write::{Compression, StreamWriter, WriteOptions};
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::new(&mut bytes, WriteOptions { compression: Some(Compression::LZ4) });
    writer.start(&frame.schema().to_arrow(CompatLevel::oldest()), None).expect("a schema");
    for batch in frame.iter_chunks(CompatLevel::oldest(), false) {
        writer.write(&batch, None).expect("a batch");
    }
    writer.finish().expect("an end");
    bytes
}

fn parquet(frame: &mut DataFrame) -> Vec<u8> {
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(frame).expect("a file");
    bytes
}

fn csv(records: &[Value]) -> String {
    let mut text = "id,case,subject,occurred_at,version,effusion,nodule,site,sex\n".to_owned();
    for r in records {
        let plain = ["id", "case", "subject", "occurred_at", "version"].map(|name| r[name].as_str().expect("a text"));
        let (scores, attributes) = (&r["scores"], &r["attributes"]);
        let site = attributes["site"].as_str().expect("a text");
        text.push_str(&format!("{},{},{},{site},F\n", plain.join(","), scores["effusion"], scores["nodule"]));
    }
    text
}

fn packed(how: &str, body: &[u8]) -> Vec<u8> {
    match how {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(body).expect("memory");
            encoder.finish().expect("memory")
        }
        "zstd" => zstd::encode_all(body, 1).expect("memory"),
        _ => body.to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_says_the_same_and_saying_it_again_changes_nothing() {
    let installation = installation().await;
    let served = serve(&installation, MOST_TOGETHER).await;
    let records: Vec<Value> = (0..300).map(prediction).collect();
    let count = records.len() as u64;
    let (status, answer) = served.send("predictions", "application/x-ndjson", "", lines(&records)).await;
    assert_eq!(
        (status, answer["accepted"].as_u64(), answer["rejected"].as_u64()),
        (200, Some(count), Some(0)),
        "{answer}"
    );
    let first = answer["batch"].as_i64().expect("a batch");

    let array = Value::Array(records.clone()).to_string();
    let bodies: [(&str, Vec<u8>); 5] = [
        ("application/json", array.into_bytes()),
        ("application/x-ndjson; charset=utf-8", lines(&records).into_bytes()),
        ("text/csv", csv(&records).into_bytes()),
        ("application/vnd.apache.parquet", parquet(&mut frame(&records))),
        ("application/vnd.apache.arrow.stream", arrow(&frame(&records))),
    ];
    for (media, body) in &bodies {
        for encoding in ["", "gzip", "zstd"] {
            let (status, answer) = served.send("predictions", media, encoding, packed(encoding, body)).await;
            let counts = (status, answer["accepted"].as_u64(), answer["duplicates"].as_u64());
            assert_eq!(counts, (200, Some(0), Some(count)), "{media} {encoding}: {answer}");
        }
    }
    let truths: Vec<Value> = (0..300).map(assertion).collect();
    let (status, answer) = served.send_json("assertions", &Value::Array(truths)).await;
    assert_eq!((status, answer["accepted"].as_u64()), (200, Some(600)), "{answer}");
    installation.pass().await;
    let knowledge = Knowledge { known_at: None, recorded: Some(first) };
    let before = installation.ask("effusion", "site=north", window("2025-02-01", "2025-02-02"), knowledge).await;
    let now =
        installation.ask("effusion", "site=north", window("2025-02-01", "2025-02-02"), Knowledge::default()).await;
    assert!(said(&now).contains("auroc") && said(&before) != said(&now), "truth that came later is seen later");
    assert_eq!(installation.count("prediction").await, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn truth_may_come_first_in_either_layout_and_files_and_posts_meet() {
    let installation = installation().await;
    let served = serve(&installation, MOST_TOGETHER).await;
    let long = json!([
        { "case": "s1", "source": "report", "observed_at": "2025-02-02T08:00:00Z", "output": "effusion", "value": 1 },
        { "case": "s1", "source": "report", "observed_at": "2025-02-02T08:00:00Z", "output": "nodule", "value": "negative" },
    ]);
    assert_eq!(served.send_json("assertions", &long).await.0, 200);
    let one = json!({ "case": "s1", "occurred_at": "2025-02-01T10:00:00Z", "version": "1", "output": "effusion", "score": 0.75 });
    let (status, answer) = served.send_json("predictions", &one).await;
    assert_eq!((status, answer["accepted"].as_u64()), (200, Some(1)), "{answer}");
    // The same study in a file of the plan: another version of the same case.
    installation.write("predictions/a.csv", "study,at,effusion,nodule,site\ns1,2025-02-01T10:05:00Z,0.5,0.25,north\n");
    installation.pass().await;
    let answer = installation.ask("effusion", "all", window("2025-02-01", "2025-02-02"), Knowledge::default()).await;
    assert_eq!(crate::support::value(&answer, "label_coverage"), 1.0);
    // A source that the plan does not name is counted as any other.
    let shown = installation.context().exporter.render().expect("text");
    let counted =
        "dosimeter_records_total{source=\"http/chest-xray/predictions\",kind=\"prediction\",outcome=\"accepted\"} 1";
    assert!(shown.contains(counted), "{shown}");

    // What was said is corrected and taken back, and an export comes twice, long after.
    let taken_back = json!({ "case": "s1", "source": "report", "observed_at": "2025-02-02T09:00:00Z", "output": "effusion",
        "value": 1, "status": "entered-in-error" });
    assert_eq!(served.send_json("assertions", &taken_back).await.0, 200);
    installation.hand.turn_to(at("2025-08-01"));
    let (_, again) = served.send_json("assertions", &long).await;
    assert_eq!((again["accepted"].as_u64(), again["duplicates"].as_u64()), (Some(0), Some(2)));
    installation.pass().await;
    let answer = installation.ask("effusion", "all", window("2025-02-01", "2025-02-02"), Knowledge::default()).await;
    assert_eq!(crate::support::value(&answer, "label_coverage"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_told_row_by_row_and_kept_and_the_rest_is_committed() {
    let installation = installation().await;
    let served = serve(&installation, MOST_TOGETHER).await;
    let mut bad = prediction(2);
    bad["scores"]["effusion"] = json!(1.5);
    let mut early = prediction(3);
    early["occurred_at"] = json!("10000-01-01T00:00:00Z");
    let body = json!([prediction(1), bad, early, 7, prediction(1), { "case": "x" }]);
    let (status, answer) = served.send_json("predictions", &body).await;
    assert_eq!(status, 422, "{answer}");
    assert_eq!((answer["accepted"].as_u64(), answer["duplicates"].as_u64()), (Some(1), Some(1)), "{answer}");
    let told: Vec<(i64, &str, &str)> = answer["rejections"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|refused| {
            (
                refused["row"].as_i64().expect("a row"),
                refused["field"].as_str().expect("a field"),
                refused["reason"].as_str().expect("a reason"),
            )
        })
        .collect();
    let expected = [
        (2, "effusion", "score-range"),
        (3, "occurred_at", "bad-time"),
        (4, "", "malformed-row"),
        (6, "occurred_at", "missing-field"),
    ];
    assert_eq!(told, expected, "{answer}");
    assert_eq!(installation.count("rejection").await, 4);
    // The same again: told again, kept once.
    let (status, answer) = served.send_json("predictions", &body).await;
    assert_eq!(
        (status, answer["rejected"].as_u64(), answer["duplicates"].as_u64()),
        (422, Some(4), Some(2)),
        "{answer}"
    );
    assert_eq!(installation.count("rejection").await, 4);
    // The same identity with other content.
    let mut other = prediction(1);
    other["scores"]["effusion"] = json!(0.111);
    let (status, answer) = served.send_json("predictions", &other).await;
    assert_eq!((status, answer["rejections"][0]["reason"].as_str()), (422, Some("conflict")), "{answer}");
    // Two at the same moment in one body.
    let (mut one, mut two) = (prediction(9), prediction(9));
    one["scores"]["effusion"] = json!(0.1);
    two["scores"]["effusion"] = json!(0.2);
    let (status, answer) = served.send_json("predictions", &json!([one, two])).await;
    assert_eq!((status, answer["accepted"].as_u64(), answer["rejected"].as_u64()), (422, Some(1), Some(1)), "{answer}");

    assert_eq!(served.send("predictions", "text/html", "", "x").await.0, 415);
    assert_eq!(served.send("predictions", "text/csv", "br", "x").await.0, 415);
    let unknown = served.client.post(format!("{}/api/v1/models/other/predictions", served.base));
    let unknown = unknown.header("content-type", "application/json").body("[]").send().await.expect("an answer");
    assert_eq!(unknown.status().as_u16(), 404);
    let unknown = format!("{}?source=reports", served.url("predictions"));
    let unknown = served.client.post(unknown).header("content-type", "application/json").body("[]").send().await;
    assert_eq!(unknown.expect("an answer").status().as_u16(), 404, "a source of files takes no posts");
}

/// Raw bytes to the server and back: what no client library would send.
fn raw(base: &str, bytes: &[u8]) -> String {
    let address = base.strip_prefix("http://").expect("an address");
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_bodies_are_answered_and_nothing_of_them_is_taken_in() {
    let installation = installation().await;
    let served = serve(&installation, MOST_TOGETHER).await;
    let good = lines(&(0..2000).map(prediction).collect::<Vec<_>>());
    let whole = frame(&(0..500).map(prediction).collect::<Vec<_>>());
    let (arrow, parquet) = (arrow(&whole), parquet(&mut whole.clone()));
    let case = r#""case": "m", "occurred_at": "2025-02-01T10:00:00Z", "version": "1""#;
    let json = |members: &str| format!("{{{case}, {members}}}").into_bytes();
    let lies = |from: usize, mut bytes: Vec<u8>| {
        for byte in &mut bytes[from..from + 40] {
            *byte = 0xFF;
        }
        bytes
    };
    // Of gigabytes once unpacked: a row each mebibyte, none of them a record.
    let bomb = packed("gzip", &b" ".repeat(64 << 20));
    let bodies: Vec<(&str, &str, &str, Vec<u8>, &[u16])> = vec![
        ("nothing", "application/json", "", vec![], &[200]),
        ("truncated gzip", "application/x-ndjson", "gzip", packed("gzip", good.as_bytes())[..2000].to_vec(), &[400]),
        ("no gzip", "application/x-ndjson", "gzip", good.clone().into_bytes(), &[400]),
        ("truncated zstd", "application/x-ndjson", "zstd", packed("zstd", good.as_bytes())[..2000].to_vec(), &[400]),
        ("a gzip bomb", "application/x-ndjson", "gzip", bomb, &[200, 422]),
        ("truncated parquet", "application/vnd.apache.parquet", "", parquet[..parquet.len() / 2].to_vec(), &[400]),
        ("a lying parquet", "application/vnd.apache.parquet", "", lies(8, parquet.clone()), &[400]),
        ("a lying footer", "application/vnd.apache.parquet", "", lies(parquet.len() - 60, parquet.clone()), &[400]),
        ("truncated arrow", "application/vnd.apache.arrow.stream", "", arrow[..arrow.len() / 2].to_vec(), &[400]),
        (
            "a lying arrow",
            "application/vnd.apache.arrow.stream",
            "",
            lies(arrow.len() / 2, arrow.clone()),
            &[200, 400, 422],
        ),
        ("no arrow", "application/vnd.apache.arrow.stream", "", good.clone().into_bytes(), &[400]),
        (
            "a million arrays",
            "application/json",
            "",
            [b"[".repeat(1_000_000), b"]".repeat(1_000_000)].concat(),
            &[400, 422],
        ),
        ("a million arrays inside", "application/json", "", json(&format!("\"x\": {}", "[".repeat(900_000))), &[422]),
        ("NaN", "application/json", "", json(r#""scores": {"effusion": NaN}"#), &[422]),
        ("NaN as a text", "application/json", "", json(r#""scores": {"effusion": "NaN"}"#), &[422]),
        ("an infinity", "application/json", "", json(r#""scores": {"effusion": 1e999}"#), &[422]),
        ("a lone surrogate", "application/json", "", json(r#""id": "\ud800", "scores": {"effusion": 0.5}"#), &[422]),
        ("a key twice", "application/json", "", json(r#""version": "2", "scores": {"effusion": 0.5}"#), &[422]),
        ("2^63 as a score", "application/json", "", json(r#""scores": {"effusion": 9223372036854775808}"#), &[422]),
        ("a NUL", "application/json", "", json("\"id\": \"a\\u0000b\", \"scores\": {\"effusion\": 0.5}"), &[422]),
        ("an array that breaks off", "application/json", "", b"[{\"case\": \"x\"}".to_vec(), &[400]),
        ("no UTF-8", "application/x-ndjson", "", b"{\"case\": \"\xFF\xFE\"}\n".to_vec(), &[422]),
        (
            "no UTF-8 in a table",
            "text/csv",
            "",
            b"case,occurred_at,version,effusion\n\xFF,\xFE,\xFD,\xFC\n".to_vec(),
            &[422],
        ),
        ("a header twice", "text/csv", "", b"case,case\n1,2\n".to_vec(), &[400]),
        ("a table without its columns", "text/csv", "", b"a,b\n1,2\n".to_vec(), &[400]),
        (
            "an open quote",
            "text/csv",
            "",
            b"case,occurred_at,version,effusion\n\"x,2025-02-01,1,0.5\n".to_vec(),
            &[422],
        ),
    ];
    for (name, media, encoding, body, expected) in bodies {
        let (status, answer) = served.send("predictions", media, encoding, body).await;
        assert!(expected.contains(&status), "{name}: {status} {answer}");
        if status != 200 {
            assert!(answer["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{name}: {answer}");
        }
    }
    // A truncated body was read up to its break; whatever of it is in is a whole record of it.
    let taken = installation.count("prediction").await;
    assert!(taken <= 2000 && taken == installation.count("record_key").await, "{taken}");

    let post =
        "POST /api/v1/models/chest-xray/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let large_head = format!("{post}X-Large: {}\r\n\r\n", "x".repeat(1 << 20));
    assert!(raw(&served.base, large_head.as_bytes()).starts_with("HTTP/1.1 431"));
    let lying_length = format!("{post}Content-Length: 99999999999999999999\r\n\r\n{{}}");
    assert!(raw(&served.base, lying_length.as_bytes()).starts_with("HTTP/1.1 400"));
    let bad_chunk = format!("{post}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{{}}\r\n");
    let answer = raw(&served.base, bad_chunk.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(served.send_json("predictions", &prediction(4711)).await.0, 200, "and it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_requests_share_commits_and_each_gets_its_own_answer() {
    let installation = installation().await;
    let served = serve(&installation, MOST_TOGETHER).await;
    // While the counter is held, requests gather.
    let pool = installation.pool().await;
    let mut hold = pool.begin().await.expect("a transaction");
    sqlx::query("select * from batch_counter for update").execute(&mut *hold).await.expect("a lock");
    let requests = (0..100).map(|study| {
        let (client, url) = (served.client.clone(), served.url("predictions"));
        let mut record = prediction(study % 90);
        if study == 50 {
            record["scores"]["effusion"] = json!(7);
        }
        tokio::spawn(async move {
            let request = client.post(url).header("content-type", "application/json").body(record.to_string());
            let response = request.send().await.expect("an answer");
            (study, response.status().as_u16(), response.json::<Value>().await.expect("JSON"))
        })
    });
    let requests: Vec<_> = requests.collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    hold.rollback().await.expect("a lock let go");
    let (mut accepted, mut duplicates) = (0, 0);
    for request in requests {
        let (study, status, answer) = request.await.expect("a task");
        assert_eq!(status, if study == 50 { 422 } else { 200 }, "{study}: {answer}");
        accepted += answer["accepted"].as_u64().expect("a count");
        duplicates += answer["duplicates"].as_u64().expect("a count");
    }
    assert_eq!((accepted, duplicates), (89, 10), "the last ten say what the first ten said");
    assert_eq!(installation.count("prediction").await, 89);
    let batches = installation.count("batch").await;
    assert!(batches <= 10, "{batches} commits for 100 requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_nothing_is_acknowledged_and_the_sender_is_told_when_to_come_back() {
    let installation = installation().await;
    let served = serve(&installation, MOST_TOGETHER).await;
    assert_eq!(served.send_json("predictions", &prediction(1)).await.0, 200);
    // Nobody may connect, and whoever is connected is thrown out.
    let name = installation.url.rsplit('/').next().expect("a name").split('?').next().expect("a name").to_owned();
    let admin = sqlx::PgPool::connect(&crate::support::server_url()).await.expect("the server answers");
    let shut = |allowed: bool| format!("alter database {name} with allow_connections {allowed}");
    sqlx::query(sqlx::AssertSqlSafe(shut(false))).execute(&admin).await.expect("it shuts");
    let kick = format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'");
    sqlx::query(sqlx::AssertSqlSafe(kick)).execute(&admin).await.expect("it may");
    let request = served.client.post(served.url("predictions")).header("content-type", "application/json");
    let response = request.body(prediction(2).to_string()).send().await.expect("an answer");
    assert_eq!(response.status().as_u16(), 503);
    assert!(response.headers()["retry-after"].to_str().expect("text").parse::<u64>().expect("seconds") > 0);
    sqlx::query(sqlx::AssertSqlSafe(shut(true))).execute(&admin).await.expect("it opens");
    let (status, answer) = served.send_json("predictions", &prediction(2)).await;
    assert_eq!((status, answer["accepted"].as_u64()), (200, Some(1)), "it recovers by itself: {answer}");
    assert_eq!(Job::Ingest.run(&installation.context()).await, dosimeter::runtime::Outcome::Idle);
}

/// A plan whose predictions are logged by an inference server.
const LOGGED: &str = r#"
[[model]]
name = "chest-xray"
minimum_n = 0
output = [{ name = "effusion" }, { name = "nodule" }]
dimension = [{ name = "site" }]
windows = ["7d"]

[[source]]
name = "server"
kind = "cloudevents"
columns = { case = "request.parameters.study", occurred_at = "event.time", version = "response.model_version" }
outputs = { effusion = "response.outputs.probabilities.0", nodule = "response.outputs.probabilities.1" }
attributes = { site = "request.parameters.site" }
patience = "1h"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_inference_logger_points_at_us_and_its_halves_meet_in_any_order() {
    let installation = Installation::new(LOGGED, NOW).await;
    let served = serve(&installation, MOST_TOGETHER).await;
    let event = |id: &str, half: &str, data: &Value| {
        json!({ "specversion": "1.0", "id": id, "source": "http://localhost:9081/", "time": "2025-02-01T10:00:00Z",
            "type": format!("org.kubeflow.serving.inference.{half}"), "data": data })
    };
    let request = json!({ "inputs": [{ "name": "image", "shape": [2], "datatype": "BYTES", "data": ["x", "y"] }],
        "parameters": { "study": ["s1", "s2"], "site": "north" } });
    let response = json!({ "model_name": "chest", "model_version": "7", "outputs": [
        { "name": "probabilities", "shape": [2, 2], "datatype": "FP64", "data": [0.25, 0.5, 0.75, 1] }] });
    // The response first, structured; then the request, with its attributes in the headers, as KServe's logger sends it.
    let (status, answer) =
        served.send("events", "application/cloudevents+json", "", event("a", "response", &response).to_string()).await;
    assert_eq!((status, answer["accepted"].as_u64()), (200, Some(1)), "{answer}");
    installation.pass().await;
    assert_eq!(installation.count("prediction").await, 0, "half of it waits");
    let binary = served.client.post(served.url("events")).header("content-type", "application/json");
    let binary = binary.header("ce-specversion", "1.0").header("ce-id", "a").header("ce-source", "x");
    let binary =
        binary.header("ce-type", "org.kubeflow.serving.inference.request").header("ce-time", "2025-02-01T09:59:59Z");
    let response_to = binary.body(request.to_string()).send().await.expect("an answer");
    assert_eq!(response_to.status().as_u16(), 200);
    installation.pass().await;
    assert_eq!((installation.count("prediction").await, installation.count("inference_event").await), (2, 0));
    let answer =
        installation.ask("nodule", "site=north", window("2025-02-01", "2025-02-02"), Knowledge::default()).await;
    assert_eq!(crate::support::value(&answer, "predictions"), 2.0);
    assert_eq!(crate::support::value(&answer, "mean_score"), 0.75);

    // The same pair again, a pair that contradicts itself, and a half alone.
    let mut broken = response.clone();
    broken["outputs"][0]["shape"] = json!([2, 3]);
    let batch = json!([
        event("a", "request", &request),
        event("a", "response", &response),
        event("b", "request", &request),
        event("b", "response", &broken),
        event("c", "request", &request)
    ]);
    let (status, answer) = served.send("events", "application/cloudevents-batch+json", "", batch.to_string()).await;
    assert_eq!((status, answer["accepted"].as_u64()), (200, Some(5)), "{answer}");
    let (_, again) = served.send("events", "application/cloudevents-batch+json", "", batch.to_string()).await;
    assert_eq!((again["accepted"].as_u64(), again["duplicates"].as_u64()), (Some(0), Some(5)), "{again}");
    installation.pass().await;
    installation.hand.turn_to(at("2025-02-03T02:00:00Z"));
    installation.pass().await;
    assert_eq!((installation.count("prediction").await, installation.count("inference_event").await), (2, 0));
    let reasons: Vec<String> = installation.rejections().await.into_iter().map(|(.., reason)| reason).collect();
    assert_eq!(reasons, ["unpaired", "malformed-row"]);
    for (media, body, expected) in [
        ("application/cloudevents+json", "{", 400),
        ("application/cloudevents+json", "{}", 422),
        ("application/json", "{}", 422),
        ("text/plain", "{}", 415),
    ] {
        assert_eq!(served.send("events", media, "", body).await.0, expected, "{media} {body}");
    }
}

/// Run a program of the documents against a server.
fn example(served: &Served, program: &str, arguments: &[&str]) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = std::process::Command::new(program);
    command.args(arguments).current_dir(root).env("DOSIMETER", &served.base);
    command.env("PYTHONPATH", root.join("target/tools/usr/lib/python3/dist-packages"));
    let ran = command.output().expect("it runs; `make test` installs it");
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_do_what_they_say() {
    let installation = installation().await;
    let served = serve(&installation, MOST_TOGETHER).await;
    let said = example(&served, "python3", &["examples/push.py"]);
    assert!(said.contains("'accepted': 1") && said.contains("'accepted': 2"), "{said}");
    let said = example(&served, "python3", &["examples/push.py"]);
    assert!(said.contains("'duplicates': 1") && said.contains("'duplicates': 2"), "again, and nothing changes: {said}");
    installation.write("some.ndjson", lines(&(0..50).map(prediction).collect::<Vec<_>>()));
    let file = installation.path("some.ndjson");
    let said = example(&served, "examples/push.sh", &[file.to_str().expect("text")]);
    assert!(said.contains("\"accepted\":50"), "{said}");
    // The commands of the page itself.
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/push.md")).expect("the page");
    let commands = page.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("commands");
    let commands = commands.replace("http://127.0.0.1:9187", &served.base);
    let said = example(
        &served,
        "sh",
        &["-ec", &commands.replace("curl --json", "curl -sS -H 'Content-Type: application/json' -d")],
    );
    assert!(said.contains("\"duplicates\":1") && said.contains("\"duplicates\":2"), "the same records: {said}");
    assert_eq!(installation.count("prediction").await, 51);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_and_refused_is_mended_like_anything_else() {
    let installation = installation().await;
    let served = serve(&installation, MOST_TOGETHER).await;
    let early = "2025-03-01T10:00:00Z";
    let mut wide = prediction(1);
    wide["occurred_at"] = json!(early);
    let long = json!({ "case": "s2", "occurred_at": early, "version": "1", "output": "effusion", "score": 0.75 });
    let (status, answer) = served.send_json("predictions", &json!([wide, long])).await;
    assert_eq!((status, answer["rejected"].as_u64()), (422, Some(2)), "{answer}");
    installation.hand.turn_to(at("2025-03-02"));
    let ids: Vec<i64> = sqlx::query_scalar("select rejection_id from rejection order by 1")
        .fetch_all(&installation.pool().await)
        .await
        .expect("rejections");
    let mended = ids.into_iter().map(|rejection_id| Mended { rejection_id, record: None }).collect();
    let person = Person::new("Dr Example", "the clock was wrong").expect("a person");
    let fates = mending::replay(&installation.context(), mended, &person).await.expect("a replay");
    assert!(fates.iter().all(|(_, fate)| matches!(fate, Fate::TakenIn(_))), "{fates:?}");
    let scores: Vec<Vec<f64>> = sqlx::query_scalar("select scores from prediction order by cardinality(scores)")
        .fetch_all(&installation.pool().await)
        .await
        .expect("predictions");
    assert_eq!(scores[0], [0.75], "the row that named one output");
    assert_eq!(scores[1].len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn estimates_keep_coming_while_records_are_sent_without_a_pause() {
    let installation = installation().await;
    let served = serve(&installation, MOST_TOGETHER).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let sender = tokio::spawn({
        let (stop, client, url) = (stop.clone(), served.client.clone(), served.url("predictions"));
        async move {
            let mut sent = 0;
            while !stop.is_cancelled() {
                let request = client.post(&url).header("content-type", "application/json");
                let response = request.body(prediction(sent).to_string()).send().await.expect("an answer");
                assert_eq!(response.status().as_u16(), 200);
                sent += 1;
            }
            sent
        }
    });
    let mut estimated = 0;
    for pass in 0..5 {
        let before = installation.count("prediction").await;
        while installation.count("prediction").await < before + 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::timeout(Duration::from_secs(60), installation.pass()).await.expect("a pass ends");
        let now = installation.count("estimate").await;
        assert!(now > estimated, "pass {pass} published nothing new");
        estimated = now;
    }
    stop.cancel();
    let sent = sender.await.expect("a sender");
    // Each is what the rows of its batch give, whatever came while it was made.
    let estimates: Vec<(i64, Value)> = sqlx::query_as(
        "select recorded, metrics from estimate join output using (output_id)
        where name = 'effusion' and slice = 'all' and window_name = '7d' order by estimate_id",
    )
    .fetch_all(&installation.pool().await)
    .await
    .expect("estimates");
    assert!(estimates.len() >= 5 && sent > 100, "{} of {sent}", estimates.len());
    let last: i64 = sqlx::query_scalar("select last_batch from batch_counter")
        .fetch_one(&installation.pool().await)
        .await
        .expect("a number");
    assert!(estimates.iter().any(|(recorded, _)| *recorded < last), "some were made amid sending");
    for (recorded, metrics) in estimates {
        let knowledge = Knowledge { known_at: None, recorded: Some(recorded) };
        let answer = installation.ask("effusion", "all", window("2025-01-27", NOW), knowledge).await;
        for name in ["predictions", "mean_score"] {
            let stored = metrics.as_array().expect("metrics").iter().find(|metric| metric[0]["name"] == name);
            let stored = stored.unwrap_or_else(|| panic!("no {name} in {metrics}"));
            let value = stored[1].pointer("/Ok/value").or(stored[1].get("value")).and_then(Value::as_f64);
            assert_eq!(value, Some(crate::support::value(&answer, name)), "{name} at batch {recorded}: {stored}");
        }
    }
}
