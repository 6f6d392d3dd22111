//! Taking in a batch: one transaction from staged rows to a committed batch number.
//!
//! Rows are staged by `COPY` without any lock. Then the batch counter's row is locked until the commit, so batch numbers
//! ascend in commit order and every statement after it sees all earlier batches: a prediction and its truth that arrive
//! at the same moment cannot miss each other.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::batch::{Batch, Committed, Meeting, NewPrediction, NewRejection, Position, Progress};
use super::lease::Lease;
use super::{Named, Result, Store, Transaction};
use crate::domain::window::month_of;
use crate::domain::{Prediction, Reason};

impl Store {
    /// Commit a batch. Records that contradict what is known become rejections. Who reads for a job holds its lease; what is
    /// sent here needs none.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost; then nothing of the batch is kept.
    pub async fn commit_batch(&self, lease: Option<&Lease>, mut batch: Batch, now: DateTime<Utc>) -> Result<Committed> {
        self.ensure_partitions(batch.predictions.iter().map(|new| new.prediction.occurred_at)).await?;
        let mut transaction = self.begin().await?;
        if let Some(lease) = lease {
            super::lease::check(&mut transaction, lease).await?;
        }
        stage(&mut transaction, &batch).await?;
        let batch_id = sqlx::query_scalar!("update batch_counter set last_batch = last_batch + 1 returning last_batch")
            .fetch_one(&mut *transaction)
            .await
            .named("next_batch")?;
        let fresh = insert_new(&mut transaction, batch_id).await?;
        let Met { extensions, conflicts } = meet_known(&mut transaction, &batch, batch_id).await?;
        let staged = batch.predictions.len() as u64 + batch.assertions.len() as u64;
        let accepted = fresh + extensions.len() as u64;
        let known = staged - accepted - conflicts.len() as u64;
        extend(&mut transaction, &extensions, batch_id).await?;
        batch.rejections.extend(conflicts);
        mark_dirty(&mut transaction, batch_id).await?;
        let refused = insert_rejections(&mut transaction, &batch, batch_id, now).await?;
        match &batch.progress {
            Progress::Sent => {}
            Progress::File(file) => super::file::store_progress(&mut transaction, &batch.source, file, now).await?,
            Progress::Cursor(cursor) => super::cursor::store(&mut transaction, &batch.source, cursor, now).await?,
        }
        let committed =
            Committed { batch_id, accepted, duplicates: known + batch.duplicates, rejected: refused.len() as u64 };
        insert_batch(&mut transaction, &batch, committed, now).await?;
        count_records(&mut transaction, &batch.source, committed, &refused).await?;
        super::status::count(&mut transaction, ("record", &batch.source, "ignored"), batch.ignored).await?;
        match lease {
            Some(lease) => super::lease::commit(transaction, lease, "commit_batch").await?,
            None => transaction.commit().await.named("commit_batch")?,
        }
        Ok(committed)
    }

    /// Make sure that each instant's month has a partition. Cheap when it has.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn ensure_partitions(&self, instants: impl Iterator<Item = DateTime<Utc>>) -> Result<()> {
        let months: std::collections::BTreeSet<_> = instants.map(month_of).collect();
        for month in months {
            let name = format!("prediction_{}", month.from.format("%Y_%m"));
            let exists = sqlx::query_scalar!(r#"select to_regclass($1) is not null as "exists!""#, name)
                .fetch_one(&self.pool)
                .await
                .named("find_partition")?;
            if exists {
                continue;
            }
            let mut transaction = self.begin().await?;
            // A hint only: a loser of the race finds the partition there.
            sqlx::query!("select pg_advisory_xact_lock(7261001)")
                .execute(&mut *transaction)
                .await
                .named("lock_partitions")?;
            // Names and bounds are dates of our own making: nothing of the sender's enters the statement.
            let create = format!(
                "create table if not exists {name} partition of prediction for values from ('{}') to ('{}')",
                month.from.to_rfc3339(),
                month.to.to_rfc3339()
            );
            sqlx::query(sqlx::AssertSqlSafe(create)).execute(&mut *transaction).await.named("create_partition")?;
            transaction.commit().await.named("create_partition")?;
        }
        Ok(())
    }
}

