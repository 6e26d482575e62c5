//! A plain consumer beside the sinks of a cluster: what it does not see for a while, nobody could take.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use crate::journal::now_ms;
use crate::kafka::Kafka;

/// How soon it notices that it is to end.
const POLL: Duration = Duration::from_millis(100);

/// Reads some partitions, in no group, and notes each record in a [`Journal`](crate::Journal)'s file. Ends with its value.
#[derive(Debug)]
pub struct Onlooker {
    stop: Arc<AtomicBool>,
    looking: Option<JoinHandle<Result<()>>>,
}

impl Onlooker {
    /// Looks at so many partitions of each topic, from their ends on.
    pub fn begin(kafka: &Kafka, topics: &[String], partitions: i32, journal: impl Into<PathBuf>) -> Result<Self> {
        let consumer: BaseConsumer = kafka.client().set("group.id", "onlooker").set("enable.auto.commit", "false").create()?;
        let mut places = TopicPartitionList::new();
        for topic in topics {
            for partition in 0..partitions {
                places.add_partition_offset(topic, partition, Offset::End)?;
            }
        }
        consumer.assign(&places)?;
        let mut file = File::create(journal.into()).context("create the onlooker's journal")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        // A thread, so that nothing else that its process does makes a silence.
        let looking = std::thread::Builder::new().name("onlooker".into()).spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                // Errors pass: librdkafka tries again by itself, and what it does not get is a silence.
                if let Some(Ok(message)) = consumer.poll(POLL) {
                    let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
                    let process = std::process::id();
                    writeln!(file, "{} {process} onlooker-0 put {topic} {partition} {offset} {offset}", now_ms())?;
                }
            }
            Ok(())
        })?;
        Ok(Self { stop, looking: Some(looking) })
    }

    /// Ends it. An error when it could not note all that it saw.
    pub fn end(mut self) -> Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        let looking = self.looking.take().context("it ends once")?;
        looking.join().map_err(|_| anyhow::anyhow!("the onlooker's thread panicked"))?
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}
