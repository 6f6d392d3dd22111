//! The console: pages for people, made by the daemon, one file per page.
//!
//! Every page works without JavaScript and asks for nothing from elsewhere. Every page can be asked for as of an instant, `?as_of=`: it
//! then shows what had been published by then, links on to pages of the same instant, and lets nobody act.
//! Must never: compute, or show a number without its interval and its n; the store, `query` and `picture` do the work.
//! Look next at [`frame`], which every page stands in, and at `session` for who may see it.

mod alert;
mod alerts;
mod assets;
mod audit;
mod fleet;
mod frame;
mod health;
mod login;
mod model;
mod plan;
mod rejections;
pub(super) mod session;
mod sources;
mod steps;
mod words;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use super::problem::Said;
use super::{Problem, Shared};
use crate::alert::report::encode_query;

/// The pages and what their forms do; each has its line in `routes::PAGES`.
pub(super) fn pages() -> Router<Shared> {
    Router::new()
        .route("/console/assets/{name}", get(assets::get))
        .route("/console/login", get(login::get).post(login::post))
        .route("/console/logout", post(login::end))
        .route("/console/theme", post(login::theme))
        .route("/console", get(fleet::get))
        .route("/console/models/{model}", get(model::get))
        .route("/console/alerts", get(alerts::get))
        .route("/console/alerts/{id}", get(alert::get))
        .route("/console/alerts/{id}/acknowledge", post(steps::acknowledge))
        .route("/console/alerts/{id}/resolve", post(steps::resolve))
        .route("/console/alerts/{id}/silence", post(steps::silence))
        .route("/console/alerts/{id}/comment", post(steps::comment))
        .route("/console/health", get(health::get))
        .route("/console/sources", get(sources::get))
        .route("/console/rejections", get(rejections::get))
        .route("/console/plan", get(plan::get))
        .route("/console/audit", get(audit::get))
        .route("/console/audit/verify", post(audit::verify))
}

/// Nothing from elsewhere, no script or style within a page, no frame around one.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// A request for a page, as far as its answer needs it.
pub(super) struct Asked {
    method: Method,
    uri: Uri,
    theme: frame::Theme,
}

impl Asked {
    /// What was asked, if it is a page.
    pub(super) fn of<B>(request: &axum::http::Request<B>) -> Option<Self> {
        let path = request.uri().path();
        let is_page = path == "/console" || path.starts_with("/console/");
        is_page.then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            theme: frame::Theme::of(request.headers()),
        })
    }

    /// The answer as people get it: a problem becomes a page or the way to the log-in, and every answer says what a browser may do
    /// with it.
    pub(super) fn finish(self, shared: &Shared, response: Response) -> Response {
        let mut response = match response.extensions().get::<Said>().cloned() {
            Some(Said(detail)) => self.refusal(shared, response, &detail),
            None => response,
        };
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "same-origin"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        // What people see is theirs alone; only the files of the pages are kept.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        response
    }

    fn refusal(&self, shared: &Shared, response: Response, detail: &str) -> Response {
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED && self.method == Method::GET && self.uri.path() != "/console/login" {
            let next = self.uri.path_and_query().map_or("/console", |path| path.as_str());
            return Redirect::to(&format!("/console/login?next={}", encode_query(next))).into_response();
        }
        let title = status.canonical_reason().unwrap_or("Problem");
        let page = frame::bare(&shared.context(), self.theme, title, &words::refusal(title, detail));
        let mut answer = (status, page).into_response();
        for name in [header::RETRY_AFTER, header::ALLOW, header::CONNECTION] {
            if let Some(value) = response.headers().get(&name) {
                answer.headers_mut().insert(name, value.clone());
            }
        }
        answer
    }
}

/// A page, or the problem that stands in its place.
type Page = Result<Html<String>, Problem>;
/// A part of one.
type Part = Result<maud::Markup, Problem>;

/// A failure of a question, as a problem.
fn of_query(error: crate::query::Error) -> Problem {
    match error {
        crate::query::Error::Unknown(detail) => Problem::not_found(detail),
        crate::query::Error::Failed(error) => Problem::internal(error),
    }
}
