//! The cursors of sources that are read on from a position: queries, feeds, streams.

use chrono::{DateTime, Utc};

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

impl Store {
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
