//! Truth: does it still come for as many cases, and as soon?
//!
//! Both are read from days: how many cases of a day got their first truth on which day. The delay is that of the truth
//! observed in a week, so truth that is still to come biases nothing. Coverage is judged at the age by which nine tenths of
//! the truth of the past had come.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Judgement, percent};
use crate::stats::interval::{Bounds, square_and_add, wilson};

/// Days that are looked at: a week that is judged, four weeks before it, and the age of the oldest case at that time.
pub const DAYS: i64 = 91;
/// Truth that comes later than this is not waited for.
const OLDEST: i64 = DAYS - WEEK - PAST;
const WEEK: i64 = 7;
const PAST: i64 = 28;
/// Fewer cases prove nothing.
const LEAST: u64 = 20;
/// Standard errors of an unusual difference: hourly looks at a week's cases are about two hundred.
const Z: f64 = 3.29;

/// How many cases of a day got their first truth on which day; days are counted from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cohort {
    /// The day of their predictions.
    pub occurred: i64,
    /// The day of their first truth, if it has come.
    pub observed: Option<i64>,
    /// How many.
    pub cases: u64,
}

impl Cohort {
    fn delay(&self) -> Option<i64> {
        self.observed.map(|observed| (observed - self.occurred).max(0))
    }
}

/// The day of an instant, counted from 1970.
#[must_use]
pub fn day_of(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(86_400)
}

/// Whether the share of cases with truth has dropped by more than `drop`, and by more than chance.
#[must_use]
pub fn coverage(cohorts: &[Cohort], drop: f64, today: i64) -> Judgement {
    let past = delays(cohorts, today - WEEK - PAST, today - WEEK);
    let Some(age) = quantile(&past, 0.9).map(|days| days + 1).filter(|_| total(&past) >= LEAST) else {
        return Judgement::undecided(format!(
            "fewer than {LEAST} cases got their truth in the four weeks before the last"
        ));
    };
    if age > OLDEST {
        return Judgement::undecided(format!("truth takes longer than the {OLDEST} days that are looked at"));
    }
    let share = |from: i64, to: i64| {
        let own = cohorts.iter().filter(|cohort| (from..to).contains(&cohort.occurred));
        own.fold((0, 0), |(known, all), cohort| {
            let is_known = cohort.delay().is_some_and(|delay| delay <= age);
            (known + if is_known { cohort.cases } else { 0 }, all + cohort.cases)
        })
    };
    // A case of day d is of age `age` when day d + age is over.
    let end = today - age;
    let (before, now) = (share(end - WEEK - PAST, end - WEEK), share(end - WEEK, end));
    if before.1 < LEAST || now.1 < LEAST {
        return Judgement::undecided(format!("fewer than {LEAST} cases have come of the age of {age} days"));
    }
    let of = |(known, all): (u64, u64)| known as f64 / all as f64;
    let (p, q) = (of(before), of(now));
    let (b, n) = (wilson(before.0, before.1, Z), wilson(now.0, now.1, Z));
    let surely = square_and_add((p, b), (-q, Bounds { lower: -n.upper, upper: -n.lower })).lower;
    let words = |share: f64, (known, all): (u64, u64)| {
        format!("{} % of cases ({known} of {all})", percent(share), known = known, all = all)
    };
    let is_low = p - q > drop && surely > 0.0;
    let reason = if is_low {
        format!("only {} had their truth at the age of {age} days", words(q, now))
    } else {
        format!("{} % of cases have their truth at the age of {age} days", percent(q))
    };
    Judgement::new(is_low, reason).usual(format!("{} in the four weeks before", words(p, before)))
}

/// Whether the median delay of truth has at least doubled, and grown by more than `growth`.
#[must_use]
pub fn delay(cohorts: &[Cohort], growth: Duration, today: i64) -> Judgement {
    let (before, now) = (delays(cohorts, today - WEEK - PAST, today - WEEK), delays(cohorts, today - WEEK, today));
    let medians = quantile(&before, 0.5).zip(quantile(&now, 0.5));
    let Some((usual, median)) = medians.filter(|_| total(&before) >= LEAST && total(&now) >= LEAST) else {
        return Judgement::undecided(format!(
            "fewer than {LEAST} cases got their truth in the last week, or in the four before"
        ));
    };
    // Delays are whole days, cut off: two days more are surely more than one.
    let grown = (median - usual - 1).max(0) as f64 * 86_400.0;
    let is_late = median >= 2 * usual && grown >= growth.as_secs_f64();
    let days = |days: i64| format!("{days} to {} days", days + 1);
    let reason = format!("the truth of the last week came with a median delay of {}", days(median));
    Judgement::new(is_late, reason).usual(format!("{} in the four weeks before", days(usual)))
}

