//! Single rows, for the few questions that summaries cannot answer.

use chrono::{DateTime, Utc};

use super::{Error, Prepared, Question};
use crate::job::Context;
use crate::job::fold::truths_of;
use crate::store::rows::Wanted;

/// A prediction whose truth is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LabelledRow {
    pub(super) case_id: String,
    pub(super) subject_id: Option<String>,
    pub(super) occurred_at: DateTime<Utc>,
    pub(super) score: f64,
    pub(super) positive: bool,
}

/// The predictions of a question's window and slice whose truth is known, by the plan's policy.
pub(super) async fn labelled_rows(
    context: &Context,
    prepared: &Prepared,
    question: &Question,
) -> Result<Vec<LabelledRow>, Error> {
    let model = &prepared.model;
    let truth_id = prepared.numbers.findings.get(&prepared.output()?.truth).copied().unwrap_or_default();
    let what = Wanted { outputs: &[prepared.output_id], findings: &[truth_id], embeddings: false };
    let version_id = prepared.version.version_id;
    super::check_size(context, version_id, question).await?;
    let rows = context.store.load_rows(version_id, question.window, None, question.knowledge, what).await?;
    let truths = truths_of(model, &rows.assertions);
    let belongs = |attributes: &std::collections::BTreeMap<String, String>| {
        question.slice.cells().all(|(name, value)| {
            let dimension = model.dimensions.iter().find(|dimension| dimension.name == name);
            dimension.is_some_and(|dimension| dimension.value(attributes.get(name).map(String::as_str)) == value)
        })
    };
    let labelled = rows.predictions.into_iter().filter(|prediction| belongs(&prediction.attributes)).filter_map(|p| {
        let positive = truths
            .get(&(p.case_id.clone(), truth_id))?
            .holds_for(prepared.output_id, prepared.output().is_ok_and(|output| output.class.is_some()))?;
        let score = p.scores.iter().find(|(output, _)| *output == prepared.output_id)?.1;
        Some(LabelledRow { case_id: p.case_id, subject_id: p.subject_id, occurred_at: p.occurred_at, score, positive })
    });
    Ok(labelled.collect())
}
