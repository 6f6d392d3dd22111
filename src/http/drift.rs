//! `GET /api/v1/drift`: what has moved away from the reference, the surest first.

use axum::Json;
use axum::extract::State;

use super::auth::Caller;
use super::query::{Asked, parameters, problem};
use super::{Problem, Shared};
use crate::query::drift::{Moved, rank};

/// What has moved away from the reference, the surest first.
#[utoipa::path(
    get,
    path = "/api/v1/drift",
    tag = "numbers",
    operation_id = "rank_drift",
    params(super::query::Parameters),
    responses((status = 200, description = "What has moved.", body = Vec<Moved>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    asked: Asked,
) -> Result<Json<Vec<Moved>>, Problem> {
    rank(&shared.context(), &parameters(asked, &caller)?.question()?).await.map(Json).map_err(problem)
}
