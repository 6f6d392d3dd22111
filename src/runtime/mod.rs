//! The runtime: jobs that are driven, tasks that are watched, privileges that are dropped.
//!
//! A job looks at the database, compares it with what should be, acts, and may be killed anywhere; its next tick is its
//! retry. A task that ends early stops the process with a failure.
//! Must never: know what a job does.

pub mod privileges;
pub mod supervisor;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};

/// What a run of a job did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was something to do.
    Done,
    /// There was nothing to do.
    Idle,
    /// It failed; the next tick tries again.
    Failed,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 3] = [Self::Done, Self::Idle, Self::Failed];

    /// The word of the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Idle => "idle",
            Self::Failed => "failed",
        }
    }
}

/// What is known of a job's runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobRecord {
    /// Runs by outcome, in the order of [`Outcome::ALL`].
    pub runs: [u64; 3],
    /// Time spent in it.
    pub spent: Duration,
    /// When it last ended without failure.
    pub last_success_at: Option<DateTime<Utc>>,
    /// What came of the last run, and when it ended.
    pub last: Option<(Outcome, DateTime<Utc>)>,
}

/// What is known of whole passes of the pipeline, and of telling somebody about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// When a whole pass last succeeded.
    pub passed_at: Option<DateTime<Utc>>,
    /// When somebody was last told, or could not be.
    pub tried_at: Option<DateTime<Utc>>,
    /// Whether the last attempt failed.
    pub is_failing: bool,
    /// Attempts that succeeded.
    pub sent: u64,
    /// Attempts that failed.
    pub failed: u64,
}

/// The passes of this process. Shared; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Mutex<Beat>>);

impl Pulse {
    /// Note that a whole pass has succeeded.
    pub fn pass(&self, now: DateTime<Utc>) {
        self.lock().passed_at = Some(now);
    }

    /// Note an attempt to tell somebody; says whether its outcome is another one than that of the attempt before.
    #[must_use]
    pub fn attempt(&self, succeeded: bool, now: DateTime<Utc>) -> bool {
        let mut beat = self.lock();
        let is_news = beat.is_failing == succeeded;
        beat.tried_at = Some(now);
        beat.is_failing = !succeeded;
        *(if succeeded { &mut beat.sent } else { &mut beat.failed }) += 1;
        is_news
    }

    /// What is known.
    #[must_use]
    pub fn beat(&self) -> Beat {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Beat> {
        // As of the records of jobs: a panic elsewhere spoils no count.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Runs of all jobs of this process. Shared; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct JobRecords(Arc<Mutex<BTreeMap<&'static str, JobRecord>>>);

impl JobRecords {
    /// Note a run.
    pub fn note(&self, job: &'static str, outcome: Outcome, spent: Duration, now: DateTime<Utc>) {
        // A poisoned lock means that a thread panicked while it counted: the counts are still good.
        let mut records = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let record = records.entry(job).or_default();
        record.runs[outcome as usize] += 1;
        record.spent += spent;
        record.last = Some((outcome, now));
        if outcome != Outcome::Failed {
            record.last_success_at = Some(now);
        }
    }

    /// The records by job.
    #[must_use]
    pub fn all(&self) -> BTreeMap<&'static str, JobRecord> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}
