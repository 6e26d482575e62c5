//! Where one connector's source offsets are kept: its own topic, if it has one, and the worker's.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use penstock_api::{Result, SourceMap, StoredOffsets, async_trait};
use tokio::sync::Mutex;

use super::log::{Clients, Log, Read};
use super::offsets::{SourceOffset, SourceOffsets};
use super::topic::TopicSpec;

/// How long what was read may be answered from. Nobody else changes a connector's offsets while it runs, but tasks of its own.
const FRESH: Duration = Duration::from_secs(1);

/// A topic of offsets and what it takes to read and write it. Clones share the producer, which is made when it is needed first.
#[derive(Clone)]
pub struct OffsetTopic {
    clients: Clients,
    spec: Arc<TopicSpec>,
    log: Arc<OnceLock<Log>>,
    /// It is written in transactions: those of others may hide what is committed.
    is_transactional: bool,
}

/// The offsets of one connector. Clones share what was read.
#[derive(Clone)]
pub struct OffsetStore {
    connector: Arc<str>,
    /// Its own topic first, which goes before the worker's.
    topics: Vec<OffsetTopic>,
    read: Arc<Mutex<Option<(Instant, SourceOffsets)>>>,
}

impl OffsetTopic {
    /// A topic in the reach of these clients.
    #[must_use]
    pub fn new(clients: Clients, spec: TopicSpec, is_transactional: bool) -> Self {
        Self { clients, spec: Arc::new(spec), log: Arc::default(), is_transactional }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.topic.name
    }

    async fn append(&self, offsets: &[SourceOffset]) -> Result<()> {
        let log = match self.log.get() {
            Some(log) => log,
            None => {
                let log = self.clients.log()?;
                self.log.get_or_init(|| log)
            }
        };
        log.append(self.name(), offsets.iter().map(SourceOffset::record).collect()).await.map(drop)
    }

    async fn read_into(&self, connector: &str, offsets: &mut SourceOffsets) -> Result<()> {
        if self.is_transactional {
            self.clients.until_settled(self.name()).await?;
        }
        let mut reader = self.clients.reader(self.name()).await?;
        while let Read::Record { at, key, value } = reader.next().await {
            match SourceOffset::parse(&key, value.as_deref()) {
                Ok(record) if &*record.connector == connector => offsets.apply(record),
                Ok(_) => {}
                Err(why) => tracing::error!(topic = self.name(), %at, "skipped a record: {why}"),
            }
        }
        Ok(())
    }
}

impl OffsetStore {
    /// Of a connector with these topics, its own first.
    #[must_use]
    pub fn new(connector: Arc<str>, topics: Vec<OffsetTopic>) -> Self {
        Self { connector, topics, read: Arc::default() }
    }

    /// Makes the connector's own topic unless it is there. The worker's is made when the worker starts.
    ///
    /// # Errors
    /// `Config` when it cannot be used.
    pub async fn ensure(&self) -> Result<()> {
        match self.topics.as_slice() {
            [own, _worker, ..] => own.clients.ensure_topics(std::slice::from_ref(&own.spec)).await,
            _ => Ok(()),
        }
    }

    /// The topic that counts.
    #[must_use]
    pub fn primary(&self) -> &OffsetTopic {
        &self.topics[0]
    }

    /// All offsets of the connector, read to the end of the topics as it is now.
    ///
    /// # Errors
    /// `Config` when the client settings are wrong. Broken connections are waited out.
    pub async fn read(&self) -> Result<SourceOffsets> {
        let mut offsets = SourceOffsets::default();
        for topic in self.topics.iter().rev() {
            topic.read_into(&self.connector, &mut offsets).await?;
        }
        Ok(offsets)
    }

    /// Stores offsets. As in Java they are also written to the worker's topic behind the connector's own, so that the connector finds
    /// them should it give that up; there a failure is only logged. What is forgotten is forgotten there first.
    ///
    /// # Errors
    /// `Retriable` when one of them was not acknowledged.
    pub async fn write(&self, offsets: Vec<SourceOffset>) -> Result<()> {
        let [primary, others @ ..] = self.topics.as_slice() else { return Ok(()) };
        let forgotten: Vec<SourceOffset> = offsets.iter().filter(|offset| offset.offset.is_none()).cloned().collect();
        if !forgotten.is_empty() {
            for topic in others {
                topic.append(&forgotten).await?;
            }
        }
        primary.append(&offsets).await?;
        let kept: Vec<SourceOffset> = offsets.into_iter().filter(|offset| offset.offset.is_some()).collect();
        self.write_behind(&kept).await;
        Ok(())
    }

    /// Writes what the connector's own topic holds already to the worker's.
    pub async fn write_behind(&self, offsets: &[SourceOffset]) {
        if offsets.is_empty() {
            return;
        }
        for topic in &self.topics[1..] {
            if let Err(error) = topic.append(offsets).await {
                let (own, workers) = (self.primary().name(), topic.name());
                tracing::warn!("offsets are stored in {own}, and could not be written to {workers} as well: {error:#}");
            }
        }
    }
}

#[async_trait]
impl StoredOffsets for OffsetStore {
    async fn stored(&self, partitions: &[SourceMap]) -> Result<Vec<Option<SourceMap>>> {
        let mut read = self.read.lock().await;
        if read.as_ref().is_none_or(|(at, _)| at.elapsed() >= FRESH) {
            *read = None;
        }
        let offsets = match read.take() {
            Some(known) => known,
            None => (Instant::now(), self.read().await?),
        };
        let (_, known) = read.insert(offsets);
        Ok(partitions.iter().map(|partition| known.get(&self.connector, partition).cloned()).collect())
    }
}
