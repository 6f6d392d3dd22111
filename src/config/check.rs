//! From the shape of a file to a plan: every rule of the configuration, top to bottom in the order of `full.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::Section;
use super::{
    AlertRule, BoundRule, CaseIds, Database, Format, Identity, Intake, Layout, Limit, Model, Notify, Output, Plan,
    RecordKind, Retention, Secret, Service, Severity, SlicePattern, Smtp, Source, TimeFormat, Tls, Transport,
};
use crate::domain::window::parse_instant;
use crate::domain::{Dimension, Granularity, MetricKey, Slice, TruthPolicy, Uncertain, WindowSpec};

const DAY: Duration = Duration::from_secs(86_400);

/// Where relative paths start and where environment variables come from.
struct Surroundings<'a> {
    folder: &'a Path,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

pub(super) fn plan(root: &Section<'_>, folder: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Plan {
    let around = Surroundings { folder, environment };
    let service = service(root.section("service"), &around);
    let database = database(root.section("database"), &around);
    let identity = identity(root.section("identity"), &around);
    let intake = intake(root.section("intake"));
    let models: Vec<Model> = root.sections("model").into_iter().map(model).collect();
    unique(root, "model", models.iter().map(|model| model.name.as_str()));
    if models.is_empty() {
        root.problem("model", "there is no model to monitor; add a [[model]] with a name and outputs");
    }
    let sources: Vec<Source> =
        root.sections("source").into_iter().map(|section| source(section, &models, &around)).collect();
    unique(root, "source", sources.iter().map(|source| source.name.as_str()));
    let notify = notify(root.section("notify"), &around);
    let retention = retention(root.section("retention"));
    root.refuse_unknown();
    Plan { service, database, identity, intake, models, sources, notify, retention }
}

fn service(section: Section<'_>, around: &Surroundings<'_>) -> Service {
    let listen = section.parsed("listen", ([127, 0, 0, 1], 9187).into(), |text| {
        text.parse().map_err(|_| format!("{text:?} is no address; write 127.0.0.1:9187"))
    });
    let service = Service {
        listen,
        public_url: section.string("public_url").unwrap_or_else(|| format!("http://{listen}")),
        grafana_url: section.string("grafana_url"),
        data_dir: section.string("data_dir").map_or_else(|| default_data_dir(around), |dir| around.folder.join(dir)),
        tick: section.duration("tick", Duration::from_secs(15)),
    };
    if service.tick < Duration::from_millis(100) {
        section.problem("tick", "is too short; write at least 100ms");
    }
    section.refuse_unknown();
    service
}

