//! Bets: factors whose expectation is at most one while all is well, and above one after a change.
//!
//! A bucket's cases come as a spectrum: every bet here is a function of scores by truth, so it does not heed their order, and it
//! can be computed again from the sealed bucket. A unit is a case (or, for the area under the ROC curve, a block) or the whole
//! bucket; the mean of factors is a factor too, however the cases of a bucket hang together.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::detector::log_sum_exp;
use super::loss::Loss;
use crate::config::Unit;
use crate::metric::drift::{binned, quantile_edges};
use crate::stats::interval::weighted_mean;
use crate::stats::special::{logit, sigmoid, student_upper_quantile};
use crate::stats::spectrum::{Channel, Spectrum};

/// A bank of bets on one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Bank {
    /// On a mean loss above its null value: factors `1 + lambda (loss - m0)`.
    Loss {
        /// The loss.
        loss: Loss,
        /// Its null value.
        m0: f64,
        /// The bets, each at most `0.95 / m0`.
        lambdas: Vec<f64>,
        /// What a unit is.
        unit: Unit,
    },
    /// On an area under the ROC curve below its null value, by blocks: each case of the rarer class with its share of the others.
    Area {
        /// One minus the null value of the area.
        m0: f64,
        /// The bets.
        lambdas: Vec<f64>,
        /// What a unit is: a block, or the bucket.
        unit: Unit,
        /// Random partitions that are averaged.
        partitions: u32,
        /// Names the stream, so that its partitions are its own.
        seed: String,
    },
    /// On stated probabilities that are more than a tolerance, in log odds, off the true ones.
    Calibration {
        /// The tolerance.
        tolerance: f64,
        /// Recalibrations `(a, b)`: the bet that `logit P = a + b logit p`.
        lines: Vec<(f64, f64)>,
        /// What a unit is.
        unit: Unit,
    },
    /// On a share that moves either way: each way has half of the weight.
    Both {
        /// That it rises.
        up: Box<Bank>,
        /// That it falls.
        down: Box<Bank>,
    },
    /// On scores distributed otherwise than the reference's.
    Drift {
        /// Upper ends of the reference's bins but the last.
        edges: Vec<f64>,
        /// The reference's shares of the bins.
        shares: Vec<f64>,
        /// For each bet the factor of each bin, divided by its normaliser.
        ratios: Vec<Vec<f64>>,
        /// What a unit is.
        unit: Unit,
    },
}

/// Alternatives to a null value of a 0/1 loss, as multiples of its odds.
const ODDS: [f64; 5] = [1.25, 1.5, 2.0, 3.0, 5.0];
/// Alternatives to a null value of any loss, as parts of it above it.
const PARTS: [f64; 5] = [0.15, 0.3, 0.6, 1.0, 2.0];
/// The same for blocks.
const BLOCK_PARTS: [f64; 5] = [0.2, 0.4, 0.7, 1.2, 2.0];
/// Partitions that are averaged: with so many their luck moves an alarm by no more than a day or two.
const PARTITIONS: u32 = 64;
/// Bins of the reference's scores.
const BINS: usize = 16;

/// Bets that grow fastest when a bounded mean is `delta` above `m0` and varies by `variance`.
fn tuned(m0: f64, parts: &[f64], variance: f64) -> Vec<f64> {
    let bet = |part: &f64| {
        let delta = m0 * part;
        (delta / (variance + delta * delta)).min(0.95 / m0)
    };
    parts.iter().map(bet).collect()
}

impl Bank {
    /// Bets on a 0/1 loss, case by case: likelihood ratios.
    #[must_use]
    pub fn of_counts(loss: Loss, m0: f64) -> Self {
        let odds = m0 / (1.0 - m0);
        let bet = |times: &f64| {
            let alternative = odds * times / (1.0 + odds * times);
            ((alternative - m0) / (m0 * (1.0 - m0))).min(0.95 / m0)
        };
        Self::Loss { loss, m0, lambdas: ODDS.iter().map(bet).collect(), unit: Unit::Case }
    }

    /// Bets on a mean loss, of cases or of buckets, whose units vary by `variance` on the reference.
    #[must_use]
    pub fn of_means(loss: Loss, m0: f64, variance: f64, unit: Unit) -> Self {
        Self::Loss { loss, m0, lambdas: tuned(m0, &PARTS, variance), unit }
    }

