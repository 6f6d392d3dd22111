//! Calibration and proper scores.

use super::{Labelled, interval, real};
use crate::domain::{Estimate, Exactness, MetricKey, Outcome, Undefined};
use crate::stats::fixed;
use crate::stats::interval::{Bounds, wald};
use crate::stats::special::{Z_95, logit};
use crate::stats::spectrum::Class;
use crate::summary::Summary;

/// Bins of the expected calibration error.
pub const ECE_BINS: usize = 10;

/// Scores are clipped to `[CLIP, 1 - CLIP]` before their log odds are taken.
pub const CLIP: f64 = 1e-6;

/// Brier score, log loss, observed over expected, expected calibration error, calibration intercept and slope.
#[must_use]
pub fn evaluate(summary: &Summary) -> Vec<(MetricKey, Outcome)> {
    vec![
        (MetricKey::plain("brier"), brier(summary)),
        (MetricKey::plain("log_loss"), log_loss(summary)),
        (MetricKey::plain("observed_expected"), observed_expected(summary)),
        (MetricKey::plain("ece"), expected_calibration_error(summary)),
        (MetricKey::plain("calibration_intercept"), intercept(summary)),
        (MetricKey::plain("calibration_slope"), slope(summary)),
    ]
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
    Ok(Estimate { interval: bounds.and_then(|b| interval(b, "log-normal")), ..labelled.estimate(value) })
}

/// Expected calibration error over [`ECE_BINS`] equal-width bins, closed on the right: `sum n_b/N |y_b - p_b|`.
///
/// The value is biased upwards at small n; it has no closed-form interval.
///
/// # Errors
/// Without truth.
pub fn expected_calibration_error(summary: &Summary) -> Outcome {
    let labelled = Labelled::of(summary).some()?;
    // unwrap safety: `ECE_BINS` is one of the tables that every coarse summary keeps (a test says so).
    let table = summary.reliability(ECE_BINS).unwrap_or_default();
    let gap: f64 = table.iter().map(|bin| (real(bin.positives) - fixed::to_f64(bin.score_sum)).abs()).sum();
    Ok(labelled.estimate(gap / real(labelled.n())))
}

/// Calibration-in-the-large: the shift of log odds that makes expected events equal observed ones, slope fixed at one.
///
/// # Errors
/// Without both classes.
pub fn intercept(summary: &Summary) -> Outcome {
    let labelled = Labelled::of(summary).both()?;
    let points = Points::of(summary);
    let mut a = 0.0;
    for _ in 0..100 {
        let sums = points.sums(a, 1.0);
        let change = sums.residual / sums.information[0];
        a += change;
        if change.abs() < 1e-12 {
            break;
        }
    }
    let standard_error = 1.0 / libm::sqrt(points.sums(a, 1.0).information[0]);
    finish(summary, labelled, a, standard_error)
}

/// Slope of the logistic recalibration `logit P(y) = a + b logit p` (Cox 1958), by Newton's method.
///
/// # Errors
/// Without both classes, or when the likelihood has no maximum.
pub fn slope(summary: &Summary) -> Outcome {
    let labelled = Labelled::of(summary).both()?;
    let points = Points::of(summary);
    let (mut a, mut b) = (0.0, 1.0);
    let mut sums = points.sums(a, b);
    for _ in 0..200 {
        let [i00, i01, i11] = sums.information;
        let determinant = i00 * i11 - i01 * i01;
        if !(determinant > 1e-12 * i00 * i11) {
            return Err(Undefined::Separation);
        }
        let step_a = (i11 * sums.residual - i01 * sums.residual_x) / determinant;
        let step_b = (i00 * sums.residual_x - i01 * sums.residual) / determinant;
        // A long step is halved until the likelihood does not fall: Newton alone may overshoot far from the maximum.
        let least = sums.log_likelihood - 1e-9 * sums.log_likelihood.abs();
        let mut fraction = 1.0;
        sums = points.sums(a + step_a, b + step_b);
        while fraction > 1e-6 && !(sums.log_likelihood >= least) {
            fraction /= 2.0;
            sums = points.sums(a + fraction * step_a, b + fraction * step_b);
        }
        a += fraction * step_a;
        b += fraction * step_b;
        if !b.is_finite() || b.abs() > 1e3 {
            return Err(Undefined::Separation);
        }
        if step_a.abs() + step_b.abs() < 1e-11 {
            return finish(summary, labelled, b, libm::sqrt(i00 / determinant));
        }
    }
    Err(Undefined::Separation)
}

/// Both are fitted at the channels' middles, so on coarse channels they are approximate.
fn finish(summary: &Summary, labelled: Labelled, value: f64, standard_error: f64) -> Outcome {
    if !value.is_finite() || !standard_error.is_finite() {
        return Err(Undefined::Separation);
    }
    Ok(Estimate {
        interval: interval(wald(value, standard_error, Z_95), "wald"),
        standard_error: Some(standard_error),
        exactness: if summary.spectrum().is_exact() { Exactness::Exact } else { Exactness::Approximate },
        ..labelled.estimate(value)
    })
}

fn log_odds(p: f64) -> f64 {
    logit(p.clamp(CLIP, 1.0 - CLIP))
}

/// The labelled channels of a summary, at the middles of their log odds.
struct Points(Vec<Point>);

struct Point {
    log_odds: f64,
    positives: f64,
    n: f64,
}

/// Gradient, Fisher information and log likelihood of the recalibration at one (a, b).
struct Sums {
    residual: f64,
    residual_x: f64,
    information: [f64; 3],
    log_likelihood: f64,
}

impl Points {
    fn of(summary: &Summary) -> Self {
        let spectrum = summary.spectrum();
        let labelled = spectrum.channels().iter().filter(|channel| channel.negative() + channel.positive() > 0);
        let points = labelled.map(|channel| {
            let (low, high) = spectrum.range(channel);
            let low_odds = log_odds(low);
            Point {
                log_odds: if low == high { low_odds } else { 0.5 * (low_odds + log_odds(high)) },
                positives: real(channel.positive()),
                n: real(channel.negative() + channel.positive()),
            }
        });
        Self(points.collect())
    }

    fn sums(&self, a: f64, b: f64) -> Sums {
        let mut sums = Sums { residual: 0.0, residual_x: 0.0, information: [0.0; 3], log_likelihood: 0.0 };
        for Point { log_odds: x, positives, n } in &self.0 {
            let eta = a + b * x;
            let e = libm::exp(-eta.abs());
            let q = if eta >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) };
            let residual = positives - n * q;
            let weight = n * q * (1.0 - q);
            sums.residual += residual;
            sums.residual_x += residual * x;
            sums.information[0] += weight;
            sums.information[1] += weight * x;
            sums.information[2] += weight * x * x;
            // ln(1 + e^eta) without overflow.
            let softplus = eta.max(0.0) + libm::log1p(e);
            sums.log_likelihood += positives * eta - n * softplus;
        }
        sums
    }
}
