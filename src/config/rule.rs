//! Alert rules: a metric, where it is watched, and the limit it must not pass.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::health::HealthRule;
use super::model::{Model, Quantity};
use super::reader::Section;
use super::{display, seconds};
use crate::domain::{MetricKey, Slice, WindowSpec};
use crate::metric::catalogue::{self, Entry};
use crate::summary::body::Kind;

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
    /// What the metric must come back to before an alert that has fired counts as ceased; the limit itself when absent.
    pub clear: Option<f64>,
    /// What must be past the limit.
    pub bound: BoundRule,
    /// How long it must stay so before anybody is told.
    #[serde(serialize_with = "seconds")]
    pub hold: Duration,
    /// Who is told.
    pub severity: Severity,
    /// Where it says what to do about an alert.
    pub runbook: Option<String>,
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

impl Limit {
    /// The side on which the metric must not be.
    #[must_use]
    pub fn side(self) -> &'static str {
        match self {
            Self::Below(_) => "below",
            Self::Above(_) => "above",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(limit) | Self::Above(limit) => write!(f, "{} {limit}", self.side()),
        }
    }
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

impl fmt::Display for BoundRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interval => "the whole interval counts",
            Self::Value => "the value counts",
        })
    }
}

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Somebody is woken.
    Page,
    /// Somebody looks in working hours.
    Ticket,
}

impl Severity {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Page, Self::Ticket];

    /// The severity of a word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == text)
    }

    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
        }
    }
}

/// A rule or watch is not named like an alert of the health rules.
pub(super) fn check_name(section: &Section<'_>, name: &str) {
    if name.starts_with(HealthRule::PREFIX) {
        section.problem("name", format!("{name:?} begins like the alerts of [model.health]; choose another name"));
    }
}

pub(super) fn alert(section: Section<'_>, model: &Model) -> AlertRule {
    let name = section.required_string("name", "name the rule; the email's subject carries it");
    check_name(&section, &name);
    let output = section.string("output").filter(|output| output != "*");
    let kind_of = |name: &str| {
        let quantities = model.quantities();
        let own = quantities.iter().find(|quantity| quantity.name() == name)?;
        own.kind().filter(|kind| matches!(kind, Kind::Output | Kind::Classes | Kind::Value))
    };
    if let Some(output) = output.as_ref().filter(|output| kind_of(output).is_none()) {
        section.problem("output", format!("{output:?} is no output of this model"));
    }
    let metric = section.required_string("metric", "name the metric to watch, such as \"auroc\"");
    let threshold = section.number("threshold");
    let class = section.string("class");
    let known = catalogue::find(&metric).filter(|entry| entry.is_watchable());
    match (known, threshold) {
        (None, _) if !metric.is_empty() => {
            let names: Vec<&str> = catalogue::ENTRIES.iter().filter(|e| e.is_watchable()).map(|e| e.name).collect();
            section.problem("metric", format!("{metric:?} cannot be watched; known are {}", names.join(", ")));
        }
        (Some(entry), None) if entry.has_threshold() => {
            section.problem("threshold", format!("is missing; {metric} is measured at one"));
        }
        (Some(entry), Some(_)) if !entry.has_threshold() => {
            section.problem("threshold", format!("has no meaning for {metric}; remove it"));
        }
        (Some(_), Some(at)) => {
            let watched = model.outputs.iter().filter(|o| output.as_ref().is_none_or(|name| *name == o.name));
            if watched.into_iter().any(|o| !o.thresholds.contains(&at)) {
                section.problem("threshold", format!("{at} is not among the output's thresholds; add it there"));
            }
        }
        _ => {}
    }
    if let Some(entry) = known {
        let quantities = model.quantities();
        let watched = quantities.iter().filter(|quantity| output.as_ref().is_none_or(|name| *name == quantity.name()));
        if !watched.clone().any(|quantity| answers(entry, *quantity))
            && output.as_ref().is_none_or(|name| kind_of(name).is_some())
        {
            section.problem(
                "metric",
                format!("the output never answers {metric}; docs/metrics.md says which kinds do, and what it needs"),
            );
        }
        let classes = model.classes.iter().filter(|choice| output.as_ref().is_none_or(|name| *name == choice.name));
        match &class {
            None if entry.has_class() => section.problem("class", format!("is missing; {metric} is about one class")),
            Some(class) if entry.has_class() && !classes.clone().any(|choice| choice.classes.contains(class)) => {
                section.problem("class", format!("{class:?} is no class of the output"));
            }
            Some(_) if !entry.has_class() => {
                section.problem("class", format!("has no meaning for {metric}; remove it"));
            }
            _ => {}
        }
    }
    let (limit, clear) = limits(&section);
    let has_interval = known.is_none_or(Entry::has_interval);
    let bound = section.choice(
        "bound",
        if has_interval { BoundRule::Interval } else { BoundRule::Value },
        &[("interval", BoundRule::Interval), ("value", BoundRule::Value)],
    );
    if bound == BoundRule::Interval && !has_interval {
        section.problem("bound", format!("{metric} has no interval; write \"value\", or remove the key"));
    }
    let window = section.parsed("window", WindowSpec::RollingDays(30), str::parse);
    if !model.windows.contains(&window) {
        section.problem("window", format!("{window} is not among the model's windows; add it there"));
    }
    let rule = AlertRule {
        metric: MetricKey { threshold: threshold.map(|t| t.to_string()), class, ..MetricKey::plain(&metric) },
        slices: slice_pattern(&section, model),
        bound,
        hold: section.duration("for", Duration::ZERO),
        runbook: section.string("runbook"),
        severity: section.choice("severity", Severity::Page, &[("page", Severity::Page), ("ticket", Severity::Ticket)]),
        name,
        output,
        window,
        limit,
        clear,
    };
    section.refuse_unknown();
    rule
}

