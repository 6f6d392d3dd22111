//! `POST /api/v1/models/{model}/events`: CloudEvents of an inference server.
//!
//! 200 means that the events are kept, committed and flushed. The next pass of `ingest` makes records of them; what it refuses is
//! a rejection like any other, for a logger reads no answers.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

use super::given::Given;
use super::guard::idle;
use super::push::Parameters;
use super::{Problem, Shared};
use crate::source::inference::{Event, Half};

/// A body may have so many bytes.
pub(super) const LARGEST: usize = 16 << 20;

/// What was kept.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub(super) struct Kept {
    /// Events that were not kept already.
    accepted: u64,
    /// Events that were kept already.
    duplicates: u64,
    /// Requests that the plan's columns have no use for.
    ignored: u64,
}

/// Keep events of an inference server: CloudEvents with payloads of the Open Inference Protocol v2.
#[utoipa::path(
    post,
    path = "/api/v1/models/{model}/events",
    tag = "records",
    operation_id = "push_events",
    params(("model" = String, Path, description = "The model."), Parameters),
    request_body(
        description = "One CloudEvent (structured, or binary with `ce-` headers) or an array of them. The data is a request or a \
            response of the Open Inference Protocol v2.",
        content((Value = "application/cloudevents+json"), (Value = "application/cloudevents-batch+json"), (Value = "application/json"))
    ),
    responses(
        (status = 200, description = "The events are kept.", body = Kept),
        (status = 422, description = "An event is none of an inference; nothing is kept.", body = super::problem::Document, content_type = "application/problem+json"),
        (status = 415, description = "The media type is not understood.", body = super::problem::Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn post(
    State(shared): State<Shared>,
    Path(model): Path<String>,
    Given(parameters): Given<Parameters>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Kept>, Problem> {
    let body = body.map_err(|rejection| {
        idle(&rejection).unwrap_or_else(|| Problem::new(rejection.status(), rejection.body_text()))
    })?;
    let context = shared.context();
    let source = context.plan.event_source(&model, parameters.source.as_deref()).map_err(Problem::not_found)?;
    let events = read(&headers, &body)?;
    let mut kept = Vec::with_capacity(events.len());
    let mut ignored = 0;
    for (number, event) in events.into_iter().enumerate() {
        let event = event.map_err(|message| {
            let detail = format!("event {number}: {message}. Nothing of the body is kept");
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
        })?;
        if event.half == Half::Request && !source.needs_request() {
            ignored += 1;
            continue;
        }
        // unwrap safety: texts, numbers and maps with text keys always serialise.
        kept.push((event.id.clone(), event.half.as_str(), serde_json::to_string(&event).unwrap_or_default()));
    }
    let sent = kept.len() as u64;
    let accepted = context.store.keep_events(&source.name, &kept, context.clock.now()).await;
    let accepted = accepted.map_err(Problem::internal)?;
    Ok(Json(Kept { accepted, duplicates: sent - accepted, ignored }))
}

/// The events of a body: structured, or with their attributes in the headers.
fn read(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Result<Event, String>>, Problem> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_structured = media.starts_with("application/cloudevents") && media.ends_with("+json");
    if !is_structured && media != "application/json" {
        let detail = format!(
            "the Content-Type {media:?} is not understood; say application/cloudevents+json, \
             application/cloudevents-batch+json, or application/json with ce- headers"
        );
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    if is_structured {
        return Event::parse(body).map_err(Problem::bad_request);
    }
    let attributes = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix("ce-")?;
        Some((name.to_owned(), Value::from(value.to_str().ok()?)))
    });
    let attributes: Map<String, Value> = attributes.collect();
    let data = serde_json::from_slice(body);
    let data = data.map_err(|error| Problem::bad_request(format!("the body is no JSON: {error}")))?;
    Ok(vec![Event::new(attributes, data)])
}
