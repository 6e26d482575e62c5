//! Penstock beside the real Java Connect: the same records from the same broker into a sink that does nothing; and many connectors
//! that have nothing to do (`fleet.rs`).
//!
//! For each case and system a fresh worker is started, and drains the case's topic `--runs` times: a connector is created, and observed
//! from outside until its group has committed the last record. Then:
//!
//! - **CPU** is what `/proc/PID/stat` says the worker used (user and system, all threads) from just before the connector is created to
//!   the last commit, divided by the records. The worker's start is not counted; the connector's is, in both (Java makes no tasks for
//!   a connector that is created paused, and a pause later would come too late). Broker and bench are other processes.
//!   For the case `mirror`, which copies a topic, until the copy is complete (`mirror.rs`).
//! - **records/s** is taken between the first and the last commit seen; both systems commit every 200 ms.
//! - **peak memory** is `VmHWM` of the worker's process, its start included.
//!
//! The system `librdkafka` is no worker: a process that takes batches of messages off librdkafka's queue and drops them, the limit for
//! anything built on it. Run 1 is that of a freshly started worker, run 2 of the same one, warm (its code compiled, if it is Java).

mod cases;
mod components;
mod drain;
mod fleet;
mod mirror;
mod neighbours;
mod orders;
mod report;
mod rival;
mod silence;
mod systems;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use penstock_tests::{Kafka, Registry, ground};

use cases::Case;
use report::Report;
use systems::System;

/// The first few records that a worker drains tell nothing; below this a run would measure start-up.
const RECORDS_MIN: u64 = 10_000;

#[derive(Parser)]
#[command(about = "Measures Penstock beside Java Connect", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    choice: Choice,
}

#[derive(Subcommand)]
enum Role {
    /// Drain a topic with librdkafka alone and print what it took (started by the bench itself).
    Drain(drain::Order),
    /// Measure silence: for how long nobody delivers a partition's records when workers are killed, restarted and added
    Silence(silence::Choice),
}

#[derive(Args)]
struct Choice {
    /// JSON orders to drain in each run; Avro takes two fifths of it
    #[arg(long, default_value_t = 5_000_000)]
    records: u64,
    /// Only these measurements
    #[arg(long, value_enum, value_delimiter = ',')]
    parts: Vec<Part>,
    /// Only these cases
    #[arg(long, value_enum, value_delimiter = ',')]
    cases: Vec<Case>,
    /// Only these systems
    #[arg(long, value_enum, value_delimiter = ',')]
    systems: Vec<System>,
    /// How often a worker drains the topic
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Class of the component that passes records on as they are
    #[arg(long, default_value = cases::IDENTITY_COMPONENT)]
    identity_component: String,
    /// Class of the retail example's component
    #[arg(long, default_value = cases::RETAIL_COMPONENT)]
    retail_component: String,
    /// Where the measurements go
    #[arg(long, default_value_os_t = ground::tree().join("target/bench/latest.json"))]
    output: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// What a record costs.
    Records,
    /// What many connectors cost that have nothing to do, and how soon they run.
    Connectors,
    /// What sinks and sources cost that are components, and a thousand instances.
    Components,
    /// What components that go wrong cost others on the same worker.
    Neighbours,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.role {
        Some(Role::Drain(order)) => drain::run(&order),
        Some(Role::Silence(choice)) => silence::run(choice).await,
        None => bench(cli.choice).await,
    }
}

async fn bench(choice: Choice) -> Result<()> {
    anyhow::ensure!(choice.records >= RECORDS_MIN, "--records is {}: give at least {RECORDS_MIN}", choice.records);
    let cases = chosen(&choice.cases, Case::ALL);
    let systems = chosen(&choice.systems, System::ALL);
    eprintln!("bench: starting a broker");
    let kafka = Kafka::builder().as_in_production(1024).start().await?;
    let parts = chosen(&choice.parts, [Part::Records, Part::Connectors, Part::Components, Part::Neighbours]);
    if parts.contains(&Part::Connectors) {
        fleet::measure(&kafka, &systems, &choice.output.with_file_name("connectors.json")).await?;
    }
    if parts.contains(&Part::Components) {
        components::measure(&kafka, choice.records, choice.runs, &choice.output.with_file_name("components.json")).await?;
    }
    if parts.contains(&Part::Neighbours) {
        neighbours::measure(&kafka, &choice.output.with_file_name("neighbours.json")).await?;
    }
    if !parts.contains(&Part::Records) {
        return Ok(());
    }
    let registry = if cases.contains(&Case::Avro) { Some(Registry::start().await?) } else { None };
    let topics = orders::Topics::produce(&kafka, registry.as_ref(), &cases, choice.records).await?;

    let bench = systems::Bench { kafka: &kafka, registry: registry.as_ref(), topics: &topics, choice: &choice };
    let mut report = Report::new(choice.output.clone());
    for case in cases {
        for system in systems.iter().filter(|system| system.takes_part(case)) {
            // One that fails is told and left out; the others are worth having all the same.
            match bench.measure(case, *system).await.with_context(|| format!("measure {case} with {system}")) {
                Ok(measured) => report.add(measured)?,
                Err(error) => report.failed(case, *system, &error),
            }
        }
    }
    report.print();
    report.outcome()
}

fn chosen<T: Copy + PartialEq, const N: usize>(asked: &[T], all: [T; N]) -> Vec<T> {
    all.into_iter().filter(|one| asked.is_empty() || asked.contains(one)).collect()
}
