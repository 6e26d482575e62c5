//! `kill -9` of workers and brokers at every step of what a source writes, exactly once and at least once, for a built-in source and for
//! a component side by side.
//!
//! The steps are requests to brokers, told apart by a tap between the two: each kill comes right before the broker gets the request, or
//! right before the client gets the answer. `PENSTOCK_KILLS` says how many (the seed of each is printed), `PENSTOCK_SEED` where they begin.

use anyhow::{Result, ensure};
use penstock_tests::tap::{Moment, Request, Trap, kill_process};
use penstock_tests::worker::Builder;
use penstock_tests::{Kafka, Tap, Worker, wait_until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::shards::Shards;
use super::{Lines, SOON, numbered};

/// Of a worker: every step at least once; and of brokers, which take longer to come back.
const WORKER_KILLS: usize = 20;
const WORKER_KILLS_PLAIN: usize = 8;
const BROKER_KILLS: usize = 4;

/// What is written: to the topic of records, or to that of offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Topic {
    Records,
    Offsets,
}

/// A step of a transaction, and the moment in it.
type Step = (Request, Option<Topic>, Moment);

fn steps(once: bool) -> Vec<Step> {
    let transactional = [
        (Request::InitProducerId, None),
        (Request::AddPartitionsToTxn, Some(Topic::Records)),
        (Request::Produce, Some(Topic::Records)),
        (Request::AddPartitionsToTxn, Some(Topic::Offsets)),
        (Request::Produce, Some(Topic::Offsets)),
        (Request::EndTxn, None),
    ];
    let plain = [(Request::Produce, Some(Topic::Records)), (Request::Produce, Some(Topic::Offsets))];
    let requests = if once { transactional.as_slice() } else { plain.as_slice() };
    let moments = [Moment::BeforeBroker, Moment::BeforeClient];
    requests.iter().flat_map(|(request, topic)| moments.map(|moment| (*request, *topic, moment))).collect()
}

/// Lines that are appended to a file all the time.
struct Growing {
    lines: Lines,
    count: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
}

