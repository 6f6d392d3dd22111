//! A batch in the making: what is admitted and refused, with identities that are distinct within it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::Admitted;
use crate::config::Secret;
use crate::domain::Reason;
use crate::source::mapping::Mapping;
use crate::source::{Problem, Row};
use crate::store::batch::{
    ASSERTION, Batch, Meeting, NewAssertion, NewPrediction, NewRejection, PREDICTION, Position, Progress,
};

/// What is kept of a refused record.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The mapped columns without the identifiers.
    pub payload: serde_json::Value,
    /// SHA-256 of the record as it stood.
    pub fingerprint: [u8; 32],
    /// The record as it stood, to be encrypted.
    pub record: Option<Secret>,
}

impl Kept {
    /// Of a row.
    #[must_use]
    pub fn of_row(mapping: &Mapping<'_>, row: &Row) -> Self {
        Self { payload: mapping.payload(row), fingerprint: row.fingerprint(), record: Some(Secret::new(&row.record())) }
    }

    /// Of something that is no record: its text.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        Self { payload: serde_json::json!({}), fingerprint: Sha256::digest(text).into(), record: None }
    }
}

/// A record of a batch in the making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// This one of the predictions.
    Prediction(usize),
    /// This one of the assertions.
    Assertion(usize),
}

/// What became of a record in a batch in the making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It stands there.
    New(Place),
    /// Its identity stands there already, and it does not contradict it: what becomes of that one becomes of it.
    Duplicate(Place),
    /// Its identity stands there with other content: why it is refused.
    Conflict(&'static str),
}

impl Admitted {
    fn position(&self) -> &Position {
        match self {
            Self::Prediction(new) => &new.position,
            Self::Assertion(new) => &new.position,
        }
    }

    /// What is kept of it should it be refused: what it says, without whom it is about.
    fn kept(&self) -> Kept {
        match self {
            Self::Prediction(new) => Kept { payload: new.said(), fingerprint: new.digest, record: Some(new.record()) },
            Self::Assertion(new) => Kept { payload: new.said(), fingerprint: new.digest, record: Some(new.record()) },
        }
    }
}

/// What is told of a record that contradicts one of the same batch.
const CONTRADICTED: &str = "a record with this identity was sent before, in the same file or at the same moment, with other content; \
                            the first one stands";

/// Collects what is admitted and refused into a batch whose identities are distinct.
#[derive(Clone, Debug, Default)]
pub struct Collector {
    pub(crate) predictions: Vec<NewPrediction>,
    pub(crate) assertions: Vec<NewAssertion>,
    pub(crate) rejections: Vec<NewRejection>,
    pub(crate) duplicates: u64,
    pub(crate) ignored: u64,
    seen: HashMap<(String, i16, String), usize>,
}

impl Collector {
    /// Leave a row out that the plan has no interest in.
    pub fn ignore(&mut self) {
        self.ignored += 1;
    }

    /// Rows that were left out.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Rows and records at hand.
    #[must_use]
    pub fn len(&self) -> usize {
        self.predictions.len() + self.assertions.len() + self.rejections.len()
    }

    /// Whether nothing is at hand.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The latest time that the records state.
    #[must_use]
    pub fn newest_at(&self) -> Option<DateTime<Utc>> {
        let predictions = self.predictions.iter().map(|new| new.prediction.occurred_at);
        predictions.chain(self.assertions.iter().map(|new| new.assertion.observed_at)).max()
    }

    /// Versions that the predictions name.
    #[must_use]
    pub fn versions(&self) -> std::collections::BTreeSet<String> {
        self.predictions.iter().map(|record| record.version.clone()).collect()
    }

