//! The cursor of file sources.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::{Named, Result, Store, Transaction};

/// How far one content has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProgress {
    /// The path.
    pub path: String,
    /// SHA-256 of the bytes, as hexadecimal text.
    pub digest: String,
    /// Size in bytes.
    pub bytes: i64,
    /// Modification time.
    pub modified_at: DateTime<Utc>,
    /// What an object store calls the content; nothing of files.
    pub tag: Option<String>,
    /// Digest of what the plan makes of its columns.
    pub mapping: String,
    /// Rows taken in.
    pub rows_done: i64,
    /// reading, done or unreadable.
    pub state: &'static str,
    /// The columns that it has of those that the plan names; `None` of a file without a header.
    pub columns: Option<Vec<String>>,
}

/// What is known of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownFile {
    /// Digest of what the plan made of its columns.
    pub mapping: String,
    /// Rows taken in.
    pub rows_done: i64,
    /// reading, done or unreadable.
    pub state: String,
}

/// What a path held: path, size, modification time, tag.
pub type Held = (String, i64, DateTime<Utc>, Option<String>);

impl Store {
    /// A content by its digest.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn find_file(&self, source: &str, digest: &str) -> Result<Option<KnownFile>> {
        sqlx::query_as!(
            KnownFile,
            "select mapping, rows_done, state from source_file where source = $1 and digest = $2",
            source,
            digest
        )
        .fetch_optional(&self.pool)
        .await
        .named("find_file")
    }

    /// Path, size, modification time and tag of every path whose content a source has finished under this mapping.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn finished_files(&self, source: &str, mapping: &str) -> Result<HashSet<Held>> {
        let rows: Vec<Held> = sqlx::query_as(
            "select path, bytes, modified_at, tag from source_path join source_file using (source, digest)
            where source = $1 and mapping = $2 and state <> 'reading'",
        )
        .bind(source)
        .bind(mapping)
        .fetch_all(&self.pool)
        .await
        .named("finished_files")?;
        Ok(rows.into_iter().collect())
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

    /// Note that a path holds a content that is known.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn note_path(&self, source: &str, progress: &FileProgress) -> Result<()> {
        let mut transaction = self.begin().await?;
        store_path(&mut transaction, source, progress).await?;
        transaction.commit().await.named("note_path")
    }
}

async fn store_path(transaction: &mut Transaction, source: &str, progress: &FileProgress) -> Result<()> {
    sqlx::query(
        "insert into source_path (source, path, bytes, modified_at, tag, digest) values ($1, $2, $3, $4, $5, $6)
        on conflict (source, path) do update
        set bytes = excluded.bytes, modified_at = excluded.modified_at, tag = excluded.tag, digest = excluded.digest",
    )
    .bind(source)
    .bind(&progress.path)
    .bind(progress.bytes)
    .bind(progress.modified_at)
    .bind(&progress.tag)
    .bind(&progress.digest)
    .execute(&mut **transaction)
    .await
    .named("store_path")?;
    Ok(())
}

pub(super) async fn store_progress(
    transaction: &mut Transaction,
    source: &str,
    progress: &FileProgress,
    now: DateTime<Utc>,
) -> Result<()> {
    let finished = (progress.state != "reading").then_some(now);
    store_path(transaction, source, progress).await?;
    sqlx::query!(
        "insert into source_file (source, digest, mapping, rows_done, state, first_seen_at, finished_at, columns)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        on conflict (source, digest) do update set mapping = excluded.mapping,
            rows_done = case when source_file.mapping = excluded.mapping
                then greatest(source_file.rows_done, excluded.rows_done) else excluded.rows_done end,
            state = excluded.state, finished_at = excluded.finished_at, columns = excluded.columns",
        source,
        progress.digest,
        progress.mapping,
        progress.rows_done,
        progress.state,
        now,
        finished,
        progress.columns.as_deref()
    )
    .execute(&mut **transaction)
    .await
    .named("store_progress")?;
    Ok(())
}
