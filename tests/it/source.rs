//! The source road as users see it: a file becomes records, on our worker and on Java's beside it, and whatever goes wrong on the way.

mod beside_java;
mod boundaries;
mod exactly_once;
mod kills;
mod replan;
mod script;
mod shards;
mod support;

use anyhow::{Context, Result, ensure};
use penstock_tests::connect::Config;
use penstock_tests::{Connect, Kafka, Worker, unique, wait_until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// A connector that reads a file of its own.
pub(crate) struct Lines {
    pub(crate) name: String,
    pub(crate) topic: String,
    pub(crate) path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Lines {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("lines.txt");
        File::create(&path)?;
        Ok(Self { name: unique("lines"), topic: unique("lines"), path, _folder: folder })
    }

    pub(crate) fn append(&self, lines: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        append_to(&self.path, lines)
    }

    pub(crate) fn config(&self, own: &[(&str, &str)]) -> Config {
        let file = self.path.display().to_string();
        let base = [
            ("connector.class", "FileStreamSource"),
            ("file", file.as_str()),
            ("topic", self.topic.as_str()),
            ("value.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ];
        base.iter().chain(own).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    pub(crate) async fn read(&self, kafka: &Kafka) -> Result<Vec<String>> {
        if kafka.partitions(&self.topic).await.map_or(true, |partitions| partitions.is_empty()) {
            return Ok(Vec::new());
        }
        Ok(kafka.read(&self.topic).await?.iter().map(penstock_tests::kafka::Message::text).collect())
    }

    pub(crate) async fn wait_for(&self, kafka: &Kafka, lines: &[&str]) -> Result<()> {
        wait_until(&format!("{lines:?}"), SOON, async || {
            let read = self.read(kafka).await?;
            ensure!(read == lines, "there are {read:?}");
            Ok(true)
        })
        .await
    }

    /// The position that REST shows.
    pub(crate) async fn position(&self, connect: &Connect) -> Result<Option<i64>> {
        let offsets = connect.get(&format!("/connectors/{}/offsets", self.name)).await?.ok()?;
        Ok(offsets["offsets"][0]["offset"]["position"].as_i64())
    }

    async fn wait_for_position(&self, connect: &Connect, position: i64) -> Result<()> {
        wait_until(&format!("position {position}"), SOON, async || Ok(self.position(connect).await? == Some(position))).await
    }
}

fn append_to(path: &Path, lines: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
    let mut text = String::new();
    for line in lines {
        text.push_str(line.as_ref());
        text.push('\n');
    }
    fs::OpenOptions::new().append(true).open(path)?.write_all(text.as_bytes()).context("append lines")
}

fn numbered(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|n| format!("line {n:06}"))
}

async fn worker(kafka: &Kafka) -> Result<Worker> {
    Worker::builder(kafka).property("offset.flush.interval.ms", 200).start().await
}

#[tokio::test]
async fn a_stopped_source_goes_on_where_it_was_and_a_paused_one_rests() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let lines = Lines::new()?;
    kafka.create_topic(&lines.topic, 1).await?;
    let mut worker = Worker::builder(kafka).start().await?;
    lines.append(["a", "b"])?;
    worker.connect().create(&lines.name, &lines.config(&[])).await?;
    lines.wait_for(kafka, &["a", "b"]).await?;
    // offset.flush.interval.ms is a minute: it is the stop that stores them.
    worker.stop().await?;
    lines.append(["c"])?;
    worker.restart().await?;
    lines.wait_for(kafka, &["a", "b", "c"]).await?;
    let connect = worker.connect();
    connect.put(&format!("/connectors/{}/pause", lines.name), &Value::Null).await?.ok()?;
    let state = async |state: &str| {
        wait_until(state, SOON, async || Ok(connect.status(&lines.name).await?.ok()?["tasks"][0]["state"] == state)).await
    };
    state("PAUSED").await?;
    lines.append(["d"])?;
    connect.post(&format!("/connectors/{}/restart?includeTasks=true", lines.name), &Value::Null).await?.ok()?;
    state("PAUSED").await?;
    lines.wait_for(kafka, &["a", "b", "c"]).await?;
    connect.put(&format!("/connectors/{}/resume", lines.name), &Value::Null).await?.ok()?;
    lines.wait_for(kafka, &["a", "b", "c", "d"]).await
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_out_of_order_when_the_worker_is_killed() -> Result<()> {
    const KILLS: usize = 6;
    const LINES: usize = 60_000;
    let seed = std::env::var("PENSTOCK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_128);
    println!("source: PENSTOCK_SEED={seed}");
    let mut moments = StdRng::seed_from_u64(seed);
    let kafka = Kafka::shared().await?;
    let lines = Lines::new()?;
    kafka.create_topic(&lines.topic, 1).await?;
    let mut worker = worker(kafka).await?;
    worker.connect().create(&lines.name, &lines.config(&[("batch.size", "100")])).await?;
    for kill in 0..KILLS {
        let (first, last) = (kill * LINES / KILLS, (kill + 1) * LINES / KILLS);
        for part in 0..10 {
            let size = (last - first) / 10;
            lines.append(numbered(first + part * size..first + (part + 1) * size))?;
            tokio::time::sleep(Duration::from_millis(moments.random_range(0..60))).await;
        }
        worker.kill();
        worker.restart().await?;
    }
    let expected: Vec<String> = numbered(0..LINES).collect();
    let mut read = Vec::new();
    wait_until("all lines", SOON, async || {
        read = lines.read(kafka).await?;
        Ok(read.iter().collect::<BTreeSet<_>>().len() == LINES)
    })
    .await?;
    println!("source: {} records for {LINES} lines over {KILLS} kills", read.len());
    let mut seen = BTreeSet::new();
    let firsts: Vec<String> = read.into_iter().filter(|line| seen.insert(line.clone())).collect();
    ensure!(firsts == expected, "first appearances are in order");
    let size = fs::metadata(&lines.path)?.len();
    lines.wait_for_position(worker.connect(), i64::try_from(size)?).await
}

#[tokio::test]
async fn a_broker_that_goes_away_is_waited_for() -> Result<()> {
    let mut kafka = Kafka::start().await?;
    let lines = Lines::new()?;
    kafka.create_topic(&lines.topic, 1).await?;
    let worker = worker(&kafka).await?;
    worker.connect().create(&lines.name, &lines.config(&[])).await?;
    lines.append(["before"])?;
    lines.wait_for(&kafka, &["before"]).await?;
    lines.wait_for_position(worker.connect(), 7).await?;
    kafka.kill();
    lines.append(["during"])?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    kafka.restart().await?;
    lines.append(["after"])?;
    lines.wait_for(&kafka, &["before", "during", "after"]).await?;
    lines.wait_for_position(worker.connect(), 20).await?;
    worker.connect().wait_running(&lines.name, 1).await
}

#[tokio::test]
async fn poison_goes_to_the_dead_letters_and_the_rest_passes() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let lines = Lines::new()?;
    kafka.create_topic(&lines.topic, 1).await?;
    let dead = unique("dead-lines");
    let worker = worker(kafka).await?;
    lines.append(["1", "two", "3"])?;
    let cast = [
        ("transforms", "cast"),
        ("transforms.cast.type", "org.apache.kafka.connect.transforms.Cast$Value"),
        ("transforms.cast.spec", "int32"),
        ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ("value.converter.schemas.enable", "false"),
    ];
    worker.connect().create(&lines.name, &lines.config(&cast)).await?;
    let trace = worker.connect().wait_task_failed(&lines.name).await?;
    ensure!(trace.contains("Tolerance exceeded in error handler") && trace.contains(r#"{"position":6}"#), "{trace}");
    // Of the batch with the poison nothing was sent.
    ensure!(lines.position(worker.connect()).await?.is_none(), "no offset is stored");
    let tolerant = [
        ("errors.tolerance", "all"),
        ("errors.deadletterqueue.topic.name", dead.as_str()),
        ("errors.deadletterqueue.topic.replication.factor", "1"),
        ("errors.deadletterqueue.context.headers.enable", "true"),
    ];
    let config = json!(lines.config(&[cast.as_slice(), &tolerant].concat()));
    worker.connect().put(&format!("/connectors/{}/config", lines.name), &config).await?.ok()?;
    lines.wait_for(kafka, &["1", "3"]).await?;
    lines.wait_for_position(worker.connect(), 8).await?;
    let letters = kafka.read(&dead).await?;
    ensure!(letters.len() == 1 && letters[0].text() == "two", "{letters:?}");
    let header = |name: &str| letters[0].header(&format!("__connect.errors.{name}")).unwrap_or_default();
    for (name, expected) in [
        ("topic", lines.topic.as_str()),
        ("source.offset", r#"{"position":6}"#),
        ("source.partition", &json!({"filename": lines.path}).to_string()),
        ("connector.name", &lines.name),
        ("stage", "TRANSFORMATION"),
    ] {
        ensure!(header(name) == expected, "{name} is {}", header(name));
    }
    Ok(())
}

#[tokio::test]
async fn a_record_that_is_too_large_fails_the_task_or_is_skipped_and_offsets_never_run_ahead() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let lines = Lines::new()?;
    kafka.create_topic_with(&lines.topic, 1, &[("max.message.bytes", "2000")]).await?;
    let worker = worker(kafka).await?;
    let large = "x".repeat(5_000);
    lines.append(["small", large.as_str(), "last"])?;
    // In batches of one record: what came before the large one is there.
    worker.connect().create(&lines.name, &lines.config(&[("producer.override.batch.size", "1")])).await?;
    let trace = worker.connect().wait_task_failed(&lines.name).await?;
    ensure!(trace.contains("max.message.bytes") && trace.contains("errors.tolerance=all"), "{trace}");
    wait_until("the offset of what was acknowledged", SOON, async || Ok(lines.position(worker.connect()).await? == Some(6)))
        .await?;
    let tolerant = json!(lines.config(&[("errors.tolerance", "all"), ("producer.override.batch.size", "1")]));
    worker.connect().put(&format!("/connectors/{}/config", lines.name), &tolerant).await?.ok()?;
    wait_until("the last line", SOON, async || Ok(lines.read(kafka).await?.last().is_some_and(|line| line == "last"))).await?;
    lines.wait_for_position(worker.connect(), 5_012).await
}

#[tokio::test]
async fn a_topic_that_is_not_there_fails_the_task() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let lines = Lines::new()?;
    let worker = worker(kafka).await?;
    lines.append(["a"])?;
    let soon = [("producer.override.librdkafka.topic.metadata.propagation.max.ms", "500")];
    worker.connect().create(&lines.name, &lines.config(&soon)).await?;
    let trace = worker.connect().wait_task_failed(&lines.name).await?;
    ensure!(trace.contains("there is no such topic") && trace.contains("restart the task"), "{trace}");
    ensure!(lines.position(worker.connect()).await?.is_none(), "no offset is stored");
    kafka.create_topic(&lines.topic, 1).await?;
    worker.connect().post(&format!("/connectors/{}/tasks/0/restart", lines.name), &Value::Null).await?.ok()?;
    lines.wait_for(kafka, &["a"]).await
}

#[tokio::test]
async fn topics_are_created_as_their_groups_say() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let (lines, others) = (Lines::new()?, Lines::new()?);
    let worker = worker(kafka).await?;
    let groups = [
        ("topic.creation.groups", "numbers"),
        ("topic.creation.default.partitions", "2"),
        ("topic.creation.default.replication.factor", "1"),
        ("topic.creation.numbers.include", ".*-numbers"),
        ("topic.creation.numbers.partitions", "3"),
        ("topic.creation.numbers.cleanup.policy", "compact"),
    ];
    let routed = [
        ("transforms", "route"),
        ("transforms.route.type", "org.apache.kafka.connect.transforms.RegexRouter"),
        ("transforms.route.regex", "(.*)"),
        ("transforms.route.replacement", "$1-numbers"),
    ];
    lines.append(["a"])?;
    others.append(["b"])?;
    worker.connect().create(&lines.name, &lines.config(&groups)).await?;
    worker.connect().create(&others.name, &others.config(&[groups.as_slice(), &routed].concat())).await?;
    lines.wait_for(kafka, &["a"]).await?;
    let numbers = format!("{}-numbers", others.topic);
    wait_until("the other topic", SOON, async || Ok(kafka.partitions(&numbers).await.is_ok_and(|p| p.len() == 3))).await?;
    ensure!(kafka.partitions(&lines.topic).await?.len() == 2);
    let props = [("bootstrap.servers".to_owned(), kafka.bootstrap().to_owned())].into();
    let admin = penstock::kafka::Admin::new(penstock::kafka::settings::admin("test", &props)?)?;
    let configs = admin.topic_configs(&numbers).await?;
    ensure!(configs["cleanup.policy"] == "compact", "{configs:?}");

    // A group that cannot be created as it says.
    let wrong = Lines::new()?;
    wrong.append(["c"])?;
    let many = [("topic.creation.default.partitions", "1"), ("topic.creation.default.replication.factor", "9")];
    worker.connect().create(&wrong.name, &wrong.config(&many)).await?;
    let trace = worker.connect().wait_task_failed(&wrong.name).await?;
    ensure!(trace.contains("Task failed to create new topic") && trace.contains("replication factor"), "{trace}");
    Ok(())
}

#[tokio::test]
async fn offsets_of_a_topic_of_the_connectors_own_go_before_the_workers() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let lines = Lines::new()?;
    kafka.create_topic(&lines.topic, 1).await?;
    let worker = worker(kafka).await?;
    let own = unique("own-offsets");
    lines.append(["a"])?;
    worker.connect().create(&lines.name, &lines.config(&[("offsets.storage.topic", &own)])).await?;
    lines.wait_for_position(worker.connect(), 2).await?;
    let stored = kafka.read(&own).await?;
    let key = json!([lines.name, {"filename": lines.path}]).to_string();
    ensure!(stored.iter().any(|m| m.key == Some(key.clone().into_bytes()) && m.text() == r#"{"position":2}"#), "{stored:?}");
    // Without it the connector goes on by what the worker's topic holds.
    worker.connect().put(&format!("/connectors/{}/config", lines.name), &json!(lines.config(&[]))).await?.ok()?;
    lines.append(["b"])?;
    lines.wait_for(kafka, &["a", "b"]).await?;
    lines.wait_for_position(worker.connect(), 4).await
}
