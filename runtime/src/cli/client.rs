//! Requests to a worker, and what its answers mean.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use super::Remote;
use super::error::{CliError, Result};

/// A worker's REST API.
pub(super) struct Client {
    base: Url,
    user: Option<(String, String)>,
    http: reqwest::Client,
}

/// A little longer than Connect gives itself for an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(95);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests are tried again that a Java cluster refuses while it rebalances.
const REBALANCE_LIMIT: Duration = Duration::from_secs(60);
const REBALANCE_WAIT: Duration = Duration::from_secs(1);

impl Client {
    pub(super) fn new(remote: &Remote) -> Result<Self> {
        let wrong = |why: &str| CliError::Usage(format!("--url {}: {why}; write it as http://host:8083", remote.url));
        let base = Url::parse(&remote.url).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(wrong("not an address of a worker"));
        }
        let user = remote.user.as_ref().map(|user| {
            let parts = user.split_once(':').map(|(name, password)| (name.to_owned(), password.to_owned()));
            parts.ok_or_else(|| CliError::Usage("--user wants NAME:PASSWORD".into()))
        });
        let mut http = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).connect_timeout(CONNECT_TIMEOUT);
        if let Some(file) = &remote.cacert {
            let wrong = |why: String| CliError::Usage(format!("--cacert {}: {why}", file.display()));
            let pem = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
            for certificate in reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))? {
                http = http.add_root_certificate(certificate);
            }
        }
        let http = http.build().map_err(|error| CliError::Failed(told(&error)))?;
        Ok(Self { base, user: user.transpose()?, http })
    }

    /// `path` is given in parts, so that a name may hold anything.
    pub(super) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value> {
        self.send(Method::GET, path, query, None).await
    }

    pub(super) async fn put(&self, path: &[&str], body: Option<&Value>) -> Result<Value> {
        self.send(Method::PUT, path, &[], body).await
    }

    pub(super) async fn post(&self, path: &[&str], query: &[(&str, &str)], body: Option<&Value>) -> Result<Value> {
        self.send(Method::POST, path, query, body).await
    }

    pub(super) async fn patch(&self, path: &[&str], body: &Value) -> Result<Value> {
        self.send(Method::PATCH, path, &[], Some(body)).await
    }

    pub(super) async fn delete(&self, path: &[&str]) -> Result<Value> {
        self.send(Method::DELETE, path, &[], None).await
    }

    /// The body of the answer; null when there was none.
    async fn send(&self, method: Method, path: &[&str], query: &[(&str, &str)], body: Option<&Value>) -> Result<Value> {
        let began = Instant::now();
        loop {
            let (status, text) = self.send_once(method.clone(), path, query, body).await?;
            let message = || message_of(&text).unwrap_or_else(|| format!("the worker answered {status}"));
            if status.is_success() {
                return match text.as_str() {
                    "" => Ok(Value::Null),
                    text => serde_json::from_str(text).map_err(|_| {
                        CliError::Failed(format!("{} answered no JSON: is it a Connect worker's REST API?", self.base))
                    }),
                };
            }
            if status == StatusCode::CONFLICT && is_passing(&message()) && began.elapsed() < REBALANCE_LIMIT {
                tokio::time::sleep(REBALANCE_WAIT).await;
                continue;
            }
            return Err(match status {
                StatusCode::NOT_FOUND => CliError::NotFound(message()),
                StatusCode::UNAUTHORIZED => CliError::Failed(format!("{}: give --user NAME:PASSWORD", message())),
                _ => CliError::Failed(message()),
            });
        }
    }

    async fn send_once(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(StatusCode, String)> {
        let mut request = self.http.request(method, self.url(path)).query(query);
        if let Some((name, password)) = &self.user {
            request = request.basic_auth(name, Some(password));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let unreachable = |error: reqwest::Error| {
            CliError::Failed(format!("cannot reach the worker at {} (--url, PENSTOCK_URL): {}", self.base, told(&error)))
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        Ok((status, response.text().await.map_err(unreachable)?))
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("checked when the client was made").pop_if_empty().extend(path);
        url
    }
}

/// Connect's error text.
fn message_of(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    body["message"].as_str().map(str::to_owned)
}

/// Java answers 409 to what it cannot do just now; a connector that exists is another matter.
fn is_passing(message: &str) -> bool {
    message.contains("rebalanc") || message.contains("momentarily")
}

/// An error with what lies below it.
fn told(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Result<Client> {
        let remote = Remote { url: url.into(), user: None, cacert: None, output: super::super::Output::Table };
        Client::new(&remote)
    }

    #[test]
    fn names_may_hold_anything() {
        let url = |base: &str| client(base).unwrap().url(&["connectors", "a/b %ü", "status"]).to_string();
        assert_eq!(url("http://h:1"), "http://h:1/connectors/a%2Fb%20%25%C3%BC/status");
        assert_eq!(url("http://h:1/connect/"), "http://h:1/connect/connectors/a%2Fb%20%25%C3%BC/status");
    }

    #[test]
    fn what_is_no_address_is_told_before_anything_is_asked() {
        for url in ["localhost:8083", "ftp://h", "http://"] {
            assert_eq!(client(url).err().expect(url).exit_code(), 2, "{url}");
        }
    }

    #[test]
    fn only_rebalances_pass() {
        assert!(is_passing("Cannot complete request momentarily due to stale configuration"));
        assert!(is_passing("Cannot complete request because of a conflicting operation (e.g. worker rebalance)"));
        assert!(!is_passing("Connector orders already exists"));
    }
}
