//! The tables of a model's page: slices, metrics, drift, streams, references.

use maud::{Markup, html};

use super::super::frame::Frame;
use super::super::words::{self, Grade};
use super::{Looked, span_of};
use crate::domain::{MetricKey, Outcome};
use crate::metric::catalogue::{self, Chapter};
use crate::query::Place;
use crate::query::account::outcome;
use crate::store::estimate::StoredEstimate;
use crate::store::overview::Stand;
use crate::store::reference::Reference;

/// Every slice with the metric in it, the farthest from its reference first.
pub(super) fn slices(frame: &Frame, looked: &Looked<'_>, output_id: i32, published: &[StoredEstimate]) -> Markup {
    let reference = MetricKey { name: format!("reference_{}", looked.metric.name), ..looked.metric.clone() };
    let value = |estimate: &StoredEstimate, key: &MetricKey| outcome(estimate, key).and_then(Outcome::ok);
    let gap = |estimate: &StoredEstimate| {
        let (now, then) = (value(estimate, &looked.metric)?, value(estimate, &reference)?);
        Some(now.value - then.value)
    };
    let mut rows: Vec<&StoredEstimate> = published.iter().filter(|estimate| estimate.output_id == output_id).collect();
    rows.sort_by(|a, b| {
        let size = |estimate: &StoredEstimate| gap(estimate).map_or(-1.0, f64::abs);
        b.slice.is_all().cmp(&a.slice.is_all()).then(size(b).total_cmp(&size(a)))
    });
    html! {
        section {
            h2 { "Slices" }
            @if rows.is_empty() { (words::nothing("No slice has an estimate yet.")) }
            @else {
                (words::scrolling("Slices", &html! {
                    table {
                        thead { tr { th scope="col" { "Slice" } th scope="col" { (looked.metric) ", " (looked.window) } th scope="col" { "On the reference" } th.right scope="col" { "Difference" } th scope="col" { "Truth known" } } }
                        tbody {
                            @for row in rows {
                                tr {
                                    th scope="row" {
                                        a href=(looked.link(frame, "slice", &row.slice.to_string())) aria-current=[(row.slice == looked.slice).then_some("true")] { (row.slice) }
                                    }
                                    td { (words::outcome(outcome(row, &looked.metric).as_ref())) }
                                    td { (words::outcome(outcome(row, &reference).as_ref())) }
                                    td.right { @match gap(row) { Some(gap) => (words::difference(gap, 3)), None => span.undefined { "none" } } }
                                    td { @match outcome(row, &MetricKey::plain("label_coverage")) { Some(Ok(share)) => { (words::percent(share.value)) " " span.n { "n\u{a0}" (words::count(share.n)) } }, other => (words::outcome(other.as_ref())) } }
                                }
                            }
                        }
                    }
                }))
            }
        }
    }
}

/// Every metric of the window, by chapter.
pub(super) fn metrics(current: Option<&StoredEstimate>) -> Markup {
    let Some(current) = current else {
        return html! { section { h2 { "Metrics" } (words::nothing("No window has been published yet.")) } };
    };
    let of = |chapter: Chapter| -> Vec<&(MetricKey, Outcome)> {
        let own = |key: &MetricKey| catalogue::find(&key.name).is_some_and(|entry| entry.chapter == chapter);
        current.metrics.iter().filter(|(key, _)| own(key)).collect()
    };
    html! {
        section {
            h2 { "Metrics of the window to " (words::day(current.window.to)) }
            p.note { "Estimate " code { (current.estimate_id) } ", published " (words::time(current.estimated_at)) ", inputs " code { (current.input_digest.chars().take(12).collect::<String>()) } "." }
            @for chapter in Chapter::ALL {
                @let rows = of(chapter);
                @if !rows.is_empty() {
                    details open[[Chapter::Volume, Chapter::Discrimination, Chapter::Calibration, Chapter::Multiclass, Chapter::Regression].contains(&chapter)] {
                        summary { (chapter.title()) " (" (rows.len()) ")" }
                        (words::scrolling(chapter.title(), &html! {
                            table {
                                tbody {
                                    @for (key, outcome) in rows {
                                        tr {
                                            th scope="row" { (key) @if let Some(entry) = catalogue::find(&key.name) { span.sub { (entry.help) } } }
                                            td {
                                                (words::outcome(Some(outcome)))
                                                @if let (true, Ok(known)) = (key.name.ends_with("_seconds"), outcome) { span.n { " " (format!("{:.1} h", known.value / 3600.0)) } }
                                            }
                                        }
                                    }
                                }
                            }
                        }))
                    }
                }
            }
        }
    }
}

