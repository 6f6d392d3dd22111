//! Tables for other programs: the same rows as CSV (RFC 4180) and as Parquet, the same bytes for the same rows.
//!
//! What is absent is an empty cell, never a zero.

use chrono::{DateTime, Utc};
use polars::prelude::{
    Column as Values, DataFrame, DataType, IntoColumn, NamedFrom, ParquetWriter, PolarsError, Series, TimeUnit,
    TimeZone,
};
use serde_json::{Map, Value};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text; lists and objects as JSON.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// An instant, UTC.
    Instant,
    /// Yes or no.
    Flag,
}

/// A column: its name and what it holds.
pub type Column = (&'static str, Kind);

/// Why a table cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// As CSV.
    #[error("the table cannot be written as CSV")]
    Csv(#[from] csv::Error),
    /// As Parquet.
    #[error("the table cannot be written as Parquet")]
    Parquet(#[from] PolarsError),
    /// At all.
    #[error("the table cannot be written")]
    Io(#[from] std::io::Error),
}

/// Rows of some columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// What it holds, in words.
    pub about: &'static str,
    /// The columns.
    pub columns: &'static [Column],
    /// The cells, row by row, in the order of the columns.
    pub rows: Vec<Vec<Value>>,
}

impl Table {
    /// The rows of some objects; a column takes the member of its name.
    #[must_use]
    pub fn of(about: &'static str, columns: &'static [Column], objects: Vec<Map<String, Value>>) -> Self {
        let row = |mut object: Map<String, Value>| -> Vec<Value> {
            columns.iter().map(|(name, _)| object.remove(*name).unwrap_or_default()).collect()
        };
        Self { about, columns, rows: objects.into_iter().map(row).collect() }
    }

    /// A cell; null where the table has no such column.
    #[must_use]
    pub fn cell<'a>(&self, row: &'a [Value], column: &str) -> &'a Value {
        let index = self.columns.iter().position(|(name, _)| *name == column);
        index.and_then(|index| row.get(index)).unwrap_or(&Value::Null)
    }

    /// As CSV.
    ///
    /// # Errors
    /// Never in practice: it is written to memory.
    pub fn csv(&self) -> Result<Vec<u8>, Error> {
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        writer.write_record(self.columns.iter().map(|(name, _)| name))?;
        for row in &self.rows {
            writer.write_record(row.iter().map(|cell| text(cell).unwrap_or_default()))?;
        }
        writer.into_inner().map_err(|error| error.into_error().into())
    }

    /// As Parquet.
    ///
    /// # Errors
    /// Never in practice, as for CSV.
    pub fn parquet(&self) -> Result<Vec<u8>, Error> {
        let values = self.columns.iter().enumerate().map(|(index, column)| self.values(index, *column));
        let mut frame = DataFrame::new(self.rows.len(), values.collect::<Result<Vec<Values>, PolarsError>>()?)?;
        let mut bytes = Vec::new();
        ParquetWriter::new(&mut bytes).finish(&mut frame)?;
        Ok(bytes)
    }

    fn values(&self, index: usize, (name, kind): Column) -> Result<Values, PolarsError> {
        let cells = self.rows.iter().map(|row| row.get(index).unwrap_or(&Value::Null));
        let series = match kind {
            Kind::Text => Series::new(name.into(), cells.map(text).collect::<Vec<_>>()),
            Kind::Integer => Series::new(name.into(), cells.map(Value::as_i64).collect::<Vec<_>>()),
            Kind::Number => Series::new(name.into(), cells.map(Value::as_f64).collect::<Vec<_>>()),
            Kind::Flag => Series::new(name.into(), cells.map(Value::as_bool).collect::<Vec<_>>()),
            Kind::Instant => {
                let micros = |cell: &Value| Some(instant(cell)?.timestamp_micros());
                let micros = Series::new(name.into(), cells.map(micros).collect::<Vec<_>>());
                micros.cast(&DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)))?
            }
        };
        Ok(series.into_column())
    }
}

/// The instant that a cell states.
#[must_use]
pub fn instant(cell: &Value) -> Option<DateTime<Utc>> {
    cell.as_str()?.parse().ok()
}

/// What a cell says; nothing of an empty one.
#[must_use]
pub fn text(cell: &Value) -> Option<String> {
    match cell {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{ParquetReader, SerReader};
    use serde_json::json;

    use super::*;

    const COLUMNS: &[Column] = &[
        ("name", Kind::Text),
        ("n", Kind::Integer),
        ("value", Kind::Number),
        ("at", Kind::Instant),
        ("good", Kind::Flag),
    ];

    fn table(objects: &[Value]) -> Table {
        let objects = objects.iter().filter_map(|object| object.as_object().cloned());
        Table::of("things", COLUMNS, objects.collect())
    }

    #[test]
    fn csv_and_parquet_say_the_same_and_absent_is_empty() {
        let full = table(&[
            json!({ "name": "a, \"b\"", "n": 3, "value": 0.1, "at": "2025-03-01T00:00:00.000001+00:00", "good": true }),
            json!({ "at": "2025-03-02T00:00:00Z", "good": false, "stranger": 1 }),
        ]);
        assert_eq!(
            String::from_utf8(full.csv().expect("CSV")).expect("text"),
            "name,n,value,at,good\r\n\"a, \"\"b\"\"\",3,0.1,2025-03-01T00:00:00.000001+00:00,true\r\n,,,2025-03-02T00:00:00Z,false\r\n"
        );
        let read = |table: &Table| {
            let bytes = table.parquet().expect("Parquet");
            assert_eq!(bytes, table.parquet().expect("Parquet"), "the same bytes");
            ParquetReader::new(std::io::Cursor::new(bytes)).finish().expect("a frame")
        };
        let (full, empty) = (read(&full), read(&table(&[])));
        assert_eq!((full.shape(), empty.shape()), ((2, 5), (0, 5)));
        assert_eq!(full.schema(), empty.schema());
        assert_eq!(full.column("value").expect("a column").null_count(), 1);
        let at = full.column("at").expect("a column");
        assert_eq!(at.dtype(), &DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)));
    }
}
