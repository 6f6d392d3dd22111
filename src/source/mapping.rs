//! From a row's columns to drafts of records, as the source's mapping says.

use std::collections::HashMap;

use super::{AssertionDraft, Draft, PredictionDraft, Problem, Row, time};
use crate::config::{Finding, Layout, Model, RecordKind, Source, TimeFormat};
use crate::domain::Reason;

/// The mapping of one source, resolved against its model.
pub struct Mapping<'a> {
    source: &'a Source,
    /// `(output or finding, column)` of a wide file.
    outputs: Vec<(String, String)>,
    /// `(attribute, column)`.
    attributes: Vec<(String, String)>,
    /// What a long file may call its outputs.
    names: Vec<String>,
    /// Those of them whose truth is a number.
    numbers: Vec<String>,
}

impl<'a> Mapping<'a> {
    /// Resolve a source's mapping.
    #[must_use]
    pub fn new(source: &'a Source, model: &Model) -> Self {
        let column = |names: [&str; 2]| {
            let mapped = names.iter().find_map(|name| source.outputs.get(*name));
            mapped.map_or_else(|| names[0].to_owned(), Clone::clone)
        };
        let findings = model.findings();
        let outputs: Vec<(String, String)> = match source.record {
            RecordKind::Predictions => {
                // A choice's finding is no column of any one class.
                let other = |name| match model.finding(name) {
                    Some((truth, Finding::YesNo | Finding::Value)) => truth,
                    _ => name,
                };
                model.scores().map(|name| (name.to_owned(), column([name, other(name)]))).collect()
            }
            RecordKind::Assertions => {
                findings.iter().map(|(truth, name, _)| ((*truth).to_owned(), column([truth, name]))).collect()
            }
        };
        let mut attributes: Vec<(String, String)> =
            source.attributes.iter().map(|(name, column)| (name.clone(), column.clone())).collect();
        let dimensions = model.dimensions.iter().map(|dimension| &dimension.name);
        for name in dimensions.chain(model.features.iter().map(|feature| &feature.name)) {
            if !attributes.iter().any(|(known, _)| known == name) {
                attributes.push((name.clone(), name.clone()));
            }
        }
        let findings = findings.iter().flat_map(|(truth, name, _)| [*truth, *name]);
        let names = model.scores().chain(findings).map(str::to_owned).collect();
        let of_values = model.findings().into_iter().filter(|(.., finding)| matches!(finding, Finding::Value));
        let numbers = of_values.flat_map(|(truth, name, _)| [truth.to_owned(), name.to_owned()]).collect();
        Self { source, outputs, attributes, names, numbers }
    }

    /// Columns that must be there and are not: then the file as a whole is refused.
    ///
    /// # Errors
    /// Which columns are missing, and which there are.
    pub fn check_columns(&self, columns: &HashMap<String, usize>) -> Result<(), String> {
        let mut missing: Vec<&str> = Vec::new();
        for (field, column) in &self.source.columns {
            let optional = ["id", "subject", "reader", "status", "embedding"].contains(&field.as_str());
            if !optional && !columns.contains_key(column) {
                missing.push(column);
            }
        }
        let wide = self.source.layout == Layout::Wide;
        if wide && !self.outputs.iter().any(|(_, column)| columns.contains_key(column)) {
            missing.extend(self.outputs.iter().map(|(_, column)| column.as_str()));
        }
        if missing.is_empty() {
            return Ok(());
        }
        let mut there: Vec<&str> = columns.keys().map(String::as_str).collect();
        there.sort_unstable();
        Err(format!(
            "the file lacks the column(s) {}; it has {}. Correct the source's columns or the file",
            missing.join(", "),
            there.join(", ")
        ))
    }

    /// Whether the plan says that what this row is about is of no interest.
    #[must_use]
    pub fn ignores(&self, row: &Row) -> bool {
        let all = self.source.ignore.iter().any(|name| name == "*");
        self.source.layout == Layout::Long
            && !self.source.ignore.is_empty()
            && self
                .optional(row, "output")
                .is_some_and(|name| self.source.ignore.contains(&name) || (all && !self.names.contains(&name)))
    }

    /// Columns that the plan names and the file does not have: what they would say is taken for not said.
    #[must_use]
    pub fn absent(&self, columns: &HashMap<String, usize>) -> Vec<&str> {
        let optional = self.source.columns.values().chain(self.source.attributes.values()).map(String::as_str);
        let wide = self.source.layout == Layout::Wide;
        let outputs = self.outputs.iter().filter(|_| wide).map(|(_, column)| column.as_str());
        optional.chain(outputs).filter(|column| !columns.contains_key(*column)).collect()
    }

    /// The records of a row, or what keeps the row from being one.
    #[must_use]
    pub fn drafts(&self, row: &Row) -> Vec<Result<Draft, Problem>> {
        match self.source.record {
            RecordKind::Predictions => vec![self.prediction(row).map(Draft::Prediction)],
            RecordKind::Assertions => match self.assertions(row) {
                Ok(drafts) => drafts.into_iter().map(|draft| Ok(Draft::Assertion(draft))).collect(),
                Err(problem) => vec![Err(problem)],
            },
        }
    }

