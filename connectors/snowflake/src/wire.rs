//! Below the `snowflake-api` crate: sends its requests to the configured host, follows statements that run long, and turns
//! every kind of refusal into a [`Failure`]. Also remembers the session's token for the calls the crate has not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Extensions;
use penstock_api::async_trait;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Request, Response, StatusCode};
use reqwest_middleware::{Middleware, Next};
use serde::Deserialize;
use url::Url;

use crate::sql::Failure;

/// Codes of "still running: ask again at `getResultUrl`".
const IN_PROGRESS: [&str; 2] = ["333333", "333334"];
/// How long to wait before asking again; Snowflake holds the request for up to 45 s itself.
const POLL_PAUSE: Duration = Duration::from_millis(500);
/// How often to ask at most: a statement that takes longer than some hours is given up.
const POLLS_MAX: u32 = 10_000;

/// The middleware.
pub struct Wire {
    url: Url,
    token: Arc<Token>,
}

/// The `Authorization` that the session used last.
#[derive(Default)]
pub struct Token(Mutex<Option<HeaderValue>>);

impl Token {
    /// The header, if the session has logged in.
    #[must_use]
    pub fn get(&self) -> Option<HeaderValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, header: Option<HeaderValue>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = header;
    }
}

impl Wire {
    /// Sends to that URL, and notes tokens there.
    #[must_use]
    pub fn new(url: Url, token: Arc<Token>) -> Self {
        Self { url, token }
    }

    fn redirect(&self, url: &mut Url) -> reqwest_middleware::Result<()> {
        let moved = url.set_scheme(self.url.scheme()).is_ok()
            && url.set_host(self.url.host_str()).is_ok()
            && url.set_port(self.url.port()).is_ok();
        if moved { Ok(()) } else { Err(failed(Failure::protocol("a URL that cannot be sent elsewhere"))) }
    }
}

/// The parts of an answer that all have.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    success: Option<bool>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    data: Option<EnvelopeData>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EnvelopeData {
    error_code: Option<String>,
    sql_state: Option<String>,
    get_result_url: Option<String>,
}

#[async_trait]
impl Middleware for Wire {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        // Result chunks lie with the cloud's storage: those requests pass as they are.
        let is_ours = request
            .url()
            .host_str()
            .is_some_and(|host| host.ends_with(".snowflakecomputing.com") || Some(host) == self.url.host_str());
        if !is_ours || request.method() != Method::POST {
            return next.run(request, extensions).await;
        }
        self.redirect(request.url_mut())?;
        let authorization = request.headers().get(AUTHORIZATION).cloned();
        if request.url().path().ends_with("query-request") {
            self.token.set(authorization.clone());
        }
        let mut url = request.url().clone();
        let mut answer = Answer::read(next.clone().run(request, extensions).await?).await?;
        for _ in 0..POLLS_MAX {
            let Some(path) = answer.still_running() else { break };
            url = url.join(&path).map_err(|_| failed(Failure::protocol("a result URL that is none")))?;
            self.redirect(&mut url)?;
            tokio::time::sleep(POLL_PAUSE).await;
            let mut poll = Request::new(Method::GET, url.clone());
            poll.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/snowflake"));
            if let Some(header) = &authorization {
                poll.headers_mut().insert(AUTHORIZATION, header.clone());
            }
            answer = Answer::read(next.clone().run(poll, extensions).await?).await?;
        }
        answer.into_response()
    }
}

struct Answer {
    body: Bytes,
    envelope: Envelope,
}

impl Answer {
    async fn read(response: Response) -> reqwest_middleware::Result<Self> {
        let status = response.status();
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let body = response.bytes().await?;
        let envelope = serde_json::from_slice::<Envelope>(&body);
        // An expired session comes as 401 with Snowflake's code in the body, or as 200.
        if status != StatusCode::OK && !matches!(&envelope, Ok(e) if e.code.is_some() && status.as_u16() < 500) {
            return Err(failed(Failure::Status { status: status.as_u16(), retry_after }));
        }
        let envelope = envelope.map_err(|e| failed(Failure::Protocol(e.to_string())))?;
        Ok(Self { body, envelope })
    }

    fn still_running(&self) -> Option<String> {
        let running = self.envelope.code.as_deref().is_some_and(|code| IN_PROGRESS.contains(&code));
        running.then(|| self.envelope.data.as_ref()?.get_result_url.clone()).flatten()
    }

    fn into_response(self) -> reqwest_middleware::Result<Response> {
        if self.envelope.success != Some(true) {
            let data = self.envelope.data.unwrap_or_default();
            return Err(failed(Failure::Refused {
                code: self.envelope.code.or(data.error_code).unwrap_or_else(|| "without a code".into()),
                sql_state: data.sql_state.unwrap_or_default(),
                message: self.envelope.message.unwrap_or_default(),
            }));
        }
        Ok(Response::from(http::Response::new(self.body)))
    }
}

fn failed(failure: Failure) -> reqwest_middleware::Error {
    reqwest_middleware::Error::middleware(failure)
}
