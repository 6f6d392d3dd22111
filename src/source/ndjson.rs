//! Newline-delimited JSON: one object per line. A bad line costs one row.

use std::io::BufRead;

use super::lines::{Line, next_line};
use super::object::Objects;
use super::{BrokenRow, RowResult};

/// Rows of an NDJSON text. Nested objects are flattened with dots: `{"study": {"uid": 1}}` has the column `study.uid`.
pub struct NdjsonRows<R> {
    input: R,
    objects: Objects,
    line: i64,
}

impl<R: BufRead> NdjsonRows<R> {
    /// Rows of a text.
    pub fn new(input: R, objects: Objects) -> Self {
        Self { input, objects, line: 0 }
    }
}

impl<R: BufRead> Iterator for NdjsonRows<R> {
    type Item = std::io::Result<RowResult>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = loop {
            self.line += 1;
            match next_line(&mut self.input) {
                Err(error) => return Some(Err(error)),
                Ok(None) => return None,
                Ok(Some(line)) if line.is_blank() => {}
                Ok(Some(line)) => break line,
            }
        };
        Some(Ok(match line {
            Line::Whole(text) => self.objects.row(self.line, &text),
            Line::TooLong => Err(BrokenRow { line: self.line, message: format!("the line {}", Line::TOO_LONG) }),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lines_are_broken_and_the_rest_goes_on() {
        let absurd = "x".repeat(2 << 20);
        let text = format!(
            "{{\"a\": 0.1, \"b\": {{\"c\": true}}}}\n\n[1]\n{{\"a\": \n{{\"a\": null}}\n{{\"a\": \"{absurd}\"}}\n"
        );
        let rows: Vec<RowResult> =
            NdjsonRows::new(text.as_bytes(), Objects::default()).map(|row| row.expect("memory")).collect();
        let first = rows[0].as_ref().expect("a row");
        assert_eq!((first.get("a"), first.get("b.c")), (Some("0.1"), Some("true")));
        assert_eq!(rows[1].as_ref().expect_err("an array").line, 3);
        assert_eq!(rows[2].as_ref().expect_err("cut off").line, 4);
        assert_eq!(rows[3].as_ref().expect("a row").get("a"), None);
        assert_eq!(rows[4].as_ref().expect_err("too long").line, 6);
    }
}
