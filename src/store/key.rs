//! Which keys encrypt what, and encryption anew under the newest of them.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::audit::append;
use super::identifier::nonce;
use super::{Error, Named, Result, Store};
use crate::vault::Ring;

/// Rows that are encrypted anew in one transaction.
const AT_ONCE: i64 = 1000;

/// A key and how much it encrypts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The key's id.
    pub key_id: String,
    /// Identifiers.
    pub identifiers: i64,
    /// Refused records.
    pub rejections: i64,
}

impl KeyUse {
    /// Rows of both kinds.
    #[must_use]
    pub fn rows(&self) -> i64 {
        self.identifiers + self.rejections
    }
}

impl Store {
    /// The keys that encrypt something, by id.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_keys(&self) -> Result<Vec<KeyUse>> {
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(
            "select key_id, sum(identifiers)::bigint, sum(rejections)::bigint from (
                select key_id, count(*) as identifiers, 0 as rejections from identifier where key_id is not null group by 1
                union all
                select key_id, 0, count(*) from rejection where key_id is not null group by 1) used
            group by key_id order by key_id",
        )
        .fetch_all(&self.pool)
        .await
        .named("list_keys")?;
        Ok(rows
            .into_iter()
            .map(|(key_id, identifiers, rejections)| KeyUse { key_id, identifiers, rejections })
            .collect())
    }

    /// Whether anything is encrypted.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn is_anything_sealed(&self) -> Result<bool> {
        sqlx::query_scalar(
            "select exists (select from identifier where key_id is not null)
                or exists (select from rejection where key_id is not null)",
        )
        .fetch_one(&self.pool)
        .await
        .named("is_anything_sealed")
    }

    /// Encrypt a thousand rows anew with the newest key of a ring; says how many there were. Killed between two calls, the
    /// next goes on where the last one ended.
    ///
    /// # Errors
    /// When a row's key is not in the ring, a row has been changed, or Postgres fails.
    pub async fn reseal(&self, ring: &Ring) -> Result<u64> {
        let mut transaction = self.begin().await?;
        let corrupt = |table, row: String, source: crate::vault::Error| match source {
            crate::vault::Error::UnknownKey(_) => Error::Refused(format!("{row}: {source}")),
            source => Error::Corrupt { table, column: "sealed", row, source: source.into() },
        };
        let rows: Vec<(String, i16, String, Vec<u8>)> = sqlx::query_as(
            "select pseudonym, kind, key_id, sealed from identifier where key_id <> $1 limit $2 for update skip locked",
        )
        .bind(ring.newest())
        .bind(AT_ONCE)
        .fetch_all(&mut *transaction)
        .await
        .named("list_old_identifiers")?;
        let mut changed = rows.len() as u64;
        let (mut names, mut kinds, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        for (pseudonym, kind, key_id, sealed) in rows {
            let about = super::identifier::about(kind, &pseudonym);
            let plain = ring.open(&key_id, &about, &sealed);
            let plain = plain.map_err(|error| corrupt("identifier", format!("pseudonym {pseudonym}"), error))?;
            bytes.push(ring.seal(&about, &plain, nonce()));
            names.push(pseudonym);
            kinds.push(kind);
        }
        sqlx::query(
            "update identifier i set key_id = $4, sealed = t.sealed
            from unnest($1::text[], $2::smallint[], $3::bytea[]) as t (pseudonym, kind, sealed)
            where i.pseudonym = t.pseudonym and i.kind = t.kind",
        )
        .bind(names)
        .bind(kinds)
        .bind(bytes)
        .bind(ring.newest())
        .execute(&mut *transaction)
        .await
        .named("reseal_identifiers")?;
        let rows: Vec<(i64, String, String, i64, i32, String, Vec<u8>)> = sqlx::query_as(
            "select rejection_id, source, origin, line, item, key_id, record from rejection where key_id <> $1 limit $2
            for update skip locked",
        )
        .bind(ring.newest())
        .bind(AT_ONCE)
        .fetch_all(&mut *transaction)
        .await
        .named("list_old_rejections")?;
        changed += rows.len() as u64;
        let (mut ids, mut bytes) = (Vec::new(), Vec::new());
        for (rejection_id, source, origin, line, item, key_id, sealed) in rows {
            let about = super::rejection::about(&source, &origin, line, item);
            let about: Vec<&str> = about.iter().map(String::as_str).collect();
            let plain = ring.open(&key_id, &about, &sealed);
            let plain = plain.map_err(|error| corrupt("rejection", format!("rejection {rejection_id}"), error))?;
            bytes.push(ring.seal(&about, &plain, nonce()));
            ids.push(rejection_id);
        }
        sqlx::query(
            "update rejection r set key_id = $3, record = t.record
            from unnest($1::bigint[], $2::bytea[]) as t (rejection_id, record) where r.rejection_id = t.rejection_id",
        )
        .bind(ids)
        .bind(bytes)
        .bind(ring.newest())
        .execute(&mut *transaction)
        .await
        .named("reseal_rejections")?;
        transaction.commit().await.named("reseal")?;
        Ok(changed)
    }

    /// Note a rotation in the audit trail.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn note_rotation(
        &self,
        key_id: &str,
        rows: u64,
        by: &str,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        let (subject, detail) = (format!("key {key_id}"), json!({ "rows": rows }));
        append(&mut transaction, now, by, "encryption key rotated", &subject, reason, detail).await?;
        transaction.commit().await.named("note_rotation")
    }
}
