//! What Connect's HTTP server does around its resources: unknown paths and methods, OPTIONS, media types, CORS.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use super::error::ApiError;
use crate::config::RestConfig;

/// Puts a server's manners around the routes.
pub(super) fn wrap(routes: Router, config: &RestConfig) -> Router {
    let routes = routes.fallback(|| async { ApiError::of_http(StatusCode::NOT_FOUND) });
    // Around the router, not in it: a router matches paths, and names the allowed methods, outside of its own layers.
    let around = Router::new()
        .fallback_service(routes)
        .layer(middleware::from_fn(methods))
        .layer(middleware::map_response(errors_in_json))
        .layer(middleware::map_request(without_trailing_slash));
    match cors(config) {
        Some(cors) => around.layer(cors),
        None => around,
    }
}

/// Refuses clients that take no JSON. For paths that there are: another one is 404 whatever the client takes.
pub(super) fn json_only<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes.route_layer(middleware::from_fn(acceptable))
}

/// `/connectors/` is `/connectors`.
async fn without_trailing_slash(mut request: Request) -> Request {
    let path = request.uri().path();
    let trimmed = path.trim_end_matches('/');
    if path.len() > 1 && trimmed.len() < path.len() {
        let trimmed = if trimmed.is_empty() { "/" } else { trimmed };
        let with_query = request.uri().query().map_or_else(|| trimmed.to_owned(), |q| format!("{trimmed}?{q}"));
        if let Ok(path_and_query) = with_query.parse() {
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = Some(path_and_query);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
    request
}

/// OPTIONS lists the methods of a path, others that it does not know get 405, each with Connect's body.
async fn methods(request: Request, next: Next) -> Response {
    let is_options = request.method() == Method::OPTIONS;
    let response = next.run(request).await;
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        return response;
    }
    let allowed = response.headers().get(header::ALLOW).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let allow = HeaderValue::from_str(&format!("{allowed},OPTIONS")).unwrap_or_else(|_| HeaderValue::from_static("OPTIONS"));
    let mut answer = if is_options {
        format!("{allowed},OPTIONS").replace(',', ", ").into_response()
    } else {
        ApiError::of_http(StatusCode::METHOD_NOT_ALLOWED).into_response()
    };
    answer.headers_mut().insert(header::ALLOW, allow);
    answer
}

/// What the server refuses before a handler sees it, such as a path that is not UTF-8, gets Connect's body too.
async fn errors_in_json(response: Response) -> Response {
    let status = response.status();
    let is_text = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/"));
    if is_text && (status.is_client_error() || status.is_server_error()) {
        return ApiError::of_http(status).into_response();
    }
    response
}

/// 406 for a client that takes no JSON.
async fn acceptable(request: Request, next: Next) -> Response {
    if !accepts_json(request.headers()) {
        return ApiError::of_http(StatusCode::NOT_ACCEPTABLE).into_response();
    }
    next.run(request).await
}

fn accepts_json(headers: &HeaderMap) -> bool {
    let accepted: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).collect();
    accepted.is_empty()
        || accepted.iter().any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let is_refused = parts.any(|p| p.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)));
            matches!(media.as_str(), "application/json" | "application/*" | "*/*" | "*") && !is_refused
        })
}

fn cors(config: &RestConfig) -> Option<CorsLayer> {
    if config.cors_origin.is_empty() {
        return None;
    }
    let origin = match config.cors_origin.as_str() {
        "*" => AllowOrigin::any(),
        origins => AllowOrigin::list(origins.split(',').filter_map(|o| o.trim().parse().ok())),
    };
    let methods: Vec<Method> = config.cors_methods.iter().filter_map(|m| m.parse().ok()).collect();
    let methods = if methods.is_empty() { vec![Method::GET, Method::POST, Method::HEAD] } else { methods };
    Some(
        CorsLayer::new()
            .allow_origin(origin)
            .allow_methods(AllowMethods::list(methods))
            .allow_headers(AllowHeaders::mirror_request()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_json() {
        let check = |accept: Option<&str>, expected: bool| {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, HeaderValue::from_str(accept).expect(accept));
            }
            assert_eq!(accepts_json(&headers), expected, "{accept:?}");
        };
        check(None, true);
        check(Some("*/*"), true);
        check(Some("text/html, application/*;q=0.8"), true);
        check(Some("text/plain"), false);
        check(Some("application/json;q=0"), false);
    }
}
