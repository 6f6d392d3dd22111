//! What can be found: the expected delay of a stream's alarm after a change, and the smallest change found in time.

use super::bets::Bank;
use crate::config::Unit;

/// Days of a stream's plan.
pub const DAYS: f64 = 30.0;

/// The expected number of buckets from a change of a mean loss to `changed` until the alarm at `threshold`: the evidence of the
/// best bet has to grow to `ln c` and the price of the mixture. `None` when no bet grows.
///
/// `size` is the number of units of a bucket; `variance` that of a unit's loss after the change, by its mean.
#[must_use]
pub fn delay(bank: &Bank, changed: f64, size: f64, variance: &dyn Fn(f64) -> f64, threshold: f64) -> Option<f64> {
    let (m0, lambdas, unit) = match bank {
        Bank::Loss { m0, lambdas, unit, .. } | Bank::Area { m0, lambdas, unit, .. } => (*m0, lambdas, *unit),
        Bank::Calibration { .. } | Bank::Drift { .. } => return None,
    };
    let units = if unit == Unit::Case { size } else { 1.0 };
    let variance = variance(changed) / if unit == Unit::Case { 1.0 } else { size };
    let needed = libm::log(threshold) + libm::log(lambdas.len() as f64);
    // The mean of ln(1 + lambda (loss - m0)) over the law of two points, one of them 0, with the loss's mean and variance.
    let far = ((variance + changed * changed) / changed).min(1.0);
    let share = changed / far;
    let growth = |lambda: &f64| {
        let at = |loss: f64| libm::log1p(lambda * (loss - m0));
        units * (share * at(far) + (1.0 - share) * at(0.0))
    };
    let best = lambdas.iter().map(growth).fold(f64::NEG_INFINITY, f64::max);
    (best > 0.0).then(|| (needed / best).max(1.0))
}

/// The smallest mean loss above the null value that is found within so many buckets on average; `None` when none is.
#[must_use]
pub fn smallest(bank: &Bank, size: f64, variance: &dyn Fn(f64) -> f64, threshold: f64, within: f64) -> Option<f64> {
    let (Bank::Loss { m0, .. } | Bank::Area { m0, .. }) = bank else { return None };
    let found = |changed: f64| delay(bank, changed, size, variance, threshold).is_some_and(|delay| delay <= within);
    if !found(0.999) {
        return None;
    }
    let (mut low, mut high) = (*m0, 0.999);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if found(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::bets::Loss;

    #[test]
    fn the_plan_of_a_sensitivity_is_near_what_simulation_finds() {
        // METHODS: thirty positives a day, sensitivity .90 to .80, c = 3,650: a mean delay of 6.5 days.
        let bank = Bank::of_counts(Loss::Missed(0.5), 0.1);
        let binary = |mean: f64| mean * (1.0 - mean);
        let days = delay(&bank, 0.2, 30.0, &binary, 3650.0).expect("it grows");
        assert!((5.0..9.0).contains(&days), "{days}");
        let smallest = smallest(&bank, 30.0, &binary, 3650.0, 30.0).expect("something");
        assert!((0.12..0.15).contains(&smallest), "{smallest}");
        assert_eq!(delay(&bank, 0.1, 30.0, &binary, 3650.0), None, "at the null value nothing grows");
    }
}
