//! The evidence ledger and the streams that read it: a department day by day, as the daemon lives through it.

use std::fmt::Write as _;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use dosimeter::config::Tier;
use dosimeter::job::Job;
use dosimeter::query::backtest::{self, Order, backtest};
use dosimeter::query::streams::{self, Asked};
use dosimeter::reference::{Maker, freeze};
use dosimeter::runtime::Outcome;
use dosimeter::store::ledger::Book;
use dosimeter::store::stream::StoredStream;

use crate::support::{Installation, SMALL, at, window};

const WATCH: &str = r#"
[[model.watch]]
name = "sensitivity"
measure = "sensitivity"
output = "effusion"
threshold = 0.5
limit = 0.80
maturity = "3d"

[notify]
to = ["on-call@hospital.example"]
directory = "mail"

[[source]]
name = "predictions""#;

pub fn plan(watch: &str) -> String {
    SMALL.replacen("[[source]]\nname = \"predictions\"", watch.trim_start(), 1)
}

fn date(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2025, 1, 1).expect("a date") + Days::new(day.into())
}

/// Forty cases of a day, twenty positive, of which the model misses two, or ten once it has decayed; and their truth, signed on the
/// next morning.
pub fn day_files(day: u32, decayed: bool) -> (String, String) {
    let mut predictions = "study,at,effusion,nodule,site,sex\n".to_owned();
    let mut truth = "study,finding,value,at,status,reader\n".to_owned();
    for case in 0..40_u32 {
        let positive = case % 2 == 0;
        let missed = if decayed { case % 4 == 0 } else { case % 20 == 0 };
        let score = if positive && !missed { 0.9 } else { 0.1 };
        let site = if case % 8 < 4 { "north" } else { "south" };
        let _ = writeln!(predictions, "{day}-{case},{}T09:00:00Z,{score},0.5,{site},F", date(day));
        let _ = writeln!(truth, "{day}-{case},effusion,{},{}T09:00:00Z,final,r", u8::from(positive), date(day + 1));
    }
    (predictions, truth)
}

/// Live through days, each with its files in the evening and a pass in the next night.
pub async fn live(installation: &Installation, days: std::ops::Range<u32>, decays: u32) {
    for day in days {
        let (predictions, truth) = day_files(day, day >= decays);
        installation.write(&format!("predictions/{day:03}.csv"), predictions);
        installation.hand.turn_to(at(&format!("{}T22:00:00Z", date(day))));
        installation.pass().await;
        installation.write(&format!("truth/{day:03}.csv"), truth);
        installation.hand.turn_to(at(&format!("{}T12:00:00Z", date(day + 1))));
        installation.pass().await;
    }
}

async fn bodies(installation: &Installation) -> Vec<(DateTime<Utc>, String, Vec<u8>)> {
    let pool = sqlx::PgPool::connect(&installation.url).await.expect("a connection");
    let rows: Vec<(DateTime<Utc>, String, Vec<u8>)> =
        sqlx::query_as("select day, slice, body from ledger order by day, slice").fetch_all(&pool).await.expect("rows");
    pool.close().await;
    rows
}

