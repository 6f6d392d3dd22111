//! Metrics against golden numbers and against the obvious computation on rows.

#![allow(clippy::disallowed_methods, reason = "golden numbers come with a tolerance")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::stats::channel;
use crate::stats::spectrum::Class;

fn summarise(rows: &[(f64, bool)]) -> Summary {
    let class = |positive: bool| if positive { Class::Positive } else { Class::Negative };
    let cells = rows.iter().map(|(p, y)| (channel::key(*p), class(*y), 1)).collect();
    Summary::new(cells, BTreeMap::new(), &[0.1])
}

/// What the field's own programs say; `scripts/parity/binary.py` made it.
fn golden() -> Value {
    serde_json::from_str(include_str!("../../tests/golden/binary.json")).expect("JSON")
}

fn rows_of(case: &Value) -> Vec<(f64, bool)> {
    let numbers = |key: &str| case[key].as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number"));
    numbers("scores").zip(numbers("truth").map(|y| y > 0.5)).collect()
}

fn vector() -> Summary {
    summarise(&rows_of(&golden()["cases"][0]))
}

fn close(actual: f64, expected: f64, tolerance: f64) {
    assert!((actual - expected).abs() <= tolerance, "{actual} against {expected}");
}

/// What R says of the same cases; `scripts/parity/reference.R` made it.
fn golden_of_r() -> Value {
    serde_json::from_str(include_str!("../../tests/golden/r.json")).expect("JSON")
}

#[test]
fn areas_errors_and_recalibrations_are_those_of_r() {
    let (golden, of_r) = (golden(), golden_of_r());
    for (case, r) in golden["cases"].as_array().expect("cases").iter().zip(of_r["binary"].as_array().expect("cases")) {
        assert_eq!(case["name"], r["name"]);
        let summary = summarise(&rows_of(case));
        let number = |value: &Value| value.as_f64().expect("a number");
        let auroc = discrimination::auroc(&summary).expect("both classes");
        close(auroc.value, number(&r["auc"]), 1e-12);
        close(auroc.standard_error.expect("enough of both").powi(2), number(&r["auc_variance"]), 1e-12);
        // pROC's interval is the plain one, cut at 1.
        let plain = crate::stats::interval::wald(
            auroc.value,
            auroc.standard_error.expect("an error"),
            crate::stats::special::Z_95,
        );
        close(plain.lower, number(&r["auc_interval"][0]), 1e-9);
        close(plain.upper.min(1.0), number(&r["auc_interval"][1]), 1e-9);
        let partial = discrimination::partial_auroc(&summary, 0.2).expect("both classes");
        close(partial.value, number(&r["partial_auc_standardised"]), 1e-10);
        let ours = by_name(calibration::evaluate(&summary));
        let answer = |name: &str| ours[name].as_ref().unwrap_or_else(|why| panic!("{name}: {why}")).clone();
        close(answer("brier").value, number(&r["val_prob"]["brier"]), 1e-12);
        close(answer("spiegelhalter").value, number(&r["val_prob"]["spiegelhalter_z"]), 1e-9);
        close(answer("spiegelhalter").p_value.expect("a p-value"), number(&r["val_prob"]["spiegelhalter_p"]), 1e-9);
        // rms stops its iteration earlier than glm does.
        close(answer("calibration_slope").value, number(&r["val_prob_clipped"]["slope"]), 2e-6);
        for (name, of_glm) in [
            ("calibration_slope", "slope"),
            ("calibration_line_intercept", "intercept"),
            ("calibration_intercept", "in_the_large"),
        ] {
            let estimate = answer(name);
            close(estimate.value, number(&r["glm_clipped"][of_glm]), 1e-7);
            let error = number(&r["glm_clipped"][&format!("{of_glm}_se")]);
            close(estimate.standard_error.expect("an error"), error, 1e-6);
        }
    }
    let paired = &of_r["paired_delong"];
    let numbers = |key: &str| -> Vec<f64> { serde_json::from_value(paired[key].clone()).expect("numbers") };
    let pairs: Vec<comparison::Pair> = numbers("first")
        .into_iter()
        .zip(numbers("second"))
        .zip(numbers("truth"))
        .map(|((first, second), truth)| comparison::Pair { first, second, positive: truth > 0.5 })
        .collect();
    let difference = comparison::paired_auroc(&pairs).expect("both classes");
    close(difference.p_value.expect("a p-value"), paired["p"].as_f64().expect("a number"), 1e-9);
}

