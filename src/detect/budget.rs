//! The budget: how many false alarms a year may have, shared out over the streams.
//!
//! A stream of weight `w` alarms at `M >= c = 365 / (budget w)`. The weights of all streams sum to one, so the expected
//! number of false alarms of the whole deployment is at most the budget, whatever the streams have to do with one another.

use serde::Serialize;

use crate::config::{Budget, Method, Tier, Watch};

/// Sealed days of a year.
const DAYS: f64 = 365.0;

/// The threshold `c` of a stream that has `weight` of a budget of so many false alarms a year.
#[must_use]
pub fn threshold(allowed: f64, weight: f64) -> f64 {
    DAYS / (allowed * weight)
}

/// The evidence from which one of so many streams is listed as watched although no other is.
#[must_use]
pub fn alone(budget: &Budget, streams: usize) -> f64 {
    streams as f64 * DAYS / budget.watched_in_error
}

/// Which streams are listed as watched: those with the most evidence, as many as there can be of which each has at least one `k`th of
/// what one has to have that is listed alone, `k` being how many they are (the e-detector form of Benjamini and Hochberg's rule, after
/// Dandapanthula and Ramdas 2025).
///
/// Of those listed at a time the expected share that is there in error is at most the level of a day times the days until then, whatever
/// the streams have to do with one another, and however the time is chosen.
#[must_use]
pub fn watched(budget: &Budget, evidence: &[f64]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..evidence.len()).collect();
    order.sort_by(|a, b| evidence[*b].total_cmp(&evidence[*a]));
    let bar = alone(budget, evidence.len());
    let most = (1..=order.len()).rev().find(|k| evidence[order[k - 1]] * *k as f64 >= bar * (1.0 - ROUNDING));
    let mut watched = vec![false; evidence.len()];
    order.into_iter().take(most.unwrap_or(0)).for_each(|at| watched[at] = true);
    watched
}

/// Evidence is kept as a logarithm; what is stored as the bar itself may come out a little below it.
const ROUNDING: f64 = 1e-9;

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

/// A stream's part in one tier.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    /// The tier.
    pub tier: Tier,
    /// Its share of the tier's budget; 0 of a chart.
    pub weight: f64,
    /// The evidence at which it alarms, or is listed as watched although no other is; a chart has a limit of its own.
    pub threshold: f64,
}

/// A stream among those that share the budget.
#[derive(Clone, Copy, Debug)]
pub struct Sharing<'a, W> {
    /// Tells watches apart; one of two versions is two.
    pub id: W,
    /// Its watch.
    pub watch: &'a Watch,
    /// Whether it is of the slice of everything.
    pub is_whole: bool,
}

/// Every stream's shares, the most urgent tier first. `watches` are all that share the budget, those whose streams are not listed
/// included. A chart has a run length of its own: it takes no share.
#[must_use]
pub fn shares<'w, W: Ord + Copy>(
    budget: &Budget,
    streams: &[Sharing<'_, W>],
    watches: impl Iterator<Item = &'w Watch> + Clone,
) -> Vec<Vec<Share>> {
    let mut shares: Vec<Vec<Share>> = vec![Vec::new(); streams.len()];
    for tier in Tier::ALL {
        let takes_part = |watch: &Watch| watch.method == Method::Evidence && watch.tiers().contains(&tier);
        let own: Vec<usize> = (0..streams.len()).filter(|at| takes_part(streams[*at].watch)).collect();
        let keys: Vec<(W, bool)> = own.iter().map(|at| (streams[*at].id, streams[*at].is_whole)).collect();
        let count = watches.clone().filter(|watch| takes_part(watch)).count();
        for (at, weight) in own.iter().zip(weights(&keys, count)) {
            let threshold = match tier {
                Tier::Page => threshold(budget.pages, weight),
                Tier::Ticket => threshold(budget.tickets, weight),
                Tier::Watch => alone(budget, own.len()),
            };
            shares[*at].push(Share { tier, weight, threshold });
        }
    }
    for (stream, shares) in
        streams.iter().zip(&mut shares).filter(|(stream, _)| stream.watch.method != Method::Evidence)
    {
        shares.push(Share { tier: stream.watch.tier, weight: 0.0, threshold: 0.0 });
    }
    shares
}

