//! Evaluate: the summaries of a window become one published estimate per output and slice.
//!
//! What has not changed is not published again: the digest of everything that goes into an estimate is compared with that
//! of the latest one.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::{Context, Error, Result};
use crate::config::{Model, Output, hex};
use crate::domain::{Dimension, Slice, Window, WindowSpec};
use crate::metric::{CALCULATOR_VERSION, Mix, Question, evaluate};
use crate::runtime::Outcome;
use crate::store::catalog::{ModelNumbers, Version};
use crate::store::estimate::{Metrics, StoredEstimate};
use crate::store::lease::Lease;
use crate::store::reference::Parts;
use crate::store::summary::WindowSummaries;
use crate::summary::{Summary, codec};

/// Estimate every window of every version of the plan's models.
///
/// # Errors
/// When the store fails.
pub async fn run(context: &Context, lease: &Lease) -> Result {
    let mut outcome = Outcome::Idle;
    let now = context.clock.now();
    for version in context.store.list_versions().await? {
        let Some((model, numbers)) = context.model_of(&version) else { continue };
        let reference = context.store.load_reference(version.version_id).await?;
        for spec in &model.windows {
            let evaluation = Evaluation { context, lease, version: &version, model, numbers, now };
            if evaluation.publish(*spec, reference.as_ref()).await? {
                outcome = Outcome::Done;
            }
        }
        context.prolong(lease).await?;
    }
    Ok(outcome)
}

struct Evaluation<'a> {
    context: &'a Context,
    lease: &'a Lease,
    version: &'a Version,
    model: &'a Model,
    numbers: &'a ModelNumbers,
    now: DateTime<Utc>,
}

impl Evaluation<'_> {
    /// Publish what changed in one window; says whether anything did.
    async fn publish(&self, spec: WindowSpec, reference: Option<&(i32, Parts)>) -> std::result::Result<bool, Error> {
        let window = spec.at(self.now);
        let name = spec.to_string();
        let version_id = self.version.version_id;
        let stored = self.context.store.load_summaries(version_id, window).await?;
        if stored.dirty > 0 || stored.summaries.is_empty() {
            // Estimates are consistent with one batch number: wait for the fold. Without a case there is nothing to say.
            return Ok(false);
        }
        let latest = self.context.store.latest_digests(version_id, &name).await?;
        let known_at = stored.summaries.iter().filter_map(|summary| summary.known_at).max();
        let merged = Merged::new(&stored, window);
        let mut changed = Vec::new();
        let mut published = Vec::new();
        for output in &self.model.outputs {
            let Some(output_id) = self.numbers.outputs.get(&output.name).copied() else { continue };
            for slice in merged.slices_of(output_id) {
                let digest = self.digest(output, &merged, (output_id, slice), reference);
                published.push((output_id, slice.to_string()));
                if latest.get(&(output_id, slice.to_string())) == Some(&digest) {
                    continue;
                }
                let parts = reference.map(|(_, parts)| parts);
                let Some(metrics) = answer(self.model, output, output_id, slice, &merged.parts, parts) else {
                    continue;
                };
                changed.push(StoredEstimate {
                    estimate_id: 0,
                    version_id,
                    output_id,
                    slice: slice.clone(),
                    window_name: name.clone(),
                    window,
                    // Truth dated ahead of the clock is in the summaries: what was known reaches as far.
                    known_at: known_at.map_or(self.now, |at| at.max(self.now)),
                    recorded: stored.batch_id,
                    reference_id: reference.map(|(reference_id, _)| *reference_id),
                    input_digest: digest,
                    metrics,
                    estimated_at: self.now,
                });
            }
        }
        if changed.is_empty() && latest.len() == published.len() {
            return Ok(false);
        }
        let what = (version_id, name.as_str());
        let plan_id = self.context.catalog.plan_id;
        self.context.store.publish_estimates(self.lease, plan_id, what, &changed, &published).await?;
        Ok(true)
    }

    /// SHA-256 of all that an estimate depends on.
    fn digest(&self, output: &Output, merged: &Merged, key: (i32, &Slice), reference: Option<&(i32, Parts)>) -> String {
        let mut hasher = Sha256::new();
        let parameters = serde_json::json!([
            CALCULATOR_VERSION,
            merged.window,
            output,
            self.model.minimum_n,
            self.model.dimensions,
            reference.map(|(reference_id, _)| reference_id),
        ]);
        hasher.update(parameters.to_string());
        hasher.update(merged.digests.get(&(key.0, key.1.clone())).map_or(&[][..], |digest| digest));
        if key.1.is_all() {
            // The mixes read the slices of every dimension.
            for ((output_id, slice), digest) in &merged.digests {
                if *output_id == key.0 && slice.dimensions().len() == 1 {
                    hasher.update(slice.to_string());
                    hasher.update(digest);
                }
            }
        }
        hex(&hasher.finalize())
    }
}

