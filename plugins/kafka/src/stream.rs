//! A producer for streams of records: nothing waits for single ones, and what has become of them is told in batches, by number.

use bytes::Bytes;
use penstock_api::record::RawHeader;
use penstock_api::{Error, Result};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext, PurgeConfig};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::enqueue::Line;
use super::producer::{Delivered, Outgoing, Told, delivery_error};
use super::settings::ProducerSettings;
use super::transactional::{self, FENCED};

/// Sends records off without waiting. What becomes of them is asked for by [`take`](Self::take). Clones share it.
#[derive(Clone)]
pub struct StreamProducer {
    who: String,
    inner: Arc<Inner>,
}

/// Dropped in this order.
struct Inner {
    line: Line,
    producer: BaseProducer<Outcomes>,
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

/// How soon it is looked again whether all is acknowledged.
const DRAIN_STEP: Duration = Duration::from_millis(1);
/// How soon events are looked for while a call blocks, should nothing tell that there are some.
const LOOK_STEP: Duration = Duration::from_millis(100);
/// How long a call for transactions blocks its thread.
const STEP: Duration = Duration::from_secs(1);
/// How long the producer may take to let go of what is left in it.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

impl StreamProducer {
    /// A producer; it connects when it sends first.
    ///
    /// # Errors
    /// `Config` when librdkafka refuses the settings.
    pub fn new(settings: ProducerSettings) -> Result<Self> {
        let context = Outcomes { who: settings.who.clone(), told: Told::new(&settings.who), noted: Mutex::default() };
        let producer: BaseProducer<_> = settings
            .client
            .create_with_context(context)
            .map_err(|e| Error::config(format!("start a Kafka producer for {}", settings.who)).with_source(e))?;
        // SAFETY: the producer is dropped behind the line.
        let line = unsafe { Line::new(producer.client().native_ptr()) };
        Ok(Self { who: settings.who, inner: Arc::new(Inner { line, producer }) })
    }

    /// Sends a record off; `false` when there is no room for it now (`buffer.memory`): wait for [`news`](Self::news) and try again.
    ///
    /// # Errors
    /// As it is told of records that were sent: `Data` when it is too large.
    pub fn try_send(&self, number: usize, record: &Outgoing) -> Result<bool> {
        match self.inner.line.enqueue(number, record) {
            Ok(()) => Ok(true),
            Err(KafkaError::MessageProduction(Code::QueueFull)) => Ok(false),
            Err(error) => Err(delivery_error(&self.who, &record.topic, error)),
        }
    }

    /// All outcomes since it was asked last, in the order in which they came. It is to be asked for as long as the producer lives: its
    /// events are served in here.
    pub fn take(&self) -> Vec<Outcome> {
        self.inner.serve();
        std::mem::take(&mut *self.inner.noted())
    }

    /// Waits until there are outcomes. May be dropped while waiting; may come back although there are none.
    pub async fn news(&self) {
        if !self.inner.line.has_events() && self.inner.noted().is_empty() {
            self.inner.line.news().notified().await;
        }
    }

    /// Begins to write in transactions, under the `transactional.id` of the settings: whoever wrote under it before is fenced, and what
    /// they left open is aborted. Waits for the brokers until it is given up; then it answers `false` within a second, and is to be
    /// [closed](Self::close). It must not be dropped while it waits: left to itself it might begin after its successor, and fence that.
    ///
    /// # Errors
    /// `Config` when this principal may not use the id.
    pub async fn init_transactions(&self, is_given_up: impl Fn() -> bool) -> Result<bool> {
        while let Err(error) = self.blocking(|inner| inner.init_transactions(STEP)).await {
            if !is_retriable(&error) {
                return Err(self.failure(&error, "begin transactions"));
            }
            if is_given_up() {
                return Ok(false);
            }
            tracing::debug!(who = self.who, "cannot begin transactions yet: {error}");
        }
        Ok(true)
    }

    /// Opens a transaction for what is sent from now on.
    ///
    /// # Errors
    /// `Fatal` when the producer was fenced.
    pub fn begin(&self) -> Result<()> {
        self.inner.producer.begin_transaction().map_err(|error| self.failure(&error, "begin a transaction"))
    }

