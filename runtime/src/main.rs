//! The worker's command line, and the one place that names the plugins that are built in.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use penstock::config::{Mode, PluginConfig, WorkerConfig};
use penstock::fill::{Connector, Refused};
use penstock::rest::keys::trusted_certificates;
use penstock::{cli, converters, logging, run};
use penstock_api::{Error, Registry};
use penstock_host::{Ceiling, HostConfig, NetworkConfig};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Kafka Connect without the JVM.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a worker until SIGTERM or SIGINT.
    ///
    /// FILE is a worker file of Kafka Connect (connect-distributed.properties). Each of its keys can also be set in the
    /// environment, which wins: PENSTOCK_WORKER_GROUP_ID is group.id; in a name `_` is a dot, `__` a dash, `___` an underscore.
    ///
    /// Keys of Penstock's own: penstock.plugin.memory.max.bytes (64 MiB), penstock.plugin.call.timeout.ms (1000),
    /// penstock.plugin.cache.dir, penstock.plugin.network.timeout.ms (30000), penstock.plugin.network.connections.max (16),
    /// penstock.plugin.http.response.max.bytes (16 MiB), penstock.plugin.ssl.truststore.location, plugin.grants.hosts, penstock.log.format (text, json), penstock.worker.threads,
    /// penstock.rest.jaas.config.
    ///
    /// Log levels: RUST_LOG, e.g. `info,penstock::task=debug`; later over REST at /admin/loggers.
    ///
    /// Exit codes: 0 stopped as asked, 1 could not start or go on, 2 the arguments or the worker file are wrong.
    #[command(
        after_help = "Examples:\n  penstock worker connect-distributed.properties\n  penstock worker --check connect-distributed.properties"
    )]
    Worker {
        /// The worker file.
        file: PathBuf,
        /// Only check the file and load the plugins; start nothing.
        #[arg(long)]
        check: bool,
    },
    /// Run a worker that is one of no cluster, until SIGTERM or SIGINT.
    ///
    /// FILE is a worker file of Kafka Connect's standalone worker (connect-standalone.properties), or one of a cluster with
    /// offset.storage.file.filename added; the environment goes before it as for `penstock worker`.
    ///
    /// Each further file is a connector to begin with: Java properties, the body of POST /connectors ({"name", "config",
    /// "initial_state"}), or its configuration alone in JSON. They are created in this order; more may come over REST. Configurations
    /// and statuses end with the process; what sinks have committed stays in Kafka, in the groups that they have in a cluster, too.
    ///
    /// Exit codes: 0 stopped as asked, 1 could not start or go on, 2 the arguments or the worker file are wrong, 3 a connector
    /// could not be created.
    #[command(
        after_help = "Examples:\n  penstock standalone connect-standalone.properties orders.properties stock.json\n  penstock standalone \
                      --check connect-standalone.properties orders.properties"
    )]
    Standalone {
        /// The worker file.
        file: PathBuf,
        /// Connector files.
        connectors: Vec<PathBuf>,
        /// Only check the files and load the plugins; start nothing.
        #[arg(long)]
        check: bool,
    },
    #[command(flatten)]
    Client(Box<cli::Command>),
}

/// The arguments or the worker file are wrong; clap answers the same.
const EXIT_USAGE: u8 = 2;
/// As Java's standalone worker.
const EXIT_REFUSED: u8 = 3;

/// How long threads that block may take to end, after everything else has.
const RUNTIME_CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Worker { file, check } => worker(Mode::Distributed, &file, &[], check),
        Command::Standalone { file, connectors, check } => worker(Mode::Standalone, &file, &connectors, check),
        Command::Client(command) => match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(cli::run(*command)),
            Err(error) => failed(&error.into()),
        },
    }
}

fn worker(mode: Mode, file: &Path, connectors: &[PathBuf], check: bool) -> ExitCode {
    let worker = match WorkerConfig::load(file, mode) {
        Ok(worker) => worker,
        Err(error) => {
            eprintln!("penstock: {error:#}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let connectors: Vec<Connector> = match connectors.iter().map(|path| Connector::read(path)).collect() {
        Ok(connectors) => connectors,
        Err(refused) => return failed(&anyhow::Error::from(refused)),
    };
    let loggers = logging::start(worker.log_format);
    let registry = match registry(&worker.plugins) {
        Ok(registry) => registry,
        Err(error) => {
            eprintln!("penstock: {}: {error:#}", file.display());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(worker.threads).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let ended = match check {
        true => runtime.block_on(only_check(file, &worker, &registry, &connectors)),
        false => runtime.block_on(run::run(worker, registry, loggers, connectors, asked_to_stop())),
    };
    // A question to a broker that does not answer blocks its thread for as long as a minute; nothing waits for it any more.
    runtime.shutdown_timeout(RUNTIME_CLOSE_TIMEOUT);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

async fn only_check(file: &Path, worker: &WorkerConfig, registry: &Registry, connectors: &[Connector]) -> anyhow::Result<()> {
    worker.remarks.iter().for_each(|remark| println!("{remark}"));
    println!("{} is good; {} plugins are there", file.display(), registry.plugins().len());
    for connector in connectors {
        connector.check(worker, registry).await?;
        println!("{connector} is good");
    }
    Ok(())
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("penstock: {error:#}");
    if error.is::<Refused>() { ExitCode::from(EXIT_REFUSED) } else { ExitCode::FAILURE }
}

/// All plugins: what is built in goes before what `plugin.path` holds.
///
/// # Errors
/// `Config`: a key of the worker file that says what components may use.
fn registry(plugins: &PluginConfig) -> Result<Registry, Error> {
    let truststore = "penstock.plugin.ssl.truststore";
    let trusted = plugins.truststore.as_ref().map(|store| trusted_certificates(store, truststore)).transpose()?;
    let mut registry = Registry::new();
    let host = HostConfig {
        metrics: registry.metrics().clone(),
        memory_bytes_max: usize::try_from(plugins.memory_bytes_max).unwrap_or(usize::MAX),
        call_deadline: plugins.call_timeout,
        cache_dir: plugins.cache_dir.clone(),
        grants: Ceiling::new(&plugins.grants)?,
        network: NetworkConfig {
            wait_max: plugins.network_timeout,
            connections_max: plugins.connections_max,
            response_bytes_max: plugins.response_bytes_max,
            trusted: trusted.unwrap_or_default(),
            ..NetworkConfig::default()
        },
    };
    let (components, problems) = penstock_host::scan(&plugins.path, host);
    registry.extend(converters::plugins());
    registry.extend(penstock_transforms::plugins());
    registry.extend([penstock_snowflake::plugin(), penstock_blackhole::plugin()]);
    registry.extend(penstock_file::plugins());
    registry.extend(penstock_tools::plugins());
    registry.extend([penstock_datagen::plugin()]);
    registry.extend(penstock_kafka_source::plugins());
    for component in &components {
        if registry.find(&[component.kind()], &component.class).is_some() {
            tracing::warn!("class {} of a component is not used: a built-in one has this name", component.class);
        }
    }
    registry.extend(components);
    registry.explain_missing(penstock_host::explain_missing(&problems));
    Ok(registry)
}

async fn asked_to_stop() {
    let listen = |kind| signal(kind).expect("signal handlers can be installed at the start of a process");
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
