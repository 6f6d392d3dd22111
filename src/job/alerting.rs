//! Alerting: what detectors find becomes alerts, whoever found it.
//!
//! A detector states its findings; what they mean for an alert is decided by pure functions (`alert`), and carried out here:
//! the transition, its event, its audit entry and its notices are one transaction.
//! Must never: know how a finding was made. Look next at `job::detect`, which makes findings of rules.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Context, Error, Result};
use crate::alert::report::Report;
use crate::alert::{Standing, Step, step};
use crate::config::Severity;
use crate::detect::limit::Verdict;
use crate::runtime::Outcome;
use crate::store::alert::{AlertChange, AlertKey, OpenAlert};
use crate::store::lease::Lease;
use crate::store::outbox::NewNotice;

/// What a detector finds about one subject in one pass.
pub struct Finding<'a> {
    /// What it is about.
    pub key: AlertKey,
    /// Who is told.
    pub severity: Severity,
    /// Whether the condition holds.
    pub verdict: Verdict,
    /// How long it must hold before anybody is told.
    pub hold: Duration,
    /// Why, in words.
    pub reason: String,
    /// The decisive estimate.
    pub estimate_id: Option<i64>,
    /// Writes the notice of an alert that stands so; `None` where there is no number to speak of.
    pub report: Box<dyn Fn(Standing) -> Option<Report> + Send + Sync + 'a>,
}

/// The alerts that are open, and those that stay quiet until their condition has ceased.
pub struct Open(HashMap<AlertKey, OpenAlert>);

impl Open {
    /// As the store has them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(context: &Context) -> std::result::Result<Self, Error> {
        let alerts = context.store.list_open_alerts().await?;
        Ok(Self(alerts.into_iter().map(|alert| (alert.key.clone(), alert)).collect()))
    }
}

/// Carry out what the findings of a pass mean. They come all at once: what is open and not among them has nobody who speaks
/// of it any more.
///
/// # Errors
/// When the store fails.
pub async fn carry_out(
    context: &Context,
    lease: &Lease,
    open: &Open,
    findings: &[Finding<'_>],
    now: DateTime<Utc>,
) -> Result {
    let mut outcome = Outcome::Idle;
    for finding in findings {
        let known = open.0.get(&finding.key);
        let Some(step) = step(known.map(|alert| alert.standing), &finding.verdict, finding.hold, now) else { continue };
        let notices = if step.notifies { notices(context, finding, &step)? } else { Vec::new() };
        let change = AlertChange {
            alert_id: known.map(|alert| alert.alert_id),
            from: known.map(|alert| alert.standing.state),
            key: finding.key.clone(),
            severity: finding.severity.as_str(),
            transition: step.transition.as_str(),
            standing: step.standing,
            reason: finding.reason.clone(),
            estimate_id: finding.estimate_id,
            notices,
        };
        if apply(context, lease, &change, now).await? {
            outcome = Outcome::Done;
        }
    }
    // Nothing speaks of these any more: the window is empty, or the plan no longer has the rule.
    let found: HashSet<&AlertKey> = findings.iter().map(|finding| &finding.key).collect();
    for alert in open.0.values().filter(|alert| !found.contains(&alert.key)) {
        let why = "there is no estimate to judge any more".to_owned();
        let verdict = Verdict::Undecided(why.clone());
        let Some(step) = step(Some(alert.standing), &verdict, Duration::ZERO, now) else { continue };
        let change = AlertChange {
            alert_id: Some(alert.alert_id),
            from: Some(alert.standing.state),
            key: alert.key.clone(),
            severity: "",
            transition: step.transition.as_str(),
            standing: step.standing,
            reason: why,
            estimate_id: None,
            notices: Vec::new(),
        };
        if apply(context, lease, &change, now).await? {
            outcome = Outcome::Done;
        }
    }
    Ok(outcome)
}

/// Store one change; says whether it was still due.
async fn apply(
    context: &Context,
    lease: &Lease,
    change: &AlertChange,
    now: DateTime<Utc>,
) -> std::result::Result<bool, Error> {
    let Some(alert_id) = context.store.apply_alert_change(lease, change, now).await? else { return Ok(false) };
    let AlertChange { key, transition, reason, .. } = change;
    tracing::info!(alert_id, rule = key.rule, slice = key.slice, transition, reason, "alert");
    Ok(true)
}

/// One notice per recipient.
fn notices(context: &Context, finding: &Finding<'_>, step: &Step) -> std::result::Result<Vec<NewNotice>, Error> {
    let Some(report) = (finding.report)(step.standing) else { return Ok(Vec::new()) };
    let rendered = crate::notify::render(&report)?;
    let notice = |recipient: &String| NewNotice {
        recipient: recipient.clone(),
        subject: rendered.subject.clone(),
        body_text: rendered.text.clone(),
        body_html: rendered.html.clone(),
    };
    Ok(context.plan.notify.to.iter().map(notice).collect())
}
