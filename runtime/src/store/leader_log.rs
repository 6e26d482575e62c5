//! The leader's way to append: in transactions, so that whoever led before is fenced.

use bytes::Bytes;
use penstock_api::Result;
use std::sync::Arc;

use super::event::Record;
use super::log::{Clients, Position};
use super::memory::Memory;
use crate::kafka::transactional::TRANSACTION_TIMEOUT;
use crate::kafka::{Outgoing, TransactionError, Transactional, settings};

/// Appends to topics of one partition, each call a transaction. Cheap to clone.
#[derive(Clone)]
pub struct LeaderLog {
    target: Target,
}

#[derive(Clone)]
enum Target {
    Kafka(Transactional),
    /// Of a standalone worker, which nobody fences.
    Memory(Memory),
}

impl Clients {
    /// Opens it, under the transactional id that Java's leader uses, too. From now on no earlier leader's records get in.
    ///
    /// # Errors
    /// `Config` when this principal may not use the transactional id.
    pub async fn leader_log(&self) -> Result<LeaderLog> {
        if let Some(memory) = &self.memory {
            return Ok(LeaderLog { target: Target::Memory(memory.clone()) });
        }
        let timeout_ms = TRANSACTION_TIMEOUT.as_millis().to_string();
        let id = format!("connect-cluster-{}", self.group);
        let own = [
            ("transactional.id", id.as_str()),
            ("transaction.timeout.ms", &timeout_ms),
            ("delivery.timeout.ms", &timeout_ms),
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("linger.ms", "0"),
            ("request.timeout.ms", "10000"),
        ];
        let settings = settings::producer("the leader of the cluster", &self.with(&own))?;
        Ok(LeaderLog { target: Target::Kafka(Transactional::open(settings).await?) })
    }
}

impl LeaderLog {
    /// Appends records in this order, all or none; answers where they stand.
    ///
    /// # Errors
    /// `Fenced`: another worker leads. `Failed`: they may be there all the same, unless the log is still open.
    pub async fn append(&self, records: Vec<(Arc<str>, Record)>) -> Result<Vec<Position>, TransactionError> {
        let producer = match &self.target {
            Target::Kafka(producer) => producer,
            Target::Memory(memory) => {
                let append = |(topic, record): (Arc<str>, Record)| memory.append(&topic, vec![record]);
                return Ok(records.into_iter().flat_map(append).collect());
            }
        };
        let outgoing = |(topic, record): (Arc<str>, Record)| Outgoing {
            topic,
            partition: Some(0),
            key: Some(Bytes::from(record.key)),
            value: record.value.map(Bytes::from),
            headers: Vec::new(),
            timestamp: None,
        };
        let written = producer.write(records.into_iter().map(outgoing).collect()).await?;
        Ok(written.into_iter().map(|at| Position { partition: at.partition, offset: at.offset }).collect())
    }

    /// Whether it can still append; if not, it must be opened anew.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match &self.target {
            Target::Kafka(producer) => producer.is_open(),
            Target::Memory(_) => true,
        }
    }
}
