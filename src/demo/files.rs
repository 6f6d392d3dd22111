//! The department's files, as a hospital's export would write them: one of predictions and one of reports a day.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use super::department::{
    CASES_PER_DAY, Department, NOTES_HEADER, Note, PREDICTIONS_HEADER, QUALITY_HEADER, REPLACEMENT, STATEMENTS_HEADER,
    Statement, Study,
};

/// What `dosimeter simulate` is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Simulation {
    /// How many cases.
    pub cases: u64,
    /// Seed of everything.
    pub seed: u64,
    /// Midnight of the first day.
    pub start: DateTime<Utc>,
    /// Nothing that happens from then on is written.
    pub end: DateTime<Utc>,
}

impl Default for Simulation {
    fn default() -> Self {
        Self { cases: 24_000, seed: 1, start: super::start(), end: DateTime::<Utc>::MAX_UTC }
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Cases.
    pub cases: u64,
    /// Days.
    pub days: u32,
    /// Files that were there already and have been left as they are.
    pub kept: u32,
}

/// Write the files of a department below a directory. The last file of reports holds everything that is still to come.
///
/// # Errors
/// When a file cannot be written.
pub fn simulate(dir: &Path, simulation: &Simulation, progress: &dyn Fn(u64)) -> anyhow::Result<Written> {
    let Simulation { cases, seed, start, end } = *simulation;
    let department = Department { seed, start, cases_per_day: CASES_PER_DAY, replacement: REPLACEMENT };
    let mut waiting = Waiting::default();
    let mut written = Written::default();
    while written.cases < cases && department.midnight(written.days) < end {
        let mut studies = department.day(written.days);
        studies.retain(|study| study.created_at < end);
        studies.truncate(usize::try_from(cases - written.cases).unwrap_or(usize::MAX));
        written.cases += studies.len() as u64;
        waiting.add(&studies);
        let (midnight, next) = (department.midnight(written.days), department.midnight(written.days + 1));
        let is_last = written.cases >= cases || next >= end;
        let until = if is_last { end } else { next };
        let kept = [write_predictions(dir, midnight, &studies)?, write_truth(dir, midnight, &mut waiting, until)?];
        written.kept += kept.into_iter().map(|was_there| u32::from(!was_there)).sum::<u32>();
        written.days += 1;
        progress(written.cases);
    }
    Ok(written)
}

/// Truth that has not been told yet.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    statements: Vec<Statement>,
    notes: Vec<Note>,
}

impl Waiting {
    /// Add what will be said of some studies.
    pub(super) fn add(&mut self, studies: &[Study]) {
        self.statements.extend(studies.iter().flat_map(|study| study.statements.iter().cloned()));
        self.notes.extend(studies.iter().filter_map(Study::note));
    }
}

fn file_of(dir: &Path, what: &str, midnight: DateTime<Utc>) -> PathBuf {
    dir.join(what).join(format!("{}.csv", midnight.format("%Y-%m-%d")))
}

/// Write the predictions of a day; says whether it did.
pub(super) fn write_predictions(dir: &Path, midnight: DateTime<Utc>, studies: &[Study]) -> anyhow::Result<bool> {
    let of_quality = studies.iter().map(Study::quality_line);
    write_whole(&file_of(dir, "quality/predictions", midnight), QUALITY_HEADER, of_quality)?;
    write_whole(&file_of(dir, "predictions", midnight), PREDICTIONS_HEADER, studies.iter().map(Study::line))
}

/// Write what has been stated before `until` and forget it; says whether it did write.
pub(super) fn write_truth(
    dir: &Path,
    midnight: DateTime<Utc>,
    waiting: &mut Waiting,
    until: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let stated = told(&mut waiting.statements, until, |statement| statement.observed_at);
    let noted = told(&mut waiting.notes, until, |note| note.observed_at);
    write_whole(&file_of(dir, "quality/truth", midnight), NOTES_HEADER, noted.into_iter().map(|note| note.line))?;
    write_whole(&file_of(dir, "truth", midnight), STATEMENTS_HEADER, stated.iter().map(Statement::line))
}

/// What is told before an instant, in the order of time; the rest goes on waiting.
fn told<T>(waiting: &mut Vec<T>, until: DateTime<Utc>, at: impl Fn(&T) -> DateTime<Utc>) -> Vec<T> {
    let (mut told, later) = waiting.drain(..).partition::<Vec<_>, _>(|one| at(one) < until);
    *waiting = later;
    told.sort_by_key(&at);
    told
}

/// Write a file under another name and rename it, so that nobody reads half of it. One that is there is left alone.
fn write_whole(path: &Path, header: &str, lines: impl Iterator<Item = String>) -> anyhow::Result<bool> {
    let failed = || format!("cannot write {}", path.display());
    if path.exists() {
        return Ok(false);
    }
    fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).with_context(failed)?;
    let part = path.with_extension("csv.part");
    let mut file = std::io::BufWriter::new(fs::File::create(&part).with_context(failed)?);
    writeln!(file, "{header}")?;
    for line in lines {
        writeln!(file, "{line}")?;
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&part, path).with_context(failed)?;
    Ok(true)
}
