//! Replay: past estimates are made again from what was recorded when they were published, and must be the same, bit for bit.
//!
//! What an estimate was made of is recorded beside it: the plan, the reference, the window and the two clocks. The job takes a
//! random sample now and then, and what differed before until it agrees again; people ask for any estimate by `dosimeter replay`.
//! Must never: change an estimate.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::estimation::{Estimated, Estimation};
use super::fold::{MOST_ROWS, fold_rows};
use super::{Context, Error, shape_of};
use crate::config::{Model, Quantity, recorded_model};
use crate::domain::window::show_instant;
use crate::domain::{MetricKey, Outcome as Answer, Window};
use crate::metric::CALCULATOR_VERSION;
use crate::runtime::Outcome;
use crate::stats::projector::Projector;
use crate::store::catalog::ModelNumbers;
use crate::store::estimate::StoredEstimate;
use crate::store::lease::Lease;
use crate::store::pin::InputKey;
use crate::store::reference::Baseline;
use crate::store::replay::NewReplay;
use crate::store::rows::{Knowledge, Wanted};
use crate::summary::body::Body;
use crate::summary::fold::Cell;

/// What came of a replay.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The same, bit for bit: inputs and metrics.
    Agrees,
    /// Something differs.
    Differs(Vec<Difference>),
    /// It cannot be made again.
    Cannot(Obstacle),
}

impl Verdict {
    /// The verdict as one word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::Differs(_) => "differs",
            Self::Cannot(_) => "cannot",
        }
    }

    /// What there is to say of it; nothing when it agrees.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Agrees => String::new(),
            Self::Differs(differences) => differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Self::Cannot(obstacle) => obstacle.to_string(),
        }
    }
}

/// Something that a replay finds otherwise than it is stored.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Difference {
    /// The metric, or `inputs` for the digest of what went in.
    pub what: String,
    /// As it is stored; absent when it is not.
    pub stored: Option<String>,
    /// As it was made again; absent when it was not.
    pub replayed: Option<String>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(f, "{}: stored {}, replayed {}", self.what, or_none(&self.stored), or_none(&self.replayed))
    }
}

/// Why an estimate cannot be made again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// Other formulas made it.
    #[error(
        "version {stored} of the formulas made it, and this release has version {own}: replay it with the release that has it"
    )]
    OtherCalculator {
        /// Of the estimate.
        stored: i32,
        /// Of this release.
        own: i32,
    },
    /// Its plan cannot be read any more.
    #[error("plan {plan_id} cannot be taken up again: {reason}")]
    Plan {
        /// The plan.
        plan_id: i32,
        /// Why.
        reason: String,
    },
    /// The rows that it was made of are gone, and nothing stands for them.
    #[error("what it was made of is gone: {0}")]
    Gone(String),
    /// A person was erased that it was made of.
    #[error("erased: {0}")]
    Erased(String),
}

/// One estimate with what came of its replay.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The estimate.
    pub stored: StoredEstimate,
    /// What came of it.
    pub verdict: Verdict,
}

/// What estimates that were published together were made of.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The version.
    pub version_id: i32,
    /// The model as the plan of then had it.
    pub model: Model,
    /// Its numbers.
    pub numbers: ModelNumbers,
    /// The window.
    pub window: Window,
    /// The two clocks.
    pub knowledge: Knowledge,
    /// What embeddings are seen through.
    pub projector: Option<Arc<Projector>>,
    /// Under what its inputs are pinned once its rows are gone.
    pub key: InputKey,
}

/// Estimates with equal keys are made of the same inputs.
type Key = (i32, Window, DateTime<Utc>, i64, i32, Option<i32>);

/// Make estimates again. Those that were published together are made together; the order stays.
///
/// # Errors
/// When the store or the fold fails.
pub async fn replay(context: &Context, estimates: Vec<StoredEstimate>) -> Result<Vec<Replayed>, Error> {
    let mut groups: BTreeMap<Key, Vec<&StoredEstimate>> = BTreeMap::new();
    for stored in estimates.iter().filter(|stored| stored.calculator == CALCULATOR_VERSION) {
        let StoredEstimate { version_id, window, known_at, recorded, plan_id, reference_id, .. } = *stored;
        groups.entry((version_id, window, known_at, recorded, plan_id, reference_id)).or_default().push(stored);
    }
    let mut verdicts: BTreeMap<i64, Verdict> = BTreeMap::new();
    for group in groups.into_values() {
        match again(context, &group).await? {
            Ok(answers) => {
                verdicts.extend(group.iter().map(|stored| (stored.estimate_id, compare(stored, &answers))));
            }
            Err(obstacle) => {
                let cannot = |stored: &&StoredEstimate| (stored.estimate_id, Verdict::Cannot(obstacle.clone()));
                verdicts.extend(group.iter().map(cannot));
            }
        }
    }
    let replayed = estimates.into_iter().map(|stored| {
        let other = Obstacle::OtherCalculator { stored: stored.calculator, own: CALCULATOR_VERSION };
        let verdict = verdicts.remove(&stored.estimate_id).unwrap_or(Verdict::Cannot(other));
        Replayed { stored, verdict }
    });
    Ok(replayed.collect())
}

