//! The records of a message: one JSON object, a list of them, or one per line.

use serde_json::Value;

use super::json::JsonRows;
use super::ndjson::NdjsonRows;
use super::object::Objects;
use super::{BrokenRow, RowResult};

/// The rows of a message; all have the line of the message. What breaks off is a broken row after those before it.
#[must_use]
pub fn rows(line: i64, payload: &[u8]) -> Vec<RowResult> {
    let first = payload.iter().find(|byte| !byte.is_ascii_whitespace());
    let rows: Vec<std::io::Result<RowResult>> = match first {
        None => return vec![Err(BrokenRow { line, message: "the message is empty; write a JSON object".into() })],
        Some(b'[') => until_broken(JsonRows::new(payload, Objects::default())),
        Some(_) => match Objects::default().row(line, payload) {
            Err(_) if payload.trim_ascii().contains(&b'\n') => {
                until_broken(NdjsonRows::new(payload, Objects::default()))
            }
            row => return vec![row],
        },
    };
    let of_message = |row: std::io::Result<RowResult>| match row {
        Ok(Ok(row)) => Ok(super::Row { line, ..row }),
        Ok(Err(broken)) => Err(BrokenRow { line, ..broken }),
        Err(error) => Err(BrokenRow { line, message: error.to_string() }),
    };
    rows.into_iter().map(of_message).collect()
}

/// The rows up to an error, and the error.
fn until_broken(rows: impl Iterator<Item = std::io::Result<RowResult>>) -> Vec<std::io::Result<RowResult>> {
    let mut read = Vec::new();
    for row in rows {
        let is_broken = row.is_err();
        read.push(row);
        if is_broken {
            break;
        }
    }
    read
}

/// The rows of a list in a document.
#[must_use]
pub fn of_list(records: &[Value]) -> Vec<RowResult> {
    let mut objects = Objects::default();
    records.iter().map(|record| objects.row(0, record.to_string().as_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(payload: &str) -> Vec<String> {
        let rows = rows(7, payload.as_bytes()).into_iter();
        rows.map(|row| match row {
            Ok(row) => format!("{}: {}", row.line, row.get("a.b").unwrap_or("-")),
            Err(broken) => format!("{}: broken", broken.line),
        })
        .collect()
    }

    #[test]
    fn a_message_is_an_object_a_list_or_lines() {
        assert_eq!(shown("{\"a\":\n {\"b\": 1}}"), ["7: 1"]);
        assert_eq!(shown(r#"[{"a": {"b": 1}}, 3, {"a": {"b": "x"}}]"#), ["7: 1", "7: broken", "7: x"]);
        assert_eq!(shown("{\"a\": {\"b\": 1}}\n{\"a\": {\"b\": 2}}\n{\"a\""), ["7: 1", "7: 2", "7: broken"]);
        assert_eq!(shown(r#"[{"a": {"b": 1}}, {"a""#), ["7: 1", "7: broken"]);
        assert_eq!(shown(" "), ["7: broken"]);
        assert_eq!(shown("nonsense"), ["7: broken"]);
    }
}
