//! A client of Connect's REST API, the same for ours and for Java's.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use crate::wait::eventually;

const REQUEST_LIMIT: Duration = Duration::from_secs(90);
const RUNNING_LIMIT: Duration = Duration::from_secs(60);

/// A connector's configuration, as Connect has it: text to text.
pub type Config = BTreeMap<String, String>;

/// A configuration from pairs.
pub fn config<const N: usize>(pairs: [(&str, &str); N]) -> Config {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// The REST API of a worker.
#[derive(Clone, Debug)]
pub struct Connect {
    url: String,
    http: reqwest::Client,
    user: Option<(String, String)>,
}

/// What the worker answered, whatever the status.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Null when the body was empty; a string when it was not JSON.
    pub body: Value,
}

impl Answer {
    /// The body of a 2xx answer, otherwise an error that shows the answer.
    pub fn ok(self) -> Result<Value> {
        if !(200..300).contains(&self.status) {
            bail!("the worker answered {}: {}", self.status, self.body);
        }
        Ok(self.body)
    }

    /// The `message` of an error body.
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

impl Connect {
    pub fn new(url: impl Into<String>) -> Self {
        // Without idle connections: a test's runtime ends with the test, and with it whatever it has left open.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy().timeout(REQUEST_LIMIT).build();
        Self { url: url.into(), http: http.expect("a client without TLS settings can be made"), user: None }
    }

    /// With a name and a password in each request.
    pub fn with_user(self, user: Option<(String, String)>) -> Self {
        Self { user, ..self }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Any request; `path` begins with a slash. An error only when there was no answer.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.url));
        if let Some((name, password)) = &self.user {
            request = request.basic_auth(name, Some(password));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.with_context(|| format!("{method} {path}"))?;
        let status = response.status().as_u16();
        let text = response.text().await.with_context(|| format!("read the answer to {method} {path}"))?;
        let body = match text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        };
        Ok(Answer { status, body })
    }

    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::PUT, path, Some(body)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::POST, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.send(Method::DELETE, path, None).await
    }

    /// Creates a connector; an error unless the worker took it.
    pub async fn create(&self, name: &str, config: &Config) -> Result<Value> {
        let answer = self.post("/connectors", &json!({"name": name, "config": config})).await?;
        answer.ok().with_context(|| format!("create connector {name}"))
    }

    pub async fn status(&self, name: &str) -> Result<Answer> {
        self.get(&format!("/connectors/{name}/status")).await
    }

    /// Waits until the connector and all of `tasks` tasks say RUNNING; an error at once when one says FAILED, with its trace.
    pub async fn wait_running(&self, name: &str, tasks: usize) -> Result<()> {
        let what = format!("connector {name} to run {tasks} tasks");
        let running = eventually(&what, RUNNING_LIMIT, async || {
            let status = self.status(name).await?.ok()?;
            if let Some(failed) = units(&status).find(|unit| unit["state"] == "FAILED") {
                return Ok(Some(Err(failed.clone())));
            }
            let states = units(&status).map(|unit| &unit["state"]);
            let running = states.filter(|state| *state == "RUNNING").count();
            if running == tasks + 1 { Ok(Some(Ok(()))) } else { bail!("its status is {status}") }
        });
        match running.await? {
            Ok(()) => Ok(()),
            Err(unit) => bail!("connector {name} failed: {unit}"),
        }
    }

    /// Waits until a task says FAILED, and answers its trace.
    pub async fn wait_task_failed(&self, name: &str) -> Result<String> {
        eventually(&format!("a task of connector {name} to fail"), RUNNING_LIMIT, async || {
            let status = self.status(name).await?.ok()?;
            let failed = status["tasks"].as_array().into_iter().flatten().find(|task| task["state"] == "FAILED");
            match failed {
                Some(task) => Ok(Some(task["trace"].as_str().unwrap_or_default().to_owned())),
                None => bail!("its status is {status}"),
            }
        })
        .await
    }
}

/// The connector's part of a status, then each task's.
fn units(status: &Value) -> impl Iterator<Item = &Value> {
    std::iter::once(&status["connector"]).chain(status["tasks"].as_array().into_iter().flatten())
}
