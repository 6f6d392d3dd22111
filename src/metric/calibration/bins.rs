//! Calibration over bins of the score: how far the mean score of a bin is from the share of its positives.
//!
//! Errors over bins are biased upwards, the more the fewer rows a bin has; each comes with the value that perfect calibration
//! would exceed once in twenty at this n, so that a trend in volume is not taken for a trend in calibration.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::recalibration::{CLIP, exactness, intercept, log_odds};
use crate::domain::{Estimate, Outcome, Undefined};
use crate::metric::{Labelled, real};
use crate::stats::fixed;
use crate::stats::resample::{Binomial, quantile};
use crate::stats::special::sigmoid;
use crate::summary::{Bin, Summary, bin_of};

/// Bins of equal width of the expected calibration error.
pub const ECE_BINS: usize = 10;

/// Resamples of the null distribution.
const RESAMPLES: u32 = 200;

/// Cells of the grid that smooth calibration error is computed on.
const GRID: usize = 512;

/// Labelled rows of a bin: their number, mean score and share of positives.
#[derive(Clone, Copy, Debug)]
struct Mean {
    n: u64,
    score: f64,
    truth: f64,
}

impl Mean {
    fn of(bin: &Bin) -> Option<Self> {
        let n = bin.negatives + bin.positives;
        let share = |part: f64| part / real(n);
        (n > 0).then(|| Self { n, score: share(fixed::to_f64(bin.score_sum)), truth: share(real(bin.positives)) })
    }

    fn gap(&self) -> f64 {
        (self.truth - self.score).abs()
    }
}

fn table(summary: &Summary) -> Vec<Mean> {
    // unwrap safety: `ECE_BINS` is one of the tables that every coarse summary keeps (a test says so).
    summary.reliability(ECE_BINS).unwrap_or_default().iter().filter_map(Mean::of).collect()
}

fn error(bins: &[Mean]) -> f64 {
    let n: u64 = bins.iter().map(|bin| bin.n).sum();
    bins.iter().map(|bin| real(bin.n) * bin.gap()).sum::<f64>() / real(n)
}

/// Expected calibration error over the bins of any table with at least one row, with its null.
pub(in crate::metric) fn error_of(table: &[Bin]) -> Estimate {
    let bins: Vec<Mean> = table.iter().filter_map(Mean::of).collect();
    let n = bins.iter().map(|bin| bin.n).sum();
    with_null(Estimate::exact(error(&bins), n), &bins, &error)
}

/// Expected calibration error over [`ECE_BINS`] equal-width bins, closed on the right: `sum n_b/N |y_b - p_b|`.
///
/// # Errors
/// Without truth.
pub fn expected_calibration_error(summary: &Summary) -> Outcome {
    let labelled = Labelled::of(summary).some()?;
    let bins = table(summary);
    Ok(with_null(labelled.estimate(error(&bins)), &bins, &error))
}

/// The largest gap of a bin.
///
/// # Errors
/// Without truth.
pub fn max_calibration_error(summary: &Summary) -> Outcome {
    let labelled = Labelled::of(summary).some()?;
    let bins = table(summary);
    let largest = |bins: &[Mean]| bins.iter().map(Mean::gap).fold(0.0, f64::max);
    Ok(with_null(labelled.estimate(largest(&bins)), &bins, &largest))
}

/// Root mean square calibration error without its bias, `sqrt(max(0, sum n_b/N [(y_b - p_b)^2 - y_b (1 - y_b)/(n_b - 1)]))`
/// (Kumar, Liang and Ma 2019; Bröcker 2012). Bins of one row are left out.
///
/// # Errors
/// Without a bin of two rows.
pub fn rms_calibration_error(summary: &Summary) -> Outcome {
    let labelled = Labelled::of(summary).some()?;
    let bins = table(summary);
    let n: u64 = bins.iter().filter(|bin| bin.n > 1).map(|bin| bin.n).sum();
    if n == 0 {
        return Err(Undefined::BelowMinimum { n: labelled.n(), minimum: 2 });
    }
    let parts = bins.iter().filter(|bin| bin.n > 1).map(|bin| {
        let bias = bin.truth * (1.0 - bin.truth) / real(bin.n - 1);
        real(bin.n) * (bin.gap() * bin.gap() - bias)
    });
    Ok(labelled.estimate(libm::sqrt((parts.sum::<f64>() / real(n)).max(0.0))))
}

