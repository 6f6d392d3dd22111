//! Answers to any question about any window at any instant of knowledge, whether or not it was ever published.
//!
//! The latest knowledge about whole buckets of declared slices is read from summaries; everything else is folded from rows.
//! Both ways give the same bits, but that rows know thresholds exactly which a coarsened summary does not have. The CLI and the HTTP API ask here, and so does whoever freezes a reference.

pub mod account;
pub mod backtest;
pub mod compare;
pub mod coverage;
pub mod curve;
pub mod diff;
pub mod drift;
mod read;
mod rows;
pub mod sources;
pub mod series;
pub mod streams;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
pub use read::{Extent, Known, from_rows};
use read::{check_size, read};
use serde::Serialize;

use crate::config::{Model, Output, Quantity};
use crate::domain::{Dimension, Estimate, MetricKey, Outcome, Slice, Undefined, Window};
use crate::job::Context;
use crate::job::answer::Asked;
use crate::metric::{CALCULATOR_VERSION, Depth};
use crate::store::catalog::{ModelNumbers, Version};
use crate::store::reference::Baseline;
use crate::store::rows::Knowledge;
use crate::summary::Summary;
use crate::summary::body::Body;
use crate::summary::fold::{Cell, over_buckets};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The question names something that does not exist; the message names what does.
    #[error("{0}")]
    Unknown(String),
    /// The machinery failed.
    #[error(transparent)]
    Failed(#[from] crate::job::Error),
}

impl From<crate::store::Error> for Error {
    fn from(error: crate::store::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// A question.
#[derive(Clone, Debug)]
pub struct Question {
    /// The model.
    pub model: String,
    /// The version; may be left out while there is only one.
    pub version: Option<String>,
    /// The output.
    pub output: String,
    /// The slice, declared in the plan or not.
    pub slice: Slice,
    /// The window, aligned to buckets or not.
    pub window: Window,
    /// The two clocks.
    pub knowledge: Knowledge,
    /// Operating points besides those of the plan.
    pub thresholds: Vec<f64>,
    /// What to compare with, instead of the reference in force.
    pub reference_id: Option<i32>,
    /// Refuse to fold more rows than this: whoever asks a shared daemon does not get to fill its memory.
    pub most_rows: Option<i64>,
}

/// An answer with all that is needed to get it again.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Answer {
    /// The model.
    pub model: String,
    /// The version.
    pub version: String,
    /// The output.
    pub output: String,
    /// The slice.
    pub slice: String,
    /// First instant of the window.
    pub from: DateTime<Utc>,
    /// First instant after it.
    pub to: DateTime<Utc>,
    /// Truth observed up to then was used.
    pub known_at: DateTime<Utc>,
    /// Batches up to this one were used.
    pub recorded: i64,
    /// summaries, pins or rows.
    pub read_from: &'static str,
    /// The reference it was compared with.
    pub reference_id: Option<i32>,
    /// Digest of the plan that answered.
    pub plan: String,
    /// Version of the formulas.
    pub calculator: i32,
    /// How intervals were resampled, if they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
    /// The metrics.
    pub metrics: Vec<Row>,
}

/// How intervals were resampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Bootstrap {
    /// How often the buckets were drawn.
    pub resamples: u32,
    /// The seed of the draws.
    pub seed: u64,
}

/// One metric of an answer: an estimate or the reason why there is none.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The metric, with its threshold or dimension.
    pub metric: String,
    /// The estimate.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// The reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undefined: Option<Undefined>,
    /// The reason in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The fields of a [`Row`]: those of an estimate, or those of a reason.
#[derive(utoipa::ToSchema)]
#[schema(as = Metric)]
#[allow(dead_code, reason = "it describes what a row serialises to")]
struct RowFields {
    /// The metric, with its threshold or dimension.
    metric: String,
    /// The value; absent where it is undefined, as are the fields that go with it.
    value: Option<f64>,
    /// Two-sided 95 % interval, where a formula gives one.
    interval: Option<crate::domain::estimate::Interval>,
    /// Standard error, where the method has one.
    standard_error: Option<f64>,
    /// Rows behind the value.
    n: Option<u64>,
    /// Positives among them, where truth matters.
    positives: Option<u64>,
    /// Whether the value is exact for the rows, or bracketed.
    exactness: Option<crate::domain::Exactness>,
    /// The value that chance alone exceeds once in twenty without any change.
    null_95: Option<f64>,
    /// Probability of so large a value without any change.
    p_value: Option<f64>,
    /// Why there is no value.
    undefined: Option<Undefined>,
    /// The same in words.
    reason: Option<String>,
}

impl utoipa::PartialSchema for Row {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        RowFields::schema()
    }
}

impl utoipa::ToSchema for Row {
    fn name() -> std::borrow::Cow<'static, str> {
        RowFields::name()
    }

    fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
        RowFields::schemas(schemas);
    }
}

