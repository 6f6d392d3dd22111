//! Sources: where records come from, and which column holds what.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::model::Model;
use super::pull::{self, Pull, Upstream};
use super::reader::Section;
use super::service::Intake;
use super::{Surroundings, display, seconds};
use crate::chain::hex;

/// Where records come from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// What its records are.
    pub record: RecordKind,
    /// The model they belong to.
    pub model: String,
    /// How they come.
    pub kind: Kind,
    /// One column per output, or one row per output.
    pub layout: Layout,
    /// Field separator of CSV.
    pub delimiter: char,
    /// What stands before the decimals of a number: a point or a comma.
    pub decimal: char,
    /// Which column holds what, by field.
    pub columns: BTreeMap<String, String>,
    /// Fields that no column holds.
    pub constants: BTreeMap<String, String>,
    /// Column of each output (wide layout), by the output's (or the finding's) name.
    pub outputs: BTreeMap<String, String>,
    /// Column of each attribute, by the attribute's name.
    pub attributes: BTreeMap<String, String>,
    /// Findings and outputs of a long file that are left out; `*` stands for all that the model does not have.
    pub ignore: Vec<String>,
    /// How instants are written.
    pub time_format: TimeFormat,
    /// Zone of times that carry none.
    #[serde(serialize_with = "display")]
    pub time_zone: chrono_tz::Tz,
}

/// How the records of a source come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// As files, which are looked for.
    File(Files),
    /// By HTTP, from whoever sends them.
    Push,
    /// By HTTP, as events of an inference server.
    Events(Events),
    /// From something that is asked again and again.
    Pull(Box<Pull>),
}

/// How events of an inference server are put together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Events {
    /// A request or a response may wait for its other half for so long.
    #[serde(serialize_with = "seconds")]
    pub patience: Duration,
}

/// Where files are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Files, globs and directories.
    pub paths: Vec<String>,
    /// Format; by the file's extension when absent.
    pub format: Option<Format>,
    /// A file must have stood still for so long.
    #[serde(serialize_with = "seconds")]
    pub settle: Duration,
}

impl Source {
    /// What is pushed for a model whose plan says nothing about it: columns are called as fields, outputs and attributes are.
    #[must_use]
    pub fn pushed(record: RecordKind, model: &str) -> Self {
        let columns = fields(record, Layout::Wide).into_iter().map(|(field, _)| (field.to_owned(), field.to_owned()));
        Self {
            name: format!("http/{model}/{}", record.as_str()),
            record,
            model: model.to_owned(),
            kind: Kind::Push,
            layout: Layout::Wide,
            delimiter: ',',
            decimal: '.',
            columns: columns.collect(),
            constants: BTreeMap::new(),
            outputs: BTreeMap::new(),
            attributes: BTreeMap::new(),
            ignore: Vec::new(),
            time_format: TimeFormat::Auto,
            time_zone: chrono_tz::UTC,
        }
    }

    /// Whether it is that of a plan which says nothing about it.
    #[must_use]
    pub fn is_implied(&self) -> bool {
        *self == Self::pushed(self.record, &self.model)
    }

    /// The same with a row per output, its columns called as the fields are.
    #[must_use]
    pub fn long(&self) -> Self {
        let columns =
            fields(self.record, Layout::Long).into_iter().map(|(field, _)| (field.to_owned(), field.to_owned()));
        Self { layout: Layout::Long, columns: columns.collect(), ..self.clone() }
    }

    /// Where its files are, if it is a source of files.
    #[must_use]
    pub fn files(&self) -> Option<&Files> {
        match &self.kind {
            Kind::File(files) => Some(files),
            Kind::Push | Kind::Pull(_) | Kind::Events(_) => None,
        }
    }

    /// How its events are put together, if it is a source of events.
    #[must_use]
    pub fn events(&self) -> Option<&Events> {
        match &self.kind {
            Kind::Events(events) => Some(events),
            Kind::File(_) | Kind::Push | Kind::Pull(_) => None,
        }
    }

    /// Whether its columns are found in requests, too, and not only in responses.
    #[must_use]
    pub fn needs_request(&self) -> bool {
        let columns = self.columns.values().chain(self.outputs.values()).chain(self.attributes.values());
        columns.into_iter().any(|column| column.starts_with("request."))
    }

