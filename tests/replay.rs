//! Past answers: the same after weeks of late labels, made again bit for bit; what was altered is found and told.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use dosimeter::domain::Slice;
use dosimeter::history::{Asked, current, series};
use dosimeter::job::Job;
use dosimeter::person::{Person, step};
use dosimeter::reference::{Maker, freeze};
use dosimeter::runtime::Outcome;
use dosimeter::store::alert::{AlertFilter, HumanStep};
use dosimeter::store::series::Span;
use dosimeter::store::silence::SilenceFilter;

use crate::support::{Installation, SMALL, at, binary, plan, window};

const RULE: &str = "\n[[model.alert]]\nname = \"effusion-auroc\"\nmetric = \"auroc\"\noutput = \"effusion\"\nwindow = \"7d\"\n\
    below = 0.95\nbound = \"value\"\nfor = \"0s\"\n";

/// The small model with a rule on its numbers.
fn config() -> String {
    SMALL.replacen("\n[[source]]", &format!("{RULE}\n[[source]]"), 1)
}

/// Cases a day.
const CASES: i64 = 8;
const DAYS: i64 = 24;

fn day(number: i64) -> DateTime<Utc> {
    at("2025-03-01") + TimeDelta::days(number)
}

/// The predictions of a day.
fn predictions(number: i64) -> String {
    let mut text = "study,at,effusion,nodule,site,sex\n".to_owned();
    for case in 0..CASES {
        let seed = number * CASES + case;
        let score = |factor: i64| f64::from(u32::try_from((seed * factor) % 97).expect("small")) / 97.0;
        let (site, sex) = (["north", "south"][usize::from(case % 2 == 0)], ["F", "M"][usize::from(case % 3 == 0)]);
        let time = (day(number) + TimeDelta::hours(8 + case)).to_rfc3339();
        let _ = writeln!(text, "{seed},{time},{},{},{site},{sex}", score(31), score(53));
    }
    text
}

/// The reports that are delivered on the morning after a day: truth takes up to three weeks, some of it comes here a week after it
/// was signed, some is corrected, some taken back.
fn reports(number: i64) -> String {
    let mut text = "study,finding,value,status,at\n".to_owned();
    for seed in 0..(number + 1) * CASES {
        let of = seed / CASES;
        let (delay, transport) = (seed % 21, if seed % 11 == 0 { 7 } else { 0 });
        let mut say = |value: bool, status: &str, later: i64| {
            if of + delay + later + transport == number {
                let at = (day(of + delay + later) + TimeDelta::hours(20)).to_rfc3339();
                let _ = writeln!(text, "{seed},effusion,{},{status},{at}", u8::from(value));
            }
        };
        let truth = (seed * 31) % 97 > 48;
        say(truth != (seed % 5 == 0), "final", 0);
        if seed % 5 == 0 {
            say(truth, "corrected", 3);
        }
        if seed % 17 == 0 {
            say(truth, "entered-in-error", 5);
        }
    }
    text
}

