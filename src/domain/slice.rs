//! Slices: the case mix, one cell at a time.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a case without a value for a dimension belongs to.
pub const MISSING: &str = "(missing)";
/// What a value outside a dimension's declared values belongs to.
pub const OTHER: &str = "(other)";

/// A (dimension, value) cell, a crossing of several, or everything.
///
/// Its text form is canonical: `all`, `view=AP`, `sex=F & site=north` (dimensions in alphabetical order).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slice(BTreeMap<String, String>);

impl Slice {
    /// The slice of everything.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// The slice of one dimension's value.
    #[must_use]
    pub fn cell(dimension: &str, value: &str) -> Self {
        Self(BTreeMap::from([(dimension.to_owned(), value.to_owned())]))
    }

    /// A crossing of cells.
    #[must_use]
    pub fn crossing(cells: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(cells.into_iter().collect())
    }

    /// Whether this is the slice of everything.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Dimensions and values, in alphabetical order of dimension.
    pub fn cells(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(dimension, value)| (dimension.as_str(), value.as_str()))
    }

    /// The names of the dimensions, in alphabetical order.
    #[must_use]
    pub fn dimensions(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// The value, if this is a slice of the one dimension named.
    #[must_use]
    pub fn value_of(&self, dimension: &str) -> Option<&str> {
        if self.0.len() == 1 { self.0.get(dimension).map(String::as_str) } else { None }
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("all");
        }
        for (index, (dimension, value)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" & ")?;
            }
            write!(f, "{dimension}={value}")?;
        }
        Ok(())
    }
}

impl FromStr for Slice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "all" {
            return Ok(Self::all());
        }
        let mut cells = BTreeMap::new();
        for part in text.split('&') {
            let (dimension, value) = part
                .split_once('=')
                .map(|(dimension, value)| (dimension.trim(), value.trim()))
                .filter(|(dimension, value)| !dimension.is_empty() && !value.is_empty())
                .ok_or_else(|| format!("slice {text:?} is not of the form all, view=AP or view=AP & sex=F"))?;
            if cells.insert(dimension.to_owned(), value.to_owned()).is_some() {
                return Err(format!("slice {text:?} names the dimension {dimension:?} twice"));
            }
        }
        Ok(Self(cells))
    }
}

/// What every case of a bucket belongs to when a dimension has more values there than the plan allows: most likely a column
/// of identifiers, which must not become labels.
pub const TOO_MANY: &str = "(too many values)";

/// How a dimension's raw attribute becomes a slice value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dimension {
    /// Attribute name.
    pub name: String,
    /// Ascending cut points of a numeric dimension: `[40, 65]` gives `<40`, `40..65`, `>=65`. Empty for a categorical one.
    pub cuts: Vec<f64>,
    /// Declared values of a categorical dimension; others count as `(other)`. Empty accepts any value.
    pub values: Vec<String>,
    /// Distinct values that a bucket may have; with more, all its cases belong to `(too many values)`.
    pub most_values: usize,
}

impl Dimension {
    /// Default of [`Dimension::most_values`].
    pub const MOST_VALUES: usize = 100;

    /// Whether the plan knows this value: one that can never occur is a slip of the pen.
    #[must_use]
    pub fn can_be(&self, value: &str) -> bool {
        let special = [MISSING, OTHER, TOO_MANY].contains(&value);
        let ordered = self.ordered_values();
        special
            || match (self.is_ordered(), self.values.is_empty()) {
                (true, _) => ordered.iter().any(|known| known == value),
                (false, true) => true,
                (false, false) => self.values.iter().any(|known| known == value),
            }
    }

    /// A categorical dimension that accepts any value.
    #[must_use]
    pub fn any(name: &str) -> Self {
        Self { name: name.to_owned(), cuts: Vec::new(), values: Vec::new(), most_values: Self::MOST_VALUES }
    }

    /// Whether the values have an order.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// The slice value of a raw attribute; total, so that no case falls out of a dimension.
    #[must_use]
    pub fn value(&self, raw: Option<&str>) -> String {
        let Some(raw) = raw.map(str::trim).filter(|raw| !raw.is_empty()) else { return MISSING.to_owned() };
        if self.is_ordered() {
            return match raw.parse::<f64>() {
                Ok(number) if !number.is_nan() => self.interval(number),
                _ => OTHER.to_owned(),
            };
        }
        if self.values.is_empty() || self.values.iter().any(|value| value == raw) {
            raw.to_owned()
        } else {
            OTHER.to_owned()
        }
    }

    /// The values in their natural order, for a numeric dimension.
    #[must_use]
    pub fn ordered_values(&self) -> Vec<String> {
        let probes = self.cuts.first().map(|first| first - 1.0).into_iter().chain(self.cuts.iter().copied());
        probes.map(|probe| self.interval(probe)).collect()
    }

    fn interval(&self, number: f64) -> String {
        let above = self.cuts.partition_point(|cut| *cut <= number);
        match (above.checked_sub(1).map(|i| self.cuts[i]), self.cuts.get(above)) {
            (None, Some(high)) => format!("<{high}"),
            (Some(low), Some(high)) => format!("{low}..{high}"),
            (Some(low), None) => format!(">={low}"),
            (None, None) => OTHER.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_are_canonical() {
        let slice: Slice = "site = north&sex=F".parse().expect("a crossing");
        assert_eq!(slice.to_string(), "sex=F & site=north");
        assert_eq!(slice.to_string().parse(), Ok(slice));
        assert_eq!("all".parse(), Ok(Slice::all()));
        assert!("view".parse::<Slice>().is_err());
        assert!("a=1 & a=2".parse::<Slice>().is_err());
    }

    #[test]
    fn ages_fall_into_half_open_intervals() {
        let age = Dimension { cuts: vec![40.0, 65.0], ..Dimension::any("age") };
        let values = ["39.9", "40", "64", "65", "", "old"].map(|raw| age.value(Some(raw)));
        assert_eq!(values, ["<40", "40..65", "40..65", ">=65", MISSING, OTHER]);
        assert_eq!(age.ordered_values(), ["<40", "40..65", ">=65"]);
    }
}
