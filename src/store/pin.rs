//! Pinned summaries: what frozen buckets were when they were frozen. They answer once the rows are gone.

use chrono::{DateTime, Utc};

use super::summary::StoredSummary;
use super::{Error, Named, Result, Store};
use crate::domain::{Slice, Window};
use crate::summary::codec;
use crate::summary::fold::Cell;

/// The pins of a version in a window.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    /// By cell.
    pub summaries: Vec<StoredSummary>,
    /// Their shapes; one, unless the plan changed between.
    pub fold_digests: Vec<String>,
    /// The references through which embeddings were seen.
    pub references: Vec<Option<i32>>,
    /// All rows up to this batch are in some of them.
    pub latest_batch: i64,
    /// The latest `observed_at` of the assertions in any of them.
    pub known_at: Option<DateTime<Utc>>,
}

type Row = (i32, String, DateTime<Utc>, Vec<u8>, i64, Option<DateTime<Utc>>, String, Option<i32>);

impl Store {
    /// The pins of a version in a window.
    ///
    /// # Errors
    /// When Postgres fails or a summary cannot be decoded.
    pub async fn load_pins(&self, version_id: i32, window: Window) -> Result<Pins> {
        let rows: Vec<Row> = sqlx::query_as(
            "select output_id, slice, bucket, body, batch_id, known_at, fold_digest, reference_id from pinned_summary
            where version_id = $1 and bucket >= $2 and bucket < $3 order by output_id, slice, bucket",
        )
        .bind(version_id)
        .bind(window.from)
        .bind(window.to)
        .fetch_all(&self.pool)
        .await
        .named("load_pins")?;
        let mut pins = Pins::default();
        for (output_id, slice, bucket, body, batch_id, known_at, fold_digest, reference_id) in rows {
            let corrupt = |column, source: Box<dyn std::error::Error + Send + Sync>| Error::Corrupt {
                table: "pinned_summary",
                column,
                row: format!("version {version_id}, output {output_id}, {slice}, {bucket}"),
                source,
            };
            let place: Slice = slice.parse().map_err(|message: String| corrupt("slice", message.into()))?;
            let summary = codec::decode(&body).map_err(|error| corrupt("body", error.into()))?;
            let cell = Cell { output_id, slice: place, bucket };
            pins.summaries.push(StoredSummary { cell, summary, known_at });
            pins.fold_digests.push(fold_digest);
            pins.references.push(reference_id);
            pins.latest_batch = pins.latest_batch.max(batch_id);
            pins.known_at = pins.known_at.max(known_at);
        }
        pins.fold_digests.sort_unstable();
        pins.fold_digests.dedup();
        pins.references.sort_unstable();
        pins.references.dedup();
        Ok(pins)
    }
}
