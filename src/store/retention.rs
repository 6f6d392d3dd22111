//! Retention of rows: buckets are frozen and their summaries pinned, then the rows of whole months go.
//!
//! Three steps, each a transaction that may be repeated: `freeze` (nothing more is taken in before an instant), `pin` (the summaries
//! of the frozen buckets move to a table that nothing changes), and per month `retire_month`, which removes what is about the cases
//! of that month and of no later one. While a month goes, the batch counter is held: intake waits, and cannot miss what is gone.
//! Estimates, evidence, alerts, the ledger and the audit stay.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde_json::json;

use super::identifier::IdKind;
use super::leaf::{Hash, Part, Relation, Weight};
use super::lease::Lease;
use super::proof::{self, LeftPart};
use super::{Named, Result, Store, Transaction, audit, seal};
use crate::config::hex;
use crate::domain::window::month_of;

/// Batches whose leaves are weighed at once.
const AT_ONCE: usize = 500;

/// How many rows of each table went, or would go.
pub type Counts = BTreeMap<&'static str, u64>;

/// What goes by its age alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aged {
    /// Refused records of before go.
    pub rejections_before: DateTime<Utc>,
    /// Notices that were sent or given up before go.
    pub notices_before: DateTime<Utc>,
}

const OLD_NOTICES: &str = "coalesce(sent_at, dead_at) < $1
    and not exists (select from alert_notice join alert using (alert_id)
        where alert_notice.outbox_id = outbox.outbox_id and closed_at is null)";

