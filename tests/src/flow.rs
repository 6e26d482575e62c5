//! Records that flow: to every partition of some topics one after the other, until told to end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use crate::journal::Offsets;
use crate::kafka::Kafka;

/// A record that is not acknowledged after so long is lost; the test has failed then.
const DELIVERY_LIMIT: Duration = Duration::from_secs(120);
const VALUE: &[u8] = br#"{"a":1}"#;

/// Live records. Each is sent until brokers have acknowledged it, whatever happens to them meanwhile.
pub struct Flow {
    stop: Arc<AtomicBool>,
    acknowledged: Acknowledged,
    sending: Option<JoinHandle<Result<()>>>,
}

impl Flow {
    /// Begins: to each of the partitions a record in each interval.
    pub fn begin(kafka: &Kafka, topics: &[String], partitions: i32, interval: Duration) -> Result<Self> {
        Self::begin_lingering(kafka, topics, partitions, interval, Duration::ZERO)
    }

    /// The same in batches: the producer waits so long for more records.
    pub fn begin_lingering(
        kafka: &Kafka,
        topics: &[String],
        partitions: i32,
        interval: Duration,
        linger: Duration,
    ) -> Result<Self> {
        let acknowledged = Acknowledged::default();
        let mut client = kafka.client();
        client
            .set("linger.ms", linger.as_millis().to_string())
            .set("acks", "all")
            .set("reconnect.backoff.max.ms", "500")
            .set("message.timeout.ms", DELIVERY_LIMIT.as_millis().to_string());
        let producer: ThreadedProducer<Acknowledged> = client.create_with_context(acknowledged.clone())?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, topics) = (stop.clone(), topics.to_vec());
        // A thread, so that nothing a test does makes a silence.
        let sending = std::thread::Builder::new().name("flow".into()).spawn(move || {
            let mut next = Instant::now();
            while !stopped.load(Ordering::SeqCst) {
                for topic in &topics {
                    for partition in 0..partitions {
                        let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(VALUE);
                        producer.send(record).map_err(|(error, _)| error).context("send a record of the flow")?;
                    }
                }
                next = Instant::now().max(next + interval);
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            producer.flush(DELIVERY_LIMIT).context("have the last records of the flow acknowledged")
        })?;
        Ok(Self { stop, acknowledged, sending: Some(sending) })
    }

    /// Behind the last acknowledged record of each partition.
    pub fn acknowledged(&self) -> Offsets {
        self.acknowledged.ends()
    }

    /// Sends no more; answers the end of each partition when everything sent is acknowledged. An error when something was not.
    pub async fn end(mut self) -> Result<Offsets> {
        self.stop.store(true, Ordering::SeqCst);
        let sending = self.sending.take().context("it ends once")?;
        tokio::task::spawn_blocking(move || sending.join())
            .await?
            .map_err(|_| anyhow::anyhow!("the flow's thread panicked"))??;
        let lost = self.acknowledged.0.lost.load(Ordering::SeqCst);
        ensure!(lost == 0, "brokers did not take {lost} records of the flow");
        Ok(self.acknowledged())
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// Hears of deliveries. Clones share what they heard.
#[derive(Clone, Default)]
struct Acknowledged(Arc<Heard>);

#[derive(Default)]
struct Heard {
    ends: Mutex<BTreeMap<String, BTreeMap<i32, i64>>>,
    lost: AtomicU32,
}

impl Acknowledged {
    fn ends(&self) -> Offsets {
        let ends = self.0.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let of_topic = |(topic, ends): (&String, &BTreeMap<i32, i64>)| {
            let topic: Arc<str> = topic.as_str().into();
            ends.iter().map(move |(partition, end)| ((topic.clone(), *partition), *end)).collect::<Vec<_>>()
        };
        ends.iter().flat_map(of_topic).collect()
    }
}

impl ClientContext for Acknowledged {
    fn log(&self, _level: rdkafka::config::RDKafkaLogLevel, _facility: &str, _message: &str) {
        // Brokers are killed on purpose.
    }

    fn error(&self, _error: KafkaError, _reason: &str) {}
}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => {
                let mut ends = self.0.ends.lock().unwrap_or_else(PoisonError::into_inner);
                if !ends.contains_key(message.topic()) {
                    ends.insert(message.topic().to_owned(), BTreeMap::new());
                }
                let end = ends.get_mut(message.topic()).expect("it was inserted above").entry(message.partition()).or_default();
                *end = (*end).max(message.offset() + 1);
            }
            Err(_) => drop(self.0.lost.fetch_add(1, Ordering::SeqCst)),
        }
    }
}
