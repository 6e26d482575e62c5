//! Sources: connectors that bring records from somewhere else into Kafka, and what their tasks are given.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::config::Props;
use crate::connector::{Connector, TaskId};
use crate::copies::{CopyMetrics, Uncounted};
use crate::error::Result;
use crate::record::Record;

/// A source partition or a source offset: a map of primitives that only the connector understands. `{"filename": "a.txt"}` is a
/// partition, `{"position": 12}` an offset in it. Connect keeps both as JSON.
pub type SourceMap = serde_json::Map<String, serde_json::Value>;

/// A record of a source on its way to Kafka.
#[derive(Clone, Debug)]
pub struct SourceRecord {
    pub record: Record,
    /// Where it was read; `None` for a record that moves no offset.
    pub position: Option<SourcePosition>,
}

/// Where a source record was read, and how far the source is with it.
#[derive(Clone, Debug)]
pub struct SourcePosition {
    /// Shared by all records of the partition: give clones of one `Arc`, so that the worker need not compare maps.
    pub partition: Arc<SourceMap>,
    pub offset: SourceOffset,
}

/// How far a source is in a partition. Reading on from it gives the next record, and not the same again.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceOffset {
    /// One entry with a number, which costs nothing to make: most sources count something.
    Count(Arc<str>, i64),
    Map(SourceMap),
}

impl SourceOffset {
    /// As the worker keeps it.
    #[must_use]
    pub fn to_map(&self) -> SourceMap {
        match self {
            SourceOffset::Count(name, count) => [(name.to_string(), (*count).into())].into_iter().collect(),
            SourceOffset::Map(map) => map.clone(),
        }
    }
}

/// What a poll gave.
#[derive(Debug, Default)]
pub struct Polled {
    /// In order within each source partition.
    pub records: Vec<SourceRecord>,
    pub next: Next,
}

/// What to do after a poll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Next {
    /// Poll again at once.
    #[default]
    More,
    /// There is nothing more for now: poll again after this time.
    Wait(Duration),
    /// A bounded source has read everything. The task stays, idle, so that its connector goes on to be RUNNING as in Connect.
    Done,
}

/// A record that Kafka has acknowledged, or that needed no sending.
#[derive(Clone, Debug)]
pub struct Delivered {
    pub position: Option<SourcePosition>,
    /// Where Kafka keeps it: topic, partition, offset. `None` when a transform dropped it, or a failure was tolerated.
    pub kept: Option<(Arc<str>, i32, i64)>,
}

/// Whether a source can be exactly once (KIP-618).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExactlyOnceSupport {
    Supported,
    Unsupported,
}

/// A connector that brings records into Kafka.
#[crate::async_trait]
pub trait SourceConnector: Connector {
    /// Makes one task; called anew for each start.
    fn task(&self) -> Box<dyn SourceTask>;

    /// Whether it is exactly once with this configuration; `None`: it does not say, so that `exactly.once.support=required` refuses it.
    ///
    /// # Errors
    /// Any error refuses the configuration; the user sees its text.
    async fn exactly_once_support(&self, _config: &Props) -> Result<Option<ExactlyOnceSupport>> {
        Ok(None)
    }

    /// Whether its tasks can end transactions themselves (`transaction.boundary=connector`): see [`SourceContext::commit_transaction`].
    ///
    /// # Errors
    /// Any error refuses the configuration; the user sees its text.
    async fn can_define_transaction_boundaries(&self, _config: &Props) -> Result<bool> {
        Ok(false)
    }

    /// Hears that a user changes the offsets of the stopped connector, before the worker stores them: pairs of source partition and
    /// offset, `None` to forget it. A connector that keeps offsets of its own changes them here; one that cannot make sense of a
    /// partition or an offset refuses. Answers `true` when it knows that nothing else is to be done.
    ///
    /// # Errors
    /// Any error refuses the change; the user sees its text.
    async fn alter_offsets(&self, _config: &Props, _changes: &[(SourceMap, Option<SourceMap>)]) -> Result<bool> {
        Ok(false)
    }
}

/// Reads records. Calls never overlap: `start`, then `poll`s with `delivered` and `commit` between them, and at the end `stop`.
#[crate::async_trait]
pub trait SourceTask: Send {
    /// Called once, before anything else. Where to go on is asked of [`SourceContext::stored`].
    ///
    /// # Errors
    /// Any error fails the task.
    async fn start(&mut self, config: &Props, context: SourceContext) -> Result<()>;

    /// Reads what there is, in batches of a few thousand records at most.
    ///
    /// It may wait for the other side: when the task is paused, stopped or has offsets to store meanwhile, the call is dropped where it
    /// awaits and made again (or not). So await only where that leaves the task as it was: a record that was taken must not be lost with
    /// the call.
    ///
    /// # Errors
    /// `Retriable`: polled again, with back-off; any other error fails the task.
    async fn poll(&mut self) -> Result<Polled>;