/// Everything that is answered about an instant.
async fn answers(installation: &Installation, as_of: DateTime<Utc>) -> String {
    let context = installation.context();
    let mut said = Vec::new();
    for (slice, name) in [("all", "7d"), ("site=north", "7d"), ("site=south & sex=F", "30d")] {
        let asked = Asked {
            model: "chest-xray".into(),
            version: None,
            output: "effusion".into(),
            slice: slice.parse::<Slice>().expect("a slice"),
            window: name.into(),
            metric: None,
            span: Span { as_of: Some(as_of), ..Span::default() },
        };
        let points = series(&context, &asked, None, 1000).await.expect("a series");
        said.push(serde_json::to_string(&points).expect("JSON"));
    }
    let now = current(&context, Some(as_of)).await.expect("estimates");
    said.extend(now.iter().map(|one| format!("{} {}", one.estimate_id, one.input_digest)));
    let filter = AlertFilter { as_of: Some(as_of), ..AlertFilter::default() };
    let alerts = context.store.find_alerts(&filter, 100).await.expect("alerts");
    for alert in &alerts {
        let events = context.store.list_alert_events_as_of(alert.alert_id, Some(as_of)).await.expect("events");
        said.push(serde_json::to_string(&(alert, events)).expect("JSON"));
    }
    let all = SilenceFilter { all: true, ..SilenceFilter::default() };
    let silences = context.store.find_silences(&all, as_of, 100).await.expect("silences");
    said.push(serde_json::to_string(&silences).expect("JSON"));
    said.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn past_answers_stay_the_same_after_weeks_of_late_labels() {
    let installation = Installation::new(&config(), "2025-03-01").await;
    let context = || installation.context();
    let mut then: BTreeMap<DateTime<Utc>, String> = BTreeMap::new();
    for number in 0..DAYS {
        let now = day(number + 1) + TimeDelta::hours(1);
        installation.hand.turn_to(now);
        installation.write(&format!("predictions/{number}.csv"), predictions(number));
        installation.write(&format!("truth/{number}.csv"), reports(number));
        let person = Person::new("Dr Example", "looked at it").expect("a person");
        match number {
            // The plan changes twice: what was asked before is asked again as it was.
            8 => {
                let more = config().replace("thresholds = [0.5]", "thresholds = [0.25, 0.5]");
                let less = more.replace("{ name = \"sex\" }", "{ name = \"sex\", values = [\"F\"] }");
                take_up(&installation, &less).await;
            }
            16 => take_up(&installation, &config().replace("minimum_n = 0", "minimum_n = 15")).await,
            // A reference comes into force, and people do what people do.
            11 => {
                let maker = Maker { model: "chest-xray", version: None, person: "Dr Example", reason: "acceptance" };
                let (reference_id, _) =
                    freeze(&context(), &maker, window("2025-03-01", "2025-03-09")).await.expect("frozen");
                let store = context().store;
                store.approve_reference(reference_id, "Dr Example", "accepted", now).await.expect("approved");
            }
            13 | 18 => {
                let open = context().store.list_alerts(true, 10).await.expect("alerts");
                let first = open.iter().find(|alert| alert.state != "pending").expect("an alert fires");
                let what = if number == 13 { HumanStep::Acknowledge } else { HumanStep::Resolve };
                step(&context(), first.alert_id, what, &person).await.expect("a step");
            }
            _ => {}
        }
        installation.pass().await;
        then.insert(now, answers(&installation, now).await);
    }
    let states = |text: &String| text.contains("\"acknowledged\"");
    assert!(then.values().any(states) && !then.values().all(states), "the history has human steps");
    for (now, before) in &then {
        assert_eq!(answers(&installation, *now).await, *before, "as of {now}");
    }
    let (agree, others) = installation.replays().await;
    assert!(others.is_empty(), "{} differ, such as {}", others.len(), others[0]);
    let plans: i64 = sqlx::query_scalar("select count(distinct plan_id) from estimate")
        .fetch_one(&installation.pool().await)
        .await
        .expect("a count");
    assert!(agree > 1000 && plans == 3, "{agree} estimates of {plans} plans");
}

async fn take_up(installation: &Installation, config: &str) {
    let plan = plan(config, installation.folder.path(), &installation.url);
    dosimeter::app::take_up(&installation.app.context, plan).await.expect("the plan is taken up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_finds_what_was_altered_and_pages_until_it_is_restored() {
    let told = SMALL.replace("replay = false", "replay = true")
        + "\n[notify]\nto = [\"on-call@hospital.example\"]\ndirectory = \"emails\"\n";
    let installation = Installation::new(&told, "2025-03-02T01:00:00Z").await;
    let mut swept = plan(&told, installation.folder.path(), &installation.url);
    swept.audit.replay_every = std::time::Duration::from_secs(3600);
    swept.audit.replay_sample = 400;
    dosimeter::app::take_up(&installation.app.context, swept).await.expect("the plan is taken up");
    installation.write("predictions/0.csv", predictions(0));
    installation.write("truth/0.csv", reports(0));
    installation.pass().await;
    let pool = installation.pool().await;
    let verdicts = async || -> BTreeMap<String, i64> {
        let query = "select verdict, count(*) from replay group by verdict";
        sqlx::query_as::<_, (String, i64)>(query).fetch_all(&pool).await.expect("replays").into_iter().collect()
    };
    let first = verdicts().await;
    assert!(first["agrees"] > 10 && first.len() == 1, "{first:?}");
    assert_eq!(Job::Replay.run(&installation.context()).await, Outcome::Idle, "the next sweep is in an hour");

    // Somebody makes a score better than it was.
    let tampered = "update prediction set scores[1] = 0.999 where (case_id, scores[1]) = (select case_id, scores[1] from prediction
        where not exists (select from assertion a where a.case_id = prediction.case_id) order by scores[1] limit 1)
        returning case_id, record_id";
    let (case_id, record_id): (String, String) = sqlx::query_as(tampered).fetch_one(&pool).await.expect("a row");
    installation.hand.turn_to(at("2025-03-02T03:00:00Z"));
    installation.pass().await;
    installation.pass().await;
    assert!(verdicts().await["differs"] > 0);
    let rule = context_health(&installation).await;
    assert_eq!((rule.0.as_str(), rule.1.as_str()), ("broken", "page"));
    assert!(rule.2.contains("inputs: stored") && rule.2.contains("past estimates"), "{}", rule.2);
    let alerts = installation.context().store.list_alerts(true, 10).await.expect("alerts");
    assert_eq!((alerts[0].rule.as_str(), alerts[0].state.as_str()), ("health/replay", "firing"));
    assert!(installation.count("outbox").await > 0, "somebody is told");
    let audited: i64 = sqlx::query_scalar("select count(*) from audit where action = 'replay differs'")
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert_eq!(audited, verdicts().await["differs"]);
    let text = installation.context().exporter.render().expect("text");
    let differing = format!("dosimeter_replay_differing{{model=\"chest-xray\"}} {audited}");
    assert!(text.contains(&differing) && text.contains("dosimeter_replays_total{outcome=\"differs\"}"), "{differing}");

    // Restored from a backup, the same estimates agree again.
    let mended: Vec<f64> = predictions(0)
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(2).expect("a score"))
        .map(|score| score.parse().expect("a number"))
        .collect();
    let others: Vec<f64> =
        sqlx::query_scalar("select scores[1] from prediction").fetch_all(&pool).await.expect("scores");
    let lost = mended.iter().find(|score| !others.contains(score)).expect("the score that is gone");
    sqlx::query("update prediction set scores[1] = $3 where case_id = $1 and record_id = $2")
        .bind(&case_id)
        .bind(&record_id)
        .bind(lost)
        .execute(&pool)
        .await
        .expect("restored");
    installation.hand.turn_to(at("2025-03-02T05:00:00Z"));
    installation.pass().await;
    installation.pass().await;
    assert_eq!(context_health(&installation).await.0, "kept");
}

