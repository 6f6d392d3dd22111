//! `GET` and `POST /api/v1/silences`, `POST /api/v1/silences/{id}/end`: what nobody is told of for a while.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use serde::Deserialize;

use super::auth::Caller;
use super::id::Id;
use super::step::{Made, Step, body, length};
use super::{Problem, Shared};
use crate::alert::silence::{ANY, Matcher};
use crate::domain::window::parse_instant;
use crate::person;
use crate::store::silence::SilenceRow;

/// At most so many silences are listed.
const MOST: i64 = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    /// Those that are over, too.
    #[serde(default)]
    all: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    model: Option<String>,
    version: Option<String>,
    rule: Option<String>,
    output: Option<String>,
    slice: Option<String>,
    /// When it begins; now if absent.
    from: Option<String>,
    /// How long: 4h, 2d.
    r#for: String,
    /// Who does it; the token alone if absent.
    by: Option<String>,
    reason: String,
}

pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Vec<SilenceRow>>, Problem> {
    let Query(parameters) = parameters.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let context = shared.context();
    let silences = context.store.list_silences(parameters.all, context.clock.now(), MOST).await;
    let mut silences = silences.map_err(Problem::internal)?;
    silences.retain(|silence| silence.model == ANY || caller.sees(&silence.model));
    Ok(Json(silences))
}

pub(super) async fn post(
    caller: Caller,
    State(shared): State<Shared>,
    given: Result<Json<New>, JsonRejection>,
) -> Result<Json<Made>, Problem> {
    let new = body(given)?;
    let person = caller.person(new.by.as_deref(), &new.reason)?;
    let or_any = |name: Option<String>| name.unwrap_or_else(|| ANY.to_owned());
    let matcher = Matcher {
        model: or_any(new.model),
        version: or_any(new.version),
        rule: or_any(new.rule),
        output: or_any(new.output),
        slice: or_any(new.slice),
    };
    caller.require_model(&matcher.model)?;
    let starts_at = new.from.as_deref().map(parse_instant).transpose().map_err(Problem::bad_request)?;
    let made = person::add_silence(&shared.context(), matcher, starts_at, length(&new.r#for)?, &person).await;
    let (silence_id, ends_at) = made.map_err(Problem::of_step)?;
    Ok(Json(Made { silence_id, ends_at }))
}

pub(super) async fn end(
    caller: Caller,
    State(shared): State<Shared>,
    Id(id): Id,
    given: Result<Json<Step>, JsonRejection>,
) -> Result<Json<serde_json::Value>, Problem> {
    let person = body(given)?.person(&caller)?;
    if caller.models().is_some()
        && let Some(model) = shared.context().store.find_silenced_model(id).await.map_err(Problem::internal)?
    {
        caller.require_model(&model)?;
    }
    person::end_silence(&shared.context(), id, &person).await.map_err(Problem::of_step)?;
    Ok(Json(serde_json::json!({ "silence_id": id, "ended": true })))
}
