//! Does the record fit together? Walks the chains and the tables that they cover, and names every row that does not fit.
//!
//! A breach is an answer, not an error: the walk goes on behind it. Must never: change a row, or name a person in clear.
//! `docs/audit.md` says which tables are covered, by what, and which are not and why.

pub mod rows;

use std::collections::BTreeMap;

use crate::store::{Result, Store};

/// So many breaches are named; the others are counted.
const MOST_NAMED: usize = 1000;

/// How far a verification goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// The chains themselves: every entry of the acts, every batch, every seal.
    Chain,
    /// Every row that the chains cover, and every state against what it derives from.
    Full,
}

/// A row that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, utoipa::ToSchema)]
pub struct Breach {
    /// The table.
    pub relation: &'static str,
    /// The row: its key in words, without an identifier of a person in clear.
    pub row: String,
    /// What does not fit.
    pub what: String,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Report {
    /// How many rows of each table were looked at.
    pub checked: BTreeMap<&'static str, u64>,
    /// What does not fit, in the order in which it was found: by table, then by row. At most a thousand are named.
    pub breaches: Vec<Breach>,
    /// How many more there are.
    pub unnamed: u64,
}

impl Report {
    /// Note that rows of a table were looked at.
    pub fn count(&mut self, relation: &'static str, rows: u64) {
        *self.checked.entry(relation).or_default() += rows;
    }

    /// Note a row that does not fit.
    pub fn breach(&mut self, relation: &'static str, row: impl Into<String>, what: impl Into<String>) {
        if self.breaches.len() < MOST_NAMED {
            self.breaches.push(Breach { relation, row: row.into(), what: what.into() });
        } else {
            self.unnamed += 1;
        }
    }

    /// Whether everything fits.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.breaches.is_empty()
    }
}

/// Walk everything that the chains cover.
///
/// # Errors
/// When the database cannot be read. Rows that do not fit are no error: the report names them.
pub async fn verify(store: &Store, depth: Depth) -> Result<Report> {
    let mut report = Report::default();
    rows::check(store, depth, &mut report).await?;
    tracing::debug!(?depth, sound = report.is_sound(), "verified");
    Ok(report)
}
