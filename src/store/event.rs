//! Events of inference servers that wait for their other half, or to be taken in.

use chrono::{DateTime, Utc};

use super::{Named, Result, Store, Transaction};

/// An inference that can be taken in: its id, the request if it is there, the response, as texts.
pub type Inference = (String, Option<String>, String);

impl Store {
    /// Keep events, each a half: `(id, half, text)`. Returns how many were not kept already.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn keep_events(
        &self,
        source: &str,
        events: &[(String, &str, String)],
        now: DateTime<Utc>,
    ) -> Result<u64> {
        let kept = sqlx::query(
            "insert into inference_event (source, event_id, half, body, received_at)
            select $1, event_id, half, body, $2 from unnest($3::text[], $4::text[], $5::text[]) as t (event_id, half, body)
            on conflict do nothing",
        )
        .bind(source)
        .bind(now)
        .bind(events.iter().map(|(id, ..)| id.as_str()).collect::<Vec<_>>())
        .bind(events.iter().map(|(_, half, _)| *half).collect::<Vec<_>>())
        .bind(events.iter().map(|(.., body)| body.as_str()).collect::<Vec<_>>())
        .execute(&self.pool)
        .await
        .named("keep_events")?;
        Ok(kept.rows_affected())
    }

    /// Inferences that can be taken in, the oldest first: responses, with their requests if these are needed.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_inferences(&self, source: &str, needs_request: bool, limit: i64) -> Result<Vec<Inference>> {
        sqlx::query_as(
            "select r.event_id, q.body, r.body from inference_event r left join inference_event q
                on q.source = r.source and q.event_id = r.event_id and q.half = 'request'
            where r.source = $1 and r.half = 'response' and (q.event_id is not null or not $2)
            order by r.received_at, r.event_id limit $3",
        )
        .bind(source)
        .bind(needs_request)
        .bind(limit)
        .fetch_all(&self.pool)
        .await
        .named("list_inferences")
    }

    /// Events that have waited since before an instant: `(id, half)`, the oldest first.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_halves(&self, source: &str, before: DateTime<Utc>, limit: i64) -> Result<Vec<(String, String)>> {
        sqlx::query_as(
            "select event_id, half from inference_event where source = $1 and received_at < $2
            order by received_at, event_id limit $3",
        )
        .bind(source)
        .bind(before)
        .bind(limit)
        .fetch_all(&self.pool)
        .await
        .named("list_halves")
    }

    /// How many events wait, by source.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn count_events(&self) -> Result<Vec<(String, i64)>> {
        sqlx::query_as("select source, count(*) from inference_event group by source")
            .fetch_all(&self.pool)
            .await
            .named("count_events")
    }
}

/// Forget events that have been taken in, in the transaction that does it.
pub(super) async fn forget(transaction: &mut Transaction, source: &str, ids: &[String]) -> Result<()> {
    sqlx::query("delete from inference_event where source = $1 and event_id = any($2)")
        .bind(source)
        .bind(ids)
        .execute(&mut **transaction)
        .await
        .named("forget_events")?;
    Ok(())
}
