//! Calls to other workers.

use std::sync::Arc;
use std::time::Duration;

use penstock_api::Props;

use super::signature::{self, ALGORITHM_HEADER, SIGNATURE_HEADER};
use crate::config::SigningConfig;
use crate::store::config::SessionKey;

/// How long a worker may take to accept a connection; one that is gone with its machine never does.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// As long as a client may wait for its answer here.
const ANSWER_TIMEOUT: Duration = super::herder::REQUEST_TIMEOUT;

/// Why a call failed.
#[derive(Debug)]
pub enum CallError {
    /// The worker was not reached, so it has done nothing.
    NotReached(String),
    /// It may have done what was asked.
    Broken(String),
}

/// The way to other workers. Cheap to clone.
#[derive(Clone)]
pub struct Peers {
    client: reqwest::Client,
    signing: Arc<SigningConfig>,
}

impl Peers {
    /// `tls`: what https asks for; `None`: what the public trusts.
    #[must_use]
    pub fn new(signing: SigningConfig, tls: Option<rustls::ClientConfig>) -> Self {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none());
        let client = match tls {
            Some(tls) => client.use_preconfigured_tls(tls),
            None => client,
        };
        Self { client: client.build().expect("these settings always make a client"), signing: Arc::new(signing) }
    }

    /// A request to another worker, for [`send`](Self::send).
    pub fn request(&self, method: reqwest::Method, url: &str) -> reqwest::RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends it.
    ///
    /// # Errors
    /// When there is no answer, whatever it would say.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, CallError> {
        request.send().await.map_err(|error| {
            let text = chain(&error);
            if error.is_connect() || error.is_builder() { CallError::NotReached(text) } else { CallError::Broken(text) }
        })
    }

    /// Gives the leader the tasks that a connector has planned here, from its record at offset `written`.
    ///
    /// # Errors
    /// The leader's refusal, or why it was not reached.
    pub async fn put_tasks(
        &self,
        leader: &str,
        key: &SessionKey,
        connector: &str,
        written: i64,
        tasks: &[Arc<Props>],
    ) -> Result<(), String> {
        let tasks: Vec<&Props> = tasks.iter().map(AsRef::as_ref).collect();
        let body = serde_json::to_vec(&tasks).map_err(|e| e.to_string())?;
        let path = format!("connectors/{}/tasks?written={written}", encoded(connector));
        self.call(reqwest::Method::POST, leader, &path, key, body).await
    }

    /// Asks the leader to fence older tasks of a connector, for one of the generation that was committed at that offset.
    ///
    /// # Errors
    /// The leader's refusal, or why it was not reached.
    pub async fn put_fence(&self, leader: &str, key: &SessionKey, connector: &str, committed: i64) -> Result<(), String> {
        let path = format!("connectors/{}/fence?committed={committed}", encoded(connector));
        self.call(reqwest::Method::PUT, leader, &path, key, Vec::new()).await
    }

    /// Asks the worker that runs a connector to have its tasks planned anew.
    ///
    /// # Errors
    /// That worker's refusal, or why it was not reached.
    pub async fn put_plan(&self, worker: &str, key: &SessionKey, connector: &str) -> Result<(), String> {
        self.call(reqwest::Method::PUT, worker, &format!("connectors/{}/plan", encoded(connector)), key, Vec::new()).await
    }

    /// A signed call.
    async fn call(
        &self,
        method: reqwest::Method,
        leader: &str,
        path: &str,
        key: &SessionKey,
        body: Vec<u8>,
    ) -> Result<(), String> {
        let algorithm = &self.signing.signature_algorithm;
        let signature = signature::sign(key, algorithm, &body).map_err(|e| format!("{e:#}"))?;
        let url = format!("{}/{path}", leader.trim_end_matches('/'));
        let request = self.request(method, &url).body(body);
        let request = request.header(reqwest::header::CONTENT_TYPE, "application/json");
        let request = request.header(SIGNATURE_HEADER, signature).header(ALGORITHM_HEADER, algorithm);
        match self.send(request).await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => {
                let status = answer.status();
                Err(format!("{leader} answers {status}: {}", answer.text().await.unwrap_or_default()))
            }
            Err(CallError::NotReached(why) | CallError::Broken(why)) => Err(format!("{leader}: {why}")),
        }
    }

    /// How calls are signed.
    #[must_use]
    pub fn signing(&self) -> &SigningConfig {
        &self.signing
    }
}

/// A name as one segment of a path.
fn encoded(segment: &str) -> String {
    url::form_urlencoded::byte_serialize(segment.as_bytes()).collect::<String>().replace('+', "%20")
}

/// reqwest's own text leaves the cause out.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
