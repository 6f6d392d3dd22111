//! Where what is sent is taken in: many small requests share a commit, and each learns what became of its own records.
//!
//! Requests put their records into a bounded queue and wait for the answer. One task commits whatever waits, so under load a
//! transaction serves many requests, and without load a request waits for nobody.
//! Must never: answer before the commit; keep more than the queue holds.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Source;
use crate::domain::Reason;
use crate::intake::{Admission, Collector, Place};
use crate::job::Context;
use crate::job::commit::{commit, known_versions};
use crate::store::Error;
use crate::store::batch::{CONFLICT, Fate, Position, Progress, Taken, told_gone};

/// So many requests may wait for the next commit.
const MOST_WAITING: usize = 1024;
/// So many requests may share a commit.
pub const MOST_TOGETHER: usize = 512;

/// What somebody sent.
#[derive(Debug)]
struct Submission {
    source: Source,
    origin: String,
    collector: Collector,
    answer: oneshot::Sender<Result<Receipt, Refusal>>,
}

/// What became of the records of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Receipt {
    /// Records that were new, or said more than was known. They are committed.
    pub accepted: u64,
    /// Records that were known with the same content.
    pub duplicates: u64,
    /// Rows that the plan has no interest in.
    pub ignored: u64,
    /// Records that were refused.
    pub rejected: u64,
    /// The refused records, the first thousand of them.
    pub rejections: Vec<Refused>,
    /// The last batch that took records of the request in: the clock `recorded`.
    pub batch: Option<i64>,
}

/// A refused record.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Refused {
    /// Which row or line of the body, from 1.
    pub row: i64,
    /// Which record of that row, from 0.
    pub item: i32,
    /// The column or field at fault.
    pub field: String,
    /// The reason as one word.
    pub reason: String,
    /// What is wrong and what to do about it.
    pub detail: String,
}

/// Refused records that an answer lists; the others are counted, and kept like all.
const MOST_LISTED: usize = 1000;

impl Receipt {
    /// Add what became of more records of the same request.
    pub fn add(&mut self, more: Self) {
        self.accepted += more.accepted;
        self.duplicates += more.duplicates;
        self.ignored += more.ignored;
        self.rejected += more.rejected;
        let room = MOST_LISTED.saturating_sub(self.rejections.len());
        self.rejections.extend(more.rejections.into_iter().take(room));
        self.batch = self.batch.max(more.batch);
    }

    /// Add what the commit made of records: one that stood in the batch already shares the fate of that one, so nobody is told
    /// that a record is known which was refused.
    fn settle(&mut self, admissions: &[(Position, Admission)], taken: &Taken) {
        // unwrap safety: places are those of the batch, and a fate is told of each of its records.
        let fate = |place: &Place| match place {
            Place::Prediction(at) => taken.predictions[*at],
            Place::Assertion(at) => taken.assertions[*at],
        };
        for (position, admission) in admissions {
            match admission {
                Admission::Conflict(message) => self.refuse(position, "id", Reason::Conflict, message),
                Admission::New(place) | Admission::Duplicate(place) => match fate(place) {
                    Fate::Conflict => self.refuse(position, "id", Reason::Conflict, CONFLICT),
                    Fate::Gone(reason) => self.refuse(position, "case", reason, told_gone(reason)),
                    Fate::New | Fate::Extends if matches!(admission, Admission::New(_)) => self.accepted += 1,
                    Fate::New | Fate::Extends | Fate::Known => self.duplicates += 1,
                },
            }
        }
        self.batch = Some(taken.committed.batch_id);
    }

    fn refuse(&mut self, position: &Position, field: &str, reason: Reason, message: &str) {
        self.rejected += 1;
        if self.rejections.len() < MOST_LISTED {
            self.rejections.push(Refused {
                row: position.line,
                item: position.item,
                field: field.to_owned(),
                reason: reason.as_str().to_owned(),
                detail: message.to_owned(),
            });
        }
    }
}

