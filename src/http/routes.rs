//! What each route needs: the one table that decides, documents and is tested.
//!
//! A route that is not listed here answers nobody (`guard`), and a test fails. To add one: a handler with its
//! `#[utoipa::path]`, its line in `super::operations`, and its line here.

use axum::http::Method;

use crate::access::Role;

/// What whoever asks must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: the route says nothing about anybody.
    Nothing,
    /// A signed link, which the handler checks.
    Link,
    /// What Prometheus shows, if the configuration says so; a token that may read does as well.
    Metrics,
    /// A token with a role that covers this one.
    Role(Role),
    /// The same or a session of the console that was begun with one: it is a page for people.
    Page(Role),
}

/// A route.
#[derive(Clone, Debug)]
pub struct Route {
    /// The method; `GET` answers `HEAD`, too.
    pub method: Method,
    /// The path, as the router matches it.
    pub path: &'static str,
    /// What it needs.
    pub need: Need,
}

const fn get(path: &'static str, need: Need) -> Route {
    Route { method: Method::GET, path, need }
}

const fn post(path: &'static str, need: Need) -> Route {
    Route { method: Method::POST, path, need }
}

const INGEST: Need = Need::Role(Role::Ingest);
const READ: Need = Need::Role(Role::Read);
const OPERATE: Need = Need::Role(Role::Operate);
const AUDIT: Need = Need::Role(Role::Audit);
const SEEN: Need = Need::Page(Role::Read);
const OPERATED: Need = Need::Page(Role::Operate);
const AUDITED: Need = Need::Page(Role::Audit);

/// Every route.
pub const ROUTES: &[Route] = &[
    get("/", Need::Nothing),
    get("/livez", Need::Nothing),
    get("/readyz", Need::Nothing),
    get("/api/v1/openapi.json", Need::Nothing),
    get("/metrics", Need::Metrics),
    get("/alerts/{id}/act", Need::Link),
    post("/alerts/{id}/act", Need::Link),
    post("/api/v1/models/{model}/predictions", INGEST),
    post("/api/v1/models/{model}/assertions", INGEST),
    post("/api/v1/models/{model}/events", INGEST),
    get("/api/v1/health", READ),
    get("/api/v1/sources", READ),
    get("/api/v1/alerts", READ),
    get("/api/v1/alerts/{id}", READ),
    get("/api/v1/silences", READ),
    get("/api/v1/streams", READ),
    get("/api/v1/stream", READ),
    get("/api/v1/budget", READ),
    get("/api/v1/query", READ),
    get("/api/v1/curve", READ),
    get("/api/v1/compare", READ),
    get("/api/v1/drift", READ),
    get("/api/v1/rejections", READ),
    get("/api/v1/models", READ),
    get("/api/v1/versions", READ),
    get("/api/v1/estimates", READ),
    get("/api/v1/estimates/{id}", READ),
    get("/api/v1/series", READ),
    get("/api/v1/coverage", READ),
    get("/api/v1/diff", READ),
    // The handler asks for operate or audit besides: it names cases.
    get("/api/v1/diff/cases", READ),
    get("/api/v1/plans", READ),
    get("/api/v1/plans/{id}", READ),
    get("/api/v1/plans/{id}/diff", READ),
    get("/api/v1/jobs", READ),
    post("/api/v1/alerts/{id}/acknowledge", OPERATE),
    post("/api/v1/alerts/{id}/resolve", OPERATE),
    post("/api/v1/alerts/{id}/silence", OPERATE),
    post("/api/v1/alerts/{id}/comment", OPERATE),
    post("/api/v1/silences", OPERATE),
    post("/api/v1/silences/{id}/end", OPERATE),
    get("/api/v1/audit", AUDIT),
    get("/api/v1/audit/verify", AUDIT),
    get("/api/v1/tokens", AUDIT),
    get("/api/v1/bundle", AUDIT),
];

/// Every page of the console and what its forms do. They are for people, and no part of the API.
pub const PAGES: &[Route] = &[
    get("/console/assets/{name}", Need::Nothing),
    get("/console/login", Need::Nothing),
    post("/console/login", Need::Nothing),
    post("/console/logout", Need::Nothing),
    post("/console/theme", Need::Nothing),
    get("/console", SEEN),
    get("/console/models/{model}", SEEN),
    get("/console/alerts", SEEN),
    get("/console/alerts/{id}", SEEN),
    get("/console/health", SEEN),
    get("/console/sources", SEEN),
    get("/console/rejections", SEEN),
    get("/console/plan", SEEN),
    get("/console/audit", AUDITED),
    post("/console/audit/verify", AUDITED),
    post("/console/alerts/{id}/acknowledge", OPERATED),
    post("/console/alerts/{id}/resolve", OPERATED),
    post("/console/alerts/{id}/silence", OPERATED),
    post("/console/alerts/{id}/comment", OPERATED),
];

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// This.
    Needs(Need),
    /// The path is known, and this method is not.
    OtherMethod,
    /// The path is not in the table.
    Unknown,
}

/// Look a request up.
pub(super) fn find(method: &Method, path: &str) -> Found {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let mut routes = ROUTES.iter().chain(PAGES).filter(|route| route.path == path).peekable();
    if routes.peek().is_none() {
        return Found::Unknown;
    }
    routes.find(|route| route.method == method).map_or(Found::OtherMethod, |route| Found::Needs(route.need))
}

/// The methods of a path, as `Allow` lists them.
pub(super) fn allowed(path: &str) -> String {
    let methods = ROUTES.iter().chain(PAGES).filter(|route| route.path == path).flat_map(|route| {
        let head = (route.method == Method::GET).then_some("HEAD");
        std::iter::once(if head.is_some() { "GET" } else { "POST" }).chain(head)
    });
    methods.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_listed_once_and_a_change_needs_more_than_reading() {
        for (index, route) in ROUTES.iter().enumerate() {
            let again =
                ROUTES[index + 1..].iter().any(|other| (&other.method, other.path) == (&route.method, route.path));
            assert!(!again, "{} is listed twice", route.path);
            let changes = route.method != Method::GET;
            assert!(!changes || !matches!(route.need, READ | AUDIT | Need::Nothing | Need::Metrics), "{}", route.path);
        }
    }

    #[test]
    fn what_is_not_listed_is_not_found() {
        assert_eq!(find(&Method::HEAD, "/api/v1/alerts"), Found::Needs(READ));
        assert_eq!(find(&Method::DELETE, "/api/v1/alerts"), Found::OtherMethod);
        assert_eq!(find(&Method::GET, "/api/v1/secrets"), Found::Unknown);
        assert_eq!(allowed("/api/v1/silences"), "GET, HEAD, POST");
    }
}
