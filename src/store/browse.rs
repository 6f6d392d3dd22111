//! What people look through: plans, deliveries, the words of the audit, as they are now or as they were at an instant.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{Named, Result, Store};

/// A plan that was adopted.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct PlanRow {
    /// Its number.
    pub plan_id: i32,
    /// SHA-256 of its body.
    pub digest: String,
    /// When it was first adopted.
    pub adopted_at: DateTime<Utc>,
    /// Its canonical body.
    pub body: serde_json::Value,
}

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

    /// Plans that were adopted up to an instant, the latest first.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_plans(&self, at: Option<DateTime<Utc>>, limit: i64) -> Result<Vec<PlanRow>> {
        sqlx::query_as(
            "select plan_id, digest, adopted_at, body from plan where $1::timestamptz is null or adopted_at <= $1
            order by adopted_at desc, plan_id desc limit $2",
        )
        .bind(at)
        .bind(limit)
        .fetch_all(&self.pool)
        .await
        .named("list_plans")
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
