//! Streams and what each sealed day made of their evidence.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::lease::Lease;
use super::ledger::Book;
use super::{Error, Named, Result, Store};
use crate::detect::budget::Share;
use crate::detect::stream::{Seen, State, Stream};
use crate::domain::Estimate;

/// What a stream is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    /// The version.
    pub version_id: i32,
    /// The watch.
    pub watch: String,
    /// The output.
    pub output_id: i32,
    /// The slice in canonical form.
    pub slice: String,
}

/// A stream in force.
#[derive(Clone, Debug)]
pub struct StoredStream {
    /// Its number; 0 before it is stored.
    pub stream_id: i64,
    /// What it is about.
    pub key: StreamKey,
    /// Digest of the watch and the reference that it was made of.
    pub asked: String,
    /// The reference that its null values come from.
    pub reference_id: Option<i32>,
    /// The maturity of its cases.
    pub maturity_days: i64,
    /// Whether they wait for truth.
    pub with_truth: bool,
    /// What it bets on, or why it cannot be watched.
    pub stream: std::result::Result<Stream, String>,
    /// The first day that it takes in.
    pub starts: DateTime<Utc>,
    /// Sealed days before this one have been taken in.
    pub looked_until: DateTime<Utc>,
}

/// What one tier of a stream stands at.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The stream.
    pub stream_id: i64,
    /// The tier: page, ticket or watch.
    pub tier: String,
    /// Its present share of the budget.
    pub weight: f64,
    /// The present threshold.
    pub threshold: f64,
    /// The last day with units, if there has been one.
    pub last: Option<LastLook>,
}

/// The last day that a stream took in.
#[derive(Clone, Debug, PartialEq)]
pub struct LastLook {
    /// The day.
    pub day: DateTime<Utc>,
    /// The evidence after it.
    pub evidence: f64,
    /// The threshold then.
    pub threshold: f64,
    /// When the change began, by the bet that has won most.
    pub change_at: Option<DateTime<Utc>>,
    /// The detector.
    pub state: State,
}

/// One day's look at a stream in one tier.
#[derive(Clone, Debug)]
pub struct Look {
    /// The sealed day.
    pub day: DateTime<Utc>,
    /// The tier, share and threshold.
    pub share: Share,
    /// What it came to.
    pub seen: Seen,
    /// What the watch measured since the change, of an alarm.
    pub measured: Option<Estimate>,
    /// The detector after it.
    pub state: State,
}

/// What a stream has taken in.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The stream.
    pub stream_id: i64,
    /// Its looks at days with units.
    pub looks: Vec<Look>,
    /// Sealed days before this one have been taken in.
    pub looked_until: DateTime<Utc>,
}

impl StoredStream {
    /// The book that it reads.
    #[must_use]
    pub fn book(&self) -> Book {
        (self.key.version_id, self.maturity_days, self.with_truth)
    }

    /// Its place in the book.
    #[must_use]
    pub fn place(&self) -> (i32, &str) {
        (self.key.output_id, &self.key.slice)
    }
}

/// One day of a stream's evidence, for people to look at.
#[derive(Clone, Debug, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct EvidencePoint {
    /// The sealed day.
    pub day: DateTime<Utc>,
    /// The evidence after it.
    pub evidence: f64,
    /// The evidence at which there is an alarm.
    pub threshold: f64,
    /// Whether this was one.
    pub alarms: bool,
}

/// Of `stream s`: whether it was in force at the instant `$1`; now without.
pub(super) const IN_FORCE: &str = "case when $1::timestamptz is null then s.ended_at is null
    else s.made_at <= $1 and (s.ended_at is null or s.ended_at > $1) end";

#[derive(FromRow)]
struct Record {
    stream_id: i64,
    version_id: i32,
    watch: String,
    output_id: i32,
    slice: String,
    asked: String,
    reference_id: Option<i32>,
    maturity_days: i32,
    with_truth: bool,
    definition: Option<serde_json::Value>,
    reason: Option<String>,
    starts: DateTime<Utc>,
    looked_until: DateTime<Utc>,
}

impl TryFrom<Record> for StoredStream {
    type Error = Error;

