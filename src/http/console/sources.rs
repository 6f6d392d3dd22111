//! `GET /console/sources`: where records come from and how far behind that is; what the jobs do.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::super::Problem;
use super::frame::{Frame, Tab};
use super::words::{self, Grade};
use super::{Page, Part};
use crate::job::Job;
use crate::query::sources::{SourceRow, list};
use crate::runtime::Outcome;
use crate::store::browse::Delivery;

/// Days whose records are counted.
const DAYS: i32 = 30;

pub(super) async fn get(frame: Frame) -> Page {
    let context = &frame.context;
    let mut rows = list(context).await.map_err(Problem::internal)?;
    rows.retain(|row| frame.caller.sees(&row.model));
    let names: Vec<String> = rows.iter().map(|row| row.source.clone()).collect();
    let deliveries = context.store.list_deliveries(&names, frame.now(), DAYS).await.map_err(Problem::internal)?;
    let deliveries: HashMap<&str, &Delivery> = deliveries.iter().map(|own| (own.source.as_str(), own)).collect();
    let body = html! {
        h1 { "Sources and jobs" }
        section {
            h2 { "Sources" }
            @if rows.is_empty() { (words::nothing("The plan names no source; records may be pushed.")) }
            @else { (words::scrolling("Sources", &sources(&frame, &rows, &deliveries))) }
        }
        @if frame.as_of.is_some() {
            (words::nothing("What jobs did is not kept over time: `/metrics` and Prometheus have that."))
        } @else {
            (queues(&frame).await?)
            section {
                h2 { "Jobs of this process" }
                (words::scrolling("Jobs", &jobs(&frame)))
            }
        }
    };
    Ok(frame.page(Some(Tab::Sources), "Sources and jobs", &body))
}

fn sources(frame: &Frame, rows: &[SourceRow], deliveries: &HashMap<&str, &Delivery>) -> Markup {
    let amount = |pick: fn(&Delivery) -> i64, name: &str| {
        let known = deliveries.get(name).map_or(0, |delivery| pick(delivery));
        words::count(known.unsigned_abs())
    };
    html! {
        table {
            thead {
                tr {
                    th scope="col" { "State" } th scope="col" { "Source" } th scope="col" { "Brings" } th scope="col" { "Last batch" }
                    th.right scope="col" { "New, " (DAYS) " d" } th.right scope="col" { "Known" } th.right scope="col" { "Refused" } th scope="col" { "Behind" }
                }
            }
            tbody {
                @for row in rows {
                    @let delivery = deliveries.get(row.source.as_str());
                    tr {
                        td { (standing(frame, row, delivery.is_some())) }
                        th scope="row" { (row.source) span.sub { (row.kind) " · " (row.place) } }
                        td { (row.record.as_str()) span.sub { (row.model) } }
                        td { @match delivery { Some(own) => { (words::time(own.last_at)) span.sub { (words::ago(own.last_at, frame.now())) } }, None => span.quiet { "none yet" } } }
                        td.right { (amount(|own| own.accepted, &row.source)) }
                        td.right { (amount(|own| own.duplicates, &row.source)) }
                        td.right { (amount(|own| own.rejected, &row.source)) }
                        td { (behind(frame, row)) }
                    }
                }
            }
        }
    }
}

fn standing(frame: &Frame, row: &SourceRow, has_delivered: bool) -> Markup {
    let failing = row
        .pulled
        .as_ref()
        .filter(|_| frame.as_of.is_none())
        .and_then(|pulled| pulled.failing_since.zip(pulled.message.as_ref()));
    match failing {
        Some((since, message)) => html! {
            (words::state(Grade::Bad, "failing")) span.sub { "since " (words::minute(since)) ": " (message) }
        },
        None if has_delivered => words::state(Grade::Well, "delivers"),
        None => words::state(Grade::Unknown, "nothing yet"),
    }
}

fn behind(frame: &Frame, row: &SourceRow) -> Markup {
    let lag = row.lag_seconds.filter(|_| frame.as_of.is_none());
    html! {
        @if let Some(lag) = lag { (format!("{:.0} min", (lag / 60.0).ceil())) } @else { span.quiet { "is not asked" } }
    }
}

async fn queues(frame: &Frame) -> Part {
    let status = frame.context.store.status().await.map_err(Problem::internal)?;
    Ok(html! {
        section {
            h2 { "What waits" }
            dl.facts {
                @for (model, dirty) in status.dirty.iter().filter(|(model, _)| frame.caller.sees(model)) {
                    div { dt { "Buckets to fold, " (model) } dd { (dirty) } }
                }
                div { dt { "Notices to send" } dd { (status.outbox_pending) @if let Some(at) = status.outbox_oldest { span.sub { "the oldest of " (words::minute(at)) } } } }
                div { dt { "Notices given up" } dd { (status.outbox_dead) } }
            }
        }
    })
}

fn jobs(frame: &Frame) -> Markup {
    let records = frame.context.records.all();
    let last = |at: Option<DateTime<Utc>>| {
        html! {
            @if let Some(at) = at { (words::time(at)) span.sub { (words::ago(at, frame.now())) } } @else { span.quiet { "never" } }
        }
    };
    html! {
        table {
            thead {
                tr {
                    th scope="col" { "Job" } th scope="col" { "Last success" } th.right scope="col" { "Done" } th.right scope="col" { "Idle" }
                    th.right scope="col" { "Failed" } th.right scope="col" { "Time spent" }
                }
            }
            tbody {
                @for job in Job::ALL {
                    @let record = records.get(job.name());
                    tr {
                        th scope="row" { (job.name()) }
                        td { (last(record.and_then(|record| record.last_success_at))) }
                        @for outcome in Outcome::ALL {
                            td.right { (words::count(record.map_or(0, |record| record.runs[outcome as usize]))) }
                        }
                        td.right { (format!("{:.1} s", record.map_or(0.0, |record| record.spent.as_secs_f64()))) }
                    }
                }
            }
        }
    }
}
