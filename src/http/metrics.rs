//! `GET /metrics`: the present snapshot in Prometheus's text format.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::{Problem, Shared};

/// The present snapshot in Prometheus's text format.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "process",
    operation_id = "scrape",
    responses((status = 200, description = "The metrics.", body = String, content_type = "text/plain; version=0.0.4"))
)]
pub(super) async fn get(State(shared): State<Shared>) -> Result<impl IntoResponse, Problem> {
    let text = shared.context().exporter.render().map_err(Problem::internal)?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text))
}
