//! Confidence intervals for shares and for numbers mapped to the whole line.

use super::special::{logit, sigmoid};

/// A closed interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// Wilson's score interval for `successes` of `trials`, `z` the two-sided normal quantile (Wilson 1927).
///
/// `trials` must be positive.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub fn wilson(successes: u64, trials: u64, z: f64) -> Bounds {
    let n = trials as f64;
    let p = successes as f64 / n;
    let z2 = z * z;
    let scale = 1.0 + z2 / n;
    let centre = (p + z2 / (2.0 * n)) / scale;
    let half = z / scale * libm::sqrt(p * (1.0 - p) / n + z2 / (4.0 * n * n));
    // At 0 and at n the algebra gives the end exactly; rounding would leave it a hair outside.
    Bounds {
        lower: if successes == 0 { 0.0 } else { (centre - half).max(0.0) },
        upper: if successes == trials { 1.0 } else { (centre + half).min(1.0) },
    }
}

/// Interval of a value in (0, 1) that is normal on the logit scale: `expit(logit v +- z se / (v (1 - v)))`.
#[must_use]
pub fn logit_normal(value: f64, standard_error: f64, z: f64) -> Bounds {
    let half = z * standard_error / (value * (1.0 - value));
    let centre = logit(value);
    Bounds { lower: sigmoid(centre - half), upper: sigmoid(centre + half) }
}

/// `value +- z se`.
#[must_use]
pub fn wald(value: f64, standard_error: f64, z: f64) -> Bounds {
    Bounds { lower: value - z * standard_error, upper: value + z * standard_error }
}

/// Interval of a positive value that is normal on the log scale: `exp(ln v +- z se)`, `se` that of `ln v`.
#[must_use]
pub fn log_normal(value: f64, standard_error_of_log: f64, z: f64) -> Bounds {
    let factor = libm::exp(z * standard_error_of_log);
    Bounds { lower: value / factor, upper: value * factor }
}

/// Interval of a correlation-like value in (-1, 1) that is normal on Fisher's scale: `tanh(atanh v +- z se / (1 - v^2))`.
#[must_use]
pub fn fisher_normal(value: f64, standard_error: f64, z: f64) -> Bounds {
    let half = z * standard_error / (1.0 - value * value);
    let centre = libm::atanh(value);
    Bounds { lower: libm::tanh(centre - half), upper: libm::tanh(centre + half) }
}

/// Interval of the sum of two independent shares from their own intervals, by recovering the variances at the ends
/// (Newcombe 1998, Zou and Donner 2008: square and add).
#[must_use]
pub fn square_and_add((a, of_a): (f64, Bounds), (b, of_b): (f64, Bounds)) -> Bounds {
    let half = |x: f64, y: f64| libm::sqrt(x * x + y * y);
    Bounds { lower: a + b - half(a - of_a.lower, b - of_b.lower), upper: a + b + half(of_a.upper - a, of_b.upper - b) }
}

/// Score-type interval for an area under the curve, with the Hanley-McNeil variance at the tested value
/// (Newcombe 2006, method 5). It has no zero width at 0 or 1 and needs no variance estimate, so it serves where `DeLong`
/// cannot: fewer than two positives or negatives, or a perfect separation.
#[must_use]
pub fn newcombe_auroc(value: f64, positives: f64, negatives: f64, z: f64) -> Bounds {
    let half_sum = 0.5 * (positives + negatives);
    let excess = |theta: f64| {
        let spread = 1.0 + (half_sum - 1.0) * ((1.0 - theta) / (2.0 - theta) + theta / (1.0 + theta));
        let variance = theta * (1.0 - theta) * spread / (positives * negatives);
        (value - theta).abs() - z * libm::sqrt(variance)
    };
    Bounds { lower: root_towards(value, 0.0, &excess), upper: root_towards(value, 1.0, &excess) }
}

/// The point between `inside`, where `excess` is not positive, and `end` at which it becomes positive.
fn root_towards(inside: f64, end: f64, excess: &dyn Fn(f64) -> f64) -> f64 {
    if (inside - end).abs() < f64::EPSILON {
        return end;
    }
    let (mut near, mut far) = (inside, end);
    for _ in 0..100 {
        let middle = 0.5 * (near + far);
        if excess(middle) <= 0.0 {
            near = middle;
        } else {
            far = middle;
        }
    }
    near
}

/// Neighbours that are taken to hang together, at most.
const LAGS: usize = 5;

/// The mean of clusters' means with these weights, and its standard error over the clusters (a ratio estimate; with equal weights the
/// ordinary error of a mean). `clusters` are `(weight, mean)` in the order of time, at least two. Neighbours that hang together
/// make the error larger (Newey and West 1987, five lags), never smaller.
#[must_use]
pub fn weighted_mean(clusters: &[(f64, f64)]) -> (f64, f64) {
    let k = clusters.len() as f64;
    let total: f64 = clusters.iter().map(|(weight, _)| weight).sum();
    let mean = clusters.iter().map(|(weight, own)| weight * own).sum::<f64>() / total;
    let parts: Vec<f64> = clusters.iter().map(|(weight, own)| weight * (own - mean)).collect();
    let product = |lag: usize| parts.iter().zip(&parts[lag.min(parts.len())..]).map(|(a, b)| a * b).sum::<f64>();
    let alone = product(0);
    let lags = LAGS.min(parts.len() / 4);
    let together: f64 = (1..=lags).map(|lag| 2.0 * (1.0 - lag as f64 / (lags + 1) as f64) * product(lag)).sum();
    (mean, libm::sqrt((alone + together).max(alone) * k / (k - 1.0)) / total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::special::Z_95;

    /// Golden: statsmodels 0.15.0 `proportion_confint(8, 10, method="wilson")`.
    #[test]
    fn wilson_agrees_with_statsmodels() {
        let bounds = wilson(8, 10, Z_95);
        assert!((bounds.lower - 0.490_162_471_537).abs() < 1e-12);
        assert!((bounds.upper - 0.943_317_848_546).abs() < 1e-12);
    }

    #[test]
    fn wilson_keeps_to_the_ends() {
        assert_eq!(wilson(0, 5, Z_95).lower.to_bits(), 0.0_f64.to_bits());
        assert_eq!(wilson(5, 5, Z_95).upper.to_bits(), 1.0_f64.to_bits());
    }

    #[test]
    fn neighbours_that_hang_together_widen_the_error_of_a_mean() {
        let of = |values: &[f64]| weighted_mean(&values.iter().map(|value| (1.0, *value)).collect::<Vec<_>>()).1;
        let apart: Vec<f64> = (0..40).map(|at| f64::from(at % 2)).collect();
        let together: Vec<f64> = (0..40).map(|at| f64::from(at / 20)).collect();
        // The plain error of twenty zeros and twenty ones.
        assert!((of(&apart) - libm::sqrt(10.0 * 40.0 / 39.0) / 40.0).abs() < 1e-12);
        assert!(of(&together) > 2.0 * of(&apart));
    }

    #[test]
    fn a_perfect_auroc_has_an_interval_of_some_width() {
        let bounds = newcombe_auroc(1.0, 5.0, 40.0, Z_95);
        assert!(bounds.lower < 0.95 && bounds.lower > 0.4, "{bounds:?}");
        assert!(bounds.upper >= 1.0);
    }
}
