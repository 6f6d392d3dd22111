//! Silences: what a person does not want to be told for a while, and what else keeps an alert from being told.
//!
//! A silence matches exactly or by `*`, never by pattern: whoever reads it sees what it covers.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::config::Maintenance;
use crate::domain::window::show_instant;

/// What an alert is about, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The model.
    pub model: &'a str,
    /// The version.
    pub version: &'a str,
    /// The rule or watch.
    pub rule: &'a str,
    /// The output.
    pub output: &'a str,
    /// The slice in canonical form.
    pub slice: &'a str,
}

/// What a silence covers: a name, or `*` for any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matcher {
    /// The model.
    pub model: String,
    /// The version.
    pub version: String,
    /// The rule or watch.
    pub rule: String,
    /// The output.
    pub output: String,
    /// The slice in canonical form.
    pub slice: String,
}

/// What stands for any name.
pub const ANY: &str = "*";

impl Matcher {
    /// Exactly this subject.
    #[must_use]
    pub fn exactly(subject: Subject<'_>) -> Self {
        let Subject { model, version, rule, output, slice } = subject;
        let [model, version, rule, output, slice] = [model, version, rule, output, slice].map(str::to_owned);
        Self { model, version, rule, output, slice }
    }

    /// Whether it covers a subject.
    #[must_use]
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        let matches = |own: &str, name: &str| own == ANY || own == name;
        matches(&self.model, subject.model)
            && matches(&self.version, subject.version)
            && matches(&self.rule, subject.rule)
            && matches(&self.output, subject.output)
            && matches(&self.slice, subject.slice)
    }

    /// Whether it covers everything, which no silence may.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        [&self.model, &self.version, &self.rule, &self.output, &self.slice].iter().all(|own| *own == ANY)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, version, rule, output, slice } = self;
        write!(f, "model {model}, version {version}, rule {rule}, output {output}, slice {slice}")
    }
}

/// A silence that may be in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Its number.
    pub silence_id: i64,
    /// What it covers.
    pub matcher: Matcher,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// When it ends.
    pub ends_at: DateTime<Utc>,
}

/// Why a silence cannot be made.
///
/// # Errors
/// What is wrong with it, and the remedy.
pub fn check(
    matcher: &Matcher,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    longest: Duration,
    now: DateTime<Utc>,
) -> Result<(), String> {
    if matcher.is_everything() {
        return Err("a silence of everything would hide every failure; name at least a model".to_owned());
    }
    if ends_at <= starts_at || ends_at <= now {
        return Err("the silence would be over before it begins; let it end later".to_owned());
    }
    if (ends_at - starts_at).to_std().unwrap_or_default() > longest {
        let longest = crate::domain::window::show_span(longest);
        return Err(format!("the silence is longer than {longest}; shorten it, or raise alerting.longest_silence"));
    }
    Ok(())
}

/// What keeps people from being told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mute {
    /// A person has silenced it, up to an instant.
    Silence(i64, DateTime<Utc>),
    /// It is in a maintenance window, up to an instant.
    Maintenance(String, DateTime<Utc>),
    /// An alert of a wider slice says the same, and people know of it.
    Inhibited(i64),
}

impl Mute {
    /// The words for alerts that something keeps quiet.
    pub const WORDS: [&'static str; 2] = ["silenced", "inhibited"];

    /// What mutes, as the store keeps it: `silence 4`, `maintenance patches`, `alert 17`.
    #[must_use]
    pub fn by(&self) -> String {
        match self {
            Self::Silence(id, _) => format!("silence {id}"),
            Self::Maintenance(name, _) => format!("maintenance {name}"),
            Self::Inhibited(id) => format!("alert {id}"),
        }
    }

    /// When it ends by itself.
    #[must_use]
    pub fn until(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Silence(_, until) | Self::Maintenance(_, until) => Some(*until),
            Self::Inhibited(_) => None,
        }
    }

    /// What the store keeps, read again.
    #[must_use]
    pub fn parse(by: &str, until: Option<DateTime<Utc>>) -> Option<Self> {
        match (by.split_once(' ')?, until) {
            (("silence", id), Some(until)) => Some(Self::Silence(id.parse().ok()?, until)),
            (("maintenance", name), Some(until)) => Some(Self::Maintenance(name.to_owned(), until)),
            (("alert", id), None) => Some(Self::Inhibited(id.parse().ok()?)),
            _ => None,
        }
    }

