//! Who is measured, and how one run goes.

use std::fmt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use penstock_tests::connect::{Config, Connect};
use penstock_tests::{JavaConnect, Kafka, Registry, Worker, ground, unique};

use crate::Choice;
use crate::cases::{Case, Components, avro_converter};
use crate::drain::Taken;
use crate::mirror::Copy;
use crate::orders::{PARTITIONS, Topics};
use crate::report::{Measured, Run};
use crate::rival::Rival;

pub(crate) const COMMIT_INTERVAL_MS: u32 = 200;
const SAMPLE_INTERVAL: Duration = Duration::from_millis(25);
/// A drain that commits nothing for so long is given up.
const STALL_LIMIT: Duration = Duration::from_secs(60);
/// After the start, until memory is called idle.
const IDLE: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum System {
    Librdkafka,
    Java,
    JavaLean,
    Penstock,
}

impl System {
    pub(crate) const ALL: [System; 4] = [System::Librdkafka, System::Java, System::JavaLean, System::Penstock];

    pub(crate) fn name(self) -> &'static str {
        match self {
            System::Librdkafka => "librdkafka",
            System::Java => "java",
            System::JavaLean => "java-lean",
            System::Penstock => "penstock",
        }
    }

    /// The sink that does nothing.
    pub(crate) fn sink_class(self) -> &'static str {
        if self == System::Penstock { "penstock.Blackhole" } else { "penstock.bench.BlackholeSink" }
    }

    pub(crate) fn takes_part(self, case: Case) -> bool {
        match self {
            System::Librdkafka => case == Case::Bytes,
            System::Java | System::JavaLean => !case.needs_component(),
            System::Penstock => true,
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl System {
    /// Starts a worker with nothing but the sink that does nothing.
    pub(crate) async fn start_plain(self, kafka: &Kafka) -> Result<Rival> {
        if self == System::Penstock {
            let builder = Worker::builder(kafka).property("offset.flush.interval.ms", COMMIT_INTERVAL_MS);
            return Ok(Rival::Penstock(builder.start().await?));
        }
        Ok(Rival::Java(java(kafka, self)?.start().await?))
    }
}

/// What all measurements share.
pub(crate) struct Bench<'a> {
    pub(crate) kafka: &'a Kafka,
    pub(crate) registry: Option<&'a Registry>,
    pub(crate) topics: &'a Topics,
    pub(crate) choice: &'a Choice,
}

impl Bench<'_> {
    pub(crate) async fn measure(&self, case: Case, system: System) -> Result<Measured> {
        eprintln!("bench: {case} with {system}");
        if system == System::Librdkafka {
            return self.drain(case);
        }
        let rival = self.start(case, system).await?;
        tokio::time::sleep(IDLE).await;
        let idle_rss_mb = rival.usage()?.rss_mb();
        let mut runs = Vec::new();
        for run in 1..=self.choice.runs {
            runs.push(self.run(case, system, run, &rival).await.with_context(|| format!("run {run}"))?);
        }
        let has_components = case.needs_component();
        Ok(Measured { runs, first_answer: Some(rival.first_answer()), idle_rss_mb: Some(idle_rss_mb), has_components })
    }

    async fn start(&self, case: Case, system: System) -> Result<Rival> {
        if system == System::Penstock {
            let mut builder = Worker::builder(self.kafka).property("offset.flush.interval.ms", COMMIT_INTERVAL_MS);
            if case.needs_component() {
                builder = builder.with_test_components()?;
            }
            return Ok(Rival::Penstock(builder.start().await?));
        }
        let mut builder = java(self.kafka, system)?;
        if case == Case::Avro {
            builder = builder.plugin_path(ground::part("avro-converter")?);
        }
        Ok(Rival::Java(builder.start().await?))
    }

    async fn run(&self, case: Case, system: System, run: u32, rival: &Rival) -> Result<Run> {
        let (topic, records) = (self.topics.topic(case), self.topics.records(case));
        let name = unique(&format!("bench-{case}"));
        let connect = rival.connect();
        let copy = (case == Case::Mirror).then(|| Copy::of(topic));
        let config = copy.as_ref().map_or_else(|| self.connector(case, system), |copy| Ok(copy.config(self.kafka)))?;
        let before = rival.usage()?;
        connect.create(&name, &config).await?;
        let records_per_s = match &copy {
            Some(copy) => copy.until_complete(self.kafka, &name, records, connect).await?,
            None => until_drained(self.kafka, &name, topic, records, connect).await?,
        };
        let after = rival.usage()?;
        let transform_ns_per_record = match system {
            System::Penstock => Some(transform_seconds(connect, &name).await? * 1e9 / records as f64),
            _ => None,
        };
        connect.delete(&format!("/connectors/{name}")).await?.ok()?;
        if let Some(copy) = copy {
            copy.verify_and_remove(self.kafka).await?;
        }
        let cpu_us_per_record = (after.cpu - before.cpu).as_secs_f64() * 1e6 / records as f64;
        let rss_peak_mb = after.rss_peak_mb();
        let (case, system) = (case.name(), system.name());
        Ok(Run { case, system, run, records, cpu_us_per_record, records_per_s, rss_peak_mb, transform_ns_per_record })
    }

    fn connector(&self, case: Case, system: System) -> Result<Config> {
        let is_penstock = system == System::Penstock;
        let components = Components { identity: &self.choice.identity_component, retail: &self.choice.retail_component };
        let mut config = case.stages(&components);
        if case == Case::Avro {
            config.extend(avro_converter(!is_penstock, self.registry.context("the case avro needs a registry")?));
        }
        config.insert("connector.class".into(), system.sink_class().into());
        config.insert("tasks.max".into(), "1".into());
        config.insert("topics".into(), self.topics.topic(case).into());
        Ok(config)
    }

    fn drain(&self, case: Case) -> Result<Measured> {
        let records = self.topics.records(case);
        let mut runs = Vec::new();
        for run in 1..=self.choice.runs {
            let output = Command::new(std::env::current_exe()?)
                .args(["drain", "--bootstrap", self.kafka.bootstrap(), "--topic", self.topics.topic(case)])
                .args(["--partitions", &PARTITIONS.to_string(), "--records", &records.to_string()])
                .output()
                .context("start the drain")?;
            ensure!(output.status.success(), "the drain failed: {}", String::from_utf8_lossy(&output.stderr));
            let taken: Taken = serde_json::from_slice(&output.stdout).context("parse what the drain printed")?;
            runs.push(Run {
                case: case.name(),
                system: System::Librdkafka.name(),
                run,
                records,
                cpu_us_per_record: taken.cpu_s * 1e6 / records as f64,
                records_per_s: records as f64 / taken.seconds,
                rss_peak_mb: taken.rss_peak_mb,
                transform_ns_per_record: None,
            });
        }
        Ok(Measured { runs, first_answer: None, idle_rss_mb: None, has_components: false })
    }
}

