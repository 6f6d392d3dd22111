//! Seal: the cases that came of age, or whose truth settled, on a day that is over enter the evidence ledger, for good.
//!
//! Every watch's kind of ledger (its maturity, and whether its cases wait for truth) is a book. A day is sealed once, with what this
//! installation had by its end; what arrives afterwards belongs to the day on which it arrives.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::evidence::{Evidence, Gate, Known, is_about, lens, needs, subjects};
use super::{Context, Error, Result};
use crate::config::{Model, Watch};
use crate::domain::{Granularity, Slice, Window};
use crate::runtime::Outcome;
use crate::store::catalog::{ModelNumbers, Version};
use crate::store::lease::Lease;
use crate::store::ledger::{Book, LastSeal, Page, Reach};

/// A version without a case for so long is watched no more.
pub const LIVE: TimeDelta = TimeDelta::days(60);

/// Seal every day that is over.
///
/// # Errors
/// When the store fails.
pub async fn run(context: &Context, lease: &Lease) -> Result {
    let today = Granularity::Day.start_of(context.clock.now());
    let sealed = context.store.last_seals().await?;
    let versions = context.store.list_versions().await?;
    let mut outcome = Outcome::Idle;
    for (version, model, numbers) in live_versions(context).await? {
        let gates: BTreeSet<Gate> =
            model.watches.iter().filter(|watch| is_about(watch, &version)).map(Gate::of).collect();
        for gate in gates {
            let own = |watch: &&Watch| Gate::of(watch) == gate && is_about(watch, &version);
            let watches = model.watches.iter().filter(own).cloned().collect();
            let volume = Volume { context, version: &version, versions: &versions, model, numbers, watches, gate };
            let Some(last) = sealed.get(&volume.book()) else {
                // The book is opened: what entered before today does not count, and tomorrow the first day is sealed.
                let recorded = context.store.last_batch_before(today).await?;
                volume.seal(lease, (today - TimeDelta::days(1), recorded), Page::new()).await?;
                outcome = Outcome::Done;
                continue;
            };
            let mut last = *last;
            while last.day + TimeDelta::days(1) < today {
                let day = last.day + TimeDelta::days(1);
                // A clock that was ahead does not take back what was in the day before.
                let recorded = context.store.last_batch_before(day + TimeDelta::days(1)).await?.max(last.recorded);
                let page = volume.page(last, recorded).await?;
                volume.seal(lease, (day, recorded), page).await?;
                outcome = Outcome::Done;
                last = LastSeal { day, recorded };
            }
        }
    }
    Ok(outcome)
}

/// The versions that are watched: their model has watches, and they have had a case lately.
///
/// # Errors
/// When the store fails.
pub async fn live_versions(context: &Context) -> std::result::Result<Vec<(Version, &Model, &ModelNumbers)>, Error> {
    let now = context.clock.now();
    let mut live = Vec::new();
    for version in context.store.list_versions().await? {
        let Some((model, numbers)) = context.model_of(&version) else { continue };
        if model.watches.is_empty() {
            continue;
        }
        if context.store.has_predictions_since(version.version_id, now - LIVE).await? {
            live.push((version, model, numbers));
        }
    }
    Ok(live)
}

/// One book of one version.
struct Volume<'a> {
    context: &'a Context,
    version: &'a Version,
    versions: &'a [Version],
    model: &'a Model,
    numbers: &'a ModelNumbers,
    /// The watches that read it.
    watches: Vec<Watch>,
    gate: Gate,
}

impl Volume<'_> {
    fn book(&self) -> Book {
        (self.version.version_id, self.gate.maturity_days, self.gate.with_truth)
    }

    /// The cases that enter on the day after the last seal, with batches up to `recorded`, for every output and slice that a watch of
    /// this book is about.
    async fn page(&self, last: LastSeal, recorded: i64) -> std::result::Result<Page, Error> {
        let day = last.day + TimeDelta::days(1);
        let end = day + TimeDelta::days(1);
        let maturity = TimeDelta::days(self.gate.maturity_days);
        let store = &self.context.store;
        let reach = Reach {
            window: Window { from: day - maturity, to: end - maturity },
            recorded,
            said_after: self.gate.with_truth.then_some(last.recorded),
            sealing: Some((last.recorded, day)),
        };
        let needs = needs(&self.watches, self.numbers, (self.version, self.versions));
        let rows = store.load_received(self.version.version_id, &needs, reach).await?;
        let lens = if needs.embeddings { lens(store, self.version.version_id).await? } else { None };
        let evidence = Evidence::new(self.model, self.numbers, rows, lens);
        let mut page: BTreeMap<(i32, Slice), _> = BTreeMap::new();
        for watch in &self.watches {
            for (subject, name) in subjects(self.model, watch) {
                let output_id = self.numbers.quantities.get(&name).copied().unwrap_or_default();
                // Stragglers are older than the window.
                let whole = Window { from: DateTime::UNIX_EPOCH, to: end };
                for slice in evidence.slices(&watch.slices, whole) {
                    let key = (output_id, slice);
                    if page.contains_key(&key) {
                        continue;
                    }
                    let days = Window { from: day, to: end };
                    let buckets = evidence.buckets(self.gate, Known::Received, (subject, &key.1), days);
                    // The lease is prolonged meanwhile.
                    tokio::task::yield_now().await;
                    let sealed = buckets.into_values().next().unwrap_or_default();
                    if !sealed.is_empty() {
                        page.insert(key, sealed);
                    }
                }
            }
        }
        Ok(page.into_iter().map(|((output_id, slice), sealed)| (output_id, slice.to_string(), sealed)).collect())
    }

    async fn seal(
        &self,
        lease: &Lease,
        (day, recorded): (DateTime<Utc>, i64),
        page: Page,
    ) -> std::result::Result<(), Error> {
        let store = &self.context.store;
        store.seal_day(lease, self.book(), (day, recorded), &page, self.context.clock.now()).await?;
        tracing::debug!(version = self.version.name, day = %day, rows = page.len(), "sealed a day");
        Ok(())
    }
}
