//! Reading `[[model]]`.

use super::{Feature, Model};
use crate::config::health;
use crate::config::output::{self, Said, checked_thresholds};
use crate::config::reader::Section;
use crate::config::rule;
use crate::config::unique;
use crate::config::watch;
use crate::domain::{Column, Dimension, Granularity, TruthPolicy, Uncertain, WindowSpec};
use crate::metric::catalogue::{self, Tier};

pub(in crate::config) fn model(section: Section<'_>) -> Model {
    let name = section.required_string("name", "name the model as its records do");
    let thresholds = checked_thresholds(&section).unwrap_or_else(|| vec![0.5]);
    let Said { outputs, classes, values } = output::outputs(&section, &thresholds);
    let (features, mut contract): (Vec<Feature>, Vec<Column>) =
        section.sections("feature").into_iter().map(feature).unzip();
    unique(&section, "feature", features.iter().map(|feature| feature.name.as_str()));
    let (dimensions, columns): (Vec<Dimension>, Vec<Column>) =
        section.sections("dimension").into_iter().map(dimension).unzip();
    // An attribute may be both: then each says what it may hold.
    contract.extend(columns);
    contract.retain(Column::asks_something);
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
        classes,
        values,
        features,
        embedding: embedding(&section),
        dimensions,
        expose: expose(&section),
        alerts: Vec::new(),
        health: health::health(section.section("health")),
        contract,
        versions: section.strings("versions").unwrap_or_default(),
        watches: Vec::new(),
    };
    truth.refuse_unknown();
    model.alerts = section.sections("alert").into_iter().map(|section| rule::alert(section, &model)).collect();
    model.watches = section.sections("watch").into_iter().map(|section| watch::watch(section, &model)).collect();
    // An alert carries the name of its rule or watch.
    let rules = model.alerts.iter().map(|rule| rule.name.as_str());
    unique(&section, "watch", rules.chain(model.watches.iter().map(|watch| watch.name.as_str())));
    unique(&section, "alert", model.alerts.iter().map(|rule| rule.name.as_str()));
    section.refuse_unknown();
    model
}

fn expose(section: &Section<'_>) -> Vec<String> {
    let names = section.strings("expose").unwrap_or_default();
    for name in &names {
        if catalogue::find(name).is_none_or(|entry| matches!(entry.tier, Tier::Asked | Tier::Rows)) {
            section
                .problem("expose", format!("{name:?} is no metric of published windows; docs/metrics.md lists them"));
        }
    }
    names
}

/// More numbers than this make a covariance too large to freeze.
const MOST_DIMENSIONS: u64 = 2048;

fn embedding(section: &Section<'_>) -> Option<usize> {
    let table = section.section("embedding");
    let is_present = table.is_present();
    let dimensions = if is_present { table.integer("dimensions", 0, 1) } else { 0 };
    // An absent table's keys are keys all the same.
    table.number("dimensions");
    table.refuse_unknown();
    if dimensions > MOST_DIMENSIONS || (is_present && dimensions == 0) {
        table.problem("dimensions", format!("write how many numbers an embedding has, 1 to {MOST_DIMENSIONS}"));
    }
    usize::try_from(dimensions).ok().filter(|_| is_present)
}

/// A feature, and what the contract says of it.
fn feature(section: Section<'_>) -> (Feature, Column) {
    let feature = Feature {
        name: section.required_string("name", "name the attribute that the records carry"),
        numeric: section.choice("kind", true, &[("numeric", true), ("categorical", false)]),
    };
    let column = Column {
        name: feature.name.clone(),
        required: section.boolean("required", false),
        numeric: feature.numeric,
        values: section.strings("values").unwrap_or_default(),
        minimum: section.number("minimum"),
        maximum: section.number("maximum"),
    };
    if feature.numeric && !column.values.is_empty() {
        section.problem(
            "values",
            "a numeric feature has a minimum and a maximum; set kind = \"categorical\" to list values",
        );
    }
    if !feature.numeric && (column.minimum.is_some() || column.maximum.is_some()) {
        section.problem("minimum", "a categorical feature has values; set kind = \"numeric\" for a range");
    }
    if column.minimum.zip(column.maximum).is_some_and(|(minimum, maximum)| minimum >= maximum) {
        section.problem("maximum", "must be above minimum");
    }
    section.refuse_unknown();
    (feature, column)
}

/// A dimension, and what the contract says of it.
fn dimension(section: Section<'_>) -> (Dimension, Column) {
    let dimension = Dimension {
        name: section.required_string("name", "name the attribute that the records carry"),
        cuts: section.numbers("cuts").unwrap_or_default(),
        values: section.strings("values").unwrap_or_default(),
        most_values: usize::try_from(section.integer("most_values", Dimension::MOST_VALUES as u64, 1))
            .unwrap_or(usize::MAX),
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
    let column = Column {
        name: dimension.name.clone(),
        required: section.boolean("required", false),
        numeric: !dimension.cuts.is_empty(),
        values: dimension.values.clone(),
        ..Column::default()
    };
    section.refuse_unknown();
    (dimension, column)
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
