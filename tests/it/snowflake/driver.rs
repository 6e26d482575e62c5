//! A worker in small: feeds one task from a log in memory, as the sink road does, so that a test can stop it anywhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use penstock_api::payload::Format;
use penstock_api::registry::Constructor;
use penstock_api::{
    ErrorKind, Headers, Offsets, Origin, Payload, Props, RawRecord, Record, SinkContext, SinkRecord, SinkTask, TaskId,
    TimestampType, TopicPartition,
};

/// Topics in memory; cheap to copy, all copies see the same.
#[derive(Clone, Default)]
pub(super) struct Log {
    partitions: Arc<Mutex<BTreeMap<TopicPartition, Vec<RawRecord>>>>,
}

pub(super) fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

impl Log {
    /// Appends a value, JSON or nothing, at the next offset.
    pub(super) fn append(&self, at: &TopicPartition, value: Option<&str>) {
        let next = self.lock().get(at).and_then(|log| log.last()).map_or(0, |last| last.offset + 1);
        self.append_at(at, next, value);
    }

    /// Appends at an offset: logs have gaps, where transactions end or compaction has been.
    pub(super) fn append_at(&self, at: &TopicPartition, offset: i64, value: Option<&str>) {
        let record = RawRecord {
            topic: at.topic.clone(),
            partition: at.partition,
            offset,
            timestamp: Some(1_700_000_000_000 + offset),
            timestamp_type: TimestampType::CreateTime,
            key: Some(Bytes::from(format!("k{offset}"))),
            value: value.map(|text| Bytes::from(text.to_owned())),
            headers: None,
        };
        self.lock().entry(at.clone()).or_default().push(record);
    }

    pub(super) fn clear(&self, at: &TopicPartition) {
        self.lock().remove(at);
    }

    /// The offset behind the last record.
    pub(super) fn end(&self, at: &TopicPartition) -> i64 {
        self.lock().get(at).and_then(|log| log.last()).map_or(0, |last| last.offset + 1)
    }

    /// How many records there are.
    pub(super) fn len(&self, at: &TopicPartition) -> usize {
        self.lock().get(at).map_or(0, Vec::len)
    }

