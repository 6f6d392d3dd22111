//! Newline-delimited JSON: one object per line. A bad line costs one row.

use std::io::BufRead;

use serde_json::Value;

use super::lines::{Line, next_line};
use super::{BrokenRow, RowResult, json};

/// Rows of an NDJSON text. Nested objects are flattened with dots: `{"study": {"uid": 1}}` has the column `study.uid`.
pub struct NdjsonRows<R> {
    input: R,
    line: i64,
}

impl<R: BufRead> NdjsonRows<R> {
    /// Rows of a text.
    pub fn new(input: R) -> Self {
        Self { input, line: 0 }
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
        let broken = |message: String| Ok(Err(BrokenRow { line: self.line, message }));
        let Line::Whole(text) = line else { return Some(broken(format!("the line {}", Line::TOO_LONG))) };
        Some(match serde_json::from_slice::<Value>(&text) {
            Ok(Value::Object(object)) => Ok(Ok(json::row(self.line, &object))),
            Ok(_) => broken("the line is not a JSON object; write {\"column\": value, ...}".into()),
            Err(error) => broken(format!("the line is not JSON: {error}")),
        })
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
        let rows: Vec<RowResult> = NdjsonRows::new(text.as_bytes()).map(|row| row.expect("memory")).collect();
        let first = rows[0].as_ref().expect("a row");
        assert_eq!((first.get("a"), first.get("b.c")), (Some("0.1"), Some("true")));
        assert_eq!(rows[1].as_ref().expect_err("an array").line, 3);
        assert_eq!(rows[2].as_ref().expect_err("cut off").line, 4);
        assert_eq!(rows[3].as_ref().expect("a row").get("a"), None);
        assert_eq!(rows[4].as_ref().expect_err("too long").line, 6);
    }
}