impl Store {
    /// Remove refused records and notices that are older than the plan keeps them; while an alert is open, its notices say who was
    /// told. Says how many of each.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn retire_aged(&self, lease: &Lease, aged: Aged, now: DateTime<Utc>) -> Result<Counts> {
        let mut transaction = self.begin_removing().await?;
        super::lease::check(&mut transaction, lease).await?;
        let rejections = sqlx::query("delete from rejection where rejected_at < $1")
            .bind(aged.rejections_before)
            .execute(&mut *transaction)
            .await
            .named("retire_rejections")?
            .rows_affected();
        // A constant of ours.
        let notices = sqlx::query(sqlx::AssertSqlSafe(format!("delete from outbox where {OLD_NOTICES}")))
            .bind(aged.notices_before)
            .execute(&mut *transaction)
            .await
            .named("retire_notices")?
            .rows_affected();
        sqlx::query("delete from contract_breach where hour < $1")
            .bind(aged.rejections_before)
            .execute(&mut *transaction)
            .await
            .named("retire_breaches")?;
        if rejections > 0 {
            let seal = seal::open(&mut transaction).await?;
            sqlx::query(
                "insert into rejections_retired (before, retired_at, rows) values ($1, $2, $3) on conflict do nothing",
            )
            .bind(aged.rejections_before)
            .bind(now)
            .bind(rejections.cast_signed())
            .execute(&mut *transaction)
            .await
            .named("note_retired_rejections")?;
            seal::close(&mut transaction, seal, &["rejections_retired"]).await?;
        }
        let counts = Counts::from([("rejection", rejections), ("outbox", notices)]);
        if rejections + notices > 0 {
            for (table, rows) in &counts {
                super::status::count(&mut transaction, ("retired", table, "row"), *rows).await?;
            }
            let detail = json!({ "rows": counts, "rejections_before": aged.rejections_before,
                "notices_before": aged.notices_before });
            audit::append(&mut transaction, now, "dosimeter", "rows retired", "by age", "retention", detail).await?;
        }
        super::lease::commit(transaction, lease, "retire_aged").await?;
        Ok(counts)
    }

    /// How many refused records and notices would go.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn count_aged(&self, aged: Aged) -> Result<Counts> {
        let rejections: i64 = sqlx::query_scalar("select count(*) from rejection where rejected_at < $1")
            .bind(aged.rejections_before)
            .fetch_one(&self.pool)
            .await
            .named("count_old_rejections")?;
        let statement = format!("select count(*) from outbox where {OLD_NOTICES}");
        let notices: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .bind(aged.notices_before)
            .fetch_one(&self.pool)
            .await
            .named("count_old_notices")?;
        Ok(Counts::from([("rejection", rejections.cast_unsigned()), ("outbox", notices.cast_unsigned())]))
    }

    /// When the oldest prediction that is kept was made.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn oldest_prediction(&self) -> Result<Option<DateTime<Utc>>> {
        sqlx::query_scalar(
            "select min(p.first) from model_version v, lateral (
                select min(occurred_at) as first from prediction where version_id = v.version_id) p",
        )
        .fetch_one(&self.pool)
        .await
        .named("oldest_prediction")
    }

    /// The instant before which buckets are frozen.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn frozen_before(&self) -> Result<Option<DateTime<Utc>>> {
        sqlx::query_scalar("select frozen_before from batch_counter").fetch_one(&self.pool).await.named("frozen_before")
    }

    /// Freeze the buckets before an instant: the start of a month. Says whether any were not.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn freeze(&self, lease: &Lease, before: DateTime<Utc>, now: DateTime<Utc>) -> Result<bool> {
        let mut transaction = self.begin().await?;
        super::lease::check(&mut transaction, lease).await?;
        let frozen = sqlx::query(
            "update batch_counter set frozen_before = $1 where frozen_before is null or frozen_before < $1",
        )
        .bind(before)
        .execute(&mut *transaction)
        .await
        .named("freeze")?;
        let is_new = frozen.rows_affected() > 0;
        if is_new {
            let detail = json!({ "before": before });
            audit::append(&mut transaction, now, "dosimeter", "buckets frozen", "rows", "retention.rows", detail)
                .await?;
        }
        super::lease::commit(transaction, lease, "freeze").await?;
        Ok(is_new)
    }

    /// Pin the summaries of the frozen buckets. `None` while some of these versions' frozen buckets wait to be folded.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn pin(
        &self,
        lease: &Lease,
        (versions, before): (&[i32], DateTime<Utc>),
        now: DateTime<Utc>,
    ) -> Result<Option<u64>> {
        let mut transaction = self.begin().await?;
        super::lease::check(&mut transaction, lease).await?;
        let waits: bool =
            sqlx::query_scalar("select exists (select from dirty_bucket where version_id = any($1) and bucket < $2)")
                .bind(versions)
                .bind(before)
                .fetch_one(&mut *transaction)
                .await
                .named("wait_for_folds")?;
        if waits {
            return Ok(None);
        }
        let seal = seal::open(&mut transaction).await?;
        let pinned = sqlx::query(
            "insert into pinned_summary (version_id, output_id, slice, bucket, body, predictions, labelled, batch_id, known_at,
                fold_digest, reference_id, pinned_at)
            select s.version_id, s.output_id, s.slice, s.bucket, s.body, s.predictions, s.labelled, s.batch_id, s.known_at,
                m.fold_digest,
                (select reference_id from reference r where r.version_id = s.version_id and r.approved_at is not null
                    order by r.approved_at desc, r.reference_id desc limit 1), $2
            from summary s join model_version v using (version_id) join model m using (model_id) where s.bucket < $1
            on conflict do nothing",
        )
        .bind(before)
        .bind(now)
        .execute(&mut *transaction)
        .await
        .named("pin_summaries")?;
        for statement in ["delete from summary where bucket < $1", "delete from dirty_bucket where bucket < $1"] {
            sqlx::query(statement).bind(before).execute(&mut *transaction).await.named("move_summaries")?;
        }
        seal::close(&mut transaction, seal, &["pinned_summary"]).await?;
        super::lease::commit(transaction, lease, "pin").await?;
        Ok(Some(pinned.rows_affected()))
    }

    /// Months before an instant that have predictions or a partition for them, the earliest first.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn months_before(&self, before: DateTime<Utc>) -> Result<Vec<DateTime<Utc>>> {
        let partitions: Vec<String> = sqlx::query_scalar(
            "select c.relname::text from pg_inherits join pg_class c on c.oid = inhrelid
            where inhparent = 'prediction'::regclass and c.relname <> 'prediction_default'",
        )
        .fetch_all(&self.pool)
        .await
        .named("list_partitions")?;
        let strays: Vec<DateTime<Utc>> = sqlx::query_scalar(
            "select distinct date_trunc('month', occurred_at, 'UTC') from prediction
            where tableoid = 'prediction_default'::regclass and occurred_at < $1",
        )
        .bind(before)
        .fetch_all(&self.pool)
        .await
        .named("list_strays")?;
        let months = partitions.iter().filter_map(|name| month_named(name)).chain(strays);
        let mut months: Vec<DateTime<Utc>> = months.filter(|month| *month < before).collect();
        months.sort_unstable();
        months.dedup();
        Ok(months)
    }

    /// How many predictions of these months there are.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn count_months(&self, months: &[DateTime<Utc>]) -> Result<Vec<(DateTime<Utc>, i64)>> {
        let mut counts = Vec::new();
        for month in months {
            let rows =
                sqlx::query_scalar("select count(*) from prediction where occurred_at >= $1 and occurred_at < $2")
                    .bind(*month)
                    .bind(month_of(*month).to)
                    .fetch_one(&self.pool)
                    .await
                    .named("count_month")?;
            counts.push((*month, rows));
        }
        Ok(counts)
    }

    /// Remove the rows of a month that is frozen and pinned, and what is about its cases alone.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost; then nothing of the month is removed.
    pub async fn retire_month(&self, lease: &Lease, month: DateTime<Utc>, now: DateTime<Utc>) -> Result<Counts> {
        let mut transaction = self.begin_removing().await?;
        super::lease::check(&mut transaction, lease).await?;
        // Whoever reads for long would have everybody wait behind us for the partition: the next tick tries again.
        sqlx::query("set local lock_timeout = '20s'").execute(&mut *transaction).await.named("set_lock_timeout")?;
        let recorded: i64 = sqlx::query_scalar("select last_batch from batch_counter for update")
            .fetch_one(&mut *transaction)
            .await
            .named("hold_counter")?;
        let mut counts = Counts::new();
        let lost = self.remove_cases(&mut transaction, month, now, &mut counts).await?;
        let left = self.weigh_left(&mut transaction, &lost).await?;
        counts.insert("prediction", drop_month(&mut transaction, month).await?);
        let was_there = counts.values().any(|rows| *rows > 0);
        // A record that was refused has had its empty partition made again.
        if was_there {
            note(&mut transaction, month, (recorded, &counts, left), now).await?;
        }
        super::lease::commit(transaction, lease, "retire_month").await?;
        Ok(counts)
    }

    /// Remove what is about cases of the month and of no later one; says which parts of batches lost rows.
    async fn remove_cases(
        &self,
        transaction: &mut Transaction,
        month: DateTime<Utc>,
        now: DateTime<Utc>,
        counts: &mut Counts,
    ) -> Result<Vec<(i64, Part)>> {
        let until = month_of(month).to;
        let prefix = self.tombs.prefix(IdKind::Case);
        for statement in [
            "create temporary table month_case on commit drop as
                select distinct case_id from prediction where occurred_at >= $1 and occurred_at < $2",
            "create temporary table month_subject on commit drop as
                select distinct p.subject_id from prediction p where p.occurred_at >= $1 and p.occurred_at < $2
                    and p.subject_id is not null
                    and not exists (select from prediction q where q.subject_id = p.subject_id and q.occurred_at >= $2)",
        ] {
            // Statements that make tables take no parameters: these are instants of our own.
            let statement = statement.replace("$1", &literal(month)).replace("$2", &literal(until));
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut **transaction).await.named("list_month")?;
        }
        let keys = sqlx::query(
            "delete from record_key k using month_case c
            where k.case_id = c.case_id and k.kind = 1 and k.occurred_at >= $1 and k.occurred_at < $2",
        )
        .bind(month)
        .bind(until)
        .execute(&mut **transaction)
        .await
        .named("retire_keys")?;
        // What has waited for its prediction all the while goes as well.
        let statement = format!(
            "create temporary table gone on commit drop as
                select case_id from month_case c
                where not exists (select from record_key k where k.case_id = c.case_id and k.kind = 1)
                union
                select a.case_id from assertion a where a.observed_at < {}
                    and not exists (select from record_key k where k.case_id = a.case_id and k.kind = 1)",
            literal(until)
        );
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut **transaction).await.named("list_gone")?;
        sqlx::query(
            "insert into gone_case (tomb, gone_at)
            select substring(sha256($1 || convert_to(case_id, 'UTF8')) from 1 for 16), $2 from gone on conflict do nothing",
        )
        .bind(prefix)
        .bind(now)
        .execute(&mut **transaction)
        .await
        .named("bury_cases")?;
        sqlx::query("update batch_counter set gone = gone or exists (select from gone_case)")
            .execute(&mut **transaction)
            .await
            .named("remember_gone")?;
        let more_keys = sqlx::query("delete from record_key k using gone c where k.case_id = c.case_id and k.kind = 2")
            .execute(&mut **transaction)
            .await
            .named("retire_keys")?;
        counts.insert("record_key", keys.rows_affected() + more_keys.rows_affected());
        let mut lost = Vec::new();
        for (relation, statement) in [
            (
                Relation::Assertion,
                "with d as (delete from assertion a using gone c where a.case_id = c.case_id
                    returning a.batch_id, date_trunc('month', a.observed_at, 'UTC') as month)
                select batch_id, month, count(*) from d group by 1, 2 order by 1, 2",
            ),
            (
                Relation::Identifier,
                "with d as (delete from identifier i
                    where (i.kind = 1 and i.pseudonym in (select case_id from gone))
                        or (i.kind = 2 and i.pseudonym in (select subject_id from month_subject))
                    returning i.batch_id)
                select d.batch_id, date_trunc('month', b.committed_at, 'UTC'), count(*) from d join batch b using (batch_id)
                group by 1, 2 order by 1, 2",
            ),
        ] {
            let rows: Vec<(i64, DateTime<Utc>, i64)> =
                sqlx::query_as(statement).fetch_all(&mut **transaction).await.named("retire_rows")?;
            counts.insert(relation.as_str(), rows.iter().map(|(.., rows)| rows.cast_unsigned()).sum());
            lost.extend(rows.into_iter().map(|(batch_id, month, _)| (batch_id, (relation, month))));
        }
        Ok(lost)
    }

    /// Weigh what is left of parts that lost rows: of the rows that stay, and of the leaves of erased ones.
    async fn weigh_left(&self, transaction: &mut Transaction, lost: &[(i64, Part)]) -> Result<Vec<LeftPart>> {
        let mut left = Vec::with_capacity(lost.len());
        for some in lost.chunks(AT_ONCE) {
            let mut leaves: BTreeMap<(i64, Part), Vec<Hash>> = some.iter().map(|part| (*part, Vec::new())).collect();
            let batches: Vec<i64> = some.iter().map(|(batch_id, _)| *batch_id).collect();
            for relation in [Relation::Assertion, Relation::Identifier] {
                // Constants of ours: nothing of anybody's enters the statement.
                let statement = proof::statement(relation, "t.batch_id = any($1)");
                let rows = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(&batches).fetch_all(&mut **transaction);
                for row in rows.await.named("weigh_left")? {
                    let stored = proof::stored(relation, &row, None).named("weigh_left")?;
                    if let (Ok(leaf), Some(own)) = (stored.leaf, leaves.get_mut(&(stored.batch_id, stored.part))) {
                        own.push(leaf);
                    }
                }
            }
            let erased: Vec<(i64, String, DateTime<Utc>, Vec<u8>)> =
                sqlx::query_as("select batch_id, relation, month, leaf from erased_leaf where batch_id = any($1)")
                    .bind(&batches)
                    .fetch_all(&mut **transaction)
                    .await
                    .named("weigh_erased")?;
            for (batch_id, relation, month, leaf) in erased {
                let part = Relation::parse(&relation).map(|relation| (batch_id, (relation, month)));
                if let (Some(own), Ok(leaf)) = (part.and_then(|part| leaves.get_mut(&part)), leaf.try_into()) {
                    own.push(leaf);
                }
            }
            left.extend(leaves.into_iter().map(|((batch_id, (relation, month)), leaves)| {
                let weight = Weight::of(leaves);
                LeftPart {
                    batch_id,
                    relation: relation.as_str().to_owned(),
                    month,
                    rows: weight.rows.cast_signed(),
                    digest: weight.digest.to_vec(),
                }
            }));
        }
        Ok(left)
    }
}

