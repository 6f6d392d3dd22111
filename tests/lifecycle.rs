//! The life of an alert: who is told, who is not and why, and what people do about it by command, API and link.

use std::io::{Read, Write};
use std::time::Duration;

use dosimeter::alert::link::{Action, Link, Signer};
use dosimeter::alert::report::Report;
use dosimeter::alert::silence::{ANY, Matcher};
use dosimeter::notify::render;
use dosimeter::person::{self, Person};
use dosimeter::store::Error;
use dosimeter::store::alert::{AlertRow, EventRow, HumanStep};
use dosimeter::store::rows::Knowledge;
use serde_json::Value;

use crate::alerting::write_day;
use crate::support::{Installation, SMALL, at, binary, give_away, plan, value, window};

const TOKEN: &str = "a token of the tests that is long enough";
const HOUR: Duration = Duration::from_secs(3600);

/// A rule on AUROC over thirty days that the south of `write_day` breaks.
fn rule(name: &str, slice: &str, more: &str) -> String {
    format!(
        "[[model.alert]]\nname = \"{name}\"\nmetric = \"auroc\"\noutput = \"effusion\"\nslice = \"{slice}\"\n\
         below = 0.9\nbound = \"value\"\n{more}\n"
    )
}

fn config(rules: &str, more: &str) -> String {
    let notify = "[notify]\nto = [\"on-call@hospital.example\"]\nfrom = \"dosimeter@hospital.example\"\ndirectory = \"emails\"\n";
    let token = format!("[http]\ntoken = \"{TOKEN}\"\n");
    SMALL.replacen("[[source]]", &format!("{rules}[[source]]"), 1) + notify + &token + more
}

/// An installation whose first pass has seen a day of predictions.
async fn installed(rules: &str, more: &str) -> Installation {
    let installation = Installation::new(&config(rules, more), "2025-02-02T01:00:00Z").await;
    write_day(&installation, "2025-02-01");
    installation
}

fn somebody() -> Person {
    Person::new("Dr Example", "a test").expect("a person")
}

async fn alerts(installation: &Installation) -> Vec<AlertRow> {
    let mut alerts = installation.context().store.list_alerts(false, 100).await.expect("alerts");
    alerts.sort_by_key(|alert| alert.alert_id);
    alerts
}

async fn history(installation: &Installation, id: i64) -> Vec<EventRow> {
    installation.context().store.list_alert_events(id).await.expect("a history")
}

fn words(history: &[EventRow]) -> Vec<&str> {
    history.iter().map(|event| event.transition.as_str()).collect()
}

/// The plain text of the latest notice of the daemon's own.
async fn last_text(installation: &Installation) -> String {
    let report: Value = sqlx::query_scalar(
        "select report from outbox where report->'event'->>'actor' = 'dosimeter' order by outbox_id desc limit 1",
    )
    .fetch_one(&installation.pool().await)
    .await
    .expect("a notice");
    let report: Report = serde_json::from_value(report).expect("a report");
    render(&report).expect("templates are right").text
}

/// `(recipient, subject, escalation, number of alerts)` of every notice of the daemon's own, in order; what people have done is told
/// too.
async fn notices(installation: &Installation) -> Vec<(String, String, i32, i64)> {
    sqlx::query_as(
        "select recipient, report->>'subject', escalation, (select count(*) from alert_notice n where n.outbox_id = o.outbox_id)
        from outbox o where report->'event'->>'actor' = 'dosimeter' order by outbox_id",
    )
    .fetch_all(&installation.pool().await)
    .await
    .expect("notices")
}

