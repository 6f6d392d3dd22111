//! Streams: where the alarm engine stands, what an alarm rests on, and whether the truth of today still supports it.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::Value;

use super::Error;
use crate::config::{Budget, Measure, Method, Tier as Level, Watch, recorded_budget, recorded_watch};
use crate::detect::budget::Share;
use crate::detect::null_value::NullValue;
use crate::detect::sealing::{Buckets, Days, recent_coverage};
use crate::detect::stream::{Replay, Stream};
use crate::domain::Window;
use crate::job::Context;
use crate::job::evidence::{Evidence, Gate, Known, STRAGGLING, lens, needs, subjects};
use crate::job::watch::watched;
use crate::store::alarm::StoredAlarm;
use crate::store::ledger::Reach;
use crate::store::stream::{EvidencePoint, StoredStream};

/// A stream in force.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Stream)]
pub struct Row {
    /// Its number.
    pub stream_id: i64,
    /// The model.
    pub model: String,
    /// The version.
    pub version: String,
    /// The watch.
    pub watch: String,
    /// What it measures.
    pub measure: Measure,
    /// How.
    pub method: Method,
    /// The output.
    pub output: String,
    /// The slice.
    pub slice: String,
    /// The first day whose evidence it takes in.
    pub starts: DateTime<Utc>,
    /// Sealed days before this one have been taken in.
    pub looked_until: DateTime<Utc>,
    /// The reference that its null values come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_id: Option<i32>,
    /// What "well" is, for each kind of days.
    #[schema(value_type = Vec<serde_json::Value>)]
    pub null: Vec<(Days, NullValue)>,
    /// Kinds of days that are not watched, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unwatched: Vec<String>,
    /// Why it cannot be watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why its promise may not be kept, as far as its units are concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dependent: Option<String>,
    /// Whether it is among the streams that are worth a look, by all evidence in force together.
    pub watched: bool,
    /// Where it stands, tier by tier.
    pub tiers: Vec<Tier>,
}

/// Where a stream stands in one tier.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = StreamTier)]
pub struct Tier {
    /// page, ticket or watch.
    pub tier: String,
    /// The last day with units, if there has been one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<DateTime<Utc>>,
    /// The evidence after it.
    pub evidence: f64,
    /// The evidence at which there is an alarm, or at which it is watched although no other stream is.
    pub threshold: f64,
    /// Its share of the tier's budget.
    pub weight: f64,
    /// When a change began, by what has won most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<DateTime<Utc>>,
}

/// A tier's budget, as the plan has it and as it turned out.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = Budget)]
pub struct Spent {
    /// page or ticket.
    pub tier: Level,
    /// False alarms a year that the plan allows.
    pub allowed: f64,
    /// Alarms of the last 365 days, true or false.
    pub raised: i64,
}

/// One stream day by day.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = StreamByDay)]
pub struct Shown {
    /// The stream.
    #[serde(flatten)]
    pub row: Row,
    /// What an alarm promises.
    pub promise: String,
    /// Why the promise may not be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stressed: Option<String>,
    /// Its alarms that nobody has answered yet.
    pub alarms: Vec<StoredAlarm>,
    /// Its tiers day by day.
    pub history: Vec<History>,
}

/// A tier day by day.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = StreamHistory)]
pub struct History {
    /// The tier.
    pub tier: Level,
    /// What was stored on each day.
    pub days: Vec<EvidencePoint>,
    /// The same from the sealed days anew, at today's threshold: while that has not changed it is the same to the last bit.
    pub replayed: Replay,
    /// What the sealed cases would have come to with the truth of today: a shadow of the detector.
    pub revised: Replay,
    /// Whether the truth of today supports the first alarm of the replay: the shadow alarms between its change and a fortnight after it. Absent
    /// without an alarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub still_supported: Option<bool>,
}

/// Which stream.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The model.
    pub model: Option<String>,
    /// The version.
    pub version: Option<String>,
    /// The watch.
    pub watch: Option<String>,
    /// The output.
    pub output: Option<String>,
    /// The slice in canonical form.
    pub slice: Option<String>,
    /// As it was at this instant; now without.
    pub as_of: Option<DateTime<Utc>>,
}

/// The streams in force that are asked for, in the order in which they were made.
///
/// # Errors
/// When the store fails.
pub async fn list(context: &Context, asked: &Asked) -> Result<Vec<Row>, Error> {
    Ok(own(context, asked).await?.into_iter().map(|(row, ..)| row).collect())
}

