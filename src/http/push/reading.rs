//! From a body to collected records: which columns hold what, and the door.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};

use crate::config::{Kind, Model, RecordKind, Source};
use crate::http::Problem;
use crate::intake::{Collector, Door, admit_row};
use crate::job::Context;
use crate::source::body::{Media, Opening, open};
use crate::source::file::{Packing, Rows};
use crate::source::mapping::Mapping;
use crate::source::{RowResult, UnreadableFile};

/// A part is committed when it has so many records,
const PART_ROWS: usize = 20_000;
/// or this much of the body.
const PART_BYTES: u64 = 4 << 20;

/// How the body of one request is read.
pub(super) struct Reading {
    /// The source that the records count for.
    pub(super) source: Source,
    /// Who sends them: the name of a token.
    pub(super) sender: String,
    /// The same with a row per output, for rows that name one: only where the plan says nothing.
    long: Option<Source>,
    model: Model,
    door: Door,
    now: DateTime<Utc>,
    /// Bytes of the body, unpacked, that were read so far.
    read: Arc<AtomicU64>,
}

/// Some records of a body.
pub(super) struct Part {
    /// The records.
    pub(super) collector: Collector,
    /// Whether this is the last part: the body has ended, or it cannot be read on.
    pub(super) ended: Option<std::io::Result<()>>,
}

impl Reading {
    /// The reading of records for a model, by a source of the plan or by the columns of the documents.
    pub(super) fn new(
        context: &Context,
        record: RecordKind,
        model: &str,
        (source, sender): (Option<&str>, &str),
    ) -> Result<Self, Problem> {
        let found = context.plan.model(model).ok_or_else(|| {
            let known: Vec<&str> = context.plan.models.iter().map(|model| model.name.as_str()).collect();
            Problem::not_found(format!("{model:?} is no model of the plan; known are {}", known.join(", ")))
        })?;
        let source = context.plan.push_source(model, record, source).map_err(Problem::not_found)?;
        let long = source.is_implied().then(|| source.long());
        let door = context.door(found);
        let now = context.clock.now();
        Ok(Self { source, sender: sender.to_owned(), long, model: found.clone(), door, now, read: Arc::default() })
    }

    /// The rows of a body.
    pub(super) fn open(
        &self,
        media: Media,
        packing: Packing,
        body: impl Read + Send + 'static,
    ) -> Result<Rows, UnreadableFile> {
        debug_assert_eq!(self.source.kind, Kind::Push, "only what may be pushed is");
        let mapping = Mapping::new(&self.source, &self.model);
        let long = self.long.as_ref().map(|long| Mapping::new(long, &self.model));
        let mut wanted = mapping.columns();
        wanted.extend(long.iter().flat_map(Mapping::columns));
        let check = |columns: &HashMap<String, usize>| match &long {
            Some(long) if columns.contains_key("output") => long.check_columns(columns),
            _ => mapping.check_columns(columns),
        };
        let opens_groups = self.long.is_some();
        let (delimiter, read) = (self.source.delimiter, self.read.clone());
        open(&Opening { media, packing, delimiter, wanted: &wanted, opens_groups, read }, body, &check)
    }

    /// The next records.
    pub(super) fn part(&self, rows: &mut Rows) -> Part {
        let mapping = Mapping::new(&self.source, &self.model);
        let long = self.long.as_ref().map(|long| Mapping::new(long, &self.model));
        let mapping_of = |row: &RowResult| match (&long, row) {
            (Some(long), Ok(row)) if row.get("output").is_some() => long,
            _ => &mapping,
        };
        let mut part = Part { collector: Collector::default(), ended: None };
        let begun = self.read.load(Ordering::Relaxed);
        while part.collector.len() < PART_ROWS && self.read.load(Ordering::Relaxed) - begun < PART_BYTES {
            match rows.next() {
                Some(Ok(row)) => {
                    let mapping = mapping_of(&row);
                    admit_row(&self.door, mapping, row, self.now, &mut part.collector);
                }
                Some(Err(error)) => {
                    part.ended = Some(Err(error));
                    break;
                }
                None => {
                    part.ended = Some(Ok(()));
                    break;
                }
            }
        }
        part
    }
}
