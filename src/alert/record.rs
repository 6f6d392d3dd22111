//! Notices about the record itself: an anchor to be kept outside, and a verification that found a breach.

use chrono::{DateTime, Utc};

use super::notice::test;
use super::report::{Event, Kind, Report};

/// What an anchor says.
#[derive(Clone, Copy, Debug)]
pub struct Anchoring<'a> {
    /// The installation.
    pub installation: &'a str,
    /// The entry of the audit trail.
    pub audit_id: i64,
    /// Its hash.
    pub hash: &'a str,
    /// The line of the anchor file.
    pub line: &'a str,
}

/// The notice of an anchor: whoever keeps it can tell later whether the record was written anew.
#[must_use]
pub fn anchored(anchoring: Anchoring<'_>, public_url: &str, now: DateTime<Utc>) -> Report {
    let Anchoring { installation, audit_id, hash, line } = anchoring;
    let reason = format!("entry {audit_id} of the audit trail has the hash {hash}");
    let lines = [
        ("What", "an anchor of the record: keep this notice".to_owned()),
        ("Installation", installation.to_owned()),
        ("Entry", audit_id.to_string()),
        ("SHA-256", hash.to_owned()),
        ("Line", line.to_owned()),
        ("Use", "put the line into a file and run `dosimeter audit verify --anchor FILE`".to_owned()),
    ];
    about("anchor", format!("[anchor] audit trail, entry {audit_id}"), ("ticket", reason), &lines, public_url, now)
}

/// The notice of a verification that found something.
#[must_use]
pub fn unsound(breaches: u64, first: &[String], public_url: &str, now: DateTime<Utc>) -> Report {
    let reason = format!("{breaches} row(s) of the record do not fit");
    let mut lines = vec![("What", format!("{reason}: they were changed, put in or taken out outside dosimeter"))];
    lines.extend(first.iter().map(|breach| ("Row", breach.clone())));
    lines.push((
        "Remedy",
        "run `dosimeter audit verify --full`, and compare with a backup; docs/audit.md says how".to_owned(),
    ));
    about(
        "broken-record",
        format!("[page] the record does not fit together: {breaches} row(s)"),
        ("page", reason),
        &lines,
        public_url,
        now,
    )
}

fn about(
    rule: &str,
    subject: String,
    (severity, reason): (&str, String),
    lines: &[(&str, String)],
    public_url: &str,
    now: DateTime<Utc>,
) -> Report {
    let like = test(public_url, now);
    Report {
        kind: Kind::Record,
        subject,
        rule: rule.to_owned(),
        severity: severity.to_owned(),
        event: Event { reason, ..like.event.clone() },
        lines: lines.iter().map(|(label, text)| ((*label).to_owned(), text.clone())).collect(),
        links: vec![("Audit trail".to_owned(), format!("{public_url}/api/v1/audit"))],
        ..like
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_carries_what_a_verification_needs() {
        let now = "2025-03-01T09:30:00Z".parse().expect("an instant");
        let anchoring = Anchoring { installation: "i", audit_id: 7, hash: "ab", line: "{\"audit_id\":7}" };
        let report = anchored(anchoring, "http://here", now);
        assert_eq!((report.kind, report.severity.as_str()), (Kind::Record, "ticket"));
        assert!(report.lines.iter().any(|(label, text)| label == "Line" && text == "{\"audit_id\":7}"));
        let found = unsound(2, &["audit audit_id 3 is missing".to_owned()], "http://here", now);
        assert_eq!(found.severity, "page");
        assert!(found.subject.contains("2 row(s)") && found.lines.iter().any(|(_, text)| text.contains("audit_id 3")));
    }
}
