//! `GET /console/alerts/{id}`: the evidence. First one sentence for whoever knows nothing, then what it rests on, then what people did
//! and may do.

mod evidence;
mod sentence;

use maud::{Markup, html};

use super::super::Problem;
use super::super::id::Id;
use super::frame::{Frame, Tab};
use super::words::{self, Grade};
use super::{Page, of_query};
use crate::query::account::{self, Account, Case};
use crate::store::alert::{AlertRow, EventRow};
use crate::store::outbox::NoticeRow;

/// Notices that are shown without being asked for.
const SHOWN: usize = 3;
/// Cases that are shown for review.
const CASES: usize = 12;

pub(super) async fn get(frame: Frame, Id(id): Id) -> Page {
    let store = &frame.context.store;
    let alert = store.load_alert_as_of(id, frame.as_of).await.map_err(Problem::internal)?;
    frame.caller.require_model(&alert.model)?;
    let (events, mut notices) =
        tokio::try_join!(store.list_alert_events_as_of(id, frame.as_of), store.list_alert_notices(id))
            .map_err(Problem::internal)?;
    notices.retain(|notice| notice.created_at <= frame.now());
    let account = match account::of(&frame.context, &alert, frame.as_of).await {
        Ok(account) => Ok(account),
        // The plan no longer has its model: its history stands.
        Err(crate::query::Error::Unknown(reason)) => Err(reason),
        Err(error) => return Err(of_query(error)),
    };
    let cases = match &account {
        Ok(account) => cases(&frame, &alert, account).await?,
        Err(_) => None,
    };
    let title = format!("Alert {id}");
    let verdict = match Grade::of(alert.shown(), &alert.severity) {
        Grade::Bad => "verdict bad",
        Grade::Warning => "verdict warning",
        _ => "verdict",
    };
    let told = sentence::Told { alert: &alert, account: account.as_ref().ok(), events: &events };
    let body = html! {
        article.alert {
            header class=(verdict) {
                p.crumbs {
                    a href=(frame.link("/console/alerts", &[])) { "Alerts" } " / #" (id) " " (alert.rule) " "
                    (words::state(Grade::of(alert.shown(), &alert.severity), alert.shown()))
                    " " span.n { (alert.severity) }
                    @if frame.may_act() { span.jump { " · " a href="#steps" { "What to do" } } }
                }
                (told.headline())
            }
            (told.facts(&frame))
            @match &account {
                Ok(account) => (evidence::show(&frame, &alert, account)),
                Err(reason) => (words::nothing(reason)),
            }
            @if let Some(cases) = &cases { (review(&frame, cases)) }
            div.columns.people {
                (timeline(&events, &notices))
                (steps(&frame, &alert))
            }
        }
    };
    Ok(frame.page(Some(Tab::Alerts), &title, &body))
}

/// The cases to look at: only for whoever may act, and not of too many rows.
async fn cases(frame: &Frame, alert: &AlertRow, account: &Account) -> Result<Option<Vec<Case>>, Problem> {
    let (Some(window), true) = (account.after.window, frame.caller.has(crate::access::Role::Operate)) else {
        return Ok(None);
    };
    match account::cases(&frame.context, alert, window, frame.as_of, CASES).await {
        Ok(cases) => Ok(Some(cases).filter(|cases| !cases.is_empty())),
        // It is about no probability, or there are too many rows.
        Err(crate::query::Error::Unknown(_)) => Ok(None),
        Err(error) => Err(of_query(error)),
    }
}

fn review(frame: &Frame, cases: &[Case]) -> Markup {
    html! {
        section {
            h2 { "Cases to review" }
            p.note {
                "Those since the change that the model got most wrong, by the truth known " @if frame.as_of.is_some() { "then" } @else { "now" } ". \
                Pseudonyms: " code { "dosimeter resolve" } " turns one back, and the audit trail says who did."
            }
            (words::scrolling("Cases to review", &html! {
                table {
                    thead { tr { th scope="col" { "The model said" } th scope="col" { "The truth is" } th scope="col" { "When" } th scope="col" { "Case" } } }
                    tbody {
                        @for case in cases {
                            tr {
                                td { "probability " b { (words::number(case.score)) } }
                                td { @if case.positive { "present" } @else { "absent" } }
                                td { (words::time(case.occurred_at)) }
                                th scope="row" { code { (case.case_id) } }
                            }
                        }
                    }
                }
            }))
        }
    }
}

