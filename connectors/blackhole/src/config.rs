//! The keys, typed.

use penstock_api::config::Check;
use penstock_api::{ConfigDef, ConfigKey, ConfigType, ErrorKind, Importance, Props, Result};
use std::path::PathBuf;
use std::time::Duration;

const DELAY: &str = "blackhole.delay.ms";
const FAIL_AT: &str = "blackhole.fail.at.record";
const FAIL_TIMES: &str = "blackhole.fail.times";
const FAIL_KIND: &str = "blackhole.fail.kind";
const REPORT_EVERY: &str = "blackhole.report.every.records";
const JOURNAL: &str = "blackhole.journal.path";

/// What the task does, besides counting.
#[derive(Debug)]
pub(crate) struct Settings {
    /// How long each non-empty put takes.
    pub(crate) delay: Duration,
    /// The put that holds this record, counted from 1, fails; 0: none does.
    pub(crate) fail_at: u64,
    /// How often that put fails before it passes.
    pub(crate) fail_times: u32,
    pub(crate) fail_kind: ErrorKind,
    /// Every so many records, one is reported as undeliverable; 0: none is.
    pub(crate) report_every: u64,
    /// Where puts are noted.
    pub(crate) journal: Option<PathBuf>,
}

/// The keys.
pub(crate) fn def() -> ConfigDef {
    let number = |name, default, doc| {
        ConfigKey::optional(name, ConfigType::Long, default, doc).check(Check::Min(0.0)).importance(Importance::Low)
    };
    ConfigDef::new([
        number(DELAY, "0", "Milliseconds each put of records takes."),
        number(FAIL_AT, "0", "The put that holds this record, counted from 1 over the task's life, fails. 0: none does."),
        number(FAIL_TIMES, "1", "How many times that put fails before it passes."),
        ConfigKey::optional(
            FAIL_KIND,
            ConfigType::String,
            "fatal",
            "How it fails: retriable (the batch comes again) or fatal (the task fails).",
        )
        .check(Check::OneOf(vec!["retriable".into(), "fatal".into()]))
        .importance(Importance::Low),
        number(REPORT_EVERY, "0", "Every so many records, one is reported as undeliverable (KIP-610). 0: none is."),
        ConfigKey::optional(
            JOURNAL,
            ConfigType::String,
            "",
            "A file to which tasks add a line for each start, stop, and partition of each put: milliseconds since 1970, process, \
             task, what happened; for a put also topic, partition, first and last offset. Empty: none.",
        )
        .importance(Importance::Low),
    ])
}

/// Reads the keys.
pub(crate) fn parse(props: &Props) -> Result<Settings> {
    let parsed = def().parse(props)?;
    Ok(Settings {
        delay: parsed.millis(DELAY),
        fail_at: parsed.number(FAIL_AT),
        fail_times: parsed.number(FAIL_TIMES),
        fail_kind: if parsed.string(FAIL_KIND) == "fatal" { ErrorKind::Fatal } else { ErrorKind::Retriable },
        report_every: parsed.number(REPORT_EVERY),
        journal: Some(PathBuf::from(parsed.string(JOURNAL))).filter(|path| !path.as_os_str().is_empty()),
    })
}
