//! `GET /console/alerts`: alerts, the latest first.

use maud::{Markup, html};

use super::super::Problem;
use super::Page;
use super::frame::{Frame, Tab};
use super::words::{self, Grade};
use crate::store::alert::{AlertFilter, AlertRow};

/// Alerts of a page.
const MOST: i64 = 100;

pub(super) async fn get(frame: Frame) -> Page {
    let open_only = frame.parameter("open") == Some("true");
    let before = frame.parameter("before").and_then(|text| text.parse().ok());
    let models = frame.caller.models().map(<[String]>::to_vec);
    let filter = AlertFilter { models, open_only, before, as_of: frame.as_of, ..AlertFilter::default() };
    let alerts = frame.context.store.find_alerts(&filter, MOST).await.map_err(Problem::internal)?;
    let next = alerts.last().filter(|_| i64::try_from(alerts.len()).is_ok_and(|count| count == MOST));
    let open = if open_only { "true" } else { "" };
    let body = html! {
        h1 { "Alerts" }
        nav.choices aria-label="Which alerts" {
            a href=(frame.link("/console/alerts", &[])) aria-current=[(!open_only).then_some("true")] { "All" }
            a href=(frame.link("/console/alerts", &[("open", "true")])) aria-current=[open_only.then_some("true")] { "Open" }
        }
        @if alerts.is_empty() {
            (words::nothing(if open_only { "No alert is open." } else { "There has been no alert." }))
        } @else {
            (table(&frame, &alerts))
        }
        @if let Some(last) = next {
            p { a href=(frame.link("/console/alerts", &[("open", open), ("before", &last.alert_id.to_string())])) { "Earlier alerts" } }
        }
    };
    Ok(frame.page(Some(Tab::Alerts), "Alerts", &body))
}

/// A table of alerts.
pub(super) fn table(frame: &Frame, alerts: &[AlertRow]) -> Markup {
    html! {
        table.fleet {
            thead {
                tr {
                    th scope="col" { "State" } th scope="col" { "Alert" } th scope="col" { "Where" } th scope="col" { "Since" }
                    th scope="col" { "Told" } th scope="col" { "Holds" } th scope="col" { "Quiet by" }
                }
            }
            tbody {
                @for alert in alerts {
                    tr {
                        td data-label="State" { (words::state(Grade::of(alert.shown(), &alert.severity), alert.shown())) }
                        th scope="row" {
                            a href=(frame.link(&format!("/console/alerts/{}", alert.alert_id), &[])) { "#" (alert.alert_id) " " (alert.rule) }
                            span.sub { (alert.severity) }
                        }
                        td data-label="Where" { (alert.output) ", " (alert.slice) span.sub { (alert.model) " " (alert.version) } }
                        td data-label="Since" { (words::time(alert.since)) }
                        td data-label="Told" { @match alert.told_at { Some(at) => (words::time(at)), None => span.quiet { "nobody yet" } } }
                        td data-label="Holds" { @if alert.breached { "still" } @else { span.quiet { "no more" } } }
                        td data-label="Quiet by" { @match &alert.muted_by { Some(by) => (by), None => span.quiet { "nothing" } } }
                    }
                }
            }
        }
    }
}
