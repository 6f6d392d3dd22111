//! Distances between two distributions over the same cells, each with its size under "no change".
//!
//! `reference` and `current` are counts by cell, of equal length. Bins are drawn from the reference alone: bins that
//! depend on the current data would move with the very thing they measure.

use super::special::{chi_square_upper_quantile, chi_square_upper_tail, kolmogorov_upper_tail};
use super::spectrum::{Channel, Spectrum};

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

/// Hellinger distance `sqrt(1 - sum sqrt(p q))`, in `[0, 1]`.
///
/// Without change eight times its square is about `(1/n + 1/n_ref) chi2(B - 1)`.
#[must_use]
pub fn hellinger(reference: &[u64], current: &[u64]) -> Option<Distance> {
    let sides = Sides::new(reference, current)?;
    let overlap: f64 = sides
        .pairs()
        .map(|(r, c)| libm::sqrt(count(r) / sides.reference_total * (count(c) / sides.current_total)))
        .sum();
    let square = (1.0 - overlap).max(0.0);
    Some(sides.chi_square_distance(libm::sqrt(square), 8.0 * square, |x| libm::sqrt(x / 8.0)))
}

/// Pearson's chi-square statistic of the table of two rows, over the cells that occur.
#[must_use]
pub fn chi_square(reference: &[u64], current: &[u64]) -> Option<Distance> {
    let sides = Sides::new(reference, current)?;
    let total = sides.reference_total + sides.current_total;
    let (mut value, mut cells) = (0.0, 0.0);
    for (r, c) in sides.pairs().filter(|(r, c)| r + c > 0) {
        cells += 1.0;
        let column = count(r + c);
        for (seen, row) in [(r, sides.reference_total), (c, sides.current_total)] {
            let expected = column * row / total;
            value += (count(seen) - expected) * (count(seen) - expected) / expected;
        }
    }
    (cells > 1.0).then(|| Distance {
        value,
        null_95: chi_square_upper_quantile(0.05, cells - 1.0),
        p_value: chi_square_upper_tail(value, cells - 1.0),
    })
}

/// Cramér's V of the same table without its bias (Bergsma 2013), in `[0, 1]`.
#[must_use]
pub fn cramer_v(reference: &[u64], current: &[u64]) -> Option<f64> {
    let statistic = chi_square(reference, current)?.value;
    let sides = Sides::new(reference, current)?;
    let n = sides.reference_total + sides.current_total;
    let columns = count(sides.pairs().filter(|(r, c)| r + c > 0).count() as u64);
    let excess = (statistic / n - (columns - 1.0) / (n - 1.0)).max(0.0);
    let corrected = |k: f64| k - (k - 1.0) * (k - 1.0) / (n - 1.0);
    let room = (corrected(columns) - 1.0).min(corrected(2.0) - 1.0);
    // As many cells as rows: there is nothing that V could be measured against.
    (room > 1e-12).then(|| libm::sqrt(excess / room))
}

/// The largest difference of a cell's share.
#[must_use]
pub fn l_infinity(reference: &[u64], current: &[u64]) -> Option<f64> {
    let sides = Sides::new(reference, current)?;
    let gaps = sides.pairs().map(|(r, c)| (count(r) / sides.reference_total - count(c) / sides.current_total).abs());
    Some(gaps.fold(0.0, f64::max))
}

/// Two spectra over the same channels, all rows whatever their truth.
#[derive(Clone, Debug)]
pub struct Aligned {
    /// How coarse both are.
    pub level: u8,
    /// The middle of each channel, ascending.
    pub values: Vec<f64>,
    /// Rows of the reference by channel.
    pub reference: Vec<u64>,
    /// Rows of the window by channel.
    pub current: Vec<u64>,
}

impl Aligned {
    /// Bring both to the coarser of their levels.
    #[must_use]
    pub fn new(reference: &Spectrum, current: &Spectrum) -> Self {
        let mut both = reference.clone();
        both.merge(current);
        let cells = |spectrum: &Spectrum| -> Vec<u64> {
            let shift = both.level() - spectrum.level();
            let mut own = spectrum.channels().iter().peekable();
            let of = |cell: &Channel| {
                let mut rows = 0;
                while let Some(channel) = own.next_if(|channel| channel.key >> shift == cell.key) {
                    rows += channel.total();
                }
                rows
            };
            both.channels().iter().map(of).collect()
        };
        let middle = |channel: &Channel| {
            let (low, high) = both.range(channel);
            0.5 * (low + high)
        };
        Self {
            level: both.level(),
            values: both.channels().iter().map(middle).collect(),
            reference: cells(reference),
            current: cells(current),
        }
    }

    /// Kolmogorov-Smirnov distance, and how much larger it may be because scores within one channel are not told apart
    /// (zero when both are exact).
    #[must_use]
    pub fn kolmogorov_smirnov(&self) -> Option<(Distance, f64)> {
        let distance = kolmogorov_smirnov(&self.reference, &self.current)?;
        let largest =
            |cells: &[u64]| count(cells.iter().copied().max().unwrap_or(0)) / count(cells.iter().sum::<u64>());
        let slack = if self.level == 0 { 0.0 } else { largest(&self.reference).max(largest(&self.current)) };
        Some((distance, slack))
    }

    /// Wasserstein's first distance `integral |F - G|`.
    #[must_use]
    pub fn wasserstein(&self) -> Option<f64> {
        self.integral(f64::abs)
    }

    /// Energy distance `sqrt(2 integral (F - G)^2)`.
    #[must_use]
    pub fn energy(&self) -> Option<f64> {
        self.integral(|gap| gap * gap).map(|area| libm::sqrt(2.0 * area))
    }

    /// The integral of a function of the difference of the two distribution functions.
    fn integral(&self, of: impl Fn(f64) -> f64) -> Option<f64> {
        let (r, c) = (self.reference.iter().sum::<u64>(), self.current.iter().sum::<u64>());
        if r == 0 || c == 0 {
            return None;
        }
        let (mut below_r, mut below_c, mut area) = (0, 0, 0.0);
        for (at, step) in self.values.windows(2).enumerate() {
            below_r += self.reference[at];
            below_c += self.current[at];
            area += of(count(below_r) / count(r) - count(below_c) / count(c)) * (step[1] - step[0]);
        }
        Some(area)
    }
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
        for distance in [psi, jensen_shannon, hellinger, chi_square, kolmogorov_smirnov] {
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
