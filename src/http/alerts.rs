//! `GET /api/v1/alerts`: alerts, the latest first.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;

use super::{Problem, Shared};
use crate::store::alert::AlertRow;

/// At most so many alerts are listed.
const MOST: i64 = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    /// Only alerts that are open.
    #[serde(default)]
    open: bool,
}

pub(super) async fn get(
    State(shared): State<Shared>,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Vec<AlertRow>>, Problem> {
    let Query(parameters) = parameters.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let alerts = shared.context().store.list_alerts(parameters.open, MOST).await.map_err(Problem::internal)?;
    Ok(Json(alerts))
}
