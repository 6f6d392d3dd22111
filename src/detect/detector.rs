//! The detector: Shiryaev and Roberts' sum of products of bets, for a fixed mixture of bets.
//!
//! As long as every bet's factor of a bucket has a conditional expectation of at most one, the evidence `M` minus the number of
//! buckets is a supermartingale, with resets too. So the expected number of alarms `M >= c` within `T` buckets is at most
//! `T / c`, for any stopping time, however often one looks and whatever other streams do (METHODS: Shin, Ramdas and Rinaldo,
//! *E-detectors*, 2024). Products do not heed order, so the evidence of a bucket is that of its cases, in any order.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The evidence of one stream: a logarithm for every bet of the mixture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    /// `ln M_j`; `None` before the first bucket.
    logs: Vec<Option<f64>>,
    /// The sum of each bet's logarithms since it was last without gain: Page's cumulative sum, which dates the change.
    gains: Vec<f64>,
    /// Since when bet j has been winning.
    since: Vec<Option<DateTime<Utc>>>,
}

/// What one bucket made of the evidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// `ln M`, the logarithm of the mixture.
    pub log: f64,
    /// When the change began, by the bet that has won most.
    pub change: Option<DateTime<Utc>>,
    /// The bet that has won most.
    pub bet: usize,
}

impl Detector {
    /// No evidence yet, for so many bets with equal weights.
    #[must_use]
    pub fn new(bets: usize) -> Self {
        Self { logs: vec![None; bets], gains: vec![0.0; bets], since: vec![None; bets] }
    }

    /// Take in a bucket: the sum of the logarithms of each bet's factors over its units. A bucket without a unit is not taken in
    /// at all: the clock counts buckets with data.
    pub fn take(&mut self, bucket: DateTime<Utc>, increments: &[f64]) -> Evidence {
        for (at, increment) in increments.iter().enumerate() {
            if self.gains[at] <= 0.0 {
                self.since[at] = Some(bucket);
            }
            self.gains[at] = self.gains[at].max(0.0) + increment;
            self.logs[at] = Some(self.logs[at].map_or(0.0, add_one) + increment);
        }
        self.evidence()
    }

    /// The evidence at present.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let bet = (0..self.gains.len()).fold(0, |best, at| if self.gains[at] > self.gains[best] { at } else { best });
        let logs: Vec<f64> = self.logs.iter().map(|log| log.unwrap_or(f64::NEG_INFINITY)).collect();
        let weight = libm::log(logs.len() as f64);
        Evidence { log: log_sum_exp(&logs) - weight, change: self.since.get(bet).copied().flatten(), bet }
    }

    /// Forget everything: after an alarm.
    pub fn reset(&mut self) {
        *self = Self::new(self.logs.len());
    }

    /// Multiply the evidence.
    pub fn scale(&mut self, factor: f64) {
        self.logs.iter_mut().flatten().for_each(|log| *log += libm::log(factor));
    }
}

/// `ln(exp(x) + 1)`.
fn add_one(x: f64) -> f64 {
    if x > 0.0 { x + libm::log1p(libm::exp(-x)) } else { libm::log1p(libm::exp(x)) }
}

/// `ln sum exp(x)`; minus infinity of nothing.
#[must_use]
pub fn log_sum_exp(logs: &[f64]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + libm::log(logs.iter().map(|log| libm::exp(log - most)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(day: u32) -> DateTime<Utc> {
        DateTime::from_timestamp(i64::from(day) * 86_400, 0).expect("a day")
    }

    proptest! {
        /// The obvious way: M_d = sum over starts of the products since then, without logarithms.
        #[test]
        fn the_recursion_is_the_sum_over_all_starts(
            days in prop::collection::vec(prop::collection::vec(-0.5..0.5_f64, 3), 1..30),
        ) {
            let mut detector = Detector::new(3);
            let mut last = detector.evidence();
            for (at, increments) in (0..).zip(&days) {
                last = detector.take(day(at), increments);
            }
            let sum = |bet: usize| -> f64 {
                (0..days.len()).map(|start| libm::exp(days[start..].iter().map(|day| day[bet]).sum())).sum()
            };
            let obvious = libm::log((0..3).map(sum).sum::<f64>() / 3.0);
            prop_assert!((last.log - obvious).abs() < 1e-9, "{} against {obvious}", last.log);
        }
    }

    #[test]
    fn the_change_date_is_where_the_winning_bet_began_to_win() {
        let mut detector = Detector::new(2);
        for at in 0..10 {
            detector.take(day(at), &[-0.5, -3.0]);
        }
        let mut last = detector.evidence();
        for at in 10..16 {
            last = detector.take(day(at), &[0.2, 2.0]);
        }
        assert_eq!((last.bet, last.change), (1, Some(day(10))));
        detector.reset();
        assert_eq!(detector, Detector::new(2));
    }
}
