//! Alerts: a pure state machine, the decision to notify, and what a notice says.
//!
//! Falling evidence resolves nothing: a person does. A pending alert whose condition ceases was never told to anybody and
//! is cleared. An acknowledgement ends, and an alert whose subject is gone expires. [`step`] and [`absent`] move the state;
//! `tell` decides, with a reason, whether people are told.
//! Must never: store or send. Look next at `tell`, then at `job::alerting`, which carries both out.

pub mod alarm;
pub mod group;
pub mod health;
pub mod link;
pub mod notice;
pub mod record;
pub mod report;
pub mod silence;
pub mod tell;

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::detect::limit::Verdict;

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The condition holds, not yet for long enough.
    Pending,
    /// People have been told.
    Firing,
    /// Somebody has taken it up.
    Acknowledged,
    /// A person has closed it.
    Resolved,
    /// The condition ceased before anybody was told.
    Cleared,
    /// Nothing spoke of its subject any more for a long time.
    Expired,
}

impl State {
    /// States of alerts that are open.
    pub const OPEN: [Self; 3] = [Self::Pending, Self::Firing, Self::Acknowledged];
    const CLOSED: [Self; 3] = [Self::Resolved, Self::Cleared, Self::Expired];

    /// The word that the store, the metrics and people use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
            Self::Cleared => "cleared",
            Self::Expired => "expired",
        }
    }

    /// The state of a word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::OPEN.into_iter().chain(Self::CLOSED).find(|state| state.as_str() == text)
    }
}

/// What is known of an open alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its state.
    pub state: State,
    /// Whether the condition held when it was last judged.
    pub breached: bool,
    /// Since when `breached` has its present value.
    pub since: DateTime<Utc>,
    /// When somebody took it up, if somebody has.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// Since when nothing speaks of its subject, if nothing does.
    pub missing_since: Option<DateTime<Utc>>,
}

impl Standing {
    /// A standing that has just begun.
    #[must_use]
    pub fn new(state: State, breached: bool, since: DateTime<Utc>) -> Self {
        Self { state, breached, since, acknowledged_at: None, missing_since: None }
    }

    /// Whether the condition has been seen to hold for long enough, and not to have ceased: then a rule's `clear` counts.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.breached && self.state != State::Pending
    }
}

/// What a rule and the plan ask of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a condition must hold before anybody is told.
    pub hold: Duration,
    /// How long an acknowledgement lasts; zero: for ever.
    pub acknowledged_for: Duration,
    /// How long a subject is gone before its alert expires; zero: for ever.
    pub expire_after: Duration,
}

/// One step of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What happened.
    pub transition: Transition,
    /// The alert after it.
    pub standing: Standing,
    /// Whether it is news, which people are told unless something keeps it quiet.
    pub notifies: bool,
}

/// What can happen to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// The condition began to hold.
    Began,
    /// It has held for long enough: people are told.
    Fired,
    /// It ceased before anybody was told.
    Cleared,
    /// It ceased; the alert stays open until a person resolves it.
    Ceased,
    /// It holds again.
    Recurred,
    /// It was acknowledged long ago and still holds: the acknowledgement is over.
    Lapsed,
    /// Nothing speaks of its subject any more.
    Vanished,
    /// Something speaks of its subject again.
    Returned,
    /// Nothing has spoken of its subject for a long time: it is closed.
    Expired,
    /// It is more urgent than it was.
    Raised,
}

impl Transition {
    /// The word of the history.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::Fired => "fired",
            Self::Cleared => "cleared",
            Self::Ceased => "ceased",
            Self::Recurred => "recurred",
            Self::Lapsed => "lapsed",
            Self::Vanished => "vanished",
            Self::Returned => "returned",
            Self::Expired => "expired",
            Self::Raised => "raised",
        }
    }
}

/// A condition that ceased for at least so long and holds again is news, to whoever has forgotten the open alert too.
const PAUSE: Duration = Duration::from_secs(86_400);

