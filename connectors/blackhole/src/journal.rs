//! What tasks did when, in a file that all processes share: for tests that measure silence, loss and what ran twice.

use penstock_api::{Error, Result, SinkRecord, TaskId};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

pub(crate) struct Journal {
    file: File,
    task: TaskId,
}

impl Journal {
    pub(crate) fn open(path: &Path, task: TaskId) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path);
        let file = file.map_err(|e| Error::config(format!("open blackhole.journal.path={}", path.display())).with_source(e))?;
        Ok(Self { file, task })
    }

    /// `start` or `stop`.
    pub(crate) fn note(&mut self, what: &str) -> Result<()> {
        let line = self.line(what);
        self.write(&line)
    }

    /// One line for each run of records of a partition.
    pub(crate) fn note_put(&mut self, records: &[SinkRecord]) -> Result<()> {
        let mut lines = String::new();
        let same = |a: &SinkRecord, b: &SinkRecord| {
            a.origin.partition == b.origin.partition && Arc::ptr_eq(&a.origin.topic, &b.origin.topic)
        };
        for run in records.chunk_by(same) {
            let (first, last) = (&run[0].origin, &run[run.len() - 1].origin);
            lines += &self.line(&format!("put {} {} {} {}", first.topic, first.partition, first.offset, last.offset));
        }
        self.write(&lines)
    }

    fn line(&self, what: &str) -> String {
        let now_ms = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis());
        let mut line = String::new();
        writeln!(line, "{now_ms} {} {} {what}", std::process::id(), self.task).expect("a text takes everything");
        line
    }

    /// In one write, which appends as a whole whoever else writes.
    fn write(&mut self, lines: &str) -> Result<()> {
        self.file.write_all(lines.as_bytes()).map_err(|e| Error::retriable("write the journal").with_source(e))
    }
}
