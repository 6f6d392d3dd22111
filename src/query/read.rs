//! Where an answer is read from: summaries where they hold it, rows otherwise.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Error, Place, Question};
use crate::config::{Model, Quantity};
use crate::domain::Window;
use crate::domain::window::show_instant;
use crate::job::fold::fold_rows;
use crate::job::{Context, shape_of};
use crate::stats::projector::Projector;
use crate::store::reference::Baseline;
use crate::store::rows::{Knowledge, Wanted};
use crate::summary::body::Body;
use crate::summary::fold::Cell;

/// What is known of a window.
#[derive(Clone, Debug)]
pub struct Known {
    /// Summaries by output, slice and bucket.
    pub cells: Vec<(Cell, Body)>,
    /// Truth observed up to then is in them.
    pub known_at: DateTime<Utc>,
    /// Batches up to this one are in them.
    pub recorded: i64,
    /// summaries, pins or rows.
    pub read_from: &'static str,
}

pub(super) async fn read(
    context: &Context,
    place: &Place,
    question: &Question,
    output_id: i32,
    reference: Option<&Baseline>,
) -> Result<Known, Error> {
    let Place { version, model, .. } = place;
    let plan = context.plan.model(&model.name);
    let declared = plan.is_some_and(|plan| {
        let dimensions = question.slice.dimensions();
        match dimensions.as_slice() {
            [] => true,
            [one] => plan.dimensions.iter().any(|dimension| dimension.name == *one),
            _ => plan.crossings.contains(&dimensions),
        }
    });
    let aligned = model.bucket.is_aligned(question.window.from) && model.bucket.is_aligned(question.window.to);
    // Stored embeddings were seen through the reference in force.
    let reference_id = reference.map(|baseline| baseline.reference_id);
    let seen_alike =
        model.embedding.is_none() || context.store.find_reference(version.version_id).await? == reference_id;
    if let Some(frozen) = frozen(context, question.window).await? {
        if !(declared && aligned) {
            return Err(rows_are_gone(
                frozen,
                "only declared slices and whole buckets are answered from the summaries that are pinned",
            ));
        }
        return from_pins(context, (place, plan), (question, output_id), (frozen, reference)).await;
    }
    if declared && aligned && seen_alike && question.knowledge == Knowledge::default() {
        let stored = context.store.load_summaries(version.version_id, question.window).await?;
        // A question is about all that is known; what waits to be folded is in the rows.
        let recorded = stored.consistent_at.filter(|_| !stored.is_behind);
        if let Some(recorded) = recorded
            && plan.is_some_and(|plan| plan.fold_digest() == stored.fold_digest)
        {
            let latest = stored.summaries.iter().filter_map(|summary| summary.known_at).max();
            let cells = stored.summaries.into_iter().map(|stored| (stored.cell, stored.summary)).collect();
            let now = context.clock.now();
            return Ok(Known {
                cells,
                known_at: latest.map_or(now, |at| at.max(now)),
                recorded,
                read_from: "summaries",
            });
        }
    }
    check_size(context, version.version_id, question).await?;
    // The whole model is made of all its outputs; anything else stands alone.
    let only = Some(output_id).filter(|_| question.output != Quantity::Whole.name());
    let projector = reference.and_then(|baseline| baseline.projector.clone());
    let extent = Extent { window: question.window, knowledge: question.knowledge, only, projector };
    from_rows(context, place, extent).await
}

/// The instant before which rows are gone, if a window reaches behind it.
async fn frozen(context: &Context, window: Window) -> Result<Option<DateTime<Utc>>, Error> {
    Ok(context.store.frozen_before().await?.filter(|before| window.from < *before))
}

fn rows_are_gone(before: DateTime<Utc>, why: &str) -> Error {
    Error::Unknown(format!(
        "the rows of before {} are gone (retention.rows), and {why}; ask of what was declared then, or from that instant on",
        show_instant(before)
    ))
}

