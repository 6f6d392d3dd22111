//! Taking in a batch: one transaction from validated records to a committed batch number.
//!
//! The batch counter's row is locked until the commit, so batch numbers ascend in commit order and every statement after it sees
//! all earlier batches: a prediction and its truth that arrive at the same moment cannot miss each other, and what is found
//! unknown then cannot become known before this batch is. So new records go straight to their tables: many by binary `COPY`, few by a
//! statement (`few`).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, SubsecRound, Timelike, Utc};

use super::batch::{
    ASSERTION, Batch, Committed, Fate, NewAssertion, NewPrediction, NewRejection, PREDICTION, Progress, Taken,
};
use super::copy::CopyBinary;
use super::few::{self, FEW};
use super::leaf::{Leaves, REJECTION, Relation, Salt};
use super::lease::Lease;
use super::link::Link;
use super::meet::{Met, fresh, meet, seems_new};
use super::tomb::Barred;
use super::weigh::{Weighed, salted, weigh_prediction};
use super::{Named, Result, Store, Transaction, attempt, identifier, link, tomb};
use crate::domain::window::month_of;
use crate::vault::Ring;

impl Store {
    /// Commit a batch. Records that contradict what is known become rejections. Who reads for a job holds its lease; what is
    /// sent here needs none.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost; then nothing of the batch is kept.
    pub async fn commit_batch(&self, lease: Option<&Lease>, mut batch: Batch, now: DateTime<Utc>) -> Result<Taken> {
        self.ensure_partitions(batch.predictions.iter().map(|new| new.prediction.occurred_at)).await?;
        let mut transaction = self.begin().await?;
        if let Some(lease) = lease {
            super::lease::check(&mut transaction, lease).await?;
        }
        let mut sealed = identifier::seal(&mut transaction, self.ring.as_ref(), &batch).await?;
        // Before the batch counter is locked: others need not wait for it.
        let weighed = Weighed::of(&batch);
        let mut leaves = Leaves::default();
        let link = link::next(&mut transaction).await?;
        let batch_id = link.batch_id;
        let barred = tomb::bar(&mut transaction, &self.tombs, &batch, &link).await?;
        let mut met = meet_and_insert_keys(&mut transaction, &batch, &barred, batch_id).await?;
        weighed.add_fresh(&batch, &met, &mut leaves);
        let new = salted(&batch.predictions, &weighed.predictions, &met.predictions);
        insert_predictions(&mut transaction, new.collect(), batch_id).await?;
        let new = salted(&batch.assertions, &weighed.assertions, &met.assertions);
        insert_assertions(&mut transaction, new.collect(), batch_id).await?;
        extend(&mut transaction, &met.extensions, batch_id, &mut leaves).await?;
        mark_dirty(&mut transaction, &batch, &met, &link).await?;
        sealed.forget(&barred.persons(&batch));
        identifier::insert(&mut transaction, &sealed, batch_id, (&mut leaves, now)).await?;
        super::contract::count(&mut transaction, &batch, &met.predictions, now).await?;
        let fates = || met.predictions.iter().chain(&met.assertions);
        let count = |wanted: Fate| fates().filter(|fate| **fate == wanted).count() as u64;
        let accepted = count(Fate::New) + count(Fate::Extends);
        let duplicates = count(Fate::Known) + batch.duplicates;
        batch.rejections.extend(std::mem::take(&mut met.conflicts));
        let refused = match &batch.progress {
            // They have their places already, and what still speaks against them stands there.
            Progress::Replayed(replayed) => {
                super::rejection::settle(&mut transaction, &batch, replayed, batch_id, now).await?;
                Vec::new()
            }
            _ => insert_rejections(&mut transaction, self.ring.as_ref(), &batch, batch_id, (&mut leaves, now)).await?,
        };
        match &batch.progress {
            Progress::Sent | Progress::Replayed(_) => {}
            Progress::File(file) => super::file::store_progress(&mut transaction, &batch.source, file, now).await?,
            Progress::Events(ids) => super::event::forget(&mut transaction, &batch.source, ids).await?,
            Progress::Cursor(cursor) => super::cursor::store(&mut transaction, &batch.source, cursor, now).await?,
        }
        let committed = Committed { batch_id, accepted, duplicates, rejected: refused.len() as u64 };
        link.close(&mut transaction, (&batch.source, &batch.origin), committed, &leaves.weigh(), now).await?;
        count_records(&mut transaction, &batch.source, committed, &refused).await?;
        super::status::count(&mut transaction, ("record", &batch.source, "ignored"), batch.ignored).await?;
        match lease {
            Some(lease) => super::lease::commit(transaction, lease, "commit_batch").await?,
            None => transaction.commit().await.named("commit_batch")?,
        }
        Ok(Taken { committed, predictions: met.predictions, assertions: met.assertions })
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
            // The owner's function: whoever writes rows need not own tables.
            sqlx::query("select make_prediction_partition($1)")
                .bind(month.from)
                .execute(&mut *transaction)
                .await
                .named("create_partition")?;
            transaction.commit().await.named("create_partition")?;
        }
        Ok(())
    }
}

