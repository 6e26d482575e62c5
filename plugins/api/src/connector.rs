//! Connectors plan the work, tasks do it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::config::Props;
use crate::error::{Error, Result};
use crate::record::{Origin, SinkRecord};

/// A partition of a Kafka topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// For each partition, the offset of the next record to deliver.
pub type Offsets = BTreeMap<TopicPartition, i64>;

/// For each partition that a user wants elsewhere, its new offset; `None`: as if nothing had been delivered yet.
pub type OffsetChanges = BTreeMap<TopicPartition, Option<i64>>;

/// A task of a connector, written `connector-0` as in Connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    pub connector: Arc<str>,
    pub task: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.connector, self.task)
    }
}

/// Plans the work of a connector: what sources and sinks share.
#[crate::async_trait]
pub trait Connector: Send + Sync {
    /// Checks what single keys cannot show, e.g. keys that exclude each other. Answers (key, message) pairs.
    ///
    /// Called with every validation, also for incomplete configurations; it must not reach out to the network for long.
    async fn validate(&self, _config: &Props) -> Vec<(String, String)> {
        Vec::new()
    }

    /// The configurations of at most `tasks_max` tasks. It may ask the other side, e.g. which tables there are.
    ///
    /// # Errors
    /// `Config` when the configuration makes no sense; the message names the key.
    async fn task_configs(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>>;

    /// Watches what the plan of the tasks depends on, while the connector is started: called after each plan, on one worker of the
    /// cluster. `Ok` has the tasks planned anew, which restarts them only if the plan differs.
    ///
    /// The call is dropped where it awaits when the connector is paused, stopped, changed or moved to another worker. By default it
    /// waits for that.
    ///
    /// # Errors
    /// Any error fails the connector, not its tasks: they go on.
    async fn watch(&self, _config: &Props) -> Result<()> {
        std::future::pending().await
    }
}

/// A connector that takes records from Kafka to somewhere else.
#[crate::async_trait]
pub trait SinkConnector: Connector {
    /// Makes one task; called anew for each start.
    fn task(&self) -> Box<dyn SinkTask>;

    /// Hears that a user changes the offsets of the stopped connector, before the worker changes its consumer group; a reset
    /// brings all partitions the group has committed. Called again with the same changes when the worker then fails.
    ///
    /// A connector that keeps offsets of its own changes them here, or refuses. Answers `true` when it knows that nothing else
    /// is to be done; with `false`, the default, the user is told to look after offsets kept elsewhere.
    ///
    /// # Errors
    /// Any error refuses the change; the user sees its text.
    async fn alter_offsets(&self, _config: &Props, _changes: &OffsetChanges) -> Result<bool> {
        Ok(false)
    }

    /// How many tasks the connector was given, and each like the connector: what most sinks want from `task_configs`.
    fn same_for_all(&self, config: &Props, tasks_max: u32) -> Vec<Props>
    where
        Self: Sized,
    {
        vec![config.clone(); tasks_max as usize]
    }
}

/// Delivers records. Calls never overlap: `start`, then for each assignment `open`, `put`s and `pre_commit`s, `flush`, a last
/// `pre_commit`, `close`, and at the end `stop`.
#[crate::async_trait]
pub trait SinkTask: Send {
    /// Called once, before anything else.
    ///
    /// # Errors
    /// Any error fails the task.
    async fn start(&mut self, config: &Props, context: SinkContext) -> Result<()>;

    /// Partitions were assigned. To start elsewhere than at the committed offset, ask [`SinkContext::seek`] for it.
    ///
    /// # Errors
    /// `Retriable` is tried again; any other error fails the task.
    async fn open(&mut self, _partitions: &[TopicPartition]) -> Result<()> {
        Ok(())
    }

    /// Takes a batch, possibly an empty one: called at least every [`PUT_INTERVAL_MAX`] so that time-based work gets done.
    ///
    /// # Errors
    /// `Retriable`: the same batch comes again after [`SinkContext::retry_after`]; any other error fails the task.
    async fn put(&mut self, records: &[SinkRecord]) -> Result<()>;

    /// What the worker calls: [`put`](Self::put) with a batch that may be held on to, for tasks that would copy it otherwise.
    ///
    /// # Errors
    /// As for it.
    async fn put_shared(&mut self, records: &Arc<Vec<SinkRecord>>) -> Result<()> {
        self.put(records).await
    }

