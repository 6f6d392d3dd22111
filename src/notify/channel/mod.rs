//! What is spoken on each channel over HTTP: a notice in, a JSON document out, nothing sent.

pub(super) mod alertmanager;
pub(super) mod pagerduty;
pub(super) mod slack;
pub(super) mod webhook;

/// A text of at most so many characters; one that is cut ends in three dots.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(3)).chain("...".chars()).collect()
}

/// A notice for the tests of every channel.
#[cfg(test)]
pub(super) mod example {
    use chrono::{DateTime, Utc};

    use crate::alert::report::{Event, Evidence, Kind, Place, Report};
    use crate::domain::Estimate;
    use crate::domain::estimate::Interval;
    use crate::notify::Letter;

    pub fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    fn estimate(value: f64, lower: f64, upper: f64, n: u64, positives: u64) -> Estimate {
        Estimate {
            interval: Some(Interval { lower, upper, method: "delong-logit".to_owned() }),
            positives: Some(positives),
            ..Estimate::exact(value, n)
        }
    }

    pub fn report() -> Report {
        Report {
            kind: Kind::Alert,
            subject: "[page] auroc-low: auroc of effusion, site=A & B below 0.75 (chest-xray 2.1)".to_owned(),
            rule: "auroc-low".to_owned(),
            severity: "page".to_owned(),
            event: Event {
                transition: "fired".to_owned(),
                state: "firing".to_owned(),
                at: at("2025-03-01T09:30:00Z"),
                actor: "dosimeter".to_owned(),
                reason: "auroc 0.65 is past the limit".to_owned(),
            },
            since: at("2025-02-28T03:00:00Z"),
            place: Some(Place {
                model: "chest-xray".to_owned(),
                version: "2.1".to_owned(),
                output: "effusion".to_owned(),
                slice: "site=A & B".to_owned(),
            }),
            alarm: None,
            episode: None,
            evidence: Some(Evidence {
                metric: "auroc".to_owned(),
                estimate: estimate(0.65, 0.5, 0.74, 210, 25),
                side: "below".to_owned(),
                limit: 0.75,
                window: "7d".to_owned(),
                from: at("2025-02-22T00:00:00Z"),
                to: at("2025-03-01T00:00:00Z"),
                known_at: at("2025-03-01T09:00:00Z"),
                recorded: 12,
                reference: Some(estimate(0.88, 0.85, 0.91, 4000, 500)),
            }),
            lines: vec![
                ("What".to_owned(), "auroc is below the limit <0.75>".to_owned()),
                ("Where".to_owned(), "model chest-xray, slice site=A & B".to_owned()),
            ],
            slices: Vec::new(),
            links: vec![("Alerts".to_owned(), "http://dosimeter:9187/api/v1/alerts".to_owned())],
            command: Some("dosimeter query --config FILE --slice 'site=A & B'".to_owned()),
            caveat: Some("A fixed limit.".to_owned()),
            chart: None,
        }
    }

    pub fn letter(report: &Report) -> Letter<'_> {
        Letter {
            key: "outbox-42",
            installation: "0123",
            alert_id: Some(17),
            event_id: Some(30),
            route: "on-call",
            channel: "email",
            recipient: "on-call@hospital.example",
            written_at: at("2025-03-01T09:30:00Z"),
            opens_thread: true,
            report,
            chart: None,
        }
    }
}
