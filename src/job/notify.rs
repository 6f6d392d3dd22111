//! Notify: what waits in the outbox is sent, and tried again until a server takes it.

use std::time::Duration;

use super::{Context, Result};
use crate::notify::{Envelope, Rendered};
use crate::runtime::Outcome;

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Notices of one run at most.
const MOST: usize = 100;
/// How long a notice that is being sent is out of others' reach; longer than any attempt.
const CLAIM: Duration = Duration::from_secs(300);

/// Send what is due.
///
/// # Errors
/// When the store fails. A server that does not take a notice is no failure of the job: the notice waits.
pub async fn run(context: &Context) -> Result {
    let mut outcome = Outcome::Idle;
    // A run is bounded: what a server is slow to take waits for the next tick.
    for _ in 0..MOST {
        let now = context.clock.now();
        let Some(notice) = context.store.claim_notice(now, now + CLAIM).await? else { break };
        outcome = Outcome::Done;
        let envelope = Envelope {
            outbox_id: notice.outbox_id,
            installation: &context.catalog.installation,
            recipient: &notice.recipient,
            written_at: notice.created_at,
        };
        let rendered = Rendered {
            subject: notice.subject.clone(),
            text: notice.body_text.clone(),
            html: notice.body_html.clone(),
        };
        match context.sender.send(&envelope, &rendered).await {
            Ok(()) => {
                context.store.notice_sent(notice.outbox_id, context.clock.now()).await?;
                tracing::info!(notice = notice.outbox_id, "sent a notice");
            }
            Err(error) => {
                let wait = backoff(context.plan.notify.retry_after, notice.attempts);
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(
                    notice = notice.outbox_id,
                    error,
                    wait_seconds = wait.as_secs(),
                    "a notice was not taken"
                );
                context.store.notice_failed(notice.outbox_id, &error, context.clock.now() + wait).await?;
            }
        }
    }
    Ok(outcome)
}

/// The wait after so many failed attempts: it doubles, up to an hour.
fn backoff(first: Duration, failed: i32) -> Duration {
    let doublings = u32::try_from(failed).unwrap_or_default().min(20);
    first.saturating_mul(1 << doublings).min(LONGEST_WAIT.max(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour() {
        let waits: Vec<u64> =
            [0, 1, 2, 6, 7, 30].map(|failed| backoff(Duration::from_secs(30), failed).as_secs()).to_vec();
        assert_eq!(waits, [30, 60, 120, 1920, 3600, 3600]);
    }
}