/// Compare a batch with what is known, and write the identities of what is new: at once if all seems to be, and it is.
async fn meet_and_insert_keys(
    transaction: &mut Transaction,
    batch: &Batch,
    barred: &Barred,
    batch_id: i64,
) -> Result<Met> {
    if seems_new(transaction, batch).await? {
        let met = Met::all_new(batch, barred);
        attempt::begin(transaction).await?;
        let written = insert_keys(transaction, batch, &met, batch_id).await;
        if attempt::end(transaction, written).await? {
            return Ok(met);
        }
    }
    let met = meet(transaction, batch, barred).await?;
    insert_keys(transaction, batch, &met, batch_id).await?;
    Ok(met)
}

/// Write the identities of the records that are new.
async fn insert_keys(transaction: &mut Transaction, batch: &Batch, met: &Met, batch_id: i64) -> Result<()> {
    let predictions: Vec<&NewPrediction> = fresh(&batch.predictions, &met.predictions).collect();
    let assertions: Vec<_> = fresh(&batch.assertions, &met.assertions).collect();
    match predictions.len() + assertions.len() {
        0 => return Ok(()),
        1..=FEW => return few::insert_keys(transaction, &predictions, &assertions, batch_id).await,
        _ => {}
    }
    let statement = "copy record_key (case_id, kind, record_id, digest, occurred_at, version_id, batch_id)
        from stdin (format binary)";
    let mut copy = CopyBinary::begin(transaction, statement).await?;
    for new in predictions {
        copy.row(7, |row| {
            row.text(&new.prediction.case_id);
            row.int2(PREDICTION);
            row.text(&new.record_id);
            row.bytes(&new.digest);
            row.instant(new.prediction.occurred_at);
            row.int4(new.version_id);
            row.int8(batch_id);
        })
        .await?;
    }
    for new in assertions {
        copy.row(7, |row| {
            row.text(&new.assertion.case_id);
            row.int2(ASSERTION);
            row.text(&new.record_id);
            row.bytes(&new.digest);
            row.instant(new.assertion.observed_at);
            row.null();
            row.int8(batch_id);
        })
        .await?;
    }
    copy.finish().await?;
    Ok(())
}

async fn insert_predictions(
    transaction: &mut Transaction,
    predictions: Vec<(&NewPrediction, Salt)>,
    batch_id: i64,
) -> Result<()> {
    match predictions.len() {
        0 => return Ok(()),
        1..=FEW => return few::insert_predictions(transaction, &predictions, batch_id).await,
        _ => {}
    }
    let statement = "copy prediction (case_id, record_id, version_id, occurred_at, subject_id, output_ids, scores,
        attributes, embedding, batch_id, salt) from stdin (format binary)";
    let mut copy = CopyBinary::begin(transaction, statement).await?;
    for (new, salt) in predictions {
        let p = &new.prediction;
        copy.row(11, |row| {
            row.text(&p.case_id);
            row.text(&new.record_id);
            row.int4(new.version_id);
            row.instant(p.occurred_at);
            row.optional_text(p.subject_id.as_deref());
            row.int4s(p.scores.iter().map(|(output, _)| *output));
            row.float8s(p.scores.iter().map(|(_, score)| *score));
            // unwrap safety: a map of texts always serialises, and memory takes what it is given.
            row.json(|out| serde_json::to_writer(out, &p.attributes).unwrap_or_default());
            match &p.embedding {
                Some(numbers) => row.float4s(numbers.iter().copied()),
                None => row.null(),
            }
            row.int8(batch_id);
            row.bytes(&salt);
        })
        .await?;
    }
    copy.finish().await?;
    Ok(())
}

