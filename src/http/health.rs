//! `GET /livez` and `GET /readyz`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::Shared;
use crate::job::Job;

/// So many ticks without a success, and a job is stale.
const STALE_TICKS: u32 = 20;

/// Whether the numbers are there, and what stands in the way.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Readiness {
    /// Whether everything else here is well.
    ready: bool,
    /// Whether it answers.
    database: &'static str,
    /// Whether the schema is this release's.
    migrations: &'static str,
    /// Jobs that have not succeeded lately.
    jobs_without_recent_success: Vec<&'static str>,
}

/// The process lives.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "process",
    operation_id = "is_alive",
    responses((status = 200, description = "It does.", body = String, content_type = "text/plain; charset=utf-8"))
)]
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// The jobs that must have succeeded lately for the numbers to be true.
const NEEDED: [Job; 6] = [Job::Ingest, Job::Fold, Job::Evaluate, Job::Health, Job::Detect, Job::Publish];

/// The database answers, the schema is this release's, and every job has succeeded lately.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "process",
    operation_id = "is_ready",
    responses(
        (status = 200, description = "They do.", body = Readiness),
        (status = 503, description = "One of them does not.", body = Readiness),
    )
)]
pub(super) async fn ready(State(shared): State<Shared>) -> (StatusCode, Json<Readiness>) {
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
    let body = Readiness {
        ready,
        database: if database { "answers" } else { "does not answer" },
        migrations: if migrations { "current" } else { "not those of this release" },
        jobs_without_recent_success: stale,
    };
    (status, Json(body))
}
