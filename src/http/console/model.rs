//! `GET /console/models/{model}`: one output of one version in one slice over one window, and everything beside it.

mod tables;

use axum::extract::Path;
use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::super::Problem;
use super::fleet::watched;
use super::frame::{Frame, Tab};
use super::words;
use super::{Page, of_query};
use crate::config::{Model, Quantity};
use crate::domain::{Estimate, MetricKey, Slice, Window};
use crate::picture::{Chart, Point, REFERENCE, figure};
use crate::query::account::{DRAWN, delay, main_metric, outcome};
use crate::query::{Place, find};
use crate::store::estimate::StoredEstimate;
use crate::store::overview::{Stand, Within};
use crate::store::reference::Reference;
use crate::store::series::{SeriesKey, Span};
use crate::summary::body::Body;

/// Days whose maturity is drawn.
const MATURING: i64 = 42;

/// What is looked at.
struct Looked<'a> {
    model: &'a Model,
    version: &'a str,
    output: String,
    window: String,
    slice: Slice,
    metric: MetricKey,
}

impl Looked<'_> {
    /// The address of this page with one thing changed.
    fn link(&self, frame: &Frame, name: &str, value: &str) -> String {
        let slice = self.slice.to_string();
        let own = [("version", self.version), ("output", &self.output), ("window", &self.window), ("slice", &slice)];
        let changed: Vec<(&str, &str)> =
            own.into_iter().map(|(key, own)| (key, if key == name { value } else { own })).collect();
        frame.model_link(&self.model.name, &changed)
    }
}

pub(super) async fn get(frame: Frame, Path(name): Path<String>) -> Page {
    let context = &frame.context;
    let store = &context.store;
    let mut versions = store.list_versions().await.map_err(Problem::internal)?;
    versions.retain(|version| version.model == name);
    let version =
        frame.parameter("version").map(str::to_owned).or_else(|| versions.last().map(|last| last.name.clone()));
    let place = find(context, &name, version.as_deref()).await.map_err(of_query)?;
    let looked = looked(&frame, &place)?;
    let version_id = place.version.version_id;
    let Some(&output_id) = place.numbers.quantities.get(&looked.output) else {
        return Err(Problem::not_found(format!("model {name} has not estimated {} yet", looked.output)));
    };
    let key = SeriesKey { version_id, output_id, slice: looked.slice.clone(), window_name: looked.window.clone() };
    let span = Span { from: Some(frame.now() - TimeDelta::days(DRAWN)), to: None, as_of: frame.as_of };
    let shown = outputs_of(&place, output_id);
    let maturing = Window { from: frame.now() - TimeDelta::days(MATURING), to: frame.now() };
    let (series, published, stands, bodies, mut references) = tokio::try_join!(
        store.list_series(&key, span, None, DRAWN),
        store.list_published(version_id, &looked.window, &shown, frame.as_of),
        store.list_stands_of((version_id, output_id), None, frame.as_of),
        // What was known of single days then is not kept: the windows' estimates are.
        async {
            if frame.as_of.is_some() {
                return Ok(Vec::new());
            }
            store.list_bodies((version_id, output_id), Within::Slice(&looked.slice), maturing).await
        },
        store.list_references(),
    )
    .map_err(Problem::internal)?;
    references.retain(|reference| reference.model == name && reference.frozen_at <= frame.now());
    let current = series.last();
    let provisional = current.and_then(|last| delay(last, frame.now()));
    let stand = stands.iter().filter(|stand| stand.slice == looked.slice.to_string() && stand.tier != "watch");
    let stand = stand.max_by(|a, b| share(a).total_cmp(&share(b)));
    let days: Vec<(DateTime<Utc>, Body)> = bodies.into_iter().map(|(cell, body)| (cell.bucket, body)).collect();
    let evidence = evidence(&frame, stand).await?;
    let body = html! {
        h1 { (name) " " (looked.version) }
        (choices(&frame, &looked, &versions.iter().map(|version| version.name.as_str()).collect::<Vec<_>>()))
        (lead(&looked, current))
        div.figures {
            (figure(&trend(&looked, &series, provisional), ""))
            @if frame.as_of.is_none() { (figure(&maturity(&looked, &days, provisional), "share of each day's cases whose truth is known")) }
            @if let Some(chart) = &evidence { (figure(chart, "of sealed days, the axis is logarithmic")) }
        }
        (tables::slices(&frame, &looked, output_id, &published))
        (tables::metrics(current))
        (tables::drift(&place, &published))
        (tables::streams(&frame, &stands))
        (tables::references(&frame, &references))
    };
    Ok(frame.page(Some(Tab::Fleet), &name, &body))
}

/// The output itself and every feature: what the tables of this page are made of.
fn outputs_of(place: &Place, output_id: i32) -> Vec<i32> {
    let is_beside = |name: &str| name.starts_with("(feature) ") || name == Quantity::Embedding.name();
    let own = place.numbers.quantities.iter().filter(|(name, id)| **id == output_id || is_beside(name));
    own.map(|(_, id)| *id).collect()
}

fn share(stand: &Stand) -> f64 {
    stand.evidence.zip(stand.threshold).map_or(0.0, |(evidence, threshold)| evidence / threshold)
}

