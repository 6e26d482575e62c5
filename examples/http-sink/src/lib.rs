//! `penstock.examples.HttpSink`: sends records to an HTTP endpoint, one by one or in batches.
//!
//! Each request has an idempotency key made of topic, partition and offsets, in a batch each record one of its own: it is the same over retries,
//! restarts and rebalances, so an endpoint that knows its keys takes each record once. Trouble of the endpoint (5xx, 408, 425, 429, a broken
//! connection) is waited out with back-off; a request that it refuses (other 4xx) is halved until the record that is at fault stands alone, which
//! then goes to the dead letters like those that a batch's answer lists, while the others pass; what only a person can mend ends the task.
//!
//! In reading order: the keys; what goes into a request; what an answer means; how long to wait; the task.

mod config;
mod batch;
mod verdict;
mod backoff;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use penstock_plugin::{
    Connector, Error, Grant, Props, Result, SinkClass, SinkConnector, SinkContext, SinkRecord, SinkTask, TopicPartition,
    async_trait, http, log,
};

use backoff::Backoff;
use batch::Entry;
use config::{Config, keys};
use verdict::Verdict;

/// So long a put waits by itself; for longer waits it asks the worker to come again, which leaves time for commits and for a stop.
const INLINE_WAIT: Duration = Duration::from_millis(400);
/// So long a put works: below what a worker lets one call wait for the network (`penstock.plugin.network.timeout.ms`, 30 s).
const PUT_MAX: Duration = Duration::from_secs(10);

struct HttpSink;

#[async_trait]
impl Connector for HttpSink {
    async fn validate(&self, config: &Props) -> Vec<(String, String)> {
        let Ok(parsed) = keys().parse(config) else { return Vec::new() };
        let wrong = Config::new(&parsed).err().map(|error| error.to_string());
        let key = |message: &str| {
            ["http.headers", "batch.max.records"].into_iter().find(|key| message.starts_with(key)).unwrap_or("http.url")
        };
        wrong.map(|message| (key(&message).to_owned(), message)).into_iter().collect()
    }

    async fn task_configs(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        Ok(self.same_for_all(config, tasks_max))
    }
}

impl SinkConnector for HttpSink {
    fn task(&self) -> Box<dyn SinkTask> {
        Box::new(HttpSinkTask { running: None })
    }
}

struct HttpSinkTask {
    running: Option<Running>,
}

struct Running {
    config: Config,
    context: SinkContext,
    backoff: Backoff,
    /// Of a put that has to come again: what needs no sending any more, as topic, partition and offset.
    settled: BTreeSet<Place>,
    /// Of the same: what can never be taken, and why. Reported when the put succeeds.
    refused: BTreeMap<Place, String>,
}

type Place = (String, i32, i64);

fn place(record: &SinkRecord) -> Place {
    (record.origin.topic.to_string(), record.origin.partition, record.origin.offset)
}

fn place_of(entry: &Entry) -> Place {
    (entry.topic.to_string(), entry.partition, entry.offset)
}

#[async_trait]
impl SinkTask for HttpSinkTask {
    async fn start(&mut self, config: &Props, context: SinkContext) -> Result<()> {
        let config = Config::new(&keys().parse(config)?)?.with_secrets();
        let backoff = Backoff::new(config.backoff_initial, config.backoff_max);
        self.running = Some(Running { config, context, backoff, settled: BTreeSet::new(), refused: BTreeMap::new() });
        Ok(())
    }

    async fn open(&mut self, _partitions: &[TopicPartition]) -> Result<()> {
        self.running.iter_mut().for_each(Running::forget);
        Ok(())
    }

    /// Sends everything: what this has returned `Ok` for is at the endpoint, or reported.
    async fn put(&mut self, records: &[SinkRecord]) -> Result<()> {
        let running = self.running.as_mut().ok_or_else(|| Error::fatal("not started"))?;
        if records.is_empty() {
            return Ok(());
        }
        let entries = running.entries(records);
        running.send_all(entries)?;
        for record in records {
            if let Some(why) = running.refused.remove(&place(record)) {
                running.context.report(record.origin.clone(), Error::data(why));
            }
        }
        running.forget();
        Ok(())
    }

