//! `GET /api/v1/series`: one stream window by window, as it was published up to an instant, or as it is known.

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
use crate::history::{Asked, recompute, series};
use crate::query::Answer;
use crate::store::rows::Knowledge;
use crate::store::series::Span;

const LIST: &str = "series";

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// The model.
    model: String,
    /// The version; may be left out while there is only one.
    version: Option<String>,
    /// The output, or another quantity.
    output: String,
    /// The slice; all if absent.
    #[param(example = "all", pattern = r"^(all|[^=&\s]+=[^=&\s]+( & [^=&\s]+=[^=&\s]+)*)$")]
    slice: Option<String>,
    /// The window of the plan.
    #[param(example = "30d")]
    window: String,
    /// One metric only, with its threshold or dimension.
    #[param(example = "auroc")]
    metric: Option<String>,
    /// Windows that end at this instant or after it.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Windows that end at this instant or before it.
    #[param(format = DateTime)]
    to: Option<String>,
    /// As it had been published by this instant; not with the two clocks.
    #[param(format = DateTime)]
    as_of: Option<String>,
    /// Made anew, with the truth observed up to this instant: `from` and `to` are needed.
    #[param(format = DateTime)]
    known_at: Option<String>,
    /// Made anew, from the batches up to this number: `from` and `to` are needed.
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

impl Tabular for Answer {
    const COLUMNS: &'static [Column] = &super::estimates::with_metric::<12, 27>([
        ("model", Kind::Text),
        ("version", Kind::Text),
        ("output", Kind::Text),
        ("slice", Kind::Text),
        ("from", Kind::Instant),
        ("to", Kind::Instant),
        ("known_at", Kind::Instant),
        ("recorded", Kind::Integer),
        ("read_from", Kind::Text),
        ("reference_id", Kind::Integer),
        ("plan", Kind::Text),
        ("calculator", Kind::Integer),
    ]);

    fn rows(&self) -> Vec<serde_json::Map<String, serde_json::Value>> {
        super::estimates::by_metric(self, &self.metrics)
    }
}

/// One stream window by window, the earliest first: of each window what was published last, up to an instant if one is given; or, with
/// one of the two clocks, made anew as it was known then.
#[utoipa::path(
    get,
    path = "/api/v1/series",
    tag = "history",
    operation_id = "list_series",
    params(Parameters),
    responses((
        status = 200,
        description = "A page; as a table a row for each metric. What is made anew has no number of an estimate.",
        body = Page<crate::history::Published>
    ))
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
    let span = Span {
        from: instant(given.from.as_ref())?,
        to: instant(given.to.as_ref())?,
        as_of: instant(given.as_of.as_ref())?,
    };
    let asked = Asked {
        model: given.model,
        version: given.version,
        output: given.output,
        slice: place(given.slice.as_deref())?,
        window: given.window,
        metric: given.metric,
        span,
    };
    let knowledge = Knowledge { known_at: instant(given.known_at.as_ref())?, recorded: given.recorded };
    let context = shared.context();
    if knowledge == Knowledge::default() {
        let items = series(&context, &asked, after, limit + 1).await.map_err(problem)?;
        return wanted.page(given.format, Page::of(LIST, items, limit, |one| one.to)).await;
    }
    if span.as_of.is_some() {
        return Err(Problem::refused(
            "as_of asks for what was published, known_at and recorded for what is made anew: give one of them",
        ));
    }
    let items = recompute(&context, &asked, knowledge, (after, limit + 1), Some(MOST_ROWS)).await.map_err(problem)?;
    wanted.page(given.format, Page::of(LIST, items, limit, |one| one.to)).await
}
