//! Apache Parquet, by polars, a part at a time.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;

use chrono::DateTime;
use polars::prelude::*;
use polars_parquet::parquet::page::CompressedPage;
use polars_parquet::parquet::read::{PageReader, read_metadata};

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
    ahead: Block,
}

/// Columns of which the rows are made one by one: as texts they take many times the memory.
#[derive(Default)]
pub(super) struct Block {
    columns: Vec<Series>,
    height: usize,
    next: usize,
}

impl Block {
    pub(super) fn new(columns: Vec<Series>, height: usize) -> Self {
        Self { columns, height, next: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next >= self.height
    }

    /// The values of the next row as texts.
    pub(super) fn next_values(&mut self) -> Vec<Option<String>> {
        let at = self.next;
        self.next += 1;
        self.columns.iter().map(|column| column.get(at).ok().and_then(|value| text(&value))).collect()
    }
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
        Ok(Self { file, wanted, columns, height, next: skip, ahead: Block::default() })
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
        let columns = frame.columns().iter().map(|column| column.as_materialized_series().clone()).collect();
        self.ahead = Block::new(columns, frame.height());
        Ok(())
    }
}

impl Iterator for ParquetRows {
    type Item = std::io::Result<RowResult>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ahead.is_empty() {
            if self.next >= self.height {
                return None;
            }
            if let Err(error) = self.read_part() {
                return Some(Err(error));
            }
            if self.ahead.is_empty() {
                return Some(Err(std::io::Error::other("the file has fewer rows than it says")));
            }
        }
        self.next += 1;
        let line = i64::try_from(self.next).unwrap_or(i64::MAX);
        Some(Ok(Ok(Row::typed(line, self.columns.clone(), self.ahead.next_values()))))
    }
}

/// A column of a row group may have so many packed bytes, if its sender is not trusted.
const LARGEST_CHUNK: u64 = 64 << 20;
/// What is unpacked at once, a page of each column, may have so many bytes.
const LARGEST_PAGES: usize = 64 << 20;

/// Measure a file that somebody sent: what its pages claim to be once they are unpacked. The footer's own claims are not believed.
///
/// # Errors
/// When it is no Parquet file, or when reading it would take more memory than is given to a body.
pub fn measure(file: &mut File, wanted: &[String]) -> Result<(), UnreadableFile> {
    let broken = |why: String| UnreadableFile::Format(format!("the body is no complete Parquet file: {why}"));
    let too_large = |what: &str, most: usize| {
        let most = most >> 20;
        UnreadableFile::Format(format!(
            "{what} of the Parquet file has more than {most} MiB; write smaller row groups and pages"
        ))
    };
    let bytes = file.metadata()?.len();
    let metadata = read_metadata(file).map_err(|error| broken(error.to_string()))?;
    for group in &metadata.row_groups {
        let mut together = 0;
        for column in group.parquet_columns() {
            let path = &column.descriptor().path_in_schema;
            if !path.first().is_some_and(|name| wanted.iter().any(|wanted| *wanted == name.as_str())) {
                continue;
            }
            let (from, length) =
                (column.dictionary_page_offset().unwrap_or(column.data_page_offset()), column.compressed_size());
            let (Ok(from), Ok(length)) = (u64::try_from(from), u64::try_from(length)) else {
                return Err(broken("a column lies before its start".into()));
            };
            if from.checked_add(length).is_none_or(|end| end > bytes) {
                return Err(broken("a column lies beyond its end".into()));
            }
            if length > LARGEST_CHUNK {
                return Err(too_large("a column of a row group", usize::try_from(LARGEST_CHUNK).unwrap_or(usize::MAX)));
            }
            let mut chunk = Vec::new();
            file.seek(SeekFrom::Start(from))?;
            Read::take(&mut *file, length).read_to_end(&mut chunk)?;
            let dictionary = dictionary_bytes(&chunk).ok_or_else(|| broken("a page has no head".into()))?;
            let mut largest = 0;
            for page in PageReader::new(Cursor::new(chunk.into()), column, Vec::new(), usize::MAX) {
                if let CompressedPage::Data(page) = page.map_err(|error| broken(error.to_string()))? {
                    largest = largest.max(page.uncompressed_size());
                }
            }
            together += dictionary + largest;
            if together > LARGEST_PAGES {
                return Err(too_large("a page", LARGEST_PAGES));
            }
        }
    }
    Ok(())
}

/// The unpacked size of the dictionary at the start of a column; zero without one. A page's head begins with its kind and its
/// unpacked size, in the compact protocol of Thrift; `None` when it does not.
fn dictionary_bytes(chunk: &[u8]) -> Option<usize> {
    /// A field with the next number, of 32 bits.
    const NEXT_I32: u8 = 0x15;
    const DICTIONARY: u64 = 2;
    let mut rest = chunk.iter().copied();
    let mut field = || {
        let mut number = 0_u64;
        (rest.next()? == NEXT_I32).then_some(())?;
        for shift in (0..35).step_by(7) {
            let byte = rest.next()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                // Zigzag: what is negative is odd.
                return (number & 1 == 0).then_some(number >> 1);
            }
        }
        None
    };
    if chunk.is_empty() {
        return Some(0);
    }
    let (kind, bytes) = (field()?, field()?);
    if kind == DICTIONARY { usize::try_from(bytes).ok() } else { Some(0) }
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
    std::str::from_utf8(bytes).map_or_else(|_| format!("0x{}", crate::chain::hex(bytes)), str::to_owned)
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
    fn a_small_file_that_unpacks_to_gigabytes_is_refused_and_ordinary_ones_are_not() {
        let wanted = ["n".to_owned()];
        let distinct: Vec<i64> = (0..50_000).collect();
        let frame = DataFrame::new(50_000, vec![Column::new("n".into(), distinct)]).expect("a frame");
        measure(&mut written(frame), &wanted).expect("an ordinary file");
        let values: Vec<String> = (0..40_000).map(|row| format!("{row:06}{}", "0".repeat(4096))).collect();
        let mut frame = DataFrame::new(40_000, vec![Column::new("n".into(), values)]).expect("a frame");
        let mut file = tempfile::tempfile().expect("a file");
        let writer = ParquetWriter::new(&mut file).with_compression(ParquetCompression::Zstd(None));
        writer.with_data_page_size(Some(1 << 30)).finish(&mut frame).expect("it can be written");
        assert!(file.metadata().expect("a size").len() < 2 << 20, "it is small");
        let refused = measure(&mut file, &wanted).expect_err("160 MB in a page").to_string();
        assert!(refused.contains("smaller"), "{refused}");
        measure(&mut file, &[]).expect("a column that nobody reads costs nothing");
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