/// What the address asks to look at, or the first of everything.
fn looked<'p>(frame: &Frame, place: &'p Place) -> Result<Looked<'p>, Problem> {
    let model = &place.model;
    let quantities = model.quantities();
    let wanted = frame.parameter("output").map(str::to_owned);
    let first = || watched(model).first().map(Quantity::name).unwrap_or_default();
    let output = wanted.unwrap_or_else(first);
    let quantity = quantities.iter().find(|quantity| quantity.name() == output).ok_or_else(|| {
        let names: Vec<String> = quantities.iter().map(Quantity::name).collect();
        Problem::not_found(format!("model {} has no output {output:?}; it has {}", model.name, names.join(", ")))
    })?;
    let windows: Vec<String> = model.windows.iter().map(ToString::to_string).collect();
    let window = frame.parameter("window").map(str::to_owned).or_else(|| windows.first().cloned()).unwrap_or_default();
    if !windows.contains(&window) {
        return Err(Problem::not_found(format!(
            "model {} has no window {window:?}; it has {}",
            model.name,
            windows.join(", ")
        )));
    }
    let slice = frame.parameter("slice").unwrap_or("all").parse::<Slice>().map_err(Problem::bad_request)?;
    let metric = MetricKey::plain(main_metric(quantity).unwrap_or_default());
    Ok(Looked { model, version: &place.version.name, output, window, slice, metric })
}

fn choices(frame: &Frame, looked: &Looked<'_>, versions: &[&str]) -> Markup {
    let row = |label: &str, name: &str, values: &[String], own: &str| {
        html! {
            nav.choices aria-label=(label) {
                span.name { (label) }
                @for value in values {
                    a href=(looked.link(frame, name, value)) aria-current=[(value == own).then_some("true")] { (value) }
                }
            }
        }
    };
    let versions: Vec<String> = versions.iter().map(|&version| version.to_owned()).collect();
    let outputs: Vec<String> = watched(looked.model).iter().map(Quantity::name).collect();
    let windows: Vec<String> = looked.model.windows.iter().map(ToString::to_string).collect();
    html! {
        (row("Output", "output", &outputs, &looked.output))
        div.row {
            (row("Version", "version", &versions, looked.version))
            (row("Window", "window", &windows, &looked.window))
            nav.choices aria-label="Slice" {
                span.name { "Slice" }
                span { (looked.slice) }
                @if !looked.slice.is_all() { a href=(looked.link(frame, "slice", "all")) { "all cases" } }
            }
        }
    }
}

fn lead(looked: &Looked<'_>, current: Option<&StoredEstimate>) -> Markup {
    let known = current.and_then(|estimate| outcome(estimate, &looked.metric));
    html! {
        p.lead.large {
            (looked.metric) " of " (looked.output) ", " (words::slice(&looked.slice)) ": " (words::outcome(known.as_ref()))
            @if let Some(current) = current {
                " in the window to " (words::day(current.window.to)) ", with truth observed up to " (words::minute(current.known_at)) "."
            }
        }
    }
}

fn point(at: DateTime<Utc>, estimate: &Estimate) -> Point {
    let interval = estimate.interval.as_ref().map(|interval| (interval.lower, interval.upper));
    Point { at, value: estimate.value, interval }
}

fn trend(looked: &Looked<'_>, series: &[StoredEstimate], provisional_from: Option<DateTime<Utc>>) -> Chart {
    let points =
        series.iter().filter_map(|estimate| Some(point(estimate.window.to, &outcome(estimate, &looked.metric)?.ok()?)));
    let reference = MetricKey { name: format!("reference_{}", looked.metric.name), ..looked.metric.clone() };
    let reference = series.last().and_then(|last| outcome(last, &reference)?.ok());
    let lines = reference.map(|reference| (REFERENCE.to_owned(), reference.value));
    Chart {
        title: format!("{} of {}, {} ({})", looked.metric, looked.output, looked.slice, looked.window),
        y_label: looked.metric.to_string(),
        points: points.collect(),
        lines: lines.into_iter().collect(),
        mark: None,
        provisional_from,
        logarithmic: false,
    }
}

/// The share of each day's cases whose truth is known: the last days are never whole.
fn maturity(looked: &Looked<'_>, days: &[(DateTime<Utc>, Body)], provisional_from: Option<DateTime<Utc>>) -> Chart {
    let share = |body: &Body| {
        let (total, known) = (body.rows(), body.labelled()?);
        (total > 0).then(|| {
            let bounds = crate::stats::interval::wilson(known, total, crate::stats::special::Z_95);
            (known as f64 / total as f64, (bounds.lower, bounds.upper))
        })
    };
    let points = days.iter().filter_map(|(day, body)| {
        let (value, interval) = share(body)?;
        Some(Point { at: *day, value, interval: Some(interval) })
    });
    Chart {
        title: format!("Truth known of {}, {}, by day", looked.output, looked.slice),
        y_label: "share".to_owned(),
        points: points.collect(),
        // A day stands at its beginning, and its last cases are a day younger.
        provisional_from: provisional_from.map(|at| at - looked.model.bucket.length()),
        ..Chart::default()
    }
}

/// The evidence of the stream that has come farthest.
async fn evidence(frame: &Frame, stand: Option<&Stand>) -> Result<Option<Chart>, Problem> {
    let Some(stand) = stand else { return Ok(None) };
    let since = frame.now() - TimeDelta::days(DRAWN);
    let days = frame.context.store.list_evidence(stand.stream_id, &stand.tier, since, frame.as_of).await;
    let days = days.map_err(Problem::internal)?;
    let chart = Chart {
        title: format!("Evidence of {}, {} ({} tier)", stand.watch, stand.slice, stand.tier),
        y_label: "evidence".to_owned(),
        points: days.iter().map(|day| Point { at: day.day, value: day.evidence, interval: None }).collect(),
        lines: days.last().map(|last| ("alarm".to_owned(), last.threshold)).into_iter().collect(),
        logarithmic: true,
        ..Chart::default()
    };
    Ok(chart.has_values().then_some(chart))
}

/// Where a reference comes from.
fn span_of(reference: &Reference) -> String {
    match reference.window_from.zip(reference.window_to) {
        Some((from, to)) => format!("cases of {} to {}", words::day(from), words::day(to)),
        None => reference.origin.clone(),
    }
}