/// netcal closes bins on the left and we on the right, so cases with scores on an edge are no comparison with it;
/// uncertainty-calibration closes them on the right.
#[test]
fn calibration_errors_are_those_of_netcal_and_uncertainty_calibration() {
    let golden = golden();
    let others: Value = serde_json::from_str(include_str!("../../tests/golden/netcal.json")).expect("JSON");
    let mut compared = 0;
    for (case, other) in
        golden["cases"].as_array().expect("cases").iter().zip(others["cases"].as_array().expect("cases"))
    {
        assert_eq!(case["name"], other["name"]);
        let ours = by_name(calibration::evaluate(&summarise(&rows_of(case))));
        let value = |name: &str| ours[name].as_ref().expect("defined").value;
        close(value("ece"), other["uncertainty_calibration"]["ece_10"].as_f64().expect("a number"), 1e-9);
        if other["on_an_edge"]["10"] == 0 {
            close(value("ece"), other["netcal"]["ece_10"].as_f64().expect("a number"), 1e-9);
            close(value("mce"), other["netcal"]["mce_10"].as_f64().expect("a number"), 1e-9);
            compared += 1;
        }
    }
    assert!(compared > 2, "{compared} cases without a score on an edge");
}

/// How far a metric may be from its golden number: most not at all, those found by iteration a little, and the smooth error as
/// much as its grid allows.
fn tolerance(metric: &str) -> f64 {
    match metric.split('@').next().unwrap_or_default() {
        "smooth_ece" => 2e-3,
        name if name.starts_with("calibration_") || name.ends_with("_em") => 1e-7,
        "ece_after_shift" => 1e-7,
        _ => 1e-10,
    }
}

/// Every number of a golden table against ours; returns how many there were.
fn agree(
    case: &str,
    golden: &Value,
    ours: &BTreeMap<String, Outcome>,
    read: impl Fn(&Estimate) -> Option<f64>,
) -> usize {
    let golden = golden.as_object().expect("an object");
    for (metric, expected) in golden {
        let outcome = ours.get(metric).unwrap_or_else(|| panic!("{case}: {metric} is not answered"));
        match (expected.as_f64(), outcome) {
            (Some(expected), Ok(estimate)) => {
                let value = read(estimate).unwrap_or_else(|| panic!("{case}: {metric} lacks it"));
                let scale = expected.abs().max(1.0);
                assert!(
                    (value - expected).abs() <= tolerance(metric) * scale,
                    "{case}: {metric} {value} against {expected}"
                );
            }
            (None, Err(_)) => {}
            (expected, outcome) => panic!("{case}: {metric} {outcome:?} against {expected:?}"),
        }
    }
    golden.len()
}

fn by_name(answers: Vec<(MetricKey, Outcome)>) -> BTreeMap<String, Outcome> {
    answers.into_iter().map(|(key, outcome)| (key.to_string(), outcome)).collect()
}

#[test]
fn every_number_is_that_of_the_fields_own_programs() {
    let golden = golden();
    let prevalence = golden["reference_prevalence"].as_f64();
    let costs: Costs = serde_json::from_value(golden["costs"].clone()).expect("costs");
    let thresholds: Vec<f64> = serde_json::from_value(golden["thresholds"].clone()).expect("numbers");
    let mut compared = 0;
    for case in golden["cases"].as_array().expect("cases") {
        let name = case["name"].as_str().expect("a name");
        let rows = rows_of(case);
        let summary = summarise(&rows);
        let mut answers = volume::evaluate(&summary);
        answers.extend(discrimination::evaluate(&summary, prevalence));
        answers.extend(calibration::evaluate(&summary));
        answers.extend(calibration::evaluate_slow(&summary));
        for threshold in &thresholds {
            answers.push(operating_point::alert_rate(&summary, *threshold));
            answers.extend(operating_point::evaluate(&summary, *threshold, prevalence, Some(&costs)));
        }
        let ours = by_name(answers);
        compared += agree(name, &case["values"], &ours, |estimate| Some(estimate.value));
        compared += agree(name, &case["standard_errors"], &ours, |estimate| estimate.standard_error);
        for (metric, ends) in case["intervals"].as_object().expect("intervals") {
            let interval = ours[metric].as_ref().expect("defined").interval.clone().expect("an interval");
            close(interval.lower, ends[0].as_f64().expect("a number"), 1e-10);
            close(interval.upper, ends[1].as_f64().expect("a number"), 1e-10);
        }
        let (before, after) = rows.split_at(rows.len() / 2);
        let (reference, current) = (summarise(before), summarise(after));
        let mut drift = drift::of_scores(Ok(&reference), &current);
        drift.extend(drift::label_shift(Ok(&reference), &current, &thresholds));
        compared += agree(name, &case["drift_of_second_half"], &by_name(drift), |estimate| Some(estimate.value));
    }
    assert!(compared > 500, "{compared} numbers");
}

