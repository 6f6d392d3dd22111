//! A monitored model: what it says, how it is sliced, over which windows it is judged.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::health::{self, Health};
use super::output::{self, Classes, Finding, Output, Said, ValueOutput, checked_thresholds};
use super::reader::Section;
use super::rule::{self, AlertRule};
use super::watch::{self, Watch};
use super::{hex, unique};
use crate::domain::{Column, Dimension, Granularity, TruthPolicy, Uncertain, Undefined, WindowSpec};
use crate::metric::catalogue::{self, Tier};
use crate::summary::body::Kind;

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

pub(super) fn model(section: Section<'_>) -> Model {
    let name = section.required_string("name", "name the model as its records do");
    let thresholds = checked_thresholds(&section).unwrap_or_else(|| vec![0.5]);
    let Said { outputs, classes, values } = output::outputs(&section, &thresholds);
    let (features, mut contract): (Vec<Feature>, Vec<Column>) =
        section.sections("feature").into_iter().map(feature).unzip();
    unique(&section, "feature", features.iter().map(|feature| feature.name.as_str()));
    let (dimensions, columns): (Vec<Dimension>, Vec<Column>) =
        section.sections("dimension").into_iter().map(dimension).unzip();
    // An attribute may be both: then each says what it may hold.
    contract.extend(columns);
    contract.retain(Column::asks_something);
    unique(&section, "dimension", dimensions.iter().map(|dimension| dimension.name.as_str()));
    let windows = windows(&section);
    let crossings = crossings(&section, &dimensions);
    let truth = section.section("truth");
    let mut model = Model {
        name,
        bucket: section.choice("bucket", Granularity::Day, &[("day", Granularity::Day), ("hour", Granularity::Hour)]),
        crossings,
        windows,
        minimum_n: section.integer("minimum_n", 20, 0),
        truth_policy: truth.choice(
            "policy",
            TruthPolicy::LatestFinal,
            &[
                ("latest-final", TruthPolicy::LatestFinal),
                ("latest", TruthPolicy::Latest),
                ("majority", TruthPolicy::Majority),
            ],
        ),
        uncertain: truth.choice(
            "uncertain",
            Uncertain::Ignore,
            &[("ignore", Uncertain::Ignore), ("positive", Uncertain::Positive), ("negative", Uncertain::Negative)],
        ),
        outputs,
        classes,
        values,
        features,
        embedding: embedding(&section),
        dimensions,
        expose: expose(&section),
        alerts: Vec::new(),
        health: health::health(section.section("health")),
        contract,
        versions: section.strings("versions").unwrap_or_default(),
        watches: Vec::new(),
    };
    truth.refuse_unknown();
    model.alerts = section.sections("alert").into_iter().map(|section| rule::alert(section, &model)).collect();
    model.watches = section.sections("watch").into_iter().map(|section| watch::watch(section, &model)).collect();
    // An alert carries the name of its rule or watch.
    let rules = model.alerts.iter().map(|rule| rule.name.as_str());
    unique(&section, "watch", rules.chain(model.watches.iter().map(|watch| watch.name.as_str())));
    unique(&section, "alert", model.alerts.iter().map(|rule| rule.name.as_str()));
    section.refuse_unknown();
    model
}

fn expose(section: &Section<'_>) -> Vec<String> {
    let names = section.strings("expose").unwrap_or_default();
    for name in &names {
        if catalogue::find(name).is_none_or(|entry| matches!(entry.tier, Tier::Asked | Tier::Rows)) {
            section
                .problem("expose", format!("{name:?} is no metric of published windows; docs/metrics.md lists them"));
        }
    }
    names
}

/// More numbers than this make a covariance too large to freeze.
const MOST_DIMENSIONS: u64 = 2048;

