//! Bets on distributions: values by the reference's ranks, categories by their shares.

use serde::{Deserialize, Serialize};

use super::Bank;
use crate::config::Unit;
use crate::detect::day::Day;
use crate::metric::drift::{binned, quantile_edges};
use crate::stats::interval::weighted_mean;
use crate::stats::special::{beta_quantile, student_upper_quantile};
use crate::stats::spectrum::Spectrum;

/// Bins of the reference's values.
const BINS: usize = 16;
/// A category that the reference has less often than once in so many cases is pooled with the others that are rare.
const RARE: f64 = 0.01;
/// So many categories are followed at most; the rest is pooled as rare ones are.
const MOST_CATEGORIES: usize = 30;
/// What a bet makes of the odds of one category.
const ODDS: [f64; 4] = [0.25, 0.5, 2.0, 4.0];

/// What values are counted by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bins {
    /// Upper ends of the reference's bins but the last.
    Ranges(Vec<f64>),
    /// Categories by the keys that they are sealed under; what is none of them is counted last.
    Categories(Vec<u64>),
}

impl Bins {
    /// Cases by bin.
    #[must_use]
    pub fn counts(&self, spectrum: &Spectrum) -> Vec<u64> {
        match self {
            Self::Ranges(edges) => binned(spectrum, edges),
            Self::Categories(keys) => {
                let mut counts = vec![0; keys.len() + 1];
                for channel in spectrum.channels() {
                    counts[keys.binary_search(&channel.key).unwrap_or(keys.len())] += channel.total();
                }
                counts
            }
        }
    }

    /// Units by bin: of a subject each case counts as its part of the subject.
    fn units(&self, day: &Day<'_>, unit: Unit) -> Vec<f64> {
        let mut counts: Vec<f64> = self.counts(&day.spectrum).into_iter().map(|count| count as f64).collect();
        if unit == Unit::Subject {
            for own in day.subjects {
                let own = self.counts(own);
                let cases: u64 = own.iter().sum();
                let part = |count: u64| count as f64 / cases as f64 - count as f64;
                counts.iter_mut().zip(own).for_each(|(sum, count)| *sum += part(count));
            }
        }
        counts
    }
}

