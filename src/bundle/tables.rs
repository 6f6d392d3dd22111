//! The tables of a bundle: what was found, with the same columns whatever is in it.

use serde_json::{Value, json};

use crate::domain::{Estimate, Exactness, MetricKey, Outcome};
use crate::store::bundle::{Found, Object, Published};
use crate::table::Kind::{Flag, Instant, Integer, Number, Text};
use crate::table::{Column, Table};

const ESTIMATES: &[Column] = &[
    ("estimate_id", Integer),
    ("output", Text),
    ("slice", Text),
    ("window", Text),
    ("window_from", Instant),
    ("window_to", Instant),
    ("known_at", Instant),
    ("recorded", Integer),
    ("plan_id", Integer),
    ("reference_id", Integer),
    ("calculator", Integer),
    ("input_digest", Text),
    ("estimated_at", Instant),
];

const METRICS: &[Column] = &[
    ("estimate_id", Integer),
    ("output", Text),
    ("slice", Text),
    ("window", Text),
    ("window_to", Instant),
    ("metric", Text),
    ("of", Text),
    ("value", Number),
    ("lower", Number),
    ("upper", Number),
    ("n", Integer),
    ("positives", Integer),
    ("exact", Flag),
    ("null_95", Number),
    ("p_value", Number),
    ("undefined", Text),
];

const COVERAGE: &[Column] = &[
    ("output", Text),
    ("slice", Text),
    ("window", Text),
    ("window_to", Instant),
    ("predictions", Integer),
    ("with_truth", Integer),
    ("coverage", Number),
    ("coverage_lower", Number),
    ("coverage_upper", Number),
    ("delay_median_seconds", Number),
    ("delay_p90_seconds", Number),
];

const ALERTS: &[Column] = &[
    ("alert_id", Integer),
    ("rule", Text),
    ("output", Text),
    ("slice", Text),
    ("severity", Text),
    ("state", Text),
    ("began_at", Instant),
    ("fired_at", Instant),
    ("acknowledged_at", Instant),
    ("closed_at", Instant),
];

const ALERT_EVENTS: &[Column] = &[
    ("event_id", Integer),
    ("alert_id", Integer),
    ("at", Instant),
    ("transition", Text),
    ("state", Text),
    ("actor", Text),
    ("reason", Text),
    ("decision", Text),
    ("estimate_id", Integer),
];

const STREAMS: &[Column] = &[
    ("stream_id", Integer),
    ("watch", Text),
    ("output", Text),
    ("slice", Text),
    ("maturity_days", Integer),
    ("with_truth", Flag),
    ("reference_id", Integer),
    ("definition", Text),
    ("reason", Text),
    ("starts", Instant),
    ("made_at", Instant),
];

const EVIDENCE: &[Column] = &[
    ("stream_id", Integer),
    ("watch", Text),
    ("output", Text),
    ("slice", Text),
    ("tier", Text),
    ("day", Instant),
    ("evidence", Number),
    ("weight", Number),
    ("threshold", Number),
    ("change_at", Instant),
    ("alarms", Flag),
    ("measured", Text),
    ("looked_at", Instant),
];

const SEALED_DAYS: &[Column] = &[
    ("maturity_days", Integer),
    ("with_truth", Flag),
    ("day", Instant),
    ("recorded", Integer),
    ("sealed_at", Instant),
];

const REFERENCES: &[Column] = &[
    ("reference_id", Integer),
    ("window_from", Instant),
    ("window_to", Instant),
    ("known_at", Instant),
    ("recorded", Integer),
    ("origin", Text),
    ("frozen_at", Instant),
    ("frozen_by", Text),
    ("reason", Text),
    ("approved_at", Instant),
    ("approved_by", Text),
    ("approval_reason", Text),
];

const AUDIT: &[Column] = &[
    ("audit_id", Integer),
    ("at", Instant),
    ("written_at", Instant),
    ("actor", Text),
    ("action", Text),
    ("subject", Text),
    ("reason", Text),
    ("detail", Text),
    ("previous_hash", Text),
    ("hash", Text),
];

