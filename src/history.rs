//! What was published, as it was read at an instant: estimates, series of them, and what was current.
//!
//! History is found by the names that the store knows, not by those of the plan in force: what a plan no longer has was still
//! published. What was never published is asked of `query`. Look next at `store::series`.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::domain::{Granularity, Slice, Window, WindowSpec};
use crate::job::Context;
use crate::query::series::ask_each;
use crate::query::{Answer, Error, Question, Row};
use crate::store::estimate::StoredEstimate;
use crate::store::rows::Knowledge;
use crate::store::series::{EstimateFilter, Names, SeriesKey, Span};

/// A published estimate by name.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = PublishedEstimate)]
pub struct Published {
    /// Its number.
    pub estimate_id: i64,
    /// The model.
    pub model: String,
    /// The version.
    pub version: String,
    /// The output.
    pub output: String,
    /// The slice.
    pub slice: String,
    /// The window's name in the plan.
    pub window: String,
    /// First instant of the window.
    pub from: DateTime<Utc>,
    /// First instant after it.
    pub to: DateTime<Utc>,
    /// Truth observed up to then was used.
    pub known_at: DateTime<Utc>,
    /// Batches up to this one were used.
    pub recorded: i64,
    /// The plan that asked.
    pub plan_id: i32,
    /// The reference it was compared with.
    pub reference_id: Option<i32>,
    /// Version of the formulas.
    pub calculator: i32,
    /// SHA-256 of what went in.
    pub input_digest: String,
    /// When it was published.
    pub estimated_at: DateTime<Utc>,
    /// The metrics.
    pub metrics: Vec<Row>,
}

impl Published {
    /// An estimate with the names of its numbers, and only one metric if one is named.
    #[must_use]
    pub fn of(stored: StoredEstimate, names: &Names, metric: Option<&str>) -> Self {
        let version = names.versions.get(&stored.version_id);
        let metrics = stored.metrics.into_iter().map(|(key, outcome)| Row::new(&key, outcome));
        Self {
            estimate_id: stored.estimate_id,
            model: version.map(|version| version.model.clone()).unwrap_or_default(),
            version: version.map(|version| version.name.clone()).unwrap_or_default(),
            output: names.output(stored.output_id).to_owned(),
            slice: stored.slice.to_string(),
            window: stored.window_name,
            from: stored.window.from,
            to: stored.window.to,
            known_at: stored.known_at,
            recorded: stored.recorded,
            plan_id: stored.plan_id,
            reference_id: stored.reference_id,
            calculator: stored.calculator,
            input_digest: stored.input_digest,
            estimated_at: stored.estimated_at,
            metrics: metrics.filter(|row| metric.is_none_or(|wanted| row.metric == wanted)).collect(),
        }
    }
}

/// Which series.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The model.
    pub model: String,
    /// The version; may be left out while there is only one.
    pub version: Option<String>,
    /// The output.
    pub output: String,
    /// The slice.
    pub slice: Slice,
    /// The window's name in the plan.
    pub window: String,
    /// One metric, or all.
    pub metric: Option<String>,
    /// Which part of it, as published up to when.
    pub span: Span,
}

/// Published estimates by name, the latest first.
///
/// # Errors
/// When the store fails.
pub async fn estimates(context: &Context, filter: &EstimateFilter, limit: i64) -> Result<Vec<Published>, Error> {
    let names = context.store.list_names().await?;
    let stored = context.store.list_estimates(filter, limit).await?;
    Ok(stored.into_iter().map(|stored| Published::of(stored, &names, None)).collect())
}

/// One published estimate by name.
///
/// # Errors
/// When there is none of this number, or the store fails.
pub async fn estimate(context: &Context, estimate_id: i64) -> Result<Published, Error> {
    let stored = match context.store.load_estimate(estimate_id).await {
        Err(crate::store::Error::Missing(message)) => return Err(Error::Unknown(message)),
        stored => stored?,
    };
    Ok(Published::of(stored, &context.store.list_names().await?, None))
}

/// A published series, the earliest window first: of each window what had been published last. `after` is the end of the last
/// window of the page before.
///
/// # Errors
/// When it names something unknown, or the store fails.
pub async fn series(
    context: &Context,
    asked: &Asked,
    after: Option<DateTime<Utc>>,
    limit: i64,
) -> Result<Vec<Published>, Error> {
    let names = context.store.list_names().await?;
    let (version_id, output_id) = numbers(&names, &asked.model, asked.version.as_deref(), &asked.output)?;
    let (slice, window_name) = (asked.slice.clone(), asked.window.clone());
    let key = SeriesKey { version_id, output_id, slice, window_name };
    let stored = context.store.list_series(&key, asked.span, after, limit).await?;
    Ok(stored.into_iter().map(|stored| Published::of(stored, &names, asked.metric.as_deref())).collect())
}

