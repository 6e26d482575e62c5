//! What is logged, and how: set at the start, changed by logger over REST (KIP-495).

mod json;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use self::json::JsonLine;
use crate::config::LogFormat;

/// The loggers of this worker. Cheap to clone.
#[derive(Clone)]
pub struct Loggers {
    state: Arc<Mutex<State>>,
}

struct State {
    /// By name, as REST shows them: `penstock.task`. `root` is always there.
    loggers: BTreeMap<String, Logger>,
    apply: Box<dyn Fn(Targets) + Send>,
}

/// A logger's level, by Connect's names, and since when.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Logger {
    pub level: String,
    /// Milliseconds since 1970; `None`: never changed.
    pub last_modified: Option<i64>,
}

/// The name of the logger above all others.
pub const ROOT: &str = "root";

/// At most so many loggers get a level of their own; more are refused, so that requests cannot fill the memory.
const LOGGERS_MAX: usize = 1_000;

/// What is loud below the level at which it helps anybody.
const QUIET: [(&str, &str); 4] = [("cranelift", "WARN"), ("wasmtime", "WARN"), ("hyper", "WARN"), ("librdkafka", "WARN")];

/// Why a level could not be set.
#[derive(Debug, PartialEq, Eq)]
pub enum SetLevelError {
    UnknownLevel,
    TooMany,
}

/// Starts logging to standard error for this process. `RUST_LOG` takes the place of the default levels.
///
/// Called once; later calls change nothing of what is logged.
#[must_use]
pub fn start(format: LogFormat) -> Loggers {
    let loggers = initial(std::env::var("RUST_LOG").ok().as_deref());
    let (filter, handle) = reload::Layer::new(targets(&loggers));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match format {
        LogFormat::Json => layer.fmt_fields(JsonFields::new()).event_format(JsonLine).with_filter(filter).boxed(),
        LogFormat::Text => layer.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).with_filter(filter).boxed(),
    };
    // In tests several workers share a process: the first one's subscriber stays.
    let _started = Registry::default().with(layer).try_init().is_ok();
    Loggers::new(loggers, move |targets| {
        let _is_subscribed = handle.reload(targets).is_ok();
    })
}

fn initial(rust_log: Option<&str>) -> BTreeMap<String, Logger> {
    let unchanged = |level: &str| Logger { level: level.to_owned(), last_modified: None };
    let mut loggers: BTreeMap<String, Logger> =
        QUIET.iter().map(|(name, level)| ((*name).to_owned(), unchanged(level))).collect();
    loggers.insert(ROOT.to_owned(), unchanged("INFO"));
    if let Some(wanted) = rust_log.and_then(|text| text.parse::<Targets>().ok()) {
        for (target, level) in &wanted {
            loggers.insert(target.replace("::", "."), unchanged(name_of(level)));
        }
        if let Some(level) = wanted.default_level() {
            loggers.insert(ROOT.to_owned(), unchanged(name_of(level)));
        }
    }
    loggers
}

impl Loggers {
    /// Loggers that nothing is logged by, for herders that are tested alone.
    #[must_use]
    pub fn detached() -> Self {
        Self::new(initial(None), |_| {})
    }

    fn new(loggers: BTreeMap<String, Logger>, apply: impl Fn(Targets) + Send + 'static) -> Self {
        Self { state: Arc::new(Mutex::new(State { loggers, apply: Box::new(apply) })) }
    }

