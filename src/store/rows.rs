//! Rows of a window, as known at an instant.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Error, Named, Result, Store};
use crate::domain::{Assertion, Opinion, Prediction, Status, Window};

/// The two clocks of knowledge; `None` means now, and all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Knowledge {
    /// Truth observed up to this instant: what the hospital knew.
    pub known_at: Option<DateTime<Utc>>,
    /// Batches up to this number: what this installation had.
    pub recorded: Option<i64>,
}

/// Which parts of rows are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Outputs whose scores.
    pub outputs: &'a [i32],
    /// Findings that assertions are about.
    pub findings: &'a [i32],
    /// Whether embeddings, which are long.
    pub embeddings: bool,
}

/// Predictions of a window, everything that was said about their cases, and how far the store had got.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Predictions.
    pub predictions: Vec<Prediction>,
    /// Assertions, those about one finding of one case next to each other.
    pub assertions: Vec<Assertion>,
    /// The last batch that the rows include.
    pub batch_id: i64,
}

impl Store {
    /// The last batch that had been taken in by an instant; 0 before the first.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn batch_as_of(&self, at: DateTime<Utc>) -> Result<i64> {
        let last = sqlx::query_scalar!(
            "select batch_id from batch where committed_at <= $1 order by committed_at desc, batch_id desc limit 1",
            at
        )
        .fetch_optional(&self.pool)
        .await
        .named("batch_as_of")?;
        Ok(last.unwrap_or_default())
    }

    /// How many predictions one version made in one window.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn count_predictions(&self, version_id: i32, window: Window) -> Result<i64> {
        sqlx::query_scalar!(
            r#"select count(*) as "count!" from prediction where version_id = $1 and occurred_at >= $2 and occurred_at < $3
                and until_batch is null"#,
            version_id,
            window.from,
            window.to
        )
        .fetch_one(&self.pool)
        .await
        .named("count_predictions")
    }

    /// Whether one version has made a prediction since an instant.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn has_predictions_since(&self, version_id: i32, since: DateTime<Utc>) -> Result<bool> {
        sqlx::query_scalar!(
            r#"select exists (select from prediction where version_id = $1 and occurred_at >= $2) as "exists!""#,
            version_id,
            since
        )
        .fetch_one(&self.pool)
        .await
        .named("has_predictions_since")
    }

    /// The rows of one version in one window, in one snapshot; if `buckets` are given (their length as a field of
    /// `date_trunc`, and their starts), only rows in these.
    ///
    /// # Errors
    /// When Postgres fails or a row cannot be read.
    pub async fn load_rows(
        &self,
        version_id: i32,
        window: Window,
        buckets: Option<(&str, &[DateTime<Utc>])>,
        knowledge: Knowledge,
        what: Wanted<'_>,
    ) -> Result<Rows> {
        let mut transaction = self.snapshot().await?;
        let last = sqlx::query_scalar!("select last_batch from batch_counter")
            .fetch_one(&mut *transaction)
            .await
            .named("last_batch")?;
        let recorded = knowledge.recorded.map_or(last, |recorded| recorded.min(last));
        let (field, starts) = buckets.unzip();
        let predictions = sqlx::query!(
            "select case_id, subject_id, occurred_at, output_ids, scores, attributes,
                case when $7 then embedding end as embedding from prediction
            where version_id = $1 and occurred_at >= $2 and occurred_at < $3
            and batch_id <= $4 and (until_batch is null or until_batch > $4)
            and ($5::text is null or date_trunc($5, occurred_at, 'UTC') = any($6::timestamptz[]))",
            version_id,
            window.from,
            window.to,
            recorded,
            field,
            starts,
            what.embeddings
        )
        .fetch_all(&mut *transaction)
        .await
        .named("load_predictions")?;
        // By case: nearly all of a department's batches are wanted, so an index on the batch would be read whole for each case. The sum
        // keeps a planner without statistics from that.
        let assertions = sqlx::query!(
            "select case_id, truth_id, opinion, source, reader, status, observed_at from assertion
            where case_id in (select case_id from prediction
                where version_id = $1 and occurred_at >= $2 and occurred_at < $3 and batch_id <= $4
                and ($7::text is null or date_trunc($7, occurred_at, 'UTC') = any($8::timestamptz[])))
            and truth_id = any($5) and batch_id + 0 <= $4 and ($6::timestamptz is null or observed_at <= $6)
            order by case_id, truth_id",
            version_id,
            window.from,
            window.to,
            recorded,
            what.findings,
            knowledge.known_at,
            field,
            starts
        )
        .fetch_all(&mut *transaction)
        .await
        .named("load_assertions")?;
        let predictions = predictions.into_iter().map(|row| {
            let scores = row.output_ids.into_iter().zip(row.scores).filter(|(output, _)| what.outputs.contains(output));
            Ok(Prediction {
                occurred_at: row.occurred_at,
                scores: scores.collect(),
                attributes: attributes(row.attributes, row.occurred_at)?,
                embedding: row.embedding,
                subject_id: row.subject_id,
                case_id: row.case_id,
            })
        });
        let assertions = assertions.into_iter().map(|row| {
            let about = (row.case_id, row.truth_id, row.observed_at);
            assertion(about, (&row.opinion, &row.status), (row.source, row.reader))
        });
        Ok(Rows {
            predictions: predictions.collect::<Result<_>>()?,
            assertions: assertions.collect::<Result<_>>()?,
            batch_id: recorded,
        })
    }
}

/// A stored assertion: `(case, finding, when)`, `(opinion, status)`, `(source, reader)`.
pub(super) fn assertion(
    (case_id, truth_id, observed_at): (String, i32, DateTime<Utc>),
    (opinion, status): (&str, &str),
    (source, reader): (String, String),
) -> Result<Assertion> {
    let corrupt = |column, value: &str| Error::Corrupt {
        table: "assertion",
        column,
        row: format!("an assertion of {observed_at}"),
        source: format!("{value:?} is not known").into(),
    };
    Ok(Assertion {
        opinion: Opinion::of_word(opinion).ok_or_else(|| corrupt("opinion", opinion))?,
        status: Status::parse(status).ok_or_else(|| corrupt("status", status))?,
        case_id,
        truth_id,
        source,
        reader,
        observed_at,
    })
}

/// The attributes of a stored prediction.
pub(super) fn attributes(value: serde_json::Value, occurred_at: DateTime<Utc>) -> Result<BTreeMap<String, String>> {
    serde_json::from_value(value).map_err(|source| Error::Corrupt {
        table: "prediction",
        column: "attributes",
        row: format!("a prediction of {occurred_at}"),
        source: source.into(),
    })
}
