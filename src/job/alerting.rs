//! Alerting: what detectors find becomes alerts, whoever found it.
//!
//! A detector states its findings; what they mean for an alert, and whether people are told, is decided by pure functions
//! (`alert`), and carried out here: all changes of one version, their events, audit entries and notices are one transaction.
//! Must never: know how a finding was made. Look next at `job::detect`, which makes findings of rules.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::notice::{Picture, draw};
use super::{Context, Error, Result};
use crate::alert::group::{Member, alone, bare, combine, lead, links};
use crate::alert::notice::{addressees_at, in_thread, keeps_state};
use crate::alert::report::{Event, Report};
use crate::alert::silence::Subject;
use crate::alert::tell::{Candidate, Decision, Policy, Told, decide};
use crate::alert::{Standing, State, Step, Terms, Transition, absent, raise, step};
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
    /// The model's name.
    pub model: &'a str,
    /// The version's name.
    pub version: &'a str,
    /// The output's name.
    pub output: &'a str,
    /// What is watched, such as the metric and the side of its limit: alerts of wider and narrower slices share it.
    pub concern: String,
    /// Who is told.
    pub severity: Severity,
    /// Whether the condition holds.
    pub verdict: Verdict,
    /// How long it must hold before anybody is told.
    pub hold: Duration,
    /// Whether a breach after a person has closed the alert is another one. A rule's is the same until it has ceased.
    pub anew: bool,
    /// Why, in words.
    pub reason: String,
    /// The decisive estimate.
    pub estimate_id: Option<i64>,
    /// Writes the notice of an alert that stands so, of an event; `None` where there is no number to speak of.
    pub report: Box<dyn Fn(Standing, Event) -> Option<Report> + Send + Sync + 'a>,
    /// What the notice can show.
    pub picture: Option<Picture<'a>>,
}

/// The alerts that are open, and those that stay quiet until their condition has ceased.
pub struct Open(HashMap<AlertKey, OpenAlert>);

impl Open {
    /// As the store has them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(context: &Context) -> std::result::Result<Self, Error> {
        let now = context.clock.now();
        if context.store.turn_alerts_back(now).await? > 0 {
            tracing::warn!("the clock has been set back: waits of open alerts begin now");
        }
        let alerts = context.store.list_open_alerts().await?;
        Ok(Self(alerts.into_iter().map(|alert| (alert.key.clone(), alert)).collect()))
    }

    /// The version that an open alert of a model's rule is about: what is known of the whole model stays with it.
    #[must_use]
    pub fn version_of(&self, model: &str, rule: &str) -> Option<(i32, &str)> {
        let own = self.0.values().filter(|alert| alert.model == model && alert.key.rule == rule);
        own.max_by_key(|alert| alert.alert_id).map(|alert| (alert.key.version_id, alert.version.as_str()))
    }

    /// Whether an alert holds by what was last judged: a detector with hysteresis judges it by another limit.
    #[must_use]
    pub fn holds(&self, key: &AlertKey) -> bool {
        self.0.get(key).is_some_and(|alert| alert.standing.holds())
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
    let silences = context.store.silences_in_force(now).await?;
    let (alerting, maintenance) = (&context.plan.alerting, &context.plan.maintenance);
    let policy = Policy { alerting, maintenance, silences: &silences };
    let found: HashSet<&AlertKey> = findings.iter().map(|finding| &finding.key).collect();
    let terms = |hold| Terms { hold, acknowledged_for: alerting.acknowledged_for, expire_after: alerting.expire_after };
    let known = findings.iter().filter_map(|finding| {
        let is_over = |alert: &&OpenAlert| finding.anew && !State::OPEN.contains(&alert.standing.state);
        let breached = finding.verdict == Verdict::Breached;
        let alert = open.0.get(&finding.key).filter(|alert| !(breached && is_over(alert)));
        let step = step(alert.map(|alert| alert.standing), &finding.verdict, &terms(finding.hold), now);
        // Page comes before ticket: whoever was told of less is told, whatever else happens.
        let was = alert.and_then(|alert| Severity::parse(&alert.severity));
        let after = step.map(|step| step.standing).or(alert.map(|alert| alert.standing));
        let raised = after.filter(|_| was.is_some_and(|was| finding.severity < was)).and_then(raise);
        Case::of_finding(finding, alert, raised.or(step))
    });
    // Nothing speaks of these any more: the window is empty, or the plan no longer has the rule.
    let gone = open.0.values().filter(|alert| !found.contains(&alert.key));
    let gone = gone.map(|alert| {
        // What something keeps quiet does not expire meanwhile: people would never hear of it.
        let may = |step: &Step| step.transition != Transition::Expired || alert.told.mute.is_none();
        Case::of_gone(alert, absent(alert.standing, &terms(Duration::ZERO), now).filter(may))
    });
    let mut versions: BTreeMap<i32, Vec<Case<'_>>> = BTreeMap::new();
    for case in known.chain(gone) {
        versions.entry(case.key.version_id).or_default().push(case);
    }
    let mut outcome = Outcome::Idle;
    for cases in versions.into_values() {
        if carry_out_version(context, lease, cases, &policy, now).await? {
            outcome = Outcome::Done;
        }
    }
    Ok(outcome)
}

