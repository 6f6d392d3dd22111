//! Watch: streams are made as the plan asks, and take in what has been sealed.
//!
//! A stream is made once of a watch and a reference and then frozen. Its evidence is a function of sealed days: the state after a day
//! is stored with it, and the next day goes on from there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Datelike, NaiveTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use super::evidence::{Evidence, Gate, Known, STRAGGLING, Subject, is_about, lens, needs, rival, subjects};
use super::seal::live_versions;
use super::{Context, Error, Result};
use crate::config::{Budget, Measure, Method, Model, SlicePattern, Tier, Unit, Watch, hex};
use crate::detect::budget::{self, Share, Sharing};
use crate::detect::stream::Stream;
use crate::domain::{Granularity, Slice, Window};
use crate::runtime::Outcome;
use crate::store::catalog::{ModelNumbers, Version};
use crate::store::lease::Lease;
use crate::store::ledger::{Book, Reach};
use crate::store::stream::{Check, Look, Standing, StoredStream, StreamKey, Taken};

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

/// A stream that the plan asks for.
struct Wanted<'a> {
    key: StreamKey,
    watch: &'a Watch,
    /// What it is made of, if it is not in force.
    new: Option<New<'a>>,
}

/// What a stream is made of.
struct New<'a> {
    asked: String,
    subject: Subject<'a>,
    name: String,
    slice: Slice,
    reference: Option<(i32, Window)>,
    evidence: Option<Arc<Evidence<'a>>>,
    /// The version that it is compared with.
    against: Option<i32>,
    reason: Option<String>,
}

impl Wanted<'_> {
    /// Make it. The null values share the confidence of all streams as they share the budget.
    fn make(&self, shares: &[Share], context: &Context, now: DateTime<Utc>) -> StoredStream {
        let Self { key, watch, new } = self;
        let gate = Gate::of(watch);
        let lag = TimeDelta::days(gate.maturity_days);
        let mut stored = StoredStream {
            stream_id: 0,
            key: key.clone(),
            asked: String::new(),
            reference_id: None,
            maturity_days: gate.maturity_days,
            with_truth: gate.with_truth,
            stream: Err("nothing is known of it".to_owned()),
            starts: Granularity::Day.start_of(now),
            looked_until: Granularity::Day.start_of(now),
        };
        let Some(new) = new else { return stored };
        stored.asked.clone_from(&new.asked);
        stored.reference_id = new.reference.map(|(id, _)| id);
        let reference = match (&new.evidence, new.reference) {
            (Some(evidence), Some((_, window))) => {
                // Cases of the reference's last day come of age later; those that do so after it are the stream's.
                let later = Window { from: window.from + lag, to: window.to + lag };
                stored.starts = stored.starts.max(Granularity::Day.start_of(later.to));
                evidence.buckets(gate, Known::Lived, (new.subject, &new.slice), later)
            }
            _ => BTreeMap::default(),
        };
        stored.looked_until = stored.starts;
        stored.stream = if let Some(reason) = &new.reason {
            Err(reason.clone())
        } else {
            let confidence = budget::confidence(&context.plan.budget, shares);
            let seed = format!("{}/{}/{}", watch.name, new.name, new.slice);
            let made = Stream::new(watch, (&seed, gate.maturity_days), &reference, confidence);
            made.map(|stream| Stream { against: new.against, ..stream })
        };
        stored
    }
}

/// The streams that the plan asks for; what is in force as it is asked for is not made again.
async fn wanted<'a>(
    context: &'a Context,
    versions: &'a [(Version, &'a Model, &'a ModelNumbers)],
    in_force: &[StoredStream],
) -> std::result::Result<Vec<Wanted<'a>>, Error> {
    let all = context.store.list_versions().await?;
    let mut wanted = Vec::new();
    for (version, model, numbers) in versions {
        let reference = context.store.reference_window(version.version_id).await?;
        let mut one = OfVersion { context, version, model, numbers, all: &all, reference, evidence: None };
        for watch in model.watches.iter().filter(|watch| is_about(watch, version)) {
            one.add_wanted(watch, in_force, &mut wanted).await?;
        }
    }
    Ok(wanted)
}

