//! Browsers from elsewhere, as the handler of Connect's HTTP server answers them.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::config::{Origins, RestConfig};

/// How long a browser may keep the answer to its question, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("60");

/// Who may call from elsewhere, and how.
#[derive(Clone)]
pub(super) struct Cors {
    origins: Origins,
    methods: HeaderValue,
}

impl Cors {
    /// `None`: nobody, and answers say nothing of it.
    pub(super) fn new(config: &RestConfig) -> Option<Arc<Self>> {
        let methods = if config.cors_methods.is_empty() { "GET,POST,HEAD".to_owned() } else { config.cors_methods.join(",") };
        let methods = HeaderValue::from_str(&methods).unwrap_or_else(|_| HeaderValue::from_static("GET,POST,HEAD"));
        config.cors_origins.clone().map(|origins| Arc::new(Self { origins, methods }))
    }
}

/// Says what a browser wants to know, whatever becomes of the request: a question beforehand is answered like any OPTIONS.
pub(super) async fn answer(State(cors): State<Arc<Cors>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let asks = request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin.filter(|origin| origin.to_str().is_ok_and(|origin| cors.origins.hold(origin))) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if asks {
            tell(headers, &cors);
        }
    }
    response
}

fn tell(headers: &mut HeaderMap, cors: &Cors) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, cors.methods.clone());
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
}
