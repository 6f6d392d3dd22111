//! Truth by day: how many cases of each bucket have theirs, and how long that took.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Error, Question, prepare};
use crate::domain::{Outcome, Window};
use crate::job::Context;
use crate::metric::volume;
use crate::summary::body::Body;

/// A day or hour of cases.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = Coverage)]
pub struct Covered {
    /// Its first instant.
    pub bucket: DateTime<Utc>,
    /// Predictions.
    pub predictions: u64,
    /// Those that have a truth, by the plan's policy.
    pub labelled: u64,
    /// Their share; absent without predictions.
    pub coverage: Option<f64>,
    /// Lower end of its 95 % interval.
    pub coverage_lower: Option<f64>,
    /// Upper end of its 95 % interval.
    pub coverage_upper: Option<f64>,
    /// Within so many seconds half of the truths that have come had come; known to the hour.
    pub delay_p50_seconds: Option<f64>,
    /// Within so many seconds nine of ten had.
    pub delay_p90_seconds: Option<f64>,
    /// Why there is no share or no delay, as one word.
    pub undefined: Option<String>,
    /// The same in words.
    pub reason: Option<String>,
}

/// The buckets of a question's window, the earliest first, those after an instant; days without a case are there, too.
///
/// # Errors
/// When it names something unknown or something without truth, or the store fails.
pub async fn coverage(
    context: &Context,
    question: &Question,
    (after, limit): (Option<DateTime<Utc>>, i64),
) -> Result<Vec<Covered>, Error> {
    let place = super::find(context, &question.model, question.version.as_deref()).await?;
    let length = place.model.bucket.length();
    let first = after.map_or(place.model.bucket.start_of(question.window.from), |after| after + length);
    let starts = std::iter::successors(Some(first), |start| Some(*start + length));
    let starts =
        starts.take_while(|start| *start < question.window.to).take(usize::try_from(limit).unwrap_or_default());
    let starts: Vec<DateTime<Utc>> = starts.collect();
    let Some(last) = starts.last() else { return Ok(Vec::new()) };
    let window = Window { from: first.max(question.window.from), to: question.window.to.min(*last + length) };
    let prepared = prepare(context, &Question { window, ..question.clone() }).await?;
    let Some(kind) = prepared.asked()?.quantity.kind() else { return Err(none(question)) };
    let of = |start: &DateTime<Utc>| {
        let own = prepared.known.cells.iter().find(|(cell, _)| {
            cell.output_id == prepared.output_id && cell.slice == prepared.slice && cell.bucket == *start
        });
        let empty = Body::empty(kind);
        let labels = labels(own.map_or(&empty, |(_, body)| body)).ok_or_else(|| none(question))?;
        Ok(covered(*start, labels))
    };
    starts.iter().map(of).collect()
}

fn none(question: &Question) -> Error {
    Error::Unknown(format!("{} has no truth of its own: ask for an output, a choice or a value", question.output))
}

/// Predictions, those with truth, and the metrics of both.
struct Labels {
    predictions: u64,
    labelled: u64,
    share: Outcome,
    delays: [Outcome; 2],
}

fn labels(body: &Body) -> Option<Labels> {
    let (predictions, labelled, delays) = match body {
        Body::Output(summary) => {
            let [unlabelled, negative, positive] = summary.totals();
            (unlabelled + negative + positive, negative + positive, summary.delays())
        }
        Body::Classes(summary) => (summary.complete(), summary.labelled(), &summary.delays),
        Body::Value(summary) => (summary.rows(), summary.labelled(), &summary.delays),
        Body::Feature(_) | Body::Readers(_) | Body::Embedding(_) => return None,
    };
    let (share, delays) = volume::labels(predictions, labelled, delays);
    Some(Labels { predictions, labelled, share, delays })
}

fn covered(bucket: DateTime<Utc>, labels: Labels) -> Covered {
    let Labels { predictions, labelled, share, delays: [half, most] } = labels;
    let undefined = share.as_ref().err().or(half.as_ref().err()).cloned();
    let interval = share.as_ref().ok().and_then(|share| share.interval.clone());
    let value = |outcome: &Outcome| outcome.as_ref().ok().map(|estimate| estimate.value);
    Covered {
        bucket,
        predictions,
        labelled,
        coverage: value(&share),
        coverage_lower: interval.as_ref().map(|interval| interval.lower),
        coverage_upper: interval.as_ref().map(|interval| interval.upper),
        delay_p50_seconds: value(&half),
        delay_p90_seconds: value(&most),
        reason: undefined.as_ref().map(ToString::to_string),
        undefined: undefined.map(|why| why.code().to_owned()),
    }
}
