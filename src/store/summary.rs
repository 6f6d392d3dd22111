//! Dirty buckets and the cache of summaries.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::lease::Lease;
use super::{Error, Named, Result, Store};
use crate::domain::{Slice, Window};
use crate::summary::body::Body;
use crate::summary::codec;
use crate::summary::fold::Cell;

/// A bucket that has to be folded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirtyBucket {
    /// The version.
    pub version_id: i32,
    /// Start of the bucket.
    pub bucket: DateTime<Utc>,
}

/// What was folded, and from what.
#[derive(Clone, Copy, Debug)]
pub struct Folded<'a> {
    /// The version.
    pub version_id: i32,
    /// The starts of the buckets.
    pub buckets: &'a [DateTime<Utc>],
    /// The shape of the summaries.
    pub fold_digest: &'a str,
    /// The reference in force through which embeddings were seen, if the model has embeddings.
    pub seen_through: Option<Option<i32>>,
    /// All rows up to this batch are in them.
    pub batch_id: i64,
    /// The latest `observed_at` of the assertions that are in any of them.
    pub known_at: Option<DateTime<Utc>>,
}

/// A stored summary and what it knows.
#[derive(Clone, Debug)]
pub struct StoredSummary {
    /// Where it belongs.
    pub cell: Cell,
    /// The summary.
    pub summary: Body,
    /// The latest `observed_at` of the assertions about its cases.
    pub known_at: Option<DateTime<Utc>>,
}

/// How much of a day there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayCount {
    /// The version.
    pub version_id: i32,
    /// The output.
    pub output_id: i32,
    /// The day, in UTC.
    pub day: DateTime<Utc>,
    /// Its predictions.
    pub predictions: i64,
    /// Those that have their truth.
    pub labelled: i64,
}

/// The summaries of one version and window, consistent with one batch number.
#[derive(Clone, Debug)]
pub struct WindowSummaries {
    /// By cell.
    pub summaries: Vec<StoredSummary>,
    /// The last batch that all of them include and that none goes beyond; `None` while a fold is under way, or to come.
    pub consistent_at: Option<i64>,
    /// Whether more than that is known: buckets of the window are waiting to be folded.
    pub is_behind: bool,
    /// The shape of the summaries: that of the plan in force.
    pub fold_digest: String,
}

/// How far the summaries of a window are. A fold leaves its batch number, so an equal state means equal summaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowState {
    /// The earliest batch that any of them lacks.
    pub lacks: Option<i64>,
    /// Summaries.
    pub summaries: i64,
    /// The latest batch that any of them includes.
    pub latest_batch: i64,
    /// The sum of the batches that they include.
    pub batches: String,
}

/// The batch that the summaries of a window are consistent with: the last before the earliest that any of them lacks, if none goes
/// beyond it. What is sent without a pause keeps a bucket waiting at every moment; the estimates are then those of the last fold.
#[must_use]
pub fn consistent_at(lacks: Option<i64>, latest: i64, last: i64) -> Option<i64> {
    match lacks {
        None => Some(last),
        // Before the first fold there is nothing to be consistent with.
        Some(lacks) => (0 < latest && latest < lacks).then_some(lacks - 1),
    }
}

/// Where a summary stands: its output, slice and bucket.
pub type Place = (i32, String, DateTime<Utc>);

