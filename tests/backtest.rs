//! Backtests of a simulated department, and what sealing promises.

use std::fmt::Write as _;

use dosimeter::config::Tier as Level;
use dosimeter::query::backtest::{Asked, Order, Report, Tier, backtest, power};

use crate::support::{Installation, SMALL, window};

fn plan(watches: &str) -> String {
    SMALL.replace("[[source]]\nname = \"predictions\"", &format!("{watches}\n[[source]]\nname = \"predictions\""))
}

const SENSITIVITY: &str = r#"
[[model.watch]]
name = "sensitivity"
measure = "sensitivity"
output = "effusion"
threshold = 0.5
limit = 0.80
maturity = "3d"
"#;

fn asked(order: Order) -> Asked {
    Asked {
        model: "chest-xray".into(),
        version: None,
        window: window("2025-02-01", "2025-04-01"),
        reference: window("2025-01-01", "2025-02-01"),
        order,
        recorded: None,
    }
}

/// Forty cases a day, twenty positive, of which the model misses one in ten, and one in two from March on. Truth comes a day
/// later; it says `false_first` of positives first and corrects itself two weeks later.
fn files(false_first: bool) -> (String, String) {
    let mut predictions = "study,at,effusion,nodule,site,sex\n".to_owned();
    let mut truth = "study,finding,value,at,status\n".to_owned();
    for day in 0..90_u32 {
        let date = |later: u32| {
            let start = chrono::NaiveDate::from_ymd_opt(2025, 1, 1).expect("a date");
            start + chrono::Days::new((day + later).into())
        };
        for case in 0..40_u32 {
            let positive = case % 2 == 0;
            let decayed = day >= 59;
            let missed = if decayed { case % 4 == 0 } else { case % 20 == 0 };
            let score = if positive && !missed { 0.9 } else { 0.1 };
            let site = if case % 8 < 4 { "north" } else { "south" };
            let _ = writeln!(predictions, "{day}-{case},{}T09:00:00Z,{score},0.5,{site},F", date(0));
            let wrong = false_first && positive;
            let _ =
                writeln!(truth, "{day}-{case},effusion,{},{}T09:00:00Z,final", u8::from(positive && !wrong), date(1));
            if wrong {
                let _ = writeln!(truth, "{day}-{case},effusion,1,{}T09:00:00Z,corrected", date(15));
            }
        }
    }
    (predictions, truth)
}

async fn installation(watches: &str, false_first: bool) -> Installation {
    let installation = Installation::new(&plan(watches), "2025-04-30").await;
    let (predictions, truth) = files(false_first);
    installation.write("predictions/1.csv", predictions);
    installation.write("truth/1.csv", truth);
    installation.pass().await;
    assert_eq!(installation.rejections().await, []);
    installation
}

async fn replayed(installation: &Installation, asked: &Asked) -> Vec<Report> {
    backtest(&installation.context(), asked).await.expect("a backtest").streams
}

fn tier(report: &Report, tier: Level) -> &Tier {
    report.tier(tier).unwrap_or_else(|| panic!("{:?}", report.reason))
}

