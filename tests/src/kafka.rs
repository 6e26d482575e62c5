//! A real Kafka broker (one KRaft node on loopback), and what a test wants to do with it.

mod client;
mod secured;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::OnceCell;

pub use client::{Message, NewRecord};
pub use secured::Secured;

use crate::ground;
use crate::process::{Launch, Process, Usage};

const START_LIMIT: Duration = Duration::from_secs(180);

/// A broker. It listens on the same port with the same data after [`Kafka::restart`]; both end with the value.
#[derive(Debug)]
pub struct Kafka {
    process: Process,
    bootstrap: String,
    /// Of the further listeners, by name.
    addresses: BTreeMap<String, String>,
    data: PathBuf,
}

/// What may differ from broker to broker.
#[derive(Clone, Debug)]
pub struct Builder {
    properties: BTreeMap<String, String>,
    heap_max_mb: u32,
    jvm: Vec<String>,
    /// Name and security protocol.
    listeners: Vec<(String, String)>,
    /// Further arguments for the formatting of its folder.
    format: Vec<String>,
}

impl Kafka {
    /// The broker that all tests of this process share, started by the first who asks. Its topics are not created automatically, so
    /// give each test its own by [`unique`]. It ends with the process.
    pub async fn shared() -> Result<&'static Kafka> {
        static SHARED: OnceCell<Kafka> = OnceCell::const_new();
        SHARED.get_or_try_init(Kafka::start).await
    }

    /// A broker of one's own, to kill or to set up differently.
    pub async fn start() -> Result<Kafka> {
        Kafka::builder().start().await
    }

    pub fn builder() -> Builder {
        // Small and quick to start; the benchmark asks for more.
        let jvm = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].map(String::from).into();
        Builder { properties: BTreeMap::new(), heap_max_mb: 512, jvm, listeners: Vec::new(), format: Vec::new() }
    }

    /// `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// `bootstrap.servers` for one of the further listeners.
    pub fn address(&self, listener: &str) -> &str {
        self.addresses.get(listener).unwrap_or_else(|| panic!("the broker has no listener {listener}"))
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port and data, killing it first if it runs.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.start_again()?;
        self.until_ready().await
    }

    /// Asks it to stop and waits for its end. Data stays; [`Kafka::restart`] starts it again.
    pub async fn stop(&mut self) -> Result<()> {
        self.process.terminate(Duration::from_secs(60)).await.map(|_| ())
    }

    pub fn usage(&self) -> Result<Usage> {
        self.process.usage()
    }

    /// What its clients must be told; add what the test needs.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    async fn until_ready(&mut self) -> Result<()> {
        let probe: BaseConsumer = self.client().set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg).create()?;
        let probe = std::sync::Arc::new(probe);
        let ready = async || {
            let probe = probe.clone();
            let ask =
                move || probe.fetch_metadata(None, Duration::from_millis(500)).is_ok_and(|known| !known.brokers().is_empty());
            tokio::task::spawn_blocking(ask).await.unwrap_or(false)
        };
        self.process.until_ready(START_LIMIT, ready).await
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.process.kill();
        fs::remove_dir_all(&self.data).ok();
    }
}

impl Builder {
    /// A line of `server.properties`.
    pub fn property(mut self, key: &str, value: impl ToString) -> Self {
        self.properties.insert(key.into(), value.to_string());
        self
    }

    /// Creates topics when a client names them, as brokers do by default and production clusters do not.
    pub fn auto_create_topics(self) -> Self {
        self.property("auto.create.topics.enable", true)
    }

    /// One more place to listen, beside PLAINTEXT. Its settings begin with `listener.name.<name in lower case>.`.
    pub fn listener(mut self, name: &str, protocol: &str) -> Self {
        self.listeners.push((name.into(), protocol.into()));
        self
    }

