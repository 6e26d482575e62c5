//! Waiting until a connector does what it is to do.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::error::{CliError, Result};

const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// After a change a worker needs a moment to stop what ran before, and until then it still says RUNNING.
const SETTLE: Duration = Duration::from_secs(1);

/// Whether to wait for the effect.
#[derive(Args)]
pub(super) struct Wait {
    /// Wait until connector and tasks are as they shall be; exit code 4 when they fail or take too long.
    #[arg(long)]
    wait: bool,
    /// How long to wait, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u64,
}

impl Wait {
    pub(super) async fn for_connector(&self, client: &Client, name: &str) -> Result<()> {
        if !self.wait {
            return Ok(());
        }
        until_settled(client, name, Duration::from_secs(self.timeout)).await
    }
}

/// What a connector's status and configuration say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// As it shall be.
    There,
    /// What is missing.
    NotYet(String),
    /// It will not come: who failed, and why.
    Failed(String),
}

/// Waits until the connector and all its tasks run, or are paused or stopped because somebody wants it so.
async fn until_settled(client: &Client, name: &str, limit: Duration) -> Result<()> {
    let began = Instant::now();
    tokio::time::sleep(SETTLE).await;
    loop {
        let progress = match client.get(&["connectors", name, "status"], &[]).await {
            Ok(status) => {
                let info = client.get(&["connectors", name], &[]).await?;
                progress(&status, info["tasks"].as_array().map_or(0, Vec::len))
            }
            // A new connector has no status at first.
            Err(CliError::NotFound(why)) => Progress::NotYet(why),
            Err(error) => return Err(error),
        };
        match progress {
            Progress::There => return Ok(()),
            Progress::Failed(why) => return Err(CliError::InVain(format!("{name}: {why}"))),
            Progress::NotYet(why) if began.elapsed() >= limit => {
                return Err(CliError::InVain(format!("{name}: not there after {} s: {why}", limit.as_secs())));
            }
            Progress::NotYet(_) => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
}

/// How far a connector is whose configuration lists so many tasks.
pub(super) fn progress(status: &Value, tasks: usize) -> Progress {
    let state_of = |unit: &Value| unit["state"].as_str().unwrap_or_default().to_owned();
    let connector = state_of(&status["connector"]);
    let units = status["tasks"].as_array().cloned().unwrap_or_default();
    if connector == "FAILED" {
        return Progress::Failed(format!("the connector failed: {}", first_line(&status["connector"])));
    }
    if let Some(failed) = units.iter().find(|task| state_of(task) == "FAILED") {
        return Progress::Failed(format!("task {} failed: {}", failed["id"], first_line(failed)));
    }
    let as_connector = units.iter().filter(|task| state_of(task) == connector).count();
    match connector.as_str() {
        "STOPPED" => Progress::There,
        "RUNNING" if tasks == 0 => Progress::NotYet("it has no tasks yet".into()),
        "RUNNING" | "PAUSED" if as_connector == tasks => Progress::There,
        "RUNNING" | "PAUSED" => Progress::NotYet(format!("{as_connector} of {tasks} tasks are {connector}")),
        other => Progress::NotYet(format!("the connector is {other}")),
    }
}

/// The first line of a unit's trace.
pub(super) fn first_line(unit: &Value) -> &str {
    unit["trace"].as_str().and_then(|trace| trace.lines().next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_connector_is_there_when_all_its_tasks_are() {
        let status = |connector: &str, tasks: &[&str]| {
            let tasks = tasks.iter().enumerate().map(|(id, state)| json!({"id": id, "state": state, "trace": "why\nat x"}));
            json!({"connector": {"state": connector, "trace": "because"}, "tasks": tasks.collect::<Vec<_>>()})
        };
        let not_yet = |why: &str| Progress::NotYet(why.into());
        let failed = |why: &str| Progress::Failed(why.into());
        assert_eq!(progress(&status("RUNNING", &["RUNNING", "RUNNING"]), 2), Progress::There);
        assert_eq!(progress(&status("PAUSED", &["PAUSED"]), 1), Progress::There);
        assert_eq!(progress(&status("PAUSED", &[]), 0), Progress::There);
        assert_eq!(progress(&status("STOPPED", &[]), 0), Progress::There);
        assert_eq!(progress(&status("RUNNING", &[]), 0), not_yet("it has no tasks yet"));
        assert_eq!(progress(&status("RUNNING", &["RUNNING", "UNASSIGNED"]), 2), not_yet("1 of 2 tasks are RUNNING"));
        assert_eq!(progress(&status("UNASSIGNED", &[]), 1), not_yet("the connector is UNASSIGNED"));
        assert_eq!(progress(&status("FAILED", &[]), 1), failed("the connector failed: because"));
        assert_eq!(progress(&status("RUNNING", &["RUNNING", "FAILED"]), 2), failed("task 1 failed: why"));
    }
}
