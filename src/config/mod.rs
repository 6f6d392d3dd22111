//! The plan: the validated configuration, a value that cannot be wrong.
//!
//! A file is read once ([`load`]); all its problems come back together, each with its line, key and remedy. What is left
//! is a [`Plan`], whose digest every result names. Secrets are read from files or the environment and never serialise.
//! There is a file per section, with its types and its rules; `reader` is what they read with. Look next at
//! `config/full.toml`, which lists every key with its default.

mod alerting;
mod audit;
mod change;
mod health;
mod http;
mod model;
mod notify;
mod output;
mod pull;
mod reader;
mod recorded;
mod rule;
mod service;
mod source;
mod watch;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::chain::hex;

pub use alerting::{Alerting, Escalation, Maintenance, Times};
pub use audit::Audit;
pub use change::{Change, changes};
pub use health::{Health, HealthRule, Heartbeat, Method as HttpMethod, Patience, Response};
pub use http::{Certificate, Http, Rate};
pub use model::{Feature, Model, Quantity, Shape};
pub use notify::{Address, Channel, DEFAULT_ROUTE, ESCALATION_ROUTE, Notify, Route, Smtp, Tls, Transport};
pub use output::{Classes, Finding, Output, ValueOutput};
pub use pull::{HttpFeed, Kafka, Nats, Objects, Overlap, Pace, Paging, Pull, Since, Sql, Upstream};
pub use reader::Problem;
use reader::Section;
pub use recorded::{recorded_budget, recorded_model, recorded_watch};
pub use rule::{AlertRule, BoundRule, Limit, Severity, SlicePattern};
pub use service::{CaseIds, Database, Identity, Intake, Retention, Secret, Service};
pub use source::{Events, Files, Format, Kind, Layout, RecordKind, Source, TimeFormat};
pub use watch::{Budget, Measure, Method, Side, Tier, Unit, Watch, Weekends};

/// A configuration that has passed every check.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Where the daemon listens and keeps its files.
    #[serde(skip)]
    pub service: Service,
    /// Who may use the HTTP server, and its limits.
    #[serde(skip)]
    pub http: Http,
    /// Where Postgres is.
    #[serde(skip)]
    pub database: Database,
    /// How case and subject ids are treated.
    pub identity: Identity,
    /// What the one door accepts.
    pub intake: Intake,
    /// How many false alarms the alarm engine may raise.
    pub budget: Budget,
    /// The monitored models.
    pub models: Vec<Model>,
    /// Where records come from.
    pub sources: Vec<Source>,
    /// How often people are told, and who else.
    pub alerting: Alerting,
    /// When nobody is told.
    pub maintenance: Vec<Maintenance>,
    /// How people are told.
    pub notify: Notify,
    /// Whom the daemon tells that it lives, if anybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,
    /// How the record is kept from being bent.
    pub audit: Audit,
    /// How long things are kept.
    pub retention: Retention,
}

impl Plan {
    /// SHA-256 of the canonical plan, as hexadecimal text.
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

    /// The source that takes in what is pushed for a model: the named one, or the first of the plan, or the one that a plan
    /// need not name.
    ///
    /// # Errors
    /// When the name is that of no such source.
    pub fn push_source(&self, model: &str, record: RecordKind, name: Option<&str>) -> Result<Source, String> {
        let fits = |source: &&Source| source.kind == Kind::Push && source.model == model && source.record == record;
        let mut own = self.sources.iter().filter(fits);
        let Some(name) = name else {
            return Ok(own.next().cloned().unwrap_or_else(|| Source::pushed(record, model)));
        };
        let found = own.clone().find(|source| source.name == name).cloned();
        found.ok_or_else(|| {
            let known: Vec<&str> = own.by_ref().map(|source| source.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!("{name:?} is no source of kind push for {} of {model}; known are {known}", record.as_str())
        })
    }

    /// The sources by HTTP that a plan need not name: they take in what is pushed for its models all the same.
    #[must_use]
    pub fn implied_sources(&self) -> Vec<Source> {
        let kinds = [RecordKind::Predictions, RecordKind::Assertions];
        let all = self.models.iter().flat_map(|model| kinds.map(|record| Source::pushed(record, &model.name)));
        all.filter(|source| !self.sources.contains(source)).collect()
    }

    /// A source by name, of the plan or implied.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<Source> {
        let found = self.sources.iter().find(|source| source.name == name).cloned();
        found.or_else(|| self.implied_sources().into_iter().find(|source| source.name == name))
    }

