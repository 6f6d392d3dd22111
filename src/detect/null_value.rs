//! What "well" is: the null value of a stream, from a contract or from a reference's confidence bound and a tolerance.
//!
//! The bound is that of what is bet on. With days as units that is the mean over days, whatever their sizes; with cases as units
//! the mean over cases. Working days and weekends have null values of their own, for they differ while all is well.

use serde::{Deserialize, Serialize};

use super::bets::whole;
use super::day::{Day, Mean, mean};
use super::dependence::DesignEffect;
use super::loss::Way;
use super::sealing::Days;
use crate::config::Unit;
use crate::metric::discrimination;
use crate::stats::interval::{logit_normal, weighted_mean};
use crate::stats::special::{beta_quantile, normal_upper_quantile, student_upper_quantile};
use crate::stats::spectrum::Spectrum;

/// The null value of one kind of days and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NullValue {
    /// The mean loss up to which all is well: of an area one minus it.
    pub value: f64,
    /// The same as a bound of what is watched, in its own terms: sensitivity, AUROC, Brier score.
    pub limit: f64,
    /// Of what is watched both ways, the bound on the other side: how much better it may be, or how small a share.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub other_limit: Option<f64>,
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
fn delong(reference: &[Day<'_>]) -> f64 {
    let mut pooled = Spectrum::default();
    reference.iter().for_each(|day| pooled.merge(&day.spectrum));
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

/// The mean of one day and the units that it is of; `None` without any. Of an area that of all pairs, and as many units as the rarer class has
/// cases.
#[must_use]
pub fn mean_of(of: Mean, day: &Day<'_>, unit: Unit) -> Option<(u64, f64)> {
    if of.loss.is_none() {
        // One case of each subject, always the same one.
        let spectrum = day.thinned(unit, "");
        let [_, negatives, positives] = spectrum.totals();
        return whole(&spectrum, of.way).map(|mean| (negatives.min(positives), mean));
    }
    let losses = of.losses(day, unit);
    let n = losses.iter().map(|(_, n)| n).sum();
    mean(losses.into_iter()).map(|mean| (n, mean))
}

/// The upper confidence bound of a mean on the days of a reference.
///
/// Of days as units: Student's bound of the mean over days; of cases and subjects, of the mean over these with its error over days (a
/// ratio estimate). It is never below what so few cases allow by themselves: Clopper and Pearson's bound of a 0/1 loss, with as many cases as the
/// design effect leaves, or the bound of no loss at all among so many. Cases that are units are independent, so of 0/1 losses of cases that
/// bound stands alone, for it is exact, and of an area by blocks the bound is `DeLong`'s in log odds: whoever declares cases to be units is
/// taken at the word.
///
/// # Errors
/// Why there is none, and the remedy.
pub fn of_reference(
    of: Mean,
    (days, reference): (Days, &[Day<'_>]),
    (unit, margin): (Unit, Margin),
    effect: Option<&DesignEffect>,
) -> Result<NullValue, String> {
    let samples: Vec<(u64, f64)> = reference.iter().filter_map(|day| mean_of(of, day, unit)).collect();
    let k = samples.len();
    if k < LEAST_DAYS {
        return Err(too_few(days, k));
    }
    let tail = 1.0 - margin.confidence;
    let n: u64 = samples.iter().map(|(n, _)| n).sum();
    let events: f64 = samples.iter().map(|(n, mean)| *n as f64 * mean).sum();
    let shrink = effect.map_or(1.0, |effect| effect.value.max(1.0));
    let (few, cases) = (events / shrink, n as f64 / shrink);
    // A subject loses a part where some of its cases do.
    let is_binary = of.is_binary() && unit != Unit::Subject;
    let by_count = if !is_binary {
        1.0 - libm::pow(tail, 1.0 / cases)
    } else if events >= n as f64 {
        1.0
    } else {
        beta_quantile(margin.confidence, few + 1.0, cases - few)
    };
    let weighted = |(n, mean): &(u64, f64)| (if unit == Unit::Cluster { 1.0 } else { *n as f64 }, *mean);
    let (mean, error) = weighted_mean(&samples.iter().map(weighted).collect::<Vec<_>>());
    let of_cases = if of.loss.is_none() { delong(reference) } else { 0.0 };
    let by_days = mean + student_upper_quantile(tail, k as f64 - 1.0) * error.max(of_cases);
    let bound = match unit {
        Unit::Case if is_binary => by_count,
        Unit::Case if of.loss.is_none() && mean > 0.0 && mean < 1.0 && of_cases > 0.0 => {
            logit_normal(mean, of_cases, normal_upper_quantile(tail)).upper.max(by_count)
        }
        Unit::Case | Unit::Subject | Unit::Cluster => by_days.max(by_count),
    };
    let value = bound + margin.tolerance * of.own_unit();
    if value >= 1.0 {
        return Err(match of.way {
            Way::Rise => format!(
                "the reference's bound on {} is as bad as can be, so nothing worse can be found; take a longer reference, or give the watch a \
                 limit",
                days.as_str()
            ),
            Way::Fall => format!(
                "the reference's bound on {} is as good, or as small, as can be, so nothing beyond it can be found; take a longer reference, or \
                 watch the other side alone",
                days.as_str()
            ),
        });
    }
    let [limit, reference] = [value, mean].map(|mean| of.in_its_terms(mean));
    Ok(NullValue { value, limit, other_limit: None, reference: Some(reference), n })
}

/// A contract: at least so much of a share or an area, at most so much of a loss, on every day; of a fall the other way round.
#[must_use]
pub fn by_contract(of: Mean, limit: f64) -> NullValue {
    NullValue { value: of.from_its_terms(limit), limit, other_limit: None, reference: None, n: 0 }
}

/// That a version loses no more than another on the same cases, and a tolerance.
#[must_use]
pub fn no_difference(of: Mean, tolerance: f64) -> NullValue {
    let value = 0.5 + tolerance * of.own_unit();
    NullValue { value, limit: of.in_its_terms(value), other_limit: None, reference: None, n: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::loss::Loss;
    use crate::stats::channel::{self, Scale};
    use crate::stats::spectrum::Class;

    fn day(missed: u64, found: u64) -> Spectrum {
        let cells = vec![(channel::key(0.2), Class::Positive, missed), (channel::key(0.8), Class::Positive, found)];
        Spectrum::from_cells(Scale::Probability, cells)
    }

    const MARGIN: Margin = Margin { confidence: 0.95, tolerance: 0.0 };
    const MISSED: Mean = Mean { loss: Some(Loss::Missed(0.5)), way: Way::Rise, paired: false };

    fn bound(days: &[Spectrum], unit: Unit, margin: Margin) -> Result<NullValue, String> {
        let days: Vec<Day<'_>> = days.iter().map(Day::from).collect();
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
    fn the_bound_of_an_area_by_blocks_is_delongs_in_log_odds() {
        let key = |at: u32| channel::key(f64::from(at) / 40.0);
        let positives = (0..12).map(|at| (key(at * 3), Class::Positive, 1));
        let negatives = (0..20).map(|at| (key(at * 7 % 23), Class::Negative, 1));
        let day = Spectrum::from_cells(Scale::Probability, positives.chain(negatives).collect());
        let spectra = vec![day; 12];
        let days: Vec<Day<'_>> = spectra.iter().map(Day::from).collect();
        let mut pooled = Spectrum::default();
        spectra.iter().for_each(|day| pooled.merge(day));
        let area = discrimination::area(&pooled).expect("an area");
        let interval = area.interval.expect("an interval");
        let margin = Margin { confidence: 0.975, tolerance: 0.0 };
        let bound = |of, unit| of_reference(of, (Days::All, &days), (unit, margin), None).expect("a bound");
        let null = bound(Mean::AREA, Unit::Case);
        assert!((null.limit - interval.lower).abs() < 1e-12, "{null:?} against {interval:?}");
        assert!((null.reference.expect("an area") - area.value).abs() < 1e-12);
        // Days of one kind do not narrow it: with days as units it is never inside what cases have by themselves.
        assert!(bound(Mean::AREA, Unit::Cluster).limit < area.value);
        let upper = bound(Mean { way: Way::Fall, ..Mean::AREA }, Unit::Case).limit;
        assert!((upper - interval.upper).abs() < 1e-12, "{upper}");
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
        assert!((by_contract(Mean::AREA, 0.85).value - 0.15).abs() < 1e-12);
        assert_eq!(by_contract(Mean::of(Loss::Brier), 0.2).value, 0.2);
        assert!((by_contract(Mean::of(Loss::LogLoss), libm::log(10.0)).value - 0.5).abs() < 1e-12);
        assert!((by_contract(MISSED.turned(), 0.85).value - 0.85).abs() < 1e-12, "that it is above .85 is the bet");
    }
}
