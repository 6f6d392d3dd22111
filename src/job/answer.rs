//! From merged summaries to metrics: one quantity in one slice of one window.
//!
//! The evaluation and every question come here, so they cannot differ.

use std::collections::BTreeMap;

use crate::config::{Model, Output, Quantity};
use crate::domain::{Dimension, Estimate, Exactness, MetricKey, Outcome, Slice, Undefined};
use crate::metric::{
    Depth, Mix, Question, agreement, drift, embedding, evaluate, feature, macro_mean, multiclass, regression,
};
use crate::store::catalog::ModelNumbers;
use crate::store::estimate::Metrics;
use crate::store::reference::Baseline;
use crate::summary::Summary;
use crate::summary::body::Body;
use crate::summary::fold::Parts;

/// What is asked of a window.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its numbers.
    pub numbers: &'a ModelNumbers,
    /// What is asked about.
    pub quantity: Quantity<'a>,
    /// Its number.
    pub output_id: i32,
    /// Where.
    pub slice: &'a Slice,
    /// What to compare with.
    pub reference: Option<&'a Baseline>,
    /// How many metrics.
    pub depth: Depth,
}

impl Asked<'_> {
    /// All metrics; `None` when there is no such summary.
    #[must_use]
    pub fn answer(&self, parts: &Parts) -> Option<Metrics> {
        let own = parts.get(&(self.output_id, self.slice.clone()));
        let metrics = match self.quantity {
            Quantity::Output(output) => Some(self.output(output, own?.output()?, parts)),
            Quantity::Classes(choice) => {
                let reference = self.known(&choice.name).and_then(|body| body.classes().ok_or(Undefined::NoReference));
                let question = multiclass::Question {
                    classes: &choice.classes,
                    costs: choice.costs.as_deref(),
                    minimum_n: self.model.minimum_n,
                    reference,
                };
                let mut answers = multiclass::evaluate(&question, own?.classes()?);
                answers.extend(self.mixes(&choice.name, parts).iter().flat_map(drift::of_mix));
                Some(answers)
            }
            Quantity::Value(output) => {
                let reference = self.known(&output.name).and_then(|body| body.value().ok_or(Undefined::NoReference));
                let question =
                    regression::Question { tolerance: output.tolerance, minimum_n: self.model.minimum_n, reference };
                let mut answers = regression::evaluate(&question, own?.value()?);
                answers.extend(self.mixes(&output.name, parts).iter().flat_map(drift::of_mix));
                Some(answers)
            }
            Quantity::Feature(of) => {
                let reference = self.baseline().and_then(|baseline| {
                    baseline.shape.compare_feature(&self.model.shape(), &of.name)?;
                    let known = baseline.parts.get(&(self.output_id, Slice::all())).and_then(Body::feature);
                    known.ok_or(Undefined::NoReference)
                });
                Some(feature::evaluate(reference.as_ref().copied(), own?.feature()?))
            }
            Quantity::Embedding => {
                let reference = self.baseline().and_then(|baseline| {
                    baseline.shape.compare_embedding(&self.model.shape())?;
                    let held_out = baseline.parts.get(&(self.output_id, Slice::all())).and_then(Body::embedding);
                    let projector = baseline.projector.as_ref();
                    let both = projector.zip(held_out).ok_or(Undefined::NoReference)?;
                    Ok(embedding::Reference { frozen: both.0.frozen(), held_out: both.1 })
                });
                Some(embedding::evaluate(reference.as_ref().copied(), own?.embedding()?))
            }
            Quantity::Readers(_) => Some(agreement::evaluate(own?.readers()?)),
            Quantity::Whole => {
                let summary = |output: &Output| {
                    let number = *self.numbers.outputs.get(&output.name)?;
                    parts.get(&(number, self.slice.clone())).and_then(Body::output)
                };
                let outputs: Option<Vec<(&str, &Summary)>> =
                    self.model.plain_outputs().map(|output| Some((output.name.as_str(), summary(output)?))).collect();
                Some(macro_mean::evaluate(&outputs?))
            }
        };
        metrics.map(finite)
    }

    fn baseline(&self) -> Result<&Baseline, Undefined> {
        self.reference.ok_or(Undefined::NoReference)
    }

    /// The reference's summary of the quantity in the slice.
    fn known(&self, name: &str) -> Result<&Body, Undefined> {
        let parts = comparable(self.model, name, self.reference, &self.slice.dimensions())?;
        parts.get(&(self.output_id, self.slice.clone())).ok_or(Undefined::NoReference)
    }

    fn output(&self, output: &Output, summary: &Summary, parts: &Parts) -> Metrics {
        evaluate(&self.question(output, &self.mixes(&output.name, parts)), summary)
    }

    /// The mix of every dimension, for the slice of everything.
    fn mixes(&self, name: &str, parts: &Parts) -> Vec<Mix> {
        if !self.slice.is_all() {
            return Vec::new();
        }
        let mix_of = |dimension: &Dimension| {
            let reference = comparable(self.model, name, self.reference, std::slice::from_ref(&dimension.name));
            mix(dimension, self.output_id, parts, reference)
        };
        self.model.dimensions.iter().map(mix_of).collect()
    }

    /// The question that an output's summary is asked.
    #[must_use]
    pub fn question<'q>(&'q self, output: &'q Output, mixes: &'q [Mix]) -> Question<'q> {
        let key = (self.output_id, self.slice.clone());
        let reference = comparable(self.model, &output.name, self.reference, &self.slice.dimensions())
            .and_then(|parts| parts.get(&key).and_then(Body::output).ok_or(Undefined::NoReference));
        Question {
            thresholds: &output.thresholds,
            minimum_n: self.model.minimum_n,
            reference,
            costs: output.costs.as_ref(),
            depth: self.depth,
            mixes,
        }
    }
}

