//! The plan: the validated configuration, a value that cannot be wrong.
//!
//! A file is read once ([`load`]); all its problems come back together, each with its line, key and remedy. What is left
//! is a [`Plan`], whose digest every result names. Secrets are read from files or the environment and never serialise.
//! Look next at `config/full.toml`, which lists every key with its default.

mod check;
mod reader;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

pub use reader::Problem;

use crate::domain::{Dimension, Granularity, MetricKey, Slice, TruthPolicy, Uncertain, WindowSpec};

/// A configuration that has passed every check.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Where the daemon listens and keeps its files.
    #[serde(skip)]
    pub service: Service,
    /// Where Postgres is.
    #[serde(skip)]
    pub database: Database,
    /// How case and subject ids are treated.
    pub identity: Identity,
    /// What the one door accepts.
    pub intake: Intake,
    /// The monitored models.
    pub models: Vec<Model>,
    /// Where records come from.
    pub sources: Vec<Source>,
    /// How people are told.
    pub notify: Notify,
    /// How long things are kept.
    pub retention: Retention,
}

/// The process: addresses, files, logs.
#[derive(Clone, Debug)]
pub struct Service {
    /// Address of the HTTP server.
    pub listen: std::net::SocketAddr,
    /// How people reach this daemon, for links in emails.
    pub public_url: String,
    /// Where Grafana is, for links in emails.
    pub grafana_url: Option<String>,
    /// Private files: Postgres's data, the key of the pseudonyms.
    pub data_dir: PathBuf,
    /// How often each job looks at the database.
    pub tick: Duration,
}

/// The Postgres server.
#[derive(Clone, Debug)]
pub struct Database {
    /// A server's address; without one the daemon runs its own.
    pub url: Option<Secret>,
    /// Where `initdb` and `postgres` are, if not in a usual place.
    pub bin_dir: Option<PathBuf>,
    /// The ordinary user that a daemon started as root becomes.
    pub run_as: Option<String>,
    /// Connections at most.
    pub max_connections: u32,
}

/// How identities are protected.
#[derive(Clone, Debug, Serialize)]
pub struct Identity {
    /// Whether ids are replaced by a keyed hash at the door.
    pub case_ids: CaseIds,
    /// The hash's key; generated in the data directory when absent.
    #[serde(skip)]
    pub key: Option<Secret>,
}

/// What incoming case and subject ids are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaseIds {
    /// They may identify a person: replace them.
    Hash,
    /// They are pseudonyms already: keep them.
    Pseudonym,
}

/// Limits at the door.
#[derive(Clone, Debug, Serialize)]
pub struct Intake {
    /// Records per transaction.
    pub batch_rows: usize,
    /// Earlier instants are refused.
    pub earliest: chrono::DateTime<chrono::Utc>,
    /// Instants further ahead of the clock are refused.
    #[serde(serialize_with = "seconds")]
    pub future_tolerance: Duration,
}

/// One monitored model.
#[derive(Clone, Debug, Serialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// What it says.
    pub outputs: Vec<Output>,
    /// Length of a bucket.
    pub bucket: Granularity,
    /// Slice dimensions.
    pub dimensions: Vec<Dimension>,
    /// Crossings of dimensions, by name.
    pub crossings: Vec<Vec<String>>,
    /// Published windows.
    pub windows: Vec<WindowSpec>,
    /// Cases with truth below which performance is withheld.
    pub minimum_n: u64,
    /// How assertions become truth.
    pub truth_policy: TruthPolicy,
    /// What an uncertain truth counts as.
    pub uncertain: Uncertain,
    /// Alert rules.
    pub alerts: Vec<AlertRule>,
}

/// One thing that a model says.
#[derive(Clone, Debug, Serialize)]
pub struct Output {
    /// The name of the output.
    pub name: String,
    /// The finding that its truth is stated about.
    pub truth: String,
    /// Operating points.
    pub thresholds: Vec<f64>,
}

/// A rule on an estimate against a limit.
#[derive(Clone, Debug, Serialize)]
pub struct AlertRule {
    /// Its name.
    pub name: String,
    /// The metric it watches.
    #[serde(serialize_with = "display")]
    pub metric: MetricKey,
    /// The output; every output when absent.
    pub output: Option<String>,
    /// The slices.
    pub slices: SlicePattern,
    /// The window.
    pub window: WindowSpec,
    /// The limit and its side.
    pub limit: Limit,
    /// What must be past the limit.
    pub bound: BoundRule,
    /// How long it must stay so before anybody is told.
    #[serde(serialize_with = "seconds")]
    pub hold: Duration,
    /// Who is told.
    pub severity: Severity,
}

/// Which slices a rule watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlicePattern {
    /// One slice.
    One(Slice),
    /// Every value of one dimension: `site=*`.
    Each(String),
}

impl SlicePattern {
    /// Whether the rule watches this slice.
    #[must_use]
    pub fn matches(&self, slice: &Slice) -> bool {
        match self {
            Self::One(one) => one == slice,
            Self::Each(dimension) => slice.value_of(dimension).is_some(),
        }
    }
}

impl fmt::Display for SlicePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(slice) => write!(f, "{slice}"),
            Self::Each(dimension) => write!(f, "{dimension}=*"),
        }
    }
}

