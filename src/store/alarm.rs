//! What streams have raised, until a person answers it.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::lease::Lease;
use super::stream::{StreamKey, read};
use super::{Error, Named, Result, Store};
use crate::domain::Estimate;

/// An alarm of a stream.
#[derive(Clone, Debug, PartialEq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = StreamAlarm)]
pub struct StoredAlarm {
    /// What it is about.
    #[serde(skip)]
    pub key: StreamKey,
    /// The stream.
    pub stream_id: i64,
    /// The tier.
    pub tier: String,
    /// The sealed day that brought it.
    pub day: DateTime<Utc>,
    /// The evidence.
    pub evidence: f64,
    /// The stream's share of the budget.
    pub weight: f64,
    /// The threshold.
    pub threshold: f64,
    /// When the change began.
    pub change_at: Option<DateTime<Utc>>,
    /// What the watch measured since.
    pub measured: Option<Estimate>,
    /// When it was raised.
    pub looked_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct Record {
    version_id: i32,
    watch: String,
    output_id: i32,
    slice: String,
    stream_id: i64,
    tier: String,
    day: DateTime<Utc>,
    evidence: f64,
    weight: f64,
    threshold: f64,
    change_at: Option<DateTime<Utc>>,
    measured: Option<serde_json::Value>,
    looked_at: DateTime<Utc>,
}

impl TryFrom<Record> for StoredAlarm {
    type Error = Error;

    fn try_from(row: Record) -> Result<Self> {
        let measured =
            row.measured.map(|measured| read("evidence", "measured", row.stream_id, measured)).transpose()?;
        Ok(Self {
            key: StreamKey { version_id: row.version_id, watch: row.watch, output_id: row.output_id, slice: row.slice },
            stream_id: row.stream_id,
            tier: row.tier,
            day: row.day,
            evidence: row.evidence,
            weight: row.weight,
            threshold: row.threshold,
            change_at: row.change_at,
            measured,
            looked_at: row.looked_at,
        })
    }
}

impl Store {
    /// The alarms that nobody has answered, the oldest first: no alert has taken them in yet, or one that is open. Those of a stream that
    /// another has taken the place of are among them.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_unanswered_alarms(&self) -> Result<Vec<StoredAlarm>> {
        self.list_unanswered_alarms_as_of(None).await
    }

    /// The alarms that nobody had answered at an instant; now without.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_unanswered_alarms_as_of(&self, at: Option<DateTime<Utc>>) -> Result<Vec<StoredAlarm>> {
        let rows: Vec<Record> = sqlx::query_as(
            "select s.version_id, s.watch, s.output_id, s.slice, e.stream_id, e.tier, e.day, e.evidence, e.weight, e.threshold,
                e.change_at, e.measured, e.looked_at
            from evidence e join stream s using (stream_id) left join alert a using (alert_id)
            where e.alarms and (a.closed_at is null or a.closed_at > $1) and e.looked_at <= coalesce($1, 'infinity')
            order by e.stream_id, e.day, e.tier",
        )
        .bind(at)
        .fetch_all(&self.pool)
        .await
        .named("list_unanswered_alarms")?;
        rows.into_iter().map(StoredAlarm::try_from).collect()
    }

    /// Note which open alerts have taken alarms in: these are answered when a person closes the alert, others not.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn link_alarms(&self, lease: &Lease) -> Result<()> {
        let mut transaction = self.begin().await?;
        super::lease::check(&mut transaction, lease).await?;
        sqlx::query!(
            "update evidence e set alert_id = a.alert_id from stream s, alert a
            where e.alarms and e.alert_id is null and s.stream_id = e.stream_id and a.rule = s.watch and a.version_id = s.version_id
                and a.output_id = s.output_id and a.slice = s.slice and a.closed_at is null and a.state <> 'pending'"
        )
        .execute(&mut *transaction)
        .await
        .named("link_alarms")?;
        super::lease::commit(transaction, lease, "link_alarms").await
    }

    /// How many alarms of each tier were raised in the 365 days up to an instant, by streams in force or not: `(tier, alarms)`.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn count_alarms(&self, until: DateTime<Utc>) -> Result<Vec<(String, i64)>> {
        sqlx::query_as(
            "select tier, count(*) from evidence
            where alarms and weight > 0 and looked_at >= $1::timestamptz - interval '365 days' and looked_at <= $1 group by tier",
        )
        .bind(until)
        .fetch_all(&self.pool)
        .await
        .named("count_alarms")
    }
}
