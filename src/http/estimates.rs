//! `GET /api/v1/estimates`: what was published, the latest first; `GET /api/v1/estimates/{id}`: one of it.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::auth::Caller;
use super::given::Given;
use super::id::Id;
use super::page::{self, Format, Page, Wanted};
use super::query::problem;
use super::table::{Column, Kind, Tabular, object};
use super::{Problem, Shared, instant};
use crate::domain::Exactness;
use crate::history::{self, Published};
use crate::query::Row;
use crate::store::series::{EstimateFilter, Span};

const LIST: &str = "estimates";

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Of one model only.
    model: Option<String>,
    /// Of one version only.
    version: Option<String>,
    /// Of one output only.
    output: Option<String>,
    /// Of one slice only, in canonical form.
    #[param(example = "all", pattern = r"^(all|[^=&\s]+=[^=&\s]+( & [^=&\s]+=[^=&\s]+)*)$")]
    slice: Option<String>,
    /// Of one window of the plan only.
    #[param(example = "30d")]
    window: Option<String>,
    /// Windows that end at this instant or after it.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Windows that end at this instant or before it.
    #[param(format = DateTime)]
    to: Option<String>,
    /// What had been published by this instant only.
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

/// The columns of a metric in a table.
pub(super) const METRIC: [Column; 15] = [
    ("metric", Kind::Text),
    ("value", Kind::Number),
    ("lower", Kind::Number),
    ("upper", Kind::Number),
    ("method", Kind::Text),
    ("standard_error", Kind::Number),
    ("n", Kind::Integer),
    ("positives", Kind::Integer),
    ("exactness", Kind::Text),
    ("exact_lower", Kind::Number),
    ("exact_upper", Kind::Number),
    ("null_95", Kind::Number),
    ("p_value", Kind::Number),
    ("undefined", Kind::Text),
    ("reason", Kind::Text),
];

/// A metric as the cells of a row: a number with its interval and n, or the reason why there is none.
pub(super) fn metric_cells(row: &Row) -> Map<String, Value> {
    let mut cells = object(row);
    let reason = row.undefined.as_ref().map(|why| why.code().to_owned());
    cells.insert("undefined".into(), reason.map_or(Value::Null, Value::from));
    if let Some(estimate) = &row.estimate {
        if let Some(interval) = &estimate.interval {
            cells.insert("lower".into(), interval.lower.into());
            cells.insert("upper".into(), interval.upper.into());
            cells.insert("method".into(), interval.method.clone().into());
        }
        let word = match estimate.exactness {
            Exactness::Exact => "exact",
            Exactness::Approximate => "approximate",
            Exactness::Bracket { lower, upper } => {
                cells.insert("exact_lower".into(), lower.into());
                cells.insert("exact_upper".into(), upper.into());
                "bracket"
            }
        };
        cells.insert("exactness".into(), word.into());
    }
    cells
}

/// A row for each metric of an item, with the cells that all of them share.
pub(super) fn by_metric<T: serde::Serialize>(item: &T, metrics: &[Row]) -> Vec<Map<String, Value>> {
    let mut shared = object(item);
    shared.remove("metrics");
    let row = |metric: &Row| shared.clone().into_iter().chain(metric_cells(metric)).collect();
    metrics.iter().map(row).collect()
}

/// The columns of a published metric.
const PUBLISHED: [Column; 15] = [
    ("estimate_id", Kind::Integer),
    ("model", Kind::Text),
    ("version", Kind::Text),
    ("output", Kind::Text),
    ("slice", Kind::Text),
    ("window", Kind::Text),
    ("from", Kind::Instant),
    ("to", Kind::Instant),
    ("known_at", Kind::Instant),
    ("recorded", Kind::Integer),
    ("plan_id", Kind::Integer),
    ("reference_id", Kind::Integer),
    ("calculator", Kind::Integer),
    ("input_digest", Kind::Text),
    ("estimated_at", Kind::Instant),
];

/// Columns, and those of a metric behind them.
pub(super) const fn with_metric<const N: usize, const ALL: usize>(own: [Column; N]) -> [Column; ALL] {
    let mut columns = [("", Kind::Text); ALL];
    let mut index = 0;
    while index < ALL {
        columns[index] = if index < N { own[index] } else { METRIC[index - N] };
        index += 1;
    }
    columns
}

impl Tabular for Published {
    const COLUMNS: &'static [Column] = &with_metric::<15, 30>(PUBLISHED);

    fn rows(&self) -> Vec<Map<String, Value>> {
        by_metric(self, &self.metrics)
    }
}

/// Published estimates, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/estimates",
    tag = "history",
    operation_id = "list_estimates",
    params(Parameters),
    responses((status = 200, description = "A page; as a table a row for each metric.", body = Page<Published>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    wanted: Wanted,
    Given(asked): Given<Parameters>,
) -> Result<Response, Problem> {
    let limit = page::limit(asked.limit)?;
    let filter = EstimateFilter {
        models: caller.scopes(asked.model)?,
        version: asked.version,
        output: asked.output,
        slice: asked.slice.as_deref().map(super::slice).transpose()?,
        window: asked.window,
        span: Span {
            from: instant(asked.from.as_ref())?,
            to: instant(asked.to.as_ref())?,
            as_of: instant(asked.as_of.as_ref())?,
        },
        before: page::key(LIST, asked.after.as_deref())?,
    };
    let items = history::estimates(&shared.context(), &filter, limit + 1).await.map_err(problem)?;
    wanted.page(asked.format, Page::of(LIST, items, limit, |one| one.estimate_id)).await
}

/// One published estimate.
#[utoipa::path(
    get,
    path = "/api/v1/estimates/{id}",
    tag = "history",
    operation_id = "load_estimate",
    params(("id" = i64, Path, description = "The number.")),
    responses((status = 200, description = "The estimate.", body = Published))
)]
pub(super) async fn get_one(
    caller: Caller,
    State(shared): State<Shared>,
    Id(id): Id,
) -> Result<Json<Published>, Problem> {
    let published = history::estimate(&shared.context(), id).await.map_err(problem)?;
    caller.require_model(&published.model)?;
    Ok(Json(published))
}