/// What the budget allows and what was spent of it, now or as of an instant.
///
/// # Errors
/// When the store fails.
pub async fn budget(context: &Context, as_of: Option<DateTime<Utc>>) -> Result<Vec<Spent>, Error> {
    let until = as_of.unwrap_or_else(|| context.clock.now());
    let raised: HashMap<String, i64> = context.store.count_alarms(until).await?.into_iter().collect();
    let budget = budget_of(context, plan_then(context, as_of).await?.as_ref());
    let spent = |(tier, allowed): (Level, f64)| Spent {
        tier,
        allowed,
        raised: raised.get(tier.as_str()).copied().unwrap_or_default(),
    };
    Ok([(Level::Page, budget.pages), (Level::Ticket, budget.tickets)].map(spent).to_vec())
}

/// The plan that was in force at an instant; nothing without one, or before the first plan.
async fn plan_then(context: &Context, as_of: Option<DateTime<Utc>>) -> Result<Option<Value>, Error> {
    let Some(at) = as_of else { return Ok(None) };
    let Some(plan_id) = context.store.find_plan_as_of(Some(at)).await? else { return Ok(None) };
    Ok(Some(context.store.load_plan(plan_id).await?.body))
}

fn budget_of(context: &Context, then: Option<&Value>) -> Budget {
    then.and_then(recorded_budget).unwrap_or(context.plan.budget)
}

/// One stream day by day, up to an instant: replayed from what was sealed, and with the truth of today beside it, or with that which
/// had come in as of an instant.
///
/// # Errors
/// When not exactly one stream is asked for, it cannot be watched, the plan no longer has its watch, or the store fails.
pub async fn show(context: &Context, asked: &Asked, to: Option<DateTime<Utc>>) -> Result<Shown, Error> {
    let mut found = own(context, asked).await?;
    let Some((row, stored, watch)) = found.pop() else {
        return Err(Error::Unknown(
            "there is no such stream; `dosimeter streams list` shows those that there are".into(),
        ));
    };
    if let Some((other, ..)) = found.pop() {
        return Err(Error::Unknown(format!(
            "several streams are meant, such as {} of {}, {} and {} of {}, {}: say which by --watch, --output and --slice",
            row.watch, row.output, row.slice, other.watch, other.output, other.slice
        )));
    }
    let stream = match &stored.stream {
        Ok(stream) => stream.clone(),
        Err(reason) => {
            return Err(Error::Unknown(format!("{} of {}, {}: {reason}", row.watch, row.output, row.slice)));
        }
    };
    let watch = watch.ok_or_else(|| Error::Unknown(format!("the plan has no watch {:?} any more", row.watch)))?;
    let end = to.map_or(stored.looked_until, |to| to.min(stored.looked_until));
    let sealed = context.store.load_sealed(stored.book(), stored.place(), (stored.starts, end)).await?;
    let revised = revised(context, (&row, &stored, &watch), (end, asked.as_of)).await?;
    let alarms: Vec<StoredAlarm> = context.store.list_unanswered_alarms_as_of(asked.as_of).await?;
    let alarms = alarms.into_iter().filter(|alarm| alarm.stream_id == stored.stream_id && alarm.day < end).collect();
    let coverage = if stored.with_truth { recent_coverage(&sealed, end) } else { None };
    let check =
        context.store.latest_checks_as_of(asked.as_of).await?.remove(&stored.stream_id).and_then(|check| check.effect);
    let mut history = Vec::new();
    let mut shares = Vec::new();
    for tier in &row.tiers {
        let Some(level) = Level::parse(&tier.tier) else { continue };
        let share = Share { tier: level, weight: tier.weight, threshold: tier.threshold };
        shares.push(share);
        let days = context.store.list_evidence(stored.stream_id, &tier.tier, stored.starts, asked.as_of).await?;
        let days: Vec<EvidencePoint> = days.into_iter().filter(|point| point.day < end).collect();
        history.push(of_tier(&stream, share, days, (&sealed, &revised)));
    }
    Ok(Shown {
        promise: stream.promise(&watch, &shares),
        stressed: stream.stressed(coverage, check.as_ref()),
        row,
        alarms,
        history,
    })
}

/// A shadow's alarm supports one that came so many days before it.
const LATER: i64 = 14;

fn of_tier(
    stream: &Stream,
    share: Share,
    days: Vec<EvidencePoint>,
    (sealed, revised): (&Buckets, &Buckets),
) -> History {
    let (replayed, revised) = (stream.follow(sealed, &share), stream.follow(revised, &share));
    let first = replayed.alarms.first();
    let still_supported = first.map(|first| {
        let span = first.change.unwrap_or(first.bucket)..=first.bucket + TimeDelta::days(LATER);
        revised.alarms.iter().any(|alarm| span.contains(&alarm.bucket))
    });
    History { tier: share.tier, days, replayed, revised, still_supported }
}

