//! What streams can be about, lived through by the daemon: improvements, categories, embeddings, two versions, patients, and streams
//! that are only listed or see nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{Days, NaiveDate};
use dosimeter::config::Tier;
use dosimeter::query::backtest::{Asked, Order, backtest};
use dosimeter::query::streams;
use dosimeter::reference::{Maker, freeze};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{Installation, SMALL, at, window};

const WATCHES: &str = r#"
[[model.watch]]
name = "either-way"
measure = "sensitivity"
output = "effusion"
threshold = 0.5
side = "both"
unit = "case"
weekends = "alike"
maturity = "3d"

[[model.watch]]
name = "scanner"
measure = "feature_drift"
feature = "scanner"
unit = "case"
weekends = "alike"

[[model.watch]]
name = "inside"
measure = "embedding_drift"
unit = "case"
weekends = "alike"

[[model.watch]]
name = "challenger"
measure = "error"
output = "effusion"
threshold = 0.5
against = "1"
maturity = "3d"

[[model.watch]]
name = "patients"
measure = "specificity"
output = "effusion"
threshold = 0.5
unit = "subject"
weekends = "alike"
maturity = "3d"

[[model.watch]]
name = "listed"
measure = "specificity"
output = "effusion"
threshold = 0.5
unit = "case"
weekends = "alike"
tier = "watch"
maturity = "3d"

[[source]]
name = "predictions""#;

fn plan(watches: &str) -> String {
    SMALL
        .replacen("[[source]]\nname = \"predictions\"", watches.trim_start(), 1)
        .replace(
            "crossings = [\"site & sex\"]",
            "crossings = [\"site & sex\"]\nembedding = { dimensions = 3 }\n\
             feature = [{ name = \"scanner\", kind = \"categorical\" }]",
        )
        .replacen(
            "columns = { case = \"study\", occurred_at = \"at\" }\nconstants = { version = \"1\" }",
            "columns = { case = \"study\", occurred_at = \"at\", subject = \"patient\", version = \"version\", embedding = \"inside\" }",
            1,
        )
}

fn date(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2025, 1, 1).expect("a date") + Days::new(day.into())
}

/// Forty cases of twenty patients, seen by two versions, and their truth on the next morning. While all is well both miss two of twenty
/// positives and flag one negative; two scanners make the images. Then the first misses none and flags eight, the second is wrong
/// about as many more, a third scanner has come, and the images are others.
fn day_files(rng: &mut ChaCha8Rng, day: u32, changed: bool) -> (String, String) {
    let mut predictions = "study,at,effusion,nodule,site,sex,patient,version,scanner,inside\n".to_owned();
    let mut truth = "study,finding,value,at,status,reader\n".to_owned();
    for case in 0..40_u32 {
        let positive = case % 2 == 0;
        let flagged = match (positive, changed) {
            (true, false) => case % 20 != 0,
            (true, true) => true,
            (false, false) => case == 1,
            (false, true) => case < 16,
        };
        let scanner = if changed && case % 4 == 3 { "C" } else { ["A", "B"][usize::from(case % 5 < 2)] };
        let shift = if changed { 2.5 } else { 0.0 };
        let mut number = || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let inside = format!("\"[{:.4}, {:.4}, {:.4}]\"", number() + shift, number(), number());
        for version in [1, 2] {
            let wrong = changed && version == 2 && (20..36).contains(&case);
            let score = if flagged == wrong { 0.1 } else { 0.9 };
            let _ = writeln!(
                predictions,
                "{day}-{case},{}T09:00:00Z,{score},0.5,north,F,{day}-{},{version},{scanner},{inside}",
                date(day),
                case % 20
            );
        }
        let _ = writeln!(truth, "{day}-{case},effusion,{},{}T09:00:00Z,final,r", u8::from(positive), date(day + 1));
    }
    (predictions, truth)
}

async fn live(installation: &Installation, rng: &mut ChaCha8Rng, days: std::ops::Range<u32>, changes: u32) {
    for day in days {
        let (predictions, truth) = day_files(rng, day, day >= changes);
        installation.write(&format!("predictions/{day:03}.csv"), predictions);
        installation.hand.turn_to(at(&format!("{}T22:00:00Z", date(day))));
        installation.pass().await;
        installation.write(&format!("truth/{day:03}.csv"), truth);
        installation.hand.turn_to(at(&format!("{}T12:00:00Z", date(day + 1))));
        installation.pass().await;
    }
}

