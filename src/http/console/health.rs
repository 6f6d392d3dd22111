//! `GET /console/health`: whether the data of each model comes, and whole.

use maud::{Markup, html};

use super::super::Problem;
use super::frame::{Frame, Tab};
use super::words::{self, Grade};
use super::{Page, Part};
use crate::config::HealthRule;
use crate::store::alert::AlertFilter;
use crate::store::health::HealthRow;

/// Alerts of the past that are shown.
const MOST: i64 = 500;

pub(super) async fn get(frame: Frame) -> Page {
    let body = if frame.as_of.is_some() { then(&frame).await? } else { now(&frame).await? };
    Ok(frame.page(Some(Tab::Health), "Health", &body))
}

async fn now(frame: &Frame) -> Part {
    let mut rows = frame.context.store.list_health().await.map_err(Problem::internal)?;
    rows.retain(|row| frame.caller.sees(&row.model));
    let rank = |row: &HealthRow| {
        (row.model.clone(), ["broken", "undecided"].iter().position(|word| *word == row.verdict).unwrap_or(2))
    };
    rows.sort_by_key(rank);
    let mut models: Vec<&str> = rows.iter().map(|row| row.model.as_str()).collect();
    models.dedup();
    Ok(html! {
        h1 { "Health of the data" }
        p.lead { "A silent model has no numbers to judge: these rules say whether predictions and truth come, and whole." }
        @if rows.is_empty() { (words::nothing("No rule has been judged yet.")) }
        @for model in models {
            section {
                h2 { (model) }
                (words::scrolling(&format!("Health of {model}"), &table(rows.iter().filter(|row| row.model == model))))
            }
        }
    })
}

fn table<'r>(rows: impl Iterator<Item = &'r HealthRow>) -> Markup {
    html! {
        table {
            thead {
                tr {
                    th scope="col" { "Verdict" } th scope="col" { "Rule" } th scope="col" { "Why" } th scope="col" { "Usual" }
                    th scope="col" { "Since" }
                }
            }
            tbody {
                @for row in rows {
                    tr {
                        td { (words::state(grade(row), &row.verdict)) }
                        th scope="row" { (row.rule.replace('_', " ")) @if !row.subject.is_empty() { span.sub { (row.subject) } } }
                        td.text { (row.reason) }
                        td.text { (row.usual.as_deref().unwrap_or("")) }
                        td { (words::time(row.since.unwrap_or(row.changed_at))) }
                    }
                }
            }
        }
    }
}

fn grade(row: &HealthRow) -> Grade {
    match (row.verdict.as_str(), row.severity.as_str()) {
        ("broken", "page") => Grade::Bad,
        ("broken", _) => Grade::Warning,
        ("kept", _) => Grade::Well,
        _ => Grade::Unknown,
    }
}

/// Verdicts are kept as alerts.
async fn then(frame: &Frame) -> Part {
    let models = frame.caller.models().map(<[String]>::to_vec);
    let filter = AlertFilter { models, open_only: true, as_of: frame.as_of, ..AlertFilter::default() };
    let mut alerts = frame.context.store.find_alerts(&filter, MOST).await.map_err(Problem::internal)?;
    alerts.retain(|alert| HealthRule::of_alert(&alert.rule).is_some());
    Ok(html! {
        h1 { "Health of the data" }
        p.lead { "Of the past, what is kept of these rules are their alerts: those that were open then." }
        @if alerts.is_empty() {
            (words::nothing("No alert about data was open then."))
        } @else {
            (super::alerts::table(frame, &alerts))
        }
    })
}
