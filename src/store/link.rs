//! Links of the chain of batches: whoever takes the next number holds the batch counter until the commit, and writes the link.
//!
//! What every commit has to know (the head, what is frozen, whether anything is gone) stands in the counter's row, so it costs no
//! statement of its own.

use chrono::{DateTime, Utc};

use super::batch::Committed;
use super::leaf::{self, BatchColumns, Parts};
use super::{Error, Named, Result, Transaction};
use crate::chain::Hash;

/// A link in the making.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// The number of the batch.
    pub(super) batch_id: i64,
    /// The hash of the batch before it.
    previous: Hash,
    /// Buckets before this instant are frozen.
    pub(super) frozen_before: Option<DateTime<Utc>>,
    /// Whether there are cases whose rows are gone.
    pub(super) gone: bool,
}

/// A stored hash.
pub(super) fn hash(
    table: &'static str,
    column: &'static str,
    row: impl FnOnce() -> String,
    bytes: &[u8],
) -> Result<Hash> {
    bytes.try_into().map_err(|_| Error::Corrupt { table, column, row: row(), source: "it has not 32 bytes".into() })
}

/// Take the next number. Numbers ascend in commit order, for its row stays locked until the commit.
pub(super) async fn next(transaction: &mut Transaction) -> Result<Link> {
    let row: (i64, Vec<u8>, Option<DateTime<Utc>>, bool) = sqlx::query_as(
        "update batch_counter set last_batch = last_batch + 1 returning last_batch, head, frozen_before, gone",
    )
    .fetch_one(&mut **transaction)
    .await
    .named("next_batch")?;
    let (batch_id, head, frozen_before, gone) = row;
    let previous = hash("batch_counter", "head", || "its only row".to_owned(), &head)?;
    Ok(Link { batch_id, previous, frozen_before, gone })
}

impl Link {
    /// Write the batch, and its hash to the head.
    pub(super) async fn close(
        &self,
        transaction: &mut Transaction,
        (source, origin): (&str, &str),
        committed: Committed,
        parts: &Parts,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let Committed { accepted, duplicates, rejected, .. } = committed;
        let counts = [accepted, duplicates, rejected].map(u64::cast_signed);
        let rows_digest = leaf::rows_digest(parts);
        let columns = BatchColumns { batch_id: self.batch_id, source, origin, committed_at: now, counts };
        let hash = leaf::batch_hash(&self.previous, columns, &rows_digest);
        sqlx::query(
            "with head as (update batch_counter set head = $11)
            insert into batch (batch_id, source, origin, committed_at, accepted, duplicates, rejected, parts, rows_digest,
                previous_hash, hash)
            values ($1, $2, $3, $4, $5, $6, $7, $8::text::json, $9, $10, $11)",
        )
        .bind(self.batch_id)
        .bind(source)
        .bind(origin)
        .bind(now)
        .bind(counts[0])
        .bind(counts[1])
        .bind(counts[2])
        .bind(leaf::write_parts(parts))
        .bind(rows_digest.as_slice())
        .bind(self.previous.as_slice())
        .bind(hash.as_slice())
        .execute(&mut **transaction)
        .await
        .named("insert_batch")?;
        Ok(())
    }
}
