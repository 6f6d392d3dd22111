//! `GET /api/v1/query`: all metrics of any window at any instant of knowledge.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::auth::Caller;
use super::given::Given;
use super::{Problem, Shared, place};
use crate::domain::Window;
use crate::domain::window::parse_instant;
use crate::query::{Answer, Error, Question, ask};
use crate::store::rows::Knowledge;

/// Predictions that one request may have folded.
pub(super) const MOST_ROWS: i64 = 500_000;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// The model.
    model: String,
    /// The version; may be left out while there is only one.
    version: Option<String>,
    /// The output, or another quantity: (model), (readers) effusion, (feature) age, (embedding).
    output: String,
    /// The slice: all, site=north, sex=F & site=north; all if absent.
    #[param(example = "all", pattern = r"^(all|[^=&\s]+=[^=&\s]+( & [^=&\s]+=[^=&\s]+)*)$")]
    slice: Option<String>,
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
    /// An operating point besides those of the plan.
    threshold: Option<f64>,
    /// The number of a reference to compare with; the one in force if absent.
    reference: Option<i32>,
    /// Of a curve: which; the ROC curve if absent.
    #[serde(default)]
    pub(super) kind: Option<crate::metric::curve::Curve>,
    /// Of a comparison: the other version.
    #[serde(default)]
    pub(super) against_version: Option<String>,
    /// Of a comparison: the other slice.
    #[serde(default)]
    #[param(pattern = r"^(all|[^=&\s]+=[^=&\s]+( & [^=&\s]+=[^=&\s]+)*)$")]
    pub(super) against_slice: Option<String>,
}

impl Parameters {
    /// The question that a request asks.
    pub(super) fn question(&self, caller: &Caller) -> Result<Question, Problem> {
        caller.require_model(&self.model)?;
        let instant = |text: &String| parse_instant(text).map_err(Problem::bad_request);
        Ok(Question {
            model: self.model.clone(),
            version: self.version.clone(),
            output: self.output.clone(),
            slice: place(self.slice.as_deref())?,
            window: Window { from: instant(&self.from)?, to: instant(&self.to)? },
            knowledge: Knowledge {
                known_at: self.known_at.as_ref().map(instant).transpose()?,
                recorded: self.recorded,
            },
            thresholds: self.threshold.into_iter().collect(),
            reference_id: self.reference,
            most_rows: Some(MOST_ROWS),
        })
    }
}

/// What an unanswered question is to a caller.
pub(super) fn problem(error: Error) -> Problem {
    match error {
        Error::Unknown(message) => Problem::not_found(message),
        Error::Failed(error) => Problem::internal(error),
    }
}

/// All metrics of any window and slice at any instant of knowledge.
#[utoipa::path(
    get,
    path = "/api/v1/query",
    tag = "numbers",
    operation_id = "query",
    params(Parameters),
    responses((status = 200, description = "The metrics.", body = Answer))
)]
pub(super) async fn get(
    caller: Caller,
    State(shared): State<Shared>,
    Given(asked): Given<Parameters>,
) -> Result<Json<Answer>, Problem> {
    let question = asked.question(&caller)?;
    ask(&shared.context(), &question).await.map(Json).map_err(problem)
}
