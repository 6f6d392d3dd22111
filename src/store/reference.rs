//! References: frozen, then approved by a person.

use std::sync::{Arc, PoisonError};

use chrono::{DateTime, Utc};

use super::{Error, Named, Result, Store};
use crate::config::Shape;
use crate::domain::{Slice, Window};
use crate::stats::projector::{Frozen, Projector};
use crate::summary::codec;
use crate::summary::fold::Parts;

/// A reference and its history.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// Its number.
    pub reference_id: i32,
    /// The model.
    pub model: String,
    /// The version it is for.
    pub version: String,
    /// First instant of its rows, when frozen here.
    pub window_from: Option<DateTime<Utc>>,
    /// First instant after them.
    pub window_to: Option<DateTime<Utc>>,
    /// Where it comes from.
    pub origin: String,
    /// When it was made.
    pub frozen_at: DateTime<Utc>,
    /// By whom.
    pub frozen_by: String,
    /// Why.
    pub reason: String,
    /// When it was approved.
    pub approved_at: Option<DateTime<Utc>>,
    /// By whom.
    pub approved_by: Option<String>,
}

/// What windows are compared with.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// The reference.
    pub reference_id: i32,
    /// What its rows were folded into.
    pub shape: Shape,
    /// Its summaries.
    pub parts: Parts,
    /// What was frozen of its embeddings.
    pub projector: Option<Arc<Projector>>,
}

/// A reference to be stored.
#[derive(Clone, Debug)]
pub struct NewReference {
    /// The version it is for.
    pub version_id: i32,
    /// The window it was frozen from.
    pub window: Option<Window>,
    /// Truth up to this instant.
    pub known_at: Option<DateTime<Utc>>,
    /// Batches up to this one.
    pub recorded: Option<i64>,
    /// Where it comes from.
    pub origin: String,
    /// What its rows were folded into.
    pub shape: Shape,
    /// What was frozen of its embeddings.
    pub projector: Option<Frozen>,
    /// Who made it.
    pub person: String,
    /// Why.
    pub reason: String,
}

