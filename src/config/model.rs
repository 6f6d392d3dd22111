//! A monitored model: what it says, how it is sliced, over which windows it is judged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::reader::Section;
use super::rule::{self, AlertRule};
use super::{hex, unique};
use crate::domain::{Dimension, Granularity, TruthPolicy, Uncertain, Undefined, WindowSpec};
use crate::metric::Costs;
use crate::metric::catalogue::{self, Tier};

/// One monitored model.
#[derive(Clone, Debug, Serialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// What it says.
    pub outputs: Vec<Output>,
    /// Features of its input whose drift is watched.
    pub features: Vec<Feature>,
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
    /// An output.
    Output(&'m Output),
    /// A feature of the input: `(feature) age`.
    Feature(&'m Feature),
    /// The readers of a finding: `(readers) effusion`.
    Readers(&'m str),
    /// All outputs together: `(model)`.
    Whole,
}

impl Quantity<'_> {
    /// The name that stands where an output's name stands.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Output(output) => output.name.clone(),
            Self::Feature(feature) => format!("(feature) {}", feature.name),
            Self::Readers(finding) => format!("(readers) {finding}"),
            Self::Whole => "(model)".to_owned(),
        }
    }
}

/// What rows were folded into, by name: a reference of one shape is compared with windows of the same shape only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    truth_policy: TruthPolicy,
    uncertain: Uncertain,
    truths: BTreeMap<String, String>,
    features: BTreeMap<String, Feature>,
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
        if self.truths.get(output) != now.truths.get(output) {
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

    fn compare_dimensions(&self, now: &Self, dimensions: &[String]) -> Result<(), Undefined> {
        match dimensions.iter().find(|name| self.dimensions.get(*name) != now.dimensions.get(*name)) {
            Some(name) => Err(Undefined::OtherShape { what: format!("the dimension {name}") }),
            None => Ok(()),
        }
    }
}

/// One thing that a model says.
#[derive(Clone, Debug, Serialize)]
pub struct Output {
    /// The name of the output.
    pub name: String,
    /// The finding that its truth is stated about.
    pub truth: String,
    /// Operating points.
    pub thresholds: Vec<f64>,
    /// What decisions cost.
    pub costs: Option<Costs>,
}

impl Model {
    /// What rows of this model are folded into; a change of it folds every bucket again.
    #[must_use]
    pub fn fold_digest(&self) -> String {
        let outputs: Vec<_> =
            self.outputs.iter().map(|output| (&output.name, &output.truth, &output.thresholds)).collect();
        let what = (
            outputs,
            &self.features,
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
            truths: self.outputs.iter().map(|output| (output.name.clone(), output.truth.clone())).collect(),
            features: self.features.iter().map(|feature| (feature.name.clone(), feature.clone())).collect(),
            dimensions: self.dimensions.iter().map(|d| (d.name.clone(), d.clone())).collect(),
        }
    }

    /// All that is summarised and estimated.
    #[must_use]
    pub fn quantities(&self) -> Vec<Quantity<'_>> {
        let mut findings: Vec<&str> = self.outputs.iter().map(|output| output.truth.as_str()).collect();
        findings.sort_unstable();
        findings.dedup();
        let outputs = self.outputs.iter().map(Quantity::Output);
        let features = self.features.iter().map(Quantity::Feature);
        let readers = findings.into_iter().map(Quantity::Readers);
        let whole = (self.outputs.len() > 1).then_some(Quantity::Whole);
        outputs.chain(features).chain(readers).chain(whole).collect()
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
    let outputs: Vec<Output> =
        section.sections("output").into_iter().map(|output| self::output(output, &thresholds)).collect();
    if outputs.is_empty() {
        section.problem("output", "the model says nothing; add a [[model.output]] with a name for each output");
    }
    unique(&section, "output", outputs.iter().map(|output| output.name.as_str()));
    for output in outputs.iter().filter(|output| output.name.starts_with('(')) {
        section.problem("output", format!("{:?} begins with a parenthesis, as only names of ours do", output.name));
    }
    let features: Vec<Feature> = section.sections("feature").into_iter().map(feature).collect();
    unique(&section, "feature", features.iter().map(|feature| feature.name.as_str()));
    let dimensions: Vec<Dimension> = section.sections("dimension").into_iter().map(dimension).collect();
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
        features,
        dimensions,
        expose: expose(&section),
        alerts: Vec::new(),
    };
    truth.refuse_unknown();
    model.alerts = section.sections("alert").into_iter().map(|section| rule::alert(section, &model)).collect();
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

fn output(section: Section<'_>, thresholds: &[f64]) -> Output {
    let name = section.required_string("name", "name the output as its records do");
    let output = Output {
        truth: section.string("truth").unwrap_or_else(|| name.clone()),
        thresholds: checked_thresholds(&section).unwrap_or_else(|| thresholds.to_vec()),
        costs: costs(&section),
        name,
    };
    section.refuse_unknown();
    output
}

fn costs(section: &Section<'_>) -> Option<Costs> {
    let table = section.section("costs");
    let is_present = table.is_present();
    let cost = |key: &str| table.number(key).unwrap_or(0.0);
    let costs = Costs {
        true_positive: cost("true_positive"),
        false_positive: cost("false_positive"),
        true_negative: cost("true_negative"),
        false_negative: cost("false_negative"),
    };
    table.refuse_unknown();
    let is_sane = costs.false_positive >= costs.true_negative && costs.false_negative >= costs.true_positive;
    if is_present && !is_sane {
        section.problem("costs", "make a wrong decision cheaper than the right one; swap them");
    }
    is_present.then_some(costs)
}

fn checked_thresholds(section: &Section<'_>) -> Option<Vec<f64>> {
    let mut thresholds = section.numbers("thresholds")?;
    if thresholds.iter().any(|threshold| !(0.0..=1.0).contains(threshold)) {
        section.problem("thresholds", "has a value outside 0 to 1; thresholds are probabilities");
    }
    thresholds.sort_by(f64::total_cmp);
    thresholds.dedup();
    Some(thresholds)
}

fn feature(section: Section<'_>) -> Feature {
    let feature = Feature {
        name: section.required_string("name", "name the attribute that the records carry"),
        numeric: section.choice("kind", true, &[("numeric", true), ("categorical", false)]),
    };
    section.refuse_unknown();
    feature
}

fn dimension(section: Section<'_>) -> Dimension {
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
    section.refuse_unknown();
    dimension
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