    /// All loggers with a level of their own; as in Connect without those that are off.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, Logger> {
        let mut loggers = self.lock().loggers.clone();
        loggers.retain(|_, logger| logger.level != "OFF");
        loggers
    }

    /// One logger of [`all`](Self::all). `root` may be written in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Logger> {
        self.lock().loggers.get(canonical(name)).cloned()
    }

    /// Whether there is such a level.
    #[must_use]
    pub fn is_level(level: &str) -> bool {
        filter_of(&level.to_uppercase()).is_some()
    }

    /// Sets the level of a logger and of all below it; answers the names of those that had another.
    ///
    /// # Errors
    /// When there is no such level, or there are too many loggers.
    pub fn set(&self, name: &str, level: &str) -> Result<Vec<String>, SetLevelError> {
        let level = level.to_uppercase();
        if filter_of(&level).is_none() {
            return Err(SetLevelError::UnknownLevel);
        }
        let name = canonical(name);
        let mut state = self.lock();
        if !state.loggers.contains_key(name) && state.loggers.len() >= LOGGERS_MAX {
            return Err(SetLevelError::TooMany);
        }
        let fresh = Logger { level: level.clone(), last_modified: Some(Utc::now().timestamp_millis()) };
        if !state.loggers.contains_key(name) {
            let inherited = inherited(&state.loggers, name);
            state.loggers.insert(name.to_owned(), Logger { level: inherited, last_modified: None });
        }
        let below = format!("{name}.");
        let mut changed = Vec::new();
        for (logger, now) in &mut state.loggers {
            if name == ROOT || logger == name || logger.starts_with(&below) {
                // The same level again is no change, and does not move the time of the last one.
                if now.level != level {
                    *now = fresh.clone();
                    changed.push(logger.clone());
                }
            }
        }
        (state.apply)(targets(&state.loggers));
        Ok(changed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn canonical(name: &str) -> &str {
    if name.eq_ignore_ascii_case(ROOT) { ROOT } else { name }
}

/// The level that a logger without one of its own has from those above it.
fn inherited(loggers: &BTreeMap<String, Logger>, name: &str) -> String {
    let mut above = name;
    while let Some((parent, _)) = above.rsplit_once('.') {
        if let Some(logger) = loggers.get(parent) {
            return logger.level.clone();
        }
        above = parent;
    }
    loggers.get(ROOT).map_or_else(|| "INFO".to_owned(), |root| root.level.clone())
}

fn targets(loggers: &BTreeMap<String, Logger>) -> Targets {
    let level = |logger: &Logger| filter_of(&logger.level).unwrap_or(LevelFilter::INFO);
    loggers.iter().fold(Targets::new(), |targets, (name, logger)| match name.as_str() {
        ROOT => targets.with_default(level(logger)),
        name => targets.with_target(name.replace('.', "::"), level(logger)),
    })
}

/// Log4j's levels as ours.
fn filter_of(level: &str) -> Option<LevelFilter> {
    match level {
        "OFF" => Some(LevelFilter::OFF),
        "FATAL" | "ERROR" => Some(LevelFilter::ERROR),
        "WARN" => Some(LevelFilter::WARN),
        "INFO" => Some(LevelFilter::INFO),
        "DEBUG" => Some(LevelFilter::DEBUG),
        "TRACE" | "ALL" => Some(LevelFilter::TRACE),
        _ => None,
    }
}

fn name_of(level: LevelFilter) -> &'static str {
    match level.into_level() {
        None => "OFF",
        Some(level) => level.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loggers() -> Loggers {
        Loggers::new(initial(Some("warn,penstock::task=debug")), |_| {})
    }

    #[test]
    fn a_level_reaches_all_loggers_below() {
        let loggers = loggers();
        assert_eq!(loggers.set("penstock", "trace"), Ok(vec!["penstock".into(), "penstock.task".into()]));
        assert_eq!(loggers.all()["penstock.task"].level, "TRACE");
        assert_eq!(loggers.all()[ROOT], Logger { level: "WARN".into(), last_modified: None });
        assert_eq!(loggers.get("Root"), loggers.get(ROOT));
        assert_eq!(loggers.set("ROOT", "OFF").map(|all| all.is_empty()), Ok(false));
        assert!(loggers.all().is_empty(), "what is off is not listed");
    }

    #[test]
    fn the_same_level_again_does_not_move_the_time() {
        let loggers = loggers();
        assert!(loggers.set("penstock.task", "DEBUG").is_ok());
        assert_eq!(loggers.all()["penstock.task"].last_modified, None);
    }

    #[test]
    fn levels_are_log4js() {
        let loggers = loggers();
        assert!(
            ["off", "FATAL", "Error", "WARN", "info", "DEBUG", "trace", "ALL"]
                .iter()
                .all(|level| loggers.set("x", level).is_ok())
        );
        assert_eq!(loggers.set("x", "VERBOSE"), Err(SetLevelError::UnknownLevel));
    }
}
