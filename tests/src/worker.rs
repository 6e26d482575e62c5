//! Our worker as users run it: the binary, in a process of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use nix::sys::signal::Signal;

use crate::connect::Connect;
use crate::java::{OFFSET_FILE, is_of_cluster, worker_properties, write_files};
use crate::kafka::Kafka;
use crate::process::{Launch, Process, Usage};
use crate::{ground, guests};

/// Well below a second; more on a machine that is busy, or when it waits for a broker that starts beside it.
const START_LIMIT: Duration = Duration::from_secs(180);
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A `penstock worker FILE`, or a `penstock standalone FILE CONNECTOR...`. It keeps its properties, and so its port and its cluster's state, over [`Worker::restart`].
#[derive(Debug)]
pub struct Worker {
    process: Process,
    connect: Connect,
    data: PathBuf,
    /// From the start of the process to the first answer of `GET /`.
    pub first_answer: Duration,
}

#[derive(Clone, Debug)]
pub struct Builder {
    properties: BTreeMap<String, String>,
    plugin_path: Vec<PathBuf>,
    environment: BTreeMap<String, String>,
    /// Of a standalone worker: its connector files, by name.
    standalone: Option<Vec<(String, String)>>,
    user: Option<(String, String)>,
}

impl Worker {
    /// With internal topics and a group of its own, schemaless JSON values, text keys, and the tests' components as plugins not included.
    pub fn builder(kafka: &Kafka) -> Builder {
        let environment = [("RUST_BACKTRACE".to_owned(), "1".to_owned())].into();
        let properties = worker_properties(kafka);
        Builder { properties, plugin_path: Vec::new(), environment, standalone: None, user: None }
    }

    /// Its REST API.
    pub fn connect(&self) -> &Connect {
        &self.connect
    }

    pub fn usage(&self) -> Result<Usage> {
        self.process.usage()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn log_text(&self) -> String {
        self.process.log_text()
    }

    pub fn log_path(&self) -> &Path {
        self.process.log_path()
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends it a signal, such as SIGSTOP and SIGCONT for a frozen worker.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Stops it as an operator does (SIGTERM) and waits for its end.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.process.terminate(STOP_LIMIT).await
    }

    /// Waits until it has ended by itself, and answers its exit code.
    pub async fn ended(&mut self) -> Result<Option<i32>> {
        Ok(self.process.wait(START_LIMIT).await?.code())
    }

    /// How it ended; `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.process.exit_status()
    }

    /// Starts it again with the same properties, killing it first if it runs.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.start_again()?;
        self.until_ready().await
    }

    async fn until_ready(&mut self) -> Result<()> {
        let connect = self.connect.clone();
        let began = self.process.began;
        let mut first_answer = None;
        let ready = async || {
            if first_answer.is_none() && connect.get("/").await.is_ok() {
                first_answer = Some(began.elapsed());
            }
            first_answer.is_some() && connect.get("/connectors").await.is_ok_and(|answer| answer.status == 200)
        };
        self.process.until_ready(START_LIMIT, ready).await?;
        self.first_answer = first_answer.unwrap_or_default();
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.process.kill();
        fs::remove_dir_all(&self.data).ok();
    }
}

impl Builder {
    /// A line of the worker's properties.
    pub fn property(mut self, key: &str, value: impl ToString) -> Self {
        self.properties.insert(key.into(), value.to_string());
        self
    }

    /// What the worker's properties say; empty if nothing.
    pub fn value(&self, key: &str) -> String {
        self.properties.get(key).cloned().unwrap_or_default()
    }

    /// Takes a line out of the worker's properties, to see what happens without.
    pub fn without(mut self, key: &str) -> Self {
        self.properties.remove(key);
        self
    }

    /// A folder of components.
    pub fn plugin_path(mut self, folder: impl Into<PathBuf>) -> Self {
        self.plugin_path.push(folder.into());
        self
    }

    /// The components of the tests and of the retail example, compiled if need be.
    pub fn with_test_components(self) -> Result<Self> {
        Ok(self.plugin_path(guests::components()?))
    }

    /// Whom tests ask as, where it asks for a password.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.user = Some((name.into(), password.into()));
        self
    }

    pub fn environment(mut self, key: &str, value: &str) -> Self {
        self.environment.insert(key.into(), value.into());
        self
    }

    /// In standalone mode, with these connectors: a file's name and its text.
    pub fn standalone(mut self, connectors: &[(&str, String)]) -> Self {
        self.properties.retain(|key, _| !is_of_cluster(key));
        self.standalone = Some(connectors.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect());
        self
    }

    /// Starts it and waits until it answers.
    pub async fn start(self) -> Result<Worker> {
        let mut worker = self.launch()?;
        worker.until_ready().await?;
        Ok(worker)
    }

    /// Starts it without waiting: for workers that shall not come up.
    pub fn launch(mut self) -> Result<Worker> {
        let data = ground::data_dir("worker")?;
        let url = format!("http://127.0.0.1:{}", ground::free_port()?);
        self.properties.entry("listeners".into()).or_insert_with(|| url.clone());
        if !self.plugin_path.is_empty() {
            let folders: Vec<_> = self.plugin_path.iter().map(|path| path.to_string_lossy()).collect();
            self.properties.insert("plugin.path".into(), folders.join(","));
        }
        let mut arguments = vec!["worker".to_owned()];
        if self.standalone.is_some() {
            arguments = vec!["standalone".into()];
            self.properties.entry(OFFSET_FILE.into()).or_insert_with(|| data.join("offsets").display().to_string());
        }
        arguments.extend(write_files(&data, &self.properties, self.standalone.as_deref().unwrap_or_default())?);
        let launch = Launch { name: "worker".into(), program: binary()?, arguments, environment: self.environment };
        // By the first of them: tests ask the others themselves.
        let connect = Connect::new(self.properties["listeners"].split(',').next().unwrap_or_default()).with_user(self.user);
        Ok(Worker { process: Process::start(launch)?, connect, data, first_answer: Duration::ZERO })
    }
}

/// The worker's binary: `$PENSTOCK_BIN`, else the one beside this executable in the target folder.
pub fn binary() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("PENSTOCK_BIN") {
        return Ok(given.into());
    }
    let built = ground::target_dir().join("release/penstock");
    let Ok(built_at) = fs::metadata(&built).and_then(|file| file.modified()) else {
        bail!("there is no worker at {}: run `make build` (or `cargo build --release -p penstock`)", built.display());
    };
    if let Some(newer) =
        newest_source(&["runtime", "plugins/api", "plugins/host", "plugins/kafka", "plugins/transforms", "connectors"], built_at)
    {
        eprintln!("note: {} is newer than the worker that is tested: run `make build` first", newer.display());
    }
    Ok(built)
}

fn newest_source(rooms: &[&str], than: SystemTime) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = rooms.iter().map(|room| ground::tree().join(room)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_newer = || entry.metadata().and_then(|file| file.modified()).is_ok_and(|at| at > than);
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && is_newer() {
                return Some(path);
            }
        }
    }
    None
}
