//! What the commands print.

mod alert;
mod health;
mod series;
mod source;
mod token;

use std::fmt::Write;

use chrono::{DateTime, Utc};
use clap::ValueEnum;

use crate::alert::notice::addressees_of;
use crate::config::{Kind, Limit, Plan, Transport};
use crate::domain::window::show_instant;
use crate::domain::{Estimate, Exactness};
use crate::query::compare::Comparison;
use crate::query::curve::CurveAnswer;
use crate::query::drift::Moved;
use crate::query::{Answer, Bootstrap, Row};
use crate::store::outbox::NoticeRow;
use crate::store::reference::Reference;
use crate::store::rejection::Rejection;

pub(super) use alert::{alert, alerts, silences};
pub(super) use health::health;
pub(super) use series::{Window, diff, series, series_csv};
pub(super) use source::sources;
pub(super) use token::tokens;

/// How a list is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

/// What a plan monitors.
pub(super) fn plan(plan: &Plan) -> String {
    let mut out = format!("The configuration is valid. Plan {}\n", &plan.digest()[..12]);
    for model in &plan.models {
        let _ = writeln!(out, "\nmodel {} (a bucket per {})", model.name, model.bucket.as_str());
        for output in &model.outputs {
            let truth = if output.truth == output.name { String::new() } else { format!(", truth {:?}", output.truth) };
            let _ = writeln!(out, "  output {}{truth}, thresholds {}", output.name, list(&output.thresholds));
        }
        for choice in &model.classes {
            let _ = writeln!(out, "  choice {} among {}", choice.name, choice.classes.join(", "));
        }
        for value in &model.values {
            let tolerance = value.tolerance.map(|tolerance| format!(", tolerance {tolerance}")).unwrap_or_default();
            let _ = writeln!(out, "  value {}{tolerance}", value.name);
        }
        if let Some(numbers) = model.embedding {
            let _ = writeln!(out, "  embedding of {numbers} numbers");
        }
        for watch in &model.watches {
            let output = watch.output.as_deref().unwrap_or("every probability");
            let _ = writeln!(
                out,
                "  watch {} ({}): {} of {output}, {}",
                watch.name,
                watch.tier.as_str(),
                watch.measure,
                watch.slices
            );
        }
        let dimensions: Vec<String> = model.dimensions.iter().map(|d| d.name.clone()).collect();
        let crossings: Vec<String> = model.crossings.iter().map(|names| names.join(" & ")).collect();
        let slices = [vec!["all".to_owned()], dimensions, crossings].concat();
        let _ = writeln!(out, "  slices {}", slices.join(", "));
        let _ = writeln!(
            out,
            "  windows {}; performance of fewer than {} cases is withheld",
            list(&model.windows),
            model.minimum_n
        );
        for rule in &model.alerts {
            let limit = match rule.limit {
                Limit::Below(limit) => format!("below {limit}"),
                Limit::Above(limit) => format!("above {limit}"),
            };
            let output = rule.output.as_deref().unwrap_or("every output");
            let is_told = !addressees_of(&plan.notify, rule.severity, &model.name).is_empty();
            let _ = writeln!(
                out,
                "  alert {} ({}): {} of {output}, {}, over {} {limit} for {}{}",
                rule.name,
                rule.severity.as_str(),
                rule.metric,
                rule.slices,
                rule.window,
                humantime::format_duration(rule.hold),
                if is_told { "" } else { "; no route tells anybody" }
            );
        }
    }
    for source in &plan.sources {
        let way = match &source.kind {
            Kind::File(files) => {
                format!("{} file(s) at {}", crate::source::file::discover(files).files.len(), files.paths.join(", "))
            }
            Kind::Pull(pull) => {
                format!("from {}, every {}", pull.upstream.place(), humantime::format_duration(pull.pace.every))
            }
            Kind::Events(_) => format!("by POST of CloudEvents to /api/v1/models/{}/events", source.model),
            Kind::Push => format!("by POST to /api/v1/models/{}/{}", source.model, source.record.as_str()),
        };
        let _ = writeln!(out, "\nsource {}: {} for {}, {way}", source.name, source.record.as_str(), source.model);
    }
    told(plan, &mut out);
    let database = if plan.database.url.is_some() { "the configured Postgres" } else { "a private Postgres" };
    let _ = writeln!(out, "database: {database}; files below {}", plan.service.data_dir.display());
    out
}

