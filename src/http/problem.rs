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
}

impl Problem {
    /// What was asked for does not exist.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, detail: detail.into() }
    }

    /// The request is malformed.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, detail: detail.into() }
    }

    /// Whoever asks has not shown who they are.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, detail: detail.into() }
    }

    /// Nobody may do it.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, detail: detail.into() }
    }

    /// What came of a person's step that the store did not take.
    #[must_use]
    pub fn of_step(error: Error) -> Self {
        match error {
            Error::Missing(detail) => Self { status: StatusCode::NOT_FOUND, detail },
            Error::Conflict(detail) => Self { status: StatusCode::CONFLICT, detail },
            Error::Refused(detail) => Self { status: StatusCode::BAD_REQUEST, detail },
            error => Self::internal(error),
        }
    }

    /// The machinery failed. The cause is logged, not shown.
    pub fn internal(error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        tracing::error!(error = format!("{error:#}"), "a request failed");
        let detail = "the daemon could not answer; its log says why".to_owned();
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, detail }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, kind, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}