/// Per user when there is a home, else the system's place.
fn default_data_dir(around: &Surroundings<'_>) -> PathBuf {
    let home = (around.environment)("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| (around.environment)("HOME").map(|home| Path::new(&home).join(".local/share")));
    match home {
        Some(home) if !nix::unistd::Uid::effective().is_root() => home.join("dosimeter"),
        _ => PathBuf::from("/var/lib/dosimeter"),
    }
}

fn database(section: Section<'_>, around: &Surroundings<'_>) -> Database {
    let url = secret(&section, "url", "DATABASE_URL", around);
    if let Some(url) = &url
        && !url.expose().starts_with("postgres://")
        && !url.expose().starts_with("postgresql://")
    {
        section.problem("url", "is no Postgres address; write postgres://user@host:5432/database");
    }
    let database = Database {
        url,
        bin_dir: section.string("bin_dir").map(|dir| around.folder.join(dir)),
        run_as: section.string("run_as"),
        max_connections: u32::try_from(section.integer("max_connections", 10, 2)).unwrap_or(u32::MAX),
    };
    section.refuse_unknown();
    database
}

fn identity(section: Section<'_>, around: &Surroundings<'_>) -> Identity {
    let identity = Identity {
        case_ids: section.choice(
            "case_ids",
            CaseIds::Hash,
            &[("hash", CaseIds::Hash), ("pseudonym", CaseIds::Pseudonym)],
        ),
        key: secret(&section, "key", "DOSIMETER_IDENTITY_KEY", around),
    };
    if identity.key.as_ref().is_some_and(|key| key.expose().len() < 32) {
        section.problem("key", "is too short to protect anybody; use at least 32 random characters");
    }
    section.refuse_unknown();
    identity
}

/// A secret by environment variable, `<key>_file` or `<key>`, in this order.
fn secret(section: &Section<'_>, key: &str, variable: &str, around: &Surroundings<'_>) -> Option<Secret> {
    let inline = section.string(key);
    let file_key = format!("{key}_file");
    let file = section.string(&file_key);
    if let Some(text) = (around.environment)(variable).filter(|text| !text.is_empty()) {
        return Some(Secret::new(&text));
    }
    if let Some(file) = file {
        if inline.is_some() {
            section.problem(key, format!("is given twice; keep either {key} or {file_key}"));
        }
        return match std::fs::read_to_string(around.folder.join(&file)) {
            Ok(text) => Some(Secret::new(text.trim_end())),
            Err(error) => {
                section.problem(&file_key, format!("cannot read {file}: {error}"));
                None
            }
        };
    }
    inline.map(|text| Secret::new(&text))
}

fn intake(section: Section<'_>) -> Intake {
    let earliest = chrono::DateTime::from_timestamp(946_684_800, 0).unwrap_or_default();
    let intake = Intake {
        batch_rows: usize::try_from(section.integer("batch_rows", 20_000, 1)).unwrap_or(usize::MAX),
        earliest: section.parsed("earliest", earliest, parse_instant),
        future_tolerance: section.duration("future_tolerance", DAY),
    };
    section.refuse_unknown();
    intake
}

fn model(section: Section<'_>) -> Model {
    let name = section.required_string("name", "name the model as its records do");
    let thresholds = checked_thresholds(&section).unwrap_or_else(|| vec![0.5]);
    let outputs: Vec<Output> =
        section.sections("output").into_iter().map(|output| self::output(output, &thresholds)).collect();
    if outputs.is_empty() {
        section.problem("output", "the model says nothing; add a [[model.output]] with a name for each output");
    }
    unique(&section, "output", outputs.iter().map(|output| output.name.as_str()));
    let dimensions: Vec<Dimension> = section.sections("dimension").into_iter().map(dimension).collect();
    unique(&section, "dimension", dimensions.iter().map(|dimension| dimension.name.as_str()));
    let windows = windows(&section);
    let crossings = crossings(&section, &dimensions);
    let truth = section.section("truth");
    let mut model = Model {
        name,
        bucket: section.choice("bucket", Granularity::Day, &[("day", Granularity::Day), ("hour", Granularity::Hour)]),
        crossings,
        windows,
        minimum_n: section.integer("minimum_n", 20, 0),
        truth_policy: truth.choice(
            "policy",
            TruthPolicy::LatestFinal,
            &[
                ("latest-final", TruthPolicy::LatestFinal),
                ("latest", TruthPolicy::Latest),
                ("majority", TruthPolicy::Majority),
            ],
        ),
        uncertain: truth.choice(
            "uncertain",
            Uncertain::Ignore,
            &[("ignore", Uncertain::Ignore), ("positive", Uncertain::Positive), ("negative", Uncertain::Negative)],
        ),
        outputs,
        dimensions,
        alerts: Vec::new(),
    };
    truth.refuse_unknown();
    model.alerts = section.sections("alert").into_iter().map(|rule| alert(rule, &model)).collect();
    unique(&section, "alert", model.alerts.iter().map(|rule| rule.name.as_str()));
    section.refuse_unknown();
    model
}

fn output(section: Section<'_>, thresholds: &[f64]) -> Output {
    let name = section.required_string("name", "name the output as its records do");
    let output = Output {
        truth: section.string("truth").unwrap_or_else(|| name.clone()),
        thresholds: checked_thresholds(&section).unwrap_or_else(|| thresholds.to_vec()),
        name,
    };
    section.refuse_unknown();
    output
}

fn checked_thresholds(section: &Section<'_>) -> Option<Vec<f64>> {
    let mut thresholds = section.numbers("thresholds")?;
    if thresholds.iter().any(|threshold| !(0.0..=1.0).contains(threshold)) {
        section.problem("thresholds", "has a value outside 0 to 1; thresholds are probabilities");
    }
    thresholds.sort_by(f64::total_cmp);
    thresholds.dedup();
    Some(thresholds)
}

fn dimension(section: Section<'_>) -> Dimension {
    let dimension = Dimension {
        name: section.required_string("name", "name the attribute that the records carry"),
        cuts: section.numbers("cuts").unwrap_or_default(),
        values: section.strings("values").unwrap_or_default(),
    };
    if dimension.cuts.windows(2).any(|pair| pair[0] >= pair[1]) {
        section.problem("cuts", "must ascend, as in [40, 65]");
    }
    if !dimension.cuts.is_empty() && !dimension.values.is_empty() {
        section.problem("values", "a dimension has cuts (numeric) or values (categorical), not both");
    }
    if dimension.name.contains(['=', '&', '*']) || dimension.name == "all" {
        section.problem("name", "may not contain = & * or be \"all\": slices are written view=AP & sex=F");
    }
    section.refuse_unknown();
    dimension
}

fn windows(section: &Section<'_>) -> Vec<WindowSpec> {
    let texts = section.strings("windows").unwrap_or_else(|| ["7d", "30d", "month"].map(String::from).to_vec());
    let parsed = texts.iter().filter_map(|text| match text.parse() {
        Ok(window) => Some(window),
        Err(message) => {
            section.problem("windows", message);
            None
        }
    });
    let mut windows: Vec<WindowSpec> = parsed.collect();
    windows.sort_unstable();
    windows.dedup();
    windows
}

fn crossings(section: &Section<'_>, dimensions: &[Dimension]) -> Vec<Vec<String>> {
    let mut crossings = Vec::new();
    for text in section.strings("crossings").unwrap_or_default() {
        let mut names: Vec<String> = text.split('&').map(|name| name.trim().to_owned()).collect();
        names.sort();
        names.dedup();
        if names.len() < 2 {
            section.problem("crossings", format!("{text:?} crosses nothing; write \"site & sex\""));
        }
        for name in names.iter().filter(|name| !dimensions.iter().any(|dimension| dimension.name == **name)) {
            section.problem("crossings", format!("{name:?} is no dimension of this model; add a [[model.dimension]]"));
        }
        crossings.push(names);
    }
    crossings
}

/// Metrics that a rule can watch, and whether they take a threshold.
const WATCHABLE: [(&str, bool); 20] = [
    ("predictions", false),
    ("labelled", false),
    ("label_coverage", false),
    ("label_delay_p90_seconds", false),
    ("prevalence", false),
    ("mean_score", false),
    ("auroc", false),
    ("average_precision", false),
    ("brier", false),
    ("log_loss", false),
    ("observed_expected", false),
    ("ece", false),
    ("calibration_intercept", false),
    ("calibration_slope", false),
    ("score_psi", false),
    ("sensitivity", true),
    ("specificity", true),
    ("ppv", true),
    ("npv", true),
    ("alert_rate", true),
];

fn alert(section: Section<'_>, model: &Model) -> AlertRule {
    let name = section.required_string("name", "name the rule; the email's subject carries it");
    let output = section.string("output").filter(|output| output != "*");
    if let Some(output) = output.as_ref().filter(|output| model.output(output).is_none()) {
        section.problem("output", format!("{output:?} is no output of this model"));
    }
    let metric = section.required_string("metric", "name the metric to watch, such as \"auroc\"");
    let threshold = section.number("threshold");
    let known = WATCHABLE.iter().find(|(name, _)| *name == metric);
    match (known, threshold) {
        (None, _) if !metric.is_empty() => {
            let names: Vec<&str> = WATCHABLE.iter().map(|(name, _)| *name).collect();
            section.problem("metric", format!("{metric:?} cannot be watched; known are {}", names.join(", ")));
        }
        (Some((_, true)), None) => section.problem("threshold", format!("is missing; {metric} is measured at one")),
        (Some((_, false)), Some(_)) => section.problem("threshold", format!("has no meaning for {metric}; remove it")),
        (Some((_, true)), Some(at)) => {
            let watched = model.outputs.iter().filter(|o| output.as_ref().is_none_or(|name| *name == o.name));
            if watched.into_iter().any(|o| !o.thresholds.contains(&at)) {
                section.problem("threshold", format!("{at} is not among the output's thresholds; add it there"));
            }
        }
        _ => {}
    }
    let limit = match (section.number("below"), section.number("above")) {
        (Some(limit), None) => Limit::Below(limit),
        (None, Some(limit)) => Limit::Above(limit),
        _ => {
            section.problem("below", "a rule needs a limit: exactly one of below and above");
            Limit::Below(0.0)
        }
    };
    let window = section.parsed("window", WindowSpec::RollingDays(30), str::parse);
    if !model.windows.contains(&window) {
        section.problem("window", format!("{window} is not among the model's windows; add it there"));
    }
    let rule = AlertRule {
        metric: MetricKey { threshold: threshold.map(|t| t.to_string()), ..MetricKey::plain(&metric) },
        slices: slice_pattern(&section, model),
        bound: section.choice(
            "bound",
            BoundRule::Interval,
            &[("interval", BoundRule::Interval), ("value", BoundRule::Value)],
        ),
        hold: section.duration("for", Duration::ZERO),
        severity: section.choice("severity", Severity::Page, &[("page", Severity::Page), ("ticket", Severity::Ticket)]),
        name,
        output,
        window,
        limit,
    };
    section.refuse_unknown();
    rule
}

fn slice_pattern(section: &Section<'_>, model: &Model) -> SlicePattern {
    let known = |name: &str| model.dimensions.iter().any(|dimension| dimension.name == name);
    section.parsed("slice", SlicePattern::One(Slice::all()), |text| {
        if let Some(dimension) = text.strip_suffix("=*") {
            return if known(dimension) {
                Ok(SlicePattern::Each(dimension.to_owned()))
            } else {
                Err(format!("{dimension:?} is no dimension of this model; add a [[model.dimension]]"))
            };
        }
        let slice: Slice = text.parse()?;
        let dimensions = slice.dimensions();
        let declared = dimensions.len() < 2 || model.crossings.contains(&dimensions);
        match dimensions.iter().find(|name| !known(name)) {
            Some(name) => Err(format!("{name:?} is no dimension of this model; add a [[model.dimension]]")),
            None if !declared => Err(format!("add {:?} to the model's crossings", dimensions.join(" & "))),
            None => Ok(SlicePattern::One(slice)),
        }
    })
}

/// The fields of a record that a column or a constant may hold, by kind: `(name, required)`.
fn fields(record: RecordKind, layout: Layout) -> Vec<(&'static str, bool)> {
    let mut fields = match record {
        RecordKind::Predictions => {
            vec![("id", false), ("case", true), ("subject", false), ("occurred_at", true), ("version", true)]
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

fn source(section: Section<'_>, models: &[Model], around: &Surroundings<'_>) -> Source {
    let name = section.required_string("name", "name the source; its lag and its rejections carry the name");
    section.choice("kind", (), &[("file", ())]);
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
    let paths = section.strings("paths").unwrap_or_default();
    if paths.is_empty() {
        section.problem("paths", "is missing; list files, globs or directories, as in [\"inbox/predictions\"]");
    }
    for path in &paths {
        if let Err(error) = glob::Pattern::new(path) {
            section.problem("paths", format!("{path:?} is no pattern: {error}"));
        }
    }
    let columns: BTreeMap<String, String> = section.string_map("columns").into_iter().collect();
    let constants: BTreeMap<String, String> = section.string_map("constants").into_iter().collect();
    check_fields(&section, &columns, &constants, record, layout);
    let outputs: BTreeMap<String, String> = section.string_map("outputs").into_iter().collect();
    if let Some(model) = model {
        for name in outputs.keys().filter(|name| !model.outputs.iter().any(|o| o.name == **name || o.truth == **name)) {
            section.problem("outputs", format!("{name:?} is no output of model {:?}", model.name));
        }
    }
    let source = Source {
        name,
        record,
        model: model_name,
        paths: paths.iter().map(|path| around.folder.join(path).to_string_lossy().into_owned()).collect(),
        format: section.choice(
            "format",
            None,
            &[
                ("auto", None),
                ("csv", Some(Format::Csv)),
                ("ndjson", Some(Format::Ndjson)),
                ("parquet", Some(Format::Parquet)),
            ],
        ),
        layout,
        delimiter: section.parsed("delimiter", ',', |text| match text.chars().collect::<Vec<_>>()[..] {
            [one] if one.is_ascii() => Ok(one),
            _ => Err(format!("{text:?} is not one ASCII character; write \",\" or \";\" or \"\\t\"")),
        }),
        columns,
        constants,
        outputs,
        attributes: section.string_map("attributes").into_iter().collect(),
        time_format: section.parsed("time_format", TimeFormat::Auto, time_format),
        time_zone: section.parsed("time_zone", chrono_tz::UTC, |text| {
            text.parse().map_err(|_| format!("{text:?} is no time zone; write UTC or Europe/Berlin"))
        }),
        settle: section.duration("settle", Duration::from_secs(2)),
    };
    section.refuse_unknown();
    source
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

fn notify(section: Section<'_>, around: &Surroundings<'_>) -> Notify {
    let to = section.strings("to").unwrap_or_default();
    let from = section.string("from").unwrap_or_else(|| "dosimeter@localhost".to_owned());
    for (key, address) in to.iter().map(|address| ("to", address)).chain([("from", &from)]) {
        if address.parse::<lettre::message::Mailbox>().is_err() {
            section.problem(key, format!("{address:?} is no email address"));
        }
    }
    let directory = section.string("directory").map(|dir| around.folder.join(dir));
    let smtp_section = section.section("smtp");
    let smtp = smtp_section.is_present();
    let server = self::smtp(smtp_section, around);
    if smtp && to.is_empty() {
        section.problem("to", "is empty; list who is told, as in [\"on-call@hospital.example\"]");
    }
    if smtp && directory.is_some() {
        section.problem("directory", "emails go to a directory or to SMTP; keep one");
    }
    let notify = Notify {
        to,
        from,
        transport: match (smtp, directory) {
            (true, _) => Transport::Smtp(server),
            (false, Some(directory)) => Transport::Directory(directory),
            (false, None) => Transport::None,
        },
        retry_after: section.duration("retry_after", Duration::from_secs(30)),
    };
    section.refuse_unknown();
    notify
}

fn smtp(section: Section<'_>, around: &Surroundings<'_>) -> Smtp {
    let tls = section.choice(
        "tls",
        Tls::Starttls,
        &[("starttls", Tls::Starttls), ("implicit", Tls::Implicit), ("none", Tls::None)],
    );
    let usual = match tls {
        Tls::Implicit => 465,
        Tls::Starttls => 587,
        Tls::None => 25,
    };
    let smtp = Smtp {
        host: if section.is_present() {
            section.required_string("host", "name the SMTP server")
        } else {
            section.string("host").unwrap_or_default()
        },
        port: u16::try_from(section.integer("port", usual, 1)).unwrap_or_else(|_| {
            section.problem("port", "is no port; write 1 to 65535");
            25
        }),
        tls,
        username: section.string("username"),
        password: secret(&section, "password", "DOSIMETER_SMTP_PASSWORD", around),
    };
    if smtp.username.is_some() && smtp.password.is_none() {
        section.problem("password_file", "is missing; a username needs a password");
    }
    section.refuse_unknown();
    smtp
}

fn retention(section: Section<'_>) -> Retention {
    let retention = Retention {
        rejections: section.duration("rejections", 90 * DAY),
        notices: section.duration("notices", 365 * DAY),
    };
    section.refuse_unknown();
    retention
}

fn unique<'a>(section: &Section<'_>, key: &str, names: impl Iterator<Item = &'a str>) {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            section.problem(key, format!("the name {name:?} is used twice; names are unique"));
        }
    }
}