    /// Bets on an area under the ROC curve below `1 - m0`; `variance` is that of a unit's loss: of a block's, about .05 at an area
    /// of .90, or of a bucket's.
    #[must_use]
    pub fn of_area(m0: f64, unit: Unit, variance: f64, seed: &str) -> Self {
        let lambdas = match unit {
            Unit::Case => tuned(m0, &BLOCK_PARTS, variance),
            Unit::Cluster => tuned(m0, &PARTS, variance),
        };
        Self::Area { m0, lambdas, unit, partitions: PARTITIONS, seed: seed.to_owned() }
    }

    /// Bets on miscalibration beyond a tolerance in log odds.
    #[must_use]
    pub fn of_calibration(tolerance: f64, unit: Unit) -> Self {
        let shifts = [0.25, 0.5, 1.0, -0.25, -0.5, -1.0].map(|a| (a, 1.0));
        let slopes = [0.5, 0.7, 1.4, 2.0].map(|b| (0.0, b));
        Self::Calibration { tolerance, lines: shifts.into_iter().chain(slopes).collect(), unit }
    }

    /// Bets on drift away from the days of a reference: tilts by shifted Legendre polynomials of the reference's ranks.
    ///
    /// The normaliser is Student's upper bound of the reference's mean factor at confidence `1 - delta / bets`, and `tolerance` more: of
    /// its days' means with days as units, of its cases' mean with its error over days with cases. `None` of fewer than two days
    /// with cases.
    #[must_use]
    pub fn of_drift(reference: &[&Spectrum], (delta, tolerance): (f64, f64), unit: Unit) -> Option<Self> {
        let mut pooled = Spectrum::default();
        reference.iter().for_each(|day| pooled.merge(day));
        let edges = quantile_edges(&pooled, BINS);
        let counts =
            |spectrum: &Spectrum| -> Vec<f64> { binned(spectrum, &edges).iter().map(|count| *count as f64).collect() };
        let days: Vec<Vec<f64>> =
            reference.iter().map(|day| counts(day)).filter(|day| day.iter().sum::<f64>() > 0.0).collect();
        if days.len() < 2 {
            return None;
        }
        let total = counts(&pooled);
        let n: f64 = total.iter().sum();
        let mut below = 0.0;
        let shares: Vec<f64> = total.iter().map(|count| count / n).collect();
        let ranks: Vec<(f64, f64)> = shares
            .iter()
            .map(|share| {
                let range = (below, below + share);
                below += share;
                range
            })
            .collect();
        let polynomials: [fn(f64) -> f64; 3] = [
            |u| libm::sqrt(3.0) * (2.0 * u - 1.0),
            |u| libm::sqrt(5.0) * (6.0 * u * u - 6.0 * u + 1.0),
            |u| libm::sqrt(7.0) * (20.0 * u * u * u - 30.0 * u * u + 12.0 * u - 1.0),
        ];
        let tilts = [0.1, 0.25, 0.5, -0.1, -0.25, -0.5];
        let bets = (polynomials.len() * tilts.len()) as f64;
        let ratio = |polynomial: fn(f64) -> f64, tilt: f64| {
            // The mean of the tilt over a bin's ranks, by eight points in its middle.
            let mean = |(low, high): &(f64, f64)| {
                let point = |at: u32| low + (high - low) * (f64::from(at) + 0.5) / 8.0;
                (0..8).map(|at| libm::exp(tilt * polynomial(point(at)))).sum::<f64>() / 8.0
            };
            let raw: Vec<f64> = ranks.iter().map(mean).collect();
            let samples: Vec<(f64, f64)> = days
                .iter()
                .map(|day| {
                    let cases: f64 = day.iter().sum();
                    let mean = day.iter().zip(&raw).map(|(count, r)| count * r).sum::<f64>() / cases;
                    (if unit == Unit::Case { cases } else { 1.0 }, mean)
                })
                .collect();
            let (mean, error) = weighted_mean(&samples);
            let bound = mean + student_upper_quantile(delta / bets, samples.len() as f64 - 1.0) * error;
            let normaliser = bound * (1.0 + tolerance);
            raw.into_iter().map(|r| r / normaliser).collect()
        };
        let ratios = polynomials.iter().flat_map(|polynomial| tilts.iter().map(move |tilt| ratio(*polynomial, *tilt)));
        let ratios = ratios.collect();
        Some(Self::Drift { ratios, edges, shares, unit })
    }

