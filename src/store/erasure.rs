//! Erasure of a person or a case: what is kept of them goes, and proofs stay that say nothing about anybody.
//!
//! One transaction, which is a batch of its own: from its number on the rows are gone, and every earlier batch still adds up, for the
//! leaves of the rows are left. Buckets that had a case of theirs are folded again without it. What was published stays: it is about
//! many.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::batch::Committed;
use super::identifier::IdKind;

use super::leaf::{Part, Parts, Relation, Weight};
use super::{Named, Result, Store, Transaction, audit, link, proof, seal};
use crate::chain::{Hash, hex};

/// What is to go.
#[derive(Clone, Debug)]
pub struct Doomed {
    /// Whether a case or a subject is to be erased.
    pub kind: IdKind,
    /// Its pseudonym.
    pub pseudonym: String,
    /// Its cases.
    pub cases: Vec<String>,
    /// Refused records about them, by number.
    pub rejections: Vec<i64>,
    /// Events of inference servers about them: `(source, event)`.
    pub events: Vec<(String, String)>,
}

/// What went.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Erased {
    /// Number of the erasure.
    pub erasure: i64,
    /// The batch that it was.
    pub batch: i64,
    /// Rows by table.
    pub counts: BTreeMap<&'static str, u64>,
    /// Leaves that are left.
    pub leaves: u64,
}

impl Doomed {
    /// The pseudonyms whose identifiers go.
    fn identifiers(&self) -> (Vec<&str>, Vec<i16>) {
        let cases = self.cases.iter().map(|case| (case.as_str(), 1));
        let own = (self.kind == IdKind::Subject).then_some((self.pseudonym.as_str(), 2));
        cases.chain(own).unzip()
    }
}

