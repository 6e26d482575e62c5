//! What a worker does about tasks that fail or do not get on, when real records make them so.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use penstock_tests::connect::config;
use penstock_tests::{Connect, Kafka, Worker, eventually, java, unique, wait_until};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);

/// A worker that commits often, and a topic with so many records.
async fn start(records: usize) -> Result<(Worker, String)> {
    let kafka = Kafka::shared().await?;
    let topic = unique("restarts");
    kafka.create_topic(&topic, 1).await?;
    produce(&topic, records).await?;
    let worker = Worker::builder(kafka)
        .property("offset.flush.interval.ms", 100)
        .property("penstock.task.stalled.after.ms", 400)
        .start()
        .await?;
    Ok((worker, topic))
}

async fn produce(topic: &str, records: usize) -> Result<()> {
    Kafka::shared().await?.produce_values(topic, vec!["{}"; records]).await
}

async fn create(connect: &Connect, name: &str, topic: &str, more: &[(&str, &str)]) -> Result<()> {
    let mut all = config([("connector.class", "Blackhole"), ("topics", topic)]);
    all.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    connect.create(name, &all).await.map(|_| ())
}

/// The task's status, once `wanted` finds something in it.
async fn task_when<T>(connect: &Connect, name: &str, what: &str, wanted: impl Fn(&Value) -> Option<T>) -> Result<T> {
    eventually(what, LIMIT, async || {
        let status = connect.get(&format!("/connectors/{name}/tasks/0/status")).await?.ok()?;
        match wanted(&status) {
            Some(found) => Ok(Some(found)),
            None => bail!("its status is {status}"),
        }
    })
    .await
}

#[tokio::test]
async fn a_task_that_failed_is_restarted_and_goes_on_behind_what_was_committed() -> Result<()> {
    let (worker, topic) = start(2).await?;
    let (connect, name) = (worker.connect(), unique("recovers"));
    let asked =
        [("blackhole.fail.at.record", "3"), ("errors.restart.max.attempts", "3"), ("errors.restart.delay.initial.ms", "200")];
    create(connect, &name, &topic, &asked).await?;
    java::wait_drained(Kafka::shared().await?, &name, &topic, LIMIT).await?;
    // The third record of the task's life fails it; it is the first one of the next life.
    produce(&topic, 1).await?;
    let message = task_when(connect, &name, "a restart to be announced", |status| {
        let restart = &status["health"]["restart"];
        (status["state"] == "FAILED" && restart["state"] == "waiting").then(|| restart.clone())
    })
    .await?;
    assert_eq!(message["attempts"], 1);
    assert!(
        message["next"].is_string() && message["message"].as_str().is_some_and(|m| m.contains("attempt 1 of 3")),
        "{message}"
    );
    task_when(connect, &name, "the task to run again", |status| {
        (status["state"] == "RUNNING" && status.get("health").is_none() && status.get("trace").is_none()).then_some(())
    })
    .await?;
    java::wait_drained(Kafka::shared().await?, &name, &topic, LIMIT).await?;
    let page = connect.get("/metrics").await?.ok()?;
    let line = format!("penstock_automatic_restarts_total{{connector=\"{name}\"}} 1\n");
    assert!(page.as_str().context("a text")?.contains(&line), "{page}");
    Ok(())
}

#[tokio::test]
async fn a_task_that_fails_again_and_again_ends_in_a_crash_loop() -> Result<()> {
    let (worker, topic) = start(1).await?;
    let (connect, name) = (worker.connect(), unique("crashes"));
    let asked =
        [("blackhole.fail.at.record", "1"), ("errors.restart.max.attempts", "2"), ("errors.restart.delay.initial.ms", "50")];
    create(connect, &name, &topic, &asked).await?;
    let status = task_when(connect, &name, "a crash loop", |status| {
        (status["health"]["restart"]["state"] == "crash-loop").then(|| status.clone())
    })
    .await?;
    assert_eq!((&status["state"], &status["health"]["restart"]["attempts"]), (&"FAILED".into(), &2.into()));
    assert!(status["trace"].as_str().is_some_and(|trace| trace.contains("told to fail at record 1")), "{status}");
    let page = connect.get("/metrics").await?.ok()?;
    let line = format!("penstock_crash_loops{{connector=\"{name}\"}} 1\n");
    assert!(page.as_str().context("a text")?.contains(&line), "{page}");
    // Off by default: a failed task stays as it is, and there is nothing more to say about it.
    let name = unique("stays");
    create(connect, &name, &topic, &[("blackhole.fail.at.record", "1")]).await?;
    connect.wait_task_failed(&name).await?;
    let status = connect.get(&format!("/connectors/{name}/tasks/0/status")).await?.ok()?;
    assert!(status.get("health").is_none(), "{status}");
    // What makes no sense is said by its key.
    let refused = connect.put(&format!("/connectors/{name}/config"), &serde_json::json!({
        "connector.class": "Blackhole", "topics": topic, "errors.restart.max.attempts": "-2", "errors.restart.window.ms": "0"
    })).await?;
    assert_eq!(refused.status, 400, "{refused:?}");
    for key in ["errors.restart.max.attempts", "errors.restart.window.ms"] {
        assert!(refused.message().contains(key), "{refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_task_that_does_not_get_on_is_shown_as_stalled_as_long_as_that_lasts() -> Result<()> {
    let (worker, topic) = start(1).await?;
    let connect = worker.connect();
    for (more, reason) in [
        (&[("blackhole.delay.ms", "2000")][..], "the connector has not yet taken the records"),
        (
            &[("blackhole.fail.at.record", "1"), ("blackhole.fail.kind", "retriable"), ("blackhole.fail.times", "150")],
            "fetched records are not delivered",
        ),
    ] {
        let name = unique("stalls");
        create(connect, &name, &topic, more).await?;
        let (since, message) = task_when(connect, &name, "the task to be stalled", |status| {
            let stalled = &status["health"]["stalled"];
            let texts = (stalled["since"].as_str()?.to_owned(), stalled["message"].as_str()?.to_owned());
            (status["state"] == "RUNNING").then_some(texts)
        })
        .await?;
        assert!(message.contains(reason) && since.ends_with('Z'), "{since}: {message}");
        let gauge = async |value: u8| {
            let page = connect.get("/metrics").await?.ok()?;
            let line = format!("penstock_task_stalled{{connector=\"{name}\",task=\"0\"}} {value}\n");
            Ok(page.as_str().context("a text")?.contains(&line))
        };
        task_when(connect, &name, "the task to get on", |status| status.get("health").is_none().then_some(())).await?;
        wait_until("the metric to say so", LIMIT, async || gauge(0).await).await?;
        connect.delete(&format!("/connectors/{name}")).await?.ok()?;
    }
    let log = worker.log_text();
    assert_eq!(log.matches("the task is stalled").count(), 2, "{log}");
    assert_eq!(log.matches("the task gets on again").count(), 2, "{log}");
    Ok(())
}
