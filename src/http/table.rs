//! Lists as tables: CSV (RFC 4180) and Parquet, with the same columns whatever is in them.
//!
//! A row is an object of JSON; a column takes the member of its name. What is absent is an empty cell, never a zero.

use polars::prelude::{
    Column as Values, DataFrame, DataType, IntoColumn, NamedFrom, ParquetWriter, PolarsError, Series, TimeUnit,
    TimeZone,
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::page::Format;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
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

/// A column: its name, which is that of the member, and what it holds.
pub(super) type Column = (&'static str, Kind);

/// What a list of it looks like as a table.
pub(super) trait Tabular: Serialize {
    /// The columns, in order.
    const COLUMNS: &'static [Column];

    /// The rows of one item.
    fn rows(&self) -> Vec<Map<String, Value>> {
        vec![object(self)]
    }
}

/// An item as an object; empty when it is none.
pub(super) fn object<T: Serialize + ?Sized>(item: &T) -> Map<String, Value> {
    match serde_json::to_value(item) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

/// Why a table cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
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

/// Items as a table.
pub(super) fn write<T: Tabular>(format: Format, items: &[T]) -> Result<Vec<u8>, Error> {
    let rows: Vec<Map<String, Value>> = items.iter().flat_map(Tabular::rows).collect();
    match format {
        Format::Parquet => parquet(T::COLUMNS, &rows),
        Format::Csv | Format::Json => csv(T::COLUMNS, &rows),
    }
}

fn csv(columns: &[Column], rows: &[Map<String, Value>]) -> Result<Vec<u8>, Error> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(columns.iter().map(|(name, _)| name))?;
    for row in rows {
        writer.write_record(columns.iter().map(|(name, _)| row.get(*name).and_then(text).unwrap_or_default()))?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn parquet(columns: &[Column], rows: &[Map<String, Value>]) -> Result<Vec<u8>, Error> {
    let values = columns.iter().map(|column| values(*column, rows)).collect::<Result<Vec<Values>, PolarsError>>()?;
    let mut frame = DataFrame::new(rows.len(), values)?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut frame)?;
    Ok(bytes)
}

fn values((name, kind): Column, rows: &[Map<String, Value>]) -> Result<Values, PolarsError> {
    let cells = rows.iter().map(|row| row.get(name).unwrap_or(&Value::Null));
    let series = match kind {
        Kind::Text => Series::new(name.into(), cells.map(text).collect::<Vec<_>>()),
        Kind::Integer => Series::new(name.into(), cells.map(Value::as_i64).collect::<Vec<_>>()),
        Kind::Number => Series::new(name.into(), cells.map(Value::as_f64).collect::<Vec<_>>()),
        Kind::Flag => Series::new(name.into(), cells.map(Value::as_bool).collect::<Vec<_>>()),
        Kind::Instant => {
            let instant = |value: &Value| {
                let at: chrono::DateTime<chrono::Utc> = value.as_str()?.parse().ok()?;
                Some(at.timestamp_micros())
            };
            let micros = Series::new(name.into(), cells.map(instant).collect::<Vec<_>>());
            micros.cast(&DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)))?
        }
    };
    Ok(series.into_column())
}

#[cfg(test)]
mod tests {
    use polars::prelude::{ParquetReader, SerReader};

    use super::*;

    #[derive(Serialize)]
    struct Thing {
        name: &'static str,
        n: Option<u64>,
        value: Option<f64>,
        at: &'static str,
        good: bool,
    }

    impl Tabular for Thing {
        const COLUMNS: &'static [Column] = &[
            ("name", Kind::Text),
            ("n", Kind::Integer),
            ("value", Kind::Number),
            ("at", Kind::Instant),
            ("good", Kind::Flag),
        ];
    }

    const THINGS: [Thing; 2] = [
        Thing { name: "a, \"b\"", n: Some(3), value: Some(0.1), at: "2025-03-01T00:00:00.000001Z", good: true },
        Thing { name: "", n: None, value: None, at: "2025-03-02T00:00:00Z", good: false },
    ];

    #[test]
    fn what_is_absent_is_an_empty_cell_and_text_is_quoted() {
        let bytes = write(Format::Csv, &THINGS).expect("CSV");
        let text = String::from_utf8(bytes).expect("text");
        assert_eq!(
            text,
            "name,n,value,at,good\r\n\"a, \"\"b\"\"\",3,0.1,2025-03-01T00:00:00.000001Z,true\r\n,,,2025-03-02T00:00:00Z,false\r\n"
        );
        assert_eq!(write::<Thing>(Format::Csv, &[]).expect("CSV"), b"name,n,value,at,good\r\n");
    }

    #[test]
    fn parquet_has_the_same_columns_with_their_types_even_without_rows() {
        let read = |things: &[Thing]| {
            let bytes = write(Format::Parquet, things).expect("Parquet");
            assert_eq!(bytes, write(Format::Parquet, things).expect("Parquet"), "the same bytes");
            ParquetReader::new(std::io::Cursor::new(bytes)).finish().expect("a frame")
        };
        let (full, empty) = (read(&THINGS), read(&[]));
        assert_eq!((full.shape(), empty.shape()), ((2, 5), (0, 5)));
        assert_eq!(full.schema(), empty.schema());
        let at = full.column("at").expect("a column");
        assert_eq!(at.dtype(), &DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)));
        assert_eq!(full.column("value").expect("a column").null_count(), 1);
    }
}
