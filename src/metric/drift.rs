//! Drift of scores and of the case mix against a frozen reference.
//!
//! A large value is one that chance would rarely give at this n: every distance comes with the value that it exceeds once
//! in twenty without any change, and with its p-value. Fixed limits such as 0.1 or 0.2 mean nothing at small n.

use super::{Labelled, Mix, bracket, interval, real};
use crate::domain::{Estimate, Exactness, MetricKey, Outcome, Undefined};
use crate::stats::divergence::{
    Aligned, Distance, chi_square, cramer_v, hellinger, jensen_shannon, kolmogorov_smirnov, l_infinity, psi,
};
use crate::stats::interval::wald;
use crate::stats::special::Z_95;
use crate::stats::spectrum::Spectrum;
use crate::summary::Summary;

/// Bins of the reference's scores.
pub const SCORE_BINS: usize = 16;

/// PSI, Jensen-Shannon and Kolmogorov-Smirnov distance of all scores of the window, labelled or not.
#[must_use]
pub fn of_scores(reference: Result<&Summary, &Undefined>, summary: &Summary) -> Vec<(MetricKey, Outcome)> {
    of_spectra(reference.map(Summary::spectrum), summary.spectrum())
}

/// The same of any spectrum.
pub(super) fn of_spectra(reference: Result<&Spectrum, &Undefined>, summary: &Spectrum) -> Vec<(MetricKey, Outcome)> {
    let names = ["score_psi", "score_js", "score_hellinger", "score_ks", "score_wasserstein", "score_energy"];
    let names = names.map(MetricKey::plain);
    let total = summary.totals().iter().sum::<u64>();
    let reference = if total == 0 { Err(Undefined::NoPredictions) } else { reference.map_err(Clone::clone) };
    let reference = match reference {
        Ok(reference) => reference,
        Err(reason) => return names.into_iter().map(|name| (name, Err(reason.clone()))).collect(),
    };
    let edges = quantile_edges(reference, SCORE_BINS);
    let (before, after) = (binned(reference, &edges), binned(summary, &edges));
    // A coarse channel may lie on an edge of a bin.
    let exact = reference.is_exact() && summary.is_exact();
    let exactness = if exact { Exactness::Exact } else { Exactness::Approximate };
    let binned_outcome = |distance| finish(distance, total).map(|estimate| Estimate { exactness, ..estimate });
    let aligned = Aligned::new(reference, summary);
    let ks = aligned.kolmogorov_smirnov();
    let moved = |distance: Option<f64>| {
        distance.ok_or(Undefined::OneCell).map(|value| Estimate { exactness, ..Estimate::exact(value, total) })
    };
    let outcomes = [
        binned_outcome(psi(&before, &after)),
        binned_outcome(jensen_shannon(&before, &after)),
        binned_outcome(hellinger(&before, &after)),
        ks.ok_or(Undefined::OneCell).map(|(distance, slack)| Estimate {
            exactness: bracket(distance.value, (distance.value + slack).min(1.0)),
            ..estimate(distance, total)
        }),
        moved(aligned.wasserstein()),
        moved(aligned.energy()),
    ];
    names.into_iter().zip(outcomes).collect()
}

/// The same for the mix of a slice dimension. KS needs an order, so a categorical dimension has none.
#[must_use]
pub fn of_mix(mix: &Mix) -> Vec<(MetricKey, Outcome)> {
    let before: Vec<u64> = mix.cells.iter().map(|(_, before, _)| *before).collect();
    let after: Vec<u64> = mix.cells.iter().map(|(_, _, after)| *after).collect();
    let n = after.iter().sum();
    let comparable = match &mix.unlike {
        _ if n == 0 => Err(Undefined::NoPredictions),
        Some(reason) => Err(reason.clone()),
        None => Ok(()),
    };
    let checked = |distance: &dyn Fn(&[u64], &[u64]) -> Option<Distance>| {
        comparable.clone().and_then(|()| finish(distance(&before, &after), n))
    };
    let plain = |distance: &dyn Fn(&[u64], &[u64]) -> Option<f64>| {
        let value = comparable.clone().and_then(|()| distance(&before, &after).ok_or(Undefined::OneCell));
        value.map(|value| Estimate::exact(value, n))
    };
    let ks = if mix.dimension.is_ordered() { checked(&kolmogorov_smirnov) } else { Err(Undefined::Unordered) };
    let key = |name| MetricKey::of(name, &mix.dimension.name);
    vec![
        (key("dimension_psi"), checked(&psi)),
        (key("dimension_js"), checked(&jensen_shannon)),
        (key("dimension_ks"), ks),
        (key("dimension_hellinger"), checked(&hellinger)),
        (key("dimension_chi2"), checked(&chi_square)),
        (key("dimension_cramer_v"), plain(&cramer_v)),
        (key("dimension_l_infinity"), plain(&l_infinity)),
    ]
}