    /// How many bets there are.
    #[must_use]
    pub fn bets(&self) -> usize {
        match self {
            Self::Loss { lambdas, .. } | Self::Area { lambdas, .. } => lambdas.len(),
            Self::Calibration { lines, .. } => lines.len(),
            Self::Drift { ratios, .. } => ratios.len(),
            Self::Both { up, down } => up.bets() + down.bets(),
        }
    }

    /// The logarithm of each bet's factor of one bucket; `None` when the bucket has no unit. `bucket` names it.
    #[must_use]
    pub fn increments(&self, bucket: &str, spectrum: &Spectrum) -> Option<Vec<f64>> {
        match self {
            Self::Loss { loss, m0, lambdas, unit } => {
                let losses = loss.of(spectrum);
                let factors = |lambda: f64| losses.iter().map(move |(loss, n)| (1.0 + lambda * (loss - m0), *n));
                let product = |lambda: &f64| match unit {
                    Unit::Case => product(factors(*lambda)),
                    // The mean of a loss is a loss: the bets are on it as they are.
                    Unit::Cluster => libm::log(mean(factors(*lambda))),
                };
                (!losses.is_empty()).then(|| lambdas.iter().map(product).collect())
            }
            Self::Area { m0, lambdas, unit, partitions, seed } => {
                let blocks: Vec<Vec<f64>> = match unit {
                    Unit::Case => {
                        let one = |at| blocks(spectrum, &format!("{seed}/{bucket}/{at}"));
                        (0..*partitions).map(one).collect::<Option<_>>()?
                    }
                    // The mean over all blocks is the share of pairs in the wrong order, whatever the partition.
                    Unit::Cluster => vec![vec![1.0 - area(spectrum)?]],
                };
                let of_partition = |losses: &Vec<f64>, lambda: f64| -> f64 {
                    losses.iter().map(|loss| libm::log1p(lambda * (loss - m0))).sum()
                };
                let average = |lambda: &f64| {
                    let logs: Vec<f64> = blocks.iter().map(|losses| of_partition(losses, *lambda)).collect();
                    log_sum_exp(&logs) - libm::log(logs.len() as f64)
                };
                Some(lambdas.iter().map(average).collect())
            }
            Self::Calibration { tolerance, lines, unit } => {
                let labelled = || spectrum.channels().iter().filter(|c| c.positive() + c.negative() > 0);
                let factors = |line: &(f64, f64)| -> Vec<(f64, u64)> {
                    let of = |channel: &Channel| {
                        let (low, high) = spectrum.range(channel);
                        let (one, zero) = recalibrated(0.5 * (low + high), *line, *tolerance);
                        [(one, channel.positive()), (zero, channel.negative())]
                    };
                    labelled().flat_map(of).collect()
                };
                let some = labelled().next().is_some();
                some.then(|| lines.iter().map(|line| together(*unit, &factors(line))).collect())
            }
            Self::Both { up, down } => {
                let (up, down) = (up.increments(bucket, spectrum)?, down.increments(bucket, spectrum)?);
                Some([up, down].concat())
            }
            Self::Drift { edges, ratios, unit, .. } => {
                let counts = binned(spectrum, edges);
                let some = counts.iter().any(|count| *count > 0);
                let bet = |ratios: &Vec<f64>| {
                    let factors: Vec<(f64, u64)> = ratios.iter().copied().zip(counts.iter().copied()).collect();
                    together(*unit, &factors)
                };
                some.then(|| ratios.iter().map(bet).collect())
            }
        }
    }
}

/// The logarithm of the product of factors, each so many times.
fn product(factors: impl Iterator<Item = (f64, u64)>) -> f64 {
    factors.filter(|(_, n)| *n > 0).map(|(factor, n)| n as f64 * libm::log(factor)).sum()
}

/// The mean of factors, each so many times.
fn mean(factors: impl Iterator<Item = (f64, u64)>) -> f64 {
    let add = |(sum, total): (f64, f64), (factor, n): (f64, u64)| (sum + factor * n as f64, total + n as f64);
    let (sum, total) = factors.fold((0.0, 0.0), add);
    sum / total
}

