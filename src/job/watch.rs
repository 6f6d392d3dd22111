//! Watch: streams are made as the plan asks, and take in what has been sealed.
//!
//! A stream is made once of a watch and a reference and then frozen. Its evidence is a function of sealed days: the state after a day
//! is stored with it, and the next day goes on from there.

mod wanted;

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Datelike, NaiveTime, TimeDelta, Utc};

use self::wanted::{Wanted, wanted};
use super::evidence::is_about;
use super::seal::live_versions;
use super::{Context, Error, Result};
use crate::config::{Budget, Model, Tier, Unit, Watch};
use crate::detect::budget::{self, Share, Sharing};
use crate::detect::stream::Stream;
use crate::domain::Slice;
use crate::runtime::Outcome;
use crate::store::catalog::{ModelNumbers, Version};
use crate::store::lease::Lease;
use crate::store::stream::{Look, Standing, StoredStream, StreamKey, Taken};
use crate::store::stream_check::Check;

pub use self::wanted::no_rival;

/// Make the streams that the plan asks for, end those that it does not, and take in every sealed day.
///
/// # Errors
/// When the store fails.
pub async fn run(context: &Context, lease: &Lease) -> Result {
    let now = context.clock.now();
    let mut outcome = Outcome::Idle;
    let versions = live_versions(context).await?;
    let in_force = context.store.list_streams().await?;
    let wanted = wanted(context, &versions, &in_force).await?;
    let shares = shares(context, &versions, &wanted);
    for one in wanted.iter().filter(|one| one.new.is_some()) {
        let key = one.key.clone();
        let stream = one.make(shares.get(&one.key).map(Vec::as_slice).unwrap_or_default(), context, now);
        tracing::info!(watch = key.watch, slice = key.slice, reason = stream.stream.as_ref().err(), "made a stream");
        context.store.make_stream(lease, &stream, now).await?;
        outcome = Outcome::Done;
    }
    let keys: BTreeSet<&StreamKey> = wanted.iter().map(|one| &one.key).collect();
    let over: Vec<i64> = in_force.iter().filter(|s| !keys.contains(&s.key)).map(|s| s.stream_id).collect();
    if !over.is_empty() {
        context.store.end_streams(lease, &over, now).await?;
        outcome = Outcome::Done;
    }
    let sealed = context.store.last_seals().await?;
    let streams = context.store.list_streams().await?;
    let standings = context.store.list_standings().await?;
    let changed = changed(&streams, &shares, &standings);
    if !changed.is_empty() {
        context.store.set_shares(lease, &changed).await?;
        outcome = Outcome::Done;
    }
    let checks = context.store.latest_checks().await?;
    let (mut taken, mut rechecked) = (Vec::new(), Vec::new());
    for stream in streams {
        let (Ok(own), Some(shares)) = (&stream.stream, shares.get(&stream.key)) else { continue };
        let Some(end) = sealed.get(&stream.book()).map(|last| last.day + TimeDelta::days(1)) else { continue };
        if stream.looked_until >= end {
            continue;
        }
        let before: Vec<&Standing> = standings.iter().filter(|s| s.stream_id == stream.stream_id).collect();
        let looks = looks(context, (&stream, own), shares, &before, end).await?;
        for alarm in looks.iter().filter(|look| look.seen.alarms) {
            tracing::info!(
                watch = stream.key.watch,
                slice = stream.key.slice,
                tier = alarm.share.tier.as_str(),
                day = %alarm.day,
                evidence = alarm.seen.evidence,
                "an alarm"
            );
        }
        rechecked.extend(recheck(context, (&stream, own), checks.get(&stream.stream_id), end).await?);
        taken.push(Taken { stream_id: stream.stream_id, looks, looked_until: end });
    }
    if !rechecked.is_empty() {
        context.store.add_checks(lease, &rechecked, now).await?;
    }
    if !taken.is_empty() {
        context.store.add_evidence(lease, &taken, now).await?;
        outcome = Outcome::Done;
    }
    Ok(outcome)
}

/// Sealed days that a check of the assumption looks back.
const CHECKED_DAYS: i64 = 365;

/// Once a month, whether the units of a day hang together, by the sealed days up to the month's beginning; `None` when that is known, or
/// nothing depends on it.
async fn recheck(
    context: &Context,
    (stored, stream): (&StoredStream, &Stream),
    last: Option<&Check>,
    end: DateTime<Utc>,
) -> std::result::Result<Option<Check>, Error> {
    let Some(month) = end.date_naive().with_day(1).map(|first| first.and_time(NaiveTime::MIN).and_utc()) else {
        return Ok(None);
    };
    let is_due = last.is_none_or(|last| last.month < month) && month > stored.starts;
    if stream.unit == Unit::Cluster || !is_due {
        return Ok(None);
    }
    let from = stored.starts.max(month - TimeDelta::days(CHECKED_DAYS));
    let days = context.store.load_sealed(stored.book(), stored.place(), (from, month)).await?;
    let effect = stream.rechecked(&days);
    Ok(Some(Check { stream_id: stored.stream_id, month, from, effect }))
}

