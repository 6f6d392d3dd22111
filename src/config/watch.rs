//! What the alarm engine watches, and how many false alarms it may raise.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::model::{Model, Quantity};
use super::reader::Section;
use super::rule::{Severity, SlicePattern, check_name, slice_pattern};
use crate::domain::Slice;
use crate::metric::Costs;

/// Seconds of a day.
const DAY: u64 = 86_400;

/// False alarms a year that the whole deployment may cause.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Budget {
    /// Pages.
    pub pages: f64,
    /// Tickets.
    pub tickets: f64,
    /// Probability that a null value from a reference holds, for all streams together.
    pub confidence: f64,
}

/// What is independent of what, given the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// The buckets alone: whatever happens within one stays together.
    Cluster,
    /// The cases, or blocks of them.
    Case,
}

/// Which way a share is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// For the worse; of shares that are neither good nor bad, upwards.
    Up,
    /// Both ways, each with half of the stream's evidence.
    Both,
}

/// What weekends are to the days before them while all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weekends {
    /// Other patients, other readers: they have a reference of their own.
    Apart,
    /// Days like the others.
    Alike,
}

/// How a stream is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = WatchMethod)]
pub enum Method {
    /// By evidence, within the budget of false alarms.
    Evidence,
    /// By a cumulative sum, with a run length of its own.
    Cusum,
    /// By an exponentially weighted moving average, with a run length of its own.
    Ewma,
}

/// What is measured of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Area under the ROC curve.
    Auroc,
    /// Share of positives that are flagged.
    Sensitivity,
    /// Share of negatives that are not flagged.
    Specificity,
    /// Share of flagged cases that are positive.
    Ppv,
    /// Share of cases that are flagged or not as they should not be.
    Error,
    /// Mean cost of a decision, by the output's costs.
    Cost,
    /// Brier score.
    Brier,
    /// Logarithmic loss, cut at ln 100.
    LogLoss,
    /// Share of flagged cases, with truth or without.
    AlertRate,
    /// Stated probabilities against true ones.
    Calibration,
    /// Distribution of the scores.
    ScoreDrift,
    /// Share of all cases that belong to a slice.
    SliceShare,
    /// Distribution of a numeric feature.
    FeatureDrift,
    /// Share of cases without a value of a feature.
    FeatureMissing,
}

impl Measure {
    const WORDS: [(&'static str, Self); 14] = [
        ("auroc", Self::Auroc),
        ("sensitivity", Self::Sensitivity),
        ("specificity", Self::Specificity),
        ("ppv", Self::Ppv),
        ("error", Self::Error),
        ("cost", Self::Cost),
        ("brier", Self::Brier),
        ("log_loss", Self::LogLoss),
        ("alert_rate", Self::AlertRate),
        ("calibration", Self::Calibration),
        ("score_drift", Self::ScoreDrift),
        ("slice_share", Self::SliceShare),
        ("feature_drift", Self::FeatureDrift),
        ("feature_missing", Self::FeatureMissing),
    ];

    /// Whether it is measured at an operating point.
    #[must_use]
    pub fn has_threshold(self) -> bool {
        matches!(self, Self::Sensitivity | Self::Specificity | Self::Ppv | Self::Error | Self::Cost | Self::AlertRate)
    }

    /// Whether it needs truth.
    #[must_use]
    pub fn needs_truth(self) -> bool {
        !matches!(self, Self::AlertRate | Self::ScoreDrift) && self.is_of_output()
    }

    /// Whether it is about an output, and not about what the model is given.
    #[must_use]
    pub fn is_of_output(self) -> bool {
        !matches!(self, Self::SliceShare | Self::FeatureDrift | Self::FeatureMissing)
    }

    /// Whether it is about a feature.
    #[must_use]
    pub fn is_of_feature(self) -> bool {
        matches!(self, Self::FeatureDrift | Self::FeatureMissing)
    }

    /// Whether it compares distributions, and so has no mean.
    #[must_use]
    pub fn is_drift(self) -> bool {
        matches!(self, Self::ScoreDrift | Self::FeatureDrift)
    }

    /// Whether a contract can state its limit.
    #[must_use]
    pub fn has_limit(self) -> bool {
        self != Self::Calibration && !self.is_drift()
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(_, measure)| measure == self).map_or("", |(word, _)| word);
        f.write_str(word)
    }
}

