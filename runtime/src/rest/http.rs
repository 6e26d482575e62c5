//! What Connect's HTTP server does around its resources: unknown paths and methods, OPTIONS, media types, CORS.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::cors::{self, Cors};
use super::error::ApiError;
use crate::config::basic_auth::Users;
use crate::config::{HeaderRule, HeaderRuleValue, RestConfig};

/// Puts a server's manners around the routes. `users`: who may call; `None`: everybody.
pub(super) fn wrap(routes: Router, config: &RestConfig, users: Option<Users>) -> Router {
    // For paths that there are: another one is 404 whoever asks.
    let routes = match users {
        Some(users) => routes.route_layer(middleware::from_fn_with_state(Arc::new(users), authenticated)),
        None => routes,
    };
    let routes = routes.fallback(|| async { ApiError::of_http(StatusCode::NOT_FOUND) });
    // Around the router, not in it: a router matches paths, and names the allowed methods, outside of its own layers.
    let around = Router::new()
        .fallback_service(routes)
        .layer(middleware::from_fn(methods))
        .layer(middleware::map_response(errors_in_json))
        .layer(middleware::map_request(without_trailing_slash));
    let around = match Cors::new(config) {
        Some(cors) => around.layer(middleware::from_fn_with_state(cors, cors::answer)),
        None => around,
    };
    if config.response_headers.is_empty() {
        return around;
    }
    let rules: Arc<[HeaderRule]> = config.response_headers.clone().into();
    around.layer(middleware::map_response_with_state(rules, with_headers))
}

/// What Connect's basic-auth extension checks, except for the two calls between workers, which are signed.
async fn authenticated(State(users): State<Arc<Users>>, request: Request, next: Next) -> Response {
    let credentials = basic_credentials(request.headers());
    let credentials = credentials.as_ref().map(|(name, password)| (name.as_str(), password.as_str()));
    if is_internal(request.method(), request.uri().path()) || users.allow(credentials) {
        return next.run(request).await;
    }
    let mut refusal = ApiError::new(StatusCode::UNAUTHORIZED, "User cannot access the resource.").into_response();
    refusal.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Kafka Connect\""));
    refusal
}

fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let (method, encoded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !method.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

fn is_internal(method: &Method, path: &str) -> bool {
    match path.trim_matches('/').split('/').collect::<Vec<_>>()[..] {
        ["connectors", _, "tasks"] => method == Method::POST,
        ["connectors", _, "fence"] => method == Method::PUT,
        _ => false,
    }
}

/// `response.http.headers.config`. As in Java the rules come first: what a resource says itself stands.
async fn with_headers(State(rules): State<Arc<[HeaderRule]>>, mut response: Response) -> Response {
    for rule in rules.iter() {
        let text = match &rule.value {
            HeaderRuleValue::Text(text) => text.clone(),
            HeaderRuleValue::DateIn(later_ms) => date_in(*later_ms),
        };
        let (Ok(name), Ok(value)) = (rule.name.parse::<HeaderName>(), HeaderValue::from_str(&text)) else { continue };
        if rule.add {
            response.headers_mut().append(name, value);
        } else {
            response.headers_mut().entry(name).or_insert(value);
        }
    }
    response
}

/// As HTTP writes times: `Thu, 01 Dec 1994 16:00:00 GMT`.
fn date_in(later_ms: i64) -> String {
    let at = chrono::Utc::now().checked_add_signed(chrono::TimeDelta::milliseconds(later_ms)).unwrap_or_default();
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_basic_authentication() {
        let check = |given: &str, expected: Option<(&str, &str)>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(given).expect(given));
            let found = basic_credentials(&headers);
            assert_eq!(found.as_ref().map(|(name, password)| (name.as_str(), password.as_str())), expected, "{given}");
        };
        check(&format!("Basic {}", BASE64.encode("me:pass:word")), Some(("me", "pass:word")));
        check(&format!("bAsIc {}", BASE64.encode("me:")), Some(("me", "")));
        check(&format!("Bearer {}", BASE64.encode("me:x")), None);
        check(&format!("Basic {}", BASE64.encode("me")), None);
        check("Basic %%%", None);
        check("Basic", None);
    }

    #[test]
    fn calls_between_workers_are_signed_and_need_no_password() {
        let check =
            |method: Method, path: &str, expected: bool| assert_eq!(is_internal(&method, path), expected, "{method} {path}");
        check(Method::POST, "/connectors/a%2Fb/tasks", true);
        check(Method::POST, "/connectors/a/tasks/", true);
        check(Method::PUT, "/connectors/a/fence", true);
        check(Method::GET, "/connectors/a/tasks", false);
        check(Method::POST, "/connectors/a/tasks/0/restart", false);
        check(Method::POST, "/connectors", false);
    }

    #[test]
    fn dates_are_written_as_http_wants_them() {
        let tomorrow = date_in(86_400_000);
        assert!(tomorrow.ends_with(" GMT") && tomorrow.len() == 29, "{tomorrow}");
    }

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
