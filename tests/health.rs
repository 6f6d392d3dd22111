//! Health of the data, day by day: what is silent, incomplete or unexpected is told, what is closed is not.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc, Weekday};
use dosimeter::app::{run_pipeline, take_up};
use dosimeter::config::HealthRule;
use dosimeter::job::Job;
use dosimeter::runtime::Outcome;
use dosimeter::store::alert::AlertRow;
use dosimeter::store::health::HealthRow;
use serde_json::Value;

use crate::daemon::get;
use crate::delivery::Server;
use crate::lifecycle::serve;
use crate::support::{Installation, SMALL, at, binary, give_away, plan};

/// The small model with these rules on data, and all others off.
fn config(rules: &[(HealthRule, &str)]) -> String {
    let value = |rule| rules.iter().find(|(own, _)| *own == rule).map_or("false", |(_, value)| value);
    let keys = HealthRule::ALL.map(|rule| format!("{} = {}", rule.as_str(), value(rule)));
    let own = format!("health = {{ {} }}", keys.join(", "));
    let lines = SMALL.lines().map(|line| if line.starts_with("health = ") { &own } else { line });
    // Batches of a made-up past stand in no chain, which the daemon would tell everybody.
    let notify =
        "[audit]\nverify_every = \"0s\"\n[notify]\nto = [\"on-call@hospital.example\"]\ndirectory = \"emails\"\n";
    lines.collect::<Vec<_>>().join("\n") + "\n" + notify
}

async fn pass_at(installation: &Installation, instant: &str) {
    installation.hand.turn_to(at(instant));
    installation.pass().await;
}

async fn alerts(installation: &Installation) -> Vec<AlertRow> {
    let mut alerts = installation.context().store.list_alerts(false, 100).await.expect("alerts");
    alerts.sort_by_key(|alert| alert.alert_id);
    alerts
}

/// `(rule, state, whether it holds)` of every alert, in order.
async fn stand(installation: &Installation) -> Vec<(String, String, bool)> {
    alerts(installation).await.into_iter().map(|alert| (alert.rule, alert.state, alert.breached)).collect()
}

fn stands(rule: &str, state: &str, holds: bool) -> (String, String, bool) {
    (rule.to_owned(), state.to_owned(), holds)
}

async fn history(installation: &Installation, index: usize) -> Vec<String> {
    let alert_id = alerts(installation).await[index].alert_id;
    let events = installation.context().store.list_alert_events(alert_id).await.expect("a history");
    events.into_iter().map(|event| event.transition).collect()
}

/// What every notice says, in order.
async fn reports(installation: &Installation) -> Vec<Value> {
    sqlx::query_scalar("select report from outbox order by outbox_id")
        .fetch_all(&installation.pool().await)
        .await
        .expect("notices")
}

/// A labelled line of a notice.
fn said<'r>(report: &'r Value, label: &str) -> &'r str {
    let lines = report["lines"].as_array().expect("lines");
    let line = lines.iter().find(|line| line[0] == label).unwrap_or_else(|| panic!("no {label} in {report}"));
    line[1].as_str().expect("text")
}

async fn judged(installation: &Installation, rule: HealthRule, subject: &str) -> HealthRow {
    let rows = installation.context().store.list_health().await.expect("rows");
    let own = |row: &HealthRow| row.rule == rule.as_str() && row.subject == subject;
    rows.iter().find(|row| own(row)).unwrap_or_else(|| panic!("no {rule:?} {subject} in {rows:#?}")).clone()
}

/// Predictions of cases that are named after the file.
fn predictions(name: &str, instant: &str, cases: usize) -> String {
    let rows = (0..cases).map(|case| format!("{name}-{case},{instant},0.5,0.5,north,F\n"));
    format!("study,at,effusion,nodule,site,sex\n{}", rows.collect::<String>())
}

/// A past of deliveries by a source, one in each hour that is meant: batches as intake leaves them.
async fn past(installation: &Installation, source: &str, until: &str, is_meant: impl Fn(DateTime<Utc>) -> bool) {
    let until = at(until);
    let hours = (1..=24 * 7 * 6).map(|age| until - TimeDelta::hours(age)).filter(|hour| is_meant(*hour));
    let hours: Vec<DateTime<Utc>> = hours.collect();
    sqlx::query(
        "insert into batch (batch_id, source, origin, committed_at, accepted, duplicates, rejected, parts, rows_digest,
            previous_hash, hash)
        select -row_number() over (), $1, 'the past', hour, 10, 0, 0, '[]', sha256(''), sha256(''), sha256('') from unnest($2::timestamptz[]) as hour",
    )
    .bind(source)
    .bind(hours)
    .execute(&installation.pool().await)
    .await
    .expect("a past");
}

