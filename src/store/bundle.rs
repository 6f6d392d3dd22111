//! What an evidence bundle holds of one version and period, read in one snapshot.
//!
//! Everything is bounded by an instant and a batch number, so what is read once can be read again.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::Row as _;

use super::{Error, Named, Result, Store, Transaction};
use crate::domain::Window;
use crate::store::estimate::Metrics;

/// A row as an object: column by name.
pub type Object = Map<String, Value>;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The version.
    pub version_id: i32,
    /// The period.
    pub period: Window,
    /// As published up to then.
    pub as_of: DateTime<Utc>,
    /// Batches up to this one.
    pub recorded: i64,
}

/// The metrics of a window as they were published last.
#[derive(Clone, Debug)]
pub struct Published {
    /// The estimate.
    pub estimate_id: i64,
    /// The output.
    pub output: String,
    /// The slice.
    pub slice: String,
    /// The window's name in the plan.
    pub window: String,
    /// First instant of the window.
    pub window_from: DateTime<Utc>,
    /// First instant after it.
    pub window_to: DateTime<Utc>,
    /// The metrics.
    pub metrics: Metrics,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Every published estimate without its metrics.
    pub estimates: Vec<Object>,
    /// Of each window the metrics as published last.
    pub published: Vec<Published>,
    /// Alerts that were open at some time in the period.
    pub alerts: Vec<Object>,
    /// Everything that happened to them.
    pub alert_events: Vec<Object>,
    /// Streams that were watched.
    pub streams: Vec<Object>,
    /// Their evidence.
    pub evidence: Vec<Object>,
    /// The seals of the days.
    pub sealed_days: Vec<Object>,
    /// References.
    pub references: Vec<Object>,
    /// The plans that asked, with their bodies.
    pub plans: Vec<Object>,
    /// The audit trail from the beginning of the period on.
    pub audit: Vec<Object>,
    /// The last batch.
    pub batch: Vec<Object>,
}

/// What every statement is asked with.
const ASKED: &str = "with asked as (select $1::integer as version_id, $2::timestamptz as since, $3::timestamptz as until, \
                     $4::timestamptz as as_of, $5::bigint as recorded)";

const ESTIMATES: &str =
    "select e.estimate_id, o.name as output, e.slice, e.window_name as window, e.window_from, e.window_to,
        e.known_at, e.recorded, e.plan_id, e.reference_id, e.calculator, e.input_digest, e.estimated_at
    from asked a join estimate e on e.version_id = a.version_id and e.window_to > a.since and e.window_to <= a.until
        and e.estimated_at <= a.as_of and e.recorded <= a.recorded
    join output o using (output_id) order by e.estimate_id";

const PUBLISHED: &str = "select distinct on (o.name, e.slice, e.window_name, e.window_to)
        e.estimate_id, o.name as output, e.slice, e.window_name, e.window_from, e.window_to, e.metrics::text as metrics
    from asked a join estimate e on e.version_id = a.version_id and e.window_to > a.since and e.window_to <= a.until
        and e.estimated_at <= a.as_of and e.recorded <= a.recorded
    join output o using (output_id) order by o.name, e.slice, e.window_name, e.window_to, e.estimate_id desc";

/// The alerts of the version whose first event is before the end of the period, and which were not closed before its beginning.
const OPEN_IN_PERIOD: &str = "open_in_period as (select l.alert_id, min(x.at) as began_at,
        min(x.at) filter (where x.transition = 'fired') as fired_at,
        min(x.at) filter (where x.transition = 'acknowledged') as acknowledged_at,
        min(x.at) filter (where x.state in ('resolved', 'cleared', 'expired')) as closed_at,
        (array_agg(x.state order by x.event_id desc))[1] as state,
        (array_agg(x.standing->>'severity' order by x.event_id desc))[1] as severity
    from asked a join alert l using (version_id) join alert_event x on x.alert_id = l.alert_id and x.at <= a.as_of
    group by l.alert_id, a.since, a.until
    having min(x.at) < a.until and coalesce(min(x.at) filter (where x.state in ('resolved', 'cleared', 'expired')), a.until) >= a.since) ";

