//! Fixed limits: pure functions from estimates to verdicts. Such a detector says what it is and promises no rate of false alarms.

use crate::config::{AlertRule, BoundRule, Limit};
use crate::domain::{Estimate, Outcome};

/// What a detector makes of one estimate.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The limit is broken.
    Breached,
    /// The limit is kept, or at least not surely broken.
    Kept,
    /// There is no number to judge; the reason.
    Undecided(String),
}

/// Judge an estimate by a rule with a fixed limit.
///
/// With [`BoundRule::Interval`] the whole 95 % interval must lie past the limit: the data rule out a metric that keeps it.
/// An estimate without an interval proves nothing.
///
/// While an alert `holds`, the rule's `clear` takes the place of its limit: a metric that wavers about the limit is one
/// breach, not many.
#[must_use]
pub fn judge(rule: &AlertRule, outcome: &Outcome, holds: bool) -> Verdict {
    let estimate = match outcome {
        Ok(estimate) => estimate,
        Err(reason) => return Verdict::Undecided(reason.to_string()),
    };
    let Some((least, most)) = range(rule.bound, estimate) else {
        return Verdict::Undecided("there is no interval at so few or so even cases".to_owned());
    };
    let clear = rule.clear.filter(|_| holds);
    let breached = match rule.limit {
        Limit::Below(limit) => most < clear.unwrap_or(limit),
        Limit::Above(limit) => least > clear.unwrap_or(limit),
    };
    if breached { Verdict::Breached } else { Verdict::Kept }
}

fn range(bound: BoundRule, estimate: &Estimate) -> Option<(f64, f64)> {
    match bound {
        BoundRule::Interval => estimate.interval.as_ref().map(|interval| (interval.lower, interval.upper)),
        BoundRule::Value => Some((estimate.value, estimate.value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Severity, SlicePattern};
    use crate::domain::estimate::Interval;
    use crate::domain::{MetricKey, Slice, Undefined, WindowSpec};

    fn rule(limit: Limit, bound: BoundRule) -> AlertRule {
        AlertRule {
            name: "r".into(),
            metric: MetricKey::plain("auroc"),
            output: None,
            slices: SlicePattern::One(Slice::all()),
            window: WindowSpec::RollingDays(7),
            limit,
            clear: None,
            bound,
            hold: std::time::Duration::ZERO,
            severity: Severity::Page,
            runbook: None,
        }
    }

    fn estimate(value: f64, lower: f64, upper: f64) -> Outcome {
        let interval = Some(Interval { lower, upper, method: "wilson".into() });
        Ok(Estimate { interval, ..Estimate::exact(value, 100) })
    }

    #[test]
    fn an_interval_rule_waits_for_proof() {
        let interval = rule(Limit::Below(0.85), BoundRule::Interval);
        assert_eq!(judge(&interval, &estimate(0.80, 0.74, 0.86), false), Verdict::Kept);
        assert_eq!(judge(&interval, &estimate(0.78, 0.72, 0.84), false), Verdict::Breached);
        let without = Ok(Estimate::exact(0.1, 3));
        assert!(matches!(judge(&interval, &without, false), Verdict::Undecided(_)), "no interval, no proof");
        let value = rule(Limit::Below(0.85), BoundRule::Value);
        assert_eq!(judge(&value, &estimate(0.80, 0.74, 0.86), false), Verdict::Breached);
    }

    #[test]
    fn a_limit_from_above_looks_at_the_lower_bound() {
        let above = rule(Limit::Above(0.2), BoundRule::Interval);
        assert_eq!(judge(&above, &estimate(0.3, 0.19, 0.4), false), Verdict::Kept);
        assert_eq!(judge(&above, &estimate(0.3, 0.21, 0.4), false), Verdict::Breached);
    }

    #[test]
    fn no_number_is_no_verdict() {
        let verdict = judge(&rule(Limit::Below(0.85), BoundRule::Interval), &Err(Undefined::NoPredictions), false);
        assert_eq!(verdict, Verdict::Undecided("no predictions in this window".into()));
    }

    #[test]
    fn an_alert_that_holds_ceases_past_its_clear_limit_alone() {
        let below = AlertRule { clear: Some(0.88), ..rule(Limit::Below(0.85), BoundRule::Value) };
        assert_eq!(judge(&below, &estimate(0.86, 0.8, 0.9), false), Verdict::Kept, "it begins at the limit");
        assert_eq!(judge(&below, &estimate(0.86, 0.8, 0.9), true), Verdict::Breached);
        assert_eq!(judge(&below, &estimate(0.88, 0.8, 0.9), true), Verdict::Kept);
        let above = AlertRule { clear: Some(0.1), ..rule(Limit::Above(0.2), BoundRule::Value) };
        assert_eq!(judge(&above, &estimate(0.15, 0.1, 0.2), true), Verdict::Breached);
        assert_eq!(judge(&above, &estimate(0.1, 0.1, 0.2), true), Verdict::Kept);
    }
}