fn is_office_hour(hour: DateTime<Utc>) -> bool {
    !matches!(hour.weekday(), Weekday::Sat | Weekday::Sun) && (8..17).contains(&hour.hour())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_falls_silent_pages_and_a_closed_weekend_does_not() {
    let rules = [(HealthRule::NoPredictions, "\"usual\"")];
    let friday = "2025-02-14T16:10:00Z";
    let installation = Installation::new(&config(&rules), friday).await;
    past(&installation, "predictions", friday, is_office_hour).await;
    installation.write("predictions/friday.csv", predictions("friday", "2025-02-14T16:00:00Z", 5));
    installation.pass().await;
    for closed in ["2025-02-14T23:00:00Z", "2025-02-16T12:00:00Z", "2025-02-17T07:59:00Z", "2025-02-17T09:59:00Z"] {
        pass_at(&installation, closed).await;
        assert_eq!(stand(&installation).await, [], "{closed}");
    }

    // On Monday two hours of work have gone by in silence.
    pass_at(&installation, "2025-02-17T10:00:00Z").await;
    assert_eq!(stand(&installation).await, [stands("health/no_predictions", "firing", true)]);
    let alert = alerts(&installation).await.remove(0);
    assert_eq!((alert.severity.as_str(), alert.version.as_str(), alert.output.as_str()), ("page", "1", "(model)"));
    let told = reports(&installation).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["subject"], "[page] health/no_predictions: data of chest-xray");
    assert_eq!(said(&told[0], "What"), "no prediction has come since 2025-02-14T16:10:00Z");
    assert_eq!(said(&told[0], "Since"), "2025-02-14 16:10 UTC");
    assert!(said(&told[0], "Usual").contains("usual hours of the week"), "{told:?}");
    assert!(!said(&told[0], "Look at").is_empty() && !said(&told[0], "Remedy").is_empty());
    pass_at(&installation, "2025-02-17T10:05:00Z").await;
    assert_eq!(reports(&installation).await.len(), 1, "once");
    assert!(installation.context().exporter.render().expect("text").contains(
        "dosimeter_alerts{model=\"chest-xray\",rule=\"health/no_predictions\",severity=\"page\",state=\"firing\"} 1"
    ));

    // They come again: the alert says so, and stays open until a person has seen it.
    installation.write("predictions/monday.csv", predictions("monday", "2025-02-17T10:10:00Z", 5));
    pass_at(&installation, "2025-02-17T10:30:00Z").await;
    assert_eq!(stand(&installation).await, [stands("health/no_predictions", "firing", false)]);
    assert_eq!(history(&installation, 0).await, ["fired", "ceased"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_judged_is_read_by_api_command_and_prometheus() {
    let rules = [(HealthRule::NoPredictions, "\"2h\""), (HealthRule::Rejections, "0.05")];
    let installation = Installation::new(&config(&rules), "2025-02-14T10:00:00Z").await;
    installation.write("predictions/a.csv", predictions("a", "2025-02-14T09:00:00Z", 5));
    installation.pass().await;
    pass_at(&installation, "2025-02-14T12:00:00Z").await;
    let text = installation.context().exporter.render().expect("text");
    for line in [
        "dosimeter_health{model=\"chest-xray\",rule=\"no_predictions\"} 1",
        "dosimeter_health{model=\"chest-xray\",rule=\"rejections\"} 0",
        "dosimeter_model_versions{model=\"chest-xray\"} 1",
    ] {
        assert!(text.contains(line), "{line} not in {text}");
    }
    assert!(!text.contains("rule=\"no_truth\""), "what is off is absent");

    let port = serve(&installation).await;
    let (status, body) = get(port, "/api/v1/health?model=chest-xray").expect("an answer");
    let rows: Value = serde_json::from_str(&body).expect("JSON");
    let rows = rows["items"].as_array().expect("a list");
    assert_eq!((status, rows.len()), (200, 5), "one for the model, two for each source: {body}");
    let row = &rows[0];
    assert_eq!((row["rule"].as_str(), row["verdict"].as_str()), (Some("no_predictions"), Some("broken")));
    assert_eq!(row["reason"], "no prediction has come since 2025-02-14T10:00:00Z");
    assert_eq!((row["usual"].as_str(), row["severity"].as_str()), (Some("not longer than 2h"), Some("page")));
    assert_eq!(row["changed_at"], "2025-02-14T12:00:00Z");
    let (status, body) = get(port, "/api/v1/health?model=knee").expect("an answer");
    assert!(status == 404 && body.contains("known are chest-xray"), "{body}");

    installation.write("config.toml", config(&rules));
    give_away(&[installation.folder.path(), &installation.path("config.toml"), &installation.path("emails")]);
    let mut command = binary();
    command.env("DATABASE_URL", &installation.url).args(["health", "--model", "chest-xray", "--config"]);
    command.env("DOSIMETER_IDENTITY_KEY", "the identity key of the tests, long enough");
    let output = command.arg(installation.path("config.toml")).output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().nth(1).unwrap_or_else(|| panic!("{output:?}"));
    assert!(first.starts_with("broken") && first.contains("no prediction has come since"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_which_nothing_ever_came_is_seen_without_an_alert() {
    let rules = [(HealthRule::NoPredictions, "\"usual\"")];
    let installation = Installation::new(&config(&rules), "2025-02-14T10:00:00Z").await;
    installation.pass().await;
    assert_eq!(judged(&installation, HealthRule::NoPredictions, "").await.verdict, "undecided");
    assert!(!installation.context().exporter.render().expect("text").contains("dosimeter_health{"));
    pass_at(&installation, "2025-02-17T10:00:00Z").await;
    let row = judged(&installation, HealthRule::NoPredictions, "").await;
    assert_eq!((row.verdict.as_str(), row.reason.as_str()), ("broken", "no prediction has ever come"));
    let text = installation.context().exporter.render().expect("text");
    assert!(text.contains("dosimeter_health{model=\"chest-xray\",rule=\"no_predictions\"} 1"), "{text}");
    assert!(
        text.contains("dosimeter_model_versions{model=\"chest-xray\"} 0"),
        "DosimeterNothingEverCame pages: {text}"
    );
    assert_eq!(stand(&installation).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_rejections_names_its_most_common_reason() {
    let installation = Installation::new(&config(&[(HealthRule::Rejections, "0.05")]), "2025-02-14T10:00:00Z").await;
    installation.write("predictions/good.csv", predictions("good", "2025-02-14T09:00:00Z", 10));
    installation.pass().await;
    assert_eq!(stand(&installation).await, []);
    let broken = predictions("bad", "2025-02-14T09:00:00Z", 25).replace(",0.5,0.5,", ",1.5,0.5,");
    installation.write("predictions/bad.csv", broken);
    pass_at(&installation, "2025-02-14T11:00:00Z").await;
    assert_eq!(stand(&installation).await, [stands("health/rejections/predictions/most", "firing", true)]);
    let told = reports(&installation).await;
    let what = said(&told[0], "What");
    assert!(what.starts_with("25 of 35 records") && what.contains("score-range, of 25"), "{what}");
    assert_eq!(told[0]["severity"], "page");

    // Most are good now: it is a matter for the morning.
    installation.write("predictions/more.csv", predictions("more", "2025-02-14T11:00:00Z", 100));
    pass_at(&installation, "2025-02-14T12:00:00Z").await;
    let [page, ticket] = ["health/rejections/predictions/most", "health/rejections/predictions"].map(ToOwned::to_owned);
    assert_eq!(stand(&installation).await, [stands(&page, "firing", false), stands(&ticket, "firing", true)]);
    assert_eq!(reports(&installation).await[1]["severity"], "ticket");
    // And a day later it is over.
    pass_at(&installation, "2025-02-15T12:00:00Z").await;
    assert_eq!(stand(&installation).await, [stands(&page, "firing", false), stands(&ticket, "firing", false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_column_vanishes_is_told_with_the_attribute_that_is_empty() {
    let installation = Installation::new(&config(&[(HealthRule::Schema, "0.5")]), "2025-02-10T12:00:00Z").await;
    let file = |day: u32| predictions(&format!("d{day}"), &format!("2025-02-{day}T10:00:00Z"), 30);
    for day in 10..15 {
        installation.write(&format!("predictions/{day}.csv"), file(day));
        pass_at(&installation, &format!("2025-02-{day}T12:00:00Z")).await;
    }
    assert_eq!(stand(&installation).await, []);
    assert_eq!(judged(&installation, HealthRule::Schema, "attribute site").await.verdict, "kept");
    installation.write("predictions/15.csv", file(15).replace(",site,", ",location,"));
    pass_at(&installation, "2025-02-15T12:00:00Z").await;
    let [attribute, source] = ["health/schema/attribute site", "health/schema/predictions"];
    assert_eq!(stand(&installation).await, [stands(attribute, "firing", true), stands(source, "firing", true)]);
    let told = reports(&installation).await;
    let text = told[0].to_string();
    assert_eq!(told.len(), 1, "both are one notice");
    for part in ["lacks the column(s) site", "site is filled in 0 of the latest 30 predictions"] {
        assert!(text.contains(part), "{part} not in {text}");
    }
    let row = judged(&installation, HealthRule::Schema, "attribute site").await;
    assert_eq!((row.usual.as_deref(), row.since), (Some("filled in 100 % before"), Some(at("2025-02-15T10:00:00Z"))));
    // A second file like it mends nothing; the column's return does.
    installation.write("predictions/16.csv", file(16).replace(",site,", ",location,"));
    pass_at(&installation, "2025-02-16T12:00:00Z").await;
    assert!(stand(&installation).await.iter().all(|(.., holds)| *holds));
    installation.write("predictions/17.csv", file(17));
    pass_at(&installation, "2025-02-17T12:00:00Z").await;
    let stand = stand(&installation).await;
    assert!(stand.iter().all(|(.., holds)| !holds), "{stand:?} {:?}", installation.context().store.list_health().await);
}

/// The plan of a model whose records name their version.
fn versioned(text: &str) -> String {
    text.replace("constants = { version = \"1\" }\n", "")
        .replace("occurred_at = \"at\" }", "occurred_at = \"at\", version = \"version\" }")
}

/// Predictions of a version.
fn spoken(version: &str) -> String {
    let rows: String =
        (0..5).map(|case| format!("{version}-{case},2025-02-14T10:00:00Z,0.5,0.5,north,F,{version}\n")).collect();
    format!("study,at,effusion,nodule,site,sex,version\n{rows}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_alert_stays_with_its_version_when_another_one_comes() {
    let text = versioned(&config(&[(HealthRule::NoTruth, "\"30m\"")]));
    let installation = Installation::new(&text, "2025-02-14T12:00:00Z").await;
    installation.write("predictions/1.csv", spoken("1"));
    installation.pass().await;
    pass_at(&installation, "2025-02-14T13:00:00Z").await;
    installation.write("predictions/2.csv", spoken("2"));
    pass_at(&installation, "2025-02-14T14:00:00Z").await;
    let found: Vec<(String, String)> = alerts(&installation).await.into_iter().map(|a| (a.rule, a.version)).collect();
    let expected = ["effusion", "nodule"].map(|finding| (format!("health/no_truth/{finding}"), "1".to_owned()));
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_the_plan_does_not_list_is_told_and_refused_by_nobody() {
    let text = versioned(&config(&[(HealthRule::UnknownVersion, "true")]))
        .replace("minimum_n = 0\n", "minimum_n = 0\nversions = [\"1\"]\n");
    let installation = Installation::new(&text, "2025-02-14T12:00:00Z").await;
    installation.write("predictions/1.csv", spoken("1"));
    installation.pass().await;
    assert_eq!(stand(&installation).await, []);
    installation.write("predictions/2.csv", spoken("2"));
    pass_at(&installation, "2025-02-14T13:00:00Z").await;
    assert_eq!(stand(&installation).await, [stands("health/unknown_version/2", "firing", true)]);
    let alert = alerts(&installation).await.remove(0);
    assert_eq!((alert.version.as_str(), alert.severity.as_str()), ("2", "ticket"));
    assert_eq!(said(&reports(&installation).await[0], "Usual"), "versions 1");
    assert_eq!((installation.rejections().await, installation.count("prediction").await), (vec![], 10));

    let listed = text.replace("versions = [\"1\"]", "versions = [\"1\", \"2\"]");
    let plan = plan(&listed, installation.folder.path(), &installation.url);
    take_up(&installation.app.context, plan).await.expect("the plan is taken up");
    installation.pass().await;
    assert_eq!(history(&installation, 0).await, ["fired", "ceased"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn truth_that_stops_is_missed_finding_by_finding() {
    let installation = Installation::new(&config(&[(HealthRule::NoTruth, "\"2d\"")]), "2025-02-14T12:00:00Z").await;
    installation.write("predictions/a.csv", predictions("a", "2025-02-14T10:00:00Z", 5));
    let truth =
        |finding: &str, case: u32| format!("study,finding,value,at\na-{case},{finding},1,2025-02-14T11:00:00Z\n");
    installation.write("truth/a.csv", truth("effusion", 0));
    installation.write("truth/b.csv", truth("nodule", 0));
    installation.pass().await;
    installation.write("truth/c.csv", truth("nodule", 1));
    pass_at(&installation, "2025-02-16T11:30:00Z").await;
    assert_eq!(stand(&installation).await, []);
    // Rows of weeks are read once an hour.
    pass_at(&installation, "2025-02-16T12:29:00Z").await;
    assert_eq!(stand(&installation).await, []);
    pass_at(&installation, "2025-02-16T12:30:00Z").await;
    assert_eq!(stand(&installation).await, [stands("health/no_truth/effusion", "firing", true)]);
    assert_eq!(alerts(&installation).await[0].severity, "ticket");
}

#[tokio::test(flavor = "multi_thread")]
async fn truth_about_fewer_cases_and_truth_that_comes_later_are_told() {
    let rules = [(HealthRule::Coverage, "0.1"), (HealthRule::Delay, "\"1d\"")];
    let installation = Installation::new(&config(&rules), "2025-03-01T12:00:00Z").await;
    let write = |day: DateTime<Utc>, known: usize, delay: i64| {
        let name = day.format("%Y-%m-%d").to_string();
        installation.write(&format!("predictions/{name}.csv"), predictions(&name, &format!("{name}T10:00:00Z"), 10));
        let observed = (day + TimeDelta::days(delay)).format("%Y-%m-%dT%H:%M:%SZ");
        let mut truth = "study,finding,value,at\n".to_owned();
        for case in 0..known {
            let _ = writeln!(truth, "{name}-{case},effusion,1,{observed}");
        }
        installation.write(&format!("truth/{name}.csv"), truth);
    };
    let now = at("2025-03-01");
    for age in 3..60 {
        write(now - TimeDelta::days(age), 9, 2);
    }
    installation.pass().await;
    assert_eq!(stand(&installation).await, []);
    for rule in [HealthRule::Coverage, HealthRule::Delay] {
        assert_eq!(judged(&installation, rule, "").await.verdict, "kept");
    }
    // Two weeks in which half of the cases get their truth, and after six days.
    for age in -14..3 {
        write(now - TimeDelta::days(age), 5, 6);
    }
    pass_at(&installation, "2025-03-21T12:00:00Z").await;
    let [coverage, delay] = ["health/coverage", "health/delay"];
    assert_eq!(stand(&installation).await, [stands(coverage, "firing", true), stands(delay, "firing", true)]);
    let row = judged(&installation, HealthRule::Delay, "").await;
    assert_eq!(row.usual.as_deref(), Some("2 to 3 days in the four weeks before"));
    assert!(row.reason.contains("median delay of 6 to 7 days"), "{row:?}");
    let row = judged(&installation, HealthRule::Coverage, "").await;
    // Twenty days of nine, and eight of five.
    assert_eq!(row.usual.as_deref(), Some("78.6 % of cases (220 of 280) in the four weeks before"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_missing_is_told_after_a_quarter_of_an_hour() {
    let rules = [(HealthRule::StaleSource, "\"usual\""), (HealthRule::NoPredictions, "\"usual\"")];
    let installation = Installation::new(&config(&rules), "2025-02-14T12:00:00Z").await;
    installation.write("predictions/a.csv", predictions("a", "2025-02-14T10:00:00Z", 5));
    installation.pass().await;
    assert_eq!(stand(&installation).await, [stands("health/stale_source/reports", "pending", true)]);
    assert_eq!(judged(&installation, HealthRule::StaleSource, "predictions").await.verdict, "kept");
    pass_at(&installation, "2025-02-14T12:15:00Z").await;
    assert_eq!(stand(&installation).await, [stands("health/stale_source/reports", "firing", true)]);
    let told = reports(&installation).await;
    assert!(said(&told[0], "What").ends_with("truth does not exist"), "{told:?}");
    installation.write("truth/a.csv", "study,finding,value,at\na-0,effusion,1,2025-02-14T11:00:00Z\n");
    pass_at(&installation, "2025-02-14T12:30:00Z").await;
    assert_eq!(history(&installation, 0).await, ["began", "fired", "ceased"]);
    // The only source of truth, while no rule on truth is on: its own silence counts.
    pass_at(&installation, "2025-02-17T12:30:00Z").await;
    let row = judged(&installation, HealthRule::StaleSource, "reports").await;
    assert_eq!((row.verdict.as_str(), row.reason.as_str()), ("broken", "no truth has come since 2025-02-14T12:30:00Z"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_follows_whole_passes_alone() {
    let server = Server::start(&[(200, ""), (500, ""), (500, "")]).await;
    let heartbeat = format!("[heartbeat]\nurl = \"{}/ping/secret-of-mine\"\nevery = \"1m\"\n", server.url);
    let installation = Installation::new(&(config(&[]) + &heartbeat), "2025-02-14T12:00:00Z").await;
    let beat = async |instant: &str| {
        installation.hand.turn_to(at(instant));
        Job::Heartbeat.run(&installation.context()).await
    };
    assert_eq!(beat("2025-02-14T12:00:00Z").await, Outcome::Idle, "before the first pass nobody is told");
    run_pipeline(&installation.context()).await;
    assert_eq!(beat("2025-02-14T12:00:00Z").await, Outcome::Done);
    let got = server.got();
    assert_eq!((got.len(), got[0].method.as_str(), got[0].path.as_str()), (1, "POST", "/ping/secret-of-mine"));
    assert_eq!(got[0].body, "");
    assert_eq!(beat("2025-02-14T12:00:20Z").await, Outcome::Idle, "one pass is told once");
    installation.hand.turn_to(at("2025-02-14T12:00:30Z"));
    run_pipeline(&installation.context()).await;
    assert_eq!(beat("2025-02-14T12:00:59Z").await, Outcome::Idle, "no more often than every minute");
    // The other side fails: it is counted, no job fails, and the next pass is told again.
    for minute in [1, 2, 3] {
        installation.hand.turn_to(at(&format!("2025-02-14T12:0{minute}:00Z")));
        run_pipeline(&installation.context()).await;
        assert_eq!(beat(&format!("2025-02-14T12:0{minute}:01Z")).await, Outcome::Done);
    }
    let known = installation.context().pulse.beat();
    assert_eq!((server.got().len(), known.sent, known.failed, known.is_failing), (4, 2, 2, false));
    run_pipeline(&installation.context()).await;
    let text = installation.context().exporter.render().expect("text");
    for line in [
        format!("dosimeter_heartbeat_timestamp_seconds {}", at("2025-02-14T12:03:00Z").timestamp()),
        "dosimeter_heartbeat_pings_total{outcome=\"failed\"} 2".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} not in {text}");
    }

    // A job fails: the pass is not whole, and the silence says so.
    sqlx::query("alter table alert rename to elsewhere").execute(&installation.pool().await).await.expect("renamed");
    installation.hand.turn_to(at("2025-02-14T12:10:00Z"));
    run_pipeline(&installation.context()).await;
    assert_eq!(beat("2025-02-14T12:10:00Z").await, Outcome::Idle);
    assert_eq!(server.got().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_may_be_a_get() {
    let server = Server::start(&[]).await;
    let heartbeat = format!("[heartbeat]\nurl = \"{}/push?key=1\"\nmethod = \"get\"\n", server.url);
    let installation = Installation::new(&(config(&[]) + &heartbeat), "2025-02-14T12:00:00Z").await;
    run_pipeline(&installation.context()).await;
    Job::Heartbeat.run(&installation.context()).await;
    let got = server.got();
    assert_eq!((got.len(), got[0].method.as_str(), got[0].path.as_str()), (1, "GET", "/push?key=1"));
}
