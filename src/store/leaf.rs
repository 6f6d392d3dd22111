//! Leaves: what each row is in the digest of the batch that brought it, and how batches are chained. Pure.
//!
//! A leaf is SHA-256 over a random salt and every column of the row that never changes, each with its length, so that parts cannot
//! run together. With its salt a row can be checked; a leaf that is left of an erased row says nothing about anybody. The leaves of
//! a batch fall into parts, by table and by month: retention removes whole parts, and the digest of a part stands for it then.
//! The encodings are versioned by their first words and never change; the tests hold golden values.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::chain::{GENESIS, Hash, hex};
use crate::domain::Prediction;
use crate::domain::window::month_of;

/// What makes a leaf unguessable.
pub type Salt = [u8; 16];

/// The tables whose rows are leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// Predictions, by the month in which they were made.
    Prediction,
    /// Assertions, by the month in which they were observed.
    Assertion,
    /// Refused records, by the month of their batch.
    Rejection,
    /// Identifiers, by the month of their batch.
    Identifier,
}

impl Relation {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Prediction, Self::Assertion, Self::Rejection, Self::Identifier];

    /// The table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prediction => "prediction",
            Self::Assertion => "assertion",
            Self::Rejection => "rejection",
            Self::Identifier => "identifier",
        }
    }

    /// The relation of a table.
    #[must_use]
    pub fn parse(table: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|relation| relation.as_str() == table)
    }
}

/// Where a leaf belongs within its batch: the table, and the first instant of the month.
pub type Part = (Relation, DateTime<Utc>);

/// A part of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// How many leaves.
    pub rows: u64,
    /// The digest of the sorted leaves.
    pub digest: Hash,
}

impl Weight {
    /// Of leaves in any order.
    #[must_use]
    pub fn of(mut leaves: Vec<Hash>) -> Self {
        leaves.sort_unstable();
        let mut content = Content::new("dosimeter leaves 1");
        content.count(leaves.len());
        leaves.iter().for_each(|leaf| content.raw(leaf));
        Self { rows: leaves.len() as u64, digest: content.hash() }
    }
}

/// The parts of a batch.
pub type Parts = BTreeMap<Part, Weight>;

/// Leaves of a batch in the making.
#[derive(Debug, Default)]
pub struct Leaves(BTreeMap<Part, Vec<Hash>>);

impl Leaves {
    /// Add a leaf of a row of an instant.
    pub fn add(&mut self, relation: Relation, at: DateTime<Utc>, leaf: Hash) {
        self.0.entry((relation, month_of(at).from)).or_default().push(leaf);
    }

    /// Weigh them.
    #[must_use]
    pub fn weigh(self) -> Parts {
        self.0.into_iter().map(|(part, leaves)| (part, Weight::of(leaves))).collect()
    }
}

/// A part as it stands in `batch.parts`.
#[derive(Serialize, Deserialize)]
struct Written {
    relation: Relation,
    month: DateTime<Utc>,
    rows: u64,
    digest: String,
}

/// The text of `batch.parts`.
#[must_use]
pub fn write_parts(parts: &Parts) -> String {
    let written: Vec<Written> = parts
        .iter()
        .map(|((relation, month), weight)| Written {
            relation: *relation,
            month: *month,
            rows: weight.rows,
            digest: hex(&weight.digest),
        })
        .collect();
    // unwrap safety: texts and numbers always serialise.
    serde_json::to_string(&written).unwrap_or_default()
}

/// Read the text of `batch.parts`.
///
/// # Errors
/// What is wrong with it.
pub fn read_parts(text: &str) -> Result<Parts, String> {
    let written: Vec<Written> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let read = |part: Written| {
        let digest = unhex(&part.digest).ok_or_else(|| format!("{:?} is no digest", part.digest))?;
        Ok(((part.relation, part.month), Weight { rows: part.rows, digest }))
    };
    written.into_iter().map(read).collect()
}

fn unhex(text: &str) -> Option<Hash> {
    let mut hash = GENESIS;
    if text.len() != 2 * hash.len() || !text.is_ascii() {
        return None;
    }
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(hash)
}

/// The digest of a batch's parts.
#[must_use]
pub fn rows_digest(parts: &Parts) -> Hash {
    let mut content = Content::new("dosimeter parts 1");
    content.count(parts.len());
    for ((relation, month), weight) in parts {
        content.text(relation.as_str()).instant(*month).number(weight.rows.cast_signed());
        content.raw(&weight.digest);
    }
    content.hash()
}

