//! Apache Parquet, by polars, a part at a time.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use chrono::DateTime;
use polars::prelude::*;

use super::{Row, RowResult, UnreadableFile};

/// Rows that are read at once.
const PART: usize = 16_384;

/// Rows of a Parquet file. Numbers keep every digit: the shortest text that reads back as the same number.
pub struct ParquetRows {
    file: File,
    wanted: Vec<String>,
    columns: Arc<HashMap<String, usize>>,
    height: usize,
    next: usize,
    ahead: VecDeque<Row>,
}

impl ParquetRows {
    /// Open a file. Of its columns only `wanted` ones are read, so that the types of others do not matter; all without.
    ///
    /// # Errors
    /// When it is no Parquet file, or ends early.
    pub fn new(file: File, wanted: Option<&[String]>, skip: usize) -> Result<Self, UnreadableFile> {
        let broken =
            |error: PolarsError| UnreadableFile::Format(format!("the file is no complete Parquet file: {error}"));
        let mut reader = ParquetReader::new(file.try_clone()?);
        let height = reader.num_rows().map_err(broken)?;
        let schema = reader.schema().map_err(broken)?;
        let names = schema.iter_names().map(ToString::to_string);
        let wanted: Vec<String> = names.filter(|name| wanted.is_none_or(|wanted| wanted.contains(name))).collect();
        let columns = Arc::new(wanted.iter().cloned().zip(0..).collect());
        Ok(Self { file, wanted, columns, height, next: skip, ahead: VecDeque::new() })
    }

    /// The columns that are there and wanted.
    #[must_use]
    pub fn columns(&self) -> &HashMap<String, usize> {
        &self.columns
    }

    fn read_part(&mut self) -> std::io::Result<()> {
        let reader = ParquetReader::new(self.file.try_clone()?)
            .with_columns(Some(self.wanted.clone()))
            .with_slice(Some((self.next, PART.min(self.height - self.next))));
        let frame = reader.finish().map_err(std::io::Error::other)?;
        for at in 0..frame.height() {
            let values = frame.columns().iter().map(|column| column.get(at).ok().and_then(|value| text(&value)));
            self.next += 1;
            let line = i64::try_from(self.next).unwrap_or(i64::MAX);
            self.ahead.push_back(Row::typed(line, self.columns.clone(), values.collect()));
        }
        Ok(())
    }
}

impl Iterator for ParquetRows {
    type Item = std::io::Result<RowResult>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ahead.is_empty() && self.next < self.height {
            let before = self.next;
            if let Err(error) = self.read_part() {
                return Some(Err(error));
            }
            if self.next == before {
                return Some(Err(std::io::Error::other("the file has fewer rows than it says")));
            }
        }
        self.ahead.pop_front().map(|row| Ok(Ok(row)))
    }
}

/// Whether a file ends as a Parquet file does: without it a writer may be at work.
///
/// # Errors
/// When the operating system refuses.
pub fn is_complete(file: &mut File) -> std::io::Result<bool> {
    let mut end = [0; 4];
    if file.seek(SeekFrom::End(0))? < 12 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-4))?;
    file.read_exact(&mut end)?;
    Ok(&end == b"PAR1")
}

fn text(value: &AnyValue<'_>) -> Option<String> {
    if let Some(text) = value.get_str() {
        return Some(text.to_owned());
    }
    match value {
        AnyValue::Null => None,
        AnyValue::Float64(number) => Some(number.to_string()),
        AnyValue::Float32(number) => Some(f64::from(*number).to_string()),
        AnyValue::Boolean(truth) => Some(truth.to_string()),
        AnyValue::Date(days) => instant(i64::from(*days), 86_400_000_000, false),
        AnyValue::Datetime(at, unit, zone) => datetime(*at, *unit, zone.is_some()),
        AnyValue::DatetimeOwned(at, unit, zone) => datetime(*at, *unit, zone.is_some()),
        AnyValue::Binary(bytes) => Some(bytes_text(bytes)),
        AnyValue::BinaryOwned(bytes) => Some(bytes_text(bytes)),
        AnyValue::List(numbers) | AnyValue::Array(numbers, _) => {
            let texts: Vec<String> = numbers.iter().map(|value| text(&value).unwrap_or("null".into())).collect();
            Some(format!("[{}]", texts.join(",")))
        }
        other => Some(other.to_string()),
    }
}

