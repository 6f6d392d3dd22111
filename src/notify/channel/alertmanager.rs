//! What Alertmanager's API v2 takes: one alert, whose labels are its identity.
//!
//! Alertmanager forgets an alert without an end after some minutes, for Prometheus repeats what it says; a notice is
//! posted once. So an open alert ends in a year, and its resolution brings the end forward.

use chrono::Duration;
use serde_json::{Map, Value, json};

use crate::alert::report::Kind;
use crate::config::{Address, Secret};
use crate::notify::Letter;

/// Where an Alertmanager takes alerts.
pub fn endpoint(address: &Address) -> Address {
    let url = address.url.expose().trim_end_matches('/');
    let path = "/api/v2/alerts";
    let url = if url.ends_with(path) { url.to_owned() } else { format!("{url}{path}") };
    Address { origin: address.origin.clone(), url: Secret::new(&url) }
}

/// A list of one alert.
pub fn alerts(letter: &Letter<'_>) -> Value {
    let report = letter.report;
    let mut labels = Map::new();
    let mut label = |name: &str, value: &str| labels.insert(name.to_owned(), json!(value));
    label("alertname", &report.rule);
    label("severity", &report.severity);
    label("instance", letter.installation);
    label("job", "dosimeter");
    if let Some(place) = &report.place {
        label("model", &place.model);
        label("version", &place.version);
        label("output", &place.output);
        label("slice", &place.slice);
    }
    let mut annotations = Map::new();
    let mut annotate = |name: &str, value: String| annotations.insert(name.to_owned(), json!(value));
    let lines: Vec<String> = report.lines.iter().map(|(label, text)| format!("{label}: {text}")).collect();
    annotate("summary", report.subject.clone());
    annotate("description", lines.join("\n"));
    annotate("state", report.event.state.clone());
    annotate("actor", report.event.actor.clone());
    annotate("reason", report.event.reason.clone());
    annotate("dedup_key", letter.dedup_key());
    if let Some(evidence) = &report.evidence {
        annotate("metric", evidence.metric.clone());
        annotate("value", evidence.estimate.value.to_string());
        annotate("limit", format!("{} {}", evidence.side, evidence.limit));
    }
    if let Some(command) = &report.command {
        annotate("command", command.clone());
    }
    let is_over = matches!(report.event.state.as_str(), "resolved" | "cleared" | "expired");
    let ends_at = match (is_over, report.kind) {
        (true, _) => report.event.at,
        (false, Kind::Alert) => report.event.at + Duration::days(365),
        // Nobody resolves these here.
        (false, Kind::DeadLetter | Kind::Record) => report.event.at + Duration::days(1),
        (false, Kind::Test) => report.event.at + Duration::minutes(5),
    };
    json!([{
        "labels": labels,
        "annotations": annotations,
        "startsAt": report.since.min(ends_at),
        "endsAt": ends_at,
        "generatorURL": report.links.first().map_or("", |(_, url)| url),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::channel::example;

    #[test]
    fn an_alert_is_labelled_by_what_it_is_about() {
        let report = example::report();
        let expected: Value = serde_json::from_str(
            r#"[{
                "labels": {
                    "alertname": "auroc-low", "severity": "page", "instance": "0123", "job": "dosimeter",
                    "model": "chest-xray", "version": "2.1", "output": "effusion", "slice": "site=A & B"
                },
                "annotations": {
                    "summary": "[page] auroc-low: auroc of effusion, site=A & B below 0.75 (chest-xray 2.1)",
                    "description": "What: auroc is below the limit <0.75>\nWhere: model chest-xray, slice site=A & B",
                    "state": "firing", "actor": "dosimeter", "reason": "auroc 0.65 is past the limit",
                    "dedup_key": "dosimeter-0123-alert-17", "metric": "auroc", "value": "0.65", "limit": "below 0.75",
                    "command": "dosimeter query --config FILE --slice 'site=A & B'"
                },
                "startsAt": "2025-02-28T03:00:00Z", "endsAt": "2026-03-01T09:30:00Z",
                "generatorURL": "http://dosimeter:9187/api/v1/alerts"
            }]"#,
        )
        .expect("JSON");
        assert_eq!(alerts(&example::letter(&report)), expected);
    }

    #[test]
    fn a_resolved_alert_has_the_same_labels_and_has_ended() {
        let open = example::report();
        let mut over = example::report();
        over.event.state = "resolved".to_owned();
        over.event.at = example::at("2025-03-02T12:00:00Z");
        let (open, over) = (alerts(&example::letter(&open)), alerts(&example::letter(&over)));
        assert_eq!(open[0]["labels"], over[0]["labels"]);
        assert_eq!(over[0]["endsAt"], "2025-03-02T12:00:00Z");
    }

    #[test]
    fn the_address_may_be_the_servers_or_the_whole_path() {
        for url in ["http://am:9093", "http://am:9093/", "http://am:9093/api/v2/alerts"] {
            let address = Address { origin: "http://am:9093".to_owned(), url: Secret::new(url) };
            assert_eq!(endpoint(&address).url.expose(), "http://am:9093/api/v2/alerts");
        }
    }
}
