//! The records: a retailer's orders, the same in every run (seeded), as JSON of some 321 bytes and as Avro of some 112.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use apache_avro::Schema;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use penstock_tests::{Kafka, Registry};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::json;

use crate::cases::Case;

pub(crate) const PARTITIONS: i32 = 4;
const SEED: u64 = 321;
const JSON_TOPIC: &str = "bench-orders-json";
const AVRO_TOPIC: &str = "bench-orders-avro";
const FLUSH_LIMIT: Duration = Duration::from_secs(120);

/// The topics that the cases drain, filled.
pub(crate) struct Topics {
    json_records: u64,
    avro_records: u64,
}

impl Topics {
    pub(crate) async fn produce(kafka: &Kafka, registry: Option<&Registry>, cases: &[Case], records: u64) -> Result<Topics> {
        let avro_records = records * 2 / 5;
        if cases.iter().any(|case| *case != Case::Avro) {
            fill(kafka, JSON_TOPIC, records, json_order).await?;
        }
        if let Some(registry) = registry {
            let schema = Schema::parse(&avro_schema())?;
            let id = registry.register(&format!("{AVRO_TOPIC}-value"), &avro_schema()).await?;
            fill(kafka, AVRO_TOPIC, avro_records, move |rng, n| avro_order(rng, n, &schema, id)).await?;
        }
        Ok(Topics { json_records: records, avro_records })
    }

    pub(crate) fn topic(&self, case: Case) -> &'static str {
        if case == Case::Avro { AVRO_TOPIC } else { JSON_TOPIC }
    }

    pub(crate) fn records(&self, case: Case) -> u64 {
        if case == Case::Avro { self.avro_records } else { self.json_records }
    }
}

async fn fill(
    kafka: &Kafka,
    topic: &str,
    records: u64,
    order: impl Fn(&mut StdRng, u64) -> Vec<u8> + Send + 'static,
) -> Result<()> {
    kafka.create_topic(topic, PARTITIONS).await?;
    let mut client = kafka.client();
    client
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .set("batch.size", "262144")
        .set("queue.buffering.max.kbytes", "262144");
    let producer: ThreadedProducer<DefaultProducerContext> = client.create()?;
    let name = topic.to_owned();
    let began = Instant::now();
    let bytes = tokio::task::spawn_blocking(move || produce(&producer, &name, records, order)).await??;
    let produced: i64 = kafka.end_offsets(topic).await?.values().sum();
    if u64::try_from(produced)? != records {
        bail!("{topic} holds {produced} records instead of {records}");
    }
    eprintln!("bench: {records} records of {} bytes on average in {topic} after {:.0?}", bytes / records, began.elapsed());
    Ok(())
}

/// The sum of the values' sizes.
fn produce(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    records: u64,
    order: impl Fn(&mut StdRng, u64) -> Vec<u8>,
) -> Result<u64> {
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut bytes = 0;
    for n in 0..records {
        let value = order(&mut rng, n);
        bytes += value.len() as u64;
        let partition = i32::try_from(n % PARTITIONS.unsigned_abs() as u64)?;
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(&value).partition(partition);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => return Err(error).context("produce"),
            }
        }
    }
    producer.flush(FLUSH_LIMIT).context("wait for the last acknowledgements")?;
    Ok(bytes)
}

const COUNTRIES: [&str; 8] = ["DE", "FR", "US", "BR", "JP", "IN", "GB", "PL"];
const SKUS: [&str; 6] = ["mug-blue-300", "shirt-xl-black", "lamp-desk-led", "book-a5-lined", "socks-wool-42", "chair-oak-std"];
const ADJECTIVES: [&str; 6] = ["amber", "brisk", "calm", "dusty", "eager", "fuzzy"];