/// Read the frozen part of a window from pins and the rest from rows, where pins hold what is asked.
async fn from_pins(
    context: &Context,
    (place, plan): (&Place, Option<&Model>),
    (question, output_id): (&Question, i32),
    (frozen, reference): (DateTime<Utc>, Option<&Baseline>),
) -> Result<Known, Error> {
    let Question { window, knowledge, .. } = question;
    let pinned = Window { from: window.from, to: window.to.min(frozen) };
    let pins = context.store.load_pins(place.version.version_id, pinned).await?;
    let digest = plan.map(Model::fold_digest).unwrap_or_default();
    if pins.fold_digests.iter().any(|own| *own != digest) {
        return Err(rows_are_gone(frozen, "the summaries that are pinned were folded under a plan of another shape"));
    }
    let reference_id = reference.map(|baseline| baseline.reference_id);
    if place.model.embedding.is_some() && pins.references.iter().any(|own| *own != reference_id) {
        return Err(rows_are_gone(frozen, "the embeddings that are pinned were seen through another reference"));
    }
    let is_earlier = knowledge.known_at.is_some_and(|at| pins.known_at.is_some_and(|known| known > at))
        || knowledge.recorded.is_some_and(|recorded| recorded < pins.latest_batch);
    if is_earlier {
        return Err(rows_are_gone(frozen, "the summaries that are pinned know more than was known then"));
    }
    let mut known = Known {
        cells: pins.summaries.into_iter().map(|stored| (stored.cell, stored.summary)).collect(),
        known_at: knowledge.known_at.unwrap_or_else(|| context.clock.now()),
        recorded: knowledge.recorded.unwrap_or(context.store.last_batch().await?),
        read_from: "pins",
    };
    if window.to > frozen {
        let live = Question { window: Window { from: frozen, to: window.to }, ..question.clone() };
        check_size(context, place.version.version_id, &live).await?;
        let only = Some(output_id).filter(|_| question.output != Quantity::Whole.name());
        let projector = reference.and_then(|baseline| baseline.projector.clone());
        let extent = Extent { window: live.window, knowledge: *knowledge, only, projector };
        let rest = from_rows(context, place, extent).await?;
        known.cells.extend(rest.cells);
        (known.known_at, known.recorded) = (rest.known_at, rest.recorded);
    }
    Ok(known)
}

/// What is folded from rows.
#[derive(Clone, Debug)]
pub struct Extent {
    /// The window.
    pub window: Window,
    /// The two clocks.
    pub knowledge: Knowledge,
    /// One quantity; all without.
    pub only: Option<i32>,
    /// What embeddings are seen through.
    pub projector: Option<Arc<Projector>>,
}

/// Refuse what rows no longer hold, and what would take more of them than the question allows.
pub(super) async fn check_size(context: &Context, version_id: i32, question: &Question) -> Result<(), Error> {
    if let Some(frozen) = frozen(context, question.window).await? {
        return Err(rows_are_gone(frozen, "this is read from rows"));
    }
    if let Some(most) = question.most_rows {
        let rows = context.store.count_predictions(version_id, question.window).await?;
        if rows > most {
            return Err(Error::Unknown(format!(
                "the answer has to be read from {rows} predictions, more than the {most} that are read here; ask for a \
                 narrower window, for whole buckets of a declared slice as known now, or with `dosimeter query`"
            )));
        }
    }
    Ok(())
}

/// Fold a window from its rows as they were known.
///
/// # Errors
/// When the store or the fold fails.
pub async fn from_rows(context: &Context, place: &Place, extent: Extent) -> Result<Known, Error> {
    let Place { version, model, numbers } = place;
    let Extent { window, knowledge, only, projector } = extent;
    if let Some(frozen) = frozen(context, window).await? {
        return Err(rows_are_gone(frozen, "this is read from rows"));
    }
    let mut shape = shape_of(model, numbers);
    if let Some(output_id) = only {
        shape.keep_only(output_id);
    }
    if let Some(embedding) = &mut shape.embedding {
        embedding.projector = projector;
    }
    let (outputs, findings) = (shape.output_ids(), shape.truth_ids());
    let wanted = Wanted { outputs: &outputs, findings: &findings, embeddings: shape.embedding.is_some() };
    let rows = context.store.load_rows(version.version_id, window, None, knowledge, wanted).await?;
    let recorded = rows.batch_id;
    let latest = rows.assertions.iter().map(|assertion| assertion.observed_at).max();
    let now = context.clock.now();
    let known_at = knowledge.known_at.unwrap_or_else(|| latest.map_or(now, |at| at.max(now)));
    let cells = fold_rows(model.clone(), shape, rows).await?.into_iter().collect();
    Ok(Known { cells, known_at, recorded, read_from: "rows" })
}
