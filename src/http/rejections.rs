//! `GET /api/v1/rejections`: refused records with their reasons and what became of them, the latest first.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::auth::Caller;
use super::given::Given;
use super::page::{self, Format, Page, Wanted};
use super::table::{Column, Kind, Tabular};
use super::{Problem, Shared};
use crate::store::rejection::{Rejection, RejectionFilter};

const LIST: &str = "rejections";

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Of one source only.
    source: Option<String>,
    /// For one reason only.
    reason: Option<String>,
    /// Refused at or after this instant only.
    since: Option<chrono::DateTime<chrono::Utc>>,
    /// Those that have been taken in after all, or those that have not.
    resolved: Option<bool>,
    /// The cursor of a page.
    after: Option<String>,
    /// So many on a page: 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// The form of the answer; as `Accept` says if absent.
    #[param(inline)]
    format: Option<Format>,
}

impl Tabular for Rejection {
    const COLUMNS: &'static [Column] = &[
        ("rejection_id", Kind::Integer),
        ("source", Kind::Text),
        ("origin", Kind::Text),
        ("line", Kind::Integer),
        ("item", Kind::Integer),
        ("field", Kind::Text),
        ("reason", Kind::Text),
        ("message", Kind::Text),
        ("payload", Kind::Text),
        ("rejected_at", Kind::Instant),
        ("replayed_at", Kind::Instant),
        ("resolved_at", Kind::Instant),
    ];
}

/// Refused records with their reasons, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/rejections",
    tag = "records",
    operation_id = "list_rejections",
    params(Parameters),
    responses((status = 200, description = "A page.", body = Page<Rejection>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    wanted: Wanted,
    Given(Parameters { source, reason, since, resolved, after, limit, format }): Given<Parameters>,
) -> Result<Response, Problem> {
    let (limit, before) = (page::limit(limit)?, page::key(LIST, after.as_deref())?);
    if caller.models().is_some() {
        let context = shared.context();
        let Some(name) = &source else {
            return Err(Problem::bad_request("the token is for some models only; name a source of theirs: source="));
        };
        match context.plan.source(name) {
            Some(source) => caller.require_model(&source.model)?,
            None => return Err(Problem::forbidden(format!("there is no source {name:?} of the token's models"))),
        }
    }
    let filter = RejectionFilter { ids: None, source, reason, since, until: None, resolved, before, limit: limit + 1 };
    let rejections = shared.context().store.list_rejections(&filter).await.map_err(Problem::internal)?;
    wanted.page(format, Page::of(LIST, rejections, limit, |one| one.rejection_id)).await
}
