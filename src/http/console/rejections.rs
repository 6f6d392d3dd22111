//! `GET /console/rejections`: refused records with their reasons and what became of them.

use maud::{Markup, html};

use super::super::Problem;
use super::Page;
use super::frame::{Frame, Tab};
use super::words;
use crate::store::rejection::{Rejection, RejectionFilter};

/// Rejections of a page.
const MOST: i64 = 100;

pub(super) async fn get(frame: Frame) -> Page {
    let sources: Vec<String> = frame
        .context
        .plan
        .sources
        .iter()
        .filter(|source| frame.caller.sees(&source.model))
        .map(|source| source.name.clone())
        .collect();
    let source = frame.parameter("source").map(str::to_owned);
    // Whoever may see some models only sees their sources only, one at a time.
    let source = match (source, frame.caller.models()) {
        (Some(source), Some(_)) if !sources.contains(&source) => {
            return Err(Problem::forbidden(format!("{source:?} is no source of the token's models")));
        }
        (None, Some(_)) => sources.first().cloned().or_else(|| Some(String::new())),
        (source, _) => source,
    };
    let filter = RejectionFilter {
        source: source.clone(),
        reason: frame.parameter("reason").map(str::to_owned),
        until: frame.as_of,
        before: frame.parameter("before").and_then(|text| text.parse().ok()),
        limit: MOST,
        ..RejectionFilter::default()
    };
    let rows = frame.context.store.list_rejections(&filter).await.map_err(Problem::internal)?;
    let next = rows.last().filter(|_| i64::try_from(rows.len()).is_ok_and(|count| count == MOST));
    let own = |name: &str| frame.parameter(name).unwrap_or_default().to_owned();
    let body = html! {
        h1 { "Rejections" }
        p.lead { "What was refused at the door, why, and what to do about it. " code { "dosimeter rejections replay" } " sends it through again." }
        form.filter method="get" action="/console/rejections" role="search" {
            @if let Some(at) = frame.parameter("as_of") { input type="hidden" name="as_of" value=(at); }
            label for="source" { "Source" }
            select #source name="source" {
                @if frame.caller.models().is_none() { option value="" { "all" } }
                @for name in &sources { option value=(name) selected[source.as_ref() == Some(name)] { (name) } }
            }
            label for="reason" { "Reason" }
            input #reason type="search" name="reason" value=(own("reason"));
            button type="submit" { "Filter" }
        }
        @if rows.is_empty() {
            (words::nothing("Nothing was refused."))
        } @else {
            (words::scrolling("Rejections", &table(&frame, &rows)))
        }
        @if let Some(last) = next {
            p {
                a href=(frame.link("/console/rejections", &[
                    ("source", source.as_deref().unwrap_or_default()), ("reason", &own("reason")), ("before", &last.rejection_id.to_string()),
                ])) { "Earlier rejections" }
            }
        }
    };
    Ok(frame.page(Some(Tab::Rejections), "Rejections", &body))
}

fn table(frame: &Frame, rows: &[Rejection]) -> Markup {
    // What became of one later is not known yet.
    let by_then = |at: chrono::DateTime<chrono::Utc>| at <= frame.now();
    html! {
        table {
            thead {
                tr {
                    th scope="col" { "Number" } th scope="col" { "When" } th scope="col" { "Where" } th scope="col" { "Reason" }
                    th scope="col" { "What is wrong, and the remedy" } th scope="col" { "Since" }
                }
            }
            tbody {
                @for row in rows {
                    tr {
                        th scope="row" { (row.rejection_id) }
                        td { (words::time(row.rejected_at)) }
                        td.text { (row.source) span.sub { (row.origin) ":" (row.line) @if !row.field.is_empty() { ", " (row.field) } } }
                        td { (row.reason.replace('_', " ")) }
                        td.text { (row.message) }
                        td {
                            @match row.resolved_at.filter(|at| by_then(*at)) {
                                Some(at) => { "taken in " (words::day(at)) },
                                None => "still refused",
                            }
                        }
                    }
                }
            }
        }
    }
}
