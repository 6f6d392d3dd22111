//! Two versions on the same cases, or two groups of different cases.

use std::collections::BTreeMap;

use crate::domain::estimate::Interval;
use crate::domain::{Estimate, Exactness, Outcome, Undefined};
use crate::metric::real;
use crate::stats::interval::{Bounds, square_and_add, wald};
use crate::stats::special::{Z_95, normal_upper_tail};

/// One case with the scores that two versions gave it, and its truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Score of the first version.
    pub first: f64,
    /// Score of the second.
    pub second: f64,
    /// Whether the condition is present.
    pub positive: bool,
}

/// AUROC of the first minus that of the second on the same cases, with the covariance of their placements (`DeLong`, `DeLong` and
/// Clarke-Pearson 1988). `p_value` is two-sided.
///
/// # Errors
/// Without two positives and two negatives.
pub fn paired_auroc(pairs: &[Pair]) -> Outcome {
    let (positives, negatives): (Vec<&Pair>, Vec<&Pair>) = pairs.iter().partition(|pair| pair.positive);
    let (m, n) = (positives.len(), negatives.len());
    if m < 2 {
        return Err(Undefined::NoPositives { n: pairs.len() as u64 });
    }
    if n < 2 {
        return Err(Undefined::NoNegatives { n: pairs.len() as u64 });
    }
    let placements = |score: &dyn Fn(&Pair) -> f64| {
        let side = |pairs: &[&Pair]| pairs.iter().map(|pair| score(pair)).collect::<Vec<f64>>();
        let (of_positives, of_negatives) = (side(&positives), side(&negatives));
        let above: Vec<f64> = placed(&of_positives, &of_negatives);
        let below: Vec<f64> = placed(&of_negatives, &of_positives).into_iter().map(|share| 1.0 - share).collect();
        (above, below)
    };
    let (first, second) = (placements(&|pair| pair.first), placements(&|pair| pair.second));
    let difference = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f64>>();
    // The variance of a difference is that of the differences: no covariance matrix is needed.
    let (of_positives, of_negatives) = (difference(&first.0, &second.0), difference(&first.1, &second.1));
    let value = mean(&of_positives);
    let variance = sample_variance(&of_positives) / real(m as u64) + sample_variance(&of_negatives) / real(n as u64);
    Ok(difference_estimate(value, libm::sqrt(variance), pairs.len() as u64, m as u64, "delong"))
}

/// For each of `own` the share of `others` below it, ties one half.
fn placed(own: &[f64], others: &[f64]) -> Vec<f64> {
    let mut sorted = others.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = real(sorted.len() as u64);
    let place = |x: &f64| {
        let below = sorted.partition_point(|other| other < x);
        let not_above = sorted.partition_point(|other| other <= x);
        (real(below as u64) + 0.5 * real((not_above - below) as u64)) / n
    };
    own.iter().map(place).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / real(values.len() as u64)
}

fn sample_variance(values: &[f64]) -> f64 {
    let centre = mean(values);
    values.iter().map(|value| (value - centre) * (value - centre)).sum::<f64>() / real(values.len() as u64 - 1)
}

/// Brier score of the first minus that of the second on the same cases, with a normal interval.
///
/// # Errors
/// Without two cases.
pub fn paired_brier(pairs: &[Pair]) -> Outcome {
    if pairs.len() < 2 {
        return Err(Undefined::BelowMinimum { n: pairs.len() as u64, minimum: 2 });
    }
    let losses = pairs.iter().map(|pair| {
        let truth = f64::from(u8::from(pair.positive));
        (pair.first - truth) * (pair.first - truth) - (pair.second - truth) * (pair.second - truth)
    });
    let losses: Vec<f64> = losses.collect();
    let standard_error = libm::sqrt(sample_variance(&losses) / real(losses.len() as u64));
    let positives = pairs.iter().filter(|pair| pair.positive).count() as u64;
    Ok(difference_estimate(mean(&losses), standard_error, pairs.len() as u64, positives, "normal"))
}

/// Accuracy at a threshold of the first minus that of the second on the same cases; `p_value` is `McNemar`'s, exact and
/// two-sided.
///
/// # Errors
/// Without a case.
pub fn paired_accuracy(pairs: &[Pair], threshold: f64) -> Outcome {
    if pairs.is_empty() {
        return Err(Undefined::NoTruth { n: 0 });
    }
    let right = |score: f64, pair: &Pair| (score >= threshold) == pair.positive;
    let count = |wanted: (bool, bool)| {
        pairs.iter().filter(|pair| (right(pair.first, pair), right(pair.second, pair)) == wanted).count() as u64
    };
    let (only_first, only_second) = (count((true, false)), count((false, true)));
    let n = real(pairs.len() as u64);
    let value = (real(only_first) - real(only_second)) / n;
    let square = (real(only_first) + real(only_second)) / n;
    let standard_error = libm::sqrt((square - value * value).max(0.0) / n);
    let positives = pairs.iter().filter(|pair| pair.positive).count() as u64;
    let estimate = difference_estimate(value, standard_error, pairs.len() as u64, positives, "normal");
    Ok(Estimate { p_value: Some(mcnemar(only_first, only_second)), ..estimate })
}

