//! Detect: the latest estimates are judged by the plan's rules, and alarms of sealed evidence join them.
//!
//! The verdict is pure (`detect`); what it means for an alert is carried out by `alerting`.

use std::collections::HashMap;
use std::sync::Arc;

use super::alerting::{Finding, Open, carry_out};
use super::notice::Picture;
use super::{Context, Result};
use crate::alert::Standing;
use crate::alert::report::{Event, Facts, Report, write};
use crate::config::{AlertRule, Model};
use crate::detect::limit::{Verdict, judge};
use crate::domain::{Estimate, MetricKey, Outcome as MetricOutcome};
use crate::store::alert::AlertKey;
use crate::store::catalog::Version;
use crate::store::estimate::StoredEstimate;
use crate::store::lease::Lease;

/// Judge every rule of the plan.
///
/// # Errors
/// When the store fails.
pub async fn run(context: &Context, lease: &Lease) -> Result {
    let now = context.clock.now();
    let estimates = context.store.latest_estimates().await?;
    let versions = context.store.list_versions().await?;
    let health = context.store.list_health().await?;
    let open = Open::load(context).await?;
    let mut findings = Vec::new();
    for version in &versions {
        let Some((model, numbers)) = context.model_of(version) else { continue };
        let own: Arc<[&StoredEstimate]> =
            estimates.iter().filter(|estimate| estimate.version_id == version.version_id).collect();
        let names: HashMap<i32, &str> = numbers.quantities.iter().map(|(name, id)| (*id, name.as_str())).collect();
        for rule in &model.alerts {
            for estimate in own.iter().filter(|estimate| watches(rule, estimate, &names)) {
                let Some(output) = names.get(&estimate.output_id) else { continue };
                let subject = Subject { context, version, model, rule, output, estimate, all: own.clone() };
                findings.extend(subject.finding(&open));
            }
        }
    }
    findings.extend(super::streams::findings(context, &versions, &estimates).await?);
    findings.extend(super::health::findings(context, &health, &versions, &open));
    let outcome = carry_out(context, lease, &open, &findings, now).await?;
    context.store.link_alarms(lease).await?;
    Ok(outcome)
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
    all: Arc<[&'a StoredEstimate]>,
}

impl<'a> Subject<'a> {
    /// What the rule makes of the estimate; nothing while that has no such metric.
    fn finding(self, open: &Open) -> Option<Finding<'a>> {
        let outcome = find(self.estimate, &self.rule.metric)?;
        let key = AlertKey {
            rule: self.rule.name.clone(),
            version_id: self.version.version_id,
            output_id: self.estimate.output_id,
            slice: self.estimate.slice.to_string(),
        };
        let verdict = judge(self.rule, outcome, open.holds(&key));
        Some(Finding {
            key,
            model: &self.model.name,
            version: &self.version.name,
            output: self.output,
            concern: format!("{} {}", self.rule.metric, self.rule.limit.side()),
            severity: self.rule.severity,
            reason: reason(self.rule, outcome, &verdict),
            verdict: verdict.clone(),
            hold: self.rule.hold,
            anew: false,
            estimate_id: Some(self.estimate.estimate_id),
            picture: Some(Picture::Metric {
                rule: self.rule,
                estimate: self.estimate,
                reference: self.reference_estimate(),
            }),
            report: Box::new(move |standing, event| {
                let mut report = self.report(outcome.as_ref().ok()?, standing, event);
                // Between the limit and `clear` it holds without being past the limit.
                if verdict == Verdict::Breached && judge(self.rule, outcome, false) == Verdict::Kept {
                    let what = reason(self.rule, outcome, &verdict);
                    report
                        .lines
                        .iter_mut()
                        .filter(|(label, _)| label == "What")
                        .for_each(|(_, text)| *text = what.clone());
                }
                Some(report)
            }),
        })
    }

    fn report(&self, estimate: &Estimate, standing: Standing, event: Event) -> Report {
        let reference = self.reference_estimate();
        write(&Facts {
            event,
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
            since: standing.since,
            known_at: self.estimate.known_at,
            recorded: self.estimate.recorded,
            public_url: &self.context.plan.service.public_url,
            grafana_url: self.context.plan.service.grafana_url.as_deref(),
        })
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
    let is_past = judge(rule, outcome, false) == Verdict::Breached;
    let holds = match (*verdict == Verdict::Breached, is_past, rule.clear) {
        (true, false, Some(clear)) => {
            return format!(
                "{} {number} has been past its limit ({}) and is not back at {clear}",
                rule.metric, rule.limit
            );
        }
        (true, ..) => "is past",
        (false, ..) => "is not past",
    };
    format!("{} {number} {holds} its limit ({}; {})", rule.metric, rule.limit, rule.bound)
}
