//! The way of a source's rows: mapped, through the door, into a batch, committed with what the source remembers.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::Tally;
use crate::config::{Model, Source};
use crate::domain::Reason;
use crate::intake::{Collector, Door, Kept};
use crate::job::{Context, Error};
use crate::source::mapping::Mapping;
use crate::source::{BrokenRow, Problem, Row, RowResult};
use crate::store::batch::{Committed, Position, Progress};
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
        let numbers = self.context.catalog.models.get(&self.model.name).cloned().unwrap_or_default();
        Door::new(self.model.clone(), numbers, self.context.plan.intake.clone(), self.context.pseudonyms.clone())
    }

    /// Commit what was collected, with how far the source has come.
    pub async fn commit(
        &self,
        mut collector: Collector,
        origin: String,
        progress: Progress,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let known = self.context.store.list_versions().await?;
        let known = known.into_iter().filter(|version| version.model == self.model.name).map(|version| version.name);
        collector.limit_versions(known, self.context.plan.intake.most_versions);
        let now = self.context.clock.now();
        let model = self.context.catalog.models.get(&self.source.model);
        let model_id = model.map(|model| model.model_id).unwrap_or_default();
        let mut versions = HashMap::new();
        for version in collector.versions() {
            let number = self.context.store.version_number(model_id, &version, now).await?;
            versions.insert(version, number);
        }
        let is_done = matches!(&progress, Progress::File(file) if file.state == "done");
        let newest_at = collector.newest_at();
        let batch = collector.into_batch(self.source.name.clone(), origin, progress, &versions);
        let committed = self.context.store.commit_batch(Some(self.lease), batch, now).await?.committed;
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

/// Take one row's records in, or refuse them with their reasons.
pub(super) fn admit_row(
    door: &Door,
    mapping: &Mapping<'_>,
    row: RowResult,
    now: DateTime<Utc>,
    collector: &mut Collector,
) {
    let row: Row = match row {
        Ok(row) => row,
        Err(BrokenRow { line, message }) => {
            let kept = Kept::of_text(&message);
            let problem = Problem::new("", Reason::MalformedRow, message);
            return collector.reject(problem, Position { line, item: 0 }, kept);
        }
    };
    if mapping.ignores(&row) {
        return collector.ignore();
    }
    let kept = || Kept { payload: mapping.payload(&row), fingerprint: row.fingerprint() };
    for (item, draft) in (0_i32..).zip(mapping.drafts(&row)) {
        let position = Position { line: row.line, item };
        match draft.and_then(|draft| door.admit(draft, position.clone(), now)) {
            Ok(admitted) => collector.admit(admitted, kept),
            Err(problem) => collector.reject(problem, position, kept()),
        }
    }
}
