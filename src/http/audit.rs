//! `GET /api/v1/audit`: who did what, the latest first. `GET /api/v1/tokens`: the tokens, without their secrets.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::given::Given;
use super::models::Parameters as Paged;
use super::page::{self, Format, Page, Wanted};
use super::table::{Column, Kind, Tabular};
use super::{Problem, Shared, instant};
use crate::access::Token;
use crate::store::audit::{AuditFilter, AuditRow};

const LIST: &str = "audit";

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Those before this number only.
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
    /// Words that its actor, action, subject, reason or particulars contain, whatever their case.
    text: Option<String>,
    /// The cursor of a page.
    after: Option<String>,
    /// So many on a page: 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// The form of the answer; as `Accept` says if absent.
    #[param(inline)]
    format: Option<Format>,
}

impl Tabular for AuditRow {
    const COLUMNS: &'static [Column] = &[
        ("audit_id", Kind::Integer),
        ("at", Kind::Instant),
        ("written_at", Kind::Instant),
        ("actor", Kind::Text),
        ("action", Kind::Text),
        ("subject", Kind::Text),
        ("reason", Kind::Text),
        ("detail", Kind::Text),
        ("hash", Kind::Text),
    ];
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

impl Tabular for Shown {
    const COLUMNS: &'static [Column] = &[
        ("token_id", Kind::Integer),
        ("name", Kind::Text),
        ("state", Kind::Text),
        ("roles", Kind::Text),
        ("models", Kind::Text),
        ("created_at", Kind::Instant),
        ("created_by", Kind::Text),
        ("rotated_at", Kind::Instant),
        ("last_used_at", Kind::Instant),
        ("expires_at", Kind::Instant),
        ("revoked_at", Kind::Instant),
        ("revoked_by", Kind::Text),
        ("revoked_reason", Kind::Text),
    ];
}

/// Who did what, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "audit",
    operation_id = "list_audit",
    params(Parameters),
    responses((status = 200, description = "A page.", body = Page<AuditRow>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    wanted: Wanted,
    Given(asked): Given<Parameters>,
) -> Result<Response, Problem> {
    caller.require_all_models("the audit trail")?;
    let limit = page::limit(asked.limit)?;
    let after: Option<i64> = page::key(LIST, asked.after.as_deref())?;
    let (from, to) = (instant(asked.from.as_ref())?, instant(asked.to.as_ref())?);
    let Parameters { before, actor, action, subject, text, format, .. } = asked;
    let filter = AuditFilter { before: before.into_iter().chain(after).min(), actor, action, subject, text, from, to };
    let entries = shared.context().store.list_audit(&filter, limit + 1).await.map_err(Problem::internal)?;
    wanted.page(format, Page::of(LIST, entries, limit, |one| one.audit_id)).await
}

/// The tokens there are and were, without their secrets, in the order in which they were made.
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    tag = "audit",
    operation_id = "list_tokens",
    params(Paged),
    responses((status = 200, description = "A page.", body = Page<Shown>))
)]
pub(super) async fn tokens(
    caller: Caller,
    State(shared): State<Shared>,
    wanted: Wanted,
    Given(asked): Given<Paged>,
) -> Result<Response, Problem> {
    caller.require_all_models("the list of tokens")?;
    let place = (asked.after.as_deref(), page::limit(asked.limit)?);
    let context = shared.context();
    let tokens = context.store.list_tokens().await.map_err(Problem::internal)?;
    let now = context.clock.now();
    let tokens = tokens.into_iter().map(|token| Shown { state: token.state(now), token }).collect();
    wanted.page(asked.format, Page::cut("tokens", tokens, place, |one: &Shown| one.token.token_id)?).await
}
