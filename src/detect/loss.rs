//! Losses: what a case costs, between 0 and 1, and what their mean is in the terms of the measure.

use serde::{Deserialize, Serialize};

use crate::metric::Costs;
use crate::stats::channel;
use crate::stats::spectrum::{Channel, Class, Spectrum};
use crate::summary::sealed::Pair;

/// A loss between 0 and 1 of each case that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Loss {
    /// A positive that is not flagged at the threshold: one minus sensitivity.
    Missed(f64),
    /// A negative that is flagged: one minus specificity.
    FalselyFlagged(f64),
    /// A flagged case that is negative: one minus positive predictive value.
    FlaggedInVain(f64),
    /// A case that is flagged or not as it should not be.
    Error(f64),
    /// What a decision costs, scaled from the least cost to the greatest.
    Cost {
        /// The operating point.
        at: f64,
        /// What decisions cost.
        costs: Costs,
    },
    /// The Brier score.
    Brier,
    /// The logarithmic loss, cut at `ln 100` and scaled to one.
    LogLoss,
    /// A case that is flagged, with truth or without.
    Flagged(f64),
}

/// Which way a mean is bet to have gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Up.
    Rise,
    /// Down.
    Fall,
}

impl Loss {
    /// The losses of one bucket, or of a fall one minus them: `(loss, cases)`.
    pub(super) fn of(self, spectrum: &Spectrum, way: Way) -> Vec<(f64, u64)> {
        let of_channel = |channel: &Channel| -> Vec<(f64, u64)> {
            // Inside a coarse channel the end counts that makes what is bet on smaller: then the bet is no larger than it should be.
            let (low, high) = spectrum.range(channel);
            let (low, high) = if way == Way::Fall { (high, low) } else { (low, high) };
            let (positive, negative) = (channel.positive(), channel.negative());
            match self {
                Self::FlaggedInVain(threshold) if low >= threshold && high >= threshold => {
                    vec![(0.0, positive), (1.0, negative)]
                }
                Self::FlaggedInVain(threshold) if high >= threshold => vec![(0.0, positive)],
                Self::FlaggedInVain(threshold) if low >= threshold => vec![(1.0, negative)],
                Self::FlaggedInVain(_) => vec![],
                Self::Flagged(_) => vec![(self.of_case(low, Class::Unlabelled).unwrap_or_default(), channel.total())],
                _ => [(high, Class::Positive, positive), (low, Class::Negative, negative)]
                    .into_iter()
                    .filter_map(|(p, class, cases)| Some((self.of_case(p, class)?, cases)))
                    .collect(),
            }
        };
        let turn = |loss: f64| if way == Way::Fall { 1.0 - loss } else { loss };
        let all = spectrum.channels().iter().flat_map(of_channel).filter(|(_, cases)| *cases > 0);
        all.map(|(loss, cases)| (turn(loss), cases)).collect()
    }

    /// What one case loses; `None` of one that it is not about.
    #[must_use]
    pub fn of_case(self, p: f64, class: Class) -> Option<f64> {
        let at = |threshold: f64| f64::from(u8::from(p >= threshold));
        Some(match (self, class) {
            (Self::Flagged(threshold), _) => at(threshold),
            (Self::Missed(threshold) | Self::Error(threshold), Class::Positive) => 1.0 - at(threshold),
            (Self::FalselyFlagged(threshold) | Self::Error(threshold), Class::Negative) => at(threshold),
            (Self::FlaggedInVain(threshold), Class::Positive) if p >= threshold => 0.0,
            (Self::FlaggedInVain(threshold), Class::Negative) if p >= threshold => 1.0,
            (Self::Cost { at: threshold, costs }, Class::Positive) => {
                scaled(&costs, if p >= threshold { costs.true_positive } else { costs.false_negative })
            }
            (Self::Cost { at: threshold, costs }, Class::Negative) => {
                scaled(&costs, if p >= threshold { costs.false_positive } else { costs.true_negative })
            }
            (Self::Brier, Class::Positive) => (1.0 - p) * (1.0 - p),
            (Self::Brier, Class::Negative) => p * p,
            (Self::LogLoss, Class::Positive) => log_loss(p),
            (Self::LogLoss, Class::Negative) => log_loss(1.0 - p),
            _ => return None,
        })
    }

