//! The real Java Connect: the oracle when a promise says "as Java does", and the rival in benchmarks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::connect::Connect;
use crate::kafka::{Kafka, java_arguments, to_properties, unique};
use crate::process::{Launch, Process, Usage};
use crate::{ground, wait};

/// Ten seconds on a quiet machine; class-path scanning takes minutes on one that compiles beside it.
const START_LIMIT: Duration = Duration::from_secs(300);

/// A Java worker, in a cluster of one unless it is given the `group.id` of another or is told to be standalone.
#[derive(Debug)]
pub struct JavaConnect {
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
    jvm: Vec<String>,
    heap_max_mb: u32,
    /// Of a standalone worker: its connector files, by name.
    standalone: Option<Vec<(String, String)>>,
    user: Option<(String, String)>,
}

impl JavaConnect {
    /// As it comes: every plugin folder scanned, a heap of 2 GB.
    pub fn builder(kafka: &Kafka) -> Builder {
        let mut properties = worker_properties(kafka);
        properties.insert("offset.flush.interval.ms".into(), "1000".into());
        let jvm = vec!["-Xms256m".into()];
        Builder { properties, plugin_path: Vec::new(), jvm, heap_max_mb: 2048, standalone: None, user: None }
    }

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

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits until it has ended by itself, and answers its exit code.
    pub async fn ended(&mut self) -> Result<Option<i32>> {
        Ok(self.process.wait(START_LIMIT).await?.code())
    }

    /// Asks it to stop and waits for its end.
    pub async fn stop(&mut self) -> Result<()> {
        self.process.terminate(Duration::from_secs(60)).await.map(|_| ())
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
            // The HTTP server answers before the worker has joined its group; this path waits for that.
            first_answer.is_some() && connect.get("/connectors").await.is_ok_and(|answer| answer.status == 200)
        };
        self.process.until_ready(START_LIMIT, ready).await?;
        self.first_answer = first_answer.unwrap_or_default();
        Ok(())
    }
}

impl Drop for JavaConnect {
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

    /// Whom tests ask as, where it asks for a password.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.user = Some((name.into(), password.into()));
        self
    }

    /// An option of the JVM, such as `-Dname=value`.
    pub fn jvm(mut self, option: impl Into<String>) -> Self {
        self.jvm.push(option.into());
        self
    }

    /// A folder that holds folders of jars.
    pub fn plugin_path(mut self, folder: PathBuf) -> Self {
        self.plugin_path.push(folder);
        self
    }

    /// Tuned for memory and start, as somebody would who cares: plugins from service files only, a small heap.
    pub fn lean(mut self) -> Self {
        self.heap_max_mb = 512;
        self.jvm.clear();
        self.property("plugin.discovery", "service_load")
    }

    /// In standalone mode, with these connectors: a file's name and its text.
    pub fn standalone(mut self, connectors: &[(&str, String)]) -> Self {
        self.properties.retain(|key, _| !is_of_cluster(key));
        self.standalone = Some(connectors.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect());
        self
    }

    pub async fn start(self) -> Result<JavaConnect> {
        let mut java = self.launch().await?;
        java.until_ready().await?;
        Ok(java)
    }

    /// Starts it without waiting: for workers that shall not come up.
    pub async fn launch(mut self) -> Result<JavaConnect> {
        let ground = tokio::task::spawn_blocking(|| ground::part("connect")).await??;
        let data = ground::data_dir("java-connect")?;
        let url = format!("http://127.0.0.1:{}", ground::free_port()?);
        // It must name a folder that exists.
        let mut plugin_path = vec![data.join("plugins")];
        fs::create_dir_all(&plugin_path[0])?;
        plugin_path.append(&mut self.plugin_path);
        let plugin_path: Vec<_> = plugin_path.iter().map(|path| path.to_string_lossy()).collect();
        self.properties.insert("plugin.path".into(), plugin_path.join(","));
        self.properties.insert("listeners".into(), url.clone());
        let mut main = vec!["org.apache.kafka.connect.cli.ConnectDistributed".to_owned()];
        if self.standalone.is_some() {
            main = vec!["org.apache.kafka.connect.cli.ConnectStandalone".into()];
            self.properties.entry(OFFSET_FILE.into()).or_insert_with(|| data.join("offsets").display().to_string());
        }
        main.extend(write_files(&data, &self.properties, self.standalone.as_deref().unwrap_or_default())?);
        let main: Vec<&str> = main.iter().map(String::as_str).collect();
        let class_path = format!("{}/*", ground.join("lib").display());
        let launch = Launch {
            name: "java-connect".into(),
            program: "java".into(),
            arguments: java_arguments(&self.jvm, self.heap_max_mb, &class_path, &main),
            environment: BTreeMap::new(),
        };
        let process = Process::start(launch)?;
        let connect = Connect::new(url).with_user(self.user);
        Ok(JavaConnect { process, connect, data, first_answer: Duration::ZERO })
    }
}

