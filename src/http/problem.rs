//! The one type of problem: `application/problem+json` (RFC 9457).

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::store::Error;

/// Whoever finds the database away asks again after so many seconds.
const DATABASE_BACK_AFTER: u64 = 5;

/// A problem that a caller can read.
#[derive(Debug)]
pub struct Problem {
    pub(super) status: StatusCode,
    pub(super) detail: String,
    /// Seconds to wait before asking again.
    pub(super) retry_after: Option<u64>,
    /// The methods that there are.
    pub(super) allow: Option<HeaderValue>,
    /// Whether the connection ends with it.
    closes: bool,
    /// What else the problem says.
    members: serde_json::Map<String, serde_json::Value>,
}

/// What a problem says.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(super) struct Document {
    /// `about:blank`: the status says what kind of problem it is.
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// What is wrong and what to do about it.
    detail: String,
    /// What else there is to say, as of the records that were taken in before the problem.
    #[serde(flatten)]
    #[schema(ignore)]
    members: serde_json::Map<String, serde_json::Value>,
}

impl Problem {
    /// A problem of a status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let members = serde_json::Map::new();
        Self { status, detail: detail.into(), retry_after: None, allow: None, closes: false, members }
    }

    /// What was asked for does not exist.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// The request is malformed.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// What was asked or sent is well formed, and refused for what it says.
    pub fn refused(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// Whoever asks has not shown who they are.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// Whoever asks may not do it.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// Whoever asks has asked too often, or too much is asked at once.
    pub fn too_many(detail: impl Into<String>, wait: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail).after(wait)
    }

    /// The daemon cannot do it now; the same may be tried again after so many seconds.
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

    /// A body has brought nothing for too long.
    #[must_use]
    pub fn idle() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "the body has brought nothing for too long (http.body_timeout)")
    }

    /// Say that the connection ends: a body that was not read to its end leaves it unfit for another request, and whoever is not told
    /// so sends one into it.
    #[must_use]
    pub fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    /// Say when to ask again: `Retry-After`.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        self
    }

    /// What the store did not do: what it says to the caller is told, whatever else failed is logged, not shown.
    pub fn internal(error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        let cause = error.chain().find_map(|cause| match cause.downcast_ref() {
            // It shows the store's error as its own.
            Some(crate::job::Error::Store(error)) => Some(error),
            _ => cause.downcast_ref(),
        });
        match cause {
            Some(Error::Missing(detail)) => return Self::not_found(detail),
            Some(Error::Conflict(detail)) => return Self::new(StatusCode::CONFLICT, detail),
            Some(Error::Refused(detail)) => return Self::refused(detail),
            _ => tracing::error!(error = format!("{error:#}"), "a request failed"),
        }
        if matches!(cause, Some(Error::Unreachable(_))) {
            return Self::busy("the database does not answer; ask again later", DATABASE_BACK_AFTER);
        }
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the daemon could not answer; its log says why")
    }
}

/// What the problem of an answer says, for whoever shows it otherwise.
#[derive(Clone, Debug)]
pub(super) struct Said(pub(super) String);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let said = Said(self.detail.clone());
        let document = Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Problem"),
            status: self.status.as_u16(),
            detail: self.detail,
            members: self.members,
        };
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, kind, Json(document)).into_response();
        response.extensions_mut().insert(said);
        let headers = response.headers_mut();
        if self.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(methods) = self.allow {
            headers.insert(header::ALLOW, methods);
        }
        response
    }
}
