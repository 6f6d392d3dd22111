//! What is told of a stream: its estimates, the metric that is the same thing, and what an alarm promises.

use super::Stream;
use crate::config::{Measure, Method, Side, Tier, Unit, Watch};
use crate::detect::budget::Share;
use crate::detect::day::{Day, Mean};
use crate::detect::dependence::{self, DesignEffect};
use crate::detect::loss::Way;
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
        let of = self.mean?;
        let parts = self.strata.iter().filter_map(|stratum| {
            let null = stratum.null.as_ref()?;
            Some((stratum.days.a_week(), of.from_its_terms(null.reference?)))
        });
        let (days, sum) = parts.fold((0.0, 0.0), |(days, sum), (d, mean)| (days + d, sum + d * mean));
        (days > 0.0).then(|| of.in_its_terms(sum / days))
    }

    /// What the watch measures over sealed days together, in its own terms, with its 95 % interval where there is one: Wilson's of
    /// shares, that of an area on the logit scale, of other losses the normal one. The intervals take cases, or subjects where these are the
    /// units, for independent. `None` without cases, or without a mean.
    #[must_use]
    pub fn estimated<'s>(&self, days: impl Iterator<Item = &'s Sealed>) -> Option<Estimate> {
        let of = Mean { way: Way::Rise, ..self.mean? };
        let unit = if self.unit == Unit::Subject { Unit::Subject } else { Unit::Case };
        let mut pooled = Spectrum::default();
        let (mut n, mut sum, mut square) = (0, 0.0, 0.0);
        for sealed in days {
            let day = self.view(sealed);
            let own = of.sums(&day, unit);
            (n, sum, square) = (n + own.0, sum + own.1, square + own.2);
            pooled.merge(&day.thinned(if of.loss.is_none() { unit } else { Unit::Case }, ""));
        }
        let z = normal_upper_quantile(0.025);
        let [_, negatives, positives] = pooled.totals();
        let (mean, n, bounds, method) = if of.loss.is_none() {
            let (_, mean) = mean_of(of, &Day::from(&pooled), Unit::Case)?;
            let error = discrimination::area(&pooled).ok()?.standard_error.filter(|error| *error > 0.0);
            (mean, negatives + positives, error.map(|error| logit_normal(mean, error, z)), "delong-logit")
        } else {
            if n == 0 {
                return None;
            }
            let count = n as f64;
            let mean = sum / count;
            // The losses of a share are counts.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of cases")]
            let (bounds, method) = if of.is_binary() && unit == Unit::Case {
                (wilson(sum.round() as u64, n, z), "wilson")
            } else {
                let error = libm::sqrt((square / count - mean * mean).max(0.0) / count);
                (wald(mean, error, z), "wald")
            };
            (mean, n, Some(bounds), method)
        };
        let interval = bounds.map(|bounds| {
            let ends = [bounds.lower, bounds.upper].map(|end| of.in_its_terms(end));
            Interval { lower: ends[0].min(ends[1]), upper: ends[0].max(ends[1]), method: method.to_owned() }
        });
        Some(Estimate {
            interval,
            positives: (negatives + positives > 0).then_some(positives),
            exactness: if pooled.is_exact() { Exactness::Exact } else { Exactness::Approximate },
            ..Estimate::exact(of.in_its_terms(mean), n)
        })
    }

    /// Which way a value lies, where both or the better one are watched: `worse`, `better`, `higher` or `lower` than what is allowed. `None`
    /// where only the worse is, and of a measure without a mean.
    #[must_use]
    pub fn way(&self, value: f64) -> Option<&'static str> {
        let of = self.mean.filter(|_| self.side != Side::Up)?;
        let rise = Mean { way: Way::Rise, ..of };
        let middle = self.strata.iter().find_map(|stratum| {
            let null = stratum.null.as_ref()?;
            let ends = [null.limit, null.other_limit.unwrap_or(null.limit)];
            Some(ends.map(|end| 0.5 * rise.from_its_terms(end)).iter().sum::<f64>())
        })?;
        Some(match (self.measure.is_share(), rise.from_its_terms(value) > middle) {
            (true, true) => "higher",
            (true, false) => "lower",
            (false, true) => "worse",
            (false, false) => "better",
        })
    }

    /// The metric of the catalogue that is the same thing; `None` where there is none.
    #[must_use]
    pub fn metric(&self) -> Option<MetricKey> {
        if self.against.is_some() {
            return None;
        }
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
        let shares: Vec<String> = shares.iter().filter(|share| share.tier != Tier::Watch).map(share).collect();
        if shares.is_empty() {
            return "of the streams that are listed as watched a bounded share is there in error; nobody is told"
                .to_owned();
        }
        format!("its share, {}, whatever the other streams do", shares.join(" and "))
    }

    /// What keeps the promise from being kept, in words; `None` while nothing is known to. `coverage` is the share of cases that had
    /// truth in time since the reference, `check` how much units were last found to hang together since.
    #[must_use]
    pub fn stressed(&self, coverage: Option<f64>, check: Option<&DesignEffect>) -> Option<String> {
        let units = plural(self.unit);
        let remedy = "take unit = \"cluster\"";
        let dependent = match (check, self.dependence) {
            _ if self.unit == Unit::Cluster => None,
            (Some(check), _) if check.is_shown() => Some(format!(
                "{units} of a day hang together: of the {} days sealed since the stream was made the design effect is {:.2}, and at least {:.2} \
                 is certain, where {} is allowed; {remedy}",
                check.buckets,
                check.value,
                check.lower,
                dependence::MOST
            )),
            (Some(check), _) if check.allows_cases() => None,
            (_, Some(effect)) if effect.allows_cases() => None,
            (_, Some(effect)) => Some(format!(
                "{units} of a day may hang together: the reference's design effect is {:.2}, and up to {:.2} cannot be ruled out, where {} is \
                 allowed; {remedy}",
                effect.value,
                effect.upper,
                dependence::MOST
            )),
            (Some(check), None) => Some(format!(
                "{units} of a day may hang together: of the {} days sealed so far the design effect is {:.2}, and up to {:.2} cannot be ruled \
                 out, where {} is allowed; {remedy}",
                check.buckets,
                check.value,
                check.upper,
                dependence::MOST
            )),
            (None, None) => Some(format!("nothing tells yet whether {units} of a day hang together; {remedy}")),
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

fn plural(unit: Unit) -> &'static str {
    match unit {
        Unit::Cluster => "days",
        Unit::Subject => "subjects",
        Unit::Case => "cases",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Watch;
    use crate::detect::sealing::Buckets;

    fn effect(value: f64, lower: f64, upper: f64) -> DesignEffect {
        DesignEffect { correlation: 0.0, size: 30.0, buckets: 90, value, upper, lower }
    }

    #[test]
    fn a_monthly_check_wins_over_the_reference() {
        let watch =
            Watch { unit: Unit::Case, threshold: Some(0.5), limit: Some(0.8), ..Watch::plain(Measure::Sensitivity) };
        let mut stream = Stream::new(&watch, ("s", 7), &Buckets::new(), 0.95).expect("a contract");
        let said = |stream: &Stream, check: Option<DesignEffect>| stream.stressed(None, check.as_ref());
        assert!(said(&stream, None).is_some_and(|reason| reason.contains("nothing tells yet")));
        assert!(said(&stream, Some(effect(1.2, 0.9, 1.5))).is_some_and(|reason| reason.contains("up to 1.50")));
        stream.dependence = Some(effect(1.0, 0.9, 1.05));
        assert_eq!(said(&stream, None), None);
        assert_eq!(said(&stream, Some(effect(1.2, 0.9, 1.5))), None, "chance alone explains it");
        let shown = said(&stream, Some(effect(1.6, 1.3, 2.0))).expect("they hang together");
        assert!(shown.contains("90 days") && shown.contains("1.60") && shown.contains("at least 1.30"), "{shown}");
        stream.dependence = Some(effect(1.2, 0.9, 1.5));
        assert!(said(&stream, None).is_some_and(|reason| reason.contains("the reference's design effect is 1.20")));
        assert_eq!(said(&stream, Some(effect(1.0, 0.9, 1.08))), None, "more days have shown that they do not");
        stream.unit = Unit::Cluster;
        assert_eq!(said(&stream, Some(effect(9.0, 8.0, 10.0))), None, "whole days may hang together as they like");
    }
}