    /// The format of its files, if it has any; by their names when absent.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        match &self.kind {
            Kind::File(files) => files.format,
            Kind::Pull(pull) => match &pull.upstream {
                Upstream::Objects(objects) => objects.format,
                _ => None,
            },
            Kind::Push | Kind::Events(_) => None,
        }
    }

    /// What is asked again and again, if it is a source of that kind.
    #[must_use]
    pub fn pull(&self) -> Option<&Pull> {
        match &self.kind {
            Kind::Pull(pull) => Some(pull),
            Kind::File(_) | Kind::Push | Kind::Events(_) => None,
        }
    }

    /// SHA-256 of all that decides what is made of a file's columns, as hexadecimal text.
    #[must_use]
    pub fn mapping_digest(&self, model: &Model, intake: &Intake) -> String {
        // Assertions carry no attributes, and how many rows a transaction takes changes nothing.
        let is_prediction = self.record == RecordKind::Predictions;
        // Where records are found changes nothing about what they say.
        let (kind, shape) = match &self.kind {
            Kind::File(files) => {
                (Kind::File(Files { paths: Vec::new(), settle: Duration::ZERO, ..files.clone() }), None)
            }
            Kind::Push | Kind::Events(_) => (Kind::Push, None),
            Kind::Pull(pull) => (Kind::Push, Some(pull.upstream.shape())),
        };
        let source = (Self { kind, ..self.clone() }, shape);
        let outputs: Vec<&str> = model.scores().collect();
        let findings: Vec<String> = model.findings().iter().map(|finding| format!("{finding:?}")).collect();
        let dimensions = model.dimensions.iter().map(|dimension| dimension.name.as_str());
        let features = model.features.iter().map(|feature| feature.name.as_str());
        let attributes: Vec<&str> = dimensions.chain(features).filter(|_| is_prediction).collect();
        let embedding = model.embedding.filter(|_| is_prediction);
        let limits = (intake.earliest, intake.future_tolerance, intake.most_versions);
        // unwrap safety: texts, numbers and maps with text keys always serialise.
        let what =
            serde_json::to_string(&(source, outputs, findings, attributes, embedding, limits)).unwrap_or_default();
        hex(&Sha256::digest(what))
    }
}

/// What a source's records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordKind {
    /// Scores.
    Predictions,
    /// Statements of truth.
    Assertions,
}

impl RecordKind {
    /// The word that the configuration and addresses use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Predictions => "predictions",
            Self::Assertions => "assertions",
        }
    }
}

/// File formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object per line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
}

/// How outputs are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// A column per output.
    Wide,
    /// A row per output.
    Long,
}

/// How instants are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeFormat {
    /// RFC 3339, or a date with or without a time in the source's zone.
    Auto,
    /// Seconds since 1970.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMilliseconds,
    /// A pattern of chrono's `strftime`.
    Pattern(String),
}

/// The fields of a record that a column or a constant may hold, by kind: `(name, required)`.
fn fields(record: RecordKind, layout: Layout) -> Vec<(&'static str, bool)> {
    let mut fields = match record {
        RecordKind::Predictions => {
            let ids = [("id", false), ("case", true), ("subject", false)];
            [&ids[..], &[("occurred_at", true), ("version", true), ("embedding", false)]].concat()
        }
        RecordKind::Assertions => vec![
            ("id", false),
            ("case", true),
            ("observed_at", true),
            ("source", true),
            ("reader", false),
            ("status", false),
        ],
    };
    if layout == Layout::Long {
        fields.push(("output", true));
        fields.push((if record == RecordKind::Predictions { "score" } else { "value" }, true));
    }
    fields
}

