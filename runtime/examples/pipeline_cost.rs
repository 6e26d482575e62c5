//! What the worker itself costs for each record, between fetch and put: `cargo run --release -p penstock --example pipeline_cost`.
//!
//! Orders of some 320 bytes, batches of 500, no Kafka; nanoseconds of CPU for each record, the best of several runs.

use penstock::config::{ConnectorConfig, WorkerConfig};
use penstock::task::pipeline::Pipeline;
use penstock_api::{Bytes, Origin, Props, RawRecord, Registry, SinkRecord, TaskId, TimestampType, Verdict};
use std::sync::Arc;

// The worker's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 500;
const BATCHES: usize = 400;
const RUNS: usize = 7;

const ORDER: &str = r#"{"event_id":"7f3c2b1a-9d4e-4f6a-8b2c-1d3e5f7a9b0c","order_id":"o-0000123","customer":{"id":"c-4242","email":"jane.doe@example.com","country":"DE"},"items":[{"sku":"sku-1001","quantity":2,"unit_price":19.99},{"sku":"sku-2002","quantity":1,"unit_price":5.49}],"currency":"EUR","payment":"card","test":false,"ordered_at":1732300000000}"#;

fn raws() -> Vec<RawRecord> {
    let mut arena = Vec::new();
    for _ in 0..BATCH {
        arena.extend_from_slice(ORDER.as_bytes());
    }
    let arena = Bytes::from(arena);
    let topic: Arc<str> = "orders".into();
    (0..BATCH)
        .map(|n| RawRecord {
            topic: topic.clone(),
            partition: 0,
            offset: n as i64,
            timestamp: Some(1_732_300_000_000),
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: Some(arena.slice(n * ORDER.len()..(n + 1) * ORDER.len())),
            headers: None,
        })
        .collect()
}

fn config(case: &[(&str, &str)]) -> penstock_api::Result<ConnectorConfig> {
    let mut registry = Registry::new();
    registry.extend([penstock_blackhole::plugin()]);
    registry.extend(penstock::converters::plugins());
    registry.extend(penstock_transforms::plugins());
    let worker: Props = [
        ("bootstrap.servers", "unused:9092"),
        ("group.id", "cost"),
        ("config.storage.topic", "c"),
        ("offset.storage.topic", "o"),
        ("status.storage.topic", "s"),
        ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ("value.converter.schemas.enable", "false"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .into();
    let mut props: Props = case.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    for (key, value) in [("name", "cost"), ("connector.class", "Blackhole"), ("topics", "orders")] {
        props.insert(key.into(), value.into());
    }
    ConnectorConfig::new(&props, &registry, &WorkerConfig::new(&worker)?)
}

/// What this thread has used, in nanoseconds.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells what a thread has used");
    text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("the first figure is the time on a CPU, in nanoseconds")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> penstock_api::Result<()> {
    let bytes = [("value.converter", "org.apache.kafka.connect.converters.ByteArrayConverter")];
    let transforms = [
        ("transforms", "insert,mask,replace"),
        ("transforms.insert.type", "org.apache.kafka.connect.transforms.InsertField$Value"),
        ("transforms.insert.static.field", "source"),
        ("transforms.insert.static.value", "web"),
        ("transforms.mask.type", "org.apache.kafka.connect.transforms.MaskField$Value"),
        ("transforms.mask.fields", "payment"),
        ("transforms.replace.type", "org.apache.kafka.connect.transforms.ReplaceField$Value"),
        ("transforms.replace.exclude", "event_id"),
    ];
    for (name, case) in [("bytes", &bytes[..]), ("json", &[]), ("json_3smt", &transforms)] {
        let task = TaskId { connector: "cost".into(), task: 0 };
        let mut pipeline = Pipeline::start(&config(case)?, &task).await?;
        let mut costs = Vec::new();
        for _ in 0..RUNS {
            let raws = Arc::new(raws());
            let began = cpu_ns();
            for _ in 0..BATCHES {
                let batch = pipeline.run(&raws).await?;
                let records: Vec<SinkRecord> = batch
                    .into_rows()
                    .into_iter()
                    .filter(|row| matches!(row.verdict, Verdict::Keep))
                    .map(|row| {
                        let origin = Origin::new(raws.clone(), row.origin as usize);
                        SinkRecord { record: row.record, timestamp_type: origin.timestamp_type, origin }
                    })
                    .collect();
                assert_eq!(std::hint::black_box(records).len(), BATCH);
            }
            costs.push((cpu_ns() - began) as f64 / (BATCH * BATCHES) as f64);
        }
        costs.sort_by(f64::total_cmp);
        println!("{name:10} {:6.0} ns a record (median {:.0}, worst {:.0})", costs[0], costs[RUNS / 2], costs[RUNS - 1]);
    }
    Ok(())
}