/// Every table by the name of its files.
#[must_use]
pub fn all(found: &mut Found) -> Vec<(&'static str, Table)> {
    let take = std::mem::take::<Vec<Object>>;
    vec![
        ("alerts", Table::of("alerts that were open in the period", ALERTS, take(&mut found.alerts))),
        (
            "alert_events",
            Table::of(
                "transitions, decisions to tell people, and human steps",
                ALERT_EVENTS,
                take(&mut found.alert_events),
            ),
        ),
        ("audit", Table::of("the whole audit trail since the period began", AUDIT, take(&mut found.audit))),
        ("coverage", coverage(&found.published)),
        ("estimates", Table::of("every published estimate, with what went in", ESTIMATES, take(&mut found.estimates))),
        ("evidence", Table::of("what each sealed day made of the evidence", EVIDENCE, take(&mut found.evidence))),
        ("metrics", metrics(&found.published)),
        ("references", Table::of("what the version was compared with", REFERENCES, take(&mut found.references))),
        (
            "sealed_days",
            Table::of("when the days of the evidence were sealed", SEALED_DAYS, take(&mut found.sealed_days)),
        ),
        ("streams", Table::of("what was watched, and against which null value", STREAMS, take(&mut found.streams))),
    ]
}

/// What a metric is measured at, of, or for.
#[must_use]
pub fn parameter(key: &MetricKey) -> Option<&str> {
    key.threshold.as_deref().or(key.dimension.as_deref()).or(key.class.as_deref())
}

fn metrics(published: &[Published]) -> Table {
    let rows = published.iter().flat_map(|window| {
        window.metrics.iter().map(move |(key, outcome)| {
            let place = [
                json!(window.estimate_id),
                json!(window.output),
                json!(window.slice),
                json!(window.window),
                json!(window.window_to),
                json!(key.name),
                json!(parameter(key)),
            ];
            place.into_iter().chain(numbers(outcome)).collect()
        })
    });
    Table { about: "every metric of each window, as published last", columns: METRICS, rows: rows.collect() }
}

fn numbers(outcome: &Outcome) -> [Value; 9] {
    match outcome {
        Ok(Estimate { value, interval, n, positives, exactness, null_95, p_value, .. }) => [
            json!(value),
            json!(interval.as_ref().map(|interval| interval.lower)),
            json!(interval.as_ref().map(|interval| interval.upper)),
            json!(n),
            json!(positives),
            json!(*exactness == Exactness::Exact),
            json!(null_95),
            json!(p_value),
            Value::Null,
        ],
        Err(reason) => {
            let mut empty = [const { Value::Null }; 9];
            empty[8] = json!(reason.to_string());
            empty
        }
    }
}

fn coverage(published: &[Published]) -> Table {
    let rows = published.iter().filter_map(|window| {
        let of = |name: &str| {
            let found = window.metrics.iter().find(|(key, _)| key.name == name);
            found.and_then(|(_, outcome)| outcome.as_ref().ok())
        };
        let count = |name: &str| json!(of(name).map(|estimate| whole(estimate.value)));
        let coverage = of("label_coverage")?;
        let interval = coverage.interval.as_ref();
        Some(vec![
            json!(window.output),
            json!(window.slice),
            json!(window.window),
            json!(window.window_to),
            count("predictions"),
            count("labelled"),
            json!(coverage.value),
            json!(interval.map(|interval| interval.lower)),
            json!(interval.map(|interval| interval.upper)),
            json!(of("label_delay_p50_seconds").map(|estimate| estimate.value)),
            json!(of("label_delay_p90_seconds").map(|estimate| estimate.value)),
        ])
    });
    Table {
        about: "label coverage and delay of each window, as published last",
        columns: COVERAGE,
        rows: rows.collect(),
    }
}

#[allow(clippy::cast_possible_truncation, reason = "counts of cases, far below 2^53")]
fn whole(count: f64) -> i64 {
    count as i64
}
