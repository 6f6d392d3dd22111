//! `GET /api/v1/alerts/{id}`: one alert with its history, every decision to tell people or not, and its notices.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::alerts::Shown;
use super::auth::Caller;
use super::id::Id;
use super::{Problem, Shared};
use crate::store::alert::EventRow;
use crate::store::outbox::NoticeRow;

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AlertInFull)]
pub(super) struct Answer {
    #[serde(flatten)]
    alert: Shown,
    history: Vec<EventRow>,
    notices: Vec<NoticeRow>,
}

/// One alert with its history, every decision to tell people or not, and its notices.
#[utoipa::path(
    get,
    path = "/api/v1/alerts/{id}",
    tag = "alerts",
    operation_id = "load_alert",
    params(("id" = i64, Path, description = "The number.")),
    responses((status = 200, description = "The alert.", body = Answer))
)]
pub(super) async fn get(caller: Caller, State(shared): State<Shared>, Id(id): Id) -> Result<Json<Answer>, Problem> {
    require(&caller, &shared, id).await?;
    answer(&shared, id).await.map(Json)
}

/// Refuse an alert about a model that the caller may not see.
pub(super) async fn require(caller: &Caller, shared: &Shared, id: i64) -> Result<(), Problem> {
    if caller.models().is_none() {
        return Ok(());
    }
    let alert = shared.context().store.load_alert(id).await.map_err(Problem::internal)?;
    caller.require_model(&alert.model)
}

/// Everything about an alert.
pub(super) async fn answer(shared: &Shared, id: i64) -> Result<Answer, Problem> {
    let store = shared.context().store;
    let alert = store.load_alert(id).await.map_err(Problem::internal)?.into();
    let history = store.list_alert_events(id).await.map_err(Problem::internal)?;
    let notices = store.list_alert_notices(id).await.map_err(Problem::internal)?;
    Ok(Answer { alert, history, notices })
}
