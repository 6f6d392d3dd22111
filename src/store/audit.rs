//! The audit trail: who did what, hash-chained. [`append`] is the one way to write an entry.
//!
//! The head of the chain is locked from the first entry of a transaction to its commit, so entries ascend without a gap and
//! without a fork. Append as late as possible, and last of all locks: after the batch counter, after rows that others change
//! too, after the head of the seals. Whoever locks a row behind it may wait for somebody who waits for it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::FromRow;

use super::look::Look;
use super::seal::as_hash;
use super::{Named, Result, Store, Transaction};
use crate::chain::{Act, Hash};

/// The chains whose heads are kept beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// The audit trail.
    Acts,
    /// The seals of history.
    Seals,
}

impl Chain {
    /// Its name in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acts => "acts",
            Self::Seals => "seals",
        }
    }
}

/// The last link of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0 before the first.
    pub number: i64,
    /// Its hash.
    pub hash: Hash,
    /// What the server's clock showed when this was read.
    pub clock: DateTime<Utc>,
}

/// An entry to be written.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// When, by our clock.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// Before and after, or other particulars.
    pub detail: Value,
}

/// Append an entry.
pub(super) async fn append(
    transaction: &mut Transaction,
    at: DateTime<Utc>,
    actor: &str,
    action: &str,
    subject: &str,
    reason: &str,
    detail: Value,
) -> Result<Head> {
    let [actor, action, subject, reason] = [actor, action, subject, reason].map(str::to_owned);
    append_all(transaction, &[Entry { at, actor, action, subject, reason, detail }]).await
}

/// Append entries, in order. Returns the last link.
pub(super) async fn append_all(transaction: &mut Transaction, entries: &[Entry]) -> Result<Head> {
    let head = lock_head(transaction, Chain::Acts).await?;
    let (mut audit_id, mut previous, written_at) = (head.number, head.hash, head.clock);
    for Entry { at, actor, action, subject, reason, detail } in entries {
        audit_id += 1;
        let (at, detail) = (*at, detail.to_string());
        let hash = Act { audit_id, at, written_at, actor, action, subject, reason, detail: &detail }.hash(&previous);
        sqlx::query(
            "insert into audit (audit_id, at, written_at, actor, action, subject, reason, detail, previous_hash, hash)
            values ($1, $2, $3, $4, $5, $6, $7, $8::text::json, $9, $10)",
        )
        .bind(audit_id)
        .bind(at)
        .bind(written_at)
        .bind(actor)
        .bind(action)
        .bind(subject)
        .bind(reason)
        .bind(detail)
        .bind(previous.as_slice())
        .bind(hash.as_slice())
        .execute(&mut **transaction)
        .await
        .named("insert_audit")?;
        previous = hash;
    }
    if !entries.is_empty() {
        advance(transaction, Chain::Acts, audit_id, &previous).await?;
    }
    Ok(Head { number: audit_id, hash: previous, clock: written_at })
}

/// Lock the head of a chain until the commit.
pub(super) async fn lock_head(transaction: &mut Transaction, chain: Chain) -> Result<Head> {
    let (number, hash, clock): (i64, Vec<u8>, DateTime<Utc>) =
        sqlx::query_as("select number, hash, clock_timestamp() from chain_head where chain = $1 for update")
            .bind(chain.as_str())
            .fetch_one(&mut **transaction)
            .await
            .named("lock_head")?;
    Ok(Head { number, hash: as_hash("chain_head", &hash)?, clock })
}

/// Let a chain's head be another link.
pub(super) async fn advance(transaction: &mut Transaction, chain: Chain, number: i64, hash: &Hash) -> Result<()> {
    sqlx::query("update chain_head set number = $2, hash = $3 where chain = $1")
        .bind(chain.as_str())
        .bind(number)
        .bind(hash.as_slice())
        .execute(&mut **transaction)
        .await
        .named("advance_head")?;
    Ok(())
}

/// An entry of the audit trail.
#[derive(Clone, Debug, FromRow, serde::Serialize, utoipa::ToSchema)]
pub struct AuditRow {
    /// Its number.
    pub audit_id: i64,
    /// When, by the clock of the daemon or the command.
    pub at: DateTime<Utc>,
    /// When it was written, by the database server's clock.
    pub written_at: DateTime<Utc>,
    /// Who: dosimeter, a person, or a token in a person's name.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// Before and after, or other particulars.
    pub detail: Value,
    /// SHA-256 of the entry and of the hash before it.
    pub hash: String,
}

