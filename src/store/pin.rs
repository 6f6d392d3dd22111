//! Pins: what answers once the rows are gone. Summaries of frozen buckets as they were when they were frozen, for questions; and
//! what each estimate of a frozen window was made of when it was published, for replay.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::estimate::StoredEstimate;
use super::lease::Lease;
use super::series::EstimateRecord;
use super::summary::StoredSummary;
use super::{Error, Named, Result, Store, lease, seal};
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

/// What estimates that were published together were made of, by its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputKey {
    /// The version.
    pub version_id: i32,
    /// The window.
    pub window: Window,
    /// Truth observed up to then.
    pub known_at: DateTime<Utc>,
    /// Batches up to this one.
    pub recorded: i64,
    /// The plan.
    pub plan_id: i32,
    /// The reference.
    pub reference_id: Option<i32>,
}

impl InputKey {
    /// That of an estimate.
    #[must_use]
    pub fn of(estimate: &StoredEstimate) -> Self {
        let StoredEstimate { version_id, window, known_at, recorded, plan_id, reference_id, .. } = *estimate;
        Self { version_id, window, known_at, recorded, plan_id, reference_id }
    }
}

/// A merged summary by output and slice, encoded.
pub type EncodedPart = (i32, String, Vec<u8>);

impl Store {
    /// Estimates of windows that begin before an instant whose inputs are to be pinned: one of each that were published together, of
    /// those that this version of the formulas made and that no erasure has touched since.
    ///
    /// # Errors
    /// When Postgres fails or an estimate cannot be read.
    pub async fn list_unpinned(
        &self,
        before: DateTime<Utc>,
        calculator: i32,
        limit: i64,
    ) -> Result<Vec<StoredEstimate>> {
        let rows: Vec<EstimateRecord> = sqlx::query_as(
            "select distinct on (e.version_id, e.window_from, e.window_to, e.known_at, e.recorded, e.plan_id, e.reference_id)
                e.estimate_id, e.version_id, e.output_id, e.slice, e.window_name, e.window_from, e.window_to, e.known_at,
                e.recorded, e.plan_id, e.reference_id, e.input_digest, e.calculator, e.metrics::text as metrics, e.estimated_at
            from estimate e where e.window_from < $1 and e.calculator = $2
                and not exists (select from pinned_input i where i.version_id = e.version_id and i.window_from = e.window_from
                    and i.window_to = e.window_to and i.known_at = e.known_at and i.recorded = e.recorded
                    and i.plan_id = e.plan_id and i.reference_id is not distinct from e.reference_id)
                and not exists (select from erased_bucket b where b.version_id = e.version_id and b.batch_id > e.recorded
                    and b.bucket >= e.window_from and b.bucket < e.window_to)
            limit $3",
        )
        .bind(before)
        .bind(calculator)
        .bind(limit)
        .fetch_all(&self.pool)
        .await
        .named("list_unpinned")?;
        rows.into_iter().map(StoredEstimate::try_from).collect()
    }

    /// Pin what estimates were made of, or why that cannot be.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn pin_input(
        &self,
        lease: &Lease,
        key: InputKey,
        parts: std::result::Result<&[EncodedPart], String>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        lease::check(&mut transaction, lease).await?;
        let seal = seal::open(&mut transaction).await?;
        let (parts, reason) = match parts {
            Ok(parts) => (parts, None),
            Err(reason) => (&[][..], Some(reason)),
        };
        let input_id: i64 = sqlx::query_scalar(
            "insert into pinned_input (version_id, window_from, window_to, known_at, recorded, plan_id, reference_id, reason,
                pinned_at)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning input_id",
        )
        .bind(key.version_id)
        .bind(key.window.from)
        .bind(key.window.to)
        .bind(key.known_at)
        .bind(key.recorded)
        .bind(key.plan_id)
        .bind(key.reference_id)
        .bind(reason)
        .bind(now)
        .fetch_one(&mut *transaction)
        .await
        .named("insert_pinned_input")?;
        let digests: Vec<Vec<u8>> = parts.iter().map(|(.., body)| Sha256::digest(body).to_vec()).collect();
        sqlx::query(
            "insert into pinned_body (digest, body)
            select distinct on (digest) digest, body from unnest($1::bytea[], $2::bytea[]) as t (digest, body)
            on conflict do nothing",
        )
        .bind(&digests)
        .bind(parts.iter().map(|(.., body)| body.as_slice()).collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await
        .named("insert_pinned_bodies")?;
        sqlx::query(
            "insert into pinned_part (input_id, output_id, slice, digest)
            select $1, output_id, slice, digest
            from unnest($2::integer[], $3::text[], $4::bytea[]) as t (output_id, slice, digest)",
        )
        .bind(input_id)
        .bind(parts.iter().map(|(output_id, ..)| *output_id).collect::<Vec<_>>())
        .bind(parts.iter().map(|(_, slice, _)| slice.as_str()).collect::<Vec<_>>())
        .bind(&digests)
        .execute(&mut *transaction)
        .await
        .named("insert_pinned_parts")?;
        seal::close(&mut transaction, seal, &["pinned_input", "pinned_part", "pinned_body"]).await?;
        lease::commit(transaction, lease, "pin_input").await
    }

    /// What estimates were made of, if it is pinned: the merged summaries, or why there are none.
    ///
    /// # Errors
    /// When Postgres fails or a summary cannot be decoded.
    pub async fn load_pinned_input(
        &self,
        key: InputKey,
    ) -> Result<Option<std::result::Result<Vec<(Cell, crate::summary::body::Body)>, String>>> {
        let found: Option<(i64, Option<String>)> = sqlx::query_as(
            "select input_id, reason from pinned_input where version_id = $1 and window_from = $2 and window_to = $3
                and known_at = $4 and recorded = $5 and plan_id = $6 and reference_id is not distinct from $7",
        )
        .bind(key.version_id)
        .bind(key.window.from)
        .bind(key.window.to)
        .bind(key.known_at)
        .bind(key.recorded)
        .bind(key.plan_id)
        .bind(key.reference_id)
        .fetch_optional(&self.pool)
        .await
        .named("find_pinned_input")?;
        let input_id = match found {
            None => return Ok(None),
            Some((_, Some(reason))) => return Ok(Some(Err(reason))),
            Some((input_id, None)) => input_id,
        };
        let rows: Vec<(i32, String, Vec<u8>)> = sqlx::query_as(
            "select output_id, slice, body from pinned_part join pinned_body using (digest) where input_id = $1
            order by output_id, slice",
        )
        .bind(input_id)
        .fetch_all(&self.pool)
        .await
        .named("load_pinned_parts")?;
        let read = rows.into_iter().map(|(output_id, slice, body)| {
            let corrupt = |column, source: Box<dyn std::error::Error + Send + Sync>| Error::Corrupt {
                table: "pinned_body",
                column,
                row: format!("inputs {input_id}, output {output_id}, {slice}"),
                source,
            };
            let place: Slice = slice.parse().map_err(|message: String| corrupt("slice", message.into()))?;
            let body = codec::decode(&body).map_err(|error| corrupt("body", error.into()))?;
            Ok((Cell { output_id, slice: place, bucket: key.window.from }, body))
        });
        read.collect::<Result<_>>().map(|cells| Some(Ok(cells)))
    }

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