    /// Refuse predictions of versions beyond the plan's limit; `known` ones are always welcome, then the first to appear.
    pub fn limit_versions(&mut self, known: impl IntoIterator<Item = String>, most: usize) {
        let mut welcome: BTreeSet<String> = known.into_iter().collect();
        let all = std::mem::take(&mut self.predictions);
        let (kept, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(|record| {
            if welcome.len() < most {
                welcome.insert(record.version.clone());
            }
            welcome.contains(&record.version)
        });
        self.predictions = kept;
        if !refused.is_empty() {
            self.seen.retain(|(_, kind, _), _| *kind != PREDICTION);
            let places = self.predictions.iter().enumerate();
            let key = |new: &NewPrediction| (new.prediction.case_id.clone(), PREDICTION, new.record_id.clone());
            self.seen.extend(places.map(|(at, new)| (key(new), at)));
        }
        for record in refused {
            let message = format!(
                "{:?} would be version number {} of this model; does the version's column hold something else? \
                 Correct the source's columns, or raise intake.most_versions",
                record.version,
                most + 1
            );
            let problem = Problem::new("version", Reason::TooManyVersions, message);
            let payload = serde_json::json!({ "version": record.version });
            let kept = Kept { payload, fingerprint: record.digest, record: Some(record.record()) };
            self.reject(problem, record.position, kept);
        }
    }

    /// Take a record in. One that is in this batch already is a duplicate, says more, or is a conflict that is rejected.
    pub fn admit(&mut self, admitted: Admitted, kept: impl FnOnce() -> Kept) {
        let position = admitted.position().clone();
        self.admit_at(&position, admitted, |_| kept());
    }

    fn admit_at(&mut self, position: &Position, admitted: Admitted, kept: impl FnOnce(&Admitted) -> Kept) -> Admission {
        match self.place(admitted) {
            Err(refused) => {
                self.reject(Problem::new("id", Reason::Conflict, CONTRADICTED), position.clone(), kept(&refused));
                Admission::Conflict(CONTRADICTED)
            }
            Ok(admission) => {
                self.duplicates += u64::from(matches!(admission, Admission::Duplicate(_)));
                admission
            }
        }
    }

    /// Take in what another collector holds, and tell of each of its records what became of it here.
    pub fn absorb(&mut self, other: Self) -> Vec<(Position, Admission)> {
        if self.is_empty() {
            // Its records stand where they stood: they have met one another already.
            let (duplicates, ignored) = (self.duplicates + other.duplicates, self.ignored + other.ignored);
            *self = Self { duplicates, ignored, ..other };
            let predictions = self.predictions.iter().enumerate();
            let predictions = predictions.map(|(at, new)| (&new.position, Place::Prediction(at)));
            let assertions = self.assertions.iter().enumerate();
            let assertions = assertions.map(|(at, new)| (&new.position, Place::Assertion(at)));
            return predictions.chain(assertions).map(|(at, place)| (at.clone(), Admission::New(place))).collect();
        }
        self.rejections.extend(other.rejections);
        self.duplicates += other.duplicates;
        self.ignored += other.ignored;
        let records = other.predictions.into_iter().map(Admitted::Prediction);
        let mut told = Vec::new();
        for record in records.chain(other.assertions.into_iter().map(Admitted::Assertion)) {
            let position = record.position().clone();
            let admission = self.admit_at(&position, record, Admitted::kept);
            told.push((position, admission));
        }
        told
    }

    /// Put a record to its kind, unless its identity stands there already. One that contradicts what stands there is given back.
    fn place(&mut self, admitted: Admitted) -> Result<Admission, Box<Admitted>> {
        match admitted {
            Admitted::Prediction(new) => {
                let key = (new.prediction.case_id.clone(), PREDICTION, new.record_id.clone());
                let Some(at) = self.seen.get(&key).copied() else {
                    self.seen.insert(key, self.predictions.len());
                    self.predictions.push(new);
                    return Ok(Admission::New(Place::Prediction(self.predictions.len() - 1)));
                };
                let known = &mut self.predictions[at];
                match Meeting::of((&known.version, &known.prediction), (&new.version, &new.prediction)) {
                    Meeting::Same => {}
                    Meeting::Extends(both) => {
                        known.digest = both.digest(&known.version);
                        known.prediction = both;
                        known.subject = known.subject.take().or(new.subject);
                    }
                    Meeting::Conflict => return Err(Box::new(Admitted::Prediction(new))),
                }
                Ok(Admission::Duplicate(Place::Prediction(at)))
            }
            Admitted::Assertion(new) => {
                let key = (new.assertion.case_id.clone(), ASSERTION, new.record_id.clone());
                let Some(at) = self.seen.get(&key).copied() else {
                    self.seen.insert(key, self.assertions.len());
                    self.assertions.push(new);
                    return Ok(Admission::New(Place::Assertion(self.assertions.len() - 1)));
                };
                if self.assertions[at].digest == new.digest {
                    Ok(Admission::Duplicate(Place::Assertion(at)))
                } else {
                    Err(Box::new(Admitted::Assertion(new)))
                }
            }
        }
    }

    /// Refuse a record.
    pub fn reject(&mut self, problem: Problem, position: Position, kept: Kept) {
        let Problem { field, reason, message } = problem;
        // What goes into the database is text without NUL.
        let clean = |text: String| text.replace('\0', "\u{FFFD}");
        let Kept { payload, fingerprint, record } = kept;
        let (field, message) = (clean(field), clean(message));
        self.rejections.push(NewRejection { position, field, reason, message, payload, fingerprint, record });
    }

    /// The batch, with the numbers of the versions filled in.
    #[must_use]
    pub fn into_batch(
        self,
        source: String,
        origin: String,
        progress: Progress,
        versions: &BTreeMap<String, i32>,
    ) -> Batch {
        let numbered = self.predictions.into_iter().map(|record| {
            // unwrap safety: the caller numbered every one of `versions()`.
            let version_id = versions.get(&record.version).copied().unwrap_or_default();
            NewPrediction { version_id, ..record }
        });
        Batch {
            source,
            origin,
            progress,
            predictions: numbered.collect(),
            assertions: self.assertions,
            rejections: self.rejections,
            duplicates: self.duplicates,
            ignored: self.ignored,
        }
    }
}
