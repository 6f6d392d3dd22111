//! Lines of a text, none longer than memory allows.

use std::io::BufRead;

/// A longer line is refused; the rest of it is skipped.
pub(super) const LONGEST_LINE: usize = 1 << 20;

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Its bytes.
    Whole(Vec<u8>),
    /// It is longer than a mebibyte.
    TooLong,
}

impl Line {
    /// What is wrong with a line that is too long.
    pub const TOO_LONG: &'static str = "is longer than a mebibyte; is the file what its name says?";

    /// Whether nothing but white space is on it.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        matches!(self, Self::Whole(text) if text.iter().all(u8::is_ascii_whitespace))
    }
}

/// The next line; `None` at the end.
///
/// # Errors
/// When the text cannot be read.
pub fn next_line(input: &mut impl BufRead) -> std::io::Result<Option<Line>> {
    let mut line = Vec::new();
    let read = std::io::Read::take(&mut *input, LONGEST_LINE as u64).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    if read == LONGEST_LINE && line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
        return Ok(Some(Line::TooLong));
    }
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    Ok(Some(Line::Whole(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_costs_itself_alone() {
        let text = format!("a\r\n{}\nb", "x".repeat(3 << 20));
        let mut input = text.as_bytes();
        let mut next = || next_line(&mut input).expect("memory");
        assert_eq!(next(), Some(Line::Whole(b"a".to_vec())));
        assert_eq!(next(), Some(Line::TooLong));
        assert_eq!(next(), Some(Line::Whole(b"b".to_vec())));
        assert_eq!(next(), None);
    }
}
