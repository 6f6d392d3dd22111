//! HTTP: metrics, health, the API and the console. One file per operation; one type of problem (RFC 9457).
//!
//! Must never: compute; it asks `query`, the store and the exporter.

mod act;
mod alert;
mod alerts;
mod audit;
mod audit_verify;
pub mod auth;
mod bundle;
mod compare;
mod console;
mod coverage;
mod curve;
mod diff;
mod drift;
mod estimates;
mod events;
mod fresh;
mod given;
pub mod guard;
mod health;
mod id;
mod jobs;
mod metrics;
mod model_health;
mod models;
mod observe;
pub mod openapi;
mod page;
mod plans;
mod problem;
mod push;
mod query;
mod rejections;
pub mod routes;
mod series;
pub mod server;
mod silences;
mod sources;
mod step;
mod streams;
mod table;
mod tls;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use tokio::sync::watch;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

pub use problem::Problem;
pub use server::serve;

use crate::desk::Desk;
use crate::domain::Slice;
use crate::domain::window::parse_instant;
use crate::job::Context;

/// What the operations share: the present context, and who may do what.
#[derive(Clone)]
pub struct Shared {
    context: watch::Receiver<Context>,
    gate: Arc<auth::Gate>,
    desk: Desk,
    turns: push::Turns,
}

impl Shared {
    fn context(&self) -> Context {
        self.context.borrow().clone()
    }
}

/// An instant that a request may give.
fn instant(text: Option<&String>) -> Result<Option<DateTime<Utc>>, Problem> {
    text.map(|text| parse_instant(text)).transpose().map_err(Problem::bad_request)
}

/// A slice that a request gives, in canonical form.
fn slice(text: &str) -> Result<String, Problem> {
    place(Some(text)).map(|slice| slice.to_string())
}

/// The slice that a request gives; that of everything if it gives none.
fn place(text: Option<&str>) -> Result<Slice, Problem> {
    text.unwrap_or("all").parse().map_err(|error: String| Problem::refused(error))
}

/// All operations, with their descriptions. One that is added here needs its line in `routes`, too.
fn operations() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(index))
        .routes(routes!(metrics::get))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(openapi::get))
        .routes(routes!(push::predictions))
        .routes(routes!(push::assertions))
        .routes(routes!(events::post).layer(DefaultBodyLimit::max(events::LARGEST)))
        .routes(routes!(model_health::get))
        .routes(routes!(sources::get))
        .routes(routes!(alerts::get))
        .routes(routes!(alert::get))
        .routes(routes!(step::acknowledge))
        .routes(routes!(step::resolve))
        .routes(routes!(step::silence))
        .routes(routes!(step::comment))
        .routes(routes!(silences::get, silences::post))
        .routes(routes!(silences::end))
        .routes(routes!(act::get, act::post))
        .routes(routes!(streams::get))
        .routes(routes!(streams::get_one))
        .routes(routes!(streams::get_budget))
        .routes(routes!(query::get))
        .routes(routes!(curve::get))
        .routes(routes!(compare::get))
        .routes(routes!(drift::get))
        .routes(routes!(rejections::get))
        .routes(routes!(models::get))
        .routes(routes!(models::versions))
        .routes(routes!(estimates::get))
        .routes(routes!(estimates::get_one))
        .routes(routes!(series::get))
        .routes(routes!(coverage::get))
        .routes(routes!(diff::get))
        .routes(routes!(diff::cases))
        .routes(routes!(plans::get))
        .routes(routes!(plans::get_one))
        .routes(routes!(plans::diff))
        .routes(routes!(jobs::get))
        .routes(routes!(audit::get))
        .routes(routes!(audit_verify::get))
        .routes(routes!(audit::tokens))
        .routes(routes!(bundle::get))
}

