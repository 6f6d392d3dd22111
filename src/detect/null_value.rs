//! What "well" is: the null value of a stream, from a contract or from a reference's confidence bound and a tolerance.
//!
//! The bound is that of what is bet on. With days as units that is the mean over days, whatever their sizes; with cases as units
//! the mean over cases. Working days and weekends have null values of their own, for they differ while all is well.

use serde::{Deserialize, Serialize};

use super::bets::area;
use super::dependence::DesignEffect;
use super::loss::Loss;
use super::sealing::Days;
use crate::config::Unit;
use crate::metric::discrimination;
use crate::stats::interval::weighted_mean;
use crate::stats::special::{beta_quantile, student_upper_quantile};
use crate::stats::spectrum::Spectrum;

/// The null value of one kind of days and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NullValue {
    /// The mean loss up to which all is well: of an area one minus it.
    pub value: f64,
    /// The same as a bound of what is watched, in its own terms: sensitivity, AUROC, Brier score.
    pub limit: f64,
    /// Of a share that is watched both ways, the bound below.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lower_limit: Option<f64>,
    /// What the reference was, in the same terms; absent under a contract.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<f64>,
    /// Cases that it was measured on.
    pub n: u64,
}

/// Confidence and tolerance of a null value that comes from a reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Margin {
    /// Probability that the bound holds.
    pub confidence: f64,
    /// Further room, in the measure's own units.
    pub tolerance: f64,
}

/// A kind of days needs so many with cases before their mean has a bound.
pub const LEAST_DAYS: usize = 8;

/// `DeLong`'s standard error of the area over all days together; of cases with one score each it is what independent cases have.
fn delong(reference: &[&Spectrum]) -> f64 {
    let mut pooled = Spectrum::default();
    reference.iter().for_each(|spectrum| pooled.merge(spectrum));
    discrimination::area(&pooled).ok().and_then(|area| area.standard_error).unwrap_or_default()
}

/// Why so few days of a reference have no bound.
#[must_use]
pub fn too_few(days: Days, k: usize) -> String {
    format!(
        "the reference has {k} {} with cases of this kind, and {LEAST_DAYS} are needed; take a longer one, or give the watch a limit",
        days.as_str()
    )
}

/// The mean loss of one day and the cases that it is of; `None` without any. The loss `None` is one minus the area.
#[must_use]
pub fn mean_of(loss: Option<Loss>, spectrum: &Spectrum) -> Option<(u64, f64)> {
    let Some(loss) = loss else {
        let [_, negatives, positives] = spectrum.totals();
        return area(spectrum).map(|area| (negatives.min(positives), 1.0 - area));
    };
    let (n, sum, _) = loss.sums(spectrum);
    (n > 0).then(|| (n, sum / n as f64))
}

/// The upper confidence bound of a mean loss on the days of a reference.
///
/// Of days as units: Student's bound of the mean over days; of cases, of the mean over cases with its error over days (a ratio
/// estimate). It is never below what so few cases allow by themselves: Clopper and Pearson's bound of a 0/1 loss, with as many cases as the
/// design effect leaves, or the bound of no loss at all among so many. Of cases with 0/1 losses that bound stands alone: it is exact.
///
/// # Errors
/// Why there is none, and the remedy.
pub fn of_reference(
    loss: Option<Loss>,
    (days, reference): (Days, &[&Spectrum]),
    (unit, margin): (Unit, Margin),
    effect: Option<&DesignEffect>,
) -> Result<NullValue, String> {
    let samples: Vec<(u64, f64)> = reference.iter().filter_map(|spectrum| mean_of(loss, spectrum)).collect();
    let k = samples.len();
    if k < LEAST_DAYS {
        return Err(too_few(days, k));
    }
    let tail = 1.0 - margin.confidence;
    let n: u64 = samples.iter().map(|(n, _)| n).sum();
    let events: f64 = samples.iter().map(|(n, mean)| *n as f64 * mean).sum();
    let shrink = effect.map_or(1.0, |effect| effect.value.max(1.0));
    let (few, cases) = (events / shrink, n as f64 / shrink);
    let is_binary = loss.is_some_and(Loss::is_binary);
    let by_count = if !is_binary {
        1.0 - libm::pow(tail, 1.0 / cases)
    } else if events >= n as f64 {
        1.0
    } else {
        beta_quantile(margin.confidence, few + 1.0, cases - few)
    };
    let weighted = |(n, mean): &(u64, f64)| (if unit == Unit::Case { *n as f64 } else { 1.0 }, *mean);
    let (mean, error) = weighted_mean(&samples.iter().map(weighted).collect::<Vec<_>>());
    let error = error.max(if loss.is_none() { delong(reference) } else { 0.0 });
    let by_days = mean + student_upper_quantile(tail, k as f64 - 1.0) * error;
    let bound = if unit == Unit::Case && is_binary { by_count } else { by_days.max(by_count) };
    let value = bound + margin.tolerance * Loss::own_unit(loss);
    if value >= 1.0 {
        return Err(format!(
            "the reference's bound on {} is as bad as can be, so nothing worse can be found; take a longer reference, or give the watch a limit",
            days.as_str()
        ));
    }
    let [limit, reference] = [value, mean].map(|mean| Loss::in_its_terms(loss, mean));
    Ok(NullValue { value, limit, lower_limit: None, reference: Some(reference), n })
}

