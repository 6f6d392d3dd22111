//! Health of the data: whether predictions, truth and sources still come, and whole. Pure functions from facts to judgements.
//!
//! A model that falls silent has no bad numbers, so no rule on numbers can see it. What is usual is learnt from the model's
//! own past, and never from its numbers. `silence` judges arrivals, `truth` the coverage and delay of truth, `schema` columns
//! and attributes, `unwatched` the streams of watches. Must never: promise a rate of false alarms; a department that closes unannounced is silent as well.
//! Look next at `job::health`, which collects the facts, and at `docs/health.md`.

pub mod schema;
pub mod silence;
pub mod truth;
pub mod unwatched;

use chrono::{DateTime, Utc};

use super::limit::Verdict;
use crate::domain::window::show_instant;

/// What a rule makes of its facts.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Whether the rule is broken.
    pub verdict: Verdict,
    /// Why, in words. Equal facts give equal words: no age in it grows with the clock.
    pub reason: String,
    /// What is usual, in words, where the past says.
    pub usual: Option<String>,
    /// Since when it has been as it is, where the facts say.
    pub since: Option<DateTime<Utc>>,
}

impl Judgement {
    fn new(breached: bool, reason: String) -> Self {
        let verdict = if breached { Verdict::Breached } else { Verdict::Kept };
        Self { verdict, reason, usual: None, since: None }
    }

    fn undecided(reason: String) -> Self {
        Self { verdict: Verdict::Undecided(reason.clone()), reason, usual: None, since: None }
    }

    fn usual(self, usual: String) -> Self {
        Self { usual: Some(usual), ..self }
    }

    fn since(self, since: Option<DateTime<Utc>>) -> Self {
        Self { since, ..self }
    }
}

/// Fewer refused records than this prove nothing.
const LEAST_REJECTED: u64 = 20;
/// Above this share of refused records somebody is woken.
pub const MOST_REJECTED: f64 = 0.5;

/// What a source has delivered within a day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// All records.
    pub records: u64,
    /// Those that were refused.
    pub rejected: u64,
    /// The reason that most of them have, and how many do.
    pub most_common: Option<(String, u64)>,
}

/// The share of refused records: worth a ticket, and worth waking somebody. At most one of the two is broken.
#[must_use]
pub fn rejections(limit: f64, delivered: &Delivered) -> [Judgement; 2] {
    let Delivered { records, rejected, most_common } = delivered;
    let share = *rejected as f64 / (*records).max(1) as f64;
    let counts = *rejected >= LEAST_REJECTED;
    let most = counts && share > limit.max(MOST_REJECTED);
    let reason = most_common.as_ref().map_or_else(String::new, |(reason, count)| {
        format!("; the most common reason is {reason}, of {count} of them")
    });
    let words = match (rejected, counts && share > limit) {
        (0, _) => "no record of the last 24 hours was refused".to_owned(),
        (_, false) => "few records of the last 24 hours were refused".to_owned(),
        (_, true) => format!("{rejected} of {records} records of the last 24 hours were refused{reason}"),
    };
    let usual = format!("at most {} % refused", percent(limit));
    let ticket = if most {
        Judgement::new(false, "more than half are refused: that is a page of its own".to_owned())
    } else {
        Judgement::new(counts && share > limit, words.clone())
    };
    [ticket.usual(usual.clone()), Judgement::new(most, words).usual(usual)]
}

/// Whether a source can be looked into; nothing when it can.
#[must_use]
pub fn obstacles(missing: &[String], closed: &[String]) -> Option<Judgement> {
    let missing = missing.iter().map(|path| format!("{path} does not exist"));
    let obstacles: Vec<String> = missing.chain(closed.iter().cloned()).collect();
    (!obstacles.is_empty()).then(|| Judgement::new(true, obstacles.join("; ")))
}

/// A source that can be looked into, whose silence another rule judges.
#[must_use]
pub fn readable(rule: &str) -> Judgement {
    Judgement::new(false, format!("its paths can be read; its silence is a matter of {rule}"))
}

/// So many estimates that differ are named.
const NAMED: usize = 3;

/// Whether past estimates are what they were made of: those that differ, each with what it says and since when.
#[must_use]
pub fn replays(replayed: i64, differing: &[(i64, String, DateTime<Utc>)]) -> Judgement {
    let usual = "every estimate can be made again, bit for bit".to_owned();
    let Some(since) = differing.iter().map(|(_, _, since)| *since).min() else {
        let words = match replayed {
            0 => "no estimate has been replayed yet".to_owned(),
            _ => "every estimate that was replayed agreed".to_owned(),
        };
        return Judgement::new(false, words).usual(usual);
    };
    let named = differing.iter().take(NAMED).map(|(estimate, words, _)| format!("estimate {estimate} ({words})"));
    let named: Vec<String> = named.collect();
    let more = if differing.len() > NAMED { format!("; and {} more", differing.len() - NAMED) } else { String::new() };
    let words =
        format!("{} past estimates are not what they were made of: {}{more}", differing.len(), named.join("; "));
    Judgement::new(true, words).usual(usual).since(Some(since))
}

