//! Exactly once: whoever reads committed records only sees each line once and in order, whatever happens to the workers.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use penstock_tests::{Kafka, Worker, wait_until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::time::Duration;

use super::shards::Shards;
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

/// Two workers with the tasks of a component between them, and one of them frozen in the middle of its transactions.
struct Frozen {
    workers: [Worker; 2],
    zombie: usize,
    shards: Shards,
}

impl Frozen {
    /// The zombie runs task 2 of three, if not more, and its tasks are to run elsewhere.
    async fn new(kafka: &Kafka) -> Result<Self> {
        let builder = builder(kafka).with_test_components()?;
        let workers = [builder.clone().start().await?, builder.start().await?];
        let shards = Shards::new(kafka, 3).await?;
        // Transactions are open nearly all the time.
        let open = [("transaction.boundary", "interval"), ("transaction.boundary.interval.ms", "500")];
        workers[0].connect().create(&shards.name, &shards.config(&open)).await?;
        workers[0].connect().wait_running(&shards.name, 3).await?;
        shards.flow(kafka, 20).await?;
        let status = workers[0].connect().status(&shards.name).await?.ok()?;
        let owner = status["tasks"][2]["worker_id"].as_str().unwrap_or_default();
        let zombie = usize::from(!workers[0].connect().url().ends_with(owner));
        workers[zombie].signal(Signal::SIGSTOP)?;
        Ok(Self { workers, zombie, shards })
    }

    fn other(&self) -> &Worker {
        &self.workers[1 - self.zombie]
    }

    /// Waits until the other worker leads, and does what it is asked for.
    async fn ask(&self, what: &str, ask: impl AsyncFn(&penstock_tests::Connect) -> Result<penstock_tests::Answer>) -> Result<()> {
        wait_until(what, SOON, async || {
            let answer = ask(self.other().connect()).await?;
            ensure!(answer.status < 300, "{answer:?}");
            Ok(true)
        })
        .await
    }

    /// Wakes the zombie and waits until its task 2 has ended: of the error that it is fenced, of a stop that came first, or of an abort that
    /// took too long. Whether it wrote meanwhile is for readers of the topic to say.
    async fn wake(&self) -> Result<()> {
        self.workers[self.zombie].signal(Signal::SIGCONT)?;
        let series = format!("{{connector=\"{}\",task=\"2\"}}", self.shards.name);
        wait_until("task 2 of the zombie to end", SOON, async || {
            let page = self.workers[self.zombie].connect().get("/metrics").await?.ok()?;
            let page = page.as_str().unwrap_or_default();
            Ok(page.contains("kafka_connect") && !page.contains(&series))
        })
        .await
    }
}

/// Tasks of an older generation may have higher numbers than there are tasks now: the leader fences as many as there were.
#[tokio::test]
async fn zombies_of_a_larger_generation_are_fenced() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let it = Frozen::new(kafka).await?;
    let fewer = json!(it.shards.config(&[("tasks.max", "1")]));
    it.ask("the new configuration", async |connect| connect.put(&format!("/connectors/{}/config", it.shards.name), &fewer).await)
        .await?;
    let connect = it.other().connect();
    wait_until("one task to run", SOON, async || {
        let status = connect.status(&it.shards.name).await?.ok()?;
        let tasks = status["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(tasks.len() == 1
            && tasks[0]["state"] == "RUNNING"
            && connect.url().ends_with(tasks[0]["worker_id"].as_str().unwrap_or("?")))
    })
    .await?;
    // It has taken over the shards of all.
    it.shards.flow(kafka, 20).await?;
    it.wake().await?;
    it.shards.flow(kafka, 20).await?;
    it.shards.once_in_order(kafka, connect).await
}

/// A connector that was deleted and made anew has the transactional ids of its namesake.
#[tokio::test]
async fn zombies_of_a_deleted_connector_are_fenced_by_its_namesake() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let it = Frozen::new(kafka).await?;
    let path = format!("/connectors/{}", it.shards.name);
    it.ask("the connector to go", async |connect| connect.delete(&path).await).await?;
    let fewer = it.shards.config(&[("tasks.max", "1")]);
    let connect = it.other().connect();
    connect.create(&it.shards.name, &fewer).await?;
    it.shards.flow(kafka, 20).await?;
    it.wake().await?;
    it.shards.flow(kafka, 20).await?;
    it.shards.once_in_order(kafka, connect).await
}

/// Offsets that a user alters or resets stay so, whoever wakes up later.
#[tokio::test]
async fn zombies_do_not_write_over_altered_and_reset_offsets() -> Result<()> {
    let kafka = Kafka::shared().await?;
    for is_reset in [false, true] {
        let it = Frozen::new(kafka).await?;
        let path = |what: &str| format!("/connectors/{}/{what}", it.shards.name);
        it.ask("the connector to stop", async |connect| connect.put(&path("stop"), &Value::Null).await).await?;
        let altered = json!({"offsets": [{"partition": {"shard": 2}, "offset": {"next": 1_000_000}}]});
        it.ask("the offsets to be changed", async |connect| {
            if is_reset {
                connect.delete(&path("offsets")).await
            } else {
                connect.send(reqwest::Method::PATCH, &path("offsets"), Some(&altered)).await
            }
        })
        .await?;
        let connect = it.other().connect();
        let (stored, read) = (it.shards.stored(connect).await?, it.shards.read(kafka).await?);
        ensure!(stored.get(&2).copied() == (!is_reset).then_some(1_000_000), "{stored:?}");
        it.wake().await?;
        // Nothing runs, so nothing changes; and what was open when it froze is not there.
        wait_until("both workers to be there", SOON, async || {
            Ok(it.workers[it.zombie].connect().get("/health").await?.status == 200)
        })
        .await?;
        let now = (it.shards.stored(connect).await?, it.shards.read(kafka).await?);
        ensure!(now == (stored, read), "{:?}", now.0);
    }
    Ok(())
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
    let refused = refusal(&once, &[("exactly.once.support", "required"), ("file", "")]).await?;
    ensure!(refused.contains("does not support exactly-once semantics with the provided configuration"), "{refused}");
    for worker in [&plain, &once] {
        let refused = refusal(worker, &[("transaction.boundary", "connector")]).await?;
        ensure!(refused.contains("does not support connector-defined transaction boundaries"), "{refused}");
    }
    Ok(())
}
