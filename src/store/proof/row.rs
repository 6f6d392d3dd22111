//! Rows as leaves: read whole, and told as what they are when they cannot be read.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::key;
use crate::chain::Hash;
use crate::domain::Prediction;
use crate::domain::window::month_of;
use crate::store::leaf::{
    AssertionColumns, Part, REJECTION, Relation, Salt, of_assertion, of_identifier, of_prediction,
};
use crate::store::{identifier, rejection, rows};
use crate::vault::Ring;

/// A row as a leaf.
#[derive(Clone, Debug)]
pub struct StoredLeaf {
    /// The batch that it says it is of.
    pub batch_id: i64,
    /// The part of it that it belongs to.
    pub part: Part,
    /// The row, by its key in words.
    pub row: String,
    /// Its leaf, or why it has none.
    pub leaf: std::result::Result<Hash, String>,
    /// What else of it does not fit.
    pub fault: Option<String>,
}

/// The statement that reads rows of a table, called `t`, as leaves.
pub(in crate::store) fn statement(relation: Relation, condition: &'static str) -> String {
    let columns = match relation {
        Relation::Prediction => {
            "t.*, v.name as version, k.digest from prediction t
                left join model_version v on v.version_id = t.version_id
                left join record_key k on k.case_id = t.case_id and k.kind = 1 and k.record_id = t.record_id
                    and t.until_batch is null"
        }
        Relation::Assertion => {
            "t.*, k.digest from assertion t
                left join record_key k on k.case_id = t.case_id and k.kind = 2 and k.record_id = t.record_id"
        }
        Relation::Rejection => return format!("select t.*, {REJECTION} as leaf from rejection t where {condition}"),
        Relation::Identifier => "t.*, b.committed_at from identifier t left join batch b on b.batch_id = t.batch_id",
    };
    format!("select {columns} where {condition}")
}

/// A row that [`statement`] has read, as a leaf.
pub(in crate::store) fn stored(relation: Relation, row: &PgRow, ring: Option<&Ring>) -> sqlx::Result<StoredLeaf> {
    match relation {
        Relation::Prediction => prediction(row),
        Relation::Assertion => assertion(row),
        Relation::Rejection => rejection(row, ring),
        Relation::Identifier => identifier(row, ring),
    }
}

fn prediction(row: &PgRow) -> sqlx::Result<StoredLeaf> {
    let (case_id, record_id): (String, String) = (row.try_get("case_id")?, row.try_get("record_id")?);
    let (occurred_at, batch_id): (DateTime<Utc>, i64) = (row.try_get("occurred_at")?, row.try_get("batch_id")?);
    let name = key(&case_id, occurred_at, batch_id);
    let read = || -> std::result::Result<(Prediction, Salt), String> {
        let wrong = |error: sqlx::Error| error.to_string();
        let ids: Vec<i32> = row.try_get("output_ids").map_err(wrong)?;
        let scores: Vec<f64> = row.try_get("scores").map_err(wrong)?;
        if ids.len() != scores.len() {
            return Err("it has not as many scores as outputs".to_owned());
        }
        let attributes = row.try_get("attributes").map_err(wrong)?;
        let prediction = Prediction {
            case_id: case_id.clone(),
            subject_id: row.try_get("subject_id").map_err(wrong)?,
            occurred_at,
            scores: ids.into_iter().zip(scores).collect(),
            attributes: rows::attributes(attributes, occurred_at).map_err(|error| error.to_string())?,
            embedding: row.try_get("embedding").map_err(wrong)?,
        };
        Ok((prediction, salt(row)?))
    };
    let read = read();
    let version: Option<String> = row.try_get("version")?;
    let digest: Option<Vec<u8>> = row.try_get("digest")?;
    let fault = match (&read, &version, digest) {
        (_, None, _) => Some("its version is not known".to_owned()),
        (Ok((prediction, _)), Some(version), Some(digest)) if digest != prediction.digest(version) => {
            Some("its content is not that of the digest of its identity".to_owned())
        }
        _ => None,
    };
    let version_id: i32 = row.try_get("version_id")?;
    let leaf = read.map(|(prediction, salt)| of_prediction(&salt, &record_id, version_id, &prediction));
    let part = (Relation::Prediction, month_of(occurred_at).from);
    Ok(StoredLeaf { batch_id, part, row: name, leaf, fault })
}

