//! Retention of rows: buckets are frozen and their summaries pinned, then the rows of whole months go.
//!
//! Three steps, each a transaction that may be repeated: `freeze` (nothing more is taken in before an instant), `pin` (the summaries
//! of the frozen buckets move to a table that nothing changes), and per month `retire_month`, which removes what is about the cases
//! of that month and of no later one. While a month goes, the batch counter is held: intake waits, and cannot miss what is gone.
//! Estimates, evidence, alerts, the ledger and the audit stay.

mod month;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde_json::json;

use super::lease::Lease;
use super::{Named, Result, Store, audit, seal};
use crate::domain::window::month_of;

/// How many rows of each table went, or would go.
pub type Counts = BTreeMap<&'static str, u64>;

/// What goes by its age alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aged {
    /// Refused records of before go.
    pub rejections_before: DateTime<Utc>,
    /// Notices that were sent or given up before go.
    pub notices_before: DateTime<Utc>,
}

const OLD_NOTICES: &str = "coalesce(sent_at, dead_at) < $1
    and not exists (select from alert_notice join alert using (alert_id)
        where alert_notice.outbox_id = outbox.outbox_id and closed_at is null)";

impl Store {
    /// Remove refused records and notices that are older than the plan keeps them; while an alert is open, its notices say who was
    /// told. Says how many of each.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn retire_aged(&self, lease: &Lease, aged: Aged, now: DateTime<Utc>) -> Result<Counts> {
        let mut transaction = self.begin_removing().await?;
        super::lease::check(&mut transaction, lease).await?;
        let rejections = sqlx::query("delete from rejection where rejected_at < $1")
            .bind(aged.rejections_before)
            .execute(&mut *transaction)
            .await
            .named("retire_rejections")?
            .rows_affected();
        // A constant of ours.
        let notices = sqlx::query(sqlx::AssertSqlSafe(format!("delete from outbox where {OLD_NOTICES}")))
            .bind(aged.notices_before)
            .execute(&mut *transaction)
            .await
            .named("retire_notices")?
            .rows_affected();
        sqlx::query("delete from contract_breach where hour < $1")
            .bind(aged.rejections_before)
            .execute(&mut *transaction)
            .await
            .named("retire_breaches")?;
        if rejections > 0 {
            let seal = seal::open(&mut transaction).await?;
            sqlx::query(
                "insert into rejections_retired (before, retired_at, rows) values ($1, $2, $3) on conflict do nothing",
            )
            .bind(aged.rejections_before)
            .bind(now)
            .bind(rejections.cast_signed())
            .execute(&mut *transaction)
            .await
            .named("note_retired_rejections")?;
            seal::close(&mut transaction, seal, &["rejections_retired"]).await?;
        }
        let counts = Counts::from([("rejection", rejections), ("outbox", notices)]);
        if rejections + notices > 0 {
            for (table, rows) in &counts {
                super::status::count(&mut transaction, ("retired", table, "row"), *rows).await?;
            }
            let detail = json!({ "rows": counts, "rejections_before": aged.rejections_before,
                "notices_before": aged.notices_before });
            audit::append(&mut transaction, now, "dosimeter", "rows retired", "by age", "retention", detail).await?;
        }
        super::lease::commit(transaction, lease, "retire_aged").await?;
        Ok(counts)
    }

    /// How many refused records and notices would go.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn count_aged(&self, aged: Aged) -> Result<Counts> {
        let rejections: i64 = sqlx::query_scalar("select count(*) from rejection where rejected_at < $1")
            .bind(aged.rejections_before)
            .fetch_one(&self.pool)
            .await
            .named("count_old_rejections")?;
        let statement = format!("select count(*) from outbox where {OLD_NOTICES}");
        let notices: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .bind(aged.notices_before)
            .fetch_one(&self.pool)
            .await
            .named("count_old_notices")?;
        Ok(Counts::from([("rejection", rejections.cast_unsigned()), ("outbox", notices.cast_unsigned())]))
    }

    /// When the oldest prediction that is kept was made.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn oldest_prediction(&self) -> Result<Option<DateTime<Utc>>> {
        sqlx::query_scalar(
            "select min(p.first) from model_version v, lateral (
                select min(occurred_at) as first from prediction where version_id = v.version_id) p",
        )
        .fetch_one(&self.pool)
        .await
        .named("oldest_prediction")
    }

    /// The instant before which buckets are frozen.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn frozen_before(&self) -> Result<Option<DateTime<Utc>>> {
        sqlx::query_scalar("select frozen_before from batch_counter").fetch_one(&self.pool).await.named("frozen_before")
    }

    /// Freeze the buckets before an instant: the start of a month. Says whether any were not.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn freeze(&self, lease: &Lease, before: DateTime<Utc>, now: DateTime<Utc>) -> Result<bool> {
        let mut transaction = self.begin().await?;
        super::lease::check(&mut transaction, lease).await?;
        let frozen = sqlx::query(
            "update batch_counter set frozen_before = $1 where frozen_before is null or frozen_before < $1",
        )
        .bind(before)
        .execute(&mut *transaction)
        .await
        .named("freeze")?;
        let is_new = frozen.rows_affected() > 0;
        if is_new {
            let detail = json!({ "before": before });
            audit::append(&mut transaction, now, "dosimeter", "buckets frozen", "rows", "retention.rows", detail)
                .await?;
        }
        super::lease::commit(transaction, lease, "freeze").await?;
        Ok(is_new)
    }

    /// Pin the summaries of the frozen buckets. `None` while some of these versions' frozen buckets wait to be folded.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn pin(
        &self,
        lease: &Lease,
        (versions, before): (&[i32], DateTime<Utc>),
        now: DateTime<Utc>,
    ) -> Result<Option<u64>> {
        let mut transaction = self.begin().await?;
        super::lease::check(&mut transaction, lease).await?;
        let waits: bool =
            sqlx::query_scalar("select exists (select from dirty_bucket where version_id = any($1) and bucket < $2)")
                .bind(versions)
                .bind(before)
                .fetch_one(&mut *transaction)
                .await
                .named("wait_for_folds")?;
        if waits {
            return Ok(None);
        }
        let seal = seal::open(&mut transaction).await?;
        let pinned = sqlx::query(
            "insert into pinned_summary (version_id, output_id, slice, bucket, body, predictions, labelled, batch_id, known_at,
                fold_digest, reference_id, pinned_at)
            select s.version_id, s.output_id, s.slice, s.bucket, s.body, s.predictions, s.labelled, s.batch_id, s.known_at,
                m.fold_digest,
                (select reference_id from reference r where r.version_id = s.version_id and r.approved_at is not null
                    order by r.approved_at desc, r.reference_id desc limit 1), $2
            from summary s join model_version v using (version_id) join model m using (model_id) where s.bucket < $1
            on conflict do nothing",
        )
        .bind(before)
        .bind(now)
        .execute(&mut *transaction)
        .await
        .named("pin_summaries")?;
        for statement in ["delete from summary where bucket < $1", "delete from dirty_bucket where bucket < $1"] {
            sqlx::query(statement).bind(before).execute(&mut *transaction).await.named("move_summaries")?;
        }
        seal::close(&mut transaction, seal, &["pinned_summary"]).await?;
        super::lease::commit(transaction, lease, "pin").await?;
        Ok(Some(pinned.rows_affected()))
    }

    /// Months before an instant that have predictions or a partition for them, the earliest first.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn months_before(&self, before: DateTime<Utc>) -> Result<Vec<DateTime<Utc>>> {
        let partitions: Vec<String> = sqlx::query_scalar(
            "select c.relname::text from pg_inherits join pg_class c on c.oid = inhrelid
            where inhparent = 'prediction'::regclass and c.relname <> 'prediction_default'",
        )
        .fetch_all(&self.pool)
        .await
        .named("list_partitions")?;
        let strays: Vec<DateTime<Utc>> = sqlx::query_scalar(
            "select distinct date_trunc('month', occurred_at, 'UTC') from prediction
            where tableoid = 'prediction_default'::regclass and occurred_at < $1",
        )
        .bind(before)
        .fetch_all(&self.pool)
        .await
        .named("list_strays")?;
        let months = partitions.iter().filter_map(|name| month_named(name)).chain(strays);
        let mut months: Vec<DateTime<Utc>> = months.filter(|month| *month < before).collect();
        months.sort_unstable();
        months.dedup();
        Ok(months)
    }

    /// How many predictions of these months there are.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn count_months(&self, months: &[DateTime<Utc>]) -> Result<Vec<(DateTime<Utc>, i64)>> {
        let mut counts = Vec::new();
        for month in months {
            let rows =
                sqlx::query_scalar("select count(*) from prediction where occurred_at >= $1 and occurred_at < $2")
                    .bind(*month)
                    .bind(month_of(*month).to)
                    .fetch_one(&self.pool)
                    .await
                    .named("count_month")?;
            counts.push((*month, rows));
        }
        Ok(counts)
    }
}

/// The month of a partition, by its name.
fn month_named(name: &str) -> Option<DateTime<Utc>> {
    let (year, month) = name.strip_prefix("prediction_")?.split_once('_')?;
    let first = NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, 1)?;
    Some(first.and_time(NaiveTime::MIN).and_utc())
}
