//! What the daemon tells about itself.

use chrono::{DateTime, Utc};

use super::{Named, Result, Store, Transaction};

/// A count that only grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// What is counted: record, rejection, resolved (rejections that were taken in after all), contract, notice, pull, and rows that
    /// were erased or retired.
    pub family: String,
    /// The source of records, rejections and failed pulls; the route of notices; the table of rows.
    pub place: String,
    /// Outcome of a record or notice, reason of a rejection or a failed pull.
    pub kind: String,
    /// How many there have been.
    pub total: i64,
}

/// Numbers about the store's queues and counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Counts that only grow.
    pub tallies: Vec<Tally>,
    /// `(model, dirty buckets)`.
    pub dirty: Vec<(String, i64)>,
    /// Notices that wait.
    pub outbox_pending: i64,
    /// When the oldest of them was written.
    pub outbox_oldest: Option<DateTime<Utc>>,
    /// Notices that were given up and not sent again.
    pub outbox_dead: i64,
    /// Disk that the database takes.
    pub database_bytes: i64,
}

impl Status {
    /// One count; zero before the first.
    #[must_use]
    pub fn total(&self, family: &str, place: &str, kind: &str) -> i64 {
        let found = self
            .tallies
            .iter()
            .find(|t| (t.family.as_str(), t.place.as_str(), t.kind.as_str()) == (family, place, kind));
        found.map_or(0, |tally| tally.total)
    }
}

/// Add to a count, in the transaction of what is counted.
pub(super) async fn count(
    transaction: &mut Transaction,
    (family, place, kind): (&str, &str, &str),
    more: u64,
) -> Result<()> {
    if more == 0 {
        return Ok(());
    }
    sqlx::query!(
        "insert into tally (family, place, kind, total) values ($1, $2, $3, $4)
        on conflict (family, place, kind) do update set total = tally.total + excluded.total",
        family,
        place,
        kind,
        more.cast_signed()
    )
    .execute(&mut **transaction)
    .await
    .named("count")?;
    Ok(())
}

impl Store {
    /// Read the numbers.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn status(&self) -> Result<Status> {
        let mut transaction = self.snapshot().await?;
        let tallies =
            sqlx::query_as!(Tally, "select family, place, kind, total from tally order by family, place, kind")
                .fetch_all(&mut *transaction)
                .await
                .named("status_tallies")?;
        let dirty = sqlx::query!(
            r#"select model.name, count(dirty_bucket.bucket) as "count!" from model
            left join model_version using (model_id) left join dirty_bucket using (version_id)
            group by model.name order by model.name"#
        )
        .fetch_all(&mut *transaction)
        .await
        .named("status_dirty")?;
        let outbox = sqlx::query!(
            r#"select count(*) filter (where dead_at is null) as "pending!", count(dead_at) as "dead!",
                min(created_at) filter (where dead_at is null) as oldest
            from outbox where sent_at is null"#
        )
        .fetch_one(&mut *transaction)
        .await
        .named("status_outbox")?;
        let database_bytes = sqlx::query_scalar!(r#"select pg_database_size(current_database()) as "bytes!""#)
            .fetch_one(&mut *transaction)
            .await
            .named("status_size")?;
        Ok(Status {
            tallies,
            dirty: dirty.into_iter().map(|r| (r.name, r.count)).collect(),
            outbox_pending: outbox.pending,
            outbox_oldest: outbox.oldest,
            outbox_dead: outbox.dead,
            database_bytes,
        })
    }

    /// Cases about which something has been stated and that no prediction is about. It reads every case: not for every tick.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn count_waiting_cases(&self) -> Result<i64> {
        sqlx::query_scalar!(
            r#"select count(distinct case_id) as "count!" from assertion a
            where not exists (select from record_key k where k.case_id = a.case_id and k.kind = 1)"#
        )
        .fetch_one(&self.pool)
        .await
        .named("count_waiting_cases")
    }
}
