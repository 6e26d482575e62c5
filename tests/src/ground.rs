//! Where things lie: the tree, the build, the installed servers, and this run's own folder.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

/// The root of the source tree: the one that the process was started in, since clones share one build, in which the path of the clone
/// that compiled it would stand.
pub fn tree() -> &'static Path {
    static TREE: OnceLock<PathBuf> = OnceLock::new();
    TREE.get_or_init(|| {
        let started_in = std::env::current_dir().expect("a process is in a folder");
        let mut folders = started_in.ancestors();
        let tree = folders.find(|folder| folder.join("tests/ground/setup.sh").is_file());
        tree.unwrap_or_else(|| panic!("{} is not in a clone of Penstock: start this there", started_in.display())).to_owned()
    })
}

/// Cargo's target folder: that of the running executable, whatever it was set to.
pub fn target_dir() -> PathBuf {
    let executable = std::env::current_exe().expect("Linux knows the path of a running executable");
    let release = executable.ancestors().find(|folder| folder.ends_with("release") || folder.ends_with("debug"));
    match release.and_then(Path::parent) {
        Some(target) => target.to_owned(),
        None => std::env::temp_dir().join("penstock"),
    }
}

/// The folder of an installed part (`kafka`, `snowflake`, ... as `tests/ground/setup.sh` calls them). Installs it when it is missing or
/// its definition has changed; waits when another process is doing so.
pub fn part(name: &str) -> Result<PathBuf> {
    let status = Command::new(tree().join("tests/ground/setup.sh")).arg(name).status().context("run tests/ground/setup.sh")?;
    if !status.success() {
        bail!("could not install {name}: the messages of tests/ground/setup.sh above say what to do");
    }
    Ok(installed_dir().join(name))
}

fn installed_dir() -> PathBuf {
    match std::env::var_os("PENSTOCK_GROUND") {
        Some(dir) => dir.into(),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/penstock/ground"),
    }
}

/// A new folder for a server's data. Data of runs that have ended is removed by the next run.
pub fn data_dir(name: &str) -> Result<PathBuf> {
    let dir = run_dir().join("data").join(numbered(name));
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    Ok(dir)
}

/// A new log file. Logs stay for a day.
pub fn log_file(name: &str) -> Result<PathBuf> {
    let logs = run_dir().join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("create {}", logs.display()))?;
    Ok(logs.join(numbered(name) + ".log"))
}

fn numbered(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{:03}-{name}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn run_dir() -> &'static Path {
    static RUN_DIR: OnceLock<PathBuf> = OnceLock::new();
    RUN_DIR.get_or_init(|| {
        let runs = target_dir().join("run");
        sweep(&runs);
        runs.join(std::process::id().to_string())
    })
}

/// Removes what ended runs have left. Failures do not matter: the next run tries again.
fn sweep(runs: &Path) {
    const LOGS_KEPT: Duration = Duration::from_secs(24 * 3600);
    for run in fs::read_dir(runs).into_iter().flatten().flatten() {
        let is_over = !Path::new("/proc").join(run.file_name()).exists();
        let age = run.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| SystemTime::now().duration_since(at).ok());
        if is_over {
            let old = age.is_some_and(|age| age > LOGS_KEPT);
            fs::remove_dir_all(if old { run.path() } else { run.path().join("data") }).ok();
        }
    }
}

/// A TCP port on loopback that nobody listens on. It lies below the range from which the kernel takes ports for outgoing
/// connections, so a server that is killed finds it free again.
pub fn free_port() -> Result<u16> {
    const TRIES_MAX: u32 = 200;
    for _ in 0..TRIES_MAX {
        let port = rand::random_range(12_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port found on 127.0.0.1 between 12000 and 32000 in {TRIES_MAX} tries")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_tree_and_target() {
        assert!(tree().join("tests/ground/setup.sh").is_file());
        assert!(target_dir().join("release").is_dir());
    }

    #[test]
    fn names_of_one_kind_differ() {
        assert_ne!(log_file("kafka").unwrap(), log_file("kafka").unwrap());
    }
}
