//! Answers that have not changed are not sent again: `ETag` and `If-None-Match`, for whatever the API answers to `GET`.
//!
//! The tag is a digest of the content, so equal answers have equal tags on every replica and after every restart.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::Problem;
use crate::chain::hex;

/// Whose answers have tags.
const PREFIX: &str = "/api/v1/";

/// Tag an answer, and leave its body out where whoever asks has it already.
pub(super) async fn tag(request: Request, next: Next) -> Response {
    let is_tagged = *request.method() == Method::GET && request.uri().path().starts_with(PREFIX);
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    if !is_tagged || response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // Answers are whole in memory already; this takes them over.
    let bytes = match to_bytes(body, usize::MAX).await {
        Ok(bytes) => bytes,
        Err(error) => return Problem::internal(anyhow::Error::from(error)).into_response(),
    };
    let tag = format!("\"{}\"", &hex(&Sha256::digest(&bytes))[..32]);
    let is_known = known.as_ref().and_then(|known| known.to_str().ok()).is_some_and(|known| has(known, &tag));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, tag);
    }
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if is_known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// Whether a list of tags has this one; weak or strong, as RFC 9110 compares them here.
fn has(known: &str, tag: &str) -> bool {
    known.trim() == "*" || known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::has;

    #[test]
    fn a_tag_is_found_in_a_list_weak_or_strong() {
        assert!(has("\"a\", W/\"b\"", "\"b\"") && has("*", "\"b\"") && !has("\"a\"", "\"b\"") && !has("b", "\"b\""));
    }
}
