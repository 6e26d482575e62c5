//! Measures the boundary to a component: what each way to look at a batch costs, a record, there and back.
//!
//! ```text
//! make guests
//! cargo run --release -p penstock-host --example boundary [-- FOLDER_OF_COMPONENTS]
//! ```
//!
//! Orders of some 320 bytes in batches of 500, one thread, the real host with its deadline clock. Every output is checked once
//! before it is timed. Making the batch is not counted, taking it apart neither. Prints median, least and 90th percentile of 60
//! rounds; on a busy machine believe the least.

use std::path::PathBuf;
use std::time::Instant;

use penstock_api::connector::TaskId;
use penstock_api::transform::TransformContext;
use penstock_api::{Batch, Bytes, Constructor, Format, Headers, Payload, Plugin, Props, Record, Transform, Verdict};
use penstock_host::{HostConfig, scan};

const BATCH: usize = 500;
const ROUNDS: usize = 60;
const BATCHES_PER_ROUND: usize = 20;

/// What a case must make of an order.
type Expect = fn(&str) -> Option<String>;

const CASES: &[(&str, &str, Expect)] = &[
    ("look at the length only", "penstock.tests.Identity", |order| Some(order.to_owned())),
    ("route by topic index", "penstock.tests.Route", |order| Some(order.to_owned())),
    ("read all values raw, write them back", "penstock.tests.RewriteRaw", |order| Some(order.to_owned())),
    ("the same as json", "penstock.tests.RewriteJson", |order| Some(order.to_owned())),
    ("filter 30 % by one text column", "penstock.tests.Filter", |order| {
        (!order.contains(r#""country":"DE""#)).then(|| order.to_owned())
    }),
    ("mask one text column", "penstock.tests.MaskByColumn", |order| Some(with_masked(order, "***"))),
    ("the same with serde_json trees in the guest", "penstock.tests.MaskByTree", |order| Some(with_masked(order, "***"))),
    ("the same in the form of records", "penstock.tests.RecordMask", |order| Some(with_masked(order, "***"))),
    ("new number from two columns", "penstock.tests.AddNumber", |order| {
        let tree: serde_json::Value = serde_json::from_str(order).ok()?;
        let sum = tree["a"].as_f64()? + tree["b"].as_f64()?;
        Some(format!("{},\"sum\":{}}}", &order[..order.len() - 1], serde_json::Value::from(sum)))
    }),
    ("the retail example's transform", "penstock.examples.RetailOrders", |order| {
        let tree: serde_json::Value = serde_json::from_str(order).ok()?;
        let cents = tree["items"].as_array()?.iter().map(|i| i["quantity"].as_f64().unwrap() * i["unit_price"].as_f64().unwrap());
        let total = (cents.sum::<f64>() * 100.0).round() / 100.0;
        let masked = with_masked(order, "c***@example.com");
        let added = format!(",\"total\":{},\"fraud_flag\":false,\"fraud_reason\":null}}", serde_json::Value::from(total));
        Some(format!("{}{added}", &masked[..masked.len() - 1]))
    }),
];

fn with_masked(order: &str, mask: &str) -> String {
    let start = order.find(r#""email":""#).expect("orders have an address") + 9;
    let end = start + order[start..].find('"').expect("it ends");
    format!("{}{mask}{}", &order[..start], &order[end..])
}

/// The `n`th order: always the same.
fn order(n: usize) -> String {
    let country = if n % 10 < 3 { "DE" } else { "FR" };
    let items: Vec<String> = (0..=n % 2)
        .map(|i| {
            format!(
                r#"{{"sku":"sku-{}","quantity":{},"unit_price":{}.99}}"#,
                (n * 7 + i) % 5000,
                1 + n % 4,
                2 + (n * 31 + i) % 190
            )
        })
        .collect();
    format!(
        r#"{{"event_id":"2f1a6c1e-8a5b-4a61-9d8e-{:012x}","order_id":"o-{n:06}","customer":{{"id":"c-{}","email":"customer.{}@example.com","country":"{country}"}},"a":{n},"b":0.5,"items":[{}],"currency":"EUR","payment":"card","test":false,"ordered_at":{}}}"#,
        n * 2_654_435_761,
        n % 997,
        n % 997,
        items.join(","),
        1_732_300_000_000_u64 + n as u64,
    )
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = std::env::args().nth(1).map_or_else(components, PathBuf::from);
    let cache = std::env::temp_dir().join(format!("penstock-boundary-{}", std::process::id()));
    let config = HostConfig { cache_dir: Some(cache.clone()), ..HostConfig::default() };
    let started = Instant::now();
    let _compiled = scan(std::slice::from_ref(&folder), config.clone());
    let compiled = started.elapsed();
    let started = Instant::now();
    let (plugins, _) = scan(std::slice::from_ref(&folder), config);
    let loaded = started.elapsed();
    println!("all components compiled in {compiled:.0?}, loaded from the cache in {loaded:.1?}");

    let orders: Vec<String> = (0..BATCH).map(order).collect();
    let bytes: usize = orders.iter().map(String::len).sum();
    println!("{BATCH} orders of {} bytes; ns a record\n", bytes / BATCH);
    println!("| what the guest does | median | least | p90 |\n| --- | ---: | ---: | ---: |");
    let orders: Vec<Bytes> = orders.into_iter().map(Bytes::from).collect();
    for (what, class, expect) in CASES {
        let Some(plugin) = plugins.iter().find(|plugin| plugin.class == *class) else {
            println!("| {what} | {class} is not in {} | | |", folder.display());
            continue;
        };
        let [least, median, p90] = measure(plugin, &orders, *expect).await;
        println!("| {what} | {median:.0} | {least:.0} | {p90:.0} |");
    }
    if let Err(error) = std::fs::remove_dir_all(&cache) {
        eprintln!("{} stays behind: {error}", cache.display());
    }
}

/// `make guests` puts them into the target folder, this program lies in `release/examples` there.
fn components() -> PathBuf {
    let exe = std::env::current_exe().expect("a program knows its path");
    exe.ancestors().nth(3).map(|target| target.join("components")).expect("it lies in target/release/examples")
}

async fn measure(plugin: &Plugin, orders: &[Bytes], expect: Expect) -> [f64; 3] {
    let Constructor::Transformation(construct) = &plugin.construct else { panic!("{} is no transform", plugin.class) };
    let mut transform = construct(&Props::new()).expect("no key is required");
    let task = TaskId { connector: "boundary".into(), task: 0 };
    let context = TransformContext { task, alias: "it".into(), class: plugin.class.as_str().into() };
    transform.start(&context).await.expect("it starts");
    let mut checked = batch(orders);
    transform.apply_batch(&mut checked, &context).await.expect("it works");
    check(&plugin.class, &checked, orders, expect);

    let mut rounds: Vec<f64> = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        rounds.push(round(&mut *transform, orders, &context).await);
    }
    transform.stop().await;
    rounds.sort_by(f64::total_cmp);
    [rounds[0], rounds[ROUNDS / 2], rounds[ROUNDS * 9 / 10]]
}

async fn round(transform: &mut dyn Transform, orders: &[Bytes], context: &TransformContext) -> f64 {
    let mut nanos = 0;
    for _ in 0..BATCHES_PER_ROUND {
        let mut batch = batch(orders);
        let started = Instant::now();
        transform.apply_batch(&mut batch, context).await.expect("it works");
        nanos += started.elapsed().as_nanos();
    }
    nanos as f64 / (BATCHES_PER_ROUND * orders.len()) as f64
}

fn batch(orders: &[Bytes]) -> Batch {
    let mut batch = Batch::with_capacity(orders.len());
    for (at, order) in orders.iter().enumerate() {
        let record = Record {
            topic: "retail.orders".into(),
            partition: Some(0),
            offset: Some(at as i64),
            key: Payload::null(),
            value: Payload::encoded(order.clone(), Format::Json),
            headers: Headers::new(),
            timestamp: Some(1_732_300_000_000),
        };
        batch.push(record, at as u32);
    }
    batch
}

fn check(class: &str, batch: &Batch, orders: &[Bytes], expect: Expect) {
    for (row, order) in batch.rows().iter().zip(orders) {
        let order = std::str::from_utf8(order).expect("orders are text");
        match (&row.verdict, expect(order)) {
            (Verdict::Keep, Some(expected)) => {
                let encoded = row.record.value.wire().unwrap_or_else(|| panic!("{class} leaves JSON"));
                let equal = *encoded.bytes == *expected.as_bytes() || same_json(&encoded.bytes, expected.as_bytes());
                assert!(equal, "{class} made {:?} where {expected} is due", encoded.bytes);
            }
            (Verdict::Drop, None) => {}
            (verdict, expected) => panic!("{class}: {verdict:?} where {expected:?} is due"),
        }
    }
}

/// Trees do not keep the text.
fn same_json(a: &[u8], b: &[u8]) -> bool {
    let parse = |text| serde_json::from_slice::<serde_json::Value>(text).ok();
    parse(a).is_some_and(|a| Some(a) == parse(b))
}
