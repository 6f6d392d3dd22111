//! Does the record fit together? Walks the chains and the tables that they cover, and names every row that does not fit.
//!
//! A breach is an answer, not an error: the walk goes on behind it. Must never: change a row, or name a person in clear.
//! `docs/audit.md` says which tables are covered, by what, and which are not and why.

mod acts;
mod history;
pub mod rows;
mod walk;

use std::collections::BTreeMap;

use crate::chain::Hash;
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

/// The last link of a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Point {
    /// Its number.
    pub number: i64,
    /// Its hash.
    pub hash: String,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Report {
    /// How many rows of each table were looked at.
    pub checked: BTreeMap<&'static str, u64>,
    /// The last link of each chain.
    pub heads: BTreeMap<&'static str, Point>,
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

/// An entry of the audit trail as somebody outside has kept it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Its number.
    pub audit_id: i64,
    /// Its hash.
    pub hash: Hash,
}

/// The anchors of a file that was kept outside: a JSON object a line, with `audit_id` and `hash`.
///
/// # Errors
/// When a line is no anchor; it says which.
pub fn anchors(text: &str) -> std::result::Result<Vec<Anchor>, String> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let anchor = |(number, line): (u32, &str)| {
        let value: Option<serde_json::Value> = serde_json::from_str(line).ok();
        let hash = |value: &serde_json::Value| crate::chain::from_hex(value.get("hash")?.as_str()?);
        let found =
            value.and_then(|value| Some(Anchor { audit_id: value.get("audit_id")?.as_i64()?, hash: hash(&value)? }));
        found.ok_or_else(|| format!("line {number} is no anchor; one is a JSON object with audit_id and hash"))
    };
    lines.map(anchor).collect()
}

/// Walk everything that the chains cover.
///
/// # Errors
/// When the database cannot be read. Rows that do not fit are no error: the report names them.
pub async fn verify(store: &Store, depth: Depth) -> Result<Report> {
    verify_against(store, depth, &[]).await
}

/// Walk everything that the chains cover, and see that the audit trail is the one that somebody outside has kept hashes of.
///
/// # Errors
/// As for [`verify`].
pub async fn verify_against(store: &Store, depth: Depth, anchors: &[Anchor]) -> Result<Report> {
    let mut report = Report::default();
    // One instant: what is written meanwhile is for the next time.
    let mut look = store.look().await?;
    let promised = acts::check(&mut look, anchors, &mut report).await?;
    history::check(&mut look, depth, promised.seals, &mut report).await?;
    rows::check(store.proof(&mut look), depth, &mut report).await?;
    acts::check_batches(&mut look, &promised.batches, &mut report).await?;
    if depth == Depth::Full {
        for contradiction in look.list_contradictions().await? {
            report.breach(contradiction.relation, contradiction.row, contradiction.what);
        }
    }
    Ok(report)
}
