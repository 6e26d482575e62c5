//! The whole sink road through the real worker, while what it stands on fails: no record lost, no row twice, no dead letter twice.

use anyhow::{Context, Result, bail, ensure};
use penstock_tests::connect::Config;
use penstock_tests::snowflake::When;
use penstock_tests::{FakeSnowflake, Fault, Kafka, Worker, unique, wait_until};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(90);

/// A connector from a topic of four partitions into Snowflake, its worker, and what was produced so far.
struct Road {
    snowflake: FakeSnowflake,
    worker: Worker,
    name: String,
    topic: String,
    dead: String,
    config: Config,
    produced: usize,
}

impl Road {
    /// Everything but the connector.
    async fn prepare(kafka: &Kafka) -> Result<Self> {
        let worker =
            Worker::builder(kafka).property("offset.flush.interval.ms", 500).environment("RUST_LOG", "info,penstock::task=debug");
        let (snowflake, worker) = tokio::try_join!(FakeSnowflake::start_with(json!({"idle_transaction_s": 2})), worker.start())?;
        let (topic, dead, name) = (unique("road").replace('-', "_"), unique("road-dead"), unique("road"));
        kafka.create_topic(&topic, 4).await?;
        let mut config = snowflake.connector_config();
        for (key, value) in [
            ("topics", &*topic),
            ("tasks.max", "2"),
            ("buffer.flush.time", "1"),
            ("buffer.count.records", "100"),
            ("snowflake.request.timeout.ms", "5000"),
            ("consumer.override.session.timeout.ms", "6000"),
            ("errors.tolerance", "all"),
            ("errors.deadletterqueue.topic.name", &dead),
            ("errors.deadletterqueue.topic.replication.factor", "1"),
            ("errors.deadletterqueue.context.headers.enable", "true"),
        ] {
            config.insert(key.into(), value.into());
        }
        Ok(Self { snowflake, worker, name, topic, dead, config, produced: 0 })
    }

    /// With the connector, all tasks running.
    async fn start(kafka: &Kafka) -> Result<Self> {
        let road = Self::prepare(kafka).await?;
        road.worker.connect().create(&road.name, &road.config).await?;
        road.worker.connect().wait_running(&road.name, 2).await?;
        Ok(road)
    }

