//! Discrimination: areas under the ROC curve and average precision.

use super::{Labelled, bracket, interval, real};
use crate::domain::estimate::Interval;
use crate::domain::{Estimate, Exactness, MetricKey, Outcome};
use crate::stats::interval::{logit_normal, newcombe_auroc};
use crate::stats::special::Z_95;
use crate::stats::spectrum::{Channel, Spectrum};
use crate::summary::Summary;

/// False-positive rate up to which the partial area reaches.
pub const MAX_FPR: f64 = 0.2;

/// AUROC, partial AUROC, average precision as it is, over its baseline, and at `prevalence` where that is given.
#[must_use]
pub fn evaluate(summary: &Summary, prevalence: Option<f64>) -> Vec<(MetricKey, Outcome)> {
    let mut answers = vec![
        (MetricKey::plain("auroc"), auroc(summary)),
        (MetricKey::plain("partial_auroc"), partial_auroc(summary, MAX_FPR)),
        (MetricKey::plain("average_precision"), average_precision(summary)),
        (MetricKey::plain("average_precision_lift"), average_precision_lift(summary)),
    ];
    if let Some(prevalence) = prevalence {
        let adjusted = adjusted_average_precision(summary, prevalence);
        answers.push((MetricKey::plain("average_precision_adjusted"), adjusted));
    }
    answers
}

/// Area under the ROC curve: the share of (positive, negative) pairs in the right order, ties one half.
///
/// Standard error after `DeLong`, `DeLong` and Clarke-Pearson (1988), from placements by channel, which equals `DeLong` on the
/// channels' scores exactly; interval on the logit scale. With fewer than two positives or negatives, or perfect
/// separation, there is no variance and the interval is Newcombe's. The bracket counts every pair within one coarsened
/// channel as right and as wrong.
///
/// # Errors
/// Without positives or negatives.
pub fn auroc(summary: &Summary) -> Outcome {
    area(summary.spectrum())
}

/// The same of any spectrum.
pub(crate) fn area(spectrum: &Spectrum) -> Outcome {
    let labelled = Labelled::of_totals(spectrum.totals()).both()?;
    let channels = spectrum.channels();
    let (m, n) = (real(labelled.positives), real(labelled.negatives));
    let pairs = u128::from(labelled.positives) * u128::from(labelled.negatives);

    // Twice the number of concordant pairs, in integers: no rounding until the division.
    let (mut below, mut concordant, mut within) = (0_u64, 0_u128, 0_u128);
    for channel in channels {
        concordant += u128::from(channel.positive()) * (2 * u128::from(below) + u128::from(channel.negative()));
        within += u128::from(channel.positive()) * u128::from(channel.negative());
        below += channel.negative();
    }
    let value = ratio(concordant, 2 * pairs);
    let slack = if spectrum.is_exact() { 0.0 } else { 0.5 * ratio(within, pairs) };

    let standard_error = (labelled.positives > 1 && labelled.negatives > 1).then(|| delong(channels, value, labelled));
    let bounds = match standard_error {
        Some(se) if se > 0.0 && value > 0.0 && value < 1.0 => interval(logit_normal(value, se, Z_95), "delong-logit"),
        _ => interval(newcombe_auroc(value, m, n, Z_95), "newcombe"),
    };
    Ok(Estimate {
        interval: bounds,
        standard_error,
        exactness: bracket((value - slack).max(0.0), (value + slack).min(1.0)),
        ..labelled.estimate(value)
    })
}

fn delong(channels: &[Channel], auroc: f64, labelled: Labelled) -> f64 {
    let (m, n) = (real(labelled.positives), real(labelled.negatives));
    let (mut negatives_below, mut positives_below) = (0_u64, 0_u64);
    let (mut of_positives, mut of_negatives) = (0.0, 0.0);
    for channel in channels {
        let (positive, negative) = (real(channel.positive()), real(channel.negative()));
        let v10 = (real(negatives_below) + 0.5 * negative) / n;
        let v01 = (m - real(positives_below) - 0.5 * positive) / m;
        of_positives += positive * (v10 - auroc) * (v10 - auroc);
        of_negatives += negative * (v01 - auroc) * (v01 - auroc);
        negatives_below += channel.negative();
        positives_below += channel.positive();
    }
    libm::sqrt(of_positives / (m - 1.0) / m + of_negatives / (n - 1.0) / n)
}

/// Area under the ROC curve up to the false-positive rate `most`, standardised to 1/2 for chance and 1 for perfection
/// (`McClish` 1989), by trapezoids with linear interpolation at `most` as scikit-learn and pROC do.
///
/// The bracket orders each coarsened channel with its positives first and last. It has no closed-form interval.
///
/// # Errors
/// Without positives or negatives.
pub fn partial_auroc(summary: &Summary, most: f64) -> Outcome {
    let labelled = Labelled::of(summary).both()?;
    let area = |order: Order| {
        let area = area_up_to(summary.spectrum().channels(), labelled, most, order);
        let least = most * most / 2.0;
        0.5 * (1.0 + (area - least) / (most - least))
    };
    let value = area(Order::Tied);
    let exactness = if summary.spectrum().is_exact() {
        Exactness::Exact
    } else {
        bracket(area(Order::NegativesFirst).min(value), area(Order::PositivesFirst).max(value))
    };
    Ok(Estimate { exactness, ..labelled.estimate(value) })
}

