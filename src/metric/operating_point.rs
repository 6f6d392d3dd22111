//! Metrics at an operating point: a case is flagged when its score is at least the threshold.

use super::{Labelled, bracket, interval, real};
use crate::domain::{Estimate, MetricKey, Outcome, Undefined};
use crate::stats::interval::wilson;
use crate::stats::special::Z_95;
use crate::summary::Summary;

/// Confusion counts, sensitivity, specificity and predictive values, with Wilson intervals.
#[must_use]
pub fn evaluate(summary: &Summary, threshold: f64) -> Vec<(MetricKey, Outcome)> {
    let labelled = Labelled::of(summary);
    let (surely, possibly) = summary.at_least(threshold);
    let totals = summary.totals();
    // A count and its bracket: (best guess, least, most). Inside a coarse channel the guess is "flagged".
    let flagged = |class: usize| Count { value: possibly[class], least: surely[class], most: possibly[class] };
    let [_, fp, tp] = std::array::from_fn(flagged);
    let (tn, fn_) = (fp.rest_of(totals[1]), tp.rest_of(totals[2]));
    let key = |name| MetricKey::at(name, threshold);
    let count = |name, count: Count| {
        let outcome = labelled.some().map(|labelled| Estimate {
            exactness: bracket(real(count.least), real(count.most)),
            ..labelled.estimate(real(count.value))
        });
        (key(name), outcome)
    };
    // `positives` are those of the denominator: that is what n counts.
    let share = |name, part: Count, other: Count, positives: u64, empty: Undefined| {
        let share = labelled.some().and_then(|_| share(part, other, empty));
        (key(name), share.map(|share| Estimate { positives: Some(positives), ..share }))
    };
    let n = labelled.n();
    let none = |side: &str| Undefined::NoneFlagged { side: side.to_owned() };
    vec![
        count("true_positives", tp),
        count("false_positives", fp),
        count("true_negatives", tn),
        count("false_negatives", fn_),
        share("sensitivity", tp, fn_, labelled.positives, Undefined::NoPositives { n }),
        share("specificity", tn, fp, 0, Undefined::NoNegatives { n }),
        share("ppv", tp, fp, tp.value, none("positive")),
        share("npv", tn, fn_, fn_.value, none("negative")),
    ]
}

/// Share of all predictions, labelled or not, that are flagged.
#[must_use]
pub fn alert_rate(summary: &Summary, threshold: f64) -> (MetricKey, Outcome) {
    let (surely, possibly) = summary.at_least(threshold);
    let flagged = Count { value: possibly.iter().sum(), least: surely.iter().sum(), most: possibly.iter().sum() };
    let rest = flagged.rest_of(summary.totals().iter().sum());
    (MetricKey::at("alert_rate", threshold), share(flagged, rest, Undefined::NoPredictions))
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
