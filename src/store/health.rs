//! Health of the data: the facts that it is judged by, and what was judged.
//!
//! Facts come from small tables (`batch`, `source_file`, `rejection`) where they can; `truth_cohorts`, `truth_arrivals` and
//! `filled_hours` read rows of weeks and are not for every tick.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::lease::{self, Lease};
use super::{Named, Result, Store};
use crate::detect::health::Delivered;
use crate::detect::health::schema::{FileColumns, Filled};
use crate::detect::health::truth::Cohort;

/// What a rule was last judged to be.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = Health)]
pub struct HealthRow {
    /// The model.
    pub model: String,
    /// The rule's word.
    pub rule: String,
    /// What of the model: a source, a finding, a version; empty for the whole.
    pub subject: String,
    /// page or ticket.
    pub severity: String,
    /// broken, kept or undecided.
    pub verdict: String,
    /// Why, in words.
    pub reason: String,
    /// What is usual, where the past says.
    pub usual: Option<String>,
    /// Since when it has been as it is, where the facts say.
    pub since: Option<DateTime<Utc>>,
    /// Since when the verdict has been this one.
    pub changed_at: DateTime<Utc>,
    /// When it was last judged.
    pub judged_at: DateTime<Utc>,
}

impl HealthRow {
    /// What it is about.
    #[must_use]
    pub fn key(&self) -> (&str, &str, &str) {
        (&self.model, &self.rule, &self.subject)
    }
}

/// The first and the last arrival of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: Option<DateTime<Utc>>,
    /// The last.
    pub last: Option<DateTime<Utc>>,
}

impl Span {
    /// Both together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { first: self.first.into_iter().chain(other.first).min(), last: self.last.max(other.last) }
    }
}