    /// Produces more; every tenth record is no JSON.
    async fn produce(&mut self, kafka: &Kafka, count: usize) -> Result<()> {
        let numbers = self.produced..self.produced + count;
        self.produced += count;
        let value = |n: usize| if n % 10 == 3 { format!("poison {n}") } else { format!(r#"{{"n":{n}}}"#) };
        kafka.produce_values(&self.topic, numbers.map(value)).await
    }

    /// Waits until all is committed, then counts: each record is one row, or has a dead letter. Answers the letters: for each value from
    /// where and by whom.
    async fn arrives(&self, kafka: &Kafka, what: &str) -> Result<BTreeMap<String, Vec<String>>> {
        let group = format!("connect-{}", self.name);
        let committed = async || {
            self.no_task_failed().await?;
            Ok(kafka.lag(&group, &self.topic).await? == 0)
        };
        wait_until(&format!("{what}: everything to be committed"), LIMIT, committed).await?;
        let counted = self
            .snowflake
            .query(&format!(
                "SELECT COUNT(*) AS N, COUNT(DISTINCT RECORD_CONTENT:n::INT) AS RECORDS FROM \"{}\"",
                self.topic.to_uppercase()
            ))
            .await?;
        let number = |key: &str| counted[0].get(key).and_then(serde_json::Value::as_u64);
        let letters = kafka.read(&self.dead).await?;
        let mut of = BTreeMap::<_, Vec<_>>::new();
        for letter in &letters {
            let header = |name: &str| letter.header(&format!("__connect.errors.{name}")).unwrap_or_default();
            of.entry(letter.text()).or_default().push(["partition", "offset", "task.id"].map(header).join(" "));
        }
        let poison = (0..self.produced).filter(|n| n % 10 == 3).count();
        let good = (self.produced - poison) as u64;
        ensure!(number("N") == Some(good) && number("RECORDS") == Some(good), "{what}: {counted:?} instead of {good} rows");
        ensure!(of.len() == poison, "{what}: {} letters instead of {poison}", of.len());
        Ok(of)
    }

    /// As [`arrives`](Self::arrives), and no dead letter twice.
    async fn arrives_once(&self, kafka: &Kafka, what: &str) -> Result<()> {
        let letters = self.arrives(kafka, what).await?;
        let doubled: Vec<_> = letters.iter().filter(|(_, by)| by.len() > 1).collect();
        ensure!(doubled.is_empty(), "{what}: doubled letters, by partition, offset and task: {doubled:?}");
        Ok(())
    }

    async fn no_task_failed(&self) -> Result<()> {
        // Right after a worker's restart the connector may not be there yet.
        let status = self.worker.connect().status(&self.name).await?;
        let failed = status.body["tasks"].as_array().into_iter().flatten().find(|task| task["state"] == "FAILED");
        match failed {
            Some(task) => bail!("a task has failed: {task}"),
            None => Ok(()),
        }
    }

    async fn put(&self, path: &str, body: &serde_json::Value) -> Result<()> {
        self.worker.connect().put(&format!("/connectors/{}{path}", self.name), body).await?.ok().map(|_| ())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snowflake_is_waited_for_whatever_happens_to_it() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let mut road = Road::prepare(kafka).await?;
    // Down when the connector starts: its tasks run, and say what they wait for.
    road.snowflake.kill();
    road.worker.connect().create(&road.name, &road.config).await?;
    road.produce(kafka, 300).await?;
    let waits = "the connector cannot open partitions now: trying again";
    wait_until("the log to say what is waited for", LIMIT, async || Ok(road.worker.log_text().contains(waits))).await?;
    road.snowflake.restart().await?;
    road.arrives_once(kafka, "down at the start").await?;

    let troubles = [
        ("refusing", Fault::status(503).on_sql("^COPY").times(3)),
        ("refusing uploads", Fault::status(403).on_path("fs_bucket").times(2)),
        ("without the privilege for a while", Fault::error("003001", "42501", "Insufficient privileges").on_sql("^COPY")),
        ("slow", Fault::delay(Duration::from_secs(2)).on_sql("^COPY").times(3)),
        ("slower than the time limit", Fault::delay(Duration::from_secs(7)).on_sql("^COPY")),
        ("silent after a commit", Fault::drop_connection(When::After).on_sql("^COMMIT")),
        ("silent before a commit", Fault::drop_connection(When::Before).on_sql("^COMMIT")),
        // A table that others change is read again: this was what doubled dead letters.
        ("another table than expected", Fault::error("000904", "42000", "invalid identifier").on_sql("^COPY").times(2)),
    ];
    for (name, fault) in troubles {
        road.snowflake.set_faults(&[fault]).await?;
        road.produce(kafka, 300).await?;
        road.arrives_once(kafka, name).await?;
        ensure!(road.snowflake.fault_hits().await?[0] > 0, "{name} did not strike");
    }
    road.snowflake.set_faults(&[]).await?;

    road.snowflake.kill();
    road.produce(kafka, 600).await?;
    wait_until("the log to say that rows wait", LIMIT, async || {
        Ok(road.worker.log_text().contains("could not load, trying again"))
    })
    .await?;
    road.no_task_failed().await?;
    road.snowflake.restart().await?;
    road.arrives_once(kafka, "down in the middle").await?;
    ensure!(road.worker.stop().await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snowflake_that_hangs_keeps_nobody_from_pausing_or_stopping() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let mut road = Road::start(kafka).await?;
    road.produce(kafka, 300).await?;
    road.arrives_once(kafka, "at first").await?;
    let holds = [Fault::hold(When::Before).on_sql("^COPY").always()];
    road.snowflake.set_faults(&holds).await?;
    road.produce(kafka, 300).await?;
    road.snowflake.wait_fault(0, 1, LIMIT).await?;
    road.put("/pause", &json!(null)).await?;
    let paused = async || {
        let status = road.worker.connect().status(&road.name).await?.ok()?;
        Ok(status["tasks"].as_array().is_some_and(|tasks| tasks.iter().all(|task| task["state"] == "PAUSED")))
    };
    wait_until("the tasks to be paused", LIMIT, paused).await?;
    road.put("/resume", &json!(null)).await?;
    let began = Instant::now();
    ensure!(road.worker.stop().await?.success());
    ensure!(began.elapsed() < LIMIT, "stopping took {:?}", began.elapsed());
    road.snowflake.set_faults(&[]).await?;
    road.snowflake.release().await?;
    road.worker.restart().await?;
    road.arrives_once(kafka, "after a stop that could not flush").await?;
    ensure!(road.worker.stop().await?.success());
    Ok(())
}

/// More tasks, fewer tasks, restarts and pauses while records flow: partitions move each time.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_operator_does_nothing_is_doubled() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let mut road = Road::start(kafka).await?;
    for turn in ["3", "1", "2"] {
        road.produce(kafka, 1_000).await?;
        road.config.insert("tasks.max".into(), turn.into());
        road.put("/config", &json!(road.config)).await?;
        road.produce(kafka, 1_000).await?;
        let restart = format!("/connectors/{}/restart?includeTasks=true", road.name);
        road.worker.connect().post(&restart, &json!(null)).await?.ok()?;
        road.produce(kafka, 1_000).await?;
        road.put("/pause", &json!(null)).await?;
        road.produce(kafka, 500).await?;
        road.put("/resume", &json!(null)).await?;
        road.put("/stop", &json!(null)).await?;
        road.produce(kafka, 500).await?;
        road.put("/resume", &json!(null)).await?;
        road.arrives_once(kafka, &format!("tasks.max={turn}")).await?;
    }
    ensure!(road.worker.stop().await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_down_in_the_middle_is_waited_for() -> Result<()> {
    let mut kafka = Kafka::start().await?;
    let mut road = Road::start(&kafka).await?;
    road.produce(&kafka, 500).await?;
    for round in 1..=2 {
        road.produce(&kafka, 2_000).await?;
        let begun = async || Ok(road.snowflake.has_table(&road.topic.to_uppercase()).await?);
        wait_until("the load to begin", LIMIT, begun).await?;
        kafka.kill();
        wait_until("the worker to notice", LIMIT, async || {
            Ok(road.worker.log_text().matches("no broker answers; trying on").count() >= round)
        })
        .await?;
        kafka.restart().await?;
        // A letter whose acknowledgement died with the broker is sent again.
        road.arrives(&kafka, &format!("outage {round}")).await.context("after the broker came back")?;
    }
    ensure!(road.worker.stop().await?.success());
    Ok(())
}
