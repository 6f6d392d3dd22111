//! Seeded draws: the same seed gives the same draws on every machine.

use rand::{Rng, RngExt};

/// A standard normal number, by Box and Muller.
pub fn normal(rng: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    libm::sqrt(-2.0 * libm::log(1.0 - u)) * libm::cos(2.0 * core::f64::consts::PI * v)
}

/// A binomial distribution to draw from often. With more than 30 expected on the rarer side draws come from the normal
/// approximation, otherwise from the table of its cumulative probabilities.
#[derive(Clone, Debug)]
pub struct Binomial {
    n: u64,
    /// Probability of the rarer side.
    p: f64,
    is_flipped: bool,
    /// Cumulative probabilities of 0, 1, ...; empty for the normal approximation.
    cumulative: Vec<f64>,
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts, clamped"
)]
impl Binomial {
    /// The number of successes among `n` with probability `p` each.
    #[must_use]
    pub fn new(n: u64, p: f64) -> Self {
        let (is_flipped, p) = (p > 0.5, p.min(1.0 - p));
        let mut cumulative = Vec::new();
        if n as f64 * p <= 30.0 {
            let odds = p / (1.0 - p);
            let mut probability = libm::exp(n as f64 * libm::log1p(-p));
            let mut sum = 0.0;
            for k in 0..=n {
                sum += probability;
                cumulative.push(sum);
                // Beyond its mean a tail so thin is never drawn.
                if sum > 1.0 - 1e-12 || (k as f64 > n as f64 * p && probability < 1e-18) {
                    break;
                }
                probability *= odds * (n - k) as f64 / (k + 1) as f64;
            }
        }
        Self { n, p, is_flipped, cumulative }
    }

    /// Draw a number.
    pub fn draw(&self, rng: &mut impl Rng) -> u64 {
        let drawn = if self.cumulative.is_empty() {
            let expected = self.n as f64 * self.p;
            let drawn = expected + libm::sqrt(expected * (1.0 - self.p)) * normal(rng);
            drawn.round().clamp(0.0, self.n as f64) as u64
        } else {
            let uniform: f64 = rng.random();
            (self.cumulative.partition_point(|sum| *sum < uniform) as u64).min(self.n)
        };
        if self.is_flipped { self.n - drawn } else { drawn }
    }
}

/// How often each of `n` things is drawn in `n` draws with replacement.
pub fn multiplicities(rng: &mut impl Rng, n: usize) -> Vec<u64> {
    let mut counts = vec![0; n];
    for _ in 0..n {
        counts[rng.random_range(0..n)] += 1;
    }
    counts
}

/// The quantile of a sample, between order statistics (Hyndman and Fan's type 7). The sample is sorted.
#[must_use]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let below = position as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn draws_have_the_moments_they_should() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        for (n, p) in [(10, 0.3), (4000, 0.002), (4000, 0.4), (50, 0.95)] {
            let draws: Vec<f64> = (0..20_000).map(|_| Binomial::new(n, p).draw(&mut rng) as f64).collect();
            let mean = draws.iter().sum::<f64>() / 20_000.0;
            let variance = draws.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / 20_000.0;
            let expected = n as f64 * p;
            assert!((mean - expected).abs() < 4.0 * (expected * (1.0 - p) / 20_000.0).sqrt() + 1e-9, "{n} {p}: {mean}");
            assert!((variance / (expected * (1.0 - p)) - 1.0).abs() < 0.05, "{n} {p}: {variance}");
        }
        assert_eq!(multiplicities(&mut rng, 30).iter().sum::<u64>(), 30);
    }

    #[test]
    fn quantiles_lie_between_order_statistics() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!(quantile(&[7.0], 0.95), 7.0);
    }
}
