//! The cursors of sources that are read on from a position, and how it stands with those that are asked: queries, feeds, streams.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::lease::{self, Lease};
use super::{Named, Result, Store, Transaction};

/// How far a source has read.
#[derive(Clone, Debug, PartialEq)]
pub struct CursorProgress {
    /// Which part of the source; empty where it has none.
    pub partition: String,
    /// From where it goes on, as the source's kind writes it.
    pub position: serde_json::Value,
    /// Digest of what the plan makes of its columns.
    pub mapping: String,
    /// The latest time that the source's rows themselves state.
    pub newest_at: Option<DateTime<Utc>>,
}

/// How it stands with a source that is asked again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct Pulled {
    /// It is not asked before.
    pub next_at: DateTime<Utc>,
    /// Up to when its rows have used up the rate that the plan allows.
    pub paid_until: DateTime<Utc>,
    /// When it last answered and all that it said was committed.
    pub succeeded_at: Option<DateTime<Utc>>,
    /// The latest time that its records themselves stated.
    pub newest_at: Option<DateTime<Utc>>,
    /// How much waits to be read, where that is known.
    pub pending: Option<i64>,
    /// Since when it has failed each time.
    pub failing_since: Option<DateTime<Utc>>,
    /// How often it has failed since.
    pub attempts: i32,
    /// Why it fails, as metrics name it.
    pub reason: Option<String>,
    /// Why it fails, in words.
    pub message: Option<String>,
}

impl Store {
    /// How it stands with every source that has been asked.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_pulled(&self) -> Result<HashMap<String, Pulled>> {
        #[derive(sqlx::FromRow)]
        struct Row {
            source: String,
            #[sqlx(flatten)]
            pulled: Pulled,
        }
        let rows: Vec<Row> = sqlx::query_as(
            "select source, next_at, paid_until, succeeded_at, newest_at, pending, failing_since, attempts, reason, message
            from source_pull",
        )
        .fetch_all(&self.pool)
        .await
        .named("list_pulled")?;
        Ok(rows.into_iter().map(|row| (row.source, row.pulled)).collect())
    }

    /// Note how it stands with a source; a failure is counted by its reason.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn note_pulled(&self, lease: &Lease, source: &str, pulled: &Pulled) -> Result<()> {
        let mut transaction = self.begin().await?;
        lease::check(&mut transaction, lease).await?;
        sqlx::query(
            "insert into source_pull
                (source, next_at, paid_until, succeeded_at, newest_at, pending, failing_since, attempts, reason, message)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
            on conflict (source) do update set next_at = excluded.next_at, paid_until = excluded.paid_until,
                succeeded_at = excluded.succeeded_at, newest_at = excluded.newest_at, pending = excluded.pending,
                failing_since = excluded.failing_since, attempts = excluded.attempts, reason = excluded.reason,
                message = excluded.message",
        )
        .bind(source)
        .bind(pulled.next_at)
        .bind(pulled.paid_until)
        .bind(pulled.succeeded_at)
        .bind(pulled.newest_at)
        .bind(pulled.pending)
        .bind(pulled.failing_since)
        .bind(pulled.attempts)
        .bind(&pulled.reason)
        .bind(&pulled.message)
        .execute(&mut *transaction)
        .await
        .named("note_pulled")?;
        if let Some(reason) = &pulled.reason {
            super::status::count(&mut transaction, ("pull", source, reason), 1).await?;
        }
        lease::commit(transaction, lease, "note_pulled").await
    }

    /// Move a cursor over what has nothing to take in.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn move_cursor(
        &self,
        lease: &Lease,
        source: &str,
        cursor: &CursorProgress,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        lease::check(&mut transaction, lease).await?;
        store(&mut transaction, source, cursor, now).await?;
        lease::commit(transaction, lease, "move_cursor").await
    }

    /// The cursors of a source, by partition.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn load_cursors(&self, source: &str) -> Result<Vec<CursorProgress>> {
        type Row = (String, serde_json::Value, String, Option<DateTime<Utc>>);
        let rows: Vec<Row> = sqlx::query_as(
            "select partition, position, mapping, newest_at from source_cursor where source = $1 order by partition",
        )
        .bind(source)
        .fetch_all(&self.pool)
        .await
        .named("load_cursors")?;
        let cursor =
            |(partition, position, mapping, newest_at)| CursorProgress { partition, position, mapping, newest_at };
        Ok(rows.into_iter().map(cursor).collect())
    }
}

pub(super) async fn store(
    transaction: &mut Transaction,
    source: &str,
    cursor: &CursorProgress,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "insert into source_cursor (source, partition, position, mapping, newest_at, moved_at) values ($1, $2, $3, $4, $5, $6)
        on conflict (source, partition) do update set position = excluded.position, mapping = excluded.mapping,
            newest_at = greatest(source_cursor.newest_at, excluded.newest_at), moved_at = excluded.moved_at",
    )
    .bind(source)
    .bind(&cursor.partition)
    .bind(&cursor.position)
    .bind(&cursor.mapping)
    .bind(cursor.newest_at)
    .bind(now)
    .execute(&mut **transaction)
    .await
    .named("store_cursor")?;
    Ok(())
}