    /// What a case loses more by its own version than by the other; `None` of one that it is not about.
    #[must_use]
    pub fn difference(self, pair: &Pair) -> Option<f64> {
        let of = |key: u64| self.of_case(channel::probability(key), pair.class);
        Some(of(pair.own)? - of(pair.other)?)
    }

    /// Whether every case loses all or nothing.
    #[must_use]
    pub fn is_binary(self) -> bool {
        !matches!(self, Self::Brier | Self::LogLoss | Self::Cost { .. })
    }

    /// A mean loss in the terms of its measure: sensitivity, not the share of missed cases. `None` is one minus an area.
    #[must_use]
    pub fn in_its_terms(loss: Option<Self>, mean: f64) -> f64 {
        match loss {
            None | Some(Self::Missed(_) | Self::FalselyFlagged(_) | Self::FlaggedInVain(_)) => 1.0 - mean,
            Some(Self::LogLoss) => mean * libm::log(100.0),
            Some(Self::Cost { costs, .. }) => {
                let [least, most] = costs.ends();
                least + mean * (most - least)
            }
            Some(Self::Error(_) | Self::Brier | Self::Flagged(_)) => mean,
        }
    }

    /// The mean loss of a value in the terms of its measure: the inverse of [`Loss::in_its_terms`].
    #[must_use]
    pub fn from_its_terms(loss: Option<Self>, value: f64) -> f64 {
        match loss {
            Some(Self::LogLoss) => value / libm::log(100.0),
            Some(Self::Cost { costs, .. }) => scaled(&costs, value),
            other => Self::in_its_terms(other, value),
        }
    }

    /// What one of the measure's own units is of the loss.
    #[must_use]
    pub fn own_unit(loss: Option<Self>) -> f64 {
        match loss {
            Some(Self::LogLoss) => 1.0 / libm::log(100.0),
            Some(Self::Cost { costs, .. }) => {
                let [least, most] = costs.ends();
                1.0 / (most - least)
            }
            _ => 1.0,
        }
    }
}

/// A cost between the least and the greatest, between 0 and 1.
fn scaled(costs: &Costs, cost: f64) -> f64 {
    let [least, most] = costs.ends();
    (cost - least) / (most - least)
}

fn log_loss(p: f64) -> f64 {
    let most = libm::log(100.0);
    (-libm::log(p)).clamp(0.0, most) / most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Unit;
    use crate::detect::day::{Day, Mean};
    use crate::stats::channel::Scale;

    #[test]
    fn costs_are_scaled_and_come_back_in_their_own_unit() {
        let costs = Costs { true_positive: 1.0, false_positive: 3.0, true_negative: 0.0, false_negative: 21.0 };
        let loss = Loss::Cost { at: 0.5, costs };
        let cells = [(0.9, Class::Positive), (0.1, Class::Positive), (0.8, Class::Negative), (0.2, Class::Negative)];
        let cells = cells.map(|(p, class)| (channel::key(p), class, 1)).to_vec();
        let spectrum = Spectrum::from_cells(Scale::Probability, cells);
        let (n, sum, square) = Mean::of(loss).sums(&Day::from(&spectrum), Unit::Case);
        // One of each cell: (1 + 21 + 3 + 0) / 4.
        let own = Loss::in_its_terms(Some(loss), sum / n as f64);
        assert!((own - 6.25).abs() < 1e-12, "{own}");
        assert!((Loss::from_its_terms(Some(loss), own) - sum / n as f64).abs() < 1e-12);
        assert!((square - (1.0 + 441.0 + 9.0) / 441.0).abs() < 1e-12);
        assert!(!loss.is_binary());
    }
}
