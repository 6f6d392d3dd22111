//! How far embeddings have moved from those of the reference.
//!
//! The reference's own part was held out when its projector was fitted, so that both sides are new to it.

use num_bigint::BigInt;

use super::{bracket, drift, interval, real, volume};
use crate::domain::{Estimate, MetricKey, Outcome, Undefined};
use crate::stats::divergence::{Aligned, Distance};
use crate::stats::exact::{self, UNIT};
use crate::stats::fixed;
use crate::stats::interval::{wald, wilson};
use crate::stats::projector::Frozen;
use crate::stats::special::{Z_95, chi_square_upper_quantile, chi_square_upper_tail};
use crate::stats::spectrum::Spectrum;
use crate::summary::embedding::EmbeddingSummary;

/// Share of the reference's embeddings that lie beyond the limit.
const BEYOND: f64 = 0.01;

/// What embeddings are compared with.
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    /// What was frozen.
    pub frozen: &'a Frozen,
    /// The part of the reference that was held out.
    pub held_out: &'a EmbeddingSummary,
}

/// Every metric of the embeddings, against a reference or the reason why there is none.
#[must_use]
pub fn evaluate(reference: Result<Reference<'_>, &Undefined>, current: &EmbeddingSummary) -> Vec<(MetricKey, Outcome)> {
    let n = current.projected();
    let given = current.rows() - current.missing;
    let reference = match (current.rows(), given) {
        (0, _) => Err(Undefined::NoPredictions),
        (n, 0) => Err(Undefined::NoEmbedding { n }),
        // Not looked at yet: there was no reference when they were folded.
        _ if n == 0 => Err(Undefined::NoReference),
        _ => reference.map_err(Clone::clone),
    };
    let read = |of: &dyn Fn(Reference<'_>) -> Outcome| reference.clone().and_then(of);
    let moved = |before: &Spectrum, after: &Spectrum| {
        let distance = Aligned::new(before, after).kolmogorov_smirnov().ok_or(Undefined::OneCell);
        distance.map(|(distance, slack)| Estimate {
            exactness: bracket(distance.value, (distance.value + slack).min(1.0)),
            ..drift::estimate(distance, n)
        })
    };
    let answers = [
        ("embedding_missing", volume::share(current.missing, current.rows())),
        ("embedding_mahalanobis_share", read(&|reference| beyond(reference.held_out, current))),
        ("embedding_mahalanobis_ks", read(&|to| moved(&to.held_out.distances, &current.distances))),
        ("embedding_reconstruction_error", reference.clone().and_then(|_| mean_error(current))),
        ("embedding_reconstruction_ks", read(&|to| moved(&to.held_out.errors, &current.errors))),
        ("embedding_mmd2", read(&|reference| discrepancy(reference, current))),
        ("reference_embedding_reconstruction_error", read(&|reference| mean_error(reference.held_out))),
    ];
    answers.into_iter().map(|(name, outcome)| (MetricKey::plain(name), outcome)).collect()
}

/// The share of embeddings farther from the middle than all but one in a hundred of the reference's.
///
/// Without change the number beyond the r-th farthest of m is negative hypergeometric, whatever the distribution: so the null
/// knows how uncertain the limit itself is.
fn beyond(reference: &EmbeddingSummary, current: &EmbeddingSummary) -> Outcome {
    let (m, n) = (reference.projected(), current.projected());
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a hundredth of a count")]
    let rank = ((real(m) * BEYOND) as u64).max(1);
    let mut seen = 0;
    let limit = reference.distances.channels().iter().rev().find(|channel| {
        seen += channel.total();
        seen >= rank
    });
    let limit = limit.map(|channel| reference.distances.range(channel).1).ok_or(Undefined::NoReference)?;
    let count = |spectrum: &Spectrum| spectrum.totals().iter().sum::<u64>();
    let surely = count(&current.distances.filtered(|(low, _)| low > limit));
    let possibly = count(&current.distances.filtered(|(_, high)| high > limit));
    let value = real(surely) / real(n);
    let (null_95, p_value) = exceedances(rank, m, n, surely);
    Ok(Estimate {
        interval: interval(wilson(surely, n, Z_95), "wilson"),
        exactness: bracket(value, real(possibly) / real(n)),
        null_95: Some(null_95),
        p_value: Some(p_value),
        ..Estimate::exact(value, n)
    })
}

/// Of the number among `n` beyond the `rank`-th largest of `m` others of one distribution: the share that it exceeds once in
/// twenty, and the probability of at least `count`.
fn exceedances(rank: u64, m: u64, n: u64, count: u64) -> (f64, f64) {
    let (r, m, n_) = (real(rank), real(m), real(n));
    let choose =
        |all: f64, some: f64| libm::lgamma(all + 1.0) - libm::lgamma(some + 1.0) - libm::lgamma(all - some + 1.0);
    let mut log = choose(n_ + m - r, n_) - choose(n_ + m, n_);
    let (mut below, mut at_least, mut limit) = (0.0, 0.0, None);
    for k in 0..=n {
        let probability = libm::exp(log);
        below += probability;
        if k >= count {
            at_least += probability;
        }
        if limit.is_none() && below >= 0.95 {
            limit = Some(real(k) / n_);
        }
        let k = real(k);
        log += libm::log((k + r) / (k + 1.0)) + libm::log((n_ - k) / (n_ - k + m - r));
    }
    (limit.unwrap_or(1.0), at_least.clamp(0.0, 1.0))
}

/// The mean reconstruction error and its normal interval.
fn mean_error(summary: &EmbeddingSummary) -> Outcome {
    let n = summary.projected();
    if n == 0 {
        return Err(Undefined::NoReference);
    }
    let of_n = BigInt::from(n);
    let [sum, squares] = &summary.error_sums;
    let mean = exact::ratio(sum, &of_n, -UNIT);
    let about = exact::ratio(&(squares * &of_n - sum * sum), &of_n, -2 * UNIT);
    let standard_error = libm::sqrt(about.max(0.0) / real(n.saturating_sub(1).max(1)) / real(n));
    let varied = standard_error > 0.0;
    Ok(Estimate {
        interval: interval(wald(mean, standard_error, Z_95), "normal").filter(|_| varied),
        standard_error: varied.then_some(standard_error),
        ..Estimate::exact(mean, n)
    })
}

/// The squared distance of the means of the random features: about the squared maximum mean discrepancy of a Gaussian kernel.
///
/// Without change it is a sum of squares with weights, whose mean is `(1/n + 1/m) tr C` and whose variance is
/// `2 (1/n + 1/m)^2 tr C^2`; a gamma variable with these two is taken for it (Gretton et al. 2012).
fn discrepancy(reference: Reference<'_>, current: &EmbeddingSummary) -> Outcome {
    let (m, n) = (real(reference.held_out.projected()), real(current.projected()));
    let mean = |sum: &i128, count: f64| fixed::to_f64(*sum) / count;
    let gaps = reference.held_out.features.iter().zip(&current.features);
    let value = gaps.map(|(before, after)| mean(before, m) - mean(after, n)).map(|gap| gap * gap).sum();
    let [trace, of_square] = reference.frozen.traces;
    if !(trace > 0.0 && of_square > 0.0) {
        return Err(Undefined::NoWeight);
    }
    let scale = (1.0 / n + 1.0 / m) * of_square / trace;
    let freedom = trace * trace / of_square;
    let distance = Distance {
        value,
        null_95: scale * chi_square_upper_quantile(0.05, freedom),
        p_value: chi_square_upper_tail(value / scale, freedom),
    };
    Ok(Estimate { exactness: crate::domain::Exactness::Approximate, ..drift::estimate(distance, current.projected()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::projector::Projector;
    use crate::stats::resample::normal;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn rows(rng: &mut ChaCha8Rng, n: usize, shift: f64) -> Vec<Vec<f32>> {
        #[allow(clippy::cast_possible_truncation, reason = "small numbers")]
        let row = |_| (0..6).map(|at| (normal(rng) + if at == 0 { shift } else { 0.0 }) as f32).collect();
        (0..n).map(row).collect()
    }

    fn value(answers: &[(MetricKey, Outcome)], name: &str) -> Estimate {
        let (_, outcome) = answers.iter().find(|(key, _)| key.name == name).expect("answered");
        outcome.clone().unwrap_or_else(|why| panic!("{name}: {why}"))
    }

    /// Without change no more than about one in twenty is beyond the null; a shift of half a deviation is seen.
    #[test]
    fn the_nulls_hold_and_a_shift_is_seen() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let projector = Projector::fit(&rows(&mut rng, 400, 0.0)).expect("enough of them");
        let summary = |rows: Vec<Vec<f32>>| EmbeddingSummary::of(rows.iter().map(|row| projector.project(row)));
        let held_out = summary(rows(&mut rng, 400, 0.0));
        let reference = Reference { frozen: projector.frozen(), held_out: &held_out };
        let names = [
            "embedding_mahalanobis_share",
            "embedding_mahalanobis_ks",
            "embedding_reconstruction_ks",
            "embedding_mmd2",
        ];
        let mut alarms = [0_u32; 4];
        for _ in 0..200 {
            let answers = evaluate(Ok(reference), &summary(rows(&mut rng, 150, 0.0)));
            for (alarm, name) in alarms.iter_mut().zip(names) {
                *alarm += u32::from(value(&answers, name).p_value.expect("a p-value") <= 0.05);
            }
        }
        // One held-out part serves all two hundred, so they are not independent: a wide margin.
        assert!(alarms.iter().all(|alarms| *alarms <= 30), "{alarms:?} of 200");
        let moved = evaluate(Ok(reference), &summary(rows(&mut rng, 300, 2.0)));
        for name in names {
            let estimate = value(&moved, name);
            let (p_value, null) = (estimate.p_value.expect("a p-value"), estimate.null_95.expect("a null"));
            if name != "embedding_reconstruction_ks" {
                assert!(p_value < 0.01 && estimate.value > null, "{name}: {estimate:?}");
            }
        }
        let before = value(&moved, "reference_embedding_reconstruction_error");
        assert!(
            (before.value - value(&evaluate(Ok(reference), &held_out), "embedding_reconstruction_error").value).abs()
                < 1e-12
        );
    }

    #[test]
    fn the_number_beyond_a_limit_is_negative_hypergeometric() {
        // Beyond the largest of 3 among 2 others: none with 3/5, both with 1/10 (of ten orders).
        let (_, at_least_one) = exceedances(1, 3, 2, 1);
        let (_, both) = exceedances(1, 3, 2, 2);
        assert!((at_least_one - 0.4).abs() < 1e-12 && (both - 0.1).abs() < 1e-12, "{at_least_one} {both}");
        let (null, all) = exceedances(100, 10_000, 100_000, 0);
        assert!((all - 1.0).abs() < 1e-6 && null > 0.01 && null < 0.013, "{null} {all}");
    }

    #[test]
    fn what_is_not_there_has_a_reason() {
        let nothing = EmbeddingSummary::default();
        let answers = evaluate(Err(&Undefined::NoReference), &nothing);
        assert_eq!(answers[1].1, Err(Undefined::NoPredictions));
        let unseen = EmbeddingSummary { unseen: 3, missing: 1, ..nothing };
        let answers = evaluate(Err(&Undefined::NoReference), &unseen);
        assert_eq!(answers[1].1, Err(Undefined::NoReference));
        assert_eq!(answers[0].1.as_ref().map(|estimate| estimate.value), Ok(0.25));
    }
}
