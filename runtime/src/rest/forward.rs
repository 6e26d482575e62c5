//! Requests that another worker must answer are led there: to the leader what writes, to the owner what restarts a unit.
//!
//! As in Java two hops at most, counted by the query parameter `forward`: absent on a client's request, `true` on the first hop,
//! `false` on the second. Unlike Java a worker that knows of nobody to ask waits, within the request's time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::error::ApiError;
use super::{BODY_BYTES_MAX, Rest};
use crate::cluster::HerderError;
use crate::cluster::herder::REQUEST_TIMEOUT;
use crate::cluster::peers::CallError;
use crate::config::Scheme;

/// Rides on a response that says where the request is to go.
#[derive(Clone, Debug)]
pub(super) struct Elsewhere(pub(super) Option<Arc<str>>);

/// Before a request is tried again whose worker is not known or not reached.
const PAUSE: Duration = Duration::from_millis(100);
/// Headers that belong to one connection, or that the client for the next one sets.
const OF_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::UPGRADE,
    header::EXPECT,
    header::ACCEPT_ENCODING,
];

/// Where a request is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hop {
    Client,
    First,
    Last,
}

impl Hop {
    fn of(parts: &Parts) -> Self {
        match query(parts).find(|(key, _)| key == "forward") {
            None => Hop::Client,
            Some((_, value)) if value.eq_ignore_ascii_case("true") => Hop::First,
            Some(_) => Hop::Last,
        }
    }
}

/// Answers here, or leads the request to where it can be answered.
pub(super) async fn lead(State(rest): State<Rest>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return ApiError::of_http(StatusCode::PAYLOAD_TOO_LARGE).into_response();
    };
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    loop {
        let response = next.clone().run(Request::from_parts(parts.clone(), Body::from(body.clone()))).await;
        let Some(Elsewhere(url)) = response.extensions().get() else { return response };
        match (url, Hop::of(&parts)) {
            (Some(_), Hop::Last) => return response,
            (Some(url), hop) => match forward(&rest, &parts, &body, url, hop).await {
                Ok(response) => return response,
                Err(CallError::NotReached(why)) => tracing::debug!("cannot forward a request to {url}: {why}; trying again"),
                Err(CallError::Broken(why)) => {
                    return ApiError::internal(format!("IO Error trying to forward REST request: {why}")).into_response();
                }
            },
            (None, _) => {}
        }
        if Instant::now() + PAUSE >= deadline {
            return ApiError::from(HerderError::Elsewhere(None)).into_response();
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn forward(rest: &Rest, parts: &Parts, body: &Bytes, url: &str, hop: Hop) -> Result<Response, CallError> {
    let target = target(parts, url, hop);
    tracing::debug!("forwarding {} {target}", parts.method);
    let mut request = rest.herder.peers().request(parts.method.clone(), &target).body(body.clone());
    // The host too, so that a `Location` is one that the client can follow.
    for (name, value) in parts.headers.iter().filter(|(name, _)| !OF_CONNECTION.contains(name)) {
        request = request.header(name, value);
    }
    let answer = rest.herder.peers().send(request).await?;
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| !OF_CONNECTION.contains(name)) {
        let value = if name == header::LOCATION { seen_from_here(rest.scheme, value) } else { value.clone() };
        response = response.header(name, value);
    }
    let body = answer.bytes().await.map_err(|e| CallError::Broken(e.to_string()))?;
    Ok(response.body(Body::from(body)).expect("status and headers come from a response"))
}

/// A `Location` names the host that the client has asked, and must go by the scheme that the client has used.
fn seen_from_here(scheme: Scheme, location: &HeaderValue) -> HeaderValue {
    let behind_scheme = location.to_str().ok().and_then(|text| text.split_once("://")).map(|(_, behind)| behind);
    let seen = behind_scheme.and_then(|behind| HeaderValue::from_str(&format!("{}://{behind}", scheme.name())).ok());
    seen.unwrap_or_else(|| location.clone())
}

/// The same request at another worker, one hop further.
fn target(parts: &Parts, url: &str, hop: Hop) -> String {
    let mut query_there = url::form_urlencoded::Serializer::new(String::new());
    query_there.extend_pairs(query(parts).filter(|(key, _)| key != "forward"));
    query_there.append_pair("forward", if hop == Hop::Client { "true" } else { "false" });
    format!("{}{}?{}", url.trim_end_matches('/'), parts.uri.path(), query_there.finish())
}

fn query(parts: &Parts) -> impl Iterator<Item = (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)> {
    url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_are_counted_as_by_java() {
        let check = |uri: &str, expected: Hop| {
            let (parts, ()) = axum::http::Request::builder().uri(uri).body(()).unwrap().into_parts();
            assert_eq!(Hop::of(&parts), expected, "{uri}");
        };
        check("/connectors", Hop::Client);
        check("/connectors?forward=true", Hop::First);
        check("/connectors?a=b&forward=TRUE", Hop::First);
        check("/connectors?forward=false", Hop::Last);
        check("/connectors?forward", Hop::Last);
    }
}
