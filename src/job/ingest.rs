//! Ingest: files to rows, through the one door.
//!
//! A file counts exactly once: its content is its identity, and the number of rows taken in moves in the transaction that
//! takes them in. A killed run goes on where the last commit ended; were it to read a row twice, the row's own identity
//! would make that a duplicate.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::commit::{commit, known_versions};
use super::{Context, Error, Result};
use crate::config::{Files, Model, Source};
use crate::domain::Reason;
use crate::intake::{Collector, Door, Kept, admit_row};
use crate::runtime::Outcome;
use crate::source::file::{Candidate, Inspection, Reading, Rows};
use crate::source::mapping::Mapping;
use crate::source::{Problem, file};
use crate::store::batch::{Committed, Position, Progress};
use crate::store::file::FileProgress;
use crate::store::lease::Lease;

/// A file that does not end as its format does is left alone for so long: a writer may be at work, and half of a number
/// looks like a number.
const UNFINISHED_PATIENCE: Duration = Duration::from_secs(600);

/// What a pass over the sources came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files finished.
    pub files: u64,
    /// Records that were new.
    pub accepted: u64,
    /// Records that were known with the same content.
    pub duplicates: u64,
    /// Records that were refused.
    pub rejected: u64,
}

/// Take in what the sources have.
///
/// # Errors
/// When the store or a file fails.
pub async fn run(context: &Context, lease: &Lease) -> Result {
    let tally = run_sources(context, lease, Patience::Settle, &|_, _| {}).await?;
    Ok(if tally == Tally::default() { Outcome::Idle } else { Outcome::Done })
}

/// Whether a file that was just written may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It must have stood still for the source's settling time.
    Settle,
    /// Everything is complete: one pass over what is there.
    Everything,
}

/// Take in what the sources have; `progress` is told the source and the rows after every batch.
///
/// # Errors
/// When the store or a file fails.
pub async fn run_sources(
    context: &Context,
    lease: &Lease,
    patience: Patience,
    progress: &(dyn Fn(&str, Committed) + Sync),
) -> std::result::Result<Tally, Error> {
    let mut tally = Tally::default();
    for source in &context.plan.sources {
        let Some(model) = context.plan.model(&source.model) else { continue };
        let mapping = source.mapping_digest(model, &context.plan.intake);
        let finished = context.store.finished_files(&source.name, &mapping).await?;
        let Some(files) = source.files() else { continue };
        let searched = files.clone();
        let found = tokio::task::spawn_blocking(move || file::discover(&searched)).await?;
        for closed in &found.closed {
            tracing::warn!(source = source.name, closed, "a folder of the source cannot be looked into");
        }
        for candidate in &found.files {
            if is_unchanged(candidate, &finished) || !has_settled(files, candidate, patience, files.settle) {
                continue;
            }
            let intake = FileIntake { context, lease, source, files, model, mapping: &mapping, candidate, progress };
            let Some(inspection) = intake.inspect(patience).await? else { continue };
            intake.take_in(&inspection, &mut tally).await?;
        }
    }
    Ok(tally)
}

/// What paths held when their content was finished: path, size, modification time.
pub(super) type Finished = HashSet<(String, i64, DateTime<Utc>)>;

/// Whether a path still holds what it held when its content was finished.
pub(super) fn is_unchanged(candidate: &Candidate, finished: &Finished) -> bool {
    let path = candidate.path.to_string_lossy().into_owned();
    finished.contains(&(path, candidate.bytes, candidate.modified_at))
}

/// A modification time so far ahead comes from another machine's wrong clock and says nothing about a writer at work.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);

/// Files carry the machine's time, whatever clock drives the jobs: their age is measured against the file system's own.
fn has_settled(files: &Files, candidate: &Candidate, patience: Patience, time: Duration) -> bool {
    if patience == Patience::Everything || files.settle.is_zero() {
        return true;
    }
    let modified = std::fs::metadata(&candidate.path).and_then(|metadata| metadata.modified()).ok();
    match modified.map(|modified| modified.elapsed()) {
        Some(Ok(age)) => age >= time,
        Some(Err(ahead)) => ahead.duration() > CLOCK_SKEW,
        None => false,
    }
}

struct FileIntake<'a> {
    context: &'a Context,
    lease: &'a Lease,
    source: &'a Source,
    files: &'a Files,
    model: &'a Model,
    mapping: &'a str,
    candidate: &'a Candidate,
    progress: &'a (dyn Fn(&str, Committed) + Sync),
}

