//! A real Kafka broker, or several (KRaft nodes on loopback), and what a test wants to do with them.

mod client;
mod secured;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::OnceCell;

pub use client::{Message, NewRecord};
pub use secured::Secured;

use crate::ground;
use crate::process::{Launch, Process};
use crate::tap::Tap;

const START_LIMIT: Duration = Duration::from_secs(180);

/// A broker, or a cluster of them. Each listens on the same port with the same data after [`Kafka::restart`]; both end with the
/// value.
#[derive(Debug)]
pub struct Kafka {
    nodes: Vec<Node>,
    bootstrap: String,
    /// Of the further listeners, by name.
    addresses: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Node {
    process: Process,
    bootstrap: String,
    data: PathBuf,
}

/// What may differ from broker to broker.
#[derive(Clone, Debug)]
pub struct Builder {
    nodes: usize,
    properties: BTreeMap<String, String>,
    heap_max_mb: u32,
    jvm: Vec<String>,
    /// Name and security protocol.
    listeners: Vec<(String, String)>,
    /// Clients that come through it can be killed, and brokers, at a chosen request.
    tap: Option<Tap>,
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
        Builder {
            nodes: 1,
            properties: BTreeMap::new(),
            heap_max_mb: 512,
            jvm,
            listeners: Vec::new(),
            tap: None,
            format: Vec::new(),
        }
    }

    /// `bootstrap.servers`, all of them.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// `bootstrap.servers` for one of the further listeners.
    pub fn address(&self, listener: &str) -> &str {
        self.addresses.get(listener).unwrap_or_else(|| panic!("the broker has no listener {listener}"))
    }

    /// How many brokers hold each topic: all of them.
    pub fn replication(&self) -> i32 {
        i32::try_from(self.nodes.len()).expect("a test starts a few brokers")
    }

    /// Ends it as `kill -9` does, all brokers of it.
    pub fn kill(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.process.kill());
    }

    /// Starts it again on the same ports and data, killing what runs of it first.
    pub async fn restart(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.process.start_again()?;
        }
        for broker in self.brokers() {
            self.until_ready(broker).await?;
        }
        Ok(())
    }

    /// What all brokers have said so far.
    pub fn log_text(&self) -> String {
        self.nodes.iter().map(|node| node.process.log_text()).collect()
    }

    /// The brokers, by their ids: 1, 2, ...
    pub fn brokers(&self) -> std::ops::RangeInclusive<i32> {
        1..=self.replication()
    }

    /// Of the brokers' processes, in their order.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| node.process.pid()).collect()
    }

    /// Ends one broker as `kill -9` does.
    pub fn kill_broker(&mut self, broker: i32) {
        self.node(broker).process.kill();
    }

    /// Starts one broker again.
    pub async fn restart_broker(&mut self, broker: i32) -> Result<()> {
        self.node(broker).process.start_again()?;
        self.until_ready(broker).await
    }

    /// Asks it to stop and waits for its end. Data stays; [`Kafka::restart`] starts it again.
    pub async fn stop(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.process.terminate(Duration::from_secs(60)).await?;
        }
        Ok(())
    }

    /// What its clients must be told; add what the test needs.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    fn node(&mut self, broker: i32) -> &mut Node {
        let index = usize::try_from(broker - 1).expect("brokers count from 1");
        &mut self.nodes[index]
    }

    async fn until_ready(&mut self, broker: i32) -> Result<()> {
        let mut client = self.client();
        let node = self.node(broker);
        client.set("bootstrap.servers", &node.bootstrap);
        let probe: BaseConsumer = client.set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg).create()?;
        let probe = std::sync::Arc::new(probe);
        let ready = async || {
            let probe = probe.clone();
            let ask = move || {
                let known = probe.fetch_metadata(None, Duration::from_millis(500));
                known.is_ok_and(|known| known.brokers().iter().any(|known| known.id() == broker))
            };
            tokio::task::spawn_blocking(ask).await.unwrap_or(false)
        };
        node.process.until_ready(START_LIMIT, ready).await
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.process.kill();
            fs::remove_dir_all(&node.data).ok();
        }
    }
}

impl Builder {
    /// So many brokers, each a controller too; topics, Kafka's own included, are held by all of them and written with all but one.
    pub fn brokers(self, nodes: usize) -> Self {
        Self { nodes, ..self }
    }

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

