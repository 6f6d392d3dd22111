//! Apache Arrow's IPC stream, a record batch at a time, by polars.
//!
//! The sender is not trusted: every message is measured before it is decoded, so that what it claims to be cannot cost more
//! memory than [`LARGEST_MESSAGE`].

use std::collections::HashMap;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use polars::prelude::{ArrowField, PlSmallStr, Series};
use polars_arrow::io::ipc::format::ipc::planus::ReadAsRoot;
use polars_arrow::io::ipc::format::ipc::{MessageHeaderRef, MessageRef, RecordBatchRef};
use polars_arrow::io::ipc::read::{StreamReader, StreamState, read_stream_metadata};

use super::parquet::Block;
use super::{Row, RowResult, UnreadableFile};

/// A message (a record batch) may have so many bytes, packed or unpacked.
pub const LARGEST_MESSAGE: u64 = 32 << 20;
/// The description of a message may have so many bytes.
const LARGEST_HEAD: usize = 1 << 20;
/// A record batch may have so many rows.
const MOST_ROWS: i64 = 1 << 20;

/// Rows of an Arrow stream. Numbers keep every digit: the shortest text that reads back as the same number.
pub struct ArrowRows<R> {
    input: R,
    window: Window,
    reader: StreamReader<Window>,
    wanted: Vec<(usize, ArrowField)>,
    columns: Arc<HashMap<String, usize>>,
    row: i64,
    ahead: Block,
}

impl<R: Read> ArrowRows<R> {
    /// Read the schema. Of its columns only `wanted` ones become values; all without.
    ///
    /// # Errors
    /// When it is no Arrow stream or names a column twice.
    pub fn new(mut input: R, wanted: Option<&[String]>) -> Result<Self, UnreadableFile> {
        let broken = |why: &str| UnreadableFile::Format(format!("the body is no Arrow IPC stream: {why}"));
        let Some((schema, _)) = next_message(&mut input)? else { return Err(broken("it is empty")) };
        let metadata = read_stream_metadata(&mut schema.as_slice()).map_err(|error| broken(&error.to_string()))?;
        let is_wanted = |field: &ArrowField| wanted.is_none_or(|wanted| wanted.contains(&field.name.to_string()));
        let fields = metadata.schema.iter_values().cloned().enumerate();
        let wanted: Vec<(usize, ArrowField)> = fields.filter(|(_, field)| is_wanted(field)).collect();
        let columns: HashMap<String, usize> =
            wanted.iter().enumerate().map(|(at, (_, field))| (field.name.to_string(), at)).collect();
        if columns.len() < wanted.len() {
            return Err(broken("its schema names a column twice"));
        }
        let window = Window::default();
        let reader = StreamReader::new(window.clone(), metadata, None);
        Ok(Self { input, window, reader, wanted, columns: Arc::new(columns), row: 0, ahead: Block::default() })
    }

    /// The columns that are there and wanted.
    #[must_use]
    pub fn columns(&self) -> &HashMap<String, usize> {
        &self.columns
    }

    /// Decode the next message that has rows. `false` at the end.
    fn read_batch(&mut self) -> std::io::Result<bool> {
        let broken = |error: polars::prelude::PolarsError| invalid(format!("a record batch cannot be read: {error}"));
        loop {
            let Some((message, rows)) = next_message(&mut self.input)? else { return Ok(false) };
            self.window.show(message);
            // The decoder trusts what it reads: where it panics, the message is not what it says, and the stream is over.
            let decoded = catch_unwind(AssertUnwindSafe(|| self.reader.next()));
            let decoded = decoded.map_err(|_| invalid("a record batch contradicts itself".into()))?;
            let state = decoded.transpose().map_err(broken)?;
            let Some(StreamState::Some(batch)) = state else { continue };
            let arrays = batch.into_arrays();
            let series = self.wanted.iter().map(|(at, field)| {
                let array = arrays.get(*at).cloned().ok_or_else(|| invalid("a record batch lacks a column".into()))?;
                let field = ArrowField::new(PlSmallStr::EMPTY, field.dtype.clone(), true);
                Series::try_from((&field, array)).map_err(broken)
            });
            let series: Vec<Series> = series.collect::<std::io::Result<_>>()?;
            self.ahead = Block::new(series, usize::try_from(rows).unwrap_or_default());
            if !self.ahead.is_empty() {
                return Ok(true);
            }
        }
    }
}

