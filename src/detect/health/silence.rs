//! Silence: has nothing arrived for longer than usual?
//!
//! Two clocks tell the time of a silence. The wall's counts every hour. The department's counts only hours of the week in which
//! something usually arrives, so nights and weekends of a closed department do not count, and a silence at noon is noticed
//! within hours. Either is compared with the second longest silence of the four weeks before the last arrival: one outage or
//! one holiday within four weeks is not usual.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Judgement, moment};
use crate::config::Patience;

const HOUR: i64 = 3600;
const WEEK_HOURS: i64 = 168;
/// Weeks that the past is learnt from.
pub const WEEKS: i64 = 4;
/// An hour of the week in which something has arrived in so many of them is one in which something usually does.
const USUAL_WEEKS: usize = 3;
/// A silence is unusual when it is so many times as long as usual.
const FACTOR: i64 = 2;
/// Fewer silences than this say nothing about what is usual.
const LEAST_GAPS: usize = 3;

/// What is known of arrivals.
#[derive(Clone, Copy, Debug)]
pub struct Arrivals<'a> {
    /// The first one of all.
    pub first: Option<DateTime<Utc>>,
    /// The last one.
    pub last: Option<DateTime<Utc>>,
    /// The hours since 1970 in which something arrived, in the four weeks up to the last arrival.
    pub hours: &'a BTreeSet<i64>,
    /// Since when something has been expected.
    pub expected_since: DateTime<Utc>,
}

/// The hour of an instant, counted from 1970.
#[must_use]
pub fn hour_of(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(HOUR)
}

/// A silence that is so short that it is usual whatever the past was: then the past need not be looked at.
#[must_use]
pub fn short(what: &str, patience: Patience, last: DateTime<Utc>, now: DateTime<Utc>) -> Option<Judgement> {
    let is_short = patience == Patience::Usual && now - last < TimeDelta::hours(FACTOR);
    is_short.then(|| come(what, last, false))
}

fn come(what: &str, last: DateTime<Utc>, is_silent: bool) -> Judgement {
    let words = if is_silent {
        format!("no {what} has come since {}", moment(last))
    } else {
        format!("{what} comes; the last came at {}", moment(last))
    };
    Judgement::new(is_silent, words).since(Some(last))
}

/// Judge a silence. Without a past of four weeks `fallback` is what may last.
#[must_use]
pub fn judge(
    what: &str,
    patience: Patience,
    fallback: Duration,
    arrivals: &Arrivals<'_>,
    now: DateTime<Utc>,
) -> Judgement {
    let Some(last) = arrivals.last else {
        let limit = if let Patience::Fixed(limit) = patience { limit } else { fallback };
        let words = format!("no {what} has ever come");
        let is_over = age(arrivals.expected_since, now) >= limit;
        let judgement = if is_over { Judgement::new(true, words) } else { Judgement::undecided(words) };
        return judgement.usual(fixed(limit)).since(Some(arrivals.expected_since));
    };
    let past = if patience == Patience::Usual { Past::learn(arrivals, last) } else { None };
    let limit = if let Patience::Fixed(limit) = patience { limit } else { fallback };
    let Some(past) = past else {
        return come(what, last, age(last, now) >= limit).usual(fixed(limit));
    };
    let open = past.open_between(hour_of(last), hour_of(now));
    let is_silent = age(last, now) >= past.wall_limit() || open >= past.open_limit();
    come(what, last, is_silent).usual(past.words())
}

fn age(since: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (now - since).to_std().unwrap_or_default()
}

fn fixed(limit: Duration) -> String {
    format!("not longer than {}", crate::domain::window::show_span(limit))
}

/// What was usual in the four weeks before the last arrival.
struct Past {
    /// Hours of the week in which something usually arrives.
    open: BTreeSet<i64>,
    /// The second longest silence in hours of the wall.
    wall: i64,
    /// The second longest one in hours of `open` that went by whole.
    idle: i64,
}

