//! A monitored model: what it says, how it is sliced, over which windows it is judged.

mod read;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::health::Health;
use super::hex;
use super::output::{self, Classes, Finding, Output, ValueOutput};
use super::rule::AlertRule;
use super::watch::Watch;
use crate::domain::{Column, Dimension, Granularity, TruthPolicy, Uncertain, Undefined, WindowSpec};
use crate::summary::body::Kind;

pub(super) use read::model;

/// One monitored model.
#[derive(Clone, Debug, Serialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// The probabilities that it states, those of classes included.
    pub outputs: Vec<Output>,
    /// Its choices among classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<Classes>,
    /// The values that it predicts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ValueOutput>,
    /// Features of its input whose drift is watched.
    pub features: Vec<Feature>,
    /// Numbers that an embedding of its input has, if its drift is watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<usize>,
    /// Length of a bucket.
    pub bucket: Granularity,
    /// Slice dimensions.
    pub dimensions: Vec<Dimension>,
    /// Crossings of dimensions, by name.
    pub crossings: Vec<Vec<String>>,
    /// Published windows.
    pub windows: Vec<WindowSpec>,
    /// Cases with truth below which performance is withheld.
    pub minimum_n: u64,
    /// How assertions become truth.
    pub truth_policy: TruthPolicy,
    /// What an uncertain truth counts as.
    pub uncertain: Uncertain,
    /// Metrics that Prometheus sees besides the usual ones.
    pub expose: Vec<String>,
    /// Alert rules.
    pub alerts: Vec<AlertRule>,
    /// What must be true of its data.
    pub health: Health,
    /// What its attributes may hold; what breaks it is taken in and noticed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contract: Vec<Column>,
    /// The versions that are expected; any when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// What the alarm engine watches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub watches: Vec<Watch>,
}

/// A feature of the input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// The attribute that holds it.
    pub name: String,
    /// Whether it is a number; else a category.
    pub numeric: bool,
}

/// What is summarised and estimated: outputs, and what is not an output but has a name like one.
#[derive(Clone, Copy, Debug)]
pub enum Quantity<'m> {
    /// A probability.
    Output(&'m Output),
    /// A choice among classes.
    Classes(&'m Classes),
    /// A predicted value.
    Value(&'m ValueOutput),
    /// A feature of the input: `(feature) age`.
    Feature(&'m Feature),
    /// The embeddings of the input: `(embedding)`.
    Embedding,
    /// The readers of a finding: `(readers) effusion`.
    Readers(&'m str),
    /// All findings together: `(model)`.
    Whole,
}

impl Quantity<'_> {
    /// The name that stands where an output's name stands.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Output(output) => output.name.clone(),
            Self::Classes(choice) => choice.name.clone(),
            Self::Value(value) => value.name.clone(),
            Self::Feature(feature) => format!("(feature) {}", feature.name),
            Self::Embedding => "(embedding)".to_owned(),
            Self::Readers(finding) => format!("(readers) {finding}"),
            Self::Whole => "(model)".to_owned(),
        }
    }

    /// What is summarised of it; the whole model has no summary of its own.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Output(_) => Some(Kind::Output),
            Self::Classes(_) => Some(Kind::Classes),
            Self::Value(_) => Some(Kind::Value),
            Self::Feature(_) => Some(Kind::Feature),
            Self::Embedding => Some(Kind::Embedding),
            Self::Readers(_) => Some(Kind::Readers),
            Self::Whole => None,
        }
    }
}

/// What rows were folded into, by name: a reference of one shape is compared with windows of the same shape only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    truth_policy: TruthPolicy,
    uncertain: Uncertain,
    truths: BTreeMap<String, String>,
    /// The classes of each choice.
    #[serde(default)]
    classes: BTreeMap<String, Vec<String>>,
    features: BTreeMap<String, Feature>,
    #[serde(default)]
    embedding: Option<usize>,
    dimensions: BTreeMap<String, Dimension>,
}

impl Shape {
    /// Whether an output in slices of some dimensions was made alike in both shapes.
    ///
    /// # Errors
    /// What was defined otherwise.
    pub fn compare(&self, now: &Self, output: &str, dimensions: &[String]) -> Result<(), Undefined> {
        let other = |what: String| Err(Undefined::OtherShape { what });
        if (self.truth_policy, self.uncertain) != (now.truth_policy, now.uncertain) {
            return other("truth (policy, uncertain)".to_owned());
        }
        if self.truths.get(output) != now.truths.get(output) || self.classes.get(output) != now.classes.get(output) {
            return other(format!("the output {output}"));
        }
        self.compare_dimensions(now, dimensions)
    }

    /// Whether a feature was made alike in both shapes.
    ///
    /// # Errors
    /// What was defined otherwise.
    pub fn compare_feature(&self, now: &Self, feature: &str) -> Result<(), Undefined> {
        if self.features.get(feature) == now.features.get(feature) {
            return Ok(());
        }
        Err(Undefined::OtherShape { what: format!("the feature {feature}") })
    }

