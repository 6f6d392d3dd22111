//! Ingest: what sources have to rows, through the one door.
//!
//! Files are looked for here (`file`); other sources are asked, each in its own time (`pull`). All of them at once: a slow one
//! holds up none of the others.
//!
//! A file counts exactly once: its content is its identity, and the number of rows taken in moves in the transaction that
//! takes them in. A killed run goes on where the last commit ended; were it to read a row twice, the row's own identity
//! would make that a duplicate.

mod events;
mod file;
mod objects;
mod pull;
mod way;

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use futures_util::future::{join, join_all};

use self::file::{FileIntake, Identity};
use self::way::Way;
use super::{Context, Error, Result};
use crate::config::Files;
use crate::runtime::Outcome;
use crate::source::file::{Candidate, discover};
use crate::store::batch::Committed;
use crate::store::file::Held;
use crate::store::lease::Lease;

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
    /// The latest time that the records state.
    pub newest_at: Option<DateTime<Utc>>,
}

impl Tally {
    fn and(self, other: Self) -> Self {
        Self {
            files: self.files + other.files,
            accepted: self.accepted + other.accepted,
            duplicates: self.duplicates + other.duplicates,
            rejected: self.rejected + other.rejected,
            newest_at: self.newest_at.max(other.newest_at),
        }
    }
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
    let ways = context.plan.sources.iter().filter_map(|source| {
        let model = context.plan.model(&source.model)?;
        let mapping = source.mapping_digest(model, &context.plan.intake);
        Some(Way { context, lease, source, model, mapping, progress })
    });
    let ways: Vec<Way<'_>> = ways.collect();
    let pulled = context.store.list_pulled().await?;
    let files = async {
        let mut tally = Tally::default();
        for way in &ways {
            if let Some(files) = way.source.files() {
                look(way, files, patience, &mut tally).await?;
            }
            if let Some(events) = way.source.events() {
                events::take_in(way, events, &mut tally).await?;
            }
        }
        Ok::<_, Error>(tally)
    };
    let pulls = ways.iter().filter_map(|way| {
        let before = pulled.get(&way.source.name).cloned().unwrap_or_default();
        Some(pull::ask(way, way.source.pull()?, before, patience))
    });
    let (files, pulls) = join(files, join_all(pulls)).await;
    std::iter::once(files).chain(pulls).try_fold(Tally::default(), |tally, other| Ok(tally.and(other?)))
}

/// Take in the files of a source.
async fn look(way: &Way<'_>, files: &Files, patience: Patience, tally: &mut Tally) -> std::result::Result<(), Error> {
    let finished = way.context.store.finished_files(&way.source.name, &way.mapping).await?;
    let searched = files.clone();
    let found = tokio::task::spawn_blocking(move || discover(&searched)).await?;
    for closed in &found.closed {
        tracing::warn!(source = way.source.name, closed, "a folder of the source cannot be looked into");
    }
    for candidate in &found.files {
        if is_unchanged(candidate, &finished) || !has_settled(candidate, patience, files.settle) {
            continue;
        }
        let (path, bytes, modified_at, tag) = held(candidate);
        let identity = Identity { path, bytes, modified_at, tag };
        let intake = FileIntake { way, format: files.format, settle: files.settle, candidate, identity };
        let Some(inspection) = intake.inspect(patience).await? else { continue };
        intake.take_in(&inspection, tally).await?;
    }
    Ok(())
}

/// What paths held when their content was finished.
pub(super) type Finished = HashSet<Held>;

fn held(candidate: &Candidate) -> Held {
    (candidate.path.to_string_lossy().into_owned(), candidate.bytes, candidate.modified_at, None)
}

/// Whether a path still holds what it held when its content was finished.
pub(super) fn is_unchanged(candidate: &Candidate, finished: &Finished) -> bool {
    finished.contains(&held(candidate))
}

/// A modification time so far ahead comes from another machine's wrong clock and says nothing about a writer at work.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);

/// Files carry the machine's time, whatever clock drives the jobs: their age is measured against the file system's own.
fn has_settled(candidate: &Candidate, patience: Patience, time: Duration) -> bool {
    if patience == Patience::Everything || time.is_zero() {
        return true;
    }
    let modified = std::fs::metadata(&candidate.path).and_then(|metadata| metadata.modified()).ok();
    match modified.map(|modified| modified.elapsed()) {
        Some(Ok(age)) => age >= time,
        Some(Err(ahead)) => ahead.duration() > CLOCK_SKEW,
        None => false,
    }
}
