//! Few new rows: a statement each, with arrays as parameters.
//!
//! A `COPY` ends with a message of its own. Over TCP, without `TCP_NODELAY` (which sqlx 0.9 does not set), that waits for the
//! acknowledgement of the data before it, forty milliseconds as a rule: for a handful of rows nearly all of the time. A statement with
//! parameters goes out at once.

use chrono::{DateTime, SubsecRound, Utc};

use super::batch::{ASSERTION, NewAssertion, NewPrediction, PREDICTION};
use super::leaf::Salt;
use super::{Named, Result, Transaction};

/// Up to so many rows go this way; more by `COPY`, whose rows cost less each.
pub(super) const FEW: usize = 1000;

/// What is stored of an instant: whole microseconds, and what is left over is cut off, as it is for the leaf.
fn micros(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6)
}

fn list<T: ToString>(items: impl Iterator<Item = T>) -> String {
    format!("{{{}}}", items.map(|item| item.to_string()).collect::<Vec<_>>().join(","))
}

/// Write the identities of new records.
pub(super) async fn insert_keys(
    transaction: &mut Transaction,
    predictions: &[&NewPrediction],
    assertions: &[&NewAssertion],
    batch_id: i64,
) -> Result<()> {
    let kinds = predictions.iter().map(|_| PREDICTION).chain(assertions.iter().map(|_| ASSERTION));
    let cases = predictions.iter().map(|new| &new.prediction.case_id);
    let records = predictions.iter().map(|new| &new.record_id).chain(assertions.iter().map(|new| &new.record_id));
    let digests = predictions.iter().map(|new| &new.digest).chain(assertions.iter().map(|new| &new.digest));
    let instants = predictions.iter().map(|new| micros(new.prediction.occurred_at));
    let versions = predictions.iter().map(|new| Some(new.version_id)).chain(assertions.iter().map(|_| None));
    sqlx::query(
        "insert into record_key (case_id, kind, record_id, digest, occurred_at, version_id, batch_id)
        select *, $1 from unnest($2::text[], $3::smallint[], $4::text[], $5::bytea[], $6::timestamptz[], $7::integer[])",
    )
    .bind(batch_id)
    .bind(cases.chain(assertions.iter().map(|new| &new.assertion.case_id)).collect::<Vec<_>>())
    .bind(kinds.collect::<Vec<_>>())
    .bind(records.collect::<Vec<_>>())
    .bind(digests.map(|digest| digest.to_vec()).collect::<Vec<_>>())
    .bind(instants.chain(assertions.iter().map(|new| micros(new.assertion.observed_at))).collect::<Vec<_>>())
    .bind(versions.collect::<Vec<_>>())
    .execute(&mut **transaction)
    .await
    .named("insert_keys")?;
    Ok(())
}

/// Write new predictions. Lists go as texts, for an array of arrays has no rows of different lengths; numbers are the shortest
/// texts that read back as the same.
pub(super) async fn insert_predictions(
    transaction: &mut Transaction,
    predictions: &[(&NewPrediction, Salt)],
    batch_id: i64,
) -> Result<()> {
    let salts: Vec<Vec<u8>> = predictions.iter().map(|(_, salt)| salt.to_vec()).collect();
    let predictions: Vec<&NewPrediction> = predictions.iter().map(|(new, _)| *new).collect();
    let column = |read: &dyn Fn(&NewPrediction) -> String| predictions.iter().map(|new| read(new)).collect::<Vec<_>>();
    let embeddings = predictions.iter().map(|new| Some(list(new.prediction.embedding.as_ref()?.iter())));
    sqlx::query(
        "insert into prediction (case_id, record_id, version_id, occurred_at, subject_id, output_ids, scores, attributes,
            embedding, batch_id, salt)
        select case_id, record_id, version_id, occurred_at, subject_id, output_ids::integer[], scores::double precision[],
            attributes::jsonb, embedding::real[], $1, salt
        from unnest($2::text[], $3::text[], $4::integer[], $5::timestamptz[], $6::text[], $7::text[], $8::text[], $9::text[],
            $10::text[], $11::bytea[])
            as t (case_id, record_id, version_id, occurred_at, subject_id, output_ids, scores, attributes, embedding, salt)",
    )
    .bind(batch_id)
    .bind(column(&|new| new.prediction.case_id.clone()))
    .bind(column(&|new| new.record_id.clone()))
    .bind(predictions.iter().map(|new| new.version_id).collect::<Vec<_>>())
    .bind(predictions.iter().map(|new| micros(new.prediction.occurred_at)).collect::<Vec<_>>())
    .bind(predictions.iter().map(|new| new.prediction.subject_id.as_deref()).collect::<Vec<_>>())
    .bind(column(&|new| list(new.prediction.scores.iter().map(|(output, _)| output))))
    .bind(column(&|new| list(new.prediction.scores.iter().map(|(_, score)| score))))
    // unwrap safety: a map of texts always serialises.
    .bind(column(&|new| serde_json::to_string(&new.prediction.attributes).unwrap_or_default()))
    .bind(embeddings.collect::<Vec<Option<String>>>())
    .bind(salts)
    .execute(&mut **transaction)
    .await
    .named("insert_predictions")?;
    Ok(())
}

/// Write new assertions.
pub(super) async fn insert_assertions(
    transaction: &mut Transaction,
    assertions: &[(&NewAssertion, Salt)],
    batch_id: i64,
) -> Result<()> {
    let salts: Vec<Vec<u8>> = assertions.iter().map(|(_, salt)| salt.to_vec()).collect();
    let assertions: Vec<&NewAssertion> = assertions.iter().map(|(new, _)| *new).collect();
    let column = |read: &dyn Fn(&NewAssertion) -> String| assertions.iter().map(|new| read(new)).collect::<Vec<_>>();
    sqlx::query(
        "insert into assertion (case_id, record_id, truth_id, opinion, source, reader, status, observed_at, salt, batch_id)
        select *, $1 from unnest($2::text[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::timestamptz[], $10::bytea[])",
    )
    .bind(batch_id)
    .bind(column(&|new| new.assertion.case_id.clone()))
    .bind(column(&|new| new.record_id.clone()))
    .bind(assertions.iter().map(|new| new.assertion.truth_id).collect::<Vec<_>>())
    .bind(column(&|new| new.assertion.opinion.to_word().into_owned()))
    .bind(column(&|new| new.assertion.source.clone()))
    .bind(column(&|new| new.assertion.reader.clone()))
    .bind(column(&|new| new.assertion.status.as_str().to_owned()))
    .bind(assertions.iter().map(|new| micros(new.assertion.observed_at)).collect::<Vec<_>>())
    .bind(salts)
    .execute(&mut **transaction)
    .await
    .named("insert_assertions")?;
    Ok(())
}
