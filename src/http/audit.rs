//! `GET /api/v1/audit`: who did what, the latest first. `GET /api/v1/tokens`: the tokens, without their secrets.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::given::Given;
use super::{Problem, Shared};
use crate::access::Token;
use crate::domain::window::parse_instant;
use crate::store::audit::{AuditFilter, AuditRow};

/// At most so many entries are listed at once.
const MOST: i64 = 1000;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Those before this number only: the next page.
    before: Option<i64>,
    /// By whom.
    actor: Option<String>,
    /// An action, or the first words of one: `alert`, `alert fired`.
    action: Option<String>,
    /// To what: `alert 17`.
    subject: Option<String>,
    /// At this instant or later.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Before this instant.
    #[param(format = DateTime)]
    to: Option<String>,
}

/// A token with what it is now.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = TokenShown)]
pub(super) struct Shown {
    /// good, expired or revoked.
    state: &'static str,
    #[serde(flatten)]
    token: Token,
}

/// Who did what, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "audit",
    operation_id = "list_audit",
    params(Parameters),
    responses((status = 200, description = "At most a thousand entries.", body = Vec<AuditRow>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    Given(asked): Given<Parameters>,
) -> Result<Json<Vec<AuditRow>>, Problem> {
    caller.require_all_models("the audit trail")?;
    let instant = |name: &str, text: Option<String>| {
        let parsed = text.map(|text| parse_instant(&text)).transpose();
        parsed.map_err(|why| Problem::bad_request(format!("{name}: {why}")))
    };
    let (from, to) = (instant("from", asked.from)?, instant("to", asked.to)?);
    let Parameters { before, actor, action, subject, .. } = asked;
    let filter = AuditFilter { before, actor, action, subject, text: None, from, to };
    Ok(Json(shared.context().store.list_audit(&filter, MOST).await.map_err(Problem::internal)?))
}

/// The tokens there are and were, without their secrets.
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    tag = "audit",
    operation_id = "list_tokens",
    responses((status = 200, description = "The tokens.", body = Vec<Shown>))
)]
pub(super) async fn tokens(caller: Caller, State(shared): State<Shared>) -> Result<Json<Vec<Shown>>, Problem> {
    caller.require_all_models("the list of tokens")?;
    let context = shared.context();
    let tokens = context.store.list_tokens().await.map_err(Problem::internal)?;
    let now = context.clock.now();
    Ok(Json(tokens.into_iter().map(|token| Shown { state: token.state(now), token }).collect()))
}
