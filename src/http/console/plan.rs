//! `GET /console/plan`: the monitoring plan in force, and every one before it as a difference.

use maud::{Markup, html};
use similar::{ChangeTag, TextDiff};

use super::super::Problem;
use super::Page;
use super::frame::{Frame, Tab};
use super::words;
use crate::store::browse::PlanRow;

/// Plans that are listed.
const MOST: i64 = 100;
/// Unchanged lines around a change.
const AROUND: usize = 3;

pub(super) async fn get(frame: Frame) -> Page {
    frame.caller.require_all_models("the plan")?;
    let plans = frame.context.store.list_plans(frame.as_of, MOST).await.map_err(Problem::internal)?;
    let wanted: Option<i32> = frame.parameter("id").and_then(|text| text.parse().ok());
    let at = wanted.and_then(|id| plans.iter().position(|plan| plan.plan_id == id)).unwrap_or_default();
    let Some(shown) = plans.get(at) else {
        let body = html! { h1 { "Plan" } (words::nothing("No plan had been adopted yet.")) };
        return Ok(frame.page(Some(Tab::Plan), "Plan", &body));
    };
    let before = plans.get(at + 1);
    let body = html! {
        h1 { "Plan" }
        p.lead {
            "The validated configuration, as every result names it by its digest. Shown: " code { (short(&shown.digest)) } ", adopted "
            (words::time(shown.adopted_at)) @if at == 0 { ", in force" @if frame.as_of.is_some() { " then" } } "."
        }
        div.columns {
            section {
                h2 { "History" }
                ol.plans reversed {
                    @for plan in &plans {
                        li {
                            a href=(frame.link("/console/plan", &[("id", &plan.plan_id.to_string())])) aria-current=[(plan.plan_id == shown.plan_id).then_some("true")] {
                                code { (short(&plan.digest)) }
                            }
                            " " (words::time(plan.adopted_at))
                        }
                    }
                }
            }
            section {
                @match before {
                    Some(before) => {
                        h2 { "What changed against " code { (short(&before.digest)) } }
                        (difference(before, shown))
                    }
                    None => { h2 { "The first plan" } }
                }
                details open[before.is_none()] {
                    summary { "The whole plan" }
                    pre.plan tabindex="0" { (text(shown)) }
                }
            }
        }
    };
    Ok(frame.page(Some(Tab::Plan), "Plan", &body))
}

fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

fn text(plan: &PlanRow) -> String {
    // unwrap safety: a value always serialises.
    serde_json::to_string_pretty(&plan.body).unwrap_or_default()
}

/// The lines that were taken out and put in, each with a sign besides its colour.
fn difference(before: &PlanRow, after: &PlanRow) -> Markup {
    let (before, after) = (text(before), text(after));
    let diff = TextDiff::from_lines(before.as_str(), after.as_str());
    let groups = diff.grouped_ops(AROUND);
    html! {
        @if groups.is_empty() { (words::nothing("Nothing that the plan says is different.")) }
        @for group in &groups {
            pre.diff tabindex="0" {
                @for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
                    @match change.tag() {
                        ChangeTag::Delete => del { "- " (change.value()) },
                        ChangeTag::Insert => ins { "+ " (change.value()) },
                        ChangeTag::Equal => span { "  " (change.value()) },
                    }
                }
            }
        }
    }
}
