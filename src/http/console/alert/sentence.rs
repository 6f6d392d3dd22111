//! What broke, where, since when, how sure, in words: for a person who knows nothing and has ten seconds.

use maud::{Markup, html};

use super::super::frame::Frame;
use super::super::words;
use crate::alert::health;
use crate::config::HealthRule;
use crate::domain::Slice;
use crate::query::account::{Account, Cause, Mix};
use crate::store::alert::{AlertRow, EventRow};

/// Shares of a value that have changed by less than this explain nothing.
const WORTH_TELLING: f64 = 0.2;

/// What the words are made of.
pub(super) struct Told<'a> {
    pub(super) alert: &'a AlertRow,
    pub(super) account: Option<&'a Account>,
    pub(super) events: &'a [EventRow],
}

impl Told<'_> {
    fn place(&self) -> String {
        let slice: Slice = self.alert.slice.parse().unwrap_or_default();
        if slice.is_all() { String::new() } else { format!(" at {}", words::slice(&slice)) }
    }

    /// One sentence of what broke, one of how sure, one of what else is new there.
    pub(super) fn headline(&self) -> Markup {
        let sure = self.sure();
        let moved = self.account.and_then(|account| account.mixes.first()).and_then(|mix| self.moved(mix));
        html! {
            h1.headline { (self.what()) }
            @if let Some(sure) = sure { p.sure { (sure) } }
            @if let Some(moved) = moved { p.moved { (moved) } }
        }
    }

    /// What broke.
    fn what(&self) -> String {
        let AlertRow { model, version, output, .. } = self.alert;
        let Some(account) = self.account else {
            return format!("{} of {model} {version}{}", self.alert.rule, self.place());
        };
        if let Cause::Health(rule) = account.cause {
            return format!("The data of {model} is not whole: {}.", health_words(rule));
        }
        let since = words::date(account.change);
        let metric = account.metric.as_ref().map(|key| key.name.as_str()).unwrap_or_default();
        let before = account.before.metric.as_ref().and_then(|known| known.as_ref().ok()).map(|known| known.value);
        let after = account.after.metric.as_ref().and_then(|known| known.as_ref().ok()).map(|known| known.value);
        let is_drift = matches!(&account.cause, Cause::Watch(watch) if watch.measure.is_drift());
        let place = self.place();
        if is_drift {
            return format!(
                "The scores of {model} for {output}{place} fall otherwise than on the reference since {since}."
            );
        }
        let falls = before.zip(after).map(|(before, after)| after < before);
        match (metric, falls) {
            ("auroc" | "average_precision" | "multiclass_accuracy", Some(true)) => {
                format!("{model} recognises {output} worse{place} since {since}.")
            }
            ("auroc" | "average_precision" | "multiclass_accuracy", Some(false)) => {
                format!("{model} has recognised {output} worse{place}; since {since} it is no worse than before.")
            }
            ("sensitivity", Some(true)) => format!("{model} misses {output} more often{place} since {since}."),
            ("specificity" | "ppv", Some(true)) => {
                format!("{model} raises false alarms of {output} more often{place} since {since}.")
            }
            ("brier" | "log_loss" | "ece" | "mae" | "rmse", Some(false)) => {
                format!("What {model} says of {output} is farther from the truth{place} since {since}.")
            }
            _ => format!("{} of {output}{place} has moved since {since} ({model}).", words_of(metric)),
        }
    }

    /// How sure: the number since the change with its interval, against what it was.
    fn sure(&self) -> Option<String> {
        let account = self.account?;
        if let Cause::Health(_) = account.cause {
            return self.events.last().map(|event| event.reason.clone());
        }
        let metric = words_of(account.metric.as_ref()?.name.as_str());
        let after = match &account.after.metric {
            Some(Ok(estimate)) => words::said(estimate),
            Some(Err(reason)) => return Some(format!("{metric} since then: no number yet, {reason}.")),
            None => return None,
        };
        let before = match &account.before.metric {
            Some(Ok(estimate)) => format!("; {} it was {}", account.before.when(), words::said(estimate)),
            _ => account
                .reference
                .map_or_else(String::new, |value| format!("; on the reference it was {}", words::number(value))),
        };
        Some(format!("{metric} since then is {after}{before}."))
    }

    /// What else is new in the same cases.
    fn moved(&self, mix: &Mix) -> Option<String> {
        if mix.distance() < WORTH_TELLING {
            return None;
        }
        let shares = mix.shares();
        let (gained, lost) = (shares.first()?, shares.last()?);
        let share = |share: f64| words::percent(share);
        let (place, dimension) = (self.place(), &mix.dimension);
        let is_replaced = gained.0 != lost.0 && gained.1 < 0.1 && gained.2 > 0.9;
        let text = if is_replaced {
            format!(
                "In the same cases{place} the {dimension} is now {}: {} of them, {} before. It was {}.",
                gained.0,
                share(gained.2),
                share(gained.1),
                lost.0
            )
        } else {
            format!(
                "In the same cases{place} the mix of {dimension} has changed: {} went from {} to {}, {} from {} to {}.",
                gained.0,
                share(gained.1),
                share(gained.2),
                lost.0,
                share(lost.1),
                share(lost.2)
            )
        };
        Some(text)
    }

    /// The facts in a strip.
    pub(super) fn facts(&self, frame: &Frame) -> Markup {
        let AlertRow { model, version, output, slice, .. } = self.alert;
        let place = [("version", version.as_str()), ("output", output.as_str()), ("slice", slice.as_str())];
        let chance = self.account.and_then(chance);
        html! {
            dl.facts {
                div { dt { "Where" } dd { a href=(frame.model_link(model, &place)) { (output) ", " (slice) } span.sub { (model) " " (version) } } }
                @if let Some(account) = self.account {
                    div { dt { "Since" } dd { (words::day(account.change)) span.sub { "exams of that day and later" } } }
                }
                div { dt { "Alert since" } dd { (words::time(self.alert.since)) span.sub { (words::ago(self.alert.since, frame.now())) } } }
                @if let Some((words, sub)) = chance { div { dt { "How sure" } dd { (words) span.sub { (sub) } } } }
                @if let Some(limit) = self.account.and_then(|account| account.limit) {
                    div { dt { "Limit" } dd { (words::number(limit.1)) span.sub { "an alert " (limit.0) " it" } } }
                }
                div { dt { "Holds" } dd { @if self.alert.breached { "still" } @else { "no more" } span.sub { "as last judged" } } }
                div { dt { "Taken up" } dd {
                    @match self.alert.acknowledged_at { Some(at) => (words::time(at)), None => { "by nobody" } }
                } }
            }
        }
    }
}

