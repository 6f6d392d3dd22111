//! Bodies as they come. `guard` has seen to it that one which brings nothing for long ends with an error.

use std::io::{Error, ErrorKind, Read};

use axum::body::{Body, Bytes};
use futures_util::StreamExt;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::http::Problem;
use crate::http::guard::idle;

/// A body whole, of at most `most` bytes.
pub(super) async fn whole(body: Body, most: usize) -> Result<Bytes, Problem> {
    let read = axum::body::to_bytes(body, most).await;
    read.map_err(|error| problem(&Error::new(ErrorKind::UnexpectedEof, error)))
}

/// A body for a reader that blocks. Must be read outside the threads of the runtime.
pub(super) fn reader(body: Body) -> impl Read + Send + 'static {
    let pieces = Box::pin(futures_util::stream::unfold(body.into_data_stream(), async |mut pieces| {
        let next = pieces.next().await?;
        Some((next.map_err(|error| Error::new(ErrorKind::ConnectionAborted, error)), pieces))
    }));
    SyncIoBridge::new(StreamReader::new(pieces))
}

/// What a body that cannot be read on is to its sender.
pub(super) fn problem(error: &Error) -> Problem {
    idle(error).unwrap_or_else(|| Problem::bad_request(format!("the body cannot be read to its end: {error}")))
}
