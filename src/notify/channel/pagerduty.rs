//! An event of `PagerDuty`'s Events API v2. One incident per alert: `dedup_key` is the alert's.

use serde_json::{Value, json};

use super::{cut, webhook};
use crate::alert::report::{Kind, Report};
use crate::config::Secret;
use crate::notify::Letter;

/// `PagerDuty` refuses longer summaries.
const MOST_SUMMARY: usize = 1024;

/// A trigger, an acknowledgement or a resolution.
pub fn event(letter: &Letter<'_>, routing_key: &Secret) -> Value {
    let report = letter.report;
    let mut event = json!({
        "routing_key": routing_key.expose(),
        "event_action": action(report),
        "dedup_key": key(letter),
        "client": "dosimeter",
        "payload": {
            "summary": cut(&report.subject, MOST_SUMMARY),
            "severity": if report.severity == "page" { "critical" } else { "warning" },
            "source": format!("dosimeter-{}", letter.installation),
            "timestamp": report.event.at,
            "component": report.place.as_ref().map(|place| format!("{}, {}", place.output, place.slice)),
            "group": report.place.as_ref().map(|place| format!("{} {}", place.model, place.version)),
            "class": report.rule,
            "custom_details": webhook::document(letter),
        },
        "links": report.links.iter().map(|(label, url)| json!({ "href": url, "text": label })).collect::<Vec<_>>(),
    });
    if let (Some(event), Some((_, url))) = (event.as_object_mut(), report.links.first()) {
        event.insert("client_url".to_owned(), json!(url));
    }
    event
}

/// The incident: news about an alert that somebody has acknowledged is another one, for `PagerDuty` wakes nobody by an incident that is
/// acknowledged. Dead letters are one each.
fn key(letter: &Letter<'_>) -> String {
    match (letter.report.kind, letter.report.episode) {
        (Kind::DeadLetter | Kind::Record, _) => format!("{}-{}", letter.dedup_key(), letter.key),
        (_, Some(episode)) => format!("{}-{}", letter.dedup_key(), episode.timestamp()),
        (_, None) => letter.dedup_key(),
    }
}

/// What it is in `PagerDuty`'s words: somebody is wanted whenever the daemon itself speaks of what is open; what people do says that
/// somebody has it in hand, or that it is over.
fn action(report: &Report) -> &'static str {
    match report.event.state.as_str() {
        "resolved" | "cleared" | "expired" => "resolve",
        "acknowledged" if report.event.actor != "dosimeter" => "acknowledge",
        _ => "trigger",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::channel::example;

    #[test]
    fn an_alert_is_a_trigger_with_the_document_as_its_details() {
        let report = example::report();
        let letter = example::letter(&report);
        let mut event = event(&letter, &Secret::new("R123"));
        let details = event.pointer_mut("/payload/custom_details").map(Value::take);
        assert_eq!(details, Some(webhook::document(&letter)));
        let expected: Value = serde_json::from_str(
            r#"{
                "routing_key": "R123", "event_action": "trigger", "dedup_key": "dosimeter-0123-alert-17",
                "client": "dosimeter", "client_url": "http://dosimeter:9187/api/v1/alerts",
                "payload": {
                    "summary": "[page] auroc-low: auroc of effusion, site=A & B below 0.75 (chest-xray 2.1)",
                    "severity": "critical", "source": "dosimeter-0123", "timestamp": "2025-03-01T09:30:00Z",
                    "component": "effusion, site=A & B", "group": "chest-xray 2.1", "class": "auroc-low",
                    "custom_details": null
                },
                "links": [{ "href": "http://dosimeter:9187/api/v1/alerts", "text": "Alerts" }]
            }"#,
        )
        .expect("JSON");
        assert_eq!(event, expected);
    }

    #[test]
    fn people_answer_an_incident_and_news_is_another_one() {
        let of = |state: &str, actor: &str, minute: u32| {
            let mut report = example::report();
            report.event.state = state.to_owned();
            report.event.actor = actor.to_owned();
            report.episode = format!("2025-03-01T09:{minute:02}:00Z").parse().ok();
            let event = event(&example::letter(&report), &Secret::new("R123"));
            (event["event_action"].as_str().map(str::to_owned), event["dedup_key"].as_str().map(str::to_owned))
        };
        let (fired, key) = of("firing", "dosimeter", 30);
        assert_eq!(fired.as_deref(), Some("trigger"));
        assert_eq!(of("acknowledged", "Dr Example", 30), (Some("acknowledge".to_owned()), key.clone()));
        assert_eq!(of("resolved", "Dr Example", 30), (Some("resolve".to_owned()), key.clone()));
        // It holds again after a day, and somebody had acknowledged it: that is news.
        let (again, other) = of("acknowledged", "dosimeter", 45);
        assert_eq!(again.as_deref(), Some("trigger"));
        assert_ne!(other, key);
    }
}
