//! The one type of problem: `application/problem+json` (RFC 9457).

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::store::Error;

/// A problem that a caller can read.
#[derive(Debug)]
pub struct Problem {
    pub(super) status: StatusCode,
    pub(super) detail: String,
    /// What else the problem says.
    members: serde_json::Map<String, serde_json::Value>,
    /// After so many seconds the same may be tried again.
    retry_after: Option<u64>,
}

impl Problem {
    /// A problem of any kind.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), members: serde_json::Map::new(), retry_after: None }
    }

    /// There is too much to do; the same may be tried again after so many seconds.
    pub fn busy(detail: impl Into<String>, retry_after: u64) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// With what became of the records of a request.
    #[must_use]
    pub fn with_receipt(mut self, receipt: &crate::desk::Receipt) -> Self {
        // unwrap safety: numbers and texts always serialise, to an object.
        if let Ok(serde_json::Value::Object(members)) = serde_json::to_value(receipt) {
            self.members.extend(members);
        }
        self
    }

    /// What was asked for does not exist.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// The request is malformed.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Whoever asks has not shown who they are.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// Nobody may do it.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// What came of a person's step that the store did not take.
    #[must_use]
    pub fn of_step(error: Error) -> Self {
        match error {
            Error::Missing(detail) => Self::new(StatusCode::NOT_FOUND, detail),
            Error::Conflict(detail) => Self::new(StatusCode::CONFLICT, detail),
            Error::Refused(detail) => Self::new(StatusCode::BAD_REQUEST, detail),
            error => Self::internal(error),
        }
    }

    /// The machinery failed. The cause is logged, not shown.
    pub fn internal(error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        tracing::error!(error = format!("{error:#}"), "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the daemon could not answer; its log says why")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = self.members;
        body.insert("type".into(), "about:blank".into());
        body.insert("title".into(), self.status.canonical_reason().into());
        body.insert("status".into(), self.status.as_u16().into());
        body.insert("detail".into(), self.detail.into());
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, kind, Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}