/// A series made anew, the earliest window first: every window of the span as it is known at an instant, whether or not it was ever
/// published so.
///
/// # Errors
/// When the span has no beginning or no end, or is longer than one answer may be; and as [`crate::query::ask`].
pub async fn recompute(
    context: &Context,
    asked: &Asked,
    knowledge: Knowledge,
    (after, limit): (Option<DateTime<Utc>>, i64),
    most_rows: Option<i64>,
) -> Result<Vec<Answer>, Error> {
    let spec: WindowSpec = asked.window.parse().map_err(Error::Unknown)?;
    let (Some(from), Some(to)) = (asked.span.from, asked.span.to) else {
        return Err(Error::Unknown("a series that is made anew needs from and to: the ends of its windows".to_owned()));
    };
    let day = TimeDelta::days(1);
    let first = Granularity::Day.start_of(after.map_or(from, |after| from.max(after + day)));
    let first = if first < from { first + day } else { first };
    let ends = std::iter::successors(Some(first), |end| Some(*end + day)).take_while(|end| *end <= to);
    let windows: Vec<Window> = ends.take(usize::try_from(limit).unwrap_or_default()).map(|end| spec.at(end)).collect();
    let bounds = windows.iter().map(|window| window.from).min().zip(windows.last().map(|window| window.to));
    let Some((from, to)) = bounds else { return Ok(Vec::new()) };
    let question = Question {
        model: asked.model.clone(),
        version: asked.version.clone(),
        output: asked.output.clone(),
        slice: asked.slice.clone(),
        window: Window { from, to },
        knowledge,
        thresholds: Vec::new(),
        reference_id: None,
        most_rows,
    };
    let mut answers = ask_each(context, &question, &windows).await?;
    if let Some(metric) = &asked.metric {
        answers.iter_mut().for_each(|answer| answer.metrics.retain(|row| row.metric == *metric));
    }
    Ok(answers)
}

/// What was current at an instant; what is, without. By version, window, output and slice.
///
/// # Errors
/// When the store fails.
pub async fn current(context: &Context, as_of: Option<DateTime<Utc>>) -> Result<Vec<StoredEstimate>, Error> {
    Ok(match as_of {
        Some(at) => context.store.estimates_as_of(at).await?,
        None => context.store.latest_estimates().await?,
    })
}

/// How a plan's body differs from another's: the lines that are gone (-) and those that are new (+), with what stands around them.
#[must_use]
pub fn plan_diff(before: &serde_json::Value, after: &serde_json::Value) -> String {
    let (before, after) = (format!("{before:#}\n"), format!("{after:#}\n"));
    let diff = similar::TextDiff::from_lines(&before, &after);
    diff.unified_diff().context_radius(3).to_string()
}

/// The numbers of a version and an output, of all that there ever were.
///
/// # Errors
/// When there is none, or several versions; the message names those that there are.
pub fn numbers(names: &Names, model: &str, version: Option<&str>, output: &str) -> Result<(i32, i32), Error> {
    let list = |known: Vec<&str>| if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let own: Vec<_> = names.versions.values().filter(|known| known.model == model).collect();
    if own.is_empty() {
        let mut models: Vec<&str> = names.versions.values().map(|version| version.model.as_str()).collect();
        models.sort_unstable();
        models.dedup();
        let known = list(models);
        return Err(Error::Unknown(format!(
            "no predictions of a model {model:?} are known; there are some of {known}"
        )));
    }
    let known = || list(own.iter().map(|version| version.name.as_str()).collect());
    let meant: Vec<_> = own.iter().filter(|known| version.is_none_or(|name| known.name == name)).collect();
    let version_id = match (meant.as_slice(), version) {
        ([one], _) => one.version_id,
        (_, Some(version)) => {
            return Err(Error::Unknown(format!("model {model} has no version {version:?}; it has {}", known())));
        }
        _ => return Err(Error::Unknown(format!("name one version of model {model}: {}", known()))),
    };
    let outputs = || names.outputs.iter().filter(|(_, (of, _))| of == model);
    let output_id = outputs().find(|(_, (_, name))| name == output).map(|(id, _)| *id).ok_or_else(|| {
        let known = list(outputs().map(|(_, (_, name))| name.as_str()).collect());
        Error::Unknown(format!("model {model} has no output {output:?}; it has {known}"))
    })?;
    Ok((version_id, output_id))
}
