//! What is checked of streams: whether their units hang together, and since when they have seen nothing.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::lease::Lease;
use super::stream::{IN_FORCE, json, read};
use super::{Named, Result, Store};
use crate::detect::dependence::DesignEffect;

/// Whether the units of a stream's days hang together, as found at the beginning of a month.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The stream.
    pub stream_id: i64,
    /// The month's beginning: days before it were looked at.
    pub month: DateTime<Utc>,
    /// The first of them.
    pub from: DateTime<Utc>,
    /// The design effect; absent where so few days do not tell.
    pub effect: Option<DesignEffect>,
}

impl Store {
    /// Append checks of streams.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn add_checks(&self, lease: &Lease, checks: &[Check], now: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.begin().await?;
        super::lease::check(&mut transaction, lease).await?;
        let seal = super::seal::open(&mut transaction).await?;
        for Check { stream_id, month, from, effect } in checks {
            let effect = effect.as_ref().map(|effect| json("stream_check", effect)).transpose()?;
            sqlx::query(
                "insert into stream_check (stream_id, month, from_day, effect, checked_at) values ($1, $2, $3, $4, $5)
                on conflict do nothing",
            )
            .bind(stream_id)
            .bind(month)
            .bind(from)
            .bind(effect)
            .bind(now)
            .execute(&mut *transaction)
            .await
            .named("insert_stream_check")?;
        }
        super::seal::close(&mut transaction, seal, &["stream_check"]).await?;
        super::lease::commit(transaction, lease, "add_checks").await
    }

    /// The latest check of every stream in force that has one.
    ///
    /// # Errors
    /// When Postgres fails or a check cannot be read.
    pub async fn latest_checks(&self) -> Result<HashMap<i64, Check>> {
        self.latest_checks_as_of(None).await
    }

    /// The check that was the latest at an instant, of every stream that was in force then and had one; now without.
    ///
    /// # Errors
    /// When Postgres fails or a check cannot be read.
    pub async fn latest_checks_as_of(&self, at: Option<DateTime<Utc>>) -> Result<HashMap<i64, Check>> {
        let sql = format!(
            "select distinct on (c.stream_id) c.stream_id, c.month, c.from_day, c.effect
            from stream_check c join stream s using (stream_id)
            where {IN_FORCE} and c.checked_at <= coalesce($1, 'infinity') order by c.stream_id, c.month desc"
        );
        let rows: Vec<(i64, DateTime<Utc>, DateTime<Utc>, Option<serde_json::Value>)> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(at).fetch_all(&self.pool).await.named("latest_checks")?;
        let checks = rows.into_iter().map(|(stream_id, month, from, effect)| {
            let effect = effect.map(|effect| read("stream_check", "effect", stream_id, effect)).transpose()?;
            Ok((stream_id, Check { stream_id, month, from, effect }))
        });
        checks.collect()
    }

    /// Since when each stream that cannot be watched has not been: since the last one in its place could be, or since the first was made.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn unwatched_since(&self) -> Result<HashMap<i64, DateTime<Utc>>> {
        let rows: Vec<(i64, DateTime<Utc>)> = sqlx::query_as(
            "select s.stream_id, coalesce(max(o.ended_at) filter (where o.definition is not null), min(o.made_at))
            from stream s join stream o using (version_id, watch, output_id, slice)
            where s.ended_at is null and s.definition is null group by s.stream_id",
        )
        .fetch_all(&self.pool)
        .await
        .named("unwatched_since")?;
        Ok(rows.into_iter().collect())
    }
}