async fn only_stream(installation: &Installation) -> StoredStream {
    let mut streams = installation.context().store.list_streams().await.expect("streams");
    assert_eq!(streams.len(), 1, "{streams:?}");
    streams.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_raises_an_alarm_and_stays_as_it_is_whatever_comes_later() {
    let installation = Installation::new(&plan(WATCH), "2025-01-01").await;
    live(&installation, 0..45, 30).await;
    let context = installation.context();
    let store = &context.store;
    let stream = only_stream(&installation).await;
    let alarms = store.list_unanswered_alarms().await.expect("alarms");
    let page = alarms.iter().find(|alarm| alarm.tier == "page").expect("a page");
    // Decayed on 31 January, sealed from 3 February on.
    assert_eq!(page.change_at, Some(at("2025-02-03")));
    let measured = page.measured.as_ref().expect("an estimate");
    let interval = measured.interval.as_ref().expect("an interval");
    assert!(measured.value == 0.5 && measured.n >= 20 && interval.lower < 0.5 && 0.5 < interval.upper, "{measured:?}");
    assert!(page.evidence >= page.threshold && page.threshold == 365.0, "{page:?}");
    assert!(page.day >= at("2025-02-04") && page.day <= at("2025-02-12"), "{page:?}");
    let ticket = alarms.iter().find(|alarm| alarm.tier == "ticket").expect("a ticket");
    assert!(ticket.day < page.day, "the ticket's budget is larger");

    // One alert: it opened as a ticket and was raised to a page. Its notices say what, since when, how sure, and show it.
    let alerts = store.list_alerts(true, 10).await.expect("alerts");
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!((alert.rule.as_str(), alert.severity.as_str(), alert.state.as_str()), ("sensitivity", "page", "firing"));
    let events = store.list_alert_events(alert.alert_id).await.expect("events");
    let transitions: Vec<&str> = events.iter().map(|event| event.transition.as_str()).collect();
    // Nobody has acknowledged it: it is told again every day.
    assert_eq!(transitions[..2], ["fired", "raised"]);
    assert!(transitions[2..].iter().all(|transition| *transition == "told"), "{transitions:?}");
    let mails: Vec<String> = std::fs::read_dir(installation.path("mail"))
        .expect("a folder")
        .map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("a mail"))
        .collect();
    assert_eq!(mails.len(), transitions.len());
    let page_mail = mails.iter().find(|mail| mail.contains("Subject: Re: [page]")).expect("a page");
    for part in ["cases sealed since 2025-02-03 is 0.5000 (95 % interval", "Guarantee", "image/png", "In-Reply-To:"] {
        assert!(page_mail.replace("=\r\n", "").contains(part), "{part} is missing: {page_mail}");
    }

    // The same history as a backtest has it, of the days that the ledger has.
    let asked = backtest::Asked {
        model: "chest-xray".into(),
        version: None,
        reference: window("2025-01-01", "2025-01-02"),
        window: window("2025-01-02", "2025-02-15"),
        order: Order::Sealed,
        recorded: None,
    };
    let replayed = backtest(&context, &asked).await.expect("a backtest");
    let tier = replayed.streams[0].tier(Tier::Page).expect("a tier");
    assert_eq!(tier.replay.alarms[0].bucket, page.day);

    // The stored state is what a replay of the ledger comes to, to the last bit.
    let book: Book = (stream.key.version_id, 3, true);
    let place = (stream.key.output_id, "all");
    let days = store.load_sealed(book, place, (stream.starts, at("2025-03-01"))).await.expect("sealed days");
    let own = stream.stream.as_ref().expect("a stream");
    let mut state = own.start();
    for (day, sealed) in &days {
        own.take(&mut state, (*day, sealed), 365.0);
    }
    let standings = store.list_standings().await.expect("standings");
    let standing = standings.iter().find(|standing| standing.tier == "page").expect("a standing");
    assert_eq!(standing.last.as_ref().map(|last| &last.state), Some(&state));

    // What is asked about this moment is answered alike for ever.
    let engine = async |as_of: Option<DateTime<Utc>>| {
        let asked = Asked { as_of, ..Asked::default() };
        let (list, budget) = (streams::list(&context, &asked).await, streams::budget(&context, as_of).await);
        let shown = streams::show(&context, &asked, None).await.expect("a stream");
        serde_json::json!([list.expect("streams"), budget.expect("a budget"), shown])
    };
    let moment = context.clock.now();
    let then = engine(None).await;

    // Every truth of January is corrected to its opposite: the ledger does not move, and no alarm is taken back.
    let before = bodies(&installation).await;
    assert!(before.len() > 30);
    let mut corrected = "study,finding,value,at,status,reader\n".to_owned();
    for day in 0..30 {
        for case in 0..40_u32 {
            let value = u8::from(case % 2 != 0);
            let _ = writeln!(corrected, "{day}-{case},effusion,{value},2025-02-15T08:00:00Z,corrected,r");
        }
    }
    installation.write("truth/corrected.csv", corrected);
    installation.hand.turn_to(at("2025-02-15T23:00:00Z"));
    installation.pass().await;
    installation.hand.turn_to(at("2025-02-17T01:00:00Z"));
    installation.pass().await;
    let after = bodies(&installation).await;
    assert_eq!(after[..before.len()], before[..], "byte for byte");
    assert_eq!(only_stream(&installation).await.stream_id, stream.stream_id);
    let kept = store.list_unanswered_alarms().await.expect("alarms");
    assert_eq!(kept[..alarms.len()], alarms[..]);

    // The shadow detector tells the difference: with the truth of today the alarm has no support.
    let shown = streams::show(&context, &Asked::default(), None).await.expect("a stream");
    let history = shown.history.iter().find(|history| history.tier == Tier::Page).expect("a tier");
    let days: Vec<DateTime<Utc>> = history.days.iter().filter(|day| day.alarms).map(|day| day.day).collect();
    let replayed: Vec<DateTime<Utc>> = history.replayed.alarms.iter().map(|alarm| alarm.bucket).collect();
    assert_eq!((days.first(), &replayed), (Some(&page.day), &days), "the replay is what was stored");
    assert_eq!(history.still_supported, Some(true), "only the truth of January was corrected");
    assert!(history.revised.greatest >= history.replayed.greatest, "its cases are all wrong now");

    // A person closes it: it ceases, for nothing that was sealed since is an alarm; a later alarm opens another alert.
    let step = dosimeter::store::alert::HumanStep::Resolve;
    store.step_alert(alert.alert_id, step, "tester", "scanner exchanged", context.clock.now()).await.expect("resolved");
    assert_eq!(store.list_unanswered_alarms().await.expect("alarms"), []);
    assert!(store.list_alerts(true, 10).await.expect("alerts").is_empty());
    // No pass lies between: the next alarm is another alert all the same.
    live(&installation, 48..60, 48).await;
    assert_ne!(engine(None).await, then);
    assert_eq!(engine(Some(moment)).await, then, "late truth, a person's step and new evidence do not change what was");
    let before_all = Asked { as_of: Some(at("2024-12-31")), ..Asked::default() };
    assert_eq!(streams::list(&context, &before_all).await.expect("streams").len(), 0);
    let reopened = store.list_alerts(true, 10).await.expect("alerts");
    assert_eq!(reopened.len(), 1);
    assert!(reopened[0].alert_id > alert.alert_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn stragglers_enter_when_their_truth_comes_and_history_never() {
    let installation = Installation::new(&plan(WATCH), "2025-01-01").await;
    let (predictions, truth) = day_files(0, false);
    installation.write("predictions/0.csv", predictions);
    installation.hand.turn_to(at("2025-01-01T22:00:00Z"));
    installation.pass().await;
    // The truth of half the cases comes after a week; those of a file from the year before are history.
    let lines: Vec<&str> = truth.lines().skip(1).collect();
    let (on_time, late) = lines.split_at(20);
    let head = "study,finding,value,at,status,reader\n";
    installation.write("truth/0.csv", format!("{head}{}\n", on_time.join("\n")));
    let old = day_files(0, false).0.replace("2025-01-01", "2024-11-01").replace("\n0-", "\nold-");
    installation.write("predictions/old.csv", old);
    let old_truth = day_files(0, false).1.replace("2025-01-02", "2024-11-02").replace("\n0-", "\nold-");
    installation.write("truth/old.csv", old_truth);
    installation.hand.turn_to(at("2025-01-02T22:00:00Z"));
    installation.pass().await;
    installation
        .write("truth/0-late.csv", format!("{head}{}\n", late.join("\n")).replace("2025-01-02T", "2025-01-08T"));
    installation.hand.turn_to(at("2025-01-08T22:00:00Z"));
    installation.pass().await;
    installation.hand.turn_to(at("2025-01-10T01:00:00Z"));
    installation.pass().await;
    let stream = only_stream(&installation).await;
    let context = installation.context();
    let book: Book = (stream.key.version_id, 3, true);
    let place = (stream.key.output_id, "all");
    let days = context.store.load_sealed(book, place, (at("2024-01-01"), at("2025-02-01"))).await.expect("sealed days");
    let filled: Vec<(DateTime<Utc>, u64, u64, u64)> = days
        .iter()
        .filter(|(_, sealed)| sealed.matured > 0 || !sealed.spectrum.channels().is_empty())
        .map(|(day, sealed)| (*day, sealed.spectrum.totals().iter().sum(), sealed.matured, sealed.settled))
        .collect();
    assert_eq!(filled, [(at("2025-01-04"), 20, 40, 20), (at("2025-01-08"), 20, 0, 0)]);
    // Every day since the book was opened is sealed, with cases or without.
    let all: Vec<DateTime<Utc>> = days.keys().copied().collect();
    assert!(all.windows(2).all(|pair| pair[1] - pair[0] == TimeDelta::days(1)), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_waits_for_a_reference_and_is_made_anew_of_another_one() {
    let without_limit = WATCH.replace("limit = 0.80\n", "");
    let installation = Installation::new(&plan(&without_limit), "2025-01-01").await;
    live(&installation, 0..40, u32::MAX).await;
    let reason = |stream: &StoredStream| stream.stream.as_ref().err().cloned().unwrap_or_default();
    assert!(reason(&only_stream(&installation).await).contains("no reference is approved"));
    let context = installation.context();
    let approve = async |from: &str, to: &str| {
        let maker = Maker { model: "chest-xray", version: None, person: "tester", reason: "a test" };
        let (reference_id, _) = freeze(&context, &maker, window(from, to)).await.expect("a reference");
        let now = context.clock.now();
        context.store.approve_reference(reference_id, "approver", "a test", now).await.expect("approved");
        reference_id
    };
    // Its last cases come of age three days later: until then there is no stream.
    let young = approve("2025-01-01", "2025-02-09").await;
    installation.pass().await;
    assert!(reason(&only_stream(&installation).await).contains("not come of age"));
    installation.hand.turn_to(at("2025-02-12T13:00:00Z"));
    installation.pass().await;
    let first = only_stream(&installation).await;
    let own = first.stream.as_ref().expect("a stream");
    assert_eq!((first.reference_id, first.starts), (Some(young), at("2025-02-12")));
    assert_eq!(own.strata.len(), 2, "working days and weekends");
    assert!(own.coverage.is_some_and(|share| share > 0.9), "{:?}", own.coverage);
    // Nothing is asked anew: the stream stays. Another reference makes another one.
    installation.pass().await;
    assert_eq!(only_stream(&installation).await.stream_id, first.stream_id);
    let other = approve("2025-01-01", "2025-02-01").await;
    installation.pass().await;
    let second = only_stream(&installation).await;
    assert_eq!(second.reference_id, Some(other));
    assert_ne!(second.stream_id, first.stream_id);
}

/// Two daemons on one database, one of which dies between every two jobs, and files that come in about midnight.
#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_and_deaths_between_jobs_seal_every_day_once_and_lose_no_alarm() {
    let one = Installation::new(&plan(WATCH), "2025-01-01").await;
    let two = Installation::over(one.url.clone(), &plan(WATCH), "2025-01-01").await;
    for day in 0..45 {
        let (predictions, truth) = day_files(day, day >= 30);
        one.write(&format!("predictions/{day:03}.csv"), predictions);
        let midnight = at(&format!("{}T00:00:00Z", date(day + 1)));
        for installation in [&one, &two] {
            installation.hand.turn_to(midnight - TimeDelta::seconds(1));
        }
        // Written a second before midnight by a process whose clock says so; the other one seals at the same time.
        assert_ne!(Job::Ingest.run(&one.context()).await, Outcome::Failed);
        two.hand.turn_to(midnight + TimeDelta::hours(12));
        one.write(&format!("truth/{day:03}.csv"), truth);
        one.hand.turn_to(midnight + TimeDelta::hours(12));
        for job in Job::ALL {
            let contexts = [one.context(), two.context()];
            let (first, second) = tokio::join!(job.run(&contexts[0]), job.run(&contexts[1]));
            assert!(first != Outcome::Failed && second != Outcome::Failed, "{}", job.name());
            if day % 7 == 3 {
                // It dies here: what is not in the database is gone.
                break;
            }
        }
    }
    for _ in 0..2 {
        two.pass().await;
    }
    let context = two.context();
    let stream = only_stream(&two).await;
    let book: Book = (stream.key.version_id, 3, true);
    let place = (stream.key.output_id, "all");
    let days = context.store.load_sealed(book, place, (stream.starts, at("2025-03-01"))).await.expect("sealed days");
    let (sealed, matured) = days.values().fold((0, 0), |(sealed, matured), day| {
        (sealed + day.spectrum.totals().iter().sum::<u64>(), matured + day.matured)
    });
    let last = days.keys().last().copied().expect("days");
    let own = u64::try_from((last - at("2025-01-04")).num_days() + 1).expect("days");
    assert_eq!((sealed, matured), (40 * own, 40 * own), "every case once");
    let alerts = context.store.list_alerts(true, 10).await.expect("alerts");
    assert_eq!(alerts.len(), 1);
    assert_eq!((alerts[0].severity.as_str(), alerts[0].breached), ("page", true));
}