    /// The columns that are read, in no order.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        let mapped = self.source.columns.values().chain(self.outputs.iter().map(|(_, column)| column));
        mapped.chain(self.attributes.iter().map(|(_, column)| column)).cloned().collect()
    }

    /// What of a row may be kept with a rejection: the mapped columns without the identifiers. What the plan does not name
    /// may be anything, a name or a date of birth too.
    #[must_use]
    pub fn payload(&self, row: &Row) -> serde_json::Value {
        // An embedding is long, and may give its picture away.
        let identifying = |field: &str| ["id", "case", "subject", "embedding"].contains(&field);
        let named = self.source.columns.iter().filter(|(field, _)| !identifying(field)).map(|(_, column)| column);
        let shown = named.chain(self.outputs.iter().chain(&self.attributes).map(|(_, column)| column));
        let hidden: Vec<&String> =
            self.source.columns.iter().filter(|(field, _)| identifying(field)).map(|(_, column)| column).collect();
        row.only(&shown.filter(|column| !hidden.contains(column)).map(String::as_str).collect::<Vec<_>>())
    }

    /// The value of a field, by column or constant.
    fn optional(&self, row: &Row, field: &str) -> Option<String> {
        match self.source.columns.get(field) {
            Some(column) => row.get(column).map(str::to_owned),
            None => self.source.constants.get(field).cloned(),
        }
    }

    fn required(&self, row: &Row, field: &str) -> Result<String, Problem> {
        self.optional(row, field).ok_or_else(|| {
            let column = self.column(field);
            Problem::new(column, Reason::MissingField, format!("{field} is missing: the column {column:?} is empty"))
        })
    }

    fn column<'s>(&'s self, field: &'s str) -> &'s str {
        self.source.columns.get(field).map_or(field, String::as_str)
    }

    fn instant(&self, row: &Row, field: &str) -> Result<chrono::DateTime<chrono::Utc>, Problem> {
        let text = self.required(row, field)?;
        // A typed time has one spelling; a typed number is what the plan says.
        let format =
            if row.is_typed() && text.parse::<f64>().is_err() { &TimeFormat::Auto } else { &self.source.time_format };
        time::parse(&text, format, self.source.time_zone)
            .map_err(|message| Problem::new(self.column(field), Reason::BadTime, message))
    }

    /// A text that may be a number, as numbers are written here.
    fn plain(&self, text: &str) -> String {
        if self.source.decimal == ',' {
            let plain = text.replace(',', ".");
            if plain.parse::<f64>().is_ok() {
                return plain;
            }
        }
        text.to_owned()
    }

    /// What is stated of a finding: only a number is written as one, the name of a class may have a comma.
    fn stated(&self, finding: &str, text: &str) -> String {
        if self.numbers.iter().any(|name| name == finding) { self.plain(text) } else { text.to_owned() }
    }

    fn prediction(&self, row: &Row) -> Result<PredictionDraft, Problem> {
        let is_part = self.source.layout == Layout::Long;
        let number = |text: String| if self.source.decimal == ',' { text.replace(',', ".") } else { text };
        let scores = if is_part {
            let score = number(self.required(row, "score")?);
            vec![(self.required(row, "output")?, self.column("score").to_owned(), score)]
        } else {
            let cells = self.outputs.iter();
            cells
                .filter_map(|(output, column)| {
                    Some((output.clone(), column.clone(), number(row.get(column)?.to_owned())))
                })
                .collect()
        };
        let attributes = self.attributes.iter();
        Ok(PredictionDraft {
            id: self.optional(row, "id"),
            case: self.required(row, "case")?,
            subject: self.optional(row, "subject"),
            occurred_at: self.instant(row, "occurred_at")?,
            version: self.required(row, "version")?,
            scores,
            attributes: attributes
                .filter_map(|(name, column)| Some((name.clone(), self.plain(row.get(column)?))))
                .collect(),
            embedding: self.optional(row, "embedding").map(|text| (self.column("embedding").to_owned(), number(text))),
            is_part,
        })
    }

    fn assertions(&self, row: &Row) -> Result<Vec<AssertionDraft>, Problem> {
        let shared = AssertionDraft {
            id: self.optional(row, "id"),
            case: self.required(row, "case")?,
            source: self.required(row, "source")?,
            reader: self.optional(row, "reader").unwrap_or_default(),
            status: self.optional(row, "status"),
            observed_at: self.instant(row, "observed_at")?,
            ..AssertionDraft::default()
        };
        if self.source.layout == Layout::Long {
            let finding = self.required(row, "output")?;
            let value = (self.column("value").to_owned(), self.stated(&finding, &self.required(row, "value")?));
            return Ok(vec![AssertionDraft { finding, value, ..shared }]);
        }
        let stated = self.outputs.iter().filter_map(|(finding, column)| Some((finding, column, row.get(column)?)));
        let drafts: Vec<AssertionDraft> = stated
            .map(|(finding, column, value)| AssertionDraft {
                finding: finding.clone(),
                value: (column.clone(), self.stated(finding, value)),
                ..shared.clone()
            })
            .collect();
        if drafts.is_empty() {
            return Err(Problem::new(
                "value",
                Reason::MissingField,
                "the row states nothing: every finding's column is empty",
            ));
        }
        Ok(drafts)
    }
}
