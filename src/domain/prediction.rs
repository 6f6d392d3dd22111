//! Predictions and assertions, as they are kept: validated and pseudonymised.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::stats::channel::Scale;

/// Scores of one version for one case at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// What the prediction is about, as a pseudonym.
    pub case_id: String,
    /// Whom the case is about, as a pseudonym.
    pub subject_id: Option<String>,
    /// When the model spoke.
    pub occurred_at: DateTime<Utc>,
    /// Probability or value by output, in ascending order of output; an output without a score is absent.
    pub scores: Vec<(i32, f64)>,
    /// Slice dimensions and metadata, by name.
    pub attributes: BTreeMap<String, String>,
    /// What the model made of its input inside, if it says.
    pub embedding: Option<Vec<f32>>,
}

impl Prediction {
    /// SHA-256 of the content, with the version that spoke. Every part goes in with its length, so that parts cannot run
    /// together.
    #[must_use]
    pub fn digest(&self, version: &str) -> [u8; 32] {
        let mut content = Content::default();
        content.add(version).number(&self.occurred_at.timestamp_micros().to_be_bytes());
        content.add(self.subject_id.as_deref().unwrap_or_default());
        content.count(self.scores.len());
        for (output_id, score) in &self.scores {
            content.number(&output_id.to_be_bytes()).number(&score.to_bits().to_be_bytes());
        }
        content.count(self.attributes.len());
        for (name, value) in &self.attributes {
            content.add(name).add(value);
        }
        for number in self.embedding.iter().flatten() {
            content.number(&number.to_bits().to_be_bytes());
        }
        content.digest()
    }

    /// What two statements of one prediction say together; `None` when they contradict each other.
    ///
    /// A plan that grows by an output or a dimension reads more from a record that is sent again: that is no contradiction.
    #[must_use]
    pub fn union(&self, other: &Self) -> Option<Self> {
        let mut both = self.clone();
        if self.case_id != other.case_id || self.occurred_at != other.occurred_at {
            return None;
        }
        match (&self.subject_id, &other.subject_id) {
            (Some(mine), Some(theirs)) if mine != theirs => return None,
            (None, Some(theirs)) => both.subject_id = Some(theirs.clone()),
            _ => {}
        }
        for (output_id, score) in &other.scores {
            match self.scores.iter().find(|(known, _)| known == output_id) {
                Some((_, known)) if known.to_bits() != score.to_bits() => return None,
                Some(_) => {}
                None => both.scores.push((*output_id, *score)),
            }
        }
        both.scores.sort_unstable_by_key(|(output_id, _)| *output_id);
        for (name, value) in &other.attributes {
            if both.attributes.entry(name.clone()).or_insert_with(|| value.clone()) != value {
                return None;
            }
        }
        match (&self.embedding, &other.embedding) {
            (Some(mine), Some(theirs)) if mine != theirs => return None,
            (None, Some(theirs)) => both.embedding = Some(theirs.clone()),
            _ => {}
        }
        Some(both)
    }
}

/// A digest of parts.
#[derive(Default)]
struct Content(Sha256);

impl Content {
    fn add(&mut self, part: &str) -> &mut Self {
        self.count(part.len());
        self.number(part.as_bytes())
    }

    fn count(&mut self, count: usize) {
        self.number(&(count as u64).to_be_bytes());
    }

    /// Bytes of which it is known how many there are.
    fn number(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// One statement of truth about one output of one case. Never overwritten.
#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    /// What the statement is about, as a pseudonym.
    pub case_id: String,
    /// The finding that is stated.
    pub truth_id: i32,
    /// What is stated.
    pub opinion: Opinion,
    /// Where the statement comes from: a reader, a report, pathology.
    pub source: String,
    /// Who made it, if the source has several readers.
    pub reader: String,
    /// How settled it is.
    pub status: Status,
    /// When the hospital knew it.
    pub observed_at: DateTime<Utc>,
}

impl Assertion {
    /// SHA-256 of the content.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut content = Content::default();
        content.add(&self.truth_id.to_string()).add(&self.opinion.to_word()).add(&self.source).add(&self.reader);
        content.add(self.status.as_str()).add(&self.observed_at.timestamp_micros().to_string());
        content.digest()
    }
}

