//! The number in an address.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use super::{Problem, Shared};

/// The number that an address names.
#[derive(Debug)]
pub(super) struct Id(pub(super) i64);

impl FromRequestParts<Shared> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Problem> {
        let id = Path::<i64>::from_request_parts(parts, shared).await;
        id.map(|Path(id)| Self(id)).map_err(|_| Problem::not_found("what the address names is no number"))
    }
}