    fn try_from(row: Record) -> Result<Self> {
        let stream = match (row.definition, row.reason) {
            (Some(definition), _) => Ok(read("stream", "definition", row.stream_id, definition)?),
            (None, reason) => Err(reason.unwrap_or_default()),
        };
        Ok(Self {
            stream_id: row.stream_id,
            key: StreamKey { version_id: row.version_id, watch: row.watch, output_id: row.output_id, slice: row.slice },
            asked: row.asked,
            reference_id: row.reference_id,
            maturity_days: row.maturity_days.into(),
            with_truth: row.with_truth,
            stream,
            starts: row.starts,
            looked_until: row.looked_until,
        })
    }
}

#[derive(FromRow)]
struct StandingRecord {
    stream_id: i64,
    tier: String,
    weight: f64,
    threshold: f64,
    day: Option<DateTime<Utc>>,
    evidence: Option<f64>,
    weight_then: Option<f64>,
    threshold_then: Option<f64>,
    change_at: Option<DateTime<Utc>>,
    state: Option<serde_json::Value>,
}

impl StandingRecord {
    /// The standing, with the share and the threshold of the last day that was taken in if it is of the past.
    fn standing(self, is_past: bool) -> Result<Standing> {
        let last = match (self.day, self.evidence, self.threshold_then, self.state) {
            (Some(day), Some(evidence), Some(threshold), Some(state)) => {
                let state = read("evidence", "state", self.stream_id, state)?;
                Some(LastLook { day, evidence, threshold, change_at: self.change_at, state })
            }
            _ => None,
        };
        let then = |then: Option<f64>, now: f64| then.filter(|_| is_past).unwrap_or(now);
        Ok(Standing {
            stream_id: self.stream_id,
            tier: self.tier,
            weight: then(self.weight_then, self.weight),
            threshold: then(self.threshold_then, self.threshold),
            last,
        })
    }
}

impl Store {
    /// The streams in force.
    ///
    /// # Errors
    /// When Postgres fails or a stream cannot be read.
    pub async fn list_streams(&self) -> Result<Vec<StoredStream>> {
        self.list_streams_as_of(None).await
    }

    /// The streams that were in force at an instant; now without. Of the past they have looked at every day that was sealed then.
    ///
    /// # Errors
    /// When Postgres fails or a stream cannot be read.
    pub async fn list_streams_as_of(&self, at: Option<DateTime<Utc>>) -> Result<Vec<StoredStream>> {
        let sql = format!(
            "select stream_id, version_id, watch, output_id, slice, asked, reference_id, maturity_days, with_truth, definition, reason, starts,
                case when $1::timestamptz is null then looked_until
                    else greatest(starts, (select max(day) + interval '1 day' from sealed_day d where d.version_id = s.version_id
                        and d.maturity_days = s.maturity_days and d.with_truth = s.with_truth and d.sealed_at <= $1)) end as looked_until
            from stream s where {IN_FORCE} order by stream_id"
        );
        let rows: Vec<Record> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(at).fetch_all(&self.pool).await.named("list_streams")?;
        rows.into_iter().map(StoredStream::try_from).collect()
    }

    /// Where every stream in force stands, tier by tier.
    ///
    /// # Errors
    /// When Postgres fails or a state cannot be read.
    pub async fn list_standings(&self) -> Result<Vec<Standing>> {
        self.list_standings_as_of(None).await
    }

    /// Where every stream that was in force at an instant stood then, with the share and threshold of the last day that it had taken in;
    /// now without.
    ///
    /// # Errors
    /// When Postgres fails or a state cannot be read.
    pub async fn list_standings_as_of(&self, at: Option<DateTime<Utc>>) -> Result<Vec<Standing>> {
        let sql = format!(
            "select t.stream_id, t.tier, t.weight, t.threshold, e.day, e.evidence, e.weight as weight_then, e.threshold as threshold_then,
                e.change_at, e.state
            from stream_tier t join stream s using (stream_id)
            left join lateral (select * from evidence where stream_id = t.stream_id and tier = t.tier
                    and looked_at <= coalesce($1, 'infinity') order by day desc limit 1) e on true
            where {IN_FORCE} order by t.stream_id, t.tier"
        );
        let rows: Vec<StandingRecord> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(at).fetch_all(&self.pool).await.named("list_standings")?;
        rows.into_iter().map(|row| row.standing(at.is_some())).collect()
    }

