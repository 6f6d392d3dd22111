//! What an address asks for besides its path.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::{Problem, Shared};

/// The parameters of a request. Malformed or unknown ones are a problem that names them.
#[derive(Debug)]
pub(super) struct Given<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Given<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Problem> {
        let asked = Query::try_from_uri(&parts.uri);
        asked.map(|Query(asked)| Self(asked)).map_err(|rejection| Problem::bad_request(rejection.body_text()))
    }
}
