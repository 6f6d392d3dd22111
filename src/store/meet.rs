//! What a batch's records are to those that are known under the same identities.

use chrono::{DateTime, Utc};

use super::attempt::spread;
use super::batch::{
    ASSERTION, Batch, CONFLICT, Fate, Meeting, NewPrediction, NewRejection, PREDICTION, Position, told_gone,
};
use super::few::FEW;
use super::tomb::Barred;
use super::{Named, Result, Transaction};
use crate::config::Secret;
use crate::domain::{Prediction, Reason};

/// What the records of a batch are to what is known.
#[derive(Default)]
pub(super) struct Met {
    /// The fate of each prediction.
    pub(super) predictions: Vec<Fate>,
    /// The fate of each assertion.
    pub(super) assertions: Vec<Fate>,
    /// Predictions that say more than was known, whole.
    pub(super) extensions: Vec<NewPrediction>,
    /// Records that contradict what is known.
    pub(super) conflicts: Vec<NewRejection>,
}

/// The records that are new.
pub(super) fn fresh<'b, T>(records: &'b [T], fates: &'b [Fate]) -> impl Iterator<Item = &'b T> {
    records.iter().zip(fates).filter(|(_, fate)| **fate == Fate::New).map(|(record, _)| record)
}

/// Which identities are known, by their place among the given ones, each with its digest.
async fn find_keys<'r>(
    transaction: &mut Transaction,
    kind: i16,
    keys: impl Iterator<Item = (&'r str, &'r str)>,
) -> Result<Vec<(usize, Vec<u8>)>> {
    let (cases, records): (Vec<&str>, Vec<&str>) = keys.unzip();
    if cases.is_empty() {
        return Ok(Vec::new());
    }
    let found: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "select s.ord, k.digest from unnest($1::text[], $2::text[]) with ordinality as s (case_id, record_id, ord)
            join record_key k on k.case_id = s.case_id and k.kind = $3 and k.record_id = s.record_id",
    )
    .bind(cases)
    .bind(records)
    .bind(kind)
    .fetch_all(&mut **transaction)
    .await
    .named("find_keys")?;
    // Postgres counts from one.
    let place = |(ord, digest)| Some((usize::try_from(ord).ok()?.checked_sub(1)?, digest));
    Ok(found.into_iter().filter_map(place).collect())
}

impl Met {
    /// As if nothing of a batch were known but what is gone.
    pub(super) fn all_new(batch: &Batch, barred: &Barred) -> Self {
        let mut met = Self {
            predictions: vec![Fate::New; batch.predictions.len()],
            assertions: vec![Fate::New; batch.assertions.len()],
            ..Self::default()
        };
        bar(batch, barred, &mut met);
        met
    }
}

/// Whether a batch is large and none of a sample of its records is known. The caller holds the batch counter.
pub(super) async fn seems_new(transaction: &mut Transaction, batch: &Batch) -> Result<bool> {
    let (predictions, assertions) = (&batch.predictions, &batch.assertions);
    if predictions.len() + assertions.len() <= FEW {
        return Ok(false);
    }
    let key = |place: usize| (predictions[place].prediction.case_id.as_str(), predictions[place].record_id.as_str());
    if !find_keys(transaction, PREDICTION, spread(predictions.len()).map(key)).await?.is_empty() {
        return Ok(false);
    }
    let key = |place: usize| (assertions[place].assertion.case_id.as_str(), assertions[place].record_id.as_str());
    Ok(find_keys(transaction, ASSERTION, spread(assertions.len()).map(key)).await?.is_empty())
}

/// Compare every record of a batch with what is known. The caller holds the batch counter.
pub(super) async fn meet(transaction: &mut Transaction, batch: &Batch, barred: &Barred) -> Result<Met> {
    let mut met = Met::all_new(batch, barred);
    meet_predictions(transaction, batch, &mut met).await?;
    meet_assertions(transaction, batch, &mut met).await?;
    Ok(met)
}

/// Refuse what is about something that is gone.
fn bar(batch: &Batch, barred: &Barred, met: &mut Met) {
    for (place, new) in batch.predictions.iter().enumerate() {
        if let Some(reason) = barred.predictions.get(&place).copied() {
            met.predictions[place] = Fate::Gone(reason);
            met.conflicts.push(gone(&new.position, reason, (new.said(), new.digest, new.record())));
        }
    }
    for (place, new) in batch.assertions.iter().enumerate() {
        if let Some(reason) = barred.assertions.get(&place).copied() {
            met.assertions[place] = Fate::Gone(reason);
            met.conflicts.push(gone(&new.position, reason, (new.said(), new.digest, new.record())));
        }
    }
}

