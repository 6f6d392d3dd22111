//! `GET /api/v1/sources`: every source, how far behind it is, and why it fails if it does.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};

use super::auth::Caller;
use super::given::Given;
use super::models::Parameters;
use super::page::{self, Page, Wanted};
use super::table::{Column, Kind, Tabular};
use super::{Problem, Shared};
use crate::query::sources::{SourceRow, list};

/// The fields of a [`SourceRow`]; those from `next_at` on are of sources that are asked again and again.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Source)]
#[allow(dead_code, reason = "it describes what a row serialises to")]
struct Fields {
    /// Its name.
    source: String,
    /// How its records come.
    kind: String,
    /// The model that they belong to.
    model: String,
    /// What they are: predictions or assertions.
    record: String,
    /// Where they come from, without secrets.
    place: String,
    /// When it last took records in.
    last_progress_at: Option<DateTime<Utc>>,
    /// Seconds that the latest time of its records is behind the clock.
    lag_seconds: Option<f64>,
    /// It is not asked before.
    next_at: Option<DateTime<Utc>>,
    /// Up to when its rows have used up the rate that the plan allows.
    paid_until: Option<DateTime<Utc>>,
    /// When it last answered and all that it said was committed.
    succeeded_at: Option<DateTime<Utc>>,
    /// The latest time that its records themselves stated.
    newest_at: Option<DateTime<Utc>>,
    /// How much waits to be read, where that is known.
    pending: Option<i64>,
    /// Since when it has failed each time.
    failing_since: Option<DateTime<Utc>>,
    /// How often it has failed since.
    attempts: Option<i32>,
    /// Why it fails, as metrics name it.
    reason: Option<String>,
    /// Why it fails, in words.
    message: Option<String>,
}

/// Every source, how far behind it is, and why it fails if it does.
#[utoipa::path(
    get,
    path = "/api/v1/sources",
    tag = "records",
    operation_id = "list_sources",
    params(Parameters),
    responses((status = 200, description = "A page of the sources of the plan, in its order.", body = Page<Fields>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    wanted: Wanted,
    Given(asked): Given<Parameters>,
) -> Result<Response, Problem> {
    let mut sources = list(&shared.context()).await.map_err(Problem::internal)?;
    sources.retain(|source| caller.sees(&source.model));
    let place = (asked.after.as_deref(), page::limit(asked.limit)?);
    wanted.page(asked.format, Page::cut("sources", sources, place, |one| one.source.clone())?).await
}

impl Tabular for SourceRow {
    const COLUMNS: &'static [Column] = &[
        ("source", Kind::Text),
        ("kind", Kind::Text),
        ("model", Kind::Text),
        ("record", Kind::Text),
        ("place", Kind::Text),
        ("last_progress_at", Kind::Instant),
        ("lag_seconds", Kind::Number),
        ("next_at", Kind::Instant),
        ("paid_until", Kind::Instant),
        ("succeeded_at", Kind::Instant),
        ("newest_at", Kind::Instant),
        ("pending", Kind::Integer),
        ("failing_since", Kind::Instant),
        ("attempts", Kind::Integer),
        ("reason", Kind::Text),
        ("message", Kind::Text),
    ];
}
