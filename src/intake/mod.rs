//! The one door: whichever way a record came, here it is validated, pseudonymised and given its identity.
//!
//! [`Door::admit`] is pure: a draft goes in, a record or the reason for its refusal comes out. Deduplication against what
//! is known happens in the transaction of `store::intake`.
//! Must never: drop a record without a reason.

mod collector;
mod identity;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
pub use collector::{Admission, Collector, Kept, Place};
pub use identity::Pseudonyms;

use crate::config::{Finding, Intake, Model};
use crate::domain::contract::breaches;
use crate::domain::window::show_instant;
use crate::domain::{Assertion, Opinion, Prediction, Real, Reason, Status};
use crate::source::mapping::Mapping;
use crate::source::{AssertionDraft, BrokenRow, Draft, PredictionDraft, Problem, Row, RowResult};
use crate::store::batch::{NewAssertion, NewPrediction, Position};
use crate::store::catalog::ModelNumbers;

/// Ids and names may be so long.
const LONGEST_NAME: usize = 512;
/// Attribute values may be so long: they become labels.
const LONGEST_VALUE: usize = 200;

/// What the door knows of the records it lets in.
#[derive(Clone, Debug)]
pub struct Door {
    model: Model,
    numbers: ModelNumbers,
    limits: Intake,
    pseudonyms: Pseudonyms,
}

/// An admitted record.
#[derive(Clone, Debug)]
pub enum Admitted {
    /// A prediction.
    Prediction(NewPrediction),
    /// An assertion.
    Assertion(NewAssertion),
}

impl Door {
    /// The door of one model.
    #[must_use]
    pub fn new(model: Model, numbers: ModelNumbers, limits: Intake, pseudonyms: Pseudonyms) -> Self {
        Self { model, numbers, limits, pseudonyms }
    }

    /// Validate a draft and make it a record.
    ///
    /// # Errors
    /// The field at fault, the reason and the remedy.
    pub fn admit(&self, draft: Draft, position: Position, now: DateTime<Utc>) -> Result<Admitted, Problem> {
        match draft {
            Draft::Prediction(draft) => self.prediction(draft, position, now).map(Admitted::Prediction),
            Draft::Assertion(draft) => self.assertion(draft, position, now).map(Admitted::Assertion),
        }
    }

    fn prediction(
        &self,
        draft: PredictionDraft,
        position: Position,
        now: DateTime<Utc>,
    ) -> Result<NewPrediction, Problem> {
        let case = self.name("case", &draft.case)?;
        let version = self.name("version", &draft.version)?;
        self.sane_time("occurred_at", draft.occurred_at, now)?;
        let mut scores = Vec::with_capacity(draft.scores.len());
        for (output, column, text) in &draft.scores {
            let output_id = *self.numbers.outputs.get(output).ok_or_else(|| {
                let known: Vec<&str> = self.model.scores().collect();
                let message =
                    format!("{output:?} is no output of model {}; known are {}", self.model.name, known.join(", "));
                Problem::new("output", Reason::UnknownOutput, message)
            })?;
            let is_value = self.model.values.iter().any(|value| value.name == *output);
            let number = if is_value { value(column, text)? } else { score(column, text)? };
            scores.push((output_id, number));
        }
        if scores.is_empty() {
            return Err(Problem::new(
                "score",
                Reason::NoScores,
                "the prediction has no score for any output of the model",
            ));
        }
        scores.sort_unstable_by_key(|(output_id, _)| *output_id);
        let attributes = attributes(draft.attributes)?;
        let subject_id = draft.subject.as_deref().map(|subject| self.name("subject", subject)).transpose()?;

        // In a long file the rows of one prediction share its id.
        let part = if draft.is_part { draft.scores.first().map(|(output, ..)| output.as_str()) } else { None };
        let micros = draft.occurred_at.timestamp_micros().to_string();
        let (id, part) = (draft.id.as_deref().map(|id| self.name("id", id)).transpose()?, part.unwrap_or_default());
        // Two models may use the same ids and version names for the same case.
        let model = self.numbers.model_id.to_string();
        let record_id = match id {
            Some(id) => derived(&[&model, id, part]),
            None => derived(&[&model, version, &micros, part]),
        };
        let prediction = Prediction {
            case_id: self.pseudonyms.case(case),
            subject_id: subject_id.map(|subject| self.pseudonyms.subject(subject)),
            occurred_at: draft.occurred_at,
            scores,
            attributes,
            embedding: self.embedding(draft.embedding.as_ref())?,
        };
        Ok(NewPrediction {
            record_id,
            digest: prediction.digest(version),
            version: version.to_owned(),
            version_id: 0,
            breaches: breaches(&self.model.contract, &prediction.attributes),
            case: self.pseudonyms.keeps(case),
            subject: subject_id.and_then(|subject| self.pseudonyms.keeps(subject)),
            prediction,
            position,
        })
    }

