//! `exactly.once.source.support` of a cluster that is upgraded while its sources run, and what workers and connectors answer to those who ask
//! for it, beside Java.

use anyhow::{Context, Result, ensure};
use penstock_tests::java::JavaConnect;
use penstock_tests::{Connect, Kafka, Worker, wait_until};
use serde_json::{Value, json};

use super::SOON;
use super::shards::Shards;

/// As Connect's documentation says it: all workers to `preparing`, one after the other, then all to `enabled`. The sources go on meanwhile;
/// afterwards they are exactly once.
#[tokio::test]
async fn a_cluster_is_upgraded_to_exactly_once_worker_by_worker() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let shards = Shards::new(kafka, 4).await?;
    let builder = Worker::builder(kafka)
        .property("offset.flush.interval.ms", 100)
        .property("session.timeout.ms", 6_000)
        .property("heartbeat.interval.ms", 500)
        .property("scheduled.rebalance.max.delay.ms", 0)
        .with_test_components()?;
    let with = |support: &str| builder.clone().property("exactly.once.source.support", support);
    let mut workers = Vec::new();
    for _ in 0..2 {
        workers.push(with("disabled").start().await?);
    }
    let tasks = [(shards.name.clone(), 4)].into();
    let ids = |workers: &[Worker]| -> Vec<String> {
        workers.iter().map(|worker| worker.connect().url().trim_start_matches("http://").to_owned()).collect()
    };
    workers[0].connect().create(&shards.name, &shards.config(&[("errors.restart.max.attempts", "100")])).await?;
    for support in ["preparing", "enabled"] {
        for _ in 0..2 {
            shards.flow(kafka, 10).await?;
            ensure!(workers[0].stop().await?.success());
            workers.remove(0);
            workers.push(with(support).start().await?);
            let up = ids(&workers);
            wait_until(&format!("all tasks to run, {support}"), SOON * 2, async || {
                penstock_tests::cluster::is_shared_out(workers[0].connect(), &tasks, &up).await.map(|()| true)
            })
            .await?;
        }
    }
    shards.flow(kafka, 10).await?;
    let repeated = shards.repeated(kafka).await?;
    for killed in [0, 1] {
        workers[killed].kill();
        workers[killed].restart().await?;
        shards.flow(kafka, 20).await?;
    }
    shards.none_lost(kafka, workers[0].connect()).await?;
    let now = shards.repeated(kafka).await?;
    ensure!(now == repeated, "{now} numbers are there again, {repeated} were before it was exactly once");
    Ok(())
}

/// What is wrong with the keys of exactly once, as a worker says it.
async fn said(connect: &Connect, class: &str, own: &Value) -> Result<Value> {
    let mut config = json!({
        "name": "asked", "connector.class": class, "tasks.max": "1", "topic": "t", "topics": "t", "file": "/tmp/lines", "throughput": "1",
    });
    let fields = config.as_object_mut().context("an object")?;
    fields.extend(own.as_object().cloned().unwrap_or_default());
    let answer = connect.put(&format!("/connector-plugins/{class}/config/validate"), &config).await?.ok()?;
    let keys = ["exactly.once.support", "transaction.boundary", "transaction.boundary.interval.ms"];
    let of_key = |key: &str| {
        let value = answer["configs"].as_array().into_iter().flatten().map(|c| &c["value"]).find(|value| value["name"] == key);
        value.map(|value| json!([key, value["value"], value["errors"]]))
    };
    Ok(keys.into_iter().filter_map(of_key).collect())
}

#[tokio::test]
async fn workers_and_connectors_answer_as_on_javas() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let ours = async |support: &str| Worker::builder(kafka).property("exactly.once.source.support", support).start().await;
    let javas =
        async |support: &str| JavaConnect::builder(kafka).lean().property("exactly.once.source.support", support).start().await;
    let (enabled, disabled, preparing, java_enabled, java_disabled) =
        tokio::try_join!(ours("enabled"), ours("disabled"), ours("preparing"), javas("enabled"), javas("disabled"))?;
    for class in ["FileStreamSource", "VerifiableSource", "MockSource"] {
        for own in [
            json!({}),
            json!({"exactly.once.support": "required"}),
            json!({"exactly.once.support": "REQUIRED", "file": ""}),
            json!({"exactly.once.support": "requested", "transaction.boundary": "Interval"}),
            json!({"transaction.boundary": "connector"}),
            json!({"exactly.once.support": "required", "transaction.boundary": "CONNECTOR"}),
            json!({"exactly.once.support": "maybe", "transaction.boundary": "sometimes"}),
            json!({"transaction.boundary": "interval", "transaction.boundary.interval.ms": "0"}),
            json!({"transaction.boundary": "poll", "transaction.boundary.interval.ms": "-1"}),
        ] {
            let java = [said(java_enabled.connect(), class, &own).await?, said(java_disabled.connect(), class, &own).await?];
            let our = [said(enabled.connect(), class, &own).await?, said(disabled.connect(), class, &own).await?];
            ensure!(java == our, "{class} {own}: java {java:#?}, ours {our:#?}");
            ensure!(said(preparing.connect(), class, &own).await? == our[1], "{class} {own}: preparing is not enabled");
        }
    }
    Ok(())
}
