//! Means over the outputs of a model.

use super::{calibration, discrimination};
use crate::domain::estimate::Interval;
use crate::domain::{Estimate, Exactness, MetricKey, Outcome, Undefined};
use crate::stats::interval::wald;
use crate::stats::special::Z_95;
use crate::summary::Summary;

/// The unweighted means over outputs, each named. A mean needs every output: one that left out the outputs without positives
/// would move when they get some.
///
/// The outputs share cases, so their errors are correlated by an unknown amount; the standard error is that of full
/// correlation, the mean of the outputs' errors, which is an upper bound (Cauchy-Schwarz).
#[must_use]
pub fn evaluate(outputs: &[(&str, &Summary)]) -> Vec<(MetricKey, Outcome)> {
    // Each with the largest value that it can have.
    let of: [(&str, fn(&Summary) -> Outcome, f64); 5] = [
        ("macro_auroc", discrimination::auroc, 1.0),
        ("macro_average_precision", discrimination::average_precision, 1.0),
        ("macro_brier", calibration::brier, 1.0),
        ("macro_log_loss", calibration::log_loss, f64::INFINITY),
        ("macro_ece", calibration::expected_calibration_error, 1.0),
    ];
    of.into_iter().map(|(name, of, most)| (MetricKey::plain(name), mean(outputs, of, most))).collect()
}

fn mean(outputs: &[(&str, &Summary)], of: fn(&Summary) -> Outcome, most: f64) -> Outcome {
    let mut estimates = Vec::with_capacity(outputs.len());
    for (output, summary) in outputs {
        estimates.push(of(summary).map_err(|reason| Undefined::OutputUndefined {
            output: (*output).to_owned(),
            reason: reason.to_string(),
        })?);
    }
    let count = super::real(estimates.len() as u64);
    let value = estimates.iter().map(|estimate| estimate.value).sum::<f64>() / count;
    // An error of zero is one that could not be estimated: then the mean has none either.
    let error = |estimate: &Estimate| estimate.standard_error.filter(|error| *error > 0.0);
    let errors: Option<Vec<f64>> = estimates.iter().map(error).collect();
    let standard_error = errors.map(|errors| errors.iter().sum::<f64>() / count);
    let bounds = standard_error.map(|error| wald(value, error, Z_95));
    let exact = estimates.iter().all(|estimate| estimate.exactness == Exactness::Exact);
    Ok(Estimate {
        interval: bounds.map(|b| Interval {
            lower: b.lower.max(0.0),
            upper: b.upper.min(most),
            method: "full-correlation".to_owned(),
        }),
        standard_error,
        exactness: if exact { Exactness::Exact } else { Exactness::Approximate },
        ..Estimate::exact(value, estimates.iter().map(|estimate| estimate.n).min().unwrap_or(0))
    })
}
