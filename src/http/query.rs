//! `GET /api/v1/query`: all metrics of any window at any instant of knowledge.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;

use super::auth::Caller;
use super::{Problem, Shared};
use crate::domain::Window;
use crate::domain::window::parse_instant;
use crate::query::{Answer, Error, Question, ask};
use crate::store::rows::Knowledge;

/// Predictions that one request may have folded.
const MOST_ROWS: i64 = 500_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    model: String,
    version: Option<String>,
    /// Not of a list of drift.
    #[serde(default)]
    output: String,
    slice: Option<String>,
    from: String,
    to: String,
    known_at: Option<String>,
    recorded: Option<i64>,
    threshold: Option<f64>,
    reference: Option<i32>,
    /// Of a curve: which.
    #[serde(default)]
    pub(super) kind: Option<crate::metric::curve::Curve>,
    /// Of a comparison: the other version.
    #[serde(default)]
    pub(super) against_version: Option<String>,
    /// Of a comparison: the other slice.
    #[serde(default)]
    pub(super) against_slice: Option<String>,
}

impl Parameters {
    /// The question that a request asks.
    pub(super) fn question(&self) -> Result<Question, Problem> {
        let instant = |text: &String| parse_instant(text).map_err(Problem::bad_request);
        Ok(Question {
            model: self.model.clone(),
            version: self.version.clone(),
            output: self.output.clone(),
            slice: self.slice.as_deref().unwrap_or("all").parse().map_err(|e: String| Problem::bad_request(e))?,
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

pub(super) type Asked = Result<Query<Parameters>, axum::extract::rejection::QueryRejection>;

/// The parameters of a request, or what is wrong with them.
pub(super) fn parameters(asked: Asked, caller: &Caller) -> Result<Parameters, Problem> {
    let Query(parameters) = asked.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    caller.require_model(&parameters.model)?;
    Ok(parameters)
}

/// What an unanswered question is to a caller.
pub(super) fn problem(error: Error) -> Problem {
    match error {
        Error::Unknown(message) => Problem::not_found(message),
        Error::Failed(error) => Problem::internal(error),
    }
}

pub(super) async fn get(caller: Caller, State(shared): State<Shared>, asked: Asked) -> Result<Json<Answer>, Problem> {
    let question = parameters(asked, &caller)?.question()?;
    ask(&shared.context(), &question).await.map(Json).map_err(problem)
}
