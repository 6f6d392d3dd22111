//! What the alarm engine watches, and how many false alarms it may raise.

mod read;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::rule::{Severity, SlicePattern};
use crate::domain::Slice;
use crate::metric::Costs;

pub(super) use self::read::{budget, watch};

/// False alarms a year that the whole deployment may cause.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Pages.
    pub pages: f64,
    /// Tickets.
    pub tickets: f64,
    /// Probability that a null value from a reference holds, for all streams together.
    pub confidence: f64,
    /// Of the streams that are listed as watched, the share that may be there in error, expected over a year.
    pub watched_in_error: f64,
}

/// What an alarm may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Somebody is woken.
    Page,
    /// Somebody looks in working hours.
    Ticket,
    /// It is listed, and nobody is told.
    Watch,
}

impl Tier {
    /// All, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Page, Self::Ticket, Self::Watch];

    /// Its word in the configuration, the database and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => Severity::Page.as_str(),
            Self::Ticket => Severity::Ticket.as_str(),
            Self::Watch => "watch",
        }
    }

    /// The tier of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.as_str() == word)
    }

    /// The tier whose alarms are so urgent.
    #[must_use]
    pub fn of(severity: Severity) -> Self {
        match severity {
            Severity::Page => Self::Page,
            Severity::Ticket => Self::Ticket,
        }
    }

    /// How urgent its alarms are; `None` of the tier that raises none.
    #[must_use]
    pub fn severity(self) -> Option<Severity> {
        match self {
            Self::Page => Some(Severity::Page),
            Self::Ticket => Some(Severity::Ticket),
            Self::Watch => None,
        }
    }
}

/// What is independent of what, given the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// The buckets alone: whatever happens within one stays together.
    Cluster,
    /// The subjects of a bucket, each with the mean of its cases.
    Subject,
    /// The cases, or blocks of them.
    Case,
}

/// Which way a stream is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// For the worse; of shares that are neither good nor bad, upwards; of calibration, that more is true than was stated.
    Up,
    /// For the better; of shares, downwards; of calibration, that less is true than was stated.
    Down,
    /// Both ways, each with half of the stream's budget.
    Both,
}

/// What weekends are to the days before them while all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weekends {
    /// Other patients, other readers: they have a reference of their own.
    Apart,
    /// Days like the others.
    Alike,
}

/// How a stream is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = WatchMethod)]
pub enum Method {
    /// By evidence, within the budget of false alarms.
    Evidence,
    /// By a cumulative sum, with a run length of its own.
    Cusum,
    /// By an exponentially weighted moving average, with a run length of its own.
    Ewma,
}

/// What is measured of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Area under the ROC curve.
    Auroc,
    /// Share of positives that are flagged.
    Sensitivity,
    /// Share of negatives that are not flagged.
    Specificity,
    /// Share of flagged cases that are positive.
    Ppv,
    /// Share of cases that are flagged or not as they should not be.
    Error,
    /// Mean cost of a decision, by the output's costs.
    Cost,
    /// Brier score.
    Brier,
    /// Logarithmic loss, cut at ln 100.
    LogLoss,
    /// Share of flagged cases, with truth or without.
    AlertRate,
    /// Stated probabilities against true ones.
    Calibration,
    /// Distribution of the scores.
    ScoreDrift,
    /// Share of all cases that belong to a slice.
    SliceShare,
    /// Distribution of a feature: of a number's values, or of a category's shares.
    FeatureDrift,
    /// Share of cases without a value of a feature.
    FeatureMissing,
    /// How far embeddings lie from the middle of the reference's, against those of its half that made no projector.
    EmbeddingDrift,
}