/// Where a standalone worker keeps the offsets of sources.
pub(crate) const OFFSET_FILE: &str = "offset.storage.file.filename";

/// What `connect-standalone.properties` does not hold.
pub(crate) fn is_of_cluster(key: &str) -> bool {
    key == "group.id" || key.contains(".storage.")
}

/// Writes the files that a worker is started with, and answers their paths.
pub(crate) fn write_files(
    folder: &Path,
    worker: &BTreeMap<String, String>,
    connectors: &[(String, String)],
) -> Result<Vec<String>> {
    let worker = ("worker.properties".to_owned(), to_properties(worker));
    let write = |(name, text): &(String, String)| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path.display().to_string())
    };
    std::iter::once(&worker).chain(connectors).map(write).collect()
}

/// What Java's worker knows by heart, line by line and part by part: see `tests/ground/java/connect-oracle`.
pub fn oracle() -> Vec<Vec<String>> {
    let lib = ground::part("connect").expect("Java Connect is installed").join("lib/*");
    let source = ground::tree().join("tests/ground/java/connect-oracle/ConnectOracle.java");
    let asked = Command::new("java")
        .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(lib)
        .arg(source)
        .output();
    let asked = asked.expect("java runs");
    assert!(asked.status.success(), "the oracle failed: {}", String::from_utf8_lossy(&asked.stderr));
    let text = String::from_utf8(asked.stdout).expect("the oracle speaks UTF-8");
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// What every distributed worker needs, with topics and a group of its own.
pub(crate) fn worker_properties(kafka: &Kafka) -> BTreeMap<String, String> {
    let group = unique("connect");
    let replication = kafka.replication().to_string();
    [
        ("bootstrap.servers", kafka.bootstrap().to_owned()),
        ("config.storage.topic", format!("{group}-configs")),
        ("offset.storage.topic", format!("{group}-offsets")),
        ("status.storage.topic", format!("{group}-status")),
        ("config.storage.replication.factor", replication.clone()),
        ("offset.storage.replication.factor", replication.clone()),
        ("status.storage.replication.factor", replication.clone()),
        ("offset.storage.partitions", "2".into()),
        ("status.storage.partitions", "2".into()),
        ("key.converter", "org.apache.kafka.connect.storage.StringConverter".into()),
        ("value.converter", "org.apache.kafka.connect.json.JsonConverter".into()),
        ("value.converter.schemas.enable", "false".into()),
        ("group.id", group),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// Waits until a sink connector's group has committed all of a topic: how both Java's progress and ours is seen from outside.
pub async fn wait_drained(kafka: &Kafka, connector: &str, topic: &str, limit: Duration) -> Result<()> {
    let group = format!("connect-{connector}");
    wait::wait_until(&format!("{group} to commit all of {topic}"), limit, async || {
        let lag = kafka.lag(&group, topic).await?;
        anyhow::ensure!(lag == 0, "{lag} records are left");
        Ok(true)
    })
    .await
}
