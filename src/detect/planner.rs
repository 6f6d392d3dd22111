//! What can be found: the expected delay of a stream's alarm after a change, and the smallest change found in time.
//!
//! The evidence of a bet grows by the expected logarithm of its factor. The alarm comes when the best bet has grown to `ln c` and the
//! price of the mixture, so the expected delay is about `(ln c + ln bets) / growth`.

use serde::Serialize;

use super::bets::{Bank, recalibrated, stake};
use super::stream::{Engine, Stratum, Stream};
use crate::config::{Measure, Side, Unit};
use crate::stats::special::{logit, normal_upper_quantile, normal_upper_tail, sigmoid};
use crate::stats::spectrum::Spectrum;

/// Days of a stream's plan.
pub const DAYS: f64 = 30.0;

/// The smallest change that is found in time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// A value of the measure; or of drift how many deviations the scores move, of calibration how many units of log odds.
    pub change: f64,
    /// What it is counted in: the measure, or the unit of the move.
    pub unit: String,
    /// The same if the reference were without error: the difference is what the reference's size costs. Of means alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_error: Option<f64>,
}

/// How much each bet's evidence grows in one day when the mean loss of its kind of days is `mean`, by the law of two points, one of
/// them 0, that has the mean and the variance of a unit's loss.
fn growth_of_mean(stratum: &Stratum, (bank, reference): (&Bank, f64), mean: f64) -> Option<Vec<f64>> {
    let (m0, lambdas, unit, is_binary) = match bank {
        Bank::Loss { mean, m0, lambdas, unit } => (*m0, lambdas, *unit, mean.is_binary()),
        Bank::Area { m0, lambdas, unit, .. } => (*m0, lambdas, *unit, false),
        // Planned for a rise; the bets on a fall lose.
        Bank::Both { up, down } => {
            let mut growth = growth_of_mean(stratum, (up, reference), mean)?;
            growth.resize(growth.len() + down.bets(), f64::NEG_INFINITY);
            return Some(growth);
        }
        Bank::Calibration { .. } | Bank::Drift { .. } => return None,
    };
    let mean = mean.min(0.999);
    // A 0/1 loss varies with its mean, and a day's mean of such losses in proportion; of others the reference's variance is kept.
    let binary = |mean: f64| mean * (1.0 - mean);
    let variance = match unit {
        Unit::Case if is_binary => binary(mean),
        Unit::Cluster if is_binary && binary(reference) > 0.0 => stratum.variance * binary(mean) / binary(reference),
        _ => stratum.variance,
    };
    let far = ((variance + mean * mean) / mean).min(1.0);
    let share = mean / far;
    let units = if unit == Unit::Cluster { 1.0 } else { stratum.size };
    let growth = |lambda: &f64| {
        let at = |loss: f64| libm::log1p(lambda * (loss - m0));
        units * (share * at(far) + (1.0 - share) * at(0.0))
    };
    Some(lambdas.iter().map(growth).collect())
}

/// How much each bet's evidence grows in one day when cases come with these factors, each with its probability, for each bet.
fn growth_of_factors(bets: &[Vec<(f64, f64)>], unit: Unit, size: f64) -> Vec<f64> {
    let of = |law: &Vec<(f64, f64)>| {
        let mean: f64 = law.iter().map(|(factor, share)| factor * share).sum();
        let square: f64 = law.iter().map(|(factor, share)| factor * factor * share).sum();
        match unit {
            Unit::Case | Unit::Subject => {
                size * law.iter().map(|(factor, share)| share * libm::log(*factor)).sum::<f64>()
            }
            // The expected logarithm of a bet on a mean of so many, to the second order.
            Unit::Cluster => {
                let stake = stake(law.iter().map(|(factor, _)| *factor).fold(1.0, f64::min));
                let (gain, variance) = (stake * (mean - 1.0), stake * stake * (square - mean * mean) / size.max(1.0));
                libm::log1p(gain) - 0.5 * variance / ((1.0 + gain) * (1.0 + gain))
            }
        }
    };
    bets.iter().map(of).collect()
}

/// The factors of each bet when scores move by `shift` deviations, their ranks taken for normal.
fn moved((shares, ratios): (&[f64], &[Vec<f64>]), shift: f64) -> Vec<Vec<(f64, f64)>> {
    let mut below = 0.0;
    let lower_tail = |rank: f64| match rank {
        rank if rank <= 0.0 => 0.0,
        rank if rank >= 1.0 => 1.0,
        rank => 1.0 - normal_upper_tail(-normal_upper_quantile(rank) - shift),
    };
    let shifted: Vec<f64> = shares
        .iter()
        .map(|share| {
            let from = below;
            below += share;
            (lower_tail(below) - lower_tail(from)).max(0.0)
        })
        .collect();
    ratios.iter().map(|ratios| ratios.iter().copied().zip(shifted.iter().copied()).collect()).collect()
}

