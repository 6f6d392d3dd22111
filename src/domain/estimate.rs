//! Estimates: a number never travels without its n, its error and its reason for being absent.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The answer to one question about one metric.
pub type Outcome = Result<Estimate, Undefined>;

/// A metric by name, with the threshold or the slice dimension that it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MetricKey {
    /// The field's term for it, e.g. `auroc`.
    pub name: String,
    /// The operating point, as it is written in the plan.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub threshold: Option<String>,
    /// The slice dimension whose mix is compared.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dimension: Option<String>,
    /// The class that is told apart from the others.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub class: Option<String>,
}

impl MetricKey {
    /// A metric without parameters.
    #[must_use]
    pub fn plain(name: &str) -> Self {
        Self { name: name.to_owned(), threshold: None, dimension: None, class: None }
    }

    /// A metric at an operating point.
    #[must_use]
    pub fn at(name: &str, threshold: f64) -> Self {
        Self { threshold: Some(threshold.to_string()), ..Self::plain(name) }
    }

    /// A metric of a slice dimension's mix.
    #[must_use]
    pub fn of(name: &str, dimension: &str) -> Self {
        Self { dimension: Some(dimension.to_owned()), ..Self::plain(name) }
    }

    /// A metric of one class.
    #[must_use]
    pub fn of_class(name: &str, class: &str) -> Self {
        Self { class: Some(class.to_owned()), ..Self::plain(name) }
    }
}

impl fmt::Display for MetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(threshold) = &self.threshold {
            write!(f, "@{threshold}")?;
        }
        if let Some(part) = self.dimension.as_ref().or(self.class.as_ref()) {
            write!(f, "[{part}]")?;
        }
        Ok(())
    }
}

/// A value with its uncertainty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Estimate {
    /// The value itself; always finite.
    pub value: f64,
    /// Two-sided 95 % interval, where a formula gives one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interval: Option<Interval>,
    /// Standard error, where the method has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub standard_error: Option<f64>,
    /// Rows behind the value.
    pub n: u64,
    /// Positives among them, where truth matters.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub positives: Option<u64>,
    /// Whether the value is exact for the rows, or bracketed.
    pub exactness: Exactness,
    /// The value that chance alone exceeds once in twenty without any change (drift metrics).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub null_95: Option<f64>,
    /// Probability of so large a value without any change (drift metrics).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p_value: Option<f64>,
}

impl Estimate {
    /// An exact value without an interval.
    #[must_use]
    pub fn exact(value: f64, n: u64) -> Self {
        Self {
            value,
            interval: None,
            standard_error: None,
            n,
            positives: None,
            exactness: Exactness::Exact,
            null_95: None,
            p_value: None,
        }
    }
}

/// A 95 % interval and the method that made it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Which formula, e.g. `wilson`.
    pub method: String,
}

/// How far the value may be from the one computed on the single rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Exactness {
    /// Not at all.
    Exact,
    /// The row-level value lies in this closed range: scores were coarsened.
    Bracket {
        /// Smallest possible value.
        lower: f64,
        /// Largest possible value.
        upper: f64,
    },
    /// It is near, and no bound is stated: scores were coarsened.
    Approximate,
}

