//! Schema: is a column gone that a source's files had, or an attribute empty that was filled?
//!
//! A lack is a run: the latest files, or hours, that have it. What stood before the run says whether it was otherwise. So the
//! lack does not mend itself by lasting.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Judgement, percent};

/// So many files before the run had the column, and no fewer say anything.
const LEAST_FILES: usize = 3;
/// So many are looked at.
const FILES_BEFORE: usize = 5;
/// Fewer records prove nothing.
const LEAST_RECORDS: u64 = 20;
/// What was filled in this share of the records before was filled.
const FILLED: f64 = 0.9;

/// The columns of a file that the plan names, and when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileColumns {
    /// The columns that it had.
    pub columns: BTreeSet<String>,
    /// When its reading began.
    pub at: DateTime<Utc>,
}

/// Whether the latest files of a source lack columns that those before them had; the latest file comes first. Columns that the plan
/// does not name any more are nobody's loss.
#[must_use]
pub fn columns(files: &[FileColumns], named: &BTreeSet<String>) -> Judgement {
    if files.len() <= LEAST_FILES {
        return Judgement::undecided("too few files with a header have come".to_owned());
    }
    let lost = |column: &&String| {
        let run = files.iter().take_while(|file| !file.columns.contains(*column)).count();
        let before = files.iter().skip(run).take(FILES_BEFORE);
        let had = before.clone().filter(|file| file.columns.contains(*column)).count();
        let is_lost = run > 0 && had >= LEAST_FILES && had == before.count();
        is_lost.then(|| files[run - 1].at)
    };
    let lost: Vec<(&String, DateTime<Utc>)> = named.iter().filter_map(|name| Some((name, lost(&name)?))).collect();
    let names: Vec<&str> = lost.iter().map(|(name, _)| name.as_str()).collect();
    let words = match names.as_slice() {
        [] => "the latest file has every column that those before it had".to_owned(),
        names => format!("the latest file lacks the column(s) {}", names.join(", ")),
    };
    let judgement = Judgement::new(!names.is_empty(), words).since(lost.iter().map(|(_, at)| *at).min());
    if lost.is_empty() { judgement } else { judgement.usual("the files before had them".to_owned()) }
}

/// The predictions of an hour, and in how many an attribute was filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// The hour, counted from 1970.
    pub hour: i64,
    /// The predictions.
    pub records: u64,
    /// Those with the attribute.
    pub filled: u64,
}

/// Whether an attribute that was filled is filled in less than `limit` of the latest predictions; the latest hour comes first.
#[must_use]
pub fn attribute(name: &str, hours: &[Filled], limit: f64) -> Judgement {
    let share = |(records, filled): (u64, u64)| filled as f64 / records.max(1) as f64;
    let sum = |sum: (u64, u64), hour: &Filled| (sum.0 + hour.records, sum.1 + hour.filled);
    let (mut now, mut run) = ((0, 0), 0);
    for hour in hours {
        // The latest predictions decide; while they lack it, the hours that lack it as well belong to them.
        let is_enough = now.0 >= LEAST_RECORDS;
        if is_enough && (share(now) >= limit || share((hour.records, hour.filled)) >= limit) {
            break;
        }
        now = sum(now, hour);
        run += 1;
    }
    let before = hours.iter().skip(run).fold((0, 0), sum);
    if now.0 < LEAST_RECORDS || before.0 < LEAST_RECORDS {
        return Judgement::undecided(format!("too few predictions to say whether {name} is filled as before"));
    }
    let is_empty = share(now) < limit && share(before) >= FILLED;
    let words = if is_empty {
        format!("{name} is filled in {} of the latest {} predictions", now.1, now.0)
    } else {
        format!("{name} is filled as before")
    };
    let since = hours.get(run.wrapping_sub(1)).and_then(|hour| DateTime::from_timestamp(hour.hour * 3600, 0));
    let judgement = Judgement::new(is_empty, words).since(since.filter(|_| is_empty));
    if is_empty { judgement.usual(format!("filled in {} % before", percent(share(before)))) } else { judgement }
}

/// Whether more than `limit` of a day's new predictions break the contract of an attribute, by reason.
#[must_use]
pub fn contract(name: &str, breaches: &BTreeMap<String, u64>, records: u64, limit: f64) -> Judgement {
    let broken: u64 = breaches.values().sum();
    let share = broken as f64 / records.max(1) as f64;
    let reasons: Vec<String> = breaches.iter().map(|(reason, count)| format!("{reason} in {count}")).collect();
    let words = match broken {
        0 => format!("every prediction of the last 24 hours keeps the contract of {name}"),
        _ => {
            format!("{name} breaks the contract: {} of {records} predictions of the last 24 hours", reasons.join(", "))
        }
    };
    let allowed = format!("at most {} % of a day's predictions", percent(limit));
    Judgement::new(broken > 0 && share > limit, words).usual(allowed)
}