    /// The source that takes in the events of an inference server: the named one, or the first of the model.
    ///
    /// # Errors
    /// When there is none, or the name is that of no such source.
    pub fn event_source(&self, model: &str, name: Option<&str>) -> Result<&Source, String> {
        let own = || self.sources.iter().filter(|source| source.model == model && source.events().is_some());
        own().find(|source| name.is_none_or(|name| source.name == name)).ok_or_else(|| {
            let known: Vec<&str> = own().map(|source| source.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!("the plan has no such source of kind cloudevents for {model:?}; known are {known}")
        })
    }

    /// A model by name.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name == name)
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
    // Absolute and without detours: however the file was named, the plan is the same.
    let folder = std::fs::canonicalize(path).ok().and_then(|path| path.parent().map(Path::to_owned));
    let folder = folder.unwrap_or_else(|| path.parent().unwrap_or(Path::new("")).to_owned());
    parse(&text, &folder, environment)
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
    let plan = plan(&Section::root(document.as_table(), &notes), &Surroundings { folder, environment });
    let problems = notes.problems();
    if problems.is_empty() { Ok((plan, notes.vocabulary())) } else { Err(problems) }
}

/// Where relative paths start and where environment variables come from.
struct Surroundings<'a> {
    folder: &'a Path,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

/// Every section in the order of `full.toml`.
fn plan(root: &Section<'_>, around: &Surroundings<'_>) -> Plan {
    let mut service = service::service(root.section("service"), around);
    let http = http::http(root.section("http"), &mut service, around);
    let database = service::database(root.section("database"), around);
    let identity = service::identity(root.section("identity"), around);
    let intake = service::intake(root.section("intake"));
    let budget = watch::budget(root.section("alarms"));
    let models: Vec<Model> = root.sections("model").into_iter().map(model::model).collect();
    unique(root, "model", models.iter().map(|model| model.name.as_str()));
    if models.is_empty() {
        root.problem("model", "there is no model to monitor; add a [[model]] with a name and outputs");
    }
    let sources: Vec<Source> =
        root.sections("source").into_iter().map(|section| source::source(section, &models, around)).collect();
    unique(root, "source", sources.iter().map(|source| source.name.as_str()));
    let sources = with_push(sources, &models);
    let alerting = alerting::alerting(root.section("alerting"));
    let maintenance: Vec<Maintenance> =
        root.sections("maintenance").into_iter().map(|section| alerting::maintenance(section, &models)).collect();
    unique(root, "maintenance", maintenance.iter().map(|window| window.name.as_str()));
    let notify = notify::notify(root.section("notify"), &models, around);
    notify::check_escalation(root, &alerting, &notify);
    let heartbeat = health::heartbeat(root.section("heartbeat"), around);
    let audit = audit::audit(root.section("audit"), &notify, around);
    let retention = service::retention(root.section("retention"), &models);
    root.refuse_unknown();
    Plan {
        service,
        http,
        database,
        identity,
        intake,
        budget,
        models,
        sources,
        alerting,
        maintenance,
        notify,
        heartbeat,
        audit,
        retention,
    }
}

/// The sources of the plan, and those by HTTP of whatever a model has no source of.
fn with_push(mut sources: Vec<Source>, models: &[Model]) -> Vec<Source> {
    for model in models {
        for record in [RecordKind::Predictions, RecordKind::Assertions] {
            if !sources.iter().any(|source| source.model == model.name && source.record == record) {
                sources.push(Source::pushed(record, &model.name));
            }
        }
    }
    sources
}

fn unique<'a>(section: &Section<'_>, key: &str, names: impl Iterator<Item = &'a str>) {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            section.problem(key, format!("the name {name:?} is used twice; names are unique"));
        }
    }
}

#[allow(clippy::ref_option, reason = "the signature is serde's")]
fn optional_seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
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
