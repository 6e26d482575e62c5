//! Writes the events to Kafka.

use anyhow::Result;
use penstock_retail::events::{Body, Event, Events, Mix};
use penstock_retail::order::OrderAvro;
use penstock_tests::kafka::NewRecord;

use crate::ground::Ground;
use crate::streams::{self, Stream};
use crate::table::{self, Table};

/// Events made before they are written: bounds the memory.
const CHUNK: usize = 20_000;

/// Produces that many events of the seed, and shows what they were.
pub(crate) async fn all(ground: &Ground, seed: u64, count: u64) -> Result<()> {
    let mut events = Events::new(seed, Mix::default());
    let mut counts = [0_u64; streams::ALL.len()];
    let mut left = usize::try_from(count)?;
    while left > 0 {
        let mut chunks: [Vec<NewRecord>; streams::ALL.len()] = Default::default();
        for event in events.by_ref().take(left.min(CHUNK)) {
            let stream = stream_of(&event.body);
            let at = streams::ALL.iter().position(|known| *known == stream).expect("every kind has a stream");
            chunks[at].push(record(&ground.avro, event)?);
        }
        for ((stream, records), count) in streams::ALL.iter().zip(chunks).zip(&mut counts) {
            *count += records.len() as u64;
            let settings = [("compression.type", "lz4"), ("linger.ms", "20")];
            ground.kafka.produce_with(&settings, stream.topic, records).await?;
        }
        left -= left.min(CHUNK);
    }
    let mut table = Table::new(["topic", "events"]);
    for (stream, count) in streams::ALL.iter().zip(counts) {
        table.row([stream.topic.into(), table::thousands(count)]);
    }
    table.print();
    Ok(())
}

fn stream_of(body: &Body) -> Stream {
    match body {
        Body::Interaction(_) => streams::INTERACTIONS,
        Body::Order(_) => streams::ORDERS,
        Body::Inventory(_) => streams::INVENTORY,
        Body::Support(_) => streams::SUPPORT,
    }
}

fn record(avro: &OrderAvro, event: Event) -> Result<NewRecord> {
    let value = match event.body {
        Body::Interaction(bytes) | Body::Inventory(bytes) | Body::Support(bytes) => bytes,
        Body::Order(order) => avro.write(&order)?,
    };
    Ok(NewRecord {
        key: Some(event.key.into_bytes()),
        value: Some(value),
        timestamp_ms: Some(event.at_ms),
        ..NewRecord::default()
    })
}