    fn assertion(
        &self,
        draft: AssertionDraft,
        position: Position,
        now: DateTime<Utc>,
    ) -> Result<NewAssertion, Problem> {
        let case = self.name("case", &draft.case)?;
        let source = self.name("source", &draft.source)?;
        self.sane_time("observed_at", draft.observed_at, now)?;
        if !draft.reader.is_empty() {
            self.name("reader", &draft.reader)?;
        }
        let (truth_id, finding) = self.finding(&draft.finding)?;
        let (column, text) = &draft.value;
        let opinion = self.opinion(finding, column, text)?;
        let status = match &draft.status {
            None => Status::Final,
            Some(text) => Status::parse(text).ok_or_else(|| {
                let known = "preliminary, final, amended, corrected, entered-in-error";
                Problem::new("status", Reason::BadStatus, format!("{text:?} is no status; known are {known}"))
            })?,
        };
        let assertion = Assertion {
            case_id: self.pseudonyms.case(case),
            truth_id,
            opinion,
            source: source.to_owned(),
            reader: draft.reader,
            status,
            observed_at: draft.observed_at,
        };
        // A finding may have been of another kind in an earlier plan: its statements are others.
        let finding = match assertion.opinion {
            Opinion::Class(_) => format!("{truth_id}:class"),
            Opinion::Value(_) => format!("{truth_id}:value"),
            _ => truth_id.to_string(),
        };
        let micros = assertion.observed_at.timestamp_micros().to_string();
        let status = assertion.status.as_str();
        let record_id = match &draft.id {
            // A report has one id and makes several statements.
            Some(id) => derived(&[self.name("id", id)?, &finding]),
            // A report and its correction may bear the same date: the policy breaks the tie, not the order of arrival.
            None => derived(&[&finding, source, &assertion.reader, &micros, status]),
        };
        let case = self.pseudonyms.keeps(case);
        Ok(NewAssertion { record_id, digest: assertion.digest(), assertion, position, case })
    }

    /// The numbers of an embedding, of which there are as many as the plan says: `[0.1, 0.2]`, or with blanks or semicolons
    /// between them. A plan without embeddings has no use for them.
    fn embedding(&self, given: Option<&(String, String)>) -> Result<Option<Vec<f32>>, Problem> {
        let Some((dimensions, (column, text))) = self.model.embedding.zip(given) else { return Ok(None) };
        let bad = |message: String| Problem::new(column, Reason::BadValue, message);
        let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
        let parts = inner.split(|c: char| c == ',' || c == ';' || c.is_whitespace()).filter(|part| !part.is_empty());
        let number = |part: &str| part.parse::<f32>().ok().filter(|number| number.abs() <= LARGEST_COORDINATE);
        let numbers: Option<Vec<f32>> = parts.map(number).collect();
        // Adding zero turns -0 into 0.
        let numbers: Vec<f32> = numbers
            .ok_or_else(|| bad("the embedding is no list of numbers such as [0.1, -0.2]".to_owned()))?
            .into_iter()
            .map(|number| number + 0.0)
            .collect();
        if numbers.len() != dimensions {
            let message =
                format!("the embedding has {} numbers; the plan's model.embedding says {dimensions}", numbers.len());
            return Err(bad(message));
        }
        Ok(Some(numbers))
    }

    /// What a text states of a finding.
    fn opinion(&self, finding: Finding<'_>, column: &str, text: &str) -> Result<Opinion, Problem> {
        let bad = |message: String| Problem::new(column, Reason::BadValue, message);
        match finding {
            Finding::YesNo => Opinion::parse(text)
                .ok_or_else(|| bad(format!("{text:?} is no statement of truth; write 0, 1, or -1 for uncertain"))),
            Finding::Classes(choice) => {
                let class = choice.classes.iter().find(|class| class.as_str() == text.trim());
                let output_id = class.and_then(|class| self.numbers.outputs.get(&choice.output_of(class)));
                let known = choice.classes.join(", ");
                output_id
                    .map(|output_id| Opinion::Class(*output_id))
                    .ok_or_else(|| bad(format!("{text:?} is no class of {}; its classes are {known}", choice.name)))
            }
            Finding::Value => {
                let real = Real::new(value(column, text)?);
                real.map(Opinion::Value).ok_or_else(|| bad(format!("{text:?} is not finite")))
            }
        }
    }

