//! Published estimates, append-only.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::lease::Lease;
use super::series::EstimateRecord;
use super::{Error, Named, Result, Store};
use crate::domain::{MetricKey, Outcome, Slice, Window};

/// The metrics of one window.
pub type Metrics = Vec<(MetricKey, Outcome)>;

/// A published estimate.
#[derive(Clone, Debug)]
pub struct StoredEstimate {
    /// Its number; 0 before it is stored.
    pub estimate_id: i64,
    /// The version.
    pub version_id: i32,
    /// The output.
    pub output_id: i32,
    /// The slice.
    pub slice: Slice,
    /// The window's name in the plan.
    pub window_name: String,
    /// The window.
    pub window: Window,
    /// Truth observed up to then.
    pub known_at: DateTime<Utc>,
    /// Batches up to this one.
    pub recorded: i64,
    /// The plan that asked.
    pub plan_id: i32,
    /// The reference it was compared with.
    pub reference_id: Option<i32>,
    /// SHA-256 of what went in.
    pub input_digest: String,
    /// Version of the formulas.
    pub calculator: i32,
    /// All metrics.
    pub metrics: Metrics,
    /// When it was computed.
    pub estimated_at: DateTime<Utc>,
}

impl Store {
    /// Digests of the latest estimates of a version and window name, by output and slice.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn latest_digests(&self, version_id: i32, window_name: &str) -> Result<HashMap<(i32, String), String>> {
        let rows = sqlx::query!(
            "select output_id, slice, input_digest from current_estimate where version_id = $1 and window_name = $2",
            version_id,
            window_name
        )
        .fetch_all(&self.pool)
        .await
        .named("latest_digests")?;
        Ok(rows.into_iter().map(|row| ((row.output_id, row.slice), row.input_digest)).collect())
    }

    /// What the latest evaluation of a window found, and when.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn find_evaluation(&self, version_id: i32, window_name: &str) -> Result<Option<(String, DateTime<Utc>)>> {
        let row = sqlx::query!(
            "select input_state, evaluated_at from evaluation where version_id = $1 and window_name = $2",
            version_id,
            window_name
        )
        .fetch_optional(&self.pool)
        .await
        .named("find_evaluation")?;
        Ok(row.map(|row| (row.input_state, row.evaluated_at)))
    }

    /// Append the estimates of one version and window that changed, forget as current what is not in `published`, and
    /// note what the evaluation found.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn publish_estimates(
        &self,
        lease: &Lease,
        (version_id, window_name): (i32, &str),
        (input_state, evaluated_at): (&str, DateTime<Utc>),
        estimates: &[StoredEstimate],
        published: &[(i32, String)],
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        super::lease::check(&mut transaction, lease).await?;
        // unwrap safety: metrics are texts and finite numbers, which always serialise.
        let metrics = |e: &StoredEstimate| serde_json::to_string(&e.metrics).unwrap_or_default();
        sqlx::query!(
            "delete from current_estimate where version_id = $1 and window_name = $2 and (output_id, slice) not in
                (select * from unnest($3::integer[], $4::text[]))",
            version_id,
            window_name,
            &published.iter().map(|(output_id, _)| *output_id).collect::<Vec<_>>(),
            &published.iter().map(|(_, slice)| slice.clone()).collect::<Vec<_>>()
        )
        .execute(&mut *transaction)
        .await
        .named("forget_current_estimates")?;
        let seal = super::seal::open(&mut transaction).await?;
        sqlx::query!(
            "with new as (insert into estimate (version_id, output_id, slice, window_name, window_from, window_to, known_at, recorded,
                plan_id, reference_id, input_digest, calculator, metrics, estimated_at)
            select version_id, output_id, slice, window_name, window_from, window_to, known_at, recorded,
                plan_id, reference_id, input_digest, calculator, metrics::jsonb, estimated_at
            from unnest($1::integer[], $2::integer[], $3::integer[], $4::integer[], $5::text[], $6::text[], $7::timestamptz[],
                $8::timestamptz[], $9::timestamptz[], $10::bigint[], $11::integer[], $12::text[], $13::text[], $14::timestamptz[])
            as t (plan_id, calculator, version_id, output_id, slice, window_name, window_from, window_to, known_at, recorded,
                reference_id, input_digest, metrics, estimated_at)
            returning version_id, window_name, output_id, slice, estimate_id, input_digest)
            insert into current_estimate (version_id, window_name, output_id, slice, estimate_id, input_digest)
            select version_id, window_name, output_id, slice, estimate_id, input_digest from new
            on conflict (version_id, window_name, output_id, slice)
            do update set estimate_id = excluded.estimate_id, input_digest = excluded.input_digest",
            &estimates.iter().map(|e| e.plan_id).collect::<Vec<_>>(),
            &estimates.iter().map(|e| e.calculator).collect::<Vec<_>>(),
            &estimates.iter().map(|e| e.version_id).collect::<Vec<_>>(),
            &estimates.iter().map(|e| e.output_id).collect::<Vec<_>>(),
            &estimates.iter().map(|e| e.slice.to_string()).collect::<Vec<_>>(),
            &estimates.iter().map(|e| e.window_name.clone()).collect::<Vec<_>>(),
            &estimates.iter().map(|e| e.window.from).collect::<Vec<_>>(),
            &estimates.iter().map(|e| e.window.to).collect::<Vec<_>>(),
            &estimates.iter().map(|e| e.known_at).collect::<Vec<_>>(),
            &estimates.iter().map(|e| e.recorded).collect::<Vec<_>>(),
            &estimates.iter().map(|e| e.reference_id).collect::<Vec<_>>() as &[Option<i32>],
            &estimates.iter().map(|e| e.input_digest.clone()).collect::<Vec<_>>(),
            &estimates.iter().map(metrics).collect::<Vec<_>>(),
            &estimates.iter().map(|e| e.estimated_at).collect::<Vec<_>>()
        )
        .execute(&mut *transaction)
        .await
        .named("insert_estimates")?;
        sqlx::query!(
            "insert into evaluation (version_id, window_name, input_state, evaluated_at) values ($1, $2, $3, $4)
            on conflict (version_id, window_name) do update
            set input_state = excluded.input_state, evaluated_at = excluded.evaluated_at",
            version_id,
            window_name,
            input_state,
            evaluated_at
        )
        .execute(&mut *transaction)
        .await
        .named("note_evaluation")?;
        super::seal::close(&mut transaction, seal, &["estimate"]).await?;
        super::lease::commit(transaction, lease, "publish_estimates").await
    }

    /// The latest estimate of every version, output, slice and window.
    ///
    /// # Errors
    /// When Postgres fails or a row cannot be read.
    pub async fn latest_estimates(&self) -> Result<Vec<StoredEstimate>> {
        let rows = sqlx::query_as!(
            EstimateRecord,
            "select e.estimate_id, e.version_id, e.output_id, e.slice, e.window_name, e.window_from, e.window_to, e.known_at,
                e.recorded, e.plan_id, e.reference_id, e.input_digest, e.calculator, e.metrics::text as \"metrics!\", e.estimated_at
            from current_estimate c join estimate e using (estimate_id)
            order by e.version_id, e.window_name, e.output_id, e.slice"
        )
        .fetch_all(&self.pool)
        .await
        .named("latest_estimates")?;
        rows.into_iter().map(StoredEstimate::try_from).collect()
    }

    /// The latest estimates of the last `most` windows of a stream, the earliest first: the end of each window, and its
    /// metrics.
    ///
    /// # Errors
    /// When Postgres fails or a row cannot be read.
    pub async fn estimate_history(&self, of: &StoredEstimate, most: i64) -> Result<Vec<(DateTime<Utc>, Metrics)>> {
        let rows = sqlx::query!(
            "select estimate_id, window_to, metrics::text as \"metrics!\" from (
                select distinct on (window_to) estimate_id, window_to, metrics from estimate
                where version_id = $1 and window_name = $2 and output_id = $3 and slice = $4 and window_to <= $5
                order by window_to desc, estimate_id desc limit $6) latest
            order by window_to",
            of.version_id,
            of.window_name,
            of.output_id,
            of.slice.to_string(),
            of.window.to,
            most
        )
        .fetch_all(&self.pool)
        .await
        .named("estimate_history")?;
        let history = rows.into_iter().map(|row| {
            let metrics = serde_json::from_str(&row.metrics).map_err(|error| Error::Corrupt {
                table: "estimate",
                column: "metrics",
                row: format!("estimate {}", row.estimate_id),
                source: error.into(),
            })?;
            Ok((row.window_to, metrics))
        });
        history.collect()
    }
}