    /// Commits the open transaction, waiting for the acknowledgements of all that was sent in it, no longer than `within`.
    ///
    /// # Errors
    /// `Fatal` when a newer producer has fenced this one. After any error the transaction is not committed, unless brokers did not answer
    /// in time: then nobody knows, and whoever begins under the same id finds out.
    pub async fn commit(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        // The call itself would look only every 100 ms whether all is acknowledged.
        while self.inner.in_flight() > 0 && Instant::now() < deadline {
            tokio::time::sleep(DRAIN_STEP).await;
        }
        loop {
            match self.blocking(|inner| inner.commit_transaction(STEP)).await {
                Ok(()) => return Ok(()),
                Err(error) if is_retriable(&error) && Instant::now() < deadline => {
                    tracing::debug!(who = self.who, "commit a transaction: {error}; trying again");
                }
                Err(error) => return Err(self.failure(&error, "commit a transaction")),
            }
        }
    }

    /// Aborts the open transaction: nobody ever sees what was sent in it. What is under way is told of as undelivered.
    ///
    /// # Errors
    /// When that did not come about; then brokers abort it after `transaction.timeout.ms`, or for whoever begins under the same id.
    pub async fn abort(&self, within: Duration) -> Result<()> {
        let aborted = self.blocking(move |inner| {
            inner.purge(PurgeConfig::default().queue().inflight());
            inner.abort_transaction(within)
        });
        aborted.await.map_err(|error| self.failure(&error, "abort a transaction"))
    }

    /// Makes a call on a thread of its own, and serves events meanwhile: some calls wait for that.
    async fn blocking(&self, call: impl FnOnce(&BaseProducer<Outcomes>) -> KafkaResult<()> + Send + 'static) -> KafkaResult<()> {
        let inner = self.inner.clone();
        let mut called = tokio::task::spawn_blocking(move || call(&inner.producer));
        loop {
            tokio::select! {
                returned = &mut called => return returned.unwrap_or(Err(KafkaError::Canceled)),
                () = self.inner.line.news().notified() => {}
                () = tokio::time::sleep(LOOK_STEP) => {}
            }
            self.inner.serve();
        }
    }

    fn failure(&self, error: &KafkaError, what: &str) -> Error {
        let what = format!("{what} for {}", self.who);
        if FENCED.contains(&transactional::code(error)) {
            let fenced = "a newer producer has begun under the same transactional.id, and this one is fenced";
            return Error::fatal(format!("{what}: {fenced}")).with_source(error.to_string());
        }
        transactional::refusal(error, &what)
    }

    /// Ends it; what is not acknowledged is given up.
    pub async fn close(self) {
        let ended = self.blocking(|producer| {
            producer.purge(PurgeConfig::default().queue().inflight());
            producer.flush(CLOSE_TIMEOUT)
        });
        if let Err(error) = ended.await {
            tracing::debug!("a producer closes with records under way: {error}");
        }
        // The end of a client blocks.
        if let Err(panicked) = tokio::task::spawn_blocking(move || drop(self.inner)).await {
            tracing::error!("closing a producer: {panicked}");
        }
    }
}

impl Inner {
    fn noted(&self) -> MutexGuard<'_, Vec<Outcome>> {
        self.producer.context().lock()
    }

    /// Has what came noted, without waiting for more.
    fn serve(&self) {
        while self.line.has_events() {
            self.producer.poll(Duration::ZERO);
        }
    }

    /// How many records wait for their acknowledgement.
    fn in_flight(&self) -> i32 {
        self.serve();
        self.producer.in_flight_count()
    }
}

fn is_retriable(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_retriable(),
        // Records are still under way.
        KafkaError::Flush(Code::OperationTimedOut) => true,
        _ => false,
    }
}

/// Notes what becomes of each record.
struct Outcomes {
    who: String,
    told: Told,
    /// Bounded by what librdkafka holds at most: whoever sends takes outcomes before there is room for more.
    noted: Mutex<Vec<Outcome>>,
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
        // Being fenced is told to whoever writes.
        if !error.rdkafka_error_code().is_some_and(|code| code == Code::Fatal || FENCED.contains(&code)) {
            self.told.error(error, reason);
        }
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
        // Most records of a batch go to one topic.
        let topic = match noted.last() {
            Some(last) if *last.topic == *message.topic() => last.topic.clone(),
            _ => message.topic().into(),
        };
        noted.push(Outcome { number, topic, result });
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
