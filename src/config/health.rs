//! Health of the data: which of its rules hold for a model, and the daemon's own heartbeat.

use std::time::Duration;

use serde::Serialize;

use super::notify::{Address, address};
use super::reader::Section;
use super::service::secret;
use super::{Surroundings, seconds};

const DAY: Duration = Duration::from_secs(86_400);
/// A stream may be without evidence for so long: a reference comes of age, a rare finding has its next case.
const UNWATCHED_DAYS: u32 = 14;

/// What can be wrong with the data of a model, whatever its numbers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthRule {
    /// No prediction has come for longer than usual.
    NoPredictions,
    /// No truth about a finding has come for longer than usual.
    NoTruth,
    /// Fewer cases have their truth in time.
    Coverage,
    /// Truth takes longer.
    Delay,
    /// Many records of a source are refused.
    Rejections,
    /// A source stands still, or cannot be looked into.
    StaleSource,
    /// A column is gone, or an attribute is empty.
    Schema,
    /// A version speaks that the plan does not list.
    UnknownVersion,
    /// Attributes hold what the contract of the plan does not allow.
    Contract,
    /// A stream of a watch cannot be watched, or has had no case for long.
    Unwatched,
    /// A past estimate is not what it was made of.
    Replay,
}

impl HealthRule {
    /// All rules.
    pub const ALL: [Self; 11] = [
        Self::NoPredictions,
        Self::NoTruth,
        Self::Coverage,
        Self::Delay,
        Self::Rejections,
        Self::StaleSource,
        Self::Schema,
        Self::UnknownVersion,
        Self::Contract,
        Self::Unwatched,
        Self::Replay,
    ];
    /// What the names of their alerts begin with; no other rule's name may.
    pub const PREFIX: &str = "health/";

    /// The word of the configuration, the store and the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoPredictions => "no_predictions",
            Self::NoTruth => "no_truth",
            Self::Coverage => "coverage",
            Self::Delay => "delay",
            Self::Rejections => "rejections",
            Self::StaleSource => "stale_source",
            Self::Schema => "schema",
            Self::UnknownVersion => "unknown_version",
            Self::Contract => "contract",
            Self::Unwatched => "unwatched",
            Self::Replay => "replay",
        }
    }

    /// The rule of a word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == text)
    }

    /// The name of its alert about a subject: a source, a finding, a version; empty for the model.
    #[must_use]
    pub fn alert_name(self, subject: &str) -> String {
        let separator = if subject.is_empty() { "" } else { "/" };
        format!("{}{}{separator}{subject}", Self::PREFIX, self.as_str())
    }

    /// The rule that an alert's name stands for, whatever its subject.
    #[must_use]
    pub fn of_alert(name: &str) -> Option<Self> {
        let name = name.strip_prefix(Self::PREFIX)?;
        Self::parse(name.split('/').next()?)
    }
}

/// How long a silence may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Patience {
    /// As long as the past makes usual.
    Usual,
    /// So long.
    Fixed(#[serde(serialize_with = "seconds")] Duration),
}

/// The rules of a model; what is absent is turned off.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Health {
    /// How long predictions may be absent.
    pub no_predictions: Option<Patience>,
    /// How long truth about a finding may be absent.
    pub no_truth: Option<Patience>,
    /// By how much the share of cases with truth may drop.
    pub coverage: Option<f64>,
    /// By how much the median delay of truth may grow, when it at least doubles.
    pub delay: Option<Duration>,
    /// Which share of a source's records may be refused.
    pub rejections: Option<f64>,
    /// How long a source may stand still.
    pub stale_source: Option<Patience>,
    /// The share of filled records below which an attribute counts as empty.
    pub schema: Option<f64>,
    /// Whether versions that the plan does not list are told of.
    pub unknown_version: bool,
    /// What becomes of attributes that break the contract.
    pub contract: Option<Response>,
    /// The share of a day's predictions above which an attribute breaks it.
    pub contract_share: f64,
    /// How long a stream may be without evidence.
    pub unwatched: Option<Duration>,
    /// Whether a past estimate that cannot be made again as it is stored wakes somebody.
    pub replay: bool,
}

/// What becomes of a rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// It is counted and shown, and nobody is told.
    Count,
    /// It is a ticket.
    Ticket,
    /// It is a page.
    Page,
}