/// The parts of a reference that a quantity's slices of some dimensions can be compared with.
///
/// # Errors
/// Why there is nothing to compare with.
fn comparable<'r>(
    model: &Model,
    name: &str,
    reference: Option<&'r Baseline>,
    dimensions: &[String],
) -> Result<&'r Parts, Undefined> {
    let baseline = reference.ok_or(Undefined::NoReference)?;
    baseline.shape.compare(&model.shape(), name, dimensions).map(|()| &baseline.parts)
}

/// Predictions by value of a dimension, in the reference and in the window.
fn mix(dimension: &Dimension, output_id: i32, parts: &Parts, reference: Result<&Parts, Undefined>) -> Mix {
    let count = |parts: &Parts| -> BTreeMap<String, u64> {
        let own = parts.iter().filter(|((output, _), _)| *output == output_id);
        own.filter_map(|((_, slice), body)| Some((slice.value_of(&dimension.name)?.to_owned(), body.rows()))).collect()
    };
    let (before, unlike) = match reference {
        Ok(reference) => (count(reference), None),
        Err(reason) => (BTreeMap::new(), Some(reason)),
    };
    let after = count(parts);
    let mut values: Vec<&String> = before.keys().chain(after.keys()).collect();
    let order = dimension.ordered_values();
    let rank = |value: &String| order.iter().position(|known| known == value).unwrap_or(usize::MAX);
    values.sort_by_key(|value| (rank(value), (*value).clone()));
    values.dedup();
    let of = |counts: &BTreeMap<String, u64>, value: &String| counts.get(value).copied().unwrap_or(0);
    let cells = values.into_iter().map(|value| (value.clone(), of(&before, value), of(&after, value)));
    Mix { dimension: dimension.clone(), cells: cells.collect(), unlike }
}

/// A number that is none never leaves: whatever let it through, it is undefined. A zero has no sign: what is stored as JSON in
/// Postgres loses it, and a stored number is the computed one, bit for bit.
fn finite(metrics: Metrics) -> Metrics {
    let is_finite = |estimate: &Estimate| {
        let ends = estimate.interval.as_ref().map_or([0.0, 0.0], |interval| [interval.lower, interval.upper]);
        let others = [estimate.standard_error, estimate.null_95, estimate.p_value].into_iter().flatten();
        [estimate.value].into_iter().chain(ends).chain(others).all(f64::is_finite)
    };
    let checked = |(key, outcome): (MetricKey, Outcome)| {
        let outcome = outcome
            .and_then(|estimate| if is_finite(&estimate) { Ok(unsigned(estimate)) } else { Err(Undefined::NoWeight) });
        (key, outcome)
    };
    metrics.into_iter().map(checked).collect()
}

/// An estimate whose zeros have no sign.
fn unsigned(mut estimate: Estimate) -> Estimate {
    let Estimate { value, interval, standard_error, exactness, null_95, p_value, .. } = &mut estimate;
    let ends = interval.iter_mut().flat_map(|interval| [&mut interval.lower, &mut interval.upper]);
    let others = [standard_error, null_95, p_value].into_iter().flatten();
    let bracket = match exactness {
        Exactness::Bracket { lower, upper } => Some([lower, upper]),
        Exactness::Exact | Exactness::Approximate => None,
    };
    for number in [value].into_iter().chain(ends).chain(others).chain(bracket.into_iter().flatten()) {
        *number += 0.0;
    }
    estimate
}
