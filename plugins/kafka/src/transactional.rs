//! Records in transactions, on a thread of its own: librdkafka's calls for it block.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

use penstock_api::Error;

use super::producer::{Delivered, Outgoing, Told};
use super::settings::ProducerSettings;
use super::trouble;

/// Why a transaction did not come about.
#[derive(Debug)]
pub enum TransactionError {
    /// Another producer has begun under this transactional id. This one never writes again, and nothing of this transaction is
    /// ever seen.
    Fenced,
    /// Nothing of it is seen; or, when brokers did not answer in time, perhaps all of it.
    Failed(Error),
}

/// A producer that writes in transactions only. Clones share it; it ends with the last of them.
///
/// By beginning it fences all that began before under the same transactional id.
#[derive(Clone)]
pub struct Transactional {
    orders: mpsc::Sender<Order>,
    shared: Arc<Ending>,
}

/// A transaction to write, and where to answer.
struct Order {
    records: Vec<Outgoing>,
    answer: oneshot::Sender<Result<Vec<Delivered>, TransactionError>>,
}

/// Ends the thread when dropped.
#[derive(Default)]
struct Ending {
    abandoned: Arc<AtomicBool>,
    /// The client is of no use any more.
    broken: Arc<AtomicBool>,
}

/// How long a transaction may take. Brokers abort one that is left open after the same time.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);
/// How soon a blocking call looks whether anybody still wants it.
const STEP: Duration = Duration::from_secs(1);
/// So many steps without an answer are told to people.
const TELL_AFTER: u32 = 10;
/// rust-rdkafka's own flush waits in steps of 100 ms.
const DRAIN_STEP: Duration = Duration::from_millis(1);
pub(super) const FENCED: [Code; 3] = [Code::Fenced, Code::ProducerFenced, Code::InvalidProducerEpoch];

impl Transactional {
    /// Begins under the `transactional.id` of the settings, waiting for the brokers as long as it takes. May be dropped while
    /// waiting.
    ///
    /// # Errors
    /// `Config` when the settings are refused, or this principal may not use the id.
    pub async fn open(settings: ProducerSettings) -> Result<Self, Error> {
        let who = settings.who.clone();
        let cannot = move |why: &str| Error::config(format!("start a transactional Kafka producer for {who}: {why}"));
        let context = Deliveries { told: Told::new(&settings.who), noted: Mutex::default() };
        let producer: BaseProducer<Deliveries> =
            settings.client.create_with_context(context).map_err(|e| cannot(&e.to_string()))?;
        let (orders, inbox) = mpsc::channel();
        let shared = Arc::new(Ending::default());
        let writer = Writer { who: settings.who, producer, abandoned: shared.abandoned.clone(), broken: shared.broken.clone() };
        let (opens, opened) = oneshot::channel();
        let thread = std::thread::Builder::new().name("transactions".into());
        thread.spawn(move || writer.run(opens, inbox)).map_err(|e| cannot(&format!("no thread for it: {e}")))?;
        let this = Self { orders, shared };
        opened.await.unwrap_or_else(|_| Err(Error::fatal("the transactional producer has ended"))).map(|()| this)
    }

    /// Writes records in one transaction, in this order; answers where they stand.
    ///
    /// # Errors
    /// See [`TransactionError`].
    pub async fn write(&self, records: Vec<Outgoing>) -> Result<Vec<Delivered>, TransactionError> {
        let ended = || TransactionError::Failed(Error::retriable("the transactional producer has ended"));
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order { records, answer }).map_err(|_| ended())?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Whether it can still write; if not, begin anew.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.shared.broken.load(Ordering::SeqCst)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::SeqCst);
    }
}

impl fmt::Display for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransactionError::Fenced => f.write_str("another producer has taken over the transactional id"),
            TransactionError::Failed(error) => write!(f, "{error:#}"),
        }
    }
}

/// The thread's side.
struct Writer {
    who: String,
    producer: BaseProducer<Deliveries>,
    abandoned: Arc<AtomicBool>,
    broken: Arc<AtomicBool>,
}

impl Writer {
    fn run(self, opens: oneshot::Sender<Result<(), Error>>, inbox: mpsc::Receiver<Order>) {
        let opened = self.begin();
        let is_open = opened.is_ok();
        if opens.send(opened).is_err() || !is_open {
            return;
        }
        for order in inbox {
            let outcome = self.write(&order.records);
            // Whoever has stopped waiting does not want to know.
            drop(order.answer.send(outcome));
            if self.broken.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Fences older producers, and waits for their open transactions to be aborted.
    fn begin(&self) -> Result<(), Error> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.producer.init_transactions(STEP) {
                Ok(()) => return Ok(()),
                Err(_) if self.abandoned.load(Ordering::SeqCst) => return Err(Error::fatal("nobody waits for it any more")),
                Err(KafkaError::Transaction(error)) if error.is_retriable() => {
                    if attempts == TELL_AFTER {
                        tracing::warn!(
                            who = self.who,
                            "cannot begin transactions: {error}; trying on. When this lasts, look at the brokers' \
                             transaction.state.log.replication.factor: it must not be more than there are brokers"
                        );
                    }
                }
                Err(error) => return Err(self.failure(&error, "begin transactions")),
            }
        }
    }

