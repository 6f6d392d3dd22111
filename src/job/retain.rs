//! Retain: partitions are made ahead of need; what the plan no longer keeps is removed.

use chrono::{Months, TimeDelta};

use super::{Context, Result};
use crate::runtime::Outcome;

/// Make the partitions of this month and the next two, and remove old rejections and notices.
///
/// # Errors
/// When the store fails.
pub async fn run(context: &Context) -> Result {
    let now = context.clock.now();
    let ahead = (0..3).filter_map(|months| now.checked_add_months(Months::new(months)));
    context.store.ensure_partitions(ahead).await?;
    let before = |kept: std::time::Duration| now - TimeDelta::from_std(kept).unwrap_or(TimeDelta::MAX);
    let retention = &context.plan.retention;
    let (rejections, notices) = context.store.retain(before(retention.rejections), before(retention.notices)).await?;
    if rejections + notices == 0 {
        return Ok(Outcome::Idle);
    }
    tracing::info!(rejections, notices, "removed what the plan no longer keeps");
    Ok(Outcome::Done)
}
