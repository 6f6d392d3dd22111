//! Backtest: which alarms a plan's watches would have raised over a history, and when; and what they could find.
//!
//! The history is read from rows. In *sealed* order a case enters the evidence once, on the day on which it was old enough and
//! its truth had settled, with the truth of that day: what the daemon could have claimed at the time. In *exam* order it enters on
//! the day on which it was made, with the truth as it is known now: the optimistic view. The reference passes the same gate.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use serde::Serialize;

use super::{Error, Place, find};
use crate::config::{Measure, Method, Model, Output, Severity, SlicePattern, Watch};
use crate::detect::budget::{threshold, weights};
use crate::detect::dependence::DesignEffect;
use crate::detect::null_value::NullValue;
use crate::detect::planner::DAYS;
use crate::detect::stream::{Buckets, Replay, Stream};
use crate::domain::truth::decide;
use crate::domain::{Assertion, Granularity, Prediction, Slice, Window};
use crate::job::Context;
use crate::stats::channel::{self, Scale};
use crate::stats::spectrum::{Class, Spectrum};
use crate::store::rows::{Knowledge, Wanted};

/// When a case enters the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Once it was old enough and its truth had settled, with the truth of that day.
    Sealed,
    /// On the day on which it was made, with the truth as it is known now.
    Exam,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The model.
    pub model: String,
    /// The version; may be left out while there is only one.
    pub version: Option<String>,
    /// The history that is watched.
    pub window: Window,
    /// The history that null values come from, before it.
    pub reference: Window,
    /// When cases enter.
    pub order: Order,
}

/// One stream of a backtest.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The watch.
    pub watch: String,
    /// What it measures.
    pub measure: Measure,
    /// The output.
    pub output: String,
    /// The slice.
    pub slice: String,
    /// What is done about an alarm.
    pub tier: Severity,
    /// Its share of the budget.
    pub weight: f64,
    /// The evidence at which it alarms.
    pub threshold: f64,
    /// How it is watched.
    pub method: Method,
    /// What its alarms promise.
    pub promise: String,
    /// What "well" is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub null: Option<NullValue>,
    /// Why its promise is not kept, if it is not: cases are taken for independent, and days hang together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stressed: Option<DesignEffect>,
    /// Units of a bucket, on average over the reference.
    pub size: f64,
    /// What came of it; absent where there is a reason.
    #[serde(flatten)]
    pub replay: Option<Replay>,
    /// Why the stream cannot be watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What one stream can find.
#[derive(Clone, Debug, Serialize)]
pub struct Power {
    /// The stream, without a replay.
    #[serde(flatten)]
    pub stream: Report,
    /// The value, in the measure's own terms, whose change to it is found within thirty days on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<f64>,
    /// The same if the reference were without error: the difference is what the reference's size costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found_without_error: Option<f64>,
}

/// Replay a history under the plan's watches.
///
/// # Errors
/// When the question names something unknown, the plan has no watch, or the store fails.
pub async fn backtest(context: &Context, asked: &Asked) -> Result<Vec<Report>, Error> {
    let history = History::load(context, asked).await?;
    let streams = tokio::task::spawn_blocking(move || {
        let replayed = history.streams().into_iter().map(|(report, stream)| match stream {
            Some((stream, buckets)) => Report { replay: Some(stream.replay(&buckets)), ..report },
            None => report,
        });
        replayed.collect()
    });
    Ok(streams.await.map_err(crate::job::Error::from)?)
}

/// What the plan's watches can find, by a reference.
///
/// # Errors
/// As [`backtest`].
pub async fn power(context: &Context, asked: &Asked) -> Result<Vec<Power>, Error> {
    let history = History::load(context, asked).await?;
    let streams = tokio::task::spawn_blocking(move || {
        let planned = history.streams().into_iter().map(|(stream, made)| {
            let change = made.and_then(|(stream, _)| {
                let within = if stream.watch.measure == Measure::ScoreDrift { DAYS / 7.0 } else { DAYS };
                stream.smallest_change(within)
            });
            Power {
                stream,
                found: change.map(|(found, _)| found),
                found_without_error: change.and_then(|(_, exact)| exact),
            }
        });
        planned.collect()
    });
    Ok(streams.await.map_err(crate::job::Error::from)?)
}

/// Rows of a version with the truth of their cases.
struct History {
    asked: Asked,
    place: Place,
    budget: crate::config::Budget,
    predictions: Vec<Prediction>,
    assertions: HashMap<(String, i32), Vec<Assertion>>,
}

