//! Bodies as they come, with patience for their senders.

use std::io::{Error, ErrorKind, Read};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use futures_util::StreamExt;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::http::Problem;

/// A sender may be silent for so long.
const IDLE: Duration = Duration::from_secs(30);

/// A body whole, of at most `most` bytes.
pub(super) async fn whole(body: Body, most: usize) -> Result<Bytes, Problem> {
    match tokio::time::timeout(IDLE, axum::body::to_bytes(body, most)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(problem(&Error::new(ErrorKind::UnexpectedEof, error))),
        Err(_) => Err(problem(&ErrorKind::TimedOut.into())),
    }
}

/// A body for a reader that blocks. Must be read outside the threads of the runtime.
pub(super) fn reader(body: Body) -> impl Read + Send + 'static {
    let pieces = Box::pin(futures_util::stream::unfold(body.into_data_stream(), async |mut pieces| {
        let next = match tokio::time::timeout(IDLE, pieces.next()).await {
            Ok(next) => next?.map_err(|error| Error::new(ErrorKind::ConnectionAborted, error)),
            Err(_) => Err(ErrorKind::TimedOut.into()),
        };
        Some((next, pieces))
    }));
    SyncIoBridge::new(StreamReader::new(pieces))
}

/// What a body that cannot be read on is to its sender.
pub(super) fn problem(error: &Error) -> Problem {
    match error.kind() {
        ErrorKind::TimedOut => {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not go on for half a minute; send it again")
        }
        _ => Problem::bad_request(format!("the body cannot be read to its end: {error}")),
    }
}