    async fn close(&mut self, _partitions: &[TopicPartition], _lost: bool) {
        self.running.iter_mut().for_each(Running::forget);
    }
}

impl Running {
    fn forget(&mut self) {
        self.settled.clear();
        self.refused.clear();
    }

    /// What is still to be sent of a put.
    fn entries(&mut self, records: &[SinkRecord]) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(records.len());
        for record in records.iter().filter(|record| !self.settled.contains(&place(record))) {
            match Entry::of(record, self.config.key_field.as_deref()) {
                Ok(entry) => entries.extend(entry),
                Err(error) => {
                    self.refused.insert(place(record), format!("{error:#}"));
                }
            }
        }
        entries
    }

    fn send_all(&mut self, entries: Vec<Entry>) -> Result<()> {
        let (records_max, bytes_max) = (self.config.batch_records_max, self.config.batch_bytes_max);
        let mut to_send: VecDeque<Vec<Entry>> = batch::batches(entries, records_max, bytes_max).into();
        let (mut patience, began) = (INLINE_WAIT, Instant::now());
        while let Some(mut batch) = to_send.pop_front() {
            if began.elapsed() > PUT_MAX {
                return Err(Error::retriable(format!(
                    "{} is slow: the rest is sent when the worker comes again",
                    self.config.url
                )));
            }
            self.wait(&mut patience)?;
            match self.send(&batch) {
                Verdict::Taken(failures) => {
                    self.backoff.worked();
                    self.settled.extend(batch.iter().map(place_of));
                    self.refused.extend(failures.into_iter().map(|(index, why)| (place_of(&batch[index]), why)));
                }
                Verdict::Refused(why) => {
                    self.backoff.worked();
                    if batch.len() > 1 {
                        let second = batch.split_off(batch.len() / 2);
                        to_send.push_front(second);
                        to_send.push_front(batch);
                    } else {
                        self.settled.extend(batch.iter().map(place_of));
                        self.refused.extend(batch.iter().map(|entry| (place_of(entry), why.clone())));
                    }
                }
                Verdict::Later(why, asked) => {
                    self.trouble(&why, asked)?;
                    to_send.push_front(batch);
                }
                Verdict::Never(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Leaves the endpoint alone for as long as is due, or has the worker come again when that is long.
    fn wait(&self, patience: &mut Duration) -> Result<()> {
        let left = self.backoff.left(Instant::now());
        if left > *patience {
            return Err(Error::retriable(format!("{} is left alone for {} ms more", self.config.url, left.as_millis())));
        }
        *patience -= left;
        std::thread::sleep(left);
        Ok(())
    }

    fn trouble(&mut self, why: &str, asked: Option<Duration>) -> Result<()> {
        let now = Instant::now();
        self.backoff.failed(now, asked);
        let (failing, waiting) = (self.backoff.failing_for(now), self.backoff.left(now));
        match self.config.retry_timeout.filter(|timeout| failing >= *timeout) {
            Some(timeout) => Err(Error::fatal(format!("{why}; gave up after {} ms (retry.timeout.ms)", timeout.as_millis()))),
            None => {
                log::warn(&format!("{why}; trying again in {} ms", waiting.as_millis()));
                Ok(())
            }
        }
    }

    fn send(&self, batch: &[Entry]) -> Verdict {
        let config = &self.config;
        let is_array = config.batch_records_max > 1;
        let mut request = http::Request::new(&config.method, &config.url)
            .header("content-type", "application/json")
            .header(&config.key_header, batch::key(batch))
            .timeout(config.request_timeout);
        request = config.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        request.body = batch::body(batch, is_array).into_bytes();
        verdict::of(request.send(), config.errors_field.as_deref(), batch.len())
    }
}

fn classes() -> Vec<SinkClass> {
    let class = SinkClass::records("penstock.examples.HttpSink", env!("CARGO_PKG_VERSION"), keys(), || HttpSink);
    let class = class.wants(Grant::Hosts, "", "the host of http.url");
    vec![class.wants(Grant::Secrets, "", "what http.headers name as {secret:NAME}")]
}

penstock_plugin::export_sinks!(classes);

#[cfg(test)]
mod cases;
