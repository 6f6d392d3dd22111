//! Notify: what waits in the outbox is sent, and tried again until a server takes it or it is given up.
//!
//! At least once, never zero times: a notice is sent before that is noted, under a key that is the same at every attempt.
//! What is given up stays as a dead letter, and everybody else is told.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Context, Result};
use crate::alert::notice::{Lost, addressees, dead_letter};
use crate::config::Notify;
use crate::notify::{Error, Letter};
use crate::runtime::Outcome;
use crate::store::lease::Lease;
use crate::store::outbox::{NewNotice, Notice};

/// The longest wait between two attempts, unless a server asks for more.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Notices of one run at most.
const MOST: usize = 100;
/// How long a notice that is being sent is out of others' reach; longer than any attempt.
const CLAIM: Duration = Duration::from_secs(300);
/// For so long two replicas may have different plans.
const PLANS_DIFFER: Duration = Duration::from_secs(900);
/// However old a notice is, it is tried so often: the daemon itself may have been down.
const LEAST_ATTEMPTS: i32 = 3;

/// Send what is due.
///
/// # Errors
/// When the store fails. A server that does not take a notice is no failure of the job: the notice waits.
pub async fn run(context: &Context, lease: &Lease) -> Result {
    let mut outcome = Outcome::Idle;
    let voided = context.store.void_claims(lease, context.clock.now()).await?;
    if voided > 0 {
        tracing::warn!(
            notices = voided,
            "notices were being sent when whoever sent them broke off; they are sent again"
        );
    }
    // Routes that have failed in this run: what else goes by them waits for the next, and other routes need not.
    let mut closed: Vec<String> = Vec::new();
    // A run is bounded: what a server is slow to take waits for the next tick.
    for _ in 0..MOST {
        let now = context.clock.now();
        let Some(notice) = context.store.claim_notice(lease, now, now + CLAIM, &closed).await? else { break };
        outcome = Outcome::Done;
        let key = format!("outbox-{}", notice.outbox_id);
        match context.sender.send(&letter(context, &notice, &key), now).await {
            Ok(answer) => {
                context.store.notice_sent(&notice, &answer, context.clock.now()).await?;
                tracing::info!(notice = notice.outbox_id, route = notice.addressee.route, "sent a notice");
            }
            Err(error) => {
                if !error.is_permanent() {
                    closed.push(notice.addressee.route.clone());
                }
                note_failure(context, &notice, error).await?;
            }
        }
    }
    Ok(outcome)
}

fn letter<'a>(context: &'a Context, notice: &'a Notice, key: &'a str) -> Letter<'a> {
    Letter {
        key,
        installation: &context.catalog.installation,
        alert_id: notice.alert_id,
        event_id: notice.event_id,
        route: &notice.addressee.route,
        channel: &notice.addressee.channel,
        recipient: &notice.addressee.recipient,
        written_at: notice.created_at,
        opens_thread: notice.opens_thread,
        report: &notice.report,
        chart: notice.chart.as_deref(),
    }
}

/// Let a notice wait for its next attempt, or give it up.
async fn note_failure(context: &Context, notice: &Notice, error: Error) -> std::result::Result<(), super::Error> {
    let now = context.clock.now();
    let queued_at = tried_since(notice, now);
    let next = next_attempt(&context.plan.notify, notice, &error, (queued_at, now));
    let error = format!("{:#}", anyhow::Error::from(error));
    let route = &notice.addressee.route;
    if let Some(at) = next {
        let wait_seconds = (at - now).num_seconds();
        tracing::warn!(notice = notice.outbox_id, route, error, wait_seconds, "a notice was not taken");
        context.store.notice_failed(notice, &error, (queued_at, at), now).await?;
    } else {
        let others = told_of_death(context, notice, &error, now);
        let told = others.len();
        tracing::error!(notice = notice.outbox_id, route, error, told, "a notice is given up; it is a dead letter now");
        context.store.notice_died(notice, &error, &others, now).await?;
    }
    Ok(())
}

/// Since when a notice has been tried. Time in which nobody tried does not count beyond the longest wait: the daemon was down,
/// or the clock was set ahead. Nor does it begin in the future, when the clock was set back.
fn tried_since(notice: &Notice, now: DateTime<Utc>) -> DateTime<Utc> {
    let idle = (now - notice.due_at).to_std().unwrap_or_default();
    (notice.queued_at + idle.saturating_sub(LONGEST_WAIT)).min(now)
}