    fn write(&self, records: &[Outgoing]) -> Result<Vec<Delivered>, TransactionError> {
        let deadline = Instant::now() + TRANSACTION_TIMEOUT;
        let written = self.try_write(records, deadline);
        written.map_err(|error| {
            let fenced = self.producer.client().fatal_error().is_some_and(|(code, _)| FENCED.contains(&code));
            if fenced {
                self.broken.store(true, Ordering::SeqCst);
                return TransactionError::Fenced;
            }
            // What cannot be aborted is aborted by whoever begins next under this id.
            if !self.abort() {
                self.broken.store(true, Ordering::SeqCst);
            }
            TransactionError::Failed(error)
        })
    }

    fn abort(&self) -> bool {
        self.producer.purge(PurgeConfig::default().queue());
        self.drain(Instant::now() + STEP);
        self.producer.abort_transaction(STEP).is_ok()
    }

    /// Serves acknowledgements until none is left to come.
    fn drain(&self, deadline: Instant) {
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            self.producer.poll(DRAIN_STEP);
        }
    }

    fn try_write(&self, records: &[Outgoing], deadline: Instant) -> Result<Vec<Delivered>, Error> {
        let first = self.producer.context().expect(records.len());
        self.producer.begin_transaction().map_err(|e| self.failure(&e, "begin a transaction"))?;
        for (number, record) in (first..).zip(records) {
            self.send(number, record, deadline)?;
        }
        self.drain(deadline);
        let delivered = self.producer.context().taken().into_iter().zip(records).map(|(outcome, record)| match outcome {
            Some(Ok(delivered)) => Ok(delivered),
            Some(Err(error)) => Err(self.failure(&error, &format!("write to {}", record.topic))),
            None => Err(Error::retriable(format!("write to {}: brokers did not answer in time", record.topic))),
        });
        let delivered = delivered.collect::<Result<Vec<_>, Error>>()?;
        self.commit(deadline)?;
        Ok(delivered)
    }

    fn send(&self, number: usize, record: &Outgoing, deadline: Instant) -> Result<(), Error> {
        loop {
            let mut new = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&record.topic, number);
            new.partition = record.partition;
            new.key = record.key.as_deref();
            new.payload = record.value.as_deref();
            new.timestamp = record.timestamp;
            match self.producer.send(new) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), _)) if Instant::now() < deadline => {
                    self.producer.poll(DRAIN_STEP);
                }
                Err((error, _)) => return Err(self.failure(&error, &format!("write to {}", record.topic))),
            }
        }
    }

    fn commit(&self, deadline: Instant) -> Result<(), Error> {
        loop {
            match self.producer.commit_transaction(STEP) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {
                    tracing::debug!(who = self.who, "commit a transaction: {error}; trying again");
                }
                Err(error) => return Err(self.failure(&error, "commit a transaction")),
            }
        }
    }

    fn failure(&self, error: &KafkaError, what: &str) -> Error {
        let what = format!("{what} for {}", self.who);
        match code(error) {
            Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
                Error::data(format!("{what}: the record is larger than the topic's max.message.bytes allow"))
                    .with_source(error.to_string())
            }
            _ => refusal(error, &what),
        }
    }
}

/// What Kafka or the client said, whichever way it did.
pub(super) fn code(error: &KafkaError) -> Code {
    match error {
        KafkaError::Transaction(error) => error.code(),
        error => error.rdkafka_error_code().unwrap_or(Code::Unknown),
    }
}

/// Why a transaction cannot go on, for people.
pub(super) fn refusal(error: &KafkaError, what: &str) -> Error {
    match code(error) {
        Code::TransactionalIdAuthorizationFailed => {
            Error::config(format!("{what}: not allowed; grant WRITE and DESCRIBE on the transactional id to this principal"))
                .with_source(error.to_string())
        }
        code => trouble::of_request(code, &error.to_string(), what),
    }
}

/// Notes what became of each record of the transaction.
struct Deliveries {
    told: Told,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    /// The number of the transaction's first record; numbers go on from one transaction to the next.
    first: usize,
    outcomes: Vec<Option<Result<Delivered, KafkaError>>>,
}

impl Deliveries {
    /// Begins a transaction of so many records; answers the number of the first.
    fn expect(&self, count: usize) -> usize {
        let mut noted = self.lock();
        noted.first += noted.outcomes.len();
        noted.outcomes = (0..count).map(|_| None).collect();
        noted.first
    }

    fn taken(&self) -> Vec<Option<Result<Delivered, KafkaError>>> {
        self.lock().outcomes.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Deliveries {
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

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let outcome = match result {
            Ok(message) => Ok(Delivered { partition: message.partition(), offset: message.offset() }),
            Err((error, _)) => Err(error.clone()),
        };
        let mut noted = self.lock();
        // One that comes late belongs to a transaction that was given up.
        let slot = number.checked_sub(noted.first);
        if let Some(slot) = slot.and_then(|slot| noted.outcomes.get_mut(slot)) {
            *slot = Some(outcome);
        }
    }
}
