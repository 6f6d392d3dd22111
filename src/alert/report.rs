//! What a notice says: what, where, since when, how sure, compared with what, and where to look.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::config::{AlertRule, BoundRule, Limit};
use crate::domain::window::show_instant;
use crate::domain::{Estimate, Slice, Window};

/// The label of the link to the alerts; who knows their numbers leads to their pages instead ([`crate::alert::group::lead`]).
pub const ALERTS: &str = "Alerts";

/// Everything that a notice is written from.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// What happened.
    pub event: Event,
    /// The rule.
    pub rule: &'a AlertRule,
    /// The model.
    pub model: &'a str,
    /// The version.
    pub version: &'a str,
    /// The output.
    pub output: &'a str,
    /// The slice.
    pub slice: &'a Slice,
    /// The window that was judged.
    pub window: Window,
    /// The decisive estimate.
    pub estimate: &'a Estimate,
    /// The same metric on the approved reference, if there is one.
    pub reference: Option<&'a Estimate>,
    /// The reference that was in force.
    pub reference_id: Option<i32>,
    /// Other slices of the same output, the worst first: `(slice, estimate)`.
    pub slices: Vec<(String, Estimate)>,
    /// When the condition began to hold.
    pub since: DateTime<Utc>,
    /// Truth observed up to then was used.
    pub known_at: DateTime<Utc>,
    /// Batches up to this one were used.
    pub recorded: i64,
    /// How people reach this daemon.
    pub public_url: &'a str,
    /// Where the dashboards are.
    pub grafana_url: Option<&'a str>,
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An alert.
    Alert,
    /// A notice that nobody took.
    DeadLetter,
    /// Whether notices arrive.
    Test,
    /// The record itself: an anchor to be kept, or rows that do not fit.
    Record,
}

impl Kind {
    /// The word of the documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::DeadLetter => "dead-letter",
            Self::Test => "test",
            Self::Record => "record",
        }
    }
}

/// What happened to an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The word of the history: fired, recurred, acknowledged, resolved.
    pub transition: String,
    /// The state after it.
    pub state: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Who: dosimeter, or a person.
    pub actor: String,
    /// Why, in words.
    pub reason: String,
}

/// Where an alert stands in the world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// The model.
    pub model: String,
    /// The version.
    pub version: String,
    /// The output.
    pub output: String,
    /// The slice.
    pub slice: String,
}

/// The numbers that an alert rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The metric, with its parameters.
    pub metric: String,
    /// The decisive estimate.
    pub estimate: Estimate,
    /// `below` or `above`: where the limit must not be passed.
    pub side: String,
    /// The limit.
    pub limit: f64,
    /// The window's name in the plan.
    pub window: String,
    /// First instant of its cases.
    pub from: DateTime<Utc>,
    /// First instant after them.
    pub to: DateTime<Utc>,
    /// Truth observed up to then was used.
    pub known_at: DateTime<Utc>,
    /// Batches up to this one were used.
    pub recorded: i64,
    /// The same metric on the approved reference.
    pub reference: Option<Estimate>,
}

/// The numbers of an alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// What is measured.
    pub measure: String,
    /// The evidence `M`, or what a chart came to.
    pub evidence: f64,
    /// The evidence at which there is an alarm.
    pub threshold: f64,
    /// The sealed day that brought it.
    pub day: DateTime<Utc>,
    /// When the change began, as sealed.
    pub change: Option<DateTime<Utc>>,
    /// What was measured since then.
    pub measured: Option<Estimate>,
    /// What the reference was.
    pub reference: Option<f64>,
    /// Why its promise may not be kept.
    pub stressed: Option<String>,
}

/// What a notice says, for every channel to put into its own form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What it is about.
    pub kind: Kind,
    /// One line, the same for every notice of an alert.
    pub subject: String,
    /// The rule, or what stands for one.
    pub rule: String,
    /// Who is told, in the rule's word.
    pub severity: String,
    /// What happened.
    pub event: Event,
    /// When it began to be so.
    pub since: DateTime<Utc>,
    /// Since when nobody has answered it: news begins another episode of the same alert.
    #[serde(default)]
    pub episode: Option<DateTime<Utc>>,
    /// Where, if it is about an alert.
    pub place: Option<Place>,
    /// The numbers, if it is about an alert of a rule.
    pub evidence: Option<Evidence>,
    /// The numbers, if it is about an alarm of sealed evidence.
    #[serde(default)]
    pub alarm: Option<Alarm>,
    /// Labelled lines, top to bottom.
    pub lines: Vec<(String, String)>,
    /// Slices of the same output: name, value, interval, cases.
    pub slices: Vec<[String; 4]>,
    /// Where to look: label and address.
    pub links: Vec<(String, String)>,
    /// The command that gives the numbers again, if it is about numbers.
    pub command: Option<String>,
    /// What this kind of alert does and does not promise.
    pub caveat: Option<String>,
    /// What the chart shows, in words, if there is one.
    pub chart: Option<String>,
}

