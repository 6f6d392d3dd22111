//! Who is told of what, by which route, and what follows a notice that was sent or lost.
//!
//! Whoever was told of an alert is told of its end. Programs that keep a state of their own are told of every step, people
//! of the end alone.

use chrono::{DateTime, Utc};

use super::report::{Event, Kind, Report};
use crate::config::{Alerting, ESCALATION_ROUTE, Notify, Severity};

/// One reader of notices: a person, or a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressee {
    /// The route of the plan.
    pub route: String,
    /// The channel's word in the plan.
    pub channel: String,
    /// Who, without secrets.
    pub recipient: String,
}

/// Everybody whom the plan names; a person whom several routes name is there once, by the first of them.
#[must_use]
pub fn addressees(notify: &Notify) -> Vec<Addressee> {
    select(notify, |_| true)
}

/// Everybody whom the plan names for an alert of this severity and model.
#[must_use]
pub fn addressees_of(notify: &Notify, severity: Severity, model: &str) -> Vec<Addressee> {
    select(notify, |route| route.takes(severity, model))
}

fn select(notify: &Notify, takes: impl Fn(&crate::config::Route) -> bool) -> Vec<Addressee> {
    let mut found: Vec<Addressee> = Vec::new();
    for route in notify.routes.iter().filter(|route| takes(route)) {
        for recipient in route.channel.recipients() {
            let channel = route.channel.as_str();
            let is_known = |known: &Addressee| known.channel == "email" && known.recipient == recipient;
            if channel == "email" && found.iter().any(is_known) {
                continue;
            }
            found.push(Addressee {
                route: route.name.clone(),
                channel: channel.to_owned(),
                recipient: recipient.to_owned(),
            });
        }
    }
    found
}

/// Everybody whom the plan names for an alert of this severity and model at a level of escalation: those of the steps up to it, too.
#[must_use]
pub fn addressees_at(
    (notify, alerting): (&Notify, &Alerting),
    (severity, model): (Severity, &str),
    escalation: i32,
) -> Vec<Addressee> {
    let mut found = addressees_of(notify, severity, model);
    let steps = alerting.escalations.iter().take(usize::try_from(escalation).unwrap_or_default());
    for recipient in steps.flat_map(|step| &step.to) {
        if !found.iter().any(|known| known.channel == "email" && known.recipient == *recipient) {
            found.push(Addressee {
                route: ESCALATION_ROUTE.to_owned(),
                channel: "email".to_owned(),
                recipient: recipient.clone(),
            });
        }
    }
    found
}

/// Whether a channel belongs to a program that keeps a state of its own, alert by alert.
#[must_use]
pub fn keeps_state(channel: &str) -> bool {
    matches!(channel, "webhook" | "pagerduty" | "alertmanager")
}

/// What those who were told of an alert are told of a later step; `None` when this channel does not want to know.
#[must_use]
pub fn follow_up(channel: &str, alert_id: i64, told: &Report, event: &Event) -> Option<Report> {
    if told.kind != Kind::Alert || !(keeps_state(channel) || event.transition == "resolved") {
        return None;
    }
    let line = |label: &str, text: String| (label.to_owned(), text);
    let mut lines = vec![
        line("What", format!("alert {alert_id} was {} by {}", event.transition, event.actor)),
        line("Why", event.reason.clone()),
        line("When", moment(event.at)),
    ];
    lines.extend(told.lines.iter().filter(|(label, _)| label == "Where" || label == "Since").cloned());
    let subject = told.subject.strip_prefix(REPLY).unwrap_or(&told.subject);
    Some(Report {
        subject: format!("{REPLY}{subject}"),
        event: event.clone(),
        lines,
        slices: Vec::new(),
        caveat: None,
        chart: None,
        ..told.clone()
    })
}

/// What the subject of a later notice begins with.
const REPLY: &str = "Re: ";

/// A report of a later notice about an alert that its readers know: it stays in their thread.
#[must_use]
pub fn in_thread(report: Report) -> Report {
    Report { subject: format!("{REPLY}{}", report.subject), ..report }
}

/// A notice that nobody took.
#[derive(Clone, Debug)]
pub struct Lost<'a> {
    /// Its number in the outbox.
    pub outbox_id: i64,
    /// Who should have been told.
    pub addressee: &'a Addressee,
    /// What was said.
    pub report: &'a Report,
    /// Why nobody took it.
    pub error: &'a str,
    /// How often it was tried.
    pub attempts: i32,
}

/// What everybody else is told of a dead letter; nothing about the death of a notice that told of one itself.
#[must_use]
pub fn dead_letter(lost: &Lost<'_>, now: DateTime<Utc>) -> Option<Report> {
    if lost.report.kind == Kind::DeadLetter {
        return None;
    }
    let Addressee { route, channel, recipient } = lost.addressee;
    let line = |label: &str, text: String| (label.to_owned(), text);
    let reason = format!("notice {} could not be sent: {}", lost.outbox_id, lost.error);
    Some(Report {
        kind: Kind::DeadLetter,
        subject: format!("[dead letter] not sent by {route}: {}", lost.report.subject),
        rule: format!("dead-letter-{route}"),
        severity: lost.report.severity.clone(),
        event: Event {
            transition: "fired".to_owned(),
            state: "firing".to_owned(),
            at: now,
            actor: "dosimeter".to_owned(),
            reason,
        },
        since: now,
        place: None,
        evidence: None,
        alarm: None,
        episode: None,
        lines: vec![
            line(
                "What",
                format!("a notice to {recipient} ({channel}, route {route}) was given up: nobody has read it"),
            ),
            line("Said", lost.report.subject.clone()),
            line("Why", lost.error.to_owned()),
            line("Tried", format!("{} times", lost.attempts)),
            line(
                "Remedy",
                format!(
                    "mend the route, see that `dosimeter notify test --route {route}` succeeds, and send the notice again"
                ),
            ),
        ],
        slices: Vec::new(),
        // What its reader could do by a signed link is nobody else's to do.
        links: lost.report.links.iter().filter(|(_, url)| !url.contains("/act?")).cloned().collect(),
        command: Some(format!("dosimeter notify retry {} --config FILE --reason ...", lost.outbox_id)),
        caveat: None,
        chart: None,
    })
}

