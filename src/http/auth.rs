//! Who may change something: whoever shows the configured token.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::{Problem, Shared};
use crate::alert::link::is_same_secret;

/// A request that has shown the token. Handlers that change something ask for it first.
#[derive(Debug)]
pub(super) struct Authorised;

impl FromRequestParts<Shared> for Authorised {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Problem> {
        let context = shared.context();
        let Some(token) = &context.plan.http.token else {
            return Err(Problem::forbidden(
                "no token is configured, so nobody may change anything here; set http.token_file or \
                 DOSIMETER_HTTP_TOKEN, or use the dosimeter command",
            ));
        };
        let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = header.and_then(|value| value.split_once(' '));
        let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        match shown {
            Some(shown) if is_same_secret(token.expose(), shown) => Ok(Self),
            Some(_) => Err(Problem::unauthorized("the token is not the configured one")),
            None => Err(Problem::unauthorized("show the configured token: Authorization: Bearer TOKEN")),
        }
    }
}