/// The logarithm of what a bet makes of a bucket whose cases have these factors, each so many times: their product, or, when the bucket
/// is the unit, a bet on their mean. That mean is at most one on average and never below the least of all factors that the
/// bucket's cases could have had, so the stake may be as large as that allows; factors that no case has are listed with none.
fn together(unit: Unit, factors: &[(f64, u64)]) -> f64 {
    let of = || factors.iter().copied();
    match unit {
        Unit::Case => product(of()),
        Unit::Cluster => {
            let least = factors.iter().map(|(factor, _)| *factor).fold(1.0, f64::min);
            libm::log1p(stake(least) * (mean(of()) - 1.0))
        }
    }
}

/// The stake of a bet whose factor is never below `least`.
pub(super) fn stake(least: f64) -> f64 {
    if least < 1.0 { (0.95 / (1.0 - least)).max(1.0) } else { 1.0 }
}

/// The factors of a positive and a negative case of stated probability `p` for the bet that a line recalibrates it, divided by
/// what they may be expected to be at most while the truth is within the tolerance.
pub(super) fn recalibrated(p: f64, (a, b): (f64, f64), tolerance: f64) -> (f64, f64) {
    let p = p.clamp(1e-6, 1.0 - 1e-6);
    let stated = logit(p);
    let bet = sigmoid(a + b * stated);
    let (one, zero) = (bet / p, (1.0 - bet) / (1.0 - p));
    let expected = |q: f64| q * one + (1.0 - q) * zero;
    let ends = [stated - tolerance, stated + tolerance].map(|at| expected(sigmoid(at)));
    let most = ends[0].max(ends[1]).max(1.0);
    (one / most, zero / most)
}

/// The area under the ROC curve of a bucket: ties one half, but within a coarse channel in the right order, so that the bet is
/// no larger than it should be. `None` without both classes.
pub(crate) fn area(spectrum: &Spectrum) -> Option<f64> {
    let [_, negatives, positives] = spectrum.totals();
    if negatives == 0 || positives == 0 {
        return None;
    }
    let tie = if spectrum.is_exact() { 0.5 } else { 1.0 };
    let (mut below, mut right) = (0.0, 0.0);
    for channel in spectrum.channels() {
        right += channel.positive() as f64 * (below + tie * channel.negative() as f64);
        below += channel.negative() as f64;
    }
    Some(right / (positives as f64 * negatives as f64))
}