impl Bank {
    /// Bets on drift away from the days of a reference: tilts by shifted Legendre polynomials of the reference's ranks.
    ///
    /// The normaliser is Student's upper bound of the reference's mean factor at confidence `1 - delta / bets`, and `tolerance` more: of
    /// its days' means with days as units, of its cases' or subjects' mean with its error over days with these. `None` of fewer than two days
    /// with cases.
    #[must_use]
    pub fn of_drift(reference: &[Day<'_>], margin: (f64, f64), unit: Unit) -> Option<Self> {
        let bins = Bins::Ranges(quantile_edges(&pooled(reference), BINS));
        let polynomials: [fn(f64) -> f64; 3] = [
            |u| libm::sqrt(3.0) * (2.0 * u - 1.0),
            |u| libm::sqrt(5.0) * (6.0 * u * u - 6.0 * u + 1.0),
            |u| libm::sqrt(7.0) * (20.0 * u * u * u - 30.0 * u * u + 12.0 * u - 1.0),
        ];
        let tilts = [0.1, 0.25, 0.5, -0.1, -0.25, -0.5];
        // The mean of the tilt over a bin's ranks, by eight points in its middle.
        let mean = |polynomial: fn(f64) -> f64, tilt: f64, (low, high): &(f64, f64)| {
            let point = |at: u32| low + (high - low) * (f64::from(at) + 0.5) / 8.0;
            (0..8).map(|at| libm::exp(tilt * polynomial(point(at)))).sum::<f64>() / 8.0
        };
        Self::of_bins(bins, (reference, unit), margin, |shares| {
            let mut below = 0.0;
            let ranks = shares.iter().map(|share| {
                let range = (below, below + share);
                below += share;
                range
            });
            let ranks: Vec<(f64, f64)> = ranks.collect();
            let all = polynomials.iter().flat_map(|polynomial| tilts.map(|tilt| (*polynomial, tilt)));
            let raw = |(polynomial, tilt)| ranks.iter().map(|range| mean(polynomial, tilt, range)).collect();
            all.map(|tilted| (raw(tilted), 0.0)).collect()
        })
    }

    /// Bets on the shares of categories: the odds of each, of the rare ones together and of those that the reference has not are two and
    /// four times as large, or as small. The normaliser is that of [`Bank::of_drift`].
    ///
    /// It is never below what so few cases of a category allow by themselves. The bets take no share for less than `3 / n`: a new category is
    /// evidence by how often it comes, not by coming once.
    #[must_use]
    pub fn of_categories(reference: &[Day<'_>], margin: (f64, f64), unit: Unit) -> Option<Self> {
        let pooled = pooled(reference);
        let n: u64 = pooled.totals().iter().sum();
        let is_rare = |count: u64| (count as f64) < (RARE * n as f64).max(1.0);
        let mut common: Vec<(u64, u64)> = pooled.channels().iter().map(|c| (c.total(), c.key)).collect();
        common.retain(|(count, _)| !is_rare(*count));
        common.sort_unstable_by(|a, b| b.cmp(a));
        common.truncate(MOST_CATEGORIES);
        let mut keys: Vec<u64> = common.into_iter().map(|(_, key)| key).collect();
        keys.sort_unstable();
        Self::of_bins(Bins::Categories(keys), (reference, unit), margin, |shares| {
            let least = (3.0 / n as f64).min(0.5);
            let tail = margin.0 / (shares.len() * ODDS.len()) as f64;
            let of = |at: usize, times: f64| {
                let share = shares[at].clamp(least, 1.0 - least);
                // Likelihood ratios of the category and of its absence when its odds are so many times as large.
                let moved = share * times / (1.0 - share + share * times);
                let (own, others) = (moved / share, (1.0 - moved) / (1.0 - share));
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of cases")]
                let count = (shares[at] * n as f64).round() as u64;
                let raw = (0..shares.len()).map(|bin| if bin == at { own } else { others }).collect();
                (raw, two_valued((count, n), (own, others), tail))
            };
            (0..shares.len()).flat_map(|at| ODDS.map(|times| of(at, times))).collect()
        })
    }

    /// Bets whose factors by bin are `raw` of the reference's shares, divided by their normalisers, which are no less than stated with them.
    fn of_bins(
        bins: Bins,
        (reference, unit): (&[Day<'_>], Unit),
        (delta, tolerance): (f64, f64),
        raw: impl FnOnce(&[f64]) -> Vec<(Vec<f64>, f64)>,
    ) -> Option<Self> {
        let days: Vec<Vec<f64>> =
            reference.iter().map(|day| bins.units(day, unit)).filter(|day| day.iter().sum::<f64>() > 0.0).collect();
        if days.len() < 2 {
            return None;
        }
        let cases = bins.counts(&pooled(reference));
        let n: f64 = cases.iter().map(|count| *count as f64).sum();
        let shares: Vec<f64> = cases.iter().map(|count| *count as f64 / n).collect();
        let raw = raw(&shares);
        let tail = delta / raw.len() as f64;
        let normalised = |(raw, least): (Vec<f64>, f64)| -> Vec<f64> {
            let sample = |day: &Vec<f64>| {
                let units: f64 = day.iter().sum();
                let mean = day.iter().zip(&raw).map(|(count, r)| count * r).sum::<f64>() / units;
                (if unit == Unit::Cluster { 1.0 } else { units }, mean)
            };
            let samples: Vec<(f64, f64)> = days.iter().map(sample).collect();
            let (mean, error) = weighted_mean(&samples);
            let bound = (mean + student_upper_quantile(tail, samples.len() as f64 - 1.0) * error).max(least);
            let normaliser = bound * (1.0 + tolerance);
            raw.into_iter().map(|r| r / normaliser).collect()
        };
        let ratios = raw.into_iter().map(normalised).collect();
        Some(Self::Drift { ratios, bins, shares, unit })
    }
}

fn pooled(reference: &[Day<'_>]) -> Spectrum {
    let mut pooled = Spectrum::default();
    reference.iter().for_each(|day| pooled.merge(&day.spectrum));
    pooled
}

/// What a mean factor may be at most of which `count` of `n` cases have the factor `own` and the rest `others`: Clopper and Pearson's
/// bound at this tail.
fn two_valued((count, n): (u64, u64), (own, others): (f64, f64), tail: f64) -> f64 {
    let (k, n) = (count as f64, n as f64);
    let share = if own > others {
        if k < n { beta_quantile(1.0 - tail, k + 1.0, n - k) } else { 1.0 }
    } else if k > 0.0 {
        beta_quantile(tail, k, n - k + 1.0)
    } else {
        0.0
    };
    share * own + (1.0 - share) * others
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::channel::Scale;
    use crate::stats::spectrum::Class;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn day(counts: &[(u64, u64)]) -> Spectrum {
        let cells = counts.iter().map(|(key, count)| (*key, Class::Unlabelled, *count)).collect();
        Spectrum::from_cells(Scale::Probability, cells)
    }

    #[test]
    fn rare_categories_are_pooled_and_new_ones_with_them() {
        let reference: Vec<Spectrum> = (0..20).map(|at| day(&[(7, 60), (9, 39), (at + 100, 1)])).collect();
        let days: Vec<Day<'_>> = reference.iter().map(Day::from).collect();
        let bank = Bank::of_categories(&days, (0.05, 0.0), Unit::Case).expect("a reference");
        let Bank::Drift { bins, shares, ratios, .. } = &bank else { panic!("{bank:?}") };
        assert_eq!(*bins, Bins::Categories(vec![7, 9]));
        assert_eq!(*shares, [0.6, 0.39, 0.01]);
        assert_eq!(ratios.len(), 12);
        assert_eq!(bins.counts(&day(&[(7, 3), (8, 2), (100, 1), (500, 4)])), [3, 0, 7], "a new one is another");
        // The reference's own mean factor is below one for every bet, and what is new is evidence for the bet that it is.
        let mean = |ratios: &Vec<f64>| ratios.iter().zip(shares).map(|(r, share)| r * share).sum::<f64>();
        assert!(ratios.iter().all(|ratios| mean(ratios) < 1.0), "{ratios:?}");
        let gains = bank.increments("d", &day(&[(7, 60), (9, 30), (500, 10)])).expect("cases");
        assert!(gains[11] > 3.0 && gains[8] < 0.0, "{gains:?}");
    }

    /// Days of two hundred cases of four categories, the last of which the reference hardly has.
    #[test]
    fn shares_that_stay_raise_no_evidence_and_shares_that_move_do() {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let mut draw = |shares: [f64; 4]| {
            let mut counts = [0_u64; 4];
            for _ in 0..200 {
                let mut at = rng.random::<f64>();
                let bin = shares.iter().position(|share| {
                    at -= share;
                    at < 0.0
                });
                counts[bin.unwrap_or(3)] += 1;
            }
            day(&[(1, counts[0]), (2, counts[1]), (3, counts[2]), (4, counts[3])])
        };
        let usual = [0.5, 0.3, 0.198, 0.002];
        let reference: Vec<Spectrum> = (0..40).map(|_| draw(usual)).collect();
        let days: Vec<Day<'_>> = reference.iter().map(Day::from).collect();
        for unit in [Unit::Case, Unit::Cluster] {
            let bank = Bank::of_categories(&days, (0.05, 0.01), unit).expect("a reference");
            let mut grown = |shares: [f64; 4]| -> f64 {
                let mut sums = vec![0.0; bank.bets()];
                for _ in 0..60 {
                    let increments = bank.increments("d", &draw(shares)).expect("cases");
                    sums.iter_mut().zip(increments).for_each(|(sum, own)| *sum += own);
                }
                sums.into_iter().fold(f64::NEG_INFINITY, f64::max)
            };
            assert!(grown(usual) < 3.0, "{unit:?}");
            let found = grown([0.25, 0.55, 0.198, 0.002]);
            assert!(found > 8.0, "{unit:?}: a share whose odds are nearly three times as large: {found}");
            let found = grown([0.49, 0.29, 0.18, 0.04]);
            assert!(found > 8.0, "{unit:?}: a rare one that comes twenty times as often: {found}");
        }
    }

    #[test]
    fn subjects_count_as_their_cases_on_average() {
        let (all, one) = (day(&[(7, 5), (9, 1)]), day(&[(7, 3), (9, 1)]));
        let subjects = [one];
        let of = Day { subjects: &subjects, ..Day::from(&all) };
        let bins = Bins::Categories(vec![7, 9]);
        assert_eq!(bins.units(&of, Unit::Subject), [2.75, 0.25, 0.0]);
        assert_eq!(bins.units(&of, Unit::Case), [5.0, 1.0, 0.0]);
    }
}