impl Growing {
    fn begin() -> Result<Self> {
        let lines = Lines::new()?;
        let (count, ends) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (path, counted, end) = (lines.path.clone(), count.clone(), ends.clone());
        std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let from = counted.load(Ordering::Relaxed);
                super::append_to(&path, numbered(from..from + 10)).expect("a file grows");
                counted.store(from + 10, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(50));
            }
            end.store(false, Ordering::Relaxed);
        });
        Ok(Self { lines, count, ends })
    }

    /// Stops it; answers how many there are.
    async fn end(&self) -> Result<usize> {
        self.ends.store(true, Ordering::Relaxed);
        wait_until("the last line", SOON, async || Ok(!self.ends.load(Ordering::Relaxed))).await?;
        Ok(self.count.load(Ordering::Relaxed))
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

/// A built-in source and a component, and the tap through which their worker reaches its brokers.
struct Flowing {
    once: bool,
    tap: Tap,
    builder: Builder,
    file: Growing,
    shards: Shards,
    kills: usize,
    first_seed: u64,
}

impl Flowing {
    async fn new(kafka: &Kafka, tap: Tap, once: bool, kills: usize) -> Result<Self> {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let builder = Worker::builder(kafka)
            .property("bootstrap.servers", tap.bootstrap())
            .property("exactly.once.source.support", if once { "enabled" } else { "disabled" })
            .property("offset.flush.interval.ms", 100)
            .property("session.timeout.ms", 6_000)
            .property("heartbeat.interval.ms", 500)
            .with_test_components()?;
        let it = Self {
            once,
            tap,
            builder,
            file: Growing::begin()?,
            shards: Shards::new(kafka, 3).await?,
            kills: number("PENSTOCK_KILLS").map_or(Ok(kills), usize::try_from)?,
            first_seed: number("PENSTOCK_SEED").unwrap_or(1),
        };
        kafka.create_topic(&it.file.lines.topic, 1).await?;
        Ok(it)
    }

    async fn create(&self, worker: &Worker) -> Result<()> {
        let (lines, shards) = (&self.file.lines, &self.shards);
        // Tasks that fail start again without anybody's help.
        let restarts = [("errors.restart.max.attempts", "1000"), ("errors.restart.delay.max.ms", "200")];
        worker.connect().create(&lines.name, &lines.config(&[&restarts[..], &[("batch.size", "100")]].concat())).await?;
        worker.connect().create(&shards.name, &shards.config(&[&restarts[..], &[("tasks.max", "2")]].concat())).await?;
        worker.connect().wait_running(&lines.name, 1).await?;
        worker.connect().wait_running(&shards.name, 2).await
    }

    /// Has `act` done at the step that the seed says, of one of the connectors. All steps come before one comes again.
    fn set(&self, kill: usize, act: impl FnOnce(usize) + Send + 'static) -> String {
        let seed = self.first_seed + kill as u64;
        let mut chance = StdRng::seed_from_u64(seed);
        let steps = steps(self.once);
        let (request, topic, moment) = steps[kill % steps.len()];
        let is_component = (kill / steps.len() + kill) % 2 == 1;
        let (name, records) = if is_component {
            (format!("{}-{}", self.shards.name, chance.random_range(0..2)), &self.shards.topic)
        } else {
            (format!("{}-0", self.file.lines.name), &self.file.lines.topic)
        };
        let offsets = self.builder.value("offset.storage.topic");
        let mut holds: Vec<String> =
            topic.iter().map(|t| if *t == Topic::Records { records.clone() } else { offsets.clone() }).collect();
        if self.once {
            holds.push(format!("{}-{name}", self.builder.value("group.id")));
        }
        // A producer begins once for each start of its task.
        let passes = if request == Request::InitProducerId { 0 } else { chance.random_range(0..20) };
        self.tap.set(Trap { request, moment, holds, passes, act: Box::new(act) });
        format!("seed {seed}: {request:?} {topic:?} {moment:?} of {name}, after {passes}")
    }

    /// A new producer begins only when a task does.
    async fn provoke(&self, kill: usize, worker: &Worker) -> Result<()> {
        if self.once && steps(true)[kill % steps(true).len()].0 == Request::InitProducerId {
            for name in [&self.file.lines.name, &self.shards.name] {
                let path = format!("/connectors/{name}/restart?includeTasks=true");
                // Killed while it answers.
                drop(worker.connect().post(&path, &Value::Null).await);
            }
        }
        Ok(())
    }

    /// All lines, and all numbers: once and in order, or none lost.
    async fn check(&self, kafka: &Kafka, worker: &Worker) -> Result<()> {
        let (lines, count) = (&self.file.lines, self.file.end().await?);
        let expected: Vec<String> = numbered(0..count).collect();
        let mut outcome = Ok(());
        wait_until("all lines", SOON * 2, async || {
            let mut read = lines.read(kafka).await?;
            if !self.once {
                let mut seen = std::collections::BTreeSet::new();
                read.retain(|line| seen.insert(line.clone()));
            }
            let wrong = read.iter().zip(&expected).position(|(read, expected)| read != expected);
            let too_many = read.len() > count;
            ensure!(wrong.is_some() || too_many || read.len() == count, "there are {} of {count}", read.len());
            if wrong.is_some() || too_many {
                let of_what = format!("{} records for {count} lines", read.len());
                outcome =
                    Err(anyhow::anyhow!("{of_what}; the first wrong one: {:?}", wrong.map(|at| (at, &read[at], &expected[at]))));
            }
            Ok(true)
        })
        .await?;
        outcome?;
        lines.wait_for_position(worker.connect(), i64::try_from(std::fs::metadata(&lines.path)?.len())?).await?;
        if self.once {
            self.shards.once_in_order(kafka, worker.connect()).await
        } else {
            self.shards.none_lost(kafka, worker.connect()).await
        }
    }
}

async fn kill_worker_at_every_step(once: bool) -> Result<()> {
    let tap = Tap::start(1).await?;
    let kafka = Kafka::builder().tapped(&tap).start().await?;
    let kills = if once { WORKER_KILLS } else { WORKER_KILLS_PLAIN };
    let it = Flowing::new(&kafka, tap, once, kills).await?;
    let mut worker = it.builder.clone().start().await?;
    it.create(&worker).await?;
    let began = Instant::now();
    for kill in 0..it.kills {
        let pid = worker.pid();
        let what = it.set(kill, move |_| kill_process(pid));
        it.provoke(kill, &worker).await?;
        it.tap.sprung(&what, SOON).await?;
        worker.restart().await?;
        println!("once: {once}, {:.1?}: killed the worker at {what}", began.elapsed());
    }
    it.check(&kafka, &worker).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_at_any_step_writes_each_record_once() -> Result<()> {
    kill_worker_at_every_step(true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_at_any_step_loses_nothing_at_least_once() -> Result<()> {
    kill_worker_at_every_step(false).await
}

/// One broker of so many is killed inside transactions, and comes back.
async fn kill_brokers_at_every_step(brokers: usize, once: bool) -> Result<()> {
    let tap = Tap::start(brokers).await?;
    let mut kafka = Kafka::builder().brokers(brokers).tapped(&tap).start().await?;
    let it = Flowing::new(&kafka, tap, once, BROKER_KILLS).await?;
    let worker = it.builder.clone().start().await?;
    it.create(&worker).await?;
    let began = Instant::now();
    for round in 0..it.kills {
        // Steps far apart, so that few kills try the most different ones.
        let kill = round * 5;
        let pids = kafka.pids();
        let killed = Arc::new(AtomicUsize::new(0));
        let noted = killed.clone();
        let what = it.set(kill, move |place| {
            noted.store(place, Ordering::SeqCst);
            kill_process(pids[place]);
        });
        it.provoke(kill, &worker).await?;
        it.tap.sprung(&what, SOON * 2).await?;
        let broker = i32::try_from(killed.load(Ordering::SeqCst))? + 1;
        if brokers > 1 {
            // The others go on without it.
            it.shards.flow(&kafka, 5).await?;
        }
        kafka.restart_broker(broker).await?;
        it.shards.flow(&kafka, 5).await?;
        println!("once: {once}, {:.1?}: killed broker {broker} of {brokers} at {what}", began.elapsed());
    }
    it.check(&kafka, &worker).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_brokers_killed_at_any_step_leaves_each_record_once() -> Result<()> {
    kill_brokers_at_every_step(3, true).await
}

/// Now and then the broker leaves a transaction hanging (Kafka 4.3.1): back before its session has ended, it is told that its partitions
/// have no leader, and takes the commit marks that it still owes them for not needed ("these partitions are likely deleted already and
/// hence can be skipped"). Nothing but `kafka-transactions.sh abort` ends that, and the tasks wait for it, as they should.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an only broker that is killed may leave a transaction hanging"]
async fn the_only_broker_killed_at_any_step_has_each_record_once() -> Result<()> {
    kill_brokers_at_every_step(1, true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_at_any_step_loses_nothing_at_least_once() -> Result<()> {
    kill_brokers_at_every_step(1, false).await
}

/// Workers come, leave, are killed and are frozen, while tasks move between them.
#[tokio::test(flavor = "multi_thread")]
async fn rebalances_lose_nothing_and_repeat_nothing_that_was_promised_once() -> Result<()> {
    let kafka = Kafka::shared().await?;
    for once in [true, false] {
        let shards = Shards::new(kafka, 6).await?;
        let builder = Worker::builder(kafka)
            .property("exactly.once.source.support", if once { "enabled" } else { "disabled" })
            .property("offset.flush.interval.ms", 100)
            .property("session.timeout.ms", 6_000)
            .property("heartbeat.interval.ms", 500)
            .property("scheduled.rebalance.max.delay.ms", 0)
            .with_test_components()?;
        let mut cluster = penstock_tests::Cluster::start(builder, 1).await?;
        cluster.connect(0).create(&shards.name, &shards.config(&[("errors.restart.max.attempts", "100")])).await?;
        shards.flow(kafka, 10).await?;
        let tasks = [(shards.name.clone(), 6)].into();
        for (what, change) in ["added", "added", "stopped", "killed"].into_iter().zip(1..) {
            let up = match what {
                "added" => {
                    cluster.add().await?;
                    (0..=change).collect::<Vec<_>>()
                }
                "stopped" => {
                    ensure!(cluster.workers[0].stop().await?.success());
                    vec![1, 2]
                }
                _ => {
                    cluster.workers[1].kill();
                    vec![2]
                }
            };
            cluster.wait_shared_out(&tasks, &up, SOON * 2).await?;
            shards.flow(kafka, 10).await?;
            println!("once: {once}: a worker was {what}, {up:?} are up");
        }
        if once {
            shards.once_in_order(kafka, cluster.connect(2)).await?;
        } else {
            shards.none_lost(kafka, cluster.connect(2)).await?;
        }
    }
    Ok(())
}