    /// Whether embeddings were made alike in both shapes.
    ///
    /// # Errors
    /// What was defined otherwise.
    pub fn compare_embedding(&self, now: &Self) -> Result<(), Undefined> {
        if self.embedding == now.embedding {
            return Ok(());
        }
        Err(Undefined::OtherShape { what: "the embedding".to_owned() })
    }

    fn compare_dimensions(&self, now: &Self, dimensions: &[String]) -> Result<(), Undefined> {
        match dimensions.iter().find(|name| self.dimensions.get(*name) != now.dimensions.get(*name)) {
            Some(name) => Err(Undefined::OtherShape { what: format!("the dimension {name}") }),
            None => Ok(()),
        }
    }
}

impl Model {
    /// What rows of this model are folded into; a change of it folds every bucket again.
    #[must_use]
    pub fn fold_digest(&self) -> String {
        let outputs: Vec<_> =
            self.outputs.iter().map(|output| (&output.name, &output.truth, &output.thresholds)).collect();
        let choices: Vec<_> =
            self.classes.iter().map(|choice| (&choice.name, &choice.truth, &choice.classes)).collect();
        let values: Vec<_> = self.values.iter().map(|value| (&value.name, &value.truth)).collect();
        let what = (
            (outputs, choices, values),
            (&self.features, self.embedding),
            self.bucket,
            &self.dimensions,
            &self.crossings,
            self.truth_policy,
            self.uncertain,
        );
        // unwrap safety: as in `canonical`.
        hex(&Sha256::digest(serde_json::to_string(&what).unwrap_or_default()))
    }

    /// The parts of the shape that a reference is comparable by.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape {
            truth_policy: self.truth_policy,
            uncertain: self.uncertain,
            truths: self.truths().map(|(name, truth)| (name.to_owned(), truth.to_owned())).collect(),
            classes: self.classes.iter().map(|choice| (choice.name.clone(), choice.classes.clone())).collect(),
            features: self.features.iter().map(|feature| (feature.name.clone(), feature.clone())).collect(),
            embedding: self.embedding,
            dimensions: self.dimensions.iter().map(|d| (d.name.clone(), d.clone())).collect(),
        }
    }

    /// All that is summarised and estimated.
    #[must_use]
    pub fn quantities(&self) -> Vec<Quantity<'_>> {
        let mut findings: Vec<&str> = self.plain_outputs().map(|output| output.truth.as_str()).collect();
        findings.sort_unstable();
        findings.dedup();
        let outputs = self.outputs.iter().map(Quantity::Output);
        let classes = self.classes.iter().map(Quantity::Classes);
        let values = self.values.iter().map(Quantity::Value);
        let features = self.features.iter().map(Quantity::Feature);
        let embedding = self.embedding.map(|_| Quantity::Embedding);
        let readers = findings.into_iter().map(Quantity::Readers);
        let whole = (self.plain_outputs().count() > 1).then_some(Quantity::Whole);
        outputs.chain(classes).chain(values).chain(features).chain(embedding).chain(readers).chain(whole).collect()
    }

    /// The outputs that are no classes: probabilities of findings that may be true together.
    pub fn plain_outputs(&self) -> impl Iterator<Item = &Output> {
        self.outputs.iter().filter(|output| output.class.is_none())
    }

    /// What a prediction may carry a score for: probabilities and values.
    pub fn scores(&self) -> impl Iterator<Item = &str> {
        let outputs = self.outputs.iter().map(|output| output.name.as_str());
        outputs.chain(self.values.iter().map(|value| value.name.as_str()))
    }

    /// Every output, choice and value with the finding that its truth is stated about.
    fn truths(&self) -> impl Iterator<Item = (&str, &str)> {
        let outputs = self.outputs.iter().map(|output| (output.name.as_str(), output.truth.as_str()));
        let classes = self.classes.iter().map(|choice| (choice.name.as_str(), choice.truth.as_str()));
        let values = self.values.iter().map(|value| (value.name.as_str(), value.truth.as_str()));
        outputs.chain(classes).chain(values)
    }

    /// What assertions are about: each finding once, with what may stand for its name, and what its truth is.
    #[must_use]
    pub fn findings(&self) -> Vec<(&str, &str, Finding<'_>)> {
        let mut seen = BTreeSet::new();
        let findings = output::findings(&self.outputs, &self.classes, &self.values);
        let named = findings.into_iter().filter(|(truth, _)| seen.insert(*truth)).map(|(truth, finding)| {
            let name = match finding {
                Finding::Classes(choice) => choice.name.as_str(),
                _ => self.truths().find(|(_, of)| *of == truth).map_or(truth, |(name, _)| name),
            };
            (truth, name, finding)
        });
        named.collect()
    }

    /// The finding that an output, a choice or a value has its truth from; a finding's own name is its name.
    #[must_use]
    pub fn finding(&self, name: &str) -> Option<(&str, Finding<'_>)> {
        let findings = self.findings();
        let own = findings.iter().find(|(truth, ..)| *truth == name);
        let by_output = || {
            let (_, truth) = self.truths().find(|(output, _)| *output == name)?;
            findings.iter().find(|(of, ..)| *of == truth)
        };
        own.or_else(by_output).map(|(truth, _, finding)| (*truth, *finding))
    }

    /// An output by name.
    #[must_use]
    pub fn output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.name == name)
    }
}