/// The content of an assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Opinion {
    /// The condition is absent.
    Negative,
    /// The reader cannot tell.
    Uncertain,
    /// The condition is present.
    Positive,
    /// The case is of one class of several: the number of the output that stands for it.
    Class(i32),
    /// The true value.
    Value(Real),
}

impl Opinion {
    /// The word that the store uses: `negative`, `uncertain`, `positive`, `class:17`, `value:3.25`.
    #[must_use]
    pub fn to_word(self) -> Cow<'static, str> {
        match self {
            Self::Negative => "negative".into(),
            Self::Uncertain => "uncertain".into(),
            Self::Positive => "positive".into(),
            Self::Class(output_id) => format!("class:{output_id}").into(),
            Self::Value(value) => format!("value:{}", value.get()).into(),
        }
    }

    /// Read the store's word; `None` when it is none.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        match word.split_once(':') {
            Some(("class", output_id)) => output_id.parse().ok().map(Self::Class),
            Some(("value", value)) => Real::new(value.parse().ok()?).map(Self::Value),
            _ => Self::parse(word),
        }
    }

    /// Parse the spellings of yes and no found in label files; `None` when it is none of them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "0" | "0.0" | "false" | "f" | "no" | "n" | "negative" | "neg" | "absent" => Some(Self::Negative),
            "1" | "1.0" | "true" | "t" | "yes" | "y" | "positive" | "pos" | "present" => Some(Self::Positive),
            "-1" | "-1.0" | "u" | "uncertain" | "equivocal" => Some(Self::Uncertain),
            _ => None,
        }
    }
}

/// A finite number with an order and an identity: zero has no sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Real(u64);

impl Real {
    /// `None` when the number is not finite.
    #[must_use]
    pub fn new(number: f64) -> Option<Self> {
        number.is_finite().then(|| Self(Scale::Real.key(number)))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f64 {
        Scale::Real.value(self.0)
    }
}

/// How settled an assertion is (the words of FHIR's DiagnosticReport.status).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// May still change.
    Preliminary,
    /// Signed off.
    Final,
    /// Signed off again, with an addition.
    Amended,
    /// Signed off again, with a correction.
    Corrected,
    /// Withdrawn: should never have been said.
    EnteredInError,
}

impl Status {
    /// The word that the store and the files use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preliminary => "preliminary",
            Self::Final => "final",
            Self::Amended => "amended",
            Self::Corrected => "corrected",
            Self::EnteredInError => "entered-in-error",
        }
    }

    /// Parse a status word; `None` when it is none of them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().replace('_', "-").as_str() {
            "preliminary" | "provisional" | "draft" => Some(Self::Preliminary),
            "final" => Some(Self::Final),
            "amended" => Some(Self::Amended),
            "corrected" => Some(Self::Corrected),
            "entered-in-error" | "retracted" | "withdrawn" => Some(Self::EnteredInError),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(scores: &[(i32, f64)], attributes: &[(&str, &str)]) -> Prediction {
        Prediction {
            case_id: "c".into(),
            subject_id: None,
            occurred_at: DateTime::UNIX_EPOCH,
            scores: scores.to_vec(),
            attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            embedding: None,
        }
    }

    #[test]
    fn what_the_store_keeps_of_an_opinion_is_read_back() {
        let value = |number| Opinion::Value(Real::new(number).expect("finite"));
        for opinion in [Opinion::Negative, Opinion::Uncertain, Opinion::Positive, Opinion::Class(17), value(-0.1)] {
            assert_eq!(Opinion::of_word(&opinion.to_word()), Some(opinion));
        }
        assert_eq!(value(-0.0), value(0.0));
        assert!(value(-2.0) < value(1e-300), "values order as numbers do");
        assert_eq!(Opinion::of_word("value:NaN"), None);
    }

    #[test]
    fn a_record_that_says_more_is_no_contradiction() {
        let first = prediction(&[(2, 0.5)], &[("site", "north")]);
        let more = prediction(&[(1, 0.25), (2, 0.5)], &[("sex", "F"), ("site", "north")]);
        assert_eq!(first.union(&more).as_ref(), Some(&more));
        assert_eq!(more.union(&first).as_ref(), Some(&more), "and one that says less adds nothing");
        assert_eq!(first.union(&prediction(&[(2, 0.6)], &[])), None);
        assert_eq!(first.union(&prediction(&[], &[("site", "south")])), None);
    }
}
