//! A Java cluster with data on the move is taken over in place and handed back: nothing is lost, nothing comes twice, offsets go on.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use penstock_tests::java::wait_drained;
use penstock_tests::{Connect, JavaConnect, Kafka, Worker, connect, ground, unique, wait_until};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(120);

/// By this name there is a sink on either side.
const SINK: &str = "penstock.BlackholeSinkConnector";

/// Java's alone.
const FOREIGN: &str = "org.apache.kafka.connect.tools.SchemaSourceConnector";

async fn produce(kafka: &Kafka, topic: &str, count: u32) -> Result<()> {
    kafka.produce_values(topic, (0..count).map(|n| format!("{{\"n\":{n}}}"))).await
}

/// What the tasks of a Java worker that has stopped said they took.
fn taken_by_java(log: &str) -> Vec<u32> {
    let lines = log.lines().filter_map(|line| line.trim().strip_prefix("blackhole took ")?.split(' ').next());
    lines.filter_map(|count| count.parse().ok()).collect()
}

fn settings(group: &str) -> Vec<(String, String)> {
    let topics = ["config", "offset", "status"].map(|kind| (format!("{kind}.storage.topic"), format!("{group}-{kind}")));
    topics.into_iter().chain([("group.id".to_owned(), group.to_owned())]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_goes_from_java_to_penstock_and_back_with_its_offsets() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let (group, topic) = (unique("moves"), unique("moves-in"));
    kafka.create_topic(&topic, 2).await?;
    let plugins = tokio::task::spawn_blocking(|| ground::part("blackhole-java")).await??.join("plugins");
    let ours = Worker::builder(kafka).property("offset.flush.interval.ms", 1000);
    let (mut java, mut ours) = (JavaConnect::builder(kafka).lean().plugin_path(plugins), ours);
    for (key, value) in settings(&group) {
        (java, ours) = (java.property(&key, &value), ours.property(&key, &value));
    }
    let mut java = java.start().await?;
    let name = unique("orders");
    // Java's sink knows nothing of the last key: ours fails if it takes more than what comes while it runs.
    let config = connect::config([("connector.class", SINK), ("topics", &topic), ("blackhole.fail.at.record", "52")]);
    java.connect().create(&name, &config).await?;
    java.connect().wait_running(&name, 1).await?;
    produce(kafka, &topic, 100).await?;
    wait_drained(kafka, &name, &topic, SOON).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("lines.txt");
    let append = |lines: &str| -> Result<u64> {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&file)?;
        file.write_all(lines.as_bytes())?;
        Ok(file.metadata()?.len())
    };
    let position = append("one\ntwo\nthree\n")?;
    let source = connect::config([("connector.class", "FileStreamSource"), ("topic", &topic), ("file", &file.to_string_lossy())]);
    // It has produced, so the sink has more to take.
    java.connect().create("lines", &source).await?;
    stored(java.connect(), "lines", position).await?;
    let other = unique("moves-other");
    kafka.create_topic(&other, 1).await?;
    let foreign = connect::config([
        ("connector.class", FOREIGN),
        ("topic", &other),
        ("id", "1"),
        ("throughput", "1"),
        ("num.messages", "1"),
        ("multiple.schema", "false"),
        ("partition.count", "1"),
    ]);
    java.connect().create("foreign", &foreign).await?;
    java.connect().wait_running("foreign", 1).await?;
    let all = async |count: i64| {
        let is_so = async || Ok(kafka.end_offsets(&topic).await?.values().sum::<i64>() == count);
        wait_until(&format!("{count} records to be there"), SOON, is_so).await
    };
    all(103).await?;
    wait_drained(kafka, &name, &topic, SOON).await?;
    java.stop().await?;
    ensure!(taken_by_java(&java.log_text()).iter().sum::<u32>() == 103, "{}", java.log_text());

    produce(kafka, &topic, 20).await?;
    let mut ours = ours.start().await?;
    ours.connect().wait_running(&name, 1).await?;
    produce(kafka, &topic, 30).await?;
    wait_drained(kafka, &name, &topic, SOON).await?;
    // The source goes on behind the third line.
    ours.connect().wait_running("lines", 1).await?;
    let position = append("four\n")?;
    stored(ours.connect(), "lines", position).await?;
    all(103 + 51).await?;
    wait_drained(kafka, &name, &topic, SOON).await?;
    ours.connect().wait_running(&name, 1).await.context("it took what Java had taken already")?;
    // Nobody here knows the class; it says so, and keeps what it had.
    let status = ours.connect().status("foreign").await?.ok()?;
    ensure!(status["connector"]["state"] == "FAILED" && status["type"] == "unknown", "{status}");
    ensure!(status["connector"]["trace"].as_str().is_some_and(|trace| trace.contains(FOREIGN)), "{status}");
    ensure!(ours.connect().get("/connectors/foreign/config").await?.ok()? == with_name(&foreign, "foreign"));
    ours.stop().await?;

    produce(kafka, &topic, 10).await?;
    java.restart().await?;
    java.connect().wait_running(&name, 1).await?;
    java.connect().wait_running("lines", 1).await?;
    java.connect().wait_running("foreign", 1).await?;
    let position = append("five\n")?;
    stored(java.connect(), "lines", position).await?;
    produce(kafka, &topic, 15).await?;
    wait_drained(kafka, &name, &topic, SOON).await?;
    java.stop().await?;
    let taken = taken_by_java(&java.log_text());
    ensure!(taken.iter().sum::<u32>() == 103 + 26, "taken: {taken:?}");
    // The source has read no line twice.
    all(103 + 51 + 26).await
}

fn with_name(config: &connect::Config, name: &str) -> Value {
    let mut config = json!(config);
    config["name"] = name.into();
    config
}

/// Waits until a source of one file has stored that it is there.
async fn stored(connect: &Connect, name: &str, position: u64) -> Result<()> {
    let is_so = async || {
        let offsets = connect.get(&format!("/connectors/{name}/offsets")).await?.ok()?;
        ensure!(offsets["offsets"][0]["offset"] == json!({"position": position}), "{offsets}");
        ensure!(offsets["offsets"].as_array().is_some_and(|all| all.len() == 1), "{offsets}");
        Ok(true)
    };
    wait_until(&format!("{name} to have stored position {position}"), SOON, is_so).await
}
