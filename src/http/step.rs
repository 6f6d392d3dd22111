//! `POST /api/v1/alerts/{id}/acknowledge`, `resolve` and `silence`: what a person does about an alert.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::alert::{Answer, answer, require};
use super::auth::Caller;
use super::id::Id;
use super::{Problem, Shared};
use crate::person::{self, Person};
use crate::store::alert::HumanStep;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// Who does it; the token alone if absent.
    by: Option<String>,
    /// Why.
    reason: String,
}

impl Step {
    /// The person who does it.
    pub(super) fn person(&self, caller: &Caller) -> Result<Person, Problem> {
        caller.person(self.by.as_deref(), &self.reason)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Silence {
    /// Who does it; the token alone if absent.
    by: Option<String>,
    reason: String,
    /// How long: 4h, 2d.
    r#for: String,
}

/// A silence that was made.
#[derive(Debug, Serialize)]
pub(super) struct Made {
    pub(super) silence_id: i64,
    pub(super) ends_at: DateTime<Utc>,
}

/// A body, or what is wrong with it.
pub(super) fn body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    body.map(|Json(body)| body).map_err(|rejection| Problem::bad_request(rejection.body_text()))
}

/// A span of time, or what is wrong with it.
pub(super) fn length(text: &str) -> Result<Duration, Problem> {
    humantime::parse_duration(text)
        .map_err(|_| Problem::bad_request(format!("for: {text:?} is no duration; write 30m, 4h, 2d")))
}

async fn take(
    caller: &Caller,
    shared: &Shared,
    id: i64,
    step: HumanStep,
    given: Result<Json<Step>, JsonRejection>,
) -> Result<Json<Answer>, Problem> {
    let person = body(given)?.person(caller)?;
    require(caller, shared, id).await?;
    person::step(&shared.context(), id, step, &person).await.map_err(Problem::of_step)?;
    answer(shared, id).await.map(Json)
}

pub(super) async fn acknowledge(
    caller: Caller,
    State(shared): State<Shared>,
    Id(id): Id,
    given: Result<Json<Step>, JsonRejection>,
) -> Result<Json<Answer>, Problem> {
    take(&caller, &shared, id, HumanStep::Acknowledge, given).await
}

pub(super) async fn resolve(
    caller: Caller,
    State(shared): State<Shared>,
    Id(id): Id,
    given: Result<Json<Step>, JsonRejection>,
) -> Result<Json<Answer>, Problem> {
    take(&caller, &shared, id, HumanStep::Resolve, given).await
}

pub(super) async fn silence(
    caller: Caller,
    State(shared): State<Shared>,
    Id(id): Id,
    given: Result<Json<Silence>, JsonRejection>,
) -> Result<Json<Made>, Problem> {
    let Silence { by, reason, r#for } = body(given)?;
    let person = caller.person(by.as_deref(), &reason)?;
    require(&caller, &shared, id).await?;
    let made = person::silence_alert(&shared.context(), id, length(&r#for)?, &person).await;
    let (silence_id, ends_at) = made.map_err(Problem::of_step)?;
    Ok(Json(Made { silence_id, ends_at }))
}
