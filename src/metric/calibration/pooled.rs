//! Calibration against what isotonic regression makes of the scores, without bins.

use super::recalibration::exactness;
use crate::domain::{Estimate, Outcome};
use crate::metric::{Labelled, real};
use crate::stats::isotonic;
use crate::summary::Summary;

/// A score with its rows and the truth that the pooled fit gives it.
struct Fitted {
    n: f64,
    score: f64,
    fit: f64,
    positives: f64,
}

/// The Brier score's parts by pooled adjacent violators (Dimitriadis, Gneiting and Jordan 2021), and Harrell's distances
/// between score and fit: their mean (ICI), median, 90 % quantile and maximum.
pub(super) fn evaluate(summary: &Summary) -> Vec<(&'static str, Outcome)> {
    let labelled = Labelled::of(summary).some();
    let points = fit(summary);
    let total: f64 = points.iter().map(|point| point.n).sum();
    let mean = |of: &dyn Fn(&Fitted) -> f64| points.iter().map(of).sum::<f64>() / total;
    // A constant forecast q for n rows with k positives costs n q^2 - 2 k q + k.
    let brier = |of: &dyn Fn(&Fitted) -> f64| {
        mean(&|point| {
            let q = of(point);
            point.n * q * q - 2.0 * point.positives * q + point.positives
        })
    };
    let prevalence = mean(&|point| point.positives);
    let pooled = brier(&|point| point.fit);
    let mut gaps: Vec<(f64, f64)> = points.iter().map(|point| ((point.score - point.fit).abs(), point.n)).collect();
    gaps.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let quantile = |share: f64| {
        let mut seen = 0.0;
        let found = gaps.iter().find(|(_, n)| {
            seen += n;
            seen >= share * total
        });
        found.or(gaps.last()).map_or(0.0, |(gap, _)| *gap)
    };
    let part = |value: f64| {
        labelled.clone().map(|labelled| Estimate { exactness: exactness(summary), ..labelled.estimate(value) })
    };
    vec![
        ("corp_miscalibration", part(brier(&|point| point.score) - pooled)),
        ("corp_discrimination", part(brier(&|_| prevalence) - pooled)),
        ("ici", part(mean(&|point| point.n * (point.score - point.fit).abs()))),
        ("e50", part(quantile(0.5))),
        ("e90", part(quantile(0.9))),
        ("emax", part(gaps.last().map_or(0.0, |(gap, _)| *gap))),
    ]
}

fn fit(summary: &Summary) -> Vec<Fitted> {
    let spectrum = summary.spectrum();
    let labelled = spectrum.channels().iter().filter(|channel| channel.negative() + channel.positive() > 0);
    let mut points: Vec<Fitted> = labelled
        .map(|channel| {
            let (low, high) = spectrum.range(channel);
            let n = real(channel.negative() + channel.positive());
            Fitted { n, score: 0.5 * (low + high), fit: 0.0, positives: real(channel.positive()) }
        })
        .collect();
    let levels = isotonic::fit(points.iter().map(|point| (point.n, point.positives / point.n)));
    let fitted = levels.iter().flat_map(|level| std::iter::repeat_n(level.mean, level.points));
    points.iter_mut().zip(fitted).for_each(|(point, fit)| point.fit = fit);
    points
}
