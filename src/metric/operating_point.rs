//! Metrics at an operating point: a case is flagged when its score is at least the threshold.
//!
//! All of them are functions of the four confusion counts. On a coarsened spectrum a threshold that is not kept beside it may
//! fall inside a channel; then the counts, and whatever is made of them, are bracketed.

use super::{Costs, Labelled, bracket, interval, real};
use crate::domain::{Estimate, Exactness, MetricKey, Outcome, Undefined};
use crate::stats::interval::{Bounds, fisher_normal, log_normal, logit_normal, square_and_add, wald, wilson};
use crate::stats::special::{Z_95, logit, sigmoid};
use crate::summary::Summary;

/// Every metric at one threshold: confusion counts, rates, predictive values, composite metrics, net benefit; predictive
/// values at `prevalence` and costs where they are given.
#[must_use]
pub fn evaluate(
    summary: &Summary,
    threshold: f64,
    prevalence: Option<f64>,
    costs: Option<&Costs>,
) -> Vec<(MetricKey, Outcome)> {
    let point = Point::of(summary, threshold);
    let mut answers = point.counts();
    answers.extend(point.rates());
    answers.extend(point.composites());
    answers.extend(point.net_benefit(threshold));
    answers.extend(prevalence.into_iter().flat_map(|prevalence| point.adjusted(prevalence)));
    answers.extend(costs.into_iter().flat_map(|costs| point.cost(summary, costs)));
    answers.into_iter().map(|(name, outcome)| (MetricKey::at(name, threshold), outcome)).collect()
}

/// Share of all predictions, labelled or not, that are flagged, with Wilson's interval.
#[must_use]
pub fn alert_rate(summary: &Summary, threshold: f64) -> (MetricKey, Outcome) {
    let (surely, possibly) = summary.at_least(threshold);
    let flagged = Count { value: possibly.iter().sum(), least: surely.iter().sum(), most: possibly.iter().sum() };
    let rest = flagged.rest_of(summary.totals().iter().sum());
    (MetricKey::at("alert_rate", threshold), share(flagged, rest, Undefined::NoPredictions))
}

