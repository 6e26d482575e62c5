//! A producer for streams of records: nothing waits for single ones, and what has become of them is told in batches, by number.

use bytes::Bytes;
use penstock_api::record::RawHeader;
use penstock_api::{Error, Result};
use rdkafka::ClientContext;
use rdkafka::bindings as rd;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext, PurgeConfig};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::enqueue::{Entrance, Line};
use super::event::{Event, News, Report, Reports};
use super::message::TopicNames;
use super::producer::{Delivered, Outgoing, Told, delivery_error};
use super::queue::Queue;
use super::settings::ProducerSettings;
use super::transactional::{self, FENCED};

/// Sends records off without waiting. What becomes of them is asked for by [`take`](Self::take). Clones share it.
#[derive(Clone)]
pub struct StreamProducer {
    inner: Arc<Inner>,
}

/// Dropped in this order.
struct Inner {
    line: Line,
    events: Queue,
    producer: BaseProducer<Closing>,
    who: String,
    told: Told,
    noted: Mutex<Noted>,
}

/// What has become of records.
#[derive(Default)]
struct Noted {
    /// Bounded by what librdkafka holds at most: whoever sends takes outcomes before there is room for more.
    outcomes: Vec<Outcome>,
    names: TopicNames,
}

/// A producer while records are sent; nobody else can send meanwhile.
pub struct Sending<'p> {
    who: &'p str,
    entrance: Entrance<'p>,
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
        let ProducerSettings { client, who, .. } = settings;
        let told = Told::new(&who);
        let producer: BaseProducer<_> = client
            .create_with_context(Closing(told.clone()))
            .map_err(|e| Error::config(format!("start a Kafka producer for {who}")).with_source(e))?;
        let native = NonNull::new(producer.client().native_ptr()).expect("a client that was made");
        // SAFETY: the producer is dropped behind both.
        let (line, events) = unsafe {
            let events = NonNull::new(rd::rd_kafka_queue_get_main(native.as_ptr())).expect("each client has a main queue");
            (Line::new(native), Queue::new(events))
        };
        Ok(Self { inner: Arc::new(Inner { line, events, producer, who, told, noted: Mutex::default() }) })
    }

    /// For sending records, as many as there is room for. Not to be held longer: others wait for it.
    #[must_use]
    pub fn sending(&self) -> Sending<'_> {
        Sending { who: &self.inner.who, entrance: self.inner.line.enter() }
    }

    /// All outcomes since it was asked last, in the order in which they came, in the place of what is in `outcomes`. It is to be asked
    /// for as long as the producer lives: its events are served in here.
    pub fn take(&self, outcomes: &mut Vec<Outcome>) {
        outcomes.clear();
        self.inner.serve();
        std::mem::swap(outcomes, &mut self.inner.noted().outcomes);
    }

    /// Waits until there are outcomes. May be dropped while waiting; may come back although there are none.
    pub async fn news(&self) {
        if self.inner.events.is_empty() && self.inner.noted().outcomes.is_empty() {
            self.inner.events.filled().notified().await;
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
            tracing::debug!(who = self.inner.who, "cannot begin transactions yet: {error}");
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
                    tracing::debug!(who = self.inner.who, "commit a transaction: {error}; trying again");
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
    async fn blocking(&self, call: impl FnOnce(&BaseProducer<Closing>) -> KafkaResult<()> + Send + 'static) -> KafkaResult<()> {
        let inner = self.inner.clone();
        let mut called = tokio::task::spawn_blocking(move || call(&inner.producer));
        loop {
            tokio::select! {
                returned = &mut called => return returned.unwrap_or(Err(KafkaError::Canceled)),
                () = self.inner.events.filled().notified() => {}
                () = tokio::time::sleep(LOOK_STEP) => {}
            }
            self.inner.serve();
        }
    }

    fn failure(&self, error: &KafkaError, what: &str) -> Error {
        let what = format!("{what} for {}", self.inner.who);
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

impl Sending<'_> {
    /// Sends a record off; `false` when there is no room for it now (`buffer.memory`): wait for [`news`](StreamProducer::news) and try
    /// again.
    ///
    /// # Errors
    /// As it is told of records that were sent: `Data` when it is too large.
    pub fn try_send(&mut self, number: usize, record: &Outgoing) -> Result<bool> {
        match self.entrance.enqueue(number, record) {
            Ok(()) => Ok(true),
            Err(KafkaError::MessageProduction(Code::QueueFull)) => Ok(false),
            Err(error) => Err(delivery_error(self.who, &record.topic, error)),
        }
    }
}

impl Inner {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what has come, without waiting for more.
    fn serve(&self) {
        while let Some(event) = Event::next(&self.events) {
            match event.news() {
                News::Reports(reports) => self.noted().note(&self.who, reports),
                // Being fenced is told to whoever writes.
                News::Error { code, .. } if code == Code::Fatal || FENCED.contains(&code) => {}
                News::Error { code, reason } => self.told.error(KafkaError::Global(code), reason.trim()),
                News::Line { level, facility, line } => self.told.heard(level, &facility, line.trim()),
                News::Other(name) => tracing::debug!(who = self.who, name, "an event that nobody has asked for"),
            }
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

impl Noted {
    fn note(&mut self, who: &str, reports: Reports<'_>) {
        self.names.begin_batch();
        for report in reports {
            let topic = report.topic(&mut self.names);
            let result = report.result().map_err(|code| Box::new(undelivered(who, &topic, code, &report)));
            self.outcomes.push(Outcome { number: report.number(), topic, result });
        }
    }
}

fn undelivered(who: &str, topic: &str, code: Code, report: &Report<'_>) -> Undelivered {
    Undelivered {
        error: delivery_error(who, topic, KafkaError::MessageProduction(code)),
        key: report.key(),
        value: report.value(),
        headers: report.headers(),
        timestamp: report.timestamp(),
    }
}

/// For what rust-rdkafka itself reads, which it does only when the producer is closed: of records, those that are given up then.
struct Closing(Told);

impl ClientContext for Closing {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.0.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}

impl ProducerContext for Closing {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &DeliveryResult<'_>, (): ()) {}
}
