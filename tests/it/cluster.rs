//! Clusters of real worker processes: the work is shared out, moves when a worker is lost, freezes, leaves or comes, and any
//! worker takes requests.
//!
//! What ran where and when stands in the sinks' journal: a file to which all tasks of all processes add lines.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use penstock_tests::connect::{Config, config};
use penstock_tests::journal::now_ms;
use penstock_tests::{Flow, Journal, Kafka, Worker, cluster, unique, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

/// The broker's least.
const SESSION: Duration = Duration::from_secs(6);
/// For what takes no session's time: a test runs beside others, so how long things take is said by `make bench ARGS=silence` alone.
const SOON: Duration = Duration::from_secs(60);
/// The session of a worker that is to be back within it.
const RETURN: Duration = Duration::from_secs(45);
const PARTITIONS: i32 = 6;
const FLOW_INTERVAL: Duration = Duration::from_millis(20);

/// Workers of one cluster, a topic with records flowing, and the journal.
struct Cluster {
    kafka: &'static Kafka,
    cluster: cluster::Cluster,
    topic: String,
    folder: tempfile::TempDir,
    flow: Option<Flow>,
}

impl Deref for Cluster {
    type Target = cluster::Cluster;

    fn deref(&self) -> &cluster::Cluster {
        &self.cluster
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut cluster::Cluster {
        &mut self.cluster
    }
}

impl Cluster {
    async fn start(workers: usize) -> Result<Self> {
        let kafka = Kafka::shared().await?;
        let topic = unique("flow");
        kafka.create_topic(&topic, PARTITIONS).await?;
        let builder = Worker::builder(kafka)
            .property("session.timeout.ms", SESSION.as_millis())
            .property("heartbeat.interval.ms", 500)
            .property("offset.flush.interval.ms", 500);
        let cluster = cluster::Cluster::start(builder, workers).await?;
        Ok(Self { kafka, cluster, topic, folder: tempfile::tempdir()?, flow: None })
    }

    /// A sink with a task for each partition.
    fn sink(&self) -> Config {
        let mut sink = config([("connector.class", "Blackhole")]);
        sink.insert("topics".into(), self.topic.clone());
        sink.insert("tasks.max".into(), PARTITIONS.to_string());
        sink.insert("blackhole.journal.path".into(), self.journal_path().to_string_lossy().into_owned());
        sink
    }

    fn journal_path(&self) -> std::path::PathBuf {
        self.folder.path().join("journal")
    }

    fn journal(&self) -> Result<Journal> {
        let mut journal = Journal::new(self.journal_path());
        journal.read_on()?;
        Ok(journal)
    }

    /// Waits until all tasks run, on these workers only, in even shares.
    async fn wait_shared_out(&self, name: &str, among: &[usize], limit: Duration) -> Result<()> {
        self.cluster.wait_shared_out(&[(name.to_owned(), PARTITIONS as usize)].into(), among, limit).await
    }

    fn begin_flow(&mut self) -> Result<()> {
        self.flow = Some(Flow::begin(self.kafka, std::slice::from_ref(&self.topic), PARTITIONS, FLOW_INTERVAL)?);
        Ok(())
    }

    /// Ends the flow, and waits until the sinks have taken every record.
    async fn end_flow(&mut self) -> Result<()> {
        let sent = self.flow.take().context("records flow")?.end().await?;
        wait_until("every record to be delivered", SOON, async || {
            let missing = self.journal()?.missing(&sent);
            ensure!(missing.is_empty(), "missing, by partition: {missing:?}");
            Ok(true)
        })
        .await
    }
}

#[tokio::test]
async fn any_worker_takes_requests_and_the_work_is_shared_out() -> Result<()> {
    let cluster = Cluster::start(3).await?;
    let leader = cluster.leader(&[0, 1, 2])?;
    ensure!(leader == 0, "the first one leads");
    for connect in [1, 2].map(|worker| cluster.connect(worker)) {
        let name = unique("c");
        let url = format!("{}/connectors", connect.url());
        let answer = reqwest::Client::new().post(url).json(&json!({"name": name, "config": cluster.sink()})).send().await?;
        ensure!(answer.status() == 201, "{answer:?}");
        let location = answer.headers()["location"].to_str()?.to_owned();
        ensure!(location == format!("{}/connectors/{name}", connect.url()), "{location}");
        cluster.wait_shared_out(&name, &[0, 1, 2], SOON).await?;
        let twice = connect.post("/connectors", &json!({"name": name, "config": cluster.sink()})).await?;
        ensure!((twice.status, twice.message()) == (409, format!("Connector {name} already exists").as_str()), "{twice:?}");
        let refused = connect.put(&format!("/connectors/{name}/config"), &json!({"connector.class": "Nope"})).await?;
        ensure!(refused.status == 400, "{refused:?}");
        // Some of the tasks run elsewhere, whomever one asks.
        for task in 0..PARTITIONS {
            let answer = connect.send(Method::POST, &format!("/connectors/{name}/tasks/{task}/restart"), None).await?;
            ensure!(answer.status == 204, "{answer:?}");
        }
        let restarts =
            async || Ok(cluster.journal()?.start_counts().values().filter(|count| **count == 2).count() == PARTITIONS as usize);
        wait_until("every task to be started twice", SOON, restarts).await?;
        let all = connect.send(Method::POST, &format!("/connectors/{name}/restart?includeTasks=true"), None).await?;
        ensure!(all.status == 202 && all.body["tasks"][0]["state"] == "RESTARTING", "{all:?}");
        let restarts =
            async || Ok(cluster.journal()?.start_counts().values().filter(|count| **count == 3).count() == PARTITIONS as usize);
        wait_until("every task to be started three times", SOON, restarts).await?;
        cluster.wait_shared_out(&name, &[0, 1, 2], SOON).await?;
        for (verb, status) in [("pause", 202), ("resume", 202), ("stop", 204)] {
            let answer = connect.send(Method::PUT, &format!("/connectors/{name}/{verb}"), None).await?;
            ensure!(answer.status == status, "{answer:?}");
        }
        ensure!(connect.delete(&format!("/connectors/{name}")).await?.status == 204);
        let gone = async || Ok(cluster.connect(0).status(&name).await?.status == 404);
        wait_until("the connector to be gone", SOON, gone).await?;
        std::fs::remove_file(cluster.journal_path())?;
    }
    let last_hop = cluster.connect(1).post("/connectors?forward=false", &json!({"name": "x", "config": cluster.sink()})).await?;
    ensure!(last_hop.status == 409 && last_hop.message().contains("conflicting operation"), "{last_hop:?}");
    Ok(())
}

#[tokio::test]
async fn calls_between_workers_are_signed() -> Result<()> {
    let cluster = Cluster::start(2).await?;
    cluster.connect(0).create("signed", &cluster.sink()).await?;
    cluster.wait_shared_out("signed", &[0, 1], SOON).await?;
    // (path, headers, status, text)
    let signature = ("X-Connect-Authorization", "AAAA");
    let algorithm = |name| ("X-Connect-Request-Signature-Algorithm", name);
    let cases: [(&[(&str, &str)], u16, &str); 5] = [
        (&[], 400, "Internal request missing required signature"),
        (&[signature], 400, "Internal request missing required signature"),
        (&[signature, algorithm("HmacNope")], 400, "HmacNope not available"),
        (&[signature, algorithm("HmacSHA512")], 400, "does not support the 'HmacSHA512' key signing algorithm"),
        (&[signature, algorithm("HmacSHA256")], 403, "Internal request contained invalid signature."),
    ];
    for worker in [0, 1] {
        for (method, path) in [(Method::POST, "tasks"), (Method::PUT, "fence")] {
            for (headers, status, text) in cases {
                let url = format!("{}/connectors/signed/{path}", cluster.connect(worker).url());
                let mut request = reqwest::Client::new().request(method.clone(), url).json(&json!([]));
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                let answer = request.send().await?;
                let (is, body) = (answer.status().as_u16(), answer.json::<Value>().await?);
                ensure!(
                    is == status && body["message"].as_str().is_some_and(|m| m.contains(text)),
                    "{path} {headers:?}: {is} {body}"
                );
            }
        }
    }
    // The connectors themselves were planned on one worker or the other: with four more, some on the follower.
    for n in 0..4 {
        let name = format!("planned-{n}");
        cluster.connect(1).create(&name, &cluster.sink()).await?;
        cluster.connect(1).wait_running(&name, PARTITIONS as usize).await?;
    }
    let status = cluster.connect(0).get("/connectors?expand=status").await?.ok()?;
    let owners: BTreeSet<_> =
        status.as_object().into_iter().flatten().map(|(_, c)| c["status"]["connector"]["worker_id"].to_string()).collect();
    ensure!(owners.len() == 2, "connectors run on both: {status}");
    Ok(())
}

#[tokio::test]
async fn a_killed_follower_and_a_killed_leader_are_replaced_and_nobody_else_is_disturbed() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    cluster.connect(0).create("killed", &cluster.sink()).await?;
    cluster.wait_shared_out("killed", &[0, 1, 2], SOON).await?;
    cluster.begin_flow()?;
    let leader = cluster.leader(&[0, 1, 2])?;
    let [follower, third] = [0, 1, 2].into_iter().filter(|w| *w != leader).collect::<Vec<_>>()[..] else {
        bail!("three workers")
    };

    for (victim, survivors) in [(follower, vec![leader, third]), (leader, vec![third])] {
        let kept: Vec<BTreeSet<u64>> = {
            let mut kept = Vec::new();
            for survivor in &survivors {
                kept.push(cluster.tasks_of("killed", *survivor, *survivor).await?);
            }
            kept
        };
        let starts_before = cluster.journal()?.start_counts();
        let began = Instant::now();
        cluster.workers[victim].kill();
        cluster.wait_shared_out("killed", &survivors, SESSION + SOON).await?;
        println!("all tasks run again {:?} after the kill", began.elapsed());
        let starts = cluster.journal()?.start_counts();
        for (survivor, tasks) in survivors.iter().zip(kept) {
            for task in tasks {
                let key = (cluster.workers[*survivor].pid(), format!("killed-{task}").into());
                ensure!(starts.get(&key) == starts_before.get(&key), "{key:?} was restarted though it did not move");
            }
        }
    }
    ensure!(cluster.leader(&[third])? == third);

    // They come back, and take their part again; what stays is not restarted.
    for returned in [follower, leader] {
        let starts_before = cluster.journal()?.start_counts();
        cluster.workers[returned].restart().await?;
        let up: Vec<usize> = if returned == follower { vec![third, follower] } else { vec![third, follower, leader] };
        cluster.wait_shared_out("killed", &up, SOON).await?;
        let (starts, stays) = (cluster.journal()?.start_counts(), cluster.tasks_of("killed", third, third).await?);
        for task in stays {
            let key = (cluster.workers[third].pid(), format!("killed-{task}").into());
            ensure!(starts.get(&key) == starts_before.get(&key), "{key:?} was restarted though it did not move");
        }
    }
    cluster.end_flow().await
}

#[tokio::test]
async fn a_lost_workers_tasks_are_shown_unassigned_and_wait_when_told_to() -> Result<()> {
    let mut cluster = Cluster::start(0).await?;
    cluster.builder = cluster.builder.clone().property("scheduled.rebalance.max.delay.ms", 60_000);
    for _ in 0..2 {
        cluster.add().await?;
    }
    cluster.connect(0).create("waits", &cluster.sink()).await?;
    cluster.wait_shared_out("waits", &[0, 1], SOON).await?;
    let (lost, starts_before) = (cluster.tasks_of("waits", 1, 0).await?, cluster.journal()?.start_counts());
    cluster.workers[1].kill();
    wait_until("the lost worker's tasks to be UNASSIGNED", SESSION + SOON, async || {
        let status = cluster.connect(0).status("waits").await?.ok()?;
        let tasks = status["tasks"].as_array().into_iter().flatten();
        let states = tasks.map(|t| (t["id"].as_u64().unwrap_or_default(), t["state"] == "UNASSIGNED"));
        ensure!(states.clone().all(|(id, unassigned)| unassigned == lost.contains(&id)), "{status}");
        Ok(true)
    })
    .await?;
    cluster.workers[1].restart().await?;
    cluster.wait_shared_out("waits", &[0, 1], SOON).await?;
    ensure!(cluster.tasks_of("waits", 1, 0).await? == lost, "it has the same tasks again");
    let (starts, first) = (cluster.journal()?.start_counts(), cluster.workers[0].pid());
    let of_first = |counts: &BTreeMap<(u32, Arc<str>), usize>| {
        counts.iter().filter(|((pid, _), _)| *pid == first).map(|(_, n)| n).sum::<usize>()
    };
    ensure!(of_first(&starts) == of_first(&starts_before), "the first worker started nothing");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_restarts_within_its_session_goes_on_at_once() -> Result<()> {
    let mut cluster = Cluster::start(0).await?;
    // Long, so that even a slow machine has the worker back before it ends.
    cluster.builder = cluster.builder.clone().property("session.timeout.ms", RETURN.as_millis());
    for _ in 0..2 {
        cluster.add().await?;
    }
    cluster.connect(0).create("restarts", &cluster.sink()).await?;
    cluster.wait_shared_out("restarts", &[0, 1], SOON).await?;
    for restarting in [1, 0] {
        let (had, other) = (cluster.tasks_of("restarts", restarting, 0).await?, 1 - restarting);
        let starts_before = cluster.journal()?.start_counts();
        let began = Instant::now();
        cluster.workers[restarting].kill();
        cluster.workers[restarting].restart().await?;
        let pid = cluster.workers[restarting].pid();
        wait_until("its tasks to be started again", RETURN, async || {
            let starts = cluster.journal()?.start_counts();
            Ok(had.iter().all(|task| starts.contains_key(&(pid, format!("restarts-{task}").into()))))
        })
        .await?;
        println!("tasks were started again {:?} after the kill", began.elapsed());
        cluster.wait_shared_out("restarts", &[0, 1], SOON).await?;
        ensure!(cluster.tasks_of("restarts", restarting, 0).await? == had, "nothing moved");
        let (starts, other) = (cluster.journal()?.start_counts(), cluster.workers[other].pid());
        for (key, count) in starts.iter().filter(|((pid, _), _)| *pid == other) {
            ensure!(starts_before.get(key) == Some(count), "{key:?} was restarted though it did not move");
        }
    }
    // Whoever leads now writes.
    cluster.connect(0).create("after", &cluster.sink()).await?;
    cluster.connect(1).wait_running("after", PARTITIONS as usize).await
}

#[tokio::test]
async fn a_frozen_leader_is_replaced_and_does_no_harm_when_it_wakes() -> Result<()> {
    let mut cluster = Cluster::start(2).await?;
    cluster.connect(0).create("frozen", &cluster.sink()).await?;
    cluster.wait_shared_out("frozen", &[0, 1], SOON).await?;
    cluster.begin_flow()?;
    let frozen = cluster.leader(&[0, 1])?;
    let other = 1 - frozen;
    cluster.workers[frozen].signal(Signal::SIGSTOP)?;
    cluster.wait_shared_out("frozen", &[other], SESSION + SOON).await?;
    cluster.connect(other).create("meanwhile", &cluster.sink()).await?;
    cluster.workers[frozen].signal(Signal::SIGCONT)?;
    let woke = now_ms();
    // At once: it may still think that it leads.
    let late = cluster.connect(frozen).post("/connectors", &json!({"name": "late", "config": cluster.sink()})).await?;
    ensure!(late.status == 201, "{late:?}");
    cluster.wait_shared_out("frozen", &[0, 1], SOON).await?;
    for worker in [0, 1] {
        let names =
            async || Ok(cluster.connect(worker).get("/connectors").await?.ok()? == json!(["frozen", "late", "meanwhile"]));
        wait_until("both to know the same connectors", SOON, names).await?;
    }
    ensure!(cluster.leader(&[0, 1])? == other, "the new one goes on leading");
    cluster.end_flow().await?;
    // What the frozen one ran under its old place ended soon: in the partitions that it does not have now it took nothing more
    // than what it held when it froze.
    let journal = cluster.journal()?;
    let frozen_pid = cluster.workers[frozen].pid();
    let has_now = journal.starts.iter().filter(|start| start.process == frozen_pid && start.at_ms > woke).count();
    ensure!(has_now > 0, "it runs tasks again");
    let starts = journal.starts.iter().filter(|start| start.process == frozen_pid && start.at_ms > woke);
    let first_start = starts.map(|start| start.at_ms).min();
    let zombie_puts =
        journal.puts.iter().filter(|put| put.process == frozen_pid && put.at_ms >= woke && Some(put.at_ms) < first_start);
    let last_zombie_put = zombie_puts.map(|put| put.at_ms - woke).max().unwrap_or(0);
    ensure!(last_zombie_put < SESSION.as_millis(), "it delivered for {last_zombie_put} ms after it woke");
    Ok(())
}

#[tokio::test]
async fn workers_leave_and_join_while_records_flow() -> Result<()> {
    let mut cluster = Cluster::start(2).await?;
    cluster.connect(0).create("flows", &cluster.sink()).await?;
    cluster.wait_shared_out("flows", &[0, 1], SOON).await?;
    cluster.begin_flow()?;
    let all_flow = async |cluster: &Cluster, since: u128| {
        let flows =
            async || Ok(cluster.journal()?.last_put_ms().values().filter(|at| **at > since).count() >= PARTITIONS as usize);
        wait_until("records to flow", SOON, flows).await
    };
    all_flow(&cluster, 0).await?;
    for leaving in [1, 0] {
        // Not before the tasks' own group has come to rest: its rebalances would be taken for what the worker's leaving costs.
        let at_rest = async || Ok(readers(&cluster)? == PARTITIONS as usize);
        wait_until("each task to have a partition", SOON, at_rest).await?;
        let began = now_ms();
        let stays = 1 - leaving;
        let starts_before = cluster.journal()?.start_counts();
        let kept = cluster.tasks_of("flows", stays, stays).await?;
        ensure!(cluster.workers[leaving].stop().await?.success());
        let took = now_ms() - began;
        cluster.wait_shared_out("flows", &[stays], SOON).await?;
        all_flow(&cluster, now_ms()).await?;
        let (journal, added) = (cluster.journal()?, now_ms());
        let silence = journal.silence(began, added);
        println!("worker {leaving} left in {took} ms; silence by partition: {silence:?}");
        ensure!(silence.values().all(|gap| *gap < SESSION), "somebody waited for a session to end: {silence:?}");
        for task in kept {
            let key = (cluster.workers[stays].pid(), format!("flows-{task}").into());
            ensure!(journal.start_counts().get(&key) == starts_before.get(&key), "{key:?} was restarted though it did not move");
        }
        cluster.workers[leaving].restart().await?;
        cluster.wait_shared_out("flows", &[0, 1], SOON).await?;
        all_flow(&cluster, now_ms()).await?;
        let silence = cluster.journal()?.silence(added, now_ms());
        println!("worker {leaving} came back; silence by partition: {silence:?}");
        ensure!(silence.values().all(|gap| *gap < SESSION), "somebody waited for a session to end: {silence:?}");
    }
    cluster.end_flow().await
}

/// How many tasks took the newest record of some partition.
fn readers(cluster: &Cluster) -> Result<usize> {
    let tasks: BTreeSet<_> = cluster.journal()?.readers().into_values().map(|(_, task)| task).collect();
    Ok(tasks.len())
}