#[test]
fn every_answer_is_in_the_catalogue_and_every_entry_is_answered() {
    let summary = vector();
    let costs = Costs { true_positive: 0.0, false_positive: 1.0, true_negative: 0.0, false_negative: 5.0 };
    let mix = Mix {
        dimension: crate::domain::Dimension { cuts: vec![40.0], ..crate::domain::Dimension::any("age") },
        cells: vec![("<40".into(), 5, 7), (">=40".into(), 7, 5)],
        unlike: None,
    };
    let question = Question {
        thresholds: &[0.5],
        minimum_n: 0,
        reference: Ok(&summary),
        costs: Some(&costs),
        depth: Depth::All,
        mixes: &[mix],
    };
    let mut answers = evaluate(&question, &summary);
    answers
        .extend(feature::evaluate(Err(&Undefined::NoReference), &crate::summary::feature::FeatureSummary::default()));
    answers.extend(embedding::evaluate(
        Err(&Undefined::NoReference),
        &crate::summary::embedding::EmbeddingSummary::default(),
    ));
    answers.extend(agreement::evaluate(&crate::summary::agreement::Agreement::default()));
    answers.extend(macro_mean::evaluate(&[("effusion", &summary)]));
    let classes = ["A", "B", "C", "D"].map(String::from);
    let nothing = crate::summary::classes::ClassSummary::default();
    let choice = multiclass::Question {
        classes: &classes,
        costs: Some(&[vec![0.0; 4], vec![0.0; 4], vec![0.0; 4], vec![0.0; 4]]),
        minimum_n: 0,
        reference: Ok(&nothing),
    };
    answers.extend(multiclass::evaluate(&choice, &nothing));
    let nothing = crate::summary::value::ValueSummary::default();
    let value = regression::Question { tolerance: Some(1.0), minimum_n: 0, reference: Ok(&nothing) };
    answers.extend(regression::evaluate(&value, &nothing));
    let mut answered: Vec<String> = answers.into_iter().map(|(key, _)| key.name).collect();
    answered.sort_unstable();
    // Counts and drift of scores are asked of choices and values too, and one metric of every class.
    answered.dedup();
    let mut listed: Vec<String> = catalogue::ENTRIES
        .iter()
        .filter(|entry| entry.tier != catalogue::Tier::Rows)
        .map(|entry| entry.name.to_owned())
        .collect();
    listed.sort_unstable();
    assert_eq!(answered, listed);
    // And what is computed for every window is exactly what is not left for questions.
    let published = evaluate(&Question { depth: Depth::Published, ..question }, &summary);
    let of_outputs = |entry: &&catalogue::Entry| {
        use catalogue::Chapter::{Embedding, Feature, Model, Multiclass, Readers, Regression};
        let of_others =
            ["reference_m", "reference_bias", "reference_embedding"].iter().any(|start| entry.name.starts_with(start));
        !matches!(entry.chapter, Embedding | Feature | Model | Multiclass | Readers | Regression) && !of_others
    };
    for entry in catalogue::ENTRIES.iter().filter(of_outputs) {
        let is_there = published.iter().any(|(key, _)| key.name == entry.name);
        let is_published = matches!(entry.tier, catalogue::Tier::Exposed | catalogue::Tier::Kept);
        assert_eq!(is_there, is_published, "{}", entry.name);
    }
}

