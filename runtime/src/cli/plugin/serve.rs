//! `penstock plugin serve`: runs a component for the cases of its author's tests, one call a line.

use std::io::{BufRead, Write};
use std::path::PathBuf;

use clap::Args;
use penstock_host::{Ceiling, HostConfig};
use penstock_plugin_testing::{Call, Session};

use crate::cli::error::{CliError, Result};
use crate::config::LogFormat;
use crate::logging;

/// What cases may grant: the servers that they start themselves, and secrets, whose values stand in the case.
const CEILING: [(&str, &str); 2] = [("plugin.grants.hosts", "127.0.0.0/8, [::1]"), ("plugin.grants.secrets", "*")];

#[derive(Args)]
pub(super) struct Serve {
    file: PathBuf,
}

pub(super) async fn serve(Serve { file }: &Serve) -> Result<String> {
    let _loggers = logging::start(LogFormat::Text);
    let ceiling = CEILING.map(|(key, list)| (key.to_owned(), list.to_owned()));
    let grants = Ceiling::new(&ceiling.into_iter().collect()).map_err(|error| CliError::Failed(format!("{error:#}")))?;
    let inspection = penstock_host::inspect(file, HostConfig { grants, ..HostConfig::default() })
        .map_err(|why| CliError::Usage(format!("{}: {why}", file.display())))?;
    let mut session = Session::component(inspection.classes.into_iter().map(|(plugin, _)| plugin).collect());
    let broken = |what: &str, error: &dyn std::fmt::Display| CliError::Failed(format!("cannot {what}: {error}"));
    // Nothing else is to be done meanwhile, so the calls are read where they are served.
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| broken("read a call", &error))?;
        let call: Call = serde_json::from_str(&line).map_err(|error| broken("understand a call", &error))?;
        let reply = session.answer(call).await;
        let mut out = std::io::stdout().lock();
        let reply = serde_json::to_string(&reply).map_err(|error| broken("answer a call", &error))?;
        writeln!(out, "{reply}").and_then(|()| out.flush()).map_err(|error| broken("answer a call", &error))?;
    }
    Ok(String::new())
}
