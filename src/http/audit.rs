//! `GET /api/v1/audit`: who did what, the latest first. `GET /api/v1/tokens`: the tokens, without their secrets.

use axum::Json;
use axum::extract::Query;
use axum::extract::State;
use axum::extract::rejection::QueryRejection;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::{Problem, Shared};
use crate::access::Token;
use crate::store::token::AuditRow;

/// At most so many entries are listed at once.
const MOST: i64 = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    /// Those before this number only: the next page.
    before: Option<i64>,
}

/// A token with what it is now.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    /// good, expired or revoked.
    state: &'static str,
    #[serde(flatten)]
    token: Token,
}

pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Vec<AuditRow>>, Problem> {
    caller.require_all_models("the audit trail")?;
    let Query(Parameters { before }) = parameters.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    Ok(Json(shared.context().store.list_audit(before, MOST).await.map_err(Problem::internal)?))
}

pub(super) async fn tokens(caller: Caller, State(shared): State<Shared>) -> Result<Json<Vec<Shown>>, Problem> {
    caller.require_all_models("the list of tokens")?;
    let context = shared.context();
    let tokens = context.store.list_tokens().await.map_err(Problem::internal)?;
    let now = context.clock.now();
    Ok(Json(tokens.into_iter().map(|token| Shown { state: token.state(now), token }).collect()))
}
