//! Clusters of real worker processes: the work is shared out, moves when a worker is lost, freezes, leaves or comes, and any
//! worker takes requests.
//!
//! What ran where and when stands in the sinks' journal: a file to which all tasks of all processes add lines.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use penstock_tests::connect::{Config, config};
use penstock_tests::kafka::NewRecord;
use penstock_tests::{Connect, Kafka, Worker, unique, wait_until, worker};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// The broker's least.
const SESSION: Duration = Duration::from_secs(6);
/// The promise: all tasks run again within the session and this.
const SLACK: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(30);
const PARTITIONS: i32 = 6;

/// Workers of one cluster, a topic with records flowing, and the journal.
struct Cluster {
    kafka: &'static Kafka,
    builder: worker::Builder,
    workers: Vec<Worker>,
    topic: String,
    folder: tempfile::TempDir,
    flow: Option<Flow>,
}

impl Cluster {
    async fn start(workers: usize) -> Result<Self> {
        let kafka = Kafka::shared().await?;
        let topic = unique("flow");
        kafka.create_topic(&topic, PARTITIONS).await?;
        // Clones share the group and the topics; each gets a port of its own.
        let builder = Worker::builder(kafka)
            .property("session.timeout.ms", SESSION.as_millis())
            .property("heartbeat.interval.ms", 500)
            .property("offset.flush.interval.ms", 500);
        let mut cluster = Self { kafka, builder, workers: Vec::new(), topic, folder: tempfile::tempdir()?, flow: None };
        for _ in 0..workers {
            cluster.add().await?;
        }
        Ok(cluster)
    }

    async fn add(&mut self) -> Result<usize> {
        self.workers.push(self.builder.clone().start().await?);
        Ok(self.workers.len() - 1)
    }

    /// `host:port`, as statuses name a worker.
    fn id(&self, worker: usize) -> String {
        self.workers[worker].connect().url().trim_start_matches("http://").to_owned()
    }

    fn connect(&self, worker: usize) -> &Connect {
        self.workers[worker].connect()
    }

    /// A sink with a task for each partition.
    fn sink(&self) -> Config {
        let mut sink = config([("connector.class", "Blackhole")]);
        sink.insert("topics".into(), self.topic.clone());
        sink.insert("tasks.max".into(), PARTITIONS.to_string());
        sink.insert("blackhole.journal.path".into(), self.journal_path().to_string_lossy().into_owned());
        sink
    }