/// One version, whose watches may want streams.
struct OfVersion<'a, 'v> {
    context: &'a Context,
    version: &'a Version,
    model: &'a Model,
    numbers: &'a ModelNumbers,
    all: &'v [Version],
    /// The reference in force, with its window.
    reference: Option<(i32, Option<Window>)>,
    /// The rows of its window, once a stream needs them.
    evidence: Option<Arc<Evidence<'a>>>,
}

impl<'a> OfVersion<'a, '_> {
    /// The streams of one watch.
    async fn add_wanted(
        &mut self,
        watch: &'a Watch,
        in_force: &[StoredStream],
        wanted: &mut Vec<Wanted<'a>>,
    ) -> std::result::Result<(), Error> {
        let version_id = self.version.version_id;
        let today = Granularity::Day.start_of(self.context.clock.now());
        let against = rival(watch, self.version, self.all);
        let (window, reason) = match (&watch.against, against) {
            (Some(name), None) => (None, Some(no_rival(name))),
            _ => match basis(watch, self.reference, today) {
                Ok(window) => (window, None),
                Err(reason) => (None, Some(reason.to_owned())),
            },
        };
        let asked = digest(self.model, watch, (window.map(|(id, _)| id), against), reason.as_deref());
        let own = |stream: &&StoredStream| stream.key.version_id == version_id && stream.key.watch == watch.name;
        let known: Vec<&StoredStream> = in_force.iter().filter(own).filter(|stream| stream.asked == asked).collect();
        // Of a watch that needs no reference values that appear later get streams of their own.
        let may_grow = !needs_reference(watch) && matches!(watch.slices, SlicePattern::Each(_));
        if !known.is_empty() && !may_grow {
            wanted.extend(known.iter().map(|stream| Wanted { key: stream.key.clone(), watch, new: None }));
            return Ok(());
        }
        if let Some((_, window)) = window {
            self.load(window).await?;
        }
        let evidence = window.and(self.evidence.as_ref());
        for (subject, name) in subjects(self.model, watch) {
            let output_id = self.numbers.quantities.get(&name).copied().unwrap_or_default();
            let window = window.map(|(_, window)| window);
            for slice in self.slices(watch, (output_id, window), today).await? {
                let slice_text = slice.to_string();
                let key = StreamKey { version_id, watch: watch.name.clone(), output_id, slice: slice_text };
                let is_known = known.iter().any(|stream| stream.key == key);
                let new = (!is_known).then(|| New {
                    asked: asked.clone(),
                    subject,
                    name: name.clone(),
                    slice,
                    reference: self.reference.and_then(|(id, _)| Some((id, window?))),
                    evidence: evidence.cloned(),
                    against,
                    reason: reason.clone(),
                });
                wanted.push(Wanted { key, watch, new });
            }
        }
        Ok(())
    }

    /// Read the rows of the reference's window, if that has not been done.
    async fn load(&mut self, window: Window) -> std::result::Result<(), Error> {
        if self.evidence.is_some() {
            return Ok(());
        }
        let store = &self.context.store;
        let needs = needs(&self.model.watches, self.numbers, (self.version, self.all));
        let recorded = store.last_batch().await?;
        // Stragglers of long before are sealed in its days, as they are in the stream's.
        let from = window.from - TimeDelta::days(STRAGGLING);
        let reach = Reach { window: Window { from, ..window }, recorded, said_after: None, sealing: None };
        let rows = store.load_received(self.version.version_id, &needs, reach).await?;
        let lens = if needs.embeddings { lens(store, self.version.version_id).await? } else { None };
        self.evidence = Some(Arc::new(Evidence::new(self.model, self.numbers, rows, lens)));
        Ok(())
    }

    /// The slices that a watch means: of a dimension the values of the reference, or those that have been sealed lately.
    async fn slices(
        &self,
        watch: &Watch,
        (output_id, window): (i32, Option<Window>),
        today: DateTime<Utc>,
    ) -> std::result::Result<Vec<Slice>, Error> {
        let gate = Gate::of(watch);
        Ok(match (&watch.slices, &self.evidence, window) {
            (SlicePattern::One(slice), ..) => vec![slice.clone()],
            (pattern, Some(evidence), Some(window)) => evidence.slices(pattern, window),
            (SlicePattern::Each(dimension), ..) if !needs_reference(watch) => {
                let book: Book = (self.version.version_id, gate.maturity_days, gate.with_truth);
                let sealed = self.context.store.sealed_slices(book, output_id, today - super::seal::LIVE).await?;
                let slices = sealed.iter().filter_map(|slice| slice.parse::<Slice>().ok());
                slices.filter(|slice| slice.value_of(dimension).is_some()).collect()
            }
            // There is nothing to tell the slices from: one stream stands for all, with the reason.
            (SlicePattern::Each(_), ..) => vec![Slice::all()],
        })
    }
}