/// Who is told of what, and when not.
fn told(plan: &Plan, out: &mut String) {
    let emails = match &plan.notify.transport {
        Transport::None => "no emails are sent".to_owned(),
        Transport::Directory(directory) => format!("as files in {}", directory.display()),
        Transport::Smtp(smtp) => format!("by {}:{}", smtp.host, smtp.port),
    };
    out.push('\n');
    for route in &plan.notify.routes {
        let severities: Vec<&str> = route.severities.iter().map(|severity| severity.as_str()).collect();
        let models = if route.models.is_empty() { "all models".to_owned() } else { route.models.join(", ") };
        let way = if route.channel.as_str() == "email" { format!(", {emails}") } else { String::new() };
        let _ = writeln!(
            out,
            "route {}: {} of {models}, by {} to {}{way}",
            route.name,
            severities.join(" and "),
            route.channel.as_str(),
            list(&route.channel.recipients())
        );
    }
    if plan.notify.routes.is_empty() {
        out.push_str("notices go to nobody: set notify.to, or add a [[notify.route]]\n");
    }
    for step in &plan.alerting.escalations {
        let after = humantime::format_duration(step.after);
        let _ = writeln!(out, "  and to {} when nobody has acknowledged for {after}", step.to.join(", "));
    }
    for window in &plan.maintenance {
        let of = |names: Vec<String>, all: &str| if names.is_empty() { all.to_owned() } else { names.join(", ") };
        let models = of(window.models.clone(), "every model");
        let slices = of(window.slices.iter().map(ToString::to_string).collect(), "every slice");
        let _ = writeln!(out, "  to nobody about {models}, {slices}, in maintenance {}: {}", window.name, window.times);
    }
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// An ordinary user may not be able to read what root can: say so instead of finding nothing.
pub(super) fn warn_unreadable(plan: &Plan, user: &str) {
    for source in &plan.sources {
        for path in source.files().map_or(&[][..], |files| &files.paths) {
            let base = path.split(['*', '?', '[']).next().unwrap_or_default();
            let base = std::path::Path::new(base);
            let base = if base.exists() { Some(base) } else { base.parent() };
            let error = base.and_then(|base| {
                std::fs::metadata(base).err().or_else(|| {
                    if base.is_dir() { std::fs::read_dir(base).err() } else { std::fs::File::open(base).err() }
                })
            });
            if let Some(error) = error {
                tracing::warn!(source = source.name, path, user, %error, "the source cannot be read by this user");
            }
        }
    }
}

/// An answer as a table.
pub(super) fn table(answer: &Answer) -> String {
    let mut out = format!(
        "{} {}, {}, {}, {} to {}\ntruth observed up to {}, batches up to {}, read from {}\n\n",
        answer.model,
        answer.version,
        answer.output,
        answer.slice,
        show_instant(answer.from),
        show_instant(answer.to),
        show_instant(answer.known_at),
        answer.recorded,
        answer.read_from
    );
    if let Some(Bootstrap { resamples, seed }) = answer.bootstrap {
        let _ = writeln!(out, "intervals by {resamples} draws of buckets, seed {seed}\n");
    }
    out.push_str(&rows(&answer.metrics));
    out
}

/// Metrics in columns.
fn rows(metrics: &[Row]) -> String {
    let cells = metrics.iter().map(|row| match (&row.estimate, &row.reason) {
        (Some(estimate), _) => {
            let interval = estimate.interval.as_ref();
            let interval = interval.map_or_else(String::new, |i| format!("{:.6} to {:.6}", i.lower, i.upper));
            let value = if estimate.value.fract() == 0.0 {
                estimate.value.to_string()
            } else {
                format!("{:.6}", estimate.value)
            };
            [row.metric.clone(), value, interval, estimate.n.to_string(), note(estimate)]
        }
        (None, reason) => {
            let reason = format!("undefined: {}", reason.clone().unwrap_or_default());
            [row.metric.clone(), "-".into(), String::new(), String::new(), reason]
        }
    });
    let header = ["metric", "value", "95 % interval", "n", ""].map(str::to_owned);
    columns(&std::iter::once(header).chain(cells).collect::<Vec<_>>())
}

/// A comparison as a table: the first side minus the second.
pub(super) fn comparison(comparison: &Comparison) -> String {
    let side = |[version, slice]: &[String; 2]| format!("version {version}, {slice}");
    let mut out = format!("({}) minus ({})\n", side(&comparison.first), side(&comparison.second));
    if comparison.paired.is_empty() {
        out.push_str("\nThe two share no case with truth. Differences between the groups:\n\n");
        out.push_str(&rows(&comparison.unpaired));
    } else {
        let _ = writeln!(out, "\nOn the {} cases with truth that both have scored:\n", comparison.shared);
        out.push_str(&rows(&comparison.paired));
    }
    out
}

/// What has moved, as a table.
pub(super) fn moved(moved: &[Moved]) -> String {
    let number =
        |estimate: &Option<Estimate>| estimate.as_ref().map_or_else(String::new, |e| format!("{:.4}", e.value));
    let header = ["", "name", "distance", "chance", "p", "KS", "unseen", "missing", ""].map(str::to_owned);
    let cells = moved.iter().map(|row| {
        let psi = row.psi.as_ref().or(row.mmd2.as_ref());
        [
            row.kind.to_owned(),
            row.name.clone(),
            number(&psi.cloned()),
            psi.and_then(|e| e.null_95).map_or_else(String::new, |null| format!("{null:.4}")),
            psi.and_then(|e| e.p_value).map_or_else(String::new, |p| format!("{p:.1e}")),
            number(&row.ks),
            number(&row.unseen),
            number(&row.missing),
            row.reason.as_ref().map_or_else(String::new, |reason| format!("undefined: {reason}")),
        ]
    });
    let table = columns(&std::iter::once(header).chain(cells).collect::<Vec<_>>());
    format!(
        "{table}\ndistance: PSI, of embeddings MMD2; chance: what it exceeds once in twenty without any change, at this number of cases\n"
    )
}

/// A curve as a table.
pub(super) fn curve(answer: &CurveAnswer) -> String {
    let number = |value: f64| format!("{value:.6}");
    let optional = |value: Option<f64>| value.map_or_else(String::new, number);
    let header = ["x", "y", "lower", "upper", "other", "n"].map(str::to_owned);
    let cells = answer.points.iter().map(|point| {
        [
            number(point.x),
            number(point.y),
            optional(point.lower),
            optional(point.upper),
            optional(point.other),
            point.n.to_string(),
        ]
    });
    columns(&std::iter::once(header).chain(cells).collect::<Vec<_>>())
}

/// A curve as CSV, with every digit.
pub(super) fn curve_csv(answer: &CurveAnswer) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["x", "y", "lower", "upper", "other", "n"])?;
    let optional = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for point in &answer.points {
        writer.write_record([
            point.x.to_string(),
            point.y.to_string(),
            optional(point.lower),
            optional(point.upper),
            optional(point.other),
            point.n.to_string(),
        ])?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn note(estimate: &Estimate) -> String {
    let mut notes = Vec::new();
    match estimate.exactness {
        Exactness::Exact => {}
        Exactness::Bracket { lower, upper } => notes.push(format!("within {lower:.6} to {upper:.6}")),
        Exactness::Approximate => notes.push("approximate".to_owned()),
    }
    match (estimate.null_95, estimate.p_value) {
        (Some(null), Some(p)) => notes.push(format!("chance exceeds {null:.4} once in 20; p = {p:.2e}")),
        (None, Some(p)) => notes.push(format!("p = {p:.2e}")),
        _ => {}
    }
    notes.join("; ")
}

/// An answer as CSV, with every digit.
pub(super) fn csv(answer: &Answer) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "model",
        "version",
        "output",
        "slice",
        "from",
        "to",
        "known_at",
        "recorded",
        "metric",
        "value",
        "lower",
        "upper",
        "standard_error",
        "n",
        "positives",
        "undefined",
    ])?;
    for row in &answer.metrics {
        let estimate = row.estimate.as_ref();
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let interval = estimate.and_then(|estimate| estimate.interval.as_ref());
        writer.write_record([
            &answer.model,
            &answer.version,
            &answer.output,
            &answer.slice,
            &show_instant(answer.from),
            &show_instant(answer.to),
            &show_instant(answer.known_at),
            &answer.recorded.to_string(),
            &row.metric,
            &number(estimate.map(|estimate| estimate.value)),
            &number(interval.map(|interval| interval.lower)),
            &number(interval.map(|interval| interval.upper)),
            &number(estimate.and_then(|estimate| estimate.standard_error)),
            &estimate.map_or_else(String::new, |estimate| estimate.n.to_string()),
            &estimate.and_then(|estimate| estimate.positives).map_or_else(String::new, |count| count.to_string()),
            &row.undefined.as_ref().map_or_else(String::new, |why| why.code().to_owned()),
        ])?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// References as a table.
pub(super) fn references(references: &[Reference]) -> String {
    if references.is_empty() {
        return "There is no reference. Freeze one: dosimeter reference freeze --help\n".to_owned();
    }
    let header = ["id", "model", "version", "origin", "frozen", "by", "reason", "approved"].map(str::to_owned);
    let cells = references.iter().map(|reference| {
        let window = reference.window_from.zip(reference.window_to);
        let origin = window.map_or_else(
            || reference.origin.clone(),
            |(from, to)| format!("{} to {}", show_instant(from), show_instant(to)),
        );
        let approved = reference.approved_at.zip(reference.approved_by.as_ref());
        [
            reference.reference_id.to_string(),
            reference.model.clone(),
            reference.version.clone(),
            origin,
            reference.frozen_at.format("%Y-%m-%d %H:%M").to_string(),
            reference.frozen_by.clone(),
            reference.reason.clone(),
            approved.map_or_else(|| "not yet".into(), |(at, by)| format!("{} by {by}", at.format("%Y-%m-%d %H:%M"))),
        ]
    });
    columns(&std::iter::once(header).chain(cells).collect::<Vec<_>>())
}

/// An instant to the minute, in UTC.
pub(super) fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}