/// One loss per case of the rarer class: the share of the other class's cases in its block that are in the wrong order with it.
/// The others are dealt out at random by a seed; sizes of blocks differ by one at most. `None` without both classes.
pub(super) fn blocks(spectrum: &Spectrum, seed: &str) -> Option<Vec<f64>> {
    let positions = |count: fn(&Channel) -> u64| -> Vec<usize> {
        let channels = spectrum.channels().iter().enumerate();
        channels
            .flat_map(|(at, channel)| std::iter::repeat_n(at, usize::try_from(count(channel)).unwrap_or(0)))
            .collect()
    };
    let (positives, negatives) = (positions(Channel::positive), positions(Channel::negative));
    if positives.is_empty() || negatives.is_empty() {
        return None;
    }
    let rare_is_positive = positives.len() <= negatives.len();
    let (rare, mut many) = if rare_is_positive { (positives, negatives) } else { (negatives, positives) };
    let digest: [u8; 32] = Sha256::digest(seed).into();
    many.shuffle(&mut ChaCha8Rng::from_seed(digest));
    let tie = if spectrum.is_exact() { 0.5 } else { 0.0 };
    let mut losses = vec![(0.0, 0.0); rare.len()];
    for (at, other) in many.iter().enumerate() {
        let block = at % rare.len();
        let (positive, negative) = if rare_is_positive { (rare[block], *other) } else { (*other, rare[block]) };
        let loss = match negative.cmp(&positive) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => tie,
            std::cmp::Ordering::Less => 0.0,
        };
        losses[block].0 += loss;
        losses[block].1 += 1.0;
    }
    Some(losses.into_iter().map(|(sum, n): (f64, f64)| sum / n).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::channel::{self, Scale};
    use crate::stats::spectrum::Class;
    use proptest::prelude::*;

    fn spectrum(rows: &[(f64, bool)]) -> Spectrum {
        let class = |positive: bool| if positive { Class::Positive } else { Class::Negative };
        let cells = rows.iter().map(|(p, positive)| (channel::key(*p), class(*positive), 1)).collect();
        Spectrum::from_cells(Scale::Probability, cells)
    }

    fn rows() -> impl Strategy<Value = Vec<(f64, bool)>> {
        let score =
            prop_oneof![0.0..=1.0_f64, (0..=5_u32).prop_map(|fifth| f64::from(fifth) / 5.0), Just(1.0), Just(0.0)];
        prop::collection::vec((score, any::<bool>()), 1..60)
    }

    fn banks() -> Vec<Bank> {
        let reference: Vec<(f64, bool)> = (0..500).map(|at| (f64::from(at * 7 % 500) / 500.0, at % 3 == 0)).collect();
        vec![
            Bank::of_counts(Loss::Missed(0.5), 0.1),
            Bank::of_counts(Loss::FlaggedInVain(0.5), 0.4),
            Bank::of_means(Loss::Brier, 0.15, 0.05, Unit::Case),
            Bank::of_means(Loss::Error(0.3), 0.15, 0.01, Unit::Cluster),
            Bank::of_calibration(0.1, Unit::Case),
            Bank::of_drift(&[&spectrum(&reference[..250]), &spectrum(&reference[250..])], (0.05, 0.0), Unit::Case)
                .expect("a reference"),
        ]
    }

    proptest! {
        /// What sealed buckets are split into, by sites or by workers, does not matter: logarithms of products add up.
        #[test]
        fn increments_of_case_units_add_up(all in rows(), cut in any::<prop::sample::Index>()) {
            let (left, right) = all.split_at(cut.index(all.len()));
            for bank in banks() {
                if matches!(bank, Bank::Loss { unit: Unit::Cluster, .. }) {
                    continue;
                }
                let of = |rows: &[(f64, bool)]| bank.increments("d", &spectrum(rows)).unwrap_or(vec![0.0; bank.bets()]);
                let whole = of(&all);
                for ((a, b), sum) in of(left).iter().zip(of(right)).zip(whole) {
                    prop_assert!((a + b - sum).abs() <= 1e-9 * (1.0 + sum.abs()), "{a} + {b} against {sum}");
                }
            }
        }

        /// No factor is negative, so no logarithm is undefined.
        #[test]
        fn every_increment_is_a_number(all in rows()) {
            let area = [Unit::Case, Unit::Cluster].map(|unit| Bank::of_area(0.1, unit, 0.01, "s"));
            for bank in banks().into_iter().chain(area) {
                for increment in bank.increments("d", &spectrum(&all)).into_iter().flatten() {
                    prop_assert!(increment.is_finite(), "{bank:?}: {increment}");
                }
            }
        }

        /// Whatever the partition, blocks weighted by their sizes make up the pairs in the wrong order.
        #[test]
        fn the_blocks_make_up_the_area(all in rows(), seed in "[a-z]{3}") {
            let spectrum = spectrum(&all);
            if let Some(losses) = blocks(&spectrum, &seed) {
                let [_, negatives, positives] = spectrum.totals();
                prop_assert_eq!(losses.len() as u64, negatives.min(positives));
                prop_assert!(losses.iter().all(|loss| (0.0..=1.0).contains(loss)));
                prop_assert_eq!(blocks(&spectrum, &seed), Some(losses));
            }
        }
    }

    #[test]
    fn bets_on_counts_are_likelihood_ratios() {
        let bank = Bank::of_counts(Loss::Missed(0.5), 0.1);
        let missed = spectrum(&[(0.2, true), (0.7, true), (0.9, true), (0.3, false)]);
        let odds: f64 = 0.1 / 0.9;
        let alternative = odds * 2.0 / (1.0 + odds * 2.0);
        let ratio = libm::log(alternative / 0.1) + 2.0 * libm::log((1.0 - alternative) / 0.9);
        assert!((bank.increments("d", &missed).expect("units")[2] - ratio).abs() < 1e-12);
        assert_eq!(bank.increments("d", &spectrum(&[(0.3, false)])), None, "no positive, no unit");
    }
}