impl Store {
    /// Some of the buckets of these versions that have to be folded, oldest first, those behind `after` only.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_dirty_buckets(
        &self,
        versions: &[i32],
        after: Option<&DirtyBucket>,
        limit: i64,
    ) -> Result<Vec<DirtyBucket>> {
        sqlx::query_as!(
            DirtyBucket,
            "select version_id, bucket from dirty_bucket
            where version_id = any($1) and ($3::timestamptz is null or (bucket, version_id) > ($3, $4::integer))
            order by bucket, version_id limit $2",
            versions,
            limit,
            after.map(|after| after.bucket),
            after.map(|after| after.version_id)
        )
        .fetch_all(&self.pool)
        .await
        .named("list_dirty_buckets")
    }

    /// The same buckets in groups, each with at most so many predictions unless one bucket alone has more.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn by_rows(
        &self,
        version_id: i32,
        buckets: &[DateTime<Utc>],
        most: i64,
    ) -> Result<Vec<Vec<DateTime<Utc>>>> {
        let rows = sqlx::query!(
            r#"select b as "bucket!", (select count(*) from prediction p where p.version_id = $1 and p.occurred_at >= b
                and p.occurred_at < b + case m.bucket when 'hour' then interval '1 hour' else interval '1 day' end) as "rows!"
            from unnest($2::timestamptz[]) as b, model m
            where m.model_id = (select model_id from model_version where version_id = $1) order by b"#,
            version_id,
            buckets
        )
        .fetch_all(&self.pool)
        .await
        .named("by_rows")?;
        let mut groups: Vec<(i64, Vec<DateTime<Utc>>)> = Vec::new();
        for row in rows {
            match groups.last_mut() {
                Some((sum, group)) if *sum + row.rows <= most => {
                    *sum += row.rows;
                    group.push(row.bucket);
                }
                _ => groups.push((row.rows, vec![row.bucket])),
            }
        }
        Ok(groups.into_iter().map(|(_, group)| group).collect())
    }

    /// Replace the summaries of some buckets of one version by freshly folded ones and clear their marks, unless a later
    /// batch set them again.
    ///
    /// # Errors
    /// When Postgres fails, the lease is lost, another plan has been taken up, or, if the model has embeddings, another
    /// reference is in force.
    pub async fn replace_summaries(
        &self,
        lease: &Lease,
        folded: &Folded<'_>,
        summaries: &BTreeMap<Cell, Body>,
    ) -> Result<()> {
        let Folded { version_id, buckets, fold_digest, seen_through, batch_id, known_at } = *folded;
        let mut transaction = self.begin().await?;
        super::lease::check(&mut transaction, lease).await?;
        // Whoever takes up a plan of another shape waits for this transaction, or this one sees that plan.
        let model = sqlx::query!(
            "select name, fold_digest from model
            where model_id = (select model_id from model_version where version_id = $1) for share",
            version_id
        )
        .fetch_one(&mut *transaction)
        .await
        .named("check_shape")?;
        if model.fold_digest != fold_digest {
            return Err(Error::PlanChanged(model.name));
        }
        // Whoever approves a reference of embeddings locks the model, too.
        if let Some(seen_through) = seen_through {
            let in_force = super::reference::in_force(&mut *transaction, version_id).await?;
            if in_force != seen_through {
                return Err(Error::ReferenceChanged(model.name));
            }
        }
        sqlx::query!("delete from summary where version_id = $1 and bucket = any($2)", version_id, buckets)
            .execute(&mut *transaction)
            .await
            .named("delete_summaries")?;
        sqlx::query!(
            "insert into summary (version_id, output_id, slice, bucket, body, predictions, labelled, batch_id, known_at)
            select $1, output_id, slice, bucket, body, predictions, labelled, $2, $3
            from unnest($4::integer[], $5::text[], $6::timestamptz[], $7::bytea[], $8::bigint[], $9::bigint[])
                as t (output_id, slice, bucket, body, predictions, labelled)",
            version_id,
            batch_id,
            known_at,
            &summaries.keys().map(|cell| cell.output_id).collect::<Vec<_>>(),
            &summaries.keys().map(|cell| cell.slice.to_string()).collect::<Vec<_>>(),
            &summaries.keys().map(|cell| cell.bucket).collect::<Vec<_>>(),
            &summaries.values().map(codec::encode).collect::<Vec<_>>(),
            &summaries.values().map(|body| body.rows().cast_signed()).collect::<Vec<_>>(),
            &summaries.values().map(|body| body.labelled().map(u64::cast_signed)).collect::<Vec<_>>()
                as &[Option<i64>]
        )
        .execute(&mut *transaction)
        .await
        .named("insert_summaries")?;
        sqlx::query!(
            "delete from dirty_bucket where version_id = $1 and bucket = any($2) and batch_id <= $3",
            version_id,
            buckets,
            batch_id
        )
        .execute(&mut *transaction)
        .await
        .named("clear_dirty_buckets")?;
        sqlx::query!(
            "update dirty_bucket set since_batch = $3::bigint + 1 where version_id = $1 and bucket = any($2)",
            version_id,
            buckets,
            batch_id
        )
        .execute(&mut *transaction)
        .await
        .named("move_dirty_buckets")?;
        super::lease::commit(transaction, lease, "replace_summaries").await
    }

    /// The buckets of a version whose summaries have all its rows, if they have this shape; otherwise none.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_clean_buckets(&self, version_id: i32, fold_digest: &str) -> Result<Vec<DateTime<Utc>>> {
        sqlx::query_scalar(
            "select distinct summary.bucket from summary join model_version using (version_id) join model using (model_id)
            where version_id = $1 and fold_digest = $2 and not exists (select from dirty_bucket
                where dirty_bucket.version_id = summary.version_id and dirty_bucket.bucket = summary.bucket)
            order by summary.bucket",
        )
        .bind(version_id)
        .bind(fold_digest)
        .fetch_all(&self.pool)
        .await
        .named("list_clean_buckets")
    }

    /// The encoded summaries of some buckets of a version.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn load_bodies(&self, version_id: i32, buckets: &[DateTime<Utc>]) -> Result<BTreeMap<Place, Vec<u8>>> {
        let rows: Vec<(i32, String, DateTime<Utc>, Vec<u8>)> = sqlx::query_as(
            "select output_id, slice, bucket, body from summary where version_id = $1 and bucket = any($2)",
        )
        .bind(version_id)
        .bind(buckets)
        .fetch_all(&self.pool)
        .await
        .named("load_bodies")?;
        Ok(rows.into_iter().map(|(output_id, slice, bucket, body)| ((output_id, slice, bucket), body)).collect())
    }

    /// How far the summaries of one version in one window are, without reading them.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn window_state(&self, version_id: i32, window: Window) -> Result<WindowState> {
        sqlx::query_as!(
            WindowState,
            r#"select (select min(since_batch) from dirty_bucket
                    where version_id = $1 and bucket >= $2 and bucket < $3) as lacks,
                count(*) as "summaries!", coalesce(max(batch_id), 0) as "latest_batch!",
                coalesce(sum(batch_id), 0)::text as "batches!"
            from summary where version_id = $1 and bucket >= $2 and bucket < $3"#,
            version_id,
            window.from,
            window.to
        )
        .fetch_one(&self.pool)
        .await
        .named("window_state")
    }

    /// The summaries of one version in one window, in one snapshot.
    ///
    /// # Errors
    /// When Postgres fails or a summary cannot be decoded.
    pub async fn load_summaries(&self, version_id: i32, window: Window) -> Result<WindowSummaries> {
        let mut transaction = self.snapshot().await?;
        let last = sqlx::query_scalar!("select last_batch from batch_counter")
            .fetch_one(&mut *transaction)
            .await
            .named("last_batch")?;
        let lacks = sqlx::query_scalar!(
            "select min(since_batch) from dirty_bucket where version_id = $1 and bucket >= $2 and bucket < $3",
            version_id,
            window.from,
            window.to
        )
        .fetch_one(&mut *transaction)
        .await
        .named("find_dirty_buckets")?;
        let fold_digest = sqlx::query_scalar!(
            "select fold_digest from model join model_version using (model_id) where version_id = $1",
            version_id
        )
        .fetch_one(&mut *transaction)
        .await
        .named("load_shape")?;
        let rows = sqlx::query!(
            "select output_id, slice, bucket, body, batch_id, known_at from summary
            where version_id = $1 and bucket >= $2 and bucket < $3
            order by output_id, slice, bucket",
            version_id,
            window.from,
            window.to
        )
        .fetch_all(&mut *transaction)
        .await
        .named("load_summaries")?;
        let latest = rows.iter().map(|row| row.batch_id).max().unwrap_or_default();
        let summaries = rows.into_iter().map(|row| {
            let corrupt = |column, source: Box<dyn std::error::Error + Send + Sync>| Error::Corrupt {
                table: "summary",
                column,
                row: format!("version {version_id}, output {}, {}, {}", row.output_id, row.slice, row.bucket),
                source,
            };
            let slice: Slice = row.slice.parse().map_err(|message: String| corrupt("slice", message.into()))?;
            let summary = codec::decode(&row.body).map_err(|error| corrupt("body", error.into()))?;
            let cell = Cell { output_id: row.output_id, slice, bucket: row.bucket };
            Ok(StoredSummary { cell, summary, known_at: row.known_at })
        });
        Ok(WindowSummaries {
            summaries: summaries.collect::<Result<_>>()?,
            consistent_at: consistent_at(lacks, latest, last),
            is_behind: lacks.is_some(),
            fold_digest,
        })
    }

    /// How many predictions each day has, and how many of them have their truth, by version and output, over all slices; of
    /// outputs that have truth.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_days(&self, from: DateTime<Utc>) -> Result<Vec<DayCount>> {
        sqlx::query_as!(
            DayCount,
            r#"select version_id, output_id, date_trunc('day', bucket, 'UTC') as "day!",
                sum(predictions)::bigint as "predictions!", sum(labelled)::bigint as "labelled!"
            from summary where slice = 'all' and bucket >= $1 and labelled is not null
            group by version_id, output_id, "day!" order by version_id, output_id, "day!""#,
            from
        )
        .fetch_all(&self.pool)
        .await
        .named("list_days")
    }

    /// The instants of the first and the last bucket of a version that have a summary.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn summary_span(&self, version_id: i32) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>> {
        let row = sqlx::query!(
            "select min(bucket) as first, max(bucket) as last from summary where version_id = $1",
            version_id
        )
        .fetch_one(&self.pool)
        .await
        .named("summary_span")?;
        Ok(row.first.zip(row.last))
    }
}

#[cfg(test)]
mod tests {
    use super::consistent_at;

    #[test]
    fn summaries_are_consistent_with_the_fold_that_made_them_whatever_comes_meanwhile() {
        assert_eq!(consistent_at(None, 7, 9), Some(9), "nothing is missing");
        assert_eq!(consistent_at(None, 0, 9), Some(9), "there is nothing");
        assert_eq!(consistent_at(Some(8), 7, 9), Some(7), "the batch after the fold is missing");
        assert_eq!(consistent_at(Some(9), 7, 9), Some(8), "a batch between touched nothing here");
        assert_eq!(consistent_at(Some(7), 7, 9), None, "one bucket has a batch that another lacks");
        assert_eq!(consistent_at(Some(0), 7, 9), None, "the shape is another");
        assert_eq!(consistent_at(Some(1), 0, 9), None, "nothing has been folded");
    }
}