    /// Whether [`delivered`](Self::delivered) is to be called; most tasks do not care, and the worker then need not keep books.
    fn wants_deliveries(&self) -> bool {
        false
    }

    /// Kafka has these records, or they were dropped or tolerated on the way; in the order in which they became so.
    ///
    /// # Errors
    /// Logged, as in Connect (`commitRecord`); the task goes on.
    async fn delivered(&mut self, _records: &[Delivered]) -> Result<()> {
        Ok(())
    }

    /// The offsets of all records up to some point are stored: for sources that acknowledge what they read.
    ///
    /// # Errors
    /// Logged, as in Connect; the task goes on.
    async fn commit(&mut self) -> Result<()> {
        Ok(())
    }

    /// Called once, last.
    async fn stop(&mut self) {}
}

/// Reads what the worker keeps of a connector's offsets.
#[crate::async_trait]
pub trait StoredOffsets: Send + Sync {
    /// The stored offset of each of these partitions, in their order.
    ///
    /// # Errors
    /// `Retriable` when the worker's storage is not reached in time.
    async fn stored(&self, partitions: &[SourceMap]) -> Result<Vec<Option<SourceMap>>>;
}

/// What a source task may ask of its worker.
#[derive(Clone)]
pub struct SourceContext {
    pub task: TaskId,
    /// For those who copy partitions of another Kafka cluster.
    pub copies: Arc<dyn CopyMetrics>,
    offsets: Arc<dyn StoredOffsets>,
    requests: Arc<Mutex<SourceRequests>>,
}

/// What a task has asked for since the worker looked last.
#[derive(Debug, Default)]
pub struct SourceRequests {
    /// Plan the connector's tasks anew.
    pub reconfigure: bool,
    /// With `transaction.boundary=connector`: where transactions end, in the order in which it was asked for.
    pub boundaries: Vec<TransactionBoundary>,
}

/// Where a connector ends a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionBoundary {
    pub end: TransactionEnd,
    /// Behind so many records of the poll; `None`: behind all of them.
    pub behind: Option<usize>,
}

/// How a transaction ends that a connector bounds itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionEnd {
    Commit,
    /// Offsets of its records are stored all the same, as in Connect.
    Abort,
}

impl SourceContext {
    /// A context for that task.
    #[must_use]
    pub fn new(task: TaskId, offsets: Arc<dyn StoredOffsets>) -> Self {
        Self { task, copies: Arc::new(Uncounted), offsets, requests: Arc::default() }
    }

    /// The same, with somebody who counts.
    #[must_use]
    pub fn counting(self, copies: Arc<dyn CopyMetrics>) -> Self {
        Self { copies, ..self }
    }

    /// The stored offset of each partition, in the same order.
    ///
    /// # Errors
    /// `Retriable` when the worker's storage is not reached in time.
    pub async fn stored(&self, partitions: &[SourceMap]) -> Result<Vec<Option<SourceMap>>> {
        self.offsets.stored(partitions).await
    }

    /// Has the connector plan its tasks anew, for instance because there is a new table. Tasks restart only if the plan differs.
    pub fn request_reconfiguration(&self) {
        self.lock().reconfigure = true;
    }

    /// With `transaction.boundary=connector`: commits the open transaction behind all records of this poll. Transactions may hold the
    /// records of several polls; what a connector has not ended when its task ends is aborted, and read again.
    ///
    /// Ask from `poll`, last thing before it returns: a poll that fails or is dropped where it waits has asked for nothing. To ask for both
    /// ends at one place fails the task, as in Connect.
    pub fn commit_transaction(&self) {
        self.end_transaction(TransactionEnd::Commit, None);
    }

    /// The same behind so many records of this poll, counted from its first; with 0 before all of them. To name more than the poll gives
    /// fails the task.
    pub fn commit_transaction_behind(&self, records: usize) {
        self.end_transaction(TransactionEnd::Commit, Some(records));
    }

    /// With `transaction.boundary=connector`: aborts the open transaction, with the records of this poll. See
    /// [`commit_transaction`](Self::commit_transaction).
    pub fn abort_transaction(&self) {
        self.end_transaction(TransactionEnd::Abort, None);
    }

    /// The same with the first so many records of this poll.
    pub fn abort_transaction_behind(&self, records: usize) {
        self.end_transaction(TransactionEnd::Abort, Some(records));
    }

    fn end_transaction(&self, end: TransactionEnd, behind: Option<usize>) {
        self.lock().boundaries.push(TransactionBoundary { end, behind });
    }

    /// Takes what was asked for; the worker calls it after each call into the task.
    #[must_use]
    pub fn take_requests(&self) -> SourceRequests {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, SourceRequests> {
        self.requests.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