/// Murphy's parts of the Brier score over the bins (1973): reliability, resolution, uncertainty; what the scores vary within
/// bins (Stephenson, Coelho and Jolliffe 2008) makes up the rest. Reliability and resolution also without their bias
/// (Ferro and Fricker 2012).
pub(super) fn brier_parts(summary: &Summary) -> Vec<(&'static str, Outcome)> {
    let labelled = Labelled::of(summary).some();
    let bins = table(summary);
    let n: f64 = bins.iter().map(|bin| real(bin.n)).sum();
    let mean = |of: &dyn Fn(&Mean) -> f64| bins.iter().map(|bin| real(bin.n) * of(bin)).sum::<f64>() / n;
    let prevalence = mean(&|bin| bin.truth);
    let reliability = mean(&|bin| bin.gap() * bin.gap());
    let resolution = mean(&|bin| (bin.truth - prevalence) * (bin.truth - prevalence));
    let uncertainty = prevalence * (1.0 - prevalence);
    let bias = mean(&|bin| if bin.n > 1 { bin.truth * (1.0 - bin.truth) / real(bin.n - 1) } else { 0.0 });
    let within = super::brier(summary).map(|brier| brier.value - (reliability - resolution + uncertainty));
    let spread = if n > 1.0 { uncertainty / (n - 1.0) } else { 0.0 };
    let part = |value: f64| labelled.clone().map(|labelled| labelled.estimate(value));
    vec![
        ("brier_reliability", part(reliability)),
        ("brier_reliability_corrected", part(reliability - bias)),
        ("brier_resolution", part(resolution)),
        ("brier_resolution_corrected", part(resolution - bias + spread)),
        ("brier_uncertainty", part(uncertainty)),
        ("brier_within_bins", within.and_then(part)),
    ]
}

/// Expected calibration error over ten bins of about equally many rows; rows of one score stay together.
pub(super) fn equal_mass_error(summary: &Summary) -> Outcome {
    let labelled = Labelled::of(summary).some()?;
    let mut bins: Vec<Bin> = vec![Bin::default(); ECE_BINS];
    let (bin_count, total) = (ECE_BINS as u64, labelled.n());
    let mut below = 0;
    for point in points(summary, |p| p) {
        let n = point.negatives + point.positives;
        // A score belongs to the bin of the middle of its rows.
        let at = usize::try_from((2 * below + n) * bin_count / (2 * total)).unwrap_or_default().min(ECE_BINS - 1);
        bins[at] = Bin {
            negatives: bins[at].negatives + point.negatives,
            positives: bins[at].positives + point.positives,
            score_sum: bins[at].score_sum + point.score_sum,
        };
        below += n;
    }
    let bins: Vec<Mean> = bins.iter().filter_map(Mean::of).collect();
    let estimate = Estimate { exactness: exactness(summary), ..labelled.estimate(error(&bins)) };
    Ok(with_null(estimate, &bins, &error))
}

/// What is left of the error over equal-width bins when all log odds are shifted so that expected events equal observed ones:
/// the part that a change of prevalence does not explain.
pub(super) fn error_after_shift(summary: &Summary) -> Outcome {
    let labelled = Labelled::of(summary).both()?;
    let shift = intercept(summary)?.value;
    let mut bins = vec![Bin::default(); ECE_BINS];
    let shifted = |p: f64| sigmoid(log_odds(p.clamp(CLIP, 1.0 - CLIP)) + shift);
    for point in points(summary, shifted) {
        let n = point.negatives + point.positives;
        let bin = &mut bins[bin_of(fixed::to_f64(point.score_sum) / real(n), ECE_BINS)];
        bin.negatives += point.negatives;
        bin.positives += point.positives;
        bin.score_sum += point.score_sum;
    }
    let bins: Vec<Mean> = bins.iter().filter_map(Mean::of).collect();
    let estimate = Estimate { exactness: exactness(summary), ..labelled.estimate(error(&bins)) };
    Ok(with_null(estimate, &bins, &error))
}

