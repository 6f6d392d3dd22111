//! `GET /api/v1/audit/verify`: do the chains fit together?

use axum::Json;
use axum::extract::State;

use super::auth::Caller;
use super::{Problem, Shared};
use crate::verify::{Depth, Report, verify};

/// Whether the chains fit together, link by link. Every row is looked at on the schedule of `audit.verify_every` and by
/// `dosimeter audit verify --full`.
#[utoipa::path(
    get,
    path = "/api/v1/audit/verify",
    tag = "audit",
    operation_id = "verify_audit",
    responses((status = 200, description = "What was looked at, and what does not fit: nothing, in `breaches`, is sound.", body = Report))
)]
pub(super) async fn get(caller: Caller, State(shared): State<Shared>) -> Result<Json<Report>, Problem> {
    caller.require_all_models("the audit trail")?;
    Ok(Json(verify(&shared.context().store, Depth::Chain).await.map_err(Problem::internal)?))
}
