//! Anchors and verifications, as the audit trail keeps them, each with the notices that tell of it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::audit::{AuditRow, Chain, append, lock_head};
use super::lease::Lease;
use super::look::Look;
use super::outbox::{About, NewNotice, enqueue};
use super::{Named, Result, Store};
use crate::chain::hex;

impl Look {
    /// The hashes of batches, by number.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_batch_hashes(&mut self, batches: &[i64]) -> Result<HashMap<i64, Vec<u8>>> {
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as("select batch_id, hash from batch where batch_id = any($1)")
            .bind(batches)
            .fetch_all(&mut *self.0)
            .await
            .named("list_batch_hashes")?;
        Ok(rows.into_iter().collect())
    }
}

/// What is known of the record without walking it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordStatus {
    /// Entries of the audit trail.
    pub entries: i64,
    /// Seals.
    pub seals: i64,
    /// When the heads were last anchored.
    pub anchored_at: Option<DateTime<Utc>>,
    /// When everything was last verified, and how many rows did not fit.
    pub verified: Option<(DateTime<Utc>, i64)>,
}

impl Store {
    /// Note the heads of the other chains in the audit trail. The entry's hash stands for everything before it: `notices` tell
    /// it to whoever keeps it outside, in the same transaction.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn anchor(
        &self,
        lease: Option<&Lease>,
        (actor, reason): (&str, &str),
        now: DateTime<Utc>,
        notices: impl FnOnce(&AuditRow) -> Vec<NewNotice>,
    ) -> Result<AuditRow> {
        let mut transaction = self.begin().await?;
        if let Some(lease) = lease {
            super::lease::check(&mut transaction, lease).await?;
        }
        // What is committed: the counter is not locked, so intake does not wait.
        let (batch, head): (i64, Vec<u8>) = sqlx::query_as("select last_batch, head from batch_counter")
            .fetch_one(&mut *transaction)
            .await
            .named("last_batch")?;
        let seals = lock_head(&mut transaction, Chain::Seals).await?;
        let detail = json!({
            "seals": { "number": seals.number, "hash": hex(&seals.hash) },
            "batches": { "number": batch, "hash": hex(&head) },
        });
        let (action, subject) = ("anchored", "the record");
        let head = append(&mut transaction, now, actor, action, subject, reason, detail.clone()).await?;
        let entry = AuditRow {
            audit_id: head.number,
            at: now,
            written_at: head.clock,
            actor: actor.to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            reason: reason.to_owned(),
            detail,
            hash: hex(&head.hash),
        };
        for notice in notices(&entry) {
            enqueue(&mut transaction, About { alerts: &[], thread: None, event_id: None }, &notice, now).await?;
        }
        match lease {
            Some(lease) => super::lease::commit(transaction, lease, "anchor").await?,
            None => transaction.commit().await.named("anchor")?,
        }
        Ok(entry)
    }

    /// Note what a verification found, and tell of it.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn note_verification(
        &self,
        lease: &Lease,
        (reason, detail): (&str, Value),
        notices: &[NewNotice],
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        super::lease::check(&mut transaction, lease).await?;
        for notice in notices {
            enqueue(&mut transaction, About { alerts: &[], thread: None, event_id: None }, notice, now).await?;
        }
        append(&mut transaction, now, "dosimeter", "verified", "the record", reason, detail).await?;
        super::lease::commit(transaction, lease, "note_verification").await
    }

    /// Anchorings behind an entry, the earliest first.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_anchors(&self, after: i64) -> Result<Vec<AuditRow>> {
        sqlx::query_as(
            "select audit_id, at, written_at, actor, action, subject, reason, detail, encode(hash, 'hex') as hash from audit
            where action = 'anchored' and audit_id > $1 order by audit_id",
        )
        .bind(after)
        .fetch_all(&self.pool)
        .await
        .named("list_anchors")
    }

    /// What is known of the record without walking it.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn record_status(&self) -> Result<RecordStatus> {
        type Row = (i64, i64, Option<DateTime<Utc>>, Option<DateTime<Utc>>, Option<i64>);
        let (entries, seals, anchored_at, verified_at, breaches): Row = sqlx::query_as(
            "select (select number from chain_head where chain = 'acts'), (select number from chain_head where chain = 'seals'),
                (select at from audit where action = 'anchored' order by audit_id desc limit 1), v.at,
                (v.detail->>'breaches')::bigint
            from (select) one left join lateral
                (select at, detail from audit where action = 'verified' order by audit_id desc limit 1) v on true",
        )
        .fetch_one(&self.pool)
        .await
        .named("record_status")?;
        let verified = verified_at.map(|at| (at, breaches.unwrap_or_default()));
        Ok(RecordStatus { entries, seals, anchored_at, verified })
    }

    /// When the first entry of the audit trail was written, if there is one.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn record_began(&self) -> Result<Option<DateTime<Utc>>> {
        sqlx::query_scalar("select at from audit order by audit_id limit 1")
            .fetch_optional(&self.pool)
            .await
            .named("record_began")
    }
}
