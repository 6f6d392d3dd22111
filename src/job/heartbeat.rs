//! Heartbeat: after a whole pass that succeeded, somebody outside is told. When that stops, they know that nobody watches.
//!
//! In a loop of its own: an address that does not answer holds up nothing. A failure is logged once and counted; it fails no
//! job, for whoever misses the heartbeat says so.

use super::Context;
use crate::runtime::Outcome;

/// Tell of a whole pass that has succeeded since the last attempt, no sooner than the plan wants.
pub async fn run(context: &Context) -> Outcome {
    let (Some(heartbeat), now) = (&context.plan.heartbeat, context.clock.now()) else { return Outcome::Idle };
    let beat = context.pulse.beat();
    let is_new = beat.passed_at.is_some_and(|passed| beat.tried_at.is_none_or(|tried| passed > tried || tried > now));
    let is_due =
        beat.tried_at.is_none_or(|tried| tried > now || (now - tried).to_std().unwrap_or_default() >= heartbeat.every);
    if !(is_new && is_due) {
        return Outcome::Idle;
    }
    let told = context.sender.ping(heartbeat, now).await;
    let is_news = context.pulse.attempt(told.is_ok(), now);
    match told {
        Ok(_) if is_news => tracing::info!(to = heartbeat.address.origin, "the heartbeat is heard again"),
        Ok(_) => {}
        Err(error) if is_news => {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::warn!(to = heartbeat.address.origin, error, "the heartbeat is not heard; see heartbeat.url");
        }
        Err(_) => {}
    }
    Outcome::Done
}
