//! A cloud function, served by Google's Functions Framework.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::connect::Connect;
use crate::ground;
use crate::process::{Launch, Process};

const START_LIMIT: Duration = Duration::from_secs(60);

/// One function. It ends with the value, and what it remembers with it.
#[derive(Debug)]
pub struct CloudFunction {
    // Held for its end.
    _process: Process,
    url: String,
}

impl CloudFunction {
    /// Serves the function `target` of a Python file of the tree, which sees these variables. It is ready when it answers GET.
    pub async fn start(source: &Path, target: &str, environment: &[(&str, &str)]) -> Result<Self> {
        let installed = tokio::task::spawn_blocking(|| ground::part("functions")).await??;
        let (port, source) = (ground::free_port()?.to_string(), ground::tree().join(source));
        let source = source.to_string_lossy();
        let arguments = ["--source", &source, "--target", target, "--host", "127.0.0.1", "--port", &port].map(str::to_owned);
        let launch = Launch {
            name: "function".into(),
            program: installed.join("bin/functions-framework"),
            arguments: arguments.into(),
            environment: environment
                .iter()
                .chain(&[("PYTHONUNBUFFERED", "1")])
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let url = format!("http://127.0.0.1:{port}");
        let (mut process, client) = (Process::start(launch)?, Connect::new(&*url));
        process.until_ready(START_LIMIT, async || client.get("/").await.is_ok_and(|answer| answer.status == 200)).await?;
        Ok(Self { _process: process, url })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it answers to GET.
    pub async fn get(&self) -> Result<Value> {
        Connect::new(&*self.url).get("/").await?.ok().context("ask the function")
    }
}
