//! Metrics: questions asked of summaries.
//!
//! Each function takes a merged [`Summary`] and returns a value with its n, its interval and its exactness, or the reason
//! why there is none. Parameters (thresholds, references, dimensions) arrive with the question.
//! Must never: look at rows, a clock or the store.

pub mod agreement;
pub mod bootstrap;
pub mod calibration;
pub mod catalogue;
pub mod comparison;
pub mod curve;
pub mod discrimination;
pub mod drift;
pub mod embedding;
pub mod feature;
pub mod macro_mean;
pub mod multiclass;
pub mod operating_point;
pub mod regression;
pub mod volume;

use serde::{Deserialize, Serialize};

use crate::domain::estimate::Interval;
use crate::domain::{Dimension, Estimate, Exactness, MetricKey, Outcome, Undefined};
use crate::stats::interval::Bounds;
use crate::stats::spectrum::CLASSES;
use crate::summary::Summary;

/// Version of the formulas; stored with every estimate. It changes when any number can change.
pub const CALCULATOR_VERSION: i32 = 3;

/// What is asked of a window besides the metrics that need no parameter.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Operating points.
    pub thresholds: &'a [f64],
    /// Cases with truth below which performance is withheld.
    pub minimum_n: u64,
    /// The reference of the same output and slice, or why there is none to compare with.
    pub reference: Result<&'a Summary, Undefined>,
    /// What the four cells cost, if the plan says so.
    pub costs: Option<&'a Costs>,
    /// Whether metrics that take long are answered too.
    pub depth: Depth,
    /// The mix of each slice dimension, reference and current; empty for slices other than `all`.
    pub mixes: &'a [Mix],
}

/// How many metrics are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Those of every published window.
    Published,
    /// All.
    All,
}

/// What a case of each cell costs, in any unit. A wrong decision costs no less than the right one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// A positive that is flagged.
    pub true_positive: f64,
    /// A negative that is flagged.
    pub false_positive: f64,
    /// A negative that is not flagged.
    pub true_negative: f64,
    /// A positive that is not flagged.
    pub false_negative: f64,
}

impl Costs {
    /// The least and the greatest cost.
    #[must_use]
    pub fn ends(&self) -> [f64; 2] {
        let all = [self.true_positive, self.false_positive, self.true_negative, self.false_negative];
        [all.into_iter().fold(f64::INFINITY, f64::min), all.into_iter().fold(f64::NEG_INFINITY, f64::max)]
    }

    /// Mean cost over the counts of the cells, of which there is at least one case.
    #[must_use]
    pub fn mean(&self, tp: f64, fp: f64, tn: f64, fn_: f64) -> f64 {
        let sum =
            self.true_positive * tp + self.false_positive * fp + self.true_negative * tn + self.false_negative * fn_;
        sum / (tp + fp + tn + fn_)
    }

    fn squared(&self) -> Self {
        Self {
            true_positive: self.true_positive * self.true_positive,
            false_positive: self.false_positive * self.false_positive,
            true_negative: self.true_negative * self.true_negative,
            false_negative: self.false_negative * self.false_negative,
        }
    }
}

/// The case mix of one dimension: predictions by value.
#[derive(Clone, Debug)]
pub struct Mix {
    /// The dimension.
    pub dimension: Dimension,
    /// `(value, predictions in the reference, predictions in the window)`; in natural order if the dimension has one.
    pub cells: Vec<(String, u64, u64)>,
    /// Why there is no reference to compare with, if there is none.
    pub unlike: Option<Undefined>,
}

