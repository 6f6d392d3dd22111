//! Files: found by path, glob or directory, identified by their content.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use chrono::{DateTime, SubsecRound, Utc};
use sha2::{Digest, Sha256};

use super::csv::CsvRows;
use super::mapping::Mapping;
use super::ndjson::NdjsonRows;
use super::object::Objects;
use super::parquet::{self, ParquetRows};
use super::{RowResult, UnreadableFile};
use crate::chain::hex;
use crate::config::{Files, Format, Source};

/// A file that a source's paths name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it is.
    pub path: PathBuf,
    /// Size in bytes.
    pub bytes: i64,
    /// Modification time, in whole microseconds.
    pub modified_at: DateTime<Utc>,
}

impl Candidate {
    /// A file as it is now; `None` when there is none.
    #[must_use]
    pub fn at(path: PathBuf) -> Option<Self> {
        let metadata = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
        let modified_at = DateTime::<Utc>::from(metadata.modified().ok()?).trunc_subsecs(6);
        Some(Self { path, bytes: i64::try_from(metadata.len()).unwrap_or(i64::MAX), modified_at })
    }

    /// Whether the file on disk still looks as it did when it was found.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        Self::at(self.path.clone()).as_ref() == Some(self)
    }
}

/// The files of a source.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// By path. Hidden files and names that writers use for unfinished work are left out.
    pub files: Vec<Candidate>,
    /// Folders that could not be looked into, and why.
    pub closed: Vec<String>,
    /// Paths, or the folders of patterns, that do not exist.
    pub missing: Vec<String>,
}

impl Found {
    /// The latest file, if it cannot be opened, and why.
    #[must_use]
    pub fn locked(&self) -> Option<String> {
        let latest = self.files.iter().max_by_key(|file| file.modified_at)?;
        let error = File::open(&latest.path).err()?;
        Some(format!("{}: {error}", latest.path.display()))
    }
}

/// Look for the files of a source.
#[must_use]
pub fn discover(files: &Files) -> Found {
    let mut paths: Vec<PathBuf> = Vec::new();
    let (mut closed, mut missing) = (Vec::new(), Vec::new());
    for pattern in &files.paths {
        let fixed = fixed_part(pattern);
        if std::fs::symlink_metadata(&fixed).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            missing.push(fixed.display().to_string());
        }
        // The plan's check has seen that each is a valid pattern.
        for entry in glob::glob(pattern).into_iter().flatten() {
            match entry {
                Ok(path) if path.is_dir() => walk(&path, &mut paths, &mut closed),
                Ok(path) => paths.push(path),
                Err(error) => closed.push(error.to_string()),
            }
        }
    }
    paths.retain(|path| !is_unfinished(path));
    paths.sort();
    paths.dedup();
    Found { files: paths.into_iter().filter_map(Candidate::at).collect(), closed, missing }
}

/// What of a pattern must exist: all of a plain path, the folders before the first wildcard.
fn fixed_part(pattern: &str) -> PathBuf {
    Path::new(pattern)
        .components()
        .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']))
        .collect()
}

fn walk(dir: &Path, paths: &mut Vec<PathBuf>, closed: &mut Vec<String>) {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => return closed.push(format!("{}: {error}", dir.display())),
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir && !is_unfinished(&path) {
            walk(&path, paths, closed);
        } else if !is_dir {
            paths.push(path);
        }
    }
}

fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.starts_with('.')
        || ["~", ".tmp", ".part", ".partial", ".filepart", ".crdownload"].iter().any(|end| name.ends_with(end))
}

/// How a file is packed and what is in it, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    format: Format,
    packing: Packing,
}

/// How something is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// By gzip.
    Gzip,
    /// By Zstandard.
    Zstd,
}

fn kind_of(path: &Path, configured: Option<Format>) -> Result<Kind, UnreadableFile> {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let (inner, packing) = if let Some(inner) = name.strip_suffix(".gz") {
        (inner, Packing::Gzip)
    } else if let Some(inner) = name.strip_suffix(".zst") {
        (inner, Packing::Zstd)
    } else {
        (name.as_str(), Packing::None)
    };
    let by_name = match inner.rsplit_once('.').map(|(_, extension)| extension) {
        Some("csv" | "tsv" | "txt") => Some(Format::Csv),
        Some("ndjson" | "jsonl") => Some(Format::Ndjson),
        Some("parquet" | "pq") => Some(Format::Parquet),
        _ => None,
    };
    let format = configured.or(by_name).ok_or_else(|| {
        UnreadableFile::Format(
            "the name says no format (.csv, .ndjson, .parquet, with .gz or .zst); rename it, or set the source's format".into(),
        )
    })?;
    Ok(Kind { format, packing })
}

