//! `GET` and `POST /api/v1/silences`, `POST /api/v1/silences/{id}/end`: what nobody is told of for a while.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::Response;
use serde::Deserialize;

use super::auth::Caller;
use super::given::Given;
use super::id::Id;
use super::page::{self, Format, Page, Wanted};
use super::step::{By, Length, Made, Reason, Step, body};
use super::table::{Column, Kind, Tabular};
use super::{Problem, Shared, instant};
use crate::alert::silence::{ANY, Matcher};
use crate::domain::window::parse_instant;
use crate::person;
use crate::store::silence::{SilenceFilter, SilenceRow};

const LIST: &str = "silences";

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Those that are over, too.
    #[serde(default)]
    all: bool,
    /// As they were known at this instant.
    #[param(format = DateTime)]
    as_of: Option<String>,
    /// The cursor of a page.
    after: Option<String>,
    /// So many on a page: 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// The form of the answer; as `Accept` says if absent.
    #[param(inline)]
    format: Option<Format>,
}

impl Tabular for SilenceRow {
    const COLUMNS: &'static [Column] = &[
        ("silence_id", Kind::Integer),
        ("model", Kind::Text),
        ("version", Kind::Text),
        ("rule", Kind::Text),
        ("output", Kind::Text),
        ("slice", Kind::Text),
        ("starts_at", Kind::Instant),
        ("ends_at", Kind::Instant),
        ("created_by", Kind::Text),
        ("reason", Kind::Text),
        ("ended_at", Kind::Instant),
        ("ended_by", Kind::Text),
        ("ended_reason", Kind::Text),
    ];
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewSilence)]
pub(super) struct New {
    /// The model; any if absent.
    model: Option<String>,
    /// The version; any if absent.
    version: Option<String>,
    /// The rule or watch; any if absent.
    rule: Option<String>,
    /// The output; any if absent.
    output: Option<String>,
    /// The slice, exactly; any if absent.
    slice: Option<String>,
    /// When it begins; now if absent.
    #[schema(format = DateTime)]
    from: Option<String>,
    /// How long.
    r#for: Length,
    /// Who does it; the token alone if absent.
    by: Option<By>,
    /// Why; the audit trail keeps it.
    reason: Reason,
}

/// A silence that was ended.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub(super) struct Ended {
    silence_id: i64,
    ended: bool,
}

/// Silences, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/silences",
    tag = "silences",
    operation_id = "list_silences",
    params(Parameters),
    responses((status = 200, description = "A page.", body = Page<SilenceRow>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    wanted: Wanted,
    Given(asked): Given<Parameters>,
) -> Result<Response, Problem> {
    let (context, limit) = (shared.context(), page::limit(asked.limit)?);
    let filter = SilenceFilter {
        all: asked.all,
        models: caller.scopes(None)?,
        before: page::key(LIST, asked.after.as_deref())?,
    };
    let at = instant(asked.as_of.as_ref())?.unwrap_or_else(|| context.clock.now());
    let silences = context.store.find_silences(&filter, at, limit + 1).await.map_err(Problem::internal)?;
    wanted.page(asked.format, Page::of(LIST, silences, limit, |one| one.silence_id)).await
}

/// Tell nobody about whatever these names cover, for a while.
#[utoipa::path(
    post,
    path = "/api/v1/silences",
    tag = "silences",
    operation_id = "add_silence",
    request_body = New,
    responses((status = 200, description = "The silence.", body = Made))
)]
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
    let made = person::add_silence(&shared.context(), matcher, starts_at, new.r#for.parse()?, &person).await;
    let (silence_id, ends_at) = made.map_err(Problem::internal)?;
    Ok(Json(Made { silence_id, ends_at }))
}

/// End a silence early.
#[utoipa::path(
    post,
    path = "/api/v1/silences/{id}/end",
    tag = "silences",
    operation_id = "end_silence",
    params(("id" = i64, Path, description = "The number.")),
    request_body = Step,
    responses((status = 200, description = "It is over.", body = Ended))
)]
pub(super) async fn end(
    caller: Caller,
    State(shared): State<Shared>,
    Id(id): Id,
    given: Result<Json<Step>, JsonRejection>,
) -> Result<Json<Ended>, Problem> {
    let person = body(given)?.person(&caller)?;
    if caller.models().is_some()
        && let Some(model) = shared.context().store.find_silenced_model(id).await.map_err(Problem::internal)?
    {
        caller.require_model(&model)?;
    }
    person::end_silence(&shared.context(), id, &person).await.map_err(Problem::internal)?;
    Ok(Json(Ended { silence_id: id, ended: true }))
}