    /// A finding by its own name, or by that of the output whose truth it is.
    fn finding(&self, name: &str) -> Result<(i32, Finding<'_>), Problem> {
        let found = self.model.finding(name);
        let number = |(truth, finding)| Some((*self.numbers.findings.get(truth)?, finding));
        found.and_then(number).ok_or_else(|| {
            let known: Vec<&str> = self.model.findings().iter().map(|(truth, ..)| *truth).collect();
            let message = format!("{name:?} is no finding of this plan; known are {}", known.join(", "));
            Problem::new("output", Reason::UnknownOutput, message)
        })
    }

    #[allow(clippy::unused_self, reason = "every check of the door reads alike")]
    fn name<'t>(&self, field: &str, text: &'t str) -> Result<&'t str, Problem> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Problem::new(field, Reason::MissingField, format!("{field} is empty")));
        }
        checked(field, text, LONGEST_NAME)?;
        Ok(text)
    }

    fn sane_time(&self, field: &str, at: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), Problem> {
        let latest = now + self.limits.future_tolerance;
        if at >= self.limits.earliest && at <= latest {
            return Ok(());
        }
        let message = format!(
            "{} is outside {} to {}; correct the sender's clock or time zone, or widen the plan's [intake]",
            show_instant(at),
            show_instant(self.limits.earliest),
            show_instant(latest)
        );
        Err(Problem::new(field, Reason::TimeRange, message))
    }
}

/// Take one row's records in, or refuse them with their reasons.
pub fn admit_row(door: &Door, mapping: &Mapping<'_>, row: RowResult, now: DateTime<Utc>, collector: &mut Collector) {
    let row: Row = match row {
        Ok(row) => row,
        Err(BrokenRow { line, message }) => {
            let kept = Kept::of_text(&message);
            let problem = Problem::new("", Reason::MalformedRow, message);
            return collector.reject(problem, Position { line, item: 0 }, kept);
        }
    };
    if mapping.ignores(&row) {
        return collector.ignore();
    }
    let kept = || Kept::of_row(mapping, &row);
    for (item, draft) in (0_i32..).zip(mapping.drafts(&row)) {
        let position = Position { line: row.line, item };
        match draft.and_then(|draft| door.admit(draft, position.clone(), now)) {
            Ok(admitted) => collector.admit(admitted, kept),
            Err(problem) => collector.reject(problem, position, kept()),
        }
    }
}

fn score(column: &str, text: &str) -> Result<f64, Problem> {
    let number: f64 = text.parse().map_err(|_| {
        Problem::new(column, Reason::BadScore, format!("{text:?} is no number; scores are probabilities such as 0.25 (with a decimal comma, set the source's decimal)"))
    })?;
    if (0.0..=1.0).contains(&number) {
        // Adding zero turns -0 into 0.
        return Ok(number + 0.0);
    }
    Err(Problem::new(column, Reason::ScoreRange, format!("{text} is not a probability from 0 to 1")))
}

/// Coordinates of embeddings may be so large: products of them are still numbers.
const LARGEST_COORDINATE: f32 = 1e15;

/// Values may be so large: fourth powers of their errors are still numbers.
const LARGEST_VALUE: f64 = 1e75;

/// A value that is kept: a finite number that is not absurdly large.
#[must_use]
pub fn read_value(text: &str) -> Option<f64> {
    let number = text.trim().parse::<f64>().ok().filter(|number| number.abs() <= LARGEST_VALUE);
    // Adding zero turns -0 into 0.
    number.map(|number| number + 0.0)
}

fn value(column: &str, text: &str) -> Result<f64, Problem> {
    read_value(text).ok_or_else(|| {
        let message = format!(
            "{text:?} is no number between -1e75 and 1e75; values are written such as 12.5 (with a decimal comma, set the \
             source's decimal)"
        );
        Problem::new(column, Reason::BadValue, message)
    })
}

fn attributes(given: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Problem> {
    for (name, value) in &given {
        checked(name, value, LONGEST_VALUE)?;
        // Slices are written `view=AP & sex=F`: such a value could not be asked for.
        if value.contains('&') {
            let message = format!("{value:?} contains &, which separates the parts of a slice");
            return Err(Problem::new(name, Reason::BadText, message));
        }
    }
    Ok(given.into_iter().collect())
}

fn checked(field: &str, text: &str, longest: usize) -> Result<(), Problem> {
    if text.len() > longest {
        return Err(Problem::new(
            field,
            Reason::TooLong,
            format!("{field} has {} bytes; at most {longest} are kept", text.len()),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::new(field, Reason::BadText, format!("{field} contains a control character")));
    }
    Ok(())
}

/// An identity derived from what identifies the record. Parts are separated so that they cannot run together.
fn derived(parts: &[&str]) -> String {
    parts.join("\u{1f}").trim_end_matches('\u{1f}').to_owned()
}

#[cfg(test)]
mod tests;
