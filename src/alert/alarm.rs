//! What a notice about an alarm of the alarm engine says: what moved, since when, how sure, and what the alarm promises.

use chrono::{DateTime, Utc};

use super::report::{ALERTS, Alarm, Event, Kind, Place, Report, encode_query, quoted, with_interval};
use crate::config::{Method, Severity, Tier, Unit, Watch};
use crate::detect::budget::Share;
use crate::detect::dependence::DesignEffect;
use crate::detect::stream::Stream;
use crate::domain::Estimate;
use crate::domain::window::show_instant;

/// Everything that a notice about an alarm is written from.
pub struct Facts<'a> {
    /// What happened.
    pub event: Event,
    /// The watch.
    pub watch: &'a Watch,
    /// The model.
    pub model: &'a str,
    /// The version.
    pub version: &'a str,
    /// The output.
    pub output: &'a str,
    /// The slice in canonical form.
    pub slice: &'a str,
    /// The stream.
    pub stream: &'a Stream,
    /// The tier that alarmed.
    pub severity: Severity,
    /// Its share of the budget.
    pub weight: f64,
    /// The evidence.
    pub evidence: f64,
    /// The evidence at which there is an alarm.
    pub threshold: f64,
    /// The sealed day that brought it.
    pub day: DateTime<Utc>,
    /// When the change began, as sealed.
    pub change: Option<DateTime<Utc>>,
    /// What the watch measured since then.
    pub measured: Option<&'a Estimate>,
    /// The share of cases that had truth in time since the stream was made.
    pub coverage: Option<f64>,
    /// How much units were last found to hang together.
    pub check: Option<&'a DesignEffect>,
    /// What has moved beside it.
    pub moved: Vec<Moved>,
    /// How people reach this daemon.
    pub public_url: &'a str,
    /// Where the dashboards are.
    pub grafana_url: Option<&'a str>,
}

/// A slice or a feature that has moved.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Its name.
    pub name: String,
    /// By how much: of a slice from its reference, in the measure's terms; of a feature the distance of its distributions.
    pub change: f64,
    /// The part of everything's change that a slice accounts for: its share of the cases times its change.
    pub of_whole: Option<f64>,
    /// Of a slice, what it is now.
    pub now: Option<Estimate>,
}

impl Moved {
    /// How large its part in the change of everything is, whatever its sign.
    #[must_use]
    pub fn part(&self) -> f64 {
        self.of_whole.map_or(0.0, f64::abs)
    }
}

/// Write a notice.
#[must_use]
pub fn write(facts: &Facts<'_>) -> Report {
    let Facts { watch, model, version, output, slice, stream, .. } = *facts;
    let measure = watch.measure;
    let place = if slice == "all" { output.to_owned() } else { format!("{output}, {slice}") };
    let line = |label: &str, text: String| (label.to_owned(), text);
    let is_chart = watch.method != Method::Evidence;
    let change = facts.change.unwrap_or(facts.day);
    let exams = change - chrono::TimeDelta::days(stream.lag);
    let (stressed, lines) = lines(facts, (change, exams));
    let mut links = vec![line(ALERTS, format!("{}/console/alerts", facts.public_url))];
    if let Some(grafana) = facts.grafana_url {
        let encode = encode_query;
        links.push(line(
            "Dashboard",
            format!(
                "{grafana}/d/dosimeter-alarms?var-model={}&var-version={}&var-output={}",
                encode(model),
                encode(version),
                encode(output)
            ),
        ));
    }
    links.extend(watch.runbook.iter().map(|url| line("Runbook", url.clone())));
    let slices = facts.moved.iter().filter_map(|moved| {
        let now = moved.now.as_ref()?;
        let interval = now.interval.as_ref().map_or_else(String::new, |i| format!("{:.3} to {:.3}", i.lower, i.upper));
        Some([moved.name.clone(), format!("{:.3}", now.value), interval, now.n.to_string()])
    });
    Report {
        kind: Kind::Alert,
        subject: format!("[{}] {}: {measure} of {place} ({model} {version})", facts.severity.as_str(), watch.name),
        rule: watch.name.clone(),
        severity: facts.severity.as_str().to_owned(),
        event: facts.event.clone(),
        since: change,
        place: Some(Place {
            model: model.to_owned(),
            version: version.to_owned(),
            output: output.to_owned(),
            slice: slice.to_owned(),
        }),
        evidence: None,
        episode: None,
        alarm: Some(Alarm {
            measure: measure.to_string(),
            evidence: facts.evidence,
            threshold: facts.threshold,
            day: facts.day,
            change: facts.change,
            measured: facts.measured.cloned(),
            reference: stream.reference(),
            stressed,
        }),
        lines,
        slices: slices.collect(),
        links,
        command: Some(format!(
            "dosimeter streams show --config FILE --model {} --version {} --watch {} --output {} --slice {} --to {}",
            quoted(model),
            quoted(version),
            quoted(&watch.name),
            quoted(output),
            quoted(slice),
            show_instant(facts.day + chrono::TimeDelta::days(1))
        )),
        caveat: Some(if is_chart {
            "A control chart states the days between its own false alarms, and nothing about several charts together."
                .to_owned()
        } else {
            "The budget bounds false alarms, not missed changes; it does not hold when cases without truth differ from those with it, \
             or the model's use changes the outcomes. The alert stays open until a person resolves it."
                .to_owned()
        }),
        chart: None,
    }
}

