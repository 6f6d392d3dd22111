//! What is asked again and again: rows from a position on, and the next position.
//!
//! A feed knows nothing of what has been committed: it is told from where to read, and whoever asks keeps the position with the
//! rows. So whatever breaks off is asked for again. Rows may be given twice: their identity makes that harmless.
//! Look next at the feeds themselves (`sql`, `http`, `nats`, `kafka`), and at `job::ingest::pull`, which asks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::RowResult;

/// From where reading goes on, by partition; a feed without partitions has one without a name.
pub type Positions = BTreeMap<String, Value>;

/// What was read at once, of one partition.
#[derive(Clone, Debug)]
pub struct Page {
    /// What was read, for rejections: a place, never a record.
    pub origin: String,
    /// The partition.
    pub partition: String,
    /// The rows, in order.
    pub rows: Vec<RowResult>,
    /// From where reading goes on once they are committed.
    pub position: Value,
    /// Whether there was nothing more.
    pub is_last: bool,
}

/// Something that is asked again and again.
#[async_trait::async_trait]
pub trait Feed: Send {
    /// Read on from a position: about `limit` rows. Pages that were given before and are not committed may come again.
    async fn read(&mut self, positions: &Positions, limit: usize) -> Result<Page, Failure>;

    /// What was read is committed: tell a server that keeps count.
    async fn acknowledge(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// How many rows, or messages, wait to be read, where the server says so.
    async fn pending(&mut self) -> Option<u64> {
        None
    }
}

/// Why nothing could be read, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nobody answers, or the connection broke off.
    #[error("{0}")]
    Unreachable(String),
    /// The answer took too long.
    #[error("no answer came within {} s; raise the source's timeout, or lower rows", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The server does not let us in.
    #[error("{0}; correct the source's user, password, token or keys")]
    Refused(String),
    /// The server asks for patience.
    #[error("{message}")]
    Throttled {
        /// What it said.
        message: String,
        /// How long, if it said so.
        after: Option<Duration>,
    },
    /// The plan asks for something that is not there, or asks wrongly.
    #[error("{0}")]
    Misconfigured(String),
    /// The answer is not what the plan says.
    #[error("{0}")]
    Malformed(String),
    /// The server has a fault of its own.
    #[error("{0}")]
    Server(String),
}

impl Failure {
    /// Every reason, as metrics name it.
    pub const REASONS: [&'static str; 7] =
        ["unreachable", "timed-out", "refused", "throttled", "misconfigured", "malformed", "server"];

    /// The reason, as metrics name it.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut(_) => "timed-out",
            Self::Refused(_) => "refused",
            Self::Throttled { .. } => "throttled",
            Self::Misconfigured(_) => "misconfigured",
            Self::Malformed(_) => "malformed",
            Self::Server(_) => "server",
        }
    }

    /// How long the server wants to be left alone, if it said so.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        match self {
            Self::Throttled { after, .. } => *after,
            _ => None,
        }
    }
}

/// Do something within a time.
///
/// # Errors
/// When it takes longer, or with its own failure.
pub async fn within<T>(time: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(time, work).await.unwrap_or(Err(Failure::TimedOut(time)))
}

/// An error with its causes, on one line.
#[must_use]
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.replace(['\n', '\r'], " ")
}