fn embedding(section: &Section<'_>) -> Option<usize> {
    let table = section.section("embedding");
    let is_present = table.is_present();
    let dimensions = if is_present { table.integer("dimensions", 0, 1) } else { 0 };
    // An absent table's keys are keys all the same.
    table.number("dimensions");
    table.refuse_unknown();
    if dimensions > MOST_DIMENSIONS || (is_present && dimensions == 0) {
        table.problem("dimensions", format!("write how many numbers an embedding has, 1 to {MOST_DIMENSIONS}"));
    }
    usize::try_from(dimensions).ok().filter(|_| is_present)
}

/// A feature, and what the contract says of it.
fn feature(section: Section<'_>) -> (Feature, Column) {
    let feature = Feature {
        name: section.required_string("name", "name the attribute that the records carry"),
        numeric: section.choice("kind", true, &[("numeric", true), ("categorical", false)]),
    };
    let column = Column {
        name: feature.name.clone(),
        required: section.boolean("required", false),
        numeric: feature.numeric,
        values: section.strings("values").unwrap_or_default(),
        minimum: section.number("minimum"),
        maximum: section.number("maximum"),
    };
    if feature.numeric && !column.values.is_empty() {
        section.problem(
            "values",
            "a numeric feature has a minimum and a maximum; set kind = \"categorical\" to list values",
        );
    }
    if !feature.numeric && (column.minimum.is_some() || column.maximum.is_some()) {
        section.problem("minimum", "a categorical feature has values; set kind = \"numeric\" for a range");
    }
    if column.minimum.zip(column.maximum).is_some_and(|(minimum, maximum)| minimum >= maximum) {
        section.problem("maximum", "must be above minimum");
    }
    section.refuse_unknown();
    (feature, column)
}

/// A dimension, and what the contract says of it.
fn dimension(section: Section<'_>) -> (Dimension, Column) {
    let dimension = Dimension {
        name: section.required_string("name", "name the attribute that the records carry"),
        cuts: section.numbers("cuts").unwrap_or_default(),
        values: section.strings("values").unwrap_or_default(),
        most_values: usize::try_from(section.integer("most_values", Dimension::MOST_VALUES as u64, 1))
            .unwrap_or(usize::MAX),
    };
    if dimension.cuts.windows(2).any(|pair| pair[0] >= pair[1]) {
        section.problem("cuts", "must ascend, as in [40, 65]");
    }
    if !dimension.cuts.is_empty() && !dimension.values.is_empty() {
        section.problem("values", "a dimension has cuts (numeric) or values (categorical), not both");
    }
    if dimension.name.contains(['=', '&', '*']) || dimension.name == "all" {
        section.problem("name", "may not contain = & * or be \"all\": slices are written view=AP & sex=F");
    }
    let column = Column {
        name: dimension.name.clone(),
        required: section.boolean("required", false),
        numeric: !dimension.cuts.is_empty(),
        values: dimension.values.clone(),
        ..Column::default()
    };
    section.refuse_unknown();
    (dimension, column)
}

fn windows(section: &Section<'_>) -> Vec<WindowSpec> {
    let texts = section.strings("windows").unwrap_or_else(|| ["7d", "30d", "month"].map(String::from).to_vec());
    let parsed = texts.iter().filter_map(|text| match text.parse() {
        Ok(window) => Some(window),
        Err(message) => {
            section.problem("windows", message);
            None
        }
    });
    let mut windows: Vec<WindowSpec> = parsed.collect();
    windows.sort_unstable();
    windows.dedup();
    windows
}

fn crossings(section: &Section<'_>, dimensions: &[Dimension]) -> Vec<Vec<String>> {
    let mut crossings = Vec::new();
    for text in section.strings("crossings").unwrap_or_default() {
        let mut names: Vec<String> = text.split('&').map(|name| name.trim().to_owned()).collect();
        names.sort();
        names.dedup();
        if names.len() < 2 {
            section.problem("crossings", format!("{text:?} crosses nothing; write \"site & sex\""));
        }
        for name in names.iter().filter(|name| !dimensions.iter().any(|dimension| dimension.name == **name)) {
            section.problem("crossings", format!("{name:?} is no dimension of this model; add a [[model.dimension]]"));
        }
        crossings.push(names);
    }
    crossings
}