/// `(verdict, severity, reason)` of the rule on replays.
async fn context_health(installation: &Installation) -> (String, String, String) {
    let rows = installation.context().store.list_health().await.expect("judgements");
    let own = rows.into_iter().find(|row| row.rule == "replay").expect("the rule is judged");
    (own.verdict, own.severity, own.reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_what_agrees_what_differs_and_what_cannot_be_told() {
    let installation = Installation::new(SMALL, "2025-03-02T01:00:00Z").await;
    installation.write("predictions/0.csv", predictions(0));
    installation.pass().await;
    let file = installation.path("dosimeter.toml");
    let config = format!(
        "[database]\nurl = \"{}\"\n[service]\ndata_dir = \".\"\n[identity]\nkey = \"the identity key of the tests, long enough\"\nencryption_key = \"{}\"\n{SMALL}",
        installation.url,
        "5e".repeat(32)
    );
    std::fs::write(&file, config).expect("a file");
    crate::support::give_away(&[installation.folder.path(), &file]);
    let run = |arguments: &[&str]| {
        let mut command = binary();
        let output = command.arg("replay").arg("--config").arg(&file).args(arguments).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text, errors) = run(&["1", "--sample", "5"]);
    assert_eq!(code, Some(0), "{text}{errors}");
    assert!(text.contains("estimate 1 agrees: ") && text.contains("bit for bit"), "{text}");
    let pool = installation.pool().await;
    let alter = async |text: &str| {
        sqlx::query(sqlx::AssertSqlSafe(text.to_owned())).execute(&pool).await.expect("a superuser may");
    };
    alter("update estimate set calculator = 0 where estimate_id = 1").await;
    let (code, text, errors) = run(&["1", "2"]);
    assert_eq!(code, Some(3), "{text}{errors}");
    assert!(text.contains("estimate 1 cannot be made again: version 0 of the formulas made it"), "{text}");
    alter("update estimate set metrics = jsonb_set(metrics, '{0,1,Ok,value}', '0.125') where estimate_id = 2").await;
    let (code, text, errors) = run(&["1", "2", "--format", "json"]);
    assert_eq!(code, Some(1), "{text}{errors}");
    let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&told[0]["verdict"], &told[1]["verdict"]), (&"cannot".into(), &"differs".into()), "{text}");
    let difference = &told[1]["differences"][0];
    assert!(difference["stored"].as_str().is_some_and(|text| text.contains("0.125")), "{difference}");
    let (code, _, errors) = run(&["99999"]);
    assert!(code == Some(1) && errors.contains("there is no estimate 99999"), "{errors}");
}
