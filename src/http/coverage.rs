//! `GET /api/v1/coverage`: how many cases of each day have their truth, and how long that took.

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
use crate::domain::Window;
use crate::domain::window::parse_instant;
use crate::query::Question;
use crate::query::coverage::{Covered, coverage};
use crate::store::rows::Knowledge;

const LIST: &str = "coverage";

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
    /// The first instant after the days.
    #[param(format = DateTime)]
    to: String,
    /// Truth that was observed up to then only.
    #[param(format = DateTime)]
    known_at: Option<String>,
    /// Batches up to this number only.
    recorded: Option<i64>,
    /// The cursor of a page.
    after: Option<String>,
    /// So many on a page: 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// The form of the answer; as `Accept` says if absent.
    #[param(inline)]
    format: Option<Format>,
}

impl Tabular for Covered {
    const COLUMNS: &'static [Column] = &[
        ("bucket", Kind::Instant),
        ("predictions", Kind::Integer),
        ("labelled", Kind::Integer),
        ("coverage", Kind::Number),
        ("delay_median_seconds", Kind::Number),
        ("delay_p90_seconds", Kind::Number),
        ("undefined", Kind::Text),
    ];
}

/// How many cases of each day or hour have their truth by the plan's policy, and how long that took.
#[utoipa::path(
    get,
    path = "/api/v1/coverage",
    tag = "history",
    operation_id = "list_coverage",
    params(Parameters),
    responses((status = 200, description = "A page, the earliest day first.", body = Page<Covered>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    wanted: Wanted,
    Given(given): Given<Parameters>,
) -> Result<Response, Problem> {
    caller.require_model(&given.model)?;
    let limit = page::limit(given.limit)?;
    let after: Option<DateTime<Utc>> = page::key(LIST, given.after.as_deref())?;
    let bound = |text: &str| parse_instant(text).map_err(Problem::bad_request);
    let question = Question {
        model: given.model,
        version: given.version,
        output: given.output,
        slice: place(given.slice.as_deref())?,
        window: Window { from: bound(&given.from)?, to: bound(&given.to)? },
        knowledge: Knowledge { known_at: instant(given.known_at.as_ref())?, recorded: given.recorded },
        thresholds: Vec::new(),
        reference_id: None,
        most_rows: Some(MOST_ROWS),
    };
    let items = coverage(&shared.context(), &question, (after, limit + 1)).await.map_err(problem)?;
    wanted.page(given.format, Page::of(LIST, items, limit, |one| one.bucket)).await
}
