//! `GET /api/v1/drift`: what has moved away from the reference, the surest first.

use axum::Json;
use axum::extract::State;

use super::query::{Asked, parameters, problem};
use super::{Problem, Shared};
use crate::query::drift::{Moved, rank};

pub(super) async fn get(State(shared): State<Shared>, asked: Asked) -> Result<Json<Vec<Moved>>, Problem> {
    rank(&shared.context(), &parameters(asked)?.question()?).await.map(Json).map_err(problem)
}
