//! `GET /console`: a row per model and output, the ill ones first.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, PreEscaped, html};

use super::super::Problem;
use super::Page;
use super::frame::{Frame, Tab};
use super::words::{self, Grade};
use crate::config::{HealthRule, Model, Quantity};
use crate::domain::Outcome;
use crate::picture::spark::{Gauge, Spark};
use crate::picture::svg;
use crate::query::account::main_metric;
use crate::store::alert::{AlertFilter, AlertRow};
use crate::store::catalog::Version;
use crate::store::overview::{Reading, Stand, Wanted};

/// Windows of a sparkline.
const POINTS: i64 = 24;
/// Truth about cases that are older than this is not the last one.
const RECENT: TimeDelta = TimeDelta::days(60);
/// Alerts that are looked through.
const MOST_ALERTS: i64 = 2000;

/// One row.
struct Row<'a> {
    version: &'a Version,
    output: String,
    metric: &'static str,
    window: String,
    readings: Vec<Reading>,
    stands: Vec<&'a Stand>,
    alerts: Vec<&'a AlertRow>,
    last_truth: Option<DateTime<Utc>>,
}

impl Row<'_> {
    fn latest(&self) -> Option<&Reading> {
        self.readings.last()
    }

    /// The tier that has come farthest on its way to an alarm.
    fn nearest(&self) -> Option<(&Stand, f64, f64)> {
        let standing = self.stands.iter().filter(|stand| stand.tier != "watch");
        let with = standing.filter_map(|stand| Some((*stand, stand.evidence?, stand.threshold?)));
        let share = |evidence: f64, threshold: f64| libm::log(evidence.max(1.0)) / libm::log(threshold.max(2.0));
        with.max_by(|a, b| share(a.1, a.2).total_cmp(&share(b.1, b.2)))
    }

    fn state(&self) -> (Grade, String) {
        let worst = self.alerts.iter().min_by_key(|alert| Grade::of(alert.shown(), &alert.severity));
        if let Some(alert) = worst {
            return (Grade::of(alert.shown(), &alert.severity), alert.shown().to_owned());
        }
        match self.latest().and_then(|reading| reading.outcome.as_ref()) {
            None => (Grade::Unknown, "no estimate".to_owned()),
            Some(Err(_)) => (Grade::Unknown, "no number".to_owned()),
            Some(Ok(_)) if self.stands.iter().all(|stand| stand.reason.is_some()) => {
                (Grade::Unknown, "unwatched".to_owned())
            }
            Some(Ok(_)) => (Grade::Well, "well".to_owned()),
        }
    }

    fn matches(&self, wanted: &str) -> bool {
        let state = self.state().1;
        let words = [&self.version.model, &self.version.name, &self.output, self.metric, &state].map(str::to_lowercase);
        wanted.split_whitespace().all(|part| words.iter().any(|word| word.contains(&part.to_lowercase())))
    }
}

/// What a row is about: probabilities that are no part of a choice, choices, values.
pub(super) fn watched(model: &Model) -> Vec<Quantity<'_>> {
    let own = model.plain_outputs().map(Quantity::Output);
    own.chain(model.classes.iter().map(Quantity::Classes)).chain(model.values.iter().map(Quantity::Value)).collect()
}