    /// A user with a SCRAM password, for `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub fn scram_user(mut self, mechanism: &str, name: &str, password: &str) -> Self {
        self.format.extend(["--add-scram".into(), format!("{mechanism}=[name={name},password={password}]")]);
        self
    }

    /// One more argument of its JVM.
    pub fn jvm(mut self, argument: impl Into<String>) -> Self {
        self.jvm.push(argument.into());
        self
    }

    /// For measurements: the JVM's own choice of compiler and collector, and a heap of this size.
    pub fn as_in_production(mut self, heap_max_mb: u32) -> Self {
        self.jvm.clear();
        self.heap_max_mb = heap_max_mb;
        self
    }

    pub async fn start(self) -> Result<Kafka> {
        let ground = tokio::task::spawn_blocking(|| ground::part("kafka")).await??;
        let data = ground::data_dir("kafka")?;
        let broker_port = ground::free_port()?;
        let bootstrap = format!("127.0.0.1:{broker_port}");
        let mut properties = node_properties(&bootstrap, ground::free_port()?, &data.join("logs").to_string_lossy());
        let mut addresses = BTreeMap::new();
        for (name, protocol) in &self.listeners {
            let address = format!("127.0.0.1:{}", ground::free_port()?);
            for (key, entry) in [
                ("listeners", format!(",{name}://{address}")),
                ("advertised.listeners", format!(",{name}://{address}")),
                ("listener.security.protocol.map", format!(",{name}:{protocol}")),
            ] {
                properties.entry(key.into()).or_default().push_str(&entry);
            }
            addresses.insert(name.clone(), address);
        }
        properties.extend(self.properties);
        let file = data.join("server.properties");
        fs::write(&file, to_properties(&properties)).with_context(|| format!("write {}", file.display()))?;

        let lib = format!("{}/*", ground.join("lib").display());
        let file = file.to_string_lossy().into_owned();
        let java = |name: &str, main: &[&str]| Launch {
            name: name.into(),
            program: "java".into(),
            arguments: java_arguments(&self.jvm, self.heap_max_mb, &lib, main),
            environment: BTreeMap::new(),
        };
        let mut format = vec!["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", &file];
        format.extend(self.format.iter().map(String::as_str));
        let mut formatting = Process::start(java("kafka-format", &format))?;
        let status = formatting.wait(START_LIMIT).await?;
        if !status.success() {
            bail!("could not format the broker's folder ({status}): {}", formatting.log_text());
        }
        let process = Process::start(java("kafka", &["kafka.Kafka", &file]))?;
        let mut kafka = Kafka { process, bootstrap, addresses, data };
        kafka.until_ready().await?;
        Ok(kafka)
    }
}

const CLUSTER_ID: &str = "cGVuc3RvY2stdGVzdHMtMQ";

fn node_properties(bootstrap: &str, controller_port: u16, log_dir: &str) -> BTreeMap<String, String> {
    let controller = format!("127.0.0.1:{controller_port}");
    [
        ("process.roles", "broker,controller".into()),
        ("node.id", "1".into()),
        ("controller.quorum.voters", format!("1@{controller}")),
        ("controller.listener.names", "CONTROLLER".into()),
        ("listeners", format!("PLAINTEXT://{bootstrap},CONTROLLER://{controller}")),
        ("advertised.listeners", format!("PLAINTEXT://{bootstrap}")),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".into()),
        ("log.dirs", log_dir.into()),
        ("auto.create.topics.enable", "false".into()),
        // One node holds everything once, and few partitions make it start and recover faster.
        ("offsets.topic.replication.factor", "1".into()),
        ("offsets.topic.num.partitions", "4".into()),
        ("transaction.state.log.replication.factor", "1".into()),
        ("transaction.state.log.min.isr", "1".into()),
        ("transaction.state.log.num.partitions", "4".into()),
        ("share.coordinator.state.topic.replication.factor", "1".into()),
        ("share.coordinator.state.topic.min.isr", "1".into()),
        ("share.coordinator.state.topic.num.partitions", "1".into()),
        ("group.initial.rebalance.delay.ms", "0".into()),
        // Records with a fixed time in them grow older than any limit; a broker deletes such half a minute after its start.
        ("log.retention.ms", "-1".into()),
    ]
    .map(|(key, value): (&str, String)| (key.to_owned(), value))
    .into()
}

/// The text of a Java properties file.
pub fn to_properties(properties: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (key, value) in properties {
        text += &format!("{key}={}\n", value.replace('\\', "\\\\").replace('\n', "\\n"));
    }
    text
}

/// Arguments for a JVM that logs to its standard output.
pub(crate) fn java_arguments(jvm: &[String], heap_max_mb: u32, class_path: &str, main: &[&str]) -> Vec<String> {
    let log4j = ground::tree().join("tests/ground/log4j2.properties");
    let mut arguments = vec![format!("-Xmx{heap_max_mb}m"), format!("-Dlog4j2.configurationFile={}", log4j.display())];
    arguments.extend(jvm.iter().cloned());
    arguments.extend(["-cp".into(), class_path.into()]);
    arguments.extend(main.iter().map(ToString::to_string));
    arguments
}

/// A name that no other test has: topics, connectors, groups.
pub fn unique(name: &str) -> String {
    format!("{name}-{:08x}", rand::random::<u32>())
}