/// What an estimate was made of, and what it was compared with.
///
/// # Errors
/// When the store fails.
pub async fn origin(
    context: &Context,
    first: &StoredEstimate,
) -> Result<Result<(Origin, Option<Arc<Baseline>>), Obstacle>, Error> {
    let store = &context.store;
    let plan_id = first.plan_id;
    let plan = |reason: String| Ok(Err(Obstacle::Plan { plan_id, reason }));
    let version = store.list_versions().await?.into_iter().find(|version| version.version_id == first.version_id);
    let Some(version) = version else { return plan(format!("there is no version {}", first.version_id)) };
    let model = match recorded_model(&store.load_plan(plan_id).await?.body, &version.model) {
        Ok(model) => model,
        Err(reason) => return plan(reason),
    };
    let Some(numbers) = store.model_numbers(&model).await? else {
        return plan(format!("model {} has no numbers", model.name));
    };
    let reference = match first.reference_id {
        Some(reference_id) => Some(store.load_reference(reference_id).await?),
        None => None,
    };
    let projector = reference.as_ref().and_then(|baseline| baseline.projector.clone());
    let knowledge = Knowledge { known_at: Some(first.known_at), recorded: Some(first.recorded) };
    let (window, version_id, key) = (first.window, first.version_id, InputKey::of(first));
    Ok(Ok((Origin { version_id, model, numbers, window, knowledge, projector, key }, reference)))
}

/// The estimates of a group of equal origin, made again.
async fn again(context: &Context, group: &[&StoredEstimate]) -> Result<Result<Vec<Estimated>, Obstacle>, Error> {
    let Some(first) = group.first() else { return Ok(Ok(Vec::new())) };
    let (origin, reference) = match origin(context, first).await? {
        Ok(found) => found,
        Err(obstacle) => return Ok(Err(obstacle)),
    };
    let wanted: Vec<(i32, crate::domain::Slice)> =
        group.iter().map(|stored| (stored.output_id, stored.slice.clone())).collect();
    let cells = match inputs(context, &origin, only(&origin, &wanted)).await? {
        Ok(cells) => cells,
        Err(obstacle) => return Ok(Err(obstacle)),
    };
    let Origin { model, numbers, window, .. } = origin;
    let work = Estimation { model, numbers, reference, window, known: std::collections::HashMap::new() };
    let answers = tokio::task::spawn_blocking(move || {
        work.answers(cells, |output_id, slice| wanted.iter().any(|(own, of)| *own == output_id && of == slice))
    });
    Ok(Ok(answers.await?))
}

/// The one quantity that is needed, if one is enough: the whole model is made of all its outputs.
fn only(origin: &Origin, wanted: &[(i32, crate::domain::Slice)]) -> Option<i32> {
    let whole = origin.numbers.quantities.get(&Quantity::Whole.name()).copied();
    let (first, _) = wanted.first()?;
    let is_alone = wanted.iter().all(|(output_id, _)| output_id == first);
    Some(*first).filter(|first| is_alone && Some(*first) != whole)
}

/// The summaries of a window as they were when an estimate was published: what is pinned where the rows are gone, and from rows
/// otherwise; or why there are none.
///
/// # Errors
/// When the store or the fold fails.
pub async fn inputs(
    context: &Context,
    origin: &Origin,
    only: Option<i32>,
) -> Result<Result<Vec<(Cell, Body)>, Obstacle>, Error> {
    let (store, Origin { version_id, window, key, .. }) = (&context.store, origin);
    let frozen = store.frozen_before().await?.filter(|before| window.from < *before);
    if frozen.is_some() {
        match store.load_pinned_input(*key).await? {
            Some(Ok(cells)) => return Ok(Ok(cells)),
            Some(Err(why)) => return Ok(Err(Obstacle::Gone(why))),
            None => {}
        }
    }
    if let Some(batch) = store.last_erasure(*version_id, *window).await?.filter(|batch| key.recorded < *batch) {
        return Ok(Err(Obstacle::Erased(format!(
            "batch {batch}, an erasure, took cases from its window after it was published"
        ))));
    }
    if let Some(before) = frozen {
        return Ok(Err(Obstacle::Gone(format!(
            "rows of before {} are gone (retention.rows), and what it was made of was not pinned",
            show_instant(before)
        ))));
    }
    folded(context, origin, only).await.map(Ok)
}

