//! Evaluate: the summaries of a window become one published estimate per output and slice.
//!
//! What has not changed is not published again: the digest of everything that goes into an estimate is compared with that
//! of the latest one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::answer::Asked;
use super::{Context, Error, Result};
use crate::config::{Model, Quantity, hex};
use crate::domain::{Slice, Window, WindowSpec};
use crate::metric::{CALCULATOR_VERSION, Depth};
use crate::runtime::Outcome;
use crate::store::catalog::{ModelNumbers, Version};
use crate::store::estimate::{Metrics, StoredEstimate};
use crate::store::lease::Lease;
use crate::store::reference::Baseline;
use crate::store::summary::{WindowState, WindowSummaries, consistent_at};
use crate::summary::body::{Body, Kind};
use crate::summary::codec;
use crate::summary::fold::over_buckets;

/// In what an evaluation found: between what is asked and what it is asked of.
const DATA: &str = "; ";

/// Whether an estimate may be given right after the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Not sooner than the plan says: truth that trickles in would fill the history with estimates that hardly differ.
    Plan,
    /// At once.
    AtOnce,
}

/// Estimate every window of every version of the plan's models.
///
/// # Errors
/// When the store fails.
pub async fn run(context: &Context, lease: &Lease, pace: Pace) -> Result {
    let mut outcome = Outcome::Idle;
    let now = context.clock.now();
    for version in context.store.list_versions().await? {
        let Some((model, numbers)) = context.model_of(&version) else { continue };
        let reference_id = context.store.find_reference(version.version_id).await?;
        for spec in &model.windows {
            let evaluation = Evaluation { context, lease, version: &version, model, numbers, reference_id, now, pace };
            if evaluation.publish(*spec).await? {
                outcome = Outcome::Done;
            }
        }
    }
    Ok(outcome)
}

struct Evaluation<'a> {
    context: &'a Context,
    lease: &'a Lease,
    version: &'a Version,
    model: &'a Model,
    numbers: &'a ModelNumbers,
    reference_id: Option<i32>,
    now: DateTime<Utc>,
    pace: Pace,
}

impl Evaluation<'_> {
    /// Publish what changed in one window; says whether anything did.
    async fn publish(&self, spec: WindowSpec) -> std::result::Result<bool, Error> {
        let window = spec.at(self.now);
        let name = spec.to_string();
        let version_id = self.version.version_id;
        let store = &self.context.store;
        let state = store.window_state(version_id, window).await?;
        let found = self.found(window, &state);
        if consistent_at(state.lacks, state.latest_batch, state.latest_batch).is_none() {
            // Estimates are consistent with one batch number: they wait for the fold.
            return Ok(false);
        }
        if let Some((before, evaluated_at)) = store.find_evaluation(version_id, &name).await? {
            // A changed plan or reference is seen at once.
            let only_data = before.split(DATA).next() == found.split(DATA).next();
            // An instant to come is that of a clock which has been set back.
            let is_soon =
                evaluated_at <= self.now && self.now < evaluated_at + self.context.plan.service.estimate_every;
            if before == found || (is_soon && only_data && self.pace == Pace::Plan) {
                return Ok(false);
            }
        }
        let stored = store.load_summaries(version_id, window).await?;
        let Some(recorded) = stored.consistent_at.filter(|_| stored.fold_digest == self.model.fold_digest()) else {
            return Ok(false);
        };
        let reference = match self.reference_id {
            Some(reference_id) => Some(store.load_reference(reference_id).await?),
            None => None,
        };
        let latest = store.latest_digests(version_id, &name).await?;
        let known_at = stored.summaries.iter().filter_map(|summary| summary.known_at).max();
        let known_before = latest.len();
        let work = Work { model: self.model.clone(), numbers: self.numbers.clone(), reference, window, latest };
        // Arithmetic has a thread of its own, so that the runtime goes on.
        let answers = tokio::task::spawn_blocking(move || work.answers(stored)).await?;
        let published: Vec<(i32, String)> =
            answers.iter().map(|answer| (answer.output_id, answer.slice.to_string())).collect();
        let plan_id = self.context.catalog.plan_id;
        let changed = answers.into_iter().filter_map(|answer| {
            Some(StoredEstimate {
                estimate_id: 0,
                version_id,
                output_id: answer.output_id,
                slice: answer.slice,
                window_name: name.clone(),
                window,
                // Truth dated ahead of the clock is in the summaries: what was known reaches as far.
                known_at: known_at.map_or(self.now, |at| at.max(self.now)),
                recorded,
                plan_id,
                reference_id: self.reference_id,
                input_digest: answer.input_digest,
                calculator: CALCULATOR_VERSION,
                metrics: answer.news?,
                estimated_at: self.now,
            })
        });
        let changed: Vec<StoredEstimate> = changed.collect();
        let is_news = !changed.is_empty() || known_before != published.len();
        let what = (version_id, name.as_str());
        store.publish_estimates(self.lease, what, (&found, self.now), &changed, &published).await?;
        Ok(is_news)
    }

    /// All that the window's estimates depend on, as far as it can be told without reading summaries.
    fn found(&self, window: Window, state: &WindowState) -> String {
        let reference_id = self.reference_id;
        let WindowState { summaries, latest_batch, batches, .. } = state;
        let plan_id = self.context.catalog.plan_id;
        format!(
            "calculator {CALCULATOR_VERSION}, plan {plan_id}, reference {reference_id:?}{DATA}{window}, {summaries} summaries, \
             batch {latest_batch}, sum {batches}"
        )
    }
}

