//! `/connectors`: what runs, how it is, and how to change it.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use penstock_api::Props;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Rest;
use super::body::{self, ConfigBody, CreateBody, Ignored, MaybeConfigBody, OffsetsBody};
use super::error::{ApiError, ApiResult};
use super::params::Params;
use crate::cluster::HerderError;
use crate::cluster::view::{ConnectorInfo, TargetState};
use crate::config::{RawConfig, Scheme, validate};

pub(super) fn routes() -> Router<Rest> {
    Router::new()
        .route("/connectors", get(list).post(create))
        .route("/connectors/{connector}", get(info).delete(delete))
        .route("/connectors/{connector}/config", get(config).put(put_config).patch(patch_config))
        .route("/connectors/{connector}/status", get(status))
        .route("/connectors/{connector}/restart", post(restart))
        .route("/connectors/{connector}/pause", put(pause))
        .route("/connectors/{connector}/resume", put(resume))
        .route("/connectors/{connector}/stop", put(stop))
        .route("/connectors/{connector}/tasks", get(tasks))
        .route("/connectors/{connector}/tasks/{task}/status", get(task_status))
        .route("/connectors/{connector}/tasks/{task}/restart", post(restart_task))
        .route("/connectors/{connector}/offsets", get(offsets).patch(alter_offsets).delete(reset_offsets))
        .route("/connectors/{connector}/topics", get(topics))
        .route("/connectors/{connector}/topics/reset", put(reset_topics))
}

async fn list(State(rest): State<Rest>, params: Params) -> ApiResult<Response> {
    let expansions: Vec<String> = params.all("expand").map(str::to_owned).collect();
    let names = rest.herder.connectors().await?;
    if expansions.is_empty() {
        return Ok(Json(names).into_response());
    }
    let mut expanded = Map::new();
    for name in names {
        if let Some(entry) = expand(&rest, &name, &expansions).await? {
            expanded.insert(name, Value::Object(entry));
        }
    }
    Ok(Json(expanded).into_response())
}

