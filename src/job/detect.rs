//! Detect: the latest estimates become alerts.
//!
//! The verdict and the step are pure (`detect`, `alert`); this job carries them out: the transition, its event, its audit
//! entry and its notices are one transaction.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Context, Error, Result};
use crate::alert::notice::in_thread;
use crate::alert::report::{Event, Facts, write};
use crate::alert::{Step, Transition, step};
use crate::config::{AlertRule, Model};
use crate::detect::limit::{Verdict, judge};
use crate::domain::{Estimate, MetricKey, Outcome as MetricOutcome};
use crate::runtime::Outcome;
use crate::store::alert::{AlertChange, AlertKey, OpenAlert};
use crate::store::catalog::Version;
use crate::store::estimate::StoredEstimate;
use crate::store::lease::Lease;
use crate::store::outbox::NewNotice;

/// Judge every rule of the plan.
///
/// # Errors
/// When the store fails.
pub async fn run(context: &Context, lease: &Lease) -> Result {
    let now = context.clock.now();
    let estimates = context.store.latest_estimates().await?;
    let versions = context.store.list_versions().await?;
    let open = context.store.list_open_alerts().await?;
    let open: HashMap<&AlertKey, &OpenAlert> = open.iter().map(|alert| (&alert.key, alert)).collect();
    let mut outcome = Outcome::Idle;
    let mut judged: HashSet<AlertKey> = HashSet::new();
    for version in &versions {
        let Some((model, numbers)) = context.model_of(version) else { continue };
        let own: Vec<&StoredEstimate> =
            estimates.iter().filter(|estimate| estimate.version_id == version.version_id).collect();
        let names: HashMap<i32, &str> = numbers.quantities.iter().map(|(name, id)| (*id, name.as_str())).collect();
        for rule in &model.alerts {
            for estimate in own.iter().filter(|estimate| watches(rule, estimate, &names)) {
                let Some(output) = names.get(&estimate.output_id) else { continue };
                let subject = Subject { context, version, model, rule, output, estimate, all: &own };
                if find(estimate, &rule.metric).is_none() {
                    continue;
                }
                judged.insert(subject.key());
                if subject.judge(lease, &open, now).await? {
                    outcome = Outcome::Done;
                }
            }
        }
    }
    // Nothing speaks of these any more: the window is empty, or the plan no longer has the rule.
    for alert in open.values().filter(|alert| !judged.contains(&alert.key)) {
        if abandon(context, lease, alert, now).await? {
            outcome = Outcome::Done;
        }
    }
    Ok(outcome)
}

/// Carry out what the absence of an estimate means for an open alert; says whether it means anything.
async fn abandon(
    context: &Context,
    lease: &Lease,
    alert: &OpenAlert,
    now: DateTime<Utc>,
) -> std::result::Result<bool, Error> {
    let why = "there is no estimate to judge any more";
    let Some(step) = step(Some(alert.standing), &Verdict::Undecided(why.to_owned()), Duration::ZERO, now) else {
        return Ok(false);
    };
    let change = AlertChange {
        alert_id: Some(alert.alert_id),
        from: Some(alert.standing.state),
        key: alert.key.clone(),
        severity: "",
        transition: step.transition.as_str(),
        standing: step.standing,
        reason: why.to_owned(),
        estimate_id: None,
        notices: Vec::new(),
    };
    tracing::info!(alert_id = alert.alert_id, transition = change.transition, reason = why, "alert");
    Ok(context.store.apply_alert_change(lease, &change, now).await?.is_some())
}

fn watches(rule: &AlertRule, estimate: &StoredEstimate, names: &HashMap<i32, &str>) -> bool {
    estimate.window_name == rule.window.to_string()
        && rule.slices.matches(&estimate.slice)
        && rule.output.as_deref().is_none_or(|output| names.get(&estimate.output_id) == Some(&output))
}

/// One rule on one estimate.
struct Subject<'a> {
    context: &'a Context,
    version: &'a Version,
    model: &'a Model,
    rule: &'a AlertRule,
    output: &'a str,
    estimate: &'a StoredEstimate,
    all: &'a [&'a StoredEstimate],
}

