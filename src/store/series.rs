//! Published estimates as they were read at some instant: what was published up to then, and nothing that came later.
//!
//! Estimates are append-only, so an answer about the past never changes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::catalog::Version;
use super::estimate::StoredEstimate;
use super::{Error, Named, Result, Store};
use crate::domain::{MetricKey, Outcome, Slice, Window};

/// A row of `estimate`, as it is stored.
#[derive(sqlx::FromRow)]
pub(super) struct EstimateRecord {
    pub(super) estimate_id: i64,
    pub(super) version_id: i32,
    pub(super) output_id: i32,
    pub(super) slice: String,
    pub(super) window_name: String,
    pub(super) window_from: DateTime<Utc>,
    pub(super) window_to: DateTime<Utc>,
    pub(super) known_at: DateTime<Utc>,
    pub(super) recorded: i64,
    pub(super) plan_id: i32,
    pub(super) reference_id: Option<i32>,
    pub(super) input_digest: String,
    pub(super) calculator: i32,
    pub(super) metrics: String,
    pub(super) estimated_at: DateTime<Utc>,
}

impl TryFrom<EstimateRecord> for StoredEstimate {
    type Error = Error;

    fn try_from(row: EstimateRecord) -> Result<Self> {
        let corrupt = |column, source: Box<dyn std::error::Error + Send + Sync>| Error::Corrupt {
            table: "estimate",
            column,
            row: format!("estimate {}", row.estimate_id),
            source,
        };
        Ok(Self {
            estimate_id: row.estimate_id,
            version_id: row.version_id,
            output_id: row.output_id,
            slice: row.slice.parse().map_err(|message: String| corrupt("slice", message.into()))?,
            window: Window { from: row.window_from, to: row.window_to },
            known_at: row.known_at,
            recorded: row.recorded,
            plan_id: row.plan_id,
            reference_id: row.reference_id,
            metrics: serde_json::from_str(&row.metrics).map_err(|error| corrupt("metrics", error.into()))?,
            window_name: row.window_name,
            input_digest: row.input_digest,
            calculator: row.calculator,
            estimated_at: row.estimated_at,
        })
    }
}

/// One output of one version in one slice, by one window of the plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    /// The version.
    pub version_id: i32,
    /// The output.
    pub output_id: i32,
    /// The slice.
    pub slice: Slice,
    /// The window's name in the plan.
    pub window_name: String,
}

/// Which part of a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Windows that end at this instant or after it.
    pub from: Option<DateTime<Utc>>,
    /// Windows that end at this instant or before it.
    pub to: Option<DateTime<Utc>>,
    /// As published up to this instant; all without.
    pub as_of: Option<DateTime<Utc>>,
}

/// Which published estimates; what is left out restricts nothing.
#[derive(Clone, Debug, Default)]
pub struct EstimateFilter {
    /// The only models.
    pub models: Option<Vec<String>>,
    /// The version's name.
    pub version: Option<String>,
    /// The output's name.
    pub output: Option<String>,
    /// The slice in canonical form.
    pub slice: Option<String>,
    /// The window's name in the plan.
    pub window: Option<String>,
    /// Ends of windows, and the instant of publication.
    pub span: Span,
    /// Those with a lower number only: the next page.
    pub before: Option<i64>,
}

/// One metric of one window of one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The version.
    pub version_id: i32,
    /// The output.
    pub output_id: i32,
    /// The estimate.
    pub estimate_id: i64,
    /// First instant after the window.
    pub window_to: DateTime<Utc>,
    /// The value, or why there is none; absent when the estimate has no such metric.
    pub outcome: Option<Outcome>,
}

/// Names of numbers.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Versions by number.
    pub versions: BTreeMap<i32, Version>,
    /// Outputs by number: model and name.
    pub outputs: BTreeMap<i32, (String, String)>,
}

impl Names {
    /// The name of an output.
    #[must_use]
    pub fn output(&self, output_id: i32) -> &str {
        self.outputs.get(&output_id).map(|(_, name)| name.as_str()).unwrap_or_default()
    }
}

