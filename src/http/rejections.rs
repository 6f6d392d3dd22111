//! `GET /api/v1/rejections`: refused records with their reasons and what became of them, the latest first.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;

use super::auth::Caller;
use super::{Problem, Shared};
use crate::store::rejection::{Rejection, RejectionFilter};

/// At most so many are listed at once.
const MOST: i64 = 1000;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Of one source only.
    source: Option<String>,
    /// For one reason only.
    reason: Option<String>,
    /// Refused at or after this instant only.
    since: Option<chrono::DateTime<chrono::Utc>>,
    /// Those that have been taken in after all, or those that have not.
    resolved: Option<bool>,
    /// Those before this number only: the next page.
    before: Option<i64>,
}

/// Refused records with their reasons, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/rejections",
    tag = "records",
    operation_id = "list_rejections",
    params(Parameters),
    responses((status = 200, description = "At most a thousand records.", body = Vec<Rejection>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Vec<Rejection>>, Problem> {
    let Query(Parameters { source, reason, since, resolved, before }) =
        parameters.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    if caller.models().is_some() {
        let context = shared.context();
        let Some(name) = &source else {
            return Err(Problem::bad_request("the token is for some models only; name a source of theirs: source="));
        };
        match context.plan.source(name) {
            Some(source) => caller.require_model(&source.model)?,
            None => return Err(Problem::forbidden(format!("there is no source {name:?} of the token's models"))),
        }
    }
    let filter = RejectionFilter { ids: None, source, reason, since, until: None, resolved, before, limit: MOST };
    Ok(Json(shared.context().store.list_rejections(&filter).await.map_err(Problem::internal)?))
}