/// Which entries are wanted; what is absent excludes nothing.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Those before this number.
    pub before: Option<i64>,
    /// By whom.
    pub actor: Option<String>,
    /// Actions that are, or begin with, these words: `alert`, `alert fired`.
    pub action: Option<String>,
    /// To what: `alert 17`.
    pub subject: Option<String>,
    /// Words that its actor, action, subject, reason or particulars contain, whatever their case.
    pub text: Option<String>,
    /// At this instant or later.
    pub from: Option<DateTime<Utc>>,
    /// Before this instant.
    pub to: Option<DateTime<Utc>>,
}

/// An entry as it is hashed.
#[derive(Clone, Debug, FromRow)]
pub struct StoredAct {
    /// Its number.
    pub audit_id: i64,
    /// When, by our clock.
    pub at: DateTime<Utc>,
    /// When, by the server's clock.
    pub written_at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// Particulars, as text.
    pub detail: String,
    /// The hash that it names as the one before.
    pub previous_hash: Vec<u8>,
    /// Its hash.
    pub hash: Vec<u8>,
}

impl StoredAct {
    /// The hash that it should have behind another.
    #[must_use]
    pub fn hash_behind(&self, previous: &Hash) -> Hash {
        let Self { audit_id, at, written_at, actor, action, subject, reason, detail, .. } = self;
        Act { audit_id: *audit_id, at: *at, written_at: *written_at, actor, action, subject, reason, detail }
            .hash(previous)
    }
}

impl Store {
    /// Entries of the audit trail, the latest first.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_audit(&self, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditRow>> {
        sqlx::query_as(
            "select audit_id, at, written_at, actor, action, subject, reason, detail, encode(hash, 'hex') as hash from audit
            where ($1::bigint is null or audit_id < $1) and ($2::text is null or actor = $2)
                and ($3::text is null or action = $3 or starts_with(action, $3 || ' ')) and ($4::text is null or subject = $4)
                and ($5::timestamptz is null or at >= $5) and ($6::timestamptz is null or at < $6)
                and ($8::text is null
                    or position(lower($8) in lower(concat_ws(' ', actor, action, subject, reason, detail::text))) > 0)
            order by audit_id desc limit $7",
        )
        .bind(filter.before)
        .bind(&filter.actor)
        .bind(&filter.action)
        .bind(&filter.subject)
        .bind(filter.from)
        .bind(filter.to)
        .bind(limit)
        .bind(&filter.text)
        .fetch_all(&self.pool)
        .await
        .named("list_audit")
    }

    /// The latest entry of an action, if there is one.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn last_act(&self, action: &str) -> Result<Option<AuditRow>> {
        sqlx::query_as(
            "select audit_id, at, written_at, actor, action, subject, reason, detail, encode(hash, 'hex') as hash from audit
            where action = $1 order by audit_id desc limit 1",
        )
        .bind(action)
        .fetch_optional(&self.pool)
        .await
        .named("last_act")
    }

    /// Append an entry about what no other transaction is about.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn note(
        &self,
        at: DateTime<Utc>,
        actor: &str,
        [action, subject, reason]: [&str; 3],
        detail: Value,
    ) -> Result<i64> {
        let mut transaction = self.begin().await?;
        let head = append(&mut transaction, at, actor, action, subject, reason, detail).await?;
        transaction.commit().await.named("note")?;
        Ok(head.number)
    }
}

impl Look {
    /// The head of a chain.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn head(&mut self, chain: Chain) -> Result<Head> {
        let (number, hash, clock): (i64, Vec<u8>, DateTime<Utc>) =
            sqlx::query_as("select number, hash, clock_timestamp() from chain_head where chain = $1")
                .bind(chain.as_str())
                .fetch_one(&mut *self.0)
                .await
                .named("read_head")?;
        Ok(Head { number, hash: as_hash("chain_head", &hash)?, clock })
    }

    /// Entries behind a number, in order, as they are hashed.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_acts(&mut self, after: i64, limit: i64) -> Result<Vec<StoredAct>> {
        sqlx::query_as(
            "select audit_id, at, written_at, actor, action, subject, reason, detail::text as detail, previous_hash, hash
            from audit where audit_id > $1 order by audit_id limit $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *self.0)
        .await
        .named("list_acts")
    }
}
