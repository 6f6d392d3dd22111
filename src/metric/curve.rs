//! Curves: what a diagram draws, read from a summary.

use serde::{Deserialize, Serialize};

use super::{Labelled, real};
use crate::domain::Undefined;
use crate::stats::fixed;
use crate::stats::interval::wilson;
use crate::stats::isotonic;
use crate::stats::special::Z_95;
use crate::summary::Summary;

/// Which curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Curve {
    /// True-positive rate over false-positive rate.
    Roc,
    /// Precision over recall.
    PrecisionRecall,
    /// Share of positives over mean score, by ten equal-width bins.
    Reliability,
    /// Share of positives over score, by isotonic regression.
    Isotonic,
    /// Net benefit over threshold, beside those of flagging everybody.
    NetBenefit,
    /// Rows by score, in twenty equal-width bins.
    Histogram,
}

/// A point of a curve.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct CurvePoint {
    /// Where it is from left to right.
    pub x: f64,
    /// Where it is from bottom to top.
    pub y: f64,
    /// Lower end of the 95 % interval of y, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower: Option<f64>,
    /// Upper end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upper: Option<f64>,
    /// A second value at the same place: the threshold, or the net benefit of flagging everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<f64>,
    /// Rows behind it.
    pub n: u64,
}

/// Read a curve.
///
/// # Errors
/// Without the rows that it needs.
pub fn read(curve: Curve, summary: &Summary) -> Result<Vec<CurvePoint>, Undefined> {
    let labelled = Labelled::of(summary);
    match curve {
        Curve::Roc => {
            Ok(walk(summary, labelled.both()?, |tp, fp, of| (fp / real(of.negatives), tp / real(of.positives))))
        }
        Curve::PrecisionRecall => {
            let mut points =
                walk(summary, labelled.with_positives()?, |tp, fp, of| (tp / real(of.positives), tp / (tp + fp)));
            points.retain(|point| point.n > 0);
            Ok(points)
        }
        Curve::Reliability => Ok(reliability(summary, labelled.some()?)),
        Curve::Isotonic => Ok(isotonic_fit(summary, labelled.some()?)),
        Curve::NetBenefit => Ok(net_benefit(summary, labelled.some()?)),
        Curve::Histogram => Ok(histogram(summary)),
    }
}

/// From the highest score down, a point after each channel; `other` is the threshold that flags so many.
fn walk(summary: &Summary, labelled: Labelled, place: impl Fn(f64, f64, Labelled) -> (f64, f64)) -> Vec<CurvePoint> {
    let spectrum = summary.spectrum();
    let (mut tp, mut fp) = (0, 0);
    let point = |tp: u64, fp: u64, threshold: Option<f64>| {
        let (x, y) = place(real(tp), real(fp), labelled);
        CurvePoint { x, y, lower: None, upper: None, other: threshold, n: tp + fp }
    };
    let mut points = vec![point(0, 0, None)];
    for channel in spectrum.channels().iter().rev().filter(|c| c.positive() + c.negative() > 0) {
        tp += channel.positive();
        fp += channel.negative();
        points.push(point(tp, fp, Some(spectrum.range(channel).0)));
    }
    points
}

fn reliability(summary: &Summary, _: Labelled) -> Vec<CurvePoint> {
    let table = summary.reliability(super::calibration::ECE_BINS).unwrap_or_default();
    let filled = table.iter().filter(|bin| bin.negatives + bin.positives > 0);
    let point = |bin: &crate::summary::Bin| {
        let n = bin.negatives + bin.positives;
        let bounds = wilson(bin.positives, n, Z_95);
        CurvePoint {
            x: fixed::to_f64(bin.score_sum) / real(n),
            y: real(bin.positives) / real(n),
            lower: Some(bounds.lower),
            upper: Some(bounds.upper),
            other: None,
            n,
        }
    };
    filled.map(point).collect()
}

