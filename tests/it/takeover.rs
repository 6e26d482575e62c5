//! A Java cluster with data on the move is taken over in place and handed back: nothing is lost, nothing comes twice, offsets go on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use penstock_tests::java::wait_drained;
use penstock_tests::{JavaConnect, Kafka, Worker, connect, ground, unique, wait_until};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(120);

/// By this name there is a sink on either side.
const SINK: &str = "penstock.BlackholeSinkConnector";

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
    let (mut java, mut ours) = (JavaConnect::builder(kafka).lean().plugin_path(plugins), Worker::builder(kafka));
    for (key, value) in settings(&group) {
        (java, ours) = (java.property(&key, &value), ours.property(&key, &value));
    }
    let mut java = java.start().await?;
    let name = unique("orders");
    // Java's sink knows nothing of the last key: ours fails if it takes more than what comes while it runs.
    let config = connect::config([("connector.class", SINK), ("topics", &topic), ("blackhole.fail.at.record", "51")]);
    java.connect().create(&name, &config).await?;
    java.connect().wait_running(&name, 1).await?;
    produce(kafka, &topic, 100).await?;
    wait_drained(kafka, &name, &topic, SOON).await?;
    let file = ground::data_dir("source")?.join("lines.txt");
    std::fs::write(&file, "one\ntwo\nthree\n")?;
    let source = connect::config([("connector.class", "FileStreamSource"), ("topic", &topic), ("file", &file.to_string_lossy())]);
    // It has produced, so the sink has more to take.
    java.connect().create("lines", &source).await?;
    let offsets = stored_offsets(&java, "lines").await?;
    wait_until("the sink to take the lines", SOON, async || Ok(kafka.end_offsets(&topic).await?.values().sum::<i64>() == 103))
        .await?;
    wait_drained(kafka, &name, &topic, SOON).await?;
    java.stop().await?;
    ensure!(taken_by_java(&java.log_text()).iter().sum::<u32>() == 103, "{}", java.log_text());

    produce(kafka, &topic, 20).await?;
    let mut ours = ours.start().await?;
    ours.connect().wait_running(&name, 1).await?;
    produce(kafka, &topic, 30).await?;
    wait_drained(kafka, &name, &topic, SOON).await?;
    ours.connect().wait_running(&name, 1).await.context("it took what Java had taken already")?;
    // Nobody here knows the class; it says so, and keeps what it had.
    let status = ours.connect().status("lines").await?.ok()?;
    ensure!(status["connector"]["state"] == "FAILED" && status["type"] == "unknown", "{status}");
    ensure!(status["connector"]["trace"].as_str().is_some_and(|trace| trace.contains("FileStreamSource")), "{status}");
    ensure!(ours.connect().get("/connectors/lines/config").await?.ok()? == with_name(&source, "lines"));
    ours.stop().await?;

    produce(kafka, &topic, 10).await?;
    java.restart().await?;
    java.connect().wait_running(&name, 1).await?;
    java.connect().wait_running("lines", 1).await?;
    produce(kafka, &topic, 15).await?;
    wait_drained(kafka, &name, &topic, SOON).await?;
    ensure!(stored_offsets(&java, "lines").await? == offsets, "the source's offsets are as they were");
    java.stop().await?;
    let taken = taken_by_java(&java.log_text());
    ensure!(taken.iter().sum::<u32>() == 103 + 25, "taken: {taken:?}");
    ensure!(kafka.end_offsets(&topic).await?.values().sum::<i64>() == 103 + 50 + 25, "the source has read no line twice");
    Ok(())
}

fn with_name(config: &connect::Config, name: &str) -> Value {
    let mut config = json!(config);
    config["name"] = name.into();
    config
}

/// The offsets of a source, once it has read all three lines.
async fn stored_offsets(java: &JavaConnect, name: &str) -> Result<Value> {
    penstock_tests::wait::eventually("the source to have stored its offset", SOON, async || {
        let offsets = java.connect().get(&format!("/connectors/{name}/offsets")).await?.ok()?;
        let position = offsets["offsets"][0]["offset"]["position"].as_i64();
        Ok(position.filter(|position| *position == "one\ntwo\nthree\n".len() as i64).map(|_| offsets.clone()))
    })
    .await
}