/// The confidence of a stream's null values, of which all together hold with the budget's: the same for every tier. Every watch may be
/// listed, so there the weights of all sum to one.
#[must_use]
pub fn confidence(budget: &Budget, shares: &[Share]) -> f64 {
    let weight = shares.iter().find(|share| share.tier == Tier::Watch).map_or(0.0, |share| share.weight);
    1.0 - (1.0 - budget.confidence) * weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Measure;

    #[test]
    fn shares_sum_to_one_and_thresholds_to_the_budget() {
        let streams = [(0, true), (0, false), (0, false), (1, false), (2, true)];
        let weights = weights(&streams, 3);
        assert_eq!(weights, [1.0 / 6.0, 1.0 / 12.0, 1.0 / 12.0, 1.0 / 3.0, 1.0 / 3.0]);
        let budget = Budget { pages: 1.0, tickets: 12.0, confidence: 0.95, watched_in_error: 0.1 };
        let expected: f64 = weights.iter().map(|weight| 365.0 / threshold(budget.pages, *weight)).sum();
        assert!((expected - 1.0).abs() < 1e-12, "false pages a year: {expected}");
        assert_eq!(threshold(budget.tickets, 0.5), 365.0 / 6.0);
    }

    #[test]
    fn watches_of_other_models_have_their_share_too() {
        assert_eq!(weights(&[(0, true), (1, true)], 8), [0.125, 0.125]);
    }

    #[test]
    fn charts_take_no_share_and_a_page_is_among_the_tickets() {
        let watch =
            |name: &str, tier, method| Watch { name: name.into(), tier, method, ..Watch::plain(Measure::Auroc) };
        let page = watch("page", Tier::Page, Method::Evidence);
        let ticket = watch("ticket", Tier::Ticket, Method::Evidence);
        let chart = watch("chart", Tier::Page, Method::Cusum);
        let listed = watch("listed", Tier::Watch, Method::Evidence);
        let streams = [(&page, 0), (&ticket, 1), (&chart, 2), (&listed, 3)].map(|(watch, id)| Sharing {
            id,
            watch,
            is_whole: true,
        });
        let budget = Budget { pages: 1.0, tickets: 12.0, confidence: 0.9, watched_in_error: 0.1 };
        let shares = shares(&budget, &streams, [&page, &ticket, &chart, &listed].into_iter());
        let of = |at: usize| shares[at].iter().map(|share| (share.tier, share.weight)).collect::<Vec<_>>();
        let third = 1.0 / 3.0;
        assert_eq!(of(0), [(Tier::Page, 1.0), (Tier::Ticket, 0.5), (Tier::Watch, third)]);
        assert_eq!(of(1), [(Tier::Ticket, 0.5), (Tier::Watch, third)]);
        assert_eq!(of(2), [(Tier::Page, 0.0)]);
        assert_eq!(of(3), [(Tier::Watch, third)]);
        assert!((shares[3][0].threshold - 3.0 * 365.0 / 0.1).abs() < 1e-9);
        // The null values of all hold together with .9.
        let fails: f64 =
            [&shares[0], &shares[1], &shares[3]].into_iter().map(|shares| 1.0 - confidence(&budget, shares)).sum();
        assert!((fails - 0.1).abs() < 1e-12);
    }

    #[test]
    fn several_streams_are_listed_with_less_evidence_each() {
        let budget = Budget { pages: 1.0, tickets: 12.0, confidence: 0.9, watched_in_error: 0.365 };
        // Alone among four: 4,000. Two of 2,000 are listed together, as are four of 1,000.
        let of = |evidence: [f64; 4]| watched(&budget, &evidence);
        assert_eq!(of([3_999.0, 1.0, 0.0, 2.0]), [false; 4]);
        assert_eq!(of([1.0, 4_000.0, 0.0, 2.0]), [false, true, false, false]);
        assert_eq!(of([2_000.0, 1.0, 2_500.0, 2.0]), [true, false, true, false]);
        assert_eq!(of([1_000.0; 4]), [true; 4]);
        assert_eq!(of([9_000.0, 1_333.0, 1_334.0, 1.0]), [true, false, false, false]);
        assert_eq!(watched(&budget, &[]), Vec::<bool>::new());
    }
}
