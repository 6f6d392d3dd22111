//! Refused records, as people read them.

use chrono::{DateTime, Utc};

use super::{Named, Result, Store};

/// A refused record.
#[derive(Clone, Debug, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct Rejection {
    /// Its number.
    pub rejection_id: i64,
    /// When it was refused.
    pub rejected_at: DateTime<Utc>,
    /// The source.
    pub source: String,
    /// The file.
    pub origin: String,
    /// Line or row in it, from 1; 0 for the whole file.
    pub line: i64,
    /// The column or field at fault.
    pub field: String,
    /// The reason as one word.
    pub reason: String,
    /// What is wrong and what to do about it.
    pub message: String,
    /// The mapped columns of the record without its identifiers.
    pub payload: serde_json::Value,
}

/// Which rejections are wanted.
#[derive(Clone, Debug, Default)]
pub struct RejectionFilter {
    /// Of one source only.
    pub source: Option<String>,
    /// For one reason only.
    pub reason: Option<String>,
    /// Those before this number only: the next page.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

impl Store {
    /// Rejections, the latest first.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_rejections(&self, filter: &RejectionFilter) -> Result<Vec<Rejection>> {
        sqlx::query_as!(
            Rejection,
            "select rejection_id, rejected_at, source, origin, line, field, reason, message, payload from rejection
            where ($1::text is null or source = $1) and ($2::text is null or reason = $2)
                and ($3::bigint is null or rejection_id < $3)
            order by rejection_id desc limit $4",
            filter.source,
            filter.reason,
            filter.before,
            filter.limit
        )
        .fetch_all(&self.pool)
        .await
        .named("list_rejections")
    }
}