/// Why there is no number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, utoipa::ToSchema)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Undefined {
    /// No prediction falls into the window.
    #[error("no predictions in this window")]
    NoPredictions,
    /// No prediction of the window has a truth yet.
    #[error("none of the {n} predictions has a truth yet")]
    NoTruth {
        /// Predictions.
        n: u64,
    },
    /// There is no positive case.
    #[error("no positives among {n} cases with truth")]
    NoPositives {
        /// Cases with truth.
        n: u64,
    },
    /// There is no negative case.
    #[error("no negatives among {n} cases with truth")]
    NoNegatives {
        /// Cases with truth.
        n: u64,
    },
    /// No case scored on the side of the threshold that the metric divides by.
    #[error("no cases with truth are flagged {side} at this threshold")]
    NoneFlagged {
        /// `positive` or `negative`.
        side: String,
    },
    /// Fewer rows than the plan's minimum: a number is withheld.
    #[error("only {n} cases; the plan asks for {minimum}")]
    BelowMinimum {
        /// Cases at hand.
        n: u64,
        /// The plan's minimum.
        minimum: u64,
    },
    /// The scores separate the classes perfectly or are constant: the likelihood has no maximum.
    #[error("the logistic fit does not converge: scores are constant or separate the classes")]
    Separation,
    /// The version has no approved reference for this output and slice.
    #[error("no approved reference: freeze one with `dosimeter reference freeze` and approve it")]
    NoReference,
    /// The reference was made with another definition of something: the two are not comparable.
    #[error("the reference was made with another definition of {what}; freeze a new one")]
    OtherShape {
        /// What was defined otherwise.
        what: String,
    },
    /// A likelihood ratio without a bound.
    #[error("no negatives are flagged {side} at this threshold: the ratio has no bound")]
    InfiniteRatio {
        /// `positive` or `negative`.
        side: String,
    },
    /// A weight that the metric divides by is zero or has no bound.
    #[error("the metric divides by something that is zero or has no bound here")]
    NoWeight,
    /// No case has been read by more than one reader.
    #[error("no case has been read by two readers")]
    NoSecondReader,
    /// The metric compares two readers, and there are more.
    #[error("{couples} couples of readers; this metric is for two readers")]
    ManyReaders {
        /// Couples of readers.
        couples: u64,
    },
    /// All opinions are the same: agreement beyond chance has no value.
    #[error("all opinions are the same: there is nothing that could agree by chance")]
    NoVariation,
    /// A class that no case with truth is of.
    #[error("no case with truth is of class {class}")]
    NoCaseOf {
        /// The class.
        class: String,
    },
    /// A class that is never predicted.
    #[error("class {class} is never predicted")]
    NeverPredicted {
        /// The class.
        class: String,
    },
    /// A formula needs more cases than there are.
    #[error("only {n} case(s) with truth; this takes {least}")]
    TooFew {
        /// Cases at hand.
        n: u64,
        /// How many it takes.
        least: u64,
    },
    /// No prediction of the window has an embedding.
    #[error("none of the {n} predictions has an embedding")]
    NoEmbedding {
        /// Predictions.
        n: u64,
    },
    /// What has to vary does not.
    #[error("{what} are all the same")]
    AllTheSame {
        /// What does not vary.
        what: String,
    },
    /// A mean over outputs of which one has no value.
    #[error("{output} has no value: {reason}")]
    OutputUndefined {
        /// The output.
        output: String,
        /// Its reason.
        reason: String,
    },
    /// The window has too few buckets to see how they vary.
    #[error(
        "the window has {buckets} bucket(s) with cases; an interval by drawing buckets needs {minimum}: ask for a longer window"
    )]
    TooFewBuckets {
        /// Buckets at hand.
        buckets: u64,
        /// How many it takes.
        minimum: u64,
    },
    /// A comparison needs the standard errors of both sides.
    #[error("the metric has no interval to compare by")]
    NoStandardError,
    /// No positives are expected, so observed over expected has no value.
    #[error("no positives are expected: every score is zero")]
    NoneExpected,
    /// The reference or the window has rows in one cell only.
    #[error("a distance needs at least two cells")]
    OneCell,
    /// The metric needs an order that the dimension's values do not have.
    #[error("the dimension is categorical; a cumulative distance needs ordered values (give it cuts)")]
    Unordered,
}

impl Undefined {
    /// The reason as one word, for labels and columns.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoPredictions => "no-predictions",
            Self::NoTruth { .. } => "no-truth",
            Self::NoPositives { .. } => "no-positives",
            Self::NoNegatives { .. } => "no-negatives",
            Self::NoneFlagged { .. } => "none-flagged",
            Self::BelowMinimum { .. } => "below-minimum",
            Self::Separation => "separation",
            Self::NoReference => "no-reference",
            Self::OtherShape { .. } => "other-shape",
            Self::InfiniteRatio { .. } => "infinite-ratio",
            Self::NoWeight => "no-weight",
            Self::NoSecondReader => "no-second-reader",
            Self::ManyReaders { .. } => "many-readers",
            Self::NoVariation => "no-variation",
            Self::NoCaseOf { .. } => "no-case-of-class",
            Self::NeverPredicted { .. } => "never-predicted",
            Self::TooFew { .. } => "too-few",
            Self::NoEmbedding { .. } => "no-embedding",
            Self::AllTheSame { .. } => "all-the-same",
            Self::OutputUndefined { .. } => "output-undefined",
            Self::TooFewBuckets { .. } => "too-few-buckets",
            Self::NoStandardError => "no-standard-error",
            Self::NoneExpected => "none-expected",
            Self::OneCell => "one-cell",
            Self::Unordered => "unordered",
        }
    }
}