async fn meet_predictions(transaction: &mut Transaction, batch: &Batch, met: &mut Met) -> Result<()> {
    let keys = batch.predictions.iter().map(|new| (new.prediction.case_id.as_str(), new.record_id.as_str()));
    let mut differ = Vec::new();
    for (place, digest) in find_keys(transaction, PREDICTION, keys).await? {
        if met.predictions[place] != Fate::New {
            continue;
        }
        met.predictions[place] = Fate::Known;
        if digest != batch.predictions[place].digest {
            differ.push(place);
        }
    }
    for (place, known_version, known) in load_known(transaction, batch, &differ).await? {
        let new = &batch.predictions[place];
        match Meeting::of((known_version, &known), (new.version_id, &new.prediction)) {
            Meeting::Same => {}
            Meeting::Extends(prediction) => {
                let digest = prediction.digest(&new.version);
                met.extensions.push(NewPrediction { digest, prediction, ..new.clone() });
                met.predictions[place] = Fate::Extends;
            }
            Meeting::Conflict => {
                met.conflicts.push(conflict(&new.position, new.said(), new.digest, new.record()));
                met.predictions[place] = Fate::Conflict;
            }
        }
    }
    Ok(())
}

/// What is known under the identities of some predictions of a batch: `(place in the batch, version, prediction)`.
async fn load_known(
    transaction: &mut Transaction,
    batch: &Batch,
    places: &[usize],
) -> Result<Vec<(usize, i32, Prediction)>> {
    type Known = (i64, i32, DateTime<Utc>, Option<String>, Vec<i32>, Vec<f64>, serde_json::Value, Option<Vec<f32>>);
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let new = || places.iter().map(|place| &batch.predictions[*place]);
    let rows: Vec<Known> = sqlx::query_as(
        "select s.ord, p.version_id, p.occurred_at, p.subject_id, p.output_ids, p.scores, p.attributes, p.embedding
        from unnest($1::text[], $2::text[]) with ordinality as s (case_id, record_id, ord)
            join record_key k on k.case_id = s.case_id and k.kind = 1 and k.record_id = s.record_id
            join prediction p on p.case_id = k.case_id and p.record_id = k.record_id and p.occurred_at = k.occurred_at
                and p.until_batch is null
        order by s.ord",
    )
    .bind(new().map(|new| new.prediction.case_id.as_str()).collect::<Vec<_>>())
    .bind(new().map(|new| new.record_id.as_str()).collect::<Vec<_>>())
    .fetch_all(&mut **transaction)
    .await
    .named("load_known")?;
    let mut known = Vec::with_capacity(rows.len());
    for (ord, version_id, occurred_at, subject_id, output_ids, scores, attributes, embedding) in rows {
        // Postgres counts from one.
        let place = places[usize::try_from(ord - 1).unwrap_or_default()];
        let prediction = Prediction {
            case_id: batch.predictions[place].prediction.case_id.clone(),
            subject_id,
            occurred_at,
            scores: output_ids.into_iter().zip(scores).collect(),
            attributes: super::rows::attributes(attributes, occurred_at)?,
            embedding,
        };
        known.push((place, version_id, prediction));
    }
    Ok(known)
}

async fn meet_assertions(transaction: &mut Transaction, batch: &Batch, met: &mut Met) -> Result<()> {
    let keys = batch.assertions.iter().map(|new| (new.assertion.case_id.as_str(), new.record_id.as_str()));
    let mut found = find_keys(transaction, ASSERTION, keys).await?;
    found.sort_unstable_by_key(|(place, _)| *place);
    for (place, digest) in found {
        if met.assertions[place] != Fate::New {
            continue;
        }
        let new = &batch.assertions[place];
        if digest == new.digest {
            met.assertions[place] = Fate::Known;
            continue;
        }
        met.conflicts.push(conflict(&new.position, new.said(), new.digest, new.record()));
        met.assertions[place] = Fate::Conflict;
    }
    Ok(())
}

/// The refusal of a record about what is gone. Of somebody who was erased nothing is kept but the place and the reason.
fn gone(position: &Position, reason: Reason, said: (serde_json::Value, [u8; 32], Secret)) -> NewRejection {
    let (payload, fingerprint, record) = match reason {
        Reason::Erased => (serde_json::json!({}), [0; 32], None),
        _ => (said.0, said.1, Some(said.2)),
    };
    NewRejection {
        position: position.clone(),
        field: "case".to_owned(),
        reason,
        message: told_gone(reason).to_owned(),
        payload,
        fingerprint,
        record,
    }
}

/// The refusal of a record that contradicts what is known, with what it says.
fn conflict(position: &Position, said: serde_json::Value, fingerprint: [u8; 32], record: Secret) -> NewRejection {
    NewRejection {
        position: position.clone(),
        field: "id".to_owned(),
        reason: Reason::Conflict,
        message: CONFLICT.to_owned(),
        payload: said,
        fingerprint,
        record: Some(record),
    }
}
