//! Many connectors on one worker: what they cost while nothing happens, and how soon all of them run after a start.
//!
//! A worker is given connectors of one task each on an empty topic: first stopped, so that they are only defined, then running. Then
//! it gets more, is stopped and started again, and all states are asked for until every connector and task says RUNNING. Memory is
//! resident memory (`VmRSS`) after a rest; times are from the start of the process.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use penstock_tests::connect::{Config, Connect};
use penstock_tests::{Kafka, eventually, unique};
use serde::Serialize;
use serde_json::{Value, json};

use crate::report::save;
use crate::rival::Rival;
use crate::systems::System;

/// How many connectors memory is measured with, and how many are to run after a start.
const DEFINED: usize = 50;
const STARTED: usize = 200;
/// Before memory is measured: longer than idle tasks wait until they ask whether records wait (15 s).
const REST: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_secs(300);

/// What was measured with one system.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Fleet {
    system: &'static str,
    empty_mb: f64,
    /// With 50 connectors, all stopped.
    defined_mb: f64,
    /// The same, each with a task that has nothing to do.
    running_mb: f64,
    running_threads: usize,
    /// With 200 connectors, after the start that was measured.
    started_mb: f64,
    started_threads: usize,
    /// Of a worker that finds 200 connectors in its config topic.
    first_answer_s: f64,
    all_running_s: f64,
}

/// Measures each of the systems that is a worker, and prints a table.
pub(crate) async fn measure(kafka: &Kafka, systems: &[System], output: &Path) -> Result<()> {
    let mut fleets = Vec::new();
    for system in systems.iter().filter(|system| **system != System::Librdkafka) {
        eprintln!("bench: {STARTED} connectors with {system}");
        let fleet = of_system(kafka, *system).await.with_context(|| format!("measure many connectors with {system}"))?;
        eprintln!("bench:   {fleet:?}");
        fleets.push(fleet);
    }
    save(output, serde_json::to_string_pretty(&fleets)?)?;
    print(&fleets);
    Ok(())
}

async fn of_system(kafka: &Kafka, system: System) -> Result<Fleet> {
    let topic = unique("fleet");
    kafka.create_topic(&topic, 1).await?;
    let mut rival = system.start_plain(kafka).await?;
    let empty_mb = at_rest(&rival).await?;
    let config = connector(system, &topic);
    create(rival.connect(), 0..DEFINED, &config, "STOPPED").await?;
    let defined_mb = at_rest(&rival).await?;
    for n in 0..DEFINED {
        rival.connect().put(&format!("/connectors/{}/resume", name(n)), &Value::Null).await?.ok()?;
    }
    all_running(rival.connect(), DEFINED).await?;
    let (running_mb, running_threads) = (at_rest(&rival).await?, rival.usage()?.threads);
    create(rival.connect(), DEFINED..STARTED, &config, "RUNNING").await?;
    all_running(rival.connect(), STARTED).await?;

    rival.stop().await?;
    let began = Instant::now();
    let connect = rival.connect().clone();
    // The worker's own wait for readiness runs beside the question that is measured.
    let ((), all_running) = tokio::try_join!(rival.restart(), all_running_since(began, &connect))?;
    let (started_mb, started_threads) = (at_rest(&rival).await?, rival.usage()?.threads);
    let first_answer_s = rival.first_answer().as_secs_f64();
    let all_running_s = all_running.as_secs_f64();
    Ok(Fleet {
        system: system.name(),
        empty_mb,
        defined_mb,
        running_mb,
        running_threads,
        started_mb,
        started_threads,
        first_answer_s,
        all_running_s,
    })
}

async fn at_rest(rival: &Rival) -> Result<f64> {
    tokio::time::sleep(REST).await;
    Ok(rival.usage()?.rss_mb())
}

fn name(n: usize) -> String {
    format!("fleet-{n}")
}

fn connector(system: System, topic: &str) -> Config {
    [("connector.class", system.sink_class()), ("tasks.max", "1"), ("topics", topic)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

async fn create(connect: &Connect, numbers: std::ops::Range<usize>, config: &Config, state: &str) -> Result<()> {
    for n in numbers {
        let body = json!({"name": name(n), "config": config, "initial_state": state});
        connect.post("/connectors", &body).await?.ok().with_context(|| format!("create connector {}", name(n)))?;
    }
    Ok(())
}

async fn all_running_since(began: Instant, connect: &Connect) -> Result<Duration> {
    all_running(connect, STARTED).await?;
    Ok(began.elapsed())
}

/// Waits until so many connectors run with one task each.
async fn all_running(connect: &Connect, count: usize) -> Result<()> {
    eventually(&format!("{count} connectors to run"), LIMIT, async || {
        // Nobody listens yet.
        let Ok(answer) = connect.get("/connectors?expand=status").await else { return Ok(None) };
        let statuses = answer.ok()?;
        let running =
            statuses.as_object().context("a map of connectors")?.values().filter(|one| is_running(&one["status"])).count();
        ensure!(running <= count, "{running} run");
        if running == count { Ok(Some(())) } else { anyhow::bail!("{running} of {count} run") }
    })
    .await
}

fn is_running(status: &Value) -> bool {
    let tasks = status["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
    status["connector"]["state"] == "RUNNING" && tasks.len() == 1 && tasks[0]["state"] == "RUNNING"
}

fn print(fleets: &[Fleet]) {
    println!("\n| many connectors | wanted | {} |", fleets.iter().map(|fleet| fleet.system).collect::<Vec<_>>().join(" | "));
    println!("| --- | ---: |{}", " ---: |".repeat(fleets.len()));
    let row = |what: &str, wanted: &str, of: &dyn Fn(&Fleet) -> f64, digits: usize| {
        let values: Vec<_> = fleets.iter().map(|fleet| format!("{:.digits$}", of(fleet))).collect();
        println!("| {what} | {wanted} | {} |", values.join(" | "));
    };
    row("no connectors, idle MB", "<= 40", &|fleet| fleet.empty_mb, 0);
    row(&format!("{DEFINED} connectors defined, idle MB"), "<= 60", &|fleet| fleet.defined_mb, 0);
    row(&format!("{DEFINED} connectors running, idle MB"), "", &|fleet| fleet.running_mb, 0);
    row(&format!("{DEFINED} connectors running, threads"), "", &|fleet| fleet.running_threads as f64, 0);
    row(&format!("{STARTED} connectors running after a start, idle MB"), "", &|fleet| fleet.started_mb, 0);
    row(&format!("{STARTED} connectors running after a start, threads"), "", &|fleet| fleet.started_threads as f64, 0);
    row(&format!("first REST answer with {STARTED} connectors, s"), "<= 0.5", &|fleet| fleet.first_answer_s, 2);
    row(&format!("{STARTED} connectors running after a start, s"), "<= 10", &|fleet| fleet.all_running_s, 2);
}
