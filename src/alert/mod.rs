//! Alerts: a pure state machine, the decision to notify, and what a notice says.
//!
//! Falling evidence resolves nothing: a person does. A pending alert whose condition ceases was never told to anybody and
//! is cleared.
//! Must never: store or send. Look next at `job::detect`, which carries the steps out.

pub mod notice;
pub mod report;

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
}

impl State {
    /// States of alerts that are open.
    pub const OPEN: [Self; 3] = [Self::Pending, Self::Firing, Self::Acknowledged];

    /// The word that the store, the metrics and people use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
            Self::Cleared => "cleared",
        }
    }

    /// The state of a word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Firing, Self::Acknowledged, Self::Resolved, Self::Cleared]
            .into_iter()
            .find(|state| state.as_str() == text)
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
}

/// One step of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What happened.
    pub transition: Transition,
    /// The alert after it.
    pub standing: Standing,
    /// Whether people are told.
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
pub fn step(open: Option<Standing>, verdict: &Verdict, hold: Duration, now: DateTime<Utc>) -> Option<Step> {
    let breached = *verdict == Verdict::Breached;
    let undecided = matches!(verdict, Verdict::Undecided(_));
    let lasted = |since: DateTime<Utc>| (now - since).to_std().unwrap_or_default();
    let silent = |transition, standing| Step { transition, standing, notifies: false };
    let fired = |since| {
        let standing = Standing { state: State::Firing, breached: true, since };
        Step { transition: Transition::Fired, standing, notifies: true }
    };
    match open {
        None if !breached => None,
        None if hold.is_zero() => Some(fired(now)),
        None => Some(silent(Transition::Began, Standing { state: State::Pending, breached, since: now })),
        Some(open) if open.state == State::Pending => match breached {
            false => Some(silent(Transition::Cleared, Standing { state: State::Cleared, breached, since: now })),
            true if lasted(open.since) >= hold => Some(fired(open.since)),
            true => None,
        },
        // A person closed it knowing that it held: it is quiet as long as it is seen to hold, and can begin anew after that.
        Some(open) if open.state == State::Resolved => {
            let standing = Standing { breached: false, since: now, ..open };
            (open.breached && !breached).then(|| silent(Transition::Ceased, standing))
        }
        Some(open) if undecided || open.breached == breached => None,
        Some(open) if breached => Some(Step {
            transition: Transition::Recurred,
            standing: Standing { breached, since: now, ..open },
            notifies: lasted(open.since) >= hold.max(PAUSE),
        }),
        Some(open) => Some(silent(Transition::Ceased, Standing { breached, since: now, ..open })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(3600);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a valid instant")
    }

    fn standing(state: State, breached: bool) -> Option<Standing> {
        Some(Standing { state, breached, since: at(0) })
    }

    fn transition(open: Option<Standing>, verdict: &Verdict, now: i64) -> Option<Transition> {
        step(open, verdict, HOLD, at(now)).map(|step| step.transition)
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
        let step = step(None, &Verdict::Breached, Duration::ZERO, at(5)).expect("a step");
        assert_eq!((step.transition, step.standing.state), (Transition::Fired, State::Firing));
    }

    #[test]
    fn falling_evidence_does_not_resolve() {
        for state in [State::Firing, State::Acknowledged] {
            let ceased = step(standing(state, true), &Verdict::Kept, HOLD, at(9)).expect("a step");
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
        let ceased = step(standing(State::Resolved, true), &Verdict::Kept, HOLD, at(9)).expect("a step");
        assert_eq!((ceased.standing.state, ceased.standing.breached, ceased.notifies), (State::Resolved, false, false));
    }

    #[test]
    fn what_recurs_after_a_day_is_told_again_and_flapping_is_not() {
        for (pause, told) in [(3600, false), (86_400, true)] {
            let recurred =
                step(standing(State::Acknowledged, false), &Verdict::Breached, HOLD, at(pause)).expect("a step");
            assert_eq!((recurred.transition, recurred.notifies), (Transition::Recurred, told));
            assert_eq!(recurred.standing.since, at(pause));
        }
    }
}
