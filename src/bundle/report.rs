//! The report: one page without a request to anywhere, for people who have only the file. It prints well.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::{Material, exact};
use crate::alert::report::rounded;
use crate::domain::{MetricKey, Outcome};
use crate::picture::{Chart, Point, figure};
use crate::store::bundle::Published;
use crate::table::{Table, instant, text};

/// What an output is judged by first: the first of these that it has.
const MAIN: [&str; 5] = ["auroc", "multiclass_accuracy", "mae", "reader_agreement", "feature_psi"];
/// So many charts of evidence are drawn, of the streams that came nearest to an alarm.
const MOST_STREAMS: usize = 24;
/// So many human acts are shown; all are in the data.
const MOST_ACTS: usize = 300;

const STYLE: &str = "
:root { color-scheme: light; --ink: #1f252b; --muted: #5a6671; --line: #d5dbe0; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.5rem 4rem; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem;
  border-bottom: 1px solid var(--line); padding-bottom: .2rem; } h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
p, ul, ol { margin: .5rem 0; } .muted, .note { color: var(--muted); } .undefined { color: var(--muted); font-style: italic; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .8rem 0; } dt { color: var(--muted); } dd { margin: 0; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; font-size: .92em; } th, td { text-align: left; padding: .25rem .6rem .25rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top; } th { color: var(--muted); font-weight: 600; } td.number { min-width: 6rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f5f7f8; padding: .8rem 1rem; font-size: .85em; }
code { overflow-wrap: anywhere; } .charts { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: .4rem 0; max-width: 100%;
  flex: 0 1 400px; min-width: 0; }
figcaption { font-weight: 600; } svg { max-width: 100%; height: auto; } details { font-size: .85em; } article { border-left: 3px solid var(--line);
  padding-left: 1rem; margin: 1rem 0; } article.firing { border-left-color: #b0251e; } .scroll { max-height: 20rem; overflow: auto; }
ol.steps { list-style: none; padding: 0; } ol.steps li { margin: .2rem 0; }
@media (max-width: 44rem) { body { padding: 1rem .9rem 3rem; } dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; }
  main table[tabindex] { display: block; overflow-x: auto; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } h2 { break-after: avoid; } figure, article, tr { break-inside: avoid; }
  details:not([open]) { display: none; } .charts { gap: .5rem; } figure { flex-basis: 45%; }
  a { color: inherit; text-decoration: none; } @page { margin: 18mm 15mm; } }
";

/// The page.
pub(super) fn html(material: &Material) -> String {
    let subject = &material.subject;
    let title = format!("Evidence: {} {}", subject.model, subject.version);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { (head(material, &title)) }
                main {
                    (glance(material))
                    (alerts(material))
                    (outputs(material))
                    (evidence(material))
                    (compared(material))
                    (acts(material))
                    section { h2 { "Verification" } pre { (material.verification) } }
                    (files(material))
                }
            }
        }
    };
    page.into_string()
}

fn head(material: &Material, title: &str) -> Markup {
    let bounds = material.subject.bounds;
    html! {
        h1 { (title) }
        dl {
            dt { "Period" } dd { (day(bounds.period.from)) " to " (day(bounds.period.to)) " (UTC, the end excluded)" }
            dt { "As published up to" } dd { (exact(bounds.as_of)) }
            dt { "Batches up to" } dd { (bounds.recorded) }
            dt { "Made by" } dd { "dosimeter " (env!("CARGO_PKG_VERSION")) }
            dt { "The same again" } dd { code { (material.subject.command()) } }
        }
        p.muted {
            "Every number is one that was published at the time, with its 95 % interval where it has one, and the cases n that it rests on. What has "
            "no value says why. Numbers of the last days before a publication are provisional: truth was still to come. README.txt says how to check this bundle."
        }
    }
}