async fn listed(installation: &Installation) -> Vec<streams::Row> {
    streams::list(&installation.context(), &streams::Asked::default()).await.expect("a list")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_finds_what_a_backtest_finds() {
    let installation = Installation::new(&plan(WATCHES), "2025-01-01").await;
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    live(&installation, &mut rng, 0..38, u32::MAX).await;
    assert_eq!(installation.rejections().await, []);
    let context = installation.context();
    let maker = Maker { model: "chest-xray", version: Some("1"), person: "tester", reason: "a test" };
    let reference = window("2025-01-01", "2025-02-04");
    let (reference_id, _) = freeze(&context, &maker, reference).await.expect("a reference");
    context.store.approve_reference(reference_id, "approver", "a test", context.clock.now()).await.expect("approved");
    installation.pass().await;

    // Of the first version everything but the comparison with itself; of the second that alone can be watched, for it has no reference.
    let rows = listed(&installation).await;
    let of = |rows: &[streams::Row], version: &str| -> BTreeMap<String, Option<String>> {
        let own = rows.iter().filter(|row| row.version == version);
        own.map(|row| (row.watch.clone(), row.reason.clone())).collect()
    };
    let (first, second) = (of(&rows, "1"), of(&rows, "2"));
    let names: Vec<&str> = first.keys().map(String::as_str).collect();
    assert_eq!(names, ["either-way", "inside", "listed", "patients", "scanner"], "{first:?}");
    assert!(first.values().all(Option::is_none), "{first:?}");
    assert_eq!(second["challenger"], None);
    assert!(
        second["patients"].as_ref().is_some_and(|reason| reason.contains("no reference is approved")),
        "{second:?}"
    );

    live(&installation, &mut rng, 38..75, 48).await;
    let alarms = context.store.list_unanswered_alarms().await.expect("alarms");
    let days = |watch: &str| -> Vec<NaiveDate> {
        let own = alarms.iter().filter(|alarm| alarm.key.watch == watch && alarm.tier == "page");
        own.map(|alarm| alarm.day.date_naive()).collect()
    };
    let asked = |version: &str| Asked {
        model: "chest-xray".into(),
        version: Some(version.into()),
        reference,
        window: window("2025-02-04", "2025-03-17"),
        order: Order::Sealed,
        recorded: None,
    };
    let replayed = backtest(&context, &asked("1")).await.expect("a backtest").streams;
    let rival = backtest(&context, &asked("2")).await.expect("a backtest").streams;
    for watch in ["either-way", "scanner", "inside", "patients", "challenger"] {
        let own = days(watch);
        let first = own.first().unwrap_or_else(|| panic!("{watch} has no page"));
        assert!(*first >= date(48) && *first <= date(70), "{watch}: {own:?}");
        let streams = if watch == "challenger" { &rival } else { &replayed };
        let report = streams.iter().find(|report| report.watch == watch).expect("a stream");
        let tier = report.tier(Tier::Page).unwrap_or_else(|| panic!("{watch}: {:?}", report.reason));
        let gap = tier.replay.alarms.first().map(|alarm| (alarm.bucket.date_naive() - *first).num_days());
        // Its budget is shared with the streams of one version alone.
        assert!(gap.is_some_and(|gap| (-3..=1).contains(&gap)), "{watch}: {gap:?} of {own:?}");
    }
    assert_eq!(days("listed"), []);
    crate::dashboards::show_history(&installation.url, true).await;

    // Stored evidence is what a replay of the ledger comes to; what is listed is so by all evidence together.
    for row in listed(&installation).await.iter().filter(|row| row.reason.is_none()) {
        let asked = streams::Asked {
            version: Some(row.version.clone()),
            watch: Some(row.watch.clone()),
            ..streams::Asked::default()
        };
        let shown = streams::show(&context, &asked, None).await.expect("a stream");
        for history in &shown.history {
            let stored = history.days.last().map(|day| day.evidence);
            assert_eq!(stored, Some(history.replayed.evidence), "{} {:?}", row.watch, history.tier);
            assert_eq!(history.revised.evidence, history.replayed.evidence, "nothing was revised: {}", row.watch);
        }
        if ["listed", "challenger", "scanner"].contains(&row.watch.as_str()) {
            assert!(row.watched, "{} has moved: {:?}", row.watch, row.tiers);
        }
        let null = row.null.first().map(|(_, null)| null.clone());
        match row.watch.as_str() {
            "either-way" => assert!(null.is_some_and(|null| null.limit < 0.9 && null.other_limit > Some(0.9))),
            "challenger" => assert!(null.is_some_and(|null| null.limit.abs() < 1e-12)),
            _ => {}
        }
    }
    let improved = alarms.iter().find(|alarm| alarm.key.watch == "either-way").expect("an alarm");
    let measured = improved.measured.as_ref().expect("an estimate");
    assert!(measured.value > 0.95, "it has become better: {measured:?}");
    let worse = alarms.iter().find(|alarm| alarm.key.watch == "challenger").expect("an alarm");
    let measured = worse.measured.as_ref().expect("an estimate");
    assert!((measured.value - 0.4).abs() < 0.05, "wrong about sixteen of forty more: {measured:?}");
    // Twenty patients a day have two cases each, of one class: ten have negatives.
    let of_patients = alarms.iter().find(|alarm| alarm.key.watch == "patients").and_then(|a| a.measured.clone());
    assert!(of_patients.is_some_and(|measured| measured.n % 10 == 0), "subjects are counted, not cases");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_sees_nothing_is_told_of_with_what_it_lacks() {
    let watches = WATCHES
        .replace("[[source]]", "[notify]\ndirectory = \"mail\"\nto = [\"on-call@hospital.example\"]\n\n[[source]]");
    let text = plan(&watches).replace("unwatched = false", "unwatched = \"14d\"");
    let installation = Installation::new(&text, "2025-01-01").await;
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    live(&installation, &mut rng, 0..10, u32::MAX).await;
    let told = async || -> Vec<(String, String)> {
        let alerts = installation.context().store.list_alerts(true, 100).await.expect("alerts");
        let mut told: Vec<_> = alerts.into_iter().map(|alert| (alert.rule, alert.severity)).collect();
        told.sort();
        told
    };
    assert_eq!(told().await, [], "a reference may still come");
    live(&installation, &mut rng, 10..18, u32::MAX).await;
    let expected = ["either-way", "inside", "listed", "patients", "scanner"]
        .map(|watch| (format!("health/unwatched/{watch}"), "ticket".to_owned()));
    assert_eq!(told().await, expected, "two versions are compared all the same");
    let rows = installation.context().store.list_health().await.expect("judgements");
    let row = rows.iter().find(|row| row.subject == "patients").expect("a judgement");
    assert!(
        row.reason.contains("2 of 2 streams see nothing") && row.reason.contains("no reference is approved"),
        "{row:?}"
    );
}
