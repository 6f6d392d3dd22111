//! Models, versions, outputs, findings and plans.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Named, Result, Store};
use crate::config::{Model, Plan, Quantity, Secret, changes};

/// The numbers that the store gave to the names of a plan.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The plan in force.
    pub plan_id: i32,
    /// Random name of this installation.
    pub installation: String,
    /// Numbers by model.
    pub models: HashMap<String, ModelNumbers>,
}

/// Numbers of one model.
#[derive(Clone, Debug, Default)]
pub struct ModelNumbers {
    /// The model.
    pub model_id: i32,
    /// What predictions carry scores for, by name: probabilities and values.
    pub outputs: HashMap<String, i32>,
    /// Everything that is estimated, by name: outputs, choices, features, readers, the whole model.
    pub quantities: HashMap<String, i32>,
    /// Findings by name.
    pub findings: HashMap<String, i32>,
}

/// One release of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number.
    pub version_id: i32,
    /// The model's name.
    pub model: String,
    /// Its name.
    pub name: String,
}

/// One release of a model, as people read it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = Version)]
pub struct VersionRow {
    /// Its number.
    pub version_id: i32,
    /// The model.
    pub model: String,
    /// Its name.
    pub version: String,
    /// When its first prediction was taken in.
    pub first_seen_at: DateTime<Utc>,
    /// The reference in force, if one is.
    pub reference_id: Option<i32>,
    /// When it was last estimated, if it was.
    pub estimated_at: Option<DateTime<Utc>>,
}

