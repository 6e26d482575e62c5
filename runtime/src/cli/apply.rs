//! `penstock connector apply`: connectors as files say, and what that changes.

use std::path::{Path, PathBuf};

use penstock_api::Props;
use serde_json::{Value, json};

use super::client::Client;
use super::diff::diff;
use super::error::{CliError, Result};
use super::plugin::errors_of;
use super::table::text;
use super::wait::Wait;
use super::{Remote, shown};
use crate::config::ConnectorFile;

/// What is to be done about one file.
struct Change {
    file: ConnectorFile,
    /// `None`: the connector is not there.
    now: Option<Props>,
    lines: Vec<String>,
}

/// All files are read and compared before anything is changed.
pub(super) async fn run(client: &Client, remote: &Remote, files: &[PathBuf], dry_run: bool, wait: &Wait) -> Result<String> {
    let mut changes = Vec::new();
    for path in files {
        changes.push(change(client, path, &changes).await?);
    }
    let mut told = String::new();
    let mut done = Vec::new();
    for change in &changes {
        let outcome = if dry_run { rehearse(client, change).await } else { perform(client, change).await };
        let verb = outcome.map_err(|error| prefixed(&told, &change.file.name, error))?;
        told += &format!("{} {verb}\n", change.file.name);
        told.extend(change.lines.iter().map(|line| format!("  {line}\n")));
        done.push(json!({"name": change.file.name, "outcome": verb, "changes": change.lines}));
    }
    if !dry_run {
        for change in &changes {
            wait.for_connector(client, &change.file.name).await.map_err(|error| prefixed(&told, &change.file.name, error))?;
        }
    }
    shown(remote, &done, || told)
}

async fn change(client: &Client, path: &Path, before: &[Change]) -> Result<Change> {
    let file = ConnectorFile::read(path).map_err(|error| CliError::Usage(format!("{error:#}")))?;
    if before.iter().any(|other| other.file.name == file.name) {
        return Err(CliError::Usage(format!("{}: another file names the connector {}, too", path.display(), file.name)));
    }
    let now = match client.get(&["connectors", &file.name, "config"], &[]).await {
        Ok(config) => Some(props(&config)),
        Err(CliError::NotFound(_)) => None,
        Err(error) => return Err(error),
    };
    let lines = diff(now.as_ref().unwrap_or(&Props::new()), &file.config);
    Ok(Change { file, now, lines })
}

async fn perform(client: &Client, change: &Change) -> Result<&'static str> {
    let ConnectorFile { name, config, initial_state } = &change.file;
    match (&change.now, initial_state) {
        (Some(_), _) if change.lines.is_empty() => Ok("unchanged"),
        (Some(_), _) => client.put(&["connectors", name, "config"], Some(&json!(config))).await.map(|_| "changed"),
        (None, None) => client.put(&["connectors", name, "config"], Some(&json!(config))).await.map(|_| "created"),
        (None, Some(state)) => {
            let body = json!({"name": name, "config": config, "initial_state": state});
            client.post(&["connectors"], &[], Some(&body)).await.map(|_| "created")
        }
    }
}

/// What would happen; an error when the worker would refuse.
async fn rehearse(client: &Client, change: &Change) -> Result<&'static str> {
    if change.now.is_some() && change.lines.is_empty() {
        return Ok("unchanged");
    }
    let class = change.file.config.get("connector.class").map_or("", |class| class.trim());
    if class.is_empty() {
        return Err(CliError::Failed("connector.class is missing".into()));
    }
    let path = ["connector-plugins", class, "config", "validate"];
    let infos = client.put(&path, Some(&json!(change.file.config))).await?;
    let errors = errors_of(&infos);
    if errors.is_empty() {
        return Ok(if change.now.is_some() { "would be changed" } else { "would be created" });
    }
    let lines = errors.iter().map(|[key, error]| format!("\n  {key}: {error}"));
    Err(CliError::Failed(format!("the worker would refuse it:{}", lines.collect::<String>())))
}

/// With what was done before, so that nobody believes that nothing was.
fn prefixed(told: &str, name: &str, error: CliError) -> CliError {
    let with = |text: String| {
        let done = if told.is_empty() { String::new() } else { format!("\nbefore that:\n{}", told.trim_end()) };
        let text = text.strip_prefix(&format!("{name}: ")).map_or_else(|| text.clone(), str::to_owned);
        format!("{name}: {text}{done}")
    };
    match error {
        CliError::Failed(text) => CliError::Failed(with(text)),
        CliError::Usage(text) => CliError::Usage(with(text)),
        CliError::NotFound(text) => CliError::NotFound(with(text)),
        CliError::InVain(text) => CliError::InVain(with(text)),
    }
}

fn props(config: &Value) -> Props {
    let keys = config.as_object().into_iter().flatten();
    keys.map(|(key, value)| (key.clone(), text(value))).collect()
}
