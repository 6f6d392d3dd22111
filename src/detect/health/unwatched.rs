//! Streams that see nothing: those that cannot be watched, and those that have had no case for long.
//!
//! No alarm of a stream means little when it has no evidence. That is told of each watch, once, with what its streams lack.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Judgement;
use crate::domain::window::show_instant;

/// One stream without evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idle {
    /// Version, output and slice, in words.
    pub place: String,
    /// What it lacks.
    pub reason: String,
    /// Since when it has had none.
    pub since: DateTime<Utc>,
}

/// So many streams are named.
const NAMED: usize = 3;

/// Judge the streams of one watch, of which `idle` are without evidence at present.
#[must_use]
pub fn judge(streams: usize, idle: &[Idle], patience: Duration, now: DateTime<Utc>) -> Judgement {
    let is_long = |one: &&Idle| (now - one.since).to_std().is_ok_and(|age| age >= patience);
    let long: Vec<&Idle> = idle.iter().filter(is_long).collect();
    let usual = format!("evidence within {}", crate::domain::window::show_span(patience));
    let Some(first) = long.iter().map(|one| one.since).min() else {
        let words = match idle.len() {
            0 => format!("all {streams} streams have evidence"),
            some => format!("{some} of {streams} streams are without evidence, not for long yet"),
        };
        return Judgement::new(false, words).usual(usual);
    };
    let name = |one: &&Idle| format!("{} since {}: {}", one.place, show_instant(one.since), one.reason);
    let named: Vec<String> = long.iter().take(NAMED).map(name).collect();
    let more = if long.len() > NAMED { format!("; and {} more", long.len() - NAMED) } else { String::new() };
    let words = format!("{} of {streams} streams see nothing: {}{more}", long.len(), named.join("; "));
    Judgement::new(true, words).usual(usual).since(Some(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::limit::Verdict;

    fn at(text: &str) -> DateTime<Utc> {
        format!("{text}T00:00:00Z").parse().expect("an instant")
    }

    fn idle(slice: &str, since: &str) -> Idle {
        Idle { place: format!("1, effusion, {slice}"), reason: "no reference is approved".into(), since: at(since) }
    }

    #[test]
    fn a_stream_without_evidence_is_told_of_after_a_while() {
        let patience = Duration::from_secs(14 * 86_400);
        let judge = |idle: &[Idle], now: &str| judge(5, idle, patience, at(now));
        assert_eq!(judge(&[], "2025-02-01").reason, "all 5 streams have evidence");
        let one = [idle("all", "2025-01-01")];
        let young = judge(&one, "2025-01-14");
        assert_eq!(
            (young.verdict, young.reason.as_str()),
            (Verdict::Kept, "1 of 5 streams are without evidence, not for long yet")
        );
        let old = judge(&one, "2025-01-15");
        assert_eq!((old.verdict, old.since), (Verdict::Breached, Some(at("2025-01-01"))));
        assert!(
            old.reason.starts_with("1 of 5 streams see nothing: 1, effusion, all since 2025-01-01"),
            "{}",
            old.reason
        );
        assert!(old.reason.ends_with("no reference is approved"), "{}", old.reason);
        let many: Vec<Idle> = (1..=5).map(|at| idle(&format!("site={at}"), "2025-01-01")).collect();
        assert!(judge(&many, "2025-02-01").reason.ends_with("; and 2 more"));
    }
}
