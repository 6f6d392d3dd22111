//! Whether people are told, and why: a pure decision about every open alert of a pass, with a reason that is kept.
//!
//! Laws, which the tests state: nobody is told of what is muted; what a silence kept quiet and still holds is told at the
//! first look after it; an unacknowledged alert that holds is never quiet for longer than its repeat, unless muted.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::silence::{Mute, Silence, Subject, muted};
use super::{PAUSE, Standing, State, lasted};
use crate::config::{Alerting, Maintenance, Severity};
use crate::domain::Slice;
use crate::domain::window::show_instant;

/// What people know of an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// When they were last told.
    pub last_at: Option<DateTime<Utc>>,
    /// Since when nobody has acknowledged what they were told.
    pub unanswered_since: Option<DateTime<Utc>>,
    /// The level of escalation that they were told at.
    pub escalation: i32,
    /// Whether there is news that something has kept from them.
    pub owed: bool,
    /// What keeps it quiet, as last decided.
    pub mute: Option<Mute>,
}

/// An open alert after this pass's step.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// Its number.
    pub alert_id: i64,
    /// What it is about.
    pub subject: Subject<'a>,
    /// What is watched: alerts of wider and narrower slices share it.
    pub concern: Option<&'a str>,
    /// Who is told.
    pub severity: Severity,
    /// Where it stands.
    pub standing: Standing,
    /// Whether this pass's step is news.
    pub is_news: bool,
    /// What people know of it.
    pub told: Told,
}

/// Why people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// There is news: it fired, came back, or its acknowledgement is over.
    News,
    /// It was muted, and still holds.
    Unmuted(Mute),
    /// Nobody has acknowledged it for so long.
    Escalated(i32, Duration),
    /// Nobody has acknowledged it, and they were told so long ago.
    Repeated(Duration),
}

/// Why people are not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quiet {
    /// It has not held for long enough, or is closed.
    NotFiring,
    /// Something keeps it quiet.
    Muted(Mute),
    /// The condition does not hold at present.
    NotHolding,
    /// Somebody has taken it up.
    Acknowledged,
    /// They know; they are told again at an instant, if ever.
    Known(Option<DateTime<Utc>>),
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// People are told.
    Tell(Occasion),
    /// People are not told.
    Keep(Quiet),
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |length: &Duration| crate::domain::window::show_span(Duration::from_secs(length.as_secs()));
        match self {
            Self::Tell(Occasion::News) => f.write_str("told: there is news"),
            Self::Tell(Occasion::Unmuted(Mute::Inhibited(id))) => write!(f, "told: it was inhibited by alert {id}"),
            Self::Tell(Occasion::Unmuted(mute)) => write!(f, "told: it was {mute}, and still holds"),
            Self::Tell(Occasion::Escalated(level, length)) => {
                write!(f, "told, escalation {level}: nobody has acknowledged it for {}", span(length))
            }
            Self::Tell(Occasion::Repeated(length)) => {
                write!(f, "told again: nobody has acknowledged it, and people were last told {} ago", span(length))
            }
            Self::Keep(Quiet::NotFiring) => f.write_str("not told: it is not firing"),
            Self::Keep(Quiet::Muted(mute)) => write!(f, "not told: {mute}"),
            Self::Keep(Quiet::NotHolding) => f.write_str("not told: the condition does not hold at present"),
            Self::Keep(Quiet::Acknowledged) => f.write_str("not told: somebody has taken it up"),
            Self::Keep(Quiet::Known(Some(again))) => {
                write!(f, "not told: people know of it, and are told again at {}", show_instant(*again))
            }
            Self::Keep(Quiet::Known(None)) => f.write_str("not told: people know of it"),
        }
    }
}

/// What the plan and people have said about telling.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Repeats and escalation.
    pub alerting: &'a Alerting,
    /// Times known in advance.
    pub maintenance: &'a [Maintenance],
    /// Silences that may be in force.
    pub silences: &'a [Silence],
}

