//! The cursor of file sources.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::{Named, Result, Store, Transaction};

/// How far one content has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProgress {
    /// The source.
    pub source: String,
    /// The path.
    pub path: String,
    /// SHA-256 of the bytes, as hexadecimal text.
    pub digest: String,
    /// Size in bytes.
    pub bytes: i64,
    /// Modification time.
    pub modified_at: DateTime<Utc>,
    /// Rows taken in.
    pub rows_done: i64,
    /// reading, done or unreadable.
    pub state: &'static str,
}

/// What is known of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownFile {
    /// The path at which it was last seen.
    pub path: String,
    /// Its digest.
    pub digest: String,
    /// Size in bytes.
    pub bytes: i64,
    /// Modification time of the path when it was read.
    pub modified_at: DateTime<Utc>,
    /// Rows taken in.
    pub rows_done: i64,
    /// reading, done or unreadable.
    pub state: String,
}

impl Store {
    /// A content by its digest.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn find_file(&self, source: &str, digest: &str) -> Result<Option<KnownFile>> {
        sqlx::query_as!(
            KnownFile,
            "select path, digest, bytes, modified_at, rows_done, state from source_file where source = $1 and digest = $2",
            source,
            digest
        )
        .fetch_optional(&self.pool)
        .await
        .named("find_file")
    }

    /// Path, size and modification time of every content that a source has finished.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn finished_files(&self, source: &str) -> Result<HashSet<(String, i64, DateTime<Utc>)>> {
        let rows = sqlx::query!(
            "select path, bytes, modified_at from source_file where source = $1 and state <> 'reading'",
            source
        )
        .fetch_all(&self.pool)
        .await
        .named("finished_files")?;
        Ok(rows.into_iter().map(|row| (row.path, row.bytes, row.modified_at)).collect())
    }

    /// The instant at which each source last made progress.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn source_progress(&self) -> Result<HashMap<String, DateTime<Utc>>> {
        let rows = sqlx::query!(r#"select source, max(committed_at) as "at!" from batch group by source"#)
            .fetch_all(&self.pool)
            .await
            .named("source_progress")?;
        Ok(rows.into_iter().map(|row| (row.source, row.at)).collect())
    }

    /// Note that a content that is known stands at another path or has another modification time now.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn touch_file(&self, source: &str, digest: &str, path: &str, modified_at: DateTime<Utc>) -> Result<()> {
        sqlx::query!(
            "update source_file set path = $3, modified_at = $4 where source = $1 and digest = $2",
            source,
            digest,
            path,
            modified_at
        )
        .execute(&self.pool)
        .await
        .named("touch_file")?;
        Ok(())
    }
}

pub(super) async fn store_progress(
    transaction: &mut Transaction,
    progress: &FileProgress,
    now: DateTime<Utc>,
) -> Result<()> {
    let finished = (progress.state != "reading").then_some(now);
    sqlx::query!(
        "insert into source_file (source, path, digest, bytes, modified_at, rows_done, state, first_seen_at, finished_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        on conflict (source, digest) do update set path = excluded.path, modified_at = excluded.modified_at,
            rows_done = greatest(source_file.rows_done, excluded.rows_done), state = excluded.state,
            finished_at = excluded.finished_at",
        progress.source,
        progress.path,
        progress.digest,
        progress.bytes,
        progress.modified_at,
        progress.rows_done,
        progress.state,
        now,
        finished
    )
    .execute(&mut **transaction)
    .await
    .named("store_progress")?;
    Ok(())
}
