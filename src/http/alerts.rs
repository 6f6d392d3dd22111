//! `GET /api/v1/alerts`: alerts, the latest first.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::given::Given;
use super::page::{self, Format, Page, Wanted};
use super::table::{Column, Kind, Tabular};
use super::{Problem, Shared, instant};
use crate::store::alert::{AlertFilter, AlertRow};

const LIST: &str = "alerts";

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Only alerts that are open.
    #[serde(default)]
    open: bool,
    /// Of one model only.
    model: Option<String>,
    /// Of one version only.
    version: Option<String>,
    /// Of one rule or watch only.
    rule: Option<String>,
    /// Of one output only.
    output: Option<String>,
    /// Of one slice only, in canonical form.
    slice: Option<String>,
    /// In one state only: pending, firing, acknowledged, resolved, cleared, expired.
    state: Option<String>,
    /// As they were at this instant.
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

/// An alert with the state that people read.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Alert)]
pub(super) struct Shown {
    /// silenced or inhibited while something keeps an open alert quiet, else its state.
    shown: String,
    #[serde(flatten)]
    alert: AlertRow,
}

impl Tabular for Shown {
    const COLUMNS: &'static [Column] = &[
        ("alert_id", Kind::Integer),
        ("shown", Kind::Text),
        ("rule", Kind::Text),
        ("model", Kind::Text),
        ("version", Kind::Text),
        ("output", Kind::Text),
        ("slice", Kind::Text),
        ("severity", Kind::Text),
        ("state", Kind::Text),
        ("breached", Kind::Flag),
        ("since", Kind::Instant),
        ("fired_at", Kind::Instant),
        ("acknowledged_at", Kind::Instant),
        ("told_at", Kind::Instant),
        ("escalation", Kind::Integer),
        ("muted_by", Kind::Text),
        ("muted_until", Kind::Instant),
        ("closed_at", Kind::Instant),
    ];
}

impl From<AlertRow> for Shown {
    fn from(alert: AlertRow) -> Self {
        Self { shown: alert.shown().to_owned(), alert }
    }
}

/// Alerts, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/alerts",
    tag = "alerts",
    operation_id = "list_alerts",
    params(Parameters),
    responses((status = 200, description = "A page.", body = Page<Shown>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    wanted: Wanted,
    Given(asked): Given<Parameters>,
) -> Result<Response, Problem> {
    let limit = page::limit(asked.limit)?;
    let filter = AlertFilter {
        models: caller.scopes(asked.model)?,
        open_only: asked.open,
        version: asked.version,
        rule: asked.rule,
        output: asked.output,
        slice: asked.slice.as_deref().map(super::slice).transpose()?,
        state: asked.state,
        alert_id: None,
        as_of: instant(asked.as_of.as_ref())?,
        before: page::key(LIST, asked.after.as_deref())?,
    };
    let alerts = shared.context().store.find_alerts(&filter, limit + 1).await.map_err(Problem::internal)?;
    let shown = alerts.into_iter().map(Shown::from).collect();
    wanted.page(asked.format, Page::of(LIST, shown, limit, |one| one.alert.alert_id)).await
}
