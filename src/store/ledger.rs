//! The evidence ledger: what is sealed stays as it is. Rows for sealing, sealed days, streams and their evidence.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::lease::Lease;
use super::rows::{assertion, attributes};
use super::{Error, Named, Result, Store};
use crate::detect::sealing::Buckets;
use crate::domain::{Assertion, Prediction, Window};
use crate::summary::codec::{decode_sealed, encode_sealed};
use crate::summary::sealed::Sealed;

/// Rows with when they came in.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Predictions.
    pub predictions: Vec<(Prediction, DateTime<Utc>)>,
    /// Everything that was said about their cases.
    pub assertions: Vec<(Assertion, DateTime<Utc>)>,
    /// What other versions predicted of the same cases, by version.
    pub rivals: BTreeMap<i32, Vec<(Prediction, DateTime<Utc>)>>,
    /// The last batch that the rows include.
    pub batch_id: i64,
}

/// What has to be known of the rows of a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The findings that truth is wanted of.
    pub findings: Vec<i32>,
    /// The versions that it is compared with on the cases that both have.
    pub rivals: Vec<i32>,
    /// Whether embeddings are wanted.
    pub embeddings: bool,
}

/// Which rows are read.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// Predictions of this window.
    pub window: Window,
    /// Batches up to this one.
    pub recorded: i64,
    /// Older predictions too, if something was said of their cases in a batch after this one.
    pub said_after: Option<i64>,
    /// When a day is sealed: the last batch of the seal before it, and the day.
    pub sealing: Option<(i64, DateTime<Utc>)>,
}

impl Reach {
    /// When a batch counts as received. A batch that was committed about midnight belongs to the day whose seal first saw it, whatever
    /// the clock of the process that wrote it said: so every case enters once.
    fn received(&self, batch_id: Option<i64>, committed_at: DateTime<Utc>) -> DateTime<Utc> {
        let (Some(batch_id), Some((before, day))) = (batch_id, self.sealing) else { return committed_at };
        let moment = TimeDelta::microseconds(1);
        if batch_id > before {
            committed_at.clamp(day, day + TimeDelta::days(1) - moment)
        } else {
            committed_at.min(day - moment)
        }
    }
}

/// What a book was last sealed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastSeal {
    /// The day.
    pub day: DateTime<Utc>,
    /// Batches up to this one were in it.
    pub recorded: i64,
}

/// A kind of ledger: `(version, maturity in days, whether cases wait for truth)`.
pub type Book = (i32, i64, bool);

/// What one day of a book is sealed as: `(output, slice, cases)`.
pub type Page = Vec<(i32, String, Sealed)>;