/// Decide about the open alerts of one version, and say what people know after it. The answers stand in the order of the
/// candidates.
#[must_use]
pub fn decide(candidates: &[Candidate<'_>], policy: &Policy<'_>, now: DateTime<Utc>) -> Vec<(Decision, Told)> {
    let slices: Vec<Slice> = candidates.iter().map(|c| c.subject.slice.parse().unwrap_or_default()).collect();
    // Wider slices first: whether people know of a parent decides about its children.
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|index| (slices[*index].cells().count(), *index));
    let mut answers: Vec<Option<(Decision, Told)>> = vec![None; candidates.len()];
    for index in order {
        let own = &candidates[index];
        let explains = |other: &usize| {
            let (parent, told) = (&candidates[*other], answers[*other].as_ref().map(|(_, told)| told));
            is_part(&slices[index], &slices[*other])
                && own.concern.is_some()
                && own.concern == parent.concern
                && own.subject.output == parent.subject.output
                && rank(parent.severity) >= rank(own.severity)
                && is_open(&parent.standing)
                && parent.standing.breached
                && told.is_some_and(is_known)
        };
        let parent = (0..candidates.len()).find(explains).map(|other| Mute::Inhibited(candidates[other].alert_id));
        let is_there = |id: i64| candidates.iter().any(|other| other.alert_id == id && is_open(&other.standing));
        let gone = own
            .told
            .mute
            .clone()
            .filter(|mute| own.concern.is_none() && matches!(mute, Mute::Inhibited(parent) if is_there(*parent)));
        let mute = muted(&own.subject, policy.silences, policy.maintenance, now).or(parent).or(gone);
        answers[index] = Some(decide_one(own, mute, policy.alerting, now));
    }
    answers.into_iter().flatten().collect()
}

/// Whether people know of an alert as it is now: they have been told, nothing is owed to them, and no silence keeps it quiet.
fn is_known(told: &Told) -> bool {
    let is_silent = told.mute.as_ref().is_some_and(|mute| !matches!(mute, Mute::Inhibited(_)));
    told.last_at.is_some() && !told.owed && !is_silent
}

/// Whether a slice lies within another and is smaller.
fn is_part(narrow: &Slice, wide: &Slice) -> bool {
    let cells: Vec<_> = narrow.cells().collect();
    wide != narrow && wide.cells().all(|cell| cells.contains(&cell))
}

fn rank(severity: Severity) -> u8 {
    match severity {
        Severity::Ticket => 0,
        Severity::Page => 1,
    }
}

fn is_open(standing: &Standing) -> bool {
    matches!(standing.state, State::Firing | State::Acknowledged)
}

fn decide_one(
    candidate: &Candidate<'_>,
    mute: Option<Mute>,
    alerting: &Alerting,
    now: DateTime<Utc>,
) -> (Decision, Told) {
    let Candidate { standing, is_news, severity, .. } = candidate;
    let owed = candidate.told.owed || *is_news;
    let told = Told { owed, mute: mute.clone(), ..candidate.told.clone() };
    let keep = |quiet| (Decision::Keep(quiet), told.clone());
    let tell = |occasion: Occasion| {
        let starts_anew = matches!(occasion, Occasion::News | Occasion::Unmuted(_)) || told.unanswered_since.is_none();
        let escalation = match occasion {
            Occasion::Escalated(level, _) => level,
            Occasion::Repeated(_) => told.escalation,
            Occasion::News | Occasion::Unmuted(_) => 0,
        };
        let after = Told {
            last_at: Some(now),
            unanswered_since: if starts_anew { Some(now) } else { told.unanswered_since },
            escalation,
            owed: false,
            mute: None,
        };
        (Decision::Tell(occasion), after)
    };
    if standing.state == State::Expired && owed {
        return match mute {
            Some(mute) => keep(Quiet::Muted(mute)),
            None => tell(Occasion::News),
        };
    }
    if !is_open(standing) {
        return (Decision::Keep(Quiet::NotFiring), Told { mute: None, ..candidate.told.clone() });
    }
    if let Some(mute) = mute {
        return keep(Quiet::Muted(mute));
    }
    if !standing.breached {
        return keep(Quiet::NotHolding);
    }
    let before = candidate.told.mute.clone();
    if owed {
        return tell(before.filter(|_| !is_news).map_or(Occasion::News, Occasion::Unmuted));
    }
    if standing.state == State::Acknowledged {
        return keep(Quiet::Acknowledged);
    }
    let quiet = told.last_at.map_or(Duration::MAX, |at| lasted(at, now));
    if let Some(before) = before {
        // A parent that comes and goes must not make its children heard each time.
        if !matches!(before, Mute::Inhibited(_)) || quiet >= PAUSE {
            return tell(Occasion::Unmuted(before));
        }
    }
    let unanswered = told.unanswered_since.map_or(Duration::ZERO, |since| lasted(since, now));
    let level = alerting.level(unanswered);
    if level > told.escalation {
        return tell(Occasion::Escalated(level, unanswered));
    }
    let repeat = alerting.repeat(*severity);
    if !repeat.is_zero() && quiet >= repeat {
        return tell(Occasion::Repeated(quiet));
    }
    let again = TimeDelta::from_std(repeat).ok().filter(|repeat| !repeat.is_zero());
    keep(Quiet::Known(told.last_at.zip(again).map(|(last, again)| last + again)))
}

#[cfg(test)]
mod tests;
