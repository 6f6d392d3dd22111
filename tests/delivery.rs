//! Notices to a real server: what is tried again, what is given up, and who is told of that.

use std::collections::VecDeque;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use dosimeter::job::Job;
use dosimeter::runtime::Outcome;
use dosimeter::store::alert::HumanStep;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::alerting::write_day;
use crate::support::{Installation, SMALL, at, free_port};

const RULE: &str =
    "[[model.alert]]\nname = \"auroc-low\"\nmetric = \"auroc\"\nslice = \"site=*\"\nwindow = \"7d\"\nbelow = 0.75\n\n";

/// A plan with these routes; the south is bad there as soon as a day is written.
pub fn config(routes: &str) -> String {
    SMALL.replacen("[[source]]", &format!("{RULE}[[source]]"), 1)
        + "\n[notify]\nretry_after = \"30s\"\ngive_up_after = \"3d\"\n"
        + routes
}

pub fn route(name: &str, channel: &str, rest: &str) -> String {
    format!("[[notify.route]]\nname = \"{name}\"\nchannel = \"{channel}\"\n{rest}\n")
}

/// One request that a server got.
#[derive(Clone, Debug)]
pub struct Got {
    pub method: String,
    pub path: String,
    headers: axum::http::HeaderMap,
    pub body: String,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().expect("text")
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

type Answers = Arc<Mutex<VecDeque<(u16, &'static str)>>>;

/// A server that gives the answers it is told to, and 200 after them.
pub struct Server {
    pub url: String,
    got: Arc<Mutex<Vec<Got>>>,
    answers: Answers,
}

impl Server {
    pub async fn start(answers: &[(u16, &'static str)]) -> Self {
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let answers: Answers = Arc::new(Mutex::new(answers.iter().copied().collect()));
        let take = async |State((got, answers)): State<(Arc<Mutex<Vec<Got>>>, Answers)>, request: Request| {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
            let body = String::from_utf8(body.to_vec()).expect("text");
            got.lock().expect("no panic").push(Got {
                method: parts.method.to_string(),
                path: parts.uri.to_string(),
                headers: parts.headers,
                body,
            });
            let (status, retry_after) = answers.lock().expect("no panic").pop_front().unwrap_or((200, ""));
            let status = StatusCode::from_u16(status).expect("a status");
            let mut response = (status, "the server's words").into_response();
            if !retry_after.is_empty() {
                response.headers_mut().insert("retry-after", retry_after.parse().expect("a value"));
            }
            response
        };
        let router = axum::Router::new().fallback(take).with_state((got.clone(), answers.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, got, answers }
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().expect("no panic").clone()
    }
}

/// What the example of the documentation makes of a signature that was made at `now`.
fn is_ours(got: &Got, secret: &str, now: i64) -> bool {
    let documentation = include_str!("../docs/notices.md");
    let (_, rest) = documentation.split_once("```python\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let script = format!(
        "import sys\n{example}\ntime.time = lambda: {now}\nprint(is_ours(sys.argv[1], sys.argv[2].encode(), sys.argv[3]))"
    );
    let arguments = [got.header("x-dosimeter-signature"), &got.body, secret];
    let output = Command::new("python3").args(["-c", &script]).args(arguments).output().expect("python3");
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(["True", "False"].contains(&said.as_str()), "{output:?}");
    said == "True"
}

pub async fn audited(installation: &Installation, action: &str) -> Vec<(String, String, String, Value)> {
    sqlx::query_as("select actor, subject, reason, detail from audit where action = $1 order by audit_id")
        .bind(action)
        .fetch_all(&installation.pool().await)
        .await
        .expect("the audit")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_signed_and_tried_again_until_it_is_taken() {
    let server = Server::start(&[(503, ""), (429, "600")]).await;
    let secret = "the signing secret of the tests";
    let rest = format!("url = \"{}/hook?token=hidden\"\nsecret = \"{secret}\"", server.url);
    let installation = Installation::new(&config(&route("archive", "webhook", &rest)), "2025-02-02T01:00:00Z").await;
    write_day(&installation, "2025-02-01");
    installation.pass().await;
    assert_eq!(server.got().len(), 1, "503: it waits half a minute");
    Job::Notify.run(&installation.context()).await;
    assert_eq!(server.got().len(), 1);
    installation.hand.turn_to(at("2025-02-02T01:00:30Z"));
    Job::Notify.run(&installation.context()).await;
    assert_eq!(server.got().len(), 2, "429: it waits as long as the server asks");
    installation.hand.turn_to(at("2025-02-02T01:10:29Z"));
    Job::Notify.run(&installation.context()).await;
    assert_eq!(server.got().len(), 2);
    installation.hand.turn_to(at("2025-02-02T01:10:30Z"));
    for _ in 0..2 {
        Job::Notify.run(&installation.context()).await;
    }
    let got = server.got();
    assert_eq!(got.len(), 3, "and once it is taken it is not sent again");

    // The receiver can tell a repetition, and whether it comes from us.
    let keys: Vec<&str> = got.iter().map(|got| got.header("idempotency-key")).collect();
    assert!(keys.iter().all(|key| *key == keys[0] && key.ends_with("-outbox-1")), "{keys:?}");
    assert!(got.iter().all(|one| one.body == got[0].body && one.path == "/hook?token=hidden"));
    let moments = ["2025-02-02T01:00:00Z", "2025-02-02T01:00:30Z", "2025-02-02T01:10:30Z"];
    for (got, moment) in got.iter().zip(moments) {
        let seconds = at(moment).timestamp();
        assert!(got.header("x-dosimeter-signature").starts_with(&format!("t={seconds},v1=")), "{got:?}");
        assert!(is_ours(got, secret, seconds) && !is_ours(got, "the secret of somebody else", seconds), "{got:?}");
        assert!(!is_ours(got, secret, seconds + 301), "an old document may be a replay");
        assert!(!is_ours(&Got { body: got.body.replace("south", "north"), ..got.clone() }, secret, seconds));
        assert_eq!(got.header("content-type"), "application/json");
    }
    let document = got[2].json();
    for (field, wanted) in [
        ("kind", "alert"),
        ("rule", "auroc-low"),
        ("model", "chest-xray"),
        ("output", "effusion"),
        ("slice", "site=south"),
        ("severity", "page"),
        ("state", "firing"),
        ("transition", "fired"),
        ("metric", "auroc"),
    ] {
        assert_eq!(document[field], wanted, "{document:#}");
    }
    assert_eq!((&document["alert_id"], &document["n"]), (&1.into(), &30.into()));
    assert_eq!(document["limit"], serde_json::json!({ "side": "below", "value": 0.75 }));
    assert!(document["interval"]["upper"].as_f64().is_some_and(|upper| upper < 0.75));

    let receipts = audited(&installation, "notice sent").await;
    assert_eq!(receipts.len(), 1);
    let detail = &receipts[0].3;
    assert_eq!((&detail["attempt"], &detail["answer"]), (&3.into(), &"HTTP 200 OK the server's words".into()));
    assert_eq!(detail["recipient"], server.url, "no more of the address than its host");
    let all: String = sqlx::query_scalar(
        "select string_agg(audit::text, '') || (select string_agg(outbox::text, '') from outbox) from audit",
    )
    .fetch_one(&installation.pool().await)
    .await
    .expect("text");
    assert!(!all.contains("hidden") && !all.contains(secret), "no secret is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_becomes_a_dead_letter_and_everybody_else_is_told() {
    let (bad, good) = (Server::start(&[(400, ""), (400, "")]).await, Server::start(&[]).await);
    let routes = route("chat", "slack", &format!("url = \"{}/services/T0/B0/hidden\"", bad.url))
        + &route(
            "pager",
            "pagerduty",
            &format!("url = \"{}/v2/enqueue\"\nsecret = \"R0\"\nmodels = [\"chest-xray\"]", good.url),
        );
    let installation = Installation::new(&config(&routes), "2025-02-02T01:00:00Z").await;
    write_day(&installation, "2025-02-01");
    installation.pass().await;
    assert_eq!(bad.got().len(), 1, "400 is not tried again");
    let store = installation.context().store;
    let dead = store.list_notices(true, 10).await.expect("notices");
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].route.as_str(), dead[0].attempts), ("chat", 1));
    let error = dead[0].last_error.clone().unwrap_or_default();
    assert!(error.contains("400: the server's words") && !error.contains("hidden"), "{error}");
    let deaths = audited(&installation, "notice dead").await;
    assert_eq!((deaths.len(), deaths[0].1.as_str()), (1, "notice 1"));

    let events: Vec<Value> = good.got().iter().map(Got::json).collect();
    assert_eq!(events.len(), 2, "the alert, and the dead letter: {events:#?}");
    assert!(events.iter().all(|event| event["routing_key"] == "R0" && event["event_action"] == "trigger"));
    let summary = events[1]["payload"]["summary"].as_str().unwrap_or_default();
    assert!(summary.starts_with("[dead letter] not sent by chat: [page] auroc-low"), "{summary}");
    assert_ne!(events[0]["dedup_key"], events[1]["dedup_key"]);
    installation.pass().await;
    let text = installation.context().exporter.render().expect("text");
    for line in [
        "dosimeter_outbox_dead 1",
        "dosimeter_outbox_dead_total{route=\"chat\",channel=\"slack\"} 1",
        "dosimeter_outbox_sent_total{route=\"pager\",channel=\"pagerduty\"} 2",
        "dosimeter_outbox_pending 0",
    ] {
        assert!(text.contains(line), "{line} is missing: {text}");
    }

    // Sent again, it dies again; mended, it arrives.
    for (round, died) in [(1, true), (2, false)] {
        store.retry_notice(1, "Dr Example", "the channel was renamed", at("2025-02-02T02:00:00Z")).await.expect("dead");
        installation.hand.turn_to(at("2025-02-02T02:00:00Z"));
        Job::Notify.run(&installation.context()).await;
        assert_eq!(bad.got().len(), 1 + round);
        assert_eq!(store.list_notices(true, 10).await.expect("notices").len(), usize::from(died));
    }
    let retried = audited(&installation, "notice retried").await;
    assert_eq!(retried.len(), 2);
    assert_eq!((retried[0].0.as_str(), retried[0].2.as_str()), ("Dr Example", "the channel was renamed"));
    let refused = store.retry_notice(1, "a", "b", at("2025-02-02T02:00:00Z")).await.expect_err("it was sent");
    assert!(refused.to_string().contains("notice 1 is no dead letter"), "{refused}");
    assert!(bad.answers.lock().expect("no panic").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_about_dead_letters_that_die_beget_no_more() {
    let server = Server::start(&[(400, ""); 40]).await;
    let routes = route("one", "slack", &format!("url = \"{}/1\"", server.url))
        + &route("two", "slack", &format!("url = \"{}/2\"", server.url));
    let installation = Installation::new(&config(&routes), "2025-02-02T01:00:00Z").await;
    write_day(&installation, "2025-02-01");
    for _ in 0..4 {
        installation.pass().await;
    }
    // Two of the alert, and each death told to the other route once.
    assert_eq!(server.got().len(), 4);
    assert_eq!(installation.context().store.list_notices(true, 10).await.expect("notices").len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_server_is_given_up_after_days_not_before() {
    let rest = format!("url = \"http://127.0.0.1:{}/x\"", free_port());
    let installation = Installation::new(&config(&route("chat", "slack", &rest)), "2025-02-02T01:00:00Z").await;
    write_day(&installation, "2025-02-01");
    installation.pass().await;
    let store = installation.context().store;
    // An hour at a time: days in which nobody tried would not count.
    for hour in 1..=74 {
        let moment = at("2025-02-02T01:00:00Z") + chrono::TimeDelta::hours(hour);
        let died = usize::from(hour > 71);
        installation.hand.turn_to(moment);
        Job::Notify.run(&installation.context()).await;
        let dead = store.list_notices(true, 10).await.expect("notices");
        assert_eq!(dead.len(), died, "{moment}");
    }
    let error = store.list_notices(true, 10).await.expect("notices")[0].last_error.clone().unwrap_or_default();
    assert!(error.contains("cannot be reached; is the route's url right") && !error.contains("/x"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_hear_of_every_step_in_order_and_people_of_the_end() {
    let (pager, chat) = (Server::start(&[(500, "")]).await, Server::start(&[]).await);
    let routes = route("pager", "pagerduty", &format!("url = \"{}\"\nsecret = \"R0\"", pager.url))
        + &route("chat", "slack", &format!("url = \"{}\"", chat.url));
    let installation = Installation::new(&config(&routes), "2025-02-02T01:00:00Z").await;
    write_day(&installation, "2025-02-01");
    installation.pass().await;
    let store = installation.context().store;
    // Steps are taken while the first notice still waits: they must not overtake it.
    let now = at("2025-02-02T01:00:10Z");
    installation.hand.turn_to(now);
    store.step_alert(1, HumanStep::Acknowledge, "Dr Example", "looking", now).await.expect("a step");
    store.step_alert(1, HumanStep::Resolve, "Dr Example", "scanner exchanged", now).await.expect("a step");
    Job::Notify.run(&installation.context()).await;
    assert_eq!(pager.got().len(), 1, "the first has failed and waits, and the others behind it");
    installation.hand.turn_to(at("2025-02-02T01:01:00Z"));
    Job::Notify.run(&installation.context()).await;
    let events: Vec<Value> = pager.got().iter().skip(1).map(Got::json).collect();
    let actions: Vec<&str> = events.iter().filter_map(|event| event["event_action"].as_str()).collect();
    assert_eq!(actions, ["trigger", "acknowledge", "resolve"]);
    assert!(events.iter().all(|event| event["dedup_key"] == events[0]["dedup_key"]));
    assert_eq!(events[2]["payload"]["custom_details"]["actor"], "Dr Example");
    assert_eq!(events[2]["payload"]["custom_details"]["reason"], "scanner exchanged");
    let texts: Vec<Value> = chat.got().iter().map(|got| got.json()["text"].clone()).collect();
    assert_eq!(texts.len(), 2, "fired and resolved: {texts:?}");
    assert_eq!(texts[1], format!("Re: {}", texts[0].as_str().unwrap_or_default()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_that_cannot_be_read_is_a_dead_letter_and_stops_no_other() {
    let config = SMALL.to_owned() + "[notify]\nto = [\"a@b.example\"]\ndirectory = \"mail\"\n";
    let installation = Installation::new(&config, "2025-02-03").await;
    let good = serde_json::to_value(dosimeter::alert::notice::test("http://here", at("2025-02-01"))).expect("JSON");
    let insert = "insert into outbox (route, channel, recipient, escalation, opens_thread, report, created_at, queued_at, next_attempt_at, set_at, attempts)
        values ('default', 'email', 'a@b.example', 0, true, $1, '2025-02-01', '2025-02-01', '2025-02-01', '2025-02-01', 0)";
    let pool = installation.pool().await;
    for report in [serde_json::json!({ "from": "another release" }), good] {
        sqlx::query(insert).bind(report).execute(&pool).await.expect("a notice");
    }
    assert_eq!(Job::Notify.run(&installation.context()).await, Outcome::Done);
    let notices = installation.context().store.list_notices(false, 10).await;
    let dead: Vec<(bool, bool, Option<String>)> =
        sqlx::query_as("select dead_at is not null, sent_at is not null, last_error from outbox order by outbox_id")
            .fetch_all(&pool)
            .await
            .expect("notices");
    assert!(
        dead[0].0 && !dead[0].1 && dead[0].2.as_deref().is_some_and(|why| why.contains("later release")),
        "{dead:?}"
    );
    assert_eq!(dead[1], (false, true, None));
    assert_eq!(notices.expect("both are listed").len(), 2);
}
