//! The API of history: pages, forms, unchanged answers, scopes; what was known then against what is known now.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use dosimeter::access::Role;
use dosimeter::query::diff::{ChangeKind, Diff, diff};
use dosimeter::query::{Question, Row};
use dosimeter::store::rows::Knowledge;
use polars::prelude::{ParquetReader, SerReader};
use serde_json::Value;

use crate::http::token;
use crate::lifecycle::serve;
use crate::support::{Installation, SMALL, at, said, window};

const PREDICTIONS: &str = "study,at,effusion,nodule,site,sex\n\
    a,2025-02-01T08:00:00Z,0.9,0.1,north,F\nb,2025-02-01T09:00:00Z,0.4,0.2,north,M\n\
    c,2025-02-01T10:00:00Z,0.3,0.3,south,F\nd,2025-02-02T10:00:00Z,0.8,0.4,south,M\n\
    e,2025-02-02T11:00:00Z,0.6,0.5,south,F\n";

/// An answer of the API.
struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> String {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    }
}

struct Client(u16, String);

impl Client {
    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = reqwest::Client::new().get(format!("http://127.0.0.1:{}{path}", self.0)).bearer_auth(&self.1);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.bytes().await.expect("a body").to_vec() }
    }

    /// Every item of a list, page by page, by the address that each page gives.
    async fn all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut next = path.to_owned();
        for _ in 0..1000 {
            let answer = self.get(&next, &[]).await;
            assert_eq!(answer.status, 200, "{next}: {}", answer.text());
            let page = answer.json();
            items.extend(page["items"].as_array().expect("items").clone());
            let link = answer.header("link");
            assert_eq!(link.is_empty(), page.get("next").is_none(), "{link}");
            if link.is_empty() {
                return items;
            }
            link.split(['<', '>']).nth(1).expect("an address").clone_into(&mut next);
        }
        panic!("{path} has no end");
    }
}