/// Copy the records into temporary tables that vanish with the transaction.
async fn stage(transaction: &mut Transaction, batch: &Batch) -> Result<()> {
    sqlx::raw_sql(
        "create temp table staged_prediction (
            ord integer, case_id text, record_id text, digest bytea, version_id integer, occurred_at timestamptz,
            subject_id text, output_ids integer[], scores double precision[], attributes jsonb, embedding real[])
            on commit drop;
        create temp table extension (like staged_prediction) on commit drop;
        create temp table staged_assertion (
            ord integer, case_id text, record_id text, digest bytea, truth_id integer, opinion text, source text,
            reader text, status text, observed_at timestamptz) on commit drop;
        create temp table new_key (case_id text, kind smallint, record_id text, version_id integer) on commit drop",
    )
    .execute(&mut **transaction)
    .await
    .named("create_staging")?;
    copy_predictions(transaction, &batch.predictions, "copy staged_prediction from stdin").await?;
    let mut rows = CopyText::default();
    for (ord, new) in batch.assertions.iter().enumerate() {
        let a = &new.assertion;
        rows.field(&ord.to_string());
        rows.field(&a.case_id);
        rows.field(&new.record_id);
        rows.field(&format!("\\x{}", crate::config::hex(&new.digest)));
        rows.field(&a.truth_id.to_string());
        rows.field(&a.opinion.to_word());
        rows.field(&a.source);
        rows.field(&a.reader);
        rows.field(a.status.as_str());
        rows.field(&a.observed_at.to_rfc3339());
        rows.end();
    }
    rows.send(transaction, "copy staged_assertion from stdin").await
}

async fn copy_predictions(
    transaction: &mut Transaction,
    predictions: &[NewPrediction],
    statement: &'static str,
) -> Result<()> {
    let mut rows = CopyText::default();
    for (ord, new) in predictions.iter().enumerate() {
        let p = &new.prediction;
        rows.field(&ord.to_string());
        rows.field(&p.case_id);
        rows.field(&new.record_id);
        rows.field(&format!("\\x{}", crate::config::hex(&new.digest)));
        rows.field(&new.version_id.to_string());
        rows.field(&p.occurred_at.to_rfc3339());
        rows.optional(p.subject_id.as_deref());
        rows.field(&array(p.scores.iter().map(|(output, _)| output.to_string())));
        rows.field(&array(p.scores.iter().map(|(_, score)| score.to_string())));
        // unwrap safety: a map of texts always serialises.
        rows.field(&serde_json::to_string(&p.attributes).unwrap_or_default());
        let embedding = p.embedding.as_ref().map(|numbers| array(numbers.iter().map(ToString::to_string)));
        rows.optional(embedding.as_deref());
        rows.end();
    }
    rows.send(transaction, statement).await
}

/// Insert the keys that are new, and the rows that belong to them. Returns how many there are.
async fn insert_new(transaction: &mut Transaction, batch_id: i64) -> Result<u64> {
    let inserted = sqlx::query(
        "with new as (
            insert into record_key (case_id, kind, record_id, digest, occurred_at, version_id, batch_id)
            select case_id, 1, record_id, digest, occurred_at, version_id, $1 from staged_prediction
            union all
            select case_id, 2, record_id, digest, observed_at, null, $1 from staged_assertion
            on conflict do nothing returning case_id, kind, record_id, version_id)
        insert into new_key select case_id, kind, record_id, version_id from new",
    )
    .bind(batch_id)
    .execute(&mut **transaction)
    .await
    .named("insert_record_keys")?;
    sqlx::query(
        "insert into prediction (case_id, record_id, version_id, occurred_at, subject_id, output_ids, scores, attributes,
            embedding, batch_id)
        select s.case_id, s.record_id, s.version_id, s.occurred_at, s.subject_id, s.output_ids, s.scores, s.attributes,
            s.embedding, $1
        from staged_prediction s join new_key n on n.case_id = s.case_id and n.record_id = s.record_id and n.kind = 1",
    )
    .bind(batch_id)
    .execute(&mut **transaction)
    .await
    .named("insert_predictions")?;
    sqlx::query(
        "insert into assertion (case_id, record_id, truth_id, opinion, source, reader, status, observed_at, batch_id)
        select s.case_id, s.record_id, s.truth_id, s.opinion, s.source, s.reader, s.status, s.observed_at, $1
        from staged_assertion s join new_key n on n.case_id = s.case_id and n.record_id = s.record_id and n.kind = 2",
    )
    .bind(batch_id)
    .execute(&mut **transaction)
    .await
    .named("insert_assertions")?;
    Ok(inserted.rows_affected())
}

/// What staged records are to known ones of the same identity and another digest.
#[derive(Default)]
struct Met {
    /// Predictions that say more than was known, whole.
    extensions: Vec<NewPrediction>,
    /// Records that contradict what is known.
    conflicts: Vec<NewRejection>,
}

