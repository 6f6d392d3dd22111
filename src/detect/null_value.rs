//! What "well" is: the null value of a stream, from a contract or from a reference's confidence bound and a tolerance.

use super::bets::Loss;
use super::dependence::{Bucket, DesignEffect};
use crate::metric::discrimination;
use crate::stats::interval::logit_normal;
use crate::stats::special::{beta_quantile, normal_upper_quantile};
use crate::stats::spectrum::Spectrum;

/// The null value of a stream and where it comes from.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct NullValue {
    /// The mean loss up to which all is well: of an area one minus it.
    pub value: f64,
    /// The same as a bound of what is watched, in its own terms: sensitivity, AUROC, Brier score.
    pub limit: f64,
    /// What the reference was, in the same terms; absent under a contract.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<f64>,
    /// Cases that it was measured on.
    pub n: u64,
    /// How much the reference's days hang together, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub design_effect: Option<DesignEffect>,
}

/// Confidence and tolerance of a null value that comes from a reference.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Margin {
    /// Probability that the bound holds.
    pub confidence: f64,
    /// Further room, as a part of the measure's own scale.
    pub tolerance: f64,
}

/// The losses of each bucket.
#[must_use]
pub fn buckets_of(loss: Loss, reference: &[Spectrum]) -> Vec<Bucket> {
    reference.iter().map(|spectrum| loss.sums(spectrum)).collect()
}

/// The upper confidence bound of a mean loss on a reference: Clopper and Pearson's, exact for 0/1 losses of independent cases,
/// with as many cases as the days' design effect leaves of them. For losses between 0 and 1 the same bound holds for the sum
/// rounded by a coin, and is wider than it need be. `None` without a case.
#[must_use]
pub fn of_loss(loss: Loss, reference: &[Spectrum], margin: Margin) -> Option<NullValue> {
    let buckets = buckets_of(loss, reference);
    let (n, sum) = buckets.iter().fold((0, 0.0), |(n, sum), bucket| (n + bucket.0, sum + bucket.1));
    if n == 0 {
        return None;
    }
    let design_effect = DesignEffect::of(&buckets);
    let shrink = design_effect.map_or(1.0, |effect| effect.value.max(1.0));
    let (events, cases) = (sum / shrink, n as f64 / shrink);
    let bound = if sum >= n as f64 { 1.0 } else { beta_quantile(margin.confidence, events + 1.0, cases - events) };
    let value = (bound + margin.tolerance).min(0.999);
    let reference = sum / n as f64;
    let [limit, reference] = [value, reference].map(|mean| in_its_terms(loss, mean));
    Some(NullValue { value, limit, reference: Some(reference), n, design_effect })
}

/// The lower confidence bound of an area under the ROC curve on a reference: `DeLong`'s on the logit scale. `None` without both
/// classes, or where the error cannot be told.
#[must_use]
pub fn of_area(reference: &[Spectrum], margin: Margin) -> Option<NullValue> {
    let mut pooled = Spectrum::default();
    reference.iter().for_each(|spectrum| pooled.merge(spectrum));
    let area = discrimination::area(&pooled).ok()?;
    let error = area.standard_error.filter(|error| *error > 0.0)?;
    let z = normal_upper_quantile(1.0 - margin.confidence);
    let limit = logit_normal(area.value, error, z).lower - margin.tolerance;
    Some(NullValue {
        value: (1.0 - limit).clamp(0.001, 0.999),
        limit,
        reference: Some(area.value),
        n: area.n,
        design_effect: None,
    })
}

/// A contract: at least so much of a share or an area, at most so much of a loss.
#[must_use]
pub fn by_contract(loss: Option<Loss>, limit: f64) -> NullValue {
    let value = match loss {
        Some(Loss::Brier | Loss::Error(_) | Loss::Flagged(_)) => limit,
        Some(Loss::LogLoss) => limit / libm::log(100.0),
        _ => 1.0 - limit,
    };
    NullValue { value, limit, reference: None, n: 0, design_effect: None }
}

/// A mean loss in the terms of its measure: sensitivity, not the share of missed cases.
#[must_use]
pub fn in_its_terms(loss: Loss, mean: f64) -> f64 {
    match loss {
        Loss::Missed(_) | Loss::FalselyFlagged(_) | Loss::FlaggedInVain(_) => 1.0 - mean,
        Loss::LogLoss => mean * libm::log(100.0),
        Loss::Error(_) | Loss::Brier | Loss::Flagged(_) => mean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::channel::{self, Scale};
    use crate::stats::spectrum::Class;

    fn day(missed: u64, found: u64) -> Spectrum {
        let cells = vec![(channel::key(0.2), Class::Positive, missed), (channel::key(0.8), Class::Positive, found)];
        Spectrum::from_cells(Scale::Probability, cells)
    }

    const MARGIN: Margin = Margin { confidence: 0.95, tolerance: 0.0 };

    #[test]
    fn the_bound_of_counts_is_clopper_and_pearsons() {
        // One day, so no design effect: scipy.stats.beta.ppf(0.95, 31, 270) of 30 missed among 300.
        let null = of_loss(Loss::Missed(0.5), &[day(30, 270)], MARGIN).expect("cases");
        assert!((null.value - crate::stats::special::beta_quantile(0.95, 31.0, 270.0)).abs() < 1e-12);
        assert_eq!(null.reference, Some(0.9));
        assert!((null.limit - (1.0 - null.value)).abs() < 1e-12);
        let wider = of_loss(Loss::Missed(0.5), &[day(30, 270)], Margin { tolerance: 0.02, ..MARGIN }).expect("cases");
        assert!((wider.value - null.value - 0.02).abs() < 1e-12);
        assert_eq!(of_loss(Loss::Missed(0.5), &[], MARGIN), None);
    }

    #[test]
    fn days_that_hang_together_make_the_bound_wider() {
        let even: Vec<Spectrum> = (0..60).map(|_| day(3, 27)).collect();
        let uneven: Vec<Spectrum> = (0..60).map(|at| if at % 6 == 0 { day(18, 12) } else { day(0, 30) }).collect();
        let bound = |days: &[Spectrum]| of_loss(Loss::Missed(0.5), days, MARGIN).expect("cases").value;
        assert!(bound(&uneven) > bound(&even) + 0.01);
    }

    #[test]
    fn a_contract_is_taken_at_its_word() {
        assert!((by_contract(Some(Loss::Missed(0.5)), 0.85).value - 0.15).abs() < 1e-12);
        assert!((by_contract(None, 0.85).value - 0.15).abs() < 1e-12);
        assert_eq!(by_contract(Some(Loss::Brier), 0.2).value, 0.2);
    }
}