/// What happened, what people did, and who was told. That people were told again and again is folded away.
fn timeline(events: &[EventRow], notices: &[NoticeRow]) -> Markup {
    let is_again = |event: &&EventRow| event.transition == "told";
    let again: Vec<&EventRow> = events.iter().filter(is_again).collect();
    let once = events.iter().filter(|event| !is_again(event));
    html! {
        section {
            h2 { "What happened" }
            @if events.is_empty() { (words::nothing("Nothing is on record.")) }
            ol.timeline { @for event in once { (entry(event)) } }
            @if let (Some(first), Some(last)) = (again.first(), again.last()) {
                details {
                    summary {
                        @if again.len() == 1 { "Told again once, " (words::day(first.at)) }
                        @else { "Told again " (again.len()) " times, " (words::day(first.at)) " to " (words::day(last.at)) }
                    }
                    ol.timeline { @for event in &again { (entry(event)) } }
                }
            }
            @if !notices.is_empty() {
                h3 { "Who was told" }
                (told(&notices[..notices.len().min(SHOWN)]))
                @if notices.len() > SHOWN {
                    details {
                        summary { (notices.len() - SHOWN) " more notices" }
                        (told(&notices[SHOWN..]))
                    }
                }
            }
        }
    }
}

fn entry(event: &EventRow) -> Markup {
    let is_person = event.actor != "dosimeter";
    html! {
        li.person[is_person] {
            (words::time(event.at)) " "
            b { (event.transition.replace('_', " ")) }
            @if is_person { " by " b { (event.actor) } }
            p { (words::rounded(&event.reason)) }
            @if let Some(decision) = &event.decision { p.note { (words::rounded(decision)) } }
        }
    }
}

fn told(notices: &[NoticeRow]) -> Markup {
    html! {
        ul.notices {
            @for notice in notices {
                li {
                    @match (notice.sent_at, notice.dead_at) {
                        (Some(at), _) => { (words::time(at)) " sent to " },
                        (None, Some(at)) => { (words::time(at)) " given up: " },
                        (None, None) => { (words::time(notice.created_at)) " waits for " },
                    }
                    (notice.recipient) span.n { " " (notice.channel) }
                }
            }
        }
    }
}

/// What the caller may do.
fn steps(frame: &Frame, alert: &AlertRow) -> Markup {
    let is_open = alert.closed_at.is_none();
    let may_take = is_open && alert.state == "firing";
    let may_close = is_open && alert.state != "pending";
    html! {
        section.steps #steps {
            h2 { "What to do" }
            @if !frame.may_act() {
                p.note {
                    @if frame.as_of.is_some() { "Of the past nobody can change anything: go back to now." }
                    @else if frame.caller.session().is_some() { "Your token may look. One with the role operate may act." }
                    @else { "Whoever has no token may look. Log in with one of the role operate to act: `dosimeter token create --role operate`." }
                }
                @if frame.as_of.is_none() && frame.caller.session().is_none() { p { a href=(format!("/console/login?next=/console/alerts/{}", alert.alert_id)) { "Log in" } } }
            } @else {
                @if may_take { (form(frame, alert, "acknowledge", "Acknowledge", "Somebody is on it; nobody is told again while it lasts.", None)) }
                @if may_close { (form(frame, alert, "resolve", "Resolve", "It is over or understood. Better numbers alone resolve nothing.", None)) }
                @if is_open { (form(frame, alert, "silence", "Silence", "Nobody is told for a while; it goes on beneath.", Some("4h"))) }
                (form(frame, alert, "comment", "Comment", "Kept in the history, and changes nothing else.", None))
            }
        }
    }
}

fn form(frame: &Frame, alert: &AlertRow, step: &str, label: &str, help: &str, length: Option<&str>) -> Markup {
    let (by, why) = (format!("{step}-by"), format!("{step}-why"));
    html! {
        details.step open[step == "acknowledge" || step == "comment"] {
            summary { (label) }
            form method="post" action=(format!("/console/alerts/{}/{step}", alert.alert_id)) {
                (frame.form_secret())
                p.note { (help) }
                label for=(by) { "Your name" }
                input id=(by) type="text" name="by" maxlength="100" autocomplete="name" placeholder=(frame.caller.name());
                @if let Some(length) = length {
                    label for="length" { "For how long (30m, 4h, 2d)" }
                    input #length type="text" name="for" value=(length) required pattern="[0-9]+ ?[a-z]+.*";
                }
                label for=(why) { @if step == "comment" { "What you say" } @else { "Why" } }
                textarea id=(why) name="reason" rows="2" maxlength="2000" required {}
                button.main type="submit" { (label) }
            }
        }
    }
}
