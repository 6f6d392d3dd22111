//! What the promise rests on: whether the cases of one bucket hang together.
//!
//! A detector whose units are cases needs each case's loss to be at most the null value on average given the past. Days on
//! which everything is a little worse break that: at an intraclass correlation of a hundredth, thirty positives a day, case
//! units raise five times the promised false alarms.

use crate::stats::special::f_quantile;

/// A bucket: its cases, the sum of their losses, the sum of the squares.
pub type Bucket = (u64, f64, f64);

/// How much more the means of buckets vary than those of independent cases.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DesignEffect {
    /// Intraclass correlation of two cases of a bucket; may come out below zero.
    pub correlation: f64,
    /// Cases of a bucket, on average in the sense of the analysis of variance.
    pub size: f64,
    /// Buckets.
    pub buckets: u64,
    /// `1 + (size - 1) correlation`.
    pub value: f64,
    /// Its upper 90 % limit.
    pub upper: f64,
    /// Its lower 90 % limit.
    pub lower: f64,
}

/// Case units need the upper limit of the design effect to be at most this.
pub const MOST: f64 = 1.10;

impl DesignEffect {
    /// By one-way analysis of variance over the buckets of a reference, each kind of day about its own mean; the limit by F
    /// quantiles. `None` when it cannot be told: fewer than two buckets of every kind, or one case each.
    #[must_use]
    pub fn of(kinds: &[Vec<Bucket>]) -> Option<Self> {
        let filled = |kind: &Vec<Bucket>| kind.iter().copied().filter(|(n, ..)| *n > 0).collect::<Vec<Bucket>>();
        let kinds: Vec<Vec<Bucket>> = kinds.iter().map(filled).filter(|kind| !kind.is_empty()).collect();
        let all = || kinds.iter().flatten();
        let buckets = all().count() as u64;
        let (k, groups) = (buckets as f64, kinds.len() as f64);
        let n: f64 = all().map(|(n, ..)| *n as f64).sum();
        if k <= groups || n <= k {
            return None;
        }
        let spread = |kind: &Vec<Bucket>| -> f64 {
            let mean =
                kind.iter().map(|(_, sum, _)| sum).sum::<f64>() / kind.iter().map(|(n, ..)| *n as f64).sum::<f64>();
            kind.iter().map(|(n, sum, _)| *n as f64 * (sum / *n as f64 - mean) * (sum / *n as f64 - mean)).sum()
        };
        let between = kinds.iter().map(spread).sum::<f64>() / (k - groups);
        let within = all().map(|(n, sum, square)| (square - sum * sum / *n as f64).max(0.0)).sum::<f64>() / (n - k);
        let squares: f64 = all().map(|(n, ..)| (*n as f64) * (*n as f64)).sum();
        let size = (n - squares / n) / (k - 1.0);
        let of_correlation = |correlation: f64| 1.0 + (size - 1.0) * correlation;
        if within <= 1e-12 * (1.0 + between) {
            // No loss varies within its bucket: either none varies at all, or all of a bucket are the same.
            let correlation = if between > 1e-12 { 1.0 } else { 0.0 };
            let value = of_correlation(correlation);
            return Some(Self { correlation, size, buckets, value, upper: value, lower: value });
        }
        let ratio = between / within;
        let correlation = |ratio: f64| (ratio - 1.0) / (ratio + size - 1.0);
        let [upper, lower] = [0.1, 0.9].map(|tail| correlation(ratio / f_quantile(tail, k - groups, n - k)));
        let correlation = correlation(ratio);
        let [value, upper, lower] = [correlation, upper, lower].map(of_correlation);
        Some(Self { correlation, size, buckets, value, upper, lower })
    }

    /// Whether cases may be units.
    #[must_use]
    pub fn allows_cases(&self) -> bool {
        self.upper <= MOST
    }

    /// Whether cases are shown to hang together: what is estimated is past the limit, and chance alone does not explain it.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.value > MOST && self.lower > 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::resample::{Binomial, normal};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn square(x: f64) -> f64 {
        x * x
    }

    #[test]
    fn the_analysis_of_variance_is_that_of_a_textbook_table() {
        // Three buckets of 0/1 losses: 1 of 4, 2 of 4, 4 of 4. Between: 2.1667 / 2... by hand with n = 12, mean = 7/12.
        let effect = DesignEffect::of(&[vec![(4, 1.0, 1.0), (4, 2.0, 2.0), (4, 4.0, 4.0)]]).expect("varied");
        let (between, within) = (
            4.0 * square(0.25 - 7.0 / 12.0) + 4.0 * square(0.5 - 7.0 / 12.0) + 4.0 * square(1.0 - 7.0 / 12.0),
            0.75 + 1.0,
        );
        let ratio = (between / 2.0) / (within / 9.0);
        assert!((effect.size - 4.0).abs() < 1e-12);
        assert!((effect.correlation - (ratio - 1.0) / (ratio + 3.0)).abs() < 1e-12);
        assert!(effect.upper > effect.value);
        assert_eq!(DesignEffect::of(&[vec![(4, 1.0, 1.0)]]), None);
    }

    #[test]
    fn buckets_that_are_all_of_one_kind_are_as_dependent_as_can_be() {
        let effect =
            DesignEffect::of(&[vec![(10, 0.0, 0.0), (10, 10.0, 10.0), (10, 0.0, 0.0)]]).expect("it can be told");
        assert_eq!((effect.correlation, effect.value), (1.0, 10.0));
        assert!(!effect.allows_cases());
    }

    #[test]
    fn a_difference_between_kinds_of_days_is_no_dependence() {
        let of = |missed: f64| (30, missed, missed);
        let (working, weekend) = (vec![of(3.0), of(2.0), of(4.0), of(3.0)], vec![of(12.0), of(11.0), of(13.0)]);
        let apart = DesignEffect::of(&[working.clone(), weekend.clone()]).expect("it can be told");
        let together = DesignEffect::of(&[[working, weekend].concat()]).expect("it can be told");
        assert!(apart.value < 1.0 && together.value > 2.0, "{apart:?} {together:?}");
    }

    #[test]
    fn days_that_hang_together_are_found_out() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut effect = |spread: f64| {
            let day = |_| {
                let rate = (0.1 + spread * normal(&mut rng)).clamp(0.01, 0.9);
                let missed = Binomial::new(30, rate).draw(&mut rng) as f64;
                (30, missed, missed)
            };
            let days: Vec<Bucket> = (0..365).map(day).collect();
            DesignEffect::of(&[days]).expect("varied")
        };
        let alone = effect(0.0);
        assert!(alone.value < 1.2 && alone.lower < alone.value && !alone.is_shown(), "{alone:?}");
        let clustered = effect(0.07);
        assert!(clustered.value > 1.5 && !clustered.allows_cases() && clustered.is_shown(), "{clustered:?}");
    }
}