/// `McNemar`'s exact two-sided p-value from the two discordant counts: `2 P(X <= min(b, c))`, X binomial(b + c, 1/2), at most 1.
#[must_use]
pub fn mcnemar(b: u64, c: u64) -> f64 {
    let n = b + c;
    let mut probability = libm::exp(-real(n) * core::f64::consts::LN_2);
    let mut tail = 0.0;
    if probability > 0.0 {
        for k in 0..=b.min(c) {
            tail += probability;
            probability *= real(n - k) / real(k + 1);
        }
        return (2.0 * tail).min(1.0);
    }
    // Beyond a thousand discordant cases: the normal tail with continuity correction.
    let z = (real(b.abs_diff(c)) - 1.0).max(0.0) / libm::sqrt(real(n));
    (2.0 * normal_upper_tail(z)).min(1.0)
}

/// The difference of two estimates of the same metric on different cases: from their standard errors, or where there are none
/// by square-and-add from their intervals (Newcombe 1998), which gives no p-value.
///
/// # Errors
/// When one has no value, or neither an error nor an interval.
pub fn unpaired(first: &Outcome, second: &Outcome) -> Outcome {
    let (first, second) = (first.as_ref().map_err(Clone::clone)?, second.as_ref().map_err(Clone::clone)?);
    let positives = first.positives.unwrap_or_default() + second.positives.unwrap_or_default();
    let (value, n) = (first.value - second.value, first.n + second.n);
    // An error of zero is one that could not be estimated, as at a perfect separation: no certainty.
    let errors = first.standard_error.zip(second.standard_error).filter(|(mine, theirs)| *mine > 0.0 && *theirs > 0.0);
    let estimate = if let Some((mine, theirs)) = errors {
        difference_estimate(value, libm::sqrt(mine * mine + theirs * theirs), n, positives, "unpaired")
    } else {
        let (mine, theirs) = first.interval.as_ref().zip(second.interval.as_ref()).ok_or(Undefined::NoStandardError)?;
        let flipped = Bounds { lower: -theirs.upper, upper: -theirs.lower };
        let bounds =
            square_and_add((first.value, Bounds { lower: mine.lower, upper: mine.upper }), (-second.value, flipped));
        let interval = Interval { lower: bounds.lower, upper: bounds.upper, method: "square-and-add".to_owned() };
        Estimate { interval: Some(interval), positives: Some(positives), ..Estimate::exact(value, n) }
    };
    let exact = first.exactness == Exactness::Exact && second.exactness == Exactness::Exact;
    Ok(Estimate { exactness: if exact { Exactness::Exact } else { Exactness::Approximate }, ..estimate })
}

fn difference_estimate(value: f64, standard_error: f64, n: u64, positives: u64, method: &str) -> Estimate {
    let p_value = if standard_error > 0.0 {
        2.0 * normal_upper_tail((value / standard_error).abs())
    } else {
        f64::from(u8::from(value == 0.0))
    };
    let bounds = wald(value, standard_error, Z_95);
    Estimate {
        interval: Some(Interval { lower: bounds.lower, upper: bounds.upper, method: method.to_owned() }),
        standard_error: Some(standard_error),
        positives: Some(positives),
        p_value: Some(p_value),
        ..Estimate::exact(value, n)
    }
}

/// One case of a clustered sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Clustered<'a> {
    /// Whom it is about.
    pub cluster: &'a str,
    /// Its score.
    pub score: f64,
    /// Whether the condition is present.
    pub positive: bool,
}

