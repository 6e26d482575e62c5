//! Silence: the longest time between two records that a sink takes of one partition, while records flow to it all the time.
//!
//! Three workers run 30 sink tasks, five for each of six topics. A worker is killed (`kill -9`) and, when everything runs again, is
//! started again, which is the case `worker-added`; then the worker that leads; then all are restarted in turn (`rolling-restart`).
//! What the sinks take, they note in a journal with the time: Penstock's Blackhole and its twin for Java in the same lines.
//! A time of silence belongs to the case in which it ends. The lost worker's partitions are told from the survivors' by who took
//! their last records before.
//!
//! A plain consumer, in no group, reads all partitions beside them (`control`): when it sees nothing for a while, the broker or the whole
//! machine has paused, and no sink could do better.
//!
//! Workers keep their own defaults (a session of 10 s, `--session-ms`), but for Java's `scheduled.rebalance.max.delay.ms`, which is 0
//! in the system `java`. The system `java-default-delay` waits five minutes for a lost worker, so it makes fewer runs
//! (`--runs-default-delay`, `--runs-java`); the table says how many.

mod report;
mod systems;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use penstock_tests::cluster::{Tasks, is_shared_out};
use penstock_tests::connect::{Config, config};
use penstock_tests::journal::{Place, now_ms};
use penstock_tests::{Flow, Journal, Kafka, Onlooker, ground, wait_until};

use report::{Partitions, Report, Silence};
use systems::System;

use crate::rival::Rival;

const WORKERS: usize = 3;
const TOPICS: usize = 6;
const TASKS: i32 = 5;
/// Everything must have been calm for so long before something is done to it, and afterwards until it is measured.
const CALM: Duration = Duration::from_secs(3);
/// Beyond `scheduled.rebalance.max.delay.ms` of Java's defaults.
const LIMIT: Duration = Duration::from_secs(420);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    KillFollower,
    KillLeader,
    RollingRestart,
    WorkerAdded,
}

#[derive(Args)]
pub(crate) struct Choice {
    /// How often each case is tried with Penstock
    #[arg(long, default_value_t = 20)]
    runs: u32,
    /// How often with Java: each run takes four minutes
    #[arg(long, default_value_t = 20)]
    runs_java: u32,
    /// How often with Java's default delay: each loss takes five minutes
    #[arg(long, default_value_t = 2)]
    runs_default_delay: u32,
    /// Only these cases
    #[arg(long, value_enum, value_delimiter = ',')]
    cases: Vec<Case>,
    /// Only these systems
    #[arg(long, value_enum, value_delimiter = ',')]
    systems: Vec<System>,
    /// `session.timeout.ms` of the workers; below 10 s their `heartbeat.interval.ms` is a fifth of it
    #[arg(long, default_value_t = 10_000)]
    session_ms: u32,
    /// To each partition a record in each of these
    #[arg(long, default_value_t = 20)]
    interval_ms: u32,
    /// Where the measurements go
    #[arg(long, default_value_os_t = ground::tree().join("target/bench/silence.json"))]
    output: PathBuf,
}

impl Choice {
    fn wants(&self, case: Case) -> bool {
        self.cases.is_empty() || self.cases.contains(&case)
    }
}

pub(crate) async fn run(choice: Choice) -> Result<()> {
    eprintln!("bench: starting a broker");
    let mut report = Report::new(choice.output.clone(), choice.session_ms);
    for system in System::ALL.into_iter().filter(|system| choice.systems.is_empty() || choice.systems.contains(system)) {
        // A broker for each: what the one leaves behind is nothing that the other has to work with.
        let kafka = Kafka::builder()
            .as_in_production(1024)
            // Unless a shorter session is asked for, that is Kafka's own.
            .property("group.min.session.timeout.ms", choice.session_ms.min(6_000))
            .start()
            .await?;
        let measured = Bench::start(&kafka, system, &choice, &mut report).await;
        let measured = match measured {
            Ok(bench) => bench.measure().await,
            Err(error) => Err(error),
        };
        if let Err(error) = measured {
            report.failed(system, &error);
        }
    }
    report.print();
    report.outcome()
}

