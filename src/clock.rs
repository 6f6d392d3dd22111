//! The injected clock: the only place that asks the operating system what time it is.
//!
//! Everything else takes instants as arguments or holds a [`Clock`], so that a test or the demo can turn a
//! [`ManualClock`] through a hundred days while the very code that `serve` runs looks on.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use tokio::sync::watch;

/// A shared source of "now" and of sleeping.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System,
    Manual(Arc<watch::Sender<DateTime<Utc>>>),
}

/// The handle that turns a manual clock.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<watch::Sender<DateTime<Utc>>>);

impl Clock {
    /// The clock of the machine.
    #[must_use]
    pub fn system() -> Self {
        Self(Kind::System)
    }

    /// A clock that stands still until its handle turns it.
    #[must_use]
    pub fn manual(start: DateTime<Utc>) -> (Self, ManualClock) {
        let sender = Arc::new(watch::Sender::new(start));
        (Self(Kind::Manual(sender.clone())), ManualClock(sender))
    }

    /// The current instant, in whole microseconds (the resolution of Postgres).
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Kind::System => Utc::now().trunc_subsecs(6),
            Kind::Manual(now) => *now.borrow(),
        }
    }

    /// Sleep until this clock shows `instant`. On a manual clock this waits for the handle, and a clock that is set back
    /// ends the wait: what was waited for may be hours away by then.
    pub async fn sleep_until(&self, instant: DateTime<Utc>) {
        match &self.0 {
            Kind::System => tokio::time::sleep((instant - self.now()).to_std().unwrap_or_default()).await,
            Kind::Manual(now) => {
                let (mut turned, began) = (now.subscribe(), self.now());
                // unwrap safety: `self` holds the sender, so the channel cannot close while we wait.
                let _ = turned.wait_for(|now| *now >= instant || *now < began).await;
            }
        }
    }
}

impl ManualClock {
    /// Turn the clock to `instant`. It never runs backwards: an earlier instant is ignored.
    pub fn turn_to(&self, instant: DateTime<Utc>) {
        self.0.send_if_modified(|now| {
            let forward = instant > *now;
            if forward {
                *now = instant;
            }
            forward
        });
    }

    /// Set the clock, back as well as ahead, as a machine's clock is set when somebody corrects it.
    pub fn set_to(&self, instant: DateTime<Utc>) {
        self.0.send_replace(instant);
    }
}
