//! One month goes: the rows of its predictions, and what is about its cases and of no later one.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::Counts;
use crate::chain::{Hash, hex};
use crate::domain::window::month_of;
use crate::store::identifier::IdKind;

use crate::store::leaf::{Part, Relation, Weight};
use crate::store::lease::{self, Lease};
use crate::store::proof::{self, LeftPart};
use crate::store::{Named, Result, Store, Transaction, audit, seal, status};

/// Batches whose leaves are weighed at once.
const AT_ONCE: usize = 500;

impl Store {
    /// Remove the rows of a month that is frozen and pinned, and what is about its cases alone.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost; then nothing of the month is removed.
    pub async fn retire_month(&self, lease: &Lease, month: DateTime<Utc>, now: DateTime<Utc>) -> Result<Counts> {
        let mut transaction = self.begin_removing().await?;
        lease::check(&mut transaction, lease).await?;
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
        lease::commit(transaction, lease, "retire_month").await?;
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
        status::count(transaction, ("retired", table, "row"), *rows).await?;
    }
    let detail = json!({ "month": month, "recorded": recorded, "rows": counts, "parts": weight.rows,
        "parts_digest": hex(&weight.digest) });
    let subject = format!("month {}", month.format("%Y-%m"));
    audit::append(transaction, now, "dosimeter", "rows retired", &subject, "retention.rows", detail).await?;
    Ok(())
}

fn literal(at: DateTime<Utc>) -> String {
    format!("'{}'::timestamptz", at.to_rfc3339())
}
