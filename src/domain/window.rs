//! Buckets and windows: half-open spans of UTC time.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, SubsecRound, TimeDelta, Timelike, Utc};
use serde::{Deserialize, Serialize};

/// The length of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// One UTC day.
    #[default]
    Day,
    /// One UTC hour.
    Hour,
}

impl Granularity {
    /// The word of the configuration, which is also Postgres's `date_trunc` field.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Hour => "hour",
        }
    }

    /// How long one bucket lasts.
    #[must_use]
    pub fn length(self) -> TimeDelta {
        match self {
            Self::Day => TimeDelta::days(1),
            Self::Hour => TimeDelta::hours(1),
        }
    }

    /// The start of the bucket that holds an instant.
    #[must_use]
    pub fn start_of(self, instant: DateTime<Utc>) -> DateTime<Utc> {
        let hour = match self {
            Self::Day => 0,
            Self::Hour => instant.hour(),
        };
        // unwrap safety: a whole hour of the instant's own day always exists in UTC.
        instant.date_naive().and_hms_opt(hour, 0, 0).unwrap_or_default().and_utc()
    }

    /// Whether an instant is the start of a bucket.
    #[must_use]
    pub fn is_aligned(self, instant: DateTime<Utc>) -> bool {
        self.start_of(instant) == instant
    }
}

/// A half-open span of time `[from, to)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// First instant inside.
    pub from: DateTime<Utc>,
    /// First instant after.
    pub to: DateTime<Utc>,
}

impl Window {
    /// Whether an instant lies in it.
    #[must_use]
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.from <= at && at < self.to
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", show_instant(self.from), show_instant(self.to))
    }
}

/// Which window a question is asked of, relative to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WindowSpec {
    /// The last so many days that are complete.
    RollingDays(u32),
    /// The current calendar month up to the last complete day (the whole month once it has ended).
    Month,
}

impl WindowSpec {
    /// The days that it has at most.
    #[must_use]
    pub fn longest_days(self) -> u32 {
        match self {
            Self::RollingDays(days) => days,
            Self::Month => 31,
        }
    }

    /// The window as it stands at `now`. It ends at the start of the current day: a day that is still running is not in it.
    #[must_use]
    pub fn at(self, now: DateTime<Utc>) -> Window {
        let to = Granularity::Day.start_of(now);
        let from = match self {
            Self::RollingDays(days) => to - TimeDelta::days(i64::from(days)),
            Self::Month => {
                let last_day = to.date_naive() - TimeDelta::days(1);
                // unwrap safety: every month has a first day.
                last_day.with_day(1).unwrap_or(last_day).and_time(NaiveTime::MIN).and_utc()
            }
        };
        Window { from, to }
    }
}

impl fmt::Display for WindowSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RollingDays(days) => write!(f, "{days}d"),
            Self::Month => f.write_str("month"),
        }
    }
}

impl FromStr for WindowSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "month" {
            return Ok(Self::Month);
        }
        let days = text.strip_suffix('d').and_then(|days| days.parse().ok()).filter(|days| (1..=3660).contains(days));
        days.map(Self::RollingDays).ok_or_else(|| format!("{text:?} is no window; write 7d, 30d, ... or month"))
    }
}

impl Serialize for WindowSpec {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A length of time as people read it: `3 days 2h`.
#[must_use]
pub fn show_span(length: std::time::Duration) -> String {
    let whole = humantime::format_duration(length).to_string();
    let apart = |part: &str| {
        let unit = part.trim_start_matches(|c: char| c.is_ascii_digit());
        // Words stand apart from their number, abbreviations do not.
        if unit.len() > 2 { format!("{} {unit}", &part[..part.len() - unit.len()]) } else { part.to_owned() }
    };
    whole.split(' ').map(apart).collect::<Vec<_>>().join(" ")
}

/// An instant as people write it: the date alone when it is midnight.
#[must_use]
pub fn show_instant(instant: DateTime<Utc>) -> String {
    if instant.time() == NaiveTime::MIN {
        instant.format("%Y-%m-%d").to_string()
    } else {
        instant.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string()
    }
}

/// Parse a date or an RFC 3339 instant in whole microseconds; a date alone means its first instant in UTC.
///
/// # Errors
/// When the text is neither.
pub fn parse_instant(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Ok(date.and_time(NaiveTime::MIN).and_utc());
    }
    DateTime::parse_from_rfc3339(text)
        .map(|instant| instant.to_utc().trunc_subsecs(6))
        .map_err(|_| format!("{text:?} is no date (2025-03-01) and no instant (2025-03-01T12:00:00Z)"))
}

/// The first instant of the month that holds `instant`, and of the next.
#[must_use]
pub fn month_of(instant: DateTime<Utc>) -> Window {
    let date = instant.date_naive();
    // unwrap safety: every month has a first day, and the calendar goes on for 260,000 years.
    let first = date.with_day(1).unwrap_or(date);
    let next = first.checked_add_months(Months::new(1)).unwrap_or(NaiveDate::MAX);
    Window { from: first.and_time(NaiveTime::MIN).and_utc(), to: next.and_time(NaiveTime::MIN).and_utc() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        parse_instant(text).expect("a valid instant")
    }

    #[test]
    fn a_rolling_window_ends_with_the_last_complete_day() {
        let window = WindowSpec::RollingDays(7).at(at("2025-03-10T15:00:00Z"));
        assert_eq!(window, Window { from: at("2025-03-03"), to: at("2025-03-10") });
    }

    #[test]
    fn on_the_first_of_a_month_the_month_is_the_one_that_ended() {
        let window = WindowSpec::Month.at(at("2025-03-01T08:00:00Z"));
        assert_eq!(window, Window { from: at("2025-02-01"), to: at("2025-03-01") });
    }

    #[test]
    fn words_of_a_span_stand_apart() {
        let span = |seconds| show_span(std::time::Duration::from_secs(seconds));
        assert_eq!(span(3 * 86_400 + 7200), "3 days 2h");
        assert_eq!((span(86_400), span(900), span(0)), ("1 day".to_owned(), "15m".to_owned(), "0s".to_owned()));
    }

    #[test]
    fn buckets_are_aligned_to_utc() {
        assert_eq!(Granularity::Hour.start_of(at("2025-03-10T15:59:59.5Z")), at("2025-03-10T15:00:00Z"));
        assert!(Granularity::Day.is_aligned(at("2025-03-10")));
        assert!(!Granularity::Day.is_aligned(at("2025-03-10T01:00:00Z")));
    }
}
