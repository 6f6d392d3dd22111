//! Bodies of requests: records in one of the formats, packed or not, read as they come.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::UnreadableFile;
use super::arrow::ArrowRows;
use super::csv::CsvRows;
use super::file::{ColumnCheck, Packing, Rows};
use super::json::JsonRows;
use super::ndjson::NdjsonRows;
use super::object::{GROUPS, Objects};
use super::parquet::{self, ParquetRows};

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// A JSON object or an array of objects.
    Json,
    /// An object a line.
    Ndjson,
    /// Values with a header line.
    Csv,
    /// Apache Parquet, kept in a temporary file until it has come whole.
    Parquet,
    /// An Apache Arrow IPC stream.
    Arrow,
}

impl Media {
    /// The media types that are understood, with what they are. The first of each is its proper name.
    pub const TYPES: [(&'static str, Self); 10] = [
        ("application/json", Self::Json),
        ("application/x-ndjson", Self::Ndjson),
        ("application/ndjson", Self::Ndjson),
        ("application/jsonl", Self::Ndjson),
        ("application/x-jsonlines", Self::Ndjson),
        ("text/csv", Self::Csv),
        ("application/vnd.apache.parquet", Self::Parquet),
        ("application/x-parquet", Self::Parquet),
        ("application/vnd.apache.arrow.stream", Self::Arrow),
        ("application/x-apache-arrow-stream", Self::Arrow),
    ];

    /// Of the value of a `Content-Type`; its parameters do not matter.
    #[must_use]
    pub fn parse(content_type: &str) -> Option<Self> {
        let name = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Self::TYPES.iter().find(|(known, _)| *known == name).map(|(_, media)| *media)
    }
}

/// How a body is packed, by the value of its `Content-Encoding`.
#[must_use]
pub fn packing(content_encoding: Option<&str>) -> Option<Packing> {
    match content_encoding.map(|value| value.trim().to_ascii_lowercase()).as_deref() {
        None | Some("" | "identity") => Some(Packing::None),
        Some("gzip" | "x-gzip") => Some(Packing::Gzip),
        Some("zstd") => Some(Packing::Zstd),
        Some(_) => None,
    }
}

/// How a body is read.
pub struct Opening<'a> {
    /// What it is.
    pub media: Media,
    /// How it is packed.
    pub packing: Packing,
    /// Field separator of CSV.
    pub delimiter: char,
    /// The columns that matter.
    pub wanted: &'a [String],
    /// Counts the unpacked bytes that were read.
    pub read: Arc<AtomicU64>,
    /// Whether members of `scores`, `values` and `attributes` are columns without a prefix.
    pub opens_groups: bool,
}

/// Rows of a body.
///
/// # Errors
/// When the body as a whole cannot be read, or lacks a column that `check` asks for.
pub fn open(
    opening: &Opening<'_>,
    body: impl Read + Send + 'static,
    check: ColumnCheck<'_>,
) -> Result<Rows, UnreadableFile> {
    let mut input = Counted { input: opening.packing.unpack(body)?, read: opening.read.clone() };
    let check = |columns: &_| check(columns).map_err(UnreadableFile::Format);
    let objects = || Objects::new(if opening.opens_groups { &GROUPS } else { &[] });
    Ok(match opening.media {
        Media::Json => Box::new(JsonRows::new(input, objects())),
        Media::Ndjson => Box::new(NdjsonRows::new(input, objects())),
        Media::Csv => {
            let rows = CsvRows::new(input, opening.delimiter)?;
            check(rows.columns())?;
            Box::new(rows)
        }
        Media::Arrow => {
            let rows = ArrowRows::new(input, Some(opening.wanted))?;
            check(rows.columns())?;
            Box::new(rows)
        }
        Media::Parquet => {
            let mut file = tempfile::tempfile()?;
            std::io::copy(&mut input, &mut file)?;
            parquet::measure(&mut file, opening.wanted)?;
            file.seek(SeekFrom::Start(0))?;
            let rows = ParquetRows::new(file, Some(opening.wanted), 0)?;
            check(rows.columns())?;
            Box::new(rows)
        }
    })
}

/// Counts what is read.
struct Counted<R> {
    input: R,
    read: Arc<AtomicU64>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.read.fetch_add(amount as u64, Ordering::Relaxed);
        self.input.consume(amount);
    }
}

impl Packing {
    /// What is packed, as it was.
    ///
    /// # Errors
    /// When the unpacker cannot be made.
    pub fn unpack(self, packed: impl Read + Send + 'static) -> std::io::Result<Box<dyn BufRead + Send>> {
        const BUFFER: usize = 1 << 16;
        Ok(match self {
            Self::None => Box::new(BufReader::with_capacity(BUFFER, packed)),
            Self::Gzip => {
                let unpacked = flate2::read::MultiGzDecoder::new(BufReader::new(packed));
                Box::new(BufReader::with_capacity(BUFFER, unpacked))
            }
            Self::Zstd => {
                let mut unpacked = zstd::Decoder::new(packed)?;
                // A frame may ask for a window of gigabytes: 8 MiB is what the format's own text recommends to support.
                unpacked.window_log_max(27)?;
                Box::new(BufReader::with_capacity(BUFFER, unpacked))
            }
        })
    }
}
