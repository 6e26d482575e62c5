//! Exactly once: whoever reads committed records only sees each line once and in order, whatever happens to the workers.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use penstock_tests::{Kafka, Worker, wait_until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::time::Duration;

use super::{Lines, SOON, numbered};

fn builder(kafka: &Kafka) -> penstock_tests::worker::Builder {
    Worker::builder(kafka)
        .property("exactly.once.source.support", "enabled")
        .property("offset.flush.interval.ms", 200)
        .property("session.timeout.ms", 6_000)
        .property("heartbeat.interval.ms", 500)
}

async fn each_line_once(kafka: &Kafka, lines: &Lines, count: usize) -> Result<()> {
    let mut read = Vec::new();
    wait_until("all lines", SOON * 2, async || {
        read = lines.read(kafka).await?;
        ensure!(read.len() >= count, "there are {} of {count}", read.len());
        Ok(true)
    })
    .await?;
    let expected: Vec<String> = numbered(0..count).collect();
    let differs = read.iter().zip(&expected).position(|(read, expected)| read != expected);
    ensure!(
        read.len() == count && differs.is_none(),
        "{} records for {count} lines, the first wrong one at {differs:?}",
        read.len()
    );
    Ok(())
}

#[tokio::test]
async fn each_line_is_there_once_however_often_the_worker_is_killed() -> Result<()> {
    const KILLS: usize = 8;
    const LINES: usize = 40_000;
    let seed = std::env::var("PENSTOCK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_128);
    println!("exactly once: PENSTOCK_SEED={seed}");
    let mut moments = StdRng::seed_from_u64(seed);
    let kafka = Kafka::shared().await?;
    for boundary in ["poll", "interval"] {
        let lines = Lines::new()?;
        kafka.create_topic(&lines.topic, 1).await?;
        let mut worker = builder(kafka).start().await?;
        let config = [
            ("batch.size", "200"),
            ("exactly.once.support", "required"),
            ("transaction.boundary", boundary),
            ("transaction.boundary.interval.ms", "100"),
        ];
        worker.connect().create(&lines.name, &lines.config(&config)).await?;
        for kill in 0..KILLS {
            lines.append(numbered(kill * LINES / KILLS..(kill + 1) * LINES / KILLS))?;
            tokio::time::sleep(Duration::from_millis(moments.random_range(50..1_500))).await;
            worker.kill();
            worker.restart().await?;
        }
        each_line_once(kafka, &lines, LINES).await?;
        let size = i64::try_from(std::fs::metadata(&lines.path)?.len())?;
        lines.wait_for_position(worker.connect(), size).await?;
        worker.connect().wait_running(&lines.name, 1).await?;
    }
    Ok(())
}

/// A worker that is frozen for longer than its session is succeeded; awake again, it writes nothing that anybody sees.
#[tokio::test]
async fn a_zombie_is_fenced() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let lines = Lines::new()?;
    kafka.create_topic(&lines.topic, 1).await?;
    let both = builder(kafka);
    let workers = [both.clone().start().await?, both.start().await?];
    workers[0].connect().create(&lines.name, &lines.config(&[("batch.size", "200")])).await?;
    lines.append(numbered(0..1_000))?;
    let mut owner = String::new();
    wait_until("the task to run", SOON, async || {
        let task = workers[0].connect().status(&lines.name).await?.ok()?["tasks"][0].clone();
        owner = task["worker_id"].as_str().unwrap_or_default().to_owned();
        Ok(task["state"] == "RUNNING" && !lines.read(kafka).await?.is_empty())
    })
    .await?;
    let (zombie, other) = if workers[0].connect().url().ends_with(&owner) { (0, 1) } else { (1, 0) };
    lines.append(numbered(1_000..20_000))?;
    workers[zombie].signal(Signal::SIGSTOP)?;
    let moved = wait_until("the task to move", SOON, async || {
        let status = workers[other].connect().status(&lines.name).await?.ok()?;
        Ok(status["tasks"][0]["worker_id"] != owner.as_str() && status["tasks"][0]["state"] == "RUNNING")
    })
    .await;
    lines.append(numbered(20_000..21_000))?;
    workers[zombie].signal(Signal::SIGCONT)?;
    moved?;
    lines.append(numbered(21_000..22_000))?;
    each_line_once(kafka, &lines, 22_000).await?;
    wait_until("one task to run", SOON, async || {
        Ok(workers[other].connect().status(&lines.name).await?.ok()?["tasks"][0]["state"] == "RUNNING")
    })
    .await
}

#[tokio::test]
async fn a_worker_without_it_refuses_what_requires_it() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let lines = Lines::new()?;
    let (plain, once) = tokio::try_join!(Worker::builder(kafka).start(), builder(kafka).start())?;
    let refusal = async |worker: &Worker, own: &[(&str, &str)]| -> Result<String> {
        let body: Value = json!({"name": lines.name, "config": lines.config(own)});
        Ok(worker.connect().post("/connectors", &body).await?.message().to_owned())
    };
    let required = [("exactly.once.support", "required")];
    let disabled = "This worker does not have exactly-once source support enabled.";
    ensure!(refusal(&plain, &required).await?.contains(disabled));
    ensure!(refusal(&plain, &[("transaction.boundary", "connector")]).await?.contains(disabled));
    let refused = refusal(&once, &[("exactly.once.support", "required"), ("file", "")]).await?;
    ensure!(refused.contains("does not support exactly-once semantics with the provided configuration"), "{refused}");
    let refused = refusal(&once, &[("transaction.boundary", "connector")]).await?;
    ensure!(refused.contains("does not support connector-defined transaction boundaries"), "{refused}");
    Ok(())
}
