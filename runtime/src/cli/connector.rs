//! `penstock connector`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::client::Client;
use super::error::{CliError, Result};
use super::status::{connector_row, status_table};
use super::table::{table, text};
use super::wait::{Progress, Wait, progress};
use super::{Remote, apply, diff, offsets, shown};
use crate::config::ConnectorFile;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List all connectors.
    #[command(after_help = "Example:\n  penstock connector list -o json --url http://connect:8083")]
    List,
    /// Show how a connector and its tasks are, and why they failed.
    #[command(after_help = "Examples:\n  penstock connector status orders\n  penstock connector status orders --check   \
                            # in scripts: exit code 4 unless all of it runs")]
    Status {
        name: String,
        /// Show whole traces.
        #[arg(long)]
        trace: bool,
        /// End with exit code 4 unless the connector and all its tasks run.
        #[arg(long)]
        check: bool,
    },
    /// Show a connector's configuration; secrets are hidden.
    #[command(
        after_help = "Examples:\n  penstock connector get orders\n  penstock connector get orders -o json > orders.json   \
                            # for `apply`; shows secrets that are not variables"
    )]
    Get { name: String },
    /// Create a connector from a file; an error if it is there.
    #[command(after_help = "Examples:\n  penstock connector create -f orders.json --wait\n  \
                            penstock connector create -f orders.properties --initial-state stopped")]
    Create {
        /// The body of POST /connectors, a bare configuration in JSON, or a .properties file; `-` is standard input.
        #[arg(short, long)]
        file: PathBuf,
        /// What the connector is to do at first.
        #[arg(long, value_enum)]
        initial_state: Option<InitialState>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Create or change connectors so that they are as the files say; shows what changes.
    #[command(
        after_help = "Examples:\n  penstock connector apply -f orders.json --dry-run   # show the difference, validate, change nothing\n  \
                            penstock connector apply -f connectors/*.json --wait\n  \
                            generate | penstock connector apply -f -"
    )]
    Apply {
        /// As for `create`; several files may be given.
        #[arg(short, long, num_args = 1.., required = true)]
        file: Vec<PathBuf>,
        /// Show what would change and validate it; change nothing. Exit code 1 if the worker would refuse it.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        wait: Wait,
    },
    /// Take connectors away. Their offsets stay.
    #[command(after_help = "Example:\n  penstock connector delete orders inventory")]
    Delete {
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Stop reading and writing, keep tasks and their place.
    #[command(after_help = "Example:\n  penstock connector pause orders")]
    Pause {
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Go on after `pause` or `stop`.
    #[command(after_help = "Example:\n  penstock connector resume orders --wait")]
    Resume {
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// End all tasks, keep the configuration. What `offsets set` and `offsets reset` need.
    #[command(after_help = "Example:\n  penstock connector stop orders")]
    Stop {
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Restart connectors, with or without their tasks.
    #[command(
        after_help = "Examples:\n  penstock connector restart orders --include-tasks --only-failed   # what failed, and nothing else\n  \
                            penstock connector restart orders --include-tasks --wait"
    )]
    Restart {
        #[arg(required = true)]
        names: Vec<String>,
        /// Their tasks, too.
        #[arg(long)]
        include_tasks: bool,
        /// Only what failed.
        #[arg(long)]
        only_failed: bool,
        #[command(flatten)]
        wait: Wait,
    },
    /// Show or change how far a connector is.
    #[command(subcommand)]
    Offsets(offsets::Command),
    /// List the topics a connector has used.
    #[command(after_help = "Example:\n  penstock connector topics orders --reset")]
    Topics {
        name: String,
        /// Forget them.
        #[arg(long)]
        reset: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum InitialState {
    Running,
    Paused,
    Stopped,
}

pub(super) async fn run(Arguments { remote, command }: Arguments) -> Result<String> {
    let client = Client::new(&remote)?;
    match command {
        Command::List => list(&client, &remote).await,
        Command::Status { name, trace, check } => status(&client, &remote, &name, trace, check).await,
        Command::Get { name } => get(&client, &remote, &name).await,
        Command::Create { file, initial_state, wait } => create(&client, &remote, &file, initial_state, &wait).await,
        Command::Apply { file, dry_run, wait } => apply::run(&client, &remote, &file, dry_run, &wait).await,
        Command::Delete { names } => delete(&client, &names).await,
        Command::Pause { names, wait } => set_state(&client, &names, "pause", "paused", &wait).await,
        Command::Resume { names, wait } => set_state(&client, &names, "resume", "resumed", &wait).await,
        Command::Stop { names, wait } => set_state(&client, &names, "stop", "stopped", &wait).await,
        Command::Restart { names, include_tasks, only_failed, wait } => {
            restart(&client, &names, include_tasks, only_failed, &wait).await
        }
        Command::Offsets(command) => offsets::run(&client, &remote, command).await,
        Command::Topics { name, reset } => topics(&client, &remote, &name, reset).await,
    }
}

async fn list(client: &Client, remote: &Remote) -> Result<String> {
    let answer = client.get(&["connectors"], &[("expand", "status"), ("expand", "info")]).await?;
    shown(remote, &answer, || {
        let rows: Vec<_> = answer.as_object().into_iter().flatten().map(|(name, both)| connector_row(name, both)).collect();
        table(["NAME", "TYPE", "STATE", "TASKS", "WORKER", "CLASS"], &rows)
    })
}

async fn status(client: &Client, remote: &Remote, name: &str, trace: bool, check: bool) -> Result<String> {
    let status = client.get(&["connectors", name, "status"], &[]).await?;
    if check {
        let info = client.get(&["connectors", name], &[]).await?;
        let is_running = status["connector"]["state"] == "RUNNING";
        match progress(&status, info["tasks"].as_array().map_or(0, Vec::len)) {
            Progress::There if is_running => {}
            Progress::There => return Err(CliError::InVain(format!("{name} is {}", text(&status["connector"]["state"])))),
            Progress::NotYet(why) | Progress::Failed(why) => return Err(CliError::InVain(format!("{name}: {why}"))),
        }
    }
    shown(remote, &status, || status_table(&status, trace))
}

async fn get(client: &Client, remote: &Remote, name: &str) -> Result<String> {
    let config = client.get(&["connectors", name, "config"], &[]).await?;
    shown(remote, &json!({"name": name, "config": config}), || {
        let keys = config.as_object().into_iter().flatten();
        let rows: Vec<_> = keys.map(|(key, value)| [key.clone(), diff::shown(key, &text(value)).to_owned()]).collect();
        table(["KEY", "VALUE"], &rows)
    })
}

async fn create(
    client: &Client,
    remote: &Remote,
    file: &Path,
    initial_state: Option<InitialState>,
    wait: &Wait,
) -> Result<String> {
    let file = ConnectorFile::read(file).map_err(|error| CliError::Usage(format!("{error:#}")))?;
    let mut body = Map::from_iter([("name".into(), json!(file.name)), ("config".into(), json!(file.config))]);
    let given = initial_state.map(|state| match state {
        InitialState::Running => "RUNNING".to_owned(),
        InitialState::Paused => "PAUSED".to_owned(),
        InitialState::Stopped => "STOPPED".to_owned(),
    });
    if let Some(state) = given.or(file.initial_state) {
        body.insert("initial_state".into(), json!(state));
    }
    let answer = client.post(&["connectors"], &[], Some(&Value::Object(body))).await?;
    wait.for_connector(client, &file.name).await?;
    shown(remote, &answer, || format!("{} created\n", file.name))
}

async fn delete(client: &Client, names: &[String]) -> Result<String> {
    let mut told = String::new();
    for name in names {
        client.delete(&["connectors", name]).await?;
        told += &format!("{name} deleted\n");
    }
    Ok(told)
}

async fn set_state(client: &Client, names: &[String], verb: &str, done: &str, wait: &Wait) -> Result<String> {
    for name in names {
        client.put(&["connectors", name, verb], None).await?;
    }
    let mut told = String::new();
    for name in names {
        wait.for_connector(client, name).await?;
        told += &format!("{name} {done}\n");
    }
    Ok(told)
}

async fn restart(client: &Client, names: &[String], include_tasks: bool, only_failed: bool, wait: &Wait) -> Result<String> {
    let flag = |on: bool| if on { "true" } else { "false" };
    let query = [("includeTasks", flag(include_tasks)), ("onlyFailed", flag(only_failed))];
    for name in names {
        client.post(&["connectors", name, "restart"], &query, None).await?;
    }
    let mut told = String::new();
    for name in names {
        wait.for_connector(client, name).await?;
        told += &format!("{name} restarted\n");
    }
    Ok(told)
}

async fn topics(client: &Client, remote: &Remote, name: &str, reset: bool) -> Result<String> {
    if reset {
        client.put(&["connectors", name, "topics", "reset"], None).await?;
        return Ok(format!("{name}: topics forgotten\n"));
    }
    let answer = client.get(&["connectors", name, "topics"], &[]).await?;
    shown(remote, &answer, || {
        let topics = answer[name]["topics"].as_array().into_iter().flatten();
        table(["TOPIC"], &topics.map(|topic| [text(topic)]).collect::<Vec<_>>())
    })
}
