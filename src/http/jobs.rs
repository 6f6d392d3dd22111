//! `GET /api/v1/jobs`: what the daemon's jobs do, who holds their leases, and what came of their last runs.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::auth::Caller;
use super::given::Given;
use super::models::Parameters;
use super::page::{self, Page, Wanted};
use super::table::{Column, Kind, Tabular};
use super::{Problem, Shared};
use crate::job::Job;
use crate::runtime::Outcome;

/// A job.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Job)]
pub(super) struct Shown {
    /// Its name.
    job: &'static str,
    /// The process that may run it now, or ran it last.
    holder: Option<String>,
    /// Whether somebody holds it now.
    held: bool,
    /// How often it has had another holder.
    fencing: Option<i64>,
    /// Runs of this process that did something.
    done: u64,
    /// Runs that had nothing to do.
    idle: u64,
    /// Runs that failed.
    failed: u64,
    /// Seconds that this process has spent in it.
    seconds: f64,
    /// What came of the last run here: done, idle or failed.
    last_outcome: Option<&'static str>,
    /// When it last ended here.
    last_run_at: Option<DateTime<Utc>>,
    /// When it last ended here without failure.
    last_success_at: Option<DateTime<Utc>>,
}

impl Tabular for Shown {
    const COLUMNS: &'static [Column] = &[
        ("job", Kind::Text),
        ("holder", Kind::Text),
        ("held", Kind::Flag),
        ("fencing", Kind::Integer),
        ("done", Kind::Integer),
        ("idle", Kind::Integer),
        ("failed", Kind::Integer),
        ("seconds", Kind::Number),
        ("last_outcome", Kind::Text),
        ("last_run_at", Kind::Instant),
        ("last_success_at", Kind::Instant),
    ];
}

/// The jobs in the order in which data flows; runs are those of the replica that answers.
#[utoipa::path(
    get,
    path = "/api/v1/jobs",
    tag = "process",
    operation_id = "list_jobs",
    params(Parameters),
    responses((status = 200, description = "A page.", body = Page<Shown>))
)]
pub(super) async fn get(
    _: Caller,
    State(shared): State<Shared>,
    wanted: Wanted,
    Given(asked): Given<Parameters>,
) -> Result<Response, Problem> {
    let context = shared.context();
    let records = context.records.all();
    let leases = context.store.list_leases().await.map_err(Problem::internal)?;
    let jobs = Job::ALL.into_iter().map(|job| {
        let record = records.get(job.name()).cloned().unwrap_or_default();
        let lease = leases.iter().find(|lease| lease.name == job.name());
        let runs = |outcome: Outcome| record.runs[outcome as usize];
        Shown {
            job: job.name(),
            holder: lease.map(|lease| lease.holder.clone()),
            held: lease.is_some_and(|lease| lease.held),
            fencing: lease.map(|lease| lease.fencing),
            done: runs(Outcome::Done),
            idle: runs(Outcome::Idle),
            failed: runs(Outcome::Failed),
            seconds: record.spent.as_secs_f64(),
            last_outcome: record.last.map(|(outcome, _)| outcome.as_str()),
            last_run_at: record.last.map(|(_, at)| at),
            last_success_at: record.last_success_at,
        }
    });
    let place = (asked.after.as_deref(), page::limit(asked.limit)?);
    wanted.page(asked.format, Page::cut("jobs", jobs.collect(), place, |one| one.job.to_owned())?).await
}