/// Why a watch that compares versions has nothing to compare with.
#[must_use]
pub fn no_rival(name: &str) -> String {
    format!("there is no prediction of version {name}, which it compares others with")
}

/// The reference that a stream is made of, if it needs one; or why it cannot be made yet.
fn basis(
    watch: &Watch,
    reference: Option<(i32, Option<Window>)>,
    today: DateTime<Utc>,
) -> std::result::Result<Option<(i32, Window)>, &'static str> {
    if !needs_reference(watch) {
        return Ok(None);
    }
    let Some((id, window)) = reference else {
        return Err("no reference is approved; freeze and approve one, or give the watch a limit");
    };
    let Some(window) = window else {
        return Err("the reference in force has no days of its own; freeze one from rows, or give the watch a limit");
    };
    if today < window.to + TimeDelta::days(watch.maturity_days) {
        return Err("the reference's last cases have not come of age yet; it is made when they have");
    }
    Ok(Some((id, window)))
}

/// Whether a watch has to know what was before: a contract does not, nor does what is stated of probabilities.
fn needs_reference(watch: &Watch) -> bool {
    let is_stated = watch.limit.is_some() || watch.against.is_some() || watch.measure == Measure::Calibration;
    !is_stated || watch.method != Method::Evidence
}

/// The way in which streams are made: it changes when the same watch and reference would make other bets.
const MAKING: u32 = 2;

/// What a stream is made of: when it changes, another one is made. What is only told of a watch is not in it.
fn digest(
    model: &Model,
    watch: &Watch,
    (reference_id, against): (Option<i32>, Option<i32>),
    reason: Option<&str>,
) -> String {
    let Watch {
        measure,
        method,
        run_length,
        output,
        costs,
        feature,
        slices,
        side,
        threshold,
        limit,
        tolerance,
        unit,
        ..
    } = watch;
    let bets = serde_json::json!([
        measure, method, run_length, output, costs, feature, slices, side, threshold, limit, tolerance, unit
    ]);
    let gate = serde_json::json!([watch.weekends, watch.maturity_days, model.truth_policy, model.uncertain]);
    let about = serde_json::json!([model.outputs, model.dimensions, model.features]);
    let asked = serde_json::json!([MAKING, bets, gate, about, reference_id, against, reason]);
    hex(&Sha256::digest(asked.to_string()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("{text}T00:00:00Z").parse().expect("an instant")
    }

    #[test]
    fn a_stream_is_made_of_a_reference_with_days_that_have_come_of_age_or_of_a_contract() {
        let plain = Watch::plain(Measure::Auroc);
        let contract = Watch { limit: Some(0.85), ..plain.clone() };
        let chart = Watch { method: Method::Cusum, ..plain.clone() };
        let window = Window { from: at("2025-01-01"), to: at("2025-03-01") };
        let reason = |watch, reference, today: &str| basis(watch, reference, at(today)).expect_err("not yet");
        assert!(reason(&plain, None, "2025-04-01").contains("no reference is approved"));
        assert!(reason(&chart, None, "2025-04-01").contains("no reference is approved"), "a chart needs one, too");
        assert!(reason(&plain, Some((1, None)), "2025-04-01").contains("no days of its own"));
        assert!(reason(&plain, Some((1, Some(window))), "2025-03-07").contains("not come of age"));
        assert_eq!(basis(&plain, Some((1, Some(window))), at("2025-03-08")), Ok(Some((1, window))));
        for watch in [contract, Watch::plain(Measure::Calibration)] {
            assert_eq!(basis(&watch, None, at("2025-03-08")), Ok(None));
        }
    }
}