/// How sure it is, and what that means.
fn chance(account: &Account) -> Option<(String, String)> {
    let last = account.evidence.as_ref().and_then(|evidence| evidence.days.last());
    match &account.cause {
        Cause::Watch(_) => last.map(|last| {
            let times = last.evidence / last.threshold;
            (
                format!("evidence {}", words::number(last.evidence)),
                format!(
                    "the alarm is at {}; it stands at {} times that",
                    words::number(last.threshold),
                    words::number(times)
                ),
            )
        }),
        Cause::Rule(rule) => {
            let whole = matches!(rule.bound, crate::config::BoundRule::Interval);
            let words =
                if whole { "the whole 95\u{a0}% interval is past the limit" } else { "the value is past the limit" };
            let alarm = account.evidence.as_ref().and_then(|evidence| evidence.days.iter().find(|day| day.alarms));
            let beside = alarm.map_or_else(
                || "a fixed limit states no rate of false alarms".to_owned(),
                |alarm| {
                    format!(
                        "and the evidence passed the alarm of {} on {}",
                        words::number(alarm.threshold),
                        words::day(alarm.day)
                    )
                },
            );
            Some((words.to_owned(), beside))
        }
        Cause::Health(_) | Cause::Gone => None,
    }
}

/// A metric as people say it.
fn words_of(metric: &str) -> String {
    match metric {
        "auroc" => "AUROC".to_owned(),
        "mae" => "The mean error".to_owned(),
        "ece" | "brier" | "ppv" | "npv" => metric.to_uppercase(),
        other => {
            let mut words = other.replace('_', " ");
            if let Some(first) = words.get_mut(0..1) {
                first.make_ascii_uppercase();
            }
            words
        }
    }
}

fn health_words(rule: HealthRule) -> String {
    rule.alert_name("").trim_start_matches("health/").trim_end_matches('/').replace('_', " ")
}

/// Where to look, and what to do about data that is not whole.
pub(super) fn remedy(rule: HealthRule) -> Markup {
    let (look, remedy) = health::advice(rule);
    html! {
        dl.facts.wide {
            div { dt { "Look at" } dd { (look) } }
            div { dt { "Remedy" } dd { (remedy) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_in_the_same_cases_is_told_when_it_is_much() {
        let at = "2025-03-27T00:00:00Z".parse().expect("an instant");
        let alert = AlertRow {
            alert_id: 7,
            rule: "area-by-site".into(),
            model: "chest-xray".into(),
            version: "2.1".into(),
            output: "effusion".into(),
            slice: "site=south".into(),
            severity: "page".into(),
            state: "firing".into(),
            breached: true,
            since: at,
            fired_at: Some(at),
            acknowledged_at: None,
            told_at: Some(at),
            escalation: 0,
            muted_by: None,
            muted_until: None,
            closed_at: None,
        };
        let told = Told { alert: &alert, account: None, events: &[] };
        let mix =
            |a: u64, b: u64| Mix { dimension: "vendor".into(), values: vec![("B".into(), 0, b), ("A".into(), 500, a)] };
        assert_eq!(
            told.moved(&mix(0, 400)).as_deref(),
            Some("In the same cases at site south the vendor is now B: 100\u{a0}% of them, 0\u{a0}% before. It was A.")
        );
        assert_eq!(
            told.moved(&mix(300, 200)).as_deref(),
            Some(
                "In the same cases at site south the mix of vendor has changed: B went from 0\u{a0}% to 40\u{a0}%, A from 100\u{a0}% to \
                 60\u{a0}%."
            )
        );
        assert_eq!(told.moved(&mix(400, 20)), None, "a little is no news");
    }
}
