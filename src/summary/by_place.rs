//! The part of the fold that needs more of a prediction than one score: choices among classes, and predicted values.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::body::Body;
use super::classes::{Choice, ClassSummary};
use super::fold::{Cell, ClassesShape, Codes, Shape, Truths, ValueShape};
use super::value::{ValueSummary, Valued};
use crate::domain::{Opinion, Prediction, Truth};

/// Fold choices and values, in every slice.
pub(super) fn fold(shape: &Shape, codes: &Codes, predictions: &[Prediction], truths: &Truths) -> Vec<(Cell, Body)> {
    let choices = shape.classes.par_iter().flat_map_iter(|of| {
        let rows = choices(of, predictions, truths);
        let summarise = |own: &[&Choice]| Body::Classes(ClassSummary::of(of.classes.len(), own.iter().copied()));
        by_place(shape, codes, of.output_id, &rows, &summarise)
    });
    let values = shape.values.par_iter().flat_map_iter(|of| {
        let rows = values(*of, predictions, truths);
        let summarise = |own: &[&Valued]| Body::Value(ValueSummary::of(own.iter().map(|row| **row)));
        by_place(shape, codes, of.output_id, &rows, &summarise)
    });
    choices.chain(values).collect()
}

/// Summarise rows, each with the position of its prediction, in every place of every crossing.
fn by_place<R>(
    shape: &Shape,
    codes: &Codes,
    output_id: i32,
    rows: &[(usize, R)],
    summarise: &dyn Fn(&[&R]) -> Body,
) -> Vec<(Cell, Body)> {
    let of_crossing = codes.crossings.iter().flat_map(|crossing| {
        let mut places: Vec<Vec<&R>> = Vec::new();
        places.resize_with(crossing.places.len(), Vec::new);
        for (at, row) in rows {
            places[crossing.place_of[*at] as usize].push(row);
        }
        let filled = places.into_iter().zip(&crossing.places).filter(|(rows, _)| !rows.is_empty());
        filled
            .map(|(rows, place)| (codes.cell(shape, crossing, output_id, *place), summarise(&rows)))
            .collect::<Vec<_>>()
    });
    of_crossing.collect()
}

/// The whole hours from a prediction to its truth; truth may be stated before, and that is no delay.
fn hours(prediction: &Prediction, truth: &Truth) -> u32 {
    let hours = (truth.known_at - prediction.occurred_at).num_hours().max(0);
    u32::try_from(hours).unwrap_or(u32::MAX)
}

fn values(of: ValueShape, predictions: &[Prediction], truths: &Truths) -> Vec<(usize, Valued)> {
    let valued = predictions.iter().enumerate().filter_map(|(at, prediction)| {
        let (_, predicted) = prediction.scores.iter().find(|(output_id, _)| *output_id == of.output_id)?;
        let truth = truths.get(&(prediction.case_id.clone(), of.truth_id));
        let truth = truth.and_then(|truth| match truth.stated {
            Opinion::Value(value) => Some((value.get(), hours(prediction, truth))),
            _ => None,
        });
        Some((at, Valued { predicted: *predicted, truth }))
    });
    valued.collect()
}

/// The predictions with a score for any class. A long file has a row per class: rows of one case and instant that lack
/// classes make one prediction together. Where they contradict each other nobody knows what belongs together, and the
/// prediction is incomplete.
fn choices(of: &ClassesShape, predictions: &[Prediction], truths: &Truths) -> Vec<(usize, Choice)> {
    let mut whole = Vec::new();
    let mut parts: BTreeMap<_, Vec<(Vec<Option<f64>>, usize)>> = BTreeMap::new();
    for (at, prediction) in predictions.iter().enumerate() {
        let score = |class: &i32| prediction.scores.iter().find(|(output_id, _)| output_id == class).map(|(_, s)| *s);
        let scores: Vec<Option<f64>> = of.classes.iter().map(score).collect();
        if scores.iter().all(Option::is_some) {
            whole.push((at, scores));
        } else if scores.iter().any(Option::is_some) {
            parts.entry((&prediction.case_id, prediction.occurred_at)).or_default().push((scores, at));
        }
    }
    for mut rows in parts.into_values() {
        // Rows in an order of their own, so that which of them came first changes nothing.
        let rank =
            |scores: &[Option<f64>]| -> Vec<Option<u64>> { scores.iter().map(|s| s.map(f64::to_bits)).collect() };
        rows.sort_by_cached_key(|(scores, at)| (rank(scores), predictions[*at].attributes.clone()));
        let mut together: Vec<Option<f64>> = vec![None; of.classes.len()];
        let mut contradicts = false;
        for (known, score) in rows.iter().flat_map(|(scores, _)| scores.iter().enumerate()) {
            contradicts |= together[known].is_some_and(|before| score.is_some_and(|now| now != before));
            together[known] = together[known].or(*score);
        }
        whole.push((rows[0].1, if contradicts { vec![None; of.classes.len()] } else { together }));
    }
    let choice = |(at, scores): (usize, Vec<Option<f64>>)| {
        let prediction = &predictions[at];
        let truth = truths.get(&(prediction.case_id.clone(), of.truth_id));
        let truth = truth.and_then(|truth| match truth.stated {
            Opinion::Class(class) => {
                let class = of.classes.iter().position(|known| *known == class)?;
                Some((class, hours(prediction, truth)))
            }
            _ => None,
        });
        (at, Choice { scores: scores.into_iter().collect(), truth })
    };
    whole.into_iter().map(choice).collect()
}
