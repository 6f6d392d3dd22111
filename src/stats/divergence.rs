//! Distances between two distributions over the same cells, each with its size under "no change".
//!
//! `reference` and `current` are counts by cell, of equal length. Bins are drawn from the reference alone: bins that
//! depend on the current data would move with the very thing they measure.

use super::special::{chi_square_upper_quantile, chi_square_upper_tail, kolmogorov_upper_tail};
use super::spectrum::Spectrum;

/// A distance and how unusual it would be without any change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    /// The distance.
    pub value: f64,
    /// The value that chance alone exceeds once in twenty, at these sample sizes.
    pub null_95: f64,
    /// Probability of at least this distance without any change.
    pub p_value: f64,
}

/// Population stability index `sum (p - q) ln (p / q)` with half a count added to every cell.
///
/// Without change it is about `(1/n + 1/n_ref) chi2(B - 1)`. `None` when either side is empty or there is one cell.
#[must_use]
pub fn psi(reference: &[u64], current: &[u64]) -> Option<Distance> {
    let sides = Sides::new(reference, current)?;
    let cells = count(reference.len() as u64);
    let smooth = |n: u64, total: f64| (count(n) + 0.5) / (total + cells / 2.0);
    let value = sides
        .pairs()
        .map(|(r, c)| {
            let (q, p) = (smooth(r, sides.reference_total), smooth(c, sides.current_total));
            (p - q) * libm::log(p / q)
        })
        .sum();
    Some(sides.chi_square_distance(value, value, |x| x))
}

/// Jensen-Shannon distance, base 2, in `[0, 1]`: the square root of the mean divergence from the mixture.
///
/// Without change eight times the divergence in nats is about `(1/n + 1/n_ref) chi2(B - 1)`.
#[must_use]
pub fn jensen_shannon(reference: &[u64], current: &[u64]) -> Option<Distance> {
    let sides = Sides::new(reference, current)?;
    let nats: f64 = sides
        .pairs()
        .map(|(r, c)| {
            let (q, p) = (count(r) / sides.reference_total, count(c) / sides.current_total);
            let m = 0.5 * (p + q);
            0.5 * (relative(p, m) + relative(q, m))
        })
        .sum::<f64>()
        .max(0.0);
    let distance = |nats: f64| libm::sqrt(nats / core::f64::consts::LN_2);
    Some(sides.chi_square_distance(distance(nats), 8.0 * nats, |x| distance(x / 8.0)))
}

/// Kolmogorov-Smirnov distance over ordered cells, with the asymptotic p-value.
#[must_use]
pub fn kolmogorov_smirnov(reference: &[u64], current: &[u64]) -> Option<Distance> {
    let sides = Sides::new(reference, current)?;
    let (mut f, mut g, mut value) = (0.0, 0.0, 0.0_f64);
    for (r, c) in sides.pairs() {
        f += count(r);
        g += count(c);
        value = value.max((f / sides.reference_total - g / sides.current_total).abs());
    }
    Some(sides.kolmogorov_distance(value))
}

/// Kolmogorov-Smirnov distance between two spectra, all rows whatever their truth, and how much larger it may be because
/// scores within one channel are not told apart (zero when both are exact).
#[must_use]
pub fn kolmogorov_smirnov_spectra(reference: &Spectrum, current: &Spectrum) -> Option<(Distance, f64)> {
    // Bring both to one level: an empty copy of the other's rows does that without changing the counts.
    let mut both = reference.clone();
    both.merge(current);
    let level = both.level();
    let cells = |spectrum: &Spectrum| -> Vec<u64> {
        let shift = level - spectrum.level();
        let mut own = spectrum.channels().iter().peekable();
        both.channels()
            .iter()
            .map(|cell| {
                let mut rows = 0;
                while let Some(channel) = own.next_if(|channel| channel.key >> shift == cell.key) {
                    rows += channel.total();
                }
                rows
            })
            .collect()
    };
    let (reference, current) = (cells(reference), cells(current));
    let distance = kolmogorov_smirnov(&reference, &current)?;
    let slack = if level == 0 {
        0.0
    } else {
        let largest =
            |cells: &[u64]| count(cells.iter().copied().max().unwrap_or(0)) / count(cells.iter().sum::<u64>());
        largest(&reference).max(largest(&current))
    };
    Some((distance, slack))
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn count(n: u64) -> f64 {
    n as f64
}

fn relative(p: f64, m: f64) -> f64 {
    if p > 0.0 { p * libm::log(p / m) } else { 0.0 }
}

struct Sides<'a> {
    reference: &'a [u64],
    current: &'a [u64],
    reference_total: f64,
    current_total: f64,
}

impl<'a> Sides<'a> {
    fn new(reference: &'a [u64], current: &'a [u64]) -> Option<Self> {
        assert_eq!(reference.len(), current.len(), "both sides have the same cells");
        let totals = (reference.iter().sum::<u64>(), current.iter().sum::<u64>());
        (totals.0 > 0 && totals.1 > 0 && reference.len() > 1).then(|| Self {
            reference,
            current,
            reference_total: count(totals.0),
            current_total: count(totals.1),
        })
    }

    fn pairs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.reference.iter().copied().zip(self.current.iter().copied())
    }

    /// `1/n + 1/n_ref`.
    fn noise(&self) -> f64 {
        1.0 / self.current_total + 1.0 / self.reference_total
    }

    /// A distance whose transform `statistic` is `noise * chi2(B - 1)` without change; `back` undoes the transform.
    fn chi_square_distance(&self, value: f64, statistic: f64, back: impl Fn(f64) -> f64) -> Distance {
        let freedom = count(self.reference.len() as u64 - 1);
        Distance {
            value,
            null_95: back(self.noise() * chi_square_upper_quantile(0.05, freedom)),
            p_value: chi_square_upper_tail(statistic / self.noise(), freedom),
        }
    }

    fn kolmogorov_distance(&self, value: f64) -> Distance {
        let root = libm::sqrt(1.0 / self.noise());
        // 1.358... is the upper 5 % point of the Kolmogorov distribution.
        Distance { value, null_95: 1.3580986393225507 / root, p_value: kolmogorov_upper_tail(root * value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: [u64; 4] = [10, 20, 30, 40];
    const CURRENT: [u64; 4] = [25, 25, 25, 25];

    /// Golden: scipy 1.14.1, `scipy.spatial.distance.jensenshannon(p, q, base=2)`.
    #[test]
    fn jensen_shannon_agrees_with_scipy() {
        let distance = jensen_shannon(&REFERENCE, &CURRENT).expect("both sides have rows");
        assert!((distance.value - 0.2005033225314282).abs() < 1e-12, "{}", distance.value);
    }

    #[test]
    fn equal_distributions_are_at_distance_zero() {
        for distance in [psi, jensen_shannon, kolmogorov_smirnov] {
            let distance = distance(&REFERENCE, &REFERENCE).expect("both sides have rows");
            assert!(distance.value.abs() < 1e-12);
            assert!((distance.p_value - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn the_cumulative_gap_is_the_kolmogorov_smirnov_distance() {
        let distance = kolmogorov_smirnov(&REFERENCE, &CURRENT).expect("both sides have rows");
        assert!((distance.value - 0.2).abs() < 1e-12);
    }

    #[test]
    fn an_empty_side_has_no_distance() {
        assert_eq!(psi(&REFERENCE, &[0; 4]), None);
    }
}
