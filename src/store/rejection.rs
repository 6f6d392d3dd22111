//! Refused records: as people read them, as they stood, and what became of them when they were sent through the door again.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::audit::append;
use super::batch::{Batch, NewRejection, Position};
use super::identifier::nonce;
use super::{Error, Named, Result, Store, Transaction};
use crate::config::Secret;
use crate::vault::Ring;

/// A refused record.
#[derive(Clone, Debug, PartialEq, serde::Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Rejection {
    /// Its number.
    pub rejection_id: i64,
    /// When it was refused.
    pub rejected_at: DateTime<Utc>,
    /// The source.
    pub source: String,
    /// The file, or whoever sent it.
    pub origin: String,
    /// Line or row in it, from 1; 0 for the whole file.
    pub line: i64,
    /// Which record of that row, from 0.
    pub item: i32,
    /// The column or field at fault.
    pub field: String,
    /// The reason as one word.
    pub reason: String,
    /// What is wrong and what to do about it.
    pub message: String,
    /// The mapped columns of the record without its identifiers.
    pub payload: serde_json::Value,
    /// Whether the record as it stood is kept, encrypted.
    pub has_record: bool,
    /// When it was last sent through the door again.
    pub replayed_at: Option<DateTime<Utc>>,
    /// When it was taken in after all.
    pub resolved_at: Option<DateTime<Utc>>,
    /// The batch that took it in.
    pub resolved_by: Option<i64>,
}

/// A refused record with what it said.
#[derive(Clone, Debug)]
pub struct Opened {
    /// As people read it.
    pub rejection: Rejection,
    /// The record as it stood, or why it cannot be read.
    pub record: std::result::Result<Secret, String>,
}

/// Which rejections are wanted.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct RejectionFilter {
    /// These numbers only.
    pub ids: Option<Vec<i64>>,
    /// Of one source only.
    pub source: Option<String>,
    /// For one reason only.
    pub reason: Option<String>,
    /// Refused at or after this instant only.
    pub since: Option<DateTime<Utc>>,
    /// Refused at this instant or before it only.
    pub until: Option<DateTime<Utc>>,
    /// Those that have been taken in after all, or those that have not.
    pub resolved: Option<bool>,
    /// Those before this number only: the next page.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

/// What the record of a rejection is about.
pub(super) fn about(source: &str, origin: &str, line: i64, item: i32) -> [String; 5] {
    ["rejection".to_owned(), source.to_owned(), origin.to_owned(), line.to_string(), item.to_string()]
}

/// The records of refused records, encrypted, in their order.
pub(super) fn seal(ring: Option<&Ring>, batch: &Batch) -> Vec<Option<Vec<u8>>> {
    let seal = |rejection: &NewRejection| {
        let (ring, record) = (ring?, rejection.record.as_ref()?);
        let Position { line, item } = rejection.position;
        let about = about(&batch.source, &batch.origin, line, item);
        let about: Vec<&str> = about.iter().map(String::as_str).collect();
        Some(ring.seal(&about, record.expose().as_bytes(), nonce()))
    };
    batch.rejections.iter().map(seal).collect()
}

/// Note what became of refused records that were sent through the door again: what nothing speaks against is resolved, and
/// what is refused again keeps its place with the new reason.
pub(super) async fn settle(
    transaction: &mut Transaction,
    batch: &Batch,
    replayed: &[i64],
    batch_id: i64,
    now: DateTime<Utc>,
) -> Result<()> {
    let refused = |id: i64| batch.rejections.iter().find(|rejection| rejection.position.line == id);
    let (mut ids, mut fields, mut reasons, mut messages) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut resolved = Vec::new();
    for id in replayed {
        match refused(*id) {
            None => resolved.push(*id),
            Some(NewRejection { field, reason, message, .. }) => {
                ids.push(*id);
                fields.push(field.clone());
                reasons.push(reason.as_str());
                messages.push(message.clone());
            }
        }
    }
    sqlx::query(
        "update rejection r set field = t.field, reason = t.reason, message = t.message, replayed_at = $5,
            first_words = coalesce(first_words,
                sha256(salt || convert_to(jsonb_build_array(r.field, r.reason, r.message)::text, 'UTF8')))
        from unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) as t (rejection_id, field, reason, message)
        where r.rejection_id = t.rejection_id and r.resolved_at is null",
    )
    .bind(ids)
    .bind(fields)
    .bind(reasons)
    .bind(messages)
    .bind(now)
    .execute(&mut **transaction)
    .await
    .named("refuse_again")?;
    let reasons: Vec<String> = sqlx::query_scalar(
        "update rejection set replayed_at = $2, resolved_at = $2, resolved_by = $3
        where rejection_id = any($1) and resolved_at is null returning reason",
    )
    .bind(resolved)
    .bind(now)
    .bind(batch_id)
    .fetch_all(&mut **transaction)
    .await
    .named("resolve_rejections")?;
    for reason in reasons {
        super::status::count(transaction, ("resolved", &batch.source, &reason), 1).await?;
    }
    Ok(())
}