impl<R: Read> Iterator for ArrowRows<R> {
    type Item = std::io::Result<RowResult>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ahead.is_empty() {
            match self.read_batch() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        self.row += 1;
        Some(Ok(Ok(Row::typed(self.row, self.columns.clone(), self.ahead.next_values()))))
    }
}

fn invalid(message: String) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, message)
}

/// The next message, whole, with how many rows it has; `None` at the end of the stream.
fn next_message(input: &mut impl Read) -> std::io::Result<Option<(Vec<u8>, i64)>> {
    let mut word = [0; 4];
    let mut first = input.take(4);
    let mut begin = Vec::with_capacity(8);
    first.read_to_end(&mut begin)?;
    if begin.is_empty() {
        return Ok(None);
    }
    word.copy_from_slice(begin.get(..4).ok_or_else(|| invalid("the stream breaks off".into()))?);
    if word == [0xFF; 4] {
        input.read_exact(&mut word)?;
        begin.extend_from_slice(&word);
    }
    let length = usize::try_from(i32::from_le_bytes(word)).unwrap_or(usize::MAX);
    if length == 0 {
        return Ok(None);
    }
    if length > LARGEST_HEAD {
        return Err(invalid("the head of a message is longer than a mebibyte: is it an Arrow IPC stream?".into()));
    }
    let mut message = begin;
    let at = message.len();
    message.resize(at + length, 0);
    input.read_exact(&mut message[at..])?;
    let (body, rows) = measure(&message[at..], input)?;
    message.extend_from_slice(&body);
    Ok(Some((message, rows)))
}

/// Read the body that a message's head announces, if what it claims is in bounds.
fn measure(head: &[u8], input: &mut impl Read) -> std::io::Result<(Vec<u8>, i64)> {
    type Planus = polars_arrow::io::ipc::format::ipc::planus::Error;
    let broken = |error: Planus| invalid(format!("the head of a message cannot be read: {error}"));
    let message = MessageRef::read_as_root(head).map_err(broken)?;
    let length = u64::try_from(message.body_length().map_err(broken)?).unwrap_or(u64::MAX);
    let too_large =
        || invalid(format!("a record batch has more than {} MiB; send smaller ones", LARGEST_MESSAGE >> 20));
    if length > LARGEST_MESSAGE {
        return Err(too_large());
    }
    let mut body = Vec::new();
    if input.take(length).read_to_end(&mut body)? as u64 != length {
        return Err(invalid("the stream breaks off in a record batch".into()));
    }
    let batch = match message.header().map_err(broken)? {
        Some(MessageHeaderRef::RecordBatch(batch)) => Some(batch),
        Some(MessageHeaderRef::DictionaryBatch(batch)) => batch.data().map_err(broken)?,
        _ => None,
    };
    let Some(batch) = batch else { return Ok((body, 0)) };
    let rows = batch.length().map_err(broken)?;
    if !(0..=MOST_ROWS).contains(&rows) {
        return Err(invalid(format!("a record batch has more than {MOST_ROWS} rows; send smaller ones")));
    }
    if unpacked(batch, &body).map_err(broken)?.is_none_or(|bytes| bytes > LARGEST_MESSAGE) {
        return Err(too_large());
    }
    Ok((body, rows))
}

