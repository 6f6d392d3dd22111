//! What the promise rests on: whether the cases of one bucket hang together.
//!
//! A detector whose units are cases needs each case's loss to be at most the null value on average given the past. Days on
//! which everything is a little worse break that: at an intraclass correlation of a hundredth, thirty positives a day, case
//! units raise five times the promised false alarms.

use crate::stats::special::f_quantile;

/// A bucket: its cases, the sum of their losses, the sum of the squares.
pub type Bucket = (u64, f64, f64);

/// How much more the means of buckets vary than those of independent cases.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
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
}

/// Case units need the upper limit of the design effect to be at most this.
pub const MOST: f64 = 1.10;

impl DesignEffect {
    /// By one-way analysis of variance over the buckets of a reference; the limit by F quantiles. `None` with fewer than two
    /// buckets, with one case each, or when no loss varies within its bucket.
    #[must_use]
    pub fn of(buckets: &[Bucket]) -> Option<Self> {
        let filled: Vec<Bucket> = buckets.iter().copied().filter(|(n, ..)| *n > 0).collect();
        let k = filled.len() as f64;
        let n: f64 = filled.iter().map(|(n, ..)| *n as f64).sum();
        if k < 2.0 || n <= k {
            return None;
        }
        let sum: f64 = filled.iter().map(|(_, sum, _)| sum).sum();
        let mean = sum / n;
        let between: f64 =
            filled.iter().map(|(n, sum, _)| *n as f64 * (sum / *n as f64 - mean) * (sum / *n as f64 - mean)).sum();
        let within: f64 = filled.iter().map(|(n, sum, square)| square - sum * sum / *n as f64).sum();
        let (between, within) = (between / (k - 1.0), within / (n - k));
        if within <= 0.0 {
            return None;
        }
        let squares: f64 = filled.iter().map(|(n, ..)| (*n as f64) * (*n as f64)).sum();
        let size = (n - squares / n) / (k - 1.0);
        let ratio = between / within;
        let correlation = |ratio: f64| (ratio - 1.0) / (ratio + size - 1.0);
        let effect = |correlation: f64| 1.0 + (size - 1.0) * correlation;
        let upper = ratio / f_quantile(0.1, k - 1.0, n - k);
        Some(Self {
            correlation: correlation(ratio),
            size,
            buckets: filled.len() as u64,
            value: effect(correlation(ratio)),
            upper: effect(correlation(upper)),
        })
    }

    /// Whether cases may be units.
    #[must_use]
    pub fn allows_cases(&self) -> bool {
        self.upper <= MOST
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
        let effect = DesignEffect::of(&[(4, 1.0, 1.0), (4, 2.0, 2.0), (4, 4.0, 4.0)]).expect("varied");
        let (between, within) = (
            4.0 * square(0.25 - 7.0 / 12.0) + 4.0 * square(0.5 - 7.0 / 12.0) + 4.0 * square(1.0 - 7.0 / 12.0),
            0.75 + 1.0,
        );
        let ratio = (between / 2.0) / (within / 9.0);
        assert!((effect.size - 4.0).abs() < 1e-12);
        assert!((effect.correlation - (ratio - 1.0) / (ratio + 3.0)).abs() < 1e-12);
        assert!(effect.upper > effect.value);
        assert_eq!(DesignEffect::of(&[(4, 1.0, 1.0)]), None);
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
            DesignEffect::of(&days).expect("varied")
        };
        assert!(effect(0.0).value < 1.2);
        let clustered = effect(0.07);
        assert!(clustered.value > 1.5 && !clustered.allows_cases(), "{clustered:?}");
    }
}
