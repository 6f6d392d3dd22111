//! Fold: the rows of dirty buckets become summaries.
//!
//! A bucket is always folded again from its rows, never corrected by subtraction, so the result depends on the rows alone.

use chrono::{DateTime, Utc};

use super::{Context, Error, Result, shape_of};
use crate::config::Model;
use crate::domain::truth::{decide, voices};
use crate::domain::{Assertion, Opinion, Window};
use crate::runtime::Outcome;
use crate::store::catalog::Version;
use crate::store::lease::Lease;
use crate::store::rows::{Knowledge, Rows, Wanted};
use crate::store::summary::Folded;
use crate::summary::body::Body;
use crate::summary::fold::{Cell, Known, Readings, Shape, Truths, fold};

/// Buckets that are looked for at once.
const AT_ONCE: i64 = 60;
/// Predictions that are folded at once, unless one bucket alone has more: memory is bounded by this.
pub(super) const MOST_ROWS: i64 = 50_000;

/// Fold every dirty bucket.
///
/// # Errors
/// When the store or the fold fails.
pub async fn run(context: &Context, lease: &Lease) -> Result {
    run_with(context, lease, &|_| {}).await
}

/// Fold every bucket that is dirty, once, as of the last batch before; `progress` is told how many after each step. What is sent
/// meanwhile waits for the next pass, however much it is: the jobs behind this one have their turn, and the summaries are
/// consistent with one batch.
///
/// # Errors
/// When the store or the fold fails.
pub async fn run_with(context: &Context, lease: &Lease, progress: &(dyn Fn(usize) + Sync)) -> Result {
    let versions = context.store.list_versions().await?;
    // The plan no longer has the models of other versions: their buckets wait until it has.
    let known: Vec<&Version> = versions.iter().filter(|version| context.model_of(version).is_some()).collect();
    let numbers: Vec<i32> = known.iter().map(|version| version.version_id).collect();
    let recorded = context.store.last_batch().await?;
    let mut outcome = Outcome::Idle;
    let mut after = None;
    loop {
        let dirty = context.store.list_dirty_buckets(&numbers, after.as_ref(), AT_ONCE).await?;
        let Some(last) = dirty.last() else { return Ok(outcome) };
        after = Some(*last);
        for version in &known {
            let own = dirty.iter().filter(|bucket| bucket.version_id == version.version_id);
            let buckets: Vec<DateTime<Utc>> = own.map(|dirty| dirty.bucket).collect();
            for some in context.store.by_rows(version.version_id, &buckets, MOST_ROWS).await? {
                match fold_buckets(context, lease, version, (&some, recorded)).await {
                    Err(Error::Store(crate::store::Error::PlanChanged(model))) => {
                        tracing::info!(model, "the plan changed during the fold; the next tick folds by the new one");
                        return Ok(outcome);
                    }
                    Err(Error::Store(crate::store::Error::ReferenceChanged(model))) => {
                        tracing::info!(
                            model,
                            "the reference changed during the fold; the next tick folds by the new one"
                        );
                        return Ok(outcome);
                    }
                    folded => folded?,
                }
            }
        }
        progress(dirty.len());
        outcome = Outcome::Done;
    }
}

async fn fold_buckets(
    context: &Context,
    lease: &Lease,
    version: &Version,
    (buckets, recorded): (&[DateTime<Utc>], i64),
) -> std::result::Result<(), Error> {
    let Some(refolded) = refold(context, version, (buckets, recorded)).await? else { return Ok(()) };
    let folded = Folded {
        version_id: version.version_id,
        buckets,
        fold_digest: &refolded.fold_digest,
        seen_through: refolded.seen_through,
        batch_id: refolded.batch_id,
        known_at: refolded.known_at,
    };
    Ok(context.store.replace_summaries(lease, &folded, &refolded.summaries).await?)
}

