//! Drift of one feature of the input against the reference.
//!
//! Bins are the reference's quantiles, frozen with it; what is missing, no number, infinite, out of the reference's range or a
//! category that the reference never had is a cell of its own.

use std::collections::BTreeSet;

use super::drift::{binned, quantile_edges};
use super::{bracket, interval, real};
use crate::domain::{Estimate, Exactness, MetricKey, Outcome, Undefined};
use crate::stats::channel::Scale;
use crate::stats::divergence::{Aligned, Distance, chi_square, cramer_v, hellinger, jensen_shannon, l_infinity, psi};
use crate::stats::interval::wilson;
use crate::stats::special::Z_95;
use crate::stats::spectrum::Spectrum;
use crate::summary::feature::FeatureSummary;

/// Quantile bins of a numeric feature.
pub const FEATURE_BINS: usize = 16;

/// Every metric of one feature.
#[must_use]
pub fn evaluate(reference: Result<&FeatureSummary, &Undefined>, current: &FeatureSummary) -> Vec<(MetricKey, Outcome)> {
    let rows = current.rows();
    let checked = if rows == 0 { Err(Undefined::NoPredictions) } else { reference.map_err(Clone::clone) };
    let cells = checked.clone().map(|reference| cells(reference, current));
    let exactness = match &checked {
        Ok(reference) if !(reference.numbers.is_exact() && current.numbers.is_exact()) => Exactness::Approximate,
        _ => Exactness::Exact,
    };
    let distance = |of: &dyn Fn(&[u64], &[u64]) -> Option<Distance>| {
        let (before, after) = cells.as_ref().map_err(Clone::clone)?;
        of(before, after).map(|distance| with_null(distance, rows, exactness)).ok_or(Undefined::OneCell)
    };
    let plain = |of: &dyn Fn(&[u64], &[u64]) -> Option<f64>| {
        let (before, after) = cells.as_ref().map_err(Clone::clone)?;
        let value = of(before, after).ok_or(Undefined::OneCell)?;
        Ok(Estimate { exactness, ..Estimate::exact(value, rows) })
    };
    let numbers = checked.clone().and_then(|reference| {
        let finite = |spectrum: &Spectrum| spectrum.totals().iter().sum::<u64>();
        if finite(&reference.numbers) == 0 || finite(&current.numbers) == 0 {
            return Err(Undefined::Unordered);
        }
        Ok((reference, Aligned::new(&reference.numbers, &current.numbers)))
    });
    let ks = numbers.clone().and_then(|(_, aligned)| {
        let (distance, slack) = aligned.kolmogorov_smirnov().ok_or(Undefined::OneCell)?;
        let exactness = bracket(distance.value, (distance.value + slack).min(1.0));
        Ok(with_null(distance, rows, exactness))
    });
    let wasserstein = numbers.and_then(|(_, aligned)| {
        let moved = aligned.wasserstein().ok_or(Undefined::OneCell)?;
        let spread = deviation(&aligned.values, &aligned.reference);
        if spread > 0.0 {
            Ok(Estimate { exactness, ..Estimate::exact(moved / spread, rows) })
        } else {
            Err(Undefined::NoWeight)
        }
    });
    let share = |part: u64| Estimate {
        interval: interval(wilson(part, rows, Z_95), "wilson"),
        ..Estimate::exact(real(part) / real(rows), rows)
    };
    let missing = if rows == 0 { Err(Undefined::NoPredictions) } else { Ok(share(current.special.missing)) };
    let unseen = checked.map(|reference| Estimate { exactness, ..share(unseen(reference, current)) });
    let answers = [
        ("feature_psi", distance(&psi)),
        ("feature_js", distance(&jensen_shannon)),
        ("feature_hellinger", distance(&hellinger)),
        ("feature_ks", ks),
        ("feature_wasserstein", wasserstein),
        ("feature_chi2", distance(&chi_square)),
        ("feature_cramer_v", plain(&cramer_v)),
        ("feature_l_infinity", plain(&l_infinity)),
        ("feature_missing", missing),
        ("feature_unseen", unseen),
    ];
    answers.into_iter().map(|(name, outcome)| (MetricKey::plain(name), outcome)).collect()
}

fn with_null(distance: Distance, n: u64, exactness: Exactness) -> Estimate {
    Estimate {
        null_95: Some(distance.null_95),
        p_value: Some(distance.p_value),
        exactness,
        ..Estimate::exact(distance.value, n)
    }
}

