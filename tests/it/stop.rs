//! SIGTERM: tasks get `task.shutdown.graceful.timeout.ms` to end by themselves; what they could not finish comes again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use penstock_tests::connect::config;
use penstock_tests::{Kafka, Worker, unique, wait_until};

const LIMIT: Duration = Duration::from_secs(30);
const RECORDS: usize = 3;

/// A worker whose sink is busy with a put of all records that takes so long.
async fn busy(put_ms: u64, grace_ms: u64) -> Result<(Worker, String, String)> {
    let kafka = Kafka::shared().await?;
    let (topic, name) = (unique("stop"), unique("slow"));
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, vec!["{}"; RECORDS]).await?;
    let worker = Worker::builder(kafka).property("task.shutdown.graceful.timeout.ms", grace_ms).start().await?;
    let mut configuration = config([("connector.class", "Blackhole")]);
    configuration.insert("topics".into(), topic.clone());
    configuration.insert("blackhole.delay.ms".into(), put_ms.to_string());
    worker.connect().create(&name, &configuration).await?;
    let read = format!("sink_record_read_total{{connector=\"{name}\",task=\"0\"}} {RECORDS}\n");
    wait_until("the records to be fetched", LIMIT, async || {
        let page = worker.connect().get("/metrics").await?.ok()?;
        Ok(page.as_str().context("a text")?.contains(&read))
    })
    .await?;
    Ok((worker, topic, name))
}

#[tokio::test]
async fn a_slow_sink_ends_its_put_and_commits_before_the_worker_goes() -> Result<()> {
    let (mut worker, topic, name) = busy(1_500, 10_000).await?;
    assert!(worker.stop().await?.success());
    let lag = Kafka::shared().await?.lag(&format!("connect-{name}"), &topic).await?;
    assert_eq!(lag, 0, "what was put is committed:\n{}", worker.log_text());
    Ok(())
}

#[tokio::test]
async fn a_sink_that_takes_longer_than_the_grace_is_dropped_and_gets_its_records_again() -> Result<()> {
    let (mut worker, topic, name) = busy(120_000, 500).await?;
    let began = Instant::now();
    assert!(worker.stop().await?.success());
    assert!(began.elapsed() < LIMIT, "stopping took {:?}", began.elapsed());
    let log = worker.log_text();
    assert!(log.contains("did not end within 500 ms (task.shutdown.graceful.timeout.ms)"), "{log}");
    let lag = Kafka::shared().await?.lag(&format!("connect-{name}"), &topic).await?;
    assert_eq!(lag, RECORDS as i64, "nothing that was not put is committed");
    worker.restart().await?;
    let read = format!("sink_record_read_total{{connector=\"{name}\",task=\"0\"}} {RECORDS}\n");
    wait_until("the records to come again", LIMIT, async || {
        let page = worker.connect().get("/metrics").await?.ok()?;
        Ok(page.as_str().context("a text")?.contains(&read))
    })
    .await
}