impl Health {
    /// Whether a rule is on. `unknown_version` has nothing to judge where the plan lists no versions.
    #[must_use]
    pub fn has(&self, rule: HealthRule) -> bool {
        match rule {
            HealthRule::NoPredictions => self.no_predictions.is_some(),
            HealthRule::NoTruth => self.no_truth.is_some(),
            HealthRule::Coverage => self.coverage.is_some(),
            HealthRule::Delay => self.delay.is_some(),
            HealthRule::Rejections => self.rejections.is_some(),
            HealthRule::StaleSource => self.stale_source.is_some(),
            HealthRule::Schema => self.schema.is_some(),
            HealthRule::UnknownVersion => self.unknown_version,
            HealthRule::Contract => self.contract.is_some(),
            HealthRule::Unwatched => self.unwatched.is_some(),
            HealthRule::Replay => self.replay,
        }
    }

    /// No rule at all.
    pub(super) fn off() -> Self {
        Self {
            no_predictions: None,
            no_truth: None,
            coverage: None,
            delay: None,
            rejections: None,
            stale_source: None,
            schema: None,
            unknown_version: false,
            contract: None,
            contract_share: 0.0,
            unwatched: None,
            replay: false,
        }
    }
}

pub(super) fn health(section: Section<'_>) -> Health {
    let health = Health {
        no_predictions: patience(&section, "no_predictions"),
        no_truth: patience(&section, "no_truth"),
        coverage: share(&section, "coverage", 0.10),
        delay: on(&section, "delay").then(|| positive(&section, "delay", section.duration("delay", DAY))),
        rejections: share(&section, "rejections", 0.05),
        stale_source: patience(&section, "stale_source"),
        schema: share(&section, "schema", 0.5),
        unknown_version: section.boolean("unknown_version", true),
        contract: on(&section, "contract").then(|| {
            let words = [("count", Response::Count), ("ticket", Response::Ticket), ("page", Response::Page)];
            section.choice("contract", Response::Count, &words)
        }),
        contract_share: section.number("contract_share").unwrap_or(0.01),
        unwatched: on(&section, "unwatched")
            .then(|| positive(&section, "unwatched", section.duration("unwatched", UNWATCHED_DAYS * DAY))),
        replay: section.boolean("replay", true),
    };
    if !(0.0..1.0).contains(&health.contract_share) {
        section.problem("contract_share", "is no share; write a number from 0 up to 1");
    }
    section.refuse_unknown();
    health
}

/// Whether a rule has not been turned off with `false`.
fn on(section: &Section<'_>, key: &str) -> bool {
    !section.is_false(key)
}

fn patience(section: &Section<'_>, key: &str) -> Option<Patience> {
    let read = |text: &str| match (text, humantime::parse_duration(text)) {
        ("usual", _) => Ok(Patience::Usual),
        (_, Ok(duration)) => Ok(Patience::Fixed(duration)),
        (_, Err(_)) => Err(format!("{text:?} is no duration; write \"usual\", 2h, 3d or false")),
    };
    let patience = on(section, key).then(|| section.parsed(key, Patience::Usual, read))?;
    if let Patience::Fixed(duration) = patience {
        positive(section, key, duration);
    }
    Some(patience)
}

fn positive(section: &Section<'_>, key: &str, duration: Duration) -> Duration {
    if duration < Duration::from_secs(60) {
        section.problem(key, "is too short; write at least 1m, or false to turn the rule off");
    }
    duration
}

fn share(section: &Section<'_>, key: &str, default: f64) -> Option<f64> {
    let share = on(section, key).then(|| section.number(key).unwrap_or(default))?;
    if !(share > 0.0 && share < 1.0) {
        section.problem(key, format!("is {share}; write a share between 0 and 1, or false to turn the rule off"));
    }
    Some(share)
}

/// Whom the daemon tells that it lives, so that its silence is noticed.
#[derive(Clone, Debug, Serialize)]
pub struct Heartbeat {
    /// Where; the whole address is a secret.
    #[serde(flatten)]
    pub address: Address,
    /// By which method.
    pub method: Method,
    /// How often, at most.
    #[serde(serialize_with = "seconds")]
    pub every: Duration,
}

