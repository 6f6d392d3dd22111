//! Truth: what a named policy makes of the assertions known at an instant. Computed, never stored as fact.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::prediction::{Assertion, Opinion, Real, Status};

/// How the assertions about one output of one case become one truth.
///
/// The truth of a class is the class that is stated, that of a value the number.
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
    /// The opinion of most sources and readers; a draw is uncertain. Of classes: no truth at a draw; of values: the median.
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
    /// What is the case: never [`Opinion::Uncertain`].
    pub stated: Opinion,
    /// The `observed_at` of the last assertion that the answer rests on.
    pub known_at: DateTime<Utc>,
}

impl Truth {
    /// Whether what an output speaks of is the case: the condition is present, or, for the output of a class, the class is its
    /// own. What is of another kind, from a time when the plan said otherwise, says nothing.
    #[must_use]
    pub fn holds_for(&self, output_id: i32, is_class: bool) -> Option<bool> {
        match (self.stated, is_class) {
            (Opinion::Positive, false) => Some(true),
            (Opinion::Negative, false) => Some(false),
            (Opinion::Class(class), true) => Some(class == output_id),
            _ => None,
        }
    }
}

/// Decide the truth of one finding of one case. `assertions` are all about it and already limited to what was known; their
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
    let stated = match (opinion, uncertain) {
        (Opinion::Uncertain, Uncertain::Positive) => Opinion::Positive,
        (Opinion::Uncertain, Uncertain::Negative) => Opinion::Negative,
        (Opinion::Uncertain, Uncertain::Ignore) => return None,
        (settled, _) => settled,
    };
    Some(Truth { stated, known_at })
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

/// The opinion of most; a draw of yes and no is uncertain, one of classes is no truth. Of values, the median.
fn majority(voices: &[&Assertion]) -> Option<(Opinion, DateTime<Utc>)> {
    let known_at = voices.iter().map(|voice| voice.observed_at).max()?;
    let mut votes: BTreeMap<Opinion, usize> = BTreeMap::new();
    voices.iter().for_each(|voice| *votes.entry(voice.opinion).or_default() += 1);
    let opinion = match *votes.last_key_value()?.0 {
        Opinion::Value(_) => Opinion::Value(median(voices)?),
        last => {
            let most = votes.values().max()?;
            let mut winners = votes.iter().filter(|(_, count)| *count == most).map(|(opinion, _)| *opinion);
            match (winners.next()?, winners.next()) {
                (winner, None) => winner,
                (_, Some(_)) if matches!(last, Opinion::Class(_)) => return None,
                (_, Some(_)) => Opinion::Uncertain,
            }
        }
    };
    Some((opinion, known_at))
}

/// The median of the voices that state a value.
fn median(voices: &[&Assertion]) -> Option<Real> {
    let values =
        voices.iter().filter_map(|voice| if let Opinion::Value(value) = voice.opinion { Some(value) } else { None });
    let mut values: Vec<Real> = values.collect();
    values.sort_unstable();
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Real::new(0.5 * low.get() + 0.5 * high.get())
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
        decide(policy, Uncertain::Ignore, assertions)?.holds_for(0, false)
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
        assert_eq!(settled.holds_for(0, false), Some(true));
    }

    #[test]
    fn most_readers_make_the_class_and_the_median_the_value() {
        let of = |opinions: &[Opinion]| {
            let said = ["a", "b", "c", "d"].iter().zip(opinions);
            let said: Vec<Assertion> = said.map(|(reader, opinion)| says(reader, *opinion, Status::Final, 1)).collect();
            decide(TruthPolicy::Majority, Uncertain::Ignore, &said).map(|truth| truth.stated)
        };
        let class = Opinion::Class;
        let value = |number| Opinion::Value(Real::new(number).expect("finite"));
        assert_eq!(of(&[class(1), class(2), class(2)]), Some(class(2)));
        assert_eq!(of(&[class(1), class(2)]), None, "a draw");
        assert_eq!(of(&[value(7.0), value(1.0), value(2.0)]), Some(value(2.0)));
        assert_eq!(of(&[value(4.0), value(1.0), value(2.0), value(9.0)]), Some(value(3.0)));
    }
}
