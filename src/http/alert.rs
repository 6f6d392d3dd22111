//! `GET /api/v1/alerts/{id}`: one alert with its history, every decision to tell people or not, and its notices.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::alerts::Shown;
use super::auth::Caller;
use super::given::Given;
use super::id::Id;
use super::{Problem, Shared, instant};
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

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// As it was at this instant: with its history up to then, and the notices that had been written.
    #[param(format = DateTime)]
    as_of: Option<String>,
}

/// One alert with its history, every decision to tell people or not, and its notices.
#[utoipa::path(
    get,
    path = "/api/v1/alerts/{id}",
    tag = "alerts",
    operation_id = "load_alert",
    params(("id" = i64, Path, description = "The number."), Parameters),
    responses((status = 200, description = "The alert.", body = Answer))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    Id(id): Id,
    Given(Parameters { as_of }): Given<Parameters>,
) -> Result<Json<Answer>, Problem> {
    require(&caller, &shared, id).await?;
    answer_as_of(&shared, id, instant(as_of.as_ref())?).await.map(Json)
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
    answer_as_of(shared, id, None).await
}

/// Everything about an alert at an instant; now without.
async fn answer_as_of(shared: &Shared, id: i64, as_of: Option<DateTime<Utc>>) -> Result<Answer, Problem> {
    let store = shared.context().store;
    let alert = store.load_alert_as_of(id, as_of).await.map_err(Problem::internal)?.into();
    let history = store.list_alert_events_as_of(id, as_of).await.map_err(Problem::internal)?;
    let notices = store.list_alert_notices_as_of(id, as_of).await.map_err(Problem::internal)?;
    Ok(Answer { alert, history, notices })
}