pub(super) async fn get(frame: Frame) -> Page {
    let (context, store) = (&frame.context, &frame.context.store);
    let versions = store.list_versions().await.map_err(Problem::internal)?;
    let seen: Vec<&Version> = versions.iter().filter(|version| frame.caller.sees(&version.model)).collect();
    let mut wanted = Vec::new();
    let mut places = Vec::new();
    for version in &seen {
        let Some((model, numbers)) = context.model_of(version) else { continue };
        let Some(window) = model.windows.first().map(ToString::to_string) else { continue };
        for quantity in watched(model) {
            let (name, metric) = (quantity.name(), main_metric(&quantity).unwrap_or_default());
            let Some(&output_id) = numbers.quantities.get(&name) else { continue };
            let (version_id, metric_name) = (version.version_id, metric.to_owned());
            wanted.push(Wanted { version_id, output_id, window: window.clone(), metric: metric_name });
            places.push((*version, output_id, name, metric, window.clone()));
        }
    }
    let filter = AlertFilter { open_only: true, as_of: frame.as_of, ..AlertFilter::default() };
    let since = frame.now() - RECENT;
    let (readings, stands, alerts, truths) = tokio::try_join!(
        store.list_readings(&wanted, POINTS, frame.as_of),
        store.list_stands(frame.as_of),
        store.find_alerts(&filter, MOST_ALERTS),
        // What was last known at an instant is not kept.
        async { if frame.as_of.is_none() { store.last_truths(&wanted, since).await } else { Ok(Vec::new()) } },
    )
    .map_err(Problem::internal)?;
    let alerts: Vec<AlertRow> = alerts.into_iter().filter(|alert| frame.caller.sees(&alert.model)).collect();
    let mut by_place: HashMap<(i32, i32), Vec<Reading>> = HashMap::new();
    for reading in readings {
        by_place.entry((reading.version_id, reading.output_id)).or_default().push(reading);
    }
    let truths: HashMap<(i32, i32), DateTime<Utc>> = truths.into_iter().map(|(v, o, at)| ((v, o), at)).collect();
    let mut rows: Vec<Row<'_>> = places
        .into_iter()
        .map(|(version, output_id, output, metric, window)| {
            let place = (version.version_id, output_id);
            let own = |alert: &&AlertRow| {
                (&alert.model, &alert.version, &alert.output) == (&version.model, &version.name, &output)
            };
            Row {
                readings: by_place.remove(&place).unwrap_or_default(),
                stands: stands.iter().filter(|stand| (stand.version_id, stand.output_id) == place).collect(),
                alerts: alerts.iter().filter(own).collect(),
                last_truth: truths.get(&place).copied(),
                version,
                output,
                metric,
                window,
            }
        })
        .collect();
    // A version that has gone keeps its place on its model's page.
    rows.retain(|row| !row.readings.is_empty() || !row.alerts.is_empty() || is_latest(&versions, row.version));
    let share = |row: &Row<'_>| row.nearest().map_or(0.0, |(_, evidence, threshold)| evidence / threshold);
    rows.sort_by(|a, b| {
        let key = |row: &Row<'_>| (row.state().0, row.version.model.clone());
        (a.state().0.cmp(&b.state().0)).then(share(b).total_cmp(&share(a))).then_with(|| key(a).1.cmp(&key(b).1))
    });
    let total = rows.len();
    let wanted = frame.parameter("q").unwrap_or_default();
    let counts = counts(&rows);
    rows.retain(|row| row.matches(wanted));
    let body = html! {
        h1 { "Fleet" }
        (tiles(&frame, &counts, total))
        (data(&frame, &alerts))
        form.filter method="get" action="/console" role="search" {
            @if let Some(at) = frame.parameter("as_of") { input type="hidden" name="as_of" value=(at); }
            label for="q" { "Filter" }
            input #q type="search" name="q" value=(wanted) placeholder="model, output, state" data-filter="fleet";
            button type="submit" { "Filter" }
            @if !wanted.is_empty() { span.note { (rows.len()) " of " (total) " rows" } }
        }
        @if rows.is_empty() {
            (words::nothing(if total == 0 { "No model has made a prediction yet." } else { "No row has these words." }))
        } @else {
            (table(&frame, &rows))
        }
    };
    Ok(frame.page(Some(Tab::Fleet), "Fleet", &body))
}

fn is_latest(versions: &[Version], version: &Version) -> bool {
    versions.iter().filter(|own| own.model == version.model).map(|own| own.version_id).max() == Some(version.version_id)
}

fn counts(rows: &[Row<'_>]) -> BTreeMap<Grade, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row.state().0).or_default() += 1;
    }
    counts
}

/// How it stands with everything, in one line.
fn tiles(frame: &Frame, counts: &BTreeMap<Grade, usize>, total: usize) -> Markup {
    let tile = |grade: Grade, word: &str| {
        html! { li { span.figure { (counts.get(&grade).copied().unwrap_or_default()) } (words::state(grade, word)) } }
    };
    html! {
        ul.tiles aria-label="How it stands" {
            li { span.figure { (total) } span { "outputs" } }
            (tile(Grade::Bad, "firing, page"))
            (tile(Grade::Warning, "firing or pending"))
            (tile(Grade::Taken, "taken up"))
            (tile(Grade::Unknown, "unknown"))
            (tile(Grade::Well, "well"))
            li.more { a href=(frame.link("/console/alerts", &[("open", "true")])) { "Open alerts" } }
        }
    }
}