/// Decide and store what changes about one version; says whether anything did.
async fn carry_out_version(
    context: &Context,
    lease: &Lease,
    mut cases: Vec<Case<'_>>,
    policy: &Policy<'_>,
    now: DateTime<Utc>,
) -> std::result::Result<bool, Error> {
    cases.sort_by(|a, b| a.key.cmp(b.key));
    let fresh = cases.iter().filter(|case| case.alert.is_none()).count();
    let mut reserved = context.store.reserve_alert_ids(fresh).await?.into_iter();
    for case in cases.iter_mut().filter(|case| case.alert.is_none()) {
        case.alert_id = reserved.next().unwrap_or_default();
    }
    let candidates: Vec<Candidate<'_>> = cases.iter().map(Case::candidate).collect();
    let mut changes = Vec::new();
    let mut told: BTreeMap<(Severity, i32), Vec<(&Case<'_>, Member)>> = BTreeMap::new();
    for (case, (decision, after)) in cases.iter().zip(decide(&candidates, policy, now)) {
        if matches!(decision, Decision::Tell(_)) {
            let member = case.member(&decision, &context.plan.service.public_url, (now, after.unanswered_since));
            told.entry((case.severity, after.escalation)).or_default().push((case, member));
        }
        changes.extend(case.change(&decision, after));
    }
    if changes.is_empty() {
        return Ok(false);
    }
    let mut notices = Vec::new();
    for ((severity, escalation), members) in &told {
        let together: Vec<i64> = members.iter().map(|(_, member)| member.alert_id).collect();
        if together.len() > 1 {
            let list = together.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            for change in changes.iter_mut().filter(|change| together.contains(&change.alert_id)) {
                change.decision.push_str(&format!("; one notice about alerts {list}"));
            }
        }
        notices.extend(write(context, members, (*severity, *escalation), now).await?);
    }
    if !context.store.apply_alert_changes(lease, &changes, &notices, now).await? {
        tracing::info!("a person took a step meanwhile; the next pass judges what they left");
        return Ok(false);
    }
    for AlertChange { alert_id, key, transition, reason, decision, .. } in &changes {
        tracing::info!(alert_id, rule = key.rule, slice = key.slice, transition, reason, decision, "alert");
    }
    Ok(true)
}

/// The notices about alerts of one version that are told of together, each with the alerts that it is about. People get one about
/// all of them, with links of their own and a picture of the first; programs that keep a state get one about each.
async fn write(
    context: &Context,
    members: &[(&Case<'_>, Member)],
    (severity, escalation): (Severity, i32),
    now: DateTime<Utc>,
) -> std::result::Result<Vec<(Vec<i64>, NewNotice)>, Error> {
    let Some(((first, _), model)) = members.first().map(|member| (member, member.0.subject.model)) else {
        return Ok(Vec::new());
    };
    let own: Vec<Member> = members.iter().map(|(_, member)| member.clone()).collect();
    let Some(mut together) = combine(&own) else { return Ok(Vec::new()) };
    let url = &context.plan.service.public_url;
    lead(&mut together, &own, url);
    let alerts: Vec<i64> = own.iter().map(|member| member.alert_id).collect();
    let plan = &context.plan;
    let addressees = addressees_at((&plan.notify, &plan.alerting), (severity, model), escalation);
    let shows = addressees.iter().any(|addressee| addressee.channel == "email");
    let picture = match first.finding.and_then(|finding| finding.picture.as_ref()).filter(|_| shows) {
        Some(picture) => draw(context, picture, &together).await.unwrap_or_else(|error| {
            tracing::warn!(error = format!("{:#}", anyhow::Error::from(error)), "a notice has no chart");
            None
        }),
        None => None,
    };
    let mut notices = Vec::new();
    for addressee in addressees {
        if keeps_state(&addressee.channel) {
            for member in &own {
                let (addressee, mut report) = (addressee.clone(), alone(member));
                lead(&mut report, std::slice::from_ref(member), url);
                notices.push((vec![member.alert_id], NewNotice { addressee, report, chart: None, escalation }));
            }
            continue;
        }
        let (mut report, mut chart) = (together.clone(), None);
        if addressee.channel == "email" {
            report.links.extend(links(&own, &context.signer, url, &addressee.recipient, now));
            if let Some((words, png)) = picture.clone() {
                (report.chart, chart) = (Some(words), Some(png));
            }
        }
        notices.push((alerts.clone(), NewNotice { addressee, report, chart, escalation }));
    }
    Ok(notices)
}

/// One alert of a pass, open or about to be.
struct Case<'a> {
    key: &'a AlertKey,
    subject: Subject<'a>,
    severity: Severity,
    alert: Option<&'a OpenAlert>,
    alert_id: i64,
    step: Option<Step>,
    standing: Standing,
    reason: String,
    finding: Option<&'a Finding<'a>>,
}

impl<'a> Case<'a> {
    /// What a finding is to an alert; nothing when there is none and none begins.
    fn of_finding(finding: &'a Finding<'a>, alert: Option<&'a OpenAlert>, step: Option<Step>) -> Option<Self> {
        let standing = step.map(|step| step.standing).or(alert.map(|alert| alert.standing))?;
        let Finding { key, model, version, output, .. } = finding;
        Some(Self {
            key,
            subject: Subject { model, version, rule: &key.rule, output, slice: &key.slice },
            severity: alert
                .and_then(|alert| Severity::parse(&alert.severity))
                .map_or(finding.severity, |was| was.min(finding.severity)),
            alert,
            alert_id: alert.map_or(0, |alert| alert.alert_id),
            step,
            standing,
            reason: finding.reason.clone(),
            finding: Some(finding),
        })
    }

    /// An alert that nothing speaks of.
    fn of_gone(alert: &'a OpenAlert, step: Option<Step>) -> Self {
        let OpenAlert { key, model, version, output, .. } = alert;
        Self {
            key,
            subject: Subject { model, version, rule: &key.rule, output, slice: &key.slice },
            severity: Severity::parse(&alert.severity).unwrap_or(Severity::Page),
            alert: Some(alert),
            alert_id: alert.alert_id,
            step,
            standing: step.map_or(alert.standing, |step| step.standing),
            reason: "there is no estimate to judge any more".to_owned(),
            finding: None,
        }
    }

    fn candidate(&self) -> Candidate<'_> {
        Candidate {
            alert_id: self.alert_id,
            subject: self.subject,
            concern: self.finding.map(|finding| finding.concern.as_str()),
            severity: self.severity,
            standing: self.standing,
            is_news: self.step.is_some_and(|step| step.notifies),
            told: self.told().clone(),
        }
    }

    fn told(&self) -> &Told {
        static NOTHING: Told = Told { last_at: None, unanswered_since: None, escalation: 0, owed: false, mute: None };
        self.alert.map_or(&NOTHING, |alert| &alert.told)
    }

    /// What a notice says about it.
    fn member(
        &self,
        decision: &Decision,
        public_url: &str,
        (now, episode): (DateTime<Utc>, Option<DateTime<Utc>>),
    ) -> Member {
        let transition = self.step.map(|step| step.transition);
        let event = Event {
            transition: transition.map_or("told", Transition::as_str).to_owned(),
            state: self.standing.state.as_str().to_owned(),
            at: now,
            actor: "dosimeter".to_owned(),
            reason: self.reason.clone(),
        };
        let occasion = match transition {
            Some(Transition::Fired) => None,
            Some(Transition::Recurred) => Some("the condition holds again".to_owned()),
            Some(Transition::Lapsed) => Some("the acknowledgement is over, and the condition still holds".to_owned()),
            Some(Transition::Raised) => Some(format!("it is a {} now", self.severity.as_str())),
            Some(Transition::Expired) => Some(format!("{}: the alert has expired and is closed", self.reason)),
            _ => Some(decision.to_string()),
        };
        let report = self.finding.and_then(|finding| (finding.report)(self.standing, event.clone()));
        let report = report.unwrap_or_else(|| {
            bare(&self.subject, self.alert_id, self.severity, self.standing.since, event, public_url)
        });
        let report = Report { episode, ..report };
        let report = if transition == Some(Transition::Fired) { report } else { in_thread(report) };
        Member { alert_id: self.alert_id, report, occasion }
    }

    /// What is to be stored: a step, a decision to tell, or another reason for not telling; nothing when all is as it was.
    fn change(&self, decision: &Decision, told: Told) -> Option<AlertChange> {
        let transition = match (self.step, decision) {
            (Some(step), _) => step.transition.as_str(),
            (None, Decision::Tell(_)) => "told",
            (None, Decision::Keep(_)) if told.mute == self.told().mute => return None,
            (None, Decision::Keep(_)) if told.mute.is_some() => "muted",
            (None, Decision::Keep(_)) => "unmuted",
        };
        Some(AlertChange {
            alert_id: self.alert_id,
            from: self.alert.map(|alert| alert.standing.state),
            key: self.key.clone(),
            severity: self.severity.as_str(),
            transition,
            standing: self.standing,
            told,
            reason: self.reason.clone(),
            decision: decision.to_string(),
            estimate_id: self.finding.and_then(|finding| finding.estimate_id),
        })
    }
}
