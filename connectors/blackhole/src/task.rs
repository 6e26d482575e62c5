//! Counting.

use penstock_api::{Error, ErrorKind, Props, Result, SinkContext, SinkRecord, SinkTask};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use crate::config::{self, Settings};
use crate::journal::Journal;

static COUNTERS: LazyLock<Mutex<HashMap<Arc<str>, Arc<AtomicU64>>>> = LazyLock::new(Mutex::default);

/// How many records all tasks of a connector in this process have taken so far.
#[must_use]
pub fn delivered(connector: &str) -> u64 {
    let counters = COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
    counters.get(connector).map_or(0, |counter| counter.load(Ordering::Relaxed))
}

#[derive(Default)]
pub(crate) struct BlackholeTask {
    started: Option<Started>,
    /// Records taken by this task.
    taken: u64,
    failed_times: u32,
}

struct Started {
    settings: Settings,
    context: SinkContext,
    counter: Arc<AtomicU64>,
    journal: Option<Journal>,
}

#[penstock_api::async_trait]
impl SinkTask for BlackholeTask {
    async fn start(&mut self, config: &Props, context: SinkContext) -> Result<()> {
        let settings = config::parse(config)?;
        let mut journal = settings.journal.as_deref().map(|path| Journal::open(path, context.task.clone())).transpose()?;
        journal.as_mut().map_or(Ok(()), |journal| journal.note("start"))?;
        let mut counters = COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = counters.entry(context.task.connector.clone()).or_default().clone();
        self.started = Some(Started { settings, context, counter, journal });
        Ok(())
    }

    async fn put(&mut self, records: &[SinkRecord]) -> Result<()> {
        let Some(Started { settings, context, counter, journal }) = &mut self.started else {
            return Err(Error::fatal("put was called before start"));
        };
        if records.is_empty() {
            return Ok(());
        }
        if !settings.delay.is_zero() {
            tokio::time::sleep(settings.delay).await;
        }
        let after = self.taken + records.len() as u64;
        let holds_failure = (self.taken + 1..=after).contains(&settings.fail_at);
        if holds_failure && self.failed_times < settings.fail_times {
            self.failed_times += 1;
            context.retry_after(Duration::from_millis(10));
            return Err(Error::new(settings.fail_kind, told_to_fail(settings)));
        }
        if settings.report_every > 0 {
            for (number, record) in (self.taken + 1..).zip(records) {
                if number % settings.report_every == 0 {
                    context.report(
                        record.origin.clone(),
                        Error::data("told to report this record by blackhole.report.every.records"),
                    );
                }
            }
        }
        journal.as_mut().map_or(Ok(()), |journal| journal.note_put(records))?;
        self.taken = after;
        counter.fetch_add(records.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn stop(&mut self) {
        let journal = self.started.as_mut().and_then(|started| started.journal.as_mut());
        // It is only a note, and the task ends in any case.
        drop(journal.map(|journal| journal.note("stop")));
    }
}

fn told_to_fail(settings: &Settings) -> String {
    let kind = if settings.fail_kind == ErrorKind::Fatal { "fatal" } else { "retriable" };
    format!("told to fail at record {} by blackhole.fail.at.record ({kind})", settings.fail_at)
}
