//! The last days with how ripe they are, and the alerts that are open now.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Context, StoredEstimate, Version, timestamp};
use crate::alert::State;
use crate::alert::silence::Mute;
use crate::config::HealthRule;
use crate::export::Snapshot;

/// So many days are shown by their age.
const DAYS: i64 = 14;
/// The most alerts that are read.
const MOST_ALERTS: i64 = 10_000;

/// Of each of the last days, how many predictions it has, how many of them have their truth, and whether more is to come.
pub(super) async fn add_days(
    context: &Context,
    snapshot: &mut Snapshot,
    versions: &HashMap<i32, Version>,
    estimates: &[StoredEstimate],
) -> std::result::Result<(), crate::job::Error> {
    let now = context.clock.now();
    let midnight = now.date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
    let delays = slow_delays(estimates);
    for count in context.store.list_days(midnight - TimeDelta::days(DAYS - 1)).await? {
        let Some((version, numbers)) = versions
            .get(&count.version_id)
            .and_then(|version| context.model_of(version).map(|(_, numbers)| (version, numbers)))
        else {
            continue;
        };
        let Some((output, _)) = numbers.quantities.iter().find(|(_, id)| **id == count.output_id) else { continue };
        let age = (midnight - count.day).num_days();
        if !(0..DAYS).contains(&age) {
            continue;
        }
        let age = age.to_string();
        let labels = [("model", version.model.as_str()), ("version", &version.name), ("output", output), ("age", &age)];
        #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
        for (family, value) in [("day_predictions", count.predictions), ("day_labelled", count.labelled)] {
            snapshot.add(family, &labels, value as f64);
        }
        if let Some(delay) = delays.get(&(count.version_id, count.output_id)) {
            let provisional = is_provisional(count.day, *delay, now);
            snapshot.add("day_provisional", &labels, f64::from(u8::from(provisional)));
        }
    }
    Ok(())
}

/// The delay within which 90 % of the labels come, in seconds, by version and output: the greatest over the windows, for
/// recent windows lack their slow labels.
fn slow_delays(estimates: &[StoredEstimate]) -> BTreeMap<(i32, i32), f64> {
    let mut delays: BTreeMap<(i32, i32), f64> = BTreeMap::new();
    for estimate in estimates.iter().filter(|estimate| estimate.slice.is_all()) {
        let found = estimate.metrics.iter().find(|(key, _)| key.name == "label_delay_p90_seconds");
        if let Some((_, Ok(delay))) = found {
            let slowest = delays.entry((estimate.version_id, estimate.output_id)).or_default();
            *slowest = slowest.max(delay.value);
        }
    }
    delays
}

/// Whether the last case of a day is still younger than the delay.
fn is_provisional(day: DateTime<Utc>, delay_seconds: f64, now: DateTime<Utc>) -> bool {
    (now - (day + TimeDelta::days(1))).as_seconds_f64() < delay_seconds
}

/// Open alerts, each with when it fired: the marks on the charts. Subjects of rules on data may be names of people's making, so
/// their alerts share a mark.
pub(super) async fn add_open_alerts(
    context: &Context,
    snapshot: &mut Snapshot,
) -> std::result::Result<(), crate::job::Error> {
    let mut marks: BTreeMap<[String; 7], DateTime<Utc>> = BTreeMap::new();
    for alert in context.store.list_alerts(true, MOST_ALERTS).await? {
        let shown = alert.shown().to_owned();
        let is_word = State::OPEN.into_iter().map(State::as_str).chain(Mute::WORDS).any(|word| word == shown);
        let Some(model) = context.plan.model(&alert.model).filter(|_| is_word) else { continue };
        let rule = HealthRule::of_alert(&alert.rule).map_or_else(|| alert.rule.clone(), |rule| rule.alert_name(""));
        let is_planned = HealthRule::of_alert(&alert.rule).is_some_and(|rule| model.health.has(rule))
            || model.alerts.iter().any(|planned| planned.name == rule)
            || model.watches.iter().any(|watch| watch.name == rule);
        if !is_planned {
            continue;
        }
        let at = alert.fired_at.unwrap_or(alert.since);
        let key = [alert.model, alert.version, rule, alert.output, alert.slice, alert.severity, shown];
        marks.entry(key).and_modify(|first| *first = at.min(*first)).or_insert(at);
    }
    for ([model, version, rule, output, slice, severity, state], at) in &marks {
        let labels = [
            ("model", model.as_str()),
            ("version", version),
            ("rule", rule),
            ("output", output),
            ("slice", slice),
            ("severity", severity),
            ("state", state),
        ];
        snapshot.add("alert_timestamp_seconds", &labels, timestamp(*at));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_provisional_until_its_last_case_is_as_old_as_slow_labels_are() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        let day = at("2025-03-01T00:00:00Z");
        let two_days = 2.0 * 86_400.0;
        assert!(is_provisional(day, two_days, at("2025-03-03T23:59:59Z")));
        assert!(!is_provisional(day, two_days, at("2025-03-04T00:00:00Z")));
        assert!(is_provisional(day, 0.0, at("2025-03-01T12:00:00Z")), "the day is not over");
    }
}