/// The step that a verdict causes; `None` when nothing changes.
///
/// A rule's `for` asks that the condition hold all the time: without a number it is not known to hold, so a pending alert is
/// cleared. One that has fired is left as it is: no number is no recovery.
#[must_use]
pub fn step(open: Option<Standing>, verdict: &Verdict, terms: &Terms, now: DateTime<Utc>) -> Option<Step> {
    let breached = *verdict == Verdict::Breached;
    let undecided = matches!(verdict, Verdict::Undecided(_));
    let (hold, lasted) = (terms.hold, |since| lasted(since, now));
    let silent = |transition, standing| Step { transition, standing, notifies: false };
    let fired = |since| {
        let standing = Standing::new(State::Firing, true, since);
        Step { transition: Transition::Fired, standing, notifies: true }
    };
    let returned = open.is_some_and(|open| open.missing_since.is_some());
    let open = open.map(|open| Standing { missing_since: None, ..open });
    let step = match open {
        None if !breached => None,
        None if hold.is_zero() => Some(fired(now)),
        None => Some(silent(Transition::Began, Standing::new(State::Pending, breached, now))),
        Some(open) if open.state == State::Pending => match breached {
            false => Some(silent(Transition::Cleared, Standing::new(State::Cleared, breached, now))),
            true if lasted(open.since) >= hold => Some(fired(open.since)),
            true => None,
        },
        // A person closed it knowing that it held: it is quiet as long as it is seen to hold, and can begin anew after that.
        Some(open) if open.state == State::Resolved => {
            let standing = Standing { breached: false, since: now, ..open };
            (open.breached && !breached).then(|| silent(Transition::Ceased, standing))
        }
        Some(open) if undecided || open.breached == breached => lapse(open, terms, now),
        Some(open) if breached => Some(Step {
            transition: Transition::Recurred,
            standing: Standing { breached, since: now, ..open },
            notifies: lasted(open.since) >= hold.max(PAUSE),
        }),
        Some(open) => Some(silent(Transition::Ceased, Standing { breached, since: now, ..open })),
    };
    step.or_else(|| open.filter(|_| returned).map(|open| silent(Transition::Returned, open)))
}

/// What nobody resolves must not be forgotten: an acknowledgement ends while the condition holds.
fn lapse(open: Standing, terms: &Terms, now: DateTime<Utc>) -> Option<Step> {
    let since = open.acknowledged_at.filter(|_| open.state == State::Acknowledged && open.breached)?;
    let is_over = !terms.acknowledged_for.is_zero() && lasted(since, now) >= terms.acknowledged_for;
    let standing = Standing { state: State::Firing, acknowledged_at: None, ..open };
    is_over.then_some(Step { transition: Transition::Lapsed, standing, notifies: true })
}

/// The step that the absence of an open alert's subject causes: its rule is gone from the plan, its version makes no
/// predictions any more.
#[must_use]
pub fn absent(open: Standing, terms: &Terms, now: DateTime<Utc>) -> Option<Step> {
    if !matches!(open.state, State::Firing | State::Acknowledged) {
        return step(Some(open), &Verdict::Undecided(String::new()), terms, now);
    }
    let Some(since) = open.missing_since else {
        let standing = Standing { missing_since: Some(now), ..open };
        return Some(Step { transition: Transition::Vanished, standing, notifies: false });
    };
    let standing = Standing { state: State::Expired, breached: false, since: now, ..open };
    let is_over = !terms.expire_after.is_zero() && lasted(since, now) >= terms.expire_after;
    is_over.then_some(Step { transition: Transition::Expired, standing, notifies: true })
}

/// The step of an open alert that has become more urgent and holds: whoever took it up for less is told.
#[must_use]
pub fn raise(open: Standing) -> Option<Step> {
    let is_told = matches!(open.state, State::Firing | State::Acknowledged) && open.breached;
    let standing = Standing { state: State::Firing, acknowledged_at: None, ..open };
    is_told.then_some(Step { transition: Transition::Raised, standing, notifies: true })
}