/// The bytes of all buffers of a batch once they are unpacked; `None` when a buffer or a length is out of bounds.
fn unpacked(
    batch: RecordBatchRef<'_>,
    body: &[u8],
) -> Result<Option<u64>, polars_arrow::io::ipc::format::ipc::planus::Error> {
    for node in batch.nodes()?.into_iter().flatten() {
        if !(0..=MOST_ROWS * 64).contains(&node.length()) {
            return Ok(None);
        }
    }
    let is_packed = batch.compression()?.is_some();
    let mut total = 0_u64;
    for buffer in batch.buffers()?.into_iter().flatten() {
        let (Ok(offset), Ok(length)) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length())) else {
            return Ok(None);
        };
        let Some(bytes) = offset.checked_add(length).and_then(|end| body.get(offset..end)) else { return Ok(None) };
        total += match bytes.first_chunk::<8>().filter(|_| is_packed).map(|claim| i64::from_le_bytes(*claim)) {
            None | Some(-1) => length as u64,
            Some(claim) => match u64::try_from(claim) {
                Ok(claim) => claim.min(u64::MAX / 1024),
                Err(_) => return Ok(None),
            },
        };
    }
    Ok(Some(total))
}

/// What the decoder sees: one message at a time.
#[derive(Clone, Default)]
struct Window(Arc<Mutex<Cursor<Vec<u8>>>>);

impl Window {
    fn show(&self, message: Vec<u8>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Cursor::new(message);
    }
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(buffer)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).seek(to)
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{Column, CompatLevel, DataFrame, SchemaExt};
    use polars_arrow::io::ipc::write::{Compression, StreamWriter, WriteOptions};

    use super::*;

    fn written(rows: usize, batches: usize, compression: Option<Compression>) -> Vec<u8> {
        let scores: Vec<f64> = (0..rows).map(|row| row as f64 / 8.0).collect();
        let columns = vec![Column::new("case".into(), vec!["x"; rows]), Column::new("effusion".into(), scores)];
        let frame = DataFrame::new(rows, columns).expect("a frame");
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::new(&mut bytes, WriteOptions { compression });
        writer.start(&frame.schema().to_arrow(CompatLevel::oldest()), None).expect("a schema");
        for batch in frame.iter_chunks(CompatLevel::oldest(), false).cycle_batches(batches) {
            writer.write(&batch, None).expect("a batch");
        }
        writer.finish().expect("an end");
        bytes
    }

    trait CycleBatches: Iterator {
        fn cycle_batches(self, times: usize) -> Vec<Self::Item>;
    }

    impl<I: Iterator<Item: Clone>> CycleBatches for I {
        fn cycle_batches(self, times: usize) -> Vec<Self::Item> {
            let once: Vec<_> = self.collect();
            std::iter::repeat_n(once, times).flatten().collect()
        }
    }

    #[test]
    fn batches_join_packed_or_not() {
        for compression in [None, Some(Compression::LZ4)] {
            let bytes = written(3, 2, compression);
            let rows = ArrowRows::new(bytes.as_slice(), Some(&["effusion".to_owned()])).expect("a stream");
            assert_eq!(rows.columns().len(), 1);
            let rows: Vec<Row> = rows.map(|row| row.expect("readable").expect("whole")).collect();
            let read: Vec<(i64, Option<&str>)> = rows.iter().map(|row| (row.line, row.get("effusion"))).collect();
            let three = [Some("0"), Some("0.125"), Some("0.25")];
            assert_eq!(read, (1..).zip(three.into_iter().chain(three)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_breaks_off_or_claims_too_much_is_an_error_and_no_crash() {
        let whole = written(100, 3, Some(Compression::LZ4));
        let count = |bytes: &[u8]| match ArrowRows::new(bytes, None) {
            Ok(rows) => rows.take_while(Result::is_ok).count(),
            Err(_) => 0,
        };
        assert_eq!(count(&whole), 300);
        for end in (0..whole.len()).step_by(7) {
            let read = count(&whole[..end]);
            assert!(read <= 300 && read % 100 == 0, "{end}: {read}");
        }
        // Every byte changed, one at a time: an answer, whatever it is.
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 0xFF;
            let read = std::panic::catch_unwind(|| count(&other));
            assert!(read.is_ok_and(|read| read <= 300 << 20), "{at}");
        }
    }
}
