//! Sources that are asked again and again, each in its own time.
//!
//! A source is read for a while and then left, so that none holds up the others or what comes after; it goes on where it stopped,
//! because its position is committed with its rows. One that fails is left alone for a time that doubles, and the others go on.
//! Must never: acknowledge what is not committed.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::way::Way;
use super::{Patience, Tally, objects};
use crate::chain::hex;
use crate::config::{Pace, Pull, Source, Upstream};
use crate::intake::{Collector, admit_row};
use crate::job::Error;
use crate::source::feed::{Failure, Feed, Page, Positions};
use crate::source::http::Times;
use crate::source::mapping::Mapping;
use crate::source::{http, nats, sql};
use crate::store::batch::Progress;
use crate::store::cursor::{CursorProgress, Pulled};

/// A source that has failed once is left alone for so long.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// One that fails again and again is asked at least so often.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Nobody is left alone for longer, whatever he asks for.
const LONGEST_PATIENCE: Duration = Duration::from_secs(86_400);
/// The rate of rows is kept over so long: what was not used in this time is lost.
const RATE_SPAN: TimeDelta = TimeDelta::seconds(60);

/// Why a source was not read on.
pub(super) enum Stopped {
    /// It failed: it is asked again later.
    Failed(Failure),
    /// We did.
    Broken(Error),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl<E: Into<Error>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

/// Up to where a pass came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    /// Whether there was nothing more.
    pub is_last: bool,
    /// How much waits to be read, where that is known.
    pub pending: Option<u64>,
}

/// How long and how much one pass may read.
pub(super) struct Pass {
    /// Absent when everything is read.
    ends: Option<tokio::time::Instant>,
    paid_until: DateTime<Utc>,
    now: DateTime<Utc>,
    pace: Pace,
}

impl Pass {
    fn new(before: &Pulled, pace: &Pace, now: DateTime<Utc>, patience: Patience) -> Self {
        let ends = (patience == Patience::Settle).then(|| tokio::time::Instant::now() + pace.pass);
        Self { ends, paid_until: before.paid_until.max(now - RATE_SPAN), now, pace: pace.clone() }
    }

    /// Note that rows were read.
    pub fn pay(&mut self, rows: usize) {
        if let Some(rate) = self.pace.rows_per_second {
            let seconds = rows as f64 / rate as f64;
            self.paid_until += TimeDelta::from_std(Duration::from_secs_f64(seconds)).unwrap_or(TimeDelta::MAX);
        }
    }

    /// Whether others have their turn now.
    pub fn is_over(&self) -> bool {
        self.ends.is_some_and(|ends| tokio::time::Instant::now() >= ends || self.paid_until > self.now)
    }
}

/// How it stands with a source after a pass.
fn after(before: Pulled, pass: &Pass, outcome: Result<Reached, &Failure>, now: DateTime<Utc>) -> Pulled {
    let later = |time: Duration| now + TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX);
    let paid_until = if pass.pace.rows_per_second.is_some() { pass.paid_until } else { before.paid_until };
    match outcome {
        Ok(Reached { is_last, pending }) => {
            let next_at = if is_last { later(pass.pace.every) } else { now };
            Pulled {
                next_at: next_at.max(paid_until),
                paid_until,
                succeeded_at: Some(now),
                newest_at: before.newest_at,
                pending: pending.map(|pending| i64::try_from(pending).unwrap_or(i64::MAX)),
                ..Pulled::default()
            }
        }
        Err(failure) => {
            let doublings = u32::try_from(before.attempts).unwrap_or_default().min(16);
            let wait = (FIRST_WAIT * 2_u32.pow(doublings)).min(LONGEST_WAIT);
            let wait = wait.max(failure.patience().unwrap_or_default().min(LONGEST_PATIENCE));
            Pulled {
                next_at: later(wait).max(paid_until),
                paid_until,
                failing_since: before.failing_since.or(Some(now)),
                attempts: before.attempts.saturating_add(1),
                reason: Some(failure.reason().to_owned()),
                message: Some(failure.to_string().replace('\0', "\u{FFFD}")),
                ..before
            }
        }
    }
}