async fn pass_at(installation: &Installation, instant: &str) {
    installation.hand.turn_to(at(instant));
    installation.pass().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fires_together_is_one_notice_and_a_wider_slice_explains_a_narrower_one() {
    let rules = [rule("site", "site=*", ""), rule("sex", "sex=*", ""), rule("everywhere", "all", "")].concat();
    let installation = installed(&rules, "").await;
    installation.pass().await;
    let fired = alerts(&installation).await;
    let shown: Vec<(&str, &str)> = fired.iter().map(|alert| (alert.slice.as_str(), alert.shown())).collect();
    // In the order of the rules' names.
    assert_eq!(shown, [("all", "firing"), ("sex=F", "inhibited"), ("site=south", "inhibited")]);
    let parent = fired[0].alert_id;
    assert_eq!(fired[1].muted_by.as_deref(), Some(format!("alert {parent}").as_str()));
    let told = notices(&installation).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let child = history(&installation, fired[2].alert_id).await;
    assert_eq!(child[0].decision.as_deref(), Some(format!("not told: inhibited by alert {parent}").as_str()));

    // The wider slice's alert is closed, and the narrower ones hold on: both are told, in one notice.
    person::step(&installation.context(), parent, HumanStep::Resolve, &somebody()).await.expect("resolved");
    installation.pass().await;
    let told = notices(&installation).await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((told[1].1.as_str(), told[1].3), ("[page] 2 alerts: model chest-xray, version 1", 2));
    let child = history(&installation, fired[2].alert_id).await;
    assert_eq!(words(&child), ["fired", "told"]);
    let decision = child[1].decision.as_deref().expect("a decision");
    assert!(decision.starts_with(&format!("told: it was inhibited by alert {parent}; one notice about")), "{decision}");
    installation.pass().await;
    assert_eq!(notices(&installation).await.len(), 2, "once");
    let seen = installation.context().store.list_alert_notices(fired[2].alert_id).await.expect("notices");
    assert_eq!(seen.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silenced_alert_lives_on_and_is_told_when_the_silence_ends() {
    let installation = installed(&rule("everywhere", "all", ""), "").await;
    let any = || ANY.to_owned();
    let matcher =
        Matcher { model: "chest-xray".into(), version: any(), rule: any(), output: any(), slice: "all".into() };
    let context = installation.context();
    let (silence, _) = person::add_silence(&context, matcher, None, 8 * HOUR, &somebody()).await.expect("a silence");
    installation.pass().await;
    let alert = alerts(&installation).await.remove(0);
    assert_eq!((alert.state.as_str(), alert.shown()), ("firing", "silenced"));
    assert_eq!(installation.count("outbox").await, 0);
    pass_at(&installation, "2025-02-02T08:59:00Z").await;
    assert_eq!(installation.count("outbox").await, 0);
    pass_at(&installation, "2025-02-02T09:00:00Z").await;
    assert_eq!(installation.count("outbox").await, 1);
    let decision = history(&installation, alert.alert_id).await[1].decision.clone().expect("a decision");
    assert_eq!(
        decision,
        format!("told: it was silenced by silence {silence} until 2025-02-02T09:00:00Z, and still holds")
    );
    let body = last_text(&installation).await;
    assert!(body.contains("Why now: told: it was silenced"), "{body}");

    // Silenced by its number, and told when a person ends that early.
    let (silence, _) = person::silence_alert(&context, alert.alert_id, 8 * HOUR, &somebody()).await.expect("a silence");
    installation.pass().await;
    assert_eq!(alerts(&installation).await[0].shown(), "silenced");
    person::end_silence(&context, silence, &somebody()).await.expect("ended");
    let again = person::end_silence(&context, silence, &somebody()).await.expect_err("over");
    assert!(matches!(&again, Error::Conflict(told) if told.contains("by Dr Example")), "{again}");
    installation.pass().await;
    assert_eq!((installation.count("outbox").await, alerts(&installation).await[0].shown()), (2, "firing"));
    assert_eq!(words(&history(&installation, alert.alert_id).await), ["fired", "told", "muted", "told"]);
    let audited: Vec<String> =
        sqlx::query_scalar("select action from audit where action like 'silence%' order by audit_id")
            .fetch_all(&installation.pool().await)
            .await
            .expect("the audit");
    assert_eq!(audited, ["silence added", "silence added", "silence ended"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_maintenance_window_keeps_quiet_and_its_end_does_not() {
    let window = "[[maintenance]]\nname = \"patches\"\ndays = [\"sun\"]\nfrom = \"01:00\"\nuntil = \"05:00\"\n\
                  time_zone = \"Europe/Berlin\"\nmodels = [\"chest-xray\"]\n";
    // 2 February 2025 is a Sunday; 01:00 UTC is 02:00 in Berlin.
    let installation = installed(&rule("everywhere", "all", ""), window).await;
    installation.pass().await;
    let alert = alerts(&installation).await.remove(0);
    assert_eq!((alert.shown(), alert.muted_by.as_deref()), ("silenced", Some("maintenance patches")));
    assert_eq!(alert.muted_until, Some(at("2025-02-02T04:00:00Z")));
    assert_eq!(installation.count("outbox").await, 0);
    pass_at(&installation, "2025-02-02T04:00:00Z").await;
    assert_eq!(installation.count("outbox").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_acknowledges_is_told_again_and_to_more_people() {
    let escalation = "[[alerting.escalation]]\nafter = \"4h\"\nto = [\"head@hospital.example\"]\n";
    let installation = installed(&rule("everywhere", "all", ""), escalation).await;
    installation.pass().await;
    pass_at(&installation, "2025-02-02T04:59:00Z").await;
    assert_eq!(installation.count("outbox").await, 1);
    pass_at(&installation, "2025-02-02T05:00:00Z").await;
    let told = notices(&installation).await;
    let told: Vec<(&str, i32)> = told[1..].iter().map(|(to, _, level, _)| (to.as_str(), *level)).collect();
    assert_eq!(told, [("on-call@hospital.example", 1), ("head@hospital.example", 1)]);
    pass_at(&installation, "2025-02-03T04:59:00Z").await;
    assert_eq!(installation.count("outbox").await, 3);
    pass_at(&installation, "2025-02-03T05:00:00Z").await;
    assert_eq!(installation.count("outbox").await, 5, "a day after the last notice, to all who know of it");

    // Somebody takes it up: quiet for a week, and then it is told as on the first day.
    let id = alerts(&installation).await[0].alert_id;
    person::step(&installation.context(), id, HumanStep::Acknowledge, &somebody()).await.expect("acknowledged");
    pass_at(&installation, "2025-02-10T04:59:00Z").await;
    assert_eq!(installation.count("outbox").await, 5);
    pass_at(&installation, "2025-02-10T05:00:00Z").await;
    let told = notices(&installation).await;
    assert_eq!((told.len(), told[5].2), (6, 0));
    let events = history(&installation, id).await;
    assert_eq!(words(&events), ["fired", "told", "told", "acknowledged", "lapsed"]);
    assert_eq!(events[1].decision.as_deref(), Some("told, escalation 1: nobody has acknowledged it for 4h"));
    assert_eq!(alerts(&installation).await[0].state, "firing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_whose_rule_is_gone_expires_and_is_told_once() {
    let installation = installed(&rule("everywhere", "all", "severity = \"ticket\""), "").await;
    installation.pass().await;
    let without = plan(&config("", ""), installation.folder.path(), &installation.url);
    dosimeter::app::take_up(&installation.app.context, without).await.expect("the plan is taken up");
    pass_at(&installation, "2025-02-02T02:00:00Z").await;
    assert_eq!(installation.count("outbox").await, 1);
    pass_at(&installation, "2025-02-16T01:59:00Z").await;
    let before = installation.count("outbox").await;
    assert_eq!(before, 2, "a ticket that nobody has acknowledged for a week: it is told, without a number");
    pass_at(&installation, "2025-02-16T02:00:00Z").await;
    installation.pass().await;
    let alert = alerts(&installation).await.remove(0);
    assert_eq!((alert.state.as_str(), alert.closed_at), ("expired", Some(at("2025-02-16T02:00:00Z"))));
    assert_eq!(installation.count("outbox").await, before + 1);
    let events = history(&installation, alert.alert_id).await;
    assert_eq!(words(&events), ["fired", "vanished", "told", "expired"]);
    assert_eq!(events[3].reason, "there is no estimate to judge any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_with_a_clear_limit_does_not_waver() {
    let installation = installed(&rule("south", "site=south", "clear = 0.99"), "").await;
    installation.pass().await;
    assert!(alerts(&installation).await[0].breached);
    // Corrections lift the AUROC above the limit, and not to where it is clear.
    let text: String = (0..60_u32)
        .filter(|case| case % 2 == 1)
        .map(|case| {
            // One case that scores above all that are present is absent.
            let is_present = case * 37 % 60 > 40 && case != 47;
            format!("2025-02-01-{case},effusion,{},2025-02-02T00:00:00Z\n", u8::from(is_present))
        })
        .collect();
    installation.write("truth/fixed.csv", format!("study,finding,value,at\n{text}"));
    pass_at(&installation, "2025-02-02T02:00:00Z").await;
    let window = window("2025-01-03", "2025-02-02");
    let answer = installation.ask("effusion", "site=south", window, Knowledge::default()).await;
    let auroc = value(&answer, "auroc");
    assert!((0.9..0.99).contains(&auroc), "the case is between the limits: {auroc}");
    let alert = alerts(&installation).await.remove(0);
    assert!(alert.breached, "it has not come back to where it is clear");
    assert_eq!(words(&history(&installation, alert.alert_id).await), ["fired"]);
    // What is said of it then is true.
    pass_at(&installation, "2025-02-03T02:00:00Z").await;
    let body = last_text(&installation).await;
    assert!(body.contains("has been past its limit (below 0.9) and is not back at 0.99"), "{body}");
    assert!(body.contains("Why now: told again"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_people_at_once_one_succeeds_and_the_other_is_told_the_state() {
    let installation = installed(&rule("everywhere", "all", ""), "").await;
    installation.pass().await;
    let id = alerts(&installation).await[0].alert_id;
    let context = installation.context();
    let (one, other) = (Person::new("one", "mine").expect("a person"), Person::new("other", "mine").expect("a person"));
    let (first, second) = tokio::join!(
        person::step(&context, id, HumanStep::Acknowledge, &one),
        person::step(&context, id, HumanStep::Acknowledge, &other)
    );
    assert_ne!(first.is_ok(), second.is_ok());
    let winner = if first.is_ok() { "one" } else { "other" };
    let told = first.and(second).expect_err("one of them").to_string();
    assert!(told.contains(&format!("alert {id} is acknowledged already; the last step was by {winner}")), "{told}");
    assert_eq!(words(&history(&installation, id).await), ["fired", "acknowledged"]);
    let missing = person::step(&context, 4711, HumanStep::Resolve, &one).await.expect_err("there is none");
    assert!(matches!(missing, Error::Missing(_)), "{missing}");
}

/// The installation's HTTP server on a port of its own.
pub async fn serve(installation: &Installation) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let stop = tokio_util::sync::CancellationToken::new();
    let (desk, _queue) = dosimeter::desk::Desk::new();
    tokio::spawn(dosimeter::http::serve(listener, installation.app.context.subscribe(), desk, stop));
    port
}

/// A request by HTTP/1.0: status, head and body.
fn request(port: u16, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("the server answers");
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
        .expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_ascii_lowercase(), body.to_owned())
}

fn post(port: u16, path: &str, token: Option<&str>, body: &str) -> (u16, Value) {
    let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let (status, _, body) = request(port, "POST", path, &format!("Content-Type: application/json\r\n{token}"), body);
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_takes_steps_from_whoever_shows_the_token() {
    let installation = installed(&rule("everywhere", "all", ""), "").await;
    installation.pass().await;
    let port = serve(&installation).await;
    let id = alerts(&installation).await[0].alert_id;
    let path = |step: &str| format!("/api/v1/alerts/{id}/{step}");
    let body = r#"{"by": "Dr Example", "reason": "the vendor is called"}"#;
    assert_eq!(post(port, &path("acknowledge"), None, body).0, 401);
    assert_eq!(post(port, &path("acknowledge"), Some("wrong"), body).0, 401);
    assert_eq!(alerts(&installation).await[0].state, "firing");

    let (status, answer) = post(port, &path("silence"), Some(TOKEN), r#"{"by": "a", "reason": "b", "for": "4h"}"#);
    assert_eq!((status, answer["ends_at"].as_str()), (200, Some("2025-02-02T05:00:00Z")), "{answer}");
    let (status, answer) = post(port, &path("acknowledge"), Some(TOKEN), body);
    assert_eq!((status, answer["state"].as_str()), (200, Some("acknowledged")), "{answer}");
    let (status, answer) = post(port, &path("acknowledge"), Some(TOKEN), body);
    assert_eq!(status, 409);
    assert!(answer["detail"].as_str().is_some_and(|text| text.contains("by Dr Example")), "{answer}");
    for (path, body, wanted, part) in [
        (path("resolve"), r#"{"by": "", "reason": "x"}"#, 422, "who does it is missing"),
        (path("resolve"), r#"{"by": "x"}"#, 400, "reason"),
        (path("resolve"), r#"{"by": "x", "reason": "y", "why": "z"}"#, 400, "why"),
        (path("silence"), r#"{"by": "x", "reason": "y", "for": "long"}"#, 400, "no duration"),
        (path("silence"), r#"{"by": "x", "reason": "y", "for": "60d"}"#, 422, "longest_silence"),
        ("/api/v1/alerts/seventeen/resolve".into(), body, 404, "is no number"),
        ("/api/v1/alerts/4711/resolve".into(), body, 404, "there is no alert 4711"),
        ("/api/v1/silences".into(), r#"{"by": "x", "reason": "y", "for": "1h"}"#, 422, "everything"),
        ("/api/v1/silences".into(), r#"{"by": "x", "reason": "y", "for": "1h", "rule": "z"}"#, 422, "everywhere"),
        ("/api/v1/silences/99/end".into(), body, 404, "there is no silence 99"),
    ] {
        let (status, answer) = post(port, &path, Some(TOKEN), body);
        assert_eq!(status, wanted, "{path} {answer}");
        assert!(answer["detail"].as_str().is_some_and(|text| text.contains(part)), "{path}: {part} not in {answer}");
    }
    let (status, answer) = post(port, &path("resolve"), Some(TOKEN), body);
    assert_eq!((status, answer["state"].as_str()), (200, Some("resolved")));
    assert_eq!(post(port, &path("silence"), Some(TOKEN), r#"{"by": "a", "reason": "b", "for": "4h"}"#).0, 409);

    let shown = format!("Authorization: Bearer {TOKEN}\r\n");
    let (_, _, text) = request(port, "GET", &format!("/api/v1/alerts/{id}"), &shown, "");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let steps: Vec<&str> =
        answer["history"].as_array().expect("a list").iter().filter_map(|e| e["transition"].as_str()).collect();
    assert_eq!(steps, ["fired", "acknowledged", "resolved"]);
    assert_eq!(answer["history"][0]["decision"], "told: there is news");
    assert_eq!(answer["notices"].as_array().map(Vec::len), Some(2), "the alert and its end");
    let (_, _, text) = request(port, "GET", "/api/v1/silences", &shown, "");
    assert!(text.contains("\"created_by\":\"a (token configuration)\""), "{text}");
    let (status, answer) = post(port, "/api/v1/silences/1/end", Some(TOKEN), body);
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_nobody_changes_anything_over_the_api() {
    let open = config(&rule("everywhere", "all", ""), "").replace(&format!("[http]\ntoken = \"{TOKEN}\"\n"), "");
    let installation = Installation::new(&open, "2025-02-02").await;
    let port = serve(&installation).await;
    for path in ["/api/v1/alerts/1/resolve", "/api/v1/silences", "/api/v1/silences/1/end"] {
        assert_eq!(post(port, path, Some(TOKEN), "{}").0, 401, "a token that nobody has made");
        let (status, answer) = post(port, path, None, "{}");
        assert_eq!(status, 403);
        assert!(answer["detail"].as_str().is_some_and(|text| text.contains("dosimeter token create")), "{answer}");
    }
}

/// The links of a notice's text.
fn links(body: &str) -> Vec<String> {
    let words = body.split_whitespace().filter(|word| word.contains("/act?"));
    words.map(|link| link.replace("http://127.0.0.1:9187", "")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_a_notice_leads_to_a_form_that_takes_the_step() {
    let installation = installed(&rule("everywhere", "all", ""), "").await;
    installation.pass().await;
    let port = serve(&installation).await;
    let id = alerts(&installation).await[0].alert_id;
    let body = last_text(&installation).await;
    let links = links(&body);
    assert_eq!(links.len(), 3, "acknowledge, resolve, silence: {body}");
    assert!(!links[0].contains("2025-02-01-"), "no case in an address");

    // Opening it, as scanners do, changes nothing.
    for link in &links {
        let (status, head, page) = request(port, "GET", link, "", "");
        assert_eq!(status, 200);
        assert!(page.contains("<form method=\"post\" action=\"act\">") && page.contains("chest-xray"), "{page}");
        assert!(head.contains("cache-control: no-store") && head.contains("referrer-policy: no-referrer"), "{head}");
    }
    assert_eq!(alerts(&installation).await[0].state, "firing");

    let act = format!("/alerts/{id}/act");
    let form = |link: &str, more: &str| {
        let fields = link.split_once('?').expect("a query").1;
        request(port, "POST", &act, "Content-Type: application/x-www-form-urlencoded\r\n", &format!("{fields}{more}"))
    };
    let (status, _, page) = form(&links[0], "&reason=+");
    assert!(status == 422 && page.contains("reason: why is missing") && page.contains("<form"), "{page}");
    let (status, _, page) = form(&links[0], "&reason=%3Cb%3Ecalled%3C%2Fb%3E");
    assert!(status == 200 && page.contains("is acknowledged in the name of on-call@hospital.example"), "{page}");
    let (status, _, page) = form(&links[0], "&reason=again");
    assert!(status == 409 && page.contains("is acknowledged already"), "{page}");
    assert!(page.contains("&lt;b&gt;called") && !page.contains("<b>called"), "what people write is no HTML: {page}");
    let (status, _, page) = form(&links[2], "&reason=night&for=4h");
    assert!(status == 200 && page.contains("silenced until 2025-02-02 05:00 UTC"), "{page}");
    let events = history(&installation, id).await;
    assert_eq!((events[1].actor.as_str(), events[1].reason.as_str()), ("on-call@hospital.example", "<b>called</b>"));

    // None of what a link says can be exchanged, and it does not last.
    for broken in [
        links[0].replace("do=ack", "do=resolve"),
        links[0].replace("on-call", "somebody"),
        links[0].replace("expires=", "expires=9"),
        links[0].replace("sig=", "sig=0"),
        links[0].replace(&format!("/alerts/{id}/"), "/alerts/4711/"),
        act.clone(),
    ] {
        let (status, _, page) = request(port, "GET", &broken, "", "");
        assert!(status == 403 && page.contains("not as it was sent") && !page.contains("<form"), "{broken}: {page}");
    }
    let (status, _, _) = form(&links[0].replace("do=ack", "do=resolve"), "&reason=x");
    assert_eq!(status, 403);
    installation.hand.turn_to(at("2025-02-09T01:00:00Z"));
    let (status, _, page) = form(&links[1], "&reason=late");
    assert!(status == 410 && page.contains("has expired"), "{page}");

    // A link to an alert that is closed says so.
    person::step(&installation.context(), id, HumanStep::Resolve, &somebody()).await.expect("resolved");
    let key: String = sqlx::query_scalar("select link_key from installation")
        .fetch_one(&installation.pool().await)
        .await
        .expect("a key");
    let link = Link { alert_id: id, action: Action::Resolve, recipient: "a@b".into(), expires_at: at("2025-02-10") };
    let address = Signer::new(dosimeter::config::Secret::new(&key)).address("", &link);
    let (status, _, page) = request(port, "GET", &address, "", "");
    assert!(status == 200 && page.contains("is resolved already") && !page.contains("<form"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_silence_show_and_resolve() {
    let config = config(&rule("everywhere", "all", ""), "");
    let installation = Installation::new(&config, "2025-02-02T01:00:00Z").await;
    write_day(&installation, "2025-02-01");
    installation.pass().await;
    let id = alerts(&installation).await[0].alert_id.to_string();
    installation.write("config.toml", format!("[service]\ndata_dir = \"data\"\n{config}"));
    give_away(&[installation.folder.path(), &installation.path("emails")]);
    let run = |arguments: &[&str]| {
        let mut command = binary();
        command
            .env("DATABASE_URL", &installation.url)
            .env("DOSIMETER_IDENTITY_KEY", "the identity key of the tests, long enough")
            .args(arguments)
            .arg("--config")
            .arg(installation.path("config.toml"));
        let output = command.output().expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    };
    let person = ["--by", "Dr Example", "--reason", "night shift"];
    let (done, text) = run(&[&["alert", "silence", &id, "--for", "4h"][..], &person[..]].concat());
    assert!(done && text.contains("by silence 1"), "{text}");
    let (_, text) = run(&["silence", "list"]);
    assert!(text.contains("Dr Example") && text.contains("everywhere"), "{text}");
    let (done, text) =
        run(&[&["silence", "add", "--model", "chest-xray", "--slice", "site=north", "--for", "1d"][..], &person[..]]
            .concat());
    assert!(done && text.starts_with("silence 2: until"), "{text}");
    let (done, text) = run(&[&["silence", "add", "--model", "knee", "--for", "1d"][..], &person[..]].concat());
    assert!(!done && text.contains("known are chest-xray"), "{text}");
    let (done, text) = run(&[&["silence", "end", "2"][..], &person[..]].concat());
    assert!(done, "{text}");
    let (done, text) = run(&[&["alert", "ack", &id][..], &person[..]].concat());
    assert!(done, "{text}");
    let (_, text) = run(&["alert", "show", &id]);
    for part in ["acknowledged by Dr Example: night shift", "told: there is news", "to on-call@hospital.example"] {
        assert!(text.contains(part), "{part} not in {text}");
    }
    let (done, text) = run(&[&["alert", "ack", &id][..], &person[..]].concat());
    assert!(!done && text.contains("is acknowledged already"), "{text}");
}