/// The factors of each bet when a part of all cases comes to be of categories that are rare or new.
fn other((shares, ratios): (&[f64], &[Vec<f64>]), part: f64) -> Vec<Vec<(f64, f64)>> {
    let last = shares.len().saturating_sub(1);
    let share = |(at, share): (usize, &f64)| (1.0 - part) * share + if at == last { part } else { 0.0 };
    let moved: Vec<f64> = shares.iter().enumerate().map(share).collect();
    ratios.iter().map(|ratios| ratios.iter().copied().zip(moved.iter().copied()).collect()).collect()
}

/// The factors of each bet when the log odds of the truth are `shift` above those stated.
fn miscalibrated(lines: &[(f64, f64)], tolerance: f64, reference: &Spectrum, shift: f64) -> Vec<Vec<(f64, f64)>> {
    let n: f64 = reference.channels().iter().map(|channel| channel.total() as f64).sum();
    let of = |line: &(f64, f64)| {
        let channels = reference.channels().iter().flat_map(|channel| {
            let (low, high) = reference.range(channel);
            let stated = (0.5 * (low + high)).clamp(1e-6, 1.0 - 1e-6);
            let (one, zero) = recalibrated(stated, *line, tolerance);
            let (truth, share) = (sigmoid(logit(stated) + shift), channel.total() as f64 / n);
            [(one, share * truth), (zero, share * (1.0 - truth))]
        });
        channels.collect()
    };
    lines.iter().map(of).collect()
}

impl Stream {
    /// How many days from a change to the alarm, on average; `None` when no bet grows. `growth` says how much each bet grows on a day of each
    /// kind.
    fn delay(&self, threshold: f64, growth: impl Fn(&Stratum, &Bank) -> Option<Vec<f64>>) -> Option<f64> {
        let mut a_day: Vec<f64> = Vec::new();
        for stratum in &self.strata {
            let Engine::Bets(bank) = &stratum.engine else { return None };
            let own = growth(stratum, bank)?;
            a_day.resize(own.len(), 0.0);
            let share = stratum.days.a_week() / 7.0;
            a_day.iter_mut().zip(own).for_each(|(sum, own)| *sum += share * own);
        }
        let best = a_day.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let needed = libm::log(threshold) + libm::log(a_day.len() as f64);
        (best > 0.0).then(|| needed / best)
    }

    /// The smallest change for the worse that is found within so many days of its seal on average. `reference` are the scores that a
    /// miscalibration is planned for.
    ///
    /// # Errors
    /// Why nothing is.
    pub fn smallest_change(&self, threshold: f64, days: f64, reference: &Spectrum) -> Result<Found, String> {
        if self.strata.iter().any(|stratum| matches!(stratum.engine, Engine::Chart { .. })) {
            return Err("a chart is planned by its run length".to_owned());
        }
        if self.against.is_some() || self.mean.is_some_and(|mean| mean.paired) {
            return Err(
                "how often two versions differ is not known before; see what a backtest of both shows".to_owned()
            );
        }
        let none = || format!("no change is found within {days:.0} days of its seal at this volume");
        let moves = |most: f64, growth: &dyn Fn(&Stratum, &Bank, f64) -> Option<Vec<f64>>| {
            let found =
                |by: f64| self.delay(threshold, |s, bank| growth(s, bank, by)).is_some_and(|delay| delay <= days);
            bisected(most, found).ok_or_else(none)
        };
        match self.measure {
            Measure::FeatureDrift if self.categorical => {
                let change = moves(1.0, &|stratum, bank, by| match bank {
                    Bank::Drift { shares, ratios, unit, .. } => {
                        Some(growth_of_factors(&other((shares, ratios), by), *unit, stratum.size))
                    }
                    _ => None,
                })?;
                Ok(Found { change, unit: "of the cases in rare or new categories".to_owned(), without_error: None })
            }
            Measure::ScoreDrift | Measure::FeatureDrift | Measure::EmbeddingDrift => {
                let change = moves(5.0, &|stratum, bank, by| match bank {
                    Bank::Drift { shares, ratios, unit, .. } => {
                        Some(growth_of_factors(&moved((shares, ratios), by), *unit, stratum.size))
                    }
                    _ => None,
                })?;
                Ok(Found { change, unit: "standard deviations".to_owned(), without_error: None })
            }
            Measure::Calibration => {
                let way = if self.side == Side::Down { -1.0 } else { 1.0 };
                let change = moves(5.0, &|stratum, bank, by| match bank {
                    Bank::Calibration { tolerance, lines, unit } => {
                        let factors = miscalibrated(lines, *tolerance, reference, way * by);
                        Some(growth_of_factors(&factors, *unit, stratum.size))
                    }
                    _ => None,
                })?;
                Ok(Found { change, unit: "log odds".to_owned(), without_error: None })
            }
            measure => {
                let of = self.mean.ok_or_else(none)?;
                let by = moves(1.0, &|stratum, bank, by| self.grown(stratum, bank, by))?;
                let exact = self.without_error().and_then(|exact| {
                    let found = |by: f64| {
                        exact.delay(threshold, |s, bank| exact.grown(s, bank, by)).is_some_and(|delay| delay <= days)
                    };
                    bisected(1.0, found)
                });
                let value = |by: f64| of.in_its_terms((self.mean() + by).min(1.0));
                Ok(Found { change: value(by), unit: measure.to_string(), without_error: exact.map(value) })
            }
        }
    }

