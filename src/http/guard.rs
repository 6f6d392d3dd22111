//! What every request passes before its handler: the size of its headers, the gate, the model of its path, its body.
//!
//! Must never: let a request through whose route is not in the table of `routes`.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;

use super::console::Asked;
use super::routes::{Found, Need, allowed, find};
use super::{Problem, Shared};
use crate::access::Role;

/// Let a request through, or answer why not.
pub(super) async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let may_have_body = !matches!(*request.method(), Method::GET | Method::HEAD);
    let asked = Asked::of(&request);
    let response = match pass(&shared, request).await {
        Ok(request) => next.run(request).await,
        Err(problem) if may_have_body => problem.closing().into_response(),
        Err(problem) => problem.into_response(),
    };
    match asked {
        Some(asked) => asked.finish(&shared, response),
        None => response,
    }
}

async fn pass(shared: &Shared, request: Request) -> Result<Request, Problem> {
    let context = shared.context();
    let http = &context.plan.http;
    let size = header_bytes(request.headers());
    if size > http.max_header_bytes {
        return Err(Problem::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            format!(
                "the headers have {size} bytes, and at most {} are read (http.max_header_bytes)",
                http.max_header_bytes
            ),
        ));
    }
    // Without a matched path nothing matches: the fallback says so.
    let Some(path) = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()) else {
        return Ok(request);
    };
    let need = match find(request.method(), &path) {
        Found::Needs(need) => need,
        Found::OtherMethod => {
            let (methods, method) = (allowed(&path), request.method());
            let mut problem =
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is nothing here; use {methods}"));
            problem.allow = HeaderValue::from_str(&methods).ok();
            return Err(problem);
        }
        Found::Unknown => {
            return Err(Problem::internal(anyhow::anyhow!("{path} is not in the table of routes: nobody may use it")));
        }
    };
    let caller = shared.gate.admit(&context, need, request.headers()).await?;
    let (mut parts, body) = request.into_parts();
    if let Ok(params) = RawPathParams::from_request_parts(&mut parts, shared).await
        && let Some((_, model)) = params.iter().find(|(name, _)| *name == "model")
    {
        caller.require_model(model)?;
    }
    parts.extensions.insert(caller);
    let body = if need == Need::Role(Role::Ingest) {
        Body::from_stream(patient(body, http.body_timeout))
    } else {
        Body::from(whole(&parts.headers, body, http.max_body_bytes, http.body_timeout).await?)
    };
    Ok(Request::from_parts(parts, body))
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// A body that brings nothing for a while ends with an error of the kind `TimedOut`. [`idle`] recognises it.
fn patient(body: Body, timeout: Duration) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    futures_util::stream::unfold(Some(body.into_data_stream()), move |stream| async move {
        let mut stream = stream?;
        match tokio::time::timeout(timeout, stream.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(bytes))) => Some((Ok(bytes), Some(stream))),
            Ok(Some(Err(error))) => Some((Err(std::io::Error::other(error)), None)),
            Err(_) => Some((Err(std::io::Error::from(std::io::ErrorKind::TimedOut)), None)),
        }
    })
}

/// The answer to a streamed body that has brought nothing for `http.body_timeout`; `None` for any other error of a body.
#[must_use]
pub fn idle(error: &(dyn std::error::Error + 'static)) -> Option<Problem> {
    let mut cause = Some(error);
    while let Some(present) = cause {
        let io = present.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut) {
            return Some(Problem::idle());
        }
        // What an I/O error wraps is not its source; that one's source would be next.
        cause = match io.and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn std::error::Error + 'static)),
            None => present.source(),
        };
    }
    None
}

/// A small body, whole.
async fn whole(headers: &HeaderMap, body: Body, most: usize, timeout: Duration) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body has more than {most} bytes (http.max_body_bytes)");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    let stated = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if stated.is_some_and(|stated| stated > most) {
        return Err(too_large());
    }
    let mut stream = std::pin::pin!(patient(body, timeout));
    let mut read = Vec::new();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(|error| {
            idle(&error).unwrap_or_else(|| Problem::bad_request("the body broke off before its end"))
        })?;
        if read.len() + bytes.len() > most {
            return Err(too_large());
        }
        read.extend_from_slice(&bytes);
    }
    Ok(read.into())
}
