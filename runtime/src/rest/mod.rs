//! Connect's REST API over the herder's handle; a router that can be called without a socket.

pub mod error;
pub mod body;
pub mod params;
mod forward;
mod connectors;
mod internal;
mod plugins;
mod admin;
mod cors;
mod metrics;
mod http;
mod openapi;
pub mod keys;
pub mod tls;
pub mod tls_client;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use penstock_api::Registry;

use crate::cluster::Herder;
use crate::config::{Scheme, WorkerConfig};
use crate::logging::Loggers;

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Rest {
    pub herder: Herder,
    pub registry: Arc<Registry>,
    pub worker: Arc<WorkerConfig>,
    pub loggers: Loggers,
    /// Filled when Kafka has told it.
    pub cluster_id: Arc<OnceLock<String>>,
    /// How the listener that serves is spoken to.
    pub scheme: Scheme,
}

/// Configurations are small; what is larger than this is refused with 413.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Which of the two families of paths a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paths {
    /// Both: `admin.listeners` is not set.
    All,
    /// All but `/admin`.
    Public,
    /// `/admin` alone.
    Admin,
}

/// The API.
pub fn router(rest: Rest, paths: Paths) -> Router {
    let worker = rest.worker.clone();
    let mut router = Router::new();
    if paths != Paths::Admin {
        router = router
            .merge(admin::root())
            .merge(openapi::routes())
            .merge(connectors::routes())
            .merge(internal::routes())
            .merge(plugins::routes());
    }
    if paths != Paths::Public {
        router = router.merge(admin::loggers());
    }
    let router = router.route_layer(middleware::from_fn_with_state(rest.clone(), forward::lead));
    // Wherever REST is: whoever scrapes may reach only one of the listeners.
    let router = http::json_only(router).merge(metrics::routes());
    // As in Java, the extension guards the public listeners, with `/admin` if it is served there.
    let users = worker.rest.users.clone().filter(|_| paths != Paths::Admin);
    http::wrap(router.layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).with_state(rest), &worker.rest, users)
}
