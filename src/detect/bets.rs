//! Bets: factors whose expectation is at most one while all is well, and above one after a change.
//!
//! A bucket's cases come as a [`Day`]: every bet here is a function of scores by truth, so it does not heed their order, and it
//! can be computed again from the sealed bucket. A unit is a case (or, for the area under the ROC curve, a block), a subject or the whole
//! bucket; the mean of factors is a factor too, however the cases of a bucket hang together.
//! Bets on distributions are in `drift`, on pairs of positives and negatives in `blocks`.

mod blocks;
mod drift;

use serde::{Deserialize, Serialize};

use super::day::{Day, Mean, mean};
use super::detector::log_sum_exp;
use super::loss::Way;
use crate::config::{Side, Unit};
use crate::stats::special::{logit, sigmoid};
use crate::stats::spectrum::Spectrum;

pub(crate) use self::blocks::whole;
pub(in crate::detect) use self::blocks::{Deck, blocks};
pub use self::drift::Bins;

/// A bank of bets on one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Bank {
    /// On a mean loss above its null value: factors `1 + lambda (loss - m0)`.
    Loss {
        /// The mean.
        mean: Mean,
        /// Its null value.
        m0: f64,
        /// The bets, each at most `0.95 / m0`.
        lambdas: Vec<f64>,
        /// What a unit is.
        unit: Unit,
    },
    /// On an area under the ROC curve below its null value, by blocks: each case of the rarer class with its share of the others.
    Area {
        /// That one minus the area rises, or that it falls.
        way: Way,
        /// The null value of one minus the area, or of a fall of that of the area.
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
    /// On a mean that moves either way: each way has half of the weight.
    Both {
        /// That it rises.
        up: Box<Bank>,
        /// That it falls.
        down: Box<Bank>,
    },
    /// On values distributed otherwise than the reference's.
    Drift {
        /// The bins.
        bins: Bins,
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
const PARTITIONS: u32 = 256;
/// Bets on differences of two versions, as parts of the largest bet: what a day's cases differ by on average, and how much, is not known
/// before.
const STAKES: [f64; 6] = [0.05, 0.1, 0.2, 0.4, 0.7, 1.0];

/// Bets that grow fastest when a bounded mean is `delta` above `m0` and varies by `variance`: alternatives are parts of a loss, or of what is
/// left of it when it falls, and of a share whichever is smaller.
fn tuned((m0, way): (f64, Way), parts: &[f64], variance: f64) -> Vec<f64> {
    let room = if way == Way::Fall { m0.min(1.0 - m0) } else { m0 };
    let bet = |part: &f64| {
        let delta = if way == Way::Fall { (room * part).min(1.0 - m0) } else { room * part };
        (delta / (variance + delta * delta)).min(0.95 / m0)
    };
    parts.iter().map(bet).collect()
}

impl Bank {
    /// Bets on a 0/1 loss, case by case: likelihood ratios.
    #[must_use]
    pub fn of_counts(mean: Mean, m0: f64) -> Self {
        let odds = m0 / (1.0 - m0);
        let bet = |times: &f64| {
            let alternative = odds * times / (1.0 + odds * times);
            ((alternative - m0) / (m0 * (1.0 - m0))).min(0.95 / m0)
        };
        Self::Loss { mean, m0, lambdas: ODDS.iter().map(bet).collect(), unit: Unit::Case }
    }

    /// Bets on a mean loss, of cases, subjects or buckets, whose units vary by `variance` on the reference.
    #[must_use]
    pub fn of_means(mean: Mean, m0: f64, variance: f64, unit: Unit) -> Self {
        Self::Loss { mean, m0, lambdas: tuned((m0, mean.way), &PARTS, variance), unit }
    }

    /// Bets on what a version loses more than another on the same cases, beyond `m0`, which is one half and half of the tolerance.
    #[must_use]
    pub fn of_pairs(mean: Mean, m0: f64, unit: Unit) -> Self {
        Self::Loss { mean, m0, lambdas: STAKES.iter().map(|stake| stake * 0.95 / m0).collect(), unit }
    }

    /// Bets on an area under the ROC curve below `1 - m0`, or above `m0`; `variance` is that of a unit's loss: of a block's, about .05 at
    /// an area of .90, or of a bucket's.
    #[must_use]
    pub fn of_area(way: Way, m0: f64, (unit, variance): (Unit, f64), seed: &str) -> Self {
        let lambdas = match unit {
            Unit::Case | Unit::Subject => tuned((m0, way), &BLOCK_PARTS, variance),
            Unit::Cluster => tuned((m0, way), &PARTS, variance),
        };
        Self::Area { way, m0, lambdas, unit, partitions: PARTITIONS, seed: seed.to_owned() }
    }

    /// Bets on miscalibration beyond a tolerance in log odds: that more is true than was stated, that less is, or either and that
    /// probabilities are too extreme or not extreme enough.
    #[must_use]
    pub fn of_calibration(side: Side, tolerance: f64, unit: Unit) -> Self {
        let shifts = |sign: f64| [0.25, 0.5, 1.0].map(|a| (sign * a, 1.0)).to_vec();
        let slopes = [0.5, 0.7, 1.4, 2.0].map(|b| (0.0, b)).to_vec();
        let lines = match side {
            Side::Up => shifts(1.0),
            Side::Down => shifts(-1.0),
            Side::Both => [shifts(1.0), shifts(-1.0), slopes].concat(),
        };
        Self::Calibration { tolerance, lines, unit }
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
    pub fn increments<'d>(&self, bucket: &str, day: impl Into<Day<'d>>) -> Option<Vec<f64>> {
        self.of_day(bucket, &day.into())
    }

    fn of_day(&self, bucket: &str, day: &Day<'_>) -> Option<Vec<f64>> {
        match self {
            Self::Loss { mean: of, m0, lambdas, unit } => {
                let losses = of.losses(day, *unit);
                let factors = |lambda: f64| losses.iter().map(move |(loss, n)| (1.0 + lambda * (loss - m0), *n));
                let bet = |lambda: &f64| match unit {
                    Unit::Case | Unit::Subject => Some(product(factors(*lambda))),
                    // The mean of a loss is a loss: the bets are on it as they are.
                    Unit::Cluster => mean(factors(*lambda)).map(libm::log),
                };
                if losses.is_empty() { None } else { lambdas.iter().map(bet).collect() }
            }
            Self::Area { way, m0, lambdas, unit, partitions, seed } => {
                let blocks: Vec<Vec<f64>> = match unit {
                    Unit::Case => {
                        let deck = Deck::of(&day.spectrum, *way)?;
                        (0..*partitions).map(|at| deck.deal(&format!("{seed}/{bucket}/{at}"))).collect()
                    }
                    // Which case of a subject counts is drawn anew for each deal.
                    Unit::Subject => {
                        let one = |at| {
                            let seed = format!("{seed}/{bucket}/{at}");
                            blocks(&day.thinned(*unit, &seed), *way, &seed)
                        };
                        (0..*partitions).map(one).collect::<Option<_>>()?
                    }
                    // The mean over all blocks is the share of pairs in the wrong order, whatever the partition.
                    Unit::Cluster => vec![vec![whole(&day.spectrum, *way)?]],
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
                let factors = |spectrum: &Spectrum, line: &(f64, f64)| -> Vec<(f64, u64)> {
                    let labelled = spectrum.channels().iter().filter(|c| c.positive() + c.negative() > 0);
                    let of = labelled.flat_map(|channel| {
                        let (low, high) = spectrum.range(channel);
                        let (one, zero) = recalibrated(0.5 * (low + high), *line, *tolerance);
                        [(one, channel.positive()), (zero, channel.negative())]
                    });
                    of.collect()
                };
                let [_, negatives, positives] = day.spectrum.totals();
                let bet = |line: &(f64, f64)| together(*unit, &day.units(*unit, |spectrum| factors(spectrum, line)));
                (negatives + positives > 0).then(|| lines.iter().map(bet).collect())
            }
            Self::Both { up, down } => {
                let (up, down) = (up.of_day(bucket, day)?, down.of_day(bucket, day)?);
                Some([up, down].concat())
            }
            Self::Drift { bins, ratios, unit, .. } => {
                let some = !day.spectrum.channels().is_empty();
                let bet = |ratios: &Vec<f64>| {
                    let factors = |spectrum: &Spectrum| -> Vec<(f64, u64)> {
                        ratios.iter().copied().zip(bins.counts(spectrum)).collect()
                    };
                    together(*unit, &day.units(*unit, factors))
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

/// The logarithm of what a bet makes of a bucket whose cases have these factors, each so many times: their product, or, when the bucket
/// is the unit, a bet on their mean. That mean is at most one on average and never below the least of all factors that the
/// bucket's cases could have had, so the stake may be as large as that allows; factors that no case has are listed with none.
fn together(unit: Unit, factors: &[(f64, u64)]) -> f64 {
    let of = || factors.iter().copied();
    match unit {
        Unit::Case | Unit::Subject => product(of()),
        Unit::Cluster => {
            let least = factors.iter().map(|(factor, _)| *factor).fold(1.0, f64::min);
            mean(of()).map_or(0.0, |mean| libm::log1p(stake(least) * (mean - 1.0)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::loss::Loss;
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
            Bank::of_counts(Mean::of(Loss::Missed(0.5)), 0.1),
            Bank::of_counts(Mean::of(Loss::Missed(0.5)).turned(), 0.8),
            Bank::of_counts(Mean::of(Loss::FlaggedInVain(0.5)), 0.4),
            Bank::of_means(Mean::of(Loss::Brier), 0.15, 0.05, Unit::Case),
            Bank::of_means(Mean::of(Loss::Error(0.3)), 0.15, 0.01, Unit::Cluster),
            Bank::of_calibration(Side::Both, 0.1, Unit::Case),
            Bank::of_drift(
                &[Day::from(&spectrum(&reference[..250])), Day::from(&spectrum(&reference[250..]))],
                (0.05, 0.0),
                Unit::Case,
            )
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
            let area = [Unit::Case, Unit::Cluster].map(|unit| Bank::of_area(Way::Rise, 0.1, (unit, 0.01), "s"));
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
            let turned = blocks(&spectrum, Way::Fall, &seed);
            if let Some(losses) = blocks(&spectrum, Way::Rise, &seed) {
                let one = losses.iter().zip(turned.into_iter().flatten()).map(|(rise, fall)| rise + fall);
                prop_assert!(one.into_iter().all(|sum| (sum - 1.0).abs() < 1e-12));
                let [_, negatives, positives] = spectrum.totals();
                prop_assert_eq!(losses.len() as u64, negatives.min(positives));
                prop_assert!(losses.iter().all(|loss| (0.0..=1.0).contains(loss)));
                prop_assert_eq!(blocks(&spectrum, Way::Rise, &seed), Some(losses));
            }
        }
    }

    #[test]
    fn bets_on_counts_are_likelihood_ratios() {
        let bank = Bank::of_counts(Mean::of(Loss::Missed(0.5)), 0.1);
        let missed = spectrum(&[(0.2, true), (0.7, true), (0.9, true), (0.3, false)]);
        let odds: f64 = 0.1 / 0.9;
        let alternative = odds * 2.0 / (1.0 + odds * 2.0);
        let ratio = libm::log(alternative / 0.1) + 2.0 * libm::log((1.0 - alternative) / 0.9);
        assert!((bank.increments("d", &missed).expect("units")[2] - ratio).abs() < 1e-12);
        assert_eq!(bank.increments("d", &spectrum(&[(0.3, false)])), None, "no positive, no unit");
    }
}
