//! Evaluate: the summaries of a window become one published estimate per output and slice.
//!
//! What has not changed is not published again: the digest of everything that goes into an estimate is compared with that
//! of the latest one.

use chrono::{DateTime, Utc};

use super::estimation::Estimation;
use super::{Context, Error, Result};
use crate::config::Model;
use crate::domain::{Window, WindowSpec};
use crate::metric::CALCULATOR_VERSION;
use crate::runtime::Outcome;
use crate::store::catalog::{ModelNumbers, Version};
use crate::store::estimate::StoredEstimate;
use crate::store::lease::Lease;
use crate::store::summary::{WindowState, consistent_at};

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
        let work =
            Estimation { model: self.model.clone(), numbers: self.numbers.clone(), reference, window, known: latest };
        let cells = stored.summaries.into_iter().map(|stored| (stored.cell, stored.summary));
        // Arithmetic has a thread of its own, so that the runtime goes on.
        let answers = tokio::task::spawn_blocking(move || work.answers(cells, |_, _| true)).await?;
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
                metrics: answer.metrics?,
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
