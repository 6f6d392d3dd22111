//! What pages show: many series, alerts and plans at once, as they are now or as they were at an instant.
//!
//! A page must not ask once per row: every read here answers for all rows of a page. "At an instant" means what had been published
//! by then, never what is known now about then.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::estimate::StoredEstimate;
use super::series::EstimateRecord;
use super::stream::{EvidencePoint, IN_FORCE};
use super::{Error, Named, Result, Store};
use crate::detect::stream::Stream;
use crate::domain::{Outcome, Slice, Window};
use crate::summary::body::Body;
use crate::summary::codec;
use crate::summary::fold::Cell;

/// A series that is wanted: one metric without parameters, of one output, over everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The version.
    pub version_id: i32,
    /// The output.
    pub output_id: i32,
    /// The window's name in the plan.
    pub window: String,
    /// The metric.
    pub metric: String,
}

/// Which slices.
#[derive(Clone, Copy, Debug)]
pub enum Within<'a> {
    /// This one.
    Slice(&'a Slice),
    /// Every one that could lie within this one, by its text; whoever asks looks closer.
    Parts(&'a Slice),
}

/// One window of a series.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The version.
    pub version_id: i32,
    /// The output.
    pub output_id: i32,
    /// First instant after the window.
    pub window_to: DateTime<Utc>,
    /// When it was published.
    pub estimated_at: DateTime<Utc>,
    /// The metric; nothing when it was not computed.
    pub outcome: Option<Outcome>,
    /// Of the last window: the share of its cases that had truth.
    pub coverage: Option<Outcome>,
}

const COLUMNS: &str = "e.estimate_id, e.version_id, e.output_id, e.slice, e.window_name, e.window_from, e.window_to, e.known_at, \
                       e.recorded, e.plan_id, e.reference_id, e.input_digest, e.calculator, e.metrics::text as metrics, e.estimated_at";

impl Store {
    /// The last windows of many series, by version, output and the windows' end, as published up to an instant.
    ///
    /// # Errors
    /// When Postgres fails or a row cannot be read.
    pub async fn list_readings(
        &self,
        wanted: &[Wanted],
        points: i64,
        at: Option<DateTime<Utc>>,
    ) -> Result<Vec<Reading>> {
        // A window may have been estimated a thousand times, and Postgres does not skip along an index by itself: one step a window.
        type Row = (i32, i32, DateTime<Utc>, DateTime<Utc>, i64, Option<String>, Option<String>);
        let rows: Vec<Row> = sqlx::query_as(
            "select w.version_id, w.output_id, e.window_to, e.estimated_at, e.estimate_id,
                (select (pair -> 1)::text from jsonb_array_elements(e.metrics) pair where pair -> 0 = w.metric limit 1),
                case when picked.nth = 1 then
                    (select (pair -> 1)::text from jsonb_array_elements(e.metrics) pair
                    where pair -> 0 = '{\"name\": \"label_coverage\"}' limit 1)
                end
            from unnest($1::integer[], $2::integer[], $3::text[], $4::jsonb[]) as w (version_id, output_id, window_name, metric)
            cross join lateral (
                with recursive step as (
                    (select 1 as nth, estimate_id, window_to from estimate
                    where version_id = w.version_id and output_id = w.output_id and slice = 'all' and window_name = w.window_name
                        and window_to <= coalesce($5::timestamptz, 'infinity') and estimated_at <= coalesce($5::timestamptz, 'infinity')
                    order by window_to desc, estimate_id desc limit 1)
                    union all
                    select nth + 1, before.estimate_id, before.window_to from step cross join lateral (
                        select estimate_id, window_to from estimate
                        where version_id = w.version_id and output_id = w.output_id and slice = 'all' and window_name = w.window_name
                            and window_to < step.window_to and estimated_at <= coalesce($5::timestamptz, 'infinity')
                        order by window_to desc, estimate_id desc limit 1) before
                    where nth < $6)
                select * from step) picked
            join estimate e using (estimate_id)
            order by w.version_id, w.output_id, e.window_to",
        )
        .bind(wanted.iter().map(|one| one.version_id).collect::<Vec<_>>())
        .bind(wanted.iter().map(|one| one.output_id).collect::<Vec<_>>())
        .bind(wanted.iter().map(|one| one.window.clone()).collect::<Vec<_>>())
        .bind(wanted.iter().map(|one| serde_json::json!({ "name": one.metric })).collect::<Vec<_>>())
        .bind(at)
        .bind(points)
        .fetch_all(&self.pool)
        .await
        .named("list_readings")?;
        let read = |text: Option<String>, estimate_id: i64| {
            let read = text.map(|text| serde_json::from_str::<Outcome>(&text)).transpose();
            read.map_err(|error| Error::Corrupt {
                table: "estimate",
                column: "metrics",
                row: format!("estimate {estimate_id}"),
                source: error.into(),
            })
        };
        let readings =
            rows.into_iter().map(|(version_id, output_id, window_to, estimated_at, id, outcome, coverage)| {
                let (outcome, coverage) = (read(outcome, id)?, read(coverage, id)?);
                Ok(Reading { version_id, output_id, window_to, estimated_at, outcome, coverage })
            });
        readings.collect()
    }

