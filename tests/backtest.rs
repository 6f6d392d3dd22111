//! Backtests of a simulated department, and what sealing promises.

use std::fmt::Write as _;

use dosimeter::query::backtest::{Asked, Order, Report, backtest, power};

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

fn days(report: &Report) -> Vec<String> {
    let replay = report.replay.as_ref().unwrap_or_else(|| panic!("{:?}", report.reason));
    replay.alarms.iter().map(|alarm| alarm.bucket.date_naive().to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_is_found_days_after_it_is_sealed_and_its_beginning_is_dated() {
    let installation = installation(SENSITIVITY, false).await;
    let context = installation.context();
    let exam = backtest(&context, &asked(Order::Exam)).await.expect("a backtest");
    let sealed = backtest(&context, &asked(Order::Sealed)).await.expect("a backtest");
    let (exam, sealed) = (&exam[0], &sealed[0]);
    assert_eq!((exam.threshold, exam.weight), (365.0, 1.0));
    let (first, later) = (&days(exam)[0], &days(sealed)[0]);
    assert!(first.as_str() >= "2025-03-01" && first.as_str() <= "2025-03-25", "{first}");
    let gap = later.parse::<chrono::NaiveDate>().expect("a date") - first.parse::<chrono::NaiveDate>().expect("a date");
    assert_eq!(gap.num_days(), 3, "sealed three days after the exam");
    let alarm = &sealed.replay.as_ref().expect("a replay").alarms[0];
    assert_eq!(
        alarm.change.map(|at| at.date_naive().to_string()).as_deref(),
        Some("2025-03-04"),
        "the change, as sealed"
    );
    assert_eq!(alarm.measured, Some(0.5));
    assert!(alarm.evidence >= 365.0);
    // The same question has the same answer.
    let again = backtest(&context, &asked(Order::Sealed)).await.expect("a backtest");
    assert_eq!(again[0].replay, sealed.replay);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sealed_is_not_what_was_corrected_later() {
    let installation = installation(SENSITIVITY, true).await;
    let context = installation.context();
    let exam = backtest(&context, &asked(Order::Exam)).await.expect("a backtest");
    assert!(!days(&exam[0]).is_empty(), "with the truth of today the drop is there");
    let sealed = backtest(&context, &asked(Order::Sealed)).await.expect("a backtest");
    let replay = sealed[0].replay.as_ref().expect("a replay");
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

[[model.watch]]
name = "sites"
measure = "specificity"
output = "effusion"
threshold = 0.5
slice = "site=*"
tier = "ticket"
unit = "case"

[[model.watch]]
name = "calibrated"
measure = "calibration"
output = "effusion"

[[model.watch]]
name = "nodules"
measure = "auroc"
output = "nodule"
"#;
    let installation = installation(watches, false).await;
    let context = installation.context();
    let streams = backtest(&context, &asked(Order::Sealed)).await.expect("a backtest");
    let named: Vec<(&str, &str, f64)> =
        streams.iter().map(|stream| (stream.watch.as_str(), stream.slice.as_str(), stream.weight)).collect();
    assert_eq!(
        named,
        [
            ("everywhere", "all", 0.25),
            ("sites", "site=north", 0.125),
            ("sites", "site=south", 0.125),
            ("calibrated", "all", 0.25),
            ("nodules", "all", 0.25)
        ]
    );
    assert!(streams[4].reason.as_deref().is_some_and(|reason| reason.contains("no cases") && reason.contains("limit")));
    assert!(streams[0].null.as_ref().is_some_and(|null| null.limit < 0.9 && null.reference == Some(0.9)));

    let planned = power(&context, &asked(Order::Sealed)).await.expect("a plan");
    let found = planned[0].found.expect("a change is found");
    assert!((0.3..0.89).contains(&found), "{found}");
    assert!(planned[0].found_without_error.expect("a reference") > found, "the reference's error costs something");

    let refused =
        backtest(&context, &Asked { reference: window("2025-01-15", "2025-02-15"), ..asked(Order::Sealed) }).await;
    assert!(refused.expect_err("they overlap").to_string().contains("reaches into the history"));
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
    let streams = backtest(&installation.context(), &asked(Order::Sealed)).await.expect("a backtest");
    // The days of the reference are all alike: a chart has nothing to go by.
    assert!(streams[0].reason.as_deref().is_some_and(|reason| reason.contains("varies")));
    assert_eq!(streams[2].weight, 1.0, "the charts take nothing of it");

    // A reference with the decay's first days in it varies.
    let varied = Asked {
        reference: window("2025-01-01", "2025-03-03"),
        window: window("2025-03-03", "2025-04-01"),
        ..asked(Order::Sealed)
    };
    let streams = backtest(&installation.context(), &varied).await.expect("a backtest");
    for stream in &streams[..2] {
        assert!(stream.promise.contains("200 days"), "{}", stream.promise);
        assert!(!days(stream).is_empty(), "{}: a drop by half is found", stream.watch);
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