/// Notices as a table.
pub(super) fn notices(notices: &[NoticeRow]) -> String {
    if notices.is_empty() {
        return "There is no such notice.\n".to_owned();
    }
    let header = ["notice", "written", "route", "to", "state", "failed", "what", "why not"].map(str::to_owned);
    let cells = notices.iter().map(|notice| {
        let state = match (notice.sent_at, notice.dead_at) {
            (Some(_), _) => "sent",
            (None, Some(_)) => "dead",
            (None, None) => "waiting",
        };
        [
            notice.outbox_id.to_string(),
            notice.created_at.format("%Y-%m-%d %H:%M").to_string(),
            notice.route.clone(),
            notice.recipient.clone(),
            state.to_owned(),
            notice.attempts.to_string(),
            notice.subject.clone(),
            notice.last_error.clone().filter(|_| state != "sent").unwrap_or_default(),
        ]
    });
    columns(&std::iter::once(header).chain(cells).collect::<Vec<_>>())
}

/// Rejections as a table.
pub(super) fn rejections(rejections: &[Rejection]) -> String {
    if rejections.is_empty() {
        return "No such record has been refused.\n".to_owned();
    }
    let header = ["number", "refused", "source", "file", "line", "field", "reason", "what is wrong"].map(str::to_owned);
    let cells = rejections.iter().map(|rejection| {
        [
            rejection.rejection_id.to_string(),
            rejection.rejected_at.format("%Y-%m-%d %H:%M").to_string(),
            rejection.source.clone(),
            rejection.origin.clone(),
            rejection.line.to_string(),
            rejection.field.clone(),
            rejection.reason.clone(),
            match rejection.resolved_by {
                Some(batch) => format!("taken in by batch {batch}"),
                None => rejection.message.clone(),
            },
        ]
    });
    columns(&std::iter::once(header).chain(cells).collect::<Vec<_>>())
}

/// Rows in columns of equal width.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    rows.iter().fold(String::new(), |mut out, row| {
        let line: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
        out
    })
}