const COLUMNS: &str = "rejection_id, rejected_at, source, origin, line, item, field, reason, message, payload,
    record is not null as has_record, replayed_at, resolved_at, resolved_by";
const WHERE: &str = "where ($1::bigint[] is null or rejection_id = any($1)) and ($2::text is null or source = $2)
        and ($3::text is null or reason = $3) and ($4::timestamptz is null or rejected_at >= $4)
        and ($5::boolean is null or (resolved_at is not null) = $5) and ($6::bigint is null or rejection_id < $6)
        and ($8::timestamptz is null or rejected_at <= $8)
    order by rejection_id desc limit $7";

impl Store {
    /// Rejections, the latest first.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_rejections(&self, filter: &RejectionFilter) -> Result<Vec<Rejection>> {
        // Constants of this file: nothing of the caller's enters the statement.
        sqlx::query_as(sqlx::AssertSqlSafe(format!("select {COLUMNS} from rejection {WHERE}")))
            .bind(&filter.ids)
            .bind(&filter.source)
            .bind(&filter.reason)
            .bind(filter.since)
            .bind(filter.resolved)
            .bind(filter.before)
            .bind(filter.limit)
            .bind(filter.until)
            .fetch_all(&self.pool)
            .await
            .named("list_rejections")
    }

    /// One rejection.
    ///
    /// # Errors
    /// When there is none of this number, or Postgres fails.
    pub async fn load_rejection(&self, rejection_id: i64) -> Result<Rejection> {
        let filter = RejectionFilter { ids: Some(vec![rejection_id]), limit: 1, ..RejectionFilter::default() };
        let missing = || {
            Error::Missing(format!(
                "there is no rejection {rejection_id}; see `dosimeter rejections list`, or retention has removed it"
            ))
        };
        self.list_rejections(&filter).await?.pop().ok_or_else(missing)
    }

    /// Whether a record of a row is refused on its own and has not been taken in since.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn is_refused(&self, of: &Rejection, item: i32) -> Result<bool> {
        sqlx::query_scalar(
            "select exists (select from rejection
                where source = $1 and origin = $2 and line = $3 and item = $4 and resolved_at is null)",
        )
        .bind(&of.source)
        .bind(&of.origin)
        .bind(of.line)
        .bind(item)
        .fetch_one(&self.pool)
        .await
        .named("is_refused")
    }

    /// Rejections with the records as they stood, the earliest first.
    ///
    /// # Errors
    /// When Postgres fails. A record that cannot be decrypted says so in its place.
    pub async fn open_rejections(&self, filter: &RejectionFilter) -> Result<Vec<Opened>> {
        let mut rejections = self.list_rejections(filter).await?;
        rejections.reverse();
        let ids: Vec<i64> = rejections.iter().map(|rejection| rejection.rejection_id).collect();
        let sealed: Vec<(i64, String, Vec<u8>)> = sqlx::query_as(
            "select rejection_id, key_id, record from rejection where rejection_id = any($1) and record is not null",
        )
        .bind(ids)
        .fetch_all(&self.pool)
        .await
        .named("load_records")?;
        let sealed: std::collections::HashMap<i64, (String, Vec<u8>)> =
            sealed.into_iter().map(|(id, key_id, record)| (id, (key_id, record))).collect();
        let open = |rejection: Rejection| {
            let record = match (sealed.get(&rejection.rejection_id), &self.ring) {
                (None, _) => Err("no record is kept for it: correct it where it came from".to_owned()),
                (Some((key_id, _)), None) => Err(crate::vault::Error::UnknownKey(key_id.clone()).to_string()),
                (Some((key_id, record)), Some(ring)) => {
                    let about = about(&rejection.source, &rejection.origin, rejection.line, rejection.item);
                    let about: Vec<&str> = about.iter().map(String::as_str).collect();
                    let plain = ring.open(key_id, &about, record).map_err(|error| error.to_string());
                    plain.map(|plain| Secret::new(&String::from_utf8_lossy(&plain)))
                }
            };
            Opened { rejection, record }
        };
        Ok(rejections.into_iter().map(open).collect())
    }

    /// Note in the audit trail what a person did with refused records, without what the records say.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn note_rejections(
        &self,
        action: &str,
        (by, reason): (&str, &str),
        detail: serde_json::Value,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        append(&mut transaction, now, by, action, "rejections", reason, json!(detail)).await?;
        transaction.commit().await.named("note_rejections")
    }
}
