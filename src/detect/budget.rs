//! The budget: how many false alarms a year may have, shared out over the streams.
//!
//! A stream of weight `w` alarms at `M >= c = 365 / (budget w)`. The weights of all streams sum to one, so the expected
//! number of false alarms of the whole deployment is at most the budget, whatever the streams have to do with one another.

use crate::config::{Budget, Severity};

/// Sealed days of a year.
const DAYS: f64 = 365.0;

/// The threshold `c` of a stream that has `weight` of a tier's budget.
#[must_use]
pub fn threshold(budget: &Budget, tier: Severity, weight: f64) -> f64 {
    let allowed = match tier {
        Severity::Page => budget.pages,
        Severity::Ticket => budget.tickets,
    };
    DAYS / (allowed * weight)
}

/// The weights of streams by rule: every watch of the whole deployment has the same share, half of it for the slice of
/// everything and half for the other slices together, if it has both.
///
/// `streams` are `(watch, is of everything)`; a watch of two versions of a model is two watches. `watches` is how many share the
/// budget altogether, those whose streams are not listed here included; the weights of all sum to one.
#[must_use]
pub fn weights<W: Ord>(streams: &[(W, bool)], watches: usize) -> Vec<f64> {
    let count = |watch: &W, whole: bool| streams.iter().filter(|(w, all)| w == watch && *all == whole).count() as f64;
    let weight = |(watch, whole): &(W, bool)| {
        let both = count(watch, true) > 0.0 && count(watch, false) > 0.0;
        (if both { 0.5 } else { 1.0 }) / count(watch, *whole) / watches as f64
    };
    streams.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_one_and_thresholds_to_the_budget() {
        let streams = [(0, true), (0, false), (0, false), (1, false), (2, true)];
        let weights = weights(&streams, 3);
        assert_eq!(weights, [1.0 / 6.0, 1.0 / 12.0, 1.0 / 12.0, 1.0 / 3.0, 1.0 / 3.0]);
        let budget = Budget { pages: 1.0, tickets: 12.0, confidence: 0.95 };
        let expected: f64 = weights.iter().map(|weight| 365.0 / threshold(&budget, Severity::Page, *weight)).sum();
        assert!((expected - 1.0).abs() < 1e-12, "false pages a year: {expected}");
        assert_eq!(threshold(&budget, Severity::Ticket, 0.5), 365.0 / 6.0);
    }

    #[test]
    fn watches_of_other_models_have_their_share_too() {
        assert_eq!(weights(&[(0, true), (1, true)], 8), [0.125, 0.125]);
    }
}
