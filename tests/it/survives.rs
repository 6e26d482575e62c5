//! Clusters of real worker processes, with 30 tasks and live records, while workers and brokers are killed, frozen and restarted.
//!
//! After each blow all tasks run again, every record is delivered, and at no moment a sink's offsets are ahead of what was
//! delivered or behind what they were.

mod audit;
mod brokers;
mod flowing;
mod zombies;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use penstock_tests::kafka::NewRecord;
use penstock_tests::{Kafka, wait_until};
use serde_json::json;

use flowing::{Flowing, LIMIT, NAMES, Setup};

const SESSION: Duration = Duration::from_secs(3);
const ALL: [usize; 3] = [0, 1, 2];

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_survives_what_happens_to_its_workers_and_its_broker() -> Result<()> {
    let mut kafka = Kafka::builder().property("group.min.session.timeout.ms", 1_000).start().await?;
    let mut it = Flowing::start(&kafka, &Setup { workers: ALL.len(), session: SESSION, ..Setup::default() }).await?;
    it.survives("the start", &ALL).await?;

    let (leader, followers) = it.roles(&ALL)?;
    it.cluster.workers[followers[0]].kill();
    it.survives("a killed follower", &[leader, followers[1]]).await?;
    it.cluster.workers[followers[0]].restart().await?;
    it.survives("a follower that comes back", &ALL).await?;

    it.cluster.workers[leader].kill();
    it.survives("a killed leader", &followers).await?;
    it.cluster.workers[leader].restart().await?;
    it.survives("a leader that comes back", &ALL).await?;

    let (leader, followers) = it.roles(&ALL)?;
    for victim in [leader, followers[0]] {
        it.cluster.workers[victim].kill();
    }
    it.survives("two killed at once, the leader among them", &[followers[1]]).await?;
    for victim in [leader, followers[0]] {
        it.cluster.workers[victim].restart().await?;
    }
    it.survives("two that come back", &ALL).await?;

    let (leader, followers) = it.roles(&ALL)?;
    for frozen in [leader, followers[0]] {
        it.cluster.workers[frozen].signal(Signal::SIGSTOP)?;
    }
    it.survives("two frozen for longer than their session, the leader among them", &[followers[1]]).await?;
    for frozen in [leader, followers[0]] {
        it.cluster.workers[frozen].signal(Signal::SIGCONT)?;
    }
    it.survives("two that wake", &ALL).await?;

    write_garbage(&kafka, &mut it).await?;
    it.survives("garbage in the config topic", &ALL).await?;
    let said = kafka.log_text().len();
    for restarted in ALL {
        ensure!(it.cluster.workers[restarted].stop().await?.success());
        it.cluster.workers[restarted].restart().await?;
    }
    it.survives("a rolling restart, with garbage in the config topic", &ALL).await?;
    tasks_stayed(&kafka.log_text()[said..])?;
    let mut changed = it.sink(NAMES[0]);
    changed.insert("blackhole.delay.ms".into(), "1".into());
    it.cluster.connect(0).put(&format!("/connectors/{}/config", NAMES[0]), &json!(changed)).await?.ok()?;
    it.survives("a new configuration behind garbage", &ALL).await?;

    outage(&mut kafka, &mut it).await?;
    it.survives("a killed broker, and a worker that was started meanwhile", &ALL).await?;
    it.end().await
}

/// Tasks that go elsewhere keep their places in their groups: had they left them, all of their partitions would stand still until the
/// groups are formed anew, which takes heartbeats of seconds. The last worker of a rolling restart has all of the work, and stops when
/// the others are there and have none yet.
fn tasks_stayed(broker: &str) -> Result<()> {
    let is_task = |line: &&str| NAMES.iter().any(|name| line.contains(&format!("[Group connect-{name}]")));
    let left: Vec<&str> = broker.lines().filter(is_task).filter(|line| line.contains("has left group")).collect();
    ensure!(left.is_empty(), "tasks have left their groups: {left:#?}");
    Ok(())
}

/// Records that make no sense, one after each other, as a tool or a mistake may leave them.
async fn write_garbage(kafka: &Kafka, it: &mut Flowing) -> Result<()> {
    let broken = format!("connector-{}", NAMES[0]).into_bytes();
    let commit = format!("commit-{}", NAMES[1]).into_bytes();
    let garbage = [
        (Some(broken), Some(br#"{"properties": {"#.to_vec())),
        (Some(commit), Some(br#"{"tasks": "many"}"#.to_vec())),
        (Some(b"session-key".to_vec()), Some(vec![0xff, 0xfe, 0])),
        (Some(vec![0xff, 0xfe]), Some(b"{}".to_vec())),
        (Some(b"nobody-knows".to_vec()), Some(b"{}".to_vec())),
        (Some(Vec::new()), None),
    ];
    let records = garbage.map(|(key, value)| NewRecord { key, value, partition: Some(0), ..NewRecord::default() });
    kafka.produce(&it.cluster.builder.value("config.storage.topic"), records).await?;
    for worker in ALL {
        let says = async || Ok(it.cluster.workers[worker].log_text().contains("skipped a record of the config topic"));
        wait_until("every worker to say what it skipped", LIMIT, says).await?;
    }
    Ok(())
}

/// The broker is killed until the workers have lost their places; a worker that is started before it is back waits and says so.
async fn outage(kafka: &mut Kafka, it: &mut Flowing) -> Result<()> {
    let [first, second, started] = ALL;
    let said = ALL.map(|worker| it.cluster.workers[worker].log_text().len());
    kafka.kill();
    for worker in [first, second] {
        let log = it.cluster.workers[worker].log_path().to_owned();
        wait_said(&log, said[worker], "this worker is not in the group: it stops what it runs").await?;
    }
    let worker = &mut it.cluster.workers[started];
    let (connect, log, said) = (worker.connect().clone(), worker.log_path().to_owned(), worker.log_text().len());
    let mut waits = async || {
        wait_said(&log, said, "Kafka does not answer at 127.0.0.1:").await?;
        let health = connect.get("/health").await?;
        ensure!(health.status == 503 && health.body["status"] == "starting", "{health:?}");
        kafka.restart().await
    };
    tokio::try_join!(worker.restart(), waits())?;
    Ok(())
}

/// Waits for words in a log, behind what it held before.
async fn wait_said(log: &Path, before: usize, words: &str) -> Result<()> {
    wait_until(&format!("{} to say: {words}", log.display()), LIMIT, async || {
        let text = std::fs::read_to_string(log)?;
        Ok(text.get(before..).is_some_and(|new| new.contains(words)))
    })
    .await
}