/// When a notice that has been tried since an instant is tried again; `None` when it is given up.
fn next_attempt(
    notify: &Notify,
    notice: &Notice,
    error: &Error,
    (queued_at, now): (DateTime<Utc>, DateTime<Utc>),
) -> Option<DateTime<Utc>> {
    let age = (now - queued_at).to_std().unwrap_or_default();
    let is_too_old = age >= notify.give_up_after && notice.attempts + 1 >= LEAST_ATTEMPTS;
    let wait = backoff(notify.retry_after, notice.attempts).max(error.retry_after().unwrap_or_default());
    // A route that the plan has no more: another replica may not have read the plan yet, but not for long.
    let is_gone = matches!(error, Error::NoRoute { .. }) && age >= PLANS_DIFFER;
    (!error.is_permanent() && !is_too_old && !is_gone).then(|| now + wait)
}

/// What everybody else whom the plan names is told of a dead letter.
fn told_of_death(context: &Context, notice: &Notice, error: &str, now: DateTime<Utc>) -> Vec<NewNotice> {
    let lost = Lost {
        outbox_id: notice.outbox_id,
        addressee: &notice.addressee,
        report: &notice.report,
        error,
        attempts: notice.attempts + 1,
    };
    let Some(report) = dead_letter(&lost, now) else { return Vec::new() };
    let others = addressees(&context.plan.notify).into_iter().filter(|addressee| *addressee != notice.addressee);
    others.map(|addressee| NewNotice { addressee, report: report.clone(), chart: None, escalation: 0 }).collect()
}

/// The wait after so many failed attempts: it doubles, up to an hour.
fn backoff(first: Duration, failed: i32) -> Duration {
    let doublings = u32::try_from(failed).unwrap_or_default().min(20);
    first.saturating_mul(1 << doublings).min(LONGEST_WAIT.max(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::notice::{Addressee, test};
    use crate::config::Transport;

    #[test]
    fn waits_double_up_to_an_hour() {
        let waits: Vec<u64> =
            [0, 1, 2, 6, 7, 30].map(|failed| backoff(Duration::from_secs(30), failed).as_secs()).to_vec();
        assert_eq!(waits, [30, 60, 120, 1920, 3600, 3600]);
    }

    #[test]
    fn what_fails_for_good_or_for_too_long_is_given_up() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        let notify = Notify {
            from: "d@h".to_owned(),
            transport: Transport::None,
            routes: Vec::new(),
            retry_after: Duration::from_secs(30),
            give_up_after: Duration::from_secs(3 * 86_400),
        };
        let answer = |status, retry_after| Error::Answer {
            origin: "https://hooks.example".to_owned(),
            status,
            answer: "no".to_owned(),
            retry_after,
        };
        let written = at("2025-03-01T00:00:00Z");
        let notice = |attempts| Notice {
            outbox_id: 1,
            alert_id: None,
            event_id: None,
            addressee: Addressee { route: "r".into(), channel: "webhook".into(), recipient: "x".into() },
            opens_thread: true,
            report: test("http://here", written),
            chart: None,
            created_at: written,
            queued_at: written,
            due_at: written,
            attempts,
        };
        let waits = |attempts, error: &Error, now: &str| {
            let notice = Notice { due_at: at(now), ..notice(attempts) };
            let now = (tried_since(&notice, at(now)), at(now));
            next_attempt(&notify, &notice, error, now).map(|next| (next - now.1).num_seconds())
        };
        let soon = "2025-03-01T00:01:00Z";
        for status in [400, 401, 403, 404, 410, 301] {
            assert_eq!(waits(0, &answer(status, None), soon), None, "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503] {
            assert_eq!(waits(0, &answer(status, None), soon), Some(30), "{status}");
        }
        assert_eq!(waits(0, &answer(429, Some(Duration::from_secs(700))), soon), Some(700), "as the server asks");
        assert_eq!(
            waits(9, &answer(503, Some(Duration::from_secs(7))), soon),
            Some(3600),
            "but no sooner than we would"
        );
        // Nobody tried for days: the daemon was down, or the clock jumped. That alone gives nothing up.
        let after = |due: &str, now: &str| {
            let notice = Notice { due_at: at(due), attempts: 5, ..notice(5) };
            next_attempt(&notify, &notice, &answer(503, None), (tried_since(&notice, at(now)), at(now))).is_some()
        };
        assert!(after("2025-03-01T00:10:00Z", "2025-03-09T00:00:00Z"));
        assert!(!after("2025-03-04T00:10:00Z", "2025-03-09T00:00:00Z"), "it had been tried for three days before");
        assert_eq!(tried_since(&notice(0), at("2025-02-01T00:00:00Z")), at("2025-02-01T00:00:00Z"), "a clock set back");
        let late = "2025-03-04T00:00:00Z";
        assert_eq!(waits(1, &answer(503, None), late), Some(60), "two attempts are no proof");
        assert_eq!(waits(2, &answer(503, None), late), None);
    }
}
