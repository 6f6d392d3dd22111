//! When people are told again, who is told when nobody answers, and when nobody is told: repeats, escalation, maintenance.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc, Weekday};
use chrono_tz::Tz;
use serde::Serialize;

use super::model::Model;
use super::reader::Section;
use super::rule::Severity;
use super::seconds;
use crate::domain::Slice;
use crate::domain::window::{parse_instant, show_instant};

const DAY: Duration = Duration::from_secs(86_400);

/// How often people are told of what lasts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alerting {
    /// An unacknowledged page is told again after this; zero: never.
    #[serde(serialize_with = "seconds")]
    pub repeat_page: Duration,
    /// An unacknowledged ticket is.
    #[serde(serialize_with = "seconds")]
    pub repeat_ticket: Duration,
    /// An acknowledgement ends after this, and people are told again; zero: never.
    #[serde(serialize_with = "seconds")]
    pub acknowledged_for: Duration,
    /// An alert whose subject is gone for so long expires; zero: never.
    #[serde(serialize_with = "seconds")]
    pub expire_after: Duration,
    /// A silence lasts so long at most.
    #[serde(serialize_with = "seconds")]
    pub longest_silence: Duration,
    /// Who is told as well while nobody acknowledges, the soonest first.
    pub escalations: Vec<Escalation>,
}

/// One step of an escalation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Escalation {
    /// How long nobody has acknowledged what people were told.
    #[serde(serialize_with = "seconds")]
    pub after: Duration,
    /// Who is told then, besides those who were told before.
    pub to: Vec<String>,
}

impl Alerting {
    /// After how long people are told again.
    #[must_use]
    pub fn repeat(&self, severity: Severity) -> Duration {
        match severity {
            Severity::Page => self.repeat_page,
            Severity::Ticket => self.repeat_ticket,
        }
    }

    /// The level of an escalation after so long without an acknowledgement; 0: none yet.
    #[must_use]
    pub fn level(&self, unanswered: Duration) -> i32 {
        let reached = self.escalations.iter().filter(|step| step.after <= unanswered).count();
        i32::try_from(reached).unwrap_or(i32::MAX)
    }
}

/// A time in which nobody is told, known in advance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Maintenance {
    /// Its name.
    pub name: String,
    /// Models that it covers; all when empty.
    pub models: Vec<String>,
    /// Slices that it covers; all when empty.
    #[serde(serialize_with = "slices")]
    pub slices: Vec<Slice>,
    /// When.
    pub times: Times,
}

/// When a maintenance window is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Times {
    /// Once, from an instant up to another.
    Once(DateTime<Utc>, DateTime<Utc>),
    /// On days of the week, by the clocks of a time zone.
    Weekly {
        /// The days on which it begins, from Monday = 0.
        days: Vec<u8>,
        /// When it begins.
        from: NaiveTime,
        /// When it ends; on the next day unless later than `from`.
        until: NaiveTime,
        /// Whose clocks.
        zone: String,
    },
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Once(from, until) => write!(f, "{} to {}", show_instant(*from), show_instant(*until)),
            Self::Weekly { days, from, until, zone } => {
                const WORDS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
                let days: Vec<&str> = days.iter().filter_map(|day| WORDS.get(usize::from(*day)).copied()).collect();
                write!(f, "{} {} to {} {zone}", days.join(", "), from.format("%H:%M"), until.format("%H:%M"))
            }
        }
    }
}

impl Maintenance {
    /// Whether it covers a model's slice.
    #[must_use]
    pub fn covers(&self, model: &str, slice: &str) -> bool {
        let has_model = self.models.is_empty() || self.models.iter().any(|name| name == model);
        has_model && (self.slices.is_empty() || self.slices.iter().any(|own| own.to_string() == slice))
    }

    /// When the window ends that is open at an instant; `None` when none is.
    #[must_use]
    pub fn open_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.times {
            Times::Once(from, until) => (*from <= now && now < *until).then_some(*until),
            Times::Weekly { days, from, until, zone } => {
                let zone: Tz = zone.parse().ok()?;
                let today = now.with_timezone(&zone).date_naive();
                // A window that began yesterday may still be open.
                [today.pred_opt()?, today].into_iter().find_map(|day| {
                    let weekday = u8::try_from(day.weekday().num_days_from_monday()).unwrap_or_default();
                    let end = if until > from { day } else { day.succ_opt()? };
                    let open = instant(zone, day, *from)?..instant(zone, end, *until)?;
                    (days.contains(&weekday) && open.contains(&now)).then_some(open.end)
                })
            }
        }
    }
}

