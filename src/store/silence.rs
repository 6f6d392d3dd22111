//! Silences: made, ended, and asked for.

use chrono::{DateTime, Utc};

use super::alert::{missing, refusal};
use super::{Error, Named, Result, Store, Transaction};
use crate::alert::silence::{Matcher, Silence, Subject};
use crate::domain::window::show_instant;

/// A silence to be made.
#[derive(Clone, Debug)]
pub struct NewSilence {
    /// What it covers.
    pub matcher: Matcher,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// When it ends.
    pub ends_at: DateTime<Utc>,
    /// Who makes it.
    pub created_by: String,
    /// Why.
    pub reason: String,
}

/// Which silences; what is left out restricts nothing.
#[derive(Clone, Debug, Default)]
pub struct SilenceFilter {
    /// Those that are over, too.
    pub all: bool,
    /// The only models, besides silences of any model.
    pub models: Option<Vec<String>>,
    /// Those with a lower number only: the next page.
    pub before: Option<i64>,
}

/// A silence as people read it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = Silence)]
pub struct SilenceRow {
    /// Its number.
    pub silence_id: i64,
    /// The model, or `*`.
    pub model: String,
    /// The version, or `*`.
    pub version: String,
    /// The rule or watch, or `*`.
    pub rule: String,
    /// The output, or `*`.
    pub output: String,
    /// The slice, or `*`.
    pub slice: String,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// When it ends by itself.
    pub ends_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub reason: String,
    /// When a person ended it early.
    pub ended_at: Option<DateTime<Utc>>,
    /// Who did.
    pub ended_by: Option<String>,
    /// Why.
    pub ended_reason: Option<String>,
}

