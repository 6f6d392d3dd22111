//! `GET /api/v1/plans`: every configuration that was ever in force; `/api/v1/plans/{id}`: one of them, and how it differs from
//! another.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::given::Given;
use super::id::Id;
use super::page::{self, Format, Page, Wanted};
use super::table::{Column, Kind, Tabular};
use super::{Problem, Shared, instant};
use crate::history::plan_diff;
use crate::store::plan::{PlanRow, StoredPlan};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// As of this instant: the plans of then, and which was in force.
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

impl Tabular for PlanRow {
    const COLUMNS: &'static [Column] =
        &[("plan_id", Kind::Integer), ("digest", Kind::Text), ("adopted_at", Kind::Instant), ("in_force", Kind::Flag)];
}

/// A plan.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Plan)]
pub(super) struct Shown {
    /// Its number.
    plan_id: i32,
    /// SHA-256 of the canonical body.
    digest: String,
    /// When it was first adopted.
    adopted_at: DateTime<Utc>,
    /// The canonical body, without secrets.
    body: serde_json::Value,
}

/// How two plans differ.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = PlanDiff)]
pub(super) struct Diff {
    /// The plan.
    plan_id: i32,
    /// The one that it is compared with.
    against: i32,
    /// The lines of the other's body that are gone (-) and those of its own that are new (+), with what stands around them.
    lines: String,
}

/// Plans, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/plans",
    tag = "history",
    operation_id = "list_plans",
    params(Parameters),
    responses((status = 200, description = "A page.", body = Page<PlanRow>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    wanted: Wanted,
    Given(asked): Given<Parameters>,
) -> Result<Response, Problem> {
    caller.require_all_models("the plan")?;
    let (limit, before) = (page::limit(asked.limit)?, page::key("plans", asked.after.as_deref())?);
    let store = shared.context().store;
    let rows = store.page_plans(instant(asked.as_of.as_ref())?, before, limit + 1).await.map_err(Problem::internal)?;
    wanted.page(asked.format, Page::of("plans", rows, limit, |one| one.plan_id)).await
}

/// One plan.
#[utoipa::path(
    get,
    path = "/api/v1/plans/{id}",
    tag = "history",
    operation_id = "load_plan",
    params(("id" = i64, Path, description = "The number.")),
    responses((status = 200, description = "The plan.", body = Shown))
)]
pub(super) async fn get_one(caller: Caller, State(shared): State<Shared>, Id(id): Id) -> Result<Json<Shown>, Problem> {
    caller.require_all_models("the plan")?;
    let StoredPlan { plan_id, digest, body, adopted_at } = load(&shared, id).await?;
    Ok(Json(Shown { plan_id, digest, adopted_at, body }))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Against {
    /// The plan to compare with; the one before if absent.
    against: Option<i64>,
}

/// How a plan differs from another.
#[utoipa::path(
    get,
    path = "/api/v1/plans/{id}/diff",
    tag = "history",
    operation_id = "diff_plans",
    params(("id" = i64, Path, description = "The number."), Against),
    responses((status = 200, description = "The difference.", body = Diff))
)]
pub(super) async fn diff(
    caller: Caller,
    State(shared): State<Shared>,
    Id(id): Id,
    Given(Against { against }): Given<Against>,
) -> Result<Json<Diff>, Problem> {
    caller.require_all_models("the plan")?;
    let plan = load(&shared, id).await?;
    let before = shared.context().store.page_plans(None, Some(plan.plan_id), 1).await.map_err(Problem::internal)?;
    let against = against.or_else(|| before.first().map(|before| before.plan_id.into()));
    let against = against.ok_or_else(|| Problem::not_found(format!("plan {id} is the first one")))?;
    let against = load(&shared, against).await?;
    let lines = plan_diff(&against.body, &plan.body);
    Ok(Json(Diff { plan_id: plan.plan_id, against: against.plan_id, lines }))
}

async fn load(shared: &Shared, id: i64) -> Result<StoredPlan, Problem> {
    let number = i32::try_from(id).map_err(|_| Problem::not_found(format!("there is no plan {id}")))?;
    shared.context().store.load_plan(number).await.map_err(Problem::internal)
}
