//! Streams and what each sealed day made of their evidence.

use chrono::{DateTime, Utc};

use super::lease::Lease;
use super::ledger::Book;
use super::{Error, Named, Result, Store};
use crate::config::Tier;
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

impl Store {
    /// The streams in force.
    ///
    /// # Errors
    /// When Postgres fails or a stream cannot be read.
    pub async fn list_streams(&self) -> Result<Vec<StoredStream>> {
        let rows = sqlx::query!(
            "select stream_id, version_id, watch, output_id, slice, asked, reference_id, maturity_days, with_truth, definition, reason,
                starts, looked_until
            from stream where ended_at is null order by stream_id"
        )
        .fetch_all(&self.pool)
        .await
        .named("list_streams")?;
        let streams = rows.into_iter().map(|row| {
            let stream = match (row.definition, row.reason) {
                (Some(definition), _) => Ok(read("stream", "definition", row.stream_id, definition)?),
                (None, reason) => Err(reason.unwrap_or_default()),
            };
            Ok(StoredStream {
                stream_id: row.stream_id,
                key: StreamKey {
                    version_id: row.version_id,
                    watch: row.watch,
                    output_id: row.output_id,
                    slice: row.slice,
                },
                asked: row.asked,
                reference_id: row.reference_id,
                maturity_days: row.maturity_days.into(),
                with_truth: row.with_truth,
                stream,
                starts: row.starts,
                looked_until: row.looked_until,
            })
        });
        streams.collect()
    }

    /// Where every stream in force stands, tier by tier.
    ///
    /// # Errors
    /// When Postgres fails or a state cannot be read.
    pub async fn list_standings(&self) -> Result<Vec<Standing>> {
        let rows = sqlx::query!(
            r#"select t.stream_id, t.tier, t.weight, t.threshold, e.day as "day?", e.evidence as "evidence?",
                e.threshold as "then?", e.change_at as "change_at?", e.state as "state?"
            from stream_tier t join stream s using (stream_id)
            left join lateral (select * from evidence where stream_id = t.stream_id and tier = t.tier order by day desc limit 1) e
                on true
            where s.ended_at is null order by t.stream_id, t.tier"#
        )
        .fetch_all(&self.pool)
        .await
        .named("list_standings")?;
        let standings = rows.into_iter().map(|row| {
            let last = match (row.day, row.evidence, row.then, row.state) {
                (Some(day), Some(evidence), Some(threshold), Some(state)) => {
                    let state = read("evidence", "state", row.stream_id, state)?;
                    Some(LastLook { day, evidence, threshold, change_at: row.change_at, state })
                }
                _ => None,
            };
            Ok(Standing {
                stream_id: row.stream_id,
                tier: row.tier,
                weight: row.weight,
                threshold: row.threshold,
                last,
            })
        });
        standings.collect()
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

    /// A stream's evidence in one tier since a day, in order.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn load_evidence(&self, stream_id: i64, tier: Tier, since: DateTime<Utc>) -> Result<Vec<EvidencePoint>> {
        sqlx::query_as!(
            EvidencePoint,
            "select day, evidence, threshold, alarms from evidence where stream_id = $1 and tier = $2 and day >= $3 order by day",
            stream_id,
            tier.as_str(),
            since
        )
        .fetch_all(&self.pool)
        .await
        .named("load_evidence")
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