/// Watches the group's commits until they reach the end; records a second between the first and the last that were seen.
pub(crate) async fn until_drained(kafka: &Kafka, name: &str, topic: &str, records: u64, connect: &Connect) -> Result<f64> {
    let group = format!("connect-{name}");
    let mut watch = Some(CommitWatch::new(kafka, &group, topic)?);
    until_reached(name, records, connect, async || {
        let (back, committed) = watch.take().context("a look came back before")?.look().await?;
        watch = Some(back);
        Ok(committed)
    })
    .await
}

/// Looks again and again until the connector has done so many records; records a second between the first and the last look that saw
/// progress.
pub(crate) async fn until_reached(
    name: &str,
    records: u64,
    connect: &Connect,
    mut look: impl AsyncFnMut() -> Result<u64>,
) -> Result<f64> {
    let mut first: Option<(Instant, u64)> = None;
    let mut last = (Instant::now(), 0);
    loop {
        let done = look().await?;
        if done > last.1 {
            last = (Instant::now(), done);
            first.get_or_insert(last);
        }
        if done >= records {
            break;
        }
        if last.0.elapsed() > STALL_LIMIT {
            let status = connect.status(name).await?.body;
            bail!("{done} of {records} records are done, no more for {STALL_LIMIT:?}; its status is {status}");
        }
        tokio::time::sleep(SAMPLE_INTERVAL).await;
    }
    let (began, at_first) = first.unwrap_or(last);
    let seconds = (last.0 - began).as_secs_f64();
    // So few that one look saw them all: no speed can be told.
    Ok(if seconds > 0.0 { (last.1 - at_first) as f64 / seconds } else { f64::NAN })
}

/// What the transforms of a connector have taken, by the worker's metrics.
async fn transform_seconds(connect: &Connect, connector: &str) -> Result<f64> {
    let page = connect.get("/metrics").await?.body;
    let sums = page.as_str().context("the metrics are a text")?.lines().filter_map(|line| line.rsplit_once(' '));
    let is_ours = |labels: &str| {
        labels.starts_with("penstock_task_stage_duration_seconds_sum{")
            && labels.contains(&format!("connector=\"{connector}\""))
            && labels.contains("stage=\"transform\"")
    };
    let sums: Vec<f64> = sums.filter(|(labels, _)| is_ours(labels)).map(|(_, sum)| sum.parse()).collect::<Result<_, _>>()?;
    ensure!(!sums.is_empty(), "the worker has no duration of the stage transform for {connector}");
    Ok(sums.iter().sum())
}

fn java(kafka: &Kafka, system: System) -> Result<penstock_tests::java::Builder> {
    let sink = ground::part("blackhole-java")?.join("plugins");
    let builder = JavaConnect::builder(kafka).property("offset.flush.interval.ms", COMMIT_INTERVAL_MS).plugin_path(sink);
    Ok(if system == System::JavaLean { builder.lean() } else { builder })
}

/// Asks a group's offsets again and again over one connection.
struct CommitWatch {
    client: rdkafka::consumer::BaseConsumer,
    partitions: rdkafka::TopicPartitionList,
}

impl CommitWatch {
    fn new(kafka: &Kafka, group: &str, topic: &str) -> Result<Self> {
        let client = kafka.client().set("group.id", group).create()?;
        let mut partitions = rdkafka::TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            partitions.add_partition(topic, partition);
        }
        Ok(Self { client, partitions })
    }

    async fn look(self) -> Result<(Self, u64)> {
        use rdkafka::consumer::Consumer;
        tokio::task::spawn_blocking(move || {
            let committed = self.client.committed_offsets(self.partitions.clone(), Duration::from_secs(20))?;
            let offset = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
                rdkafka::Offset::Offset(offset) => u64::try_from(offset).unwrap_or(0),
                _ => 0,
            };
            let total = committed.elements().into_iter().map(offset).sum();
            Ok((self, total))
        })
        .await?
    }
}