/// A notice that only says that notices arrive.
#[must_use]
pub fn test(public_url: &str, now: DateTime<Utc>) -> Report {
    let line = |label: &str, text: &str| (label.to_owned(), text.to_owned());
    let reason = "somebody ran `dosimeter notify test`";
    Report {
        kind: Kind::Test,
        subject: "[test] a test notice of dosimeter".to_owned(),
        rule: "test".to_owned(),
        severity: "ticket".to_owned(),
        event: Event {
            transition: "fired".to_owned(),
            state: "firing".to_owned(),
            at: now,
            actor: "dosimeter".to_owned(),
            reason: reason.to_owned(),
        },
        since: now,
        place: None,
        evidence: None,
        alarm: None,
        episode: None,
        lines: vec![
            line("What", "a test: notices by this route arrive"),
            line("Why", reason),
            line("When", &moment(now)),
            line("Remedy", "none is needed; no model is concerned"),
        ],
        slices: Vec::new(),
        links: vec![line("Alerts", &format!("{public_url}/console/alerts"))],
        command: None,
        caveat: None,
        chart: None,
    }
}

fn moment(at: DateTime<Utc>) -> String {
    format!("{} UTC", at.format("%Y-%m-%d %H:%M"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Channel, Route, Transport};

    fn email(name: &str, to: &[&str], severities: &[Severity], models: &[&str]) -> Route {
        Route {
            name: name.to_owned(),
            channel: Channel::Email { to: to.iter().map(|&text| text.to_owned()).collect() },
            severities: severities.to_vec(),
            models: models.iter().map(|&text| text.to_owned()).collect(),
        }
    }

    fn notify(routes: Vec<Route>) -> Notify {
        let day = std::time::Duration::from_secs(86_400);
        Notify { from: "d@h".to_owned(), transport: Transport::None, routes, retry_after: day, give_up_after: day }
    }

    fn at() -> DateTime<Utc> {
        "2025-03-01T09:30:00Z".parse().expect("an instant")
    }

    fn told() -> Report {
        Report { kind: Kind::Alert, ..test("http://here", at()) }
    }

    fn step(transition: &str) -> Event {
        Event {
            transition: transition.to_owned(),
            state: transition.to_owned(),
            at: at(),
            actor: "Dr Example".to_owned(),
            reason: "scanner exchanged".to_owned(),
        }
    }

    #[test]
    fn routes_choose_by_severity_and_model_and_nobody_is_told_twice() {
        let notify = notify(vec![
            email("all", &["a@h"], &Severity::ALL, &[]),
            email("pages", &["b@h", "a@h"], &[Severity::Page], &[]),
            email("chest", &["c@h"], &Severity::ALL, &["chest"]),
        ]);
        let told = |severity, model| -> Vec<String> {
            addressees_of(&notify, severity, model)
                .into_iter()
                .map(|a| format!("{} {}", a.route, a.recipient))
                .collect()
        };
        assert_eq!(told(Severity::Page, "chest"), ["all a@h", "pages b@h", "chest c@h"]);
        assert_eq!(told(Severity::Page, "knee"), ["all a@h", "pages b@h"]);
        assert_eq!(told(Severity::Ticket, "chest"), ["all a@h", "chest c@h"]);
        assert_eq!(addressees(&notify).len(), 3);
    }

    #[test]
    fn programs_hear_of_every_step_and_people_of_the_end() {
        for (channel, transition, wanted) in [
            ("pagerduty", "acknowledged", true),
            ("alertmanager", "silenced", true),
            ("webhook", "resolved", true),
            ("email", "acknowledged", false),
            ("slack", "acknowledged", false),
            ("email", "resolved", true),
            ("slack", "resolved", true),
        ] {
            assert_eq!(follow_up(channel, 17, &told(), &step(transition)).is_some(), wanted, "{channel} {transition}");
        }
        let first = follow_up("email", 17, &told(), &step("resolved")).expect("a notice");
        assert_eq!(first.subject, "Re: [test] a test notice of dosimeter");
        assert_eq!(first.lines[0].1, "alert 17 was resolved by Dr Example");
        assert_eq!(first.lines[1].1, "scanner exchanged");
        let second = follow_up("email", 17, &first, &step("resolved")).expect("a notice");
        assert_eq!(second.subject, first.subject, "one Re: is enough");
        assert_eq!(follow_up("webhook", 17, &test("http://here", at()), &step("resolved")), None, "no alert, no end");
    }

    #[test]
    fn the_death_of_a_dead_letter_is_told_to_nobody() {
        let addressee =
            Addressee { route: "slack".into(), channel: "slack".into(), recipient: "https://hooks.example".into() };
        let report = told();
        let lost = Lost {
            outbox_id: 7,
            addressee: &addressee,
            report: &report,
            error: "the server answered 400",
            attempts: 1,
        };
        let first = dead_letter(&lost, at()).expect("others are told");
        assert!(first.subject.contains("not sent by slack") && first.severity == report.severity, "{first:?}");
        assert!(first.lines.iter().any(|(_, text)| text.contains("answered 400")));
        assert_eq!(dead_letter(&Lost { report: &first, ..lost }, at()), None);
    }
}