/// Whether the plan lists a version.
#[must_use]
pub fn version(name: &str, listed: &[String], first_seen_at: DateTime<Utc>) -> Judgement {
    let is_listed = listed.iter().any(|known| known == name);
    let words = if is_listed {
        format!("the plan lists version {name}")
    } else {
        format!("version {name} makes predictions, and the plan does not list it")
    };
    Judgement::new(!is_listed, words).usual(format!("versions {}", listed.join(", "))).since(Some(first_seen_at))
}

/// A share as per cent, without decimals that say nothing.
fn percent(share: f64) -> String {
    let text = format!("{:.1}", 100.0 * share);
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

fn moment(at: DateTime<Utc>) -> String {
    show_instant(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delivered(records: u64, rejected: u64) -> Delivered {
        Delivered { records, rejected, most_common: Some(("bad-score".into(), rejected)) }
    }

    fn broken(judgements: &[Judgement]) -> Vec<bool> {
        judgements.iter().map(|judgement| judgement.verdict == Verdict::Breached).collect()
    }

    #[test]
    fn a_few_refused_records_are_a_ticket_and_most_of_them_a_page() {
        assert_eq!(broken(&rejections(0.05, &delivered(19, 19))), [false, false], "too few to say");
        assert_eq!(broken(&rejections(0.05, &delivered(400, 20))), [false, false], "exactly the limit");
        let ticket = rejections(0.05, &delivered(300, 20));
        assert_eq!(broken(&ticket), [true, false]);
        assert!(ticket[0].reason.contains("20 of 300") && ticket[0].reason.contains("bad-score"), "{ticket:?}");
        assert_eq!(ticket[0].usual.as_deref(), Some("at most 5 % refused"));
        assert_eq!(broken(&rejections(0.05, &delivered(40, 20))), [true, false], "half is not more than half");
        assert_eq!(broken(&rejections(0.05, &delivered(40, 21))), [false, true]);
        assert_eq!(broken(&rejections(0.6, &delivered(40, 22))), [false, false], "a limit above half is kept to");
    }

    #[test]
    fn what_cannot_be_looked_into_is_named() {
        assert_eq!(obstacles(&[], &[]), None);
        let judgement = obstacles(&["/a".into()], &["/b: permission denied".into()]).expect("obstacles");
        assert_eq!(judgement.reason, "/a does not exist; /b: permission denied");
        assert_eq!(judgement.verdict, Verdict::Breached);
    }

    #[test]
    fn one_estimate_that_differs_breaks_the_rule() {
        let at = DateTime::from_timestamp(0, 0).expect("an instant");
        assert_eq!(replays(0, &[]).verdict, Verdict::Kept);
        let differing: Vec<_> = (1..=4).map(|id| (id, "auroc: stored 1, replayed 2".to_owned(), at)).collect();
        let judgement = replays(9, &differing);
        assert_eq!((judgement.verdict, judgement.since), (Verdict::Breached, Some(at)));
        assert!(judgement.reason.contains("estimate 1 (auroc: stored 1") && judgement.reason.ends_with("; and 1 more"));
    }

    #[test]
    fn a_version_is_expected_or_not() {
        let at = DateTime::from_timestamp(0, 0).expect("an instant");
        let listed = ["1.0".to_owned(), "1.1".to_owned()];
        assert_eq!(version("1.1", &listed, at).verdict, Verdict::Kept);
        let unknown = version("2.0", &listed, at);
        assert_eq!((unknown.verdict, unknown.usual.as_deref()), (Verdict::Breached, Some("versions 1.0, 1.1")));
    }

    proptest! {
        #[test]
        fn more_refused_records_never_mend_anything(records in 0_u64..2000, rejected in 0_u64..2000, limit in 0.01..0.99) {
            let rejected = rejected.min(records);
            let more = (rejected + 1).min(records);
            let (before, after) = (rejections(limit, &delivered(records, rejected)), rejections(limit, &delivered(records, more)));
            prop_assert!(broken(&after).contains(&true) >= broken(&before).contains(&true));
            prop_assert!(broken(&before) != [true, true]);
        }
    }
}