async fn meet_known(transaction: &mut Transaction, batch: &Batch, batch_id: i64) -> Result<Met> {
    type Known = (i32, i32, DateTime<Utc>, Option<String>, Vec<i32>, Vec<f64>, serde_json::Value, Option<Vec<f32>>);
    let predictions: Vec<Known> = sqlx::query_as(
        "select s.ord, p.version_id, p.occurred_at, p.subject_id, p.output_ids, p.scores, p.attributes, p.embedding
        from staged_prediction s
            join record_key k on k.case_id = s.case_id and k.kind = 1 and k.record_id = s.record_id
            join prediction p on p.case_id = k.case_id and p.record_id = k.record_id and p.occurred_at = k.occurred_at
                and p.until_batch is null
        where k.digest <> s.digest and k.batch_id <> $1 order by s.ord",
    )
    .bind(batch_id)
    .fetch_all(&mut **transaction)
    .await
    .named("meet_predictions")?;
    let assertions: Vec<i32> = sqlx::query_scalar(
        "select s.ord from staged_assertion s
            join record_key k on k.case_id = s.case_id and k.kind = 2 and k.record_id = s.record_id
        where k.digest <> s.digest and k.batch_id <> $1 order by s.ord",
    )
    .bind(batch_id)
    .fetch_all(&mut **transaction)
    .await
    .named("meet_assertions")?;
    let mut met = Met::default();
    for (ord, version_id, occurred_at, subject_id, output_ids, scores, attributes, embedding) in predictions {
        let new = &batch.predictions[usize::try_from(ord).unwrap_or_default()];
        let known = Prediction {
            case_id: new.prediction.case_id.clone(),
            subject_id,
            occurred_at,
            scores: output_ids.into_iter().zip(scores).collect(),
            attributes: super::rows::attributes(attributes, occurred_at)?,
            embedding,
        };
        match Meeting::of((version_id, &known), (new.version_id, &new.prediction)) {
            Meeting::Same => {}
            Meeting::Extends(prediction) => {
                let digest = prediction.digest(&new.version);
                met.extensions.push(NewPrediction { digest, prediction, ..new.clone() });
            }
            Meeting::Conflict => {
                let p = &new.prediction;
                let said = serde_json::json!({ "occurred_at": p.occurred_at, "version": new.version,
                    "scores": p.scores.iter().map(|(_, score)| score).collect::<Vec<_>>(), "attributes": p.attributes });
                met.conflicts.push(conflict(&new.position, said, new.digest));
            }
        }
    }
    for ord in assertions {
        let new = &batch.assertions[usize::try_from(ord).unwrap_or_default()];
        let a = &new.assertion;
        let said = serde_json::json!({ "value": a.opinion.to_word(), "status": a.status.as_str(), "source": a.source,
            "reader": a.reader, "observed_at": a.observed_at });
        met.conflicts.push(conflict(&new.position, said, new.digest));
    }
    Ok(met)
}

/// The refusal of a record that contradicts what is known, with what it says.
fn conflict(position: &Position, said: serde_json::Value, fingerprint: [u8; 32]) -> NewRejection {
    NewRejection {
        position: position.clone(),
        field: "id".to_owned(),
        reason: Reason::Conflict,
        message: "a record with this identity is known with other content; the first one stands. Send a correction \
                  as a record of its own: with its own id, or, where ids are not sent, with another instant"
            .to_owned(),
        payload: said,
        fingerprint,
    }
}

/// From this batch on, the extended rows stand for the ones that said less; those stay for the clock `recorded`.
async fn extend(transaction: &mut Transaction, extensions: &[NewPrediction], batch_id: i64) -> Result<()> {
    if extensions.is_empty() {
        return Ok(());
    }
    copy_predictions(transaction, extensions, "copy extension from stdin").await?;
    let statements = [
        "update prediction p set until_batch = $1 from extension e
        where p.case_id = e.case_id and p.record_id = e.record_id and p.occurred_at = e.occurred_at and p.until_batch is null",
        "insert into prediction (case_id, record_id, version_id, occurred_at, subject_id, output_ids, scores, attributes,
            embedding, batch_id)
        select case_id, record_id, version_id, occurred_at, subject_id, output_ids, scores, attributes, embedding, $1
        from extension",
        "update record_key k set digest = e.digest, batch_id = $1 from extension e
        where k.case_id = e.case_id and k.kind = 1 and k.record_id = e.record_id",
        "insert into new_key select case_id, 1, record_id, version_id from extension where $1 > 0",
    ];
    for statement in statements {
        sqlx::query(statement).bind(batch_id).execute(&mut **transaction).await.named("extend_predictions")?;
    }
    Ok(())
}

