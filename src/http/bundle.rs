//! `GET /api/v1/bundle`: the evidence about one version in one period, as one archive.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::auth::Caller;
use super::given::Given;
use super::{Problem, Shared};
use crate::bundle::{Asked, Error, make};
use crate::domain::Window;
use crate::domain::window::parse_instant;
use crate::person::Person;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// The model.
    model: String,
    /// The version; may be left out while the model has only one.
    version: Option<String>,
    /// First day or instant of the period.
    #[param(format = DateTime)]
    from: String,
    /// First day or instant after it.
    #[param(format = DateTime)]
    to: String,
    /// As published up to this instant; now if absent.
    #[param(format = DateTime)]
    as_of: Option<String>,
    /// Batches up to this number only; those of `as_of` if absent.
    recorded: Option<i64>,
    /// Why it is made; kept in the audit trail.
    reason: Option<String>,
}

/// Plan, estimates, alerts with their human steps, coverage, evidence and audit of one version in one period: a report to read and to
/// print, and the same as CSV and Parquet. The same question gives the same bytes. Making one is an entry of the audit trail.
#[utoipa::path(
    get,
    path = "/api/v1/bundle",
    tag = "audit",
    operation_id = "make_bundle",
    params(Parameters),
    responses((status = 200, description = "The archive.", body = Vec<u8>, content_type = "application/zip"))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    Given(asked): Given<Parameters>,
) -> Result<Response, Problem> {
    // The archive holds the audit trail of the period, which is of all models.
    caller.require_all_models("the audit trail")?;
    let instant = |text: &String| parse_instant(text).map_err(Problem::bad_request);
    let reason = asked.reason.as_deref().unwrap_or("asked by HTTP");
    let asked = Asked {
        period: Window { from: instant(&asked.from)?, to: instant(&asked.to)? },
        as_of: asked.as_of.as_ref().map(instant).transpose()?,
        recorded: asked.recorded,
        model: asked.model,
        version: asked.version,
    };
    let person = Person::new(&format!("token {}", caller.name()), reason).map_err(Problem::internal)?;
    let bundle = make(&shared.context(), &asked, &person).await.map_err(problem)?;
    let name = format!("attachment; filename=\"{}\"", bundle.name);
    Ok(([(CONTENT_TYPE, "application/zip".to_owned()), (CONTENT_DISPOSITION, name)], bundle.bytes).into_response())
}

fn problem(error: Error) -> Problem {
    match error {
        Error::Unknown(message) => Problem::not_found(message),
        Error::Refused(message) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, message),
        Error::Store(_) | Error::Table(_) | Error::Archive(_) => Problem::internal(error),
    }
}