/// Write a notice.
#[must_use]
pub fn write(facts: &Facts<'_>) -> Report {
    let Facts { rule, model, version, output, slice, .. } = *facts;
    let (side, limit) = match rule.limit {
        Limit::Below(limit) => ("below", limit),
        Limit::Above(limit) => ("above", limit),
    };
    let what = match (rule.bound, &facts.estimate.interval) {
        (BoundRule::Interval, Some(_)) => {
            format!("the whole 95 % interval of {} is {side} the limit {limit}", rule.metric)
        }
        _ => format!("{} is {side} the limit {limit}", rule.metric),
    };
    let place = if slice.is_all() { output.to_owned() } else { format!("{output}, {slice}") };
    let line = |label: &str, text: String| (label.to_owned(), text);
    let positives = facts.estimate.positives.map_or_else(String::new, |count| format!(", {count} of them positive"));
    let reference = facts.reference.map_or_else(
        || "no approved reference to compare with".to_owned(),
        |reference| format!("reference: {}", with_interval(reference)),
    );
    let lines = vec![
        line("What", what),
        line("Where", format!("model {model}, version {version}, output {output}, slice {slice}")),
        line("Since", format!("{} UTC", facts.since.format("%Y-%m-%d %H:%M"))),
        line("How sure", format!("{}; read from {} cases{positives}", with_interval(facts.estimate), facts.estimate.n)),
        line("Compared with", format!("limit {limit}; {reference}")),
        line("Window", format!("{} (cases of {})", rule.window, facts.window)),
        line("Known", format!("truth observed up to {}", show_instant(facts.known_at))),
    ];
    let encode = |text: &str| encode_query(text);
    let mut links = vec![line(ALERTS, format!("{}/console/alerts", facts.public_url))];
    if let Some(grafana) = facts.grafana_url {
        links.push(line(
            "Dashboard",
            format!(
                "{grafana}/d/dosimeter-model?var-model={}&var-version={}&var-output={}&var-slice={}&var-window={}",
                encode(model),
                encode(version),
                encode(output),
                encode(&slice.to_string()),
                encode(&rule.window.to_string())
            ),
        ));
    }
    links.extend(rule.runbook.iter().map(|url| line("Runbook", url.clone())));
    Report {
        kind: Kind::Alert,
        // Without the value: mail programs keep a thread together by its subject.
        subject: format!(
            "[{}] {}: {} of {place} {side} {limit} ({model} {version})",
            rule.severity.as_str(),
            rule.name,
            rule.metric
        ),
        rule: rule.name.clone(),
        event: facts.event.clone(),
        since: facts.since,
        place: Some(Place {
            model: model.to_owned(),
            version: version.to_owned(),
            output: output.to_owned(),
            slice: slice.to_string(),
        }),
        evidence: Some(Evidence {
            metric: rule.metric.to_string(),
            estimate: facts.estimate.clone(),
            side: side.to_owned(),
            limit,
            window: rule.window.to_string(),
            from: facts.window.from,
            to: facts.window.to,
            known_at: facts.known_at,
            recorded: facts.recorded,
            reference: facts.reference.cloned(),
        }),
        alarm: None,
        episode: None,
        severity: rule.severity.as_str().to_owned(),
        lines,
        slices: facts.slices.iter().map(|(name, estimate)| row(name, estimate)).collect(),
        links,
        command: Some(command(facts)),
        caveat: Some(
            "This is a fixed limit on a rolling estimate. It is looked at again with every change, so now and then it \
                 fires without a real change; it states no rate of false alarms. The alert stays open until a person \
                 resolves it."
                .to_owned(),
        ),
        chart: None,
    }
}

/// The question that gives the numbers again. Names come from records: they are quoted, for people paste this into a shell.
fn command(facts: &Facts<'_>) -> String {
    let reference = facts.reference_id.map_or_else(String::new, |id| format!(" --reference {id}"));
    format!(
        "dosimeter query --config FILE --model {} --version {} --output {} --slice {} --from {} --to {} --known-at {} \
         --recorded {}{reference}",
        quoted(facts.model),
        quoted(facts.version),
        quoted(facts.output),
        quoted(&facts.slice.to_string()),
        show_instant(facts.window.from),
        show_instant(facts.window.to),
        show_instant(facts.known_at),
        facts.recorded
    )
}

/// A word of a POSIX shell that stands for this text.
#[must_use]
pub fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn row(name: &str, estimate: &Estimate) -> [String; 4] {
    let interval = estimate.interval.as_ref();
    let interval = interval.map_or_else(String::new, |i| format!("{:.3} to {:.3}", i.lower, i.upper));
    [name.to_owned(), format!("{:.3}", estimate.value), interval, estimate.n.to_string()]
}

/// Words whose numbers have four digits after the point at most: people read them, and the record keeps them whole.
#[must_use]
pub fn rounded(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let (token, after) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
        out.push_str(before);
        let decimals = token.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        match token.parse::<f64>() {
            Ok(value) if decimals > 4 => out.push_str(&format!("{value:.4}")),
            _ => out.push_str(token),
        }
        rest = after;
    }
    out + rest
}

/// A value with its 95 % interval, in words.
#[must_use]
pub fn with_interval(estimate: &Estimate) -> String {
    match &estimate.interval {
        Some(interval) => {
            format!(
                "{:.4} (95 % interval {:.4} to {:.4}, {})",
                estimate.value, interval.lower, interval.upper, interval.method
            )
        }
        None => format!("{:.4}", estimate.value),
    }
}

/// Percent-encoding of a query value (RFC 3986: everything but unreserved characters).
#[must_use]
pub fn encode_query(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_paste_into_a_shell_is_quoted() {
        assert_eq!(quoted("chest-xray"), "chest-xray");
        assert_eq!(quoted("1.0; curl x | sh"), "'1.0; curl x | sh'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted("site=north & sex=F"), "'site=north & sex=F'");
    }
}
