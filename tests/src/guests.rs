//! Components to test with, compiled from the tree when they are out of date.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::PoisonError;

use anyhow::{Context, Result, bail};

use crate::ground;

/// The folders of guests in the tree.
const GUESTS: [&str; 4] = ["tests/guests", "examples/retail/transform", "examples/http-source", "examples/http-sink"];

/// The folder of all components of the tree, up to date; good as a `plugin.path`.
pub fn components() -> Result<PathBuf> {
    static BUILT: Mutex<bool> = Mutex::new(false);
    let folder = ground::target_dir().join("components");
    // One of the tests compiles, the others wait.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !*built {
        for guest in GUESTS.iter().filter(|guest| ground::tree().join(guest).join("Cargo.toml").exists()) {
            build(guest, &folder)?;
        }
        *built = true;
    }
    Ok(folder)
}

/// The file of one component, by its crate's name.
pub fn component(name: &str) -> Result<PathBuf> {
    let file = components()?.join(name).with_extension("wasm");
    if !file.exists() {
        bail!("there is no component {}: is its crate in tests/guests?", file.display());
    }
    Ok(file)
}

fn build(guest: &str, folder: &std::path::Path) -> Result<()> {
    let status = Command::new(ground::tree().join("plugins/guest/build.sh"))
        .arg(ground::tree().join(guest))
        .arg(folder)
        .env("CARGO_TARGET_DIR", ground::target_dir())
        .status()
        .context("run plugins/guest/build.sh")?;
    if !status.success() {
        bail!("could not compile {guest}: the messages of plugins/guest/build.sh above say why");
    }
    Ok(())
}