/// What a first pass over a file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// SHA-256 of the bytes, as hexadecimal text.
    pub digest: String,
    /// Whether it ends as its format does, a text with a newline: if not, the writer may not be done.
    pub is_terminated: bool,
    /// Why it cannot be read, if it cannot: a packed file that ends early.
    pub damage: Option<String>,
}

/// Read a file once, whole: its digest, and whether it is complete.
///
/// # Errors
/// When the operating system refuses.
pub fn inspect(format: Option<Format>, path: &Path) -> std::io::Result<Inspection> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut last = None;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        last = Some(buffer[read - 1]);
    }
    let digest = hex(&hasher.finalize());
    let kind = match kind_of(path, format) {
        Ok(kind) => kind,
        Err(error) => {
            // What is wrong is the name, not the content: under another name it is another matter.
            let digest = hex(&Sha256::digest(format!("{} {digest}", path.display())));
            return Ok(Inspection { digest, is_terminated: true, damage: Some(error.to_string()) });
        }
    };
    let mut is_terminated = match (kind.format, kind.packing) {
        (Format::Parquet, Packing::None) => parquet::is_complete(&mut file)?,
        _ => last.is_none_or(|byte| byte == b'\n'),
    };
    let mut damage = None;
    if kind.packing != Packing::None {
        is_terminated = true;
        file.rewind()?;
        let unpacked = kind.packing.unpack(file).and_then(|mut text| std::io::copy(&mut text, &mut std::io::sink()));
        damage = unpacked.err().map(|error| format!("the packed file is damaged or not complete: {error}"));
    }
    Ok(Inspection { digest, is_terminated, damage })
}

/// How a file is read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Format; by the file's name when absent.
    pub format: Option<Format>,
    /// Field separator of CSV.
    pub delimiter: char,
    /// The columns that matter; all when absent.
    pub wanted: Option<Vec<String>>,
}

impl Reading {
    /// As a source's plan says.
    #[must_use]
    pub fn of(source: &Source, mapping: &Mapping<'_>) -> Self {
        Self { format: source.format(), delimiter: source.delimiter, wanted: Some(mapping.columns()) }
    }
}

/// Rows one after the other; an error ends the file.
pub type Rows = Box<dyn Iterator<Item = std::io::Result<RowResult>> + Send>;

/// Says what is missing from a file's columns.
pub type ColumnCheck<'a> = &'a dyn Fn(&HashMap<String, usize>) -> Result<(), String>;

/// Rows of a file, after the first `skip`; each with its number in the file.
///
/// # Errors
/// When the file as a whole cannot be read, or lacks a column that `check` asks for.
pub fn open(reading: &Reading, path: &Path, skip: usize, check: ColumnCheck<'_>) -> Result<Rows, UnreadableFile> {
    let kind = kind_of(path, reading.format)?;
    let file = File::open(path)?;
    let check = |columns: &_| check(columns).map_err(UnreadableFile::Format);
    Ok(match kind.format {
        Format::Csv => {
            let rows = CsvRows::new(kind.packing.unpack(file)?, delimiter(reading.delimiter, path))?;
            check(rows.columns())?;
            Box::new(rows.skip(skip))
        }
        Format::Ndjson => Box::new(NdjsonRows::new(kind.packing.unpack(file)?, Objects::default()).skip(skip)),
        Format::Parquet => {
            let file = match kind.packing {
                Packing::None => file,
                packing => {
                    let mut plain = tempfile::tempfile()?;
                    std::io::copy(&mut packing.unpack(file)?, &mut plain)?;
                    plain.rewind()?;
                    plain
                }
            };
            let rows = ParquetRows::new(file, reading.wanted.as_deref(), skip)?;
            check(rows.columns())?;
            Box::new(rows)
        }
    })
}

/// A `.tsv` is separated by tabs unless the plan says otherwise.
fn delimiter(configured: char, path: &Path) -> char {
    let is_tsv = path.to_string_lossy().to_lowercase().contains(".tsv");
    if is_tsv && configured == ',' { '\t' } else { configured }
}