    /// One more place to listen, which clients reach through the tap only; it has as many ways as there are brokers.
    pub fn tapped(self, tap: &Tap) -> Self {
        Self { tap: Some(tap.clone()), ..self.listener(TAPPED, "PLAINTEXT") }
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
        let addresses = Addresses::of(self.nodes)?;
        let mut kafka = Kafka { nodes: Vec::new(), bootstrap: addresses.brokers.join(","), addresses: BTreeMap::new() };
        // All are started before one is waited for: alone they are no quorum.
        for id in 1..=self.nodes {
            let node = self.launch(&ground, &addresses, id, &mut kafka.addresses).await?;
            kafka.nodes.push(node);
        }
        if let Some(tap) = &self.tap {
            tap.lead_to(kafka.address(TAPPED));
        }
        for broker in kafka.brokers() {
            kafka.until_ready(broker).await?;
        }
        Ok(kafka)
    }

    /// Starts the process of one node; further listeners are noted.
    async fn launch(
        &self,
        ground: &Path,
        addresses: &Addresses,
        id: usize,
        listeners: &mut BTreeMap<String, String>,
    ) -> Result<Node> {
        let data = ground::data_dir("kafka")?;
        let mut properties = addresses.properties(id, &data.join("logs").to_string_lossy());
        for (name, protocol) in &self.listeners {
            let address = format!("127.0.0.1:{}", ground::free_port()?);
            let tap = self.tap.as_ref().filter(|_| name == TAPPED);
            let advertised = tap.map_or(&address, |tap| &tap.addresses()[id - 1]);
            for (key, entry) in [
                ("listeners", format!(",{name}://{address}")),
                ("advertised.listeners", format!(",{name}://{advertised}")),
                ("listener.security.protocol.map", format!(",{name}:{protocol}")),
            ] {
                properties.entry(key.into()).or_default().push_str(&entry);
            }
            let known = listeners.entry(name.clone()).or_default();
            *known = if known.is_empty() { address } else { format!("{known},{address}") };
        }
        properties.extend(self.properties.clone());
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
        Ok(Node { process, bootstrap: addresses.brokers[id - 1].clone(), data })
    }
}

/// The listener behind the tap.
const TAPPED: &str = "TAPPED";
const CLUSTER_ID: &str = "cGVuc3RvY2stdGVzdHMtMQ";

/// Where the nodes listen.
struct Addresses {
    brokers: Vec<String>,
    controllers: Vec<String>,
}

impl Addresses {
    fn of(nodes: usize) -> Result<Self> {
        let some = || (0..nodes).map(|_| Ok(format!("127.0.0.1:{}", ground::free_port()?))).collect::<Result<Vec<_>>>();
        Ok(Self { brokers: some()?, controllers: some()? })
    }

    /// Of the node with this id; they count from 1.
    fn properties(&self, id: usize, log_dir: &str) -> BTreeMap<String, String> {
        let (broker, controller) = (&self.brokers[id - 1], &self.controllers[id - 1]);
        let voters = (1..).zip(&self.controllers).map(|(id, address)| format!("{id}@{address}"));
        let replication = self.brokers.len().to_string();
        let min_isr = self.brokers.len().saturating_sub(1).max(1).to_string();
        [
            ("process.roles", "broker,controller".into()),
            ("node.id", id.to_string()),
            ("controller.quorum.voters", voters.collect::<Vec<_>>().join(",")),
            ("controller.listener.names", "CONTROLLER".into()),
            ("listeners", format!("PLAINTEXT://{broker},CONTROLLER://{controller}")),
            ("advertised.listeners", format!("PLAINTEXT://{broker}")),
            ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".into()),
            ("log.dirs", log_dir.into()),
            ("auto.create.topics.enable", "false".into()),
            ("min.insync.replicas", min_isr.clone()),
            // Few partitions make it start and recover faster.
            ("offsets.topic.replication.factor", replication.clone()),
            ("offsets.topic.num.partitions", "4".into()),
            ("transaction.state.log.replication.factor", replication.clone()),
            ("transaction.state.log.min.isr", min_isr.clone()),
            ("transaction.state.log.num.partitions", "4".into()),
            ("share.coordinator.state.topic.replication.factor", replication),
            ("share.coordinator.state.topic.min.isr", min_isr),
            ("share.coordinator.state.topic.num.partitions", "1".into()),
            ("group.initial.rebalance.delay.ms", "0".into()),
            // Records with a fixed time in them grow older than any limit; a broker deletes such half a minute after its start.
            ("log.retention.ms", "-1".into()),
        ]
        .map(|(key, value): (&str, String)| (key.to_owned(), value))
        .into()
    }
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
