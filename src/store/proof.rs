//! What verification reads: batches, and rows as leaves, all as of one instant of the database.
//!
//! Nothing here judges: `verify::rows` does. A row that cannot be read is told as what it is, for somebody has changed it.

mod row;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
pub use row::StoredLeaf;
pub(super) use row::{statement, stored};

use super::leaf::{Part, Relation, Weight};
use super::look::Look;
use super::{Named, Result, Store};
use crate::chain::Hash;
use crate::domain::window::show_instant;
use crate::vault::Ring;

/// An instant of the database in which rows are verified, with the keys of what is encrypted.
#[derive(Debug)]
pub struct Proof<'l> {
    look: &'l mut Look,
    ring: Option<Ring>,
}

/// A batch as it is stored.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct StoredBatch {
    /// Its number.
    pub batch_id: i64,
    /// The source.
    pub source: String,
    /// What the source read.
    pub origin: String,
    /// When it was committed.
    pub committed_at: DateTime<Utc>,
    /// Records that were new.
    pub accepted: i64,
    /// Records that were known.
    pub duplicates: i64,
    /// Records that were refused.
    pub rejected: i64,
    /// The text of its parts.
    pub parts: String,
    /// The digest of these.
    pub rows_digest: Vec<u8>,
    /// The hash of the batch before it.
    pub previous_hash: Vec<u8>,
    /// Its hash.
    pub hash: Vec<u8>,
}

/// What has been removed with a record of it.
#[derive(Clone, Debug, Default)]
pub struct Removed {
    /// Months whose predictions are gone.
    pub months: BTreeSet<DateTime<Utc>>,
    /// Refused records of batches committed before are gone.
    pub rejections_before: Option<DateTime<Utc>>,
}

/// An erasure or a retirement, with the digest that it states and that of what stands there.
#[derive(Clone, Debug)]
pub struct Removal {
    /// The table.
    pub relation: &'static str,
    /// Which one.
    pub row: String,
    /// What it states.
    pub stated: (i64, Vec<u8>),
    /// What there is.
    pub found: Weight,
    /// Whether the audit states the same.
    pub is_audited: bool,
}

impl Store {
    /// A proof in an instant of the database.
    #[must_use]
    pub fn proof<'l>(&self, look: &'l mut Look) -> Proof<'l> {
        Proof { look, ring: self.ring.clone() }
    }
}

