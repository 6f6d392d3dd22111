//! Notices as people read them.

use chrono::{DateTime, Utc};

use crate::store::{Named, Result, Store};

/// A notice as people read about it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = Notice)]
pub struct NoticeRow {
    /// Its number.
    pub outbox_id: i64,
    /// The alert it is about.
    pub alert_id: Option<i64>,
    /// The route.
    pub route: String,
    /// The route's channel.
    pub channel: String,
    /// To whom.
    pub recipient: String,
    /// Level of escalation.
    pub escalation: i32,
    /// Its subject.
    pub subject: String,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// Attempts that failed.
    pub attempts: i32,
    /// Why the last one failed.
    pub last_error: Option<String>,
    /// When a server took it.
    pub sent_at: Option<DateTime<Utc>>,
    /// When it was given up.
    pub dead_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Notices, the latest first; only dead letters if asked.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_notices(&self, dead_only: bool, limit: i64) -> Result<Vec<NoticeRow>> {
        sqlx::query_as!(
            NoticeRow,
            r#"select outbox_id, alert_id, route, channel, recipient, escalation, coalesce(report->>'subject', '(cannot be read)') as "subject!", created_at,
                attempts, last_error, sent_at, dead_at
            from outbox where not $1 or dead_at is not null order by outbox_id desc limit $2"#,
            dead_only,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .named("list_notices")
    }
}
