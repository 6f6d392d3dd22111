//! Backtest: which alarms a plan's watches would have raised over a history, and when; and what they could find.
//!
//! The history is read from rows. In *sealed* order a case enters the evidence once, on the day on which it was old enough and
//! its truth had settled, with the truth of that day: what a daemon would have claimed that got everything when it was observed. In
//! *exam* order it enters on the day on which it was made, with the truth as it is known now: the optimistic view. The reference
//! passes the same gate: its cases are those that came of age in its window, as long after as the maturity says.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{Error, Place, find};
use crate::config::{Measure, Method, Plan, Tier as Level, Watch};
use crate::detect::budget::{Share, Sharing, confidence, shares};
use crate::detect::null_value::NullValue;
use crate::detect::planner::{DAYS, Found};
use crate::detect::sealing::{Buckets, Days};
use crate::detect::stream::{Replay, Stream};
use crate::domain::{Slice, Window};
use crate::job::Context;
use crate::job::evidence::{Evidence, Gate, Known, Lens, STRAGGLING, Subject, is_about, lens, needs, rival, subjects};
use crate::job::watch::no_rival;
use crate::stats::spectrum::Spectrum;
use crate::store::catalog::Version;
use crate::store::ledger::{Reach, Received};

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
    /// Batches up to this one; all when absent.
    pub recorded: Option<i64>,
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
    /// How it is watched.
    pub method: Method,
    /// What its alarms promise.
    pub promise: String,
    /// What "well" is, for each kind of days.
    pub null: Vec<(Days, NullValue)>,
    /// Kinds of days that are not watched, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unwatched: Vec<String>,
    /// Why its promise may not be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stressed: Option<String>,
    /// Units of a day, on average over the reference.
    pub size: f64,
    /// What came of it, for each tier; empty where there is a reason.
    pub tiers: Vec<Tier>,
    /// Why the stream cannot be watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a stream came to in one tier.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tier {
    /// The tier, its share and its threshold.
    #[serde(flatten)]
    pub share: Share,
    /// What came of it.
    #[serde(flatten)]
    pub replay: Replay,
}

impl Report {
    /// What came of it in one tier.
    #[must_use]
    pub fn tier(&self, tier: Level) -> Option<&Tier> {
        self.tiers.iter().find(|own| own.share.tier == tier)
    }
}

/// What one stream can find.
#[derive(Clone, Debug, Serialize)]
pub struct Power {
    /// The stream, without a replay.
    #[serde(flatten)]
    pub stream: Report,
    /// What each tier finds within thirty days of a change, the days until the seal among them; or why nothing.
    pub found: Vec<(Share, Result<Found, String>)>,
}

/// The answer to a backtest.
#[derive(Clone, Debug, Serialize)]
pub struct Backtest {
    /// Batches up to this one were read.
    pub recorded: i64,
    /// The streams.
    pub streams: Vec<Report>,
}

/// Replay a history under the plan's watches.
///
/// # Errors
/// When the question names something unknown, the plan has no watch, or the store fails.
pub async fn backtest(context: &Context, asked: &Asked) -> Result<Backtest, Error> {
    let history = History::load(context, asked).await?;
    let recorded = history.recorded;
    let streams = tokio::task::spawn_blocking(move || {
        let replayed = history.streams().into_iter().map(|mut made| {
            let Some(stream) = made.stream else { return made.report };
            made.report.tiers = made
                .shares
                .into_iter()
                .map(|share| Tier { share, replay: stream.follow(&made.buckets, &share) })
                .collect();
            let coverage = made.report.tiers.first().and_then(|tier| tier.replay.coverage);
            let check = stream.rechecked(&made.buckets);
            made.report.stressed = stream.stressed(coverage, check.as_ref());
            made.report
        });
        replayed.collect()
    });
    Ok(Backtest { recorded, streams: streams.await.map_err(crate::job::Error::from)? })
}

/// What the plan's watches can find, by a reference.
///
/// # Errors
/// As [`backtest`].
pub async fn power(context: &Context, asked: &Asked) -> Result<Vec<Power>, Error> {
    let history = History::load(context, asked).await?;
    let streams = tokio::task::spawn_blocking(move || {
        let planned = history.streams().into_iter().map(|made| {
            let mut reference = Spectrum::default();
            made.reference.values().for_each(|sealed| reference.merge(&sealed.spectrum));
            let found = made.stream.iter().flat_map(|stream| {
                let days = DAYS - stream.lag as f64;
                // What is only listed is judged beside the others: it has no delay of its own.
                let told = made.shares.iter().filter(|share| share.tier != Level::Watch);
                told.map(move |share| (*share, stream, days))
            });
            let found = found.map(|(share, stream, days)| {
                let late =
                    || format!("a case is sealed {} days after it was made: {DAYS:.0} days are too few", stream.lag);
                let found =
                    if days > 0.0 { stream.smallest_change(share.threshold, days, &reference) } else { Err(late()) };
                (share, found)
            });
            Power { found: found.collect(), stream: made.report }
        });
        planned.collect()
    });
    Ok(streams.await.map_err(crate::job::Error::from)?)
}

/// Rows of a version with the truth of their cases.
struct History {
    asked: Asked,
    place: Place,
    /// The watches of the whole plan share its budget.
    plan: Arc<Plan>,
    recorded: i64,
    rows: Received,
    /// What embeddings are seen through: the reference in force.
    lens: Option<Lens>,
    versions: Vec<Version>,
}

