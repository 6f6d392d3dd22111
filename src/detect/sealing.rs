//! Sealing: when a case enters the evidence and with which truth, and what the cases sealed on one day come to.
//!
//! A case enters the evidence of an output once: at the end of the first day on which it is as old as the watch's maturity says
//! and its truth has settled, with what is known by then. Nothing that is learned afterwards changes it. With a maturity beyond
//! most reports, fast and slow ones do not choose the case mix.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, TimeDelta, Utc, Weekday};
use serde::{Deserialize, Serialize};

use crate::config::Model;
use crate::domain::truth::decide;
use crate::domain::{Assertion, Granularity};
use crate::summary::sealed::Sealed;

/// Sealed cases by day. A day without a case may be there too.
pub type Buckets = BTreeMap<DateTime<Utc>, Sealed>;

/// The share of cases that had truth when they came of age; `None` of no cases.
#[must_use]
pub fn coverage(buckets: &Buckets) -> Option<f64> {
    let (matured, settled) = buckets.values().fold((0, 0), |(m, s), day| (m + day.matured, s + day.settled));
    (matured > 0).then(|| settled as f64 / matured as f64)
}

/// The same of the last four weeks before an instant: what has changed shows soon.
#[must_use]
pub fn recent_coverage(buckets: &Buckets, end: DateTime<Utc>) -> Option<f64> {
    let recent = buckets.range(end - TimeDelta::days(28)..end).map(|(day, sealed)| (*day, sealed.clone()));
    coverage(&recent.collect())
}

/// The day on which a case is sealed and whether what the output speaks of is the case; `None` as long as its truth is open.
///
/// `mature` is when it comes of age; `said` are the statements about it, each with the time from which it could be used.
#[must_use]
pub fn seal(
    model: &Model,
    (output_id, is_class): (i32, bool),
    mature: DateTime<Utc>,
    said: &[(DateTime<Utc>, &Assertion)],
) -> Option<(DateTime<Utc>, bool)> {
    let day = |at: DateTime<Utc>| Granularity::Day.start_of(at);
    let first = day(mature);
    let mut days: Vec<DateTime<Utc>> = said.iter().map(|(known_at, _)| day(*known_at).max(first)).collect();
    days.sort_unstable();
    days.dedup();
    days.into_iter().find_map(|sealed_on| {
        let end = sealed_on + TimeDelta::days(1);
        let known: Vec<Assertion> = said.iter().filter(|(at, _)| *at < end).map(|(_, one)| (*one).clone()).collect();
        let holds = decide(model.truth_policy, model.uncertain, &known)?.holds_for(output_id, is_class)?;
        Some((sealed_on, holds))
    })
}

/// Kinds of days that may differ while all is well: other patients, other readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Days {
    /// Every day.
    All,
    /// Monday to Friday.
    Working,
    /// Saturday and Sunday.
    Weekend,
}

impl Days {
    /// The kind of the day on which the cases were made that come of age on `sealed_on`, `lag` days later.
    #[must_use]
    pub fn of(sealed_on: DateTime<Utc>, lag: i64) -> Self {
        match (sealed_on - TimeDelta::days(lag)).weekday() {
            Weekday::Sat | Weekday::Sun => Self::Weekend,
            _ => Self::Working,
        }
    }

    /// Days of a week of this kind.
    #[must_use]
    pub fn a_week(self) -> f64 {
        match self {
            Self::All => 7.0,
            Self::Working => 5.0,
            Self::Weekend => 2.0,
        }
    }

    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "days",
            Self::Working => "working days",
            Self::Weekend => "weekend days",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(date: &str) -> DateTime<Utc> {
        format!("{date}T00:00:00Z").parse().expect("an instant")
    }

    #[test]
    fn the_kind_of_day_is_that_of_the_exams() {
        // Sealed on a Monday, three days after: the exams of a Friday.
        assert_eq!(Days::of(day("2025-01-06"), 3), Days::Working);
        assert_eq!(Days::of(day("2025-01-06"), 1), Days::Weekend);
        assert_eq!(Days::of(day("2025-01-04"), 7), Days::Weekend);
    }
}