#[test]
fn an_interval_is_there_where_the_catalogue_says_so() {
    let summary = summarise(&rows_of(&golden()["cases"][1]));
    let costs = Costs { true_positive: 0.0, false_positive: 1.0, true_negative: 0.0, false_negative: 5.0 };
    let question = Question {
        thresholds: &[0.3],
        minimum_n: 0,
        reference: Ok(&summary),
        costs: Some(&costs),
        depth: Depth::All,
        mixes: &[],
    };
    for (key, outcome) in evaluate(&question, &summary) {
        let entry = catalogue::find(&key.name).expect("listed");
        let estimate = outcome.unwrap_or_else(|why| panic!("{key}: {why}"));
        assert_eq!(
            estimate.interval.is_some(),
            entry.has_interval() || key.name.starts_with("reference_"),
            "{key}: {:?}",
            estimate.interval
        );
        if let Some(interval) = &estimate.interval {
            assert!(interval.lower <= estimate.value && estimate.value <= interval.upper, "{key}: {estimate:?}");
        }
    }
}

#[test]
fn an_operating_point_counts_scores_at_the_threshold_as_flagged() {
    let answers: BTreeMap<String, Outcome> = operating_point::evaluate(&vector(), 0.5, None, None)
        .into_iter()
        .map(|(key, outcome)| (key.name, outcome))
        .collect();
    let value = |name: &str| answers[name].as_ref().expect("defined").value;
    close(value("true_positives"), 5.0, 0.0);
    close(value("false_positives"), 1.0, 0.0);
    close(value("sensitivity"), 5.0 / 6.0, 1e-15);
    close(value("npv"), 5.0 / 6.0, 1e-15);
    close(operating_point::alert_rate(&vector(), 0.5).1.expect("defined").value, 0.5, 1e-15);
}

#[test]
fn without_truth_there_is_a_reason_and_no_number() {
    let unlabelled = Summary::new(vec![(channel::key(0.4), Class::Unlabelled, 9)], BTreeMap::new(), &[]);
    assert_eq!(discrimination::auroc(&unlabelled), Err(Undefined::NoTruth { n: 9 }));
    assert_eq!(calibration::brier(&Summary::default()), Err(Undefined::NoPredictions));
    let negatives = summarise(&[(0.2, false), (0.3, false)]);
    assert_eq!(discrimination::auroc(&negatives), Err(Undefined::NoPositives { n: 2 }));
    assert!(calibration::brier(&negatives).is_ok());
}

#[test]
fn gross_miscalibration_has_an_intercept() {
    // Every score 0.05, half of the cases positive: the shift is -logit(0.05).
    let rows: Vec<(f64, bool)> = (0..200).map(|i| (0.05, i % 2 == 0)).collect();
    let shift = calibration::intercept(&summarise(&rows)).expect("defined").value;
    close(shift, crate::stats::special::logit(0.95), 1e-9);
}

#[test]
fn tables_of_as_many_cells_as_rows_have_no_cramer_v() {
    use crate::stats::divergence::cramer_v;
    assert_eq!(cramer_v(&[1, 0], &[0, 1]), None);
    assert_eq!(cramer_v(&[1, 1, 1, 1, 1, 0], &[0, 0, 0, 0, 0, 1]), None);
    assert!(cramer_v(&[10, 0], &[0, 10]).is_some_and(f64::is_finite));
}

#[test]
fn a_perfect_group_is_not_compared_as_if_it_were_certain() {
    let perfect = summarise(&[(0.1, false), (0.2, false), (0.3, false), (0.8, true), (0.9, true), (0.7, true)]);
    let auroc = discrimination::auroc(&perfect);
    let difference = comparison::unpaired(&auroc, &auroc).expect("defined");
    let interval = difference.interval.expect("an interval");
    assert!(interval.lower < -0.1 && interval.upper > 0.1, "{interval:?}");
}

#[test]
fn a_perfect_separation_has_no_slope() {
    let rows = [(0.1, false), (0.2, false), (0.8, true), (0.9, true)];
    assert_eq!(calibration::slope(&summarise(&rows)), Err(Undefined::Separation));
    assert_eq!(calibration::slope(&summarise(&[(0.5, false), (0.5, true)])), Err(Undefined::Separation));
}

