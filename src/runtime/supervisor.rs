//! Tracked tasks and orderly shutdown.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long tasks may take to end after they were asked to.
const GRACE: Duration = Duration::from_secs(20);

/// Keeps track of every task of the process.
#[derive(Clone, Debug, Default)]
pub struct Supervisor {
    tracker: TaskTracker,
    stop: CancellationToken,
    failed: CancellationToken,
}

/// The end of a task, whichever way it comes.
struct End {
    name: &'static str,
    stop: CancellationToken,
    failed: CancellationToken,
}

impl Drop for End {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            tracing::error!(task = self.name, "a task ended early; stopping");
            self.failed.cancel();
            self.stop.cancel();
        }
    }
}

impl Supervisor {
    /// The token that asks tasks to end.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Run a task. If it ends before it was asked to, the whole process stops with a failure.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let end = End { name, stop: self.stop.clone(), failed: self.failed.clone() };
        self.tracker.spawn(async move {
            // Dropped when the task ends, by a panic too.
            let end = end;
            if let Err(error) = task.await {
                tracing::error!(task = end.name, error = format!("{error:#}"), "a task failed");
            }
        });
    }

    /// Wait until the process is asked to end (SIGTERM, SIGINT) or a task has failed, then end all tasks.
    ///
    /// # Errors
    /// When a task ended early or did not end in time.
    pub async fn run_to_end(self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => tracing::info!("asked to stop"),
            _ = interrupt.recv() => tracing::info!("asked to stop"),
            () = self.stop.cancelled() => {}
        }
        self.end().await
    }

    /// End all tasks now.
    ///
    /// # Errors
    /// When a task ended early or does not end in time.
    pub async fn end(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(GRACE, self.tracker.wait()).await.is_err() {
            anyhow::bail!("tasks did not end within {} s", GRACE.as_secs());
        }
        if self.failed.is_cancelled() {
            anyhow::bail!("a task ended early; see the log above");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_stops_the_process_with_a_failure() {
        let supervisor = Supervisor::default();
        supervisor.spawn("good", {
            let stop = supervisor.stop_token();
            async move {
                stop.cancelled().await;
                Ok(())
            }
        });
        supervisor.spawn("bad", async { panic!("a defect") });
        let stop = supervisor.stop_token();
        stop.cancelled().await;
        assert!(supervisor.end().await.expect_err("it failed").to_string().contains("ended early"));
    }
}
