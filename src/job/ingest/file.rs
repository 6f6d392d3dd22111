//! A file on its way: read once for its digest, then row after row, and committed part by part.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::way::Way;
use super::{Patience, Tally, has_settled};
use crate::config::Format;
use crate::domain::Reason;
use crate::intake::{Collector, Door, Kept, admit_row};
use crate::job::Error;
use crate::source::Problem;
use crate::source::file::{self, Candidate, Inspection, Reading, Rows};
use crate::source::mapping::Mapping;
use crate::store::batch::{Position, Progress};
use crate::store::file::FileProgress;

/// A file that does not end as its format does is left alone for so long: a writer may be at work, and half of a number
/// looks like a number.
const UNFINISHED_PATIENCE: Duration = Duration::from_secs(600);

/// By what a file is known, whether it lies in a folder or was fetched.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub path: String,
    pub bytes: i64,
    pub modified_at: DateTime<Utc>,
    pub tag: Option<String>,
}

/// A file on its way.
pub(super) struct FileIntake<'a> {
    pub way: &'a Way<'a>,
    pub format: Option<Format>,
    pub settle: Duration,
    /// Where it lies.
    pub candidate: &'a Candidate,
    pub identity: Identity,
}

impl FileIntake<'_> {
    /// The first pass: digest and completeness. `None` when the file is not ready to be read.
    pub async fn inspect(&self, patience: Patience) -> std::result::Result<Option<Inspection>, Error> {
        let (format, path) = (self.format, self.candidate.path.clone());
        let inspection = tokio::task::spawn_blocking(move || file::inspect(format, &path)).await?;
        let inspection = match inspection {
            Ok(inspection) => inspection,
            Err(error) => {
                // Gone again, or not ours to read: the next tick looks again.
                let file = &self.identity.path;
                tracing::warn!(source = self.way.source.name, %file, %error, "a file cannot be opened");
                return Ok(None);
            }
        };
        let time = UNFINISHED_PATIENCE.max(self.settle);
        let is_young = !self.settle.is_zero() && !has_settled(self.candidate, patience, time);
        let looks_unfinished = !inspection.is_terminated || inspection.damage.is_some();
        if !self.candidate.is_unchanged() || (looks_unfinished && is_young) {
            return Ok(None);
        }
        Ok(Some(inspection))
    }

    /// Read the rows that are not in yet, batch by batch.
    pub async fn take_in(&self, inspection: &Inspection, tally: &mut Tally) -> std::result::Result<(), Error> {
        let before = self.way.context.store.find_file(&self.way.source.name, &inspection.digest).await?;
        // Under another mapping the same columns say something else: they are read again from the start.
        let before = before.filter(|file| file.mapping == self.way.mapping);
        let mut cursor = FileProgress {
            path: self.identity.path.clone(),
            digest: inspection.digest.clone(),
            bytes: self.identity.bytes,
            modified_at: self.identity.modified_at,
            tag: self.identity.tag.clone(),
            mapping: self.way.mapping.clone(),
            rows_done: before.as_ref().map_or(0, |file| file.rows_done),
            state: "reading",
            columns: None,
        };
        if before.is_some_and(|file| file.state != "reading") {
            // The same content under another name, or touched: nothing to read.
            return Ok(self.way.context.store.note_path(&self.way.source.name, &cursor).await?);
        }
        let (columns, opened) = self.open(inspection, &cursor).await?;
        cursor.columns = columns;
        let mut rows = match opened {
            Ok(rows) => rows,
            Err(message) => return self.refuse(cursor, message, tally).await,
        };
        loop {
            let door = self.way.door();
            let (source, model) = (self.way.source.clone(), self.way.model.clone());
            let (now, limit) = (self.way.context.clock.now(), self.way.context.plan.intake.batch_rows);
            // Readers are other people's code: one that panics costs its file, not the daemon.
            let read = tokio::task::spawn_blocking(move || {
                let part = read_part(&mut rows, &door, &Mapping::new(&source, &model), now, limit);
                (rows, part)
            });
            let part = match read.await {
                Ok((rest, part)) => {
                    rows = rest;
                    match part {
                        Ok(part) => part,
                        Err(error) if error.raw_os_error().is_none() => {
                            return self.refuse(cursor, format!("it cannot be read to its end: {error}"), tally).await;
                        }
                        Err(error) => {
                            // The system's fault and not the file's: the others go on, and the next tick tries again.
                            tracing::error!(source = self.way.source.name, file = cursor.path, %error, "a file cannot be read");
                            return Ok(());
                        }
                    }
                }
                Err(panic) => return self.refuse(cursor, format!("its reader failed: {panic}"), tally).await,
            };
            cursor.rows_done += part.rows;
            if part.is_last {
                if !self.candidate.is_unchanged() {
                    // Written to while it was read: what has been taken in stands, the new content is read anew.
                    tracing::warn!(
                        source = self.way.source.name,
                        file = cursor.path,
                        "a file changed while it was read; it is read again"
                    );
                    return Ok(());
                }
                cursor.state = "done";
            }
            self.commit(part.collector, cursor.clone(), tally).await?;
            if part.is_last {
                return Ok(());
            }
        }
    }

    /// The columns of the file that the plan names, and its rows that are not in yet, or why there are none.
    async fn open(
        &self,
        inspection: &Inspection,
        cursor: &FileProgress,
    ) -> std::result::Result<(Option<Vec<String>>, std::result::Result<Rows, String>), Error> {
        if let Some(damage) = &inspection.damage {
            return Ok((None, Err(damage.clone())));
        }
        let skip = usize::try_from(cursor.rows_done).unwrap_or_default();
        let (source, model, path) = (self.way.source.clone(), self.way.model.clone(), self.candidate.path.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let mapping = Mapping::new(&source, &model);
            let seen = RefCell::new(None);
            let check = |columns: &HashMap<String, usize>| {
                let mut named: Vec<String> = mapping.columns();
                named.retain(|column| columns.contains_key(column));
                named.sort_unstable();
                named.dedup();
                seen.replace(Some(named));
                mapping.check_columns(columns)?;
                let absent = mapping.absent(columns);
                if !absent.is_empty() {
                    let (file, absent) = (path.display(), absent.join(", "));
                    tracing::warn!(source = source.name, %file, absent, "a file lacks columns that the plan names");
                }
                Ok(())
            };
            let rows = file::open(&Reading::of(&source, &mapping), &path, skip, &check);
            (seen.take(), rows.map_err(|error| error.to_string()))
        });
        Ok(opened.await.unwrap_or_else(|panic| (None, Err(format!("its reader failed: {panic}")))))
    }

    /// Keep a file that cannot be read as a whole as one rejection.
    async fn refuse(&self, cursor: FileProgress, message: String, tally: &mut Tally) -> std::result::Result<(), Error> {
        tracing::warn!(source = self.way.source.name, file = cursor.path, message, "a file is unreadable");
        let mut collector = Collector::default();
        let problem = Problem::new("", Reason::UnreadableFile, message);
        collector.reject(problem, Position { line: 0, item: 0 }, Kept::of_text(&cursor.digest));
        self.commit(collector, FileProgress { state: "unreadable", ..cursor }, tally).await
    }

    async fn commit(
        &self,
        collector: Collector,
        cursor: FileProgress,
        tally: &mut Tally,
    ) -> std::result::Result<(), Error> {
        self.way.commit(collector, cursor.path.clone(), Progress::File(cursor), tally).await
    }
}

/// What was read of a file at once.
struct Part {
    collector: Collector,
    rows: i64,
    is_last: bool,
}

fn read_part(
    rows: &mut Rows,
    door: &Door,
    mapping: &Mapping<'_>,
    now: DateTime<Utc>,
    limit: usize,
) -> std::io::Result<Part> {
    let mut part = Part { collector: Collector::default(), rows: 0, is_last: false };
    while part.collector.len() < limit {
        let Some(row) = rows.next() else {
            part.is_last = true;
            break;
        };
        part.rows += 1;
        admit_row(door, mapping, row?, now, &mut part.collector);
    }
    Ok(part)
}