/// The sealed days of a stream with the truth of today, or of an instant.
async fn revised(
    context: &Context,
    (row, stored, watch): (&Row, &StoredStream, &Watch),
    (end, as_of): (DateTime<Utc>, Option<DateTime<Utc>>),
) -> Result<Buckets, Error> {
    let model = context.plan.model(&row.model);
    let (Some(model), Some(numbers)) = (model, context.catalog.models.get(&row.model)) else {
        return Err(Error::Unknown(format!("the plan has no model {:?} any more", row.model)));
    };
    let subject = subjects(model, watch).into_iter().find(|(_, name)| *name == row.output);
    let (subject, _) = subject.ok_or_else(|| Error::Unknown(format!("the model has no {:?} any more", row.output)))?;
    let slice = row.slice.parse().map_err(|_| Error::Unknown(format!("{:?} is no slice", row.slice)))?;
    let store = &context.store;
    let versions = store.list_versions().await?;
    let own = versions.iter().find(|version| version.version_id == stored.key.version_id);
    let own = own.ok_or_else(|| Error::Unknown(format!("there is no version {:?} any more", row.version)))?;
    let needs = needs(std::slice::from_ref(watch), numbers, (own, &versions));
    let gate = Gate { maturity_days: stored.maturity_days, with_truth: stored.with_truth };
    // What is sealed from the first day on is as old as the maturity, and stragglers are older still.
    let oldest = stored.starts - TimeDelta::days(gate.maturity_days + STRAGGLING);
    let recorded = match as_of {
        Some(at) => store.last_batch_at(at).await?,
        None => store.last_batch().await?,
    };
    let reach = Reach { window: Window { from: oldest, to: end }, recorded, said_after: None, sealing: None };
    let rows = store.load_received(stored.key.version_id, &needs, reach).await?;
    let lens = if needs.embeddings { lens(store, stored.key.version_id).await? } else { None };
    let evidence = Evidence::new(model, numbers, rows, lens);
    let window = Window { from: stored.starts, to: end };
    Ok(evidence.buckets(gate, Known::Revised, (subject, &slice), window))
}

/// The streams in force that are asked for, with what they are made of, and their watch where the plan of today has it.
async fn own(context: &Context, asked: &Asked) -> Result<Vec<(Row, StoredStream, Option<Watch>)>, Error> {
    let (store, then) = (&context.store, plan_then(context, asked.as_of).await?);
    let versions = store.list_versions().await?;
    let mut standings: HashMap<i64, Vec<Tier>> = HashMap::new();
    let all = store.list_standings_as_of(asked.as_of).await?;
    let watched = watched(&budget_of(context, then.as_ref()), &all);
    let checks = store.latest_checks_as_of(asked.as_of).await?;
    for standing in all {
        standings.entry(standing.stream_id).or_default().push(Tier {
            tier: standing.tier,
            day: standing.last.as_ref().map(|last| last.day),
            evidence: standing.last.as_ref().map_or(0.0, |last| last.evidence),
            threshold: standing.threshold,
            weight: standing.weight,
            change: standing.last.and_then(|last| last.change_at),
        });
    }
    let mut rows = Vec::new();
    for stored in store.list_streams_as_of(asked.as_of).await? {
        let Some((version, output)) = context.name_place(&stored.key, versions.iter()) else { continue };
        let planned = context.plan.model(&version.model);
        let planned = planned.and_then(|model| model.watches.iter().find(|watch| watch.name == stored.key.watch));
        let recorded = then.as_ref().and_then(|body| recorded_watch(body, &version.model, &stored.key.watch));
        let Some((measure, method)) = recorded.or_else(|| planned.map(|watch| (watch.measure, watch.method))) else {
            continue;
        };
        let is = |wanted: &Option<String>, own: &str| wanted.as_ref().is_none_or(|wanted| wanted == own);
        let is_meant = is(&asked.model, &version.model)
            && is(&asked.version, &version.name)
            && is(&asked.watch, &stored.key.watch)
            && is(&asked.output, output)
            && is(&asked.slice, &stored.key.slice);
        if !is_meant {
            continue;
        }
        let stream = stored.stream.as_ref();
        let strata = stream.iter().flat_map(|stream| &stream.strata);
        rows.push((
            Row {
                stream_id: stored.stream_id,
                model: version.model.clone(),
                version: version.name.clone(),
                watch: stored.key.watch.clone(),
                measure,
                method,
                output: output.to_owned(),
                slice: stored.key.slice.clone(),
                starts: stored.starts,
                looked_until: stored.looked_until,
                reference_id: stored.reference_id,
                null: strata.filter_map(|stratum| Some((stratum.days, stratum.null.clone()?))).collect(),
                unwatched: stream.map(|stream| stream.unwatched.clone()).unwrap_or_default(),
                reason: stream.err().cloned(),
                dependent: stream.ok().and_then(|stream| {
                    stream.stressed(None, checks.get(&stored.stream_id).and_then(|check| check.effect.as_ref()))
                }),
                watched: watched.contains(&stored.stream_id),
                tiers: standings.remove(&stored.stream_id).unwrap_or_default(),
            },
            stored.clone(),
            planned.cloned(),
        ));
    }
    Ok(rows)
}