/// Ask a source, if its time has come.
pub(super) async fn ask(way: &Way<'_>, pull: &Pull, before: Pulled, patience: Patience) -> Result<Tally, Error> {
    let (context, name) = (way.context, &way.source.name);
    let now = context.clock.now();
    let mut tally = Tally::default();
    if patience == Patience::Settle && before.next_at > now {
        return Ok(tally);
    }
    let mut pass = Pass::new(&before, &pull.pace, now, patience);
    let outcome = match &pull.upstream {
        Upstream::Objects(plan) => objects::read(way, plan, pull, &mut pass, &mut tally).await,
        _ => read(way, pull, &mut pass, &mut tally).await,
    };
    let outcome = match outcome {
        Ok(reached) => Ok(reached),
        Err(Stopped::Failed(failure)) => Err(failure),
        Err(Stopped::Broken(error)) => return Err(error),
    };
    match &outcome {
        Ok(_) if before.attempts > 0 => {
            tracing::info!(source = name, attempts = before.attempts, "the source answers again");
        }
        Ok(_) => {}
        // Said once: until it answers, or fails for another reason.
        Err(failure) if before.reason.as_deref() == Some(failure.reason()) => {
            tracing::debug!(source = name, error = %failure, "the source still fails");
        }
        Err(failure) => {
            let (kind, reason) = (pull.upstream.word(), failure.reason());
            tracing::error!(source = name, kind, reason, error = %failure, "the source fails; it is asked again");
        }
    }
    let mut pulled = after(before, &pass, outcome.as_ref().copied(), context.clock.now());
    pulled.newest_at = pulled.newest_at.max(tally.newest_at);
    context.store.note_pulled(way.lease, name, &pulled).await?;
    Ok(tally)
}

/// What is kept of a partition: from where it goes on, and what the last page was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    at: serde_json::Value,
    page: String,
}

async fn open(source: &Source, pull: &Pull, now: DateTime<Utc>) -> Result<Box<dyn Feed>, Failure> {
    let Pace { timeout, rows, .. } = pull.pace;
    let is_no_feed = |what: &str| Err(Failure::Misconfigured(format!("this program cannot read {what}")));
    match &pull.upstream {
        Upstream::Sql(plan) => Ok(Box::new(sql::SqlFeed::open(plan, timeout).await?)),
        Upstream::Http(plan) => {
            let times = Times { format: source.time_format.clone(), zone: source.time_zone };
            Ok(Box::new(http::HttpFeed::open(plan, times, timeout, now)?))
        }
        Upstream::Nats(plan) => Ok(Box::new(nats::NatsFeed::open(plan, timeout, rows).await?)),
        #[cfg(feature = "kafka")]
        Upstream::Kafka(plan) => Ok(Box::new(crate::source::kafka::KafkaFeed::open(plan, timeout)?)),
        other => is_no_feed(other.word()),
    }
}

/// Read pages and commit them, one after the other.
async fn read(way: &Way<'_>, pull: &Pull, pass: &mut Pass, tally: &mut Tally) -> Result<Reached, Stopped> {
    let mut feed = open(way.source, pull, pass.now).await?;
    let (mut positions, mut pages) = (Positions::new(), std::collections::BTreeMap::new());
    for cursor in way.context.store.load_cursors(&way.source.name).await? {
        // Under another mapping the rows say something else: they are read from the beginning.
        let mark = serde_json::from_value::<Mark>(cursor.position).ok().filter(|_| cursor.mapping == way.mapping);
        if let Some(mark) = mark {
            positions.insert(cursor.partition.clone(), mark.at);
            pages.insert(cursor.partition, mark.page);
        }
    }
    loop {
        let page = feed.read(&positions, pull.pace.rows).await?;
        let is_last = page.is_last;
        pass.pay(page.rows.len());
        let (partition, position) = (page.partition.clone(), page.position.clone());
        let before = (positions.get(&partition), pages.get(&partition).map(String::as_str));
        let digest = take_in(way, page, before, tally).await?;
        feed.acknowledge().await?;
        positions.insert(partition.clone(), position);
        pages.insert(partition, digest);
        if is_last || pass.is_over() {
            return Ok(Reached { is_last, pending: feed.pending().await });
        }
    }
}

