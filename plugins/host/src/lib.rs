//! WebAssembly components as plugins: the only crate that knows wasmtime.
//!
//! [`scan`] turns the files of `plugin.path` into [`Plugin`]s that nobody can tell from native ones. In reading order: the
//! contract as code; what a guest says; the batch as it sees it; what it may reach; its store; the engine with its cache; an instance and its
//! calls; what it says of itself; the adapter to the traits; loading a file.

mod adapter;
mod batch;
mod cache;
mod component;
mod contract;
mod engine;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod grants;
mod guest_log;
mod inspect;
mod instance;
mod load;
mod manifest;
mod metrics;
mod network;
mod outbox;
mod own_time;
mod row_schemas;
mod search;
mod sink;
mod source;
mod state;
mod watch;

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use penstock_api::Plugin;

use engine::Engine;
pub use engine::HostConfig;
pub use grants::Ceiling;
pub use inspect::{Inspection, WantedGrant};
pub use network::{NetworkConfig, Resolve};

/// A file of `plugin.path` that gave no plugin, or a folder that cannot be read. The worker goes on without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanProblem {
    pub path: PathBuf,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for ScanProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)
    }
}

/// Loads the components of `plugin.path`.
///
/// Each path is a component (`*.wasm`), or a folder that holds components, directly or one folder deeper as Connect's plugin
/// folders do. Each class of each component is one plugin; of several files with one class the highest version comes first,
/// which is the one a registry finds. Compiles what is not in the cache, so the first start takes longer. Every problem is
/// logged as a warning here, and returned so that a connector that names a missing class can be told.
#[must_use]
pub fn scan(paths: &[PathBuf], config: HostConfig) -> (Vec<Plugin>, Vec<ScanProblem>) {
    let mut problems = Vec::new();
    let files = files(paths, &mut problems);
    let mut found = Vec::new();
    if !files.is_empty() {
        match Engine::new(config) {
            Ok(engine) => load_all(&engine, files, &mut found, &mut problems),
            Err(error) => problems.push(ScanProblem {
                path: files[0].clone(),
                message: format!("no WebAssembly engine can be started here, so no component can be used: {error:#}"),
            }),
        }
    }
    found.sort_by(|(a, _), (b, _)| a.class.cmp(&b.class).then_with(|| compare_versions(&b.version, &a.version)));
    found.windows(2).for_each(|pair| tell_rivals(&pair[0], &pair[1]));
    for problem in &problems {
        tracing::warn!(file = %problem.path.display(), "a plugin was left out: {}", problem.message);
    }
    (found.into_iter().map(|(plugin, _)| plugin).collect(), problems)
}

/// Says which of two files with one class is used.
fn tell_rivals((used, used_file): &(Plugin, PathBuf), (other, other_file): &(Plugin, PathBuf)) {
    if used.class != other.class {
        return;
    }
    let (class, version, file) = (&used.class, &used.version, used_file.display());
    let (other_version, other_file) = (&other.version, other_file.display());
    if used.version == other.version {
        tracing::warn!("class {class} {version} is in two files of plugin.path: {file} is used, {other_file} is not; remove one");
    } else {
        tracing::info!("class {class} is used in version {version} of {file}, not in version {other_version} of {other_file}");
    }
}

/// What to tell somebody who names a class that was not found; `None` when every file was fine.
#[must_use]
pub fn explain_missing(problems: &[ScanProblem]) -> Option<String> {
    if problems.is_empty() {
        return None;
    }
    let listed = problems.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let more = problems.len().saturating_sub(5);
    let more = if more == 0 { String::new() } else { format!("; and {more} more, see the log") };
    Some(format!("it may be in a file of plugin.path that could not be used: {listed}{more}"))
}

/// Looks at one component as its author wants to see it.
///
/// # Errors
/// Why a worker would not take it and what to do, for people.
pub fn inspect(file: &Path, config: HostConfig) -> Result<Inspection, String> {
    let engine = Engine::new(config).map_err(|error| format!("no WebAssembly engine can be started here: {error:#}"))?;
    beside_any_runtime(|runtime| runtime.block_on(inspect::inspect(&engine, file)))
}