/// The summaries of a window as they were when an estimate was published, by bucket, from the rows of then. Few buckets are folded at
/// once, so that a long window needs no more memory than a fold.
///
/// # Errors
/// When the store or the fold fails.
pub async fn folded(context: &Context, origin: &Origin, only: Option<i32>) -> Result<Vec<(Cell, Body)>, Error> {
    let Origin { version_id, model, numbers, window, knowledge, projector, .. } = origin;
    let mut shape = shape_of(model, numbers);
    if let Some(output_id) = only {
        shape.keep_only(output_id);
    }
    if let Some(embedding) = &mut shape.embedding {
        embedding.projector.clone_from(projector);
    }
    let length = shape.granularity.length();
    let starts = std::iter::successors(Some(window.from), |start| Some(*start + length));
    let buckets: Vec<DateTime<Utc>> = starts.take_while(|start| *start < window.to).collect();
    let mut cells = Vec::new();
    for some in context.store.by_rows(*version_id, &buckets, MOST_ROWS).await? {
        let (Some(first), Some(last)) = (some.first(), some.last()) else { continue };
        let span = Window { from: *first, to: *last + length };
        let (outputs, findings) = (shape.output_ids(), shape.truth_ids());
        let wanted = Wanted { outputs: &outputs, findings: &findings, embeddings: shape.embedding.is_some() };
        let rows = context.store.load_rows(*version_id, span, None, *knowledge, wanted).await?;
        cells.extend(fold_rows(model.clone(), shape.clone(), rows).await?);
    }
    Ok(cells)
}

/// Whether what was made again is what is stored.
fn compare(stored: &StoredEstimate, answers: &[Estimated]) -> Verdict {
    let own = answers.iter().find(|answer| (answer.output_id, &answer.slice) == (stored.output_id, &stored.slice));
    let mut differences = Vec::new();
    let digest = own.map(|answer| answer.input_digest.clone());
    if digest.as_ref() != Some(&stored.input_digest) {
        let stored = Some(stored.input_digest.clone());
        differences.push(Difference { what: "inputs".to_owned(), stored, replayed: digest });
    }
    // Equal text means equal bits: numbers are written with all their digits.
    let said = |metrics: &[(MetricKey, Answer)]| -> BTreeMap<MetricKey, String> {
        // unwrap safety: texts and finite numbers always serialise.
        let text = |outcome: &Answer| serde_json::to_string(outcome).unwrap_or_default();
        metrics.iter().map(|(key, outcome)| (key.clone(), text(outcome))).collect()
    };
    let before = said(&stored.metrics);
    let after = said(own.and_then(|answer| answer.metrics.as_deref()).unwrap_or_default());
    let mut keys: Vec<&MetricKey> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    let differing = keys.into_iter().filter(|key| before.get(key) != after.get(key)).map(|key| Difference {
        what: key.to_string(),
        stored: before.get(key).cloned(),
        replayed: after.get(key).cloned(),
    });
    differences.extend(differing);
    if differences.is_empty() { Verdict::Agrees } else { Verdict::Differs(differences) }
}

/// Replay a random sample when it is time, and whatever differed at its last replay.
///
/// # Errors
/// When the store or the fold fails.
pub async fn run(context: &Context, lease: &Lease) -> super::Result {
    let audit = &context.plan.audit;
    if audit.replay_every.is_zero() {
        return Ok(Outcome::Idle);
    }
    let every = TimeDelta::from_std(audit.replay_every).unwrap_or(TimeDelta::MAX);
    let now = context.clock.now();
    // An instant to come is that of a clock which has been set back.
    let is_soon = |last: DateTime<Utc>| last <= now && now < last + every;
    if context.store.last_replay().await?.is_some_and(is_soon) {
        return Ok(Outcome::Idle);
    }
    let sample = context.store.sample_estimates(audit.replay_sample, CALCULATOR_VERSION).await?;
    if sample.is_empty() {
        return Ok(Outcome::Idle);
    }
    let replayed = replay(context, sample).await?;
    for Replayed { stored, verdict } in replayed.iter().filter(|one| matches!(one.verdict, Verdict::Differs(_))) {
        tracing::error!(
            estimate = stored.estimate_id,
            differences = verdict.words(),
            "a past estimate is not what it is made of: rows or estimates were altered; `dosimeter replay` shows it, \
             `dosimeter audit verify --full` finds what was altered"
        );
    }
    let new: Vec<NewReplay> = replayed
        .iter()
        .map(|Replayed { stored, verdict }| NewReplay {
            estimate_id: stored.estimate_id,
            verdict: verdict.as_str(),
            words: verdict.words(),
        })
        .collect();
    context.store.add_replays(lease, &new, now).await?;
    Ok(Outcome::Done)
}
