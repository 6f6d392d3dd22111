//! Calibration and proper scores.
//!
//! Read next: `recalibration`, the logistic line; `bins`, errors over bins; `pooled`, what isotonic regression says.

pub(super) mod bins;
mod pooled;
mod recalibration;

pub use bins::{ECE_BINS, expected_calibration_error, max_calibration_error, rms_calibration_error};
pub use recalibration::{CLIP, intercept, slope};

use super::{Labelled, interval, real};
use crate::domain::estimate::Interval;
use crate::domain::{Estimate, MetricKey, Outcome, Undefined};
use crate::stats::fixed;
use crate::stats::interval::{Bounds, wald};
use crate::stats::special::{Z_95, normal_upper_tail};
use crate::stats::spectrum::Class;
use crate::summary::Summary;

/// Proper scores and their parts, observed over expected, errors over bins, the logistic line.
#[must_use]
pub fn evaluate(summary: &Summary) -> Vec<(MetricKey, Outcome)> {
    let mut answers = vec![
        ("brier", brier(summary)),
        ("brier_scaled", brier_scaled(summary)),
        ("log_loss", log_loss(summary)),
        ("observed_expected", observed_expected(summary)),
        ("spiegelhalter", spiegelhalter(summary)),
        ("ece", expected_calibration_error(summary)),
        ("rms_calibration_error", rms_calibration_error(summary)),
        ("mce", max_calibration_error(summary)),
    ];
    answers.extend(recalibration::evaluate(summary));
    answers.extend(bins::brier_parts(summary));
    answers.into_iter().map(|(name, outcome)| (MetricKey::plain(name), outcome)).collect()
}

/// What takes too long to be published for every window: answered when it is asked for.
#[must_use]
pub fn evaluate_slow(summary: &Summary) -> Vec<(MetricKey, Outcome)> {
    let mut answers = vec![
        ("ece_equal_mass", bins::equal_mass_error(summary)),
        ("ece_after_shift", bins::error_after_shift(summary)),
        ("smooth_ece", bins::smooth_error(summary)),
    ];
    answers.extend(pooled::evaluate(summary));
    answers.into_iter().map(|(name, outcome)| (MetricKey::plain(name), outcome)).collect()
}

/// One minus the Brier score over that of stating the prevalence every time: 0 without skill, 1 at best.
///
/// # Errors
/// Without both classes.
pub fn brier_scaled(summary: &Summary) -> Outcome {
    let labelled = Labelled::of(summary).both()?;
    let prevalence = real(labelled.positives) / real(labelled.n());
    let scale = prevalence * (1.0 - prevalence);
    let brier = brier(summary)?;
    let flip = |value: f64| 1.0 - value / scale;
    Ok(Estimate {
        value: flip(brier.value),
        interval: brier.interval.map(|i| Interval { lower: flip(i.upper), upper: flip(i.lower), ..i }),
        standard_error: brier.standard_error.map(|error| error / scale),
        ..brier
    })
}

/// Spiegelhalter's statistic (1986), `sum (y - p)(1 - 2p)` over its standard deviation under perfect calibration: standard
/// normal without miscalibration. Exact from power sums.
///
/// # Errors
/// Without truth, or when every score is 0, 1/2 or 1.
pub fn spiegelhalter(summary: &Summary) -> Outcome {
    let labelled = Labelled::of(summary).some()?;
    let m = real(labelled.positives);
    let positive = |power| summary.moments().power_sum(Class::Positive, power);
    let negative = |power| summary.moments().power_sum(Class::Negative, power);
    let both = |power| positive(power) + negative(power);
    let sum = (m - 3.0 * positive(1) + 2.0 * positive(2)) + (2.0 * negative(2) - negative(1));
    let variance = both(1) - 5.0 * both(2) + 8.0 * both(3) - 4.0 * both(4);
    if variance <= 1e-12 * real(labelled.n()) {
        return Err(Undefined::Separation);
    }
    let z = sum / libm::sqrt(variance);
    Ok(Estimate { null_95: Some(Z_95), p_value: Some(2.0 * normal_upper_tail(z.abs())), ..labelled.estimate(z) })
}

/// Mean squared difference of score and truth, with a normal interval. Exact from power sums, however coarse the scores.
///
/// # Errors
/// Without truth.
pub fn brier(summary: &Summary) -> Outcome {
    let labelled = Labelled::of(summary).some()?;
    let m = real(labelled.positives);
    let positive = |power| summary.moments().power_sum(Class::Positive, power);
    let negative = |power| summary.moments().power_sum(Class::Negative, power);
    let losses = (m - 2.0 * positive(1) + positive(2)) + negative(2);
    let squares = (m - 4.0 * positive(1) + 6.0 * positive(2) - 4.0 * positive(3) + positive(4)) + negative(4);
    Ok(mean_loss(labelled, losses, squares))
}

/// Mean negative log likelihood of the truth, scores clipped to machine precision, with a normal interval.
///
/// # Errors
/// Without truth.
pub fn log_loss(summary: &Summary) -> Outcome {
    let labelled = Labelled::of(summary).some()?;
    let total = |sums: &[i128; 2]| fixed::to_f64(sums[0] + sums[1]);
    Ok(mean_loss(labelled, total(&summary.moments().log_loss), total(&summary.moments().log_loss_squared)))
}

fn mean_loss(labelled: Labelled, losses: f64, squares: f64) -> Estimate {
    let n = real(labelled.n());
    let mean = (losses / n).max(0.0);
    let standard_error = libm::sqrt((squares / n - mean * mean).max(0.0) / n);
    let Bounds { lower, upper } = wald(mean, standard_error, Z_95);
    Estimate {
        interval: interval(Bounds { lower: lower.max(0.0), upper }, "normal"),
        standard_error: Some(standard_error),
        ..labelled.estimate(mean)
    }
}

/// Observed events over expected ones, `sum y / sum p`, with `exp(ln O/E +- z sqrt((1 - O/N) / O))`.
///
/// # Errors
/// Without truth, or when every score is zero.
pub fn observed_expected(summary: &Summary) -> Outcome {
    let labelled = Labelled::of(summary).some()?;
    let observed = real(labelled.positives);
    let moments = summary.moments();
    let expected = moments.power_sum(Class::Negative, 1) + moments.power_sum(Class::Positive, 1);
    if expected <= 0.0 {
        return Err(Undefined::NoneExpected);
    }
    let value = observed / expected;
    let bounds = (observed > 0.0).then(|| {
        let half = Z_95 * libm::sqrt((1.0 - observed / real(labelled.n())) / observed);
        Bounds { lower: value * libm::exp(-half), upper: value * libm::exp(half) }
    });
    // Under perfect calibration the events are Bernoulli with the stated probabilities.
    let power = |power| moments.power_sum(Class::Negative, power) + moments.power_sum(Class::Positive, power);
    let variance = power(1) - power(2);
    let p_value = (variance > 0.0).then(|| 2.0 * normal_upper_tail((observed - expected).abs() / libm::sqrt(variance)));
    Ok(Estimate { interval: bounds.and_then(|b| interval(b, "log-normal")), p_value, ..labelled.estimate(value) })
}
