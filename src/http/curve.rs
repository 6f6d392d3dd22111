//! `GET /api/v1/curve`: the points of a curve.

use axum::Json;
use axum::extract::State;

use super::auth::Caller;
use super::given::Given;
use super::query::{Parameters, problem};
use super::{Problem, Shared};
use crate::metric::curve::Curve;
use crate::query::curve::{CurveAnswer, draw};

/// The points of a curve.
#[utoipa::path(
    get,
    path = "/api/v1/curve",
    tag = "numbers",
    operation_id = "draw_curve",
    params(Parameters),
    responses((status = 200, description = "The curve.", body = CurveAnswer))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    Given(asked): Given<Parameters>,
) -> Result<Json<CurveAnswer>, Problem> {
    let kind = asked.kind.unwrap_or(Curve::Roc);
    draw(&shared.context(), &asked.question(&caller)?, kind).await.map(Json).map_err(problem)
}