impl Past {
    /// `None` when the past is too short, or too empty, to say.
    fn learn(arrivals: &Arrivals<'_>, last: DateTime<Utc>) -> Option<Self> {
        let span = TimeDelta::weeks(WEEKS);
        arrivals.first.filter(|first| *first <= last - span)?;
        let begin = hour_of(last) - WEEKS * WEEK_HOURS;
        let hours: Vec<i64> = arrivals.hours.range(begin + 1..=hour_of(last)).copied().collect();
        if hours.len() <= LEAST_GAPS {
            return None;
        }
        let weeks = |hour_of_week: &i64| hours.iter().filter(|hour| *hour % WEEK_HOURS == *hour_of_week).count();
        let open = (0..WEEK_HOURS).filter(|hour| weeks(hour) >= USUAL_WEEKS).collect();
        let mut past = Self { open, wall: 0, idle: 0 };
        let gaps = || hours.windows(2).map(|pair| (pair[0], pair[1]));
        past.wall = second(gaps().map(|(from, to)| to - from));
        past.idle = second(gaps().map(|(from, to)| past.open_between(from, to)));
        Some(past)
    }

    /// Whole hours of `open` between two hours, without these.
    fn open_between(&self, from: i64, to: i64) -> i64 {
        // Whole weeks have as many open hours each: a silence of years costs no more than one of days.
        let weeks = (to - from - 1).max(0) / WEEK_HOURS;
        let rest = (from + 1 + weeks * WEEK_HOURS..to).filter(|hour| self.open.contains(&(hour % WEEK_HOURS))).count();
        weeks * i64::try_from(self.open.len()).unwrap_or_default() + i64::try_from(rest).unwrap_or_default()
    }

    fn wall_limit(&self) -> Duration {
        Duration::from_secs((FACTOR * self.wall.max(1) * HOUR).unsigned_abs())
    }

    fn open_limit(&self) -> i64 {
        FACTOR * self.idle.max(1)
    }

    fn words(&self) -> String {
        let open = match self.open.len() {
            0 => String::new(),
            _ => format!(", {} h of its usual hours of the week", self.idle.max(1)),
        };
        format!("silent for up to {} h{open}; twice that is unusual", self.wall.max(1))
    }
}

