//! Exactly-once sources (KIP-618): where a transaction begins and ends, and what stands in it.
//!
//! A transaction holds records and, at its end, the offsets behind them: both are seen, or neither. Whoever starts a task begins under the
//! task's transactional id, which fences the one before; and before that the leader has fenced all tasks of older generations, whose
//! records might be the same (invariant 4).

use futures::future::BoxFuture;
use penstock_api::{Bytes, Result, TransactionEnd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Boundary;
use crate::kafka::{Outgoing, StreamProducer};
use crate::store::OffsetStore;
use crate::store::offsets::SourceOffset;

/// What makes a source task exactly once.
#[derive(Clone)]
pub struct ExactlyOnce {
    /// `GROUP-CONNECTOR-TASK`, as in Java.
    pub transactional_id: String,
    pub fence: Fence,
}

/// Has the leader fence all tasks of older generations, and answers only if this task is of the newest.
pub type Fence = Arc<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// The number of offsets among the outcomes of a producer: they fail with their transaction.
pub(super) const OFFSETS: usize = usize::MAX;
/// A commit that takes longer has failed. Brokers abort what is open for longer than `transaction.timeout.ms`.
pub(super) const COMMIT_TIMEOUT: Duration = Duration::from_secs(60);
/// How soon an offset is offered again to a full queue.
const FULL_RETRY: Duration = Duration::from_millis(5);

/// The transactions of one task, one after the other.
pub(super) struct Transactions {
    pub(super) boundary: Boundary,
    /// Records were sent in it.
    pub(super) is_open: bool,
    /// Since when there is something to commit.
    since: Option<Instant>,
    pub(super) records: usize,
    /// It is to end when all that was sent is acknowledged.
    pub(super) ending: Option<TransactionEnd>,
    pub(super) committing: Option<Committing>,
}

/// A transaction that ends.
pub(super) struct Committing {
    pub(super) records: usize,
    pub(super) began: Instant,
    pub(super) done: BoxFuture<'static, Result<()>>,
}

impl Transactions {
    pub(super) fn new(boundary: Boundary) -> Self {
        Self { boundary, is_open: false, since: None, records: 0, ending: None, committing: None }
    }

    /// Whether nothing has to wait for the end of one.
    pub(super) fn is_idle(&self) -> bool {
        self.ending.is_none() && self.committing.is_none()
    }

    /// A batch that became so many records is about to be sent; opens a transaction for it if none is.
    /// With `end` it ends behind them.
    pub(super) fn add(&mut self, records: usize, end: Option<TransactionEnd>, producer: &StreamProducer) -> Result<()> {
        self.since.get_or_insert_with(Instant::now);
        if records > 0 && !self.is_open {
            producer.begin()?;
            self.is_open = true;
        }
        self.records += records;
        let end = if self.boundary == Boundary::Poll { Some(TransactionEnd::Commit) } else { end };
        self.ending = end.or(self.ending);
        Ok(())
    }

    /// When its time is over, if it ends by time.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match (self.boundary, self.since) {
            (Boundary::Interval(interval), Some(since)) if self.is_idle() => Some(since + interval),
            _ => None,
        }
    }

    /// Ends it if its time is over.
    pub(super) fn look_at_the_clock(&mut self) {
        if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            self.ending = Some(TransactionEnd::Commit);
        }
    }

    /// Ends it, everything sent being acknowledged: aborts it if that is wanted, then commits these offsets. As in Java offsets of
    /// aborted records are stored all the same, or they would be read for ever.
    pub(super) fn end(
        &mut self,
        end: TransactionEnd,
        offsets: Vec<SourceOffset>,
        producer: &StreamProducer,
        store: &OffsetStore,
    ) {
        let is_aborted = end == TransactionEnd::Abort && self.is_open;
        let is_open = self.is_open && !is_aborted;
        let (producer, store) = (producer.clone(), store.clone());
        let done = async move {
            if is_aborted {
                producer.abort(COMMIT_TIMEOUT).await?;
            }
            if !is_open {
                producer.begin()?;
            }
            for offset in &offsets {
                let record = outgoing(store.primary().name().into(), offset);
                while !producer.sending().try_send(OFFSETS, &record)? {
                    tokio::time::sleep(FULL_RETRY).await;
                }
            }
            producer.commit(COMMIT_TIMEOUT).await?;
            store.write_behind(&offsets).await;
            Ok(())
        };
        self.committing =
            Some(Committing { records: if is_aborted { 0 } else { self.records }, began: Instant::now(), done: Box::pin(done) });
        self.ending = None;
        self.is_open = false;
        self.since = None;
        self.records = 0;
    }

    /// There was nothing to commit.
    pub(super) fn nothing_to_end(&mut self) {
        self.ending = None;
        self.since = None;
    }
}

fn outgoing(topic: Arc<str>, offset: &SourceOffset) -> Outgoing {
    let record = offset.record();
    Outgoing {
        topic,
        partition: None,
        key: Some(Bytes::from(record.key)),
        value: record.value.map(Bytes::from),
        headers: Vec::new(),
        timestamp: None,
    }
}

/// The outcome of the transaction that ends; waits for ever when none does.
pub(super) async fn committed(transactions: &mut Option<Transactions>) -> Result<()> {
    match transactions.as_mut().and_then(|transactions| transactions.committing.as_mut()) {
        Some(committing) => (&mut committing.done).await,
        None => std::future::pending().await,
    }
}
