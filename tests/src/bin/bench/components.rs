//! What components cost: a sink and a source that are components beside built-in ones, and the memory of a thousand instances.
//!
//! - **Sinks.** The built-in source `Datagen` fills a topic with orders. Sinks drain it in turns, `--runs` times each: the built-in
//!   `Blackhole`, a component that counts records (it is told how many rows a batch has), and the same one when it also reads every
//!   value. What they cost more than `Blackhole` is compared in the cheapest runs: others on the machine only make runs dearer.
//! - **Sources.** A component that gives 100 records a poll, each with a key, a header, a value and an offset of its own, beside
//!   `Datagen`; until the last record stands in its topic. Both end up in the same producer, with batches of 256 KiB that may wait 20 ms.
//! - **Instances.** A worker gets one connector with a thousand transforms that are one small component: a thousand instances. Memory
//!   is the worker's resident memory (`VmRSS`) after a rest, when all have taken a record, beside that of the same worker with one.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use penstock_tests::connect::{Config, Connect, config};
use penstock_tests::{Kafka, Usage, Worker, unique, wait_until};
use serde::Serialize;

use crate::mirror::LARGE_BATCHES;
use crate::report::save;
use crate::systems::{COMMIT_INTERVAL_MS, until_drained};

/// Of the topic that sinks drain, and of those that sources fill.
const PARTITIONS: i32 = 4;
/// How many instances of a component are to run at once, and what they may need.
const INSTANCES: usize = 1000;
const INSTANCES_MB: f64 = 600.0;
const SMALL_COMPONENT: &str = "penstock.tests.Identity";
const LIMIT: Duration = Duration::from_secs(300);
const REST: Duration = Duration::from_secs(5);

/// One run of a connector, or what instances need.
#[derive(Clone, Debug, Serialize)]
struct Measured {
    what: &'static str,
    cpu_us_per_record: f64,
    records_per_s: f64,
}

#[derive(Serialize)]
struct Found {
    sinks: Vec<Measured>,
    sources: Vec<Measured>,
    /// Of a worker with one instance, and with many.
    one_mb: f64,
    instances: usize,
    instances_mb: f64,
}

const BLACKHOLE: &str = "Blackhole, built in";
const COUNTS: &str = "component that counts";
const READS: &str = "component that reads each value";
const DATAGEN: &str = "Datagen, built in";
const COUNT_SOURCE: &str = "component, 100 records a poll";

pub(crate) async fn measure(kafka: &Kafka, records: u64, runs: u32, output: &Path) -> Result<()> {
    // Compiled by the first of the workers.
    let cache = tempfile::tempdir()?;
    let builder = Worker::builder(kafka)
        .property("offset.flush.interval.ms", COMMIT_INTERVAL_MS)
        .property("penstock.plugin.cache.dir", cache.path().display())
        .with_test_components()?;
    let worker = builder.clone().start().await?;
    let mut found = Found { sinks: Vec::new(), sources: Vec::new(), one_mb: 0.0, instances: INSTANCES, instances_mb: 0.0 };
    for run in 1..=runs {
        for what in [DATAGEN, COUNT_SOURCE] {
            let measured = source(kafka, &worker, what, records, &format!("bench-{run}-")).await.with_context(|| what)?;
            found.sources.push(measured);
        }
    }
    for _ in 0..runs {
        for what in [BLACKHOLE, COUNTS, READS] {
            found.sinks.push(sink(kafka, &worker, what, records).await.with_context(|| what)?);
        }
    }
    drop(worker);
    found.one_mb = instances(kafka, &builder, 1).await?;
    found.instances_mb = instances(kafka, &builder, INSTANCES).await?;
    save(output, serde_json::to_string_pretty(&found)?)?;
    found.print();
    Ok(())
}

/// What a connector took of a worker's time between two looks.
fn taken(what: &'static str, before: Usage, after: Usage, records: u64, records_per_s: f64) -> Measured {
    let cpu_us_per_record = (after.cpu - before.cpu).as_secs_f64() * 1e6 / records as f64;
    eprintln!("bench:   {what}: {cpu_us_per_record:.2} us CPU a record, {records_per_s:.0} records/s");
    Measured { what, cpu_us_per_record, records_per_s }
}

/// The topic that Datagen has filled in the first run.
const ORDERS: &str = "bench-1-orders";

