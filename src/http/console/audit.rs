//! `GET /console/audit`: who did what and why, searched; and whether the record fits together.

use axum::extract::FromRequestParts as _;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use maud::{Markup, html};

use super::super::{Problem, Shared};
use super::Page;
use super::frame::{Filled, Frame, Tab};
use super::words::{self, Grade};
use crate::store::audit::{AuditFilter, AuditRow};
use crate::verify::{Depth, Report};

/// Entries of a page.
const MOST: i64 = 100;

pub(super) async fn get(frame: Frame) -> Page {
    page(&frame, None).await
}

/// Walk the chains, and say what was found.
pub(super) async fn verify(State(shared): State<Shared>, request: Request) -> Result<impl IntoResponse, Problem> {
    let (mut parts, body) = request.into_parts();
    let frame = Frame::from_request_parts(&mut parts, &shared).await?;
    let request = Request::from_parts(parts, body);
    let filled = <Filled as axum::extract::FromRequest<Shared>>::from_request(request, &shared).await?;
    frame.caller.require_all_models("the audit trail")?;
    let depth = if filled.field("depth") == "full" { Depth::Full } else { Depth::Chain };
    let report = crate::verify::verify(&frame.context.store, depth).await.map_err(Problem::internal)?;
    page(&frame, Some(&report)).await
}

async fn page(frame: &Frame, report: Option<&Report>) -> Page {
    frame.caller.require_all_models("the audit trail")?;
    let own = |name: &str| frame.parameter(name).map(str::to_owned);
    let filter = AuditFilter {
        text: own("q"),
        action: own("action"),
        // What happened at the instant itself had happened.
        to: frame.as_of.map(|at| at + chrono::TimeDelta::microseconds(1)),
        before: frame.parameter("before").and_then(|text| text.parse().ok()),
        ..AuditFilter::default()
    };
    let store = &frame.context.store;
    let (rows, actions) =
        tokio::try_join!(store.list_audit(&filter, MOST), store.list_audit_actions()).map_err(Problem::internal)?;
    let next = rows.last().filter(|_| i64::try_from(rows.len()).is_ok_and(|count| count == MOST));
    let (text, action) = (filter.text.as_deref().unwrap_or_default(), filter.action.as_deref().unwrap_or_default());
    let body = html! {
        h1 { "Audit" }
        p.lead { "Who did what, when and why. Entries are only ever added, each chained to the one before it." }
        form.verify method="post" action="/console/audit/verify" {
            (frame.form_secret())
            button type="submit" name="depth" value="chain" { "Verify the chains" }
            button type="submit" name="depth" value="full" { "Verify every row" }
            span.note { "Every row takes a while." }
        }
        @if let Some(report) = report { (found(report)) }
        form.filter method="get" action="/console/audit" role="search" {
            @if let Some(at) = frame.parameter("as_of") { input type="hidden" name="as_of" value=(at); }
            label for="q" { "Words" }
            input #q type="search" name="q" value=(text) placeholder="who, what, why";
            label for="action" { "Action" }
            select #action name="action" {
                option value="" { "all" }
                @for known in &actions { option value=(known) selected[known == action] { (known) } }
            }
            button type="submit" { "Search" }
        }
        @if rows.is_empty() {
            (words::nothing("No entry is like that."))
        } @else {
            (words::scrolling("Audit entries", &table(&rows)))
        }
        @if let Some(last) = next {
            p {
                a href=(frame.link("/console/audit", &[("q", text), ("action", action), ("before", &last.audit_id.to_string())])) {
                    "Earlier entries"
                }
            }
        }
    };
    Ok(frame.page(Some(Tab::Audit), "Audit", &body))
}

fn found(report: &Report) -> Markup {
    let checked: Vec<String> =
        report.checked.iter().map(|(table, rows)| format!("{} of {table}", words::count(*rows))).collect();
    html! {
        section.report role="status" {
            h2 {
                @if report.is_sound() { (words::state(Grade::Well, "The record fits together")) }
                @else { (words::state(Grade::Bad, "The record does not fit together")) }
            }
            p { "Looked at: " (if checked.is_empty() { "nothing that is chained yet".to_owned() } else { checked.join(", ") }) "." }
            @for (chain, head) in &report.heads {
                p.note { "Head of the " (chain) ": entry " (head.number) ", " code { (head.hash) } }
            }
            @if report.unnamed > 0 { p { (report.unnamed) " more are not named." } }
            @if !report.is_sound() {
                table {
                    thead { tr { th scope="col" { "Table" } th scope="col" { "Row" } th scope="col" { "What does not fit" } } }
                    tbody { @for breach in &report.breaches { tr { td { (breach.relation) } td { (breach.row) } td.text { (breach.what) } } } }
                }
            }
        }
    }
}

fn table(rows: &[AuditRow]) -> Markup {
    html! {
        table {
            thead {
                tr {
                    th scope="col" { "Entry" } th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" }
                    th scope="col" { "To what" } th scope="col" { "Why" } th scope="col" { "Particulars" }
                }
            }
            tbody {
                @for row in rows {
                    tr {
                        th scope="row" { (row.audit_id) }
                        td { (words::time(row.at)) }
                        td { (row.actor) }
                        td { (row.action) }
                        td.text { (row.subject) }
                        td.text { (row.reason) }
                        td {
                            details {
                                summary { "show" }
                                pre { (pretty(&row.detail)) }
                                p.note { "written " (words::time(row.written_at)) " by the database's clock; hash " code { (row.hash) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn pretty(detail: &serde_json::Value) -> String {
    // unwrap safety: a value always serialises.
    serde_json::to_string_pretty(detail).unwrap_or_default()
}