/// Why nothing of a request was taken in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The queue is full.
    #[error("more is being sent than can be committed; send again in a moment")]
    Busy,
    /// The daemon is about to end.
    #[error("the daemon is stopping; send again in a moment")]
    Stopping,
    /// Postgres cannot be reached.
    #[error("the database cannot be reached, so nothing can be kept; send again in a moment")]
    Unreachable,
    /// The plan has changed since the records were read.
    #[error("another plan came into force; send again")]
    PlanChanged,
    /// The store failed, and has been logged.
    #[error("the records could not be committed; the daemon's log says why")]
    Failed,
}

/// The way to the task that commits.
#[derive(Clone, Debug)]
pub struct Desk(mpsc::Sender<Submission>);

/// What waits to be committed.
#[derive(Debug)]
pub struct Queue(mpsc::Receiver<Submission>);

impl Desk {
    /// A desk and its queue.
    #[must_use]
    pub fn new() -> (Self, Queue) {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        (Self(sender), Queue(receiver))
    }

    /// Have records committed and learn what became of them. `waits` for room in the queue, or is refused without.
    ///
    /// # Errors
    /// When nothing was taken in; sending the same again does no harm.
    pub async fn submit(
        &self,
        source: &Source,
        origin: &str,
        collector: Collector,
        waits: bool,
    ) -> Result<Receipt, Refusal> {
        let (answer, answered) = oneshot::channel();
        let submission = Submission { source: source.clone(), origin: origin.to_owned(), collector, answer };
        let queued = if waits {
            self.0.send(submission).await.map_err(|_| Refusal::Stopping)
        } else {
            self.0.try_send(submission).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Refusal::Busy,
                mpsc::error::TrySendError::Closed(_) => Refusal::Stopping,
            })
        };
        queued?;
        answered.await.unwrap_or(Err(Refusal::Stopping))
    }
}

impl Queue {
    /// Commit what waits, again and again, until asked to stop; then what waits still.
    ///
    /// # Errors
    /// Never; the shape is that of every task.
    pub async fn serve(
        mut self,
        context: watch::Receiver<Context>,
        most_together: usize,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut waiting = Vec::with_capacity(most_together);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => self.0.close(),
                _ = self.0.recv_many(&mut waiting, most_together) => {}
            }
            if stop.is_cancelled() {
                self.0.close();
                if waiting.is_empty() && self.0.recv_many(&mut waiting, most_together).await == 0 {
                    return Ok(());
                }
            }
            let present = context.borrow().clone();
            let mut groups: BTreeMap<(String, String), Vec<Submission>> = BTreeMap::new();
            for submission in waiting.drain(..) {
                let key = (submission.source.name.clone(), submission.origin.clone());
                groups.entry(key).or_default().push(submission);
            }
            for group in groups.into_values() {
                commit_group(&present, group).await;
            }
        }
    }
}

/// Commit what requests of one source and origin sent, in parts of the plan's size.
async fn commit_group(context: &Context, group: Vec<Submission>) {
    let mut part: Vec<Submission> = Vec::new();
    let mut rows = 0;
    for submission in group {
        if rows > 0 && rows + submission.collector.len() > context.plan.intake.batch_rows {
            commit_part(context, std::mem::take(&mut part)).await;
            rows = 0;
        }
        rows += submission.collector.len();
        part.push(submission);
    }
    commit_part(context, part).await;
}