impl Store {
    /// When each source first and last brought a record that was taken in.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn source_spans(&self, sources: &[String]) -> Result<BTreeMap<String, Span>> {
        let rows = sqlx::query!(
            r#"select s.source as "source!",
                (select committed_at from batch b where b.source = s.source and accepted > 0
                    order by committed_at limit 1) as first,
                (select committed_at from batch b where b.source = s.source and accepted > 0
                    order by committed_at desc limit 1) as last
            from unnest($1::text[]) as s (source)"#,
            sources
        )
        .fetch_all(&self.pool)
        .await
        .named("source_spans")?;
        Ok(rows.into_iter().map(|row| (row.source, Span { first: row.first, last: row.last })).collect())
    }

    /// The hours since 1970 in which any of these sources brought a record that was taken in.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn arrival_hours(&self, sources: &[String], from: DateTime<Utc>) -> Result<BTreeSet<i64>> {
        let hours = sqlx::query_scalar!(
            r#"select distinct floor(extract(epoch from committed_at) / 3600)::bigint as "hour!" from batch
            where source = any($1) and accepted > 0 and committed_at >= $2"#,
            sources,
            from
        )
        .fetch_all(&self.pool)
        .await
        .named("arrival_hours")?;
        Ok(hours.into_iter().collect())
    }

    /// By finding, when truth about it arrived since an instant: the span and the hours since 1970.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn truth_arrivals(
        &self,
        findings: &[i32],
        from: DateTime<Utc>,
    ) -> Result<BTreeMap<i32, (Span, BTreeSet<i64>)>> {
        let rows = sqlx::query!(
            r#"select truth_id, floor(extract(epoch from committed_at) / 3600)::bigint as "hour!",
                min(committed_at) as first, max(committed_at) as last
            from batch join (select distinct batch_id, truth_id from assertion where truth_id = any($1)
                    and batch_id >= (select min(batch_id) from batch where committed_at >= $2)) brought using (batch_id)
            where committed_at >= $2 group by 1, 2"#,
            findings,
            from
        )
        .fetch_all(&self.pool)
        .await
        .named("truth_arrivals")?;
        let mut arrivals: BTreeMap<i32, (Span, BTreeSet<i64>)> = BTreeMap::new();
        for row in rows {
            let (span, hours) = arrivals.entry(row.truth_id).or_default();
            *span = span.union(Span { first: row.first, last: row.last });
            hours.insert(row.hour);
        }
        Ok(arrivals)
    }

    /// How many cases of each day since an instant got their first truth about any of these findings on which day.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn truth_cohorts(&self, versions: &[i32], findings: &[i32], from: DateTime<Utc>) -> Result<Vec<Cohort>> {
        let rows = sqlx::query!(
            r#"select floor(extract(epoch from t.occurred_at) / 86400)::bigint as "occurred!",
                floor(extract(epoch from t.observed_at) / 86400)::bigint as observed, count(*) as "cases!"
            from (select p.case_id, min(p.occurred_at) as occurred_at, min(a.observed_at) as observed_at
                from prediction p left join assertion a on a.case_id = p.case_id and a.truth_id = any($2)
                where version_id = any($1) and occurred_at >= $3 and until_batch is null group by p.case_id) t
            group by 1, 2"#,
            versions,
            findings,
            from
        )
        .fetch_all(&self.pool)
        .await
        .named("truth_cohorts")?;
        let cohort = |occurred, observed, cases: i64| Cohort { occurred, observed, cases: cases.unsigned_abs() };
        Ok(rows.into_iter().map(|row| cohort(row.occurred, row.observed, row.cases)).collect())
    }

    /// What each source has delivered since an instant, with the most common reason of its refusals.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn delivered(&self, sources: &[String], since: DateTime<Utc>) -> Result<BTreeMap<String, Delivered>> {
        let rows = sqlx::query!(
            r#"select s.source as "source!", b.records as "records!", b.rejected as "rejected!",
                most.reason as "reason?", most.count as "count?"
            from unnest($1::text[]) as s (source)
            cross join lateral (select coalesce(sum(accepted + duplicates + rejected), 0)::bigint as records,
                    coalesce(sum(rejected), 0)::bigint as rejected
                from batch where batch.source = s.source and committed_at > $2) b
            left join lateral (select reason, count(*) as count from rejection
                where b.rejected > 0 and rejection.source = s.source and rejected_at > $2
                group by reason order by count(*) desc, reason limit 1) most on true"#,
            sources,
            since
        )
        .fetch_all(&self.pool)
        .await
        .named("delivered")?;
        let delivered = rows.into_iter().map(|row| {
            let most_common = row.reason.zip(row.count.map(i64::unsigned_abs));
            let (records, rejected) = (row.records.unsigned_abs(), row.rejected.unsigned_abs());
            (row.source, Delivered { records, rejected, most_common })
        });
        Ok(delivered.collect())
    }

    /// The columns of a source's files that the plan named when they were read, the latest file first.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn file_columns(&self, source: &str, limit: i64) -> Result<Vec<FileColumns>> {
        let rows = sqlx::query!(
            r#"select columns as "columns!", first_seen_at from source_file
            where source = $1 and columns is not null order by first_seen_at desc, digest limit $2"#,
            source,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .named("file_columns")?;
        let file = |columns: Vec<String>, at| FileColumns { columns: columns.into_iter().collect(), at };
        Ok(rows.into_iter().map(|row| file(row.columns, row.first_seen_at)).collect())
    }

    /// By attribute, the predictions of each hour since an instant and how many have it; the latest hour first.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn filled_hours(
        &self,
        versions: &[i32],
        attributes: &[String],
        from: DateTime<Utc>,
    ) -> Result<BTreeMap<String, Vec<Filled>>> {
        let rows = sqlx::query!(
            r#"select name as "name!", floor(extract(epoch from occurred_at) / 3600)::bigint as "hour!",
                count(*) as "records!", count(*) filter (where coalesce(attributes ->> name, '') <> '') as "filled!"
            from prediction cross join unnest($2::text[]) as name
            where version_id = any($1) and occurred_at >= $3 and until_batch is null
            group by 1, 2 order by 1, 2 desc"#,
            versions,
            attributes,
            from
        )
        .fetch_all(&self.pool)
        .await
        .named("filled_hours")?;
        let mut hours: BTreeMap<String, Vec<Filled>> = BTreeMap::new();
        for row in rows {
            let (records, filled) = (row.records.unsigned_abs(), row.filled.unsigned_abs());
            hours.entry(row.name).or_default().push(Filled { hour: row.hour, records, filled });
        }
        Ok(hours)
    }

    /// When each model was first in a plan, and how many of its versions have spoken.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn model_ages(&self) -> Result<BTreeMap<String, (DateTime<Utc>, i64)>> {
        let rows = sqlx::query!(
            r#"select model.name, created_at, count(version_id) as "versions!" from model
            left join model_version using (model_id) group by model.model_id order by model.name"#
        )
        .fetch_all(&self.pool)
        .await
        .named("model_ages")?;
        Ok(rows.into_iter().map(|row| (row.name, (row.created_at, row.versions))).collect())
    }

    /// The versions of a model that have had a case since an instant, each with its first sight, oldest first.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn recent_versions(&self, model: &str, since: DateTime<Utc>) -> Result<Vec<(String, DateTime<Utc>)>> {
        let rows = sqlx::query!(
            "select v.name, v.first_seen_at from model_version v join model using (model_id)
            where model.name = $1 and (v.first_seen_at >= $2
                or exists (select from prediction p where p.version_id = v.version_id and p.occurred_at >= $2))
            order by v.version_id",
            model,
            since
        )
        .fetch_all(&self.pool)
        .await
        .named("recent_versions")?;
        Ok(rows.into_iter().map(|row| (row.name, row.first_seen_at)).collect())
    }

    /// Everything that was judged, by model, rule and subject.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_health(&self) -> Result<Vec<HealthRow>> {
        sqlx::query_as!(
            HealthRow,
            "select model.name as model, rule, subject, severity, verdict, reason, usual, since, changed_at, judged_at
            from health join model using (model_id) order by model.name, rule, subject"
        )
        .fetch_all(&self.pool)
        .await
        .named("list_health")
    }

    /// Store what was judged, and forget what is not judged any more. One transaction.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn store_health(&self, lease: &Lease, judged: &[HealthRow], forgotten: &[HealthRow]) -> Result<()> {
        let mut transaction = self.begin().await?;
        lease::check(&mut transaction, lease).await?;
        for HealthRow { model, rule, subject, .. } in forgotten {
            sqlx::query!(
                "delete from health where model_id = (select model_id from model where name = $1)
                    and rule = $2 and subject = $3",
                model,
                rule,
                subject
            )
            .execute(&mut *transaction)
            .await
            .named("forget_health")?;
        }
        for row in judged {
            sqlx::query!(
                "insert into health (model_id, rule, subject, severity, verdict, reason, usual, since, changed_at, judged_at)
                select model_id, $2, $3, $4, $5, $6, $7, $8, $9, $10 from model where name = $1
                on conflict (model_id, rule, subject) do update set severity = excluded.severity,
                    verdict = excluded.verdict, reason = excluded.reason, usual = excluded.usual, since = excluded.since,
                    changed_at = excluded.changed_at, judged_at = excluded.judged_at",
                row.model,
                row.rule,
                row.subject,
                row.severity,
                row.verdict,
                row.reason,
                row.usual,
                row.since,
                row.changed_at,
                row.judged_at
            )
            .execute(&mut *transaction)
            .await
            .named("store_health")?;
        }
        lease::commit(transaction, lease, "store_health").await
    }
}
