//! What has changed between two plans, key by key. Pure.

use serde::Serialize;
use serde_json::{Map, Value};

/// So many changes are named; more than that is another plan.
const MOST: usize = 200;

/// A key whose value has changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Where: `models/chest-xray/minimum_n`. What has a name goes by it.
    pub key: String,
    /// What it was; absent when it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it is; absent when it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// The changes from one canonical plan to another, in the order of keys; at most two hundred.
#[must_use]
pub fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare("", Some(before), Some(after), &mut found);
    found
}

fn compare(key: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Change>) {
    if before == after || found.len() >= MOST {
        return;
    }
    let parts = |value: Option<&Value>| value.and_then(parts);
    match (parts(before), parts(after)) {
        (Some(before), Some(after)) => {
            let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for part in keys {
                let path = if key.is_empty() { part.clone() } else { format!("{key}/{part}") };
                compare(&path, before.get(part), after.get(part), found);
            }
        }
        _ => found.push(Change { key: key.to_owned(), before: before.cloned(), after: after.cloned() }),
    }
}

/// The named parts of an object, or of a list of things with names.
fn parts(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map.clone()),
        Value::Array(list) if !list.is_empty() => list
            .iter()
            .map(|item| Some((item.get("name")?.as_str()?.to_owned(), item.clone())))
            .collect::<Option<Map<String, Value>>>()
            // Two of one name would hide each other.
            .filter(|map| map.len() == list.len()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_named_by_what_they_are_about() {
        let before = json!({ "models": [{ "name": "chest", "minimum_n": 50, "windows": ["7d"] }, { "name": "knee" }], "budget": 1 });
        let after = json!({ "models": [{ "name": "chest", "minimum_n": 20, "windows": ["7d", "30d"] }, { "name": "hip" }], "budget": 1 });
        let said: Vec<String> = changes(&before, &after)
            .into_iter()
            .map(|Change { key, before, after }| format!("{key} {} {}", json!(before), json!(after)))
            .collect();
        assert_eq!(
            said,
            [
                "models/chest/minimum_n 50 20",
                "models/chest/windows [\"7d\"] [\"7d\",\"30d\"]",
                "models/hip null {\"name\":\"hip\"}",
                "models/knee {\"name\":\"knee\"} null",
            ]
        );
        assert_eq!(changes(&after, &after), []);
    }
}