impl Store {
    /// The cases of a subject.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn cases_of(&self, subject: &str) -> Result<Vec<String>> {
        sqlx::query_scalar("select distinct case_id from prediction where subject_id = $1 order by case_id")
            .bind(subject)
            .fetch_all(&self.pool)
            .await
            .named("cases_of")
    }

    /// Events of inference servers that wait, in order, behind one.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_waiting_events(&self, after: (&str, &str, &str), limit: i64) -> Result<Vec<[String; 4]>> {
        let rows: Vec<(String, String, String, String)> = sqlx::query_as(
            "select source, event_id, half, body from inference_event where (source, event_id, half) > ($1, $2, $3)
            order by source, event_id, half limit $4",
        )
        .bind(after.0)
        .bind(after.1)
        .bind(after.2)
        .bind(limit)
        .fetch_all(&self.pool)
        .await
        .named("list_waiting_events")?;
        Ok(rows.into_iter().map(|(source, id, half, body)| [source, id, half, body]).collect())
    }

    /// How many rows of each table would go.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn count_doomed(&self, doomed: &Doomed) -> Result<BTreeMap<&'static str, u64>> {
        let (pseudonyms, kinds) = doomed.identifiers();
        let counts: (i64, i64, i64, i64) = sqlx::query_as(
            "select (select count(*) from prediction where case_id = any($1)),
                (select count(*) from assertion where case_id = any($1)),
                (select count(*) from record_key where case_id = any($1)),
                (select count(*) from identifier
                    where (pseudonym, kind) in (select * from unnest($2::text[], $3::smallint[])))",
        )
        .bind(&doomed.cases)
        .bind(pseudonyms)
        .bind(kinds)
        .fetch_one(&self.pool)
        .await
        .named("count_doomed")?;
        let (predictions, assertions, keys, identifiers) = counts;
        Ok(BTreeMap::from([
            ("prediction", predictions.cast_unsigned()),
            ("assertion", assertions.cast_unsigned()),
            ("record_key", keys.cast_unsigned()),
            ("identifier", identifiers.cast_unsigned()),
            ("rejection", doomed.rejections.len() as u64),
            ("inference_event", doomed.events.len() as u64),
        ]))
    }

    /// Erase, in a person's name.
    ///
    /// # Errors
    /// When Postgres fails; then nothing is erased.
    pub async fn erase(&self, mut doomed: Doomed, (by, reason): (&str, &str), now: DateTime<Utc>) -> Result<Erased> {
        let mut transaction = self.begin_removing().await?;
        // Nobody takes rows in meanwhile.
        let link = link::next(&mut transaction).await?;
        if doomed.kind == IdKind::Subject {
            let cases: Vec<String> =
                sqlx::query_scalar("select distinct case_id from prediction where subject_id = $1")
                    .bind(&doomed.pseudonym)
                    .fetch_all(&mut *transaction)
                    .await
                    .named("cases_of")?;
            let all: BTreeSet<String> = doomed.cases.drain(..).chain(cases).collect();
            doomed.cases = all.into_iter().collect();
        }
        let seal = seal::open(&mut transaction).await?;
        let leaves = self.leaves_of(&mut transaction, &doomed).await?;
        mark(&mut transaction, &doomed, link.batch_id, link.frozen_before).await?;
        let counts = remove(&mut transaction, &doomed).await?;
        let weight = Weight::of(leaves.iter().map(|(.., leaf)| *leaf).collect());
        let tomb = self.tombs.tomb(doomed.kind, &doomed.pseudonym);
        let counted = serde_json::to_string(&counts).unwrap_or_default();
        let erasure: i64 = sqlx::query_scalar(
            "insert into erasure (batch_id, tomb, erased_at, counts, leaves, leaves_digest)
            values ($1, $2, $3, $4::text::json, $5, $6) returning erasure_id",
        )
        .bind(link.batch_id)
        .bind(tomb.as_slice())
        .bind(now)
        .bind(counted)
        .bind(weight.rows.cast_signed())
        .bind(weight.digest.as_slice())
        .fetch_one(&mut *transaction)
        .await
        .named("insert_erasure")?;
        keep_leaves(&mut transaction, &leaves, erasure).await?;
        self.entomb(&mut transaction, &doomed, erasure, now).await?;
        for (table, rows) in &counts {
            super::status::count(&mut transaction, ("erased", table, "row"), *rows).await?;
        }
        let origin = format!("erasure {erasure}");
        let nothing = Committed { batch_id: link.batch_id, ..Committed::default() };
        link.close(&mut transaction, ("dosimeter", &origin), nothing, &Parts::new(), now).await?;
        seal::close(&mut transaction, seal, &["erasure", "erased_leaf", "erased_bucket"]).await?;
        let batches: BTreeSet<i64> = leaves.iter().map(|(batch, ..)| *batch).collect();
        let detail = json!({ "erasure": erasure, "batch": link.batch_id, "tomb": hex(&tomb), "rows": counts, "batches": batches,
            "leaves": weight.rows, "leaves_digest": hex(&weight.digest) });
        audit::append(&mut transaction, now, by, "erased", &origin, reason, detail).await?;
        transaction.commit().await.named("erase")?;
        Ok(Erased { erasure, batch: link.batch_id, counts, leaves: weight.rows })
    }

    /// The leaves of all rows that are to go. A row that has none has been changed: its batch does not add up, before and after.
    async fn leaves_of(&self, transaction: &mut Transaction, doomed: &Doomed) -> Result<Vec<(i64, Part, Hash)>> {
        let (pseudonyms, kinds) = doomed.identifiers();
        let mut leaves = Vec::new();
        for relation in Relation::ALL {
            let condition = match relation {
                Relation::Prediction | Relation::Assertion => "t.case_id = any($1)",
                Relation::Rejection => "t.rejection_id = any($1)",
                Relation::Identifier => "(t.pseudonym, t.kind) in (select * from unnest($1::text[], $2::smallint[]))",
            };
            // Constants of ours: nothing of anybody's enters the statement.
            let statement = proof::statement(relation, condition);
            let query = sqlx::query(sqlx::AssertSqlSafe(statement));
            let query = match relation {
                Relation::Prediction | Relation::Assertion => query.bind(&doomed.cases),
                Relation::Rejection => query.bind(&doomed.rejections),
                Relation::Identifier => query.bind(&pseudonyms).bind(&kinds),
            };
            for row in query.fetch_all(&mut **transaction).await.named("leaves_of")? {
                let stored = proof::stored(relation, &row, None).named("leaves_of")?;
                leaves.extend(stored.leaf.ok().map(|leaf| (stored.batch_id, stored.part, leaf)));
            }
        }
        Ok(leaves)
    }

    /// Remember whom nothing brings back.
    async fn entomb(
        &self,
        transaction: &mut Transaction,
        doomed: &Doomed,
        erasure: i64,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let cases = doomed.cases.iter().map(|case| self.tombs.tomb(IdKind::Case, case));
        let own = self.tombs.tomb(doomed.kind, &doomed.pseudonym);
        let tombs: BTreeSet<[u8; 16]> = cases.chain([own]).collect();
        sqlx::query(
            "insert into gone_case (tomb, erasure_id, gone_at) select tomb, $2, $3 from unnest($1::bytea[]) as tomb
            on conflict (tomb) do update set erasure_id = excluded.erasure_id, gone_at = excluded.gone_at",
        )
        .bind(tombs.iter().map(|tomb| tomb.to_vec()).collect::<Vec<_>>())
        .bind(erasure)
        .bind(now)
        .execute(&mut **transaction)
        .await
        .named("entomb")?;
        sqlx::query("update batch_counter set gone = true").execute(&mut **transaction).await.named("remember_gone")?;
        Ok(())
    }

    /// Whether somebody has been erased by this name before.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn is_erased(&self, kind: IdKind, pseudonym: &str) -> Result<bool> {
        sqlx::query_scalar("select exists (select from gone_case where tomb = $1 and erasure_id is not null)")
            .bind(self.tombs.tomb(kind, pseudonym).as_slice())
            .fetch_one(&self.pool)
            .await
            .named("is_erased")
    }

    /// The last erasure, as a batch, that took a case from a bucket of a window of one version.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn last_erasure(&self, version_id: i32, window: crate::domain::Window) -> Result<Option<i64>> {
        sqlx::query_scalar(
            "select max(b.batch_id) from erased_bucket b join model_version v using (version_id) join model m using (model_id)
            where b.version_id = $1 and b.bucket < $3
                and b.bucket + case m.bucket when 'hour' then interval '1 hour' else interval '1 day' end > $2",
        )
        .bind(version_id)
        .bind(window.from)
        .bind(window.to)
        .fetch_one(&self.pool)
        .await
        .named("last_erasure")
    }
}

