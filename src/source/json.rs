//! JSON: one record or an array of records, taken apart without reading it whole.

use std::io::BufRead;

use super::lines::LONGEST_LINE;
use super::object::Objects;
use super::{BrokenRow, RowResult};

/// Records of a JSON text: an object, or an array of objects. A record may have a mebibyte, the text any length.
pub struct JsonRows<R> {
    input: R,
    objects: Objects,
    row: i64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// In an array, before an element.
    Array,
    End,
}

impl<R: BufRead> JsonRows<R> {
    /// Records of a text.
    pub fn new(input: R, objects: Objects) -> Self {
        Self { input, objects, row: 0, state: State::Start }
    }

    /// The next byte that is no white space, left where it is; `None` at the end.
    fn peek(&mut self) -> std::io::Result<Option<u8>> {
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let blanks = buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let found = buffer.get(blanks).copied();
            self.input.consume(blanks);
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// The text of one value, up to the `,` or `]` after it or the end. `None` when it is longer than a record may be; the rest
    /// of it is skipped.
    fn value(&mut self, in_array: bool) -> std::io::Result<Option<Vec<u8>>> {
        let (mut text, mut depth, mut in_string, mut escaped, mut too_long) = (Vec::new(), 0_u64, false, false, false);
        loop {
            let buffer = self.input.fill_buf()?;
            let mut taken = 0;
            let mut ended = buffer.is_empty();
            for byte in buffer {
                if in_string {
                    (in_string, escaped) = (escaped || *byte != b'"', !escaped && *byte == b'\\');
                } else {
                    match byte {
                        b'"' => in_string = true,
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' if depth > 0 => depth -= 1,
                        b',' | b']' if depth == 0 && in_array => {
                            ended = true;
                            break;
                        }
                        _ => {}
                    }
                }
                taken += 1;
            }
            if text.len() + taken > LONGEST_LINE {
                (too_long, text) = (true, Vec::new());
            } else if !too_long {
                text.extend_from_slice(&buffer[..taken]);
            }
            self.input.consume(taken);
            if ended {
                return Ok((!too_long).then_some(text));
            }
        }
    }

    fn record(&mut self, in_array: bool) -> std::io::Result<RowResult> {
        self.row += 1;
        Ok(match self.value(in_array)? {
            Some(text) => self.objects.row(self.row, &text),
            None => Err(BrokenRow { line: self.row, message: "the record is longer than a mebibyte".into() }),
        })
    }

    fn broken_off(message: &str) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::InvalidData, message)
    }
}

impl<R: BufRead> Iterator for JsonRows<R> {
    type Item = std::io::Result<RowResult>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match self.peek() {
            Ok(next) => next,
            Err(error) => return Some(Err(error)),
        };
        match (self.state, next) {
            (State::End, None) => None,
            (State::End, Some(_)) => Some(Err(Self::broken_off("the body goes on after its end: it is not JSON"))),
            (State::Start, None) => {
                self.state = State::End;
                None
            }
            (State::Start, Some(b'[')) => {
                self.input.consume(1);
                self.state = State::Array;
                match self.peek() {
                    Err(error) => Some(Err(error)),
                    Ok(Some(b']')) => {
                        self.input.consume(1);
                        self.state = State::End;
                        self.next()
                    }
                    Ok(_) => self.next(),
                }
            }
            (State::Start, Some(_)) => {
                self.state = State::End;
                Some(self.record(false))
            }
            (State::Array, _) => {
                let record = self.record(true);
                if record.is_err() {
                    return Some(record);
                }
                match self.peek() {
                    Err(error) => Some(Err(error)),
                    Ok(Some(b',')) => {
                        self.input.consume(1);
                        Some(record)
                    }
                    Ok(Some(b']')) => {
                        self.input.consume(1);
                        self.state = State::End;
                        Some(record)
                    }
                    Ok(_) => {
                        self.state = State::End;
                        Some(Err(Self::broken_off("the array of records breaks off before its end")))
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Result<Option<String>, ()>> {
        // A small buffer, so that values span pieces.
        let input = std::io::BufReader::with_capacity(3, text.as_bytes());
        let mut read = Vec::new();
        for row in JsonRows::new(input, Objects::new(&[])) {
            let Ok(row) = row else {
                read.push(Err(()));
                break;
            };
            read.push(Ok(row.ok().and_then(|row| row.get("a").map(str::to_owned))));
        }
        read
    }

    #[test]
    fn one_record_or_many_and_a_bad_one_costs_itself() {
        let a = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(read(r#" {"a": 1} "#), [a("1")]);
        assert_eq!(
            read(r#"[{"a": "x,]\"}"}, {"a": [1, {"b": 2}]} , 7, {"a": 3}]"#),
            [a("x,]\"}"), a(r#"[1,{"b":2}]"#), Ok(None), a("3")]
        );
        assert_eq!(read(" [ ] "), []);
        assert_eq!(read(""), []);
        let long = format!(r#"[{{"a": "{}"}}, {{"a": 2}}]"#, "x".repeat(2 << 20));
        assert_eq!(read(&long), [Ok(None), a("2")]);
    }

    #[test]
    fn what_breaks_off_or_goes_on_is_told() {
        assert_eq!(read(r#"[{"a": 1}, {"a": 2}"#), [Ok(Some("1".to_owned())), Err(())]);
        assert_eq!(read(r#"[{"a": 1}"#), [Err(())]);
        assert_eq!(read(r#"[{"a": 1}] x"#), [Ok(Some("1".to_owned())), Err(())]);
        assert_eq!(read(r#"{"a": 1"#), [Ok(None)], "a record that breaks off is a bad record");
    }
}
