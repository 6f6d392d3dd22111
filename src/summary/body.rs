//! A summary of any kind: what one quantity of one version is, in one slice and bucket.

use super::Summary;
use super::agreement::Agreement;
use super::classes::ClassSummary;
use super::embedding::EmbeddingSummary;
use super::feature::FeatureSummary;
use super::value::ValueSummary;
use crate::stats::spectrum::Class;

/// What kind of quantity is summarised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An output: scores by truth.
    Output,
    /// A feature of the input.
    Feature,
    /// What readers say of a finding.
    Readers,
    /// A choice among classes.
    Classes,
    /// A predicted value.
    Value,
    /// Embeddings of the input.
    Embedding,
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
    /// Predictions by true and predicted class.
    Classes(ClassSummary),
    /// Predicted values and their errors.
    Value(ValueSummary),
    /// Embeddings beside those of the reference.
    Embedding(EmbeddingSummary),
}

impl Body {
    /// The neutral element of a kind.
    #[must_use]
    pub fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Output => Self::Output(Summary::default()),
            Kind::Feature => Self::Feature(FeatureSummary::default()),
            Kind::Readers => Self::Readers(Agreement::default()),
            Kind::Classes => Self::Classes(ClassSummary::default()),
            Kind::Value => Self::Value(ValueSummary::default()),
            Kind::Embedding => Self::Embedding(EmbeddingSummary::default()),
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

    /// The true and predicted classes, of a choice.
    #[must_use]
    pub fn classes(&self) -> Option<&ClassSummary> {
        if let Self::Classes(summary) = self { Some(summary) } else { None }
    }

    /// The values and errors, of a predicted value.
    #[must_use]
    pub fn value(&self) -> Option<&ValueSummary> {
        if let Self::Value(summary) = self { Some(summary) } else { None }
    }

    /// The embeddings.
    #[must_use]
    pub fn embedding(&self) -> Option<&EmbeddingSummary> {
        if let Self::Embedding(summary) = self { Some(summary) } else { None }
    }

    /// Predictions, or cases of readers.
    #[must_use]
    pub fn rows(&self) -> u64 {
        match self {
            Self::Output(summary) => summary.totals().iter().sum(),
            Self::Feature(summary) => summary.rows(),
            Self::Readers(summary) => summary.cases(),
            Self::Classes(summary) => summary.complete() + summary.incomplete,
            Self::Value(summary) => summary.rows(),
            Self::Embedding(summary) => summary.rows(),
        }
    }

    /// Predictions with truth; `None` of what has none: features, embeddings, readers.
    #[must_use]
    pub fn labelled(&self) -> Option<u64> {
        match self {
            Self::Output(summary) => Some(self.rows() - summary.totals()[Class::Unlabelled.index()]),
            Self::Classes(summary) => Some(summary.labelled()),
            Self::Value(summary) => Some(summary.labelled()),
            Self::Feature(_) | Self::Readers(_) | Self::Embedding(_) => None,
        }
    }

    /// So many copies of the same rows.
    #[must_use]
    pub fn times(&self, copies: u64) -> Self {
        match self {
            Self::Output(summary) => Self::Output(summary.times(copies)),
            Self::Feature(summary) => Self::Feature(summary.times(copies)),
            Self::Readers(summary) => Self::Readers(summary.times(copies)),
            Self::Classes(summary) => Self::Classes(summary.times(copies)),
            Self::Value(summary) => Self::Value(summary.times(copies)),
            Self::Embedding(summary) => Self::Embedding(summary.times(copies)),
        }
    }

    /// Add another summary of the same quantity. A quantity has one kind, so nothing is lost; were it not so, the first
    /// would stand.
    pub fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Output(mine), Self::Output(theirs)) => mine.merge(theirs),
            (Self::Feature(mine), Self::Feature(theirs)) => mine.merge(theirs),
            (Self::Readers(mine), Self::Readers(theirs)) => mine.merge(theirs),
            (Self::Classes(mine), Self::Classes(theirs)) => mine.merge(theirs),
            (Self::Value(mine), Self::Value(theirs)) => mine.merge(theirs),
            (Self::Embedding(mine), Self::Embedding(theirs)) => mine.merge(theirs),
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
