//! A producer for streams of records: nothing waits for single ones, and what has become of them is told in batches, by number.

use bytes::Bytes;
use penstock_api::record::RawHeader;
use penstock_api::{Error, Result};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

use super::producer::{Delivered, Outgoing, Told, delivery_error, owned_headers};
use super::settings::ProducerSettings;

/// Sends records off without waiting. What becomes of them is asked for by [`take`](Self::take).
pub struct StreamProducer {
    who: String,
    inner: Arc<ThreadedProducer<Outcomes>>,
}

/// What has become of the record that was sent under a number.
#[derive(Debug)]
pub struct Outcome {
    pub number: usize,
    pub topic: Arc<str>,
    pub result: std::result::Result<Delivered, Box<Undelivered>>,
}

/// A record that Kafka has refused, or that librdkafka has given up.
#[derive(Debug)]
pub struct Undelivered {
    pub error: Error,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<RawHeader>,
    pub timestamp: Option<i64>,
}

/// How long the producer may take to let go of what is left in it.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

impl StreamProducer {
    /// A producer; it connects when it sends first.
    ///
    /// # Errors
    /// `Config` when librdkafka refuses the settings.
    pub fn new(settings: ProducerSettings) -> Result<Self> {
        let context =
            Outcomes { who: settings.who.clone(), told: Told::new(&settings.who), noted: Mutex::default(), news: Notify::new() };
        let inner = settings
            .client
            .create_with_context(context)
            .map_err(|e| Error::config(format!("start a Kafka producer for {}", settings.who)).with_source(e))?;
        Ok(Self { who: settings.who, inner: Arc::new(inner) })
    }

    /// Sends a record off; `false` when there is no room for it now (`buffer.memory`): wait for [`news`](Self::news) and try again.
    ///
    /// # Errors
    /// As it is told of records that were sent: `Data` when it is too large.
    pub fn try_send(&self, number: usize, record: &Outgoing) -> Result<bool> {
        let mut new = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&record.topic, number);
        new.partition = record.partition;
        new.key = record.key.as_deref();
        new.payload = record.value.as_deref();
        new.timestamp = record.timestamp;
        new.headers = owned_headers(&record.headers);
        match self.inner.send(new) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(Code::QueueFull), _)) => Ok(false),
            Err((error, _)) => Err(delivery_error(&self.who, &record.topic, error)),
        }
    }

    /// All outcomes since it was asked last, in the order in which they came.
    pub fn take(&self) -> Vec<Outcome> {
        std::mem::take(&mut *self.inner.context().lock())
    }

    /// Waits until there are outcomes. May be dropped while waiting; may come back although there are none.
    pub async fn news(&self) {
        self.inner.context().news.notified().await;
    }

    /// Ends it; what is not acknowledged is given up.
    pub async fn close(self) {
        let inner = self.inner;
        let ended = tokio::task::spawn_blocking(move || {
            inner.purge(PurgeConfig::default().queue().inflight());
            if let Err(error) = inner.flush(CLOSE_TIMEOUT) {
                tracing::debug!("a producer closes with records under way: {error}");
            }
        });
        if let Err(panicked) = ended.await {
            tracing::error!("closing a producer: {panicked}");
        }
    }
}

/// Notes what becomes of each record, on the client's thread.
struct Outcomes {
    who: String,
    told: Told,
    /// Bounded by what librdkafka holds at most: whoever sends takes outcomes before there is room for more.
    noted: Mutex<Vec<Outcome>>,
    news: Notify,
}

impl Outcomes {
    fn lock(&self) -> MutexGuard<'_, Vec<Outcome>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Outcomes {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.told.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.told.error(error, reason);
    }
}

impl ProducerContext for Outcomes {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let (message, result) = match result {
            Ok(message) => (message, Ok(Delivered { partition: message.partition(), offset: message.offset() })),
            Err((error, message)) => (message, Err(Box::new(undelivered(&self.who, error, message)))),
        };
        let mut noted = self.lock();
        let is_first = noted.is_empty();
        // Most records of a batch go to one topic.
        let topic = match noted.last() {
            Some(last) if *last.topic == *message.topic() => last.topic.clone(),
            _ => message.topic().into(),
        };
        noted.push(Outcome { number, topic, result });
        drop(noted);
        if is_first {
            self.news.notify_one();
        }
    }
}

fn undelivered(who: &str, error: &KafkaError, message: &BorrowedMessage<'_>) -> Undelivered {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Undelivered {
        error: delivery_error(who, message.topic(), error.clone()),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers: headers
            .map(|header| RawHeader { key: header.key.into(), value: header.value.map(Bytes::copy_from_slice) })
            .collect(),
        timestamp: message.timestamp().to_millis(),
    }
}
