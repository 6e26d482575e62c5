//! `make demo`: a shop's events from Kafka into Snowflake, through the worker that users run and the commands that users type.

mod account;
mod ground;
mod produce;
mod register;
mod report;
mod streams;
mod table;
mod watch;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;

use account::Account;
use ground::Ground;

/// Retail events from Kafka through a WebAssembly component into Snowflake, and an account of every one of them.
#[derive(Parser)]
struct Arguments {
    /// How many events to produce.
    #[arg(long, default_value_t = 200_000)]
    events: u64,
    /// Which events: the same seed gives the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave everything running at the end, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Give up when not all has arrived after so many seconds.
    #[arg(long, default_value_t = 600)]
    limit_s: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads can be started");
    let outcome = runtime.block_on(async {
        tokio::select! {
            // First, so that a Ctrl-C that it waits for is its own.
            biased;
            outcome = run(&arguments) => outcome,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted: everything that was started has been stopped")),
        }
    });
    // The servers ended with their values; a reader that still waits for one of them is of no use any more.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\ndemo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every event arrived once.
async fn run(arguments: &Arguments) -> Result<bool> {
    let began = Instant::now();
    step("Starting Kafka, a Schema Registry, a Snowflake stand-in, a helpdesk, a cloud function and the worker");
    let ground = Ground::start().await?;
    ground.show();

    step(&format!("Producing {} events (seed {})", table::thousands(arguments.events), arguments.seed));
    produce::all(&ground, arguments.seed, arguments.events).await?;

    step("Registering the connectors, as a user would");
    let registered = Instant::now();
    register::all(&ground).await?;

    step("Watching the rows arrive in Snowflake");
    let limit = Duration::from_secs(arguments.limit_s);
    watch::until_all_committed(&ground, limit).await.context("wait for the events to arrive")?;
    let seconds = registered.elapsed().as_secs_f64();

    step("Reading everything back: topics from Kafka, tables from Snowflake");
    let account = Account::take(&ground).await?;
    let memory = ground.worker.usage()?;
    report::show(&ground, &account, &memory).await?;

    if arguments.keep {
        ground.show_kept();
    }
    println!("\nFrom an empty machine's start of the servers to this line: {:.0} s", began.elapsed().as_secs_f64());
    let (lost, duplicated, rows, dead) = (account.lost(), account.duplicated(), account.rows(), account.dead_letters);
    let rss_mb = memory.rss_mb();
    let (tickets, alerts) = (account.tickets.arrived, account.alerts.arrived);
    println!(
        "demo: lost={lost} duplicated={duplicated} rows={rows} dead_letters={dead} tickets={tickets} alerts={alerts} seconds={seconds:.1} \
         worker_rss_mb={rss_mb:.0}"
    );
    if arguments.keep {
        tokio::signal::ctrl_c().await.context("wait for Ctrl-C")?;
        println!("\nStopping all of it.");
    }
    Ok(lost == 0 && duplicated == 0)
}

fn step(what: &str) {
    println!("\n==> {what}");
}