fn assertion(row: &PgRow) -> sqlx::Result<StoredLeaf> {
    let case_id: String = row.try_get("case_id")?;
    let (observed_at, batch_id): (DateTime<Utc>, i64) = (row.try_get("observed_at")?, row.try_get("batch_id")?);
    let [record_id, opinion, source, reader, status] = ["record_id", "opinion", "source", "reader", "status"];
    let [record_id, opinion, source, reader, status]: [String; 5] = [
        row.try_get(record_id)?,
        row.try_get(opinion)?,
        row.try_get(source)?,
        row.try_get(reader)?,
        row.try_get(status)?,
    ];
    let truth_id = row.try_get("truth_id")?;
    let columns = AssertionColumns {
        case_id: &case_id,
        record_id: &record_id,
        truth_id,
        opinion: &opinion,
        source: &source,
        reader: &reader,
        status: &status,
        observed_at,
    };
    let leaf = salt(row).map(|salt| of_assertion(&salt, columns));
    let about = (case_id.clone(), truth_id, observed_at);
    let read = rows::assertion(about, (&opinion, &status), (source.clone(), reader.clone()));
    let digest: Option<Vec<u8>> = row.try_get("digest")?;
    let fault = match (read, digest) {
        (Err(error), _) => Some(error.to_string()),
        (Ok(assertion), Some(digest)) if digest != assertion.digest() => {
            Some("its content is not that of the digest of its identity".to_owned())
        }
        _ => None,
    };
    let part = (Relation::Assertion, month_of(observed_at).from);
    Ok(StoredLeaf { batch_id, part, row: key(&case_id, observed_at, batch_id), leaf, fault })
}

fn rejection(row: &PgRow, ring: Option<&Ring>) -> sqlx::Result<StoredLeaf> {
    let leaf: Option<Vec<u8>> = row.try_get("leaf")?;
    let at: DateTime<Utc> = row.try_get("rejected_at")?;
    let (source, origin): (String, String) = (row.try_get("source")?, row.try_get("origin")?);
    let about = rejection::about(&source, &origin, row.try_get("line")?, row.try_get("item")?);
    let about: Vec<&str> = about.iter().map(String::as_str).collect();
    Ok(StoredLeaf {
        batch_id: row.try_get("batch_id")?,
        part: (Relation::Rejection, month_of(at).from),
        row: format!("rejection {}", row.try_get::<i64, _>("rejection_id")?),
        leaf: leaf.and_then(|leaf| leaf.try_into().ok()).ok_or_else(|| "it has no leaf".to_owned()),
        fault: unsealed(ring, &about, (row.try_get("key_id")?, row.try_get("record")?)),
    })
}

fn identifier(row: &PgRow, ring: Option<&Ring>) -> sqlx::Result<StoredLeaf> {
    let (pseudonym, kind): (String, i16) = (row.try_get("pseudonym")?, row.try_get("kind")?);
    let at: Option<DateTime<Utc>> = row.try_get("committed_at")?;
    let about = identifier::about(kind, &pseudonym);
    Ok(StoredLeaf {
        batch_id: row.try_get("batch_id")?,
        part: (Relation::Identifier, month_of(at.unwrap_or_default()).from),
        leaf: salt(row).map(|salt| of_identifier(&salt, kind, &pseudonym)),
        fault: unsealed(ring, &about, (row.try_get("key_id")?, row.try_get("sealed")?)),
        row: format!("pseudonym {pseudonym}"),
    })
}

fn salt(row: &PgRow) -> std::result::Result<Salt, String> {
    let bytes: Vec<u8> = row.try_get("salt").map_err(|error| error.to_string())?;
    bytes.try_into().map_err(|_| "its salt has not 16 bytes".to_owned())
}

/// Why what is encrypted is not what was; nothing without the key, for then nobody can tell.
fn unsealed(
    ring: Option<&Ring>,
    about: &[&str],
    (key_id, sealed): (Option<String>, Option<Vec<u8>>),
) -> Option<String> {
    match ring?.open(&key_id?, about, &sealed?) {
        Err(error @ crate::vault::Error::Tampered(_)) => Some(error.to_string()),
        _ => None,
    }
}