/// What the alarm engine watches: one measure of outputs in slices. Every output and slice is a stream of its own.
#[derive(Clone, Debug, Serialize)]
pub struct Watch {
    /// Its name.
    pub name: String,
    /// What is measured.
    pub measure: Measure,
    /// How.
    pub method: Method,
    /// Days between the false alarms of a chart, on average.
    pub run_length: f64,
    /// The output; every probability of the model when absent.
    pub output: Option<String>,
    /// What decisions cost, of the measure that is about that.
    pub costs: Option<Costs>,
    /// The feature, of measures that are about one.
    pub feature: Option<String>,
    /// The slices.
    pub slices: SlicePattern,
    /// Which way is watched.
    pub side: Side,
    /// The operating point.
    pub threshold: Option<f64>,
    /// The contract: at least so much, or at most so much of a loss.
    pub limit: Option<f64>,
    /// Room beyond what the reference was.
    pub tolerance: f64,
    /// What a unit is.
    pub unit: Unit,
    /// Whether Saturdays and Sundays have a null value of their own.
    pub weekends: Weekends,
    /// Where it says what to do about an alarm.
    pub runbook: Option<String>,
    /// The most urgent thing that an alarm may do: a watch that may page opens a ticket first.
    pub tier: Severity,
    /// A case is sealed so many days after it was made, or when its truth settles, whichever is later.
    pub maturity_days: i64,
}

impl Watch {
    /// A watch of everything that says no more than its measure: what the configuration takes where nothing is written.
    #[must_use]
    pub fn plain(measure: Measure) -> Self {
        Self {
            name: measure.to_string(),
            measure,
            method: Method::Evidence,
            run_length: 365.0,
            output: None,
            costs: None,
            feature: None,
            slices: SlicePattern::One(Slice::all()),
            side: if measure == Measure::SliceShare { Side::Both } else { Side::Up },
            threshold: None,
            limit: None,
            tolerance: match measure {
                Measure::Calibration => 0.1,
                Measure::ScoreDrift | Measure::FeatureDrift => 0.01,
                _ => 0.0,
            },
            unit: Unit::Cluster,
            weekends: Weekends::Apart,
            runbook: None,
            tier: Severity::Page,
            // What needs no truth is of age a day later: what comes in late by a night is not late.
            maturity_days: if measure.needs_truth() { 7 } else { 1 },
        }
    }

    /// The tiers in whose budgets it shares.
    #[must_use]
    pub fn tiers(&self) -> &'static [Severity] {
        match self.tier {
            Severity::Page => &[Severity::Page, Severity::Ticket],
            Severity::Ticket => &[Severity::Ticket],
        }
    }
}

pub(super) fn budget(section: Section<'_>) -> Budget {
    let positive = |key: &str, default: f64| {
        let value = section.number(key).unwrap_or(default);
        if value <= 0.0 {
            section.problem(key, "must be above 0; a budget of no false alarm at all finds nothing either");
        }
        value
    };
    let budget = Budget {
        pages: positive("pages_per_year", 1.0),
        tickets: positive("tickets_per_year", 12.0),
        confidence: positive("confidence", 0.95),
    };
    if budget.confidence >= 1.0 {
        section.problem("confidence", "must lie between 0 and 1, such as 0.95");
    }
    section.refuse_unknown();
    budget
}

pub(super) fn watch(section: Section<'_>, model: &Model) -> Watch {
    let name = section.required_string("name", "name the watch; its alarms carry the name");
    check_name(&section, &name);
    if section.string("measure").is_none() {
        section.problem("measure", "is missing; write what to watch, such as \"auroc\"");
    }
    let measure = section.choice("measure", Measure::Auroc, &Measure::WORDS);
    let output = section.string("output").filter(|output| output != "*");
    let is_output = |name: &str| {
        let quantities = model.quantities();
        quantities.iter().any(|quantity| matches!(quantity, Quantity::Output(output) if output.name == name))
    };
    if let Some(output) = output.as_ref().filter(|output| !is_output(output)) {
        section.problem("output", format!("{output:?} is no probability of this model"));
    }
    let costs = costs(&section, measure, model, output.as_deref());
    let (threshold, limit) = numbers(&section, measure, costs.as_ref());
    let feature = feature(&section, measure, model);
    if output.is_some() && !measure.is_of_output() {
        section.problem("output", format!("has no meaning for {measure}, which is about what the model is given"));
    }
    let usual = Watch::plain(measure);
    let side = section.choice("side", usual.side, &[("up", Side::Up), ("both", Side::Both)]);
    if side == Side::Both && !matches!(measure, Measure::SliceShare | Measure::AlertRate) {
        section.problem("side", format!("\"both\" has no meaning for {measure}, of which one way is worse"));
    }
    if side == Side::Both && limit.is_some() {
        section.problem("limit", "a contract has one side; write side = \"up\", or leave the limit to the reference");
    }
    let (method, run_length) = method(&section, measure, limit);
    let tolerance = section.number("tolerance").unwrap_or(usual.tolerance);
    if tolerance < 0.0 {
        section.problem("tolerance", "is negative; it is room beyond the reference");
    }
    let days = u64::try_from(usual.maturity_days).unwrap_or_default();
    let maturity = section.duration("maturity", Duration::from_secs(days * DAY));
    if !maturity.as_secs().is_multiple_of(DAY) || maturity.as_secs() > 730 * DAY {
        section.problem("maturity", "must be whole days, at most 730, such as \"7d\"");
    }
    let maturity_days = i64::try_from(maturity.as_secs() / DAY).unwrap_or_default();
    let slices = slice_pattern(&section, model);
    if measure == Measure::SliceShare && matches!(&slices, SlicePattern::One(slice) if slice.is_all()) {
        section
            .problem("slice", "\"all\" is every case; name a slice, or every one of a dimension, such as \"view=*\"");
    }
    let watch = Watch {
        slices,
        costs,
        feature,
        side,
        unit: section.choice("unit", usual.unit, &[("cluster", Unit::Cluster), ("case", Unit::Case)]),
        runbook: section.string("runbook"),
        weekends: section.choice("weekends", usual.weekends, &[("apart", Weekends::Apart), ("alike", Weekends::Alike)]),
        tier: section.choice("tier", usual.tier, &[("page", Severity::Page), ("ticket", Severity::Ticket)]),
        maturity_days,
        name,
        measure,
        method,
        run_length: run_length.unwrap_or(usual.run_length),
        output,
        threshold,
        limit,
        tolerance,
    };
    section.refuse_unknown();
    watch
}

