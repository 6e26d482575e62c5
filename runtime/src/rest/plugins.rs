//! `/connector-plugins`: what can be configured, and whether a configuration is good.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use penstock_api::{Plugin, PluginKind};
use serde::Serialize;

use super::Rest;
use super::body::ConfigBody;
use super::error::{ApiError, ApiResult};
use super::params::Params;
use crate::config::validate::{CONNECTORS, plugin_keys};
use crate::config::{validate, version};

pub(super) fn routes() -> Router<Rest> {
    Router::new()
        .route("/connector-plugins", get(list))
        .route("/connector-plugins/{plugin}/config", get(keys))
        .route("/connector-plugins/{plugin}/config/validate", put(validate_config))
}

/// Connect's order of kinds in listings.
const ALL_KINDS: [PluginKind; 6] = [
    PluginKind::Sink,
    PluginKind::Source,
    PluginKind::Transformation,
    PluginKind::Predicate,
    PluginKind::Converter,
    PluginKind::HeaderConverter,
];

#[derive(Serialize)]
struct PluginInfo<'a> {
    class: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    version: &'a str,
}

async fn list(State(rest): State<Rest>, params: Params) -> Response {
    let connectors_only = params.first("connectorsOnly").is_none_or(str::is_empty) || params.is_true("connectorsOnly");
    let kinds = if connectors_only { CONNECTORS } else { &ALL_KINDS };
    let mut listing = Vec::new();
    for kind in kinds {
        let mut of_kind: Vec<&Plugin> = rest.registry.plugins().iter().map(AsRef::as_ref).filter(|p| p.kind() == *kind).collect();
        of_kind.sort_by(|a, b| a.class.cmp(&b.class));
        listing.extend(of_kind.into_iter().map(|p| PluginInfo { class: &p.class, kind: kind.name(), version: &p.version }));
    }
    Json(listing).into_response()
}

async fn keys(State(rest): State<Rest>, Path(name): Path<String>, params: Params) -> ApiResult<Response> {
    let plugin = rest.registry.find(&ALL_KINDS, &name).ok_or_else(|| ApiError::not_found(format!("Unknown plugin {name}.")))?;
    if let Some(wanted) = params.first("version") {
        // As in Java, no version at all is not the same as any version.
        let range = if wanted.is_empty() { Err("[,]".to_owned()) } else { version::satisfies(&plugin.version, wanted) };
        if let Err(range) = range {
            return Err(ApiError::bad_request(format!(
                "Plugin {} not found that matches the version range {range}, available versions: [{}]",
                plugin.class, plugin.version
            )));
        }
    }
    Ok(Json(plugin_keys(plugin, &rest.registry, &rest.worker)).into_response())
}

/// As Java names the exception that it answers 500 for.
const BAD_REQUEST: &str = "org.apache.kafka.connect.runtime.rest.errors.BadRequestException";

async fn validate_config(
    State(rest): State<Rest>,
    Path(name): Path<String>,
    ConfigBody(config): ConfigBody,
) -> ApiResult<Response> {
    if let Some(class) = config.get("connector.class").and_then(Option::as_deref)
        && !is_same_class(&rest, &name, class)
    {
        return Err(ApiError::bad_request(format!("Included connector type {class} does not match request type {name}")));
    }
    let infos = validate(&config, &rest.registry, &rest.worker).await;
    let infos = infos.map_err(|e| ApiError::internal(format!("{BAD_REQUEST}: {}", e.message())))?;
    Ok(Json(infos).into_response())
}

/// Whether both names mean the same class: in full, or the simple name with or without `Connector`.
fn is_same_class(rest: &Rest, a: &str, b: &str) -> bool {
    let simple = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or(name);
        last.strip_suffix("Connector").unwrap_or(last).to_owned()
    };
    let found = |name: &str| rest.registry.find(CONNECTORS, name).map(|p| p.class.clone());
    a == b || simple(a) == simple(b) || found(a).is_some_and(|class| found(b).as_ref() == Some(&class))
}