/// The labelled channels as bins of one score each, changed by `map`; of a coarse channel the middle of its range.
fn points(summary: &Summary, map: impl Fn(f64) -> f64) -> impl Iterator<Item = Bin> {
    let spectrum = summary.spectrum();
    let labelled = spectrum.channels().iter().filter(|channel| channel.negative() + channel.positive() > 0);
    labelled.map(move |channel| {
        let (low, high) = spectrum.range(channel);
        let n = i128::from(channel.negative() + channel.positive());
        let score_sum = fixed::from_f64(map(0.5 * (low + high))) * n;
        Bin { negatives: channel.negative(), positives: channel.positive(), score_sum }
    })
}

/// Add the value that perfect calibration exceeds once in twenty at these bins, and the probability of so large a value: the
/// truth of every bin is drawn anew from its mean score. The seed is made of the counts, so the same rows give the same band.
fn with_null(estimate: Estimate, bins: &[Mean], of: &dyn Fn(&[Mean]) -> f64) -> Estimate {
    let seed = bins.iter().fold(estimate.n, |seed, bin| seed.wrapping_mul(1_000_003).wrapping_add(bin.n));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let truths: Vec<Binomial> = bins.iter().map(|bin| Binomial::new(bin.n, bin.score)).collect();
    let mut redrawn = bins.to_vec();
    let mut drawn: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            for (bin, truth) in redrawn.iter_mut().zip(&truths) {
                bin.truth = real(truth.draw(&mut rng)) / real(bin.n);
            }
            of(&redrawn)
        })
        .collect();
    drawn.sort_unstable_by(f64::total_cmp);
    let exceeding = drawn.iter().filter(|value| **value >= estimate.value).count() as u64;
    Estimate {
        null_95: Some(quantile(&drawn, 0.95)),
        p_value: Some(real(exceeding + 1) / (f64::from(RESAMPLES) + 1.0)),
        ..estimate
    }
}

/// Smooth calibration error (Błasiok and Nakkiran 2023): the residuals smoothed by a Gaussian kernel that is reflected at 0
/// and 1, `integral |sum K_s(t, p_i)(y_i - p_i)| dt / N`, at the bandwidth `s` that equals it. On a grid of [`GRID`] cells.
pub(super) fn smooth_error(summary: &Summary) -> Outcome {
    let labelled = Labelled::of(summary).some()?;
    let mut residuals = vec![0.0; GRID];
    for point in points(summary, |p| p) {
        let n = real(point.negatives + point.positives);
        let p = fixed::to_f64(point.score_sum) / n;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cell of the grid")]
        let cell = ((p * GRID as f64) as usize).min(GRID - 1);
        residuals[cell] += (real(point.positives) - n * p) / real(labelled.n());
    }
    // The error falls as the bandwidth grows: bisect for the fixed point.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..20 {
        let middle = 0.5 * (low + high);
        if smoothed(&residuals, middle) > middle {
            low = middle;
        } else {
            high = middle;
        }
    }
    let value = 0.5 * (low + high);
    Ok(Estimate { exactness: crate::domain::Exactness::Approximate, ..labelled.estimate(value) })
}

/// The integral of the absolute smoothed residuals; the grid is folded out by reflection.
#[allow(
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "cells of a grid"
)]
fn smoothed(residuals: &[f64], bandwidth: f64) -> f64 {
    let cells = residuals.len() as i64;
    let reach = ((4.0 * bandwidth * residuals.len() as f64) as i64 + 1).min(2 * cells);
    let scaled = |offset: i64| offset as f64 / (residuals.len() as f64 * bandwidth);
    let mut kernel: Vec<f64> = (0..=reach).map(|offset| libm::exp(-0.5 * scaled(offset) * scaled(offset))).collect();
    let total = kernel[0] + 2.0 * kernel[1..].iter().sum::<f64>();
    kernel.iter_mut().for_each(|weight| *weight /= total);
    // Reflection has the period of twice the grid.
    let reflected = |at: i64| {
        let at = at.rem_euclid(2 * cells);
        residuals[if at < cells { at } else { 2 * cells - 1 - at } as usize]
    };
    let at = |cell: i64| {
        let sides =
            (1..=reach).map(|offset| kernel[offset as usize] * (reflected(cell - offset) + reflected(cell + offset)));
        (kernel[0] * reflected(cell) + sides.sum::<f64>()).abs()
    };
    (0..cells).map(at).sum()
}