impl Measure {
    const WORDS: [(&'static str, Self); 15] = [
        ("auroc", Self::Auroc),
        ("sensitivity", Self::Sensitivity),
        ("specificity", Self::Specificity),
        ("ppv", Self::Ppv),
        ("error", Self::Error),
        ("cost", Self::Cost),
        ("brier", Self::Brier),
        ("log_loss", Self::LogLoss),
        ("alert_rate", Self::AlertRate),
        ("calibration", Self::Calibration),
        ("score_drift", Self::ScoreDrift),
        ("slice_share", Self::SliceShare),
        ("feature_drift", Self::FeatureDrift),
        ("feature_missing", Self::FeatureMissing),
        ("embedding_drift", Self::EmbeddingDrift),
    ];

    /// Whether it is measured at an operating point.
    #[must_use]
    pub fn has_threshold(self) -> bool {
        matches!(self, Self::Sensitivity | Self::Specificity | Self::Ppv | Self::Error | Self::Cost | Self::AlertRate)
    }

    /// Whether it needs truth.
    #[must_use]
    pub fn needs_truth(self) -> bool {
        !matches!(self, Self::AlertRate | Self::ScoreDrift) && self.is_of_output()
    }

    /// Whether it is about an output, and not about what the model is given.
    #[must_use]
    pub fn is_of_output(self) -> bool {
        !matches!(self, Self::SliceShare | Self::FeatureDrift | Self::FeatureMissing | Self::EmbeddingDrift)
    }

    /// Whether it is about a feature.
    #[must_use]
    pub fn is_of_feature(self) -> bool {
        matches!(self, Self::FeatureDrift | Self::FeatureMissing)
    }

    /// Whether it compares distributions, and so has no mean.
    #[must_use]
    pub fn is_drift(self) -> bool {
        matches!(self, Self::ScoreDrift | Self::FeatureDrift | Self::EmbeddingDrift)
    }

    /// Whether it is a share that is neither good nor bad.
    #[must_use]
    pub fn is_share(self) -> bool {
        matches!(self, Self::AlertRate | Self::SliceShare | Self::FeatureMissing)
    }

    /// Whether it is a mean over the same cases of two versions, so that these can be compared.
    #[must_use]
    pub fn has_pairs(self) -> bool {
        matches!(
            self,
            Self::Sensitivity
                | Self::Specificity
                | Self::Error
                | Self::Cost
                | Self::Brier
                | Self::LogLoss
                | Self::AlertRate
        )
    }

    /// Whether a contract can state its limit.
    #[must_use]
    pub fn has_limit(self) -> bool {
        self != Self::Calibration && !self.is_drift()
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(_, measure)| measure == self).map_or("", |(word, _)| word);
        f.write_str(word)
    }
}

/// What the alarm engine watches: one measure of outputs in slices. Every output and slice is a stream of its own.
#[derive(Clone, Debug, Serialize)]
pub struct Watch {
    /// Its name.
    pub name: String,
    /// What is measured.
    pub measure: Measure,
    /// How.
    pub method: Method,
    /// Days between the false alarms of a chart, on average.
    pub run_length: f64,
    /// The output; every probability of the model when absent.
    pub output: Option<String>,
    /// What decisions cost, of the measure that is about that.
    pub costs: Option<Costs>,
    /// The feature, of measures that are about one.
    pub feature: Option<String>,
    /// Whether that is a category and no number.
    pub categorical: bool,
    /// The version that every other one is compared with, on the cases that both have.
    pub against: Option<String>,
    /// The slices.
    pub slices: SlicePattern,
    /// Which way is watched.
    pub side: Side,
    /// The operating point.
    pub threshold: Option<f64>,
    /// The contract: at least so much, or at most so much of a loss.
    pub limit: Option<f64>,
    /// Room beyond what the reference was.
    pub tolerance: f64,
    /// What a unit is.
    pub unit: Unit,
    /// Whether Saturdays and Sundays have a null value of their own.
    pub weekends: Weekends,
    /// Where it says what to do about an alarm.
    pub runbook: Option<String>,
    /// The most urgent thing that an alarm may do: a watch that may page opens a ticket first.
    pub tier: Tier,
    /// A case is sealed so many days after it was made, or when its truth settles, whichever is later.
    pub maturity_days: i64,
}

impl Watch {
    /// A watch of everything that says no more than its measure: what the configuration takes where nothing is written.
    #[must_use]
    pub fn plain(measure: Measure) -> Self {
        Self {
            name: measure.to_string(),
            measure,
            method: Method::Evidence,
            run_length: 365.0,
            output: None,
            costs: None,
            feature: None,
            categorical: false,
            against: None,
            slices: SlicePattern::One(Slice::all()),
            side: match measure {
                Measure::SliceShare | Measure::Calibration => Side::Both,
                _ => Side::Up,
            },
            threshold: None,
            limit: None,
            tolerance: match measure {
                Measure::Calibration => 0.1,
                measure if measure.is_drift() => 0.01,
                _ => 0.0,
            },
            unit: Unit::Cluster,
            weekends: Weekends::Apart,
            runbook: None,
            tier: Tier::Page,
            // What needs no truth is of age a day later: what comes in late by a night is not late.
            maturity_days: if measure.needs_truth() { 7 } else { 1 },
        }
    }

    /// The tiers in which it has evidence. A chart has a limit of its own, and is judged by that alone.
    #[must_use]
    pub fn tiers(&self) -> &'static [Tier] {
        match self.tier {
            Tier::Page => &Tier::ALL,
            Tier::Ticket => &[Tier::Ticket, Tier::Watch],
            Tier::Watch => &[Tier::Watch],
        }
    }
}