/// A small department with three days of estimates and an alert for each slice.
async fn installation() -> Installation {
    let rule = "\n[[model.alert]]\nname = \"many\"\nmetric = \"predictions\"\noutput = \"effusion\"\nwindow = \"7d\"\nslice = \"site=*\"\n\
        above = 0.5\nbound = \"value\"\nfor = \"0s\"\n";
    let config = SMALL.replacen("\n[[source]]", &format!("{rule}\n[[source]]"), 1);
    let installation = Installation::new(&config, "2025-02-03T01:00:00Z").await;
    installation.write("predictions/1.csv", PREDICTIONS);
    installation
        .write("truth/1.csv", "study,finding,value,at\na,effusion,1,2025-02-01T12:00:00Z\nc,effusion,1,2025-02-02\n");
    for day in 3..6 {
        installation.hand.turn_to(at(&format!("2025-02-0{day}T01:00:00Z")));
        installation.pass().await;
    }
    installation
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_page_by_page_in_the_form_that_is_asked_for_and_only_when_they_have_changed() {
    let installation = installation().await;
    let port = serve(&installation).await;
    let client = Client(port, token(&installation, "reader", &[Role::Operate, Role::Audit], None).await.1);
    let stream = "model=chest-xray&output=effusion";
    let diffed = format!("{stream}&from=2025-02-01&to=2025-02-03&then=2025-02-02");
    for (path, least) in [
        ("/api/v1/models?".to_owned(), 1),
        ("/api/v1/versions?".to_owned(), 1),
        ("/api/v1/estimates?".to_owned(), 100),
        (format!("/api/v1/estimates?{stream}&slice=site%3Dnorth&window=7d"), 3),
        (format!("/api/v1/series?{stream}&window=7d"), 3),
        (format!("/api/v1/series?{stream}&window=7d&from=2025-02-01&to=2025-02-05&known_at=2025-02-02"), 5),
        (format!("/api/v1/coverage?{stream}&from=2025-02-01&to=2025-02-05"), 4),
        (format!("/api/v1/diff/cases?{diffed}"), 1),
        ("/api/v1/alerts?".to_owned(), 2),
        ("/api/v1/silences?".to_owned(), 0),
        ("/api/v1/sources?".to_owned(), 2),
        ("/api/v1/rejections?".to_owned(), 0),
        ("/api/v1/jobs?".to_owned(), 12),
        ("/api/v1/plans?".to_owned(), 1),
        ("/api/v1/audit?".to_owned(), 5),
        ("/api/v1/audit?action=alert&text=site%3Dnorth".to_owned(), 1),
        ("/api/v1/tokens?".to_owned(), 1),
        ("/api/v1/health?".to_owned(), 0),
        ("/api/v1/streams?".to_owned(), 0),
        ("/api/v1/budget?as_of=2025-02-04".to_owned(), 2),
        ("/api/v1/drift?model=chest-xray&from=2025-02-01&to=2025-02-05".to_owned(), 1),
    ] {
        let whole = client.all(&format!("{path}&limit=1000")).await;
        assert!(whole.len() >= least, "{path}: {}", whole.len());
        let few = client.all(&format!("{path}&limit={}", whole.len().div_ceil(3).max(1))).await;
        assert_eq!(few, whole, "{path}: pages hold what the whole holds");

        let json = client.get(&path, &[]).await;
        let (tag, kept) = (json.header("etag"), json.header("cache-control"));
        assert!(tag.starts_with('"') && kept == "private, no-cache", "{path}: {tag} {kept}");
        let again = client.get(&path, &[("If-None-Match", &tag)]).await;
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, tag.clone()), "{path}");
        assert_eq!(client.get(&path, &[("If-None-Match", "\"other\"")]).await.status, 200);

        let csv = client.get(&format!("{path}&format=csv&limit=1000"), &[]).await;
        assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8", "{path}");
        assert_ne!(csv.header("etag"), tag);
        let accepted = client.get(&format!("{path}&limit=1000"), &[("Accept", "text/csv")]).await;
        assert_eq!(accepted.body, csv.body, "{path}");
        let mut reader = csv::Reader::from_reader(csv.body.as_slice());
        let columns = reader.headers().expect("a header").len();
        let rows = reader.records().collect::<Result<Vec<_>, _>>().expect("rows").len();
        let parquet = client.get(&format!("{path}&format=parquet&limit=1000"), &[]).await;
        let frame = ParquetReader::new(std::io::Cursor::new(parquet.body)).finish().expect("Parquet");
        assert_eq!(frame.shape(), (rows, columns), "{path}");
    }
    for (path, status, words) in [
        ("/api/v1/alerts?limit=0", 400, "1 to 1000"),
        ("/api/v1/alerts?after=x", 422, "no cursor of this list"),
        ("/api/v1/alerts?as_of=soon", 400, "soon"),
        ("/api/v1/alerts?format=xml", 400, "xml"),
        ("/api/v1/estimates/99999", 404, "no estimate 99999"),
        ("/api/v1/plans/99", 404, "no plan 99"),
        ("/api/v1/plans/1/diff", 404, "the first one"),
        ("/api/v1/series?model=chest-xray&output=none&window=7d", 404, "it has effusion, nodule"),
        ("/api/v1/series?model=knee&output=none&window=7d", 404, "some of chest-xray"),
        ("/api/v1/series?model=chest-xray&output=effusion&window=7d&known_at=2025-02-02", 404, "needs from and to"),
    ] {
        let answer = client.get(path, &[]).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
    }
    let refused = client.get("/api/v1/alerts", &[("Accept", "image/png")]).await;
    assert_eq!(refused.status, 406, "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn undefined_is_a_reason_in_every_form() {
    let installation = installation().await;
    let port = serve(&installation).await;
    let client = Client(port, token(&installation, "reader", &[Role::Read], None).await.1);
    let path = "/api/v1/series?model=chest-xray&output=effusion&window=7d&metric=auroc";
    let json = client.get(path, &[]).await.json();
    let metric = &json["items"][0]["metrics"][0];
    assert_eq!((&metric["undefined"]["code"], metric.get("value")), (&"no-negatives".into(), None), "{metric}");
    let csv = client.get(&format!("{path}&format=csv"), &[]).await.text();
    let header: Vec<&str> = csv.lines().next().expect("a header").split(',').collect();
    let row: Vec<&str> = csv.lines().nth(1).expect("a row").split(',').collect();
    let cell = |name: &str| row[header.iter().position(|column| *column == name).expect("a column")];
    assert_eq!((cell("value"), cell("undefined")), ("", "no-negatives"));
    assert!(cell("reason").contains("no negatives"), "{csv}");
    let refused = client
        .get("/api/v1/diff/cases?model=chest-xray&output=effusion&from=2025-02-01&to=2025-02-03&then=2025-02-02", &[])
        .await;
    assert!(refused.status == 403 && refused.text().contains("operate or audit"), "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_may_not_see_takes_no_place_on_its_pages() {
    let other = "\n[[model]]\nname = \"knee\"\noutput = [{ name = \"tear\" }]\nwindows = [\"7d\"]\nhealth = { no_predictions = false, no_truth = false, \
        coverage = false, delay = false, rejections = false, stale_source = false, schema = false, unknown_version = false, unwatched = false }\n\
        [[model.alert]]\nname = \"many\"\nmetric = \"predictions\"\noutput = \"tear\"\nwindow = \"7d\"\nabove = 0.5\nbound = \"value\"\nfor = \"0s\"\n\
        [[source]]\nmodel = \"knee\"\nname = \"knees\"\npaths = [\"knees\"]\nsettle = \"0s\"\ncolumns = { case = \"study\", occurred_at = \"at\" }\n\
        constants = { version = \"1\" }\n";
    let config = SMALL.replace("[[source]]\n", "[[source]]\nmodel = \"chest-xray\"\n") + other;
    let rule = "\n[[model.alert]]\nname = \"many\"\nmetric = \"predictions\"\noutput = \"effusion\"\nwindow = \"7d\"\nslice = \"site=*\"\nabove = 0.5\n\
        bound = \"value\"\nfor = \"0s\"\n";
    let config = config.replacen("\n[[source]]", &format!("{rule}\n[[source]]"), 1);
    let installation = Installation::new(&config, "2025-02-02T01:00:00Z").await;
    installation.write("knees/1.csv", "study,at,tear\nk,2025-02-01T08:00:00Z,0.9\n");
    installation.pass().await;
    installation.hand.turn_to(at("2025-02-03T01:00:00Z"));
    installation.write("predictions/1.csv", PREDICTIONS);
    installation.pass().await;
    let port = serve(&installation).await;
    let client = Client(port, token(&installation, "knees", &[Role::Operate], Some(&["knee"])).await.1);
    // The knee's alert is older than all of the chest's: a page of one has it all the same.
    let page = client.get("/api/v1/alerts?limit=1", &[]).await.json();
    assert_eq!((page["items"][0]["model"].as_str(), page.get("next")), (Some("knee"), None), "{page}");
    let silence = |model: &str| dosimeter::alert::silence::Matcher {
        model: model.into(),
        version: "*".into(),
        rule: "many".into(),
        output: "*".into(),
        slice: "*".into(),
    };
    let context = installation.context();
    let person = dosimeter::person::Person::new("Dr Example", "works").expect("a person");
    for model in ["knee", "chest-xray", "chest-xray"] {
        let hour = std::time::Duration::from_secs(3600);
        dosimeter::person::add_silence(&context, silence(model), None, hour, &person).await.expect("a silence");
    }
    let page = client.get("/api/v1/silences?limit=1", &[]).await.json();
    assert_eq!(page["items"][0]["model"], "knee", "{page}");
    let estimates = client.all("/api/v1/estimates?limit=7").await;
    assert!(!estimates.is_empty() && estimates.iter().all(|one| one["model"] == "knee"));
    let foreign =
        context.store.list_estimates(&dosimeter::store::series::EstimateFilter::default(), 1).await.expect("one");
    let answer = client.get(&format!("/api/v1/estimates/{}", foreign[0].estimate_id), &[]).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    for path in ["/api/v1/estimates?model=chest-xray", "/api/v1/versions?model=chest-xray", "/api/v1/plans"] {
        assert_eq!(client.get(path, &[]).await.status, 403, "{path}");
    }
}

fn question(output: &str, slice: &str) -> Question {
    Question {
        model: "chest-xray".into(),
        version: None,
        output: output.into(),
        slice: slice.parse().expect("a slice"),
        window: window("2025-02-01", "2025-02-03"),
        knowledge: Knowledge::default(),
        thresholds: Vec::new(),
        reference_id: None,
        most_rows: None,
    }
}

/// One side of a difference, as [`said`] of an answer.
fn side(found: &Diff, of: impl Fn(&dosimeter::query::diff::Change) -> &Row) -> String {
    serde_json::to_string(&found.metrics.iter().map(of).collect::<Vec<_>>()).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_names_the_labels_that_account_for_it() {
    let installation = Installation::new(SMALL, "2025-02-03T01:00:00Z").await;
    let four: String =
        PREDICTIONS.lines().filter(|line| !line.starts_with('e')).map(|line| format!("{line}\n")).collect();
    installation.write("predictions/1.csv", four);
    installation.write(
        "truth/1.csv",
        "study,finding,value,status,at\na,effusion,1,final,2025-02-02\nb,effusion,1,final,2025-02-02\nc,effusion,0,final,2025-02-02\n",
    );
    installation.pass().await;
    // Later: d gets its truth, which the hospital had before; b is revised, c taken back; e's prediction comes with its truth.
    installation.hand.turn_to(at("2025-02-10T01:00:00Z"));
    installation
        .write("predictions/2.csv", "study,at,effusion,nodule,site,sex\ne,2025-02-02T11:00:00Z,0.6,0.5,south,F\n");
    installation.write(
        "truth/2.csv",
        "study,finding,value,status,at\nd,effusion,1,final,2025-02-02T20:00:00Z\nb,effusion,0,corrected,2025-02-05\n\
         c,effusion,0,entered-in-error,2025-02-06\ne,effusion,0,final,2025-02-07\n",
    );
    installation.pass().await;
    let context = installation.context();
    let then = at("2025-02-04");
    let found = diff(&context, &question("effusion", "all"), then, None).await.expect("a difference");

    let kinds: BTreeMap<&str, ChangeKind> =
        found.cases.iter().map(|case| (case.now.as_deref().unwrap_or("none"), case.kind)).collect();
    assert_eq!(found.cases.len(), 4);
    assert_eq!(kinds["none"], ChangeKind::Retracted);
    let counts: Vec<_> =
        found.counts.iter().map(|one| (one.kind, one.cases, one.observed_by_then, one.delay_p50_seconds)).collect();
    assert_eq!(
        counts,
        [
            (ChangeKind::Late, 1, 1, Some(10 * 3600)),
            (ChangeKind::Revised, 1, 0, Some(87 * 3600)),
            (ChangeKind::Retracted, 1, 0, Some(110 * 3600)),
            (ChangeKind::NewPrediction, 1, 0, None),
        ]
    );
    // Both sides are what a question of that knowledge answers, bit for bit.
    let days = window("2025-02-01", "2025-02-03");
    let knowledge = Knowledge { known_at: Some(then), recorded: Some(found.then.recorded) };
    let before = installation.ask("effusion", "all", days, knowledge).await;
    assert_eq!(side(&found, |change| &change.then), said(&before));
    let after = installation.ask("effusion", "all", days, Knowledge::default()).await;
    assert_eq!(side(&found, |change| &change.now), said(&after));
    let of = |name: &str| found.metrics.iter().find(|change| change.metric == name).expect("a metric");
    let value = |row: &Row| row.estimate.as_ref().map(|estimate| estimate.value);
    let labelled = of("labelled");
    let all = [&labelled.then, &labelled.with_late, &labelled.with_revised, &labelled.with_predictions, &labelled.now];
    assert_eq!(all.map(value), [Some(3.0), Some(4.0), Some(2.0), Some(4.0), Some(4.0)]);
    assert!(of("auroc").now.undefined.is_none() && of("auroc").with_revised.undefined.is_none());

    // A slice has its own cases only, and nothing differs from itself.
    let south = diff(&context, &question("effusion", "site=south"), then, None).await.expect("a difference");
    assert_eq!(south.cases.len(), 3);
    let same = diff(&context, &question("effusion", "all"), then, Some(then)).await.expect("a difference");
    assert!(same.cases.is_empty() && same.counts.is_empty());
    assert_eq!(side(&same, |change| &change.then), side(&same, |change| &change.now));
    let refused = diff(&context, &question("(readers) effusion", "all"), then, None).await.expect_err("no truth");
    assert!(refused.to_string().contains("no truth of its own"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_made_anew_is_what_each_window_answers_by_itself() {
    let installation = installation().await;
    let context = installation.context();
    let span = dosimeter::store::series::Span { from: Some(at("2025-02-02")), to: Some(at("2025-02-05")), as_of: None };
    let asked = dosimeter::history::Asked {
        model: "chest-xray".into(),
        version: None,
        output: "effusion".into(),
        slice: "site=north".parse().expect("a slice"),
        window: "7d".into(),
        metric: None,
        span,
    };
    let knowledge = Knowledge { known_at: Some(at("2025-02-02")), recorded: None };
    let anew = dosimeter::history::recompute(&context, &asked, knowledge, (None, 100), None).await.expect("a series");
    assert_eq!(anew.len(), 4);
    for answer in &anew {
        assert_eq!(answer.to - answer.from, TimeDelta::days(7));
        let days = dosimeter::domain::Window { from: answer.from, to: answer.to };
        assert_eq!(said(answer), said(&installation.ask("effusion", "site=north", days, knowledge).await));
    }
    // With the knowledge of then it is what was published then.
    let published = dosimeter::history::series(&context, &asked, None, 100).await.expect("a series");
    let last = published.last().expect("a window");
    let knowledge = Knowledge { known_at: Some(last.known_at), recorded: Some(last.recorded) };
    let days = dosimeter::domain::Window { from: last.from, to: last.to };
    let again = installation.ask("effusion", "site=north", days, knowledge).await;
    let stored: BTreeMap<&str, String> =
        last.metrics.iter().map(|row| (row.metric.as_str(), serde_json::to_string(row).expect("JSON"))).collect();
    assert!(stored.len() > 10);
    for row in again.metrics.iter().filter(|row| stored.contains_key(row.metric.as_str())) {
        assert_eq!(serde_json::to_string(row).expect("JSON"), stored[row.metric.as_str()]);
    }
}