    fn read(&self, at: &TopicPartition, from: i64, max: usize) -> Vec<RawRecord> {
        let log = self.lock();
        log.get(at).into_iter().flatten().filter(|r| r.offset >= from).take(max).cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<TopicPartition, Vec<RawRecord>>> {
        self.partitions.lock().expect("no test panics with the log")
    }
}

/// A task with its consumer. Dropping it is `kill -9`: nothing is closed, nothing is told to anybody.
pub(super) struct Driver {
    pub(super) committed: Offsets,
    /// Offsets that were reported, with the reason.
    pub(super) reports: Vec<(i64, String)>,
    log: Log,
    task: Box<dyn SinkTask>,
    context: SinkContext,
    positions: Offsets,
    put: Offsets,
    batch_max: usize,
}

impl Driver {
    /// Starts a task and opens the partitions at their committed offsets.
    pub(super) async fn start(config: &Props, log: &Log, committed: &Offsets) -> penstock_api::Result<Self> {
        let Constructor::Sink(construct) = penstock_snowflake::plugin().construct else { panic!("the plugin is a sink") };
        let mut task = construct().task();
        let connector = config.get("name").map_or("test", String::as_str);
        let context = SinkContext::new(TaskId { connector: connector.into(), task: 0 });
        task.start(config, context.clone()).await?;
        let partitions: Vec<TopicPartition> = committed.keys().cloned().collect();
        let began = Instant::now();
        while let Err(error) = task.open(&partitions).await {
            if error.kind() != ErrorKind::Retriable || began.elapsed() > Duration::from_secs(90) {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut driver = Self {
            committed: committed.clone(),
            reports: Vec::new(),
            log: log.clone(),
            task,
            context,
            positions: committed.clone(),
            put: committed.clone(),
            batch_max: 100,
        };
        driver.serve();
        Ok(driver)
    }

    pub(super) fn batch_max(mut self, batch_max: usize) -> Self {
        self.batch_max = batch_max;
        self
    }

    /// One round: fetch, put until it is taken, commit what is safe.
    pub(super) async fn step(&mut self) -> Result<()> {
        let mut raws = Vec::new();
        for (at, position) in &mut self.positions {
            let read = self.log.read(at, *position, self.batch_max);
            if let Some(last) = read.last() {
                *position = last.offset + 1;
            }
            raws.extend(read);
        }
        let raws = Arc::new(raws);
        let records: Vec<SinkRecord> = (0..raws.len()).map(|index| converted(Origin::new(raws.clone(), index))).collect();
        loop {
            let outcome = self.task.put(&records).await;
            let seeks_before = self.positions.clone();
            let wait = self.serve();
            match outcome {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::Retriable => {
                    assert_eq!(self.positions, seeks_before, "a put that is to come again must not send partitions back");
                    tokio::time::sleep(wait.unwrap_or_default().max(Duration::from_millis(5))).await;
                }
                Err(error) => bail!("{error:#}"),
            }
        }
        for (at, position) in &self.positions {
            self.put.insert(at.clone(), *position);
        }
        for (at, offset) in self.task.pre_commit(&self.put).await.map_err(|e| anyhow::anyhow!("{e:#}"))? {
            assert!(offset <= self.put[&at], "{at}: {offset} is safe, but only {} was put", self.put[&at]);
            self.committed.insert(at, offset);
        }
        // As a worker waits for its consumer: loads get their turn.
        tokio::time::sleep(Duration::from_millis(2)).await;
        Ok(())
    }

    /// Rounds until all of the log is committed.
    pub(super) async fn drain(&mut self, limit: Duration) -> Result<()> {
        let began = Instant::now();
        while self.committed.iter().any(|(at, committed)| *committed < self.log.end(at)) {
            self.step().await?;
            if began.elapsed() > limit {
                bail!("not committed within {limit:?}: {:?}", self.committed);
            }
        }
        Ok(())
    }

    /// Reads on from another offset, as a reset policy would.
    pub(super) fn send_back(&mut self, at: &TopicPartition, offset: i64) {
        self.positions.insert(at.clone(), offset);
    }

    /// Stops as a worker does that is told to.
    pub(super) async fn stop(mut self) -> Offsets {
        let partitions: Vec<TopicPartition> = self.committed.keys().cloned().collect();
        self.task.close(&partitions, false).await;
        self.task.stop().await;
        self.committed
    }

    fn serve(&mut self) -> Option<Duration> {
        let requests = self.context.take_requests();
        self.reports.extend(requests.reports.into_iter().map(|(origin, error)| (origin.offset, format!("{error:#}"))));
        self.positions.extend(requests.seek);
        requests.retry_after
    }
}

/// With a string key and a JSON value, as the converters would leave them.
fn converted(origin: Origin) -> SinkRecord {
    let payload = |bytes: &Option<Bytes>, format: Format| {
        bytes.as_ref().map_or_else(Payload::null, |bytes| Payload::encoded(bytes.clone(), format))
    };
    let record = Record {
        topic: origin.topic.clone(),
        partition: Some(origin.partition),
        offset: Some(origin.offset),
        key: payload(&origin.key, Format::String),
        value: payload(&origin.value, Format::Json),
        headers: Headers::new(),
        timestamp: origin.timestamp,
    };
    SinkRecord { record, timestamp_type: origin.timestamp_type, origin }
}

/// Starts a task that is expected to refuse, and answers its words.
pub(super) async fn refusal(config: &Props, log: &Log, committed: &Offsets) -> Result<String> {
    let outcome = async {
        let mut driver = Driver::start(config, log, committed).await.map_err(|e| anyhow::anyhow!("{:?} {e:#}", e.kind()))?;
        driver.drain(Duration::from_secs(20)).await
    };
    Ok(outcome.await.err().context("the task was content")?.to_string())
}
