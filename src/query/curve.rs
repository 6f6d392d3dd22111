//! Curves of any window and slice at any instant of knowledge.

use serde::Serialize;

use super::{Error, Question, prepare};
use crate::domain::Undefined;
use crate::job::Context;
use crate::metric::curve::{Curve, CurvePoint, read};

/// A curve, or the reason why there is none.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CurvePoints)]
pub struct CurveAnswer {
    /// Which curve.
    pub curve: Curve,
    /// The output.
    pub output: String,
    /// The slice.
    pub slice: String,
    /// summaries, pins or rows.
    pub read_from: &'static str,
    /// Whether every score is known exactly.
    pub exact: bool,
    /// Its points, from left to right.
    pub points: Vec<CurvePoint>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undefined: Option<Undefined>,
}

/// Read a curve.
///
/// # Errors
/// When the question names something unknown, or the store fails.
pub async fn draw(context: &Context, question: &Question, curve: Curve) -> Result<CurveAnswer, Error> {
    let prepared = prepare(context, question).await?;
    prepared.output()?;
    let summary = prepared.summary();
    let (points, undefined) = match read(curve, &summary) {
        Ok(points) => (points, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    Ok(CurveAnswer {
        curve,
        output: question.output.clone(),
        slice: question.slice.to_string(),
        read_from: prepared.known.read_from,
        exact: summary.spectrum().is_exact(),
        points,
        undefined,
    })
}