/// A method of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// POST, with an empty body.
    Post,
    /// GET.
    Get,
}

/// Absent when there is no address.
pub(super) fn heartbeat(section: Section<'_>, around: &Surroundings<'_>) -> Option<Heartbeat> {
    let variable = "DOSIMETER_HEARTBEAT_URL";
    let url = secret(&section, "url", variable, around);
    let method = section.choice("method", Method::Post, &[("post", Method::Post), ("get", Method::Get)]);
    let every = section.duration("every", Duration::from_secs(60));
    if every < Duration::from_secs(1) {
        section.problem("every", "is too short; write at least 1s");
    }
    section.refuse_unknown();
    if url.is_none() && section.is_present() {
        section.problem(
            "url",
            format!("is missing; write it here, name a file as url_file, set {variable}, or remove [heartbeat]"),
        );
    }
    let url = url?;
    Some(Heartbeat { address: address(&section, "heartbeat", Some(url), variable), method, every })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Plan, parse};

    fn check(more: &str) -> Result<Plan, Vec<String>> {
        let text = include_str!("../../config/minimal.toml").replacen("[[source]]", &format!("{more}[[source]]"), 1);
        let parsed = parse(&text, std::path::Path::new(""), &|_| None);
        parsed.map(|(plan, _)| plan).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_rule_is_on_unless_it_is_turned_off() {
        let plan = check("").expect("valid");
        assert!(HealthRule::ALL.iter().all(|rule| plan.models[0].health.has(*rule)));
        let off: String = HealthRule::ALL.iter().map(|rule| format!("{} = false\n", rule.as_str())).collect();
        let plan = check(&format!("[model.health]\n{off}\n")).expect("valid");
        assert!(HealthRule::ALL.iter().all(|rule| !plan.models[0].health.has(*rule)));
        let plan = check("[model.health]\nno_predictions = \"2h\"\nno_truth = \"usual\"\n").expect("valid");
        assert_eq!(plan.models[0].health.no_predictions, Some(Patience::Fixed(Duration::from_secs(7200))));
        assert_eq!(plan.models[0].health.no_truth, Some(Patience::Usual));
    }

    #[test]
    fn mistakes_are_told_at_once_with_their_remedy() {
        let problems = check(
            "[model.health]\nno_predictions = \"soon\"\nno_truth = \"1s\"\ncoverage = 3\ndelay = 2\nrejections = true\n\
             unknown_version = \"x\"\nstale = false\n\n[[model.alert]]\nname = \"health/mine\"\nmetric = \"auroc\"\n\
             below = 0.5\n\n[heartbeat]\nevery = \"1ms\"\n",
        )
        .expect_err("many mistakes");
        for wanted in [
            "health.no_predictions: \"soon\" is no duration",
            "health.no_truth: is too short",
            "health.coverage: is 3; write a share",
            "health.delay: is an integer",
            "health.rejections: is a boolean",
            "health.unknown_version: is a string; write true or false",
            "health.stale: is not a key here",
            "alert[1].name: \"health/mine\"",
            "heartbeat.every: is too short",
            "heartbeat.url: is missing",
        ] {
            assert!(problems.iter().any(|problem| problem.contains(wanted)), "{wanted} not in {problems:#?}");
        }
    }

    #[test]
    fn the_address_of_the_heartbeat_is_a_secret() {
        let plan = check("[heartbeat]\nurl = \"https://hc.example/uuid-of-mine\"\n").expect("valid");
        let beat = plan.heartbeat.as_ref().expect("an address");
        assert_eq!((beat.address.origin.as_str(), beat.every), ("https://hc.example", Duration::from_secs(60)));
        assert!(!format!("{plan:?}{}", plan.canonical()).contains("uuid-of-mine"));
    }

    #[test]
    fn the_name_of_an_alert_leads_back_to_its_rule() {
        assert_eq!(HealthRule::NoTruth.alert_name("a/b"), "health/no_truth/a/b");
        assert_eq!(HealthRule::of_alert("health/no_truth/a/b"), Some(HealthRule::NoTruth));
        assert_eq!(HealthRule::of_alert(&HealthRule::Delay.alert_name("")), Some(HealthRule::Delay));
        assert_eq!((HealthRule::of_alert("no_truth"), HealthRule::of_alert("health/x")), (None, None));
    }
}
