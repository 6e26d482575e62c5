//! Measures the boundary to a component: what each way to look at a batch costs, a record, there and back.
//!
//! ```text
//! make guests
//! cargo run --release --workspace --example boundary [-- WORDS]       only cases that have these words
//! ```
//!
//! Orders of some 320 bytes in batches of 50, 500 and 5,000; one thread, the real host with its deadline clock, the worker's
//! allocator; Avro by the worker's own converter and a real registry. Every output is checked before it is timed. Making a batch is
//! not counted, taking it apart neither. Prints the median over all batches and, in brackets, the 10th and 90th percentile.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use penstock_api::connector::TaskId;
use penstock_api::transform::TransformContext;
use penstock_api::{
    Batch, Bytes, Constructor, Headers, Part, Payload, Plugin, Props, RawRecord, Record, TimestampType, Transform, Value, Verdict,
};
use penstock_host::{HostConfig, scan};
use penstock_tests::Registry;
use serde_json::{Value as Json, json};

/// The worker's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCHES: [usize; 3] = [50, 500, 5_000];
const RECORDS_PER_CASE: usize = 600_000;
/// Of these many orders all batches are made.
const ORDERS: usize = 5_000;

/// What a case must make of an order.
type Expect = fn(&Json) -> Option<Json>;

struct Case {
    what: &'static str,
    class: &'static str,
    props: &'static [(&'static str, &'static str)],
    /// The order's own text is Avro, not JSON.
    avro: bool,
    expect: Expect,
}

const fn case(what: &'static str, class: &'static str, expect: Expect) -> Case {
    Case { what, class, props: &[], avro: false, expect }
}

const CASES: &[Case] = &[
    case("look at the length only", "penstock.tests.Identity", same),
    case("route by topic index", "penstock.tests.Route", same),
    case("read all values raw, write them back", "penstock.tests.RewriteRaw", same),
    case("filter 30 % by one text column", "penstock.tests.Filter", |order| {
        (order["customer"]["country"] != "DE").then(|| order.clone())
    }),
    case("one field: as column", "penstock.tests.MaskByColumn", masked),
    case("one field: raw bytes, searched and spliced by the guest", "penstock.tests.MaskByBytes", masked),
    case("one field: JSON, serde_json trees in the guest", "penstock.tests.MaskByTree", masked),
    Case {
        what: "one field: Avro body, walked and spliced by the guest",
        class: "penstock.tests.MaskByAvro",
        props: &[],
        avro: true,
        expect: masked,
    },
    Case { what: "one field: as column of Avro", class: "penstock.tests.MaskByColumn", props: &[], avro: true, expect: masked },
    Case {
        what: "one field: form of records (SDK)",
        class: "penstock.tests.RecordMask",
        props: &[("prefix", "")],
        avro: false,
        expect: masked,
    },
    case("form of records (SDK), nothing looked at", "penstock.tests.RecordIdentity", same),
    Case {
        what: "for comparison: built-in MaskField, no component",
        class: "org.apache.kafka.connect.transforms.MaskField$Value",
        props: &[("fields", "payment"), ("replacement", "***")],
        avro: false,
        expect: |order| {
            let mut order = order.clone();
            order["payment"] = "***".into();
            Some(order)
        },
    },
    case("new number from two columns", "penstock.tests.AddNumber", |order| {
        let mut order = order.clone();
        order["sum"] = (order["a"].as_f64()? + order["b"].as_f64()?).into();
        Some(order)
    }),
    case("the retail example's transform", "penstock.examples.RetailOrders", |order| {
        let mut order = order.clone();
        let price = |item: &Json| Some(item["quantity"].as_f64()? * item["unit_price"].as_f64()?);
        let total: f64 = order["items"].as_array()?.iter().filter_map(price).sum();
        order["customer"]["email"] = "c***@example.com".into();
        order["total"] = ((total * 100.0).round() / 100.0).into();
        order["fraud_flag"] = false.into();
        order["fraud_reason"] = Json::Null;
        Some(order)
    }),
];

#[expect(clippy::unnecessary_wraps, reason = "of the type of all expectations")]
fn same(order: &Json) -> Option<Json> {
    Some(order.clone())
}

#[expect(clippy::unnecessary_wraps, reason = "of the type of all expectations")]
fn masked(order: &Json) -> Option<Json> {
    let mut order = order.clone();
    order["customer"]["email"] = "***".into();
    Some(order)
}

