//! How numbers, states and places read on every page. A number comes with its interval and its n; what has none says why.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

pub(super) use crate::alert::report::rounded;
use crate::domain::{Estimate, Outcome, Slice};

/// An instant to the minute.
pub(super) fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}

/// A day.
pub(super) fn day(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d").to_string()
}

/// A day as people say it.
pub(super) fn date(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y").to_string()
}

/// An instant for people and programs.
pub(super) fn time(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(at.to_rfc3339()) { (minute(at)) } }
}

/// How long ago something was.
pub(super) fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let span = now - at;
    match (span.num_minutes(), span.num_hours(), span.num_days()) {
        (minutes, ..) if minutes < 1 => "now".to_owned(),
        (minutes, ..) if minutes < 90 => format!("{minutes} min ago"),
        (_, hours, _) if hours < 48 => format!("{hours} h ago"),
        (.., days) => format!("{days} d ago"),
    }
}

/// A number with as many digits as its size asks for.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if (2.0..1e15).contains(&size) && value.fract() == 0.0 => {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number below 1e15")]
            let whole = count(size as u64);
            if value < 0.0 { format!("-{whole}") } else { whole }
        }
        size if size >= 10_000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 10.0 => format!("{value:.2}"),
        size if size > 0.0 && size < 0.001 => format!("{value:.1e}"),
        _ => format!("{value:.3}"),
    }
}

/// A count with its thousands apart.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A difference with its sign and so many digits after the point; one that they do not show has no sign.
pub(super) fn difference(value: f64, digits: usize) -> String {
    let text = format!("{value:+.digits$}");
    if text.contains(|c: char| matches!(c, '1'..='9')) { text } else { text.trim_start_matches(['+', '-']).to_owned() }
}

/// A share in per cent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0}\u{a0}%", 100.0 * share)
}

/// An estimate: value, interval, n.
pub(super) fn estimate(estimate: &Estimate) -> Markup {
    html! {
        span.number {
            b { (number(estimate.value)) }
            @if let Some(interval) = &estimate.interval {
                " " span.interval title=(format!("95 % interval, {}", interval.method)) {
                    (number(interval.lower))
                    // After a minus a dash would be one more.
                    @if interval.lower < 0.0 { " to " } @else { "\u{2013}" }
                    (number(interval.upper))
                }
            }
            " " span.n { "n\u{a0}" (count(estimate.n)) }
        }
    }
}

/// An estimate, or why there is none.
pub(super) fn outcome(outcome: Option<&Outcome>) -> Markup {
    match outcome {
        Some(Ok(known)) => estimate(known),
        Some(Err(reason)) => html! { span.undefined { (reason) } },
        None => html! { span.undefined { "not computed" } },
    }
}

/// An estimate in a sentence.
pub(super) fn said(estimate: &Estimate) -> String {
    let interval = estimate.interval.as_ref();
    let interval = interval.map_or_else(String::new, |interval| {
        format!("95\u{a0}% interval {} to {}, ", number(interval.lower), number(interval.upper))
    });
    format!("{} ({interval}{} cases)", number(estimate.value), count(estimate.n))
}

/// How bad something is. Each has a shape and a word besides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grade {
    Bad,
    Warning,
    Taken,
    Unknown,
    Well,
    Closed,
}

impl Grade {
    fn shape(self) -> &'static str {
        match self {
            Self::Bad => "\u{25b2}",
            Self::Warning => "\u{25c6}",
            Self::Taken => "\u{25d0}",
            Self::Unknown => "\u{25cc}",
            Self::Well => "\u{25cf}",
            Self::Closed => "\u{25cb}",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Bad => "state bad",
            Self::Warning => "state warning",
            Self::Taken => "state taken",
            Self::Unknown => "state unknown",
            Self::Well => "state well",
            Self::Closed => "state closed",
        }
    }

    /// The grade of an alert's state.
    pub(super) fn of(state: &str, severity: &str) -> Self {
        match (state, severity) {
            ("firing", "page") => Self::Bad,
            ("firing" | "pending", _) => Self::Warning,
            ("acknowledged" | "silenced" | "inhibited", _) => Self::Taken,
            _ => Self::Closed,
        }
    }
}

/// A state.
pub(super) fn state(grade: Grade, word: &str) -> Markup {
    html! { span class=(grade.class()) { span.shape aria-hidden="true" { (grade.shape()) } (word) } }
}

/// A slice as people say it.
pub(super) fn slice(slice: &Slice) -> String {
    if slice.is_all() {
        return "all cases".to_owned();
    }
    slice.cells().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

/// A table of rows that are wider than a telephone.
pub(super) fn scrolling(label: &str, table: &Markup) -> Markup {
    html! { div.scroll tabindex="0" role="region" aria-label=(label) { (table) } }
}

/// What stands where there is nothing.
pub(super) fn nothing(why: &str) -> Markup {
    html! { p.nothing { (why) } }
}

/// The page of a problem.
pub(super) fn refusal(title: &str, detail: &str) -> Markup {
    html! {
        section.login {
            h1 { (title) }
            p.problem role="alert" { (detail) }
            p { a href="/console" { "To the fleet" } " · " a href="/console/login" { "Log in" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_their_size_asks_for() {
        assert_eq!(
            [0.63149, 12.3456, 123.456, 12_345.6, 0.0, -0.5].map(number),
            ["0.631", "12.35", "123.5", "12346", "0.000", "-0.500"]
        );
        assert_eq!(number(0.000_123), "1.2e-4");
        assert_eq!([598.0, 72_000.0, -3.0, 1.0].map(number), ["598", "72\u{202f}000", "-3", "1.000"]);
        assert_eq!(
            rounded("auroc 0.6885964912280702 (0.56 to 0.8) of 2025-03-27 in site.2 at 10.0.0.12345"),
            "auroc 0.6886 (0.56 to 0.8) of 2025-03-27 in site.2 at 10.0.0.12345"
        );
        assert_eq!([1, 999, 1000, 1_234_567].map(count), ["1", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
    }

    #[test]
    fn a_difference_that_is_not_seen_has_no_sign() {
        assert_eq!(
            [0.0804, -0.0006, -0.0004, 0.0, -0.0].map(|value| difference(value, 3)),
            ["+0.080", "-0.001", "0.000", "0.000", "0.000"]
        );
    }

    #[test]
    fn an_interval_below_zero_can_be_read() {
        let interval = |lower, upper| crate::domain::estimate::Interval { lower, upper, method: "test".to_owned() };
        let known = |lower, upper| Estimate { interval: Some(interval(lower, upper)), ..Estimate::exact(0.0, 9) };
        assert!(estimate(&known(-0.719, -0.058)).into_string().contains(">-0.719 to -0.058<"));
        assert!(estimate(&known(0.58, 0.719)).into_string().contains(">0.580\u{2013}0.719<"));
    }

    #[test]
    fn a_number_is_never_bare() {
        let bare = estimate(&Estimate::exact(0.5, 1200)).into_string();
        assert!(bare.contains("0.500") && bare.contains("n\u{a0}1\u{202f}200"), "{bare}");
        assert!(outcome(None).into_string().contains("not computed"));
        let reason = Err(crate::domain::Undefined::NoTruth { n: 7 });
        assert!(outcome(Some(&reason)).into_string().contains("none of the 7 predictions has a truth yet"));
    }
}
