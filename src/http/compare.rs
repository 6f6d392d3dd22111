//! `GET /api/v1/compare`: two versions, or two slices.

use axum::Json;
use axum::extract::State;

use super::auth::Caller;
use super::given::Given;
use super::query::{Parameters, problem};
use super::{Problem, Shared, place};
use crate::query::compare::{Against, Comparison, compare};

/// Two versions, or two slices.
#[utoipa::path(
    get,
    path = "/api/v1/compare",
    tag = "numbers",
    operation_id = "compare",
    params(Parameters),
    responses((status = 200, description = "The differences.", body = Comparison))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    Given(asked): Given<Parameters>,
) -> Result<Json<Comparison>, Problem> {
    let slice = asked.against_slice.as_deref().map(|text| place(Some(text))).transpose()?;
    let against = Against { version: asked.against_version.clone(), slice };
    compare(&shared.context(), &asked.question(&caller)?, &against).await.map(Json).map_err(problem)
}