impl Store {
    /// The last batch that was committed before an instant; 0 when there is none.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn last_batch_before(&self, instant: DateTime<Utc>) -> Result<i64> {
        sqlx::query_scalar!(
            r#"select coalesce(max(batch_id), 0) as "last!" from batch where committed_at < $1"#,
            instant
        )
        .fetch_one(&self.pool)
        .await
        .named("last_batch_before")
    }

    /// The last batch of all; 0 when there is none.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn last_batch(&self) -> Result<i64> {
        sqlx::query_scalar!("select last_batch from batch_counter").fetch_one(&self.pool).await.named("last_batch")
    }

    /// Rows of one version with when they came in, in one snapshot. Where it is compared with another version, all that both have of the
    /// cases of which either has a row in the window.
    ///
    /// # Errors
    /// When Postgres fails or a row cannot be read.
    pub async fn load_received(&self, version_id: i32, needs: &Needs, reach: Reach) -> Result<Received> {
        let mut transaction = self.snapshot().await?;
        let mut received = Received { batch_id: reach.recorded, ..Received::default() };
        let own = predictions_within(&mut transaction, version_id, needs, reach).await?;
        received.predictions = own;
        if !needs.rivals.is_empty() {
            let versions: Vec<i32> = [&[version_id], &needs.rivals[..]].concat();
            // Of those before the window some are there for what was said of them.
            let known: HashSet<(String, DateTime<Utc>)> =
                received.predictions.iter().map(|(row, _)| (row.case_id.clone(), row.occurred_at)).collect();
            for (version, row) in predictions_of_both(&mut transaction, &versions, needs, reach).await? {
                if version != version_id {
                    received.rivals.entry(version).or_default().push(row);
                } else if !known.contains(&(row.0.case_id.clone(), row.0.occurred_at)) {
                    received.predictions.push(row);
                }
            }
        }
        let cases: Vec<String> = received.predictions.iter().map(|(row, _)| row.case_id.clone()).collect();
        let rows = sqlx::query!(
            r#"select a.case_id, a.truth_id, a.opinion, a.source, a.reader, a.status, a.observed_at, a.batch_id, b.committed_at as "committed_at?"
            from assertion a left join batch b on b.batch_id = a.batch_id
            where a.case_id = any($1) and a.truth_id = any($2) and a.batch_id <= $3
            order by a.case_id, a.truth_id"#,
            &cases,
            &needs.findings,
            reach.recorded
        )
        .fetch_all(&mut *transaction)
        .await
        .named("load_received_assertions")?;
        let assertions = rows.into_iter().map(|row| {
            let received_at = reach.received(Some(row.batch_id), row.committed_at.unwrap_or(row.observed_at));
            let about = (row.case_id, row.truth_id, row.observed_at);
            let assertion = assertion(about, (&row.opinion, &row.status), (row.source, row.reader))?;
            Ok((assertion, received_at))
        });
        received.assertions = assertions.collect::<Result<_>>()?;
        Ok(received)
    }

    /// The last seal of every book.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn last_seals(&self) -> Result<BTreeMap<Book, LastSeal>> {
        let rows = sqlx::query!(
            r#"select distinct on (version_id, maturity_days, with_truth) version_id, maturity_days, with_truth, day, recorded
            from sealed_day order by version_id, maturity_days, with_truth, day desc"#
        )
        .fetch_all(&self.pool)
        .await
        .named("last_seals")?;
        let seal = |day, recorded| LastSeal { day, recorded };
        Ok(rows
            .into_iter()
            .map(|row| {
                let book = (row.version_id, row.maturity_days.into(), row.with_truth);
                (book, seal(row.day, row.recorded))
            })
            .collect())
    }

    /// Seal a day of a book, for good.
    ///
    /// # Errors
    /// When Postgres fails, the lease is lost, or the day is sealed already.
    pub async fn seal_day(
        &self,
        lease: &Lease,
        (version_id, maturity_days, with_truth): Book,
        (day, recorded): (DateTime<Utc>, i64),
        page: &Page,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        super::lease::check(&mut transaction, lease).await?;
        let maturity_days = i32::try_from(maturity_days).unwrap_or(i32::MAX);
        let seal = super::seal::open(&mut transaction).await?;
        sqlx::query!(
            "insert into sealed_day (version_id, maturity_days, with_truth, day, recorded, sealed_at) values ($1, $2, $3, $4, $5, $6)",
            version_id,
            maturity_days,
            with_truth,
            day,
            recorded,
            now
        )
        .execute(&mut *transaction)
        .await
        .named("insert_sealed_day")?;
        let outputs: Vec<i32> = page.iter().map(|(output, ..)| *output).collect();
        let slices: Vec<String> = page.iter().map(|(_, slice, _)| slice.clone()).collect();
        let bodies: Vec<Vec<u8>> = page.iter().map(|(.., sealed)| encode_sealed(sealed)).collect();
        sqlx::query!(
            "insert into ledger (version_id, maturity_days, with_truth, day, output_id, slice, body)
            select $1, $2, $3, $4, * from unnest($5::integer[], $6::text[], $7::bytea[])",
            version_id,
            maturity_days,
            with_truth,
            day,
            &outputs,
            &slices,
            &bodies
        )
        .execute(&mut *transaction)
        .await
        .named("insert_ledger")?;
        super::seal::close(&mut transaction, seal, &["sealed_day", "ledger"]).await?;
        super::lease::commit(transaction, lease, "seal_day").await
    }

    /// The sealed days of an output and slice from `from` on, up to `to`; a day without a case is there too.
    ///
    /// # Errors
    /// When Postgres fails or a day cannot be read.
    pub async fn load_sealed(
        &self,
        (version_id, maturity_days, with_truth): Book,
        (output_id, slice): (i32, &str),
        (from, to): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<Buckets> {
        let rows = sqlx::query!(
            r#"select d.day, l.body as "body?" from sealed_day d
            left join ledger l on l.version_id = d.version_id and l.maturity_days = d.maturity_days
                and l.with_truth = d.with_truth and l.day = d.day and l.output_id = $4 and l.slice = $5
            where d.version_id = $1 and d.maturity_days = $2 and d.with_truth = $3 and d.day >= $6 and d.day < $7 order by d.day"#,
            version_id,
            i32::try_from(maturity_days).unwrap_or(i32::MAX),
            with_truth,
            output_id,
            slice,
            from,
            to
        )
        .fetch_all(&self.pool)
        .await
        .named("load_sealed")?;
        let days = rows.into_iter().map(|row| {
            let sealed = row.body.map(|body| decode_sealed(&body)).transpose();
            let sealed = sealed.map_err(|source| Error::Corrupt {
                table: "ledger",
                column: "body",
                row: format!("{slice}, {}", row.day),
                source: source.into(),
            })?;
            Ok((row.day, sealed.unwrap_or_default()))
        });
        days.collect()
    }

    /// The slices of a book that have been sealed since an instant, for one output.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn sealed_slices(
        &self,
        (version_id, maturity_days, with_truth): Book,
        output_id: i32,
        since: DateTime<Utc>,
    ) -> Result<Vec<String>> {
        sqlx::query_scalar!(
            "select distinct slice from ledger where version_id = $1 and maturity_days = $2 and with_truth = $3 and output_id = $4
                and day >= $5 order by slice",
            version_id,
            i32::try_from(maturity_days).unwrap_or(i32::MAX),
            with_truth,
            output_id,
            since
        )
        .fetch_all(&self.pool)
        .await
        .named("sealed_slices")
    }
}