pub(super) fn source(section: Section<'_>, models: &[Model], around: &Surroundings<'_>) -> Source {
    let name = section.required_string("name", "name the source; its lag and its rejections carry the name");
    let word = section.choice(
        "kind",
        "file",
        &["file", "push", "cloudevents"].iter().chain(&pull::WORDS).map(|word| (*word, *word)).collect::<Vec<_>>(),
    );
    let record = section.choice(
        "record",
        RecordKind::Predictions,
        &[("predictions", RecordKind::Predictions), ("assertions", RecordKind::Assertions)],
    );
    let layout = section.choice("layout", Layout::Wide, &[("wide", Layout::Wide), ("long", Layout::Long)]);
    let model_name = section.string("model").unwrap_or_else(|| match models {
        [only] => only.name.clone(),
        _ => String::new(),
    });
    let model = models.iter().find(|model| model.name == model_name);
    if model.is_none() && !models.is_empty() {
        section.problem("model", format!("{model_name:?} is no model of this plan; name one of [[model]]"));
    }
    let kind = match word {
        "file" => Kind::File(files(&section, around)),
        "push" => Kind::Push,
        "cloudevents" => {
            Kind::Events(Events { patience: section.duration("patience", Duration::from_secs(24 * 3600)) })
        }
        word => Kind::Pull(Box::new(pull::pull(&section, word, &name, around))),
    };
    let columns: BTreeMap<String, String> = section.string_map("columns").into_iter().collect();
    let constants: BTreeMap<String, String> = section.string_map("constants").into_iter().collect();
    check_fields(&section, &columns, &constants, record, layout);
    let outputs: BTreeMap<String, String> = section.string_map("outputs").into_iter().collect();
    if let Some(model) = model {
        let is_known = |name: &str| model.scores().any(|output| output == name) || model.finding(name).is_some();
        for name in outputs.keys().filter(|name| !is_known(name)) {
            section.problem("outputs", format!("{name:?} is no output of model {:?}", model.name));
        }
    }
    let source = Source {
        name,
        record,
        model: model_name,
        kind,
        layout,
        delimiter: section.parsed("delimiter", ',', |text| match text.chars().collect::<Vec<_>>()[..] {
            [one] if one.is_ascii() => Ok(one),
            _ => Err(format!("{text:?} is not one ASCII character; write \",\" or \";\" or \"\\t\"")),
        }),
        decimal: section.choice("decimal", '.', &[(".", '.'), (",", ',')]),
        columns,
        constants,
        outputs,
        ignore: section.strings("ignore").unwrap_or_default(),
        attributes: section.string_map("attributes").into_iter().collect(),
        time_format: section.parsed("time_format", TimeFormat::Auto, time_format),
        time_zone: section.parsed("time_zone", chrono_tz::UTC, |text| {
            text.parse().map_err(|_| format!("{text:?} is no time zone; write UTC or Europe/Berlin"))
        }),
    };
    section.refuse_unknown();
    source
}

fn files(section: &Section<'_>, around: &Surroundings<'_>) -> Files {
    let paths = section.strings("paths").unwrap_or_default();
    if paths.is_empty() {
        section.problem("paths", "is missing; list files, globs or directories, as in [\"inbox/predictions\"]");
    }
    for path in &paths {
        if let Err(error) = glob::Pattern::new(path) {
            section.problem("paths", format!("{path:?} is no pattern: {error}"));
        }
    }
    Files {
        paths: paths.iter().map(|path| around.folder.join(path).to_string_lossy().into_owned()).collect(),
        format: format(section),
        settle: section.duration("settle", Duration::from_secs(2)),
    }
}

/// The format of files; by their names when absent.
pub(super) fn format(section: &Section<'_>) -> Option<Format> {
    let formats = [("csv", Format::Csv), ("ndjson", Format::Ndjson), ("parquet", Format::Parquet)];
    let formats = formats.map(|(word, format)| (word, Some(format)));
    section.choice("format", None, &[&[("auto", None)], &formats[..]].concat())
}

fn check_fields(
    section: &Section<'_>,
    columns: &BTreeMap<String, String>,
    constants: &BTreeMap<String, String>,
    record: RecordKind,
    layout: Layout,
) {
    let fields = fields(record, layout);
    for (table, given) in [("columns", columns), ("constants", constants)] {
        for name in given.keys().filter(|name| !fields.iter().any(|(field, _)| field == name)) {
            let known: Vec<&str> = fields.iter().map(|(field, _)| *field).collect();
            section.problem(table, format!("{name:?} is no field of such a record; known are {}", known.join(", ")));
        }
    }
    for (field, required) in fields {
        if required && !columns.contains_key(field) && !constants.contains_key(field) {
            section.problem("columns", format!("nothing says where {field:?} is; add {field} = \"column\""));
        }
        if columns.contains_key(field) && constants.contains_key(field) {
            section.problem("constants", format!("{field:?} is also a column; keep one"));
        }
    }
}

fn time_format(text: &str) -> Result<TimeFormat, String> {
    match text {
        "auto" => Ok(TimeFormat::Auto),
        "unix-seconds" => Ok(TimeFormat::UnixSeconds),
        "unix-milliseconds" => Ok(TimeFormat::UnixMilliseconds),
        pattern => {
            let known =
                chrono::format::StrftimeItems::new(pattern).all(|item| !matches!(item, chrono::format::Item::Error));
            if known && pattern.contains('%') {
                Ok(TimeFormat::Pattern(pattern.to_owned()))
            } else {
                Err(format!("{text:?} is not auto, unix-seconds, unix-milliseconds or a pattern like %Y%m%d%H%M%S"))
            }
        }
    }
}
