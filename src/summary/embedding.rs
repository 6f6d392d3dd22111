//! Summary of embeddings beside those of a reference.

use num_bigint::BigInt;

use crate::stats::channel::Scale;
use crate::stats::projector::{FEATURES, Projection};
use crate::stats::spectrum::{CAP, Class, Spectrum};
use crate::stats::{exact, fixed};

/// Embeddings of one bucket as a projector sees them. A commutative monoid, as every summary, as long as the projector is the
/// same: a bucket is folded again when another reference comes into force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingSummary {
    /// Predictions without an embedding.
    pub missing: u64,
    /// Embeddings that no projector has looked at, because there was no reference yet.
    pub unseen: u64,
    /// Squared distances from the reference's mean.
    pub distances: Spectrum,
    /// Reconstruction errors.
    pub errors: Spectrum,
    /// Sum of the reconstruction errors in units of 2^-1074, and of their squares in units of 2^-2148.
    pub error_sums: [BigInt; 2],
    /// Sums of the random features, in fixed point; none without a row.
    pub features: Vec<i128>,
}

impl Default for EmbeddingSummary {
    fn default() -> Self {
        Self {
            missing: 0,
            unseen: 0,
            distances: Spectrum::empty(Scale::Real),
            errors: Spectrum::empty(Scale::Real),
            error_sums: [BigInt::ZERO, BigInt::ZERO],
            features: Vec::new(),
        }
    }
}

impl EmbeddingSummary {
    /// Summarise projections.
    #[must_use]
    pub fn of(projections: impl Iterator<Item = Projection>) -> Self {
        let mut summary = Self::default();
        let (mut distances, mut errors) = (Vec::new(), Vec::new());
        for projection in projections {
            distances.push((Scale::Real.key(projection.distance), Class::Unlabelled, 1));
            errors.push((Scale::Real.key(projection.error), Class::Unlabelled, 1));
            summary.error_sums[0] += exact::of(projection.error);
            summary.error_sums[1] += exact::product(projection.error, projection.error);
            summary.features.resize(FEATURES, 0);
            let features = summary.features.iter_mut().zip(&projection.features);
            features.for_each(|(sum, feature)| *sum += fixed::from_f64(*feature));
        }
        let capped = |cells| {
            let mut spectrum = Spectrum::from_cells(Scale::Real, cells);
            spectrum.cap(CAP);
            spectrum
        };
        Self { distances: capped(distances), errors: capped(errors), ..summary }
    }

    /// Embeddings that a projector has looked at.
    #[must_use]
    pub fn projected(&self) -> u64 {
        self.distances.totals().iter().sum()
    }

    /// Predictions.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.projected() + self.missing + self.unseen
    }

    /// Add another summary of the same embeddings.
    pub fn merge(&mut self, other: &Self) {
        self.missing += other.missing;
        self.unseen += other.unseen;
        self.distances.merge(&other.distances);
        self.errors.merge(&other.errors);
        self.error_sums.iter_mut().zip(&other.error_sums).for_each(|(mine, theirs)| *mine += theirs);
        self.features.resize(self.features.len().max(other.features.len()), 0);
        self.features.iter_mut().zip(&other.features).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// So many copies of the same rows.
    #[must_use]
    pub fn times(&self, copies: u64) -> Self {
        let mut copy = self.clone();
        copy.missing *= copies;
        copy.unseen *= copies;
        copy.distances.scale(copies);
        copy.errors.scale(copies);
        copy.error_sums.iter_mut().for_each(|sum| *sum *= copies);
        copy.features.iter_mut().for_each(|sum| *sum *= i128::from(copies));
        copy
    }
}