    /// The estimates of one version and window, of all slices of some outputs, as published up to an instant.
    ///
    /// # Errors
    /// When Postgres fails or a row cannot be read.
    pub async fn list_published(
        &self,
        version_id: i32,
        window: &str,
        outputs: &[i32],
        at: Option<DateTime<Utc>>,
    ) -> Result<Vec<StoredEstimate>> {
        let now = format!(
            "select {COLUMNS} from current_estimate c join estimate e using (estimate_id)
            where c.version_id = $1 and c.window_name = $2 and c.output_id = any($3) and $4::timestamptz is null
            order by e.output_id, e.slice"
        );
        // Postgres does not skip along an index by itself: one step for each place that there is.
        let then = format!(
            "with recursive place as (
                (select output_id, slice from estimate where version_id = $1 order by output_id, slice limit 1)
                union all
                select next.output_id, next.slice from place cross join lateral (
                    select output_id, slice from estimate
                    where version_id = $1 and (output_id, slice) > (place.output_id, place.slice)
                    order by output_id, slice limit 1) next)
            select {COLUMNS} from place cross join lateral (
                select * from estimate own
                where own.version_id = $1 and own.output_id = place.output_id and own.slice = place.slice and own.window_name = $2
                    and own.estimated_at <= $4
                order by own.estimate_id desc limit 1) e
            where place.output_id = any($3) order by e.output_id, e.slice"
        );
        let rows: Vec<EstimateRecord> = sqlx::query_as(sqlx::AssertSqlSafe(if at.is_some() { then } else { now }))
            .bind(version_id)
            .bind(window)
            .bind(outputs)
            .bind(at)
            .fetch_all(&self.pool)
            .await
            .named("list_published")?;
        rows.into_iter().map(StoredEstimate::try_from).collect()
    }

    /// The summaries of one output in a window, by slice and bucket: of one slice, or of every slice whose text contains some texts. It
    /// is the cache of the latest knowledge.
    ///
    /// # Errors
    /// When Postgres fails or a summary cannot be decoded.
    pub async fn list_bodies(
        &self,
        (version_id, output_id): (i32, i32),
        within: Within<'_>,
        window: Window,
    ) -> Result<Vec<(Cell, Body)>> {
        let (one, parts) = match within {
            Within::Slice(slice) => (Some(slice.to_string()), Vec::new()),
            Within::Parts(slice) => (None, slice.cells().map(|(name, value)| format!("{name}={value}")).collect()),
        };
        let rows: Vec<(String, DateTime<Utc>, Vec<u8>)> = sqlx::query_as(
            "select slice, bucket, body from summary
            where version_id = $1 and output_id = $2 and bucket >= $3 and bucket < $4 and ($5::text is null or slice = $5)
                and not exists (select from unnest($6::text[]) part where position(part in slice) = 0)
            order by slice, bucket",
        )
        .bind(version_id)
        .bind(output_id)
        .bind(window.from)
        .bind(window.to)
        .bind(one)
        .bind(parts)
        .fetch_all(&self.pool)
        .await
        .named("list_bodies")?;
        let bodies = rows.into_iter().map(|(slice, bucket, body)| {
            let corrupt = |column, source: Box<dyn std::error::Error + Send + Sync>| Error::Corrupt {
                table: "summary",
                column,
                row: format!("version {version_id}, output {output_id}, {slice}, {bucket}"),
                source,
            };
            let parsed = slice.parse().map_err(|message: String| corrupt("slice", message.into()))?;
            let body = codec::decode(&body).map_err(|error| corrupt("body", error.into()))?;
            Ok((Cell { output_id, slice: parsed, bucket }, body))
        });
        bodies.collect()
    }

    /// When truth was last observed about the cases since an instant, by version and output, as summaries know it.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn last_truths(&self, of: &[Wanted], since: DateTime<Utc>) -> Result<Vec<(i32, i32, DateTime<Utc>)>> {
        sqlx::query_as(
            "select w.version_id, w.output_id, max(s.known_at) from unnest($2::integer[], $3::integer[]) as w (version_id, output_id)
            join summary s on s.version_id = w.version_id and s.output_id = w.output_id and s.slice = 'all' and s.bucket >= $1
            where s.known_at is not null group by w.version_id, w.output_id",
        )
        .bind(since)
        .bind(of.iter().map(|one| one.version_id).collect::<Vec<_>>())
        .bind(of.iter().map(|one| one.output_id).collect::<Vec<_>>())
        .fetch_all(&self.pool)
        .await
        .named("last_truths")
    }

    /// One tier of a stream day by day, as looked at up to an instant.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_evidence(
        &self,
        stream_id: i64,
        tier: &str,
        since: DateTime<Utc>,
        at: Option<DateTime<Utc>>,
    ) -> Result<Vec<EvidencePoint>> {
        let rows: Vec<(DateTime<Utc>, f64, f64, bool)> = sqlx::query_as(
            "select day, evidence, threshold, alarms from evidence
            where stream_id = $1 and tier = $2 and day >= $3 and ($4::timestamptz is null or looked_at <= $4) order by day",
        )
        .bind(stream_id)
        .bind(tier)
        .bind(since)
        .bind(at)
        .fetch_all(&self.pool)
        .await
        .named("list_evidence")?;
        let point = |(day, evidence, threshold, alarms)| EvidencePoint { day, evidence, threshold, alarms };
        Ok(rows.into_iter().map(point).collect())
    }

    /// Where each tier of every stream stood at an instant: the stream's place, the tier, the evidence, its threshold, and when the
    /// change began.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_stands(&self, at: Option<DateTime<Utc>>) -> Result<Vec<Stand>> {
        self.stands(None, at).await
    }

    /// The same of one output's streams, or of those of one slice of it.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_stands_of(
        &self,
        place: (i32, i32),
        slice: Option<&str>,
        at: Option<DateTime<Utc>>,
    ) -> Result<Vec<Stand>> {
        self.stands(Some((place, slice)), at).await
    }

    async fn stands(&self, of: Option<((i32, i32), Option<&str>)>, at: Option<DateTime<Utc>>) -> Result<Vec<Stand>> {
        let sql = format!(
            "select s.stream_id, s.version_id, s.watch, s.output_id, s.slice, t.tier, t.weight, e.day, e.evidence,
                coalesce(e.threshold, t.threshold) as threshold, e.change_at, s.reason
            from stream s join stream_tier t using (stream_id)
            left join lateral (select day, evidence, threshold, change_at from evidence
                where stream_id = t.stream_id and tier = t.tier and day <= coalesce($1::timestamptz, 'infinity')
                    and looked_at <= coalesce($1, 'infinity')
                order by day desc limit 1) e on true
            where {IN_FORCE}
                and ($2::integer is null or (s.version_id = $2 and s.output_id = $3 and ($4::text is null or s.slice = $4)))
            order by s.stream_id, t.tier"
        );
        sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(at)
            .bind(of.map(|((version_id, _), _)| version_id))
            .bind(of.map(|((_, output_id), _)| output_id))
            .bind(of.and_then(|(_, slice)| slice))
            .fetch_all(&self.pool)
            .await
            .named("list_stands")
    }

    /// When the change began of which a stream's alarms speak, by the first that raised an alert; without one by the first since an
    /// instant.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn first_change(
        &self,
        stream_id: i64,
        alert_id: i64,
        since: DateTime<Utc>,
        at: Option<DateTime<Utc>>,
    ) -> Result<Option<DateTime<Utc>>> {
        sqlx::query_scalar(
            "select change_at from evidence
            where stream_id = $1 and alarms and change_at is not null and (alert_id = $2 or day >= $3)
                and ($4::timestamptz is null or looked_at <= $4)
            order by coalesce(alert_id = $2, false) desc, day limit 1",
        )
        .bind(stream_id)
        .bind(alert_id)
        .bind(since)
        .bind(at)
        .fetch_optional(&self.pool)
        .await
        .named("first_change")
    }

    /// What a stream bets on; nothing when it cannot be watched, or there is none of this number.
    ///
    /// # Errors
    /// When Postgres fails or the stream cannot be read.
    pub async fn find_stream(&self, stream_id: i64) -> Result<Option<Stream>> {
        let found: Option<serde_json::Value> =
            sqlx::query_scalar("select definition from stream where stream_id = $1 and definition is not null")
                .bind(stream_id)
                .fetch_optional(&self.pool)
                .await
                .named("find_stream")?;
        let read = found.map(serde_json::from_value).transpose();
        read.map_err(|error| Error::Corrupt {
            table: "stream",
            column: "definition",
            row: format!("stream {stream_id}"),
            source: error.into(),
        })
    }
}

/// Where one tier of a stream stands.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Stand {
    /// The stream.
    pub stream_id: i64,
    /// The version.
    pub version_id: i32,
    /// The watch.
    pub watch: String,
    /// The output.
    pub output_id: i32,
    /// The slice in canonical form.
    pub slice: String,
    /// page, ticket or watch.
    pub tier: String,
    /// The last day with units, if there has been one.
    pub day: Option<DateTime<Utc>>,
    /// The evidence after it.
    pub evidence: Option<f64>,
    /// The evidence at which there was an alarm; before the first day, at which there will be one.
    pub threshold: Option<f64>,
    /// Its present share of the tier's budget.
    pub weight: f64,
    /// When a change began, by what has won most.
    pub change_at: Option<DateTime<Utc>>,
    /// Why it cannot be watched.
    pub reason: Option<String>,
}