/// Alerts about the data of whole models: while they last nobody knows how good these are.
fn data(frame: &Frame, alerts: &[AlertRow]) -> Markup {
    let broken: Vec<&AlertRow> = alerts.iter().filter(|alert| HealthRule::of_alert(&alert.rule).is_some()).collect();
    html! {
        @if !broken.is_empty() {
            ul.broken aria-label="Alerts about data" {
                @for alert in broken {
                    li {
                        (words::state(Grade::of(alert.shown(), &alert.severity), alert.shown())) " "
                        a href=(frame.link(&format!("/console/alerts/{}", alert.alert_id), &[])) { "data of " (alert.model) }
                        ": " (alert.rule.trim_start_matches("health/").replace('_', " "))
                    }
                }
            }
        }
    }
}

fn table(frame: &Frame, rows: &[Row<'_>]) -> Markup {
    html! {
        table.fleet #fleet {
            caption.hidden { "Every output of every model, the ill ones first" }
            thead {
                tr {
                    th scope="col" { "State" } th scope="col" { "Output" } th scope="col" { "Latest window" }
                    th scope="col" { "Trend" } th scope="col" { "Truth known" } th scope="col" { "Evidence" }
                    th scope="col" { "Last truth" } th scope="col" { "Alerts" }
                }
            }
            tbody { @for row in rows { (line(frame, row)) } }
        }
    }
}

fn line(frame: &Frame, row: &Row<'_>) -> Markup {
    let (grade, word) = row.state();
    let latest = row.latest();
    let place = [("version", row.version.name.as_str()), ("output", row.output.as_str())];
    html! {
        tr {
            td data-label="State" { (words::state(grade, &word)) }
            th scope="row" {
                a href=(frame.model_link(&row.version.model, &place)) { (row.output) }
                span.sub { (row.version.model) " " (row.version.name) }
            }
            td data-label="Latest window" {
                (words::outcome(latest.and_then(|reading| reading.outcome.as_ref())))
                span.sub { (row.metric) ", " (row.window) @if let Some(reading) = latest { " to " (words::day(reading.window_to)) } }
            }
            td.picture data-label="Trend" { (spark(row)) }
            td data-label="Truth known" { (coverage(latest.and_then(|reading| reading.coverage.as_ref()))) }
            td.picture data-label="Evidence" { (gauge(row)) }
            td data-label="Last truth" {
                @match row.last_truth {
                    Some(at) => { (words::ago(at, frame.now())) },
                    None if frame.as_of.is_some() => span.undefined { "not kept" },
                    None => span.undefined { "none in 60 days" },
                }
            }
            td data-label="Alerts" {
                @if row.alerts.is_empty() { span.quiet { "none" } }
                @for alert in &row.alerts {
                    a.alert href=(frame.link(&format!("/console/alerts/{}", alert.alert_id), &[])) {
                        "#" (alert.alert_id) " " (alert.slice)
                    }
                }
            }
        }
    }
}

fn coverage(outcome: Option<&Outcome>) -> Markup {
    match outcome {
        Some(Ok(share)) => html! { (words::percent(share.value)) span.sub { "of " (words::count(share.n)) } },
        other => words::outcome(other),
    }
}

fn spark(row: &Row<'_>) -> Markup {
    let points = row.readings.iter().filter_map(|reading| {
        let estimate = reading.outcome.as_ref()?.as_ref().ok()?;
        Some((estimate.value, estimate.interval.as_ref().map(|interval| (interval.lower, interval.upper))))
    });
    let title = format!("{} of {}, {}", row.metric, row.output, row.window);
    let picture = Spark { title, points: points.collect(), reference: None };
    html! {
        @match svg(&picture) {
            Ok(svg) => (PreEscaped(svg)),
            Err(_) => span.undefined { "no value yet" },
        }
    }
}

fn gauge(row: &Row<'_>) -> Markup {
    let Some((stand, evidence, threshold)) = row.nearest() else {
        let reason = row.stands.iter().find_map(|stand| stand.reason.as_deref()).unwrap_or("no watch of this output");
        return html! { span.undefined title=(reason) { "unwatched" } };
    };
    let title = format!("Evidence of {}, {}", stand.watch, stand.slice);
    html! {
        @if let Ok(svg) = svg(&Gauge { title, evidence, threshold }) { (PreEscaped(svg)) }
        span.sub { (words::number(evidence)) " of " (words::number(threshold)) ", " (stand.slice) }
    }
}
