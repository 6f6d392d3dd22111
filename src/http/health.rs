//! `GET /livez` and `GET /readyz`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::Shared;
use crate::job::Job;

/// So many ticks without a success, and a job is stale.
const STALE_TICKS: u32 = 20;

/// The process lives.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// The jobs that must have succeeded lately for the numbers to be true.
const NEEDED: [Job; 6] = [Job::Ingest, Job::Fold, Job::Evaluate, Job::Health, Job::Detect, Job::Publish];

/// The database answers, the schema is this release's, and every job has succeeded lately.
pub(super) async fn ready(State(shared): State<Shared>) -> impl IntoResponse {
    let context = shared.context();
    let database = context.store.ping().await.is_ok();
    let migrations = context.store.schema_is_current().await.unwrap_or(false);
    let (records, now) = (context.records.all(), context.clock.now());
    let patience = context.plan.service.tick * STALE_TICKS;
    let is_stale = |job: &Job| {
        let last = records.get(job.name()).and_then(|record| record.last_success_at);
        last.is_none_or(|at| (now - at).to_std().unwrap_or_default() > patience)
    };
    let stale: Vec<&str> = NEEDED.iter().filter(|job| is_stale(job)).map(|job| job.name()).collect();
    let ready = database && migrations && stale.is_empty() && context.exporter.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({
        "ready": ready,
        "database": if database { "answers" } else { "does not answer" },
        "migrations": if migrations { "current" } else { "not those of this release" },
        "jobs_without_recent_success": stale,
    });
    (status, Json(body))
}
