//! Seals: what a transaction has written into tables that only grow is hashed, row by row, and chained, before it commits.
//!
//! [`open`] before the first such row, [`close`] after the last one. A row that is written without a seal is refused by its
//! column's default. The head of the chain is locked from `close` to the commit: call it late, and before anything is appended
//! to the audit trail, whose head is locked after this one.
//!
//! The hashes of rows are made by Postgres, for it has the rows; those of seals here.

mod relation;

use chrono::{DateTime, Utc};

pub use relation::{Kind, RELATIONS, Relation};

use super::audit::{Chain, advance, lock_head};
use super::{Error, Named, Result, Transaction};
use crate::chain::{Hash, Seal};

/// A seal whose rows are being written.
#[derive(Debug)]
#[must_use = "rows under a seal that is not closed are a breach"]
pub(super) struct Open(i64);

/// Begin a seal: the rows that the transaction writes from now on carry its number.
pub(super) async fn open(transaction: &mut Transaction) -> Result<Open> {
    let number: String = sqlx::query_scalar("select set_config('dosimeter.seal', nextval('seal_id')::text, true)")
        .fetch_one(&mut **transaction)
        .await
        .named("open_seal")?;
    // unwrap safety: `nextval` gives a bigint.
    Ok(Open(number.parse().unwrap_or_default()))
}

/// End a seal: hash what was written under it into these tables, and chain it. A table without such a row gets no link.
pub(super) async fn close(transaction: &mut Transaction, Open(seal_id): Open, relations: &[&str]) -> Result<()> {
    let mut written: Vec<(&str, Vec<u8>)> = Vec::new();
    for relation in relations.iter().filter_map(|name| Relation::find(name)) {
        let (_, order) = relation.key_and_order();
        let query = format!(
            "select coalesce(string_agg({}, decode('', 'hex') order by {order}), '') from {} where seal_id = $1",
            relation.leaf(),
            relation.rows()
        );
        // Names of tables and columns are ours.
        let leaves: Vec<u8> = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .bind(seal_id)
            .fetch_one(&mut **transaction)
            .await
            .named("hash_rows")?;
        if !leaves.is_empty() {
            written.push((relation.name, leaves));
        }
    }
    if written.is_empty() {
        return Ok(());
    }
    let head = lock_head(transaction, Chain::Seals).await?;
    let (mut number, mut previous) = (head.number, head.hash);
    for (relation, leaves) in &written {
        number += 1;
        let sealed_at = head.clock;
        let hash = Seal { number, seal_id, relation, leaves, sealed_at }.hash(&previous);
        sqlx::query(
            "insert into seal (number, seal_id, relation, leaves, sealed_at, previous_hash, hash) values ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(number)
        .bind(seal_id)
        .bind(relation)
        .bind(leaves)
        .bind(sealed_at)
        .bind(previous.as_slice())
        .bind(hash.as_slice())
        .execute(&mut **transaction)
        .await
        .named("insert_seal")?;
        previous = hash;
    }
    advance(transaction, Chain::Seals, number, &previous).await
}

/// A seal as it is stored.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct StoredSeal {
    /// Its number.
    pub number: i64,
    /// What its rows carry.
    pub seal_id: i64,
    /// The table.
    pub relation: String,
    /// The hashes of its rows.
    pub leaves: Vec<u8>,
    /// When, by the server's clock.
    pub sealed_at: DateTime<Utc>,
    /// The hash that it names as the one before.
    pub previous_hash: Vec<u8>,
    /// Its hash.
    pub hash: Vec<u8>,
}

impl StoredSeal {
    /// The hash that it should have behind another.
    #[must_use]
    pub fn hash_behind(&self, previous: &Hash) -> Hash {
        let Self { number, seal_id, relation, leaves, sealed_at, .. } = self;
        Seal { number: *number, seal_id: *seal_id, relation, leaves, sealed_at: *sealed_at }.hash(previous)
    }
}

/// A row as it is now.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct SealedRow {
    /// The seal that it carries.
    pub seal_id: i64,
    /// Its key in words.
    pub key: String,
    /// Its hash.
    pub leaf: Vec<u8>,
}

impl super::look::Look {
    /// Seals behind a number, in order.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_seals(&mut self, after: i64, limit: i64) -> Result<Vec<StoredSeal>> {
        sqlx::query_as(
            "select number, seal_id, relation, leaves, sealed_at, previous_hash, hash from seal where number > $1
            order by number limit $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *self.0)
        .await
        .named("list_seals")
    }

    /// The rows of a table that carry these seals, each hashed anew, by seal and key.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_sealed_rows(&mut self, relation: &Relation, seals: &[i64]) -> Result<Vec<SealedRow>> {
        let (key, order) = relation.key_and_order();
        let query = format!(
            "select r.seal_id, {key} as key, {} as leaf from {} where r.seal_id = any($1) order by r.seal_id, {order}",
            relation.leaf(),
            relation.rows()
        );
        sqlx::query_as(sqlx::AssertSqlSafe(query)).bind(seals).fetch_all(&mut *self.0).await.named("list_sealed_rows")
    }

    /// The rows of a table that carry the number of no seal, in words.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_unsealed_rows(&mut self, relation: &Relation) -> Result<Vec<String>> {
        let (key, order) = relation.key_and_order();
        let query = format!(
            "select {key} from {name} r
            where not exists (select from seal where seal.seal_id = r.seal_id and seal.relation = '{name}') order by {order}",
            name = relation.name
        );
        sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(&mut *self.0).await.named("list_unsealed_rows")
    }
}

/// A hash from the database, which checks its length.
pub(super) fn as_hash(table: &'static str, bytes: &[u8]) -> Result<Hash> {
    bytes.try_into().map_err(|_| Error::Corrupt {
        table,
        column: "hash",
        row: "the last".to_owned(),
        source: format!("{} bytes are no SHA-256", bytes.len()).into(),
    })
}
