//! The outbox: notices that wait, are tried, and are sent.

use chrono::{DateTime, Utc};

use super::{Named, Result, Store, Transaction};

/// A notice to be sent.
#[derive(Clone, Debug)]
pub struct NewNotice {
    /// To whom.
    pub recipient: String,
    /// Subject.
    pub subject: String,
    /// Plain text.
    pub body_text: String,
    /// HTML.
    pub body_html: String,
    /// Level of escalation that it is told at: 0 for none.
    pub escalation: i32,
}

/// A notice that waits in the outbox.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Its number.
    pub outbox_id: i64,
    /// To whom.
    pub recipient: String,
    /// Subject.
    pub subject: String,
    /// Plain text.
    pub body_text: String,
    /// HTML.
    pub body_html: String,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// Attempts that failed.
    pub attempts: i32,
}

/// Put a notice about alerts into the outbox, in the transaction of what it tells of.
pub(super) async fn enqueue(
    transaction: &mut Transaction,
    alert_ids: &[i64],
    notice: &NewNotice,
    now: DateTime<Utc>,
) -> Result<()> {
    let outbox_id = sqlx::query_scalar!(
        "insert into outbox (alert_id, recipient, subject, body_text, body_html, escalation, created_at, next_attempt_at, attempts)
        values ($1, $2, $3, $4, $5, $6, $7, $7, 0) returning outbox_id",
        alert_ids.first(),
        notice.recipient,
        notice.subject,
        notice.body_text,
        notice.body_html,
        notice.escalation,
        now
    )
    .fetch_one(&mut **transaction)
    .await
    .named("insert_notice")?;
    sqlx::query!(
        "insert into alert_notice (alert_id, outbox_id) select alert_id, $2 from unnest($1::bigint[]) as t(alert_id)",
        alert_ids,
        outbox_id
    )
    .execute(&mut **transaction)
    .await
    .named("insert_alert_notices")?;
    Ok(())
}

impl Store {
    /// Claim the oldest notice that is due: until `claimed_until` nobody else tries it. A process that dies with it leaves
    /// it to be tried again then.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn claim_notice(&self, now: DateTime<Utc>, claimed_until: DateTime<Utc>) -> Result<Option<Notice>> {
        sqlx::query_as!(
            Notice,
            "update outbox set next_attempt_at = $2 where outbox_id = (
                select outbox_id from outbox where sent_at is null and next_attempt_at <= $1
                order by outbox_id limit 1 for update skip locked)
            returning outbox_id, recipient, subject, body_text, body_html, created_at, attempts",
            now,
            claimed_until
        )
        .fetch_optional(&self.pool)
        .await
        .named("claim_notice")
    }

    /// A notice was taken by a server.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn notice_sent(&self, outbox_id: i64, now: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query!("update outbox set sent_at = $2 where outbox_id = $1", outbox_id, now)
            .execute(&mut *transaction)
            .await
            .named("notice_sent")?;
        super::status::count(&mut transaction, ("notice", "", "sent"), 1).await?;
        transaction.commit().await.named("notice_sent")
    }

    /// A notice could not be sent: try again later.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn notice_failed(&self, outbox_id: i64, error: &str, next_attempt_at: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query!(
            "update outbox set attempts = attempts + 1, last_error = $2, next_attempt_at = $3 where outbox_id = $1",
            outbox_id,
            error,
            next_attempt_at
        )
        .execute(&mut *transaction)
        .await
        .named("notice_failed")?;
        super::status::count(&mut transaction, ("notice", "", "failed"), 1).await?;
        transaction.commit().await.named("notice_failed")
    }
}