/// The instant of a wall clock's time; a time that the clocks leave out is an hour later, one that they show twice is the first.
fn instant(zone: Tz, day: NaiveDate, time: NaiveTime) -> Option<DateTime<Utc>> {
    let wall: NaiveDateTime = day.and_time(time);
    let found = zone.from_local_datetime(&wall).earliest();
    let found = found.or_else(|| zone.from_local_datetime(&(wall + TimeDelta::hours(1))).earliest());
    found.map(|local| local.with_timezone(&Utc))
}

fn slices<S: serde::Serializer>(slices: &[Slice], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(slices.iter().map(ToString::to_string))
}

pub(super) fn alerting(section: Section<'_>) -> Alerting {
    let escalations: Vec<Escalation> = section.sections("escalation").into_iter().map(escalation).collect();
    if escalations.windows(2).any(|pair| pair[0].after >= pair[1].after) {
        section.problem(
            "escalation",
            "the steps are out of order; the soonest stands first, and each is later than the last",
        );
    }
    let alerting = Alerting {
        repeat_page: section.duration("repeat_page", DAY),
        repeat_ticket: section.duration("repeat_ticket", 7 * DAY),
        acknowledged_for: section.duration("acknowledged_for", 7 * DAY),
        expire_after: section.duration("expire_after", 14 * DAY),
        longest_silence: section.duration("longest_silence", 30 * DAY),
        escalations,
    };
    if alerting.longest_silence.is_zero() {
        section.problem("longest_silence", "is zero, so that nothing could be silenced; write 30d");
    }
    section.refuse_unknown();
    alerting
}

fn escalation(section: Section<'_>) -> Escalation {
    let escalation =
        Escalation { after: section.duration("after", Duration::ZERO), to: section.strings("to").unwrap_or_default() };
    if escalation.after.is_zero() {
        section.problem("after", "is missing or zero; write how long nobody has acknowledged, as in 2h");
    }
    if escalation.to.is_empty() {
        section.problem("to", "is missing or empty; list who is told then, as in [\"head@hospital.example\"]");
    }
    for address in escalation.to.iter().filter(|address| address.parse::<lettre::message::Mailbox>().is_err()) {
        section.problem("to", format!("{address:?} is no email address"));
    }
    section.refuse_unknown();
    escalation
}

pub(super) fn maintenance(section: Section<'_>, models: &[Model]) -> Maintenance {
    let name = section.required_string("name", "name the window; the alerts' history shows it");
    let covered = section.strings("models").unwrap_or_default();
    for model in covered.iter().filter(|name| models.iter().all(|model| model.name != **name)) {
        section.problem("models", format!("{model:?} is no model of this configuration"));
    }
    let slices = section
        .strings("slices")
        .unwrap_or_default()
        .into_iter()
        .filter_map(|text| text.parse::<Slice>().map_err(|problem| section.problem("slices", problem)).ok());
    let slices = slices.collect();
    let days = section.strings("days");
    let (from, until) = (section.string("from"), section.string("until"));
    let zone = section.string("time_zone");
    if days.is_none() && zone.is_some() {
        section.problem("time_zone", "has no meaning without days; write the zone into from and until");
    }
    let (from, until) = (from.as_deref(), until.as_deref());
    let times = match &days {
        Some(days) => weekly(&section, days, from, until, zone),
        None => once(&section, from, until),
    };
    section.refuse_unknown();
    Maintenance { name, models: covered, slices, times }
}

fn weekly(
    section: &Section<'_>,
    days: &[String],
    from: Option<&str>,
    until: Option<&str>,
    zone: Option<String>,
) -> Times {
    let day = |word: &String| {
        let day = word.parse::<Weekday>().ok().and_then(|day| u8::try_from(day.num_days_from_monday()).ok());
        if day.is_none() {
            section.problem("days", format!("{word:?} is no day; write mon, tue, wed, thu, fri, sat, sun"));
        }
        day
    };
    if days.is_empty() {
        section.problem("days", "is empty; list the days on which the window begins, as in [\"sun\"]");
    }
    let time = |key: &str, text: Option<&str>| {
        let parsed = text.and_then(|text| NaiveTime::parse_from_str(text, "%H:%M").ok());
        if parsed.is_none() {
            section.problem(key, "with days, a window is from one time of day until another; write 22:00");
        }
        parsed.unwrap_or_default()
    };
    let zone = zone.unwrap_or_else(|| "UTC".to_owned());
    if zone.parse::<Tz>().is_err() {
        section.problem("time_zone", format!("{zone:?} is no time zone; write one such as Europe/Berlin"));
    }
    Times::Weekly {
        days: days.iter().filter_map(day).collect(),
        from: time("from", from),
        until: time("until", until),
        zone,
    }
}

