//! Drift of scores and of the case mix against a frozen reference.
//!
//! A large value is one that chance would rarely give at this n: every distance comes with the value that it exceeds once
//! in twenty without any change, and with its p-value. Fixed limits such as 0.1 or 0.2 mean nothing at small n.

use super::{Mix, bracket};
use crate::domain::{Estimate, Exactness, MetricKey, Outcome, Undefined};
use crate::stats::divergence::{Distance, jensen_shannon, kolmogorov_smirnov, kolmogorov_smirnov_spectra, psi};
use crate::stats::spectrum::Spectrum;
use crate::summary::Summary;

/// Bins of the reference's scores.
pub const SCORE_BINS: usize = 16;

/// PSI, Jensen-Shannon and Kolmogorov-Smirnov distance of all scores of the window, labelled or not.
#[must_use]
pub fn of_scores(reference: Result<&Summary, &Undefined>, summary: &Summary) -> Vec<(MetricKey, Outcome)> {
    let names = ["score_psi", "score_js", "score_ks"].map(MetricKey::plain);
    let total = summary.totals().iter().sum::<u64>();
    let reference = if total == 0 { Err(Undefined::NoPredictions) } else { reference.map_err(Clone::clone) };
    let reference = match reference {
        Ok(reference) => reference,
        Err(reason) => return names.into_iter().map(|name| (name, Err(reason.clone()))).collect(),
    };
    let edges = quantile_edges(reference.spectrum(), SCORE_BINS);
    let (before, after) = (binned(reference.spectrum(), &edges), binned(summary.spectrum(), &edges));
    // A coarse channel may lie on an edge of a bin.
    let exact = reference.spectrum().is_exact() && summary.spectrum().is_exact();
    let exactness = if exact { Exactness::Exact } else { Exactness::Approximate };
    let binned_outcome = |distance| finish(distance, total).map(|estimate| Estimate { exactness, ..estimate });
    let ks = kolmogorov_smirnov_spectra(reference.spectrum(), summary.spectrum());
    let outcomes = [
        binned_outcome(psi(&before, &after)),
        binned_outcome(jensen_shannon(&before, &after)),
        ks.ok_or(Undefined::OneCell).map(|(distance, slack)| Estimate {
            exactness: bracket(distance.value, (distance.value + slack).min(1.0)),
            ..estimate(distance, total)
        }),
    ];
    names.into_iter().zip(outcomes).collect()
}

/// The same three for the mix of a slice dimension. KS needs an order, so a categorical dimension has none.
#[must_use]
pub fn of_mix(mix: &Mix) -> Vec<(MetricKey, Outcome)> {
    let before: Vec<u64> = mix.cells.iter().map(|(_, before, _)| *before).collect();
    let after: Vec<u64> = mix.cells.iter().map(|(_, _, after)| *after).collect();
    let n = after.iter().sum();
    let checked = |distance: &dyn Fn(&[u64], &[u64]) -> Option<Distance>| match &mix.unlike {
        _ if n == 0 => Err(Undefined::NoPredictions),
        Some(reason) => Err(reason.clone()),
        None => finish(distance(&before, &after), n),
    };
    let ks = if mix.dimension.is_ordered() { checked(&kolmogorov_smirnov) } else { Err(Undefined::Unordered) };
    let key = |name| MetricKey::of(name, &mix.dimension.name);
    vec![
        (key("dimension_psi"), checked(&psi)),
        (key("dimension_js"), checked(&jensen_shannon)),
        (key("dimension_ks"), ks),
    ]
}

fn finish(distance: Option<Distance>, n: u64) -> Outcome {
    distance.map(|distance| estimate(distance, n)).ok_or(Undefined::OneCell)
}

fn estimate(distance: Distance, n: u64) -> Estimate {
    Estimate { null_95: Some(distance.null_95), p_value: Some(distance.p_value), ..Estimate::exact(distance.value, n) }
}

/// Upper ends of the reference-quantile bins but the last: distinct scores such that each bin holds about the same share.
fn quantile_edges(reference: &Spectrum, bins: usize) -> Vec<f64> {
    let total: u64 = reference.channels().iter().map(crate::stats::spectrum::Channel::total).sum();
    let mut edges = Vec::with_capacity(bins);
    let (mut seen, mut next) = (0_u64, 1_u64);
    let bins = bins as u64;
    for channel in reference.channels() {
        seen += channel.total();
        if next < bins && seen * bins >= next * total {
            edges.push(reference.range(channel).1);
            while next < bins && seen * bins >= next * total {
                next += 1;
            }
        }
    }
    // A bin above the last edge must hold something of the reference: the top score is no edge.
    if reference.channels().last().is_some_and(|top| edges.last() == Some(&reference.range(top).1)) {
        edges.pop();
    }
    edges
}

/// Counts by bin; a channel belongs to the bin of its upper end.
fn binned(spectrum: &Spectrum, edges: &[f64]) -> Vec<u64> {
    let mut counts = vec![0; edges.len() + 1];
    for channel in spectrum.channels() {
        let (_, high) = spectrum.range(channel);
        counts[edges.partition_point(|edge| *edge < high)] += channel.total();
    }
    counts
}