/// What has moved: features, scores, the mix of the dimensions.
pub(super) fn drift(place: &Place, published: &[StoredEstimate]) -> Markup {
    let name = |output_id: i32| {
        let mut own = place.numbers.quantities.iter();
        own.find(|(_, id)| **id == output_id).map(|(name, _)| name.clone()).unwrap_or_default()
    };
    let wanted = ["feature_js", "score_js", "predicted_js", "dimension_js", "embedding_mmd2"];
    let mut rows: Vec<(String, &Outcome)> = published
        .iter()
        .filter(|estimate| estimate.slice.is_all())
        .flat_map(|estimate| {
            let metrics = estimate.metrics.iter().filter(|(key, _)| wanted.contains(&key.name.as_str()));
            metrics.map(move |(key, outcome)| {
                let what = key
                    .dimension
                    .as_ref()
                    .map_or_else(|| name(estimate.output_id), |dimension| format!("mix of {dimension}"));
                (what, outcome)
            })
        })
        .collect();
    let far =
        |outcome: &Outcome| outcome.as_ref().map_or(-1.0, |known| known.value / known.null_95.unwrap_or(1.0).max(1e-9));
    rows.sort_by(|a, b| far(b.1).total_cmp(&far(a.1)));
    html! {
        section {
            h2 { "Drift" }
            p.note { "Jensen-Shannon distance from the reference (embeddings: squared mean discrepancy). Past chance: farther than chance alone exceeds once in twenty." }
            @if rows.is_empty() { (words::nothing("Nothing is compared with a reference yet.")) }
            @else {
                (words::scrolling("Drift", &html! {
                    table {
                        thead { tr { th scope="col" { "What" } th scope="col" { "Distance" } th scope="col" { "By chance" } th scope="col" { "Verdict" } } }
                        tbody {
                            @for (what, outcome) in rows {
                                tr {
                                    th scope="row" { (what) }
                                    td { (words::outcome(Some(outcome))) }
                                    td { @match outcome.as_ref().ok().and_then(|known| known.null_95) { Some(null) => (words::number(null)), None => span.undefined { "not stated" } } }
                                    td {
                                        @match outcome {
                                            Ok(known) if known.null_95.is_some_and(|null| known.value > null) => (words::state(Grade::Warning, "past chance")),
                                            Ok(_) => (words::state(Grade::Well, "within chance")),
                                            Err(_) => (words::state(Grade::Unknown, "unknown")),
                                        }
                                    }
                                }
                            }
                        }
                    }
                }))
            }
        }
    }
}

/// Where the alarm engine stands with this output.
pub(super) fn streams(frame: &Frame, stands: &[Stand]) -> Markup {
    html! {
        section {
            h2 { "Streams" }
            @if stands.is_empty() { (words::nothing("No watch of the plan looks at this output.")) }
            @else {
                (words::scrolling("Streams", &html! {
                    table {
                        thead { tr { th scope="col" { "Watch" } th scope="col" { "Slice" } th scope="col" { "Tier" } th.right scope="col" { "Evidence" } th.right scope="col" { "Alarm at" } th scope="col" { "Last sealed day" } th scope="col" { "State" } } }
                        tbody {
                            @for stand in stands {
                                @let alarms = stand.evidence.zip(stand.threshold).is_some_and(|(evidence, threshold)| evidence >= threshold);
                                tr {
                                    th scope="row" { (stand.watch) }
                                    td { (stand.slice) }
                                    td { (stand.tier) }
                                    td.right { @match stand.evidence { Some(evidence) => (words::number(evidence)), None => span.undefined { "none yet" } } }
                                    td.right { @match stand.threshold { Some(threshold) => (words::number(threshold)), None => span.undefined { "unknown" } } }
                                    td { @match stand.day { Some(day) => { (words::day(day)) span.sub { (words::ago(day, frame.now())) } }, None => span.quiet { "none yet" } } }
                                    td {
                                        @match (&stand.reason, alarms) {
                                            (Some(reason), _) => { (words::state(Grade::Unknown, "unwatched")) span.sub { (reason) } }
                                            (None, true) => (words::state(Grade::Bad, "past the alarm")),
                                            (None, false) => (words::state(Grade::Well, "below")),
                                        }
                                    }
                                }
                            }
                        }
                    }
                }))
            }
        }
    }
}

/// The references of the model, the latest first.
pub(super) fn references(frame: &Frame, references: &[Reference]) -> Markup {
    html! {
        section {
            h2 { "References" }
            @if references.is_empty() { (words::nothing("None is frozen: `dosimeter reference freeze` makes one.")) }
            @else {
                (words::scrolling("References", &html! {
                    table {
                        thead { tr { th scope="col" { "Reference" } th scope="col" { "Version" } th scope="col" { "Made of" } th scope="col" { "Frozen" } th scope="col" { "Approved" } th scope="col" { "Why" } } }
                        tbody {
                            @for reference in references.iter().rev() {
                                tr {
                                    th scope="row" { (reference.reference_id) }
                                    td { (reference.version) }
                                    td { (span_of(reference)) }
                                    td { (words::time(reference.frozen_at)) span.sub { "by " (reference.frozen_by) } }
                                    td {
                                        @match reference.approved_at.filter(|at| *at <= frame.now()) {
                                            Some(at) => { (words::time(at)) span.sub { "by " (reference.approved_by.as_deref().unwrap_or("nobody")) } },
                                            None => (words::state(Grade::Unknown, "not approved")),
                                        }
                                    }
                                    td.text { (reference.reason) }
                                }
                            }
                        }
                    }
                }))
            }
        }
    }
}