/// Remove a month's predictions: its partition, or its rows where it has none. Says how many there were.
async fn drop_month(transaction: &mut Transaction, month: DateTime<Utc>) -> Result<u64> {
    let rows: i64 = sqlx::query_scalar("select count(*) from prediction where occurred_at >= $1 and occurred_at < $2")
        .bind(month)
        .bind(month_of(month).to)
        .fetch_one(&mut **transaction)
        .await
        .named("count_month")?;
    // The owner's function: whoever removes rows need not own tables.
    sqlx::query("select drop_prediction_partition($1)")
        .bind(month)
        .execute(&mut **transaction)
        .await
        .named("drop_partition")?;
    sqlx::query("delete from prediction where occurred_at >= $1 and occurred_at < $2")
        .bind(month)
        .bind(month_of(month).to)
        .execute(&mut **transaction)
        .await
        .named("delete_strays")?;
    Ok(rows.cast_unsigned())
}

/// Write down what went, and what is left of the batches that lost rows.
async fn note(
    transaction: &mut Transaction,
    month: DateTime<Utc>,
    (recorded, counts, left): (i64, &Counts, Vec<LeftPart>),
    now: DateTime<Utc>,
) -> Result<()> {
    let weight = Weight::of(left.iter().map(LeftPart::hash).collect());
    let seal = seal::open(transaction).await?;
    sqlx::query(
        "insert into retirement (month, recorded, retired_at, counts, parts, parts_digest)
        values ($1, $2, $3, $4::text::json, $5, $6)",
    )
    .bind(month)
    .bind(recorded)
    .bind(now)
    .bind(serde_json::to_string(counts).unwrap_or_default())
    .bind(weight.rows.cast_signed())
    .bind(weight.digest.as_slice())
    .execute(&mut **transaction)
    .await
    .named("insert_retirement")?;
    sqlx::query(
        "insert into retired_part (batch_id, relation, month, retirement, rows, digest)
        select batch_id, relation, month, $6, rows, digest
        from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::bigint[], $5::bytea[])
            as t (batch_id, relation, month, rows, digest)",
    )
    .bind(left.iter().map(|part| part.batch_id).collect::<Vec<_>>())
    .bind(left.iter().map(|part| part.relation.as_str()).collect::<Vec<_>>())
    .bind(left.iter().map(|part| part.month).collect::<Vec<_>>())
    .bind(left.iter().map(|part| part.rows).collect::<Vec<_>>())
    .bind(left.iter().map(|part| part.digest.as_slice()).collect::<Vec<_>>())
    .bind(month)
    .execute(&mut **transaction)
    .await
    .named("insert_retired_parts")?;
    seal::close(transaction, seal, &["retirement", "retired_part"]).await?;
    for (table, rows) in counts {
        super::status::count(transaction, ("retired", table, "row"), *rows).await?;
    }
    let detail = json!({ "month": month, "recorded": recorded, "rows": counts, "parts": weight.rows,
        "parts_digest": hex(&weight.digest) });
    let subject = format!("month {}", month.format("%Y-%m"));
    audit::append(transaction, now, "dosimeter", "rows retired", &subject, "retention.rows", detail).await?;
    Ok(())
}

/// The month of a partition, by its name.
fn month_named(name: &str) -> Option<DateTime<Utc>> {
    let (year, month) = name.strip_prefix("prediction_")?.split_once('_')?;
    let first = NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, 1)?;
    Some(first.and_time(NaiveTime::MIN).and_utc())
}

fn literal(at: DateTime<Utc>) -> String {
    format!("'{}'::timestamptz", at.to_rfc3339())
}
