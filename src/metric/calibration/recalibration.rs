//! Logistic recalibration: the straight line in log odds that the truth asks for.

use crate::domain::{Estimate, Exactness, Outcome, Undefined};
use crate::metric::{Labelled, interval, real};
use crate::stats::interval::wald;
use crate::stats::special::{Z_95, chi_square_upper_tail, logit};
use crate::summary::Summary;

/// Scores are clipped to `[CLIP, 1 - CLIP]` before their log odds are taken.
pub const CLIP: f64 = 1e-6;

/// Calibration-in-the-large: the shift of log odds that makes expected events equal observed ones, slope fixed at one.
///
/// # Errors
/// Without both classes.
pub fn intercept(summary: &Summary) -> Outcome {
    let labelled = Labelled::of(summary).both()?;
    shift(summary, labelled, &Points::of(summary))
}

fn shift(summary: &Summary, labelled: Labelled, points: &Points) -> Outcome {
    // The residual falls with the shift, and the root lies between the shifts that would be right for the smallest and for the
    // largest score alone: Newton's steps are taken within this bracket, which every step narrows.
    let target = logit(real(labelled.positives) / real(labelled.n()));
    let (least, most) = points.range();
    let (mut low, mut high) = (target - most - 1e-9, target - least + 1e-9);
    let mut a = 0.0_f64.clamp(low, high);
    for _ in 0..200 {
        let sums = points.sums(a, 1.0);
        if sums.residual > 0.0 {
            low = a;
        } else {
            high = a;
        }
        let newton = a + sums.residual / sums.information[0];
        let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
        let change = next - a;
        a = next;
        if change.abs() < 1e-12 {
            break;
        }
    }
    let standard_error = 1.0 / libm::sqrt(points.sums(a, 1.0).information[0]);
    finish(summary, labelled, a, standard_error)
}

/// A fitted line `logit P(y) = a + b logit p`, with its covariance, and how much better it is than `a = 0, b = 1`.
struct Line {
    intercept: f64,
    slope: f64,
    intercept_error: f64,
    slope_error: f64,
    /// Twice the gain in log likelihood.
    gain: f64,
}

/// Slope of the logistic recalibration `logit P(y) = a + b logit p` (Cox 1958), by Newton's method.
///
/// # Errors
/// Without both classes, or when the likelihood has no maximum.
pub fn slope(summary: &Summary) -> Outcome {
    let labelled = Labelled::of(summary).both()?;
    let line = fit(&Points::of(summary))?;
    finish(summary, labelled, line.slope, line.slope_error)
}

/// The shift at slope one, slope and intercept of the line, and its likelihood-ratio statistic against perfect calibration:
/// chi-square with two degrees of freedom without miscalibration.
pub(super) fn evaluate(summary: &Summary) -> [(&'static str, Outcome); 4] {
    let points = Labelled::of(summary).both().map(|labelled| (labelled, Points::of(summary)));
    let shifted = points.as_ref().map_err(Clone::clone);
    let shifted = shifted.and_then(|(labelled, points)| shift(summary, *labelled, points));
    let fitted = points.and_then(|(labelled, points)| Ok((labelled, fit(&points)?)));
    let read = |read: &dyn Fn(Labelled, &Line) -> Outcome| {
        fitted.as_ref().map_err(Clone::clone).and_then(|(labelled, line)| read(*labelled, line))
    };
    let gain = |labelled: Labelled, line: &Line| {
        let gain = line.gain.max(0.0);
        Ok(Estimate {
            null_95: Some(CHI_SQUARE_2_95),
            p_value: Some(chi_square_upper_tail(gain, 2.0)),
            exactness: exactness(summary),
            ..labelled.estimate(gain)
        })
    };
    [
        ("calibration_intercept", shifted),
        ("calibration_slope", read(&|labelled, line| finish(summary, labelled, line.slope, line.slope_error))),
        (
            "calibration_line_intercept",
            read(&|labelled, line| finish(summary, labelled, line.intercept, line.intercept_error)),
        ),
        ("calibration_likelihood_ratio", read(&gain)),
    ]
}

/// The 95 % quantile of chi-square with two degrees of freedom, `-2 ln 0.05`.
const CHI_SQUARE_2_95: f64 = 5.991_464_547_107_98;

fn fit(points: &Points) -> Result<Line, Undefined> {
    let identity = points.sums(0.0, 1.0).log_likelihood;
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
            return Ok(Line {
                intercept: a,
                slope: b,
                intercept_error: libm::sqrt(i11 / determinant),
                slope_error: libm::sqrt(i00 / determinant),
                gain: 2.0 * (sums.log_likelihood - identity),
            });
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
        exactness: exactness(summary),
        ..labelled.estimate(value)
    })
}

/// What is read at the middles of channels.
pub(super) fn exactness(summary: &Summary) -> Exactness {
    if summary.spectrum().is_exact() { Exactness::Exact } else { Exactness::Approximate }
}

pub(super) fn log_odds(p: f64) -> f64 {
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

    /// The smallest and the largest log odds.
    fn range(&self) -> (f64, f64) {
        let odds = self.0.iter().map(|point| point.log_odds);
        (odds.clone().fold(f64::INFINITY, f64::min), odds.fold(f64::NEG_INFINITY, f64::max))
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