impl Store {
    /// The names of all versions and outputs that there ever were.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_names(&self) -> Result<Names> {
        let versions = self.list_versions().await?.into_iter().map(|version| (version.version_id, version)).collect();
        let outputs = sqlx::query!(
            "select output_id, model.name as model, output.name as name from output join model using (model_id)"
        )
        .fetch_all(&self.pool)
        .await
        .named("list_output_names")?;
        Ok(Names { versions, outputs: outputs.into_iter().map(|row| (row.output_id, (row.model, row.name))).collect() })
    }

    /// One estimate.
    ///
    /// # Errors
    /// When there is none of this number, Postgres fails or the row cannot be read.
    pub async fn load_estimate(&self, estimate_id: i64) -> Result<StoredEstimate> {
        let found = sqlx::query_as!(
            EstimateRecord,
            "select estimate_id, version_id, output_id, slice, window_name, window_from, window_to, known_at, recorded, plan_id,
                reference_id, input_digest, calculator, metrics::text as \"metrics!\", estimated_at
            from estimate where estimate_id = $1",
            estimate_id
        )
        .fetch_optional(&self.pool)
        .await
        .named("load_estimate")?;
        let row = found.ok_or_else(|| Error::Missing(format!("there is no estimate {estimate_id}")))?;
        row.try_into()
    }

    /// Published estimates, the latest first.
    ///
    /// # Errors
    /// When Postgres fails or a row cannot be read.
    pub async fn list_estimates(&self, filter: &EstimateFilter, limit: i64) -> Result<Vec<StoredEstimate>> {
        let EstimateFilter { models, version, output, slice, window, span, before } = filter;
        let rows = sqlx::query_as!(
            EstimateRecord,
            "select e.estimate_id, e.version_id, e.output_id, e.slice, e.window_name, e.window_from, e.window_to, e.known_at,
                e.recorded, e.plan_id, e.reference_id, e.input_digest, e.calculator, e.metrics::text as \"metrics!\", e.estimated_at
            from estimate e
            where ($1::text[] is null and $2::text is null or e.version_id in (select version_id
                    from model_version v join model m using (model_id)
                    where ($1 is null or m.name = any($1)) and ($2 is null or v.name = $2)))
                and ($3::text is null or e.output_id in (select output_id from output where name = $3))
                and ($4::text is null or e.slice = $4) and ($5::text is null or e.window_name = $5)
                and ($6::timestamptz is null or e.window_to >= $6) and ($7::timestamptz is null or e.window_to <= $7)
                and ($8::timestamptz is null or e.estimated_at <= $8) and ($9::bigint is null or e.estimate_id < $9)
            order by e.estimate_id desc limit $10",
            models.as_deref(),
            version.as_deref(),
            output.as_deref(),
            slice.as_deref(),
            window.as_deref(),
            span.from,
            span.to,
            span.as_of,
            *before,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .named("list_estimates")?;
        rows.into_iter().map(StoredEstimate::try_from).collect()
    }

    /// The series of one stream: of each window the estimate that was published last, the earliest window first. `after` is
    /// the end of the last window of the page before.
    ///
    /// # Errors
    /// When Postgres fails or a row cannot be read.
    pub async fn list_series(
        &self,
        key: &SeriesKey,
        span: Span,
        after: Option<DateTime<Utc>>,
        limit: i64,
    ) -> Result<Vec<StoredEstimate>> {
        let rows = sqlx::query_as!(
            EstimateRecord,
            "select e.estimate_id, e.version_id, e.output_id, e.slice, e.window_name, e.window_from, e.window_to, e.known_at,
                e.recorded, e.plan_id, e.reference_id, e.input_digest, e.calculator, e.metrics::text as \"metrics!\", e.estimated_at
            from (select distinct on (window_to) estimate_id from estimate
                where version_id = $1 and output_id = $2 and slice = $3 and window_name = $4
                    and ($5::timestamptz is null or window_to >= $5) and ($6::timestamptz is null or window_to <= $6)
                    and ($7::timestamptz is null or estimated_at <= $7) and ($8::timestamptz is null or window_to > $8)
                order by window_to, estimate_id desc limit $9) last
            join estimate e using (estimate_id) order by e.window_to",
            key.version_id,
            key.output_id,
            key.slice.to_string(),
            key.window_name,
            span.from,
            span.to,
            span.as_of,
            after,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .named("list_series")?;
        rows.into_iter().map(StoredEstimate::try_from).collect()
    }

    /// One metric of every output of some versions in one slice, window by window, as published up to an instant: what small
    /// charts of many streams are drawn of. By version and output, the earliest window first.
    ///
    /// # Errors
    /// When Postgres fails or a value cannot be read.
    pub async fn list_points(
        &self,
        versions: &[i32],
        (slice, window_name): (&Slice, &str),
        metric: &MetricKey,
        span: Span,
    ) -> Result<Vec<Point>> {
        // unwrap safety: texts always serialise.
        let metric = serde_json::to_value(metric).unwrap_or_default();
        let rows = sqlx::query!(
            r#"select e.version_id, e.output_id, e.estimate_id, e.window_to,
                (select m->1 from jsonb_array_elements(e.metrics) m where m->0 = $7::jsonb limit 1) as outcome
            from model_version v join output o using (model_id)
            cross join lateral (select distinct on (window_to) estimate_id from estimate
                where version_id = v.version_id and output_id = o.output_id and slice = $2 and window_name = $3
                    and ($4::timestamptz is null or window_to >= $4) and ($5::timestamptz is null or window_to <= $5)
                    and ($6::timestamptz is null or estimated_at <= $6)
                order by window_to, estimate_id desc) last
            join estimate e using (estimate_id)
            where v.version_id = any($1) order by e.version_id, e.output_id, e.window_to"#,
            versions,
            slice.to_string(),
            window_name,
            span.from,
            span.to,
            span.as_of,
            metric
        )
        .fetch_all(&self.pool)
        .await
        .named("list_points")?;
        let points = rows.into_iter().map(|row| {
            let read = |outcome| {
                serde_json::from_value(outcome).map_err(|source| Error::Corrupt {
                    table: "estimate",
                    column: "metrics",
                    row: format!("estimate {}", row.estimate_id),
                    source: source.into(),
                })
            };
            Ok(Point {
                version_id: row.version_id,
                output_id: row.output_id,
                estimate_id: row.estimate_id,
                window_to: row.window_to,
                outcome: row.outcome.map(read).transpose()?,
            })
        });
        points.collect()
    }

    /// The estimates that were current at an instant: of each version and window those of the last window that had been
    /// published by then.
    ///
    /// # Errors
    /// When Postgres fails or a row cannot be read.
    pub async fn estimates_as_of(&self, at: DateTime<Utc>) -> Result<Vec<StoredEstimate>> {
        let rows = sqlx::query_as!(
            EstimateRecord,
            "select e.estimate_id, e.version_id, e.output_id, e.slice, e.window_name, e.window_from, e.window_to, e.known_at,
                e.recorded, e.plan_id, e.reference_id, e.input_digest, e.calculator, e.metrics::text as \"metrics!\", e.estimated_at
            from evaluation v
            cross join lateral (select window_to from estimate
                where version_id = v.version_id and window_name = v.window_name and window_to <= $1 and estimated_at <= $1
                order by window_to desc, estimate_id desc limit 1) w
            cross join lateral (select max(estimate_id) as estimate_id from estimate
                where version_id = v.version_id and window_name = v.window_name and window_to = w.window_to
                    and estimated_at <= $1
                group by output_id, slice) last
            join estimate e on e.estimate_id = last.estimate_id
            order by e.version_id, e.window_name, e.output_id, e.slice",
            at
        )
        .fetch_all(&self.pool)
        .await
        .named("estimates_as_of")?;
        rows.into_iter().map(StoredEstimate::try_from).collect()
    }
}
