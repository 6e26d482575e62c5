//! Leading: the right to write, and its loss.
//!
//! Invariant 3 is upheld here: configuration and assignments are written through [`Leadership::append`] alone, which writes
//! nothing without a transactional producer that no later leader has fenced; and a worker that is fenced has stopped leading
//! before anybody hears of it.

use std::sync::Arc;

use penstock_api::Error;
use tokio::sync::watch;

use crate::kafka::TransactionError;
use crate::store::event::Record;
use crate::store::{LeaderLog, Position};

/// Why nothing was written.
#[derive(Debug)]
pub enum NotWritten {
    /// This worker does not lead (any more): nothing of it is there.
    NotLeading,
    Failed(Error),
}

/// Whom requests for the leader are to go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody is known to lead, or this worker is about to.
    Unknown,
    Leading,
    /// Another worker leads; its URL.
    Following(Arc<str>),
}

/// What this worker writes with while it leads. Clones share it.
#[derive(Clone)]
pub struct Leadership {
    log: Arc<watch::Sender<Option<LeaderLog>>>,
}

impl Default for Leadership {
    fn default() -> Self {
        Self { log: Arc::new(watch::channel(None).0) }
    }
}

impl Leadership {
    /// Begins, with a log that is known to be the newest.
    pub fn begin(&self, log: LeaderLog) {
        self.log.send_replace(Some(log));
    }

    /// Ends; nothing is written from now on.
    pub fn end(&self) {
        self.log.send_replace(None);
    }

    #[must_use]
    pub fn is_held(&self) -> bool {
        self.log.borrow().is_some()
    }

    /// Completes when it is held, or not held, any more.
    pub async fn changed(&self, was_held: bool) {
        // The sender is alive as long as this is.
        drop(self.log.subscribe().wait_for(|log| log.is_some() != was_held).await);
    }

    /// Appends records to topics of one partition, in one transaction; answers where they stand.
    ///
    /// # Errors
    /// See [`NotWritten`].
    pub async fn append(&self, records: Vec<(Arc<str>, Record)>) -> Result<Vec<Position>, NotWritten> {
        let Some(log) = self.log.borrow().clone() else { return Err(NotWritten::NotLeading) };
        match log.append(records).await {
            Ok(positions) => Ok(positions),
            Err(TransactionError::Fenced) => {
                // Invariant 3: before anything else.
                self.end();
                tracing::warn!("another worker has taken the lead of the cluster; this one leads no more");
                Err(NotWritten::NotLeading)
            }
            Err(TransactionError::Failed(error)) => {
                if !log.is_open() {
                    self.end();
                }
                Err(NotWritten::Failed(error))
            }
        }
    }
}
