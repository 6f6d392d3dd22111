//! What the daemon tells about itself, and what retention removes.

use chrono::{DateTime, Utc};

use super::{Named, Result, Store};

/// Numbers about the store's queues and counters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// `(source, accepted, duplicates, rejected)` over all batches.
    pub records: Vec<(String, i64, i64, i64)>,
    /// `(source, reason, count)` of kept rejections.
    pub rejections: Vec<(String, String, i64)>,
    /// `(model, dirty buckets)`.
    pub dirty: Vec<(String, i64)>,
    /// Notices that wait.
    pub outbox_pending: i64,
    /// When the oldest of them was written.
    pub outbox_oldest: Option<DateTime<Utc>>,
    /// Notices sent.
    pub outbox_sent: i64,
    /// Attempts that failed.
    pub outbox_failures: i64,
}

impl Store {
    /// Read the numbers.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn status(&self) -> Result<Status> {
        let mut transaction = self.snapshot().await?;
        let records = sqlx::query!(
            r#"select source, sum(accepted)::bigint as "accepted!", sum(duplicates)::bigint as "duplicates!",
                sum(rejected)::bigint as "rejected!" from batch group by source order by source"#
        )
        .fetch_all(&mut *transaction)
        .await
        .named("status_records")?;
        let rejections = sqlx::query!(
            r#"select source, reason, count(*) as "count!" from rejection group by source, reason order by source, reason"#
        )
        .fetch_all(&mut *transaction)
        .await
        .named("status_rejections")?;
        let dirty = sqlx::query!(
            r#"select model.name, count(dirty_bucket.bucket) as "count!" from model
            left join model_version using (model_id) left join dirty_bucket using (version_id)
            group by model.name order by model.name"#
        )
        .fetch_all(&mut *transaction)
        .await
        .named("status_dirty")?;
        let outbox = sqlx::query!(
            r#"select count(*) filter (where sent_at is null) as "pending!",
                min(created_at) filter (where sent_at is null) as oldest,
                count(sent_at) as "sent!", coalesce(sum(attempts), 0)::bigint as "failures!" from outbox"#
        )
        .fetch_one(&mut *transaction)
        .await
        .named("status_outbox")?;
        Ok(Status {
            records: records.into_iter().map(|r| (r.source, r.accepted, r.duplicates, r.rejected)).collect(),
            rejections: rejections.into_iter().map(|r| (r.source, r.reason, r.count)).collect(),
            dirty: dirty.into_iter().map(|r| (r.name, r.count)).collect(),
            outbox_pending: outbox.pending,
            outbox_oldest: outbox.oldest,
            outbox_sent: outbox.sent,
            outbox_failures: outbox.failures,
        })
    }

    /// Remove rejections and sent notices that are older than the plan keeps them. Returns how many of each.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn retain(&self, rejections_before: DateTime<Utc>, notices_before: DateTime<Utc>) -> Result<(u64, u64)> {
        let rejections = sqlx::query!("delete from rejection where rejected_at < $1", rejections_before)
            .execute(&self.pool)
            .await
            .named("retain_rejections")?;
        let notices = sqlx::query!("delete from outbox where sent_at < $1", notices_before)
            .execute(&self.pool)
            .await
            .named("retain_notices")?;
        Ok((rejections.rows_affected(), notices.rows_affected()))
    }
}
