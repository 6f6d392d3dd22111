//! Series and differences as people read them.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{columns, minute};
use crate::domain::window::show_instant;
use crate::history::Published;
use crate::query::diff::{Change, Diff};
use crate::query::{Answer, Row};

/// One window of a series, published or made anew.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct Window {
    /// First instant of the window.
    from: DateTime<Utc>,
    /// First instant after it.
    to: DateTime<Utc>,
    /// The estimate; absent of what was made anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimate_id: Option<i64>,
    /// When it was published; absent of what was made anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_at: Option<DateTime<Utc>>,
    /// Truth observed up to then was used.
    known_at: DateTime<Utc>,
    /// Batches up to this one were used.
    recorded: i64,
    /// The metrics.
    pub(in crate::cli) metrics: Vec<Row>,
}

impl From<Published> for Window {
    fn from(one: Published) -> Self {
        let Published { from, to, estimate_id, estimated_at, known_at, recorded, metrics, .. } = one;
        let (estimate_id, estimated_at) = (Some(estimate_id), Some(estimated_at));
        Self { from, to, estimate_id, estimated_at, known_at, recorded, metrics }
    }
}

impl From<Answer> for Window {
    fn from(one: Answer) -> Self {
        let Answer { from, to, known_at, recorded, metrics, .. } = one;
        Self { from, to, estimate_id: None, estimated_at: None, known_at, recorded, metrics }
    }
}

/// A series as a table.
pub(in crate::cli) fn series(windows: &[Window]) -> String {
    if windows.is_empty() {
        return "There is nothing: no window of this stream has been published in that time.\n".to_owned();
    }
    let header = ["from", "to", "estimate", "published", "value", "95 % interval", "n"].map(str::to_owned);
    let cells = windows.iter().flat_map(|window| {
        window.metrics.iter().map(|row| {
            let [value, interval, n] = said(row);
            [
                show_instant(window.from),
                show_instant(window.to),
                window.estimate_id.map(|id| id.to_string()).unwrap_or_default(),
                window.estimated_at.map(minute).unwrap_or_default(),
                value,
                interval,
                n,
            ]
        })
    });
    columns(&std::iter::once(header).chain(cells).collect::<Vec<_>>())
}

/// A series as CSV.
pub(in crate::cli) fn series_csv(windows: &[Window]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "from",
        "to",
        "estimate_id",
        "estimated_at",
        "known_at",
        "recorded",
        "metric",
        "value",
        "lower",
        "upper",
        "n",
        "undefined",
    ])?;
    for window in windows {
        for row in &window.metrics {
            let estimate = row.estimate.as_ref();
            let interval = estimate.and_then(|estimate| estimate.interval.as_ref());
            writer.write_record([
                window.from.to_rfc3339(),
                window.to.to_rfc3339(),
                window.estimate_id.map(|id| id.to_string()).unwrap_or_default(),
                window.estimated_at.map(|at| at.to_rfc3339()).unwrap_or_default(),
                window.known_at.to_rfc3339(),
                window.recorded.to_string(),
                row.metric.clone(),
                estimate.map(|estimate| estimate.value.to_string()).unwrap_or_default(),
                interval.map(|interval| interval.lower.to_string()).unwrap_or_default(),
                interval.map(|interval| interval.upper.to_string()).unwrap_or_default(),
                estimate.map(|estimate| estimate.n.to_string()).unwrap_or_default(),
                row.undefined.as_ref().map(|why| why.code().to_owned()).unwrap_or_default(),
            ])?;
        }
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// Value, interval and n of a metric, or the reason why there is none.
fn said(row: &Row) -> [String; 3] {
    match (&row.estimate, &row.reason) {
        (Some(estimate), _) => {
            let interval = estimate.interval.as_ref();
            let interval = interval.map(|interval| format!("{:.4} to {:.4}", interval.lower, interval.upper));
            [format!("{:.4}", estimate.value), interval.unwrap_or_default(), estimate.n.to_string()]
        }
        (None, reason) => [reason.clone().unwrap_or_default(), String::new(), String::new()],
    }
}

/// What was known then and what is known now.
pub(in crate::cli) fn diff(diff: &Diff, names_cases: bool) -> String {
    let side = |name: &str, at: DateTime<Utc>, recorded: i64| {
        format!("{name}: truth observed up to {}, batches up to {recorded}\n", show_instant(at))
    };
    let mut out = format!(
        "{} {}, {}, {}, {} to {}\n",
        diff.model,
        diff.version,
        diff.output,
        diff.slice,
        show_instant(diff.from),
        show_instant(diff.to)
    );
    out += &side("then", diff.then.known_at, diff.then.recorded);
    out += &side("now ", diff.now.known_at, diff.now.recorded);
    out.push('\n');
    let header = ["what became known", "source", "cases", "observed by then", "half within", "nine of ten within"];
    let hours = |seconds: Option<i64>| seconds.map(|seconds| format!("{:.1} d", days(seconds))).unwrap_or_default();
    let counts = diff.counts.iter().map(|one| {
        [
            one.kind.as_str().to_owned(),
            one.source.clone().unwrap_or_default(),
            one.cases.to_string(),
            one.observed_by_then.to_string(),
            hours(one.delay_p50_seconds),
            hours(one.delay_p90_seconds),
        ]
    });
    out += &columns(&std::iter::once(header.map(str::to_owned)).chain(counts).collect::<Vec<_>>());
    out.push('\n');
    out += &changes(&diff.metrics);
    if names_cases {
        out.push('\n');
        let header = ["case", "predicted", "what", "then", "now", "source", "observed"].map(str::to_owned);
        let cases = diff.cases.iter().map(|case| {
            [
                case.case_id.clone(),
                minute(case.occurred_at),
                case.kind.as_str().to_owned(),
                case.then.clone().unwrap_or_default(),
                case.now.clone().unwrap_or_default(),
                case.source.clone().unwrap_or_default(),
                case.observed_at.map(minute).unwrap_or_default(),
            ]
        });
        out += &columns(&std::iter::once(header).chain(cases).collect::<Vec<_>>());
    }
    out
}

#[allow(clippy::cast_precision_loss, reason = "seconds are far below 2^53")]
fn days(seconds: i64) -> f64 {
    seconds as f64 / 86_400.0
}

/// The metrics that changed, and what each part alone makes of them.
fn changes(metrics: &[Change]) -> String {
    let differs = |change: &&Change| {
        let text = |row: &Row| serde_json::to_string(row).unwrap_or_default();
        text(&change.then) != text(&change.now)
    };
    let changed: Vec<&Change> = metrics.iter().filter(differs).collect();
    if changed.is_empty() {
        return "No metric has changed.\n".to_owned();
    }
    let header = ["metric", "then", "now", "late alone", "revised alone", "new predictions alone"].map(str::to_owned);
    let cells = changed.into_iter().map(|change| {
        let cell = |row: &Row| {
            let [value, interval, n] = said(row);
            if n.is_empty() { value } else { format!("{value} ({interval}; n {n})").replace("(; ", "(") }
        };
        let alone = |row: &Row| said(row)[0].clone();
        [
            change.metric.clone(),
            cell(&change.then),
            cell(&change.now),
            alone(&change.with_late),
            alone(&change.with_revised),
            alone(&change.with_predictions),
        ]
    });
    columns(&std::iter::once(header).chain(cells).collect::<Vec<_>>())
}
