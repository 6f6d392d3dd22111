//! `GET /api/v1/diff`: what was known then and what is known now; `GET /api/v1/diff/cases`: the cases that make the difference.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::auth::Caller;
use super::given::Given;
use super::page::{self, Format, Page, Wanted};
use super::query::{MOST_ROWS, problem};
use super::table::{Column, Kind, Tabular};
use super::{Problem, Shared, instant, place};
use crate::access::Role;
use crate::domain::Window;
use crate::domain::window::parse_instant;
use crate::query::Question;
use crate::query::diff::{ChangedCase, Diff, diff};
use crate::store::rows::Knowledge;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// The model.
    model: String,
    /// The version; may be left out while there is only one.
    version: Option<String>,
    /// The output, choice or value.
    output: String,
    /// The slice; all if absent.
    #[param(example = "all", pattern = r"^(all|[^=&\s]+=[^=&\s]+( & [^=&\s]+=[^=&\s]+)*)$")]
    slice: Option<String>,
    /// The first instant; a date alone is its midnight, UTC.
    #[param(format = DateTime)]
    from: String,
    /// The first instant after the window.
    #[param(format = DateTime)]
    to: String,
    /// As known at this instant, by both clocks.
    #[param(format = DateTime)]
    then: String,
    /// As known at this other instant; now if absent.
    #[param(format = DateTime)]
    now: Option<String>,
    /// Of cases: the cursor of a page.
    after: Option<String>,
    /// Of cases: so many on a page: 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// Of cases: the form of the answer; as `Accept` says if absent.
    #[param(inline)]
    format: Option<Format>,
}

impl Tabular for ChangedCase {
    const COLUMNS: &'static [Column] = &[
        ("case_id", Kind::Text),
        ("occurred_at", Kind::Instant),
        ("kind", Kind::Text),
        ("then", Kind::Text),
        ("now", Kind::Text),
        ("source", Kind::Text),
        ("observed_at", Kind::Instant),
        ("observed_by_then", Kind::Flag),
    ];
}

async fn ask(shared: &Shared, given: &Parameters) -> Result<Diff, Problem> {
    let bound = |text: &str| parse_instant(text).map_err(Problem::bad_request);
    let then: DateTime<Utc> = bound(&given.then)?;
    let question = Question {
        model: given.model.clone(),
        version: given.version.clone(),
        output: given.output.clone(),
        slice: place(given.slice.as_deref())?,
        window: Window { from: bound(&given.from)?, to: bound(&given.to)? },
        knowledge: Knowledge::default(),
        thresholds: Vec::new(),
        reference_id: None,
        most_rows: Some(MOST_ROWS),
    };
    diff(&shared.context(), &question, then, instant(given.now.as_ref())?).await.map_err(problem)
}

/// What was known then and what is known now: each metric on both sides, how far the late truths, the revised ones and the late
/// predictions alone move it, and how many cases there are of each.
#[utoipa::path(
    get,
    path = "/api/v1/diff",
    tag = "history",
    operation_id = "diff_knowledge",
    params(Parameters),
    responses((status = 200, description = "The difference.", body = Diff))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    Given(given): Given<Parameters>,
) -> Result<Json<Diff>, Problem> {
    caller.require_model(&given.model)?;
    Ok(Json(ask(&shared, &given).await?))
}

/// The cases that make the difference, by their pseudonyms, in order of their predictions. Besides: the role operate or audit.
#[utoipa::path(
    get,
    path = "/api/v1/diff/cases",
    tag = "history",
    operation_id = "list_diff_cases",
    params(Parameters),
    responses((status = 200, description = "A page.", body = Page<ChangedCase>))
)]
pub(super) async fn cases(
    caller: Caller,
    State(shared): State<Shared>,
    wanted: Wanted,
    Given(given): Given<Parameters>,
) -> Result<Response, Problem> {
    caller.require_model(&given.model)?;
    if !caller.has(Role::Operate) && !caller.has(Role::Audit) {
        return Err(Problem::forbidden(format!(
            "cases are named to those with the role operate or audit, and token {:?} has neither",
            caller.name()
        )));
    }
    let place = (given.after.as_deref(), page::limit(given.limit)?);
    let cases = ask(&shared, &given).await?.cases;
    wanted.page(given.format, Page::cut("cases", cases, place, |case| case.case_id.clone())?).await
}
