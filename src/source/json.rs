//! Rows from JSON documents: one object, a list of objects, or an object per line.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::ndjson::NdjsonRows;
use super::{BrokenRow, Row, RowResult};

/// A row from an object. Nested objects are flattened with dots: `{"study": {"uid": 1}}` has the column `study.uid`.
#[must_use]
pub fn row(line: i64, object: &Map<String, Value>) -> Row {
    let mut flat = Vec::new();
    for (name, value) in object {
        flatten(name, value, &mut flat);
    }
    let columns = flat.iter().enumerate().map(|(index, (name, _))| (name.clone(), index)).collect();
    let columns: Arc<HashMap<String, usize>> = Arc::new(columns);
    Row::new(line, columns, flat.into_iter().map(|(_, value)| value).collect())
}

/// A row from what should be an object.
#[must_use]
pub fn row_of(line: i64, value: &Value) -> RowResult {
    match value {
        Value::Object(object) => Ok(row(line, object)),
        _ => Err(BrokenRow { line, message: "the record is not a JSON object; write {\"column\": value, ...}".into() }),
    }
}

/// The rows of a message: one object, a list of objects, or an object per line. All have the line of the message.
#[must_use]
pub fn message(line: i64, payload: &[u8]) -> Vec<RowResult> {
    match serde_json::from_slice::<Value>(payload) {
        Ok(Value::Array(values)) => values.iter().map(|value| row_of(line, value)).collect(),
        Ok(value) => vec![row_of(line, &value)],
        Err(_) if payload.iter().all(u8::is_ascii_whitespace) => {
            vec![Err(BrokenRow { line, message: "the message is empty; write a JSON object".into() })]
        }
        Err(_) => {
            let rows = NdjsonRows::new(payload).map(|row| {
                // unwrap safety: bytes in memory are read without failure.
                row.unwrap_or_else(|error| Err(BrokenRow { line, message: error.to_string() }))
            });
            let with_line = |row: RowResult| match row {
                Ok(row) => Ok(Row { line, ..row }),
                Err(broken) => Err(BrokenRow { line, message: broken.message }),
            };
            rows.map(with_line).collect()
        }
    }
}

fn flatten(name: &str, value: &Value, into: &mut Vec<(String, Option<String>)>) {
    let text = match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Object(object) => {
            for (key, value) in object {
                flatten(&format!("{name}.{key}"), value, into);
            }
            return;
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => Some(value.to_string()),
    };
    into.push((name.to_owned(), text));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(payload: &str) -> Vec<String> {
        let rows = message(7, payload.as_bytes()).into_iter();
        rows.map(|row| match row {
            Ok(row) => format!("{}: {}", row.line, row.get("a.b").unwrap_or("-")),
            Err(broken) => format!("{}: broken", broken.line),
        })
        .collect()
    }

    #[test]
    fn a_message_is_an_object_a_list_or_lines() {
        assert_eq!(shown(r#"{"a": {"b": 1}}"#), ["7: 1"]);
        assert_eq!(shown(r#"[{"a": {"b": 1}}, 3, {"a": {"b": "x"}}]"#), ["7: 1", "7: broken", "7: x"]);
        assert_eq!(shown("{\"a\": {\"b\": 1}}\n{\"a\": {\"b\": 2}}\n{\"a\""), ["7: 1", "7: 2", "7: broken"]);
        assert_eq!(shown(" "), ["7: broken"]);
    }
}
