//! A small server that pages, fails and throttles.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{die_after, exposed, ingest, ingest_after, pulled, scores, with_source};
use crate::support::Installation;

/// What the server holds and how it behaves.
#[derive(Clone, Default)]
struct Upstream {
    records: Arc<Mutex<Vec<Value>>>,
    /// Answers to give instead of a page, the first one first.
    faults: Arc<Mutex<Vec<(u16, &'static str)>>>,
    /// The queries that were asked.
    asked: Arc<Mutex<Vec<HashMap<String, String>>>>,
}

const PAGE: usize = 7;

fn record(n: usize) -> Value {
    json!({ "study": { "uid": format!("s{n}") }, "at": format!("2025-03-01T08:00:{:02}Z", n % 60),
        "changed": format!("2025-03-01T{:02}:{:02}:00Z", 9 + n / 60, n % 60), "effusion": n as f64 / 1e6 })
}

impl Upstream {
    fn with(records: usize) -> Self {
        let upstream = Self::default();
        upstream.records.lock().expect("free").extend((0..records).map(record));
        upstream
    }

    fn fail(&self, faults: &[(u16, &'static str)]) {
        self.faults.lock().expect("free").extend(faults);
    }

    fn asked(&self) -> Vec<HashMap<String, String>> {
        std::mem::take(&mut *self.asked.lock().expect("free"))
    }

    async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = axum::Router::new().route("/results", axum::routing::get(answer)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}/results")
    }
}

async fn answer(
    State(upstream): State<Upstream>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    upstream.asked.lock().expect("free").push(query.clone());
    if headers.get("authorization").is_none_or(|value| value != "Bearer s3cret") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let fault = {
        let mut faults = upstream.faults.lock().expect("free");
        if faults.is_empty() { None } else { Some(faults.remove(0)) }
    };
    match fault {
        Some((200, body)) => return body.to_owned().into_response(),
        Some((0, _)) => {}
        Some((status, wait)) => {
            let status = StatusCode::from_u16(status).expect("a status");
            return (status, [("retry-after", wait)], "no").into_response();
        }
        None => {}
    }
    let since = query.get("since").cloned().unwrap_or_default();
    let records = upstream.records.lock().expect("free").clone();
    let new: Vec<Value> =
        records.into_iter().filter(|record| record["changed"].as_str().expect("a time") >= since.as_str()).collect();
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
    let from = number("cursor").or_else(|| Some((number("page")?.checked_sub(1)?) * PAGE)).unwrap_or(0);
    let page: Vec<Value> = new.iter().skip(from).take(PAGE).cloned().collect();
    let more = (from + PAGE < new.len()).then_some(from + PAGE);
    let mut headers = HeaderMap::new();
    if let Some(more) = more {
        let link = format!("</results?cursor={more}&since={since}>; rel=\"next\"");
        headers.insert("link", link.parse().expect("a header"));
    }
    let body = json!({ "data": { "items": page, "next": more } });
    (headers, axum::Json(body)).into_response()
}

fn source(url: &str, more: &str) -> String {
    with_source(&format!(
        "kind = \"http\"\nurl = \"{url}\"\nrecords = \"/data/items\"\ntoken = \"s3cret\"\nrequests_per_second = 1000\n{more}"
    ))
    .replace("case = \"study\"", "case = \"study.uid\"")
}

const SINCE: &str = "since_parameter = \"since\"\ncursor = \"changed\"\noverlap = \"1h\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_paging_reads_every_record_once() {
    for paging in ["paging = \"cursor\"\nnext = \"/data/next\"", "paging = \"link\"", "paging = \"page\""] {
        let upstream = Upstream::with(40);
        let url = upstream.serve().await;
        let installation = Installation::new(&source(&url, paging), "2025-03-02").await;
        ingest(&installation).await;
        let scores = scores(&installation).await;
        assert_eq!((scores.len(), scores.values().max()), (40, Some(&1)), "{paging}");
        assert!(upstream.asked().len() >= 40 / PAGE, "{paging}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_is_asked_for_from_the_newest_less_the_overlap() {
    let upstream = Upstream::with(70);
    let url = upstream.serve().await;
    let paging = format!("{SINCE}paging = \"cursor\"\nnext = \"/data/next\"");
    let installation = Installation::new(&source(&url, &paging), "2025-03-02").await;
    ingest(&installation).await;
    assert_eq!(installation.count("prediction").await, 70);
    assert_eq!(upstream.asked().iter().filter(|query| query.contains_key("since")).count(), 0, "all of it at first");
    // One that comes late and one that is new.
    upstream.records.lock().expect("free").extend([
        json!({ "study": { "uid": "late" }, "at": "2025-03-01T07:00:00Z", "changed": "2025-03-01T09:30:00Z", "effusion": 0.9 }),
        json!({ "study": { "uid": "new" }, "at": "2025-03-01T12:00:00Z", "changed": "2025-03-01T12:30:00Z", "effusion": 0.8 }),
    ]);
    ingest_after(&installation, 61).await;
    assert_eq!(installation.count("prediction").await, 72);
    assert_eq!(upstream.asked()[0]["since"], "2025-03-01T09:09:00Z", "the newest was of 10:09");
    ingest_after(&installation, 61).await;
    assert_eq!(upstream.asked()[0]["since"], "2025-03-01T11:30:00Z");
    let lag = 86_400.0 - 12.0 * 3600.0 + 122.0;
    let exposed = exposed(&installation).await;
    assert!(exposed.contains(&format!("dosimeter_source_lag_seconds{{source=\"upstream\"}} {lag}")), "{exposed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_throttles_and_breaks_is_left_alone_as_long_as_it_asks_and_read_on_where_it_stopped() {
    let upstream = Upstream::with(40);
    let url = upstream.serve().await;
    let paging = format!("{SINCE}paging = \"link\"");
    let installation = Installation::new(&source(&url, &paging), "2025-03-02").await;
    // Two pages, then patience is asked for.
    upstream.fail(&[(0, ""), (0, ""), (429, "700")]);
    ingest(&installation).await;
    assert_eq!(installation.count("prediction").await, 14, "what came is committed");
    let state = pulled(&installation).await;
    assert_eq!(state.reason.as_deref(), Some("throttled"));
    assert_eq!(state.next_at, crate::support::at("2025-03-02T00:11:40Z"));
    upstream.asked();
    ingest_after(&installation, 699).await;
    assert_eq!(upstream.asked().len(), 0, "it is left alone");
    upstream.fail(&[(503, ""), (500, ""), (200, "{\"data\""), (200, "[]")]);
    let mut reasons = Vec::new();
    for _ in 0..4 {
        ingest_after(&installation, 400).await;
        reasons.push(pulled(&installation).await.reason.expect("a reason"));
    }
    assert_eq!(reasons, ["throttled", "server", "malformed", "malformed"]);
    assert_eq!(upstream.asked()[0]["cursor"], "14", "it goes on with the page that it had come to");
    ingest_after(&installation, 400).await;
    let scores = scores(&installation).await;
    assert_eq!((scores.len(), scores.values().max()), (40, Some(&1)));
    let exposed = exposed(&installation).await;
    for (reason, count) in [("throttled", 2), ("server", 1), ("malformed", 2), ("refused", 0)] {
        let line = format!("dosimeter_source_failures_total{{source=\"upstream\",reason=\"{reason}\"}} {count}");
        assert!(exposed.contains(&line), "{line} not in {exposed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_goes_on_and_a_page_that_is_forgotten_is_asked_for_from_the_start() {
    let upstream = Upstream::with(300);
    let url = upstream.serve().await;
    let installation =
        Installation::new(&source(&url, "paging = \"cursor\"\nnext = \"/data/next\""), "2025-03-02").await;
    for part in 1..=4 {
        die_after(&installation, part * 50).await;
    }
    upstream.fail(&[(410, "")]);
    upstream.asked();
    ingest_after(&installation, 61).await;
    let asked = upstream.asked();
    assert!(asked[0].contains_key("cursor") && !asked[1].contains_key("cursor"), "{asked:?}");
    for _ in 0..3 {
        ingest_after(&installation, 61).await;
    }
    let scores = scores(&installation).await;
    assert_eq!((scores.len(), scores.values().max()), (300, Some(&1)));
    assert_eq!(installation.count("rejection").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_is_told_and_bad_records_are_rejections() {
    let upstream = Upstream::with(3);
    upstream
        .records
        .lock()
        .expect("free")
        .push(json!({ "study": { "uid": "x" }, "at": "soon", "changed": "2025-03-01T09:30:00Z" }));
    let url = upstream.serve().await;
    let locked = source(&url, "").replace("s3cret", "wrong");
    let installation = Installation::new(&locked, "2025-03-02").await;
    ingest(&installation).await;
    let state = pulled(&installation).await;
    assert_eq!(state.reason.as_deref(), Some("refused"));
    assert!(!state.message.expect("a message").contains("wrong"), "secrets are not told");
    let installation = Installation::new(&source(&url, ""), "2025-03-02").await;
    for _ in 0..3 {
        ingest_after(&installation, 61).await;
    }
    assert_eq!(installation.count("prediction").await, 3);
    assert_eq!(installation.rejections().await, [(url, 0, "bad-time".to_owned())], "once, however often it is read");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_end_is_refused() {
    let upstream = Upstream::with(0);
    let url = upstream.serve().await;
    upstream.fail(&[(200, Box::leak("[".repeat(3 << 20).into_boxed_str()))]);
    let installation = Installation::new(&source(&url, "most_megabytes = 2"), "2025-03-02").await;
    ingest(&installation).await;
    let state = pulled(&installation).await;
    assert!(state.message.as_ref().expect("a message").contains("more than 2 MiB"), "{state:?}");
}
