//! Salts and leaves of the records of a batch.

use super::batch::{Batch, Fate, NewAssertion, NewPrediction};
use super::leaf::{AssertionColumns, Leaves, Relation, Salt, of_assertion, of_prediction};
use super::meet::{Met, fresh};
use crate::chain::Hash;

/// A salt and the leaf that it makes, of each record of a batch, in its order.
pub(super) struct Weighed {
    pub(super) predictions: Vec<(Salt, Hash)>,
    pub(super) assertions: Vec<(Salt, Hash)>,
}

/// The records that are new, each with its salt.
pub(super) fn salted<'b, T>(
    records: &'b [T],
    weighed: &'b [(Salt, Hash)],
    fates: &'b [Fate],
) -> impl Iterator<Item = (&'b T, Salt)> {
    fresh(records, fates).zip(fresh(weighed, fates).map(|(salt, _)| *salt))
}

impl Weighed {
    /// Of all records of a batch, whether they turn out to be new or not.
    pub(super) fn of(batch: &Batch) -> Self {
        Self {
            predictions: batch.predictions.iter().map(weigh_prediction).collect(),
            assertions: batch.assertions.iter().map(weigh_assertion).collect(),
        }
    }

    /// Add the leaves of those that are new.
    pub(super) fn add_fresh(&self, batch: &Batch, met: &Met, leaves: &mut Leaves) {
        let new = fresh(&batch.predictions, &met.predictions).zip(fresh(&self.predictions, &met.predictions));
        for (new, (_, leaf)) in new {
            leaves.add(Relation::Prediction, new.prediction.occurred_at, *leaf);
        }
        let new = fresh(&batch.assertions, &met.assertions).zip(fresh(&self.assertions, &met.assertions));
        for (new, (_, leaf)) in new {
            leaves.add(Relation::Assertion, new.assertion.observed_at, *leaf);
        }
    }
}

/// Salt a prediction.
pub(super) fn weigh_prediction(new: &NewPrediction) -> (Salt, Hash) {
    let salt: Salt = rand::random();
    (salt, of_prediction(&salt, &new.record_id, new.version_id, &new.prediction))
}

fn weigh_assertion(new: &NewAssertion) -> (Salt, Hash) {
    let (salt, a): (Salt, _) = (rand::random(), &new.assertion);
    let columns = AssertionColumns {
        case_id: &a.case_id,
        record_id: &new.record_id,
        truth_id: a.truth_id,
        opinion: &a.opinion.to_word(),
        source: &a.source,
        reader: &a.reader,
        status: a.status.as_str(),
        observed_at: a.observed_at,
    };
    (salt, of_assertion(&salt, columns))
}