impl Store {
    /// Silences that are in force.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn silences_in_force(&self, now: DateTime<Utc>) -> Result<Vec<Silence>> {
        let rows = sqlx::query!(
            "select silence_id, model, version, rule, output, slice, starts_at, ends_at from silence
            where ended_at is null and starts_at <= $1 and $1 < ends_at order by silence_id",
            now
        )
        .fetch_all(&self.pool)
        .await
        .named("silences_in_force")?;
        let silences = rows.into_iter().map(|row| Silence {
            silence_id: row.silence_id,
            matcher: Matcher {
                model: row.model,
                version: row.version,
                rule: row.rule,
                output: row.output,
                slice: row.slice,
            },
            starts_at: row.starts_at,
            ends_at: row.ends_at,
        });
        Ok(silences.collect())
    }

    /// Silences, the latest first; without those that are over unless asked.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_silences(&self, all: bool, now: DateTime<Utc>, limit: i64) -> Result<Vec<SilenceRow>> {
        self.find_silences(&SilenceFilter { all, ..SilenceFilter::default() }, now, limit).await
    }

    /// The silences that a filter lets through, the latest first, as they were known at an instant: what was made later is not
    /// among them, and what was ended later was not over.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn find_silences(
        &self,
        filter: &SilenceFilter,
        at: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<SilenceRow>> {
        sqlx::query_as!(
            SilenceRow,
            "select silence_id, model, version, rule, output, slice, starts_at, ends_at, created_by, reason,
                case when ended_at <= $2 then ended_at end as ended_at, case when ended_at <= $2 then ended_by end as ended_by,
                case when ended_at <= $2 then ended_reason end as ended_reason from silence
            where created_at <= $2 and ($1 or ((ended_at is null or ended_at > $2) and ends_at > $2))
                and ($3::text[] is null or model = '*' or model = any($3)) and ($4::bigint is null or silence_id < $4)
            order by silence_id desc limit $5",
            filter.all,
            at,
            filter.models.as_deref(),
            filter.before,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .named("list_silences")
    }

    /// Make a silence in a person's name. Audited. Returns its number.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn add_silence(&self, silence: &NewSilence, now: DateTime<Utc>) -> Result<i64> {
        let mut transaction = self.begin().await?;
        let silence_id = silence.insert(&mut transaction, now).await?;
        transaction.commit().await.named("add_silence")?;
        Ok(silence_id)
    }

    /// Silence one open alert, exactly what it is about. Audited. Returns the silence's number.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no such alert, [`Error::Conflict`] when it is closed, and when Postgres fails.
    pub async fn silence_alert(
        &self,
        alert_id: i64,
        ends_at: DateTime<Utc>,
        actor: &str,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<i64> {
        let mut transaction = self.begin().await?;
        let alert = sqlx::query!(
            "select rule, slice, closed_at, model.name as model, model_version.name as version, output.name as output
            from alert join model_version using (version_id) join output using (output_id)
                join model on model.model_id = model_version.model_id
            where alert_id = $1 for update of alert",
            alert_id
        )
        .fetch_optional(&mut *transaction)
        .await
        .named("silence_alert")?
        .ok_or_else(|| missing(alert_id))?;
        if alert.closed_at.is_some() {
            return Err(refusal(&mut transaction, alert_id).await?);
        }
        let matcher = Matcher::exactly(Subject {
            model: &alert.model,
            version: &alert.version,
            rule: &alert.rule,
            output: &alert.output,
            slice: &alert.slice,
        });
        let (created_by, reason) = (actor.to_owned(), reason.to_owned());
        let silence = NewSilence { matcher, starts_at: now, ends_at, created_by, reason };
        let silence_id = silence.insert(&mut transaction, now).await?;
        transaction.commit().await.named("silence_alert")?;
        Ok(silence_id)
    }

    /// End a silence early in a person's name. Audited. Of two people who do it at once one succeeds.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no such silence, [`Error::Conflict`] when it is over, and when Postgres fails.
    pub async fn end_silence(&self, silence_id: i64, actor: &str, reason: &str, now: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.begin().await?;
        let changed = sqlx::query!(
            "update silence set ended_at = $2, ended_by = $3, ended_reason = $4
            where silence_id = $1 and ended_at is null and ends_at > $2",
            silence_id,
            now,
            actor,
            reason
        )
        .execute(&mut *transaction)
        .await
        .named("end_silence")?;
        if changed.rows_affected() == 0 {
            let found =
                sqlx::query!("select ends_at, ended_at, ended_by from silence where silence_id = $1", silence_id)
                    .fetch_optional(&mut *transaction)
                    .await
                    .named("find_silence")?;
            return Err(match found {
                None => Error::Missing(format!("there is no silence {silence_id}; see `dosimeter silence list`")),
                Some(row) => {
                    let at = show_instant(row.ended_at.unwrap_or(row.ends_at));
                    let by = row.ended_by.map(|by| format!(", by {by}")).unwrap_or_default();
                    Error::Conflict(format!("silence {silence_id} is over already, since {at}{by}"))
                }
            });
        }
        let (subject, detail) = (format!("silence {silence_id}"), serde_json::json!({}));
        super::audit::append(&mut transaction, now, actor, "silence ended", &subject, reason, detail).await?;
        transaction.commit().await.named("end_silence")
    }
}

impl NewSilence {
    async fn insert(&self, transaction: &mut Transaction, now: DateTime<Utc>) -> Result<i64> {
        let Matcher { model, version, rule, output, slice } = &self.matcher;
        let seal = super::seal::open(transaction).await?;
        let silence_id = sqlx::query_scalar!(
            "insert into silence (model, version, rule, output, slice, starts_at, ends_at, created_at, created_by, reason)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning silence_id",
            model,
            version,
            rule,
            output,
            slice,
            self.starts_at,
            self.ends_at,
            now,
            self.created_by,
            self.reason
        )
        .fetch_one(&mut **transaction)
        .await
        .named("insert_silence")?;
        let detail = serde_json::json!({
            "covers": self.matcher, "starts_at": self.starts_at, "ends_at": self.ends_at
        });
        let subject = format!("silence {silence_id}");
        super::seal::close(transaction, seal, &["silence"]).await?;
        super::audit::append(transaction, now, &self.created_by, "silence added", &subject, &self.reason, detail)
            .await?;
        Ok(silence_id)
    }
}
