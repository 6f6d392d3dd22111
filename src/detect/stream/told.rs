//! What is told of a stream: its estimates, the metric that is the same thing, and what an alarm promises.

use super::{Stream, has_mean};
use crate::config::{Measure, Method, Unit, Watch};
use crate::detect::budget::Share;
use crate::detect::dependence;
use crate::detect::loss::Loss;
use crate::detect::null_value::mean_of;
use crate::domain::estimate::{Exactness, Interval};
use crate::domain::{Estimate, MetricKey};
use crate::metric::discrimination;
use crate::stats::interval::{logit_normal, wald, wilson};
use crate::stats::special::normal_upper_quantile;
use crate::stats::spectrum::Spectrum;
use crate::summary::sealed::Sealed;

/// How far the share of cases with truth in time may be from the reference's.
pub const COVERAGE_MOVED: f64 = 0.05;

impl Stream {
    /// What the reference was, over all days, in the measure's own terms.
    #[must_use]
    pub fn reference(&self) -> Option<f64> {
        let loss = self.loss;
        let parts = self.strata.iter().filter_map(|stratum| {
            let null = stratum.null.as_ref()?;
            Some((stratum.days.a_week(), Loss::from_its_terms(loss, null.reference?)))
        });
        let (days, sum) = parts.fold((0.0, 0.0), |(days, sum), (d, mean)| (days + d, sum + d * mean));
        (days > 0.0).then(|| Loss::in_its_terms(loss, sum / days))
    }

    /// What the watch measures over sealed days together, in its own terms, with its 95 % interval where there is one: Wilson's of
    /// shares, that of an area on the logit scale, of other losses the normal one. The intervals take cases for independent. `None`
    /// without cases, or without a mean.
    #[must_use]
    pub fn estimated<'s>(&self, days: impl Iterator<Item = &'s Sealed>) -> Option<Estimate> {
        let mut pooled = Spectrum::default();
        days.for_each(|sealed| pooled.merge(&self.view(sealed)));
        let loss = self.loss;
        let (_, mean) = mean_of(loss, &pooled).filter(|_| has_mean(self.measure))?;
        let z = normal_upper_quantile(0.025);
        let [_, negatives, positives] = pooled.totals();
        let (n, bounds, method) = match loss {
            None => {
                let error = discrimination::area(&pooled).ok()?.standard_error.filter(|error| *error > 0.0);
                (negatives + positives, error.map(|error| logit_normal(mean, error, z)), "delong-logit")
            }
            Some(loss) => {
                let (n, sum, square) = loss.sums(&pooled);
                let count = n as f64;
                // The losses of a share are counts.
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of cases")]
                let (bounds, method) = if loss.is_binary() {
                    (wilson(sum.round() as u64, n, z), "wilson")
                } else {
                    let error = libm::sqrt((square / count - mean * mean).max(0.0) / count);
                    (wald(mean, error, z), "wald")
                };
                (n, Some(bounds), method)
            }
        };
        let interval = bounds.map(|bounds| {
            let ends = [bounds.lower, bounds.upper].map(|end| Loss::in_its_terms(loss, end));
            Interval { lower: ends[0].min(ends[1]), upper: ends[0].max(ends[1]), method: method.to_owned() }
        });
        Some(Estimate {
            interval,
            positives: (negatives + positives > 0).then_some(positives),
            exactness: if pooled.is_exact() { Exactness::Exact } else { Exactness::Approximate },
            ..Estimate::exact(Loss::in_its_terms(loss, mean), n)
        })
    }

    /// The metric of the catalogue that is the same thing; `None` where there is none.
    #[must_use]
    pub fn metric(&self) -> Option<MetricKey> {
        let name = match self.measure {
            Measure::Auroc => "auroc",
            Measure::Sensitivity => "sensitivity",
            Measure::Specificity => "specificity",
            Measure::Ppv => "ppv",
            Measure::Brier => "brier",
            Measure::LogLoss => "log_loss",
            Measure::AlertRate => "alert_rate",
            _ => return None,
        };
        Some(MetricKey { threshold: self.at.map(|at| at.to_string()), ..MetricKey::plain(name) })
    }

    /// What an alarm of this stream promises.
    #[must_use]
    pub fn promise(&self, watch: &Watch, shares: &[Share]) -> String {
        if watch.method != Method::Evidence {
            return format!(
                "{} days between false alarms of this stream alone, if its days are independent and normal and the reference's mean \
                 and deviation exact",
                watch.run_length
            );
        }
        let share = |share: &Share| format!("{:.4} of the budget of false {}s", share.weight, share.tier.as_str());
        let shares: Vec<String> = shares.iter().map(share).collect();
        format!("its share, {}, whatever the other streams do", shares.join(" and "))
    }

    /// What keeps the promise from being kept, in words; `None` while nothing is known to. `coverage` is the share of cases that had
    /// truth in time since the reference.
    #[must_use]
    pub fn stressed(&self, coverage: Option<f64>) -> Option<String> {
        let dependent = match (self.unit, self.dependence) {
            (Unit::Cluster, _) => None,
            (Unit::Case, Some(effect)) if effect.allows_cases() => None,
            (Unit::Case, Some(effect)) => Some(format!(
                "cases of a day may hang together: the reference's design effect is {:.2}, and up to {:.2} cannot be ruled out, where {} is \
                 allowed; take unit = \"cluster\"",
                effect.value,
                effect.upper,
                dependence::MOST
            )),
            (Unit::Case, None) => Some(
                "the reference does not tell whether cases of a day hang together; take unit = \"cluster\"".to_owned(),
            ),
        };
        let moved = self.coverage.zip(coverage).filter(|(then, now)| (then - now).abs() > COVERAGE_MOVED);
        let selected = moved.map(|(then, now)| {
            format!(
                "{:.0} % of cases have truth in time, of the reference {:.0} %: those with truth may be others than before",
                100.0 * now,
                100.0 * then
            )
        });
        let reasons: Vec<String> = dependent.into_iter().chain(selected).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}
