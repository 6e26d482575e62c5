//! What happens to clusters and workers: nothing is lost, and with exactly once nothing comes twice.

use anyhow::Result;
use penstock_tests::{Kafka, Worker};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

use super::{Copied, worker};

fn moments(what: &str) -> StdRng {
    let seed = std::env::var("PENSTOCK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_128);
    println!("{what}: PENSTOCK_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Away when the connector is made, and killed while records flow.
#[tokio::test]
async fn a_source_cluster_that_goes_away_is_waited_for() -> Result<()> {
    let (mut source, target) = (Kafka::start().await?, Kafka::shared().await?);
    let copied = Copied::new(&source, 2).await?;
    copied.produce(&source, 0..1_000).await?;
    source.kill();
    let worker = worker(target).await?;
    let quick = [("source.admin.default.api.timeout.ms", "3000"), ("source.admin.request.timeout.ms", "3000")];
    worker.connect().create(&copied.name, &copied.config(&source, target, &quick)).await?;
    // Long enough for a first attempt to fail.
    tokio::time::sleep(Duration::from_secs(4)).await;
    source.restart().await?;
    copied.wait_for(target, 0..1_000, false).await?;
    worker.connect().wait_running(&copied.name, 1).await?;
    for round in 1..=2 {
        copied.produce(&source, round * 30_000 - 29_000..round * 30_000 + 1_000).await?;
        source.kill();
        tokio::time::sleep(Duration::from_millis(500)).await;
        source.restart().await?;
    }
    copied.wait_for(target, 0..61_000, false).await?;
    worker.connect().wait_running(&copied.name, 1).await
}

#[tokio::test]
async fn nothing_is_lost_when_the_worker_is_killed() -> Result<()> {
    const KILLS: usize = 4;
    const NUMBERS: usize = 40_000;
    let mut moments = moments("copied at least once");
    let kafka = Kafka::shared().await?;
    let copied = Copied::new(kafka, 3).await?;
    let mut worker = worker(kafka).await?;
    worker.connect().create(&copied.name, &copied.config(kafka, kafka, &[("tasks.max", "2")])).await?;
    for kill in 0..KILLS {
        copied.produce(kafka, kill * NUMBERS / KILLS..(kill + 1) * NUMBERS / KILLS).await?;
        tokio::time::sleep(Duration::from_millis(moments.random_range(0..600))).await;
        worker.kill();
        worker.restart().await?;
    }
    copied.wait_for(kafka, 0..NUMBERS, false).await?;
    worker.connect().wait_running(&copied.name, 2).await
}

#[tokio::test]
async fn each_record_is_copied_once_however_often_the_worker_is_killed() -> Result<()> {
    const KILLS: usize = 6;
    const NUMBERS: usize = 30_000;
    let mut moments = moments("copied exactly once");
    let kafka = Kafka::shared().await?;
    let copied = Copied::new(kafka, 3).await?;
    let mut worker = Worker::builder(kafka)
        .property("exactly.once.source.support", "enabled")
        .property("offset.flush.interval.ms", 200)
        .property("session.timeout.ms", 6_000)
        .property("heartbeat.interval.ms", 500)
        .start()
        .await?;
    let once = [("exactly.once.support", "required"), ("source.consumer.isolation.level", "read_committed"), ("tasks.max", "2")];
    worker.connect().create(&copied.name, &copied.config(kafka, kafka, &once)).await?;
    for kill in 0..KILLS {
        copied.produce(kafka, kill * NUMBERS / KILLS..(kill + 1) * NUMBERS / KILLS).await?;
        tokio::time::sleep(Duration::from_millis(moments.random_range(50..1_500))).await;
        worker.kill();
        worker.restart().await?;
    }
    copied.wait_for(kafka, 0..NUMBERS, true).await?;
    worker.connect().wait_running(&copied.name, 2).await
}
