//! `/`, `/health` and `/admin`: the worker itself.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::Rest;
use super::body::ConfigBody;
use super::error::{ApiError, ApiResult};
use super::params::Params;
use crate::logging::{Loggers, SetLevelError};

/// How long `/health` waits for the herder.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(10);

/// The version of Connect whose API this is; clients look at it.
const CONNECT_VERSION: &str = "4.3.1";

pub(super) fn root() -> Router<Rest> {
    Router::new().route("/", get(info)).route("/health", get(health))
}

pub(super) fn loggers() -> Router<Rest> {
    Router::new().route("/admin/loggers", get(all_loggers)).route("/admin/loggers/{logger}", get(logger).put(set_level))
}

#[derive(Serialize)]
struct ServerInfo<'a> {
    version: String,
    commit: &'a str,
    /// Null until Kafka has been reached.
    kafka_cluster_id: Option<&'a str>,
}

async fn info(State(rest): State<Rest>) -> Response {
    Json(ServerInfo {
        version: format!("{CONNECT_VERSION}-penstock-{}", env!("CARGO_PKG_VERSION")),
        commit: option_env!("PENSTOCK_COMMIT").unwrap_or("unknown"),
        kafka_cluster_id: rest.cluster_id.get().map(String::as_str),
    })
    .into_response()
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    message: String,
}

async fn health(State(rest): State<Rest>) -> Response {
    let answer =
        |code: StatusCode, status: &'static str, message: String| (code, Json(Health { status, message })).into_response();
    // Java lets a probe wait ten seconds for this; a worker that has not started is known at once.
    if !rest.herder.is_ready() {
        return answer(
            StatusCode::SERVICE_UNAVAILABLE,
            "starting",
            format!("Worker is still starting up. {}", rest.herder.stage()),
        );
    }
    match rest.herder.with_timeout(HEALTH_TIMEOUT).health().await {
        Ok(()) => answer(StatusCode::OK, "healthy", "Worker has completed startup and is ready to handle requests.".into()),
        Err(_) => {
            let message = format!(
                "Worker was unable to handle this request and may be unable to handle other requests. {}",
                rest.herder.stage()
            );
            answer(StatusCode::INTERNAL_SERVER_ERROR, "unhealthy", message)
        }
    }
}

async fn all_loggers(State(rest): State<Rest>) -> Response {
    Json(rest.loggers.all()).into_response()
}

async fn logger(State(rest): State<Rest>, Path(name): Path<String>) -> ApiResult<Response> {
    let logger = rest.loggers.get(&name).ok_or_else(|| ApiError::not_found(format!("Logger {name} not found.")))?;
    Ok(Json(logger).into_response())
}

/// With `scope=cluster` all workers are told, this one too, by the config topic (KIP-976).
async fn set_level(
    State(rest): State<Rest>,
    Path(name): Path<String>,
    params: Params,
    ConfigBody(body): ConfigBody,
) -> ApiResult<Response> {
    let level = body.get("level").and_then(Option::as_deref);
    let level = level.ok_or_else(|| ApiError::bad_request("Desired 'level' parameter was not specified in request."))?;
    let unknown = || ApiError::not_found(format!("invalid log level '{level}'."));
    if params.first("scope").is_some_and(|scope| scope.eq_ignore_ascii_case("cluster")) {
        if !Loggers::is_level(level) {
            return Err(unknown());
        }
        rest.herder.set_logger_level(&name, level).await?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let changed = rest.loggers.set(&name, level).map_err(|e| match e {
        SetLevelError::UnknownLevel => unknown(),
        SetLevelError::TooMany => ApiError::bad_request("too many loggers have a level of their own: set one further up"),
    })?;
    Ok(Json(changed).into_response())
}