/// A contract: at least so much of a share or an area, at most so much of a loss, on every day.
#[must_use]
pub fn by_contract(loss: Option<Loss>, limit: f64) -> NullValue {
    NullValue { value: Loss::from_its_terms(loss, limit), limit, lower_limit: None, reference: None, n: 0 }
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
    const MISSED: Option<Loss> = Some(Loss::Missed(0.5));

    fn bound(days: &[Spectrum], unit: Unit, margin: Margin) -> Result<NullValue, String> {
        let days: Vec<&Spectrum> = days.iter().collect();
        of_reference(MISSED, (Days::Working, &days), (unit, margin), None)
    }

    #[test]
    fn the_bound_of_cases_is_clopper_and_pearsons() {
        // scipy.stats.beta.ppf(0.95, 31, 270) of 30 missed among 300.
        let days: Vec<Spectrum> = (0..10).map(|_| day(3, 27)).collect();
        let null = bound(&days, Unit::Case, MARGIN).expect("cases");
        assert!((null.value - beta_quantile(0.95, 31.0, 270.0)).abs() < 1e-12);
        assert_eq!((null.reference, null.n), (Some(0.9), 300));
        assert!((null.limit - (1.0 - null.value)).abs() < 1e-12);
        let wider = bound(&days, Unit::Case, Margin { tolerance: 0.02, ..MARGIN }).expect("cases");
        assert!((wider.value - null.value - 0.02).abs() < 1e-12);
    }

    #[test]
    fn the_bound_of_days_heeds_small_days() {
        // Eight large days that miss a tenth and eight small ones that miss half: the mean of days is .3, that of cases near .1.
        let days: Vec<Spectrum> = (0..16).map(|at| if at % 2 == 0 { day(10, 90) } else { day(1, 1) }).collect();
        let of_days = bound(&days, Unit::Cluster, MARGIN).expect("days");
        let of_cases = bound(&days, Unit::Case, MARGIN).expect("cases");
        assert!((of_days.reference.expect("a mean") - 0.7).abs() < 1e-12);
        // scipy: t.ppf(0.95, 15) * std([.1, .5] * 8, ddof=1) / 4 + .3
        assert!((of_days.value - (0.3 + 1.753_050_355_692 * 0.206_559_111_797 / 4.0)).abs() < 1e-9, "{of_days:?}");
        assert!(of_cases.value < 0.15, "{of_cases:?}");
    }

    #[test]
    fn days_without_a_loss_do_not_prove_that_there_are_none() {
        let days: Vec<Spectrum> = (0..10).map(|_| day(0, 3)).collect();
        for unit in [Unit::Case, Unit::Cluster] {
            let null = bound(&days, unit, MARGIN).expect("days");
            assert!((null.value - (1.0 - libm::pow(0.05, 1.0 / 30.0))).abs() < 1e-9, "{null:?}");
        }
    }

    #[test]
    fn few_days_and_hopeless_ones_have_no_bound_but_a_reason() {
        let few = bound(&vec![day(1, 9); 7], Unit::Cluster, MARGIN).expect_err("too few");
        assert!(few.contains("7 working days") && few.contains("8 are needed"), "{few}");
        let all_missed = bound(&vec![day(9, 0); 20], Unit::Cluster, MARGIN).expect_err("nothing worse");
        assert!(all_missed.contains("nothing worse"), "{all_missed}");
    }

    #[test]
    fn a_contract_is_taken_at_its_word() {
        assert!((by_contract(MISSED, 0.85).value - 0.15).abs() < 1e-12);
        assert!((by_contract(None, 0.85).value - 0.15).abs() < 1e-12);
        assert_eq!(by_contract(Some(Loss::Brier), 0.2).value, 0.2);
        assert!((by_contract(Some(Loss::LogLoss), libm::log(10.0)).value - 0.5).abs() < 1e-12);
    }
}