const ALERTS: &str = "select p.alert_id, l.rule, o.name as output, l.slice, p.severity, p.state, p.began_at, p.fired_at, p.acknowledged_at, p.closed_at
    from open_in_period p join alert l using (alert_id) join output o using (output_id) order by p.alert_id";

const ALERT_EVENTS: &str = "select x.event_id, x.alert_id, x.at, x.transition, x.state, x.actor, x.reason, x.decision, x.estimate_id
    from asked a, open_in_period p join alert_event x using (alert_id) where x.at <= a.as_of order by x.alert_id, x.event_id";

const STREAMS: &str = "select s.stream_id, s.watch, o.name as output, s.slice, s.maturity_days, s.with_truth, s.reference_id,
        s.definition::text as definition, s.reason, s.starts, s.made_at
    from asked a join stream s on s.version_id = a.version_id and s.made_at <= a.as_of and s.made_at < a.until
    join output o using (output_id)
    where exists (select from evidence e where e.stream_id = s.stream_id and e.day >= a.since and e.day < a.until and e.looked_at <= a.as_of)
        or coalesce(s.ended_at, a.until) >= a.since
    order by s.stream_id";

const EVIDENCE: &str = "select e.stream_id, s.watch, o.name as output, s.slice, e.tier, e.day, e.evidence, e.weight, e.threshold, e.change_at,
        e.alarms, e.measured::text as measured, e.looked_at
    from asked a join stream s on s.version_id = a.version_id join evidence e on e.stream_id = s.stream_id
        and e.day >= a.since and e.day < a.until and e.looked_at <= a.as_of
    join output o using (output_id) order by e.stream_id, e.tier, e.day";

const SEALED_DAYS: &str = "select d.maturity_days, d.with_truth, d.day, d.recorded, d.sealed_at
    from asked a join sealed_day d on d.version_id = a.version_id and d.day >= a.since and d.day < a.until and d.sealed_at <= a.as_of
    order by d.maturity_days, d.with_truth, d.day";

const REFERENCES: &str = "select r.reference_id, r.window_from, r.window_to, r.known_at, r.recorded, r.origin, r.frozen_at, r.frozen_by, r.reason,
        case when r.approved_at <= a.as_of then r.approved_at end as approved_at,
        case when r.approved_at <= a.as_of then r.approved_by end as approved_by,
        case when r.approved_at <= a.as_of then r.approval_reason end as approval_reason
    from asked a join reference r on r.version_id = a.version_id and r.frozen_at <= a.as_of order by r.reference_id";

/// The plans that the estimates name, and the one that was adopted last before the period.
const PLANS: &str = "select p.plan_id, p.digest, p.adopted_at, p.body::text as body from plan p
    where p.plan_id in (select e.plan_id from asked a join estimate e on e.version_id = a.version_id and e.window_to > a.since
            and e.window_to <= a.until and e.estimated_at <= a.as_of and e.recorded <= a.recorded)
        or p.plan_id = (select plan_id from plan, asked where adopted_at < asked.until and adopted_at <= asked.as_of
            order by adopted_at desc, plan_id desc limit 1)
    order by p.plan_id";

/// Without a gap, so that the chain can be walked. Before the instant and not at it: the act of making a bundle is an entry, too.
const AUDIT: &str =
    "select u.audit_id, u.at, u.written_at, u.actor, u.action, u.subject, u.reason, u.detail::text as detail,
        encode(u.previous_hash, 'hex') as previous_hash, encode(u.hash, 'hex') as hash
    from asked a join audit u on u.audit_id >= (select min(audit_id) from audit where at >= a.since)
        and u.audit_id <= (select max(audit_id) from audit where at < a.as_of)
    order by u.audit_id";

/// The last batch that is asked for.
const BATCH: &str = "select b.* from asked a join batch b on b.batch_id = a.recorded";

