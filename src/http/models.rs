//! `GET /api/v1/models`: the monitored models; `GET /api/v1/versions`: their releases.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::given::Given;
use super::page::{self, Format, Page, Wanted};
use super::table::{Column, Kind, Tabular};
use super::{Problem, Shared};
use crate::config::Quantity;
use crate::store::catalog::VersionRow;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// The cursor of a page.
    pub(super) after: Option<String>,
    /// So many on a page: 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<i64>,
    /// The form of the answer; as `Accept` says if absent.
    #[param(inline)]
    pub(super) format: Option<Format>,
}

/// A monitored model.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Model)]
pub(super) struct Shown {
    /// Its name.
    model: String,
    /// Length of its buckets: day or hour.
    bucket: &'static str,
    /// All that is estimated of it.
    outputs: Vec<String>,
    /// Its slice dimensions.
    dimensions: Vec<String>,
    /// Its crossings of dimensions.
    crossings: Vec<String>,
    /// Its published windows.
    windows: Vec<String>,
    /// Cases with truth below which performance is withheld.
    minimum_n: u64,
    /// Its alert rules and watches.
    rules: Vec<String>,
}

impl Tabular for Shown {
    const COLUMNS: &'static [Column] = &[
        ("model", Kind::Text),
        ("bucket", Kind::Text),
        ("outputs", Kind::Text),
        ("dimensions", Kind::Text),
        ("crossings", Kind::Text),
        ("windows", Kind::Text),
        ("minimum_n", Kind::Integer),
        ("rules", Kind::Text),
    ];
}

/// The models of the plan in force, in its order.
#[utoipa::path(
    get,
    path = "/api/v1/models",
    tag = "history",
    operation_id = "list_models",
    params(Parameters),
    responses((status = 200, description = "A page.", body = Page<Shown>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    wanted: Wanted,
    Given(asked): Given<Parameters>,
) -> Result<Response, Problem> {
    let context = shared.context();
    let models = context.plan.models.iter().filter(|model| caller.sees(&model.name)).map(|model| Shown {
        model: model.name.clone(),
        bucket: model.bucket.as_str(),
        outputs: model.quantities().iter().map(Quantity::name).collect(),
        dimensions: model.dimensions.iter().map(|dimension| dimension.name.clone()).collect(),
        crossings: model.crossings.iter().map(|names| names.join(" & ")).collect(),
        windows: model.windows.iter().map(ToString::to_string).collect(),
        minimum_n: model.minimum_n,
        rules: model
            .alerts
            .iter()
            .map(|rule| rule.name.clone())
            .chain(model.watches.iter().map(|watch| watch.name.clone()))
            .collect(),
    });
    let place = (asked.after.as_deref(), page::limit(asked.limit)?);
    wanted.page(asked.format, Page::cut("models", models.collect(), place, |one| one.model.clone())?).await
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct VersionParameters {
    /// Of one model only.
    model: Option<String>,
    /// The cursor of a page.
    after: Option<String>,
    /// So many on a page: 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// The form of the answer; as `Accept` says if absent.
    #[param(inline)]
    format: Option<Format>,
}

impl Tabular for VersionRow {
    const COLUMNS: &'static [Column] = &[
        ("version_id", Kind::Integer),
        ("model", Kind::Text),
        ("version", Kind::Text),
        ("first_seen_at", Kind::Instant),
        ("reference_id", Kind::Integer),
        ("estimated_at", Kind::Instant),
    ];
}

/// Every release that has made a prediction, the earliest first, of models that the plan has and had.
#[utoipa::path(
    get,
    path = "/api/v1/versions",
    tag = "history",
    operation_id = "list_versions",
    params(VersionParameters),
    responses((status = 200, description = "A page.", body = Page<VersionRow>))
)]
pub(super) async fn versions(
    caller: Caller,
    State(shared): State<Shared>,
    wanted: Wanted,
    Given(asked): Given<VersionParameters>,
) -> Result<Response, Problem> {
    let (limit, after) = (page::limit(asked.limit)?, page::key("versions", asked.after.as_deref())?);
    let models = caller.scopes(asked.model)?;
    let store = shared.context().store;
    let rows = store.page_versions(models.as_deref(), after, limit + 1).await.map_err(Problem::internal)?;
    wanted.page(asked.format, Page::of("versions", rows, limit, |one| one.version_id)).await
}
