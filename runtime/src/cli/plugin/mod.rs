//! `penstock plugin`: what a worker's plugins are, and what their authors need.

mod build;
mod inspect;
mod scaffold;
mod serve;
mod toolchain;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Client;
use super::error::{CliError, Result};
use super::table::{table, text};
use super::{Output, Remote, shown};
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
    /// List the connectors' classes, or all plugins.
    #[command(after_help = "Examples:\n  penstock plugin list\n  penstock plugin list --all")]
    List {
        /// Transforms, predicates and converters, too.
        #[arg(long)]
        all: bool,
    },
    /// List the keys of a plugin's configuration.
    #[command(after_help = "Example:\n  penstock plugin describe 'org.apache.kafka.connect.transforms.MaskField$Value'")]
    Describe { class: String },
    /// Let the worker check a connector's configuration; exit code 1 if it is wrong.
    #[command(after_help = "Example:\n  penstock plugin validate -f orders.json")]
    Validate {
        /// The body of POST /connectors, a bare configuration in JSON, or a .properties file; `-` is standard input.
        #[arg(short, long)]
        file: PathBuf,
    },
    /// Show what a component holds: its world and contract, its classes with their keys, its imports. Asks no worker.
    ///
    /// Exit code 2 when no worker of this version could use the file, with the reason.
    #[command(
        after_help = "Examples:\n  penstock plugin inspect tidy-text.wasm\n  penstock plugin inspect --json tidy-text.wasm"
    )]
    Inspect(inspect::Inspect),
    /// Write a small crate to begin with: one class, its keys, cases and a README. Asks no worker.
    #[command(
        after_help = "Examples:\n  penstock plugin new tidy-text --kind transform\n  penstock plugin new beats --kind source --class \
                      org.acme.Beats --sdk ../penstock"
    )]
    New(scaffold::New),
    /// Build the crate's component. Asks no worker.
    ///
    /// The compiler is cargo's with the target wasm32-wasip2, which rustup is asked to add if it is missing, or else Debian's rustc-web;
    /// PENSTOCK_WASM=rustup or debian chooses. Cargo's own settings (CARGO_TARGET_DIR, a config.toml) hold.
    #[command(after_help = "Examples:\n  penstock plugin build\n  penstock plugin build tidy-text --out plugins/tidy-text.wasm")]
    Build(build::Build),
    /// Build the crate's component, and run its cases natively and inside wasmtime. Asks no worker.
    ///
    /// This is `cargo test` with a component for `penstock_plugin::testing`: the crate's other tests run, too.
    #[command(after_help = "Examples:\n  penstock plugin test\n  penstock plugin test tidy-text -- --nocapture named_fields")]
    Test(build::Test),
    /// Write the SDK that fits this worker: Rust crates, and the WIT files for other languages. Asks no worker.
    #[command(after_help = "Example:\n  penstock plugin sdk          # in a plugin's crate, to move to this version")]
    Sdk(scaffold::Sdk),
    /// Run a component for the cases of its crate: one call a line on standard input, its answer on standard output.
    #[command(hide = true)]
    Serve(serve::Serve),
}

pub(super) async fn run(Arguments { remote, command }: Arguments) -> Result<String> {
    let client = || Client::new(&remote);
    match &command {
        Command::List { all } => list(&client()?, &remote, *all).await,
        Command::Describe { class } => describe(&client()?, &remote, class).await,
        Command::Validate { file } => validate(&client()?, &remote, file).await,
        Command::Inspect(arguments) => inspect::inspect(arguments, remote.output == Output::Json),
        Command::New(arguments) => scaffold::new(arguments),
        Command::Build(arguments) => build::build(arguments),
        Command::Test(arguments) => build::test(arguments),
        Command::Sdk(arguments) => scaffold::sdk(arguments),
        Command::Serve(arguments) => serve::serve(arguments).await,
    }
}

async fn list(client: &Client, remote: &Remote, all: bool) -> Result<String> {
    let connectors_only = if all { "false" } else { "true" };
    let answer = client.get(&["connector-plugins"], &[("connectorsOnly", connectors_only)]).await?;
    shown(remote, &answer, || {
        let row = |plugin: &Value| [text(&plugin["type"]), text(&plugin["class"]), text(&plugin["version"])];
        table(["TYPE", "CLASS", "VERSION"], &answer.as_array().into_iter().flatten().map(row).collect::<Vec<_>>())
    })
}

async fn describe(client: &Client, remote: &Remote, class: &str) -> Result<String> {
    let answer = client.get(&["connector-plugins", class, "config"], &[]).await?;
    shown(remote, &answer, || {
        let row = |key: &Value| {
            let default = if key["required"] == true { "(required)".into() } else { text(&key["default_value"]) };
            [text(&key["name"]), text(&key["type"]), default, text(&key["documentation"])]
        };
        table(["KEY", "TYPE", "DEFAULT", "MEANING"], &answer.as_array().into_iter().flatten().map(row).collect::<Vec<_>>())
    })
}

async fn validate(client: &Client, remote: &Remote, file: &std::path::Path) -> Result<String> {
    let file = ConnectorFile::read(file).map_err(|error| CliError::Usage(format!("{error:#}")))?;
    let class = file.config.get("connector.class").map_or("", |class| class.trim());
    if class.is_empty() {
        return Err(CliError::Usage(format!("{} has no connector.class", file.name)));
    }
    let infos = client.put(&["connector-plugins", class, "config", "validate"], Some(&json!(file.config))).await?;
    let errors = errors_of(&infos);
    if errors.is_empty() {
        return shown(remote, &infos, || format!("{} is good\n", file.name));
    }
    let report = shown(remote, &infos, || table(["KEY", "ERROR"], &errors))?;
    Err(CliError::Failed(format!("{} has {} errors\n{}", file.name, errors.len(), report.trim_end())))
}

/// Key and text of everything that a validation found wrong.
pub(super) fn errors_of(infos: &Value) -> Vec<[String; 2]> {
    let values = infos["configs"].as_array().into_iter().flatten().map(|config| &config["value"]);
    values
        .flat_map(|value| value["errors"].as_array().into_iter().flatten().map(|error| [text(&value["name"]), text(error)]))
        .collect()
}