/// The summaries of a window, merged over its buckets.
struct Merged {
    window: Window,
    parts: Parts,
    digests: BTreeMap<(i32, Slice), Vec<u8>>,
}

impl Merged {
    fn new(stored: &WindowSummaries, window: Window) -> Self {
        let mut parts = Parts::new();
        for summary in &stored.summaries {
            let key = (summary.cell.output_id, summary.cell.slice.clone());
            parts.entry(key).or_default().merge(&summary.summary);
        }
        let digests = parts.iter().map(|(key, summary)| (key.clone(), Sha256::digest(codec::encode(summary)).to_vec()));
        Self { window, digests: digests.collect(), parts }
    }

    fn slices_of(&self, output_id: i32) -> impl Iterator<Item = &Slice> {
        self.parts.keys().filter(move |(output, _)| *output == output_id).map(|(_, slice)| slice)
    }
}

/// All metrics of one output and slice; `None` when there is no such summary.
#[must_use]
pub fn answer(
    model: &Model,
    output: &Output,
    output_id: i32,
    slice: &Slice,
    parts: &Parts,
    reference: Option<&Parts>,
) -> Option<Metrics> {
    let key = (output_id, slice.clone());
    let summary = parts.get(&key)?;
    let mixes: Vec<Mix> = if slice.is_all() {
        model.dimensions.iter().map(|dimension| mix(dimension, output_id, parts, reference)).collect()
    } else {
        Vec::new()
    };
    let question = Question {
        thresholds: &output.thresholds,
        minimum_n: model.minimum_n,
        reference: reference.and_then(|parts| parts.get(&key)),
        mixes: &mixes,
    };
    Some(evaluate(&question, summary))
}

/// Predictions by value of a dimension, in the reference and in the window.
fn mix(dimension: &Dimension, output_id: i32, parts: &Parts, reference: Option<&Parts>) -> Mix {
    let count = |parts: &Parts| -> BTreeMap<String, u64> {
        let own = parts.iter().filter(|((output, _), _)| *output == output_id);
        own.filter_map(|((_, slice), summary)| Some((slice.value_of(&dimension.name)?.to_owned(), total(summary))))
            .collect()
    };
    let (before, after) = (reference.map(count).unwrap_or_default(), count(parts));
    let mut values: Vec<&String> = before.keys().chain(after.keys()).collect();
    let order = dimension.ordered_values();
    let rank = |value: &String| order.iter().position(|known| known == value).unwrap_or(usize::MAX);
    values.sort_by_key(|value| (rank(value), (*value).clone()));
    values.dedup();
    let of = |counts: &BTreeMap<String, u64>, value: &String| counts.get(value).copied().unwrap_or(0);
    let cells = values.into_iter().map(|value| (value.clone(), of(&before, value), of(&after, value)));
    Mix { dimension: dimension.clone(), cells: cells.collect() }
}

fn total(summary: &Summary) -> u64 {
    summary.totals().iter().sum()
}