fn days(tier: &Tier) -> Vec<String> {
    tier.replay.alarms.iter().map(|alarm| alarm.bucket.date_naive().to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_is_found_days_after_it_is_sealed_and_its_beginning_is_dated() {
    let installation = installation(SENSITIVITY, false).await;
    let exam = replayed(&installation, &asked(Order::Exam)).await;
    let sealed = replayed(&installation, &asked(Order::Sealed)).await;
    let [exam, page] = [&exam[0], &sealed[0]].map(|report| tier(report, Level::Page));
    assert_eq!((exam.share.threshold, exam.share.weight), (365.0, 1.0));
    let (first, later) = (&days(exam)[0], &days(page)[0]);
    assert!(first.as_str() >= "2025-03-01" && first.as_str() <= "2025-03-25", "{first}");
    let gap = later.parse::<chrono::NaiveDate>().expect("a date") - first.parse::<chrono::NaiveDate>().expect("a date");
    assert_eq!(gap.num_days(), 3, "sealed three days after the exam");
    let alarm = &page.replay.alarms[0];
    assert_eq!(
        alarm.change.map(|at| at.date_naive().to_string()).as_deref(),
        Some("2025-03-04"),
        "the change, as sealed"
    );
    let measured = alarm.measured.as_ref().expect("an estimate");
    assert!(measured.value == 0.5 && measured.n >= 20 && measured.interval.is_some(), "{measured:?}");
    assert!(alarm.evidence >= 365.0);
    // A watch that may page opens a ticket first, within the tickets' own budget.
    let ticket = tier(&sealed[0], Level::Ticket);
    assert!((ticket.share.threshold - 365.0 / 12.0).abs() < 1e-9);
    assert!(days(ticket)[0] <= days(page)[0], "{:?} {later}", days(ticket));
    // The same question has the same answer.
    let again = replayed(&installation, &asked(Order::Sealed)).await;
    assert_eq!(again[0].tiers, sealed[0].tiers);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sealed_is_not_what_was_corrected_later() {
    let installation = installation(SENSITIVITY, true).await;
    let exam = replayed(&installation, &asked(Order::Exam)).await;
    assert!(!days(tier(&exam[0], Level::Page)).is_empty(), "with the truth of today the drop is there");
    let sealed = replayed(&installation, &asked(Order::Sealed)).await;
    let replay = &tier(&sealed[0], Level::Page).replay;
    assert_eq!((replay.buckets, replay.alarms.len()), (0, 0), "at its seal no case was positive");
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_over_slices_share_the_budget_and_a_plan_says_what_they_can_find() {
    let watches = r#"
[[model.watch]]
name = "everywhere"
measure = "sensitivity"
output = "effusion"
threshold = 0.5
maturity = "3d"

[[model.watch]]
name = "sites"
measure = "specificity"
output = "effusion"
threshold = 0.5
slice = "site=*"
tier = "ticket"
unit = "case"
maturity = "3d"

[[model.watch]]
name = "calibrated"
measure = "calibration"
output = "effusion"
maturity = "3d"

[[model.watch]]
name = "scores"
measure = "score_drift"
output = "effusion"
unit = "case"

[[model.watch]]
name = "nodules"
measure = "auroc"
output = "nodule"
"#;
    let installation = installation(watches, false).await;
    let streams = replayed(&installation, &asked(Order::Sealed)).await;
    let named: Vec<(&str, &str, f64, f64)> = streams
        .iter()
        .map(|stream| {
            let weight = |of| stream.tier(of).map_or(0.0, |tier| tier.share.weight);
            (stream.watch.as_str(), stream.slice.as_str(), weight(Level::Page), weight(Level::Ticket))
        })
        .collect();
    // Four watches may page and five may open tickets; the last has no cases, and keeps its share.
    assert_eq!(
        named,
        [
            ("everywhere", "all", 0.25, 0.2),
            ("sites", "site=north", 0.0, 0.1),
            ("sites", "site=south", 0.0, 0.1),
            ("calibrated", "all", 0.25, 0.2),
            ("scores", "all", 0.25, 0.2),
            ("nodules", "all", 0.0, 0.0)
        ]
    );
    let reason = streams[5].reason.as_deref().expect("a reason");
    assert!(reason.contains("0 working days") && reason.contains("give the watch a limit"), "{reason}");
    let [(_, working), (_, weekend)] = &streams[0].null[..] else { panic!("{:?}", streams[0].null) };
    assert!(working.limit < 0.9 && working.reference.is_some_and(|own| (own - 0.9).abs() < 1e-12));
    assert!(weekend.limit < working.limit, "fewer days of weekends, a wider bound");

    let planned = power(&installation.context(), &asked(Order::Sealed)).await.expect("a plan");
    let found = |at: usize| planned[at].found[0].1.clone();
    let sensitivity = found(0).expect("a change is found");
    assert_eq!(sensitivity.unit, "sensitivity");
    assert!((0.3..0.89).contains(&sensitivity.change), "{sensitivity:?}");
    let exact = sensitivity.without_error.expect("a reference");
    assert!(exact > sensitivity.change, "the reference's error costs something");
    assert!(found(3).is_ok_and(|found| found.unit == "log odds" && found.change > 0.1), "{:?}", found(3));
    // Every case of the reference has one of two scores: they cannot move by less than a jump, but something is found.
    assert!(found(4).is_ok_and(|found| found.unit == "standard deviations"), "{:?}", found(4));

    let refused = backtest(
        &installation.context(),
        &Asked { reference: window("2025-01-15", "2025-02-15"), ..asked(Order::Sealed) },
    )
    .await;
    assert!(refused.expect_err("they overlap").to_string().contains("reaches into the history"));
}

#[tokio::test(flavor = "multi_thread")]
async fn truth_that_comes_later_than_before_is_told() {
    let installation = installation(&SENSITIVITY.replace("3d", "1d"), false).await;
    // Truth comes a day later, so a case of one day is settled at the end of its day of age; with the false truth corrected, too.
    let streams = replayed(&installation, &asked(Order::Sealed)).await;
    assert_eq!((streams[0].stressed.as_deref(), tier(&streams[0], Level::Page).replay.coverage), (None, Some(1.0)));
    let late = Installation::new(&plan(&SENSITIVITY.replace("3d", "1d")), "2025-04-30").await;
    let (predictions, truth) = files(false);
    late.write("predictions/1.csv", predictions);
    // From March on every fifth case has its truth ten days later.
    let moved = truth.lines().enumerate().map(|(at, line)| match line.split_once("T09") {
        Some((head, tail)) if at % 5 == 0 && line.contains(",2025-03-") => {
            let (head, date) = head.rsplit_once(',').expect("a date");
            let date: chrono::NaiveDate = date.parse().expect("a date");
            format!("{head},{}T09{tail}\n", date + chrono::Days::new(10))
        }
        _ => format!("{line}\n"),
    });
    late.write("truth/1.csv", moved.collect::<String>());
    late.pass().await;
    let streams = replayed(&late, &asked(Order::Sealed)).await;
    let reason = streams[0].stressed.as_deref().expect("a reason");
    assert!(reason.contains("have truth in time, of the reference 100 %"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_are_labelled_as_what_they_are_and_take_no_share_of_the_budget() {
    let chart = |name: &str, method: &str| {
        format!(
            "[[model.watch]]\nname = \"{name}\"\nmeasure = \"sensitivity\"\noutput = \"effusion\"\nthreshold = 0.5\nmethod = \"{method}\"\n\
             run_length = 200\nmaturity = \"3d\"\n\n"
        )
    };
    let watches = format!("{}{}{}", chart("sum", "cusum"), chart("average", "ewma"), SENSITIVITY);
    let installation = installation(&watches, false).await;
    let streams = replayed(&installation, &asked(Order::Sealed)).await;
    // The days of the reference are all alike: a chart has nothing to go by.
    assert!(streams[0].reason.as_deref().is_some_and(|reason| reason.contains("varies")));
    assert_eq!(tier(&streams[2], Level::Page).share.weight, 1.0, "the charts take nothing of it");

    // A reference with the decay's first days in it varies.
    let varied = Asked {
        reference: window("2025-01-01", "2025-03-07"),
        window: window("2025-03-07", "2025-04-01"),
        ..asked(Order::Sealed)
    };
    let streams = replayed(&installation, &varied).await;
    for stream in &streams[..2] {
        assert!(stream.promise.contains("200 days"), "{}", stream.promise);
        assert!(!days(tier(stream, Level::Page)).is_empty(), "{}: a drop by half is found", stream.watch);
    }
    assert!(streams[2].promise.contains("budget"));
}

/// A hundred and twenty days of a model's specificity, by the raw sums of the FDA's AIM-CU.
#[test]
fn a_cusum_of_a_real_series_alarms_on_the_same_day() {
    let Some(data) = crate::nih::data() else { return };
    let read = |name: &str| std::fs::read_to_string(data.join("golden").join(name)).expect("a file");
    let values: Vec<f64> = read("cusum_specificity.csv")
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(1).expect("a column").parse().expect("a number"))
        .collect();
    let expected: serde_json::Value = serde_json::from_str(&read("cusum_expected.json")).expect("JSON");
    for case in ["init_30", "init_60"] {
        let number = |key: &str| expected[case][key].as_f64().expect("a number");
        let chart =
            dosimeter::detect::chart::Chart::Cusum { k: number("k") / number("std"), h: number("h") / number("std") };
        let mut sum = 0.0;
        let sums: Vec<f64> = values
            .iter()
            .map(|value| {
                // A drop is bad: up is the mean minus the value. The series' first sum is zero by definition.
                sum = chart.next(sum, (number("mu") - value) / number("std"));
                sum
            })
            .collect();
        let first = sums.iter().position(|sum| *sum > chart.limit());
        assert_eq!(first.map(|at| at as u64), expected[case]["first_S_lo_exceed"].as_u64(), "{case}");
        for (ours, theirs) in sums.iter().zip(expected[case]["S_lo"].as_array().expect("sums")) {
            assert!((ours * number("std") - theirs.as_f64().expect("a number")).abs() < 1e-9, "{case}");
        }
    }
}
