//! Lists as tables: which columns a list has, and its items as rows. `crate::table` writes them.

use serde::Serialize;
use serde_json::{Map, Value};

use super::page::Format;
use crate::table::Table;
pub(super) use crate::table::{Column, Error, Kind};

/// What a list of it looks like as a table.
pub(super) trait Tabular: Serialize {
    /// The columns, in order.
    const COLUMNS: &'static [Column];

    /// The rows of one item.
    fn rows(&self) -> Vec<Map<String, Value>> {
        vec![object(self)]
    }
}

/// An item as an object; empty when it is none.
pub(super) fn object<T: Serialize + ?Sized>(item: &T) -> Map<String, Value> {
    match serde_json::to_value(item) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

/// Items as a table.
pub(super) fn write<T: Tabular>(format: Format, items: &[T]) -> Result<Vec<u8>, Error> {
    let table = Table::of("a list", T::COLUMNS, items.iter().flat_map(Tabular::rows).collect());
    match format {
        Format::Parquet => table.parquet(),
        Format::Csv | Format::Json => table.csv(),
    }
}
