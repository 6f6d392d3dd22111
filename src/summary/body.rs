//! A summary of any kind: what one quantity of one version is, in one slice and bucket.

use super::Summary;
use super::agreement::Agreement;
use super::feature::FeatureSummary;

/// What kind of quantity is summarised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An output: scores by truth.
    Output,
    /// A feature of the input.
    Feature,
    /// What readers say of a finding.
    Readers,
}

/// The sufficient statistics of one quantity.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "nearly all are outputs: a box would cost each of them an allocation")]
pub enum Body {
    /// Scores by truth.
    Output(Summary),
    /// Values of a feature.
    Feature(FeatureSummary),
    /// Opinions of readers.
    Readers(Agreement),
}

impl Body {
    /// The neutral element of a kind.
    #[must_use]
    pub fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Output => Self::Output(Summary::default()),
            Kind::Feature => Self::Feature(FeatureSummary::default()),
            Kind::Readers => Self::Readers(Agreement::default()),
        }
    }

    /// The scores by truth, of an output.
    #[must_use]
    pub fn output(&self) -> Option<&Summary> {
        if let Self::Output(summary) = self { Some(summary) } else { None }
    }

    /// The values, of a feature.
    #[must_use]
    pub fn feature(&self) -> Option<&FeatureSummary> {
        if let Self::Feature(summary) = self { Some(summary) } else { None }
    }

    /// The opinions, of readers.
    #[must_use]
    pub fn readers(&self) -> Option<&Agreement> {
        if let Self::Readers(summary) = self { Some(summary) } else { None }
    }

    /// Add another summary of the same quantity. A quantity has one kind, so nothing is lost; were it not so, the first
    /// would stand.
    pub fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Output(mine), Self::Output(theirs)) => mine.merge(theirs),
            (Self::Feature(mine), Self::Feature(theirs)) => mine.merge(theirs),
            (Self::Readers(mine), Self::Readers(theirs)) => mine.merge(theirs),
            _ => debug_assert!(false, "summaries of one quantity are of one kind"),
        }
    }

    /// The sum of many, merged pairwise; `None` of none.
    #[must_use]
    pub fn merge_all(mut bodies: Vec<Self>) -> Option<Self> {
        while bodies.len() > 1 {
            let mut pairs = bodies.into_iter();
            let mut halved = Vec::with_capacity(pairs.len().div_ceil(2));
            while let Some(mut first) = pairs.next() {
                if let Some(second) = pairs.next() {
                    first.merge(&second);
                }
                halved.push(first);
            }
            bodies = halved;
        }
        bodies.pop()
    }
}
