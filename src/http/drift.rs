//! `GET /api/v1/drift`: what has moved away from the reference, the surest first.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::auth::Caller;
use super::given::Given;
use super::page::{self, Format, Page, Wanted};
use super::query::{MOST_ROWS, problem};
use super::table::{Column, Kind, Tabular};
use super::{Problem, Shared, instant};
use crate::domain::window::parse_instant;
use crate::domain::{Estimate, Slice, Window};
use crate::query::Question;
use crate::query::drift::{Moved, rank};
use crate::store::rows::Knowledge;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// The model.
    model: String,
    /// The version; may be left out while there is only one.
    version: Option<String>,
    /// The first instant; a date alone is its midnight, UTC.
    #[param(format = DateTime)]
    from: String,
    /// The first instant after the window.
    #[param(format = DateTime)]
    to: String,
    /// Truth that was observed up to then only: what was known.
    #[param(format = DateTime)]
    known_at: Option<String>,
    /// Batches up to this number only: what this installation had.
    recorded: Option<i64>,
    /// The number of a reference to compare with; the one in force if absent.
    reference: Option<i32>,
    /// The cursor of a page.
    after: Option<String>,
    /// So many on a page: 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// The form of the answer; as `Accept` says if absent.
    #[param(inline)]
    format: Option<Format>,
}

impl Tabular for Moved {
    const COLUMNS: &'static [Column] = &[
        ("kind", Kind::Text),
        ("name", Kind::Text),
        ("n", Kind::Integer),
        ("psi", Kind::Number),
        ("psi_null_95", Kind::Number),
        ("psi_p_value", Kind::Number),
        ("ks", Kind::Number),
        ("ks_null_95", Kind::Number),
        ("mmd2", Kind::Number),
        ("mmd2_null_95", Kind::Number),
        ("mmd2_p_value", Kind::Number),
        ("unseen", Kind::Number),
        ("missing", Kind::Number),
        ("reason", Kind::Text),
    ];

    fn rows(&self) -> Vec<Map<String, Value>> {
        let distances = [("psi", &self.psi), ("ks", &self.ks), ("mmd2", &self.mmd2)];
        let shares = [("unseen", &self.unseen), ("missing", &self.missing)];
        let mut row = Map::new();
        row.insert("kind".into(), self.kind.into());
        row.insert("name".into(), self.name.clone().into());
        row.insert("reason".into(), self.reason.clone().into());
        let known = |(name, estimate): (&'static str, &'_ Option<Estimate>)| Some((name, estimate.clone()?));
        for (name, estimate) in distances.into_iter().chain(shares).filter_map(known) {
            row.entry("n").or_insert_with(|| estimate.n.into());
            row.insert(name.into(), estimate.value.into());
            row.insert(format!("{name}_null_95"), estimate.null_95.into());
            row.insert(format!("{name}_p_value"), estimate.p_value.into());
        }
        vec![row]
    }
}

/// What has moved away from the reference, the surest first.
#[utoipa::path(
    get,
    path = "/api/v1/drift",
    tag = "numbers",
    operation_id = "rank_drift",
    params(Parameters),
    responses((status = 200, description = "A page.", body = Page<Moved>))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    wanted: Wanted,
    Given(given): Given<Parameters>,
) -> Result<Response, Problem> {
    caller.require_model(&given.model)?;
    let place = (given.after.as_deref(), page::limit(given.limit)?);
    let bound = |text: &str| parse_instant(text).map_err(Problem::bad_request);
    let question = Question {
        model: given.model,
        version: given.version,
        output: String::new(),
        slice: Slice::all(),
        window: Window { from: bound(&given.from)?, to: bound(&given.to)? },
        knowledge: Knowledge { known_at: instant(given.known_at.as_ref())?, recorded: given.recorded },
        thresholds: Vec::new(),
        reference_id: given.reference,
        most_rows: Some(MOST_ROWS),
    };
    let moved = rank(&shared.context(), &question).await.map_err(problem)?;
    wanted.page(given.format, Page::cut("drift", moved, place, |one| format!("{} {}", one.kind, one.name))?).await
}
