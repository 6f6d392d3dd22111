//! An event of `PagerDuty`'s Events API v2. One incident per alert: `dedup_key` is the alert's.

use serde_json::{Value, json};

use super::{cut, webhook};
use crate::config::Secret;
use crate::notify::Letter;

/// `PagerDuty` refuses longer summaries.
const MOST_SUMMARY: usize = 1024;

/// A trigger, an acknowledgement or a resolution.
pub fn event(letter: &Letter<'_>, routing_key: &Secret) -> Value {
    let report = letter.report;
    let mut event = json!({
        "routing_key": routing_key.expose(),
        "event_action": action(&report.event.state),
        "dedup_key": letter.dedup_key(),
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

/// A state of ours in `PagerDuty`'s words: somebody has it in hand, it is over, or somebody is wanted.
fn action(state: &str) -> &'static str {
    match state {
        "acknowledged" | "silenced" => "acknowledge",
        "resolved" | "cleared" | "expired" => "resolve",
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
    fn states_are_actions_on_the_same_incident() {
        for (state, wanted) in [("acknowledged", "acknowledge"), ("resolved", "resolve"), ("firing", "trigger")] {
            let mut report = example::report();
            report.event.state = state.to_owned();
            let event = event(&example::letter(&report), &Secret::new("R123"));
            assert_eq!(event["event_action"], wanted);
            assert_eq!(event["dedup_key"], "dosimeter-0123-alert-17");
        }
    }
}
