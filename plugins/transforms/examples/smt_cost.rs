//! What field transforms cost on JSON orders of some 320 bytes, without Kafka around them:
//! `cargo run --release -p penstock-transforms --example smt_cost`.

use penstock_api::bytes::Bytes;
use penstock_api::{Constructor, Format, Payload, Plugin, Props, Record, Transform};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The worker's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ORDERS: usize = 2_000;
/// Batches of this size, as a worker has them: what one makes is freed before the next.
const BATCH: usize = 500;
const MEASURE_FOR: Duration = Duration::from_millis(1_500);

fn main() {
    let orders: Vec<Bytes> = (0..ORDERS).map(|n| Bytes::from(order(n))).collect();
    let mean = orders.iter().map(Bytes::len).sum::<usize>() / ORDERS;
    println!("{ORDERS} orders of {mean} bytes on average; nanoseconds a record");

    let insert = [("static.field", "source"), ("static.value", "web-shop"), ("topic.field", "topic")];
    let mask = [("fields", "payment")];
    let replace = [("exclude", "test"), ("renames", "currency:cur")];
    measure("make a record", &orders, &mut [], false);
    measure("read JSON", &orders, &mut [], true);
    measure("InsertField", &orders, &mut [make("InsertField$Value", &insert)], false);
    measure("MaskField", &orders, &mut [make("MaskField$Value", &mask)], false);
    measure("ReplaceField", &orders, &mut [make("ReplaceField$Value", &replace)], false);
    let mut three = [make("InsertField$Value", &insert), make("MaskField$Value", &mask), make("ReplaceField$Value", &replace)];
    measure("all three", &orders, &mut three, false);
}

fn measure(what: &str, orders: &[Bytes], transforms: &mut [Box<dyn Transform>], decode: bool) {
    let topic = "retail.orders".into();
    let mut best = f64::MAX;
    let began = Instant::now();
    while began.elapsed() < MEASURE_FOR {
        for batch in orders.chunks(BATCH) {
            let round = Instant::now();
            let mut records: Vec<Record> = batch.iter().map(|order| record(&topic, order)).collect();
            for transform in transforms.iter_mut() {
                for record in &mut records {
                    transform.apply(record).expect("an order can be changed");
                }
            }
            if decode {
                for record in &mut records {
                    black_box(record.value.decode().expect("an order is JSON"));
                }
            }
            drop(black_box(records));
            best = best.min(round.elapsed().as_nanos() as f64 / BATCH as f64);
        }
    }
    println!("{what:<16} {best:>8.0}");
}

fn record(topic: &std::sync::Arc<str>, order: &Bytes) -> Record {
    Record {
        topic: topic.clone(),
        partition: Some(0),
        key: Payload::null(),
        value: Payload::encoded(order.clone(), Format::Json),
        headers: penstock_api::Headers::new(),
        timestamp: Some(1_732_300_000_000),
        offset: Some(1),
    }
}

fn make(class: &str, props: &[(&str, &str)]) -> Box<dyn Transform> {
    let props: Props = props.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let plugins = penstock_transforms::plugins();
    let plugin: &Plugin = plugins.iter().find(|p| p.answers_to(class)).expect("a class of ours");
    let Constructor::Transformation(make) = &plugin.construct else { panic!("{class} is a transform") };
    make(&props).expect("a good configuration")
}

/// An order like those of the retail example, two lines each.
fn order(n: usize) -> String {
    let (a, b) = (n * 7919 % 5000, n * 104_729 % 5000);
    format!(
        r#"{{"event_id":"{n:08x}-51c2-4e77-a1b0-{a:06x}{b:06x}","order_id":"o-{n:06}","customer":{{"id":"c-{a}","email":"customer.{a}@example.com","country":"DE"}},"items":[{{"sku":"sku-{a}","quantity":{},"unit_price":{}.99}},{{"sku":"sku-{b}","quantity":1,"unit_price":{}.5}}],"currency":"EUR","payment":"card","test":false,"ordered_at":{}}}"#,
        n % 5 + 1,
        a % 200,
        b % 90,
        1_732_300_000_000_u64 + n as u64 * 25
    )
}