type Silences = BTreeMap<Place, Duration>;

/// A cluster of one system with records flowing.
struct Bench<'b> {
    system: System,
    choice: &'b Choice,
    report: &'b mut Report,
    workers: Vec<Rival>,
    tasks: Tasks,
    journal: Journal,
    flow: Flow,
    onlooker: Onlooker,
    control: Journal,
    /// From 1; 0 while it warms up.
    run: u32,
    _folder: tempfile::TempDir,
}

impl<'b> Bench<'b> {
    async fn start(kafka: &Kafka, system: System, choice: &'b Choice, report: &'b mut Report) -> Result<Self> {
        eprintln!("bench: starting {WORKERS} workers of {}", system.name());
        let folder = tempfile::tempdir()?;
        let journal = Journal::new(folder.path().join("journal"));
        let topics: Vec<String> = (0..TOPICS).map(|topic| format!("silence-{topic}")).collect();
        for topic in &topics {
            kafka.create_topic(topic, TASKS).await?;
        }
        let workers = system.start(kafka, WORKERS, choice.session_ms).await?;
        for topic in &topics {
            workers[0].connect().create(topic, &sink(system, topic, &journal)).await?;
        }
        let flow = Flow::begin(kafka, &topics, TASKS, Duration::from_millis(choice.interval_ms.into()))?;
        let control = Journal::new(folder.path().join("control"));
        let onlooker = Onlooker::begin(kafka, &topics, TASKS, control.path())?;
        let tasks = topics.iter().map(|name| (name.clone(), TASKS as usize)).collect();
        Ok(Self { system, choice, report, workers, tasks, journal, flow, onlooker, control, run: 0, _folder: folder })
    }

    async fn measure(mut self) -> Result<()> {
        let all: Vec<usize> = (0..WORKERS).collect();
        self.calm(&all, 0).await?;
        let runs = match self.system {
            System::Penstock => self.choice.runs,
            System::Java => self.choice.runs_java,
            System::JavaDefaultDelay => self.choice.runs_default_delay,
        };
        // Not noted: the first moves of a broker's life meet a JVM that has compiled nothing yet, whoever's cluster it is.
        self.roll().await.context("warm up")?;
        for run in 1..=runs {
            self.run = run;
            for (case, kills_leader) in [(Case::KillFollower, false), (Case::KillLeader, true)] {
                let is_wanted = self.choice.wants(case) || (!kills_leader && self.choice.wants(Case::WorkerAdded));
                if is_wanted {
                    self.lose(case, kills_leader).await.with_context(|| format!("run {run} of {case:?}"))?;
                }
            }
            if self.choice.wants(Case::RollingRestart) {
                self.roll().await.with_context(|| format!("run {run} of a rolling restart"))?;
            }
        }
        let sent = self.flow.end().await?;
        wait_until("every record to be delivered", LIMIT, async || {
            self.journal.read_on()?;
            let missing = self.journal.missing(&sent);
            ensure!(missing.is_empty(), "missing: {missing:?}");
            Ok(true)
        })
        .await?;
        self.onlooker.end()
    }

    /// Kills a worker, waits until all is well again, and starts it again.
    async fn lose(&mut self, case: Case, kills_leader: bool) -> Result<()> {
        let leader = self.leader()?;
        let victim = if kills_leader { leader } else { (0..WORKERS).find(|worker| *worker != leader).context("others")? };
        let survivors: Vec<usize> = (0..WORKERS).filter(|worker| *worker != victim).collect();
        self.journal.read_on()?;
        let (readers, lost_process) = (self.journal.readers(), self.workers[victim].pid());
        let began = now_ms();
        self.workers[victim].kill();
        self.calm(&survivors, began).await?;
        let (all, control) = self.silence(began)?;
        let (lost, kept) = all.into_iter().partition(|(place, _)| readers[place].0 == lost_process);
        self.note(case, Partitions::Lost, lost)?;
        self.note(case, Partitions::Survivors, kept)?;
        self.note(case, Partitions::Control, control)?;

        let began = now_ms();
        self.workers[victim].restart().await?;
        self.calm(&(0..WORKERS).collect::<Vec<_>>(), began).await?;
        self.note_all(Case::WorkerAdded, began)
    }