/// What of a batch goes into its hash, besides the hash before it and the digest of its rows.
#[derive(Clone, Copy, Debug)]
pub struct BatchColumns<'b> {
    /// Its number.
    pub batch_id: i64,
    /// The source.
    pub source: &'b str,
    /// What the source read.
    pub origin: &'b str,
    /// When it was committed.
    pub committed_at: DateTime<Utc>,
    /// Accepted, duplicate and refused records.
    pub counts: [i64; 3],
}

/// The hash of a batch.
#[must_use]
pub fn batch_hash(previous: &Hash, batch: BatchColumns<'_>, rows_digest: &Hash) -> Hash {
    let mut content = Content::new("dosimeter batch 1");
    content.raw(previous);
    content.number(batch.batch_id).text(batch.source).text(batch.origin).instant(batch.committed_at);
    for count in batch.counts {
        content.number(count);
    }
    content.raw(rows_digest);
    content.hash()
}

/// What stands in the digest of a retirement for what is left of a part of a batch.
#[must_use]
pub fn left_hash(batch_id: i64, (relation, month): (&str, DateTime<Utc>), rows: i64, digest: &[u8]) -> Hash {
    let mut content = Content::new("dosimeter left 1");
    content.number(batch_id).text(relation).instant(month).number(rows);
    content.raw(digest);
    content.hash()
}

/// The leaf of a prediction.
#[must_use]
pub fn of_prediction(salt: &Salt, record_id: &str, version_id: i32, prediction: &Prediction) -> Hash {
    let mut content = Content::new("dosimeter prediction 1");
    content.raw(salt);
    content.text(&prediction.case_id).text(record_id).number(version_id.into()).instant(prediction.occurred_at);
    content.optional(prediction.subject_id.as_deref());
    content.count(prediction.scores.len());
    for (output_id, score) in &prediction.scores {
        content.number((*output_id).into()).raw(&score.to_bits().to_be_bytes());
    }
    content.count(prediction.attributes.len());
    for (name, value) in &prediction.attributes {
        content.text(name).text(value);
    }
    content.count(prediction.embedding.as_ref().map_or(0, |numbers| numbers.len() + 1));
    for number in prediction.embedding.iter().flatten() {
        content.raw(&number.to_bits().to_be_bytes());
    }
    content.hash()
}

/// The columns of an assertion, as they are stored.
#[derive(Clone, Copy, Debug)]
pub struct AssertionColumns<'a> {
    /// The case.
    pub case_id: &'a str,
    /// Identity within the case.
    pub record_id: &'a str,
    /// The finding.
    pub truth_id: i32,
    /// What is stated, as the store's word.
    pub opinion: &'a str,
    /// Where the statement comes from.
    pub source: &'a str,
    /// Who made it.
    pub reader: &'a str,
    /// How settled it is.
    pub status: &'a str,
    /// When the hospital knew it.
    pub observed_at: DateTime<Utc>,
}

/// The leaf of an assertion.
#[must_use]
pub fn of_assertion(salt: &Salt, assertion: AssertionColumns<'_>) -> Hash {
    let AssertionColumns { case_id, record_id, truth_id, opinion, source, reader, status, observed_at } = assertion;
    let mut content = Content::new("dosimeter assertion 1");
    content.raw(salt);
    content.text(case_id).text(record_id).number(truth_id.into()).text(opinion).text(source).text(reader);
    content.text(status).instant(observed_at);
    content.hash()
}

/// The leaf of an identifier: of what stays when it is encrypted anew.
#[must_use]
pub fn of_identifier(salt: &Salt, kind: i16, pseudonym: &str) -> Hash {
    let mut content = Content::new("dosimeter identifier 1");
    content.raw(salt);
    content.number(kind.into()).text(pseudonym);
    content.hash()
}

/// The leaf of a refused record, as Postgres makes it: what it holds was made there. Field, reason and message may be replaced when
/// the record is sent through the door again; the digest of the first ones is kept then.
pub const REJECTION: &str = "sha256(convert_to('dosimeter rejection 1', 'UTF8') || salt || coalesce(first_words,
    sha256(salt || convert_to(jsonb_build_array(field, reason, message)::text, 'UTF8'))) || content_digest
    || convert_to(jsonb_build_array(source, origin, line, item, payload,
        (extract(epoch from rejected_at) * 1000000)::bigint)::text, 'UTF8'))";

/// What is hashed, part by part.
struct Content(Sha256);

