//! Tokens of the HTTP interface.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::FromRow;

use super::{Error, Named, Result, Store};
use crate::access::{Role, Token, hash};
use crate::chain::hex;

/// A token that is to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub roles: Vec<Role>,
    /// The only models it is for; none: all.
    pub models: Option<Vec<String>>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct Row {
    token_id: i64,
    name: String,
    roles: Vec<String>,
    models: Option<Vec<String>>,
    hash: Vec<u8>,
    previous_hash: Option<Vec<u8>>,
    previous_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    created_by: String,
    rotated_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    revoked_by: Option<String>,
    revoked_reason: Option<String>,
}

impl TryFrom<Row> for Token {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let role = |word: String| {
            Role::parse(&word).ok_or_else(|| Error::Corrupt {
                table: "token",
                column: "roles",
                row: format!("token_id {}", row.token_id),
                source: format!("{word:?} is no role").into(),
            })
        };
        Ok(Self {
            token_id: row.token_id,
            name: row.name,
            roles: row.roles.into_iter().map(role).collect::<Result<_>>()?,
            models: row.models,
            hash: row.hash,
            previous: row.previous_hash.zip(row.previous_until),
            created_at: row.created_at,
            created_by: row.created_by,
            rotated_at: row.rotated_at,
            last_used_at: row.last_used_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            revoked_by: row.revoked_by,
            revoked_reason: row.revoked_reason,
        })
    }
}

/// What the audit trail keeps of a secret: it tells nobody what is stored, and whoever puts another secret in is found out.
fn fingerprint(secret: &str) -> String {
    hex(&Sha256::digest(hash(secret)))
}

impl Store {
    /// Make a token whose secret is known to the caller alone. Audited. Returns its number.
    ///
    /// # Errors
    /// [`Error::Conflict`] when its name is or was another token's, and when Postgres fails.
    pub async fn create_token(
        &self,
        token: &NewToken,
        secret: &str,
        [actor, reason]: [&str; 2],
        now: DateTime<Utc>,
    ) -> Result<i64> {
        let mut transaction = self.begin().await?;
        let seal = super::seal::open(&mut transaction).await?;
        let roles: Vec<&str> = token.roles.iter().map(|role| role.as_str()).collect();
        let made: Option<i64> = sqlx::query_scalar(
            "insert into token (name, roles, models, hash, created_at, created_by, expires_at)
            values ($1, $2, $3, $4, $5, $6, $7) on conflict (name) do nothing returning token_id",
        )
        .bind(&token.name)
        .bind(&roles)
        .bind(&token.models)
        .bind(hash(secret))
        .bind(now)
        .bind(actor)
        .bind(token.expires_at)
        .fetch_optional(&mut *transaction)
        .await
        .named("create_token")?;
        let token_id = made.ok_or_else(|| {
            let name = &token.name;
            Error::Conflict(format!("there is or was a token {name:?}; rotate it, or choose another name"))
        })?;
        let detail = serde_json::json!({
            "name": token.name, "roles": roles, "models": token.models, "expires_at": token.expires_at,
            "fingerprint": fingerprint(secret)
        });
        let subject = format!("token {token_id}");
        super::seal::close(&mut transaction, seal, &["token"]).await?;
        super::audit::append(&mut transaction, now, actor, "token created", &subject, reason, detail).await?;
        transaction.commit().await.named("create_token")?;
        Ok(token_id)
    }

    /// Give a token a new secret; the present one stays good until an instant. Audited.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no such token, [`Error::Conflict`] when it was revoked, and when Postgres fails.
    pub async fn rotate_token(
        &self,
        token_id: i64,
        secret: &str,
        grace_until: DateTime<Utc>,
        [actor, reason]: [&str; 2],
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        let changed = sqlx::query(
            "update token set previous_hash = hash, previous_until = $2, hash = $3, rotated_at = $4
            where token_id = $1 and revoked_at is null",
        )
        .bind(token_id)
        .bind(grace_until)
        .bind(hash(secret))
        .bind(now)
        .execute(&mut *transaction)
        .await
        .named("rotate_token")?;
        if changed.rows_affected() == 0 {
            return Err(self.refuse_token(token_id).await?);
        }
        let (subject, detail) = (
            format!("token {token_id}"),
            serde_json::json!({ "old_good_until": grace_until, "fingerprint": fingerprint(secret) }),
        );
        super::audit::append(&mut transaction, now, actor, "token rotated", &subject, reason, detail).await?;
        transaction.commit().await.named("rotate_token")
    }

    /// End a token for good. Audited.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no such token, [`Error::Conflict`] when it was revoked before, and when Postgres fails.
    pub async fn revoke_token(&self, token_id: i64, [actor, reason]: [&str; 2], now: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.begin().await?;
        let changed = sqlx::query(
            "update token set revoked_at = $2, revoked_by = $3, revoked_reason = $4
            where token_id = $1 and revoked_at is null",
        )
        .bind(token_id)
        .bind(now)
        .bind(actor)
        .bind(reason)
        .execute(&mut *transaction)
        .await
        .named("revoke_token")?;
        if changed.rows_affected() == 0 {
            return Err(self.refuse_token(token_id).await?);
        }
        let (subject, detail) = (format!("token {token_id}"), serde_json::json!({}));
        super::audit::append(&mut transaction, now, actor, "token revoked", &subject, reason, detail).await?;
        transaction.commit().await.named("revoke_token")
    }

    async fn refuse_token(&self, token_id: i64) -> Result<Error> {
        Ok(match self.find_token(token_id).await? {
            None => Error::Missing(format!("there is no token {token_id}; see `dosimeter token list`")),
            Some(token) => {
                let by = token.revoked_by.map(|by| format!(", by {by}")).unwrap_or_default();
                Error::Conflict(format!("token {token_id} was revoked already{by}; make another"))
            }
        })
    }

    /// A token by its number.
    ///
    /// # Errors
    /// When Postgres fails or the row is corrupt.
    pub async fn find_token(&self, token_id: i64) -> Result<Option<Token>> {
        let row: Option<Row> = sqlx::query_as("select * from token where token_id = $1")
            .bind(token_id)
            .fetch_optional(&self.pool)
            .await
            .named("find_token")?;
        row.map(Token::try_from).transpose()
    }

    /// All tokens there are or were, by number.
    ///
    /// # Errors
    /// When Postgres fails or a row is corrupt.
    pub async fn list_tokens(&self) -> Result<Vec<Token>> {
        let rows: Vec<Row> =
            sqlx::query_as("select * from token order by token_id").fetch_all(&self.pool).await.named("list_tokens")?;
        rows.into_iter().map(Token::try_from).collect()
    }

    /// Whether a token was ever made: one that was revoked since closes the door as well.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn has_tokens(&self) -> Result<bool> {
        sqlx::query_scalar("select exists (select from token)").fetch_one(&self.pool).await.named("has_tokens")
    }

    /// Note that a token was used.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn touch_token(&self, token_id: i64, now: DateTime<Utc>) -> Result<()> {
        sqlx::query(
            "update token set last_used_at = $2 where token_id = $1 and (last_used_at is null or last_used_at < $2)",
        )
        .bind(token_id)
        .bind(now)
        .execute(&self.pool)
        .await
        .named("touch_token")?;
        Ok(())
    }

    /// The model that a silence covers, or `*`.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn find_silenced_model(&self, silence_id: i64) -> Result<Option<String>> {
        sqlx::query_scalar("select model from silence where silence_id = $1")
            .bind(silence_id)
            .fetch_optional(&self.pool)
            .await
            .named("find_silenced_model")
    }
}
