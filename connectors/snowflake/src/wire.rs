//! Below the `snowflake-api` crate: sends its requests to the configured host, follows statements that run long, and turns
//! every kind of refusal into a [`Failure`]. Remembers the session's token for the calls the crate has not, and the failure itself, as
//! the crate's errors cannot all be looked into. Key-pair tokens are ours: the crate's claim a day, of which Snowflake allows an hour.

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

use crate::auth::Signer;
use crate::sql::Failure;

/// Codes of "still running: ask again at `getResultUrl`".
const IN_PROGRESS: [&str; 2] = ["333333", "333334"];
/// How long to wait before asking again; Snowflake holds the request for up to 45 s itself.
const POLL_PAUSE: Duration = Duration::from_millis(500);
/// How often to ask at most: a statement that takes longer than some hours is given up.
const POLLS_MAX: u32 = 10_000;

/// The middleware of one session.
pub struct Wire {
    url: Url,
    signer: Option<Arc<Signer>>,
    seen: Arc<Seen>,
}

/// What passed by.
#[derive(Default)]
pub struct Seen {
    token: Mutex<Option<HeaderValue>>,
    failure: Mutex<Option<Failure>>,
}

impl Seen {
    /// The `Authorization` that the session used last, if it has logged in.
    #[must_use]
    pub fn token(&self) -> Option<HeaderValue> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The failure of the request just made.
    #[must_use]
    pub fn take_failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note_token(&self, header: Option<HeaderValue>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = header;
    }

    fn note_failure(&self, failure: Failure) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }
}

impl Wire {
    /// Sends to that URL, logs in with tokens of that signer, and notes there what passes.
    #[must_use]
    pub fn new(url: Url, signer: Option<Arc<Signer>>, seen: Arc<Seen>) -> Self {
        Self { url, signer, seen }
    }

    async fn pass(&self, mut request: Request, extensions: &mut Extensions, next: Next<'_>) -> Result<Response, Failure> {
        self.redirect(request.url_mut())?;
        let authorization = request.headers().get(AUTHORIZATION).cloned();
        if request.url().path().ends_with("query-request") {
            self.seen.note_token(authorization.clone());
        }
        if let (Some(signer), true) = (&self.signer, request.url().path().ends_with("login-request")) {
            put_token(&mut request, signer)?;
        }
        let mut url = request.url().clone();
        let mut answer = Answer::read(next.clone().run(request, extensions).await?).await?;
        for _ in 0..POLLS_MAX {
            let Some(path) = answer.still_running() else { break };
            url = url.join(&path).map_err(|_| Failure::protocol("a result URL that is none"))?;
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

    fn redirect(&self, url: &mut Url) -> Result<(), Failure> {
        let moved = url.set_scheme(self.url.scheme()).is_ok()
            && url.set_host(self.url.host_str()).is_ok()
            && url.set_port(self.url.port()).is_ok();
        if moved { Ok(()) } else { Err(Failure::protocol("a URL that cannot be sent elsewhere")) }
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
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let host = request.url().host_str();
        let is_ours = host.is_some_and(|host| host.ends_with(".snowflakecomputing.com") || Some(host) == self.url.host_str());
        // Result chunks lie with the cloud's storage: those requests pass as they are.
        if !is_ours || request.method() != Method::POST {
            return next.run(request, extensions).await;
        }
        self.pass(request, extensions, next).await.map_err(|failure| {
            self.seen.note_failure(failure.clone());
            reqwest_middleware::Error::middleware(failure)
        })
    }
}

/// Puts our token into a log-in.
fn put_token(request: &mut Request, signer: &Signer) -> Result<(), Failure> {
    let body = request.body().and_then(|body| body.as_bytes()).unwrap_or_default();
    let mut login: serde_json::Value = serde_json::from_slice(body).map_err(|_| Failure::protocol("a log-in that is no JSON"))?;
    login["data"]["TOKEN"] = signer.token().into();
    *request.body_mut() = Some(login.to_string().into());
    Ok(())
}

struct Answer {
    body: Bytes,
    envelope: Envelope,
}

impl Answer {
    async fn read(response: Response) -> Result<Self, Failure> {
        let status = response.status();
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let body = response.bytes().await.map_err(|e| Failure::of_http(&e))?;
        let envelope = serde_json::from_slice::<Envelope>(&body);
        // An expired session comes as 401 with Snowflake's code in the body, or as 200.
        if status != StatusCode::OK && !matches!(&envelope, Ok(e) if e.code.is_some() && status.as_u16() < 500) {
            return Err(Failure::Status { status: status.as_u16(), retry_after });
        }
        let envelope = envelope.map_err(|e| Failure::Protocol(e.to_string()))?;
        Ok(Self { body, envelope })
    }

    fn still_running(&self) -> Option<String> {
        let running = self.envelope.code.as_deref().is_some_and(|code| IN_PROGRESS.contains(&code));
        running.then(|| self.envelope.data.as_ref()?.get_result_url.clone()).flatten()
    }

    fn into_response(self) -> Result<Response, Failure> {
        if self.envelope.success != Some(true) {
            let data = self.envelope.data.unwrap_or_default();
            return Err(Failure::Refused {
                code: self.envelope.code.or(data.error_code).unwrap_or_else(|| "without a code".into()),
                sql_state: data.sql_state.unwrap_or_default(),
                message: self.envelope.message.unwrap_or_default(),
            });
        }
        Ok(Response::from(http::Response::new(self.body)))
    }
}
