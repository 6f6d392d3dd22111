//! How much there is: predictions, truth, prevalence, delay.

use std::collections::BTreeMap;

use super::{Labelled, bracket, interval, real};
use crate::domain::{Estimate, MetricKey, Outcome, Undefined};
use crate::stats::interval::wilson;
use crate::stats::special::Z_95;
use crate::stats::spectrum::Class;
use crate::summary::Summary;

/// Counts, label coverage and delay, prevalence and mean score.
#[must_use]
pub fn evaluate(summary: &Summary) -> Vec<(MetricKey, Outcome)> {
    let labelled = Labelled::of(summary);
    let total = summary.totals().iter().sum();
    let mut answers = of_labels(total, labelled.n(), summary.delays());
    answers.push((MetricKey::plain("positives"), Ok(Estimate::exact(real(labelled.positives), total))));
    answers.push((MetricKey::plain("prevalence"), prevalence(labelled)));
    answers.push((MetricKey::plain("mean_score"), mean_score(summary, total)));
    answers
}

/// How many predictions there are, how many of them have a truth, and how long that took.
pub(super) fn of_labels(total: u64, labelled: u64, delays: &BTreeMap<u32, u64>) -> Vec<(MetricKey, Outcome)> {
    let count = |n| Ok(Estimate::exact(real(n), total));
    let (coverage, [half, most]) = labels(total, labelled, delays);
    let answers = [
        ("predictions", count(total)),
        ("labelled", count(labelled)),
        ("label_coverage", coverage),
        ("label_delay_p50_seconds", half),
        ("label_delay_p90_seconds", most),
    ];
    answers.into_iter().map(|(name, outcome)| (MetricKey::plain(name), outcome)).collect()
}

/// The share of predictions that have a truth, and the delays within which half and nine tenths of the truths had come.
#[must_use]
pub fn labels(total: u64, labelled: u64, delays: &BTreeMap<u32, u64>) -> (Outcome, [Outcome; 2]) {
    let delay = |quantile| has_truth(total, labelled).and_then(|()| delay(delays, labelled, quantile));
    (share(labelled, total), [delay(0.5), delay(0.9)])
}

/// Why there is no performance, if there is none.
pub(super) fn has_truth(total: u64, labelled: u64) -> Result<(), Undefined> {
    match (total, labelled) {
        (0, _) => Err(Undefined::NoPredictions),
        (n, 0) => Err(Undefined::NoTruth { n }),
        _ => Ok(()),
    }
}

pub(super) fn prevalence(labelled: Labelled) -> Outcome {
    labelled.some()?;
    let share = share(labelled.positives, labelled.n())?;
    Ok(Estimate { positives: Some(labelled.positives), ..share })
}

/// A share with Wilson's interval.
pub(super) fn share(part: u64, whole: u64) -> Outcome {
    if whole == 0 {
        return Err(Undefined::NoPredictions);
    }
    Ok(Estimate {
        interval: interval(wilson(part, whole, Z_95), "wilson"),
        ..Estimate::exact(real(part) / real(whole), whole)
    })
}

/// The delay, in seconds known to the hour, within which the share `quantile` of the labels that arrived had arrived.
///
/// Only labels that are there are counted, so in recent windows the delay is that of the fast ones.
fn delay(delays: &BTreeMap<u32, u64>, n: u64, quantile: f64) -> Outcome {
    let mut seen = 0;
    let hours = delays.iter().find(|(_, count)| {
        seen += **count;
        real(seen) >= quantile * real(n)
    });
    let seconds = 3600.0 * hours.map_or(0.0, |(hours, _)| f64::from(*hours));
    Ok(Estimate { exactness: bracket(seconds, seconds + 3600.0), ..Estimate::exact(seconds, n) })
}

fn mean_score(summary: &Summary, total: u64) -> Outcome {
    if total == 0 {
        return Err(Undefined::NoPredictions);
    }
    let n = real(total);
    let sum = |power| Class::ALL.iter().map(|class| summary.moments().power_sum(*class, power)).sum::<f64>();
    let mean = sum(1) / n;
    let standard_error = libm::sqrt((sum(2) / n - mean * mean).max(0.0) / n);
    Ok(Estimate {
        interval: interval(crate::stats::interval::wald(mean, standard_error, Z_95), "normal"),
        standard_error: Some(standard_error),
        ..Estimate::exact(mean, total)
    })
}