impl Store {
    /// The last batch that was committed up to an instant; 0 before the first.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn last_batch_at(&self, at: DateTime<Utc>) -> Result<i64> {
        sqlx::query_scalar("select coalesce(max(batch_id), 0) from batch where committed_at <= $1")
            .bind(at)
            .fetch_one(&self.pool)
            .await
            .named("last_batch_at")
    }

    /// How many estimates a bundle would hold.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn count_bundled(&self, bounds: Bounds) -> Result<i64> {
        let mut transaction = self.snapshot().await?;
        let sql = format!("select count(*) as n from ({ESTIMATES}) e");
        let rows = objects(&mut transaction, "count_bundled", &sql, bounds).await?;
        Ok(rows.first().and_then(|row| row.get("n")?.as_i64()).unwrap_or_default())
    }

    /// Everything that a bundle holds, in one snapshot.
    ///
    /// # Errors
    /// When Postgres fails or a row cannot be read.
    pub async fn load_bundle(&self, bounds: Bounds) -> Result<Found> {
        let mut transaction = self.snapshot().await?;
        let t = &mut transaction;
        Ok(Found {
            estimates: objects(t, "bundle_estimates", ESTIMATES, bounds).await?,
            published: published(t, bounds).await?,
            alerts: objects(t, "bundle_alerts", ALERTS, bounds).await?,
            alert_events: objects(t, "bundle_alert_events", ALERT_EVENTS, bounds).await?,
            streams: objects(t, "bundle_streams", STREAMS, bounds).await?,
            evidence: objects(t, "bundle_evidence", EVIDENCE, bounds).await?,
            sealed_days: objects(t, "bundle_sealed_days", SEALED_DAYS, bounds).await?,
            references: objects(t, "bundle_references", REFERENCES, bounds).await?,
            plans: objects(t, "bundle_plans", PLANS, bounds).await?,
            audit: objects(t, "bundle_audit", AUDIT, bounds).await?,
            batch: objects(t, "bundle_batch", BATCH, bounds).await?,
        })
    }

    /// Note in the audit trail that a bundle was made.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn note_bundle(
        &self,
        (actor, reason): (&str, &str),
        subject: &str,
        detail: Value,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        super::audit::append(&mut transaction, now, actor, "bundle made", subject, reason, detail).await?;
        transaction.commit().await.named("note_bundle")
    }
}

/// The rows of a statement of ours, in its order.
async fn objects(t: &mut Transaction, name: &'static str, sql: &str, bounds: Bounds) -> Result<Vec<Object>> {
    let sql = format!("{ASKED}, {OPEN_IN_PERIOD}select to_jsonb(found) from ({sql}) found");
    let Bounds { version_id, period, as_of, recorded } = bounds;
    let rows: Vec<Value> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(version_id)
        .bind(period.from)
        .bind(period.to)
        .bind(as_of)
        .bind(recorded)
        .fetch_all(&mut **t)
        .await
        .named(name)?;
    Ok(rows.into_iter().filter_map(|row| if let Value::Object(object) = row { Some(object) } else { None }).collect())
}

async fn published(t: &mut Transaction, bounds: Bounds) -> Result<Vec<Published>> {
    let Bounds { version_id, period, as_of, recorded } = bounds;
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{ASKED} {PUBLISHED}")))
        .bind(version_id)
        .bind(period.from)
        .bind(period.to)
        .bind(as_of)
        .bind(recorded)
        .fetch_all(&mut **t)
        .await
        .named("bundle_published")?;
    let read = |row: sqlx::postgres::PgRow| {
        let estimate_id: i64 = row.get("estimate_id");
        let metrics = serde_json::from_str(row.get("metrics")).map_err(|error| Error::Corrupt {
            table: "estimate",
            column: "metrics",
            row: format!("estimate {estimate_id}"),
            source: error.into(),
        })?;
        Ok(Published {
            estimate_id,
            output: row.get("output"),
            slice: row.get("slice"),
            window: row.get("window_name"),
            window_from: row.get("window_from"),
            window_to: row.get("window_to"),
            metrics,
        })
    };
    rows.into_iter().map(read).collect()
}