/// How the rows of one channel are ordered, from the highest score down.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// As one threshold.
    Tied,
    /// As well as they may be.
    PositivesFirst,
    /// As badly as they may be.
    NegativesFirst,
}

fn area_up_to(channels: &[Channel], labelled: Labelled, most: f64, order: Order) -> f64 {
    let (m, n) = (real(labelled.positives), real(labelled.negatives));
    let (mut tpr, mut fpr, mut area) = (0.0, 0.0, 0.0);
    let mut go = |rise: f64, run: f64| {
        let wanted = (most - fpr).clamp(0.0, run);
        let reached = if run > 0.0 { tpr + rise * wanted / run } else { tpr };
        area += wanted * 0.5 * (tpr + reached);
        tpr += rise;
        fpr += run;
    };
    for channel in channels.iter().rev() {
        let (rise, run) = (real(channel.positive()) / m, real(channel.negative()) / n);
        match order {
            Order::Tied => go(rise, run),
            Order::PositivesFirst => {
                go(rise, 0.0);
                go(0.0, run);
            }
            Order::NegativesFirst => {
                go(0.0, run);
                go(rise, 0.0);
            }
        }
    }
    area
}

/// Average precision, `sum (R_k - R_(k-1)) P_k` over distinct scores in descending order, tied scores as one threshold
/// (scikit-learn's definition, without interpolation).
///
/// Interval on the logit scale with the number of positives (Boyd, Eng and Page 2013). The bracket puts the positives of
/// each coarsened channel first and last.
///
/// # Errors
/// Without positives.
pub fn average_precision(summary: &Summary) -> Outcome {
    precision(summary, 1.0)
}

/// Average precision over the prevalence, which is what a model without any skill would reach.
///
/// # Errors
/// Without positives.
pub fn average_precision_lift(summary: &Summary) -> Outcome {
    let labelled = Labelled::of(summary).with_positives()?;
    let prevalence = real(labelled.positives) / real(labelled.n());
    let estimate = average_precision(summary)?;
    Ok(Estimate {
        value: estimate.value / prevalence,
        interval: estimate.interval.map(|i| Interval { lower: i.lower / prevalence, upper: i.upper / prevalence, ..i }),
        exactness: match estimate.exactness {
            Exactness::Bracket { lower, upper } => bracket(lower / prevalence, upper / prevalence),
            other => other,
        },
        ..estimate
    })
}

/// Average precision as it would be at another prevalence: precision is recomputed from the two rates as
/// `pi TPR / (pi TPR + (1 - pi) FPR)`. Average precision itself moves with prevalence, and looks like decay.
///
/// # Errors
/// Without positives or negatives.
pub fn adjusted_average_precision(summary: &Summary, prevalence: f64) -> Outcome {
    let labelled = Labelled::of(summary).both()?;
    let (m, n) = (real(labelled.positives), real(labelled.negatives));
    // A false positive weighs as many true ones as the prevalences ask for.
    precision(summary, (1.0 - prevalence) / prevalence * m / n)
}

/// Average precision with every false positive counted `weight` times.
fn precision(summary: &Summary, weight: f64) -> Outcome {
    let labelled = Labelled::of(summary).with_positives()?;
    let m = real(labelled.positives);
    let (mut value, mut lower, mut upper) = (0.0, 0.0, 0.0);
    let (mut true_positives, mut false_positives) = (0_u64, 0_u64);
    for channel in summary.spectrum().channels().iter().rev().filter(|c| c.positive() + c.negative() > 0) {
        let (positive, negative) = (channel.positive(), channel.negative());
        if !summary.spectrum().is_exact() {
            for k in 1..=positive {
                let hits = real(true_positives + k);
                upper += hits / (hits + weight * real(false_positives));
                lower += hits / (hits + weight * real(false_positives + negative));
            }
        }
        true_positives += positive;
        false_positives += negative;
        if positive > 0 {
            let hits = real(true_positives);
            value += real(positive) * hits / (hits + weight * real(false_positives));
        }
    }
    value /= m;
    let bounds = (value > 0.0 && value < 1.0).then(|| {
        let standard_error = libm::sqrt(value * (1.0 - value) / m);
        logit_normal(value, standard_error, Z_95)
    });
    let exactness = if summary.spectrum().is_exact() {
        Exactness::Exact
    } else {
        bracket((lower / m).min(value), (upper / m).max(value))
    };
    Ok(Estimate {
        interval: bounds.and_then(|bounds| interval(bounds, "boyd-logit")),
        exactness,
        ..labelled.estimate(value)
    })
}

#[allow(clippy::cast_precision_loss, reason = "rounding to the nearest double is what is wanted")]
fn ratio(part: u128, whole: u128) -> f64 {
    part as f64 / whole as f64
}