/// Mark the buckets of new predictions, and of the predictions of the cases of new assertions.
async fn mark_dirty(transaction: &mut Transaction, batch_id: i64) -> Result<()> {
    sqlx::query(
        "insert into dirty_bucket (version_id, bucket, batch_id)
        select k.version_id, date_trunc(m.bucket, k.occurred_at, 'UTC'), $1
        from (select distinct case_id from new_key) n
            join record_key k on k.case_id = n.case_id and k.kind = 1
            join model_version v on v.version_id = k.version_id
            join model m on m.model_id = v.model_id
        group by 1, 2
        on conflict (version_id, bucket) do update set batch_id = excluded.batch_id",
    )
    .bind(batch_id)
    .execute(&mut **transaction)
    .await
    .named("mark_dirty")?;
    Ok(())
}

async fn insert_rejections(
    transaction: &mut Transaction,
    batch: &Batch,
    batch_id: i64,
    now: DateTime<Utc>,
) -> Result<Vec<String>> {
    let column = |read: &dyn Fn(&NewRejection) -> String| batch.rejections.iter().map(read).collect::<Vec<_>>();
    sqlx::query_scalar!(
        "insert into rejection
            (source, origin, line, item, field, reason, message, payload, batch_id, rejected_at, content_digest)
        select $1, $2, line, item, field, reason, message, payload::jsonb, $3, $4,
            sha256(convert_to(concat_ws(chr(31), field, reason, message), 'UTF8') || fingerprint)
        from unnest($5::bigint[], $6::integer[], $7::text[], $8::text[], $9::text[], $10::text[], $11::bytea[])
            as t (line, item, field, reason, message, payload, fingerprint)
        on conflict (source, origin, line, item, content_digest) do nothing returning reason",
        batch.source,
        batch.origin,
        batch_id,
        now,
        &batch.rejections.iter().map(|r| r.position.line).collect::<Vec<_>>(),
        &batch.rejections.iter().map(|r| r.position.item).collect::<Vec<_>>(),
        &column(&|r| r.field.clone()),
        &column(&|r| r.reason.as_str().to_owned()),
        &column(&|r| r.message.clone()),
        &column(&|r| r.payload.to_string()),
        &batch.rejections.iter().map(|r| r.fingerprint.to_vec()).collect::<Vec<_>>()
    )
    .fetch_all(&mut **transaction)
    .await
    .named("insert_rejections")
}

/// Count what became of the records, and the refused ones by reason.
async fn count_records(
    transaction: &mut Transaction,
    source: &str,
    committed: Committed,
    refused: &[String],
) -> Result<()> {
    let Committed { accepted, duplicates, rejected, .. } = committed;
    for (outcome, count) in [("accepted", accepted), ("duplicate", duplicates), ("rejected", rejected)] {
        super::status::count(transaction, ("record", source, outcome), count).await?;
    }
    let mut by_reason: BTreeMap<&str, u64> = BTreeMap::new();
    for reason in refused {
        *by_reason.entry(reason).or_default() += 1;
    }
    for (reason, count) in by_reason {
        super::status::count(transaction, ("rejection", source, reason), count).await?;
    }
    Ok(())
}

async fn insert_batch(
    transaction: &mut Transaction,
    batch: &Batch,
    committed: Committed,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into batch (batch_id, source, origin, committed_at, accepted, duplicates, rejected)
        values ($1, $2, $3, $4, $5, $6, $7)",
        committed.batch_id,
        batch.source,
        batch.origin,
        now,
        committed.accepted.cast_signed(),
        committed.duplicates.cast_signed(),
        committed.rejected.cast_signed()
    )
    .execute(&mut **transaction)
    .await
    .named("insert_batch")?;
    Ok(())
}

fn array(items: impl Iterator<Item = String>) -> String {
    format!("{{{}}}", items.collect::<Vec<_>>().join(","))
}

/// Rows in the text format of `COPY`.
#[derive(Default)]
struct CopyText {
    text: String,
    started: bool,
}

impl CopyText {
    fn separator(&mut self) {
        if self.started {
            self.text.push('\t');
        }
        self.started = true;
    }

    fn field(&mut self, value: &str) {
        self.separator();
        for c in value.chars() {
            match c {
                '\\' => self.text.push_str("\\\\"),
                '\t' => self.text.push_str("\\t"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                c => self.text.push(c),
            }
        }
    }

    fn optional(&mut self, value: Option<&str>) {
        if let Some(value) = value {
            self.field(value);
        } else {
            self.separator();
            self.text.push_str("\\N");
        }
    }

    fn end(&mut self) {
        self.text.push('\n');
        self.started = false;
    }

    /// Send the rows and start afresh.
    async fn send(&mut self, transaction: &mut Transaction, statement: &'static str) -> Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let mut copy = transaction.copy_in_raw(statement).await.named(statement)?;
        copy.send(std::mem::take(&mut self.text).into_bytes()).await.named(statement)?;
        copy.finish().await.named(statement)?;
        Ok(())
    }
}