impl Serialize for SlicePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A limit and its side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// The metric must not be below.
    Below(f64),
    /// The metric must not be above.
    Above(f64),
}

/// What must be past the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BoundRule {
    /// The whole interval: the data prove it.
    Interval,
    /// The value alone.
    Value,
}

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Somebody is woken.
    Page,
    /// Somebody looks in working hours.
    Ticket,
}

impl Severity {
    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
        }
    }
}

/// Where records come from.
#[derive(Clone, Debug, Serialize)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// What its records are.
    pub record: RecordKind,
    /// The model they belong to.
    pub model: String,
    /// Files, globs and directories.
    pub paths: Vec<String>,
    /// Format; by the file's extension when absent.
    pub format: Option<Format>,
    /// One column per output, or one row per output.
    pub layout: Layout,
    /// Field separator of CSV.
    pub delimiter: char,
    /// Which column holds what, by field.
    pub columns: std::collections::BTreeMap<String, String>,
    /// Fields that no column holds.
    pub constants: std::collections::BTreeMap<String, String>,
    /// Column of each output (wide layout), by the output's (or the finding's) name.
    pub outputs: std::collections::BTreeMap<String, String>,
    /// Column of each attribute, by the attribute's name.
    pub attributes: std::collections::BTreeMap<String, String>,
    /// Spelling of outputs in a long file, by the plan's name.
    pub time_format: TimeFormat,
    /// Zone of times that carry none.
    #[serde(serialize_with = "display")]
    pub time_zone: chrono_tz::Tz,
    /// A file must have stood still for so long.
    #[serde(serialize_with = "seconds")]
    pub settle: Duration,
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

/// How people are told.
#[derive(Clone, Debug, Serialize)]
pub struct Notify {
    /// Who.
    pub to: Vec<String>,
    /// As whom.
    pub from: String,
    /// By which way.
    pub transport: Transport,
    /// First wait after a failed attempt; it doubles up to an hour.
    #[serde(serialize_with = "seconds")]
    pub retry_after: Duration,
}

/// The way of an email.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Into the log alone: nothing is configured.
    None,
    /// As files in a directory.
    Directory(PathBuf),
    /// By SMTP.
    Smtp(Smtp),
}

/// An SMTP server.
#[derive(Clone, Debug, Serialize)]
pub struct Smtp {
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Encryption.
    pub tls: Tls,
    /// Who logs in.
    pub username: Option<String>,
    /// With what.
    #[serde(skip)]
    pub password: Option<Secret>,
}

/// Encryption of SMTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// From the first byte.
    Implicit,
    /// After STARTTLS, which is required.
    Starttls,
    /// Never.
    None,
}

/// How long things are kept.
#[derive(Clone, Debug, Serialize)]
pub struct Retention {
    /// Rejected records.
    #[serde(serialize_with = "seconds")]
    pub rejections: Duration,
    /// Sent notices.
    #[serde(serialize_with = "seconds")]
    pub notices: Duration,
}

/// A text that must not be seen: its `Debug` is three stars and it does not serialise.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wrap a secret.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Plan {
    /// SHA-256 of everything that can change a result, as hexadecimal text.
    #[must_use]
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(self.canonical().to_string()))
    }

    /// The plan as JSON, without secrets and without what only concerns the process.
    #[must_use]
    pub fn canonical(&self) -> serde_json::Value {
        // unwrap safety: every field serialises to a JSON value; maps have text keys.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// A model by name.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name == name)
    }
}

impl Model {
    /// What rows of this model are folded into; a change of it folds every bucket again.
    #[must_use]
    pub fn fold_digest(&self) -> String {
        let what = (&self.outputs, self.bucket, &self.dimensions, &self.crossings, self.truth_policy, self.uncertain);
        // unwrap safety: as in `canonical`.
        hex(&Sha256::digest(serde_json::to_string(&what).unwrap_or_default()))
    }

    /// An output by name.
    #[must_use]
    pub fn output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.name == name)
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file has problems; all of them.
    #[error("{path} has {} problem(s):\n{}", problems.len(), list(problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, by line.
        problems: Vec<Problem>,
    },
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

/// Read a configuration file. Relative paths in it are relative to its folder.
///
/// # Errors
/// When it cannot be read, or with every problem it has.
pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Plan, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&text, folder, environment)
        .map(|(plan, _)| plan)
        .map_err(|problems| Error::Invalid { path: path.to_owned(), problems })
}

/// Check a configuration's text; also returns every key that the configuration knows.
///
/// # Errors
/// Every problem, by line.
pub fn parse(
    text: &str,
    folder: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(Plan, BTreeSet<String>), Vec<Problem>> {
    let notes = reader::Notes::new(text);
    let document = toml_edit::Document::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| notes.line(span.start));
        vec![Problem { line, key: "(syntax)".into(), message: error.message().trim().replace('\n', "; ") }]
    })?;
    let plan = check::plan(&reader::Section::root(document.as_table(), &notes), folder, environment);
    let problems = notes.problems();
    if problems.is_empty() { Ok((plan, notes.vocabulary())) } else { Err(problems) }
}

/// Bytes as hexadecimal text.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn display<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests;
