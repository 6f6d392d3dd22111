//! The distribution of one feature of the input in one bucket: any finite numbers, or categories.

use std::collections::BTreeMap;

use crate::stats::channel::Scale;
use crate::stats::spectrum::{CAP, Class, Spectrum};

/// Categories of a stored bucket at most; with more, its rows are counted as too many.
pub const MOST_CATEGORIES: usize = 1000;

/// Values that are no value of the feature's kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Special {
    /// No value.
    pub missing: u64,
    /// A text that is no number, or NaN.
    pub not_a_number: u64,
    /// Plus infinity.
    pub plus_infinity: u64,
    /// Minus infinity.
    pub minus_infinity: u64,
    /// Rows of buckets with more than [`MOST_CATEGORIES`] categories.
    pub too_many: u64,
}

impl Special {
    /// The counts in a fixed order.
    #[must_use]
    pub fn counts(&self) -> [u64; 5] {
        [self.missing, self.not_a_number, self.plus_infinity, self.minus_infinity, self.too_many]
    }

    /// From counts in the order of [`Special::counts`].
    #[must_use]
    pub fn from_counts([missing, not_a_number, plus_infinity, minus_infinity, too_many]: [u64; 5]) -> Self {
        Self { missing, not_a_number, plus_infinity, minus_infinity, too_many }
    }
}

/// Rows by value. A commutative monoid, as every summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureSummary {
    /// Finite numbers.
    pub numbers: Spectrum,
    /// Categories.
    pub categories: BTreeMap<String, u64>,
    /// Everything else.
    pub special: Special,
}

impl Default for FeatureSummary {
    fn default() -> Self {
        Self { numbers: Spectrum::empty(Scale::Real), categories: BTreeMap::new(), special: Special::default() }
    }
}

impl FeatureSummary {
    /// Summarise the values of a numeric feature.
    #[must_use]
    pub fn numeric<'v>(values: impl Iterator<Item = Option<&'v str>>) -> Self {
        let mut special = Special::default();
        let mut cells = Vec::new();
        for value in values {
            match value.map(str::trim).filter(|text| !text.is_empty()).map(str::parse::<f64>) {
                None => special.missing += 1,
                Some(Ok(number)) if number.is_finite() => cells.push((Scale::Real.key(number), Class::Unlabelled, 1)),
                Some(Ok(number)) if number == f64::INFINITY => special.plus_infinity += 1,
                Some(Ok(number)) if number == f64::NEG_INFINITY => special.minus_infinity += 1,
                Some(_) => special.not_a_number += 1,
            }
        }
        let mut numbers = Spectrum::from_cells(Scale::Real, cells);
        numbers.cap(CAP);
        Self { numbers, categories: BTreeMap::new(), special }
    }

    /// Summarise the values of a categorical feature.
    #[must_use]
    pub fn categorical<'v>(values: impl Iterator<Item = Option<&'v str>>) -> Self {
        let mut summary = Self::default();
        for value in values {
            match value.map(str::trim).filter(|text| !text.is_empty()) {
                None => summary.special.missing += 1,
                Some(text) => *summary.categories.entry(text.to_owned()).or_default() += 1,
            }
        }
        if summary.categories.len() > MOST_CATEGORIES {
            summary.special.too_many = std::mem::take(&mut summary.categories).into_values().sum();
        }
        summary
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let finite: u64 = self.numbers.totals().iter().sum();
        finite + self.categories.values().sum::<u64>() + self.special.counts().iter().sum::<u64>()
    }

    /// Add another summary of the same feature.
    pub fn merge(&mut self, other: &Self) {
        self.numbers.merge(&other.numbers);
        for (category, count) in &other.categories {
            *self.categories.entry(category.clone()).or_default() += count;
        }
        let (mine, theirs) = (self.special.counts(), other.special.counts());
        self.special = Special::from_counts(std::array::from_fn(|at| mine[at] + theirs[at]));
    }

    /// So many copies of the same rows.
    #[must_use]
    pub fn times(&self, copies: u64) -> Self {
        let mut copy = self.clone();
        copy.numbers.scale(copies);
        copy.categories.values_mut().for_each(|count| *count *= copies);
        copy.special = Special::from_counts(self.special.counts().map(|count| count * copies));
        copy
    }
}
