//! What a notice about a model's data says: what is missing, since when, what is usual, where to look, and the remedy.

use chrono::{DateTime, Utc};

use super::group::bare;
use super::report::{ALERTS, Event, Report, quoted};
use super::silence::Subject;
use crate::config::{HealthRule, Severity};

/// Everything that such a notice is written from.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// What happened.
    pub event: Event,
    /// The rule.
    pub rule: HealthRule,
    /// What the alert is about.
    pub subject: Subject<'a>,
    /// Who is told.
    pub severity: Severity,
    /// What is wrong, in words.
    pub reason: &'a str,
    /// What is usual.
    pub usual: Option<&'a str>,
    /// Since when the data has been as it is.
    pub since: Option<DateTime<Utc>>,
    /// Since when the alert has held.
    pub holds_since: DateTime<Utc>,
    /// How people reach this daemon.
    pub public_url: &'a str,
    /// Where the dashboards are.
    pub grafana_url: Option<&'a str>,
}

/// Write a notice.
#[must_use]
pub fn write(facts: &Facts<'_>) -> Report {
    let Facts { rule, subject, severity, reason, usual, since, holds_since, public_url, .. } = *facts;
    let Subject { model, version, rule: name, output, slice } = subject;
    let line = |label: &str, text: String| (label.to_owned(), text);
    let (look, remedy) = advice(rule);
    let mut report = bare(&subject, 0, severity, holds_since, facts.event.clone(), public_url);
    report.subject = format!("[{}] {name}: data of {model}", severity.as_str());
    report.lines = vec![
        line("What", reason.to_owned()),
        line("Where", format!("model {model}, version {version}, output {output}, slice {slice}")),
        line("Since", format!("{} UTC", since.unwrap_or(holds_since).format("%Y-%m-%d %H:%M"))),
    ];
    report.lines.extend(usual.map(|usual| line("Usual", usual.to_owned())));
    report.lines.extend([line("Look at", look.to_owned()), line("Remedy", remedy.to_owned())]);
    report.links = vec![
        line(ALERTS, format!("{public_url}/console/alerts")),
        line("Health", format!("{public_url}/console/health")),
    ];
    report.links.extend(facts.grafana_url.map(|grafana| line("Dashboard", format!("{grafana}/d/dosimeter-daemon"))));
    report.command = Some(format!("dosimeter health --model {} --config FILE", quoted(model)));
    report.caveat = Some(
        "This is about the data, not about how good the model is: while it lasts, nobody knows. What is usual is learnt \
         from the model's own past. The alert stays open until a person resolves it."
            .to_owned(),
    );
    report
}

/// Where to look, and what to do.
#[must_use]
pub fn advice(rule: HealthRule) -> (&'static str, &'static str) {
    match rule {
        HealthRule::NoPredictions => (
            "the dashboard Daemon, row Intake: do files wait, or do none come? Then the system that runs the model",
            "restart the model or its export; what it has kept back counts as soon as it comes. A department that is closed \
             on purpose is a [[maintenance]] window",
        ),
        HealthRule::NoTruth => (
            "the source of assertions, and the system that signs reports",
            "restart the export of reports; truth that comes late counts for the day of its case",
        ),
        HealthRule::Coverage => (
            "whether one site or one finding has lost its truth (`dosimeter query` by slice, metric label_coverage)",
            "mend the link between cases and reports: case ids that have changed their form find no prediction",
        ),
        HealthRule::Delay => (
            "whether reports are signed later, or exported later",
            "ask who signs and who exports; give watches a longer maturity if it stays so",
        ),
        HealthRule::Rejections => (
            "`dosimeter rejections list`: each record with its file, line, reason and remedy",
            "mend the sender, or columns, time_format and constants of the source, and deliver again",
        ),
        HealthRule::StaleSource => (
            "the paths of the source, and the log of the job ingest",
            "mount the path again, give the daemon's user the right to read it, or restart the export",
        ),
        HealthRule::Schema => (
            "the header of the latest file, or what fills the attribute",
            "have the sender restore it, or write its new name into columns or attributes of the source",
        ),
        HealthRule::Contract => (
            "what the attribute holds now (`dosimeter query` by slice, `dosimeter drift`), and who writes it",
            "have the sender restore it; or, if the world has changed, write the new values, range or kind into the \
             model's dimensions and features",
        ),
        HealthRule::UnknownVersion => (
            "whether a release was planned: the version speaks already, and is estimated by itself",
            "add it to versions of the model, and freeze and approve a reference for it; or stop the release",
        ),
        HealthRule::Unwatched => (
            "`dosimeter streams list`: each stream with what it lacks, and the last day that it took in",
            "freeze and approve a reference that is long enough, give the watch a limit, or remove a watch that nothing comes for",
        ),
        HealthRule::Replay => (
            "`dosimeter replay ID` for each estimate that is named, and `dosimeter audit verify --full`: which row was altered",
            "find out who had access to the database, and restore the rows from a backup; the rule is kept again once they agree",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_says_what_is_missing_since_when_what_is_usual_and_what_to_do() {
        let at = |text: &str| text.parse().expect("an instant");
        for rule in HealthRule::ALL {
            let name = rule.alert_name("reports");
            let subject = Subject { model: "chest", version: "1", rule: &name, output: "(model)", slice: "all" };
            let report = write(&Facts {
                event: Event {
                    transition: "fired".into(),
                    state: "firing".into(),
                    at: at("2025-03-02T01:00:00Z"),
                    actor: "dosimeter".into(),
                    reason: "nothing comes".into(),
                },
                rule,
                subject,
                severity: Severity::Page,
                reason: "nothing comes",
                usual: Some("something every hour"),
                since: Some(at("2025-03-01T22:00:00Z")),
                holds_since: at("2025-03-02T01:00:00Z"),
                public_url: "http://here",
                grafana_url: None,
            });
            let labels: Vec<&str> = report.lines.iter().map(|(label, _)| label.as_str()).collect();
            assert_eq!(labels, ["What", "Where", "Since", "Usual", "Look at", "Remedy"]);
            assert_eq!(report.lines[2].1, "2025-03-01 22:00 UTC");
            assert_eq!(report.subject, format!("[page] {name}: data of chest"));
        }
    }
}