impl Store {
    /// The key that signs the links of notices.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn load_link_key(&self) -> Result<Secret> {
        let key = sqlx::query_scalar!("select link_key from installation")
            .fetch_one(&self.pool)
            .await
            .named("load_link_key")?;
        Ok(Secret::new(&key))
    }

    /// Take up a plan: names get numbers, a new plan is recorded and audited, and models whose summaries have another shape
    /// now are marked to be folded again from rows. One transaction.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn adopt_plan(&self, plan: &Plan, now: DateTime<Utc>, actor: &str) -> Result<Catalog> {
        let mut transaction = self.begin().await?;
        // One process adopts at a time; the row lock ends with the transaction.
        let installation = sqlx::query_scalar!("select installation_id from installation for update")
            .fetch_one(&mut *transaction)
            .await
            .named("adopt_plan")?;
        let seal = super::seal::open(&mut transaction).await?;
        let mut catalog = Catalog { installation, ..Catalog::default() };
        for model in &plan.models {
            let numbers = adopt_model(&mut transaction, model, now).await?;
            catalog.models.insert(model.name.clone(), numbers);
        }
        let digest = plan.digest();
        let known = sqlx::query_scalar!("select plan_id from plan where digest = $1", digest)
            .fetch_optional(&mut *transaction)
            .await
            .named("find_plan")?;
        let last: Option<(String, Option<Value>, Option<Value>)> = sqlx::query_as(
            "select subject, detail->'models', plan.body from audit left join plan on plan.digest = subject
            where action = 'plan adopted' order by audit_id desc limit 1",
        )
        .fetch_optional(&mut *transaction)
        .await
        .named("find_last_plan")?;
        catalog.plan_id = match known {
            Some(plan_id) => plan_id,
            None => sqlx::query_scalar!(
                "insert into plan (digest, body, adopted_at) values ($1, $2, $3) returning plan_id",
                digest,
                plan.canonical(),
                now
            )
            .fetch_one(&mut *transaction)
            .await
            .named("insert_plan")?,
        };
        super::seal::close(&mut transaction, seal, &["model", "output", "finding", "plan"]).await?;
        let shapes: BTreeMap<&str, String> =
            plan.models.iter().map(|model| (model.name.as_str(), model.fold_digest())).collect();
        let (before, known_shapes, body) = match last {
            Some((before, shapes, body)) => (Some(before), shapes, body),
            None => (None, None, None),
        };
        let shapes = serde_json::json!(shapes);
        if before.as_ref() != Some(&digest) || known_shapes.as_ref() != Some(&shapes) {
            let changes = body.map(|body| changes(&body, &plan.canonical()));
            let detail = serde_json::json!({
                "plan_id": catalog.plan_id, "before": before, "changes": changes, "models": shapes
            });
            let reason = "the configuration says so";
            super::audit::append(&mut transaction, now, actor, "plan adopted", &digest, reason, detail).await?;
        }
        transaction.commit().await.named("adopt_plan")?;
        Ok(catalog)
    }

    /// The numbers of a plan's names, for whoever only looks: nothing is written. A model or an output that no daemon has
    /// taken up yet has none.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn find_catalog(&self, plan: &Plan) -> Result<Catalog> {
        let installation = sqlx::query_scalar!("select installation_id from installation")
            .fetch_one(&self.pool)
            .await
            .named("find_installation")?;
        let plan_id = sqlx::query_scalar!("select plan_id from plan where digest = $1", plan.digest())
            .fetch_optional(&self.pool)
            .await
            .named("find_plan")?;
        let mut catalog = Catalog { installation, plan_id: plan_id.unwrap_or_default(), models: HashMap::new() };
        for model in &plan.models {
            if let Some(numbers) = self.model_numbers(model).await? {
                catalog.models.insert(model.name.clone(), numbers);
            }
        }
        Ok(catalog)
    }

    /// The numbers of a model's names, of this plan or an earlier one; `None` of a model that no daemon has taken up.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn model_numbers(&self, model: &Model) -> Result<Option<ModelNumbers>> {
        let outputs = sqlx::query!(
            "select model_id, output_id, output.name as output from model join output using (model_id) where model.name = $1",
            model.name
        )
        .fetch_all(&self.pool)
        .await
        .named("find_outputs")?;
        let Some(model_id) = outputs.first().map(|row| row.model_id) else { return Ok(None) };
        let mut numbers = ModelNumbers { model_id, ..ModelNumbers::default() };
        for row in outputs {
            if model.scores().any(|output| output == row.output) {
                numbers.outputs.insert(row.output.clone(), row.output_id);
            }
            numbers.quantities.insert(row.output, row.output_id);
        }
        let findings =
            sqlx::query!("select truth_id, name from finding").fetch_all(&self.pool).await.named("find_findings")?;
        numbers.findings = findings.into_iter().map(|row| (row.name, row.truth_id)).collect();
        Ok(Some(numbers))
    }

    /// The key of the pseudonyms that this database is bound to, if it is.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn identity_fingerprint(&self) -> Result<Option<String>> {
        sqlx::query_scalar!("select identity_fingerprint from installation")
            .fetch_one(&self.pool)
            .await
            .named("identity_fingerprint")
    }

    /// Bind this database to the key of the pseudonyms, or see that it is bound to this one.
    ///
    /// # Errors
    /// When it is bound to another one, or Postgres fails.
    pub async fn bind_identity(&self, fingerprint: &str) -> Result<()> {
        let bound = sqlx::query_scalar!(
            "update installation set identity_fingerprint = coalesce(identity_fingerprint, $1)
            returning identity_fingerprint as \"fingerprint!\"",
            fingerprint
        )
        .fetch_one(&self.pool)
        .await
        .named("bind_identity")?;
        if bound == fingerprint {
            return Ok(());
        }
        Err(super::Error::Refused(
            "the database's cases were pseudonymised with another identity key, or with another identity.case_ids: under \
             this one no truth would find its prediction. Restore identity.key in the data directory (or \
             DOSIMETER_IDENTITY_KEY, identity.key_file) from the daemon that first used this database"
                .to_owned(),
        ))
    }

    /// The number of a version, given at its first prediction.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn version_number(&self, model_id: i32, name: &str, now: DateTime<Utc>) -> Result<i32> {
        let known = sqlx::query_scalar!(
            "select version_id from model_version where model_id = $1 and name = $2",
            model_id,
            name
        )
        .fetch_optional(&self.pool)
        .await
        .named("find_version")?;
        if let Some(version_id) = known {
            return Ok(version_id);
        }
        let mut transaction = self.begin().await?;
        let seal = super::seal::open(&mut transaction).await?;
        let version_id = sqlx::query_scalar!(
            r#"with new as (
                insert into model_version (model_id, name, first_seen_at) values ($1, $2, $3)
                on conflict (model_id, name) do nothing returning version_id)
            select version_id as "version_id!" from new
            union all select version_id from model_version where model_id = $1 and name = $2 limit 1"#,
            model_id,
            name,
            now
        )
        .fetch_one(&mut *transaction)
        .await
        .named("version_number")?;
        super::seal::close(&mut transaction, seal, &["model_version"]).await?;
        transaction.commit().await.named("version_number")?;
        Ok(version_id)
    }

    /// Versions of some models, or of all, the earliest first: those with a higher number than `after`.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn page_versions(
        &self,
        models: Option<&[String]>,
        after: Option<i32>,
        limit: i64,
    ) -> Result<Vec<VersionRow>> {
        sqlx::query_as!(
            VersionRow,
            r#"select version_id, model.name as model, model_version.name as version, first_seen_at,
                (select reference_id from reference r where r.version_id = model_version.version_id and approved_at is not null
                    order by approved_at desc, reference_id desc limit 1) as reference_id,
                (select max(evaluated_at) from evaluation e where e.version_id = model_version.version_id) as estimated_at
            from model_version join model using (model_id)
            where ($1::text[] is null or model.name = any($1)) and ($2::integer is null or version_id > $2)
            order by version_id limit $3"#,
            models,
            after,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .named("page_versions")
    }

    /// All versions of the plan's models, oldest first.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_versions(&self) -> Result<Vec<Version>> {
        sqlx::query_as!(
            Version,
            "select version_id, model.name as model, model_version.name as name
            from model_version join model using (model_id) order by version_id"
        )
        .fetch_all(&self.pool)
        .await
        .named("list_versions")
    }
}