/// AUROC with a variance that lets cases of one cluster (several studies of a patient) depend on each other (Obuchowski 1997),
/// and a logit interval.
///
/// # Errors
/// Without positives or negatives in two clusters each.
pub fn clustered_auroc(rows: &[Clustered<'_>]) -> Outcome {
    let side = |wanted: bool| rows.iter().filter(move |row| row.positive == wanted);
    let scores = |wanted: bool| side(wanted).map(|row| row.score).collect::<Vec<f64>>();
    let (positives, negatives) = (scores(true), scores(false));
    let (m, n) = (real(positives.len() as u64), real(negatives.len() as u64));
    let total = rows.len() as u64;
    if positives.is_empty() {
        return Err(Undefined::NoPositives { n: total });
    }
    if negatives.is_empty() {
        return Err(Undefined::NoNegatives { n: total });
    }
    let above = placed(&positives, &negatives);
    let value = mean(&above);
    // Per cluster: the sums of placements over their expectation, of positives and of negatives.
    let mut clusters: BTreeMap<&str, [f64; 4]> = BTreeMap::new();
    for (row, place) in side(true).zip(&above) {
        let sums = clusters.entry(row.cluster).or_default();
        sums[0] += place - value;
        sums[2] += 1.0;
    }
    for (row, place) in side(false).zip(placed(&negatives, &positives)) {
        let sums = clusters.entry(row.cluster).or_default();
        sums[1] += 1.0 - place - value;
        sums[3] += 1.0;
    }
    let with = |at: usize| real(clusters.values().filter(|sums| sums[at] > 0.0).count() as u64);
    let (of_positives, of_negatives, all) = (with(2), with(3), real(clusters.len() as u64));
    if of_positives < 2.0 || of_negatives < 2.0 {
        return Err(Undefined::BelowMinimum { n: total, minimum: 2 });
    }
    let sum = |of: &dyn Fn(&[f64; 4]) -> f64| clusters.values().map(of).sum::<f64>();
    let s10 = of_positives / ((of_positives - 1.0) * m) * sum(&|sums| sums[0] * sums[0]);
    let s01 = of_negatives / ((of_negatives - 1.0) * n) * sum(&|sums| sums[1] * sums[1]);
    let s11 = all / (all - 1.0) * sum(&|sums| sums[0] * sums[1]);
    let standard_error = libm::sqrt((s10 / m + s01 / n + 2.0 * s11 / (m * n)).max(0.0));
    let inside = value > 0.0 && value < 1.0 && standard_error > 0.0;
    let bounds = inside.then(|| crate::stats::interval::logit_normal(value, standard_error, Z_95));
    Ok(Estimate {
        interval: bounds.and_then(|bounds| crate::metric::interval(bounds, "obuchowski-logit")),
        standard_error: Some(standard_error),
        positives: Some(positives.len() as u64),
        ..Estimate::exact(value, total)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTH: [u8; 12] = [0, 0, 1, 1, 0, 1, 0, 1, 1, 0, 0, 1];
    const FIRST: [f64; 12] = [0.1, 0.4, 0.35, 0.8, 0.2, 0.7, 0.5, 0.5, 0.9, 0.3, 0.4, 0.6];
    const SECOND: [f64; 12] = [0.2, 0.3, 0.5, 0.6, 0.4, 0.5, 0.6, 0.7, 0.8, 0.1, 0.5, 0.4];

    fn pairs() -> Vec<Pair> {
        let scores = FIRST.into_iter().zip(SECOND).zip(TRUTH);
        scores.map(|((first, second), y)| Pair { first, second, positive: y == 1 }).collect()
    }

    /// Golden: pROC 1.18.0, `roc.test(..., paired = TRUE)` on R 4.2.2.
    #[test]
    fn the_paired_test_is_that_of_proc() {
        let estimate = paired_auroc(&pairs()).expect("defined");
        let z = estimate.value / estimate.standard_error.expect("an error");
        assert!((z - 0.581_238_193_719).abs() < 1e-10, "{z}");
        assert!((estimate.p_value.expect("a p-value") - 0.561_079_929_586).abs() < 1e-10);
        assert_eq!(paired_auroc(&pairs().map_second_to_first()).expect("defined").p_value, Some(1.0));
    }

    trait MapSecond {
        fn map_second_to_first(self) -> Vec<Pair>;
    }

    impl MapSecond for Vec<Pair> {
        fn map_second_to_first(self) -> Vec<Pair> {
            self.into_iter().map(|pair| Pair { second: pair.first, ..pair }).collect()
        }
    }

    /// Golden: statsmodels 0.15.0, `mcnemar(table, exact=True)`.
    #[test]
    fn mcnemar_is_that_of_statsmodels() {
        assert!((mcnemar(5, 1) - 0.21875).abs() < 1e-12);
        assert!((mcnemar(0, 0) - 1.0).abs() < 1e-12);
        assert!((mcnemar(40, 22) - 0.030_015_864_349_067_285).abs() < 1e-10, "{}", mcnemar(40, 22));
    }

    #[test]
    fn clusters_of_one_give_delong() {
        let names: Vec<String> = (0..12).map(|i| i.to_string()).collect();
        let rows: Vec<Clustered<'_>> = FIRST
            .iter()
            .zip(TRUTH)
            .zip(&names)
            .map(|((score, y), cluster)| Clustered { cluster, score: *score, positive: y == 1 })
            .collect();
        let estimate = clustered_auroc(&rows).expect("defined");
        // All clusters are single: no cross term, and the factors are those of DeLong.
        assert!((libm::pow(estimate.standard_error.expect("an error"), 2.0) - 0.008_719_135_802_47).abs() < 1e-12);
        let doubled: Vec<Clustered<'_>> = rows.iter().chain(&rows).cloned().collect();
        let twice = clustered_auroc(&doubled).expect("defined");
        assert!((twice.value - estimate.value).abs() < 1e-12);
        let ratio = twice.standard_error.expect("an error") / estimate.standard_error.expect("an error");
        assert!((ratio - 1.0).abs() < 0.05, "a case seen twice is no second case: {ratio}");
    }
}
