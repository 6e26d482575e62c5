//! The command line: a small client of the REST API, `penstock connector|task|plugin ...`, which works on Java's workers, too; and what the
//! authors of plugins need, `penstock plugin new|build|test|inspect`.

mod error;
mod client;
mod table;
mod diff;
mod wait;
mod status;
mod plugin;
mod task;
mod offsets;
mod apply;
mod connector;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use error::Result;

/// What can be asked of a worker.
#[derive(Subcommand)]
pub enum Command {
    /// List, create, change and steer connectors of a running worker.
    #[command(after_help = EXIT_CODES)]
    Connector(connector::Arguments),
    /// Look at and restart single tasks of a running worker.
    #[command(after_help = EXIT_CODES)]
    Task(task::Arguments),
    /// List and describe the plugins of a running worker, and validate configurations with them; begin, build, test and inspect plugins of
    /// your own.
    #[command(after_help = EXIT_CODES)]
    Plugin(plugin::Arguments),
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 the worker refused or cannot be reached, 2 the arguments or files are wrong, \
3 there is no such connector, task or plugin, 4 waited in vain (--wait, --check).";

/// Where the worker is, and how to show what it says.
#[derive(Args)]
#[command(next_help_heading = "The worker that is asked")]
struct Remote {
    /// The worker's REST API; any worker of the cluster will do.
    #[arg(long, env = "PENSTOCK_URL", default_value = "http://127.0.0.1:8083", global = true)]
    url: String,
    /// Name and password for basic authentication, as NAME:PASSWORD.
    #[arg(long, env = "PENSTOCK_USER", hide_env_values = true, global = true)]
    user: Option<String>,
    /// A PEM file with the authority that signed the worker's certificate, for https.
    #[arg(long, env = "PENSTOCK_CACERT", global = true)]
    cacert: Option<std::path::PathBuf>,
    /// How to show answers.
    #[arg(short, long, value_enum, default_value_t = Output::Table, global = true)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Columns for people.
    Table,
    /// The worker's own answer.
    Json,
}

/// Runs a command; what it has to say goes to standard output, or to standard error if it failed.
pub async fn run(command: Command) -> ExitCode {
    match answer(command).await {
        Ok(text) => {
            // Whoever reads may have stopped reading.
            let _unread = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("penstock: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn answer(command: Command) -> Result<String> {
    match command {
        Command::Connector(arguments) => connector::run(arguments).await,
        Command::Task(arguments) => task::run(arguments).await,
        Command::Plugin(arguments) => plugin::run(arguments).await,
    }
}

/// An answer as the user wants it: as it came, or made readable.
fn shown<T: serde::Serialize>(remote: &Remote, answer: &T, readable: impl FnOnce() -> String) -> Result<String> {
    match remote.output {
        Output::Json => Ok(serde_json::to_string_pretty(answer).expect("answers were made from JSON") + "\n"),
        Output::Table => Ok(readable()),
    }
}
