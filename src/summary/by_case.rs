//! The part of the fold that goes by case and not by output: features of the input, and agreement of readers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use super::agreement::Agreement;
use super::body::Body;
use super::embedding::EmbeddingSummary;
use super::feature::FeatureSummary;
use super::fold::{Cell, EmbeddingShape, FeatureShape, Known, Shape};
use crate::domain::{Prediction, Slice};

/// Fold what goes by case.
pub(super) fn fold(shape: &Shape, predictions: &[Prediction], known: &Known) -> Vec<(Cell, Body)> {
    let buckets = by_bucket(shape, predictions);
    let mut cells = features(shape, &buckets);
    cells.extend(readers(shape, &buckets, known));
    cells.extend(shape.embedding.iter().flat_map(|of| embeddings(of, &buckets)));
    cells
}

/// Embeddings are summarised over all cases, as the projector of the reference in force sees them.
fn embeddings(of: &EmbeddingShape, buckets: &Buckets<'_>) -> Vec<(Cell, Body)> {
    let of_bucket = |(bucket, rows): (&DateTime<Utc>, &Vec<&Prediction>)| {
        let given: Vec<&Vec<f32>> = rows.iter().filter_map(|row| row.embedding.as_ref()).collect();
        let (missing, count) = (rows.len() - given.len(), given.len() as u64);
        let fitting = of.projector.as_ref().filter(|projector| projector.dimensions() == of.dimensions);
        let mut summary = match fitting {
            Some(projector) => {
                let projected: Vec<_> = given.into_par_iter().map(|embedding| projector.project(embedding)).collect();
                EmbeddingSummary::of(projected.into_iter())
            }
            None => EmbeddingSummary { unseen: count, ..EmbeddingSummary::default() },
        };
        summary.missing = missing as u64;
        (Cell { output_id: of.output_id, slice: Slice::all(), bucket: *bucket }, Body::Embedding(summary))
    };
    buckets.iter().map(of_bucket).collect()
}

type Buckets<'p> = BTreeMap<DateTime<Utc>, Vec<&'p Prediction>>;

/// The inputs of each bucket. Rows of one case and instant with the same attributes had one input, as those of a long file do
/// that has a row per output: it counts once, with the embedding that any of them has.
fn by_bucket<'p>(shape: &Shape, predictions: &'p [Prediction]) -> Buckets<'p> {
    let mut buckets = Buckets::new();
    let mut seen: HashMap<(&str, DateTime<Utc>), Vec<usize>> = HashMap::with_capacity(predictions.len());
    for prediction in predictions {
        let bucket = shape.granularity.start_of(prediction.occurred_at);
        let inputs = buckets.entry(bucket).or_default();
        let known = seen.entry((&prediction.case_id, prediction.occurred_at)).or_default();
        let same = known.iter().copied().find(|at| inputs[*at].attributes == prediction.attributes);
        match same.map(|at| &mut inputs[at]) {
            Some(input) if input.embedding == prediction.embedding || prediction.embedding.is_none() => {}
            Some(input) if input.embedding.is_none() => *input = prediction,
            Some(_) | None => {
                known.push(inputs.len());
                inputs.push(prediction);
            }
        }
    }
    buckets
}

/// Features are summarised over all cases.
fn features(shape: &Shape, buckets: &Buckets<'_>) -> Vec<(Cell, Body)> {
    let of_bucket = |(bucket, rows): (&DateTime<Utc>, &Vec<&Prediction>)| -> Vec<(Cell, Body)> {
        let columns = columns(&shape.features, rows).into_par_iter();
        let summarised = columns.map(|(feature, values)| {
            let values = values.into_iter();
            let summary =
                if feature.numeric { FeatureSummary::numeric(values) } else { FeatureSummary::categorical(values) };
            (Cell { output_id: feature.output_id, slice: Slice::all(), bucket: *bucket }, Body::Feature(summary))
        });
        summarised.collect()
    };
    buckets.iter().flat_map(of_bucket).collect()
}

/// Each feature with its value in every row.
///
/// Attributes are ordered by name, and so are the features here: one walk along a row's attributes finds them all.
fn columns<'s, 'r>(
    features: &'s [FeatureShape],
    rows: &[&'r Prediction],
) -> Vec<(&'s FeatureShape, Vec<Option<&'r str>>)> {
    let mut columns: Vec<_> = features.iter().map(|feature| (feature, Vec::with_capacity(rows.len()))).collect();
    columns.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    for row in rows {
        let mut attributes = row.attributes.iter().peekable();
        for (feature, values) in &mut columns {
            while attributes.next_if(|(name, _)| **name < feature.name).is_some() {}
            let found = attributes.peek().filter(|(name, _)| **name == feature.name);
            values.push(found.map(|(_, value)| value.as_str()));
        }
    }
    columns
}

/// Readers are compared on each case of a bucket once, however many predictions it has.
fn readers<'s>(
    shape: &'s Shape,
    buckets: &'s Buckets<'_>,
    known: &'s Known,
) -> impl Iterator<Item = (Cell, Body)> + 's {
    buckets.iter().flat_map(move |(bucket, rows)| {
        let cases: BTreeSet<&String> = rows.iter().map(|row| &row.case_id).collect();
        shape.readers.iter().filter_map(move |finding| {
            let mut agreement = Agreement::default();
            for case in &cases {
                if let Some(opinions) = known.readings.get(&((*case).clone(), finding.truth_id)) {
                    agreement.add(opinions);
                }
            }
            agreement.cap();
            let cell = Cell { output_id: finding.output_id, slice: Slice::all(), bucket: *bucket };
            (agreement.cases() > 0).then_some((cell, Body::Readers(agreement)))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The obvious way: look every feature up in every row.
        #[test]
        fn one_walk_finds_what_a_look_up_finds(
            rows in prop::collection::vec(prop::collection::btree_map("[a-e]{1,2}", "[0-9]?", 0..6), 0..8),
            names in prop::collection::vec("[a-e]{1,2}", 0..8),
        ) {
            let features: Vec<FeatureShape> = (1..)
                .zip(names)
                .map(|(output_id, name)| FeatureShape { output_id, name, numeric: true })
                .collect();
            let rows: Vec<Prediction> = rows
                .into_iter()
                .map(|attributes| Prediction {
                    case_id: String::new(),
                    subject_id: None,
                    occurred_at: DateTime::UNIX_EPOCH,
                    scores: vec![],
                    attributes,
                    embedding: None,
                })
                .collect();
            let rows: Vec<&Prediction> = rows.iter().collect();
            let columns = columns(&features, &rows);
            prop_assert_eq!(columns.len(), features.len());
            for (feature, values) in columns {
                let looked_up: Vec<_> = rows.iter().map(|row| row.attributes.get(&feature.name).map(String::as_str)).collect();
                prop_assert_eq!(values, looked_up);
            }
        }
    }
}