/// The lines of a notice, and why its promise may not be kept.
fn lines(
    facts: &Facts<'_>,
    (change, exams): (DateTime<Utc>, DateTime<Utc>),
) -> (Option<String>, Vec<(String, String)>) {
    let Facts { watch, model, version, output, slice, stream, .. } = *facts;
    let measure = watch.measure;
    let line = |label: &str, text: String| (label.to_owned(), text);
    let day = |at: DateTime<Utc>| at.format("%Y-%m-%d").to_string();
    let limits: Vec<String> = stream
        .strata
        .iter()
        .filter_map(|stratum| {
            let null = stratum.null.as_ref()?;
            let reference = null.reference.map_or_else(
                || if watch.against.is_some() { "no difference" } else { "a contract" }.to_owned(),
                |reference| format!("the reference was {reference:.4}, from {} cases", null.n),
            );
            let limit = null.other_limit.map_or_else(
                || format!("{:.4}", null.limit),
                |other| format!("{:.4} to {:.4}", null.limit.min(other), null.limit.max(other)),
            );
            Some(format!("{measure} {limit} on {} ({reference})", stratum.days.as_str()))
        })
        .collect();
    let well = if limits.is_empty() { format!("within a tolerance of {}", watch.tolerance) } else { limits.join("; ") };
    let since = match facts.measured {
        Some(measured) => {
            let units = if watch.unit == Unit::Subject { "subjects" } else { "cases" };
            let what = watch.against.as_ref().map_or_else(
                || measure.to_string(),
                |against| format!("the difference of {measure} from that of version {against}"),
            );
            let way = stream.way(measured.value).map_or_else(String::new, |way| format!(", on the {way} side"));
            format!(
                "{what} of the {} {units} sealed since {} is {}{way}",
                measured.n,
                day(change),
                with_interval(measured)
            )
        }
        None => format!("{measure} has changed since {}", day(change)),
    };
    let is_chart = watch.method != Method::Evidence;
    let sure = if is_chart {
        format!("the chart came to {:.2}, its limit is {:.2}", facts.evidence, facts.threshold)
    } else {
        format!(
            "evidence M = {:.0}, the alarm is at {:.0}: while all is well a stream comes so far once in {:.0} days at most, on average",
            facts.evidence, facts.threshold, facts.threshold
        )
    };
    let share = Share { tier: Tier::of(facts.severity), weight: facts.weight, threshold: facts.threshold };
    let stressed = stream.stressed(facts.coverage, facts.check);
    let guarantee = match &stressed {
        None => format!("holds: {}", stream.promise(watch, &[share])),
        Some(reason) => format!("stressed: {reason}. Otherwise: {}", stream.promise(watch, &[share])),
    };
    let mut lines = vec![
        line("What", since),
        line("Where", format!("model {model}, version {version}, output {output}, slice {slice}")),
        line("Since", format!("{} as sealed, exams of {} and later", day(change), day(exams))),
        line("How sure", sure),
        line("Compared with", well),
        line("Guarantee", guarantee),
    ];
    let features: Vec<String> = facts
        .moved
        .iter()
        .filter(|moved| moved.of_whole.is_none())
        .map(|moved| format!("{} (distance {:.3})", moved.name, moved.change))
        .collect();
    if !features.is_empty() {
        lines.push(line("Features moved most", features.join(", ")));
    }
    let parts: Vec<String> =
        facts.moved.iter().filter_map(|moved| Some(format!("{} {:+.4}", moved.name, moved.of_whole?))).collect();
    if !parts.is_empty() {
        lines.push(line("Part of the change by slice", parts.join(", ")));
    }
    (stressed, lines)
}
