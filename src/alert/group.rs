//! One notice about several alerts, and one about an alert that no number speaks of any more.
//!
//! Twenty slices that fire together are one event to whoever is woken by it.

use chrono::{DateTime, Utc};

use super::link::{self, Action, Signer};
use super::report::{ALERTS, Event, Kind, Place, Report, rounded};
use super::silence::Subject;
use crate::config::Severity;

/// An alert of a notice.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its number.
    pub alert_id: i64,
    /// What would be said about it alone.
    pub report: Report,
    /// Why people are told now, unless it has just fired.
    pub occasion: Option<String>,
}

/// Links of a notice that are about single alerts, at most: the rest is behind the list of alerts.
const MOST_LINKS: usize = 20;

/// What a notice about one alert says.
#[must_use]
pub fn alone(member: &Member) -> Report {
    let mut report = member.report.clone();
    if let Some(occasion) = &member.occasion {
        report.lines.insert(0, ("Why now".to_owned(), occasion.clone()));
    }
    report
}

/// What a notice about these alerts of one version says; nothing about none.
#[must_use]
pub fn combine(members: &[Member]) -> Option<Report> {
    let (first, others) = members.split_first()?;
    if others.is_empty() {
        return Some(alone(first));
    }
    let place = first.report.lines.iter().find(|(label, _)| label == "Where").map(|(_, text)| text.as_str());
    let version = place.and_then(|text| text.split_once(", output")).map_or("", |(version, _)| version);
    let severity = &first.report.severity;
    let lines = members.iter().map(|member| {
        let report = &member.report;
        let tag = format!("[{severity}] ");
        let subject = report.subject.strip_prefix(&tag).unwrap_or(&report.subject);
        // Without a number, what has happened says more than the subject.
        let line = |wanted: &str| report.lines.iter().find(|(label, _)| label == wanted);
        let sure = line("How sure").or_else(|| line("What")).map(|(_, text)| format!("; {text}"));
        let occasion = member.occasion.as_ref().map(|occasion| format!("; {occasion}"));
        let text = format!("{subject}{}{}", sure.unwrap_or_default(), occasion.unwrap_or_default());
        (format!("Alert {}", member.alert_id), text)
    });
    let mut commands: Vec<&str> = members.iter().filter_map(|member| member.report.command.as_deref()).collect();
    commands.dedup();
    Some(Report {
        subject: format!("[{severity}] {} alerts: {version}", members.len()),
        lines: lines.collect(),
        slices: Vec::new(),
        command: (!commands.is_empty()).then(|| commands.join("\n  ")),
        ..first.report.clone()
    })
}

/// Lead a report to the pages that show what its alerts rest on.
pub fn lead(report: &mut Report, members: &[Member], public_url: &str) {
    let page = |member: &Member| {
        let label = if members.len() == 1 { "Evidence".to_owned() } else { format!("Alert {}", member.alert_id) };
        (label, format!("{public_url}/console/alerts/{}", member.alert_id))
    };
    report.links.retain(|(label, _)| label != ALERTS);
    report.links.splice(0..0, members.iter().take(MOST_LINKS).map(page));
}

/// What one recipient may do from a notice about these alerts.
#[must_use]
pub fn links(
    members: &[Member],
    signer: &Signer,
    public_url: &str,
    recipient: &str,
    now: DateTime<Utc>,
) -> Vec<(String, String)> {
    let actions: &[Action] = if members.len() == 1 { &Action::ALL } else { &[Action::Acknowledge] };
    let sign = |member: &Member| link::sign(signer, public_url, member.alert_id, recipient, actions, now);
    members.iter().take(MOST_LINKS).flat_map(sign).collect()
}

/// What is said about an alert without a number.
#[must_use]
pub fn bare(
    subject: &Subject<'_>,
    alert_id: i64,
    severity: Severity,
    since: DateTime<Utc>,
    event: Event,
    public_url: &str,
) -> Report {
    let Subject { model, version, rule, output, slice } = *subject;
    let place = if slice == "all" { output.to_owned() } else { format!("{output}, {slice}") };
    let line = |label: &str, text: String| (label.to_owned(), text);
    Report {
        kind: Kind::Alert,
        subject: format!("[{}] {rule}: {place} ({model} {version})", severity.as_str()),
        rule: rule.to_owned(),
        severity: severity.as_str().to_owned(),
        since,
        place: Some(Place {
            model: model.to_owned(),
            version: version.to_owned(),
            output: output.to_owned(),
            slice: slice.to_owned(),
        }),
        evidence: None,
        alarm: None,
        episode: None,
        lines: vec![
            line("What", rounded(&event.reason)),
            line("Where", format!("model {model}, version {version}, output {output}, slice {slice}")),
            line("Since", format!("{} UTC", since.format("%Y-%m-%d %H:%M"))),
        ],
        slices: Vec::new(),
        links: vec![line(ALERTS, format!("{public_url}/console/alerts/{alert_id}"))],
        command: Some(format!("dosimeter alert show {alert_id} --config FILE")),
        caveat: Some(
            "There is no number to judge, which is no recovery. The alert's history says what was known before."
                .to_owned(),
        ),
        chart: None,
        event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn member(alert_id: i64, occasion: Option<&str>) -> Member {
        let slice = format!("site={alert_id}");
        let subject = Subject { model: "chest", version: "1", rule: "auroc", output: "effusion", slice: &slice };
        let at = DateTime::from_timestamp(0, 0).expect("a valid instant");
        let event = Event {
            transition: "fired".into(),
            state: "firing".into(),
            at,
            actor: "dosimeter".into(),
            reason: "a reason".into(),
        };
        let report = bare(&subject, alert_id, Severity::Page, at, event, "http://here");
        Member { alert_id, report, occasion: occasion.map(str::to_owned) }
    }

    #[test]
    fn one_alert_is_told_alone_and_several_together() {
        assert_eq!(combine(&[]), None);
        let alone = combine(&[member(1, None)]).expect("a report");
        assert_eq!(alone.subject, "[page] auroc: effusion, site=1 (chest 1)");
        assert_ne!(alone.lines[0].0, "Why now");
        let again = combine(&[member(1, Some("told again"))]).expect("a report");
        assert_eq!(again.lines[0], ("Why now".to_owned(), "told again".to_owned()));
        let both = combine(&[member(1, None), member(2, Some("it holds again"))]).expect("a report");
        assert_eq!(both.subject, "[page] 2 alerts: model chest, version 1");
        let lines: Vec<(&str, &str)> = both.lines.iter().map(|(label, text)| (label.as_str(), text.as_str())).collect();
        assert_eq!(
            lines,
            [
                ("Alert 1", "auroc: effusion, site=1 (chest 1); a reason"),
                ("Alert 2", "auroc: effusion, site=2 (chest 1); a reason; it holds again"),
            ]
        );
        let command = both.command.expect("commands");
        assert!(command.contains("show 1") && command.contains("show 2"));
    }

    #[test]
    fn a_notice_about_many_alerts_has_few_links() {
        let at = DateTime::from_timestamp(0, 0).expect("a valid instant");
        let signer = Signer::new(Secret::new("key"));
        let count = |members: &[Member]| links(members, &signer, "http://here", "a@b", at).len();
        assert_eq!(count(&[member(1, None)]), 3);
        assert_eq!(count(&[member(1, None), member(2, None)]), 2);
        let many: Vec<Member> = (0..99).map(|id| member(id, None)).collect();
        assert_eq!(count(&many), MOST_LINKS);
    }
}
