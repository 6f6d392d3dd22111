//! HTTP: metrics, health and the API. One file per operation; one type of problem (RFC 9457).
//!
//! Must never: compute; it asks `query`, the store and the exporter.

mod act;
mod alert;
mod alerts;
mod audit;
pub mod auth;
mod compare;
mod curve;
mod drift;
mod events;
pub mod guard;
mod health;
mod id;
mod metrics;
mod model_health;
mod observe;
mod problem;
mod push;
mod query;
mod rejections;
pub mod routes;
pub mod server;
mod silences;
mod sources;
mod step;
mod streams;
mod tls;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tokio::sync::watch;

pub use problem::Problem;
pub use server::serve;

use crate::desk::Desk;
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

/// All operations.
#[must_use]
pub fn router(context: watch::Receiver<Context>, desk: Desk) -> Router {
    let shared = Shared { context, gate: Arc::default(), desk, turns: push::Turns::default() };
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics::get))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/api/v1/models/{model}/predictions", post(push::predictions))
        .route("/api/v1/models/{model}/assertions", post(push::assertions))
        .route("/api/v1/models/{model}/events", post(events::post).layer(DefaultBodyLimit::max(events::LARGEST)))
        .route("/api/v1/health", get(model_health::get))
        .route("/api/v1/sources", get(sources::get))
        .route("/api/v1/alerts", get(alerts::get))
        .route("/api/v1/alerts/{id}", get(alert::get))
        .route("/api/v1/alerts/{id}/acknowledge", post(step::acknowledge))
        .route("/api/v1/alerts/{id}/resolve", post(step::resolve))
        .route("/api/v1/alerts/{id}/silence", post(step::silence))
        .route("/api/v1/silences", get(silences::get).post(silences::post))
        .route("/api/v1/silences/{id}/end", post(silences::end))
        .route("/alerts/{id}/act", get(act::get).post(act::post))
        .route("/api/v1/streams", get(streams::get))
        .route("/api/v1/stream", get(streams::get_one))
        .route("/api/v1/query", get(query::get))
        .route("/api/v1/curve", get(curve::get))
        .route("/api/v1/compare", get(compare::get))
        .route("/api/v1/drift", get(drift::get))
        .route("/api/v1/rejections", get(rejections::get))
        .route("/api/v1/audit", get(audit::get))
        .route("/api/v1/tokens", get(audit::tokens))
        .fallback(async || Problem::not_found("there is nothing at this address; / lists what there is"))
        .layer(from_fn_with_state(shared.clone(), guard::guard))
        .layer(from_fn_with_state(shared.clone(), observe::observe))
        .with_state(shared)
}

async fn index() -> &'static str {
    "dosimeter\n\n\
     /metrics         what Prometheus scrapes\n\
     /livez           the process lives\n\
     /readyz          database, schema and numbers are there\n\
     /api/v1/models/MODEL/predictions and assertions   POST records: JSON, NDJSON, CSV, Parquet or Arrow\n\
     /api/v1/models/MODEL/events   POST CloudEvents of an inference server\n\
     /api/v1/health   whether the data of each model comes, and whole: every rule, its verdict and its reason, ?model=\n\
     /api/v1/sources  every source, how far behind it is, and why it fails if it does\n\
     /api/v1/alerts   alerts, ?open=true for open ones; /api/v1/alerts/ID with history, decisions and notices\n\
     /api/v1/silences silences, ?all=true for past ones too\n\
     /api/v1/streams  the alarm engine: evidence, thresholds, null values, the budget and what was spent of it\n\
     /api/v1/stream   ?watch=&output=&slice=: one stream day by day, replayed, and with the truth of today\n\
     /api/v1/query    ?model=&output=&from=&to= and version, slice, known_at, recorded, threshold, reference\n\
     /api/v1/curve    the same and kind=roc, precision-recall, reliability, isotonic, net-benefit or histogram\n\
     /api/v1/compare  the same and against_version or against_slice\n\
     /api/v1/drift    ?model=&from=&to=: scores, features and case mix by the evidence that they have moved\n\
     /api/v1/rejections   refused records with their reasons, ?source= &reason= &before=\n"
}
