//! What a guest says: its log lines and its output, at a bounded rate, with connector and task beside it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::contract::log::Level;
use crate::contract::{MESSAGE_BYTES_MAX, cut};

/// Lines that may come at once.
const BURST_LINES: f64 = 100.0;
/// Lines a second that may come for ever.
const LINES_PER_SECOND: f64 = 10.0;
const FIELDS_MAX: usize = 16;
/// What is kept of stderr to explain a trap.
const LAST_WORDS_BYTES: usize = 1024;

/// For whom an instance works.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owner {
    pub connector: Arc<str>,
    pub task: u32,
    pub alias: Arc<str>,
    pub class: Arc<str>,
    /// Of the component, for messages; empty where they name it anyway.
    pub file: Arc<str>,
}

/// The log of one task's plugin; clones share it.
#[derive(Clone)]
pub(crate) struct GuestLog(Arc<Mutex<Inner>>);

struct Inner {
    owner: Owner,
    allowance: f64,
    filled: Instant,
    left_out: u64,
    last_words: VecDeque<u8>,
}

impl GuestLog {
    pub(crate) fn new(owner: Owner) -> Self {
        let inner = Inner { owner, allowance: BURST_LINES, filled: Instant::now(), left_out: 0, last_words: VecDeque::new() };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// Writes a line, unless too many came before it.
    pub(crate) fn line(&self, level: Level, message: &str, fields: &[(String, String)]) {
        let mut inner = self.lock();
        if !inner.may_write() {
            inner.left_out += 1;
            return;
        }
        let left_out = std::mem::take(&mut inner.left_out);
        let mut text = cut(message.to_owned(), MESSAGE_BYTES_MAX);
        for (name, value) in fields.iter().take(FIELDS_MAX) {
            text.push_str(&cut(format!(" {name}={value}"), 256));
        }
        // What a guest writes must not look like lines of the worker.
        let text = text.trim_end().replace(['\n', '\r'], " | ");
        let Owner { connector, task, alias, class, .. } = &inner.owner;
        if left_out > 0 {
            tracing::warn!(target: "penstock::plugin", %connector, task, %alias, %class, left_out, "the plugin writes too much: lines were left out");
        }
        match level {
            Level::Trace => tracing::trace!(target: "penstock::plugin", %connector, task, %alias, %class, "{text}"),
            Level::Debug => tracing::debug!(target: "penstock::plugin", %connector, task, %alias, %class, "{text}"),
            Level::Info => tracing::info!(target: "penstock::plugin", %connector, task, %alias, %class, "{text}"),
            Level::Warn => tracing::warn!(target: "penstock::plugin", %connector, task, %alias, %class, "{text}"),
            Level::Error => tracing::error!(target: "penstock::plugin", %connector, task, %alias, %class, "{text}"),
        }
    }

    /// What came on stderr since the last call of this, as one line.
    pub(crate) fn take_last_words(&self) -> String {
        let words: Vec<u8> = self.lock().last_words.drain(..).collect();
        let text = String::from_utf8_lossy(&words);
        let lines =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("note: run with `RUST_BACKTRACE"));
        lines.collect::<Vec<_>>().join(" ")
    }

    /// The component's file.
    pub(crate) fn file(&self) -> Arc<str> {
        self.lock().owner.file.clone()
    }

    fn output(&self, stream: Stream, bytes: &[u8]) {
        if stream == Stream::Stderr {
            let mut inner = self.lock();
            inner.last_words.extend(&bytes[bytes.len().saturating_sub(LAST_WORDS_BYTES)..]);
            let excess = inner.last_words.len().saturating_sub(LAST_WORDS_BYTES);
            inner.last_words.drain(..excess);
        }
        let bytes = &bytes[..bytes.len().min(MESSAGE_BYTES_MAX)];
        let text = String::from_utf8_lossy(bytes);
        if !text.trim().is_empty() {
            self.line(if stream == Stream::Stdout { Level::Info } else { Level::Warn }, &text, &[]);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Where the guest's stdout goes.
    pub(crate) fn stdout(&self) -> Output {
        Output { log: self.clone(), stream: Stream::Stdout }
    }

    /// Where the guest's stderr goes.
    pub(crate) fn stderr(&self) -> Output {
        Output { log: self.clone(), stream: Stream::Stderr }
    }
}

impl Inner {
    fn may_write(&mut self) -> bool {
        let now = Instant::now();
        let earned = now.duration_since(self.filled).as_secs_f64() * LINES_PER_SECOND;
        self.allowance = (self.allowance + earned).min(BURST_LINES);
        self.filled = now;
        if self.allowance < 1.0 {
            return false;
        }
        self.allowance -= 1.0;
        true
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

/// A stream of a guest that ends in its log. Written through at once, so that the last words before a trap are there.
#[derive(Clone)]
pub(crate) struct Output {
    log: GuestLog,
    stream: Stream,
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.log.output(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.log.output(self.stream, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_the_last_and_one_line() {
        let log = GuestLog::new(Owner::default());
        log.output(Stream::Stderr, &[b'x'; 5000]);
        log.output(
            Stream::Stderr,
            b"\nthread 'main' panicked at src/lib.rs:1:1:\nno such row\nnote: run with `RUST_BACKTRACE=1` ...\n",
        );
        let words = log.take_last_words();
        assert!(words.ends_with("x thread 'main' panicked at src/lib.rs:1:1: no such row"), "{words}");
        assert!(words.len() <= LAST_WORDS_BYTES);
        assert_eq!(log.take_last_words(), "");
    }

    #[test]
    fn a_flood_is_cut() {
        let log = GuestLog::new(Owner::default());
        for _ in 0..1000 {
            log.line(Level::Trace, "again", &[]);
        }
        assert!(log.lock().left_out >= 800);
    }
}