/// Commit submissions together. What fails together is tried one by one, so that nobody suffers for another's records.
async fn commit_part(context: &Context, part: Vec<Submission>) {
    let Some(first) = part.first() else { return };
    let (source, origin) = (first.source.clone(), first.origin.clone());
    let (collectors, answers): (Vec<_>, Vec<_>) =
        part.into_iter().map(|submission| (submission.collector, submission.answer)).unzip();
    // Only what may have to be tried again is kept.
    let again = if collectors.len() > 1 { collectors.clone() } else { Vec::new() };
    // Whoever has gone away in the meantime sends again.
    match take_in(context, &source, &origin, collectors).await {
        Ok(receipts) => {
            for (answer, receipt) in answers.into_iter().zip(receipts) {
                let _ = answer.send(Ok(receipt));
            }
        }
        Err(error @ Error::Statement { .. }) if !again.is_empty() => {
            tracing::warn!(error = describe(&error), requests = again.len(), "a shared commit failed; one by one");
            for (answer, collector) in answers.into_iter().zip(again) {
                let alone = take_in(context, &source, &origin, vec![collector]).await;
                let alone = alone.map(|mut receipts| receipts.pop().unwrap_or_default());
                let _ = answer.send(alone.map_err(|error| refusal(&error)));
            }
        }
        Err(error) => {
            for answer in answers {
                let _ = answer.send(Err(refusal(&error)));
            }
        }
    }
}

fn describe(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn refusal(error: &Error) -> Refusal {
    match error {
        Error::Unreachable(_) => {
            tracing::warn!(error = describe(error), "what was sent could not be committed");
            Refusal::Unreachable
        }
        Error::PlanChanged(_) => Refusal::PlanChanged,
        _ => {
            tracing::error!(error = describe(error), "what was sent could not be committed");
            Refusal::Failed
        }
    }
}

/// One transaction for several collectors; a receipt for each.
async fn take_in(
    context: &Context,
    source: &Source,
    origin: &str,
    collectors: Vec<Collector>,
) -> Result<Vec<Receipt>, Error> {
    let known = known_versions(context, &source.model).await?;
    let mut welcome: BTreeSet<String> = known.keys().cloned().collect();
    let mut shared = Collector::default();
    let mut owned = Vec::with_capacity(collectors.len());
    for mut own in collectors {
        own.limit_versions(welcome.iter().cloned(), context.plan.intake.most_versions);
        welcome.extend(own.versions());
        owned.push(merge(&mut shared, own));
    }
    let taken = commit(context, None, source, origin, Progress::Sent, shared, known).await?;
    let receipts = owned.into_iter().map(|(mut receipt, admissions)| {
        receipt.settle(&admissions, &taken);
        receipt
    });
    Ok(receipts.collect())
}

/// Put one request's records into the shared batch. Returns what is settled of them already, and what became of each there.
fn merge(shared: &mut Collector, own: Collector) -> (Receipt, Vec<(Position, Admission)>) {
    let mut receipt = Receipt { duplicates: own.duplicates, ignored: own.ignored, ..Receipt::default() };
    for refused in &own.rejections {
        receipt.refuse(&refused.position, &refused.field, refused.reason, &refused.message);
    }
    (receipt, shared.absorb(own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::batch::Committed;

    #[test]
    fn a_record_that_stood_in_the_batch_shares_the_fate_of_that_one() {
        let at = |line| Position { line, item: 0 };
        let committed = Committed { batch_id: 7, ..Committed::default() };
        let taken = Taken { committed, predictions: vec![Fate::New, Fate::Conflict], assertions: vec![Fate::Known] };
        let mut receipt = Receipt::default();
        receipt.settle(
            &[
                (at(1), Admission::New(Place::Prediction(0))),
                (at(2), Admission::Duplicate(Place::Prediction(0))),
                (at(3), Admission::Duplicate(Place::Prediction(1))),
                (at(4), Admission::New(Place::Assertion(0))),
                (at(5), Admission::Conflict("another")),
            ],
            &taken,
        );
        assert_eq!((receipt.accepted, receipt.duplicates, receipt.rejected, receipt.batch), (1, 2, 2, Some(7)));
        let told: Vec<(i64, &str)> = receipt.rejections.iter().map(|refused| (refused.row, &*refused.detail)).collect();
        assert_eq!(told, [(3, CONFLICT), (5, "another")]);
    }
}
