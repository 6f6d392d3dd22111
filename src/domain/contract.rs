//! The contract of a model's data: what its attributes may hold. What breaks it is noticed, and taken in all the same.

use std::collections::BTreeMap;

use serde::Serialize;

/// What an attribute of the predictions may hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Column {
    /// The attribute.
    pub name: String,
    /// Whether every prediction has it.
    pub required: bool,
    /// Whether it is a number.
    pub numeric: bool,
    /// Its values; any when empty.
    pub values: Vec<String>,
    /// The least number.
    pub minimum: Option<f64>,
    /// The greatest number.
    pub maximum: Option<f64>,
}

/// How an attribute breaks its contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BreachReason {
    /// It is not there, and every prediction has it.
    Missing,
    /// It is no number, and was to be one.
    NotANumber,
    /// The number is outside the range.
    OutOfRange,
    /// The plan does not list the value: a new category, or one that is misspelt.
    UnknownValue,
}

impl BreachReason {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::Missing, Self::NotANumber, Self::OutOfRange, Self::UnknownValue];

    /// The word of the store and the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::NotANumber => "not-a-number",
            Self::OutOfRange => "out-of-range",
            Self::UnknownValue => "unknown-value",
        }
    }
}

/// An attribute of a prediction that breaks the contract.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Breach {
    /// The attribute.
    pub column: String,
    /// How.
    pub reason: BreachReason,
}

impl Column {
    /// Whether it says anything that could be broken.
    #[must_use]
    pub fn asks_something(&self) -> bool {
        let bounds = [self.minimum, self.maximum];
        self.required || self.numeric || !self.values.is_empty() || bounds.iter().any(Option::is_some)
    }

    /// What an attribute that holds this does against the contract.
    #[must_use]
    pub fn judge(&self, value: Option<&str>) -> Option<BreachReason> {
        let Some(text) = value.map(str::trim).filter(|text| !text.is_empty()) else {
            return self.required.then_some(BreachReason::Missing);
        };
        if self.numeric {
            let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) else {
                return Some(BreachReason::NotANumber);
            };
            let is_low = self.minimum.is_some_and(|minimum| number < minimum);
            let is_high = self.maximum.is_some_and(|maximum| number > maximum);
            return (is_low || is_high).then_some(BreachReason::OutOfRange);
        }
        let is_known = self.values.is_empty() || self.values.iter().any(|known| known == text);
        (!is_known).then_some(BreachReason::UnknownValue)
    }
}

/// Everything about a prediction's attributes that breaks the contract.
#[must_use]
pub fn breaches(contract: &[Column], attributes: &BTreeMap<String, String>) -> Vec<Breach> {
    let judged = contract.iter().filter_map(|column| {
        let reason = column.judge(attributes.get(&column.name).map(String::as_str))?;
        Some(Breach { column: column.name.clone(), reason })
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_breaking_it_has_its_reason() {
        let age = Column {
            name: "age".to_owned(),
            numeric: true,
            required: true,
            minimum: Some(0.0),
            maximum: Some(120.0),
            ..Column::default()
        };
        let told = |value: Option<&str>| age.judge(value);
        assert_eq!([told(Some("0")), told(Some(" 120 ")), told(Some("1e1"))], [None; 3]);
        assert_eq!([told(None), told(Some("  "))], [Some(BreachReason::Missing); 2]);
        for text in ["057Y", "unknown", "NaN", "inf"] {
            assert_eq!(told(Some(text)), Some(BreachReason::NotANumber), "{text}");
        }
        for text in ["-1", "120.5", "9999"] {
            assert_eq!(told(Some(text)), Some(BreachReason::OutOfRange), "{text}");
        }
        let view = Column { name: "view".into(), values: vec!["AP".into(), "PA".into()], ..Column::default() };
        assert_eq!([view.judge(Some("AP")), view.judge(None)], [None; 2], "it need not be there");
        assert_eq!(view.judge(Some("ap")), Some(BreachReason::UnknownValue));
        let attributes = BTreeMap::from([("view".to_owned(), "LL".to_owned())]);
        let found = breaches(&[age.clone(), view.clone()], &attributes);
        let found: Vec<_> = found.iter().map(|breach| (breach.column.as_str(), breach.reason.as_str())).collect();
        assert_eq!(found, [("age", "missing"), ("view", "unknown-value")]);
        assert!(age.asks_something() && view.asks_something() && !Column::default().asks_something());
    }
}