/// The `n`th order: always the same.
fn order(n: usize) -> Json {
    let item = |i: usize| {
        let sku = format!("sku-{}", (n * 7 + i) % 5000);
        json!({"sku": sku, "quantity": 1 + (n + i) % 4, "unit_price": (2 + (n * 31 + i) % 190) as f64 + 0.99})
    };
    json!({
        "event_id": format!("2f1a6c1e-8a5b-4a61-9d8e-{:012x}", n * 2_654_435_761),
        "order_id": format!("o-{n:06}"),
        "customer": {
            "id": format!("c-{}", n % 997),
            "email": format!("customer.{}@example.com", n % 997),
            "country": if n % 10 < 3 { "DE" } else { "FR" },
        },
        "a": n,
        "b": 0.5,
        "items": (0..=n % 2).map(item).collect::<Vec<_>>(),
        "currency": "EUR",
        "payment": "card",
        "test": false,
        "ordered_at": 1_732_300_000_000_u64 + n as u64,
    })
}

fn avro_schema() -> Json {
    let text = |name: &str| json!({"name": name, "type": "string"});
    let customer = json!({"type": "record", "name": "Customer", "fields": [text("id"), text("email"), text("country")]});
    let item = json!({"type": "record", "name": "Item", "fields": [
        text("sku"), {"name": "quantity", "type": "long"}, {"name": "unit_price", "type": "double"}]});
    json!({"type": "record", "name": "Order", "fields": [
        text("event_id"), text("order_id"), {"name": "customer", "type": customer},
        {"name": "a", "type": "long"}, {"name": "b", "type": "double"},
        {"name": "items", "type": {"type": "array", "items": item}},
        text("currency"), text("payment"), {"name": "test", "type": "boolean"}, {"name": "ordered_at", "type": "long"},
    ]})
}

fn as_avro(json: &Json) -> Avro {
    match json {
        Json::Null => Avro::Null,
        Json::Bool(b) => Avro::Boolean(*b),
        Json::Number(n) => n.as_i64().map_or_else(|| Avro::Double(n.as_f64().unwrap_or_default()), Avro::Long),
        Json::String(text) => Avro::String(text.clone()),
        Json::Array(items) => Avro::Array(items.iter().map(as_avro).collect()),
        Json::Object(fields) => Avro::Record(fields.iter().map(|(name, value)| (name.clone(), as_avro(value))).collect()),
    }
}

/// Orders as payloads of one format, and as what they mean.
struct Orders {
    payloads: Vec<Payload>,
    meant: Vec<Json>,
    bytes: usize,
}

impl Orders {
    fn new(payloads: Vec<Payload>, meant: Vec<Json>) -> Self {
        let bytes = payloads.iter().filter_map(Payload::wire).map(|wire| wire.bytes.len()).sum::<usize>() / payloads.len();
        Self { payloads, meant, bytes }
    }

    async fn json() -> Result<Self> {
        let meant: Vec<Json> = (0..ORDERS).map(order).collect();
        let texts = meant.iter().map(|order| Bytes::from(order.to_string())).collect();
        let props = [("schemas.enable", "false")];
        Ok(Self::new(converted("org.apache.kafka.connect.json.JsonConverter", &props, texts).await?, meant))
    }

    /// The registry is gone before anything is measured.
    async fn avro() -> Result<Self> {
        let registry = Registry::start().await?;
        let id = registry.register("boundary-value", &avro_schema()).await?;
        let schema = apache_avro::Schema::parse(&avro_schema())?;
        let writer = GenericDatumWriter::builder(&schema).build()?;
        let meant: Vec<Json> = (0..ORDERS).map(order).collect();
        let mut framed = Vec::new();
        for order in &meant {
            let mut bytes = vec![0];
            bytes.extend(id.to_be_bytes());
            bytes.extend(writer.write_value_to_vec(as_avro(order))?);
            framed.push(Bytes::from(bytes));
        }
        let props = [("schema.registry.url", registry.url())];
        Ok(Self::new(converted("io.confluent.connect.avro.AvroConverter", &props, framed).await?, meant))
    }

    fn batch(&self, from: usize, size: usize, topic: &Arc<str>) -> Batch {
        let mut batch = Batch::with_capacity(size);
        for at in 0..size {
            let record = Record {
                topic: topic.clone(),
                partition: Some(0),
                offset: Some(at as i64),
                key: Payload::null(),
                value: self.payloads[(from + at) % ORDERS].clone(),
                headers: Headers::new(),
                timestamp: Some(1_732_300_000_000),
            };
            batch.push(record, at as u32);
        }
        batch
    }
}

/// The payloads that a converter of the worker makes of bytes.
async fn converted(class: &str, props: &[(&str, &str)], bytes: Vec<Bytes>) -> Result<Vec<Payload>> {
    let plugins = penstock::converters::plugins();
    let plugin = plugins.iter().find(|plugin| plugin.class == class).context("a converter of ours")?;
    let Constructor::Converter(construct) = &plugin.construct else { bail!("{class} is no converter") };
    let mut converter = construct(&props_of(props), Part::Value)?;
    let raws: Vec<RawRecord> = bytes.into_iter().map(raw).collect();
    converter.prefetch(&raws, Part::Value).await;
    Ok(raws.iter().map(|raw| converter.to_connect("retail.orders", raw.value.as_ref())).collect::<Result<_, _>>()?)
}

