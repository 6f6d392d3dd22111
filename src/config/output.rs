//! What a model says: probabilities of findings, choices among classes, values.

use serde::{Deserialize, Serialize};

use super::reader::Section;
use super::unique;
use crate::metric::Costs;
use crate::summary::body::Kind;

/// A probability that a model states: of a finding, or of one class of several.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {
    /// The name of the output.
    pub name: String,
    /// The finding that its truth is stated about.
    pub truth: String,
    /// The class that it is the probability of.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub class: Option<String>,
    /// Operating points.
    pub thresholds: Vec<f64>,
    /// What decisions cost.
    pub costs: Option<Costs>,
}

/// A choice among classes, of which one is true. Each class is an output too: `density=A`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classes {
    /// The name of the choice.
    pub name: String,
    /// The finding that its truth is stated about.
    pub truth: String,
    /// The classes, in ascending order if they have one.
    pub classes: Vec<String>,
    /// What a decision costs: by true class, then by predicted class.
    pub costs: Option<Vec<Vec<f64>>>,
}

impl Classes {
    /// The output that is the probability of a class.
    #[must_use]
    pub fn output_of(&self, class: &str) -> String {
        format!("{}={class}", self.name)
    }
}

/// A value that a model predicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueOutput {
    /// The name of the output.
    pub name: String,
    /// The finding that its truth is stated about.
    pub truth: String,
    /// How far a prediction may be from the truth, in the unit of both.
    pub tolerance: Option<f64>,
}

/// All that a model says.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) outputs: Vec<Output>,
    pub(super) classes: Vec<Classes>,
    pub(super) values: Vec<ValueOutput>,
}

/// What the truth of a finding is.
#[derive(Clone, Copy, Debug)]
pub enum Finding<'m> {
    /// Present or absent.
    YesNo,
    /// One class of several.
    Classes(&'m Classes),
    /// A number.
    Value,
}

impl Finding<'_> {
    fn same_kind(self, other: Self) -> bool {
        match (self, other) {
            (Self::YesNo, Self::YesNo) | (Self::Value, Self::Value) => true,
            // Each choice numbers its classes by its own outputs.
            (Self::Classes(one), Self::Classes(other)) => one.name == other.name,
            _ => false,
        }
    }
}

impl Said {
    /// Findings with what their truth is; a finding may stand here several times.
    pub(super) fn findings(&self) -> Vec<(&str, Finding<'_>)> {
        findings(&self.outputs, &self.classes, &self.values)
    }
}

/// Findings with what their truth is; a finding may stand here several times.
pub(super) fn findings<'m>(
    outputs: &'m [Output],
    classes: &'m [Classes],
    values: &'m [ValueOutput],
) -> Vec<(&'m str, Finding<'m>)> {
    let plain = outputs.iter().filter(|output| output.class.is_none());
    let plain = plain.map(|output| (output.truth.as_str(), Finding::YesNo));
    let classes = classes.iter().map(|choice| (choice.truth.as_str(), Finding::Classes(choice)));
    let values = values.iter().map(|value| (value.truth.as_str(), Finding::Value));
    plain.chain(classes).chain(values).collect()
}

/// Every pair of classes has a spectrum of its own: with more than this a summary grows too large.
const MOST_CLASSES: usize = 32;

/// Read `[[model.output]]`.
pub(super) fn outputs(section: &Section<'_>, thresholds: &[f64]) -> Said {
    let mut said = Said::default();
    let sections = section.sections("output");
    if sections.is_empty() {
        section.problem("output", "the model says nothing; add a [[model.output]] with a name for each output");
    }
    for output in sections {
        add(&mut said, output, thresholds);
    }
    let plain = said.outputs.iter().map(|output| output.name.as_str());
    let names = plain.chain(said.classes.iter().map(|choice| choice.name.as_str()));
    let names: Vec<&str> = names.chain(said.values.iter().map(|value| value.name.as_str())).collect();
    unique(section, "output", names.iter().copied());
    for name in names.iter().filter(|name| name.starts_with('(')) {
        section.problem("output", format!("{name:?} begins with a parenthesis, as only names of ours do"));
    }
    let findings = said.findings();
    for (at, (name, finding)) in findings.iter().enumerate() {
        if findings[..at].iter().any(|(other, of)| other == name && !of.same_kind(*finding)) {
            let message =
                format!("the truth {name:?} belongs to outputs of different kinds; give each a truth of its own");
            section.problem("output", message);
        }
    }
    said
}

fn add(said: &mut Said, section: Section<'_>, thresholds: &[f64]) {
    let name = section.required_string("name", "name the output as its records do");
    let truth = section.string("truth").unwrap_or_else(|| name.clone());
    let kinds = [("probability", Kind::Output), ("classes", Kind::Classes), ("value", Kind::Value)];
    match section.choice("kind", Kind::Output, &kinds) {
        Kind::Classes => {
            let thresholds = checked_thresholds(&section).unwrap_or_else(|| thresholds.to_vec());
            let classes = section.strings("classes").unwrap_or_default();
            if classes.len() < 2 {
                section.problem("classes", "a choice needs two classes or more, as in [\"A\", \"B\"]");
            }
            unique(&section, "classes", classes.iter().map(String::as_str));
            if classes.iter().any(|class| class.trim() != class || class.is_empty()) {
                section.problem("classes", "a class has no name, or blanks around it");
            }
            if classes.len() > MOST_CLASSES {
                section.problem(
                    "classes",
                    format!("a choice has at most {MOST_CLASSES} classes; watch the others as one"),
                );
            }
            let choice = Classes { costs: class_costs(&section, classes.len()), name, truth, classes };
            said.outputs.extend(choice.classes.iter().map(|class| Output {
                name: choice.output_of(class),
                truth: choice.truth.clone(),
                class: Some(class.clone()),
                thresholds: thresholds.clone(),
                costs: None,
            }));
            said.classes.push(choice);
        }
        Kind::Value => {
            let tolerance = section.number("tolerance");
            if tolerance.is_some_and(|tolerance| tolerance < 0.0) {
                section.problem("tolerance", "is negative; it is a distance from the truth");
            }
            said.values.push(ValueOutput { name, truth, tolerance });
        }
        _ => said.outputs.push(Output {
            thresholds: checked_thresholds(&section).unwrap_or_else(|| thresholds.to_vec()),
            costs: costs(&section),
            class: None,
            name,
            truth,
        }),
    }
    section.refuse_unknown();
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

fn class_costs(section: &Section<'_>, classes: usize) -> Option<Vec<Vec<f64>>> {
    let costs = section.number_lists("costs")?;
    if costs.len() != classes || costs.iter().any(|row| row.len() != classes) {
        let message =
            format!("needs {classes} lists of {classes} numbers: a list per true class, a number per predicted class");
        section.problem("costs", message);
    } else if costs.iter().enumerate().any(|(truth, row)| row.iter().any(|cost| *cost < row[truth])) {
        section.problem("costs", "make a wrong decision cheaper than the right one, which stands on the diagonal");
    }
    Some(costs)
}

pub(super) fn checked_thresholds(section: &Section<'_>) -> Option<Vec<f64>> {
    let mut thresholds = section.numbers("thresholds")?;
    if thresholds.iter().any(|threshold| !(0.0..=1.0).contains(threshold)) {
        section.problem("thresholds", "has a value outside 0 to 1; thresholds are probabilities");
    }
    thresholds.sort_by(f64::total_cmp);
    thresholds.dedup();
    Some(thresholds)
}
