//! `GET /api/v1/alerts`: alerts, the latest first.

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::{Problem, Shared};
use crate::store::alert::AlertRow;

/// At most so many alerts are listed.
const MOST: i64 = 1000;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Only alerts that are open.
    #[serde(default)]
    open: bool,
}

/// An alert with the state that people read.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Alert)]
pub(super) struct Shown {
    /// silenced or inhibited while something keeps an open alert quiet, else its state.
    shown: String,
    #[serde(flatten)]
    alert: AlertRow,
}

impl From<AlertRow> for Shown {
    fn from(alert: AlertRow) -> Self {
        Self { shown: alert.shown().to_owned(), alert }
    }
}

/// Alerts, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/alerts",
    tag = "alerts",
    operation_id = "list_alerts",
    params(Parameters),
    responses((status = 200, description = "At most a thousand alerts.", body = Vec<Shown>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Vec<Shown>>, Problem> {
    let Query(parameters) = parameters.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let mut alerts = shared.context().store.list_alerts(parameters.open, MOST).await.map_err(Problem::internal)?;
    alerts.retain(|alert| caller.sees(&alert.model));
    Ok(Json(alerts.into_iter().map(Shown::from).collect()))
}