impl FileIntake<'_> {
    /// The first pass: digest and completeness. `None` when the file is not ready to be read.
    async fn inspect(&self, patience: Patience) -> std::result::Result<Option<Inspection>, Error> {
        let (format, path) = (self.files.format, self.candidate.path.clone());
        let inspection = tokio::task::spawn_blocking(move || file::inspect(format, &path)).await?;
        let inspection = match inspection {
            Ok(inspection) => inspection,
            Err(error) => {
                // Gone again, or not ours to read: the next tick looks again.
                let file = self.candidate.path.display();
                tracing::warn!(source = self.source.name, %file, %error, "a file cannot be opened");
                return Ok(None);
            }
        };
        let time = UNFINISHED_PATIENCE.max(self.files.settle);
        let is_young = !has_settled(self.files, self.candidate, patience, time);
        let looks_unfinished = !inspection.is_terminated || inspection.damage.is_some();
        if !self.candidate.is_unchanged() || (looks_unfinished && is_young) {
            return Ok(None);
        }
        Ok(Some(inspection))
    }

    /// Read the rows that are not in yet, batch by batch.
    async fn take_in(&self, inspection: &Inspection, tally: &mut Tally) -> std::result::Result<(), Error> {
        let before = self.context.store.find_file(&self.source.name, &inspection.digest).await?;
        // Under another mapping the same columns say something else: they are read again from the start.
        let before = before.filter(|file| file.mapping == self.mapping);
        let mut cursor = FileProgress {
            path: self.candidate.path.to_string_lossy().into_owned(),
            digest: inspection.digest.clone(),
            bytes: self.candidate.bytes,
            modified_at: self.candidate.modified_at,
            mapping: self.mapping.to_owned(),
            rows_done: before.as_ref().map_or(0, |file| file.rows_done),
            state: "reading",
            columns: None,
        };
        if before.is_some_and(|file| file.state != "reading") {
            // The same content under another name, or touched: nothing to read.
            return Ok(self.context.store.note_path(&self.source.name, &cursor).await?);
        }
        let (columns, opened) = self.open(inspection, &cursor).await?;
        cursor.columns = columns;
        let mut rows = match opened {
            Ok(rows) => rows,
            Err(message) => return self.refuse(cursor, message, tally).await,
        };
        loop {
            let door = self.door();
            let (source, model) = (self.source.clone(), self.model.clone());
            let (now, limit) = (self.context.clock.now(), self.context.plan.intake.batch_rows);
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
                            tracing::error!(source = self.source.name, file = cursor.path, %error, "a file cannot be read");
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
                        source = self.source.name,
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
        let (source, model, path) = (self.source.clone(), self.model.clone(), self.candidate.path.clone());
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
        tracing::warn!(source = self.source.name, file = cursor.path, message, "a file is unreadable");
        let mut collector = Collector::default();
        let problem = Problem::new("", Reason::UnreadableFile, message);
        collector.reject(problem, Position { line: 0, item: 0 }, Kept::of_text(&cursor.digest));
        self.commit(collector, FileProgress { state: "unreadable", ..cursor }, tally).await
    }

    fn door(&self) -> Door {
        let numbers = self.context.catalog.models.get(&self.model.name).cloned().unwrap_or_default();
        Door::new(self.model.clone(), numbers, self.context.plan.intake.clone(), self.context.pseudonyms.clone())
    }

    async fn commit(
        &self,
        mut collector: Collector,
        cursor: FileProgress,
        tally: &mut Tally,
    ) -> std::result::Result<(), Error> {
        let is_done = cursor.state == "done";
        let known = known_versions(self.context, &self.source.model).await?;
        collector.limit_versions(known.keys().cloned(), self.context.plan.intake.most_versions);
        let (origin, lease) = (cursor.path.clone(), Some(self.lease));
        let taken = commit(self.context, lease, self.source, &origin, Progress::File(cursor), collector, known).await?;
        let committed = taken.committed;
        tally.files += u64::from(is_done);
        tally.accepted += committed.accepted;
        tally.duplicates += committed.duplicates;
        tally.rejected += committed.rejected;
        (self.progress)(&self.source.name, committed);
        tracing::debug!(source = self.source.name, ?committed, "took in a batch");
        Ok(())
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
