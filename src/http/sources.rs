//! `GET /api/v1/sources`: every source, how far behind it is, and why it fails if it does.

use axum::Json;
use axum::extract::State;

use super::{Problem, Shared};
use crate::query::sources::{SourceRow, list};

pub(super) async fn get(State(shared): State<Shared>) -> Result<Json<Vec<SourceRow>>, Problem> {
    list(&shared.context()).await.map(Json).map_err(Problem::internal)
}
