//! A JSON object as a row: nested objects are flattened with dots.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{BrokenRow, Row, RowResult};

/// Objects whose members are columns of their own when records are sent in the form that the documents show.
pub const GROUPS: [&str; 3] = ["scores", "values", "attributes"];

/// Makes rows of objects. Rows that name the same columns in the same order share them.
#[derive(Debug, Default)]
pub struct Objects {
    /// Objects that are taken apart without a prefix.
    opened: &'static [&'static str],
    names: Vec<String>,
    columns: Arc<HashMap<String, usize>>,
}

impl Objects {
    /// `{"study": {"uid": 1}}` has the column `study.uid`; members of the `opened` objects have no prefix.
    #[must_use]
    pub fn new(opened: &'static [&'static str]) -> Self {
        Self { opened, ..Self::default() }
    }

    /// The row of an object's text.
    ///
    /// # Errors
    /// When it is no object, says something twice, or is no JSON.
    pub fn row(&mut self, line: i64, text: &[u8]) -> RowResult {
        let broken = |message: String| Err(BrokenRow { line, message });
        if text.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return broken("the record is not a JSON object; write {\"column\": value, ...}".into());
        }
        let mut flat = Flat { opened: self.opened, prefix: String::new(), cells: Vec::with_capacity(self.names.len()) };
        let mut input = serde_json::Deserializer::from_slice(text);
        if let Err(error) = Members(&mut flat).deserialize(&mut input).and_then(|()| input.end()) {
            return broken(format!("the record is not JSON as it should be: {error}"));
        }
        let is_alike = flat.cells.len() == self.names.len()
            && flat.cells.iter().zip(&self.names).all(|((name, _), known)| name == known);
        let (names, values): (Vec<String>, Vec<Option<String>>) = flat.cells.into_iter().unzip();
        if !is_alike {
            let mut columns = HashMap::with_capacity(names.len());
            for (index, name) in names.iter().enumerate() {
                if columns.insert(name.clone(), index).is_some() {
                    return broken(format!("the record says {name:?} twice; which one counts is not ours to guess"));
                }
            }
            (self.columns, self.names) = (Arc::new(columns), names);
        }
        Ok(Row::new(line, self.columns.clone(), values))
    }
}

/// The cells that an object has so far.
struct Flat {
    opened: &'static [&'static str],
    prefix: String,
    cells: Vec<(String, Option<String>)>,
}

/// An object's members.
struct Members<'f>(&'f mut Flat);

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let flat = &mut *self.0;
            map.next_value_seed(Cell { name: format!("{}{name}", flat.prefix), flat })?;
        }
        Ok(())
    }
}

/// A member's value.
struct Cell<'f> {
    flat: &'f mut Flat,
    name: String,
}

impl Cell<'_> {
    fn is(self, text: Option<String>) {
        self.flat.cells.push((self.name, text));
    }
}

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.is(None);
        Ok(())
    }

    fn visit_bool<E>(self, truth: bool) -> Result<(), E> {
        self.is(Some(truth.to_string()));
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.is(Some(number.to_string()));
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.is(Some(number.to_string()));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.is(Some(Value::from(number).to_string()));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.is(Some(text.to_owned()));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element::<Value>()? {
            array.push(item);
        }
        self.is(Some(Value::Array(array).to_string()));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Self { flat, name } = self;
        let is_open = flat.prefix.is_empty() && flat.opened.contains(&name.as_str());
        let inner = if is_open { String::new() } else { format!("{name}.") };
        let outer = std::mem::replace(&mut flat.prefix, inner);
        // An opened object's members stand beside its siblings, but its own inner objects are not opened again.
        let opened = std::mem::take(&mut flat.opened);
        let taken = Members(flat).visit_map(map);
        flat.opened = opened;
        flat.prefix = outer;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> RowResult {
        Objects::new(&GROUPS).row(1, text.as_bytes())
    }

    #[test]
    fn nested_objects_are_flattened_and_groups_are_opened() {
        let row = row(
            r#"{"case": "c", "study": {"uid": 9223372036854775808, "scores": {"a": 1}}, "scores": {"effusion": 0.25},
            "attributes": {"site": "north", "gone": null}, "embedding": [0.5, -1], "flag": true}"#,
        )
        .expect("a row");
        let cells =
            [("case", "c"), ("study.uid", "9223372036854775808"), ("study.scores.a", "1"), ("effusion", "0.25")];
        for (name, text) in cells.into_iter().chain([("site", "north"), ("embedding", "[0.5,-1]"), ("flag", "true")]) {
            assert_eq!(row.get(name), Some(text), "{name}");
        }
        assert_eq!(row.get("gone"), None);
    }

    #[test]
    fn what_is_ambiguous_or_no_object_is_refused() {
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        let deeper = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
        let texts = [
            r#"{"case": "a", "case": "b"}"#,
            r#"{"site": "a", "attributes": {"site": "b"}}"#,
            r#"{"a": {"b": 1}, "a.b": 2}"#,
            "[1]",
            "7",
            "",
            r#"{"a": 1} x"#,
            r#"{"a": NaN}"#,
            r#"{"a": Infinity}"#,
            r#"{"a": "\ud800"}"#,
            r#"{"a": 1e999}"#,
            &deep,
            &deeper,
        ];
        for text in texts {
            row(text).expect_err(&text[..text.len().min(40)]);
        }
    }
}