/// `None` when the connector was deleted meanwhile. Expansions that are not known are passed over.
async fn expand(rest: &Rest, name: &str, expansions: &[String]) -> ApiResult<Option<Map<String, Value>>> {
    let mut entry = Map::new();
    for expansion in expansions {
        let found = match expansion.as_str() {
            "info" => rest.herder.info(name).await.map(|info| to_value(&info)),
            "status" => rest.herder.status(name).await.map(|status| to_value(&status)),
            _ => continue,
        };
        match found {
            Ok(value) => drop(entry.insert(expansion.clone(), value)),
            Err(HerderError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(entry))
}

fn to_value(answer: &impl Serialize) -> Value {
    serde_json::to_value(answer).expect("answers are maps with text keys")
}

async fn create(State(rest): State<Rest>, headers: HeaderMap, body: CreateBody) -> ApiResult<Response> {
    let name = body.name.as_deref().unwrap_or_default().trim().to_owned();
    let initial_state = body.initial_state.as_deref().map(target_state).transpose()?;
    let config = with_name(body.config, &name)?;
    let config = without_nulls(&rest, config).await?;
    let (_, info) = rest.herder.put_config(&name, config, true, initial_state).await?;
    Ok(created(rest.scheme, &headers, &info))
}

fn target_state(text: &str) -> ApiResult<TargetState> {
    let wrong = || ApiError::internal(format!("The field initial_state is {text}: choose RUNNING, PAUSED or STOPPED"));
    TargetState::of_request(text).ok_or_else(wrong)
}

/// Puts the name into the configuration; one that is there must be the same.
fn with_name(mut config: RawConfig, name: &str) -> ApiResult<RawConfig> {
    match config.get("name").and_then(Option::as_deref) {
        Some(inside) if inside != name => Err(ApiError::bad_request(format!(
            "Connector name configuration ({inside}) doesn't match connector name in the URL ({name})"
        ))),
        _ => {
            config.insert("name".to_owned(), Some(name.to_owned()));
            Ok(config)
        }
    }
}

/// The configuration without nulls; where there are any, it is refused with all that is wrong. Everything else the herder checks.
async fn without_nulls(rest: &Rest, config: RawConfig) -> ApiResult<Props> {
    if config.values().any(Option::is_none) {
        let infos = validate(&config, &rest.registry, &rest.worker).await.map_err(|e| ApiError::bad_request(e.message()))?;
        if let Some(refusal) = infos.refusal() {
            return Err(ApiError::bad_request(refusal));
        }
    }
    Ok(config.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
}

fn created(scheme: Scheme, headers: &HeaderMap, info: &ConnectorInfo) -> Response {
    (StatusCode::CREATED, [(header::LOCATION, location(scheme, headers, &info.name))], Json(info)).into_response()
}

/// Where a connector is found, seen from the client.
fn location(scheme: Scheme, headers: &HeaderMap, name: &str) -> String {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let base = host.map_or(String::new(), |host| format!("{}://{host}", scheme.name()));
    let mut path = String::from("/connectors/");
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => path.push(char::from(byte)),
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':'
            | b'@' => {
                path.push(char::from(byte));
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    base + &path
}

async fn info(State(rest): State<Rest>, Path(name): Path<String>) -> ApiResult<Response> {
    Ok(Json(rest.herder.info(&name).await?).into_response())
}

async fn config(State(rest): State<Rest>, Path(name): Path<String>) -> ApiResult<Response> {
    Ok(Json(rest.herder.info(&name).await?.config).into_response())
}

async fn put_config(
    State(rest): State<Rest>,
    Path(name): Path<String>,
    headers: HeaderMap,
    ConfigBody(config): ConfigBody,
) -> ApiResult<Response> {
    let config = without_nulls(&rest, with_name(config, &name)?).await?;
    let (is_new, info) = rest.herder.put_config(&name, config, false, None).await?;
    Ok(if is_new { created(rest.scheme, &headers, &info) } else { Json(info).into_response() })
}

async fn patch_config(
    State(rest): State<Rest>,
    Path(name): Path<String>,
    MaybeConfigBody(patch): MaybeConfigBody,
) -> ApiResult<Response> {
    let Some(patch) = patch else {
        // As in Java, that there is no such connector is said first.
        return Err(rest.herder.info(&name).await.map_or_else(ApiError::from, |_| body::missing()));
    };
    if let Some(other) = patch.get("name").filter(|n| n.as_deref() != Some(&name)) {
        let shown = other.as_deref().unwrap_or("null");
        let message = format!("Connector name configuration ({shown}) doesn't match connector name in the URL ({name})");
        return Err(ApiError::bad_request(message));
    }
    Ok(Json(rest.herder.patch_config(&name, patch).await?).into_response())
}

async fn delete(State(rest): State<Rest>, Path(name): Path<String>, _body: Ignored) -> ApiResult<StatusCode> {
    rest.herder.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn status(State(rest): State<Rest>, Path(name): Path<String>) -> ApiResult<Response> {
    Ok(Json(rest.herder.status(&name).await?).into_response())
}

async fn restart(State(rest): State<Rest>, Path(name): Path<String>, params: Params, _body: Ignored) -> ApiResult<Response> {
    let (include_tasks, only_failed) = (params.is_true("includeTasks"), params.is_true("onlyFailed"));
    match rest.herder.restart_connector(&name, include_tasks, only_failed).await? {
        Some(status) => Ok((StatusCode::ACCEPTED, Json(status)).into_response()),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

async fn pause(State(rest): State<Rest>, Path(name): Path<String>, _body: Ignored) -> ApiResult<StatusCode> {
    rest.herder.set_target_state(&name, TargetState::Paused).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn resume(State(rest): State<Rest>, Path(name): Path<String>, _body: Ignored) -> ApiResult<StatusCode> {
    rest.herder.set_target_state(&name, TargetState::Started).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn stop(State(rest): State<Rest>, Path(name): Path<String>, _body: Ignored) -> ApiResult<StatusCode> {
    rest.herder.set_target_state(&name, TargetState::Stopped).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn tasks(State(rest): State<Rest>, Path(name): Path<String>) -> ApiResult<Response> {
    Ok(Json(rest.herder.task_configs(&name).await?).into_response())
}

/// The number of a task in a path; a text that is no 32-bit number is an unknown path, as in Java.
enum TaskNumber {
    Some(u32),
    /// A number that no task has.
    Negative(i32),
}

fn task_number(text: &str) -> ApiResult<TaskNumber> {
    let number: i32 = text.parse().map_err(|_| ApiError::of_http(StatusCode::NOT_FOUND))?;
    Ok(u32::try_from(number).map_or(TaskNumber::Negative(number), TaskNumber::Some))
}

async fn task_status(State(rest): State<Rest>, Path((name, task)): Path<(String, String)>) -> ApiResult<Response> {
    match task_number(&task)? {
        TaskNumber::Some(task) => Ok(Json(rest.herder.task_status(&name, task).await?).into_response()),
        TaskNumber::Negative(task) => Err(ApiError::not_found(format!("No status found for task {name}-{task}"))),
    }
}

async fn restart_task(
    State(rest): State<Rest>,
    Path((name, task)): Path<(String, String)>,
    _body: Ignored,
) -> ApiResult<StatusCode> {
    match task_number(&task)? {
        TaskNumber::Some(task) => rest.herder.restart_task(&name, task).await?,
        TaskNumber::Negative(task) => return Err(ApiError::not_found(format!("Unknown task: {name}-{task}"))),
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn offsets(State(rest): State<Rest>, Path(name): Path<String>) -> ApiResult<Response> {
    Ok(Json(json!({ "offsets": rest.herder.offsets(&name).await? })).into_response())
}

async fn alter_offsets(
    State(rest): State<Rest>,
    Path(name): Path<String>,
    OffsetsBody(patch): OffsetsBody,
) -> ApiResult<Response> {
    Ok(Json(json!({ "message": rest.herder.change_offsets(&name, Some(patch)).await? })).into_response())
}

async fn reset_offsets(State(rest): State<Rest>, Path(name): Path<String>, _body: Ignored) -> ApiResult<Response> {
    Ok(Json(json!({ "message": rest.herder.change_offsets(&name, None).await? })).into_response())
}

async fn topics(State(rest): State<Rest>, Path(name): Path<String>) -> ApiResult<Response> {
    if !rest.worker.topic_tracking {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "Topic tracking is disabled."));
    }
    let topics = rest.herder.active_topics(&name).await?;
    Ok(Json(BTreeMap::from([(name, json!({ "topics": topics }))])).into_response())
}

async fn reset_topics(State(rest): State<Rest>, Path(name): Path<String>, _body: Ignored) -> ApiResult<StatusCode> {
    if !rest.worker.topic_tracking {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "Topic tracking is disabled."));
    }
    if !rest.worker.topic_tracking_reset {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "Topic tracking reset is disabled."));
    }
    rest.herder.reset_active_topics(&name).await?;
    Ok(StatusCode::ACCEPTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_can_be_followed() {
        let mut headers = HeaderMap::new();
        assert_eq!(location(Scheme::Http, &headers, "orders"), "/connectors/orders");
        headers.insert(header::HOST, header::HeaderValue::from_static("h:1"));
        assert_eq!(location(Scheme::Https, &headers, "a/b c%\u{fc}?+"), "https://h:1/connectors/a%2Fb%20c%25%C3%BC%3F+");
    }
}