/// Answer every metric for one window, in a fixed order.
#[must_use]
pub fn evaluate(question: &Question<'_>, summary: &Summary) -> Vec<(MetricKey, Outcome)> {
    let mut answers = volume::evaluate(summary);
    answers.extend(question.thresholds.iter().map(|threshold| operating_point::alert_rate(summary, *threshold)));
    let prevalence =
        question.reference.as_ref().ok().and_then(|reference| volume::prevalence(Labelled::of(reference)).ok());
    let prevalence = prevalence.map(|estimate| estimate.value).filter(|value| *value > 0.0 && *value < 1.0);
    let mut performance = discrimination::evaluate(summary, prevalence);
    performance.extend(calibration::evaluate(summary));
    if question.depth == Depth::All {
        performance.extend(calibration::evaluate_slow(summary));
    }
    for threshold in question.thresholds {
        performance.extend(operating_point::evaluate(summary, *threshold, prevalence, question.costs));
    }
    answers.extend(withhold(performance, Labelled::of(summary).n(), question.minimum_n));
    answers.extend(question.reference.iter().copied().flat_map(on_reference));
    answers.extend(drift::of_scores(question.reference.as_ref().copied(), summary));
    answers.extend(drift::label_shift(question.reference.as_ref().copied(), summary, question.thresholds));
    answers.extend(question.mixes.iter().flat_map(drift::of_mix));
    answers
}

/// Performance of too few cases is not told.
fn withhold(mut performance: Vec<(MetricKey, Outcome)>, labelled: u64, minimum: u64) -> Vec<(MetricKey, Outcome)> {
    if labelled > 0 && labelled < minimum {
        let withheld = Undefined::BelowMinimum { n: labelled, minimum };
        performance.iter_mut().for_each(|(_, outcome)| *outcome = Err(withheld.clone()));
    }
    performance
}

/// What the same output was like on the reference, as `reference_<metric>`.
fn on_reference(reference: &Summary) -> Vec<(MetricKey, Outcome)> {
    let answers = [
        ("reference_auroc", discrimination::auroc(reference)),
        ("reference_average_precision", discrimination::average_precision(reference)),
        ("reference_brier", calibration::brier(reference)),
        ("reference_observed_expected", calibration::observed_expected(reference)),
        ("reference_prevalence", volume::prevalence(Labelled::of(reference))),
    ];
    answers.into_iter().map(|(name, outcome)| (MetricKey::plain(name), outcome)).collect()
}

/// The labelled rows of a summary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Labelled {
    total: u64,
    pub(crate) negatives: u64,
    pub(crate) positives: u64,
}

impl Labelled {
    pub(crate) fn of(summary: &Summary) -> Self {
        Self::of_totals(summary.totals())
    }

    pub(crate) fn of_totals([unlabelled, negatives, positives]: [u64; CLASSES]) -> Self {
        Self { total: unlabelled + negatives + positives, negatives, positives }
    }

    pub(crate) fn n(self) -> u64 {
        self.negatives + self.positives
    }

    /// `Ok` when at least one row has a truth.
    pub(crate) fn some(self) -> Result<Self, Undefined> {
        match (self.total, self.n()) {
            (0, _) => Err(Undefined::NoPredictions),
            (n, 0) => Err(Undefined::NoTruth { n }),
            _ => Ok(self),
        }
    }

    /// `Ok` when both classes are there.
    pub(crate) fn both(self) -> Result<Self, Undefined> {
        self.with_positives()?.with_negatives()
    }

    /// `Ok` when there is a positive.
    pub(crate) fn with_positives(self) -> Result<Self, Undefined> {
        let n = self.some()?.n();
        if self.positives == 0 { Err(Undefined::NoPositives { n }) } else { Ok(self) }
    }

    /// `Ok` when there is a negative.
    pub(crate) fn with_negatives(self) -> Result<Self, Undefined> {
        let n = self.some()?.n();
        if self.negatives == 0 { Err(Undefined::NoNegatives { n }) } else { Ok(self) }
    }

    /// An estimate over the labelled rows.
    pub(crate) fn estimate(self, value: f64) -> Estimate {
        Estimate { positives: Some(self.positives), ..Estimate::exact(value, self.n()) }
    }
}

pub(crate) fn interval(bounds: Bounds, method: &str) -> Option<Interval> {
    Some(Interval { lower: bounds.lower, upper: bounds.upper, method: method.to_owned() })
}

/// A bracket, or exact where both ends agree.
pub(crate) fn bracket(lower: f64, upper: f64) -> Exactness {
    if lower < upper { Exactness::Bracket { lower, upper } } else { Exactness::Exact }
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(crate) fn real(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests;