fn once(section: &Section<'_>, from: Option<&str>, until: Option<&str>) -> Times {
    let at = |key: &str, text: Option<&str>| {
        let parsed =
            text.ok_or_else(|| "is missing; write an instant such as 2026-03-01T20:00:00Z, or list days".to_owned());
        parsed.and_then(parse_instant).map_err(|problem| section.problem(key, problem)).ok()
    };
    let (from, until) = (at("from", from), at("until", until));
    if let (Some(from), Some(until)) = (from, until)
        && until <= from
    {
        section.problem("until", "is not after from");
    }
    Times::Once(from.unwrap_or_default(), until.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weekly(days: &[u8], from: &str, until: &str, zone: &str) -> Maintenance {
        let time = |text: &str| NaiveTime::parse_from_str(text, "%H:%M").expect("a time");
        Maintenance {
            name: "patches".into(),
            models: vec!["chest".into()],
            slices: vec![],
            times: Times::Weekly { days: days.to_vec(), from: time(from), until: time(until), zone: zone.into() },
        }
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        // 2 March 2025 is a Sunday; Berlin is an hour ahead.
        let window = weekly(&[6], "22:00", "04:00", "Europe/Berlin");
        assert_eq!(window.open_until(at("2025-03-02T20:59:59Z")), None);
        assert_eq!(window.open_until(at("2025-03-02T21:00:00Z")), Some(at("2025-03-03T03:00:00Z")));
        assert_eq!(window.open_until(at("2025-03-03T02:59:59Z")), Some(at("2025-03-03T03:00:00Z")));
        assert_eq!(window.open_until(at("2025-03-03T03:00:00Z")), None);
        assert_eq!(window.open_until(at("2025-03-03T21:30:00Z")), None, "Monday is none of its days");
    }

    #[test]
    fn a_window_follows_the_clocks_through_their_change() {
        // At 02:00 on 30 March 2025 the clocks of Berlin go to 03:00: a window until 02:30 ends at 03:30 summer time.
        let window = weekly(&[6], "01:00", "02:30", "Europe/Berlin");
        assert_eq!(window.open_until(at("2025-03-30T00:00:00Z")), Some(at("2025-03-30T01:30:00Z")));
        let whole_day = weekly(&[6], "00:00", "00:00", "Europe/Berlin");
        assert_eq!(whole_day.open_until(at("2025-03-30T12:00:00Z")), Some(at("2025-03-30T22:00:00Z")));
    }

    #[test]
    fn times_are_shown_as_people_say_them() {
        let window = weekly(&[5, 6], "22:00", "04:00", "Europe/Berlin");
        assert_eq!(window.times.to_string(), "sat, sun 22:00 to 04:00 Europe/Berlin");
        let once = Times::Once(at("2026-03-01T00:00:00Z"), at("2026-03-02T06:00:00Z"));
        assert_eq!(once.to_string(), "2026-03-01 to 2026-03-02T06:00:00Z");
    }

    #[test]
    fn a_window_covers_its_models_and_slices_alone() {
        let mut window = weekly(&[6], "00:00", "00:00", "UTC");
        assert!(window.covers("chest", "site=north") && !window.covers("knee", "all"));
        window.slices = vec![Slice::cell("site", "north")];
        assert!(window.covers("chest", "site=north") && !window.covers("chest", "all"));
    }

    #[test]
    fn escalation_has_levels() {
        let hour = Duration::from_secs(3600);
        let step = |hours: u32| Escalation { after: hour * hours, to: vec!["a@b".into()] };
        let alerting = Alerting {
            repeat_page: DAY,
            repeat_ticket: DAY,
            acknowledged_for: DAY,
            expire_after: DAY,
            longest_silence: DAY,
            escalations: vec![step(2), step(8)],
        };
        assert_eq!([1, 2, 7, 8, 99].map(|hours| alerting.level(hour * hours)), [0, 1, 1, 2, 2]);
    }
}