impl Row {
    /// A metric by its key.
    #[must_use]
    pub fn new(key: &MetricKey, outcome: Outcome) -> Self {
        let metric = key.to_string();
        match outcome {
            Ok(estimate) => Self { metric, estimate: Some(estimate), undefined: None, reason: None },
            Err(why) => Self { metric, estimate: None, reason: Some(why.to_string()), undefined: Some(why) },
        }
    }
}

/// A question with all that it is answered from.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    version: Version,
    /// The model as if it had only the question's quantity.
    model: Model,
    numbers: ModelNumbers,
    name: String,
    output_id: i32,
    slice: Slice,
    reference: Option<Arc<Baseline>>,
    known: Known,
}

impl Prepared {
    /// The output that the question is about.
    fn output(&self) -> Result<&Output, Error> {
        let output = self.model.output(&self.name);
        output.ok_or_else(|| {
            Error::Unknown(format!(
                "{} is no probability: curves and comparisons are for probabilities, each class of a choice among them",
                self.name
            ))
        })
    }

    /// The window's summary of the question's output and slice.
    fn summary(&self) -> Summary {
        Summary::merge_all(self.bodies().iter().filter_map(|body| body.output().cloned()).collect())
    }

    /// The buckets of the question's quantity and slice.
    fn bodies(&self) -> Vec<Body> {
        let own = self.known.cells.iter();
        let own = own.filter(|(cell, _)| cell.output_id == self.output_id && cell.slice == self.slice);
        own.map(|(_, body)| body.clone()).collect()
    }

    fn asked(&self) -> Result<Asked<'_>, Error> {
        let quantity = self.model.quantities().into_iter().find(|quantity| quantity.name() == self.name);
        Ok(Asked {
            model: &self.model,
            numbers: &self.numbers,
            // unwrap safety: `prepare` found it, and the narrowed model still has it.
            quantity: quantity.ok_or_else(|| Error::Unknown(format!("{} is not known", self.name)))?,
            output_id: self.output_id,
            slice: &self.slice,
            reference: self.reference.as_deref(),
            depth: Depth::All,
        })
    }
}

/// Find what a question names, and read what it is asked of.
async fn prepare(context: &Context, question: &Question) -> Result<Prepared, Error> {
    let mut prepared = settle(context, question).await?;
    let Prepared { version, model, numbers, output_id, .. } = &prepared;
    let place = Place { version: version.clone(), model: model.clone(), numbers: numbers.clone() };
    prepared.known = read(context, &place, question, *output_id, prepared.reference.as_deref()).await?;
    Ok(prepared)
}

/// Find what a question names; nothing is read yet.
async fn settle(context: &Context, question: &Question) -> Result<Prepared, Error> {
    let Place { version, model, numbers } = find(context, &question.model, question.version.as_deref()).await?;
    let names: Vec<String> = model.quantities().iter().map(Quantity::name).collect();
    let output_id = numbers.quantities.get(&question.output).copied();
    let output_id = output_id.filter(|_| names.contains(&question.output)).ok_or_else(|| {
        Error::Unknown(format!("model {} has no output {:?}; it has {}", model.name, question.output, names.join(", ")))
    })?;
    if let Some(threshold) = question.thresholds.iter().find(|threshold| !(0.0..=1.0).contains(*threshold)) {
        return Err(Error::Unknown(format!("the threshold {threshold} is no probability from 0 to 1")));
    }
    check_slice(context, &model, &question.slice)?;
    check_window(question.window)?;
    let model = narrowed(&model, question);
    let reference_id = match question.reference_id {
        Some(reference_id) => Some(reference_id),
        None => context.store.find_reference(version.version_id).await?,
    };
    let reference = match reference_id {
        Some(reference_id) => Some(context.store.load_reference(reference_id).await?),
        None => None,
    };
    let (name, slice) = (question.output.clone(), question.slice.clone());
    let known = Known { cells: Vec::new(), known_at: context.clock.now(), recorded: 0, read_from: "rows" };
    Ok(Prepared { version, model, numbers, name, output_id, slice, reference, known })
}

fn check_window(window: Window) -> Result<(), Error> {
    if window.from < window.to {
        return Ok(());
    }
    Err(Error::Unknown(format!("the window {window} is empty: from must be before to")))
}

/// Whether a case could be in a slice: its dimensions are attributes that some source keeps, its values possible ones.
fn check_slice(context: &Context, model: &Model, slice: &Slice) -> Result<(), Error> {
    let own = context.plan.sources.iter().filter(|source| source.model == model.name);
    let kept: BTreeSet<&str> = own
        .flat_map(|source| source.attributes.keys().map(String::as_str))
        .chain(model.dimensions.iter().map(|dimension| dimension.name.as_str()))
        .chain(model.features.iter().map(|feature| feature.name.as_str()))
        .collect();
    for (name, value) in slice.cells() {
        if !kept.contains(name) {
            let known: Vec<&str> = kept.iter().copied().collect();
            let known = known.join(", ");
            return Err(Error::Unknown(format!("no case has an attribute {name:?}; known are {known}")));
        }
        let dimension = model.dimensions.iter().find(|dimension| dimension.name == name);
        if let Some(dimension) = dimension.filter(|dimension| !dimension.can_be(value)) {
            let values = if dimension.is_ordered() { dimension.ordered_values() } else { dimension.values.clone() };
            return Err(Error::Unknown(format!(
                "{name} is never {value:?}; by the plan it is one of {}, (missing), (other)",
                values.join(", ")
            )));
        }
    }
    Ok(())
}

