//! What people look through: deliveries, the words of the audit, as they are now or as they were at an instant.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{Named, Result, Store};

/// What a source has delivered lately.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Delivery {
    /// The source.
    pub source: String,
    /// When a batch of it was last committed.
    pub last_at: DateTime<Utc>,
    /// Records that were new.
    pub accepted: i64,
    /// Records that were known with the same content.
    pub duplicates: i64,
    /// Records that were refused.
    pub rejected: i64,
}

impl Store {
    /// What sources had delivered up to an instant: when last, and how much in the days before it.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_deliveries(&self, sources: &[String], at: DateTime<Utc>, days: i32) -> Result<Vec<Delivery>> {
        sqlx::query_as(
            "select s.source, last.at as last_at, recent.accepted, recent.duplicates, recent.rejected
            from unnest($1::text[]) as s (source)
            cross join lateral (select max(committed_at) as at from batch where source = s.source and committed_at <= $2) last
            cross join lateral (select coalesce(sum(accepted), 0)::bigint as accepted, coalesce(sum(duplicates), 0)::bigint as duplicates,
                    coalesce(sum(rejected), 0)::bigint as rejected
                from batch where source = s.source and committed_at <= $2 and committed_at > $2 - make_interval(days => $3)) recent
            where last.at is not null",
        )
        .bind(sources)
        .bind(at)
        .bind(days)
        .fetch_all(&self.pool)
        .await
        .named("list_deliveries")
    }

    /// What has been done lately, as the audit names it: for whoever searches.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_audit_actions(&self) -> Result<Vec<String>> {
        sqlx::query_scalar(
            "select distinct action from (select action from audit order by audit_id desc limit 20000) recent order by action",
        )
        .fetch_all(&self.pool)
        .await
        .named("list_audit_actions")
    }
}