#[test]
fn below_the_minimum_performance_is_withheld_and_counts_are_not() {
    let question = Question {
        thresholds: &[0.5],
        minimum_n: 20,
        reference: Err(Undefined::NoReference),
        costs: None,
        depth: Depth::All,
        mixes: &[],
    };
    let answers = evaluate(&question, &vector());
    let find = |name: &str| &answers.iter().find(|(key, _)| key.name == name).expect("answered").1;
    assert_eq!(*find("auroc"), Err(Undefined::BelowMinimum { n: 12, minimum: 20 }));
    assert!(find("predictions").is_ok());
}

#[test]
fn the_error_bins_are_among_the_kept_tables() {
    assert!(crate::summary::BIN_COUNTS.contains(&calibration::ECE_BINS));
}

#[test]
fn drift_is_near_zero_without_change_and_large_with_it() {
    let rows = |shift: f64| -> Summary {
        let scores = (0..2000_u32).map(|i| ((f64::from(i) / 2000.0).powi(2) + shift).min(1.0));
        summarise(&scores.map(|p| (p, false)).collect::<Vec<_>>())
    };
    let reference = rows(0.0);
    for (name, outcome) in drift::of_scores(Ok(&reference), &reference) {
        assert!(outcome.expect("defined").value < 1e-9, "{name}");
    }
    for (name, outcome) in drift::of_scores(Ok(&reference), &rows(0.2)) {
        let estimate = outcome.expect("defined");
        if let Some((null, p)) = estimate.null_95.zip(estimate.p_value) {
            assert!(estimate.value > null && p < 1e-6, "{name}");
        }
    }
    assert_eq!(drift::of_scores(Err(&Undefined::NoReference), &reference)[0].1, Err(Undefined::NoReference));
}

/// AUROC by its definition, average precision by its definition.
fn plain(rows: &[(f64, bool)]) -> (f64, f64) {
    let side = |wanted: bool| rows.iter().filter(move |(_, y)| *y == wanted).map(|(p, _)| *p);
    let (mut wins, mut pairs) = (0.0, 0.0);
    for x in side(true) {
        for y in side(false) {
            wins += if x > y {
                1.0
            } else if x < y {
                0.0
            } else {
                0.5
            };
            pairs += 1.0;
        }
    }
    let mut precision = 0.0;
    for x in side(true) {
        precision += side(true).filter(|p| *p >= x).count() as f64
            / (side(true).chain(side(false)).filter(|p| *p >= x).count() as f64);
    }
    (wins / pairs, precision / side(true).count() as f64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn exact_metrics_agree_with_their_definitions(
        mut rows in prop::collection::vec((prop_oneof![0.0..=1.0_f64, Just(0.5), Just(1.0)], any::<bool>()), 2..60),
    ) {
        rows[0].1 = true;
        rows[1].1 = false;
        let (auroc, precision) = plain(&rows);
        let summary = summarise(&rows);
        prop_assert!((discrimination::auroc(&summary).expect("both").value - auroc).abs() < 1e-12);
        prop_assert!((discrimination::average_precision(&summary).expect("both").value - precision).abs() < 1e-12);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn brackets_contain_the_exact_value(
        seed in prop::collection::vec((0.0..=1.0_f64, any::<bool>()), 30..50),
        saturated in any::<bool>(),
    ) {
        let squash = |p: f64| if saturated { p.powi(9) } else { p };
        let mut rows: Vec<(f64, bool)> = seed.iter().flat_map(|(p, y)| {
            (0..150).map(move |i| (squash((p + f64::from(i) * 1.37e-3) % 1.0), *y ^ (i % 7 == 0)))
        }).collect();
        rows[0].1 = true;
        rows[1].1 = false;
        let summary = summarise(&rows);
        prop_assume!(!summary.spectrum().is_exact());
        let (auroc, precision) = plain(&rows);
        let inside = |outcome: Outcome, exact: f64| match outcome.expect("defined").exactness {
            Exactness::Exact | Exactness::Approximate => false,
            Exactness::Bracket { lower, upper } => lower <= exact + 1e-12 && exact <= upper + 1e-12,
        };
        prop_assert!(inside(discrimination::auroc(&summary), auroc));
        prop_assert!(inside(discrimination::average_precision(&summary), precision));
        let loss: f64 = rows.iter().map(|(p, y)| (p - f64::from(u8::from(*y))).powi(2)).sum();
        prop_assert!((calibration::brier(&summary).expect("truth").value - loss / rows.len() as f64).abs() < 1e-12);
    }
}