/// Rows by cell, of the reference and of the window; cells that neither has are left out.
fn cells(reference: &FeatureSummary, current: &FeatureSummary) -> (Vec<u64>, Vec<u64>) {
    let mut pairs: Vec<(u64, u64)> = Vec::new();
    let edges = quantile_edges(&reference.numbers, FEATURE_BINS);
    let (within, below, above) = within(&reference.numbers, &current.numbers);
    pairs.extend(binned(&reference.numbers, &edges).into_iter().zip(binned(&within, &edges)));
    pairs.extend([(0, below), (0, above)]);
    let names: BTreeSet<&String> = reference.categories.keys().chain(current.categories.keys()).collect();
    let count = |summary: &FeatureSummary, name: &String| summary.categories.get(name).copied().unwrap_or(0);
    // Categories that the reference never had are one cell: each alone would be rare.
    let (known, new): (Vec<&String>, Vec<&String>) = names.into_iter().partition(|n| count(reference, n) > 0);
    pairs.extend(known.iter().map(|name| (count(reference, name), count(current, name))));
    pairs.push((0, new.iter().map(|name| count(current, name)).sum()));
    pairs.extend(reference.special.counts().into_iter().zip(current.special.counts()));
    pairs.into_iter().filter(|(before, after)| before + after > 0).unzip()
}

/// The window's numbers within the reference's range, and how many lie below and above it.
fn within(reference: &Spectrum, current: &Spectrum) -> (Spectrum, u64, u64) {
    let ends = reference.channels().first().zip(reference.channels().last());
    let Some((least, most)) = ends.map(|(first, last)| (reference.range(first).0, reference.range(last).1)) else {
        // The reference never had a number: whatever is one now lies outside of what it had.
        let all = current.totals().iter().sum();
        return (Spectrum::empty(Scale::Real), 0, all);
    };
    let rows = |spectrum: &Spectrum| spectrum.totals().iter().sum::<u64>();
    let below = rows(&current.filtered(|(_, high)| high < least));
    let above = rows(&current.filtered(|(low, _)| low > most));
    (current.filtered(|(low, high)| high >= least && low <= most), below, above)
}

/// Rows whose value the reference never had: new categories, and numbers out of its range.
fn unseen(reference: &FeatureSummary, current: &FeatureSummary) -> u64 {
    let (_, below, above) = within(&reference.numbers, &current.numbers);
    let new = current.categories.iter().filter(|(name, _)| !reference.categories.contains_key(*name));
    below + above + new.map(|(_, count)| count).sum::<u64>()
}

/// Standard deviation of values with counts.
fn deviation(values: &[f64], counts: &[u64]) -> f64 {
    let n: f64 = counts.iter().map(|count| real(*count)).sum();
    let mean = values.iter().zip(counts).map(|(value, count)| value * real(*count)).sum::<f64>() / n;
    let squares = values.iter().zip(counts).map(|(value, count)| (value - mean) * (value - mean) * real(*count));
    libm::sqrt(squares.sum::<f64>() / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: impl Iterator<Item = f64>) -> FeatureSummary {
        let texts: Vec<String> = values.map(|value| value.to_string()).collect();
        FeatureSummary::numeric(texts.iter().map(|text| Some(text.as_str())))
    }

    fn categories(text: &str) -> FeatureSummary {
        FeatureSummary::categorical(text.split(',').map(Some))
    }

    fn value(answers: &[(MetricKey, Outcome)], name: &str) -> f64 {
        let (_, outcome) = answers.iter().find(|(key, _)| key.name == name).expect("answered");
        outcome.as_ref().unwrap_or_else(|why| panic!("{name}: {why}")).value
    }

    #[test]
    fn a_shift_shows_and_no_change_does_not() {
        let reference = numbers((0..2000).map(f64::from));
        for (name, outcome) in evaluate(Ok(&reference), &reference) {
            if let Ok(estimate) = outcome {
                assert!(estimate.value.abs() < 1e-9, "{name}: {}", estimate.value);
            }
        }
        let shifted = evaluate(Ok(&reference), &numbers((0..2000).map(|x| f64::from(x) + 400.0)));
        assert!((value(&shifted, "feature_ks") - 0.2).abs() < 1e-12);
        assert!((value(&shifted, "feature_unseen") - 0.2).abs() < 1e-12, "beyond the reference's range");
        // Moved by 400, and the reference's deviation is 577.35.
        assert!((value(&shifted, "feature_wasserstein") - 400.0 / 577.350_124_7).abs() < 1e-3);
    }

    #[test]
    fn new_categories_and_missing_values_are_cells_of_their_own() {
        let reference = categories("a,a,a,b,b,b");
        let answers = evaluate(Ok(&reference), &categories("a,a,b,c,d,"));
        assert!((value(&answers, "feature_unseen") - 2.0 / 6.0).abs() < 1e-12);
        assert!((value(&answers, "feature_missing") - 1.0 / 6.0).abs() < 1e-12);
        assert!((value(&answers, "feature_l_infinity") - 2.0 / 6.0).abs() < 1e-12);
        let ks = &answers.iter().find(|(key, _)| key.name == "feature_ks").expect("answered").1;
        assert_eq!(*ks, Err(Undefined::Unordered));
        let lost = evaluate(Err(&Undefined::NoReference), &reference);
        assert_eq!(lost[0].1, Err(Undefined::NoReference));
    }
}
