//! Sources: where records come from. Each turns what it finds into rows, and rows into drafts of records.
//!
//! Must never: decide whether a record is valid; that is the door's task (`intake`). Must never: know what is stored.
//! Look next at `file::discover`, `feed::Feed` and `mapping::Mapping`.

pub mod arrow;
pub mod body;
pub mod bucket;
pub mod csv;
pub mod feed;
pub mod file;
pub mod http;
pub mod inference;
pub mod json;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod lines;
pub mod mapping;
pub mod message;
pub mod nats;
pub mod ndjson;
pub mod object;
pub mod parquet;
pub mod sql;
pub mod time;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::domain::Reason;

/// One row of a file, every value as text.
#[derive(Clone, Debug)]
pub struct Row {
    /// Line or row in the file, from 1.
    pub line: i64,
    columns: Arc<HashMap<String, usize>>,
    values: Vec<Option<String>>,
    is_typed: bool,
}

impl Row {
    /// A row with the columns of its file.
    #[must_use]
    pub fn new(line: i64, columns: Arc<HashMap<String, usize>>, values: Vec<Option<String>>) -> Self {
        Self { line, columns, values, is_typed: false }
    }

    /// A row of a format whose columns have types: its times are written in one way, whatever the plan says of texts.
    #[must_use]
    pub fn typed(line: i64, columns: Arc<HashMap<String, usize>>, values: Vec<Option<String>>) -> Self {
        Self { line, columns, values, is_typed: true }
    }

    /// Whether the row's format has types.
    #[must_use]
    pub fn is_typed(&self) -> bool {
        self.is_typed
    }

    /// A value; `None` when the column is absent or the value is null or blank.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&str> {
        let value = self.values.get(*self.columns.get(column)?)?.as_deref()?.trim();
        (!value.is_empty()).then_some(value)
    }

    /// SHA-256 of all that the row says.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for value in &self.values {
            let text = value.as_deref().unwrap_or_default();
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        }
        hasher.finalize().into()
    }

    /// The whole row as JSON, with everything that identifies somebody: to be encrypted and nothing else.
    #[must_use]
    pub fn record(&self) -> String {
        let value = |index: &usize| self.values.get(*index).cloned().flatten();
        let columns: BTreeMap<&String, Option<String>> =
            self.columns.iter().map(|(name, index)| (name, value(index))).collect();
        serde_json::json!({ "columns": columns, "typed": self.is_typed }).to_string()
    }

    /// A row from what [`Row::record`] made of it, or a person of that.
    ///
    /// # Errors
    /// When it is no such record.
    pub fn of_record(line: i64, record: &serde_json::Value) -> Result<Self, String> {
        let wrong = || {
            "the record has no object \"columns\" of texts; keep the shape that `dosimeter rejections export` writes"
                .to_owned()
        };
        let given = record.get("columns").and_then(serde_json::Value::as_object).ok_or_else(wrong)?;
        let (mut columns, mut values) = (HashMap::new(), Vec::new());
        for (name, value) in given {
            columns.insert(name.clone(), values.len());
            values.push(match value {
                serde_json::Value::Null => None,
                serde_json::Value::String(text) => Some(text.clone()),
                serde_json::Value::Number(number) => Some(number.to_string()),
                serde_json::Value::Bool(truth) => Some(u8::from(*truth).to_string()),
                _ => return Err(wrong()),
            });
        }
        let is_typed = record.get("typed").and_then(serde_json::Value::as_bool).unwrap_or_default();
        Ok(Self { line, columns: Arc::new(columns), values, is_typed })
    }

    /// Some columns of the row as an object.
    #[must_use]
    pub fn only(&self, shown: &[&str]) -> serde_json::Value {
        let mut named: Vec<(&String, &usize)> = self.columns.iter().collect();
        named.sort_by_key(|(_, index)| **index);
        let shown = named.into_iter().filter(|(name, _)| shown.contains(&name.as_str()));
        // Postgres has no NUL in texts.
        let clean = |text: &str| text.replace('\0', "\u{FFFD}");
        let value = |index: &usize| self.values.get(*index).cloned().flatten().map(|text| clean(&text));
        shown
            .map(|(name, index)| (clean(name), serde_json::json!(value(index))))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

/// A row that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenRow {
    /// Line or row in the file, from 1.
    pub line: i64,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// What a reader gives, row after row.
pub type RowResult = Result<Row, BrokenRow>;

/// A file that cannot be read as a whole.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableFile {
    /// The operating system refuses.
    #[error("cannot read the file: {0}")]
    Io(#[from] std::io::Error),
    /// It is not what its name says.
    #[error("{0}")]
    Format(String),
}

/// What a record says, not yet validated.
#[derive(Clone, Debug)]
pub enum Draft {
    /// A prediction.
    Prediction(PredictionDraft),
    /// An assertion.
    Assertion(AssertionDraft),
}

/// A prediction as the sender wrote it.
#[derive(Clone, Debug, Default)]
pub struct PredictionDraft {
    /// The sender's id.
    pub id: Option<String>,
    /// The case.
    pub case: String,
    /// Whom it is about.
    pub subject: Option<String>,
    /// When the model spoke.
    pub occurred_at: DateTime<Utc>,
    /// The version.
    pub version: String,
    /// Scores by output: `(output, column, text)`.
    pub scores: Vec<(String, String, String)>,
    /// Slice dimensions and metadata.
    pub attributes: Vec<(String, String)>,
    /// The embedding, as a list of numbers: `(column, text)`.
    pub embedding: Option<(String, String)>,
    /// Whether it is one row of several that make up one prediction.
    pub is_part: bool,
}

/// An assertion as the sender wrote it.
#[derive(Clone, Debug, Default)]
pub struct AssertionDraft {
    /// The sender's id.
    pub id: Option<String>,
    /// The case.
    pub case: String,
    /// The finding.
    pub finding: String,
    /// What is stated, with its column.
    pub value: (String, String),
    /// Where the statement comes from.
    pub source: String,
    /// Who made it.
    pub reader: String,
    /// How settled it is.
    pub status: Option<String>,
    /// When the hospital knew it.
    pub observed_at: DateTime<Utc>,
}

/// Why a record is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The column or field at fault.
    pub field: String,
    /// The reason.
    pub reason: Reason,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl Problem {
    /// A problem.
    #[must_use]
    pub fn new(field: &str, reason: Reason, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), reason, message: message.into() }
    }
}
