//! `/metrics`: the page that Prometheus reads.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Rest;
use crate::metrics::page::MEDIA_TYPE;

pub(super) fn routes() -> Router<Rest> {
    Router::new().route("/metrics", get(metrics))
}

/// At any time, also while the worker starts.
async fn metrics(State(rest): State<Rest>) -> Response {
    let page = rest.herder.metrics_page() + &rest.registry.metrics().page();
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], page).into_response()
}
