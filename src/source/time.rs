//! Instants as files write them.

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, SubsecRound, TimeZone, Utc};
use chrono_tz::Tz;

use crate::config::TimeFormat;

/// Parse an instant, in whole microseconds. Times without a zone are in `zone`; where clocks are set back the earlier of the
/// two instants is meant.
///
/// # Errors
/// What is wrong with the text and what would be right.
pub fn parse(text: &str, format: &TimeFormat, zone: Tz) -> Result<DateTime<Utc>, String> {
    let instant = match format {
        TimeFormat::UnixSeconds => unix(text, 1e6),
        TimeFormat::UnixMilliseconds => unix(text, 1e3),
        TimeFormat::Auto => auto(text, zone),
        TimeFormat::Pattern(pattern) => pattern_of(text, pattern, zone),
    }?;
    Ok(instant.trunc_subsecs(6))
}

#[allow(clippy::cast_possible_truncation, reason = "checked against the range of instants")]
fn unix(text: &str, micros: f64) -> Result<DateTime<Utc>, String> {
    let wrong = || format!("{text:?} is no number of seconds or milliseconds since 1970");
    if let Ok(whole) = text.parse::<i64>() {
        // A whole number goes without a float: every microsecond counts.
        let factor = if micros > 1e4 { 1_000_000 } else { 1000 };
        return whole.checked_mul(factor).and_then(DateTime::from_timestamp_micros).ok_or_else(wrong);
    }
    let number = text.parse::<f64>().ok().filter(|n| n.is_finite() && n.abs() * micros < 9e18).ok_or_else(wrong)?;
    DateTime::from_timestamp_micros((number * micros).round() as i64).ok_or_else(wrong)
}

fn auto(text: &str, zone: Tz) -> Result<DateTime<Utc>, String> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Ok(instant.to_utc());
    }
    if let Ok(instant) = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z") {
        return Ok(instant.to_utc());
    }
    let patterns = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    let naive = patterns.iter().find_map(|pattern| NaiveDateTime::parse_from_str(text, pattern).ok());
    match naive.or_else(|| Some(text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN))) {
        Some(naive) => in_zone(naive, zone),
        None => Err(format!(
            "{text:?} is no time that we know; write 2025-03-01T12:00:00Z, or set the source's time_format"
        )),
    }
}

fn pattern_of(text: &str, pattern: &str, zone: Tz) -> Result<DateTime<Utc>, String> {
    if let Ok(instant) = DateTime::parse_from_str(text, pattern) {
        return Ok(instant.to_utc());
    }
    let naive = NaiveDateTime::parse_from_str(text, pattern)
        .or_else(|_| NaiveDate::parse_from_str(text, pattern).map(|date| date.and_time(NaiveTime::MIN)))
        .map_err(|_| format!("{text:?} does not match the source's time_format {pattern:?}"))?;
    in_zone(naive, zone)
}

fn in_zone(naive: NaiveDateTime, zone: Tz) -> Result<DateTime<Utc>, String> {
    match zone.from_local_datetime(&naive) {
        LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => Ok(instant.to_utc()),
        LocalResult::None => Err(format!("{naive} does not exist in {zone}: the clocks were set forward over it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(text: &str) -> Result<String, String> {
        parse(text, &TimeFormat::Auto, chrono_tz::Europe::Berlin).map(|at| at.to_rfc3339())
    }

    #[test]
    fn times_without_a_zone_are_in_the_sources_zone() {
        assert_eq!(auto("2025-07-01 12:00:00"), Ok("2025-07-01T10:00:00+00:00".into()));
        assert_eq!(auto("2025-07-01T12:00:00Z"), Ok("2025-07-01T12:00:00+00:00".into()));
        assert_eq!(auto("2025-01-01"), Ok("2024-12-31T23:00:00+00:00".into()));
    }

    #[test]
    fn the_hour_that_is_skipped_does_not_exist() {
        assert!(auto("2025-03-30 02:30:00").expect_err("skipped").contains("set forward"));
        assert_eq!(auto("2025-10-26 02:30:00"), Ok("2025-10-26T00:30:00+00:00".into()));
    }

    #[test]
    fn unix_times_keep_their_microseconds() {
        let at = parse("1735689600.25", &TimeFormat::UnixSeconds, chrono_tz::UTC).expect("a time");
        assert_eq!(at.timestamp_micros(), 1_735_689_600_250_000);
        let at = parse("1735689600250", &TimeFormat::UnixMilliseconds, chrono_tz::UTC).expect("a time");
        assert_eq!(at.timestamp_micros(), 1_735_689_600_250_000);
        assert!(parse("1e300", &TimeFormat::UnixSeconds, chrono_tz::UTC).is_err());
    }

    #[test]
    fn a_pattern_reads_what_it_says() {
        let pattern = TimeFormat::Pattern("%d.%m.%Y %H:%M".into());
        assert!(parse("01.02.2025 13:45", &pattern, chrono_tz::UTC).is_ok());
        assert!(parse("2025-02-01", &pattern, chrono_tz::UTC).expect_err("another format").contains("%d.%m.%Y"));
    }
}