    /// The mean loss of a kind of days before the change: the reference's, or what the contract allows.
    fn mean_of(&self, stratum: &Stratum) -> f64 {
        let of = |null: &super::null_value::NullValue| {
            let own = null.reference.zip(self.mean).map(|(own, mean)| mean.from_its_terms(own));
            own.unwrap_or(null.value)
        };
        stratum.null.as_ref().map_or(0.0, of)
    }

    fn mean(&self) -> f64 {
        let days: f64 = self.strata.iter().map(|stratum| stratum.days.a_week()).sum();
        self.strata.iter().map(|stratum| stratum.days.a_week() / days * self.mean_of(stratum)).sum()
    }

    fn grown(&self, stratum: &Stratum, bank: &Bank, by: f64) -> Option<Vec<f64>> {
        let before = self.mean_of(stratum);
        growth_of_mean(stratum, (bank, before), before + by)
    }

    /// The stream as it would be if the reference's means were exact; `None` where there is no reference, or it lacks any loss.
    fn without_error(&self) -> Option<Self> {
        let mut exact = self.clone();
        for stratum in &mut exact.strata {
            stratum.null.as_ref()?.reference?;
            let m0 = self.mean_of(stratum);
            if m0 <= 0.0 {
                return None;
            }
            let Engine::Bets(bank) = &stratum.engine else { return None };
            stratum.engine = Engine::Bets(match bank {
                Bank::Loss { mean, unit: Unit::Case, .. } if mean.is_binary() => Bank::of_counts(*mean, m0),
                Bank::Loss { mean, unit, .. } => Bank::of_means(*mean, m0, stratum.variance, *unit),
                Bank::Area { way, unit, seed, .. } => Bank::of_area(*way, m0, (*unit, stratum.variance), seed),
                Bank::Calibration { .. } | Bank::Drift { .. } | Bank::Both { .. } => return None,
            });
        }
        Some(exact)
    }
}

/// The smallest value up to `most` from which on something holds, to a millionth; `None` when it does not hold at `most`.
fn bisected(most: f64, holds: impl Fn(f64) -> bool) -> Option<f64> {
    if !holds(most) {
        return None;
    }
    let (mut low, mut high) = (0.0, most);
    while high - low > 1e-6 {
        let middle = 0.5 * (low + high);
        if holds(middle) {
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
    use crate::detect::day::Mean;
    use crate::detect::loss::Loss;
    use crate::detect::null_value::by_contract;
    use crate::detect::sealing::Days;

    fn sensitivity() -> Stream {
        let mean = Mean::of(Loss::Missed(0.5));
        let null = by_contract(mean, 0.9);
        let engine = Engine::Bets(Bank::of_counts(mean, null.value));
        Stream {
            measure: Measure::Sensitivity,
            at: Some(0.5),
            mean: Some(mean),
            unit: Unit::Case,
            side: Side::Up,
            against: None,
            seen_through: None,
            categorical: false,
            lag: 0,
            seed: String::new(),
            strata: vec![Stratum { days: Days::All, engine, null: Some(null), size: 30.0, variance: 0.09 }],
            unwatched: Vec::new(),
            dependence: None,
            coverage: None,
        }
    }

    #[test]
    fn the_plan_of_a_sensitivity_is_near_what_simulation_finds() {
        // METHODS: thirty positives a day, sensitivity .90 to .80, c = 3,650: a mean delay of 6.5 days.
        let stream = sensitivity();
        let days = stream.delay(3650.0, |stratum, bank| stream.grown(stratum, bank, 0.1)).expect("it grows");
        assert!((5.0..9.0).contains(&days), "{days}");
        let found = stream.smallest_change(3650.0, 30.0, &Spectrum::default()).expect("something");
        assert!((0.85..0.88).contains(&found.change), "{found:?}");
        assert_eq!(found.unit, "sensitivity");
        let none = stream.delay(3650.0, |stratum, bank| stream.grown(stratum, bank, 0.0));
        assert_eq!(none, None, "at the null value nothing grows");
    }

    #[test]
    fn what_moves_less_than_can_be_found_is_not_promised() {
        let reason = sensitivity().smallest_change(3650.0, 0.1, &Spectrum::default()).expect_err("too soon");
        assert!(reason.contains("no change is found"), "{reason}");
    }
}
