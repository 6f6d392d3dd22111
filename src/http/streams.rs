//! `GET /api/v1/streams`: where the alarm engine stands; `GET /api/v1/stream`: one stream day by day.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::auth::Caller;
use super::given::Given;
use super::{Problem, Shared};
use crate::domain::window::parse_instant;
use crate::query::streams::{Asked, Listing, Shown, list, show};

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Of one model only.
    model: Option<String>,
    /// Of one version only.
    version: Option<String>,
    /// Of one watch only.
    watch: Option<String>,
    /// Of one output only.
    output: Option<String>,
    /// Of one slice only, in canonical form.
    slice: Option<String>,
    /// Of one stream: up to this instant; now if absent.
    #[param(format = DateTime)]
    to: Option<String>,
}

impl Parameters {
    fn asked(self, caller: &Caller) -> Result<(Asked, Option<DateTime<Utc>>), Problem> {
        let Self { model, version, watch, output, slice, to } = self;
        let model = caller.scope(model)?;
        let to = to.map(|to| parse_instant(&to)).transpose().map_err(Problem::bad_request)?;
        Ok((Asked { model, version, watch, output, slice }, to))
    }
}

/// Where the alarm engine stands: the budgets and every stream.
#[utoipa::path(
    get,
    path = "/api/v1/streams",
    tag = "numbers",
    operation_id = "list_streams",
    params(Parameters),
    responses((status = 200, description = "The streams.", body = Listing))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    Given(parameters): Given<Parameters>,
) -> Result<Json<Listing>, Problem> {
    let (asked, _) = parameters.asked(&caller)?;
    Ok(Json(list(&shared.context(), &asked).await.map_err(super::query::problem)?))
}

/// One stream of the alarm engine day by day.
#[utoipa::path(
    get,
    path = "/api/v1/stream",
    tag = "numbers",
    operation_id = "load_stream",
    params(Parameters),
    responses((status = 200, description = "The stream.", body = Shown))
)]
pub(super) async fn get_one(
    caller: Caller,
    State(shared): State<Shared>,
    Given(parameters): Given<Parameters>,
) -> Result<Json<Shown>, Problem> {
    let (asked, to) = parameters.asked(&caller)?;
    Ok(Json(show(&shared.context(), &asked, to).await.map_err(super::query::problem)?))
}
