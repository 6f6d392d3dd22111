//! Predictions and assertions, as they are kept: validated and pseudonymised.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Scores of one version for one case at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// What the prediction is about, as a pseudonym.
    pub case_id: String,
    /// When the model spoke.
    pub occurred_at: DateTime<Utc>,
    /// Probability by output, in the order of the plan; an output without a score is absent.
    pub scores: Vec<(i32, f64)>,
    /// Slice dimensions and metadata, by name.
    pub attributes: BTreeMap<String, String>,
}

/// One statement of truth about one output of one case. Never overwritten.
#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    /// What the statement is about, as a pseudonym.
    pub case_id: String,
    /// The finding that is stated.
    pub truth_id: i32,
    /// What is stated.
    pub opinion: Opinion,
    /// Where the statement comes from: a reader, a report, pathology.
    pub source: String,
    /// Who made it, if the source has several readers.
    pub reader: String,
    /// How settled it is.
    pub status: Status,
    /// When the hospital knew it.
    pub observed_at: DateTime<Utc>,
}

/// The content of an assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Opinion {
    /// The condition is absent.
    Negative,
    /// The reader cannot tell.
    Uncertain,
    /// The condition is present.
    Positive,
}

impl Opinion {
    /// The word that the store and the files use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Negative => "negative",
            Self::Uncertain => "uncertain",
            Self::Positive => "positive",
        }
    }

    /// Parse the spellings found in label files; `None` when it is none of them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "0" | "0.0" | "false" | "f" | "no" | "n" | "negative" | "neg" | "absent" => Some(Self::Negative),
            "1" | "1.0" | "true" | "t" | "yes" | "y" | "positive" | "pos" | "present" => Some(Self::Positive),
            "-1" | "-1.0" | "u" | "uncertain" | "equivocal" => Some(Self::Uncertain),
            _ => None,
        }
    }
}

/// How settled an assertion is (the words of FHIR's DiagnosticReport.status).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// May still change.
    Preliminary,
    /// Signed off.
    Final,
    /// Signed off again, with an addition.
    Amended,
    /// Signed off again, with a correction.
    Corrected,
    /// Withdrawn: should never have been said.
    EnteredInError,
}

impl Status {
    /// The word that the store and the files use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preliminary => "preliminary",
            Self::Final => "final",
            Self::Amended => "amended",
            Self::Corrected => "corrected",
            Self::EnteredInError => "entered-in-error",
        }
    }

    /// Parse a status word; `None` when it is none of them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().replace('_', "-").as_str() {
            "preliminary" | "provisional" | "draft" => Some(Self::Preliminary),
            "final" => Some(Self::Final),
            "amended" => Some(Self::Amended),
            "corrected" => Some(Self::Corrected),
            "entered-in-error" | "retracted" | "withdrawn" => Some(Self::EnteredInError),
            _ => None,
        }
    }
}
