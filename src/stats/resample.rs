//! Seeded draws: the same seed gives the same draws on every machine.

use rand::{Rng, RngExt};

/// A standard normal number, by Box and Muller.
pub fn normal(rng: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    libm::sqrt(-2.0 * libm::log(1.0 - u)) * libm::cos(2.0 * core::f64::consts::PI * v)
}

/// A binomial number. With more than 30 expected on the rarer side it is drawn from the normal approximation.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts, clamped"
)]
pub fn binomial(rng: &mut impl Rng, n: u64, p: f64) -> u64 {
    if p > 0.5 {
        return n - binomial(rng, n, 1.0 - p);
    }
    let expected = n as f64 * p;
    if expected <= 0.0 {
        return 0;
    }
    if expected > 30.0 {
        let drawn = expected + libm::sqrt(expected * (1.0 - p)) * normal(rng);
        return drawn.round().clamp(0.0, n as f64) as u64;
    }
    // Inversion: walk up the probabilities.
    let odds = p / (1.0 - p);
    let mut probability = libm::pow(1.0 - p, n as f64);
    let mut rest: f64 = rng.random();
    let mut k = 0;
    while rest > probability && k < n {
        rest -= probability;
        k += 1;
        probability *= odds * ((n - k + 1) as f64) / k as f64;
    }
    k
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
            let draws: Vec<f64> = (0..20_000).map(|_| binomial(&mut rng, n, p) as f64).collect();
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