/// A stream, and what it is replayed from.
struct Made {
    report: Report,
    stream: Option<Stream>,
    shares: Vec<Share>,
    reference: Buckets,
    buckets: Buckets,
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
        let versions = context.store.list_versions().await?;
        let needs = needs(&place.model.watches, &place.numbers, (&place.version, &versions));
        let last = context.store.last_batch().await?;
        let recorded = asked.recorded.map_or(last, |recorded| recorded.min(last));
        let from = asked.reference.from - TimeDelta::days(STRAGGLING);
        let window = Window { from, to: asked.window.to };
        let reach = Reach { window, recorded, said_after: None, sealing: None };
        let rows = context.store.load_received(place.version.version_id, &needs, reach).await?;
        let lens = if needs.embeddings { lens(&context.store, place.version.version_id).await? } else { None };
        Ok(Self { asked: asked.clone(), place, plan: context.plan.clone(), recorded, rows, lens, versions })
    }

    /// Every stream of the model's watches, with what it needs for a replay, or the reason why it has none.
    fn streams(self) -> Vec<Made> {
        let model = &self.place.model;
        let evidence = Evidence::new(model, &self.place.numbers, self.rows, self.lens);
        let version = &self.place.version;
        let given = Given {
            asked: &self.asked,
            budget: self.plan.budget,
            evidence: &evidence,
            version,
            versions: &self.versions,
        };
        let listed: Vec<(usize, &Watch, (Subject<'_>, String), Slice)> = model
            .watches
            .iter()
            .enumerate()
            .filter(|(_, watch)| is_about(watch, version))
            .flat_map(|(at, watch)| {
                let slices = evidence.slices(&watch.slices, self.asked.reference);
                subjects(model, watch).into_iter().flat_map(move |subject| {
                    slices.clone().into_iter().map(move |slice| (at, watch, subject.clone(), slice))
                })
            })
            .collect();
        let sharing: Vec<Sharing<'_, usize>> =
            listed.iter().map(|(id, watch, _, slice)| Sharing { id: *id, watch, is_whole: slice.is_all() }).collect();
        let watches = self.plan.models.iter().flat_map(|model| &model.watches);
        let shares = shares(&self.plan.budget, &sharing, watches);
        listed
            .into_iter()
            .zip(shares)
            .map(|((_, watch, output, slice), shares)| given.stream(watch, output, slice, shares))
            .collect()
    }
}

/// What every stream is made from.
struct Given<'h> {
    asked: &'h Asked,
    budget: crate::config::Budget,
    evidence: &'h Evidence<'h>,
    version: &'h Version,
    versions: &'h [Version],
}

impl Given<'_> {
    fn stream(
        &self,
        watch: &Watch,
        (subject, name): (Subject<'_>, String),
        slice: Slice,
        mut shares: Vec<Share>,
    ) -> Made {
        let confidence = confidence(&self.budget, &shares);
        let (gate, known) = match self.asked.order {
            Order::Exam => (Gate::of(watch).at_once(), Known::Always),
            Order::Sealed => (Gate::of(watch), Known::Observed),
        };
        let lag = gate.maturity_days;
        let whole = Window { from: self.asked.reference.from, to: self.asked.window.to };
        let buckets = self.evidence.buckets(gate, known, (subject, &slice), whole);
        let within = |from: DateTime<Utc>, to: DateTime<Utc>| -> Buckets {
            buckets.range(from..to.max(from)).map(|(day, sealed)| (*day, sealed.clone())).collect()
        };
        // A window's cases come of age later than they are made; what the history's end has not seen is not known in it.
        let (reference, window, later) = (self.asked.reference, self.asked.window, TimeDelta::days(lag));
        let (reference, buckets) =
            (within(reference.from + later, reference.to + later), within(window.from + later, window.to));
        let seed = format!("{}/{name}/{slice}", watch.name);
        let against = rival(watch, self.version, self.versions);
        let made = match (&watch.against, against) {
            (Some(name), None) => Err(no_rival(name)),
            _ => Stream::new(watch, (&seed, lag), &reference, confidence).map(|stream| Stream { against, ..stream }),
        };
        if let Ok(stream) = &made {
            shares.iter_mut().for_each(|share| share.threshold = stream.limit(share.threshold));
        }
        let (stream, reason) = match made {
            Ok(stream) => (Some(stream), None),
            Err(reason) => (None, Some(format!("{} of {name}, {slice}: {reason}", watch.measure))),
        };
        let strata = || stream.iter().flat_map(|stream| &stream.strata);
        let report = Report {
            watch: watch.name.clone(),
            measure: watch.measure,
            output: name,
            slice: slice.to_string(),
            method: watch.method,
            promise: stream.as_ref().map_or_else(String::new, |stream| stream.promise(watch, &shares)),
            null: strata().filter_map(|stratum| Some((stratum.days, stratum.null.clone()?))).collect(),
            unwatched: stream.as_ref().map(|stream| stream.unwatched.clone()).unwrap_or_default(),
            stressed: stream.as_ref().and_then(|stream| stream.stressed(None, None)),
            size: strata().map(|stratum| stratum.days.a_week() / 7.0 * stratum.size).sum(),
            tiers: Vec::new(),
            reason,
        };
        Made { report, stream, shares, reference, buckets }
    }
}
