//! The schema: brought up to date by the owner, and what was applied is noted in the audit trail.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::audit::append;
use super::{Error, Named, Result, Store};

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

impl Store {
    /// Bring the schema up to date, under a lock that lets one process do it. `true` when there was something to do.
    ///
    /// # Errors
    /// When a migration fails or the database is newer than this release.
    pub async fn migrate(&self) -> Result<bool> {
        // Who may not make tables need not, once they are there.
        if self.schema_is_current().await.unwrap_or(false) {
            return Ok(false);
        }
        MIGRATOR.run(&self.pool).await.map_err(Error::Migration)?;
        Ok(true)
    }

    /// Whether the schema is that of this release.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn schema_is_current(&self) -> Result<bool> {
        let applied: Vec<i64> =
            sqlx::query_scalar("select version from _sqlx_migrations where success order by version")
                .fetch_all(&self.pool)
                .await
                .named("applied_migrations")?;
        Ok(applied == MIGRATOR.iter().map(|migration| migration.version).collect::<Vec<_>>())
    }

    /// Note in the audit trail which migrations the database has, and what it is bound to, unless that stands there already.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn note_setting(&self, now: DateTime<Utc>) -> Result<()> {
        let (migrations, installation): (Value, Value) = sqlx::query_as(
            "select (select json_agg(json_build_object('version', version, 'description', description,
                    'checksum', encode(checksum, 'hex')) order by version) from _sqlx_migrations),
                (select json_build_object('installation', installation_id, 'identity', identity_fingerprint,
                    'link_key', encode(sha256(convert_to(link_key, 'UTF8')), 'hex')) from installation)",
        )
        .fetch_one(&self.pool)
        .await
        .named("read_setting")?;
        let migrations = json!({ "migrations": migrations });
        let program = env!("CARGO_PKG_VERSION");
        for (action, subject, reason, detail) in [
            ("schema migrated", "the schema", format!("dosimeter {program} needs it"), migrations),
            ("installation bound", "the installation", String::new(), installation),
        ] {
            // Of two processes that start at once one notes it.
            let mut transaction = self.begin().await?;
            super::audit::lock_head(&mut transaction, super::audit::Chain::Acts).await?;
            let last: Option<Value> =
                sqlx::query_scalar("select detail from audit where action = $1 order by audit_id desc limit 1")
                    .bind(action)
                    .fetch_optional(&mut *transaction)
                    .await
                    .named("last_setting")?;
            if last.as_ref() == Some(&detail) {
                continue;
            }
            append(&mut transaction, now, "dosimeter", action, subject, &reason, detail).await?;
            transaction.commit().await.named("note_setting")?;
        }
        Ok(())
    }
}