    /// The word for an alert that it keeps quiet.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Silence(..) | Self::Maintenance(..) => Self::WORDS[0],
            Self::Inhibited(_) => Self::WORDS[1],
        }
    }
}

impl fmt::Display for Mute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence(id, until) => write!(f, "silenced by silence {id} until {}", show_instant(*until)),
            Self::Maintenance(name, until) => {
                write!(f, "silenced by maintenance {name:?} until {}", show_instant(*until))
            }
            Self::Inhibited(id) => write!(f, "inhibited by alert {id}"),
        }
    }
}

/// The silence or maintenance window that keeps a subject quiet now: the one that ends last, so that one end is the end.
#[must_use]
pub fn muted(
    subject: &Subject<'_>,
    silences: &[Silence],
    maintenance: &[Maintenance],
    now: DateTime<Utc>,
) -> Option<Mute> {
    let silences = silences
        .iter()
        .filter(|silence| silence.starts_at <= now && now < silence.ends_at && silence.matcher.matches(subject))
        .map(|silence| Mute::Silence(silence.silence_id, silence.ends_at));
    let windows = maintenance
        .iter()
        .filter(|window| window.covers(subject.model, subject.slice))
        .filter_map(|window| Some(Mute::Maintenance(window.name.clone(), window.open_until(now)?)));
    silences.chain(windows).max_by_key(Mute::until)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: Subject<'static> =
        Subject { model: "chest", version: "1", rule: "auroc", output: "effusion", slice: "site=north" };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a valid instant")
    }

    fn any() -> Matcher {
        let [model, version, rule, output, slice] = [ANY; 5].map(str::to_owned);
        Matcher { model, version, rule, output, slice }
    }

    #[test]
    fn a_silence_matches_exactly_or_by_a_star() {
        assert!(any().matches(&SUBJECT) && any().is_everything());
        assert!(Matcher::exactly(SUBJECT).matches(&SUBJECT));
        for other in [
            Subject { model: "knee", ..SUBJECT },
            Subject { version: "2", ..SUBJECT },
            Subject { rule: "ece", ..SUBJECT },
            Subject { output: "nodule", ..SUBJECT },
            Subject { slice: "all", ..SUBJECT },
        ] {
            assert!(!Matcher::exactly(SUBJECT).matches(&other), "{other:?}");
        }
        let star = Matcher { slice: ANY.into(), ..Matcher::exactly(SUBJECT) };
        assert!(star.matches(&Subject { slice: "all", ..SUBJECT }) && !star.is_everything());
    }

    #[test]
    fn of_several_silences_the_one_that_ends_last_counts() {
        let silence = |silence_id, from, to| Silence {
            silence_id,
            matcher: Matcher::exactly(SUBJECT),
            starts_at: at(from),
            ends_at: at(to),
        };
        let silences = [silence(1, 0, 10), silence(2, 5, 30), silence(3, 0, 20)];
        let by = |now| muted(&SUBJECT, &silences, &[], at(now)).map(|mute| mute.by());
        assert_eq!(by(0).as_deref(), Some("silence 3"));
        assert_eq!(by(5).as_deref(), Some("silence 2"));
        assert_eq!(by(29).as_deref(), Some("silence 2"));
        assert_eq!(by(30), None, "half-open");
    }

    #[test]
    fn what_mutes_is_stored_and_read_again() {
        for mute in [Mute::Silence(4, at(9)), Mute::Maintenance("patch day".into(), at(9)), Mute::Inhibited(17)] {
            assert_eq!(Mute::parse(&mute.by(), mute.until()), Some(mute));
        }
        assert_eq!(Mute::parse("somebody", None), None);
    }

    #[test]
    fn a_silence_that_hides_too_much_is_refused() {
        let hour = Duration::from_secs(3600);
        let refused = |matcher: &Matcher, ends: i64, now: i64| {
            check(matcher, at(0), at(ends), hour, at(now)).expect_err("refused")
        };
        assert!(refused(&any(), 60, 0).contains("everything"));
        assert!(refused(&Matcher::exactly(SUBJECT), 0, 0).contains("over before it begins"));
        assert!(refused(&Matcher::exactly(SUBJECT), 60, 60).contains("over before it begins"));
        assert!(refused(&Matcher::exactly(SUBJECT), 3601, 0).contains("longer than 1h"));
        assert_eq!(check(&Matcher::exactly(SUBJECT), at(0), at(3600), hour, at(0)), Ok(()));
    }
}
