//! Many windows of one question: the buckets are read once, and each window merges its own.

use super::{Answer, Error, Question, answer, prepare};
use crate::domain::Window;
use crate::job::Context;

/// Answer a question for each of several windows, all within the question's.
///
/// # Errors
/// When it names something unknown, or the store fails.
pub async fn ask_each(context: &Context, question: &Question, windows: &[Window]) -> Result<Vec<Answer>, Error> {
    let prepared = prepare(context, question).await?;
    let each = windows.iter().map(|window| {
        let cells = prepared.known.cells.iter().filter(|(cell, _)| window.contains(cell.bucket));
        let question = Question { window: *window, ..question.clone() };
        answer(context, &prepared, &question, cells.cloned().collect())
    });
    each.collect()
}
