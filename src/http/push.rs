//! `POST /api/v1/models/{model}/predictions` and `.../assertions`: records, in many formats, of any number.
//!
//! 200 means that all of them are committed and flushed. Sending the same again changes nothing, so whoever gets another answer,
//! or none, sends all of it again. A body is read as it comes and committed part by part: one of gigabytes takes no more
//! memory than one of some mebibytes.

mod body;
mod reading;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::auth::Caller;
use super::given::Given;
use super::{Problem, Shared};
use crate::config::RecordKind;
use crate::desk::{Receipt, Refusal};
use crate::source::UnreadableFile;
use crate::source::body::{Media, packing};
use crate::source::file::Packing;
use reading::{Part, Reading};

/// A body up to this size that is not packed is read whole; larger ones, and those that say no size, as they come.
const SMALL_BODY: usize = 256 << 10;
/// So many bodies are read as they come at a time; each takes some mebibytes.
const MOST_STREAMS: usize = 4;
/// Whoever wants to send a large body waits so long for its turn.
const TURN_PATIENCE: Duration = Duration::from_secs(10);
/// A sender that is told to come back does so after so many seconds.
const COME_BACK_AFTER: u64 = 2;

/// Who may read a large body now.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_STREAMS)))
    }
}

impl Turns {
    async fn take(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let turn = tokio::time::timeout(TURN_PATIENCE, self.0.clone().acquire_owned()).await;
        turn.ok()
            .and_then(Result::ok)
            .ok_or_else(|| Problem::busy("other large bodies are being read; send again in a moment", COME_BACK_AFTER))
    }
}

/// What the address says besides the model.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// The plan's source of kind `push` whose columns the records have; without it the first of the plan, or the columns of the
    /// documents.
    pub(super) source: Option<String>,
}