async fn insert_assertions(
    transaction: &mut Transaction,
    assertions: Vec<(&NewAssertion, Salt)>,
    batch_id: i64,
) -> Result<()> {
    match assertions.len() {
        0 => return Ok(()),
        1..=FEW => return few::insert_assertions(transaction, &assertions, batch_id).await,
        _ => {}
    }
    let statement =
        "copy assertion (case_id, record_id, truth_id, opinion, source, reader, status, observed_at, batch_id, salt)
        from stdin (format binary)";
    let mut copy = CopyBinary::begin(transaction, statement).await?;
    for (new, salt) in assertions {
        let a = &new.assertion;
        copy.row(10, |row| {
            row.text(&a.case_id);
            row.text(&new.record_id);
            row.int4(a.truth_id);
            row.text(&a.opinion.to_word());
            row.text(&a.source);
            row.text(&a.reader);
            row.text(a.status.as_str());
            row.instant(a.observed_at);
            row.int8(batch_id);
            row.bytes(&salt);
        })
        .await?;
    }
    copy.finish().await?;
    Ok(())
}

/// From this batch on, the extended rows stand for the ones that said less; those stay for the clock `recorded`.
async fn extend(
    transaction: &mut Transaction,
    extensions: &[NewPrediction],
    batch_id: i64,
    leaves: &mut Leaves,
) -> Result<()> {
    if extensions.is_empty() {
        return Ok(());
    }
    let column = |read: &dyn Fn(&NewPrediction) -> String| extensions.iter().map(read).collect::<Vec<_>>();
    let cases = column(&|new| new.prediction.case_id.clone());
    let records = column(&|new| new.record_id.clone());
    sqlx::query(
        "update prediction p set until_batch = $1
        from unnest($2::text[], $3::text[], $4::timestamptz[]) as e (case_id, record_id, occurred_at)
        where p.case_id = e.case_id and p.record_id = e.record_id and p.occurred_at = e.occurred_at and p.until_batch is null",
    )
    .bind(batch_id)
    .bind(&cases)
    .bind(&records)
    .bind(extensions.iter().map(|new| new.prediction.occurred_at).collect::<Vec<_>>())
    .execute(&mut **transaction)
    .await
    .named("supersede_predictions")?;
    let weighed = extensions.iter().map(|new| {
        let (salt, leaf) = weigh_prediction(new);
        leaves.add(Relation::Prediction, new.prediction.occurred_at, leaf);
        (new, salt)
    });
    insert_predictions(transaction, weighed.collect(), batch_id).await?;
    sqlx::query(
        "update record_key k set digest = e.digest, batch_id = $1
        from unnest($2::text[], $3::text[], $4::bytea[]) as e (case_id, record_id, digest)
        where k.case_id = e.case_id and k.kind = 1 and k.record_id = e.record_id",
    )
    .bind(batch_id)
    .bind(&cases)
    .bind(&records)
    .bind(extensions.iter().map(|new| new.digest.to_vec()).collect::<Vec<_>>())
    .execute(&mut **transaction)
    .await
    .named("extend_keys")?;
    Ok(())
}

