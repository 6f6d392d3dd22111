//! `GET /api/v1/drift`: what has moved away from the reference, the surest first.

use axum::Json;
use axum::extract::State;

use super::auth::Caller;
use super::given::Given;
use super::query::{Parameters, problem};
use super::{Problem, Shared};
use crate::query::drift::{Moved, rank};

/// What has moved away from the reference, the surest first.
#[utoipa::path(
    get,
    path = "/api/v1/drift",
    tag = "numbers",
    operation_id = "rank_drift",
    params(Parameters),
    responses((status = 200, description = "What has moved.", body = Vec<Moved>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    Given(asked): Given<Parameters>,
) -> Result<Json<Vec<Moved>>, Problem> {
    rank(&shared.context(), &asked.question(&caller)?).await.map(Json).map_err(problem)
}
