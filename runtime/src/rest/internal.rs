//! Calls between workers (KIP-507): signed by the session key of the cluster, hidden from its users.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{post, put};
use penstock_api::Props;
use serde::Deserialize;

use super::Rest;
use super::error::{ApiError, ApiResult};
use crate::cluster::signature::{ALGORITHM_HEADER, SIGNATURE_HEADER, Signature};

pub(super) fn routes() -> Router<Rest> {
    Router::new()
        .route("/connectors/{connector}/tasks", post(put_tasks))
        .route("/connectors/{connector}/fence", put(fence))
        .route("/connectors/{connector}/plan", put(plan))
}

#[derive(Deserialize)]
struct TasksQuery {
    /// Ours: which record of the connector the tasks were planned from.
    written: Option<i64>,
}

#[derive(Deserialize)]
struct FenceQuery {
    /// Ours: the generation of the task that asks.
    committed: Option<i64>,
}

/// A worker hands in the tasks that a connector has planned there.
async fn put_tasks(
    State(rest): State<Rest>,
    Path(name): Path<String>,
    Query(query): Query<TasksQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult<StatusCode> {
    // As in Java null is none.
    let tasks: Option<Vec<Props>> = serde_json::from_slice(&body)
        .map_err(|e| ApiError::internal(format!("The request's body must be an array of task configurations: {e}")))?;
    rest.herder.put_tasks(&name, tasks.unwrap_or_default(), query.written, &body, signature(&headers)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A worker asks for older generations of a source's producers to be fenced.
async fn fence(
    State(rest): State<Rest>,
    Path(name): Path<String>,
    Query(query): Query<FenceQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult<StatusCode> {
    rest.herder.fence(&name, query.committed, &body, signature(&headers)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ours: a worker brings the wish of a task for its connector, which runs here, to plan anew.
async fn plan(State(rest): State<Rest>, Path(name): Path<String>, headers: HeaderMap, body: Bytes) -> ApiResult<StatusCode> {
    rest.herder.plan(&name, &body, signature(&headers)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn signature(headers: &HeaderMap) -> Signature<'_> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Signature { signature: text(SIGNATURE_HEADER), algorithm: text(ALGORITHM_HEADER) }
}