/// The last window of every output, over all cases.
fn glance(material: &Material) -> Markup {
    let last = last_windows(material);
    html! {
        section {
            h2 { "At a glance" }
            @if last.is_empty() { p.undefined { "No estimate was published of a window that ends in this period." } } @else {
                p { "The last window of each output that ends in the period, over all cases." }
                table tabindex="0" {
                    thead { tr { th scope="col" { "Output" } th scope="col" { "Window" } th scope="col" { "Measure" } th scope="col" { "Value" }
                        th scope="col" { "On the reference" } th scope="col" { "Truth known of" } } }
                    tbody {
                        @for window in &last {
                            @if let Some(metric) = main_metric(window) {
                                tr {
                                    td { (window.output) }
                                    td.number { (window.window) " to " (day(window.window_to)) }
                                    td { (metric) }
                                    td.number { (outcome(window, metric)) }
                                    td.number { (outcome(window, &format!("reference_{metric}"))) }
                                    td.number { (outcome(window, "label_coverage")) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn outputs(material: &Material) -> Markup {
    html! {
        section {
            h2 { "Outputs" }
            // What stands in parentheses is the input, the readers, the whole model: its numbers are in the data.
            @for window in last_windows(material).into_iter().filter(|window| !window.output.starts_with('(')) {
                @if let Some(metric) = main_metric(window) {
                    h3 { (window.output) }
                    div.charts {
                        (figure(&chart(material, window, metric), ""))
                        (figure(&chart(material, window, "label_coverage"), ""))
                    }
                    (slices(material, window, metric))
                }
            }
        }
    }
}

/// A metric of an output over the windows of the period.
fn chart(material: &Material, last: &Published, metric: &str) -> Chart {
    let same = |window: &&Published| {
        (&window.output, &window.slice, &window.window) == (&last.output, &last.slice, &last.window)
    };
    let points = material.published.iter().filter(same).filter_map(|window| {
        let estimate = find(window, metric)?.as_ref().ok()?;
        let interval = estimate.interval.as_ref().map(|interval| (interval.lower, interval.upper));
        Some(Point { at: window.window_to, value: estimate.value, interval })
    });
    let reference = find(last, &format!("reference_{metric}")).and_then(|outcome| outcome.as_ref().ok());
    let alerts = table(material, "alerts");
    let fired = alerts.rows.iter().filter(|row| text(alerts.cell(row, "output")).as_ref() == Some(&last.output));
    let mark = fired.filter_map(|row| instant(alerts.cell(row, "fired_at"))).min();
    // As on the console's pages: from when on cases are younger than nine tenths of the labels take.
    let delay = find(last, "label_delay_p90_seconds").and_then(|outcome| outcome.as_ref().ok());
    #[allow(clippy::cast_possible_truncation, reason = "whole seconds of a delay")]
    let delay = delay.and_then(|estimate| TimeDelta::try_seconds(estimate.value as i64));
    let provisional_from = delay.and_then(|delay| material.subject.bounds.as_of.checked_sub_signed(delay));
    Chart {
        title: format!("{} of {}, {}, at the end of each window", metric, last.output, last.window),
        y_label: metric.to_owned(),
        points: points.collect(),
        lines: reference.map(|estimate| ("reference".to_owned(), estimate.value)).into_iter().collect(),
        mark: mark.map(|at| ("first alert".to_owned(), at)),
        provisional_from: provisional_from.filter(|from| *from < last.window_to),
        ..Chart::default()
    }
}

/// The slices of an output at the end of the period.
fn slices(material: &Material, last: &Published, metric: &str) -> Markup {
    let same = |window: &&Published| {
        (&window.output, &window.window, window.window_to) == (&last.output, &last.window, last.window_to)
    };
    let rows: Vec<&Published> = material.published.iter().filter(same).filter(|window| window.slice != "all").collect();
    html! {
        @if !rows.is_empty() {
            details open {
                summary { "Slices in the window that ends " (day(last.window_to)) }
                table tabindex="0" {
                    thead { tr { th scope="col" { "Slice" } th scope="col" { (metric) } th scope="col" { "On the reference" } } }
                    tbody { @for window in rows { tr {
                        td { (window.slice) }
                        td.number { (outcome(window, metric)) }
                        td.number { (outcome(window, &format!("reference_{metric}"))) }
                    } } }
                }
            }
        }
    }
}

fn alerts(material: &Material) -> Markup {
    let (alerts, events) = (table(material, "alerts"), table(material, "alert_events"));
    let said = |table: &Table, row: &[Value], name: &str| text(table.cell(row, name)).unwrap_or_default();
    html! {
        section {
            h2 { "Alerts" }
            @if alerts.rows.is_empty() { p { "No alert of this version was open in the period." } }
            @for alert in &alerts.rows {
                @let id = said(alerts, alert, "alert_id");
                article.firing[said(alerts, alert, "state") == "firing"] {
                    h3 { "Alert " (id) ": " (said(alerts, alert, "rule")) }
                    p {
                        (said(alerts, alert, "output")) ", " (said(alerts, alert, "slice")) ". Began "
                        (moment(alerts.cell(alert, "began_at"))) ", fired " (moment(alerts.cell(alert, "fired_at"))) ". Its state then: "
                        (said(alerts, alert, "state")) "."
                    }
                    (history(events, &id))
                }
            }
        }
    }
}

/// What happened to an alert. That people were told again and again is one sentence: the data has each time.
fn history(events: &Table, id: &str) -> Markup {
    let said = |row: &[Value], name: &str| text(events.cell(row, name)).unwrap_or_default();
    let is_told = |row: &[Value]| said(row, "transition") == "told";
    let own: Vec<&Vec<Value>> = events.rows.iter().filter(|row| said(row, "alert_id") == id).collect();
    html! {
        ol.steps {
            @for run in own.chunk_by(|a, b| is_told(a) && is_told(b)) {
                @match run {
                    [first, .., last] => li {
                        span.muted { (moment(events.cell(first, "at"))) } " "
                        strong { "told again " (run.len()) " times" } ", last on " (moment(events.cell(last, "at")))
                    }
                    [event] => li {
                        span.muted { (moment(events.cell(event, "at"))) } " "
                        strong { (said(event, "transition")) } " by " (said(event, "actor")) ": "
                        (rounded(&said(event, "reason")))
                        @let decision = said(event, "decision");
                        @if !decision.is_empty() { span.muted { " (" (rounded(&decision)) ")" } }
                    }
                    [] => {}
                }
            }
        }
    }
}

/// The evidence of the streams that came nearest to an alarm.
fn evidence(material: &Material) -> Markup {
    let evidence = table(material, "evidence");
    let mut streams: BTreeMap<(i64, String), (String, Vec<Point>, f64)> = BTreeMap::new();
    for row in &evidence.rows {
        let cell = |name: &str| evidence.cell(row, name);
        let said = |name: &str| text(cell(name)).unwrap_or_default();
        let (Some(id), Some(at), Some(value), Some(threshold)) = (
            cell("stream_id").as_i64(),
            instant(cell("day")),
            cell("evidence").as_f64(),
            cell("threshold").as_f64().filter(|threshold| *threshold > 0.0),
        ) else {
            continue;
        };
        let title = format!("{}, {}, {}, {}", said("watch"), said("output"), said("slice"), said("tier"));
        let entry = streams.entry((id, said("tier"))).or_insert((title, Vec::new(), 0.0));
        entry.1.push(Point { at, value: value / threshold, interval: None });
        entry.2 = entry.2.max(value / threshold);
    }
    let count = streams.len();
    let mut nearest: Vec<_> = streams.into_values().collect();
    nearest.sort_by(|a, b| b.2.total_cmp(&a.2).then_with(|| a.0.cmp(&b.0)));
    nearest.truncate(MOST_STREAMS);
    html! {
        section {
            h2 { "Evidence of the alarm engine" }
            @if nearest.is_empty() { p { "No day of this period was taken in by a watch of this version." } } @else {
                p { "Evidence of each sealed day as a part of what raises an alarm; at 1 there is one. The " (nearest.len()) " of " (count)
                    " streams that came nearest." }
                div.charts {
                    @for (title, points, _) in nearest {
                        (figure(&Chart {
                            title,
                            y_label: "part of an alarm".to_owned(),
                            points,
                            lines: vec![("alarm".to_owned(), 1.0)],
                            logarithmic: true,
                            ..Chart::default()
                        }, ""))
                    }
                }
            }
        }
    }
}

/// Plans and references.
fn compared(material: &Material) -> Markup {
    let references = table(material, "references");
    let said = |row: &[Value], name: &str| text(references.cell(row, name)).unwrap_or_default();
    html! {
        section {
            h2 { "Plans and references" }
            ul {
                @for plan in &material.plans {
                    @let of = |name: &str| plan.get(name).and_then(text).unwrap_or_default();
                    li { "Plan " (of("plan_id")) ", adopted " (moment(plan.get("adopted_at").unwrap_or(&Value::Null))) ", SHA-256 "
                        code { (of("digest")) } " (plan-" (of("plan_id")) ".json)" }
                }
                @for row in &references.rows {
                    li {
                        "Reference " (said(row, "reference_id")) " (" (said(row, "origin")) "), frozen " (moment(references.cell(row, "frozen_at")))
                        " by " (said(row, "frozen_by")) ": " (said(row, "reason")) ". "
                        @match instant(references.cell(row, "approved_at")) {
                            Some(at) => { "Approved " (minute(at)) " by " (said(row, "approved_by")) ": " (said(row, "approval_reason")) }
                            None => "Not approved."
                        }
                    }
                }
            }
        }
    }
}

/// What people did.
fn acts(material: &Material) -> Markup {
    let audit = table(material, "audit");
    let said = |row: &[Value], name: &str| text(audit.cell(row, name)).unwrap_or_default();
    let human: Vec<&Vec<Value>> = audit.rows.iter().filter(|row| said(row, "actor") != "dosimeter").collect();
    html! {
        section {
            h2 { "What people did" }
            p { (audit.rows.len()) " entries of the audit trail since the period began, " (human.len()) " of them by people"
                @if human.len() > MOST_ACTS { "; the first " (MOST_ACTS) " are shown" } ". data/audit.csv has all." }
            @if !human.is_empty() {
                table tabindex="0" {
                    thead { tr { th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" } th scope="col" { "Why" } } }
                    tbody { @for row in human.iter().take(MOST_ACTS) { tr {
                        td.number { (moment(audit.cell(row, "at"))) }
                        td { (said(row, "actor")) }
                        td { (said(row, "action")) " " (said(row, "subject")) }
                        td { (said(row, "reason")) }
                    } } }
                }
            }
        }
    }
}

fn files(material: &Material) -> Markup {
    html! {
        section {
            h2 { "The data" }
            table tabindex="0" {
                thead { tr { th scope="col" { "File" } th scope="col" { "What" } th scope="col" { "Rows" } } }
                tbody { @for (name, table) in &material.tables { tr {
                    td { code { "data/" (name) ".csv" } ", " code { ".parquet" } } td { (table.about) } td.number { (table.rows.len()) }
                } } }
            }
        }
    }
}

fn table<'a>(material: &'a Material, name: &str) -> &'a Table {
    static NOTHING: Table = Table { about: "", columns: &[], rows: Vec::new() };
    material.tables.iter().find(|(known, _)| *known == name).map_or(&NOTHING, |(_, table)| table)
}

/// Of each output, and of each quantity beside them, the last estimate over all cases in the longest of its windows.
fn last_windows(material: &Material) -> Vec<&Published> {
    let whole = || material.published.iter().filter(|window| window.slice == "all");
    let names: BTreeSet<&str> = whole().map(|window| window.output.as_str()).collect();
    let latest = |name: &str| {
        let own = whole().filter(|window| window.output == name);
        own.max_by_key(|window| (window.window_to - window.window_from, window.window_to))
    };
    let (beside, outputs): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|name| name.starts_with('('));
    outputs.into_iter().chain(beside).filter_map(latest).collect()
}

fn main_metric(window: &Published) -> Option<&'static str> {
    MAIN.into_iter().find(|metric| find(window, metric).is_some())
}

fn find<'a>(window: &'a Published, metric: &str) -> Option<&'a Outcome> {
    let plain = MetricKey::plain(metric);
    window.metrics.iter().find(|(key, _)| *key == plain).map(|(_, outcome)| outcome)
}

/// A number with its interval and n, or why there is none.
fn outcome(window: &Published, metric: &str) -> Markup {
    html! {
        @match find(window, metric) {
            None => span.undefined { "not measured" }
            Some(Err(reason)) => span.undefined { (reason) }
            Some(Ok(estimate)) => {
                (format!("{:.3}", estimate.value))
                @if let Some(interval) = &estimate.interval { (format!(" ({:.3} to {:.3})", interval.lower, interval.upper)) }
                span.muted { ", n " (estimate.n) @if let Some(positives) = estimate.positives { ", " (positives) " positive" } }
            }
        }
    }
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d").to_string()
}

fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}

fn moment(cell: &Value) -> String {
    instant(cell).map_or_else(|| "never".to_owned(), minute)
}