/// The server's router: every operation behind the gate.
#[must_use]
pub fn router(context: watch::Receiver<Context>, desk: Desk) -> Router {
    let shared = Shared { context, gate: Arc::default(), desk, turns: push::Turns::default() };
    let (router, _) = operations().split_for_parts();
    router
        .merge(console::pages())
        .fallback(|uri: Uri| async move { nowhere(&uri) })
        .layer(from_fn(fresh::tag))
        .layer(from_fn_with_state(shared.clone(), guard::guard))
        .layer(from_fn_with_state(shared.clone(), observe::observe))
        .with_state(shared)
}

/// What is said of an address that leads nowhere.
fn nowhere(uri: &Uri) -> Problem {
    let way =
        if uri.path().starts_with("/console/") { "/console leads to every page" } else { "/ lists what there is" };
    Problem::not_found(format!("there is nothing at this address; {way}"))
}

/// What there is, for people.
#[utoipa::path(
    get,
    path = "/",
    tag = "process",
    operation_id = "index",
    responses(
        (status = 200, description = "A list of addresses.", body = String, content_type = "text/plain; charset=utf-8"),
        (status = 303, description = "To the console, for whoever prefers a page: a browser."),
    )
)]
async fn index(headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepted.contains("text/html") {
        return Redirect::to("/console").into_response();
    }
    INDEX.into_response()
}

const INDEX: &str = "dosimeter\n\n\
     /console         pages for people: the fleet, models, alerts with their evidence, and as known at any instant\n\
     /metrics         what Prometheus scrapes\n\
     /livez           the process lives\n\
     /readyz          database, schema and numbers are there\n\
     /api/v1/models/MODEL/predictions and assertions   POST records: JSON, NDJSON, CSV, Parquet or Arrow\n\
     /api/v1/models/MODEL/events   POST CloudEvents of an inference server\n\
     /api/v1/health   whether the data of each model comes, and whole: every rule, its verdict and its reason, ?model=\n\
     /api/v1/sources  every source, how far behind it is, and why it fails if it does\n\
     /api/v1/alerts   alerts, ?open=true for open ones; /api/v1/alerts/ID with history, decisions and notices\n\
     /api/v1/silences silences, ?all=true for past ones too\n\
     /api/v1/streams  the alarm engine: evidence, thresholds and null values, ?as_of=; /api/v1/budget with what was spent of it\n\
     /api/v1/stream   ?watch=&output=&slice=: one stream day by day, replayed, and with the truth of today, or ?as_of=\n\
     /api/v1/query    ?model=&output=&from=&to= and version, slice, known_at, recorded, threshold, reference\n\
     /api/v1/curve    the same and kind=roc, precision-recall, reliability, isotonic, net-benefit or histogram\n\
     /api/v1/compare  the same and against_version or against_slice\n\
     /api/v1/drift    ?model=&from=&to=: scores, features and case mix by the evidence that they have moved\n\
     /api/v1/audit    who did what, ?actor= &action= &subject= &text= &from= &to=; /api/v1/audit/verify whether it fits together\n\
     /api/v1/tokens   the tokens without their secrets\n\
     /api/v1/bundle   ?model=&version=&from=&to= and as_of, recorded: the evidence of a period as one archive\n\
     /api/v1/openapi.json   all of this for programs: OpenAPI 3.1\n\
     /api/v1/models, versions, jobs, plans   what is monitored, its releases, the daemon's jobs, every configuration there was\n\
     /api/v1/estimates    what was published, ?model=&version=&output=&slice=&window=&as_of=\n\
     /api/v1/series   ?model=&output=&window=: one stream window by window, ?as_of= or ?known_at=&recorded=\n\
     /api/v1/coverage ?model=&output=&from=&to=: how many cases of each day have their truth, and how long it took\n\
     /api/v1/diff     ?model=&output=&from=&to=&then=: what was known then and what is known now; /api/v1/diff/cases\n\
     /api/v1/rejections   refused records with their reasons, ?source= &reason= &since= &resolved=\n";
