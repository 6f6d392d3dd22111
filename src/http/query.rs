//! `GET /api/v1/query`: all metrics of any window at any instant of knowledge.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;

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
    output: String,
    slice: Option<String>,
    from: String,
    to: String,
    known_at: Option<String>,
    recorded: Option<i64>,
    threshold: Option<f64>,
    reference: Option<i32>,
}

pub(super) async fn get(
    State(shared): State<Shared>,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Answer>, Problem> {
    let Query(parameters) = parameters.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let instant = |text: &str| parse_instant(text).map_err(Problem::bad_request);
    let question = Question {
        model: parameters.model,
        version: parameters.version,
        output: parameters.output,
        slice: parameters
            .slice
            .as_deref()
            .unwrap_or("all")
            .parse()
            .map_err(|error: String| Problem::bad_request(error))?,
        window: Window { from: instant(&parameters.from)?, to: instant(&parameters.to)? },
        knowledge: Knowledge {
            known_at: parameters.known_at.as_deref().map(instant).transpose()?,
            recorded: parameters.recorded,
        },
        thresholds: parameters.threshold.into_iter().collect(),
        reference_id: parameters.reference,
        most_rows: Some(MOST_ROWS),
    };
    match ask(&shared.context(), &question).await {
        Ok(answer) => Ok(Json(answer)),
        Err(Error::Unknown(message)) => Err(Problem::not_found(message)),
        Err(Error::Failed(error)) => Err(Problem::internal(error)),
    }
}