impl Content {
    fn new(what: &str) -> Self {
        let mut content = Self(Sha256::new());
        content.text(what);
        content
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn count(&mut self, count: usize) {
        self.raw(&(count as u64).to_be_bytes());
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.count(text.len());
        self.raw(text.as_bytes());
        self
    }

    fn optional(&mut self, text: Option<&str>) {
        self.count(usize::from(text.is_some()));
        if let Some(text) = text {
            self.text(text);
        }
    }

    fn number(&mut self, number: i64) -> &mut Self {
        self.raw(&number.to_be_bytes());
        self
    }

    fn instant(&mut self, at: DateTime<Utc>) -> &mut Self {
        self.number(at.timestamp_micros())
    }

    fn hash(self) -> Hash {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("an instant")
    }

    fn prediction() -> Prediction {
        Prediction {
            case_id: "c".into(),
            subject_id: Some("s".into()),
            occurred_at: at(1_740_000_000),
            scores: vec![(1, 0.5), (2, 0.25)],
            attributes: [("site".to_owned(), "north".to_owned())].into(),
            embedding: Some(vec![0.5]),
        }
    }

    /// Changed only by a defect: what was hashed years ago is hashed alike.
    #[test]
    fn the_encodings_are_for_ever() {
        let salt = [7; 16];
        let assertion = AssertionColumns {
            case_id: "c",
            record_id: "r",
            truth_id: 1,
            opinion: "positive",
            source: "report",
            reader: "",
            status: "final",
            observed_at: at(1_740_000_000),
        };
        let mut leaves = Leaves::default();
        leaves.add(Relation::Prediction, at(1_740_000_000), of_prediction(&salt, "r", 3, &prediction()));
        leaves.add(Relation::Assertion, at(1_740_000_000), of_assertion(&salt, assertion));
        leaves.add(Relation::Identifier, at(1_740_000_000), of_identifier(&salt, 1, "c"));
        let parts = leaves.weigh();
        let batch =
            BatchColumns { batch_id: 1, source: "a", origin: "b", committed_at: at(1_740_000_000), counts: [1, 0, 0] };
        let golden: Vec<String> = parts.values().map(|weight| hex(&weight.digest)[..16].to_owned()).collect();
        assert_eq!(golden, ["5af1105842347f7a", "984ea464f7ea2188", "31ff3e6e9ed746ab"]);
        assert_eq!(hex(&batch_hash(&GENESIS, batch, &rows_digest(&parts)))[..16], *"ad90e4e3bf2cc56b");
        assert_eq!(read_parts(&write_parts(&parts)), Ok(parts));
    }

    #[test]
    fn every_column_and_the_salt_are_in_a_leaf_and_nothing_runs_together() {
        let leaf = |change: &dyn Fn(&mut Prediction)| {
            let mut other = prediction();
            change(&mut other);
            of_prediction(&[7; 16], "r", 3, &other)
        };
        let mut leaves = vec![
            leaf(&|_| {}),
            of_prediction(&[8; 16], "r", 3, &prediction()),
            of_prediction(&[7; 16], "q", 3, &prediction()),
            of_prediction(&[7; 16], "r", 4, &prediction()),
            leaf(&|p| p.case_id = "d".into()),
            leaf(&|p| p.subject_id = None),
            leaf(&|p| p.subject_id = Some(String::new())),
            leaf(&|p| p.occurred_at += chrono::TimeDelta::microseconds(1)),
            leaf(&|p| p.scores[1].1 = -0.25),
            leaf(&|p| p.scores[1].0 = 3),
            leaf(&|p| p.scores.truncate(1)),
            leaf(&|p| drop(p.attributes.insert("sex".into(), "F".into()))),
            leaf(&|p| p.attributes = [("sitenorth".to_owned(), String::new())].into()),
            leaf(&|p| p.embedding = None),
            leaf(&|p| p.embedding = Some(Vec::new())),
        ];
        let all = leaves.len();
        leaves.sort_unstable();
        leaves.dedup();
        assert_eq!(leaves.len(), all);
    }

    #[test]
    fn leaves_weigh_the_same_in_any_order() {
        let one = Weight::of(vec![[1; 32], [2; 32], [2; 32]]);
        assert_eq!(one, Weight::of(vec![[2; 32], [1; 32], [2; 32]]));
        assert_ne!(one, Weight::of(vec![[1; 32], [2; 32]]), "a row that stands twice counts twice");
    }
}
