//! Apache Parquet, by polars.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use chrono::DateTime;
use polars::prelude::*;

use super::{Row, UnreadableFile};

/// Rows of a Parquet file. Numbers keep every digit: the shortest text that reads back as the same number.
pub struct ParquetRows {
    frame: DataFrame,
    columns: Arc<HashMap<String, usize>>,
    next: usize,
}

impl ParquetRows {
    /// Read a file.
    ///
    /// # Errors
    /// When it is no Parquet file, or ends early.
    pub fn new(file: File) -> Result<Self, UnreadableFile> {
        let frame = ParquetReader::new(file)
            .finish()
            .map_err(|error| UnreadableFile::Format(format!("the file is no complete Parquet file: {error}")))?;
        let names = frame.get_column_names().into_iter().enumerate();
        let columns = Arc::new(names.map(|(index, name)| (name.to_string(), index)).collect());
        Ok(Self { frame, columns, next: 0 })
    }

    /// The columns of the schema.
    #[must_use]
    pub fn columns(&self) -> &HashMap<String, usize> {
        &self.columns
    }
}

impl Iterator for ParquetRows {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        if self.next >= self.frame.height() {
            return None;
        }
        let at = self.next;
        self.next += 1;
        let values = self.frame.columns().iter().map(|column| column.get(at).ok().and_then(|value| text(&value)));
        Some(Row::new(i64::try_from(self.next).unwrap_or(i64::MAX), self.columns.clone(), values.collect()))
    }
}

fn text(value: &AnyValue<'_>) -> Option<String> {
    match value {
        AnyValue::Null => None,
        AnyValue::String(text) => Some((*text).to_owned()),
        AnyValue::StringOwned(text) => Some(text.to_string()),
        AnyValue::Float64(number) => Some(number.to_string()),
        AnyValue::Float32(number) => Some(f64::from(*number).to_string()),
        AnyValue::Boolean(truth) => Some(truth.to_string()),
        AnyValue::Date(days) => instant(i64::from(*days), 86_400_000_000),
        AnyValue::Datetime(at, unit, _) => datetime(*at, *unit),
        AnyValue::DatetimeOwned(at, unit, _) => datetime(*at, *unit),
        other => Some(other.to_string()),
    }
}

fn datetime(at: i64, unit: TimeUnit) -> Option<String> {
    match unit {
        TimeUnit::Nanoseconds => instant(at.div_euclid(1000), 1),
        TimeUnit::Microseconds => instant(at, 1),
        TimeUnit::Milliseconds => instant(at, 1000),
    }
}

fn instant(at: i64, micros: i64) -> Option<String> {
    Some(DateTime::from_timestamp_micros(at.checked_mul(micros)?)?.to_rfc3339())
}
