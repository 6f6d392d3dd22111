//! Truth: what a named policy makes of the assertions known at an instant. Computed, never stored as fact.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::prediction::{Assertion, Opinion, Status};

/// How the assertions about one output of one case become one truth.
///
/// Under every policy, of several assertions by one source (and reader) only the latest `observed_at` speaks; ties go to
/// the greater content, never to the later arrival. A source whose latest word is `entered-in-error` says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TruthPolicy {
    /// The latest assertion of any source, preliminary ones included.
    Latest,
    /// The latest assertion of any source that has been signed off.
    LatestFinal,
    /// The opinion of most sources and readers; a draw is uncertain.
    Majority,
}

/// What an uncertain truth counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Uncertain {
    /// No truth (U-Ignore).
    Ignore,
    /// Positive (U-Ones).
    Positive,
    /// Negative (U-Zeros).
    Negative,
}

/// A settled truth and when it became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truth {
    /// Whether the condition is present.
    pub positive: bool,
    /// The `observed_at` of the last assertion that the answer rests on.
    pub known_at: DateTime<Utc>,
}

/// Decide the truth of one output of one case. `assertions` are all about it and already limited to what was known; their
/// order does not matter. `None` means that there is no truth.
#[must_use]
pub fn decide(policy: TruthPolicy, uncertain: Uncertain, assertions: &[Assertion]) -> Option<Truth> {
    let voices = voices(policy, assertions);
    let (opinion, known_at) = match policy {
        TruthPolicy::Latest | TruthPolicy::LatestFinal => {
            let last = voices.iter().max_by_key(|voice| precedence(voice))?;
            (last.opinion, last.observed_at)
        }
        TruthPolicy::Majority => majority(&voices)?,
    };
    let positive = match (opinion, uncertain) {
        (Opinion::Positive, _) | (Opinion::Uncertain, Uncertain::Positive) => true,
        (Opinion::Negative, _) | (Opinion::Uncertain, Uncertain::Negative) => false,
        (Opinion::Uncertain, Uncertain::Ignore) => return None,
    };
    Some(Truth { positive, known_at })
}

/// What each source and reader says last of one output of one case; whoever has withdrawn says nothing.
#[must_use]
pub fn voices(policy: TruthPolicy, assertions: &[Assertion]) -> Vec<&Assertion> {
    let mut voices: Vec<&Assertion> = Vec::with_capacity(assertions.len());
    for assertion in assertions {
        if policy == TruthPolicy::LatestFinal && assertion.status == Status::Preliminary {
            continue;
        }
        let same = voices.iter_mut().find(|v| v.source == assertion.source && v.reader == assertion.reader);
        match same {
            Some(voice) if precedence(assertion) > precedence(voice) => *voice = assertion,
            Some(_) => {}
            None => voices.push(assertion),
        }
    }
    voices.retain(|voice| voice.status != Status::EnteredInError);
    voices
}

/// The order in which one assertion supersedes another: by time, then by content.
fn precedence(assertion: &Assertion) -> (DateTime<Utc>, Status, Opinion, &str, &str) {
    (assertion.observed_at, assertion.status, assertion.opinion, &assertion.source, &assertion.reader)
}

fn majority(voices: &[&Assertion]) -> Option<(Opinion, DateTime<Utc>)> {
    let known_at = voices.iter().map(|voice| voice.observed_at).max()?;
    let votes = |opinion| voices.iter().filter(|voice| voice.opinion == opinion).count();
    let (positive, negative, unsure) = (votes(Opinion::Positive), votes(Opinion::Negative), votes(Opinion::Uncertain));
    let opinion = if positive > negative.max(unsure) {
        Opinion::Positive
    } else if negative > positive.max(unsure) {
        Opinion::Negative
    } else {
        Opinion::Uncertain
    };
    Some((opinion, known_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(source: &str, opinion: Opinion, status: Status, day: i64) -> Assertion {
        Assertion {
            case_id: "c".into(),
            truth_id: 1,
            opinion,
            source: source.into(),
            reader: String::new(),
            status,
            observed_at: DateTime::from_timestamp(day * 86_400, 0).expect("a valid day"),
        }
    }

    fn truth(policy: TruthPolicy, assertions: &[Assertion]) -> Option<bool> {
        decide(policy, Uncertain::Ignore, assertions).map(|truth| truth.positive)
    }

    #[test]
    fn a_correction_replaces_what_its_source_said_whatever_arrives_first() {
        let first = says("report", Opinion::Positive, Status::Final, 1);
        let second = says("report", Opinion::Negative, Status::Corrected, 2);
        for order in [[first.clone(), second.clone()], [second, first]] {
            assert_eq!(truth(TruthPolicy::LatestFinal, &order), Some(false));
        }
    }

    #[test]
    fn a_preliminary_word_is_no_final_truth() {
        let assertions = [says("report", Opinion::Positive, Status::Preliminary, 1)];
        assert_eq!(truth(TruthPolicy::LatestFinal, &assertions), None);
        assert_eq!(truth(TruthPolicy::Latest, &assertions), Some(true));
    }

    #[test]
    fn a_withdrawn_statement_leaves_the_other_sources_to_speak() {
        let assertions = [
            says("report", Opinion::Positive, Status::Final, 1),
            says("report", Opinion::Positive, Status::EnteredInError, 3),
            says("ct", Opinion::Negative, Status::Final, 2),
        ];
        assert_eq!(truth(TruthPolicy::LatestFinal, &assertions), Some(false));
        assert_eq!(truth(TruthPolicy::LatestFinal, &assertions[..2]), None);
    }

    #[test]
    fn a_draw_of_readers_is_uncertain() {
        let assertions =
            [says("a", Opinion::Positive, Status::Final, 1), says("b", Opinion::Negative, Status::Final, 2)];
        assert_eq!(truth(TruthPolicy::Majority, &assertions), None);
        let settled = decide(TruthPolicy::Majority, Uncertain::Positive, &assertions).expect("U-Ones settles it");
        assert!(settled.positive);
    }
}