/// Of the shape that the retail example's component checks.
fn json_order(rng: &mut StdRng, n: u64) -> Vec<u8> {
    let name = ADJECTIVES[rng.random_range(0..ADJECTIVES.len())];
    let country = COUNTRIES[rng.random_range(0..COUNTRIES.len())];
    let (first, second) = (SKUS[rng.random_range(0..SKUS.len())], SKUS[rng.random_range(0..SKUS.len())]);
    let (quantity, cents) = (rng.random_range(1..9), rng.random_range(100..20_000));
    let (customer, payment) = (rng.random_range(10_000..99_999), rng.random_range(100..999));
    format!(
        concat!(
            r#"{{"event_id":"e-{n:07}","order_id":"o-{n:07}","customer":{{"id":"c-{customer}","email":"{name}.{customer}@example.com","#,
            r#""country":"{country}"}},"items":[{{"sku":"{first}","quantity":{quantity},"unit_price":{euros}.{rest:02}}},"#,
            r#"{{"sku":"{second}","quantity":1,"unit_price":19.99}}],"currency":"EUR","payment":"c-{payment}","test":false,"#,
            r#""ordered_at":{ordered_at}}}"#
        ),
        n = n,
        ordered_at = 1_760_000_000_000 + n,
        customer = customer,
        name = name,
        country = country,
        first = first,
        second = second,
        quantity = quantity,
        euros = cents / 100,
        rest = cents % 100,
        payment = payment,
    )
    .into_bytes()
}

fn avro_schema() -> serde_json::Value {
    json!({"type": "record", "name": "Order", "namespace": "penstock.bench", "fields": [
        {"name": "order_id", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "customer_id", "type": "string"},
        {"name": "email", "type": ["null", "string"], "default": null},
        {"name": "country", "type": "string"},
        {"name": "sku", "type": "string"},
        {"name": "quantity", "type": "int"},
        {"name": "price", "type": "double"},
        {"name": "paid", "type": "boolean"},
        {"name": "note", "type": ["null", "string"], "default": null},
    ]})
}

/// In Confluent's framing: a zero, the schema's id in four bytes, the Avro datum.
fn avro_order(rng: &mut StdRng, n: u64, schema: &Schema, id: u32) -> Vec<u8> {
    let customer = rng.random_range(10_000..99_999);
    let text = |text: &str| Avro::String(text.to_owned());
    let some = |value: String| Avro::Union(1, Box::new(Avro::String(value)));
    let order = Avro::Record(vec![
        ("order_id".into(), text(&format!("o-{n:010}"))),
        ("ts".into(), Avro::TimestampMillis(1_760_000_000_000 + n.cast_signed())),
        ("customer_id".into(), text(&format!("c-{customer}"))),
        ("email".into(), some(format!("{}.{customer}@example.com", ADJECTIVES[rng.random_range(0..ADJECTIVES.len())]))),
        ("country".into(), text(COUNTRIES[rng.random_range(0..COUNTRIES.len())])),
        ("sku".into(), text(SKUS[rng.random_range(0..SKUS.len())])),
        ("quantity".into(), Avro::Int(rng.random_range(1..9))),
        ("price".into(), Avro::Double(f64::from(rng.random_range(100..20_000)) / 100.0)),
        ("paid".into(), Avro::Boolean(true)),
        ("note".into(), some("leave at the door, ring".into())),
    ]);
    let mut framed = vec![0];
    framed.extend(id.to_be_bytes());
    let datum = GenericDatumWriter::builder(schema).build().and_then(|writer| writer.write_value_to_vec(order));
    framed.extend(datum.expect("the order fits its own schema"));
    framed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_have_the_size_that_is_told() {
        let mut rng = StdRng::seed_from_u64(SEED);
        let sizes: Vec<usize> = (0..1000).map(|n| json_order(&mut rng, n).len()).collect();
        let average = sizes.iter().sum::<usize>() / sizes.len();
        assert!((316..=326).contains(&average), "JSON: {average}");
        serde_json::from_slice::<serde_json::Value>(&json_order(&mut rng, 7)).unwrap();
        let schema = Schema::parse(&avro_schema()).unwrap();
        let sizes: Vec<usize> = (0..1000).map(|n| avro_order(&mut rng, n, &schema, 1).len()).collect();
        let average = sizes.iter().sum::<usize>() / sizes.len();
        assert!((107..=117).contains(&average), "Avro: {average}");
    }
}