/// Answer a question.
///
/// # Errors
/// When it names something unknown, or the store fails.
pub async fn ask(context: &Context, question: &Question) -> Result<Answer, Error> {
    let prepared = prepare(context, question).await?;
    let cells = prepared.known.cells.clone();
    answer(context, &prepared, question, cells)
}

/// The answer to a question from buckets that have been read.
fn answer(
    context: &Context,
    prepared: &Prepared,
    question: &Question,
    cells: Vec<(Cell, Body)>,
) -> Result<Answer, Error> {
    let (asked, known) = (prepared.asked()?, &prepared.known);
    let reference_id = prepared.reference.as_ref().map(|baseline| baseline.reference_id);
    let mut parts = over_buckets(cells);
    if let Some(kind) = asked.quantity.kind() {
        parts.entry((prepared.output_id, question.slice.clone())).or_insert_with(|| Body::empty(kind));
    }
    let metrics = asked.answer(&parts).unwrap_or_default();
    Ok(Answer {
        model: question.model.clone(),
        version: prepared.version.name.clone(),
        output: question.output.clone(),
        slice: question.slice.to_string(),
        from: question.window.from,
        to: question.window.to,
        known_at: known.known_at,
        recorded: known.recorded,
        read_from: known.read_from,
        reference_id,
        plan: context.plan.digest(),
        calculator: CALCULATOR_VERSION,
        bootstrap: None,
        metrics: metrics.into_iter().map(|(key, outcome)| Row::new(&key, outcome)).collect(),
    })
}

/// A version with its model.
#[derive(Clone, Debug)]
pub struct Place {
    /// The version.
    pub version: Version,
    /// Its model in the plan.
    pub model: Model,
    /// The model's numbers.
    pub numbers: ModelNumbers,
}

/// Find a version by model and name; the name may be left out while there is only one.
///
/// # Errors
/// When there is none, or several.
pub async fn find(context: &Context, model: &str, version: Option<&str>) -> Result<Place, Error> {
    let named = model;
    let model = context.plan.model(named).ok_or_else(|| {
        let known: Vec<&str> = context.plan.models.iter().map(|model| model.name.as_str()).collect();
        Error::Unknown(format!("the plan has no model {named:?}; it has {}", known.join(", ")))
    })?;
    let numbers = context.catalog.models.get(named);
    let is_known = |numbers: &&ModelNumbers| {
        model.quantities().iter().all(|quantity| numbers.quantities.contains_key(&quantity.name()))
            && model.findings().iter().all(|(finding, ..)| numbers.findings.contains_key(*finding))
    };
    let numbers = numbers.filter(is_known).ok_or_else(|| {
        Error::Unknown(format!(
            "model {named} has not been taken up as this plan describes it: run `dosimeter import`, start `dosimeter serve`, \
             or send SIGHUP to the daemon"
        ))
    })?;
    let mut versions = context.store.list_versions().await?;
    versions.retain(|known| known.model == model.name);
    let names: Vec<String> = versions.iter().map(|version| version.name.clone()).collect();
    versions.retain(|known| version.is_none_or(|name| known.name == name));
    match <[Version; 1]>::try_from(versions) {
        Ok([version]) => Ok(Place { version, model: model.clone(), numbers: numbers.clone() }),
        Err(_) if names.is_empty() => Err(Error::Unknown(format!("model {} has no predictions yet", model.name))),
        Err(_) => Err(Error::Unknown(match version {
            Some(version) => format!("model {} has no version {version:?}; it has {}", model.name, names.join(", ")),
            None => format!("name one version of model {}: {}", model.name, names.join(", ")),
        })),
    }
}

/// The model with the question's thresholds and slice. About one output it has only that one, and about a slice only its
/// dimensions: nothing else is folded.
fn narrowed(model: &Model, question: &Question) -> Model {
    let mut outputs = model.outputs.clone();
    if model.output(&question.output).is_some() {
        outputs.retain(|output| output.name == question.output);
        for output in &mut outputs {
            output.thresholds.extend(&question.thresholds);
            output.thresholds.sort_by(f64::total_cmp);
            output.thresholds.dedup();
        }
    }
    let mut dimensions = model.dimensions.clone();
    let named = question.slice.dimensions();
    if !question.slice.is_all() {
        dimensions.retain(|dimension| named.contains(&dimension.name));
    }
    for name in &named {
        if !dimensions.iter().any(|dimension| dimension.name == *name) {
            dimensions.push(Dimension::any(name));
        }
    }
    let crossings = if named.len() > 1 { vec![named] } else { Vec::new() };
    Model { outputs, dimensions, crossings, ..model.clone() }
}