/// A case in the evidence of an output: its bucket, whether it belongs to the reference, its score and truth.
struct Entry<'h> {
    bucket: DateTime<Utc>,
    is_reference: bool,
    row: &'h Prediction,
    score: f64,
    class: Class,
}

impl History {
    async fn load(context: &Context, asked: &Asked) -> Result<Self, Error> {
        super::check_window(asked.window)?;
        super::check_window(asked.reference)?;
        if asked.reference.to > asked.window.from {
            return Err(Error::Unknown(format!(
                "the reference {} reaches into the history {}: what is watched must not have made its own null value",
                asked.reference, asked.window
            )));
        }
        let place = find(context, &asked.model, asked.version.as_deref()).await?;
        if place.model.watches.is_empty() {
            let message = format!("model {} has no [[model.watch]]; add one to the configuration", place.model.name);
            return Err(Error::Unknown(message));
        }
        let outputs: Vec<i32> = place.numbers.outputs.values().copied().collect();
        let findings: Vec<i32> = place.numbers.findings.values().copied().collect();
        let wanted = Wanted { outputs: &outputs, findings: &findings, embeddings: false };
        let version_id = place.version.version_id;
        let (mut predictions, mut assertions) = (Vec::new(), HashMap::new());
        for window in [asked.reference, asked.window] {
            let rows = context.store.load_rows(version_id, window, None, Knowledge::default(), wanted).await?;
            predictions.extend(rows.predictions);
            let same = |a: &Assertion, b: &Assertion| a.case_id == b.case_id && a.truth_id == b.truth_id;
            for group in rows.assertions.chunk_by(same) {
                assertions.insert((group[0].case_id.clone(), group[0].truth_id), group.to_vec());
            }
        }
        Ok(Self { asked: asked.clone(), place, budget: context.plan.budget, predictions, assertions })
    }

    /// Every stream of the plan's watches, with what it needs for a replay, or the reason why it has none.
    fn streams(&self) -> Vec<(Report, Option<(Stream, Buckets)>)> {
        let model = &self.place.model;
        let listed: Vec<(usize, &Watch, &Output, Slice)> = model
            .watches
            .iter()
            .enumerate()
            .flat_map(|(at, watch)| {
                let outputs = model.outputs.iter().filter(|o| watch.output.as_ref().is_none_or(|name| *name == o.name));
                outputs.flat_map(move |output| {
                    self.slices(&watch.slices).into_iter().map(move |slice| (at, watch, output, slice))
                })
            })
            .collect();
        // Charts have run lengths of their own: they take no share of the budget.
        let sharing = listed.iter().filter(|(_, watch, ..)| watch.method == Method::Evidence);
        let mut weights =
            weights(&sharing.map(|(at, _, _, slice)| (*at, slice.is_all())).collect::<Vec<_>>()).into_iter();
        let made = listed.into_iter().map(|(_, watch, output, slice)| {
            let weight = if watch.method == Method::Evidence { weights.next().unwrap_or_default() } else { 0.0 };
            self.stream(watch, output, slice, weight)
        });
        made.collect()
    }

    fn stream(&self, watch: &Watch, output: &Output, slice: Slice, weight: f64) -> (Report, Option<(Stream, Buckets)>) {
        let buckets_a_year = if watch.measure == Measure::ScoreDrift { 365.0 / 7.0 } else { 365.0 };
        let is_chart = watch.method != Method::Evidence;
        let threshold = if is_chart { 0.0 } else { threshold(&self.budget, watch.tier, weight, buckets_a_year) };
        let confidence = 1.0 - (1.0 - self.budget.confidence) * weight;
        let (reference, buckets) = self.buckets(watch, output, &slice);
        let reference: Vec<Spectrum> = reference.into_values().collect();
        let place = (output.name.as_str(), &slice);
        let made = if is_chart {
            Stream::of_chart(watch, place, &reference)
        } else {
            Stream::new(watch, place, &reference, confidence, (weight, threshold))
        };
        let report = Report {
            watch: watch.name.clone(),
            measure: watch.measure,
            output: output.name.clone(),
            slice: slice.to_string(),
            tier: watch.tier,
            weight,
            threshold: made.as_ref().map_or(threshold, |stream| stream.threshold),
            method: watch.method,
            promise: made.as_ref().map(Stream::promise).unwrap_or_default(),
            null: made.as_ref().ok().and_then(|stream| stream.null.clone()),
            stressed: made.as_ref().ok().and_then(Stream::stressed),
            size: made.as_ref().map_or(0.0, |stream| stream.size),
            replay: None,
            reason: made.as_ref().err().cloned(),
        };
        (report, made.ok().map(|stream| (stream, buckets)))
    }