    /// Note the present shares of streams in the budgets.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn set_shares(&self, lease: &Lease, shares: &[(i64, Share)]) -> Result<()> {
        let mut transaction = self.begin().await?;
        super::lease::check(&mut transaction, lease).await?;
        for (stream_id, share) in shares {
            sqlx::query!(
                "insert into stream_tier (stream_id, tier, weight, threshold) values ($1, $2, $3, $4)
                on conflict (stream_id, tier) do update set weight = excluded.weight, threshold = excluded.threshold",
                stream_id,
                share.tier.as_str(),
                share.weight,
                share.threshold
            )
            .execute(&mut *transaction)
            .await
            .named("set_shares")?;
        }
        super::lease::commit(transaction, lease, "set_shares").await
    }

    /// Make a stream, and end the one that it takes the place of.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn make_stream(&self, lease: &Lease, new: &StoredStream, now: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.begin().await?;
        super::lease::check(&mut transaction, lease).await?;
        let key = &new.key;
        sqlx::query!(
            "update stream set ended_at = $5 where version_id = $1 and watch = $2 and output_id = $3 and slice = $4 and ended_at is null",
            key.version_id,
            key.watch,
            key.output_id,
            key.slice,
            now
        )
        .execute(&mut *transaction)
        .await
        .named("end_stream")?;
        let seal = super::seal::open(&mut transaction).await?;
        let definition = new.stream.as_ref().ok().map(|stream| json("stream", stream)).transpose()?;
        sqlx::query!(
            "insert into stream (version_id, watch, output_id, slice, asked, reference_id, maturity_days, with_truth, definition, reason,
                starts, looked_until, made_at)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            key.version_id,
            key.watch,
            key.output_id,
            key.slice,
            new.asked,
            new.reference_id,
            i32::try_from(new.maturity_days).unwrap_or(i32::MAX),
            new.with_truth,
            definition,
            new.stream.as_ref().err(),
            new.starts,
            new.looked_until,
            now
        )
        .execute(&mut *transaction)
        .await
        .named("insert_stream")?;
        super::seal::close(&mut transaction, seal, &["stream"]).await?;
        super::lease::commit(transaction, lease, "make_stream").await
    }

    /// End streams that nothing asks for any more.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn end_streams(&self, lease: &Lease, streams: &[i64], now: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.begin().await?;
        super::lease::check(&mut transaction, lease).await?;
        sqlx::query!("update stream set ended_at = $2 where stream_id = any($1) and ended_at is null", streams, now)
            .execute(&mut *transaction)
            .await
            .named("end_streams")?;
        super::lease::commit(transaction, lease, "end_streams").await
    }

    /// Append what sealed days made of streams' evidence: all of a pass, or nothing.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn add_evidence(&self, lease: &Lease, taken: &[Taken], now: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.begin().await?;
        super::lease::check(&mut transaction, lease).await?;
        let seal = super::seal::open(&mut transaction).await?;
        for Taken { stream_id, looks, looked_until } in taken {
            for look in looks {
                let state = json("evidence", &look.state)?;
                let measured = look.measured.as_ref().map(|measured| json("evidence", measured)).transpose()?;
                sqlx::query!(
                "insert into evidence (stream_id, tier, day, evidence, weight, threshold, change_at, alarms, measured, state, looked_at)
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                stream_id,
                look.share.tier.as_str(),
                look.day,
                look.seen.evidence,
                look.share.weight,
                look.share.threshold,
                look.seen.change,
                look.seen.alarms,
                measured,
                state,
                now
            )
            .execute(&mut *transaction)
            .await
            .named("insert_evidence")?;
            }
            sqlx::query!("update stream set looked_until = $2 where stream_id = $1", stream_id, looked_until)
                .execute(&mut *transaction)
                .await
                .named("update_stream")?;
        }
        super::seal::close(&mut transaction, seal, &["evidence"]).await?;
        super::lease::commit(transaction, lease, "add_evidence").await
    }
}

pub(super) fn json<T: serde::Serialize>(table: &'static str, value: &T) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|source| Error::Corrupt {
        table,
        column: "definition or state",
        row: "one to be stored".to_owned(),
        source: source.into(),
    })
}

pub(super) fn read<T: serde::de::DeserializeOwned>(
    table: &'static str,
    column: &'static str,
    stream_id: i64,
    value: serde_json::Value,
) -> Result<T> {
    serde_json::from_value(value).map_err(|source| Error::Corrupt {
        table,
        column,
        row: format!("stream {stream_id}"),
        source: source.into(),
    })
}
