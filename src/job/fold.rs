//! Fold: the rows of dirty buckets become summaries.
//!
//! A bucket is always folded again from its rows, never corrected by subtraction, so the result depends on the rows alone.

use super::{Context, Error, Result, shape_of};
use crate::config::Model;
use crate::domain::truth::decide;
use crate::domain::{Assertion, Window};
use crate::runtime::Outcome;
use crate::store::lease::Lease;
use crate::store::rows::Rows;
use crate::store::summary::DirtyBucket;
use crate::summary::Summary;
use crate::summary::fold::{Cell, Shape, Truths, fold};

/// Buckets that are looked at before the lease is prolonged.
const AT_ONCE: i64 = 100;

/// Fold every dirty bucket.
///
/// # Errors
/// When the store or the fold fails.
pub async fn run(context: &Context, lease: &Lease) -> Result {
    run_with(context, lease, &|_| {}).await
}

/// Fold every dirty bucket; `progress` is told after each.
///
/// # Errors
/// When the store or the fold fails.
pub async fn run_with(context: &Context, lease: &Lease, progress: &(dyn Fn(DirtyBucket) + Sync)) -> Result {
    let versions = context.store.list_versions().await?;
    let mut outcome = Outcome::Idle;
    loop {
        let dirty = context.store.list_dirty_buckets(AT_ONCE).await?;
        let mut folded = 0;
        for bucket in dirty {
            let version = versions.iter().find(|version| version.version_id == bucket.version_id);
            let Some((model, numbers)) = version.and_then(|version| context.model_of(version)) else {
                // The plan no longer has the model: its buckets wait until it has.
                continue;
            };
            fold_bucket(context, lease, bucket, model, &shape_of(model, numbers)).await?;
            progress(bucket);
            folded += 1;
        }
        if folded == 0 {
            return Ok(outcome);
        }
        outcome = Outcome::Done;
        context.prolong(lease).await?;
    }
}

async fn fold_bucket(
    context: &Context,
    lease: &Lease,
    dirty: DirtyBucket,
    model: &Model,
    shape: &Shape,
) -> std::result::Result<(), Error> {
    let window = Window { from: dirty.bucket, to: dirty.bucket + shape.granularity.length() };
    let outputs: Vec<i32> = shape.outputs.iter().map(|output| output.output_id).collect();
    let findings: Vec<i32> = shape.outputs.iter().map(|output| output.truth_id).collect();
    let knowledge = crate::store::rows::Knowledge::default();
    let rows = context.store.load_rows(dirty.version_id, window, knowledge, &outputs, &findings).await?;
    let known_at = rows.assertions.iter().map(|assertion| assertion.observed_at).max();
    let batch_id = rows.batch_id;
    let summaries = fold_rows(model.clone(), shape.clone(), rows).await?;
    Ok(context.store.replace_summaries(lease, dirty, &summaries, batch_id, known_at).await?)
}

/// Fold rows on a thread of their own, so that the runtime goes on.
///
/// # Errors
/// When the fold fails.
pub async fn fold_rows(
    model: Model,
    shape: Shape,
    rows: Rows,
) -> std::result::Result<std::collections::BTreeMap<Cell, Summary>, Error> {
    let work = move || {
        let truths = truths_of(&model, &rows.assertions);
        fold(&shape, &rows.predictions, &truths)
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
