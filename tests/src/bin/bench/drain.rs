//! librdkafka by itself: batches of messages taken off its queue and dropped. The limit for anything that is built on it.

use std::ptr;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use penstock_tests::Usage;
use rdkafka::bindings as native;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

const BATCH: usize = 500;
const WAIT_MS: i32 = 1000;
const SILENCE_MAX: u32 = 30;

#[derive(Args)]
pub(crate) struct Order {
    #[arg(long)]
    pub(crate) bootstrap: String,
    #[arg(long)]
    pub(crate) topic: String,
    #[arg(long)]
    pub(crate) partitions: i32,
    #[arg(long)]
    pub(crate) records: u64,
}

/// What a drain took, on its standard output as one line of JSON.
#[derive(Serialize, Deserialize)]
pub(crate) struct Taken {
    pub(crate) cpu_s: f64,
    pub(crate) seconds: f64,
    pub(crate) rss_peak_mb: f64,
}

pub(crate) fn run(order: &Order) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &order.bootstrap).set("group.id", "bench-drain").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..order.partitions {
        assignment.add_partition_offset(&order.topic, partition, Offset::Beginning)?;
    }
    let pid = std::process::id();
    let before = Usage::of(pid)?;
    consumer.assign(&assignment)?;
    let began = Instant::now();
    let bytes = drain(&consumer, order.records)?;
    let seconds = began.elapsed().as_secs_f64();
    let after = Usage::of(pid)?;
    if bytes < order.records {
        bail!("{} records held only {bytes} bytes", order.records);
    }
    let taken = Taken { cpu_s: (after.cpu - before.cpu).as_secs_f64(), seconds, rss_peak_mb: after.rss_peak_mb() };
    println!("{}", serde_json::to_string(&taken)?);
    Ok(())
}

/// Takes so many records and answers the size of their values, so that each was looked at.
fn drain(consumer: &BaseConsumer, records: u64) -> Result<u64> {
    let (mut count, mut bytes, mut silence) = (0, 0, 0);
    let mut batch: [*mut native::rd_kafka_message_t; BATCH] = [ptr::null_mut(); BATCH];
    // SAFETY: the consumer outlives the queue, which is given back below.
    let queue = unsafe { native::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
    while count < records {
        // SAFETY: the queue is alive and the array has room for BATCH messages.
        let taken = unsafe { native::rd_kafka_consume_batch_queue(queue, WAIT_MS, batch.as_mut_ptr(), BATCH) };
        let taken = usize::try_from(taken).context("take a batch off librdkafka's queue")?;
        silence = if taken == 0 { silence + 1 } else { 0 };
        if silence > SILENCE_MAX {
            bail!("nothing more came after {count} of {records} records");
        }
        for message in &batch[..taken] {
            // SAFETY: librdkafka gave us the message; it is read, then given back once.
            unsafe {
                if (**message).err == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    count += 1;
                    bytes += (**message).len as u64;
                }
                native::rd_kafka_message_destroy(*message);
            }
        }
    }
    // SAFETY: it was got above and is not used any more.
    unsafe { native::rd_kafka_queue_destroy(queue) };
    Ok(bytes)
}