impl Proof<'_> {
    /// The last batch's number and hash, as the counter states them.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn head(&mut self) -> Result<(i64, Vec<u8>)> {
        sqlx::query_as("select last_batch, head from batch_counter")
            .fetch_one(&mut *self.look.0)
            .await
            .named("batch_head")
    }

    /// Batches after a number, in order.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn batches(&mut self, after: i64, limit: i64) -> Result<Vec<StoredBatch>> {
        sqlx::query_as(
            "select batch_id, source, origin, committed_at, accepted, duplicates, rejected, parts::text as parts,
                rows_digest, previous_hash, hash
            from batch where batch_id > $1 order by batch_id limit $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *self.look.0)
        .await
        .named("walk_batches")
    }

    /// What has been removed with a record of it.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn removed(&mut self) -> Result<Removed> {
        let months: Vec<DateTime<Utc>> = sqlx::query_scalar("select month from retirement")
            .fetch_all(&mut *self.look.0)
            .await
            .named("list_retired_months")?;
        let before = sqlx::query_scalar("select max(before) from rejections_retired")
            .fetch_one(&mut *self.look.0)
            .await
            .named("rejections_before")?;
        Ok(Removed { months: months.into_iter().collect(), rejections_before: before })
    }

    /// What was left of parts of batches between two numbers when retention had removed some of their rows.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn left_of(&mut self, first: i64, last: i64) -> Result<BTreeMap<(i64, Part), Weight>> {
        let rows: Vec<(i64, String, DateTime<Utc>, i64, Vec<u8>)> = sqlx::query_as(
            "select distinct on (batch_id, relation, month) batch_id, relation, month, rows, digest from retired_part
            where batch_id between $1 and $2 order by batch_id, relation, month, retirement desc",
        )
        .bind(first)
        .bind(last)
        .fetch_all(&mut *self.look.0)
        .await
        .named("list_retired_parts")?;
        let left = rows.into_iter().filter_map(|(batch_id, relation, month, rows, digest)| {
            let weight = Weight { rows: rows.cast_unsigned(), digest: digest.try_into().ok()? };
            Some(((batch_id, (Relation::parse(&relation)?, month)), weight))
        });
        Ok(left.collect())
    }

    /// The leaves that are left of erased rows of batches between two numbers.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn erased(&mut self, first: i64, last: i64) -> Result<Vec<(i64, Part, Hash)>> {
        let rows: Vec<(i64, String, DateTime<Utc>, Vec<u8>)> =
            sqlx::query_as("select batch_id, relation, month, leaf from erased_leaf where batch_id between $1 and $2")
                .bind(first)
                .bind(last)
                .fetch_all(&mut *self.look.0)
                .await
                .named("list_erased_leaves")?;
        let leaves = rows.into_iter().filter_map(|(batch_id, relation, month, leaf)| {
            Some((batch_id, (Relation::parse(&relation)?, month), leaf.try_into().ok()?))
        });
        Ok(leaves.collect())
    }

    /// Tell of every row of a table that says it is of a batch between two numbers.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn leaves(
        &mut self,
        relation: Relation,
        (first, last): (i64, i64),
        mut tell: impl FnMut(StoredLeaf),
    ) -> Result<()> {
        let ring = self.ring.clone();
        let statement = statement(relation, "t.batch_id between $1 and $2");
        let mut rows = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(first).bind(last).fetch(&mut *self.look.0);
        while let Some(row) = rows.try_next().await.named("walk_leaves")? {
            tell(stored(relation, &row, ring.as_ref()).named("walk_leaves")?);
        }
        Ok(())
    }

    /// Rows that contradict each other: `(table, row, what)`, at most so many of each kind.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn contradictions(&mut self, limit: i64) -> Result<Vec<(&'static str, String, &'static str)>> {
        // Of tables whose sizes Postgres has not looked at yet it would compare every row with every row.
        sqlx::query("set local enable_nestloop = off").execute(&mut *self.look.0).await.named("set_joins")?;
        let mut found = Vec::new();
        for (relation, what, statement) in CONTRADICTIONS {
            let rows: Vec<(String, DateTime<Utc>, i64)> = sqlx::query_as(statement)
                .bind(limit)
                .fetch_all(&mut *self.look.0)
                .await
                .named("find_contradictions")?;
            found.extend(rows.iter().map(|(case, at, batch)| (relation, key(case, *at, *batch), what)));
        }
        sqlx::query("set local enable_nestloop = on").execute(&mut *self.look.0).await.named("set_joins")?;
        Ok(found)
    }

    /// How many identities there are.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn count_keys(&mut self) -> Result<i64> {
        sqlx::query_scalar("select count(*) from record_key").fetch_one(&mut *self.look.0).await.named("count_keys")
    }

    /// Every erasure and retirement, with what is left of what it removed.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn removals(&mut self) -> Result<Vec<Removal>> {
        let mut removals = Vec::new();
        let erasures: Vec<(i64, i64, Vec<u8>, bool)> = sqlx::query_as(
            "select erasure_id, leaves, leaves_digest, exists (select from audit where action = 'erased'
                and detail->>'erasure' = erasure_id::text and detail->>'leaves_digest' = encode(leaves_digest, 'hex'))
            from erasure order by erasure_id",
        )
        .fetch_all(&mut *self.look.0)
        .await
        .named("list_erasures")?;
        for (erasure_id, rows, digest, is_audited) in erasures {
            let leaves: Vec<Vec<u8>> = sqlx::query_scalar("select leaf from erased_leaf where erasure_id = $1")
                .bind(erasure_id)
                .fetch_all(&mut *self.look.0)
                .await
                .named("list_leaves_of_erasure")?;
            let found = Weight::of(leaves.into_iter().filter_map(|leaf| leaf.try_into().ok()).collect());
            let row = format!("erasure {erasure_id}");
            removals.push(Removal { relation: "erasure", row, stated: (rows, digest), found, is_audited });
        }
        let retired: Vec<(DateTime<Utc>, i64, Vec<u8>, bool)> = sqlx::query_as(
            "select month, parts, parts_digest, exists (select from audit where action = 'rows retired'
                and detail->>'parts_digest' = encode(parts_digest, 'hex'))
            from retirement order by month",
        )
        .fetch_all(&mut *self.look.0)
        .await
        .named("list_retirements")?;
        for (month, parts, digest, is_audited) in retired {
            let left: Vec<LeftPart> = sqlx::query_as(
                "select batch_id, relation, month, rows, digest from retired_part where retirement = $1",
            )
            .bind(month)
            .fetch_all(&mut *self.look.0)
            .await
            .named("list_parts_of_retirement")?;
            let found = Weight::of(left.iter().map(LeftPart::hash).collect());
            let row = format!("month {}", month.format("%Y-%m"));
            removals.push(Removal { relation: "retirement", row, stated: (parts, digest), found, is_audited });
        }
        let aged: Vec<(DateTime<Utc>, bool)> = sqlx::query_as(
            "select before, exists (select from audit where action = 'rows retired' and subject = 'by age'
                and (detail->>'rejections_before')::timestamptz = before)
            from rejections_retired order by before",
        )
        .fetch_all(&mut *self.look.0)
        .await
        .named("list_retired_rejections")?;
        removals.extend(aged.into_iter().map(|(before, is_audited)| {
            let (row, found) = (format!("before {}", show_instant(before)), Weight::of(Vec::new()));
            let stated = (0, found.digest.to_vec());
            Removal { relation: "rejections_retired", row, stated, found, is_audited }
        }));
        Ok(removals)
    }
}

