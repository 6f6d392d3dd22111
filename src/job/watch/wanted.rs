//! The streams that the plan asks for: which they are, and what they are made of.
//!
//! A stream in force that is asked for as it was made is left alone; one of another watch, reference or version is made anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use crate::chain::hex;
use crate::config::{Measure, Method, Model, SlicePattern, Watch};
use crate::detect::budget::{self, Share};
use crate::detect::stream::Stream;
use crate::domain::{Granularity, Slice, Window};
use crate::job::evidence::{Evidence, Gate, Known, STRAGGLING, Subject, is_about, lens, needs, rival, subjects};
use crate::job::seal::LIVE;
use crate::job::{Context, Error};
use crate::store::catalog::{ModelNumbers, Version};
use crate::store::ledger::{Book, Reach};
use crate::store::stream::{StoredStream, StreamKey};

/// A stream that the plan asks for.
pub(super) struct Wanted<'a> {
    pub(super) key: StreamKey,
    pub(super) watch: &'a Watch,
    /// What it is made of, if it is not in force.
    pub(super) new: Option<New<'a>>,
}

/// What a stream is made of.
pub(super) struct New<'a> {
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
    pub(super) fn make(&self, shares: &[Share], context: &Context, now: DateTime<Utc>) -> StoredStream {
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
pub(super) async fn wanted<'a>(
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
                let sealed = self.context.store.sealed_slices(book, output_id, today - LIVE).await?;
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
const MAKING: u32 = 3;

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
