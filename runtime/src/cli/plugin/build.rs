//! `penstock plugin build` and `penstock plugin test`: from a crate to a component, and its cases natively and inside wasmtime.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use clap::Args;
use penstock_host::HostConfig;
use penstock_plugin_testing::{COMPONENT_VARIABLE, HOST_VARIABLE};
use serde_json::Value;

use super::toolchain::Toolchain;
use crate::cli::error::{CliError, Result};

#[derive(Args)]
pub(super) struct Build {
    /// The crate's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where the component goes; by default DIR/target/plugin/NAME.wasm. That folder can stand in `plugin.path`.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Test {
    /// The crate's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Arguments for the tests, as behind `cargo test --`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(super) fn build(Build { dir, out }: &Build) -> Result<String> {
    let component = component(dir, out.as_deref())?;
    Ok(format!("{}\n", component.display()))
}

pub(super) fn test(Test { dir, arguments }: &Test) -> Result<String> {
    let component = component(dir, None)?;
    let host = env::current_exe().map_err(|error| CliError::Failed(format!("cannot find this program's own file: {error}")))?;
    let component = component.canonicalize().map_err(|error| CliError::Failed(format!("{}: {error}", component.display())))?;
    let mut tests = Command::new("cargo");
    tests.args(["test", "--manifest-path"]).arg(manifest(dir)?).arg("--").args(arguments);
    tests.env(COMPONENT_VARIABLE, &component).env(HOST_VARIABLE, host);
    eprintln!("penstock: running the cases natively and inside wasmtime");
    let status = tests.status().map_err(|error| CliError::Failed(format!("cannot run cargo test: {error}")))?;
    match status.success() {
        true => Ok(format!("{} is good, natively and inside wasmtime\n", component.display())),
        false => Err(CliError::Failed("the tests above failed; `natively:` and `inside wasmtime:` say where".to_owned())),
    }
}

fn manifest(dir: &Path) -> Result<PathBuf> {
    let manifest = dir.join("Cargo.toml");
    match manifest.is_file() {
        true => Ok(manifest),
        false => Err(CliError::Usage(format!(
            "{} holds no Cargo.toml: name a plugin's folder, or begin one with `penstock plugin new`",
            dir.display()
        ))),
    }
}

/// Builds the component of a crate, and has it looked at as a worker would.
fn component(dir: &Path, out: Option<&Path>) -> Result<PathBuf> {
    let manifest = manifest(dir)?;
    let toolchain = Toolchain::find()?;
    eprintln!("penstock: building the component");
    let cannot = |error: std::io::Error| CliError::Failed(format!("cannot run cargo build: {error}"));
    let built = toolchain.build(&manifest).stderr(Stdio::inherit()).stdin(Stdio::null()).output().map_err(cannot)?;
    if !built.status.success() {
        return Err(CliError::Failed("the component could not be built: the compiler's messages above say why".to_owned()));
    }
    let file = artifact(&String::from_utf8_lossy(&built.stdout), &manifest)?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy().replace('_', "-");
    let out = out.map_or_else(|| dir.join("target/plugin").join(name).with_extension("wasm"), Path::to_owned);
    let cannot_write = |error| CliError::Failed(format!("cannot write {}: {error}", out.display()));
    out.parent().map_or(Ok(()), fs::create_dir_all).map_err(cannot_write)?;
    fs::copy(&file, &out).map_err(cannot_write)?;
    penstock_host::inspect(&out, HostConfig::default())
        .map_err(|why| CliError::Failed(format!("{} was built, but no worker can use it: {why}", out.display())))?;
    Ok(out)
}

/// The component among what cargo says it has built.
fn artifact(messages: &str, manifest: &Path) -> Result<PathBuf> {
    let manifest = manifest.canonicalize().unwrap_or_else(|_| manifest.to_owned());
    let is_ours = |message: &Value| {
        let path = message["manifest_path"].as_str().map(PathBuf::from);
        message["reason"] == "compiler-artifact" && path.is_some_and(|path| path.canonicalize().unwrap_or(path) == manifest)
    };
    let files =
        messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(is_ours).flat_map(|message| {
            let files = message["filenames"].as_array().cloned().unwrap_or_default();
            files.into_iter().filter_map(|file| file.as_str().map(PathBuf::from))
        });
    files.into_iter().find(|file| file.extension().is_some_and(|kind| kind == "wasm")).ok_or_else(|| {
        CliError::Usage(format!(
            "{} gave no component: it needs `[lib]` with `crate-type = [\"cdylib\", \"rlib\"]`, and must be no workspace of several crates",
            manifest.display()
        ))
    })
}
