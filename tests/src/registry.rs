//! A real Schema Registry: Apicurio, through its Confluent-compatible API.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::connect::Connect;
use crate::ground;
use crate::process::{Launch, Process, Usage};

const START_LIMIT: Duration = Duration::from_secs(300);
const API: &str = "/apis/ccompat/v7";

/// A registry. Its schemas live in a file, so they outlast [`Registry::kill`] and [`Registry::restart`].
#[derive(Debug)]
pub struct Registry {
    process: Process,
    api: Connect,
    data: PathBuf,
    host: String,
}

impl Registry {
    /// The registry that all tests of this process share: it takes 5 to 20 seconds to start. Use [`crate::unique`] subjects.
    pub async fn shared() -> Result<&'static Registry> {
        static SHARED: OnceCell<Registry> = OnceCell::const_new();
        SHARED.get_or_try_init(Registry::start).await
    }

    /// A registry of one's own, to kill.
    pub async fn start() -> Result<Registry> {
        let ground = tokio::task::spawn_blocking(|| ground::part("registry")).await??;
        let data = ground::data_dir("registry")?;
        let port = ground::free_port()?;
        let jar = std::fs::read_dir(&ground)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.to_string_lossy().ends_with("-runner.jar"))
            .with_context(|| format!("find the registry's jar in {}", ground.display()))?;
        let arguments = [
            "-Xmx384m".into(),
            "-XX:+UseSerialGC".into(),
            "-XX:TieredStopAtLevel=1".into(),
            "-Djava.util.logging.manager=org.jboss.logmanager.LogManager".into(),
            "-Dquarkus.http.host=127.0.0.1".into(),
            format!("-Dquarkus.http.port={port}"),
            // Without a delay, or what was answered in the last half second is lost by a kill.
            format!("-Dapicurio.datasource.url=jdbc:h2:file:{};WRITE_DELAY=0", data.join("registry").display()),
            "-jar".into(),
            jar.to_string_lossy().into_owned(),
        ];
        let launch =
            Launch { name: "registry".into(), program: "java".into(), arguments: arguments.into(), environment: BTreeMap::new() };
        let host = format!("http://127.0.0.1:{port}");
        let api = Connect::new(format!("{host}{API}"));
        let mut registry = Registry { process: Process::start(launch)?, api, data, host };
        registry.until_ready().await?;
        Ok(registry)
    }

    /// What clients call the registry's URL (`schema.registry.url`).
    pub fn url(&self) -> &str {
        self.api.url()
    }

    /// Where Apicurio's own clients find its own API (`apicurio.registry.url`).
    pub fn apicurio_url(&self) -> String {
        format!("{}/apis/registry/v2", self.host)
    }

    /// Registers an Avro schema, and answers its id.
    pub async fn register(&self, subject: &str, schema: &Value) -> Result<u32> {
        let answer = self.api.post(&format!("/subjects/{subject}/versions"), &json!({"schema": schema.to_string()})).await?;
        let body = answer.ok().with_context(|| format!("register a schema for {subject}"))?;
        let id = body["id"].as_u64().with_context(|| format!("read the id in {body}"))?;
        Ok(u32::try_from(id)?)
    }

    /// Its REST API, for anything else.
    pub fn api(&self) -> &Connect {
        &self.api
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port and data, killing it first if it runs.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.start_again()?;
        self.until_ready().await
    }

    pub fn usage(&self) -> Result<Usage> {
        self.process.usage()
    }

    async fn until_ready(&mut self) -> Result<()> {
        let api = self.api.clone();
        let ready = async || api.get("/subjects").await.is_ok_and(|answer| answer.status == 200);
        self.process.until_ready(START_LIMIT, ready).await
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill();
        std::fs::remove_dir_all(&self.data).ok();
    }
}
