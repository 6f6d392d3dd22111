//! Retain: partitions are made ahead of need; what the plan no longer keeps is removed.
//!
//! Rows go by whole months, the oldest first, one transaction each. Before, their buckets are frozen and their summaries pinned, so
//! that questions about them are still answered. What is removed is in the audit, in numbers.

use chrono::{DateTime, Months, TimeDelta, Utc};

use super::{Context, Result, replay};
use crate::config::Retention;
use crate::domain::Granularity;
use crate::domain::window::month_of;
use crate::metric::CALCULATOR_VERSION;
use crate::runtime::Outcome;
use crate::store::lease::Lease;
use crate::store::pin::{EncodedPart, InputKey};
use crate::store::retention::{Aged, Counts};
use crate::summary::codec;
use crate::summary::fold::over_buckets;

/// Estimates whose inputs are looked for at once.
const AT_ONCE: i64 = 100;

/// What the plan no longer keeps at an instant. By whole days and months, so that one day has one entry in the audit, and months
/// go as they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// What goes by its age alone.
    pub aged: Aged,
    /// Predictions of before go, with what is about their cases alone; none when the plan keeps all rows.
    pub rows_before: Option<DateTime<Utc>>,
}

impl Due {
    /// By the plan.
    #[must_use]
    pub fn of(retention: &Retention, now: DateTime<Utc>) -> Self {
        let before = |kept: std::time::Duration| {
            let age = TimeDelta::from_std(kept).ok();
            age.and_then(|age| now.checked_sub_signed(age)).unwrap_or(DateTime::UNIX_EPOCH)
        };
        let day = |kept| Granularity::Day.start_of(before(kept));
        let aged = Aged { rejections_before: day(retention.rejections), notices_before: day(retention.notices) };
        Self { aged, rows_before: retention.rows.map(|kept| month_of(before(kept)).from) }
    }
}

/// Make the partitions of this month and the next two, and remove what is due.
///
/// # Errors
/// When the store fails.
pub async fn run(context: &Context, lease: &Lease) -> Result {
    let now = context.clock.now();
    let ahead = (0..3).filter_map(|months| now.checked_add_months(Months::new(months)));
    context.store.ensure_partitions(ahead).await?;
    let due = Due::of(&context.plan.retention, now);
    let aged = context.store.retire_aged(lease, due.aged, now).await?;
    let mut outcome = outcome_of(&aged);
    if let Some(before) = due.rows_before
        && retire_rows(context, lease, before).await? == Outcome::Done
    {
        outcome = Outcome::Done;
    }
    Ok(outcome)
}

/// Remove the rows before an instant, month by month, once the buckets are frozen, folded and pinned.
async fn retire_rows(context: &Context, lease: &Lease, before: DateTime<Utc>) -> Result {
    let (store, now) = (&context.store, context.clock.now());
    // What was frozen stays frozen, though the plan keeps more now.
    let before = store.frozen_before().await?.map_or(before, |frozen| frozen.max(before));
    let months = store.months_before(before).await?;
    if months.is_empty() {
        return Ok(Outcome::Idle);
    }
    if store.freeze(lease, before, now).await? {
        tracing::info!(before = %before, "froze what retention.rows no longer keeps");
    }
    // Versions whose model the plan no longer has are never folded again: what they have is what is pinned.
    let versions = store.list_versions().await?;
    let folded: Vec<i32> =
        versions.iter().filter(|v| context.model_of(v).is_some()).map(|version| version.version_id).collect();
    let Some(pinned) = store.pin(lease, (&folded, before), now).await? else {
        tracing::debug!("buckets that are to be pinned wait to be folded first");
        return Ok(Outcome::Idle);
    };
    tracing::debug!(pinned, "pinned the summaries of frozen buckets");
    pin_inputs(context, lease, before).await?;
    let mut outcome = Outcome::Idle;
    for month in months {
        let counts = store.retire_month(lease, month, now).await?;
        if outcome_of(&counts) == Outcome::Done {
            tracing::info!(month = %month.format("%Y-%m"), rows = ?counts, "removed the rows of a month");
            outcome = Outcome::Done;
        }
    }
    Ok(outcome)
}

/// Pin what the estimates of frozen windows were made of, as it was when they were published. What is pinned stays so if this breaks
/// off, and the next run goes on.
async fn pin_inputs(context: &Context, lease: &Lease, before: DateTime<Utc>) -> std::result::Result<(), super::Error> {
    let (store, now) = (&context.store, context.clock.now());
    loop {
        let unpinned = store.list_unpinned(before, CALCULATOR_VERSION, AT_ONCE).await?;
        if unpinned.is_empty() {
            return Ok(());
        }
        for estimate in unpinned {
            let key = InputKey::of(&estimate);
            let (origin, _) = match replay::origin(context, &estimate).await? {
                Ok(found) => found,
                Err(obstacle) => {
                    store.pin_input(lease, key, Err(obstacle.to_string()), now).await?;
                    continue;
                }
            };
            let cells = replay::folded(context, &origin, None).await?;
            let encode = move || -> Vec<EncodedPart> {
                let merged = over_buckets(cells).into_iter();
                merged.map(|((output_id, slice), body)| (output_id, slice.to_string(), codec::encode(&body))).collect()
            };
            let parts = tokio::task::spawn_blocking(encode).await?;
            store.pin_input(lease, key, Ok(&parts), now).await?;
        }
    }
}

fn outcome_of(counts: &Counts) -> Outcome {
    if counts.values().any(|rows| *rows > 0) { Outcome::Done } else { Outcome::Idle }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rows_go_by_whole_months_and_the_rest_by_whole_days() {
        let day = |days: u64| Duration::from_secs(days * 86_400);
        let now: DateTime<Utc> = "2025-06-15T13:00:00Z".parse().expect("an instant");
        let retention = Retention { rejections: day(90), notices: day(1), rows: Some(day(100)) };
        let due = Due::of(&retention, now);
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        assert_eq!(due.aged.rejections_before, at("2025-03-17T00:00:00Z"));
        assert_eq!(due.aged.notices_before, at("2025-06-14T00:00:00Z"));
        assert_eq!(
            due.rows_before,
            Some(at("2025-03-01T00:00:00Z")),
            "7 March is within the hundred days, and so its month"
        );
        let all = Due::of(&Retention { rows: None, rejections: Duration::MAX, ..retention }, now);
        assert_eq!((all.rows_before, all.aged.rejections_before), (None, DateTime::UNIX_EPOCH));
    }
}
