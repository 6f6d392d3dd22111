//! `GET /livez` and `GET /readyz`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::Shared;
use crate::job::Job;

/// So many ticks without a new snapshot, and the numbers are stale.
const STALE_TICKS: u32 = 20;

/// The process lives.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// The database answers, the schema is current (or the daemon would not have started), the numbers are fresh.
pub(super) async fn ready(State(shared): State<Shared>) -> impl IntoResponse {
    let context = shared.context();
    let database = context.store.ping().await.is_ok();
    let published = context.records.all().get(Job::Publish.name()).and_then(|record| record.last_success_at);
    let age = published.map(|at| (context.clock.now() - at).to_std().unwrap_or_default());
    let fresh = context.exporter.is_ready() && age.is_some_and(|age| age <= context.plan.service.tick * STALE_TICKS);
    let ready = database && fresh;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({
        "ready": ready,
        "database": if database { "answers" } else { "does not answer" },
        "migrations": "current",
        "snapshot_age_seconds": age.map(|age| age.as_secs()),
        "snapshot": if fresh { "fresh" } else { "stale or not yet there" },
    });
    (status, Json(body))
}
