//! The way of a source's rows: mapped, through the door, into a batch, committed with what the source remembers.

use super::Tally;
use crate::config::{Model, Source};
use crate::intake::{Collector, Door};
use crate::job::commit::{commit, known_versions};
use crate::job::{Context, Error};
use crate::store::batch::{Committed, Progress};
use crate::store::lease::Lease;

/// One source, with all that its rows need on their way.
pub(super) struct Way<'a> {
    pub context: &'a Context,
    pub lease: &'a Lease,
    pub source: &'a Source,
    pub model: &'a Model,
    /// Digest of what the plan makes of its columns.
    pub mapping: String,
    /// Is told of every batch.
    pub progress: &'a (dyn Fn(&str, Committed) + Sync),
}

impl Way<'_> {
    pub fn door(&self) -> Door {
        self.context.door(self.model)
    }

    /// Commit what was collected, with how far the source has come.
    pub async fn commit(
        &self,
        mut collector: Collector,
        origin: String,
        progress: Progress,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let known = known_versions(self.context, &self.source.model).await?;
        collector.limit_versions(known.keys().cloned(), self.context.plan.intake.most_versions);
        let is_done = matches!(&progress, Progress::File(file) if file.state == "done");
        let newest_at = collector.newest_at();
        let (context, lease) = (self.context, Some(self.lease));
        let committed = commit(context, lease, self.source, &origin, progress, collector, known).await?.committed;
        tally.files += u64::from(is_done);
        tally.accepted += committed.accepted;
        tally.duplicates += committed.duplicates;
        tally.rejected += committed.rejected;
        tally.newest_at = tally.newest_at.max(newest_at);
        (self.progress)(&self.source.name, committed);
        tracing::debug!(source = self.source.name, ?committed, "took in a batch");
        Ok(())
    }
}
