//! Predictions that were taken in though they break the contract of the plan, counted by model, attribute, reason and hour.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::batch::{Batch, Fate};
use super::{Named, Result, Store, Transaction};
use crate::domain::BreachReason;

/// What breaks the contract, by attribute and reason.
pub type Breaches = BTreeMap<String, BTreeMap<String, u64>>;

/// Count the breaches of the new predictions of a batch, in its transaction.
pub(super) async fn count(
    transaction: &mut Transaction,
    batch: &Batch,
    fates: &[Fate],
    now: DateTime<Utc>,
) -> Result<()> {
    let mut counts: BTreeMap<(i32, &str, BreachReason), i64> = BTreeMap::new();
    for new in super::meet::fresh(&batch.predictions, fates) {
        for breach in &new.breaches {
            *counts.entry((new.version_id, breach.column.as_str(), breach.reason)).or_default() += 1;
        }
    }
    if counts.is_empty() {
        return Ok(());
    }
    let column = |read: &dyn Fn(&(i32, &str, BreachReason)) -> String| counts.keys().map(read).collect::<Vec<_>>();
    let (versions, names, reasons, records) = (
        counts.keys().map(|(version, ..)| *version).collect::<Vec<_>>(),
        column(&|(_, name, _)| (*name).to_owned()),
        column(&|(.., reason)| reason.as_str().to_owned()),
        counts.values().copied().collect::<Vec<_>>(),
    );
    let statements = [
        (
            "count_breaches",
            "insert into contract_breach (model_id, name, reason, hour, records)
            select v.model_id, t.name, t.reason, date_trunc('hour', $5::timestamptz, 'UTC'), sum(t.records)
            from unnest($1::integer[], $2::text[], $3::text[], $4::bigint[]) as t (version_id, name, reason, records)
                join model_version v using (version_id)
            group by v.model_id, t.name, t.reason
            on conflict (model_id, name, reason, hour) do update set records = contract_breach.records + excluded.records",
        ),
        (
            "tally_breaches",
            "insert into tally (family, place, kind, total)
            select 'contract', m.name, t.name || '/' || t.reason, sum(t.records)
            from unnest($1::integer[], $2::text[], $3::text[], $4::bigint[]) as t (version_id, name, reason, records)
                join model_version v using (version_id) join model m using (model_id)
            where $5::timestamptz is not null
            group by m.name, t.name, t.reason
            on conflict (family, place, kind) do update set total = tally.total + excluded.total",
        ),
    ];
    for (name, statement) in statements {
        let query = sqlx::query(statement).bind(&versions).bind(&names).bind(&reasons).bind(&records).bind(now);
        query.execute(&mut **transaction).await.named(name)?;
    }
    Ok(())
}

impl Store {
    /// What of a model's new predictions broke the contract since an instant, and how many new predictions there were.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn breaches_since(
        &self,
        model_id: i32,
        sources: &[String],
        since: DateTime<Utc>,
    ) -> Result<(Breaches, u64)> {
        let rows: Vec<(String, String, i64)> = sqlx::query_as(
            "select name, reason, sum(records)::bigint from contract_breach
            where model_id = $1 and hour >= date_trunc('hour', $2::timestamptz, 'UTC') group by 1, 2 order by 1, 2",
        )
        .bind(model_id)
        .bind(since)
        .fetch_all(&self.pool)
        .await
        .named("breaches_since")?;
        let records: i64 = sqlx::query_scalar(
            "select coalesce(sum(accepted), 0)::bigint from batch
            where source = any($1) and committed_at >= date_trunc('hour', $2::timestamptz, 'UTC')",
        )
        .bind(sources)
        .bind(since)
        .fetch_one(&self.pool)
        .await
        .named("records_since")?;
        let mut breaches = Breaches::new();
        for (name, reason, records) in rows {
            breaches.entry(name).or_default().insert(reason, records.unsigned_abs());
        }
        Ok((breaches, records.unsigned_abs()))
    }
}