/// The operating point and the contract.
fn numbers(section: &Section<'_>, measure: Measure, costs: Option<&Costs>) -> (Option<f64>, Option<f64>) {
    let threshold = section.number("threshold");
    match (measure.has_threshold(), threshold) {
        (true, None) => section.problem("threshold", format!("is missing; {measure} is measured at one")),
        (true, Some(at)) if !(0.0..=1.0).contains(&at) => section.problem("threshold", "is no probability from 0 to 1"),
        (false, Some(_)) => section.problem("threshold", format!("has no meaning for {measure}; remove it")),
        _ => {}
    }
    let limit = section.number("limit");
    match limit {
        Some(_) if !measure.has_limit() => {
            section.problem("limit", format!("has no meaning for {measure}; its tolerance says how much is allowed"));
        }
        Some(limit) if measure == Measure::LogLoss && !(0.0 < limit && limit < libm::log(100.0)) => {
            section.problem("limit", "must lie between 0 and 4.6: the logarithmic loss is cut at ln 100");
        }
        Some(limit) if measure == Measure::Cost => {
            let [least, most] = costs.map_or([0.0, 1.0], Costs::ends);
            if !(least < limit && limit < most) {
                section
                    .problem("limit", format!("must lie between the least and the greatest cost, {least} and {most}"));
            }
        }
        Some(limit) if measure != Measure::LogLoss && !(0.0 < limit && limit < 1.0) => {
            section.problem("limit", "must lie between 0 and 1");
        }
        _ => {}
    }
    (threshold, limit)
}

/// What decisions cost.
fn costs(section: &Section<'_>, measure: Measure, model: &Model, output: Option<&str>) -> Option<Costs> {
    if measure != Measure::Cost {
        return None;
    }
    let costs = model.outputs.iter().find(|own| Some(own.name.as_str()) == output).and_then(|own| own.costs);
    if costs.is_none_or(|costs| costs.ends()[0] >= costs.ends()[1]) {
        section.problem("output", "has to name an output with `costs` that differ; the measure \"cost\" is their mean");
        return None;
    }
    costs
}

fn feature(section: &Section<'_>, measure: Measure, model: &Model) -> Option<String> {
    let feature = section.string("feature");
    match (measure.is_of_feature(), &feature) {
        (true, None) => section.problem("feature", format!("is missing; {measure} is about one")),
        (true, Some(name)) => match model.features.iter().find(|feature| feature.name == *name) {
            None => section.problem("feature", format!("{name:?} is no feature of this model")),
            Some(feature) if measure == Measure::FeatureDrift && !feature.numeric => section.problem(
                "feature",
                format!("{name:?} is no number; declare it as a dimension and watch \"slice_share\" of \"{name}=*\""),
            ),
            Some(_) => {}
        },
        (false, Some(_)) => section.problem("feature", format!("has no meaning for {measure}; remove it")),
        (false, None) => {}
    }
    feature
}

/// How it is watched, and a chart's run length.
fn method(section: &Section<'_>, measure: Measure, limit: Option<f64>) -> (Method, Option<f64>) {
    let method = section.choice(
        "method",
        Method::Evidence,
        &[("evidence", Method::Evidence), ("cusum", Method::Cusum), ("ewma", Method::Ewma)],
    );
    let run_length = section.number("run_length");
    match (method, run_length) {
        (Method::Evidence, Some(_)) => {
            section.problem("run_length", "has no meaning for evidence, whose budget stands in [alarms]; remove it");
        }
        (_, Some(days)) if !(10.0..=1e6).contains(&days) => section.problem("run_length", "must be 10 to 1000000 days"),
        (Method::Cusum | Method::Ewma, _) if !measure.has_limit() => {
            section.problem("method", format!("a chart needs a mean, and {measure} has none; remove it"));
        }
        (Method::Cusum | Method::Ewma, _) if limit.is_some() => {
            section.problem("limit", "has no meaning for a chart, which knows the reference's mean and deviation");
        }
        _ => {}
    }
    (method, run_length)
}