/// Mark the buckets that lose a case, and remember that what was recorded of them before cannot be folded again.
async fn mark(
    transaction: &mut Transaction,
    doomed: &Doomed,
    batch_id: i64,
    frozen_before: Option<DateTime<Utc>>,
) -> Result<()> {
    sqlx::query(
        "with lost as (
            insert into erased_bucket (version_id, bucket, batch_id)
            select distinct k.version_id, date_trunc(m.bucket, k.occurred_at, 'UTC'), $2::bigint
            from record_key k join model_version v using (version_id) join model m using (model_id)
            where k.case_id = any($1) and k.kind = 1 returning version_id, bucket)
        insert into dirty_bucket (version_id, bucket, since_batch, batch_id)
        select version_id, bucket, $2, $2 from lost where $3::timestamptz is null or bucket >= $3
        on conflict (version_id, bucket) do update set batch_id = excluded.batch_id",
    )
    .bind(&doomed.cases)
    .bind(batch_id)
    .bind(frozen_before)
    .execute(&mut **transaction)
    .await
    .named("mark_erased")?;
    Ok(())
}

async fn remove(transaction: &mut Transaction, doomed: &Doomed) -> Result<BTreeMap<&'static str, u64>> {
    let (pseudonyms, kinds) = doomed.identifiers();
    let (sources, events): (Vec<&str>, Vec<&str>) =
        doomed.events.iter().map(|(source, event)| (source.as_str(), event.as_str())).unzip();
    let own = [
        ("prediction", sqlx::query("delete from prediction where case_id = any($1)").bind(&doomed.cases)),
        ("assertion", sqlx::query("delete from assertion where case_id = any($1)").bind(&doomed.cases)),
        ("record_key", sqlx::query("delete from record_key where case_id = any($1)").bind(&doomed.cases)),
        ("rejection", sqlx::query("delete from rejection where rejection_id = any($1)").bind(&doomed.rejections)),
        (
            "identifier",
            sqlx::query(
                "delete from identifier where (pseudonym, kind) in (select * from unnest($1::text[], $2::smallint[]))",
            )
            .bind(&pseudonyms)
            .bind(&kinds),
        ),
        (
            "inference_event",
            sqlx::query(
                "delete from inference_event where (source, event_id) in (select * from unnest($1::text[], $2::text[]))",
            )
            .bind(&sources)
            .bind(&events),
        ),
    ];
    let mut counts = BTreeMap::new();
    for (table, query) in own {
        counts.insert(table, query.execute(&mut **transaction).await.named("erase_rows")?.rows_affected());
    }
    Ok(counts)
}

async fn keep_leaves(transaction: &mut Transaction, leaves: &[(i64, Part, Hash)], erasure: i64) -> Result<()> {
    sqlx::query(
        "insert into erased_leaf (batch_id, relation, month, leaf, erasure_id)
        select batch_id, relation, month, leaf, $5
        from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::bytea[]) as t (batch_id, relation, month, leaf)",
    )
    .bind(leaves.iter().map(|(batch, ..)| *batch).collect::<Vec<_>>())
    .bind(leaves.iter().map(|(_, (relation, _), _)| relation.as_str()).collect::<Vec<_>>())
    .bind(leaves.iter().map(|(_, (_, month), _)| *month).collect::<Vec<_>>())
    .bind(leaves.iter().map(|(.., leaf)| leaf.to_vec()).collect::<Vec<_>>())
    .bind(erasure)
    .execute(&mut **transaction)
    .await
    .named("keep_leaves")?;
    Ok(())
}
