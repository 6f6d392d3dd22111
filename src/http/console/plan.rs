//! `GET /console/plan`: the monitoring plan in force, and every one before it as a difference.

use maud::{Markup, html};

use super::super::Problem;
use super::Page;
use super::frame::{Frame, Tab};
use super::words;
use crate::history::plan_diff;
use crate::store::plan::{PlanRow, StoredPlan};

/// Plans that are listed.
const MOST: i64 = 100;

pub(super) async fn get(frame: Frame) -> Page {
    frame.caller.require_all_models("the plan")?;
    let store = &frame.context.store;
    let plans = store.page_plans(frame.as_of, None, MOST).await.map_err(Problem::internal)?;
    let wanted: Option<i32> = frame.parameter("id").and_then(|text| text.parse().ok());
    let is_wanted = |plan: &&PlanRow| wanted.map_or(plan.in_force, |id| plan.plan_id == id);
    let Some(listed) = plans.iter().find(is_wanted).or(plans.first()) else {
        let body = html! { h1 { "Plan" } (words::nothing("No plan had been adopted yet.")) };
        return Ok(frame.page(Some(Tab::Plan), "Plan", &body));
    };
    let shown = store.load_plan(listed.plan_id).await.map_err(Problem::internal)?;
    let earlier = store.page_plans(frame.as_of, Some(shown.plan_id), 1).await.map_err(Problem::internal)?;
    let before = match earlier.first() {
        Some(before) => Some(store.load_plan(before.plan_id).await.map_err(Problem::internal)?),
        None => None,
    };
    let body = html! {
        h1 { "Plan" }
        p.lead {
            "The validated configuration, as every result names it by its digest. Shown: " code { (short(&shown.digest)) } ", adopted "
            (words::time(shown.adopted_at)) @if listed.in_force { ", in force" @if frame.as_of.is_some() { " then" } } "."
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
                @match &before {
                    Some(before) => {
                        h2 { "What changed against " code { (short(&before.digest)) } }
                        (difference(before, &shown))
                    }
                    None => { h2 { "The first plan" } }
                }
                details open[before.is_none()] {
                    summary { "The whole plan" }
                    pre.plan tabindex="0" { (text(&shown)) }
                }
            }
        }
    };
    Ok(frame.page(Some(Tab::Plan), "Plan", &body))
}

fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

fn text(plan: &StoredPlan) -> String {
    // unwrap safety: a value always serialises.
    serde_json::to_string_pretty(&plan.body).unwrap_or_default()
}

/// The lines that were taken out and put in, each with a sign besides its colour.
fn difference(before: &StoredPlan, after: &StoredPlan) -> Markup {
    let lines = plan_diff(&before.body, &after.body);
    html! {
        @if lines.is_empty() { (words::nothing("Nothing that the plan says is different.")) }
        @else {
            pre.diff tabindex="0" {
                @for line in lines.lines() {
                    @match line.split_at_checked(1) {
                        Some(("-", line)) => del { "- " (line) "\n" },
                        Some(("+", line)) => ins { "+ " (line) "\n" },
                        Some(("@", _)) => span { "…\n" },
                        _ => span { " " (line) "\n" },
                    }
                }
            }
        }
    }
}
