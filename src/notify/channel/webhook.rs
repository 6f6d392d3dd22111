//! The document of a webhook, and its signature. `docs/notices.md` describes both; fields are added, never renamed.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::chain::hex;
use crate::domain::Estimate;
use crate::notify::Letter;

/// The version of the document.
const SCHEMA: u32 = 1;

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 over the time in Unix seconds, a dot, and the body.
#[must_use]
pub fn signature(secret: &str, unix_seconds: i64, body: &str) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(format!("{unix_seconds}.{body}").as_bytes());
    format!("t={unix_seconds},v1={}", hex(&mac.finalize().into_bytes()))
}

/// Everything that is known, in names that do not change.
pub fn document(letter: &Letter<'_>) -> Value {
    let report = letter.report;
    let mut document = json!({
        "schema": SCHEMA,
        "id": format!("{}-{}", letter.installation, letter.key),
        "kind": report.kind.as_str(),
        "dedup_key": letter.dedup_key(),
        "installation": letter.installation,
        "alert_id": letter.alert_id,
        "event_id": letter.event_id,
        "written_at": letter.written_at,
        "subject": report.subject,
        "severity": report.severity,
        "rule": report.rule,
        "transition": report.event.transition,
        "state": report.event.state,
        "at": report.event.at,
        "actor": report.event.actor,
        "reason": report.event.reason,
        "since": report.since,
        "lines": report.lines.iter().map(|(label, text)| json!({ "label": label, "text": text })).collect::<Vec<_>>(),
        "links": report.links.iter().map(|(label, url)| json!({ "label": label, "url": url })).collect::<Vec<_>>(),
        "command": report.command,
        "caveat": report.caveat,
    });
    let mut add = |more: Value| {
        if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
            document.extend(more);
        }
    };
    if let Some(place) = &report.place {
        add(json!({
            "model": place.model, "version": place.version, "output": place.output, "slice": place.slice,
        }));
    }
    if let Some(alarm) = &report.alarm {
        add(json!({ "alarm": alarm }));
    }
    if let Some(evidence) = &report.evidence {
        add(number(&evidence.estimate));
        add(json!({
            "metric": evidence.metric,
            "limit": { "side": evidence.side, "value": evidence.limit },
            "window": { "name": evidence.window, "from": evidence.from, "to": evidence.to },
            "known_at": evidence.known_at,
            "recorded": evidence.recorded,
            "reference": evidence.reference.as_ref().map(number),
        }));
    }
    document
}

fn number(estimate: &Estimate) -> Value {
    let interval = estimate.interval.as_ref().map(|interval| {
        json!({ "level": 0.95, "lower": interval.lower, "upper": interval.upper, "method": interval.method })
    });
    json!({ "value": estimate.value, "interval": interval, "n": estimate.n, "positives": estimate.positives })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::channel::example;

    #[test]
    fn the_document_has_every_field() {
        let report = example::report();
        let expected: Value = serde_json::from_str(
            r#"{
                "schema": 1, "id": "0123-outbox-42", "kind": "alert", "dedup_key": "dosimeter-0123-alert-17",
                "installation": "0123", "alert_id": 17, "event_id": 30, "written_at": "2025-03-01T09:30:00Z",
                "subject": "[page] auroc-low: auroc of effusion, site=A & B below 0.75 (chest-xray 2.1)",
                "severity": "page", "rule": "auroc-low", "transition": "fired", "state": "firing",
                "at": "2025-03-01T09:30:00Z", "actor": "dosimeter", "reason": "auroc 0.65 is past the limit",
                "since": "2025-02-28T03:00:00Z",
                "model": "chest-xray", "version": "2.1", "output": "effusion", "slice": "site=A & B",
                "metric": "auroc", "value": 0.65, "n": 210, "positives": 25,
                "interval": { "level": 0.95, "lower": 0.5, "upper": 0.74, "method": "delong-logit" },
                "limit": { "side": "below", "value": 0.75 },
                "window": { "name": "7d", "from": "2025-02-22T00:00:00Z", "to": "2025-03-01T00:00:00Z" },
                "known_at": "2025-03-01T09:00:00Z", "recorded": 12,
                "reference": { "value": 0.88, "n": 4000, "positives": 500,
                    "interval": { "level": 0.95, "lower": 0.85, "upper": 0.91, "method": "delong-logit" } },
                "lines": [
                    { "label": "What", "text": "auroc is below the limit <0.75>" },
                    { "label": "Where", "text": "model chest-xray, slice site=A & B" }],
                "links": [{ "label": "Alerts", "url": "http://dosimeter:9187/api/v1/alerts" }],
                "command": "dosimeter query --config FILE --slice 'site=A & B'",
                "caveat": "A fixed limit."
            }"#,
        )
        .expect("JSON");
        assert_eq!(document(&example::letter(&report)), expected);
    }

    /// Computed with Python's hmac.
    #[test]
    fn the_signature_is_that_of_another_program() {
        assert_eq!(
            signature("a secret of sixteen", 1_740_821_400, r#"{"id":"x"}"#),
            "t=1740821400,v1=c2dcb11978cf42e52a6434912c7b276ae609b21df8a08db9d3df4c72fd7520ca"
        );
    }
}