type Row = (Prediction, DateTime<Utc>);

/// The predictions of a version in a window, and older ones of whose cases something was said.
async fn predictions_within(
    transaction: &mut PgConnection,
    version_id: i32,
    needs: &Needs,
    reach: Reach,
) -> Result<Vec<Row>> {
    let Reach { window, recorded, said_after, .. } = reach;
    let rows = sqlx::query!(
        r#"select p.case_id as "case_id!", p.subject_id, p.occurred_at as "occurred_at!", p.output_ids as "output_ids!",
            p.scores as "scores!", p.attributes as "attributes!", p.embedding, b.batch_id as "batch_id?",
            b.committed_at as "committed_at?"
        from (
            select case_id, record_id, subject_id, occurred_at, output_ids, scores, attributes,
                case when $7 then embedding end as embedding from prediction
            where version_id = $1 and batch_id <= $4 and (until_batch is null or until_batch > $4)
                and occurred_at >= $2 and occurred_at < $3
            union all
            select case_id, record_id, subject_id, occurred_at, output_ids, scores, attributes,
                case when $7 then embedding end as embedding from prediction
            where version_id = $1 and batch_id <= $4 and (until_batch is null or until_batch > $4)
                and $5::bigint is not null and occurred_at < $2 and case_id in (
                    select case_id from assertion where batch_id > $5 and batch_id <= $4 and truth_id = any($6))
        ) p left join batch b on b.batch_id = (
            -- A record that says more later was there from its first batch on.
            select min(q.batch_id) from prediction q
            where q.case_id = p.case_id and q.record_id = p.record_id and q.occurred_at = p.occurred_at)"#,
        version_id,
        window.from,
        window.to,
        recorded,
        said_after,
        &needs.findings,
        needs.embeddings
    )
    .fetch_all(transaction)
    .await
    .named("load_received_predictions")?;
    let predictions = rows.into_iter().map(|row| {
        let received_at = reach.received(row.batch_id, row.committed_at.unwrap_or(row.occurred_at));
        let prediction = Prediction {
            occurred_at: row.occurred_at,
            scores: row.output_ids.into_iter().zip(row.scores).collect(),
            attributes: attributes(row.attributes, row.occurred_at)?,
            embedding: row.embedding,
            subject_id: row.subject_id,
            case_id: row.case_id,
        };
        Ok((prediction, received_at))
    });
    predictions.collect()
}

/// All predictions of versions of the cases of which one of them has a prediction in a window, or something was said; by version.
async fn predictions_of_both(
    transaction: &mut PgConnection,
    versions: &[i32],
    needs: &Needs,
    reach: Reach,
) -> Result<Vec<(i32, Row)>> {
    let Reach { window, recorded, said_after, .. } = reach;
    let rows = sqlx::query!(
        r#"select p.version_id, p.case_id, p.subject_id, p.occurred_at, p.output_ids, p.scores, p.attributes,
            b.batch_id as "batch_id?", b.committed_at as "committed_at?"
        from prediction p left join batch b on b.batch_id = (
            select min(q.batch_id) from prediction q
            where q.case_id = p.case_id and q.record_id = p.record_id and q.occurred_at = p.occurred_at)
        where p.version_id = any($1) and p.batch_id <= $4 and (p.until_batch is null or p.until_batch > $4) and p.case_id in (
            select case_id from prediction
            where version_id = any($1) and batch_id <= $4 and (until_batch is null or until_batch > $4)
                and occurred_at >= $2 and occurred_at < $3
            union
            select case_id from assertion where $5::bigint is not null and batch_id > $5 and batch_id <= $4 and truth_id = any($6))"#,
        versions,
        window.from,
        window.to,
        recorded,
        said_after,
        &needs.findings
    )
    .fetch_all(transaction)
    .await
    .named("load_received_pairs")?;
    let predictions = rows.into_iter().map(|row| {
        let received_at = reach.received(row.batch_id, row.committed_at.unwrap_or(row.occurred_at));
        let prediction = Prediction {
            occurred_at: row.occurred_at,
            scores: row.output_ids.into_iter().zip(row.scores).collect(),
            attributes: attributes(row.attributes, row.occurred_at)?,
            embedding: None,
            subject_id: row.subject_id,
            case_id: row.case_id,
        };
        Ok((row.version_id, (prediction, received_at)))
    });
    predictions.collect()
}