/// `(delay, cases)` of the truth that was observed on some days, by delay.
fn delays(cohorts: &[Cohort], from: i64, to: i64) -> Vec<(i64, u64)> {
    let own = cohorts.iter().filter(|cohort| cohort.observed.is_some_and(|day| (from..to).contains(&day)));
    let mut delays: Vec<(i64, u64)> = own.filter_map(|cohort| Some((cohort.delay()?, cohort.cases))).collect();
    delays.sort_unstable();
    delays
}

fn total(delays: &[(i64, u64)]) -> u64 {
    delays.iter().map(|(_, cases)| cases).sum()
}

/// The least delay that at least this share of the cases does not exceed.
fn quantile(delays: &[(i64, u64)], share: f64) -> Option<i64> {
    let wanted = share * total(delays) as f64;
    let mut seen = 0.0;
    delays.iter().find_map(|(delay, cases)| {
        seen += *cases as f64;
        (seen >= wanted).then_some(*delay)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::detect::limit::Verdict;

    const TODAY: i64 = 20_000;
    const DAY: Duration = Duration::from_secs(86_400);

    /// Ten cases a day, of which `known(day)` get their truth after `delay(day)` days.
    fn history(known: impl Fn(i64) -> u64, delay: impl Fn(i64) -> i64) -> Vec<Cohort> {
        let mut cohorts = Vec::new();
        for occurred in TODAY - DAYS..TODAY {
            let observed = Some(occurred + delay(occurred)).filter(|day| *day < TODAY);
            cohorts.push(Cohort { occurred, observed, cases: known(occurred) });
            cohorts.push(Cohort { occurred, observed: None, cases: 10 - known(occurred) });
        }
        cohorts
    }

    #[test]
    fn fewer_cases_with_truth_are_noticed_once_they_are_old_enough() {
        let steady = coverage(&history(|_| 9, |_| 3), 0.1, TODAY);
        assert_eq!(steady.verdict, Verdict::Kept, "{steady:?}");
        let worse = coverage(&history(|day| if day >= TODAY - 11 { 6 } else { 9 }, |_| 3), 0.1, TODAY);
        assert_eq!(worse.verdict, Verdict::Breached, "{worse:?}");
        assert_eq!(worse.reason, "only 60 % of cases (42 of 70) had their truth at the age of 4 days");
        assert_eq!(worse.usual.as_deref(), Some("90 % of cases (252 of 280) in the four weeks before"));
        // What is younger than four days may still come.
        let young = coverage(&history(|day| if day >= TODAY - 4 { 0 } else { 9 }, |_| 3), 0.1, TODAY);
        assert_eq!(young.verdict, Verdict::Kept, "{young:?}");
    }

    #[test]
    fn a_drop_that_chance_explains_is_none() {
        let mut few = history(|day| if day >= TODAY - 11 { 7 } else { 9 }, |_| 3);
        few.retain(|cohort| cohort.occurred % 3 == 0);
        assert_eq!(coverage(&few, 0.1, TODAY).verdict, Verdict::Kept);
        assert!(matches!(coverage(&[], 0.1, TODAY).verdict, Verdict::Undecided(_)));
    }

    #[test]
    fn truth_that_takes_twice_as_long_and_a_day_more_is_noticed() {
        assert_eq!(delay(&history(|_| 9, |_| 3), DAY, TODAY).verdict, Verdict::Kept);
        let late = delay(&history(|_| 9, |day| if day >= TODAY - 14 { 8 } else { 3 }), DAY, TODAY);
        assert_eq!(late.verdict, Verdict::Breached, "{late:?}");
        assert_eq!(late.usual.as_deref(), Some("3 to 4 days in the four weeks before"));
        let doubled = delay(&history(|_| 9, |day| i64::from(day >= TODAY - 14)), DAY, TODAY);
        assert_eq!(doubled.verdict, Verdict::Kept, "from hours to a day is not more than a day: {doubled:?}");
        let slow = delay(&history(|_| 9, |day| if day >= TODAY - 20 { 13 } else { 10 }), DAY, TODAY);
        assert_eq!(slow.verdict, Verdict::Kept, "three days more are not twice as long: {slow:?}");
        assert!(matches!(delay(&[], DAY, TODAY).verdict, Verdict::Undecided(_)));
    }

    proptest! {
        #[test]
        fn a_smaller_share_never_looks_better(known in 0_u64..=10, fewer in 0_u64..=10, drop in 0.01..0.9) {
            let broken = |recent: u64| {
                let cohorts = history(|day| if day >= TODAY - 11 { recent } else { 9 }, |_| 3);
                coverage(&cohorts, drop, TODAY).verdict == Verdict::Breached
            };
            prop_assert!(broken(known.saturating_sub(fewer)) >= broken(known));
        }
    }
}
