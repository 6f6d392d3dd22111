//! CSV with a header line, read so that one bad line costs one row.
//!
//! A general CSV reader takes a stray quote for the start of a field that runs to the end of the file. Here a record that
//! spans lines is only believed when its quotes close within [`MOST_LINES`] lines and it has as many fields as the header;
//! otherwise its first line alone is broken and reading goes on with the next.

use std::collections::{HashMap, VecDeque};
use std::io::BufRead;
use std::sync::Arc;

use super::lines::{Line, next_line};
use super::{BrokenRow, Row, RowResult, UnreadableFile};

/// A quoted field may span this many lines.
const MOST_LINES: usize = 50;

/// Rows of a CSV text.
pub struct CsvRows<R> {
    input: R,
    columns: Arc<HashMap<String, usize>>,
    delimiter: u8,
    width: usize,
    line: i64,
    ahead: VecDeque<Line>,
}

impl<R: BufRead> CsvRows<R> {
    /// Read the header.
    ///
    /// # Errors
    /// When the file is empty, its header is no text, or names a column twice.
    pub fn new(input: R, delimiter: char) -> Result<Self, UnreadableFile> {
        let delimiter = u8::try_from(delimiter).unwrap_or(b',');
        let mut rows = Self { input, columns: Arc::default(), delimiter, width: 0, line: 0, ahead: VecDeque::new() };
        let mut header = match rows.next_line()? {
            Some(Line::Whole(header)) => header,
            Some(Line::TooLong) => return Err(UnreadableFile::Format(format!("the header {}", Line::TOO_LONG))),
            None => Vec::new(),
        };
        if header.starts_with(b"\xEF\xBB\xBF") {
            header.drain(..3);
        }
        let names =
            split(&header, delimiter).map_err(|message| UnreadableFile::Format(format!("the header {message}")))?;
        let mut columns = HashMap::new();
        for (index, name) in names.iter().enumerate() {
            let name = name.trim();
            if !name.is_empty() && columns.insert(name.to_owned(), index).is_some() {
                return Err(UnreadableFile::Format(format!("the header names the column {name:?} twice")));
            }
        }
        if columns.is_empty() {
            return Err(UnreadableFile::Format("the file has no header line".into()));
        }
        // Unnamed trailing columns still count as fields.
        rows.columns = Arc::new(columns);
        rows.line = 1;
        rows.width = names.len();
        Ok(rows)
    }

    /// The columns of the header.
    #[must_use]
    pub fn columns(&self) -> &HashMap<String, usize> {
        &self.columns
    }

    fn next_line(&mut self) -> std::io::Result<Option<Line>> {
        match self.ahead.pop_front() {
            Some(line) => Ok(Some(line)),
            None => next_line(&mut self.input),
        }
    }

    fn broken(line: i64, message: impl Into<String>) -> Option<std::io::Result<RowResult>> {
        Some(Ok(Err(BrokenRow { line, message: message.into() })))
    }

    fn row(&self, line: i64, record: &[u8]) -> Result<Row, String> {
        let values = split(record, self.delimiter)?;
        if values.len() != self.width {
            return Err(format!(
                "has {} fields where the header has {}; quote fields that contain the delimiter",
                values.len(),
                self.width
            ));
        }
        Ok(Row::new(line, self.columns.clone(), values.into_iter().map(Some).collect()))
    }
}

impl<R: BufRead> Iterator for CsvRows<R> {
    type Item = std::io::Result<RowResult>;

    fn next(&mut self) -> Option<Self::Item> {
        let (line, first) = loop {
            self.line += 1;
            match self.next_line() {
                Err(error) => return Some(Err(error)),
                Ok(None) => return None,
                Ok(Some(line)) if line.is_blank() => {}
                Ok(Some(Line::TooLong)) => return Self::broken(self.line, format!("the row {}", Line::TOO_LONG)),
                Ok(Some(Line::Whole(text))) => break (self.line, text),
            }
        };
        if !has_open_quote(&first) {
            return match self.row(line, &first) {
                Ok(row) => Some(Ok(Ok(row))),
                Err(message) => Self::broken(line, format!("the row {message}")),
            };
        }
        let mut record = first;
        let mut more: Vec<Line> = Vec::new();
        while has_open_quote(&record) && more.len() < MOST_LINES {
            match self.next_line() {
                Err(error) => return Some(Err(error)),
                Ok(None) => break,
                Ok(Some(Line::TooLong)) => {
                    more.push(Line::TooLong);
                    break;
                }
                Ok(Some(Line::Whole(text))) => {
                    record.push(b'\n');
                    record.extend_from_slice(&text);
                    more.push(Line::Whole(text));
                }
            }
        }
        match self.row(line, &record) {
            Ok(row) if !has_open_quote(&record) => {
                self.line += i64::try_from(more.len()).unwrap_or_default();
                Some(Ok(Ok(row)))
            }
            _ => {
                for line in more.into_iter().rev() {
                    self.ahead.push_front(line);
                }
                Self::broken(line, "the row has a quote that does not close; write a quote inside a field twice")
            }
        }
    }
}

fn has_open_quote(text: &[u8]) -> bool {
    text.iter().filter(|byte| **byte == b'"').count() % 2 == 1
}

/// The fields of one record.
fn split(record: &[u8], delimiter: u8) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(record).map_err(|_| "is not UTF-8; convert the file".to_owned())?;
    if !record.contains(&b'"') {
        return Ok(text.split(char::from(delimiter)).map(str::to_owned).collect());
    }
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(record);
    let mut fields = csv::StringRecord::new();
    match reader.read_record(&mut fields) {
        Ok(true) => Ok(fields.iter().map(str::to_owned).collect()),
        Ok(false) => Ok(Vec::new()),
        Err(error) => Err(format!("cannot be parsed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<RowResult> {
        CsvRows::new(text.as_bytes(), ',').expect("a header").map(|row| row.expect("memory does not fail")).collect()
    }

    fn shown(text: &str) -> Vec<String> {
        read(text)
            .into_iter()
            .map(|row| match row {
                Ok(row) => format!("{}: {}|{}", row.line, row.get("a").unwrap_or("-"), row.get("b").unwrap_or("-")),
                Err(broken) => format!("{}: broken", broken.line),
            })
            .collect()
    }

    #[test]
    fn a_stray_quote_costs_one_row() {
        let rows = shown("a,b\n1,\"x\n2,y\n3,z\n");
        assert_eq!(rows, ["2: broken", "3: 2|y", "4: 3|z"]);
    }

    #[test]
    fn quoted_fields_may_hold_delimiters_quotes_and_newlines() {
        let rows = shown("a,b\n1,\"x,\"\"y\"\"\nz\"\n2,w\n");
        assert_eq!(rows, ["2: 1|x,\"y\"\nz", "4: 2|w"]);
    }

    #[test]
    fn short_long_and_blank_lines() {
        let rows = shown("\u{FEFF}a,b\r\n1\r\n\r\n1,2,3\r\n ,5\r\n");
        assert_eq!(rows, ["2: broken", "4: broken", "5: -|5"]);
    }

    #[test]
    fn a_header_must_make_sense() {
        assert!(CsvRows::new("".as_bytes(), ',').is_err());
        assert!(CsvRows::new("a,a\n".as_bytes(), ',').is_err());
    }
}
