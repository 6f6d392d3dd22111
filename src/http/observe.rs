//! What every request leaves in the metrics: how many, how long, and why some were refused.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::Shared;

/// Count a request once it is answered.
pub(super) async fn observe(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let path = request.extensions().get::<MatchedPath>().cloned();
    // Labels are bounded: routes are listed, and what matches none is one.
    let route = path.as_ref().map_or("(none)", MatchedPath::as_str);
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    };
    let response = next.run(request).await;
    let status = response.status();
    let exporter = shared.context().exporter;
    exporter.traffic().note(route, method, class(status), refusal(status), began.elapsed());
    response
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

/// Why a request was refused before anything was done for it.
fn refusal(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::UNAUTHORIZED => Some("unauthorised"),
        StatusCode::FORBIDDEN => Some("forbidden"),
        StatusCode::TOO_MANY_REQUESTS => Some("rate"),
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Some("size"),
        StatusCode::REQUEST_TIMEOUT => Some("slow"),
        _ => None,
    }
}
