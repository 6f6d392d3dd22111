//! `GET /api/v1/health`: every rule on the data of the models, its verdict and its reason.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::auth::Caller;
use super::given::Given;
use super::page::{self, Format, Page, Wanted};
use super::table::{Column, Kind, Tabular};
use super::{Problem, Shared};
use crate::store::health::HealthRow;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Of one model only.
    model: Option<String>,
    /// The cursor of a page.
    after: Option<String>,
    /// So many on a page: 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// The form of the answer; as `Accept` says if absent.
    #[param(inline)]
    format: Option<Format>,
}

impl Tabular for HealthRow {
    const COLUMNS: &'static [Column] = &[
        ("model", Kind::Text),
        ("rule", Kind::Text),
        ("subject", Kind::Text),
        ("severity", Kind::Text),
        ("verdict", Kind::Text),
        ("reason", Kind::Text),
        ("usual", Kind::Text),
        ("since", Kind::Instant),
        ("changed_at", Kind::Instant),
        ("judged_at", Kind::Instant),
    ];
}

/// Whether the data of each model comes, and whole: every rule, its verdict and its reason.
#[utoipa::path(
    get,
    path = "/api/v1/health",
    tag = "numbers",
    operation_id = "list_health",
    params(Parameters),
    responses((status = 200, description = "A page.", body = Page<HealthRow>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    wanted: Wanted,
    Given(Parameters { model, after, limit, format }): Given<Parameters>,
) -> Result<Response, Problem> {
    let place = (after.as_deref(), page::limit(limit)?);
    let context = shared.context();
    if let Some(unknown) = model.as_ref().filter(|model| context.plan.model(model).is_none()) {
        let names: Vec<&str> = context.plan.models.iter().map(|model| model.name.as_str()).collect();
        let problem = format!("there is no model {unknown:?}; known are {}", names.join(", "));
        return Err(Problem::not_found(problem));
    }
    model.as_ref().map(|model| caller.require_model(model)).transpose()?;
    let mut rows = context.store.list_health().await.map_err(Problem::internal)?;
    rows.retain(|row| caller.sees(&row.model) && model.as_ref().is_none_or(|model| row.model == *model));
    let key = |row: &HealthRow| format!("{}/{}/{}", row.model, row.rule, row.subject);
    wanted.page(format, Page::cut("health", rows, place, key)?).await
}