fn raw(value: Bytes) -> RawRecord {
    RawRecord {
        topic: "retail.orders".into(),
        partition: 0,
        offset: 0,
        timestamp: None,
        timestamp_type: TimestampType::NoTimestamp,
        key: None,
        value: Some(value),
        headers: None,
    }
}

fn props_of(props: &[(&str, &str)]) -> Props {
    props.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let folder = penstock_tests::ground::target_dir().join("components");
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut plugins = components(&folder)?;
    plugins.extend(penstock_transforms::plugins());
    let (json, avro) = (Orders::json().await?, Orders::avro().await?);
    println!("orders of {} bytes as JSON, {} as Avro; ns a record: median (10th, 90th percentile)\n", json.bytes, avro.bytes);
    println!("| what the guest does | batch of {} | of {} | of {} |", BATCHES[0], BATCHES[1], BATCHES[2]);
    println!("| --- | ---: | ---: | ---: |");
    for case in CASES.iter().filter(|case| words.iter().all(|word| case.what.contains(word))) {
        let plugin = plugins.iter().find(|plugin| plugin.class == case.class);
        let plugin = plugin.with_context(|| format!("{} is not in {}: run make guests", case.class, folder.display()))?;
        let mut cells = Vec::new();
        for size in BATCHES {
            let [median, low, high] = measure(plugin, case, if case.avro { &avro } else { &json }, size).await?;
            cells.push(format!("{median:.0} ({low:.0}, {high:.0})"));
        }
        println!("| {} | {} |", case.what, cells.join(" | "));
    }
    Ok(())
}

fn components(folder: &std::path::Path) -> Result<Vec<Plugin>> {
    let cache = tempfile::tempdir()?;
    let config = HostConfig { cache_dir: Some(cache.path().to_owned()), ..HostConfig::default() };
    let paths = [folder.to_owned()];
    let started = Instant::now();
    let (compiled, _) = scan(&paths, config.clone());
    let compile_time = started.elapsed();
    drop(compiled);
    let started = Instant::now();
    let (plugins, _) = scan(&paths, config);
    println!("all components compiled in {compile_time:.0?}, loaded from the cache in {:.1?}", started.elapsed());
    Ok(plugins)
}

async fn measure(plugin: &Plugin, case: &Case, orders: &Orders, size: usize) -> Result<[f64; 3]> {
    let Constructor::Transformation(construct) = &plugin.construct else { bail!("{} is no transform", plugin.class) };
    let mut transform = construct(&props_of(case.props))?;
    let task = TaskId { connector: "boundary".into(), task: 0 };
    let context = TransformContext { task, alias: "it".into(), class: plugin.class.as_str().into() };
    transform.start(&context).await?;
    let topic: Arc<str> = "retail.orders".into();
    let mut checked = orders.batch(0, size, &topic);
    transform.apply_batch(&mut checked, &context).await?;
    check(case, &checked, orders)?;

    let mut costs = Vec::with_capacity(RECORDS_PER_CASE / size);
    for round in 0..RECORDS_PER_CASE / size {
        let mut batch = orders.batch(round * size, size, &topic);
        costs.push(timed(&mut *transform, &mut batch, &context).await? / size as f64);
    }
    transform.stop().await;
    // The first tenth warms the caches.
    costs.drain(..costs.len() / 10);
    costs.sort_by(f64::total_cmp);
    Ok([costs[costs.len() / 2], costs[costs.len() / 10], costs[costs.len() * 9 / 10]])
}

/// Nanoseconds for a batch.
async fn timed(transform: &mut dyn Transform, batch: &mut Batch, context: &TransformContext) -> Result<f64> {
    let started = Instant::now();
    transform.apply_batch(batch, context).await?;
    Ok(started.elapsed().as_nanos() as f64)
}

fn check(case: &Case, batch: &Batch, orders: &Orders) -> Result<()> {
    for (row, order) in batch.rows().iter().zip(&orders.meant) {
        match (&row.verdict, (case.expect)(order)) {
            (Verdict::Keep, Some(due)) => {
                let made = plain(&row.record.value.view()?.value)?;
                ensure!(made == due, "{}: made {made} where {due} is due", case.what);
            }
            (Verdict::Drop, None) => {}
            (verdict, due) => bail!("{}: {verdict:?} where {due:?} is due", case.what),
        }
    }
    Ok(())
}

/// A value as JSON without a schema.
fn plain(value: &Value) -> Result<Json> {
    let mut text = Vec::new();
    penstock_api::json::write(value, &mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
