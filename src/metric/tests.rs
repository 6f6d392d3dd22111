//! Metrics against golden numbers and against the obvious computation on rows.

#![allow(clippy::disallowed_methods, reason = "golden numbers come with a tolerance")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::stats::channel;
use crate::stats::spectrum::Class;

/// A test vector, checked with scikit-learn 1.9.1, pROC 1.18.0 and R's glm.
const TRUTH: [bool; 12] = [false, false, true, true, false, true, false, true, true, false, false, true];
const SCORES: [f64; 12] = [0.1, 0.4, 0.35, 0.8, 0.2, 0.7, 0.5, 0.5, 0.9, 0.3, 0.4, 0.6];

fn summarise(rows: &[(f64, bool)]) -> Summary {
    let class = |positive: bool| if positive { Class::Positive } else { Class::Negative };
    let cells = rows.iter().map(|(p, y)| (channel::key(*p), class(*y), 1)).collect();
    Summary::new(cells, BTreeMap::new(), &[0.1])
}

fn vector() -> Summary {
    summarise(&SCORES.into_iter().zip(TRUTH).collect::<Vec<_>>())
}

fn close(actual: f64, expected: f64, tolerance: f64) {
    assert!((actual - expected).abs() <= tolerance, "{actual} against {expected}");
}

#[test]
fn the_vector_agrees_with_scikit_learn_and_proc() {
    let auroc = discrimination::auroc(&vector()).expect("both classes");
    close(auroc.value, 0.902_777_777_778, 1e-12);
    close(auroc.standard_error.expect("enough of both").powi(2), 0.008_719_135_802_47, 1e-14);
    close(discrimination::average_precision(&vector()).expect("positives").value, 0.916_666_666_667, 1e-12);
    close(calibration::brier(&vector()).expect("truth").value, 0.140_208_333_333, 1e-12);
    close(calibration::log_loss(&vector()).expect("truth").value, 0.444_912_614_895, 1e-12);
}

#[test]
fn an_operating_point_counts_scores_at_the_threshold_as_flagged() {
    let answers: BTreeMap<String, Outcome> =
        operating_point::evaluate(&vector(), 0.5).into_iter().map(|(key, outcome)| (key.name, outcome)).collect();
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
fn a_perfect_separation_has_no_slope() {
    let rows = [(0.1, false), (0.2, false), (0.8, true), (0.9, true)];
    assert_eq!(calibration::slope(&summarise(&rows)), Err(Undefined::Separation));
    assert_eq!(calibration::slope(&summarise(&[(0.5, false), (0.5, true)])), Err(Undefined::Separation));
}

#[test]
fn below_the_minimum_performance_is_withheld_and_counts_are_not() {
    let question = Question { thresholds: &[0.5], minimum_n: 20, reference: Err(Undefined::NoReference), mixes: &[] };
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
        assert!(estimate.value > estimate.null_95.expect("has a null"), "{name}");
        assert!(estimate.p_value.expect("has a null") < 1e-6, "{name}");
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
