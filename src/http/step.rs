//! `POST /api/v1/alerts/{id}/acknowledge`, `resolve`, `silence` and `comment`: what a person does about an alert.

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

/// A text in a body of so many characters, not of blanks alone.
macro_rules! text {
    ($(#[doc = $doc:literal])+ $name:ident, $longest:literal, $controls:literal) => {
        $(#[doc = $doc])+
        #[derive(Debug, Deserialize)]
        pub(super) struct $name(String);

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                let text = utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .description(Some(concat!($($doc),+).trim()))
                    .min_length(Some(1))
                    .max_length(Some($longest))
                    .pattern(Some(concat!("^[^", $controls, "]*[^\\s", $controls, "][^", $controls, "]*$")));
                text.into()
            }
        }

        impl utoipa::ToSchema for $name {}

        impl std::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }
    };
}

text! {
    /// Whoever does something: a line.
    By, 100, r"\x00-\x1F\x7F-\x9F"
}

text! {
    /// Why somebody does something, in a line or several; the audit trail keeps it.
    Reason, 2000, r"\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F"
}

/// A span of time: 30m, 4h, 2d.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(example = "4h", pattern = "^[1-9][0-9]{0,3}(m|h|d)$")]
pub(super) struct Length(String);

impl Length {
    /// The span, or what is wrong with it.
    pub(super) fn parse(&self) -> Result<Duration, Problem> {
        length(&self.0)
    }
}

/// A span of time, or what is wrong with it.
pub(super) fn length(text: &str) -> Result<Duration, Problem> {
    humantime::parse_duration(text)
        .map_err(|_| Problem::bad_request(format!("for: {text:?} is no duration; write 30m, 4h, 2d")))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// Who does it; the token alone if absent.
    by: Option<By>,
    /// Why; the audit trail keeps it.
    reason: Reason,
}

impl Step {
    /// The person who does it.
    pub(super) fn person(&self, caller: &Caller) -> Result<Person, Problem> {
        caller.person(self.by.as_deref(), &self.reason)
    }
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SilenceOfAlert)]
pub(super) struct Silence {
    /// Who does it; the token alone if absent.
    by: Option<By>,
    /// Why; the audit trail keeps it.
    reason: Reason,
    /// How long.
    r#for: Length,
}

/// A silence that was made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SilenceMade)]
pub(super) struct Made {
    pub(super) silence_id: i64,
    pub(super) ends_at: DateTime<Utc>,
}

/// A body, or what is wrong with it.
pub(super) fn body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    body.map(|Json(body)| body).map_err(|rejection| Problem::bad_request(rejection.body_text()))
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
    person::step(&shared.context(), id, step, &person).await.map_err(Problem::internal)?;
    answer(shared, id).await.map(Json)
}

/// Take an alert up.
#[utoipa::path(
    post,
    path = "/api/v1/alerts/{id}/acknowledge",
    tag = "alerts",
    operation_id = "acknowledge_alert",
    params(("id" = i64, Path, description = "The number.")),
    request_body = Step,
    responses((status = 200, description = "The alert after it.", body = Answer))
)]
pub(super) async fn acknowledge(
    caller: Caller,
    State(shared): State<Shared>,
    Id(id): Id,
    given: Result<Json<Step>, JsonRejection>,
) -> Result<Json<Answer>, Problem> {
    take(&caller, &shared, id, HumanStep::Acknowledge, given).await
}

/// Close an alert.
#[utoipa::path(
    post,
    path = "/api/v1/alerts/{id}/resolve",
    tag = "alerts",
    operation_id = "resolve_alert",
    params(("id" = i64, Path, description = "The number.")),
    request_body = Step,
    responses((status = 200, description = "The alert after it.", body = Answer))
)]
pub(super) async fn resolve(
    caller: Caller,
    State(shared): State<Shared>,
    Id(id): Id,
    given: Result<Json<Step>, JsonRejection>,
) -> Result<Json<Answer>, Problem> {
    take(&caller, &shared, id, HumanStep::Resolve, given).await
}

/// Tell nobody about an alert for a while.
#[utoipa::path(
    post,
    path = "/api/v1/alerts/{id}/silence",
    tag = "alerts",
    operation_id = "silence_alert",
    params(("id" = i64, Path, description = "The number.")),
    request_body = Silence,
    responses((status = 200, description = "The silence.", body = Made))
)]
pub(super) async fn silence(
    caller: Caller,
    State(shared): State<Shared>,
    Id(id): Id,
    given: Result<Json<Silence>, JsonRejection>,
) -> Result<Json<Made>, Problem> {
    let Silence { by, reason, r#for } = body(given)?;
    let person = caller.person(by.as_deref(), &reason)?;
    require(&caller, &shared, id).await?;
    let made = person::silence_alert(&shared.context(), id, r#for.parse()?, &person).await;
    let (silence_id, ends_at) = made.map_err(Problem::internal)?;
    Ok(Json(Made { silence_id, ends_at }))
}

/// Say something about an alert; it changes nothing else.
#[utoipa::path(
    post,
    path = "/api/v1/alerts/{id}/comment",
    tag = "alerts",
    operation_id = "comment_alert",
    params(("id" = i64, Path, description = "The number.")),
    request_body = Step,
    responses((status = 200, description = "The alert after it; what was said stands in its history.", body = Answer))
)]
pub(super) async fn comment(
    caller: Caller,
    State(shared): State<Shared>,
    Id(id): Id,
    given: Result<Json<Step>, JsonRejection>,
) -> Result<Json<Answer>, Problem> {
    let person = body(given)?.person(&caller)?;
    require(&caller, &shared, id).await?;
    person::comment(&shared.context(), id, &person).await.map_err(Problem::internal)?;
    answer(&shared, id).await.map(Json)
}