type Named = (&'static str, Outcome);

/// The confusion counts of the labelled rows; each flagged one with the range in which it lies.
struct Point {
    labelled: Labelled,
    tp: Count,
    fp: Count,
}

/// Confusion counts as real numbers.
#[derive(Clone, Copy)]
struct Cells {
    tp: f64,
    fp: f64,
    tn: f64,
    fn_: f64,
}

impl Cells {
    fn total(self) -> f64 {
        self.tp + self.fp + self.tn + self.fn_
    }

    /// Standard error by the delta method over the four multinomial cells, from the gradient `(tp, fp, tn, fn)` of the metric
    /// in the cells' shares: `(sum p g^2 - (sum p g)^2) / N`.
    fn delta(self, gradient: [f64; 4]) -> f64 {
        let n = self.total();
        let shares = [self.tp / n, self.fp / n, self.tn / n, self.fn_ / n];
        let mean: f64 = shares.iter().zip(gradient).map(|(p, g)| p * g).sum();
        let square: f64 = shares.iter().zip(gradient).map(|(p, g)| p * g * g).sum();
        libm::sqrt((square - mean * mean).max(0.0) / n)
    }
}

impl Point {
    fn of(summary: &Summary, threshold: f64) -> Self {
        let (surely, possibly) = summary.at_least(threshold);
        // Inside a coarse channel the guess is "flagged".
        let flagged = |class: usize| Count { value: possibly[class], least: surely[class], most: possibly[class] };
        Self { labelled: Labelled::of(summary), tp: flagged(2), fp: flagged(1) }
    }

    fn fn_(&self) -> Count {
        self.tp.rest_of(self.labelled.positives)
    }

    fn tn(&self) -> Count {
        self.fp.rest_of(self.labelled.negatives)
    }

    fn cells(&self) -> Cells {
        self.cells_at(self.tp.value, self.fp.value)
    }

    fn cells_at(&self, tp: u64, fp: u64) -> Cells {
        Cells {
            tp: real(tp),
            fp: real(fp),
            tn: real(self.labelled.negatives - fp),
            fn_: real(self.labelled.positives - tp),
        }
    }

    /// An estimate of a function that grows with true positives and falls with false ones (or the other way round): its
    /// bracket is reached at the ends of the counts' ranges.
    fn monotone(&self, value: f64, of: impl Fn(Cells) -> Option<f64>) -> Estimate {
        let ends = [(self.tp.least, self.fp.most), (self.tp.most, self.fp.least)];
        let ends = ends.map(|(tp, fp)| of(self.cells_at(tp, fp)));
        let [Some(least), Some(most)] = ends else {
            return Estimate { exactness: Exactness::Approximate, ..self.labelled.estimate(value) };
        };
        let ends = [least, most];
        let (lower, upper) = (ends[0].min(ends[1]).min(value), ends[0].max(ends[1]).max(value));
        Estimate { exactness: bracket(lower, upper), ..self.labelled.estimate(value) }
    }

    fn counts(&self) -> Vec<Named> {
        let count = |name, count: Count| {
            let outcome = self.labelled.some().map(|labelled| Estimate {
                exactness: bracket(real(count.least), real(count.most)),
                ..labelled.estimate(real(count.value))
            });
            (name, outcome)
        };
        vec![
            count("true_positives", self.tp),
            count("false_positives", self.fp),
            count("true_negatives", self.tn()),
            count("false_negatives", self.fn_()),
        ]
    }

    fn rates(&self) -> Vec<Named> {
        let (tp, fp, tn, fn_) = (self.tp, self.fp, self.tn(), self.fn_());
        // `positives` are those of the denominator: that is what n counts.
        let share = |name, part: Count, other: Count, positives: u64, empty: Undefined| {
            let share = self.labelled.some().and_then(|_| share(part, other, empty));
            (name, share.map(|share| Estimate { positives: Some(positives), ..share }))
        };
        let n = self.labelled.n();
        let none = |side: &str| Undefined::NoneFlagged { side: side.to_owned() };
        let right = Count { value: tp.value + tn.value, least: tp.least + tn.least, most: tp.most + tn.most };
        let wrong = right.rest_of(n);
        vec![
            share("sensitivity", tp, fn_, self.labelled.positives, Undefined::NoPositives { n }),
            share("specificity", tn, fp, 0, Undefined::NoNegatives { n }),
            share("ppv", tp, fp, tp.value, none("positive")),
            share("npv", tn, fn_, fn_.value, none("negative")),
            share("accuracy", right, wrong, self.labelled.positives, Undefined::NoTruth { n }),
        ]
    }

    fn composites(&self) -> Vec<Named> {
        vec![
            ("balanced_accuracy", self.sum_of_rates(0.5, 0.0)),
            ("youden", self.sum_of_rates(1.0, -1.0)),
            ("f1", self.f1()),
            ("mcc", self.mcc()),
            ("lr_positive", self.likelihood_ratio(true)),
            ("lr_negative", self.likelihood_ratio(false)),
        ]
    }

    /// `scale (sensitivity + specificity) + shift`, its interval by square-and-add from the two Wilson intervals.
    fn sum_of_rates(&self, scale: f64, shift: f64) -> Outcome {
        let labelled = self.labelled.both()?;
        let of = |c: Cells| scale * (c.tp / (c.tp + c.fn_) + c.tn / (c.tn + c.fp)) + shift;
        let cells = self.cells();
        let (sensitivity, specificity) = (cells.tp / (cells.tp + cells.fn_), cells.tn / (cells.tn + cells.fp));
        let sum = square_and_add(
            (sensitivity, wilson(self.tp.value, labelled.positives, Z_95)),
            (specificity, wilson(self.tn().value, labelled.negatives, Z_95)),
        );
        let bounds = Bounds { lower: scale * sum.lower + shift, upper: scale * sum.upper + shift };
        Ok(Estimate { interval: interval(bounds, "square-and-add"), ..self.monotone(of(cells), |c| Some(of(c))) })
    }

    /// `2 TP / (2 TP + FP + FN)`; delta method on the logit scale.
    fn f1(&self) -> Outcome {
        self.labelled.some()?;
        let of = |c: Cells| {
            let whole = 2.0 * c.tp + c.fp + c.fn_;
            (whole > 0.0).then(|| 2.0 * c.tp / whole)
        };
        let c = self.cells();
        let value = of(c).ok_or_else(|| Undefined::NoneFlagged { side: "positive".to_owned() })?;
        let n = c.total();
        let whole = (2.0 * c.tp + c.fp + c.fn_) / n;
        let slope = -2.0 * (c.tp / n) / (whole * whole);
        let standard_error = c.delta([2.0 * ((c.fp + c.fn_) / n) / (whole * whole), slope, 0.0, slope]);
        let inside = value > 0.0 && value < 1.0 && standard_error > 0.0;
        Ok(Estimate {
            interval: inside
                .then(|| logit_normal(value, standard_error, Z_95))
                .and_then(|b| interval(b, "delta-logit")),
            standard_error: Some(standard_error),
            ..self.monotone(value, of)
        })
    }

    /// Matthews' correlation; delta method on Fisher's scale. Undefined where a margin is empty (scikit-learn returns 0).
    fn mcc(&self) -> Outcome {
        self.labelled.both()?;
        let of = |c: Cells| {
            let margins = (c.tp + c.fp) * (c.tp + c.fn_) * (c.tn + c.fp) * (c.tn + c.fn_);
            (margins > 0.0).then(|| (c.tp * c.tn - c.fp * c.fn_) / libm::sqrt(margins))
        };
        let c = self.cells();
        let side = if c.tp + c.fp > 0.0 { "negative" } else { "positive" };
        let value = of(c).ok_or_else(|| Undefined::NoneFlagged { side: side.to_owned() })?;
        let n = c.total();
        let (tp, fp, tn, fn_) = (c.tp / n, c.fp / n, c.tn / n, c.fn_ / n);
        let (flagged, positive, negative, unflagged) = (tp + fp, tp + fn_, tn + fp, tn + fn_);
        let root = libm::sqrt(flagged * positive * negative * unflagged);
        let half = 0.5 * value;
        let standard_error = c.delta([
            tn / root - half * (1.0 / flagged + 1.0 / positive),
            -fn_ / root - half * (1.0 / flagged + 1.0 / negative),
            tp / root - half * (1.0 / negative + 1.0 / unflagged),
            -fp / root - half * (1.0 / positive + 1.0 / unflagged),
        ]);
        let inside = value.abs() < 1.0 && standard_error > 0.0;
        Ok(Estimate {
            interval: inside
                .then(|| fisher_normal(value, standard_error, Z_95))
                .and_then(|b| interval(b, "delta-fisher")),
            standard_error: Some(standard_error),
            ..self.monotone(value, of)
        })
    }

    /// `Se / (1 - Sp)` or `(1 - Se) / Sp`, log method (Simel, Samsa and Matchar 1991).
    fn likelihood_ratio(&self, of_flagged: bool) -> Outcome {
        let labelled = self.labelled.both()?;
        let parts = move |c: Cells| if of_flagged { (c.tp, c.fp) } else { (c.fn_, c.tn) };
        let of = |c: Cells| {
            let (of_positives, of_negatives) = parts(c);
            (of_negatives > 0.0).then(|| (of_positives / (c.tp + c.fn_)) / (of_negatives / (c.tn + c.fp)))
        };
        let side = if of_flagged { "positive" } else { "negative" };
        let value = of(self.cells()).ok_or_else(|| Undefined::InfiniteRatio { side: side.to_owned() })?;
        let (a, b) = parts(self.cells());
        let variance = 1.0 / a - 1.0 / real(labelled.positives) + 1.0 / b - 1.0 / real(labelled.negatives);
        let bounds = (a > 0.0).then(|| log_normal(value, libm::sqrt(variance.max(0.0)), Z_95));
        Ok(Estimate { interval: bounds.and_then(|b| interval(b, "log")), ..self.monotone(value, of) })
    }

    /// Predictive values at a stated prevalence, logit method (Mercaldo, Lau and Zhou 2007).
    fn adjusted(&self, prevalence: f64) -> Vec<Named> {
        vec![("ppv_adjusted", self.predictive(prevalence, true)), ("npv_adjusted", self.predictive(prevalence, false))]
    }

    fn predictive(&self, prevalence: f64, of_flagged: bool) -> Outcome {
        let labelled = self.labelled.both()?;
        let parts = move |c: Cells| {
            let (sensitivity, specificity) = (c.tp / (c.tp + c.fn_), c.tn / (c.tn + c.fp));
            if of_flagged {
                (sensitivity * prevalence, (1.0 - specificity) * (1.0 - prevalence))
            } else {
                (specificity * (1.0 - prevalence), (1.0 - sensitivity) * prevalence)
            }
        };
        let of = |c: Cells| {
            let (right, wrong) = parts(c);
            (right + wrong > 0.0).then(|| right / (right + wrong))
        };
        let c = self.cells();
        let side = if of_flagged { "positive" } else { "negative" };
        let value = of(c).ok_or_else(|| Undefined::NoneFlagged { side: side.to_owned() })?;
        let (m, n) = (real(labelled.positives), real(labelled.negatives));
        // The variance of the log of a share x / k is (1 - x / k) / x.
        let variance = if of_flagged {
            (1.0 - c.tp / m) / c.tp + (1.0 - c.fp / n) / c.fp
        } else {
            (1.0 - c.tn / n) / c.tn + (1.0 - c.fn_ / m) / c.fn_
        };
        let bounds = (value > 0.0 && value < 1.0 && variance.is_finite()).then(|| {
            let half = Z_95 * libm::sqrt(variance);
            Bounds { lower: sigmoid(logit(value) - half), upper: sigmoid(logit(value) + half) }
        });
        Ok(Estimate { interval: bounds.and_then(|b| interval(b, "mercaldo-logit")), ..self.monotone(value, of) })
    }

    /// Net benefit `TP/N - FP/N t/(1-t)` (Vickers and Elkin 2006), that of flagging everybody, and the share of the greatest
    /// possible one.
    fn net_benefit(&self, threshold: f64) -> Vec<Named> {
        let weight = threshold / (1.0 - threshold);
        let checked = |outcome: &dyn Fn(Labelled) -> Outcome| {
            let labelled = self.labelled.some()?;
            if threshold < 1.0 { outcome(labelled) } else { Err(Undefined::NoWeight) }
        };
        let of = move |c: Cells| (c.tp - c.fp * weight) / c.total();
        let c = self.cells();
        let value = of(c);
        // Per case the contribution is 1, -weight or 0.
        let square = (c.tp + c.fp * weight * weight) / c.total();
        let standard_error = libm::sqrt((square - value * value).max(0.0) / c.total());
        let estimate = |scale: f64| Estimate {
            interval: interval(wald(value * scale, standard_error * scale, Z_95), "normal"),
            standard_error: Some(standard_error * scale),
            ..self.monotone(value * scale, |c| Some(of(c) * scale))
        };
        let prevalence = real(self.labelled.positives) / real(self.labelled.n());
        vec![
            ("net_benefit", checked(&|_| Ok(estimate(1.0)))),
            ("net_benefit_all", checked(&|labelled| Ok(labelled.estimate(prevalence - (1.0 - prevalence) * weight)))),
            (
                "net_benefit_standardised",
                checked(&|labelled| labelled.with_positives().map(|_| estimate(1.0 / prevalence))),
            ),
        ]
    }

    /// Mean cost per case, relative to the better of flagging everybody and nobody, and above that of the best threshold.
    fn cost(&self, summary: &Summary, costs: &Costs) -> Vec<Named> {
        let of = |c: Cells| costs.mean(c.tp, c.fp, c.tn, c.fn_);
        let c = self.cells();
        let expected = || {
            self.labelled.some()?;
            let value = of(c);
            let square = costs.squared().mean(c.tp, c.fp, c.tn, c.fn_);
            let standard_error = libm::sqrt((square - value * value).max(0.0) / c.total());
            Ok(Estimate {
                interval: interval(wald(value, standard_error, Z_95), "normal"),
                standard_error: Some(standard_error),
                ..self.monotone(value, |c| Some(of(c)))
            })
        };
        let (m, n) = (real(self.labelled.positives), real(self.labelled.negatives));
        let normalised = || {
            let estimate = expected()?;
            let constant = costs.mean(m, n, 0.0, 0.0).min(costs.mean(0.0, 0.0, n, m));
            if constant <= 0.0 {
                return Err(Undefined::NoWeight);
            }
            Ok(self.monotone(estimate.value / constant, |c| Some(of(c) / constant)))
        };
        let regret = || {
            let estimate = expected()?;
            Ok(self.labelled.estimate(estimate.value - least_cost(summary, costs).min(estimate.value)))
        };
        vec![("expected_cost", expected()), ("normalised_cost", normalised()), ("cost_regret", regret())]
    }
}

/// The mean cost at the best threshold, among the scores that occur.
fn least_cost(summary: &Summary, costs: &Costs) -> f64 {
    let labelled = Labelled::of(summary);
    let (m, n) = (real(labelled.positives), real(labelled.negatives));
    let (mut tp, mut fp) = (0.0, 0.0);
    let mut least = costs.mean(0.0, 0.0, n, m);
    for channel in summary.spectrum().channels().iter().rev() {
        tp += real(channel.positive());
        fp += real(channel.negative());
        least = least.min(costs.mean(tp, fp, n - fp, m - tp));
    }
    least
}

/// `part / (part + other)` with Wilson's interval; `n` is the denominator.
fn share(part: Count, other: Count, empty: Undefined) -> Outcome {
    let whole = part.value + other.value;
    if whole == 0 {
        return Err(empty);
    }
    // The share grows with its part and falls with the rest; the two move apart at worst.
    let at = |part: u64, other: u64| if part + other == 0 { 0.0 } else { real(part) / real(part + other) };
    Ok(Estimate {
        interval: interval(wilson(part.value, whole, Z_95), "wilson"),
        exactness: bracket(at(part.least, other.most), at(part.most, other.least)),
        ..Estimate::exact(real(part.value) / real(whole), whole)
    })
}

/// A count with the range in which the exact one lies.
#[derive(Clone, Copy)]
struct Count {
    value: u64,
    least: u64,
    most: u64,
}

impl Count {
    fn rest_of(self, total: u64) -> Self {
        Self { value: total - self.value, least: total - self.most, most: total - self.least }
    }
}