fn isotonic_fit(summary: &Summary, _: Labelled) -> Vec<CurvePoint> {
    let spectrum = summary.spectrum();
    let labelled: Vec<_> = spectrum.channels().iter().filter(|c| c.positive() + c.negative() > 0).collect();
    let weight = |n: u64, positives: u64| (real(n), real(positives) / real(n));
    let levels = isotonic::fit(labelled.iter().map(|c| weight(c.positive() + c.negative(), c.positive())));
    let mut rest = labelled.as_slice();
    let mut points = Vec::new();
    for level in levels {
        let (own, others) = rest.split_at(level.points);
        rest = others;
        let n = own.iter().map(|c| c.positive() + c.negative()).sum();
        // A level is drawn from its first score to its last.
        let ends = [own.first(), own.last()].into_iter().flatten().map(|channel| spectrum.range(channel));
        for (low, high) in ends {
            points.push(CurvePoint { x: 0.5 * (low + high), y: level.mean, lower: None, upper: None, other: None, n });
        }
    }
    points.dedup();
    points
}

fn net_benefit(summary: &Summary, labelled: Labelled) -> Vec<CurvePoint> {
    let prevalence = real(labelled.positives) / real(labelled.n());
    let at = |percent: u32| {
        let threshold = f64::from(percent) / 100.0;
        let weight = threshold / (1.0 - threshold);
        let [_, fp, tp] = summary.at_least(threshold).1;
        let all = prevalence - (1.0 - prevalence) * weight;
        let y = (real(tp) - real(fp) * weight) / real(labelled.n());
        CurvePoint { x: threshold, y, lower: None, upper: None, other: Some(all), n: labelled.n() }
    };
    (1..100).map(at).collect()
}

fn histogram(summary: &Summary) -> Vec<CurvePoint> {
    const BINS: usize = 20;
    let spectrum = summary.spectrum();
    let mut counts = vec![0; BINS];
    for channel in spectrum.channels() {
        let (low, high) = spectrum.range(channel);
        counts[crate::summary::bin_of(0.5 * (low + high), BINS)] += channel.total();
    }
    let total: u64 = counts.iter().sum();
    let middle = |bin: usize| (real(bin as u64) + 0.5) / real(BINS as u64);
    let point = |(bin, n): (usize, u64)| {
        let y = if total == 0 { 0.0 } else { real(n) / real(total) };
        CurvePoint { x: middle(bin), y, lower: None, upper: None, other: None, n }
    };
    counts.into_iter().enumerate().map(point).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::stats::channel;
    use crate::stats::spectrum::Class;

    fn summary() -> Summary {
        let rows = [(0.1, false), (0.4, false), (0.35, true), (0.8, true), (0.4, true)];
        let class = |y: bool| if y { Class::Positive } else { Class::Negative };
        Summary::new(rows.map(|(p, y)| (channel::key(p), class(y), 1)).to_vec(), BTreeMap::new(), &[])
    }

    #[test]
    fn the_roc_curve_goes_from_corner_to_corner_and_encloses_the_auroc() {
        let points = read(Curve::Roc, &summary()).expect("both classes");
        let (first, last) = (points.first().expect("a point"), points.last().expect("a point"));
        assert_eq!((first.x, first.y, last.x, last.y), (0.0, 0.0, 1.0, 1.0));
        let area: f64 = points.windows(2).map(|pair| (pair[1].x - pair[0].x) * 0.5 * (pair[0].y + pair[1].y)).sum();
        let auroc = super::super::discrimination::auroc(&summary()).expect("both classes").value;
        assert!((area - auroc).abs() < 1e-12);
    }

    #[test]
    fn the_isotonic_fit_ascends_and_reliability_has_intervals() {
        let fit = read(Curve::Isotonic, &summary()).expect("truth");
        assert!(fit.windows(2).all(|pair| pair[0].x <= pair[1].x && pair[0].y <= pair[1].y), "{fit:?}");
        let bins = read(Curve::Reliability, &summary()).expect("truth");
        assert!(bins.iter().all(|bin| bin.lower <= Some(bin.y) && Some(bin.y) <= bin.upper));
        assert_eq!(bins.iter().map(|bin| bin.n).sum::<u64>(), 5);
        assert_eq!(read(Curve::Roc, &Summary::default()), Err(Undefined::NoPredictions));
    }
}