/// The limit, and what the metric must come back to.
fn limits(section: &Section<'_>) -> (Limit, Option<f64>) {
    let limit = match (section.number("below"), section.number("above")) {
        (Some(limit), None) => Limit::Below(limit),
        (None, Some(limit)) => Limit::Above(limit),
        _ => {
            section.problem("below", "a rule needs a limit: exactly one of below and above");
            Limit::Below(0.0)
        }
    };
    let clear = section.number("clear");
    let problem = match (limit, clear) {
        (Limit::Below(limit), Some(clear)) if clear <= limit => Some(("below", "higher")),
        (Limit::Above(limit), Some(clear)) if clear >= limit => Some(("above", "lower")),
        _ => None,
    };
    if let Some((side, other)) = problem {
        section
            .problem("clear", format!("is not past the limit; with {side}, clear is {other} than that, or left out"));
    }
    (limit, clear)
}

/// Whether a quantity ever has a value of a metric, as the plan describes it.
fn answers(entry: &Entry, quantity: Quantity<'_>) -> bool {
    let is_kind = quantity.kind().is_some_and(|kind| entry.kinds().contains(&kind));
    let has_what_it_takes = match (quantity, entry.name) {
        (Quantity::Value(value), "within_tolerance") => value.tolerance.is_some(),
        (Quantity::Output(output), "expected_cost" | "normalised_cost" | "cost_regret") => output.costs.is_some(),
        (Quantity::Classes(choice), "multiclass_expected_cost" | "multiclass_normalised_cost") => {
            choice.costs.is_some()
        }
        (Quantity::Classes(choice), "multiclass_top_2_accuracy") => choice.classes.len() > 2,
        (Quantity::Classes(choice), "multiclass_top_3_accuracy") => choice.classes.len() > 3,
        _ => true,
    };
    is_kind && has_what_it_takes
}

pub(super) fn slice_pattern(section: &Section<'_>, model: &Model) -> SlicePattern {
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
        let impossible = slice.cells().find(|(name, value)| {
            let dimension = model.dimensions.iter().find(|dimension| dimension.name == *name);
            dimension.is_some_and(|dimension| !dimension.can_be(value))
        });
        if let Some((name, value)) = impossible {
            return Err(format!("{value:?} is no value that {name} can have; see its cuts or values"));
        }
        match dimensions.iter().find(|name| !known(name)) {
            Some(name) => Err(format!("{name:?} is no dimension of this model; add a [[model.dimension]]")),
            None if !declared => Err(format!("add {:?} to the model's crossings", dimensions.join(" & "))),
            None => Ok(SlicePattern::One(slice)),
        }
    })
}