/// Bring predictions in. 200 means that all of them are committed and flushed to disk.
#[utoipa::path(
    post,
    path = "/api/v1/models/{model}/predictions",
    tag = "records",
    operation_id = "push_predictions",
    params(("model" = String, Path, description = "The model."), Parameters),
    request_body(
        content(
            (serde_json::Value = "application/json"),
            (String = "application/x-ndjson"),
            (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.parquet"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"),
        ),
        description = "One record, a list of them, or a table; Content-Encoding gzip and zstd are understood"
    ),
    responses(
        (status = 200, description = "Every record is committed.", body = Receipt),
        (status = 422, description = "Some records were refused; the others are committed.", body = Receipt, content_type = "application/problem+json"),
        (status = 415, description = "The media type or the packing is not understood.", body = super::problem::Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn predictions(
    caller: Caller,
    State(shared): State<Shared>,
    Path(model): Path<String>,
    Given(asked): Given<Parameters>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    take_in(&shared, RecordKind::Predictions, (&model, caller.name()), asked, &headers, body).await
}

/// Bring truth in. 200 means that all of it is committed and flushed to disk.
#[utoipa::path(
    post,
    path = "/api/v1/models/{model}/assertions",
    tag = "records",
    operation_id = "push_assertions",
    params(("model" = String, Path, description = "The model."), Parameters),
    request_body(
        content(
            (serde_json::Value = "application/json"),
            (String = "application/x-ndjson"),
            (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.parquet"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"),
        ),
        description = "One record, a list of them, or a table; Content-Encoding gzip and zstd are understood"
    ),
    responses(
        (status = 200, description = "Every record is committed.", body = Receipt),
        (status = 422, description = "Some records were refused; the others are committed.", body = Receipt, content_type = "application/problem+json"),
        (status = 415, description = "The media type or the packing is not understood.", body = super::problem::Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn assertions(
    caller: Caller,
    State(shared): State<Shared>,
    Path(model): Path<String>,
    Given(asked): Given<Parameters>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    take_in(&shared, RecordKind::Assertions, (&model, caller.name()), asked, &headers, body).await
}

async fn take_in(
    shared: &Shared,
    record: RecordKind,
    (model, sender): (&str, &str),
    asked: Parameters,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (media, packing) = content(headers)?;
    let reading = Reading::new(&shared.context(), record, model, (asked.source.as_deref(), sender))?;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let is_text = matches!(media, Media::Json | Media::Ndjson | Media::Csv) && packing == Packing::None;
    let mut receipt = Receipt::default();
    let outcome = if is_text && length.is_some_and(|length| length <= SMALL_BODY) {
        small(shared, reading, media, body, &mut receipt).await
    } else {
        let _turn = shared.turns.take().await?;
        large(shared, reading, (media, packing), body, &mut receipt).await
    };
    match outcome {
        Ok(()) => Ok(answer(receipt)),
        Err(problem) => Err(problem.with_receipt(&receipt).closing()),
    }
}

/// What a body is and how it is packed.
fn content(headers: &HeaderMap) -> Result<(Media, Packing), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let unsupported = |detail: String| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
    let names = || Media::TYPES.map(|(name, _)| name).join(", ");
    let media = text(header::CONTENT_TYPE).unwrap_or_default();
    let media = Media::parse(media)
        .ok_or_else(|| unsupported(format!("the Content-Type {media:?} is not understood; say one of {}", names())))?;
    let encoding = text(header::CONTENT_ENCODING);
    let packing = packing(encoding).ok_or_else(|| {
        let encoding = encoding.unwrap_or_default();
        unsupported(format!("the Content-Encoding {encoding:?} is not understood; say gzip, zstd or identity"))
    })?;
    Ok((media, packing))
}

/// A body that is read whole, here and now.
async fn small(
    shared: &Shared,
    reading: Reading,
    media: Media,
    body: Body,
    receipt: &mut Receipt,
) -> Result<(), Problem> {
    let bytes = body::whole(body, SMALL_BODY).await?;
    let mut rows = reading.open(media, Packing::None, std::io::Cursor::new(bytes)).map_err(unreadable)?;
    loop {
        let part = reading.part(&mut rows);
        let is_last = part.ended.is_some();
        submit(shared, &reading, part, receipt, false).await?;
        if is_last {
            return Ok(());
        }
    }
}

/// A body that is read as it comes, by a thread of its own: while one part is committed, the next is read.
async fn large(
    shared: &Shared,
    reading: Reading,
    (media, packing): (Media, Packing),
    body: Body,
    receipt: &mut Receipt,
) -> Result<(), Problem> {
    let (sender, mut parts) = tokio::sync::mpsc::channel::<Part>(1);
    let reading = Arc::new(reading);
    let (own, input) = (reading.clone(), body::reader(body));
    let reader = tokio::task::spawn_blocking(move || {
        let mut rows = own.open(media, packing, input)?;
        loop {
            let part = own.part(&mut rows);
            let is_last = part.ended.is_some();
            // Nobody listens any more: what was committed stands.
            if sender.blocking_send(part).is_err() || is_last {
                return Ok(());
            }
        }
    });
    while let Some(part) = parts.recv().await {
        submit(shared, &reading, part, receipt, true).await?;
    }
    match reader.await {
        Ok(read) => read.map_err(unreadable),
        // Readers are other people's code: one that panics costs its body, not the daemon.
        Err(_) => Err(Problem::bad_request("the body contradicts itself: its reader gave up")),
    }
}

/// Commit a part of a body; then tell what ended it, if that is not its end.
async fn submit(
    shared: &Shared,
    reading: &Reading,
    part: Part,
    receipt: &mut Receipt,
    waits: bool,
) -> Result<(), Problem> {
    let Part { collector, ended } = part;
    if !collector.is_empty() || collector.ignored() > 0 {
        let taken = shared.desk.submit(&reading.source, &reading.sender, collector, waits).await;
        receipt.add(taken.map_err(refused)?);
    }
    match ended {
        Some(Err(error)) => Err(body::problem(&error)),
        Some(Ok(())) | None => Ok(()),
    }
}

fn unreadable(error: UnreadableFile) -> Problem {
    match error {
        UnreadableFile::Io(error) => body::problem(&error),
        UnreadableFile::Format(message) => Problem::bad_request(message),
    }
}

fn refused(refusal: Refusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::Failed => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail),
        Refusal::Busy | Refusal::Stopping | Refusal::Unreachable | Refusal::PlanChanged => {
            Problem::busy(detail, COME_BACK_AFTER)
        }
    }
}

/// 200 when every record is in; a problem with the same members when some were refused.
fn answer(receipt: Receipt) -> Response {
    if receipt.rejected == 0 {
        return Json(receipt).into_response();
    }
    let detail = format!(
        "{} record(s) were refused, each for the reason given; the other {} are committed. Correct the refused ones and send \
         them again; they are kept as rejections, too",
        receipt.rejected,
        receipt.accepted + receipt.duplicates
    );
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_receipt(&receipt).into_response()
}