async fn adopt_model(transaction: &mut super::Transaction, model: &Model, now: DateTime<Utc>) -> Result<ModelNumbers> {
    let digest = model.fold_digest();
    let before = sqlx::query!("select model_id, fold_digest from model where name = $1", model.name)
        .fetch_optional(&mut **transaction)
        .await
        .named("find_model")?;
    let model_id = sqlx::query_scalar!(
        "insert into model (name, bucket, fold_digest, created_at) values ($1, $2, $3, $4)
        on conflict (name) do update set bucket = excluded.bucket, fold_digest = excluded.fold_digest
        returning model_id",
        model.name,
        model.bucket.as_str(),
        digest,
        now
    )
    .fetch_one(&mut **transaction)
    .await
    .named("insert_model")?;
    if before.is_some_and(|before| before.fold_digest != digest) {
        refold(transaction, model_id).await?;
    }
    let mut numbers = ModelNumbers { model_id, ..ModelNumbers::default() };
    // Alerts about the model's data are alerts of the whole model, also where that is not estimated.
    for quantity in model.quantities().into_iter().chain([Quantity::Whole]) {
        let name = quantity.name();
        let output_id = sqlx::query_scalar!(
            r#"with new as (
                insert into output (model_id, name) values ($1, $2) on conflict (model_id, name) do nothing returning output_id)
            select output_id as "output_id!" from new
            union all select output_id from output where model_id = $1 and name = $2 limit 1"#,
            model_id,
            name
        )
        .fetch_one(&mut **transaction)
        .await
        .named("insert_output")?;
        if let Quantity::Output(_) | Quantity::Value(_) = quantity {
            numbers.outputs.insert(name.clone(), output_id);
        }
        numbers.quantities.insert(name, output_id);
    }
    for (finding, ..) in model.findings() {
        let truth_id = sqlx::query_scalar!(
            r#"with new as (insert into finding (name) values ($1) on conflict (name) do nothing returning truth_id)
            select truth_id as "truth_id!" from new union all select truth_id from finding where name = $1 limit 1"#,
            finding
        )
        .fetch_one(&mut **transaction)
        .await
        .named("insert_finding")?;
        numbers.findings.insert(finding.to_owned(), truth_id);
    }
    Ok(numbers)
}

/// Forget the summaries of a model and mark every bucket that has a prediction.
async fn refold(transaction: &mut super::Transaction, model_id: i32) -> Result<()> {
    sqlx::query!(
        "delete from summary where version_id in (select version_id from model_version where model_id = $1)",
        model_id
    )
    .execute(&mut **transaction)
    .await
    .named("forget_summaries")?;
    sqlx::query!(
        "delete from dirty_bucket where version_id in (select version_id from model_version where model_id = $1)",
        model_id
    )
    .execute(&mut **transaction)
    .await
    .named("forget_dirty_buckets")?;
    sqlx::query!(
        "insert into dirty_bucket (version_id, bucket, since_batch, batch_id)
        select version_id, date_trunc(bucket, occurred_at, 'UTC'), 0, max(batch_id)
        from prediction join model_version using (version_id) join model using (model_id)
        where model_id = $1 group by 1, 2
        on conflict (version_id, bucket) do update
        set since_batch = 0, batch_id = greatest(dirty_bucket.batch_id, excluded.batch_id)",
        model_id
    )
    .execute(&mut **transaction)
    .await
    .named("mark_all_buckets")?;
    Ok(())
}