/// Prevalences that scores and alert rates imply if only the prevalence has changed since the reference (label shift).
/// Where the two disagree, something else has changed too.
#[must_use]
pub fn label_shift(
    reference: Result<&Summary, &Undefined>,
    summary: &Summary,
    thresholds: &[f64],
) -> Vec<(MetricKey, Outcome)> {
    let known = reference.map_err(Clone::clone).and_then(|reference| {
        let labelled = Labelled::of(reference).both()?;
        Ok((reference, labelled))
    });
    let black_box = thresholds.iter().map(|threshold| {
        let outcome =
            known.clone().and_then(|(reference, labelled)| shift_by_alerts(reference, labelled, summary, *threshold));
        (MetricKey::at("prevalence_bbse", *threshold), outcome)
    });
    let scores = known.clone().and_then(|(_, labelled)| shift_by_scores(labelled, summary));
    black_box.chain([(MetricKey::plain("prevalence_em"), scores)]).collect()
}

/// Black-box shift estimation at one threshold (Lipton, Wang and Smola 2018): the prevalence that turns the reference's two
/// rates into the window's alert rate. Delta method over the three rates.
fn shift_by_alerts(reference: &Summary, of_reference: Labelled, summary: &Summary, threshold: f64) -> Outcome {
    let total: u64 = summary.totals().iter().sum();
    if total == 0 {
        return Err(Undefined::NoPredictions);
    }
    let (_, [_, fp, tp]) = reference.at_least(threshold);
    let (m, n) = (real(of_reference.positives), real(of_reference.negatives));
    let (tpr, fpr) = (real(tp) / m, real(fp) / n);
    let flagged: u64 = summary.at_least(threshold).1.iter().sum();
    let rate = real(flagged) / real(total);
    let gap = tpr - fpr;
    if gap < 0.05 {
        return Err(Undefined::NoWeight);
    }
    let value = ((rate - fpr) / gap).clamp(0.0, 1.0);
    let variance = rate * (1.0 - rate) / real(total)
        + value * value * tpr * (1.0 - tpr) / m
        + (1.0 - value) * (1.0 - value) * fpr * (1.0 - fpr) / n;
    let standard_error = libm::sqrt(variance) / gap;
    Ok(share_estimate(value, standard_error, total, "delta", summary))
}

/// Maximum likelihood of the prevalence given scores that were calibrated on the reference (Saerens, Latinne and Decaestecker
/// 2002): the same value as their EM iteration, found by bisection of the concave likelihood's slope.
fn shift_by_scores(of_reference: Labelled, summary: &Summary) -> Outcome {
    let total: u64 = summary.totals().iter().sum();
    if total == 0 {
        return Err(Undefined::NoPredictions);
    }
    let prevalence = real(of_reference.positives) / real(of_reference.n());
    let spectrum = summary.spectrum();
    let ratios: Vec<(f64, f64, f64)> = spectrum
        .channels()
        .iter()
        .map(|channel| {
            let (low, high) = spectrum.range(channel);
            let p = 0.5 * (low + high);
            (real(channel.total()), p / prevalence, (1.0 - p) / (1.0 - prevalence))
        })
        .collect();
    let terms = |at: f64| ratios.iter().map(move |(n, one, zero)| (n, (one - zero) / (at * one + (1.0 - at) * zero)));
    let slope = |at: f64| terms(at).map(|(n, term)| n * term).sum::<f64>();
    let (mut low, mut high) = (1e-9, 1.0 - 1e-9);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if slope(middle) > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    let value = 0.5 * (low + high);
    let information: f64 = terms(value).map(|(n, term)| n * term * term).sum();
    Ok(share_estimate(value, 1.0 / libm::sqrt(information), total, "information", summary))
}

fn share_estimate(value: f64, standard_error: f64, n: u64, method: &str, summary: &Summary) -> Estimate {
    let bounds = wald(value, standard_error, Z_95);
    let bounds = crate::stats::interval::Bounds { lower: bounds.lower.max(0.0), upper: bounds.upper.min(1.0) };
    Estimate {
        interval: if standard_error.is_finite() { interval(bounds, method) } else { None },
        standard_error: standard_error.is_finite().then_some(standard_error),
        exactness: if summary.spectrum().is_exact() { Exactness::Exact } else { Exactness::Approximate },
        ..Estimate::exact(value, n)
    }
}

fn finish(distance: Option<Distance>, n: u64) -> Outcome {
    distance.map(|distance| estimate(distance, n)).ok_or(Undefined::OneCell)
}

pub(super) fn estimate(distance: Distance, n: u64) -> Estimate {
    Estimate { null_95: Some(distance.null_95), p_value: Some(distance.p_value), ..Estimate::exact(distance.value, n) }
}

/// Upper ends of the reference-quantile bins but the last: distinct scores such that each bin holds about the same share.
pub(crate) fn quantile_edges(reference: &Spectrum, bins: usize) -> Vec<f64> {
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
pub(crate) fn binned(spectrum: &Spectrum, edges: &[f64]) -> Vec<u64> {
    let mut counts = vec![0; edges.len() + 1];
    for channel in spectrum.channels() {
        let (_, high) = spectrum.range(channel);
        counts[edges.partition_point(|edge| *edge < high)] += channel.total();
    }
    counts
}