/// The streams that are listed as watched, by their number: judged over all in force, whatever else is asked.
#[must_use]
pub fn watched(budget: &Budget, standings: &[Standing]) -> BTreeSet<i64> {
    let own: Vec<&Standing> = standings.iter().filter(|one| one.tier == Tier::Watch.as_str()).collect();
    let evidence: Vec<f64> = own.iter().map(|one| one.last.as_ref().map_or(0.0, |last| last.evidence)).collect();
    let watched = budget::watched(budget, &evidence);
    own.into_iter().zip(watched).filter(|(_, is_watched)| *is_watched).map(|(one, _)| one.stream_id).collect()
}

/// The shares that are others than those that are noted.
fn changed(
    streams: &[StoredStream],
    shares: &HashMap<StreamKey, Vec<Share>>,
    standings: &[Standing],
) -> Vec<(i64, Share)> {
    let is_noted = |stream_id: i64, share: &Share| {
        standings.iter().any(|known| {
            (known.stream_id, known.tier.as_str()) == (stream_id, share.tier.as_str())
                && known.weight == share.weight
                && known.threshold == share.threshold
        })
    };
    let of = |stream: &StoredStream| {
        let Ok(own) = &stream.stream else { return Vec::new() };
        let shares = shares.get(&stream.key).map(Vec::as_slice).unwrap_or_default().iter();
        // A chart has a limit of its own.
        let shares = shares.map(|share| Share { threshold: own.limit(share.threshold), ..*share });
        shares.filter(|share| !is_noted(stream.stream_id, share)).map(|share| (stream.stream_id, share)).collect()
    };
    streams.iter().flat_map(of).collect()
}

/// What sealed days make of a stream, tier by tier.
async fn looks(
    context: &Context,
    (stored, stream): (&StoredStream, &Stream),
    shares: &[Share],
    before: &[&Standing],
    end: DateTime<Utc>,
) -> std::result::Result<Vec<Look>, Error> {
    let (book, place) = (stored.book(), stored.place());
    let days = context.store.load_sealed(book, place, (stored.looked_until, end)).await?;
    let mut looks = Vec::new();
    for share in shares {
        let share = &Share { threshold: stream.limit(share.threshold), ..*share };
        let standing = before.iter().find(|standing| standing.tier == share.tier.as_str());
        let last = standing.and_then(|standing| standing.last.as_ref());
        let mut state = last.map_or_else(|| stream.start(), |last| last.state.clone());
        // A threshold that falls because others have left takes its evidence along: the budget is not spent twice.
        let told = last.filter(|_| share.tier != Tier::Watch);
        if let Some(last) = told.filter(|last| share.threshold < last.threshold) {
            state.scale(share.threshold / last.threshold);
        }
        for (day, sealed) in &days {
            let Some(seen) = stream.look(&mut state, (*day, sealed), share) else { continue };
            let measured = if seen.alarms {
                let since = seen.change.unwrap_or(*day);
                let own = context.store.load_sealed(book, place, (since, *day + TimeDelta::days(1))).await?;
                stream.estimated(own.values())
            } else {
                None
            };
            looks.push(Look { day: *day, share: *share, seen, measured, state: state.clone() });
        }
    }
    Ok(looks)
}

/// Every stream's shares of the budgets. A stream that cannot be watched keeps its share: what it lacks may come.
fn shares(
    context: &Context,
    versions: &[(Version, &Model, &ModelNumbers)],
    wanted: &[Wanted<'_>],
) -> HashMap<StreamKey, Vec<Share>> {
    let whole = Slice::all().to_string();
    let sharing: Vec<Sharing<'_, (i32, &str)>> = wanted
        .iter()
        .map(|Wanted { key, watch, .. }| Sharing {
            id: (key.version_id, key.watch.as_str()),
            watch,
            is_whole: key.slice == whole,
        })
        .collect();
    let of = |(version, model, _): &(Version, &Model, &ModelNumbers)| {
        model.watches.iter().filter(|watch| is_about(watch, version)).cloned().collect::<Vec<Watch>>()
    };
    let watches: Vec<Watch> = versions.iter().flat_map(of).collect();
    let shares = budget::shares(&context.plan.budget, &sharing, watches.iter());
    wanted.iter().map(|one| one.key.clone()).zip(shares).collect()
}