/// What is left of a part of a batch.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct LeftPart {
    pub(super) batch_id: i64,
    pub(super) relation: String,
    pub(super) month: DateTime<Utc>,
    pub(super) rows: i64,
    pub(super) digest: Vec<u8>,
}

impl LeftPart {
    /// What stands for it in the digest of a retirement.
    pub(super) fn hash(&self) -> Hash {
        super::leaf::left_hash(self.batch_id, (&self.relation, self.month), self.rows, &self.digest)
    }
}

/// What two tables say of one record must agree, both ways; and each row of a prediction ends where the next one begins.
const CONTRADICTIONS: [(&str, &str, &str); 5] = [
    (
        "prediction",
        "no identity of the same time, version and batch stands for it",
        "select p.case_id, p.occurred_at, p.batch_id from prediction p where p.until_batch is null and not exists (
            select from record_key k where k.case_id = p.case_id and k.kind = 1 and k.record_id = p.record_id
                and k.occurred_at = p.occurred_at and k.version_id = p.version_id and k.batch_id = p.batch_id) limit $1",
    ),
    (
        "assertion",
        "no identity of the same time and batch stands for it",
        "select a.case_id, a.observed_at, a.batch_id from assertion a where not exists (
            select from record_key k where k.case_id = a.case_id and k.kind = 2 and k.record_id = a.record_id
                and k.occurred_at = a.observed_at and k.version_id is null and k.batch_id = a.batch_id) limit $1",
    ),
    (
        "record_key",
        "it stands for a prediction that is not there",
        "select k.case_id, k.occurred_at, k.batch_id from record_key k where k.kind = 1 and not exists (
            select from prediction p where p.case_id = k.case_id and p.record_id = k.record_id
                and p.occurred_at = k.occurred_at and p.version_id = k.version_id and p.batch_id = k.batch_id
                and p.until_batch is null) limit $1",
    ),
    (
        "record_key",
        "it stands for an assertion that is not there",
        "select k.case_id, k.occurred_at, k.batch_id from record_key k where k.kind <> 1 and not exists (
            select from assertion a where k.kind = 2 and k.version_id is null and a.case_id = k.case_id
                and a.record_id = k.record_id and a.observed_at = k.occurred_at and a.batch_id = k.batch_id) limit $1",
    ),
    (
        "prediction",
        "until_batch is not the batch of the row that says more",
        "select case_id, occurred_at, batch_id from (
            select case_id, occurred_at, batch_id, until_batch, lead(batch_id) over
                (partition by case_id, record_id, occurred_at order by batch_id) as next from prediction) p
        where until_batch is distinct from next limit $1",
    ),
];

fn key(case: &str, at: DateTime<Utc>, batch: i64) -> String {
    format!("case {case}, {}, batch {batch}", show_instant(at))
}