fn lasted(since: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (now - since).to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const HOLD: Terms = Terms { hold: HOUR, acknowledged_for: HOUR, expire_after: HOUR };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a valid instant")
    }

    fn standing(state: State, breached: bool) -> Option<Standing> {
        Some(Standing::new(state, breached, at(0)))
    }

    fn transition(open: Option<Standing>, verdict: &Verdict, now: i64) -> Option<Transition> {
        step(open, verdict, &HOLD, at(now)).map(|step| step.transition)
    }

    #[test]
    fn a_condition_must_hold_before_anybody_is_told() {
        assert_eq!(transition(None, &Verdict::Breached, 0), Some(Transition::Began));
        assert_eq!(transition(standing(State::Pending, true), &Verdict::Breached, 3599), None);
        assert_eq!(transition(standing(State::Pending, true), &Verdict::Breached, 3600), Some(Transition::Fired));
        assert_eq!(transition(standing(State::Pending, true), &Verdict::Kept, 60), Some(Transition::Cleared));
    }

    #[test]
    fn without_a_hold_it_fires_at_once() {
        let step = step(None, &Verdict::Breached, &Terms { hold: Duration::ZERO, ..HOLD }, at(5)).expect("a step");
        assert_eq!((step.transition, step.standing.state), (Transition::Fired, State::Firing));
    }

    #[test]
    fn falling_evidence_does_not_resolve() {
        for state in [State::Firing, State::Acknowledged] {
            let ceased = step(standing(state, true), &Verdict::Kept, &HOLD, at(9)).expect("a step");
            assert_eq!((ceased.transition, ceased.standing.state), (Transition::Ceased, state));
            assert_eq!(transition(standing(state, false), &Verdict::Breached, 9), Some(Transition::Recurred));
        }
    }

    #[test]
    fn no_number_is_neither_a_breach_nor_a_recovery() {
        let undecided = Verdict::Undecided("no truth".into());
        for open in [None, standing(State::Firing, true), standing(State::Acknowledged, false)] {
            assert_eq!(transition(open, &undecided, 99_999), None);
        }
        // It must hold all the time: weeks without a number are not weeks of holding.
        assert_eq!(transition(standing(State::Pending, true), &undecided, 60), Some(Transition::Cleared));
    }

    #[test]
    fn what_a_person_resolved_stays_quiet_until_it_has_ceased() {
        assert_eq!(transition(standing(State::Resolved, true), &Verdict::Breached, 9), None);
        let ceased = step(standing(State::Resolved, true), &Verdict::Kept, &HOLD, at(9)).expect("a step");
        assert_eq!((ceased.standing.state, ceased.standing.breached, ceased.notifies), (State::Resolved, false, false));
    }

    #[test]
    fn what_recurs_after_a_day_is_told_again_and_flapping_is_not() {
        for (pause, told) in [(3600, false), (86_400, true)] {
            let recurred =
                step(standing(State::Acknowledged, false), &Verdict::Breached, &HOLD, at(pause)).expect("a step");
            assert_eq!((recurred.transition, recurred.notifies), (Transition::Recurred, told));
            assert_eq!(recurred.standing.since, at(pause));
        }
    }

    #[test]
    fn an_acknowledgement_ends_while_the_condition_holds() {
        let acknowledged = |breached| {
            Some(Standing { acknowledged_at: Some(at(0)), ..Standing::new(State::Acknowledged, breached, at(0)) })
        };
        assert_eq!(transition(acknowledged(true), &Verdict::Breached, 3599), None);
        let lapsed = step(acknowledged(true), &Verdict::Breached, &HOLD, at(3600)).expect("a step");
        assert_eq!((lapsed.transition, lapsed.standing.state), (Transition::Lapsed, State::Firing));
        assert!(lapsed.notifies && lapsed.standing.acknowledged_at.is_none());
        // No number is no recovery, and no reason to forget either.
        assert_eq!(transition(acknowledged(true), &Verdict::Undecided(String::new()), 3600), Some(Transition::Lapsed));
        assert_eq!(transition(acknowledged(false), &Verdict::Kept, 99_999), None);
        let for_ever = Terms { acknowledged_for: Duration::ZERO, ..HOLD };
        assert_eq!(step(acknowledged(true), &Verdict::Breached, &for_ever, at(99_999)), None);
    }

    #[test]
    fn what_becomes_more_urgent_fires_again() {
        for state in [State::Firing, State::Acknowledged] {
            let raised = raise(Standing { acknowledged_at: Some(at(0)), ..Standing::new(state, true, at(0)) });
            let raised = raised.expect("a step");
            assert_eq!((raised.transition, raised.standing.state), (Transition::Raised, State::Firing));
            assert!(raised.notifies && raised.standing.acknowledged_at.is_none());
        }
        assert_eq!(raise(Standing::new(State::Pending, true, at(0))), None, "nobody has been told yet");
        assert_eq!(raise(Standing::new(State::Firing, false, at(0))), None, "it does not hold");
    }

    #[test]
    fn an_alert_whose_subject_is_gone_expires_and_is_told_once() {
        for state in [State::Firing, State::Acknowledged] {
            let open = Standing::new(state, true, at(0));
            let vanished = absent(open, &HOLD, at(10)).expect("a step");
            assert_eq!((vanished.transition, vanished.standing.state), (Transition::Vanished, state));
            assert!(!vanished.notifies);
            assert_eq!(absent(vanished.standing, &HOLD, at(3609)), None);
            let expired = absent(vanished.standing, &HOLD, at(3610)).expect("a step");
            assert_eq!((expired.transition, expired.standing.state), (Transition::Expired, State::Expired));
            assert!(expired.notifies && !expired.standing.breached);
            let never = Terms { expire_after: Duration::ZERO, ..HOLD };
            assert_eq!(absent(vanished.standing, &never, at(99_999)), None);
            // It comes back: the time starts again.
            let returned = step(Some(vanished.standing), &Verdict::Breached, &HOLD, at(3610)).expect("a step");
            assert_eq!((returned.transition, returned.standing.missing_since), (Transition::Returned, None));
        }
        let pending = Standing::new(State::Pending, true, at(0));
        assert_eq!(absent(pending, &HOLD, at(1)).map(|step| step.transition), Some(Transition::Cleared));
    }
}