/// What rows make of some buckets.
#[derive(Debug)]
pub struct Refolded {
    /// The summaries.
    pub summaries: std::collections::BTreeMap<Cell, Body>,
    /// Digest of the shape that they have.
    pub fold_digest: String,
    /// The reference that embeddings were seen through, where the model has some.
    pub seen_through: Option<Option<i32>>,
    /// All rows up to this batch are in them.
    pub batch_id: i64,
    /// The latest `observed_at` of the assertions about their cases.
    pub known_at: Option<DateTime<Utc>>,
}

/// Fold some buckets of a version from its rows up to a batch; `None` when there are no buckets, or the plan has no such model.
///
/// # Errors
/// When the store or the fold fails.
pub async fn refold(
    context: &Context,
    version: &Version,
    (buckets, recorded): (&[DateTime<Utc>], i64),
) -> std::result::Result<Option<Refolded>, Error> {
    let Some((model, numbers)) = context.model_of(version) else { return Ok(None) };
    let (Some(first), Some(last)) = (buckets.iter().min(), buckets.iter().max()) else { return Ok(None) };
    let mut shape = shape_of(model, numbers);
    let reference_id = match &mut shape.embedding {
        Some(embedding) => {
            let reference_id = context.store.find_reference(version.version_id).await?;
            if let Some(reference_id) = reference_id {
                embedding.projector = context.store.load_reference(reference_id).await?.projector.clone();
            }
            Some(reference_id)
        }
        None => None,
    };
    let window = Window { from: *first, to: *last + shape.granularity.length() };
    let (outputs, findings) = (shape.output_ids(), shape.truth_ids());
    let only = Some((model.bucket.as_str(), buckets));
    let wanted = Wanted { outputs: &outputs, findings: &findings, embeddings: shape.embedding.is_some() };
    let knowledge = Knowledge { known_at: None, recorded: Some(recorded) };
    let load = context.store.load_rows(version.version_id, window, only, knowledge, wanted);
    let rows = load.await?;
    let known_at = rows.assertions.iter().map(|assertion| assertion.observed_at).max();
    let (batch_id, fold_digest) = (rows.batch_id, model.fold_digest());
    let summaries = fold_rows(model.clone(), shape, rows).await?;
    Ok(Some(Refolded { summaries, fold_digest, seen_through: reference_id, batch_id, known_at }))
}

/// Fold rows on a thread of their own, so that the runtime goes on.
///
/// # Errors
/// When the fold fails.
pub async fn fold_rows(
    model: Model,
    shape: Shape,
    rows: Rows,
) -> std::result::Result<std::collections::BTreeMap<Cell, Body>, Error> {
    let work = move || {
        let known =
            Known { truths: truths_of(&model, &rows.assertions), readings: readings_of(&model, &rows.assertions) };
        fold(&shape, &rows.predictions, &known)
    };
    Ok(tokio::task::spawn_blocking(work).await??)
}

/// The truth of every case and finding by the model's policy. Assertions about one come next to each other.
#[must_use]
pub fn truths_of(model: &Model, assertions: &[Assertion]) -> Truths {
    let same = |a: &Assertion, b: &Assertion| a.case_id == b.case_id && a.truth_id == b.truth_id;
    let groups = assertions.chunk_by(same);
    let settled = groups.filter_map(|group| {
        let truth = decide(model.truth_policy, model.uncertain, group)?;
        Some(((group[0].case_id.clone(), group[0].truth_id), truth))
    });
    settled.collect()
}

/// What each reader says of every case and finding, where more than one has spoken.
#[must_use]
pub fn readings_of(model: &Model, assertions: &[Assertion]) -> Readings {
    let same = |a: &Assertion, b: &Assertion| a.case_id == b.case_id && a.truth_id == b.truth_id;
    let groups = assertions.chunk_by(same).filter(|group| group.len() > 1);
    let read = groups.filter_map(|group| {
        let voices = voices(model.truth_policy, group);
        let mut opinions: Vec<(String, Opinion)> =
            voices.iter().map(|voice| (format!("{}/{}", voice.source, voice.reader), voice.opinion)).collect();
        opinions.sort();
        (opinions.len() > 1).then(|| ((group[0].case_id.clone(), group[0].truth_id), opinions))
    });
    read.collect()
}
