//! `GET /api/v1/health`: every rule on the data of the models, its verdict and its reason.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::auth::Caller;
use super::given::Given;
use super::{Problem, Shared};
use crate::store::health::HealthRow;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Of one model only.
    model: Option<String>,
}

/// Whether the data of each model comes, and whole: every rule, its verdict and its reason.
#[utoipa::path(
    get,
    path = "/api/v1/health",
    tag = "numbers",
    operation_id = "list_health",
    params(Parameters),
    responses((status = 200, description = "The rules.", body = Vec<HealthRow>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    Given(Parameters { model }): Given<Parameters>,
) -> Result<Json<Vec<HealthRow>>, Problem> {
    let context = shared.context();
    if let Some(unknown) = model.as_ref().filter(|model| context.plan.model(model).is_none()) {
        let names: Vec<&str> = context.plan.models.iter().map(|model| model.name.as_str()).collect();
        let problem = format!("there is no model {unknown:?}; known are {}", names.join(", "));
        return Err(Problem::not_found(problem));
    }
    model.as_ref().map(|model| caller.require_model(model)).transpose()?;
    let mut rows = context.store.list_health().await.map_err(Problem::internal)?;
    rows.retain(|row| caller.sees(&row.model) && model.as_ref().is_none_or(|model| row.model == *model));
    Ok(Json(rows))
}
