//! Sums of powers of the score, and of log losses, by truth.
//!
//! From the power sums follow the Brier score, its variance, expected events and Spiegelhalter's statistic, exactly: they
//! are polynomials of the score within one class.

use super::fixed;
use super::spectrum::{CLASSES, Class};

/// Probabilities are clipped to `[EPSILON, 1 - EPSILON]` before a logarithm, as scikit-learn does since 1.3.
pub const EPSILON: f64 = f64::EPSILON;

/// Fixed-point sums of one multiset of scores by truth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    /// `powers[class][k]` is the sum of `p^(k+1)`, k = 0..4.
    pub powers: [[i128; 4]; CLASSES],
    /// Sum of the log loss over negatives and over positives.
    pub log_loss: [i128; 2],
    /// Sum of the squared log loss over negatives and over positives.
    pub log_loss_squared: [i128; 2],
}

/// What one row adds to the sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    powers: [i128; 4],
    log_loss: i128,
    log_loss_squared: i128,
}

impl Terms {
    /// The terms of a row of score `p` and truth `class`.
    #[must_use]
    pub fn of(p: f64, class: Class) -> Self {
        let mut terms = Self::default();
        let mut power = 1.0;
        for term in &mut terms.powers {
            power *= p;
            *term = fixed::from_f64(power);
        }
        if class != Class::Unlabelled {
            let stated = if class == Class::Positive { p } else { 1.0 - p };
            let loss = -libm::log(stated.clamp(EPSILON, 1.0 - EPSILON));
            terms.log_loss = fixed::from_f64(loss);
            terms.log_loss_squared = fixed::from_f64(loss * loss);
        }
        terms
    }
}

impl Moments {
    /// Add `count` rows of score `p` and truth `class`.
    pub fn add(&mut self, p: f64, class: Class, count: u64) {
        self.add_terms(&Terms::of(p, class), class, count);
    }

    /// Add `count` rows of one score and truth by their terms.
    pub fn add_terms(&mut self, terms: &Terms, class: Class, count: u64) {
        let count = i128::from(count);
        let powers = self.powers[class.index()].iter_mut().zip(terms.powers);
        powers.for_each(|(sum, term)| *sum += count * term);
        let label = match class {
            Class::Unlabelled => return,
            Class::Negative => 0,
            Class::Positive => 1,
        };
        self.log_loss[label] += count * terms.log_loss;
        self.log_loss_squared[label] += count * terms.log_loss_squared;
    }

    /// Add another multiset's sums.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.values_mut().zip(other.values()) {
            *mine += theirs;
        }
    }

    /// All sums in a fixed order: powers by class, log losses, squared log losses.
    pub fn values(&self) -> impl Iterator<Item = &i128> {
        self.powers.iter().flatten().chain(&self.log_loss).chain(&self.log_loss_squared)
    }

    /// All sums in the order of [`Moments::values`], to be written.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut i128> {
        self.powers.iter_mut().flatten().chain(&mut self.log_loss).chain(&mut self.log_loss_squared)
    }

    /// Sum of `p^power` over one class, power 1 to 4.
    #[must_use]
    pub fn power_sum(&self, class: Class, power: usize) -> f64 {
        fixed::to_f64(self.powers[class.index()][power - 1])
    }
}