    /// Answers which offsets are durable and may be committed. `put` holds, for each open partition, the offset behind the
    /// last record given to [`put`](Self::put). A partition left out is not committed.
    ///
    /// # Errors
    /// `Retriable`: nothing is committed this time; any other error fails the task.
    async fn pre_commit(&mut self, put: &Offsets) -> Result<Offsets> {
        Ok(put.clone())
    }

    /// Makes durable what was put for these partitions and is held back so far: they are about to be taken away, or the task is about
    /// to stop, or was paused. `pre_commit` comes next and answers how far that went. A task that collects rows until enough are
    /// there writes them now; one that holds nothing back has nothing to do.
    ///
    /// Whatever does not become durable is not committed and comes again, here or elsewhere: nothing is lost. So the worker waits
    /// no longer than `offset.flush.timeout.ms` (and half of `task.shutdown.graceful.timeout.ms` when the task stops), then it
    /// drops the call where it stands and goes on: await only where that leaves the task as it was.
    ///
    /// # Errors
    /// `Retriable`: the worker goes on without; any other error fails the task.
    async fn flush(&mut self, _partitions: &[TopicPartition]) -> Result<()> {
        Ok(())
    }

    /// Partitions are taken away; [`flush`](Self::flush) and [`pre_commit`](Self::pre_commit) were called before. With `lost` they already belong
    /// to somebody else, and were not: nothing may be committed any more.
    async fn close(&mut self, _partitions: &[TopicPartition], _lost: bool) {}

    /// Called once, last.
    async fn stop(&mut self) {}
}

/// The longest time between two calls of [`SinkTask::put`] while a task runs.
pub const PUT_INTERVAL_MAX: Duration = Duration::from_millis(500);

/// What a sink task may ask of its worker. Requests are served after the call in which they were made.
#[derive(Clone)]
pub struct SinkContext {
    pub task: TaskId,
    requests: Arc<Mutex<SinkRequests>>,
}

/// What a task has asked for since the worker looked last.
#[derive(Default)]
pub struct SinkRequests {
    /// Positions to read on from.
    pub seek: Offsets,
    /// Where the task would begin if a partition were opened now.
    pub begins: Offsets,
    /// Commit as soon as possible.
    pub commit: bool,
    /// How long to wait before a batch comes again.
    pub retry_after: Option<Duration>,
    /// Records the task could not deliver, with the reason (KIP-610).
    pub reports: Vec<(Origin, Error)>,
}

impl SinkContext {
    /// A context for that task.
    #[must_use]
    pub fn new(task: TaskId) -> Self {
        Self { task, requests: Arc::default() }
    }

    /// Reads a partition on from `offset`.
    pub fn seek(&self, partition: TopicPartition, offset: i64) {
        self.lock().seek.insert(partition, offset);
    }

    /// Says where reading would begin if the partition were opened now: for tasks that keep their offsets themselves and
    /// [`seek`](Self::seek) to them, to be said whenever these have moved. Behind it the worker remembers which records have their
    /// dead letter, also where the group has committed more (records that leave nothing behind move its offset, not the task's).
    pub fn begins_at(&self, partition: TopicPartition, offset: i64) {
        self.lock().begins.insert(partition, offset);
    }

    /// Asks for a commit soon, e.g. after a large flush.
    pub fn request_commit(&self) {
        self.lock().commit = true;
    }

    /// How long to wait before a batch that failed with `Retriable` comes again.
    pub fn retry_after(&self, wait: Duration) {
        self.lock().retry_after = Some(wait);
    }

    /// Reports a record that cannot be delivered while others can. The connector's `errors.tolerance` decides what
    /// happens: dead letter, log, or the task fails. To be said before `pre_commit` calls the record's offset durable.
    ///
    /// Its dead letter is safe when the next `put` or `flush` is called. A task that keeps its offsets itself, and begins behind them,
    /// must not advance them beyond the record before that: if the process died in between, nobody would report it again.
    pub fn report(&self, origin: Origin, error: Error) {
        self.lock().reports.push((origin, error));
    }

    /// Takes what was asked for; the worker calls it after each call into the task.
    #[must_use]
    pub fn take_requests(&self) -> SinkRequests {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, SinkRequests> {
        self.requests.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
