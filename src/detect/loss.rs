//! Losses: what a case costs, between 0 and 1, and what their mean is in the terms of the measure.

use serde::{Deserialize, Serialize};

use crate::metric::Costs;
use crate::stats::spectrum::{Channel, Spectrum};

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
    /// A case that is not.
    Cleared(f64),
}

impl Loss {
    /// The losses of one bucket: `(loss, cases)`.
    pub(super) fn of(self, spectrum: &Spectrum) -> Vec<(f64, u64)> {
        let of_channel = |channel: &Channel| -> Vec<(f64, u64)> {
            // Inside a coarse channel the end counts that makes the loss smaller: then the bet is no larger than it should be.
            let (low, high) = spectrum.range(channel);
            let (positive, negative) = (channel.positive(), channel.negative());
            let at = |p: f64, threshold: f64| f64::from(u8::from(p >= threshold));
            match self {
                Self::Missed(threshold) => vec![(1.0 - at(high, threshold), positive)],
                Self::FalselyFlagged(threshold) => vec![(at(low, threshold), negative)],
                Self::FlaggedInVain(threshold) if low >= threshold => vec![(0.0, positive), (1.0, negative)],
                Self::FlaggedInVain(threshold) if high >= threshold => vec![(0.0, positive)],
                Self::FlaggedInVain(_) => vec![],
                Self::Error(threshold) => vec![(1.0 - at(high, threshold), positive), (at(low, threshold), negative)],
                Self::Cost { at: threshold, costs } => {
                    let scaled = |cost: f64| scaled(&costs, cost);
                    let of = |flagged: bool, yes: f64, no: f64| scaled(if flagged { yes } else { no });
                    vec![
                        (of(high >= threshold, costs.true_positive, costs.false_negative), positive),
                        (of(low >= threshold, costs.false_positive, costs.true_negative), negative),
                    ]
                }
                Self::Brier => vec![((1.0 - high) * (1.0 - high), positive), (low * low, negative)],
                Self::LogLoss => vec![(log_loss(high), positive), (log_loss(1.0 - low), negative)],
                Self::Flagged(threshold) => vec![(at(low, threshold), channel.total())],
                Self::Cleared(threshold) => vec![(1.0 - at(high, threshold), channel.total())],
            }
        };
        spectrum.channels().iter().flat_map(of_channel).filter(|(_, cases)| *cases > 0).collect()
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
            None | Some(Self::Missed(_) | Self::FalselyFlagged(_) | Self::FlaggedInVain(_) | Self::Cleared(_)) => {
                1.0 - mean
            }
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

    /// Cases and the sum of their losses and of the squares.
    #[must_use]
    pub fn sums(self, spectrum: &Spectrum) -> (u64, f64, f64) {
        let add = |(n, sum, square): (u64, f64, f64), (loss, cases): (f64, u64)| {
            let count = cases as f64;
            (n + cases, sum + count * loss, square + count * loss * loss)
        };
        self.of(spectrum).into_iter().fold((0, 0.0, 0.0), add)
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
    use crate::stats::channel::{self, Scale};
    use crate::stats::spectrum::Class;

    #[test]
    fn costs_are_scaled_and_come_back_in_their_own_unit() {
        let costs = Costs { true_positive: 1.0, false_positive: 3.0, true_negative: 0.0, false_negative: 21.0 };
        let loss = Loss::Cost { at: 0.5, costs };
        let cells = [(0.9, Class::Positive), (0.1, Class::Positive), (0.8, Class::Negative), (0.2, Class::Negative)];
        let cells = cells.map(|(p, class)| (channel::key(p), class, 1)).to_vec();
        let (n, sum, square) = loss.sums(&Spectrum::from_cells(Scale::Probability, cells));
        // One of each cell: (1 + 21 + 3 + 0) / 4.
        let own = Loss::in_its_terms(Some(loss), sum / n as f64);
        assert!((own - 6.25).abs() < 1e-12, "{own}");
        assert!((Loss::from_its_terms(Some(loss), own) - sum / n as f64).abs() < 1e-12);
        assert!((square - (1.0 + 441.0 + 9.0) / 441.0).abs() < 1e-12);
        assert!(!loss.is_binary());
    }
}