/// The second largest number; zero of none.
fn second(numbers: impl Iterator<Item = i64>) -> i64 {
    let mut numbers: Vec<i64> = numbers.collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers.get(1).or(numbers.first()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::detect::limit::Verdict;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    /// Arrivals in every hour that `is_open` says, from 2025-01-06 (a Monday) up to `last`.
    fn hours(last: &str, is_open: impl Fn(i64, i64) -> bool) -> BTreeSet<i64> {
        let begin = hour_of(at("2025-01-06T00:00:00Z"));
        (begin..=hour_of(at(last)))
            .filter(|hour| is_open((hour - begin) / 24 % 7, (hour - begin) % 24) || *hour == hour_of(at(last)))
            .collect()
    }

    fn judged(hours: &BTreeSet<i64>, last: &str, now: &str) -> Judgement {
        let arrivals = Arrivals {
            first: Some(at("2025-01-06T00:00:00Z")),
            last: Some(at(last)),
            hours,
            expected_since: at("2025-01-01T00:00:00Z"),
        };
        judge("prediction", Patience::Usual, 3 * DAY, &arrivals, at(now))
    }

    fn is_broken(judgement: &Judgement) -> bool {
        judgement.verdict == Verdict::Breached
    }

    #[test]
    fn a_department_that_is_closed_at_night_and_weekends_pages_nobody_then() {
        let last = "2025-02-14T16:10:00Z"; // a Friday
        let office = hours(last, |day, hour| day < 5 && (8..17).contains(&hour));
        for quiet in ["2025-02-14T17:30:00Z", "2025-02-15T12:00:00Z", "2025-02-17T07:59:00Z", "2025-02-17T09:59:00Z"] {
            assert!(!is_broken(&judged(&office, last, quiet)), "{quiet}");
        }
        // On Monday the hours at 8 and at 9 have gone by.
        let judgement = judged(&office, last, "2025-02-17T10:00:00Z");
        assert!(is_broken(&judgement));
        assert_eq!(judgement.reason, "no prediction has come since 2025-02-14T16:10:00Z");
        assert_eq!(judgement.since, Some(at(last)));
        assert!(judgement.usual.expect("a past").contains("64 h"), "Friday 16 to Monday 8");
    }

    #[test]
    fn a_department_that_never_closes_is_missed_within_hours() {
        let last = "2025-02-14T12:30:00Z";
        let always = hours(last, |_, _| true);
        assert!(!is_broken(&judged(&always, last, "2025-02-14T14:29:00Z")));
        assert!(is_broken(&judged(&always, last, "2025-02-14T14:30:00Z")));
    }

    #[test]
    fn one_outage_within_four_weeks_is_not_usual() {
        let last = "2025-02-14T12:30:00Z";
        let mut always = hours(last, |_, _| true);
        let outage = hour_of(at("2025-02-03T00:00:00Z"));
        always.retain(|hour| !(outage..outage + 48).contains(hour));
        assert!(is_broken(&judged(&always, last, "2025-02-14T15:00:00Z")));
    }

    #[test]
    fn a_delivery_a_day_is_missed_when_two_have_not_come() {
        let last = "2025-02-14T02:10:00Z";
        let nightly = hours(last, |_, hour| hour == 2);
        assert!(!is_broken(&judged(&nightly, last, "2025-02-15T20:00:00Z")));
        assert!(is_broken(&judged(&nightly, last, "2025-02-16T03:00:00Z")));
    }

    #[test]
    fn without_four_weeks_a_fixed_time_counts() {
        let last = "2025-01-20T12:00:00Z";
        let young = hours(last, |_, _| true);
        assert!(!is_broken(&judged(&young, last, "2025-01-23T11:59:00Z")));
        assert!(is_broken(&judged(&young, last, "2025-01-23T12:00:00Z")));
        let never = Arrivals { first: None, last: None, hours: &young, expected_since: at("2025-01-01T00:00:00Z") };
        let judge = |now| judge("prediction", Patience::Usual, 3 * DAY, &never, at(now));
        assert!(matches!(judge("2025-01-03T23:00:00Z").verdict, Verdict::Undecided(_)));
        assert!(is_broken(&judge("2025-01-04T00:00:00Z")), "what never came is missed, too");
    }

    #[test]
    fn a_fixed_time_is_what_counts_where_it_is_given() {
        let last = "2025-02-14T12:30:00Z";
        let always = hours(last, |_, _| true);
        let arrivals = Arrivals {
            first: Some(at("2025-01-06T00:00:00Z")),
            last: Some(at(last)),
            hours: &always,
            expected_since: at("2025-01-01T00:00:00Z"),
        };
        let judge = |now| judge("prediction", Patience::Fixed(DAY), 3 * DAY, &arrivals, at(now));
        assert!(!is_broken(&judge("2025-02-15T12:29:00Z")));
        assert!(is_broken(&judge("2025-02-15T12:30:00Z")));
    }

    proptest! {
        /// A silence only grows: once it is unusual it stays so until something arrives.
        #[test]
        fn a_longer_silence_is_never_less_unusual(
            open in proptest::collection::btree_set(0_i64..168, 1..168), first in 1_i64..800, more in 0_i64..800,
        ) {
            let last = at("2025-02-14T12:30:00Z");
            let mut arrived: BTreeSet<i64> =
                (hour_of(last) - 900..=hour_of(last)).filter(|hour| open.contains(&(hour % 168))).collect();
            arrived.insert(hour_of(last));
            let arrivals = Arrivals {
                first: Some(last - TimeDelta::weeks(9)), last: Some(last), hours: &arrived, expected_since: last,
            };
            let broken = |hours| {
                let now = last + TimeDelta::hours(hours);
                is_broken(&judge("prediction", Patience::Usual, 3 * DAY, &arrivals, now))
            };
            prop_assert!(broken(first + more) >= broken(first));
            prop_assert!(broken(4000), "no silence is usual for ever");
        }

        /// Counting whole weeks at once counts what counting hour by hour does.
        #[test]
        fn open_hours_are_counted_hour_by_hour(
            open in proptest::collection::btree_set(0_i64..168, 0..168), from in 0_i64..1000, length in 0_i64..1000,
        ) {
            let past = Past { open: open.clone(), wall: 1, idle: 1 };
            let slow = (from + 1..from + length).filter(|hour| open.contains(&(hour % 168))).count();
            prop_assert_eq!(past.open_between(from, from + length), i64::try_from(slow).expect("few"));
        }
    }
}