fn load_all(engine: &Arc<Engine>, files: Vec<PathBuf>, found: &mut Vec<(Plugin, PathBuf)>, problems: &mut Vec<ScanProblem>) {
    let load = async |file: &Path| load::plugins(engine, file).await;
    beside_any_runtime(|runtime| {
        for file in files {
            match runtime.block_on(load(&file)) {
                Ok(plugins) => found.extend(plugins.into_iter().map(|plugin| (plugin, file.clone()))),
                Err(message) => problems.push(ScanProblem { path: file, message }),
            }
        }
    });
}

/// Guests run on a thread of their own, so that loading works inside and outside of any runtime.
fn beside_any_runtime<T: Send>(work: impl FnOnce(&tokio::runtime::Runtime) -> T + Send) -> T {
    std::thread::scope(|scope| {
        let working = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            work(&runtime.expect("a runtime without I/O can be made"))
        });
        working.join().expect("loading a component does not panic")
    })
}

/// All components, in a steady order.
fn files(paths: &[PathBuf], problems: &mut Vec<ScanProblem>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if is_component_file(path) {
            files.push(path.clone());
            continue;
        }
        for entry in entries(path, problems) {
            if is_component_file(&entry) {
                files.push(entry);
            } else if entry.is_dir() {
                files.extend(entries(&entry, problems).into_iter().filter(|inner| is_component_file(inner)));
            }
        }
    }
    files.sort();
    files.dedup();
    files
}

fn entries(dir: &Path, problems: &mut Vec<ScanProblem>) -> Vec<PathBuf> {
    if dir.is_file() {
        let message = "it stands in plugin.path but is neither a folder nor a component (*.wasm)".to_owned();
        problems.push(ScanProblem { path: dir.to_owned(), message });
        return Vec::new();
    }
    match std::fs::read_dir(dir) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(error) => {
            let message = format!("it stands in plugin.path but cannot be read: {error}");
            problems.push(ScanProblem { path: dir.to_owned(), message });
            Vec::new()
        }
    }
}

fn is_component_file(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("wasm")) && path.is_file()
}

/// By numbers where there are numbers: 1.10 is above 1.9. A release is above its release candidates.
fn compare_versions(a: &str, b: &str) -> Ordering {
    let number = |part: &str| part.parse::<u64>().ok();
    let (a_release, a_pre) = a.split_once('-').map_or((a, None), |(release, pre)| (release, Some(pre)));
    let (b_release, b_pre) = b.split_once('-').map_or((b, None), |(release, pre)| (release, Some(pre)));
    let mut parts = (a_release.split('.'), b_release.split('.'));
    loop {
        let order = match (parts.0.next(), parts.1.next()) {
            (None, None) => break,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(x), Some(y)) => match (number(x), number(y)) {
                (Some(x), Some(y)) => x.cmp(&y),
                _ => x.cmp(y),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    match (a_pre, b_pre) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_their_numbers() {
        for (a, b) in
            [("1.10.0", "1.9.0"), ("1.0.0", "1.0.0-rc.1"), ("2.0", "1.9.9"), ("1.0.1", "1.0"), ("1.0.0-rc.2", "1.0.0-rc.1")]
        {
            assert_eq!(compare_versions(a, b), Ordering::Greater, "{a} {b}");
            assert_eq!(compare_versions(b, a), Ordering::Less, "{b} {a}");
        }
        assert_eq!(compare_versions("1.0", "1.0"), Ordering::Equal);
    }

    #[test]
    fn nothing_to_load_starts_no_engine() {
        assert!(scan(&[], HostConfig::default()).0.is_empty());
        let (plugins, problems) = scan(&[PathBuf::from("/nowhere/at/all")], HostConfig::default());
        assert!(plugins.is_empty());
        assert!(problems[0].to_string().starts_with("/nowhere/at/all: it stands in plugin.path but cannot be read"));
    }
}