    fn journal_path(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    fn journal(&self) -> Result<Journal> {
        Journal::read(&std::fs::read_to_string(self.journal_path()).unwrap_or_default())
    }

    /// Which worker leads, of those that are up: the one whose log said so last.
    fn leader(&self, among: &[usize]) -> Result<usize> {
        let leads = |worker: &&usize| {
            let log = self.workers[**worker].log_text();
            log.rfind("this worker leads the cluster") > log.rfind("does not lead the cluster any more")
        };
        among.iter().find(leads).copied().context("nobody leads")
    }

    /// Waits until all tasks run, on these workers only, in even shares.
    async fn wait_shared_out(&self, name: &str, among: &[usize], limit: Duration) -> Result<()> {
        let ids: Vec<String> = among.iter().map(|worker| self.id(*worker)).collect();
        wait_until(&format!("the tasks of {name} to run on {ids:?}"), limit, async || {
            let status = self.connect(among[0]).status(name).await?.ok()?;
            let tasks = status["tasks"].as_array().cloned().unwrap_or_default();
            let count = |id: &String| tasks.iter().filter(|t| t["state"] == "RUNNING" && t["worker_id"] == **id).count();
            let counts: Vec<usize> = ids.iter().map(count).collect();
            let even = counts.iter().max().zip(counts.iter().min()).is_some_and(|(most, least)| most - least <= 1);
            ensure!(counts.iter().sum::<usize>() == PARTITIONS as usize && even, "{counts:?}: {status}");
            Ok(true)
        })
        .await
    }

    /// The tasks that a worker runs, by the statuses.
    async fn tasks_of(&self, name: &str, worker: usize, asked: usize) -> Result<BTreeSet<u64>> {
        let status = self.connect(asked).status(name).await?.ok()?;
        let of_worker = status["tasks"].as_array().into_iter().flatten().filter(|t| t["worker_id"] == *self.id(worker));
        Ok(of_worker.filter_map(|task| task["id"].as_u64()).collect())
    }

    fn begin_flow(&mut self) {
        self.flow = Some(Flow::begin(self.kafka, self.topic.clone()));
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

/// Records that flow to every partition until told to end.
struct Flow {
    stop: Arc<AtomicBool>,
    sending: JoinHandle<Result<i64>>,
}

impl Flow {
    fn begin(kafka: &'static Kafka, topic: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let sending = tokio::spawn(async move {
            let mut rounds = 0;
            while !stopped.load(Ordering::SeqCst) {
                let record = |partition| NewRecord {
                    partition: Some(partition),
                    value: Some(br#"{"a":1}"#.to_vec()),
                    ..NewRecord::default()
                };
                kafka.produce_with(&[("linger.ms", "0")], &topic, (0..PARTITIONS).map(record)).await?;
                rounds += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(rounds)
        });
        Self { stop, sending }
    }

    /// How many records went to each partition.
    async fn end(self) -> Result<i64> {
        self.stop.store(true, Ordering::SeqCst);
        self.sending.await?
    }
}

/// What the tasks did, in order.
#[derive(Default)]
struct Journal {
    starts: Vec<(u128, u32, String)>,
    stops: Vec<(u128, u32, String)>,
    puts: Vec<Put>,
}

#[derive(Clone, Debug)]
struct Put {
    at_ms: u128,
    process: u32,
    task: String,
    partition: i32,
    offsets: std::ops::RangeInclusive<i64>,
}

impl Journal {
    fn read(text: &str) -> Result<Self> {
        let mut journal = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                [at, process, task, "start"] => journal.starts.push((at.parse()?, process.parse()?, task.into())),
                [at, process, task, "stop"] => journal.stops.push((at.parse()?, process.parse()?, task.into())),
                [at, process, task, "put", _, partition, first, last] => journal.puts.push(Put {
                    at_ms: at.parse()?,
                    process: process.parse()?,
                    task: task.into(),
                    partition: partition.parse()?,
                    offsets: first.parse()?..=last.parse()?,
                }),
                _ => bail!("a line of the journal cannot be read: {line}"),
            }
        }
        Ok(journal)
    }

    /// For each partition the offsets below `end` that nobody took.
    fn missing(&self, end: &i64) -> BTreeMap<i32, i64> {
        let missing = |partition: i32| {
            let mut ranges: Vec<_> =
                self.puts.iter().filter(|put| put.partition == partition).map(|put| put.offsets.clone()).collect();
            ranges.sort_by_key(|range| *range.start());
            let (mut next, mut gaps) = (0, 0);
            for range in ranges {
                gaps += (range.start() - next).max(0);
                next = next.max(range.end() + 1);
            }
            (partition, gaps + (end - next).max(0))
        };
        (0..PARTITIONS).map(missing).filter(|(_, missing)| *missing > 0).collect()
    }

    /// The tasks that took the newest record of each partition.
    fn readers(&self) -> BTreeSet<&str> {
        let newest: BTreeMap<i32, &str> = self.puts.iter().map(|put| (put.partition, put.task.as_str())).collect();
        newest.into_values().collect()
    }

    /// How often each task was started, by process.
    fn start_counts(&self) -> BTreeMap<(u32, String), usize> {
        let mut counts = BTreeMap::new();
        for (_, process, task) in &self.starts {
            *counts.entry((*process, task.clone())).or_default() += 1;
        }
        counts
    }

    /// The longest time without a record, by partition, from `since` on.
    fn silence(&self, since_ms: u128) -> BTreeMap<i32, Duration> {
        let mut last: BTreeMap<i32, u128> = (0..PARTITIONS).map(|partition| (partition, since_ms)).collect();
        let mut longest = BTreeMap::new();
        for put in self.puts.iter().filter(|put| put.at_ms >= since_ms) {
            let before = last.insert(put.partition, put.at_ms).unwrap_or(since_ms);
            let gap = Duration::from_millis(u64::try_from(put.at_ms.saturating_sub(before)).unwrap_or(0));
            let entry = longest.entry(put.partition).or_insert(gap);
            *entry = gap.max(*entry);
        }
        longest
    }

    /// The time of the last record that each process took of each partition.
    fn last_put(&self) -> BTreeMap<(i32, u32), u128> {
        self.puts.iter().map(|put| ((put.partition, put.process), put.at_ms)).collect()
    }
}

fn now_ms() -> u128 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis())
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
    cluster.begin_flow();
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
        cluster.wait_shared_out("killed", &survivors, SESSION + SLACK).await?;
        println!("all tasks run again {:?} after the kill", began.elapsed());
        let starts = cluster.journal()?.start_counts();
        for (survivor, tasks) in survivors.iter().zip(kept) {
            for task in tasks {
                let key = (cluster.workers[*survivor].pid(), format!("killed-{task}"));
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
            let key = (cluster.workers[third].pid(), format!("killed-{task}"));
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
    wait_until("the lost worker's tasks to be UNASSIGNED", SESSION + SLACK, async || {
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
    let of_first = |counts: &BTreeMap<(u32, String), usize>| {
        counts.iter().filter(|((pid, _), _)| *pid == first).map(|(_, n)| n).sum::<usize>()
    };
    ensure!(of_first(&starts) == of_first(&starts_before), "the first worker started nothing");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_restarts_within_its_session_goes_on_at_once() -> Result<()> {
    let mut cluster = Cluster::start(2).await?;
    cluster.connect(0).create("restarts", &cluster.sink()).await?;
    cluster.wait_shared_out("restarts", &[0, 1], SOON).await?;
    for restarting in [1, 0] {
        let (had, other) = (cluster.tasks_of("restarts", restarting, 0).await?, 1 - restarting);
        let starts_before = cluster.journal()?.start_counts();
        let began = Instant::now();
        cluster.workers[restarting].kill();
        cluster.workers[restarting].restart().await?;
        let pid = cluster.workers[restarting].pid();
        wait_until("its tasks to be started again", SESSION, async || {
            let starts = cluster.journal()?.start_counts();
            Ok(had.iter().all(|task| starts.contains_key(&(pid, format!("restarts-{task}")))))
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
    cluster.begin_flow();
    let frozen = cluster.leader(&[0, 1])?;
    let other = 1 - frozen;
    cluster.workers[frozen].signal(Signal::SIGSTOP)?;
    cluster.wait_shared_out("frozen", &[other], SESSION + SLACK).await?;
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
    let has_now = journal.starts.iter().filter(|(at, pid, _)| *pid == frozen_pid && *at > woke).count();
    ensure!(has_now > 0, "it runs tasks again");
    let first_start = journal.starts.iter().filter(|(at, pid, _)| *pid == frozen_pid && *at > woke).map(|(at, ..)| *at).min();
    let zombie_puts =
        journal.puts.iter().filter(|put| put.process == frozen_pid && put.at_ms >= woke && Some(put.at_ms) < first_start);
    let last_zombie_put = zombie_puts.map(|put| put.at_ms - woke).max().unwrap_or(0);
    ensure!(last_zombie_put < 1500, "it delivered for {last_zombie_put} ms after it woke");
    Ok(())
}

#[tokio::test]
async fn workers_leave_and_join_while_records_flow() -> Result<()> {
    let mut cluster = Cluster::start(2).await?;
    cluster.connect(0).create("flows", &cluster.sink()).await?;
    cluster.wait_shared_out("flows", &[0, 1], SOON).await?;
    cluster.begin_flow();
    let all_flow = async |cluster: &Cluster, since: u128| {
        let flows =
            async || Ok(cluster.journal()?.last_put().iter().filter(|(_, at)| **at > since).count() >= PARTITIONS as usize);
        wait_until("records to flow", SOON, flows).await
    };
    all_flow(&cluster, 0).await?;
    for leaving in [1, 0] {
        // Not before the tasks' own group has come to rest: its rebalances would be taken for what the worker's leaving costs.
        let at_rest = async || Ok(cluster.journal()?.readers().len() == PARTITIONS as usize);
        wait_until("each task to have a partition", SOON, at_rest).await?;
        let began = now_ms();
        let stays = 1 - leaving;
        let starts_before = cluster.journal()?.start_counts();
        let kept = cluster.tasks_of("flows", stays, stays).await?;
        ensure!(cluster.workers[leaving].stop().await?.success());
        let took = now_ms() - began;
        cluster.wait_shared_out("flows", &[stays], SLACK).await?;
        all_flow(&cluster, now_ms()).await?;
        let (journal, added) = (cluster.journal()?, now_ms());
        let silence = journal.silence(began);
        println!("worker {leaving} left in {took} ms; silence by partition: {silence:?}");
        ensure!(silence.values().all(|gap| *gap < SLACK), "{silence:?}");
        for task in kept {
            let key = (cluster.workers[stays].pid(), format!("flows-{task}"));
            ensure!(journal.start_counts().get(&key) == starts_before.get(&key), "{key:?} was restarted though it did not move");
        }
        cluster.workers[leaving].restart().await?;
        cluster.wait_shared_out("flows", &[0, 1], SOON).await?;
        all_flow(&cluster, now_ms()).await?;
        let silence = cluster.journal()?.silence(added);
        println!("worker {leaving} came back; silence by partition: {silence:?}");
        ensure!(silence.values().all(|gap| *gap < SLACK), "{silence:?}");
    }
    cluster.end_flow().await
}