/// Bytes that are a text are that text; others are shown in full, so that no two of them look alike.
fn bytes_text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| format!("0x{}", crate::config::hex(bytes)), str::to_owned)
}

fn datetime(at: i64, unit: TimeUnit, has_zone: bool) -> Option<String> {
    match unit {
        TimeUnit::Nanoseconds => instant(at.div_euclid(1000), 1, has_zone),
        TimeUnit::Microseconds => instant(at, 1, has_zone),
        TimeUnit::Milliseconds => instant(at, 1000, has_zone),
    }
}

/// A time that carries a zone is an instant; one without is left to the source's time zone.
fn instant(at: i64, micros: i64, has_zone: bool) -> Option<String> {
    let instant = DateTime::from_timestamp_micros(at.checked_mul(micros)?)?;
    Some(if has_zone { instant.to_rfc3339() } else { instant.naive_utc().format("%Y-%m-%dT%H:%M:%S%.6f").to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(mut frame: DataFrame) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        ParquetWriter::new(&mut file).finish(&mut frame).expect("it can be written");
        file.rewind().expect("a file");
        file
    }

    #[test]
    fn typed_columns_become_the_texts_that_a_csv_would_hold() {
        let noon = 1_735_732_800_000_i64;
        let naive = Series::new("naive".into(), [noon]).cast(&DataType::Datetime(TimeUnit::Milliseconds, None));
        let zoned = Series::new("zoned".into(), [noon])
            .cast(&DataType::Datetime(TimeUnit::Milliseconds, Some(TimeZone::UTC)))
            .expect("a cast");
        let category = Series::new("category".into(), ["north"]).cast(&DataType::from_categories(Categories::global()));
        let bytes = Series::new("bytes".into(), [b"1.2.840.113619".as_slice()]);
        let decimal = Series::new("decimal".into(), ["0.25"]).cast(&DataType::Decimal(10, 2)).expect("a cast");
        let list = Series::new("list".into(), [Series::new("".into(), [0.5_f32, -1.25])]);
        let array =
            list.cast(&DataType::Array(Box::new(DataType::Float32), 2)).expect("a cast").with_name("array".into());
        let columns = [naive.expect("a cast"), zoned, category.expect("a cast"), bytes, decimal, list, array];
        let frame = DataFrame::new(1, columns.map(Column::from).to_vec()).expect("a frame");
        let mut rows = ParquetRows::new(written(frame), None, 0).expect("a file");
        let row = rows.next().expect("a row").expect("readable").expect("whole");
        let value = |name: &str| row.get(name).expect("a value").to_owned();
        assert_eq!(value("naive"), "2025-01-01T12:00:00.000000");
        assert_eq!(value("zoned"), "2025-01-01T12:00:00+00:00");
        assert_eq!(value("category"), "north");
        assert_eq!(value("bytes"), "1.2.840.113619");
        assert_eq!((value("list"), value("array")), ("[0.5,-1.25]".to_owned(), "[0.5,-1.25]".to_owned()));
        assert_eq!(value("decimal").parse::<f64>(), Ok(0.25));
        assert!(rows.next().is_none());
    }

    #[test]
    fn parts_join_without_a_gap_and_unwanted_columns_are_not_read() {
        let height = PART + 10;
        let numbers: Vec<i64> = (0..).take(height).collect();
        let frame = DataFrame::new(
            height,
            vec![Column::new("n".into(), numbers), Column::new("other".into(), vec!["x"; height])],
        );
        let file = written(frame.expect("a frame"));
        let rows = ParquetRows::new(file, Some(&["n".to_owned()]), 5).expect("a file");
        assert_eq!(rows.columns().len(), 1);
        let read: Vec<i64> = rows
            .map(|row| row.expect("readable").expect("whole").get("n").expect("a value").parse().expect("a number"))
            .collect();
        assert_eq!(read, (5..).take(height - 5).collect::<Vec<i64>>());
    }
}