/// Mark the buckets of new predictions, and of the predictions of the cases of new assertions, but those that are frozen.
async fn mark_dirty(transaction: &mut Transaction, batch: &Batch, met: &Met, link: &Link) -> Result<()> {
    let new = fresh(&batch.predictions, &met.predictions).chain(&met.extensions);
    // Every bucket is made of whole hours.
    let hour = |at: DateTime<Utc>| at.trunc_subsecs(0).with_minute(0).and_then(|at| at.with_second(0)).unwrap_or(at);
    let hours: BTreeSet<_> = new.map(|new| (new.version_id, hour(new.prediction.occurred_at))).collect();
    let (versions, hours): (Vec<i32>, Vec<DateTime<Utc>>) = hours.into_iter().unzip();
    let judged: HashSet<&str> =
        fresh(&batch.assertions, &met.assertions).map(|new| new.assertion.case_id.as_str()).collect();
    let judged: Vec<&str> = judged.into_iter().collect();
    sqlx::query(
        "insert into dirty_bucket (version_id, bucket, since_batch, batch_id)
        select t.version_id, date_trunc(m.bucket, t.at, 'UTC'), $1, $1
        from (select * from unnest($2::integer[], $3::timestamptz[]) as of_predictions (version_id, at)
            union all
            select k.version_id, k.occurred_at from unnest($4::text[]) as judged (case_id)
                join record_key k on k.case_id = judged.case_id and k.kind = 1) t
            join model_version v on v.version_id = t.version_id
            join model m on m.model_id = v.model_id
        where $5::timestamptz is null or t.at >= $5
        group by 1, 2
        on conflict (version_id, bucket) do update set batch_id = excluded.batch_id",
    )
    .bind(link.batch_id)
    .bind(versions)
    .bind(hours)
    .bind(judged)
    .bind(link.frozen_before)
    .execute(&mut **transaction)
    .await
    .named("mark_dirty")?;
    Ok(())
}

async fn insert_rejections(
    transaction: &mut Transaction,
    ring: Option<&Ring>,
    batch: &Batch,
    batch_id: i64,
    (leaves, now): (&mut Leaves, DateTime<Utc>),
) -> Result<Vec<String>> {
    if batch.rejections.is_empty() {
        return Ok(Vec::new());
    }
    let column = |read: &dyn Fn(&NewRejection) -> String| batch.rejections.iter().map(read).collect::<Vec<_>>();
    // A constant of ours: nothing of the sender's enters the statement.
    let statement = format!(
        "insert into rejection (source, origin, line, item, field, reason, message, payload, batch_id, rejected_at,
            content_digest, key_id, record, salt)
        select $1, $2, line, item, field, reason, message, payload::jsonb, $3, $4,
            sha256(convert_to(concat_ws(chr(31), field, reason, message), 'UTF8') || fingerprint),
            case when record is not null then $12 end, record, salt
        from unnest($5::bigint[], $6::integer[], $7::text[], $8::text[], $9::text[], $10::text[], $11::bytea[], $13::bytea[],
            $14::bytea[]) as t (line, item, field, reason, message, payload, fingerprint, record, salt)
        on conflict (source, origin, line, item, content_digest) do nothing returning reason, {REJECTION}"
    );
    let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(&batch.source)
        .bind(&batch.origin)
        .bind(batch_id)
        .bind(now)
        .bind(batch.rejections.iter().map(|r| r.position.line).collect::<Vec<_>>())
        .bind(batch.rejections.iter().map(|r| r.position.item).collect::<Vec<_>>())
        .bind(column(&|r| r.field.clone()))
        .bind(column(&|r| r.reason.as_str().to_owned()))
        .bind(column(&|r| r.message.clone()))
        .bind(column(&|r| r.payload.to_string()))
        .bind(batch.rejections.iter().map(|r| r.fingerprint.to_vec()).collect::<Vec<_>>())
        .bind(ring.map(Ring::newest))
        .bind(super::rejection::seal(ring, batch))
        .bind(batch.rejections.iter().map(|_| rand::random::<Salt>().to_vec()).collect::<Vec<_>>())
        .fetch_all(&mut **transaction)
        .await
        .named("insert_rejections")?;
    let mut reasons = Vec::with_capacity(rows.len());
    for (reason, leaf) in rows {
        leaves.add(Relation::Rejection, now, link::hash("rejection", "leaf", String::new, &leaf)?);
        reasons.push(reason);
    }
    Ok(reasons)
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