impl Store {
    /// Store a reference, not yet approved. Audited.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn insert_reference(&self, new: &NewReference, parts: &Parts, now: DateTime<Utc>) -> Result<i32> {
        let mut transaction = self.begin().await?;
        let seal = super::seal::open(&mut transaction).await?;
        let reference_id = sqlx::query_scalar!(
            "insert into reference (version_id, window_from, window_to, known_at, recorded, origin, shape,
                frozen_at, frozen_by, reason, projector)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) returning reference_id",
            new.version_id,
            new.window.map(|window| window.from),
            new.window.map(|window| window.to),
            new.known_at,
            new.recorded,
            new.origin,
            // unwrap safety: texts and numbers in maps with text keys.
            serde_json::to_value(&new.shape).unwrap_or_default(),
            now,
            new.person,
            new.reason,
            // unwrap safety: lists of numbers.
            new.projector.as_ref().map(|frozen| serde_json::to_value(frozen).unwrap_or_default())
        )
        .fetch_one(&mut *transaction)
        .await
        .named("insert_reference")?;
        sqlx::query!(
            "insert into reference_summary (reference_id, output_id, slice, body)
            select $1, output_id, slice, body from unnest($2::integer[], $3::text[], $4::bytea[]) as t (output_id, slice, body)",
            reference_id,
            &parts.keys().map(|(output_id, _)| *output_id).collect::<Vec<_>>(),
            &parts.keys().map(|(_, slice)| slice.to_string()).collect::<Vec<_>>(),
            &parts.values().map(codec::encode).collect::<Vec<_>>()
        )
        .execute(&mut *transaction)
        .await
        .named("insert_reference_summaries")?;
        super::seal::close(&mut transaction, seal, &["reference", "reference_summary"]).await?;
        let detail = serde_json::json!({ "origin": new.origin, "version_id": new.version_id });
        let subject = format!("reference {reference_id}");
        super::audit::append(&mut transaction, now, &new.person, "reference frozen", &subject, &new.reason, detail)
            .await?;
        transaction.commit().await.named("insert_reference")?;
        Ok(reference_id)
    }

    /// Approve a reference: from now on it is the one in force for its version. Audited.
    ///
    /// # Errors
    /// When there is no such reference, it is approved already, or Postgres fails.
    pub async fn approve_reference(
        &self,
        reference_id: i32,
        person: &str,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        let changed = sqlx::query!(
            "update reference set approved_at = $2, approved_by = $3, approval_reason = $4
            where reference_id = $1 and approved_at is null",
            reference_id,
            now,
            person,
            reason
        )
        .execute(&mut *transaction)
        .await
        .named("approve_reference")?;
        if changed.rows_affected() == 0 {
            return Err(Error::Refused(format!(
                "reference {reference_id} does not exist or is approved already; see `dosimeter reference list`"
            )));
        }
        see_embeddings_anew(&mut transaction, reference_id).await?;
        let subject = format!("reference {reference_id}");
        let detail = serde_json::json!({});
        super::audit::append(&mut transaction, now, person, "reference approved", &subject, reason, detail).await?;
        transaction.commit().await.named("approve_reference")
    }

    /// All references, latest first.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_references(&self) -> Result<Vec<Reference>> {
        sqlx::query_as!(
            Reference,
            "select reference_id, model.name as model, model_version.name as version, window_from, window_to, origin,
                frozen_at, frozen_by, reason, approved_at, approved_by
            from reference join model_version using (version_id) join model using (model_id)
            order by reference_id desc"
        )
        .fetch_all(&self.pool)
        .await
        .named("list_references")
    }

    /// The reference of a version that is in force with the window it was frozen from, if it was frozen here.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn reference_window(&self, version_id: i32) -> Result<Option<(i32, Option<Window>)>> {
        let row = sqlx::query!(
            "select reference_id, window_from, window_to from reference where version_id = $1 and approved_at is not null
            order by approved_at desc, reference_id desc limit 1",
            version_id
        )
        .fetch_optional(&self.pool)
        .await
        .named("reference_window")?;
        let window = |from: Option<_>, to: Option<_>| from.zip(to).map(|(from, to)| Window { from, to });
        Ok(row.map(|row| (row.reference_id, window(row.window_from, row.window_to))))
    }

    /// The reference in force for a version: the one approved last.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn find_reference(&self, version_id: i32) -> Result<Option<i32>> {
        in_force(&self.pool, version_id).await
    }

    /// A reference's shape and summaries. They never change, so they are kept in memory.
    ///
    /// # Errors
    /// When Postgres fails or a summary cannot be decoded.
    pub async fn load_reference(&self, reference_id: i32) -> Result<Arc<Baseline>> {
        let remembered = self.references.lock().unwrap_or_else(PoisonError::into_inner).get(&reference_id).cloned();
        if let Some(parts) = remembered {
            return Ok(parts);
        }
        let own = sqlx::query!("select shape, projector from reference where reference_id = $1", reference_id)
            .fetch_optional(&self.pool)
            .await
            .named("load_reference_shape")?;
        let own = own.ok_or_else(|| {
            Error::Missing(format!("there is no reference {reference_id}; see `dosimeter reference list`"))
        })?;
        let corrupt = |column| {
            move |source: serde_json::Error| Error::Corrupt {
                table: "reference",
                column,
                row: format!("reference {reference_id}"),
                source: source.into(),
            }
        };
        let shape = serde_json::from_value(own.shape).map_err(corrupt("shape"))?;
        let frozen = own.projector.map(serde_json::from_value).transpose().map_err(corrupt("projector"))?;
        let projector = frozen.map(|frozen| Arc::new(Projector::of(frozen)));
        let rows =
            sqlx::query!("select output_id, slice, body from reference_summary where reference_id = $1", reference_id)
                .fetch_all(&self.pool)
                .await
                .named("load_reference")?;
        let mut parts = Parts::new();
        for row in rows {
            let corrupt = |column, source: Box<dyn std::error::Error + Send + Sync>| Error::Corrupt {
                table: "reference_summary",
                column,
                row: format!("reference {reference_id}, output {}, {}", row.output_id, row.slice),
                source,
            };
            let slice: Slice = row.slice.parse().map_err(|message: String| corrupt("slice", message.into()))?;
            let summary = codec::decode(&row.body).map_err(|error| corrupt("body", error.into()))?;
            parts.insert((row.output_id, slice), summary);
        }
        let parts = Arc::new(Baseline { reference_id, shape, parts, projector });
        self.references.lock().unwrap_or_else(PoisonError::into_inner).insert(reference_id, parts.clone());
        Ok(parts)
    }
}

/// The reference in force for a version: the one approved last.
pub(super) async fn in_force<'e>(executor: impl sqlx::PgExecutor<'e>, version_id: i32) -> Result<Option<i32>> {
    sqlx::query_scalar!(
        "select reference_id from reference where version_id = $1 and approved_at is not null
        order by approved_at desc, reference_id desc limit 1",
        version_id
    )
    .fetch_optional(executor)
    .await
    .named("find_reference")
}

/// Embeddings are seen through the reference in force: where it froze some, or the one before did, every bucket is folded
/// again. The model's row is locked, so that no fold commits what it saw through another reference.
async fn see_embeddings_anew(transaction: &mut super::Transaction, reference_id: i32) -> Result<()> {
    sqlx::query!(
        "select model_id from model where model_id = (select model_id from model_version
            where version_id = (select version_id from reference where reference_id = $1)) for update",
        reference_id
    )
    .fetch_one(&mut **transaction)
    .await
    .named("lock_model")?;
    sqlx::query!(
        "insert into dirty_bucket (version_id, bucket, since_batch, batch_id)
        select s.version_id, s.bucket, 0, max(s.batch_id) from summary s
        where s.version_id = (select version_id from reference where reference_id = $1)
            and exists (select from reference r where r.version_id = s.version_id and r.projector is not null)
        group by s.version_id, s.bucket
        on conflict (version_id, bucket) do update set since_batch = 0",
        reference_id
    )
    .execute(&mut **transaction)
    .await
    .named("see_embeddings_anew")?;
    Ok(())
}