impl Subject<'_> {
    /// Carry out the step that the estimate causes, if any; says whether there was one.
    async fn judge(
        &self,
        lease: &Lease,
        open: &HashMap<&AlertKey, &OpenAlert>,
        now: DateTime<Utc>,
    ) -> std::result::Result<bool, Error> {
        let key = self.key();
        let Some(outcome) = find(self.estimate, &self.rule.metric) else { return Ok(false) };
        let verdict = judge(self.rule, outcome);
        let known = open.get(&key).copied();
        let standing = known.map(|alert| alert.standing);
        let Some(step) = step(standing, &verdict, self.rule.hold, now) else { return Ok(false) };
        let reason = reason(self.rule, outcome, &verdict);
        let notices = match outcome {
            Ok(estimate) if step.notifies => self.notices(estimate, &step, &reason, now).await?,
            _ => Vec::new(),
        };
        let change = AlertChange {
            alert_id: known.map(|alert| alert.alert_id),
            from: standing.map(|standing| standing.state),
            key,
            severity: self.rule.severity.as_str(),
            transition: step.transition.as_str(),
            standing: step.standing,
            reason,
            estimate_id: Some(self.estimate.estimate_id),
            notices,
        };
        let Some(alert_id) = self.context.store.apply_alert_change(lease, &change, now).await? else {
            return Ok(false);
        };
        self.log(alert_id, &step, &change.reason);
        Ok(true)
    }

    fn key(&self) -> AlertKey {
        AlertKey {
            rule: self.rule.name.clone(),
            version_id: self.version.version_id,
            output_id: self.estimate.output_id,
            slice: self.estimate.slice.to_string(),
        }
    }

    fn log(&self, alert_id: i64, step: &Step, reason: &str) {
        tracing::info!(
            alert_id,
            rule = self.rule.name,
            output = self.output,
            slice = %self.estimate.slice,
            transition = step.transition.as_str(),
            reason,
            "alert"
        );
    }

    /// One notice per addressee.
    async fn notices(
        &self,
        estimate: &Estimate,
        step: &Step,
        reason: &str,
        now: DateTime<Utc>,
    ) -> std::result::Result<Vec<NewNotice>, Error> {
        let reference = self.reference_estimate();
        let report = write(&Facts {
            event: Event {
                transition: step.transition.as_str().to_owned(),
                state: step.standing.state.as_str().to_owned(),
                at: now,
                actor: "dosimeter".to_owned(),
                reason: reason.to_owned(),
            },
            rule: self.rule,
            model: &self.model.name,
            version: &self.version.name,
            output: self.output,
            slice: &self.estimate.slice,
            window: self.estimate.window,
            estimate,
            reference: reference.as_ref(),
            reference_id: self.estimate.reference_id,
            slices: self.other_slices(),
            since: step.standing.since,
            known_at: self.estimate.known_at,
            recorded: self.estimate.recorded,
            public_url: &self.context.plan.service.public_url,
            grafana_url: self.context.plan.service.grafana_url.as_deref(),
        });
        let report = if step.transition == Transition::Fired { report } else { in_thread(report) };
        super::notice::of_alert(self.context, self.rule, self.estimate, reference.as_ref(), report).await
    }

    /// The metric on the reference, as the estimate found it.
    fn reference_estimate(&self) -> Option<Estimate> {
        let name = format!("reference_{}", self.rule.metric.name);
        let key = MetricKey { name, ..self.rule.metric.clone() };
        find(self.estimate, &key)?.clone().ok()
    }

    /// The same metric of the other single-dimension slices, the worst first.
    fn other_slices(&self) -> Vec<(String, Estimate)> {
        let mut slices: Vec<(String, Estimate)> = self
            .all
            .iter()
            .filter(|other| {
                other.output_id == self.estimate.output_id
                    && other.window_name == self.estimate.window_name
                    && other.slice != self.estimate.slice
            })
            .filter_map(|other| Some((other.slice.to_string(), find(other, &self.rule.metric)?.clone().ok()?)))
            .collect();
        slices.sort_by(|(_, a), (_, b)| a.value.total_cmp(&b.value));
        if matches!(self.rule.limit, crate::config::Limit::Above(_)) {
            slices.reverse();
        }
        slices.truncate(8);
        slices
    }
}

fn find<'e>(estimate: &'e StoredEstimate, key: &MetricKey) -> Option<&'e MetricOutcome> {
    estimate.metrics.iter().find(|(known, _)| known == key).map(|(_, outcome)| outcome)
}

fn reason(rule: &AlertRule, outcome: &MetricOutcome, verdict: &Verdict) -> String {
    let number = match outcome {
        Ok(estimate) => match &estimate.interval {
            Some(i) => format!("{} ({} to {}, n {})", estimate.value, i.lower, i.upper, estimate.n),
            None => format!("{} (n {})", estimate.value, estimate.n),
        },
        Err(reason) => reason.to_string(),
    };
    let holds = if *verdict == Verdict::Breached { "is past" } else { "is not past" };
    format!("{} {number} {holds} the limit {:?} ({:?})", rule.metric, rule.limit, rule.bound)
}
