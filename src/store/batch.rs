//! What a transaction of intake takes in, and what becomes of it.

use super::cursor::CursorProgress;
use super::file::FileProgress;
use crate::config::Secret;
use crate::domain::{Assertion, Breach, Prediction, Reason};

/// `record_key.kind` of a prediction.
pub const PREDICTION: i16 = 1;
/// `record_key.kind` of an assertion.
pub const ASSERTION: i16 = 2;

/// Where a record stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line or row, from 1; 0 for the whole file.
    pub line: i64,
    /// Which record of that row, from 0.
    pub item: i32,
}

/// A validated prediction.
#[derive(Clone, Debug)]
pub struct NewPrediction {
    /// Identity within the case.
    pub record_id: String,
    /// SHA-256 of the content.
    pub digest: [u8; 32],
    /// The version's name.
    pub version: String,
    /// The version's number; 0 until the store has given it.
    pub version_id: i32,
    /// The rest.
    pub prediction: Prediction,
    /// Where it stood.
    pub position: Position,
    /// The id that the case's pseudonym stands for, where it may be kept.
    pub case: Option<Secret>,
    /// The same of the subject.
    pub subject: Option<Secret>,
    /// What of it the plan's contract does not allow.
    pub breaches: Vec<Breach>,
}

/// A validated assertion.
#[derive(Clone, Debug)]
pub struct NewAssertion {
    /// Identity within the case.
    pub record_id: String,
    /// SHA-256 of the content.
    pub digest: [u8; 32],
    /// The rest.
    pub assertion: Assertion,
    /// Where it stood.
    pub position: Position,
    /// The id that the case's pseudonym stands for, where it may be kept.
    pub case: Option<Secret>,
}

/// What is told of a record that contradicts a known one.
pub const CONFLICT: &str = "a record with this identity is known with other content; the first one stands. Send a correction \
    as a record of its own: with its own id, or, where ids are not sent, with another instant";

/// What is told of a record about what is gone.
#[must_use]
pub fn told_gone(reason: Reason) -> &'static str {
    match reason {
        Reason::Erased => "what the record is about was erased on request, and records do not bring it back",
        _ => "the rows of that time are gone (retention.rows), and what was said of it stands",
    }
}

impl NewPrediction {
    /// What it says, without whom it is about.
    #[must_use]
    pub fn said(&self) -> serde_json::Value {
        let p = &self.prediction;
        let scores: Vec<f64> = p.scores.iter().map(|(_, score)| *score).collect();
        serde_json::json!({ "occurred_at": p.occurred_at, "version": self.version, "scores": scores,
            "attributes": p.attributes })
    }

    /// What it says, and whom it is about, to be encrypted: the row that it came in is gone.
    #[must_use]
    pub fn record(&self) -> Secret {
        let p = &self.prediction;
        let case = self.case.as_ref().map_or(p.case_id.as_str(), Secret::expose);
        let subject = self.subject.as_ref().map(Secret::expose).or(p.subject_id.as_deref());
        Secret::new(&serde_json::json!({ "said": self.said(), "case": case, "subject": subject }).to_string())
    }
}

impl NewAssertion {
    /// What it says, without whom it is about.
    #[must_use]
    pub fn said(&self) -> serde_json::Value {
        let a = &self.assertion;
        serde_json::json!({ "value": a.opinion.to_word(), "status": a.status.as_str(), "source": a.source,
            "reader": a.reader, "observed_at": a.observed_at })
    }

    /// What it says, and whom it is about, to be encrypted: the row that it came in is gone.
    #[must_use]
    pub fn record(&self) -> Secret {
        let case = self.case.as_ref().map_or(self.assertion.case_id.as_str(), Secret::expose);
        Secret::new(&serde_json::json!({ "said": self.said(), "case": case }).to_string())
    }
}

/// A refused record.
#[derive(Clone, Debug)]
pub struct NewRejection {
    /// Where it stood.
    pub position: Position,
    /// The column or field at fault.
    pub field: String,
    /// The reason.
    pub reason: Reason,
    /// What is wrong and what to do about it.
    pub message: String,
    /// The mapped columns of the record without its identifiers.
    pub payload: serde_json::Value,
    /// SHA-256 of the record as it stood, whatever the plan makes of it: the same one is not kept twice.
    pub fingerprint: [u8; 32],
    /// The record as it stood, with its identifiers: kept encrypted, so that it can be mended and sent again.
    pub record: Option<Secret>,
}

/// What one transaction takes in.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The source.
    pub source: String,
    /// What the source read: a file, a query, a subject; or who sent it.
    pub origin: String,
    /// What the source remembers once this batch is committed.
    pub progress: Progress,
    /// Predictions, their identities distinct.
    pub predictions: Vec<NewPrediction>,
    /// Assertions, their identities distinct.
    pub assertions: Vec<NewAssertion>,
    /// Records refused so far.
    pub rejections: Vec<NewRejection>,
    /// Duplicates found within the batch.
    pub duplicates: u64,
    /// Rows that the plan has no interest in.
    pub ignored: u64,
}

/// How far a source has read, kept in the transaction that takes the rows in.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Nothing to remember: whoever sent the records sends again what was not acknowledged.
    Sent,
    /// A file, up to a row.
    File(FileProgress),
    /// Events with these ids, which are forgotten.
    Events(Vec<String>),
    /// A stream or a query, up to a position.
    Cursor(CursorProgress),
    /// Nothing: these are rejections, by number, that have been sent through the door again. In the batch each stands at the
    /// line of its number.
    Replayed(Vec<i64>),
}

/// What a prediction is to a known one of the same identity.
#[derive(Clone, Debug, PartialEq)]
pub enum Meeting {
    /// It says nothing new.
    Same,
    /// It says more: both together.
    Extends(Prediction),
    /// It contradicts what is known.
    Conflict,
}

impl Meeting {
    /// Compare what is known with what arrived, each with its version.
    #[must_use]
    pub fn of<V: PartialEq>(known: (V, &Prediction), new: (V, &Prediction)) -> Self {
        match known.1.union(new.1) {
            Some(_) if known.0 != new.0 => Self::Conflict,
            Some(both) if both == *known.1 => Self::Same,
            Some(both) => Self::Extends(both),
            None => Self::Conflict,
        }
    }
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was new.
    New,
    /// It says more than was known.
    Extends,
    /// It was known with the same content.
    Known,
    /// It contradicts what is known and was refused.
    Conflict,
    /// What it is about is gone, for this reason, and it was refused.
    Gone(Reason),
}

/// What became of a batch, and of each of its records.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The counts.
    pub committed: Committed,
    /// Of each prediction, in the batch's order.
    pub predictions: Vec<Fate>,
    /// Of each assertion, in the batch's order.
    pub assertions: Vec<Fate>,
}

/// What became of a batch, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Its number.
    pub batch_id: i64,
    /// Records that were new, or said more than was known.
    pub accepted: u64,
    /// Records that were known with the same content.
    pub duplicates: u64,
    /// Records that were refused.
    pub rejected: u64,
}