    /// The slices that a pattern means: of a dimension, the values that the reference has.
    fn slices(&self, pattern: &SlicePattern) -> Vec<Slice> {
        match pattern {
            SlicePattern::One(slice) => vec![slice.clone()],
            SlicePattern::Each(name) => {
                let own = self.predictions.iter().filter(|row| self.asked.reference.contains(row.occurred_at));
                let values: BTreeSet<String> = own.map(|row| value_of(&self.place.model, row, name)).collect();
                values.into_iter().map(|value| Slice::crossing([(name.clone(), value)])).collect()
            }
        }
    }

    /// The sealed buckets of the reference and of the history.
    fn buckets(&self, watch: &Watch, output: &Output, slice: &Slice) -> (Buckets, Buckets) {
        let output_id = self.place.numbers.outputs.get(&output.name).copied().unwrap_or_default();
        let truth_id = self.place.numbers.findings.get(&output.truth).copied().unwrap_or_default();
        let mut cells: [BTreeMap<DateTime<Utc>, Vec<(u64, Class, u64)>>; 2] = [BTreeMap::new(), BTreeMap::new()];
        let entries = self
            .predictions
            .iter()
            .filter_map(|row| self.entry(watch, row, (output_id, output.class.is_some()), truth_id));
        let belongs = |entry: &Entry<'_>| {
            slice.cells().all(|(name, value)| value_of(&self.place.model, entry.row, name) == value)
        };
        for entry in entries.filter(belongs) {
            let of = usize::from(!entry.is_reference);
            cells[of].entry(entry.bucket).or_default().push((channel::key(entry.score), entry.class, 1));
        }
        let spectrum = |cells| Spectrum::from_cells(Scale::Probability, cells);
        let [reference, history] = cells;
        let of =
            |cells: BTreeMap<_, Vec<_>>| cells.into_iter().map(|(bucket, cells)| (bucket, spectrum(cells))).collect();
        (of(reference), of(history))
    }

    /// When and as what a prediction enters the evidence; `None` when it does not, or not yet.
    fn entry<'h>(
        &'h self,
        watch: &Watch,
        row: &'h Prediction,
        (output_id, is_class): (i32, bool),
        truth_id: i32,
    ) -> Option<Entry<'h>> {
        let score = row.scores.iter().find(|(id, _)| *id == output_id)?.1;
        let is_reference = self.asked.reference.contains(row.occurred_at);
        let day = Granularity::Day.start_of(row.occurred_at);
        if !watch.measure.needs_truth() {
            let bucket = if watch.measure == Measure::ScoreDrift { week_of(day) } else { day };
            // A week that is not over is no bucket yet.
            let own = if is_reference { self.asked.reference } else { self.asked.window };
            let is_whole = bucket >= own.from && bucket + TimeDelta::days(7) <= own.to;
            let enters = watch.measure != Measure::ScoreDrift || is_whole;
            return enters.then_some(Entry { bucket, is_reference, row, score, class: Class::Unlabelled });
        }
        let said = self.assertions.get(&(row.case_id.clone(), truth_id))?;
        let model = &self.place.model;
        let holds =
            |known: &[Assertion]| decide(model.truth_policy, model.uncertain, known)?.holds_for(output_id, is_class);
        let (sealed_at, holds) = match self.asked.order {
            Order::Exam => (row.occurred_at, holds(said)?),
            Order::Sealed => {
                let mature = row.occurred_at + watch.maturity;
                let mut times: Vec<DateTime<Utc>> = said.iter().map(|one| one.observed_at.max(mature)).collect();
                times.sort_unstable();
                times.dedup();
                times.into_iter().find_map(|at| {
                    let known: Vec<Assertion> = said.iter().filter(|one| one.observed_at <= at).cloned().collect();
                    Some((at, holds(&known)?))
                })?
            }
        };
        // What is sealed after the history's end is not known in it.
        if !is_reference && sealed_at >= self.asked.window.to {
            return None;
        }
        let class = if holds { Class::Positive } else { Class::Negative };
        Some(Entry { bucket: Granularity::Day.start_of(sealed_at), is_reference, row, score, class })
    }
}

fn value_of(model: &Model, row: &Prediction, name: &str) -> String {
    let attribute = row.attributes.get(name).map(String::as_str);
    let dimension = model.dimensions.iter().find(|dimension| dimension.name == name);
    dimension.map_or_else(|| attribute.unwrap_or_default().to_owned(), |dimension| dimension.value(attribute))
}

/// The Monday of a day's week.
fn week_of(day: DateTime<Utc>) -> DateTime<Utc> {
    day - TimeDelta::days(i64::from(day.weekday().num_days_from_monday()))
}
