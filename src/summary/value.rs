//! Summary of a predicted value: a number against the true number.

use std::collections::BTreeMap;

use num_bigint::BigInt;

use crate::stats::channel::Scale;
use crate::stats::exact;
use crate::stats::spectrum::{CAP, Class, Spectrum};

/// One prediction of a value.
#[derive(Clone, Copy, Debug)]
pub struct Valued {
    /// What the model says.
    pub predicted: f64,
    /// The true value with the whole hours between prediction and truth.
    pub truth: Option<(f64, u32)>,
}

/// Exact sums over the predictions with truth. With `y` the truth, `f` the prediction and `e = f - y` as a double.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// `y`, `f`, `e`, `|e|`, and `|e / y|` where `y` is not zero; in units of 2^-1074.
    pub single: [BigInt; 5],
    /// `y^2`, `f^2`, `y f`, `e^2`, and the square of `e^2` as a double; in units of 2^-2148.
    pub product: [BigInt; 5],
}

impl Sums {
    fn add(&mut self, y: f64, f: f64) {
        let e = f - y;
        // Beyond the doubles it is the greatest of them: nothing may count as nothing.
        let relative = if y == 0.0 { 0.0 } else { (e / y).abs().min(f64::MAX) };
        let singles = [y, f, e, e.abs(), relative];
        self.single.iter_mut().zip(singles).for_each(|(sum, term)| *sum += exact::of(term));
        let square = e * e;
        let products = [(y, y), (f, f), (y, f), (e, e), (square, square)];
        self.product.iter_mut().zip(products).for_each(|(sum, (a, b))| *sum += exact::product(a, b));
    }

    /// All sums in a fixed order.
    pub fn values(&self) -> impl Iterator<Item = &BigInt> {
        self.single.iter().chain(&self.product)
    }

    /// All sums in the order of [`Sums::values`], to be written.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut BigInt> {
        self.single.iter_mut().chain(&mut self.product)
    }
}

/// Predicted values, errors and sums. A commutative monoid, as every summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueSummary {
    /// What the model said, with and without truth.
    pub predictions: Spectrum,
    /// Prediction minus truth.
    pub errors: Spectrum,
    /// Sums over the predictions with truth.
    pub sums: Sums,
    /// Predictions with a truth that is not zero.
    pub not_zero: u64,
    /// Predictions with truth by the whole hours between prediction and truth.
    pub delays: BTreeMap<u32, u64>,
}

impl Default for ValueSummary {
    fn default() -> Self {
        Self {
            predictions: Spectrum::empty(Scale::Real),
            errors: Spectrum::empty(Scale::Real),
            sums: Sums::default(),
            not_zero: 0,
            delays: BTreeMap::new(),
        }
    }
}

impl ValueSummary {
    /// Summarise predictions.
    #[must_use]
    pub fn of(rows: impl Iterator<Item = Valued>) -> Self {
        let mut summary = Self::default();
        let (mut predictions, mut errors) = (Vec::new(), Vec::new());
        for row in rows {
            predictions.push((Scale::Real.key(row.predicted), Class::Unlabelled, 1));
            if let Some((truth, hours)) = row.truth {
                errors.push((Scale::Real.key(row.predicted - truth), Class::Unlabelled, 1));
                summary.sums.add(truth, row.predicted);
                summary.not_zero += u64::from(truth != 0.0);
                *summary.delays.entry(hours).or_default() += 1;
            }
        }
        let capped = |cells| {
            let mut spectrum = Spectrum::from_cells(Scale::Real, cells);
            spectrum.cap(CAP);
            spectrum
        };
        Self { predictions: capped(predictions), errors: capped(errors), ..summary }
    }

    /// Predictions.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.predictions.totals().iter().sum()
    }

    /// Predictions with truth.
    #[must_use]
    pub fn labelled(&self) -> u64 {
        self.errors.totals().iter().sum()
    }

    /// Add another summary of the same value.
    pub fn merge(&mut self, other: &Self) {
        self.predictions.merge(&other.predictions);
        self.errors.merge(&other.errors);
        self.sums.values_mut().zip(other.sums.values()).for_each(|(mine, theirs)| *mine += theirs);
        self.not_zero += other.not_zero;
        for (hours, count) in &other.delays {
            *self.delays.entry(*hours).or_default() += count;
        }
    }

    /// So many copies of the same rows.
    #[must_use]
    pub fn times(&self, copies: u64) -> Self {
        let mut copy = self.clone();
        copy.predictions.scale(copies);
        copy.errors.scale(copies);
        copy.sums.values_mut().for_each(|sum| *sum *= copies);
        copy.not_zero *= copies;
        copy.delays.values_mut().for_each(|count| *count *= copies);
        copy
    }
}
