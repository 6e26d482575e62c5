//! `penstock task`.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::Client;
use super::error::{CliError, Result};
use super::status::remarks;
use super::table::{table, text};
use super::{Remote, diff, shown};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List a connector's tasks.
    #[command(after_help = "Example:\n  penstock task list orders")]
    List { connector: String },
    /// Show how a task is, with the whole trace if it failed.
    #[command(after_help = "Example:\n  penstock task status orders 0")]
    Status { connector: String, task: u32 },
    /// Show a task's configuration; secrets are hidden.
    #[command(after_help = "Example:\n  penstock task get orders 0")]
    Get { connector: String, task: u32 },
    /// Stop a task and start it again.
    #[command(after_help = "Example:\n  penstock task restart orders 0")]
    Restart { connector: String, task: u32 },
}

pub(super) async fn run(Arguments { remote, command }: Arguments) -> Result<String> {
    let client = Client::new(&remote)?;
    match command {
        Command::List { connector } => list(&client, &remote, &connector).await,
        Command::Status { connector, task } => status(&client, &remote, &connector, task).await,
        Command::Get { connector, task } => get(&client, &remote, &connector, task).await,
        Command::Restart { connector, task } => {
            client.post(&["connectors", &connector, "tasks", &task.to_string(), "restart"], &[], None).await?;
            Ok(format!("{connector}-{task} restarted\n"))
        }
    }
}

async fn list(client: &Client, remote: &Remote, connector: &str) -> Result<String> {
    let status = client.get(&["connectors", connector, "status"], &[]).await?;
    shown(remote, &status["tasks"], || {
        let row = |task: &Value| {
            [text(&task["id"]), text(&task["state"]), text(&task["worker_id"]), text(&task["version"]), remarks(task)]
        };
        let rows: Vec<_> = status["tasks"].as_array().into_iter().flatten().map(row).collect();
        table(["TASK", "STATE", "WORKER", "VERSION", "REMARKS"], &rows)
    })
}

async fn status(client: &Client, remote: &Remote, connector: &str, task: u32) -> Result<String> {
    let status = client.get(&["connectors", connector, "tasks", &task.to_string(), "status"], &[]).await?;
    shown(remote, &status, || {
        let row = [text(&status["state"]), text(&status["worker_id"]), text(&status["version"]), remarks(&status)];
        let trace = status["trace"].as_str().map(|trace| format!("\n{}\n", trace.trim_end()));
        table(["STATE", "WORKER", "VERSION", "REMARKS"], &[row]) + &trace.unwrap_or_default()
    })
}

async fn get(client: &Client, remote: &Remote, connector: &str, task: u32) -> Result<String> {
    let tasks = client.get(&["connectors", connector, "tasks"], &[]).await?;
    let found = tasks.as_array().into_iter().flatten().find(|entry| entry["id"]["task"] == task);
    let missing = || CliError::NotFound(format!("{connector} has no task {task}"));
    let config = &found.ok_or_else(missing)?["config"];
    shown(remote, config, || {
        let keys = config.as_object().into_iter().flatten();
        let rows: Vec<_> = keys.map(|(key, value)| [key.clone(), diff::shown(key, &text(value)).to_owned()]).collect();
        table(["KEY", "VALUE"], &rows)
    })
}