/// What one window is evaluated with.
struct Work {
    model: Model,
    numbers: ModelNumbers,
    reference: Option<Arc<Baseline>>,
    window: Window,
    latest: HashMap<(i32, String), String>,
}

/// One output and slice of a window.
struct Answer {
    output_id: i32,
    slice: Slice,
    input_digest: String,
    /// The metrics, unless the digest is that of the latest estimate.
    news: Option<Metrics>,
}

impl Work {
    /// Merge and answer, every slice of every quantity, on all processors.
    fn answers(&self, stored: WindowSummaries) -> Vec<Answer> {
        let mut parts = over_buckets(stored.summaries.into_iter().map(|stored| (stored.cell, stored.summary)));
        // A silent version says so: the slice of everything is always there.
        let said = self.model.quantities().into_iter().filter_map(|quantity| {
            let kind =
                quantity.kind().filter(|kind| !matches!(kind, Kind::Embedding | Kind::Feature | Kind::Readers))?;
            Some((*self.numbers.quantities.get(&quantity.name())?, kind))
        });
        for (output_id, kind) in said {
            parts.entry((output_id, Slice::all())).or_insert_with(|| Body::empty(kind));
        }
        let digests: Digests =
            parts.par_iter().map(|(key, body)| (key.clone(), Sha256::digest(codec::encode(body)).to_vec())).collect();
        let slices: BTreeSet<&Slice> = parts.keys().map(|(_, slice)| slice).collect();
        let quantities = self.model.quantities();
        let keys: Vec<(&Quantity<'_>, i32, &Slice)> = quantities
            .iter()
            .filter_map(|quantity| Some((quantity, *self.numbers.quantities.get(&quantity.name())?)))
            .flat_map(|(quantity, output_id)| slices.iter().map(move |slice| (quantity, output_id, *slice)))
            .collect();
        let answer = |(quantity, output_id, slice): &(&Quantity<'_>, i32, &Slice)| {
            let asked = Asked {
                model: &self.model,
                numbers: &self.numbers,
                quantity: **quantity,
                output_id: *output_id,
                slice,
                reference: self.reference.as_deref(),
                depth: Depth::Published,
            };
            let input_digest = self.digest(&asked, &digests)?;
            let is_known = self.latest.get(&(*output_id, slice.to_string())) == Some(&input_digest);
            let news = if is_known { None } else { Some(asked.answer(&parts)?) };
            Some(Answer { output_id: *output_id, slice: (*slice).clone(), input_digest, news })
        };
        keys.par_iter().filter_map(answer).collect()
    }

    /// SHA-256 of all that an estimate depends on; `None` where there is nothing to estimate.
    fn digest(&self, asked: &Asked<'_>, digests: &Digests) -> Option<String> {
        let mut hasher = Sha256::new();
        let parameters = serde_json::json!([
            CALCULATOR_VERSION,
            self.window,
            match asked.quantity {
                Quantity::Output(output) => serde_json::json!(output),
                Quantity::Classes(choice) => serde_json::json!(choice),
                Quantity::Value(value) => serde_json::json!(value),
                other => serde_json::json!(other.name()),
            },
            self.model.minimum_n,
            self.model.shape(),
            self.reference.as_ref().map(|baseline| baseline.reference_id),
        ]);
        hasher.update(parameters.to_string());
        let own = |output_id: i32| digests.get(&(output_id, asked.slice.clone()));
        if let Quantity::Whole = asked.quantity {
            for output in self.model.plain_outputs() {
                hasher.update(own(*self.numbers.outputs.get(&output.name)?)?);
            }
        } else {
            hasher.update(own(asked.output_id)?);
        }
        let has_mixes = matches!(asked.quantity, Quantity::Output(_) | Quantity::Classes(_) | Quantity::Value(_));
        if has_mixes && asked.slice.is_all() {
            // The mixes read the slices of every dimension.
            for ((output_id, slice), digest) in digests {
                if *output_id == asked.output_id && slice.dimensions().len() == 1 {
                    hasher.update(slice.to_string());
                    hasher.update(digest);
                }
            }
        }
        Some(hex(&hasher.finalize()))
    }
}

/// The digest of each merged summary.
type Digests = BTreeMap<(i32, Slice), Vec<u8>>;