async fn source(kafka: &Kafka, worker: &Worker, what: &'static str, records: u64, prefix: &str) -> Result<Measured> {
    let topic = format!("{prefix}{}", if what == DATAGEN { "orders" } else { "numbers" });
    kafka.create_topic(&topic, PARTITIONS).await?;
    let count = records.to_string();
    let mut connector = if what == DATAGEN {
        config([
            ("connector.class", "penstock.Datagen"),
            ("datagen.events", "orders"),
            ("datagen.rate", "0"),
            ("datagen.topic.prefix", prefix),
            ("datagen.records.max", &count),
        ])
    } else {
        config([("connector.class", "penstock.tests.CountSource"), ("topic", &topic), ("records", &count), ("batch", "100")])
    };
    connector.extend(config(LARGE_BATCHES));
    let name = unique("bench-source");
    let (before, began) = (worker.usage()?, Instant::now());
    worker.connect().create(&name, &json(connector)).await?;
    wait_until("the last record", LIMIT, async || {
        let ends = kafka.end_offsets(&topic).await?;
        Ok(ends.values().sum::<i64>() >= records.cast_signed())
    })
    .await?;
    let (after, seconds) = (worker.usage()?, began.elapsed().as_secs_f64());
    delete(worker.connect(), &name).await?;
    Ok(taken(what, before, after, records, records as f64 / seconds))
}

async fn sink(kafka: &Kafka, worker: &Worker, what: &'static str, records: u64) -> Result<Measured> {
    let mut connector = match what {
        BLACKHOLE => config([("connector.class", "penstock.Blackhole")]),
        COUNTS => config([("connector.class", "penstock.tests.CountSink"), ("mode", "count-only")]),
        _ => config([("connector.class", "penstock.tests.CountSink")]),
    };
    connector.insert("topics".into(), ORDERS.into());
    connector.insert("tasks.max".into(), "1".into());
    let name = unique("bench-sink");
    let before = worker.usage()?;
    worker.connect().create(&name, &json(connector)).await?;
    let records_per_s = until_drained(kafka, &name, ORDERS, records, worker.connect()).await?;
    let after = worker.usage()?;
    delete(worker.connect(), &name).await?;
    Ok(taken(what, before, after, records, records_per_s))
}

/// With JSON that has no schema in it.
pub(crate) fn json(mut connector: Config) -> Config {
    for (key, value) in [
        ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ("value.converter.schemas.enable", "false"),
    ] {
        connector.insert(key.into(), value.into());
    }
    connector
}

async fn delete(connect: &Connect, name: &str) -> Result<()> {
    connect.delete(&format!("/connectors/{name}")).await?.ok().map(drop)
}

/// Resident memory of a worker with so many instances, in MB.
async fn instances(kafka: &Kafka, builder: &penstock_tests::worker::Builder, count: usize) -> Result<f64> {
    let topic = unique("bench-instances");
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, [r#"{"country":"DE"}"#]).await?;
    let worker = builder.clone().start().await?;
    let mut connector = json(config([("connector.class", "penstock.Blackhole"), ("topics", &topic), ("tasks.max", "1")]));
    let names: Vec<String> = (0..count).map(|n| format!("t{n}")).collect();
    for name in &names {
        connector.insert(format!("transforms.{name}.type"), SMALL_COMPONENT.into());
    }
    connector.insert("transforms".into(), names.join(","));
    let name = unique("bench-instances");
    worker.connect().create(&name, &connector).await?;
    worker.connect().wait_running(&name, 1).await?;
    penstock_tests::java::wait_drained(kafka, &name, &topic, LIMIT).await?;
    tokio::time::sleep(REST).await;
    let mb = worker.usage()?.rss_mb();
    eprintln!("bench:   {count} instances: {mb:.0} MB");
    Ok(mb)
}

impl Found {
    fn print(&self) {
        println!("\n| components | run | CPU us/record | records/s |");
        println!("| --- | ---: | ---: | ---: |");
        for whats in [&self.sources, &self.sinks] {
            for what in [DATAGEN, COUNT_SOURCE, BLACKHOLE, COUNTS, READS] {
                for (run, one) in whats.iter().filter(|one| one.what == what).enumerate() {
                    println!("| {what} | {} | {:.3} | {:.0} |", run + 1, one.cpu_us_per_record, one.records_per_s);
                }
            }
        }
        let cheapest = |of: &[Measured], what: &str| {
            let costs = of.iter().filter(|one| one.what == what).map(|one| one.cpu_us_per_record);
            costs.fold(f64::NAN, f64::min)
        };
        let more = |what: &str| (cheapest(&self.sinks, what) - cheapest(&self.sinks, BLACKHOLE)) * 1000.0;
        println!("\n| bar (cheapest runs) | wanted | reached |");
        println!("| --- | ---: | ---: |");
        println!("| {COUNTS}, ns a record more than {BLACKHOLE} | <= 100 | {:.0} |", more(COUNTS));
        println!("| {READS}, ns a record more than {BLACKHOLE} | | {:.0} |", more(READS));
        println!("| {COUNT_SOURCE}, records/s on one core | >= 500000 | {:.0} |", 1e6 / cheapest(&self.sources, COUNT_SOURCE));
        println!(
            "| a worker with {} instances of a small component, MB | <= {INSTANCES_MB:.0} | {:.0} |",
            self.instances, self.instances_mb
        );
        println!("| a worker with one, MB | | {:.0} |", self.one_mb);
    }
}
