//! A cluster with connectors, records that flow to all of them, and somebody who watches the offsets.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use penstock_tests::cluster::Tasks;
use penstock_tests::connect::{Config, config};
use penstock_tests::{Cluster, Flow, Journal, Kafka, Worker, wait_until};

use super::audit::Audit;

/// Connectors, each with a topic of its name.
pub(super) const NAMES: [&str; 6] = ["orders", "stock", "clicks", "payments", "returns", "support"];
/// Of each connector; its topic has as many partitions.
const TASKS: i32 = 5;
/// For whatever is waited for: slow machines, which run other tests beside.
pub(super) const LIMIT: Duration = Duration::from_secs(90);

/// What to start.
pub(super) struct Setup<'s> {
    pub(super) workers: usize,
    /// Of the workers.
    pub(super) session: Duration,
    /// To each partition a record in each of these.
    pub(super) flow_interval: Duration,
    pub(super) names: &'s [&'s str],
    /// Of the sinks' puts.
    pub(super) delay_ms: u32,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        let (session, flow_interval) = (Duration::from_secs(6), Duration::from_millis(50));
        Self { workers: 2, session, flow_interval, names: &NAMES, delay_ms: 0 }
    }
}

pub(super) struct Flowing {
    pub(super) cluster: Cluster,
    pub(super) journal: Journal,
    tasks: Tasks,
    flow: Flow,
    audit: Audit,
    began: Instant,
    /// Of the journal.
    _folder: tempfile::TempDir,
}

impl Flowing {
    /// Workers, connectors and topics, records flowing.
    pub(super) async fn start(kafka: &Kafka, setup: &Setup<'_>) -> Result<Self> {
        let builder = Worker::builder(kafka)
            .property("session.timeout.ms", setup.session.as_millis())
            .property("heartbeat.interval.ms", 500)
            .property("offset.flush.interval.ms", 500);
        let folder = tempfile::tempdir()?;
        let journal = Journal::new(folder.path().join("journal"));
        let topics: Vec<String> = setup.names.iter().map(ToString::to_string).collect();
        for topic in &topics {
            kafka.create_topic(topic, TASKS).await?;
        }
        let it = Self {
            cluster: Cluster::start(builder, setup.workers).await?,
            tasks: topics.iter().map(|name| (name.clone(), TASKS as usize)).collect(),
            flow: Flow::begin(kafka, &topics, TASKS, setup.flow_interval)?,
            audit: Audit::begin(kafka, &topics, TASKS, journal.path())?,
            journal,
            began: Instant::now(),
            _folder: folder,
        };
        for name in setup.names {
            let mut sink = it.sink(name);
            sink.insert("blackhole.delay.ms".into(), setup.delay_ms.to_string());
            it.cluster.connect(0).create(name, &sink).await?;
        }
        Ok(it)
    }

    /// A connector's configuration.
    pub(super) fn sink(&self, name: &str) -> Config {
        let journal = self.journal.path().to_string_lossy();
        let tasks = TASKS.to_string();
        config([("connector.class", "Blackhole"), ("topics", name), ("tasks.max", &tasks), ("blackhole.journal.path", &journal)])
    }

    /// Who leads, and who does not.
    pub(super) fn roles(&self, among: &[usize]) -> Result<(usize, Vec<usize>)> {
        let leader = self.cluster.leader(among)?;
        Ok((leader, among.iter().copied().filter(|worker| *worker != leader).collect()))
    }

    /// Waits until all tasks run on these workers, and every record produced so far, newest included, is delivered.
    pub(super) async fn survives(&mut self, what: &str, up: &[usize]) -> Result<()> {
        self.cluster.wait_shared_out(&self.tasks, up, LIMIT).await.map_err(|error| error.context(what.to_owned()))?;
        let all_run = self.began.elapsed();
        let before = self.flow.acknowledged();
        let partitions = self.tasks.values().sum::<usize>();
        let flows = async || {
            let now = self.flow.acknowledged();
            Ok(now.len() == partitions && now.iter().all(|(place, end)| before.get(place).is_none_or(|before| end > before)))
        };
        wait_until(&format!("{what}: records to be produced"), LIMIT, flows).await?;
        let (produced, all_flow) = (self.flow.acknowledged(), self.began.elapsed());
        wait_until(&format!("{what}: every record to be delivered"), LIMIT, async || {
            self.journal.read_on()?;
            let missing = self.journal.missing(&produced);
            ensure!(missing.is_empty(), "missing, by partition: {missing:?}");
            Ok(true)
        })
        .await?;
        self.audit.is_content()?;
        let delivered = self.began.elapsed();
        println!(
            "survived {what}: all ran after {all_run:.1?}, brokers took records after {all_flow:.1?}, sinks had them after {delivered:.1?}"
        );
        self.began = Instant::now();
        Ok(())
    }

    /// Ends the flow; everything must be delivered and committed.
    pub(super) async fn end(mut self) -> Result<()> {
        let sent = self.flow.end().await?;
        wait_until("every record to be delivered and committed", LIMIT, async || {
            self.journal.read_on()?;
            let (missing, committed) = (self.journal.missing(&sent), self.audit.committed()?);
            ensure!(missing.is_empty(), "missing, by partition: {missing:?}");
            let late: Vec<_> = sent.iter().filter(|(place, end)| committed.get(place) != Some(end)).collect();
            ensure!(late.is_empty(), "not committed: {late:?}");
            Ok(true)
        })
        .await?;
        let looks = self.audit.end()?;
        println!("{} records; offsets were looked at {looks} times", sent.values().sum::<i64>());
        Ok(())
    }
}
