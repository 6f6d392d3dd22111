//! `GET /api/v1/streams`: where the alarm engine stands; `GET /api/v1/stream`: one stream day by day; `GET /api/v1/budget`: what was
//! spent of the budget.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::auth::Caller;
use super::given::Given;
use super::page::{self, Format, Page, Wanted};
use super::query::problem;
use super::table::{Column, Kind, Tabular, object};
use super::{Problem, Shared, instant};
use crate::query::streams::{Asked, Row, Shown, Spent, budget, list, show};

const LIST: &str = "streams";

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listed {
    /// Of one model only.
    model: Option<String>,
    /// Of one version only.
    version: Option<String>,
    /// Of one watch only.
    watch: Option<String>,
    /// Of one output only.
    output: Option<String>,
    /// Of one slice only, in canonical form.
    slice: Option<String>,
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

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct One {
    /// The model; may be left out where the rest says which stream is meant.
    model: Option<String>,
    /// The version.
    version: Option<String>,
    /// The watch.
    watch: Option<String>,
    /// The output.
    output: Option<String>,
    /// The slice in canonical form.
    slice: Option<String>,
    /// Days before this instant only.
    #[param(format = DateTime)]
    to: Option<String>,
    /// As it was at this instant.
    #[param(format = DateTime)]
    as_of: Option<String>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Then {
    /// As it was at this instant.
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

impl Tabular for Row {
    const COLUMNS: &'static [Column] = &[
        ("stream_id", Kind::Integer),
        ("model", Kind::Text),
        ("version", Kind::Text),
        ("watch", Kind::Text),
        ("measure", Kind::Text),
        ("method", Kind::Text),
        ("output", Kind::Text),
        ("slice", Kind::Text),
        ("starts", Kind::Instant),
        ("looked_until", Kind::Instant),
        ("reference_id", Kind::Integer),
        ("null", Kind::Text),
        ("unwatched", Kind::Text),
        ("reason", Kind::Text),
        ("dependent", Kind::Text),
        ("watched", Kind::Flag),
        ("tier", Kind::Text),
        ("day", Kind::Instant),
        ("evidence", Kind::Number),
        ("threshold", Kind::Number),
        ("weight", Kind::Number),
        ("change", Kind::Instant),
    ];

    /// A row for each tier; one for a stream that cannot be watched.
    fn rows(&self) -> Vec<Map<String, Value>> {
        let mut own = object(self);
        own.remove("tiers");
        if self.tiers.is_empty() {
            return vec![own];
        }
        self.tiers.iter().map(|tier| own.clone().into_iter().chain(object(tier)).collect()).collect()
    }
}

impl Tabular for Spent {
    const COLUMNS: &'static [Column] = &[("tier", Kind::Text), ("allowed", Kind::Number), ("raised", Kind::Integer)];
}

/// Where the alarm engine stands: every stream in force, with its evidence tier by tier.
#[utoipa::path(
    get,
    path = "/api/v1/streams",
    tag = "numbers",
    operation_id = "list_streams",
    params(Listed),
    responses((status = 200, description = "A page; as a table a row for each tier.", body = Page<Row>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    wanted: Wanted,
    Given(given): Given<Listed>,
) -> Result<Response, Problem> {
    let Listed { model, version, watch, output, slice, as_of, after, limit, format } = given;
    let (limit, after): (_, Option<i64>) = (page::limit(limit)?, page::key(LIST, after.as_deref())?);
    let as_of = instant(as_of.as_ref())?;
    let asked = Asked { model: caller.scope(model)?, version, watch, output, slice, as_of };
    let mut streams = list(&shared.context(), &asked).await.map_err(problem)?;
    streams.retain(|one| after.is_none_or(|after| one.stream_id > after));
    wanted.page(format, Page::of(LIST, streams, limit, |one| one.stream_id)).await
}

/// What the budget of false alarms allows in a year, and what was raised in the last 365 days.
#[utoipa::path(
    get,
    path = "/api/v1/budget",
    tag = "numbers",
    operation_id = "load_budget",
    params(Then),
    responses((status = 200, description = "The tiers that have one.", body = Page<Spent>))
)]
pub(super) async fn get_budget(
    caller: Caller,
    State(shared): State<Shared>,
    wanted: Wanted,
    Given(Then { as_of, after, limit, format }): Given<Then>,
) -> Result<Response, Problem> {
    caller.require_all_models("the budget")?;
    let place = (after.as_deref(), page::limit(limit)?);
    let spent = budget(&shared.context(), instant(as_of.as_ref())?).await.map_err(problem)?;
    wanted.page(format, Page::cut("budget", spent, place, |one| one.tier.as_str().to_owned())?).await
}

/// One stream of the alarm engine day by day.
#[utoipa::path(
    get,
    path = "/api/v1/stream",
    tag = "numbers",
    operation_id = "load_stream",
    params(One),
    responses((status = 200, description = "The stream.", body = Shown))
)]
pub(super) async fn get_one(
    caller: Caller,
    State(shared): State<Shared>,
    Given(given): Given<One>,
) -> Result<Json<Shown>, Problem> {
    let One { model, version, watch, output, slice, to, as_of } = given;
    let (to, as_of) = (instant(to.as_ref())?, instant(as_of.as_ref())?);
    let asked = Asked { model: caller.scope(model)?, version, watch, output, slice, as_of };
    Ok(Json(show(&shared.context(), &asked, to).await.map_err(problem)?))
}