    /// Restarts all workers in turn.
    async fn roll(&mut self) -> Result<()> {
        let began = now_ms();
        for worker in 0..WORKERS {
            self.workers[worker].stop().await?;
            self.workers[worker].restart().await?;
        }
        self.calm(&(0..WORKERS).collect::<Vec<_>>(), began).await?;
        self.note_all(Case::RollingRestart, began)
    }

    /// Waits until all tasks run on these workers, each partition was read on by them since, and so for a while.
    async fn calm(&mut self, up: &[usize], since_ms: u128) -> Result<()> {
        let ids: Vec<String> = up.iter().map(|worker| self.workers[*worker].id()).collect();
        let processes: Vec<u32> = up.iter().map(|worker| self.workers[*worker].pid()).collect();
        let asked = self.workers[up[0]].connect().clone();
        let places = self.tasks.values().sum::<usize>();
        let mut calm_since = None;
        wait_until("all tasks to run and all partitions to be read", LIMIT, async || {
            self.journal.read_on()?;
            let now = now_ms();
            let fresh = now.saturating_sub(1_000).max(since_ms);
            let last = self.journal.last_put_ms();
            let reading = self.journal.readers().values().filter(|(process, _)| processes.contains(process)).count();
            let flows = last.len() == places && last.values().all(|at| *at > fresh) && reading == places;
            let shared_out = is_shared_out(&asked, &self.tasks, &ids).await;
            if !flows || shared_out.is_err() {
                calm_since = None;
                shared_out?;
                return Ok(false);
            }
            Ok(now - *calm_since.get_or_insert(now) >= CALM.as_millis())
        })
        .await
    }

    /// That of the sinks, and that of the plain consumer.
    fn silence(&mut self, since_ms: u128) -> Result<(Silences, Silences)> {
        let until_ms = now_ms();
        let of = |journal: &mut Journal| journal.read_on().map(|()| journal.silence(since_ms, until_ms));
        Ok((of(&mut self.journal)?, of(&mut self.control)?))
    }

    fn note_all(&mut self, case: Case, since_ms: u128) -> Result<()> {
        let (all, control) = self.silence(since_ms)?;
        self.note(case, Partitions::All, all)?;
        self.note(case, Partitions::Control, control)
    }

    fn note(&mut self, case: Case, partitions: Partitions, silence: Silences) -> Result<()> {
        if !self.choice.wants(case) || self.run == 0 {
            return Ok(());
        }
        let (system, run) = (self.system, self.run);
        let of = |((topic, partition), silence): (Place, Duration)| Silence {
            system: system.name(),
            case,
            partitions,
            run,
            partition: format!("{topic}-{partition}"),
            silence_ms: u64::try_from(silence.as_millis()).unwrap_or(u64::MAX),
        };
        self.report.add(silence.into_iter().map(of).collect())
    }

    fn leader(&self) -> Result<usize> {
        let url = self.system.leader_url(&self.workers)?;
        self.workers.iter().position(|worker| worker.connect().url() == url).with_context(|| format!("nobody has {url}"))
    }
}

fn sink(system: System, topic: &str, journal: &Journal) -> Config {
    let tasks = TASKS.to_string();
    let path = journal.path().to_string_lossy();
    config([
        ("connector.class", system.sink()),
        ("topics", topic),
        ("tasks.max", &tasks),
        ("blackhole.journal.path", &path),
        ("key.converter", "org.apache.kafka.connect.converters.ByteArrayConverter"),
        ("value.converter", "org.apache.kafka.connect.converters.ByteArrayConverter"),
    ])
}
