//! A producer for dead letters and internal topics: bounded, in order, with an acknowledgement for each record.

use bytes::Bytes;
use penstock_api::record::RawHeader;
use penstock_api::{Error, Result};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::Producer as _;
use rdkafka::producer::future_producer::{DeliveryFuture, FutureProducer, FutureRecord};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

use super::settings::ProducerSettings;
use super::trouble::{self, Trouble};

/// A record to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub topic: Arc<str>,
    /// `None` lets the partitioner choose, by the key.
    pub partition: Option<i32>,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<RawHeader>,
    /// Milliseconds since 1970-01-01T00:00Z; `None` means now.
    pub timestamp: Option<i64>,
}

/// Where an acknowledged record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub partition: i32,
    pub offset: i64,
}

/// Clones share one connection and one queue.
#[derive(Clone)]
pub struct Producer {
    who: Arc<str>,
    inner: FutureProducer<Told>,
    max_block: Duration,
}

/// How soon a record is offered again to a full queue.
const FULL_RETRY: Duration = Duration::from_millis(5);

impl Producer {
    /// A producer; it connects when it sends first.
    ///
    /// # Errors
    /// `Config` when librdkafka refuses the settings.
    pub fn new(settings: ProducerSettings) -> Result<Self> {
        let inner = settings
            .client
            .create_with_context(Told::new(&settings.who))
            .map_err(|e| Error::config(format!("start a Kafka producer for {}", settings.who)).with_source(e))?;
        Ok(Self { who: settings.who.into(), inner, max_block: settings.max_block })
    }

    /// Sends a record off. Waits while the queue is full (`buffer.memory`), at most `max.block.ms`.
    ///
    /// # Errors
    /// `Retriable` when there was no room in time, `Data` when the record is too large.
    pub async fn send(&self, record: &Outgoing) -> Result<Ack> {
        let deadline = Instant::now().checked_add(self.max_block);
        loop {
            match self.inner.send_result(future_record(record)) {
                Ok(waiting) => return Ok(Ack { who: self.who.clone(), topic: record.topic.clone(), waiting }),
                Err((KafkaError::MessageProduction(Code::QueueFull), _)) if deadline.is_none_or(|d| Instant::now() < d) => {
                    tokio::time::sleep(FULL_RETRY).await;
                }
                Err((error, _)) => return Err(delivery_error(&self.who, &record.topic, error)),
            }
        }
    }

    /// Sends all, in order, and waits for all acknowledgements.
    pub async fn send_all(&self, records: &[Outgoing]) -> Vec<Result<Delivered>> {
        let mut waiting = Vec::with_capacity(records.len());
        for record in records {
            waiting.push(self.send(record).await);
        }
        let mut outcomes = Vec::with_capacity(records.len());
        for ack in waiting {
            outcomes.push(match ack {
                Ok(ack) => ack.await,
                Err(error) => Err(error),
            });
        }
        outcomes
    }

    /// Waits until everything sent is acknowledged or has failed.
    ///
    /// # Errors
    /// `Retriable` when that takes longer than `timeout`.
    pub async fn flush(&self, timeout: Duration) -> Result<()> {
        let inner = self.inner.clone();
        let error = || Error::retriable(format!("flush the producer of {}", self.who));
        match tokio::task::spawn_blocking(move || inner.flush(timeout)).await {
            Ok(outcome) => outcome.map_err(|e| error().with_source(e)),
            Err(e) => Err(error().with_source(e)),
        }
    }

    /// How many records wait for their acknowledgement.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.inner.in_flight_count()).unwrap_or(0)
    }
}

/// The acknowledgement of one record.
pub struct Ack {
    who: Arc<str>,
    topic: Arc<str>,
    waiting: DeliveryFuture,
}

impl Future for Ack {
    type Output = Result<Delivered>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.waiting).poll(context));
        Poll::Ready(match outcome {
            Ok(Ok(delivery)) => Ok(Delivered { partition: delivery.partition, offset: delivery.offset }),
            Ok(Err((error, _))) => Err(delivery_error(&self.who, &self.topic, error)),
            Err(_) => Err(Error::retriable(format!("send to {}: the producer of {} has stopped", self.topic, self.who))),
        })
    }
}

/// `None` when there are none.
pub(super) fn owned_headers(headers: &[RawHeader]) -> Option<OwnedHeaders> {
    (!headers.is_empty()).then(|| {
        let header =
            |h: OwnedHeaders, (key, value): (&str, Option<&Bytes>)| h.insert(Header { key, value: value.map(AsRef::as_ref) });
        let all = headers.iter().map(|h| (h.key.as_str(), h.value.as_ref()));
        all.fold(OwnedHeaders::new_with_capacity(headers.len()), header)
    })
}

fn future_record(record: &Outgoing) -> FutureRecord<'_, [u8], [u8]> {
    FutureRecord {
        topic: &record.topic,
        partition: record.partition,
        payload: record.value.as_deref(),
        key: record.key.as_deref(),
        timestamp: record.timestamp,
        headers: owned_headers(&record.headers),
    }
}

/// What an undelivered record means to whoever sent it.
pub(super) fn delivery_error(who: &str, topic: &str, error: KafkaError) -> Error {
    let what = format!("send to {topic} for {who}");
    let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
            Error::data(format!("{what}: the record is larger than max.request.size or the topic's max.message.bytes allow"))
                .with_source(error)
        }
        Code::TopicAuthorizationFailed => {
            Error::config(format!("{what}: not allowed; grant WRITE on the topic to this principal")).with_source(error)
        }
        Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition => {
            Error::retriable(format!("{what}: there is no such topic or partition; create it")).with_source(error)
        }
        _ => trouble::of_request(code, &error.to_string(), &what),
    }
}

/// Where a producer's or an admin client's own words go.
#[derive(Clone)]
pub(super) struct Told {
    who: String,
    /// In which the client was made: its lines belong there, too.
    span: tracing::Span,
    /// Why a broker could not be reached, last; empty when that has not happened.
    reason: Arc<Mutex<String>>,
}

impl Told {
    pub(super) fn new(who: &str) -> Self {
        Self { who: who.to_owned(), span: tracing::Span::current(), reason: Arc::default() }
    }

    /// Takes in a line of librdkafka's log.
    pub(super) fn heard(&self, level: i32, facility: &str, line: &str) {
        if facility == "FAIL" {
            let reason = line.split_once("]: ").map_or(line, |(_thread, reason)| reason);
            reason.clone_into(&mut self.reason.lock().unwrap_or_else(PoisonError::into_inner));
        }
        self.span.in_scope(|| super::native::log(&self.who, level, facility, line));
    }

    /// Why a broker could not be reached, last: a refused login, a certificate, a closed port.
    pub(super) fn reason(&self) -> Option<String> {
        Some(self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()).filter(|reason| !reason.is_empty())
    }
}

impl ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.heard(level as i32, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let _entered = self.span.enter();
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        match trouble::of_consumer(code, reason, "", None, reason) {
            Trouble::Fails(error) => tracing::error!(who = self.who, "{error:#}"),
            Trouble::Unreachable => tracing::warn!(who = self.who, reason, "broker cannot be reached; trying on"),
            Trouble::Passing => tracing::debug!(who = self.who, reason, "client trouble"),
        }
    }
}