/// How far back hours are looked at.
#[must_use]
pub fn horizon() -> TimeDelta {
    TimeDelta::days(28)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::limit::Verdict;

    /// Files, the latest first, each with columns and the day it came.
    fn files(columns: &[&[&str]]) -> Vec<FileColumns> {
        let day = |age: usize| DateTime::from_timestamp(86_400 * (100 - i64::try_from(age).expect("few")), 0);
        let file = |(age, columns): (usize, &&[&str])| FileColumns {
            columns: columns.iter().map(ToString::to_string).collect(),
            at: day(age).expect("an instant"),
        };
        columns.iter().enumerate().map(file).collect()
    }

    fn named(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_column_that_is_gone_stays_gone_however_many_files_lack_it() {
        let (both, one): (&[&str], &[&str]) = (&["case", "site"], &["case"]);
        let plan = named(&["case", "site", "sex"]);
        let kept = columns(&files(&[both; 6]), &plan);
        assert_eq!(kept.verdict, Verdict::Kept, "a column that never was is not gone: {kept:?}");
        for lacking in [1, 3, 50] {
            let judgement = columns(&files(&[vec![one; lacking], vec![both; 6]].concat()), &plan);
            assert_eq!(judgement.reason, "the latest file lacks the column(s) site", "{lacking}");
            let begun = DateTime::from_timestamp(86_400 * (101 - i64::try_from(lacking).expect("few")), 0);
            assert_eq!(judgement.since, begun);
        }
        assert_eq!(columns(&files(&[one, both, both, both]), &named(&["case"])).verdict, Verdict::Kept, "nobody asks");
        let mixed = columns(&files(&[one, both, one, both, one, both]), &plan);
        assert_eq!(mixed.verdict, Verdict::Kept, "files of two kinds");
        assert!(matches!(columns(&files(&[one, both, both]), &plan).verdict, Verdict::Undecided(_)));
    }

    #[test]
    fn a_contract_is_broken_above_its_share() {
        let breaches = |unknown: u64, missing: u64| {
            let counts = [("unknown-value".to_owned(), unknown), ("missing".to_owned(), missing)];
            counts.into_iter().filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(contract("view", &breaches(0, 0), 0, 0.0).verdict, Verdict::Kept, "nothing came");
        assert_eq!(contract("view", &breaches(1, 1), 200, 0.01).verdict, Verdict::Kept, "exactly the share");
        let broken = contract("view", &breaches(2, 1), 200, 0.01);
        assert_eq!(broken.verdict, Verdict::Breached);
        assert!(broken.reason.contains("missing in 1, unknown-value in 2 of 200"), "{}", broken.reason);
        assert_eq!(broken.usual.as_deref(), Some("at most 1 % of a day's predictions"));
        assert_eq!(contract("view", &breaches(1, 0), 200, 0.0).verdict, Verdict::Breached, "zero allows nothing");
    }

    fn hours(counts: &[(u64, u64)]) -> Vec<Filled> {
        let hour = |(age, (records, filled)): (usize, &(u64, u64))| Filled {
            hour: 1000 - i64::try_from(age).expect("few"),
            records: *records,
            filled: *filled,
        };
        counts.iter().enumerate().map(hour).collect()
    }

    #[test]
    fn an_attribute_that_was_filled_and_is_empty_is_noticed() {
        let full = [(10, 10); 30];
        assert_eq!(attribute("site", &hours(&full), 0.5).verdict, Verdict::Kept);
        for empty in [2, 20] {
            let counts = [vec![(10, 0); empty], full.to_vec()].concat();
            let judgement = attribute("site", &hours(&counts), 0.5);
            assert_eq!(judgement.verdict, Verdict::Breached, "{judgement:?}");
            let begun = DateTime::from_timestamp(3600 * (1001 - i64::try_from(empty).expect("few")), 0);
            assert_eq!((judgement.since, judgement.usual.as_deref()), (begun, Some("filled in 100 % before")));
        }
        let one = [vec![(10, 0)], full.to_vec()].concat();
        assert_eq!(attribute("site", &hours(&one), 0.5).verdict, Verdict::Kept, "ten of twenty are not below half");
        let again = [vec![(30, 30)], vec![(10, 0); 6], full.to_vec()].concat();
        assert_eq!(attribute("site", &hours(&again), 0.5).verdict, Verdict::Kept, "it is filled again");
        let never = [(10, 3); 30];
        assert_ne!(attribute("site", &hours(&never), 0.5).verdict, Verdict::Breached, "it was never filled");
        assert!(matches!(attribute("site", &hours(&[(5, 0)]), 0.5).verdict, Verdict::Undecided(_)));
    }
}