/// Commit a page with its position; the same page at the same position as last time says nothing new. Returns its digest.
async fn take_in(
    way: &Way<'_>,
    page: Page,
    before: (Option<&serde_json::Value>, Option<&str>),
    tally: &mut Tally,
) -> Result<String, Stopped> {
    let digest = digest(&page);
    if before.0 == Some(&page.position) && (page.rows.is_empty() || before.1 == Some(&digest)) {
        return Ok(digest);
    }
    let now = way.context.clock.now();
    let mark = Mark { at: page.position, page: digest.clone() };
    let mut cursor = CursorProgress {
        partition: page.partition,
        position: serde_json::json!(mark),
        mapping: way.mapping.clone(),
        newest_at: None,
    };
    if page.rows.is_empty() {
        way.context.store.move_cursor(way.lease, &way.source.name, &cursor, now).await?;
        return Ok(digest);
    }
    let (door, source, model) = (way.door(), way.source.clone(), way.model.clone());
    let collected = tokio::task::spawn_blocking(move || {
        let (mapping, mut collector) = (Mapping::new(&source, &model), Collector::default());
        for row in page.rows {
            admit_row(&door, &mapping, row, now, &mut collector);
        }
        collector
    });
    let collector = collected.await?;
    cursor.newest_at = collector.newest_at();
    way.commit(collector, page.origin, Progress::Cursor(cursor), tally).await?;
    Ok(digest)
}

fn digest(page: &Page) -> String {
    let mut hasher = Sha256::new();
    for row in &page.rows {
        match row {
            Ok(row) => hasher.update(row.fingerprint()),
            Err(broken) => hasher.update(&broken.message),
        }
    }
    hex(&hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_740_000_000 + seconds, 0).expect("an instant")
    }

    fn pace(rows_per_second: Option<u64>) -> Pace {
        Pace { every: Duration::from_secs(60), pass: Duration::from_secs(10), rows_per_second, ..Pace::default() }
    }

    fn next(before: &Pulled, outcome: Result<Reached, &Failure>, now: i64) -> Pulled {
        let pass = Pass::new(before, &pace(None), at(now), Patience::Settle);
        after(before.clone(), &pass, outcome, at(now))
    }

    #[tokio::test]
    async fn what_is_read_to_its_end_waits_and_the_rest_goes_on() {
        let end = Reached { is_last: true, pending: Some(0) };
        assert_eq!(next(&Pulled::default(), Ok(end), 0).next_at, at(60));
        let more = Reached { is_last: false, pending: None };
        assert_eq!(next(&Pulled::default(), Ok(more), 0).next_at, at(0));
    }

    #[tokio::test]
    async fn failures_double_the_wait_up_to_a_limit_and_success_forgets_them() {
        let failure = Failure::Unreachable("nobody answers".into());
        let (mut pulled, mut waits) = (Pulled::default(), Vec::new());
        for now in 0..9 {
            pulled = next(&pulled, Err(&failure), now);
            waits.push((pulled.next_at - at(now)).num_seconds());
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!((pulled.failing_since, pulled.attempts), (Some(at(0)), 9));
        let mended = next(&pulled, Ok(Reached { is_last: true, pending: None }), 100);
        assert_eq!((mended.attempts, mended.failing_since, mended.reason.as_deref()), (0, None, None));
        let polite = Failure::Throttled { message: "429".into(), after: Some(Duration::from_secs(700)) };
        assert_eq!(next(&mended, Err(&polite), 200).next_at, at(900), "as long as the server asks for");
        let absurd = Failure::Throttled { message: "429".into(), after: Some(Duration::from_secs(1 << 40)) };
        assert_eq!(next(&mended, Err(&absurd), 200).next_at, at(200 + 86_400));
    }

    #[tokio::test]
    async fn a_rate_is_kept_over_passes() {
        // 100 rows a second, and a tick every 15 seconds: 1500 rows a tick, whatever the size of the pages.
        let (mut pulled, mut read) = (Pulled { paid_until: at(0), ..Pulled::default() }, 0);
        for tick in 1..=40 {
            let now = at(15 * tick);
            if pulled.next_at > now {
                continue;
            }
            let mut pass = Pass::new(&pulled, &pace(Some(100)), now, Patience::Settle);
            while !pass.is_over() {
                pass.pay(400);
                read += 400;
            }
            pulled = after(pulled, &pass, Ok(Reached { is_last: false, pending: None }), now);
        }
        assert!((59_000..=60_400).contains(&read), "{read} rows in 600 s");
    }
}
