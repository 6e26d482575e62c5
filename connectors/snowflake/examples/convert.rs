//! What rows cost before they leave this machine: JSON orders into Parquet, in microseconds of CPU a record.
//!
//!     cargo run --release -p penstock-snowflake --example convert [RECORDS]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::sys::resource::{UsageWho, getrusage};
use penstock_api::payload::Format;
use penstock_api::{Headers, Origin, Payload, Props, RawRecord, Record, SinkRecord, TimestampType};
use penstock_snowflake::config::Config;
use penstock_snowflake::names::{Ident, TableName};
use penstock_snowflake::rows::{Scratch, TableRows};
use penstock_snowflake::table::{Table, TableColumn};
use penstock_snowflake::types::ColumnType;

const BATCH: usize = 500;

fn main() {
    let records: usize = std::env::args().nth(1).map_or(Ok(1_000_000), |n| n.parse()).expect("a number of records");
    println!("{:<34} {:>10} {:>12} {:>10} {:>10} {:>8}", "case", "us CPU", "records/s", "MB raw", "MB file", "MB peak");
    let decimals = vec![("total", ColumnType::Number { precision: 12, scale: 2 }), ("created_at", ColumnType::TimestampNtz)];
    run("RECORD_CONTENT", records, &[("snowflake.enable.schematization", "false")], vec![], false);
    run("columns, new ones", records, &[], vec![], false);
    run("columns, NUMBER(12,2), TIMESTAMP", records, &[], decimals, false);
    run("columns, decoded before", records, &[], vec![], true);
}

fn run(case: &str, records: usize, more: &[(&str, &str)], columns: Vec<(&str, ColumnType)>, decoded: bool) {
    let config = Config::read(&props(more)).expect("the configuration is right");
    let name = |text: &str| Ident::verbatim(text);
    let table = TableName { database: name("D"), schema: name("S"), name: name("orders") };
    let columns = columns.into_iter().map(|(column, ty)| TableColumn { name: name(column), ty, required: false }).collect();
    let mut rows = TableRows::new(Arc::new(Table::new(table, columns, true)));
    let mut scratch = Scratch::default();
    let (mut cpu, mut wall, mut raw_bytes, mut memory) = (Duration::ZERO, Duration::ZERO, 0, 0);
    for batch in 0..records.div_ceil(BATCH) {
        let batch = orders(batch * BATCH, decoded);
        raw_bytes += batch.iter().map(|r| r.origin.value.as_ref().map_or(0, Bytes::len)).sum::<usize>();
        let (cpu_before, began) = (cpu_time(), Instant::now());
        for record in &batch {
            rows.add(record, &config, &mut scratch).expect("an order fits");
        }
        cpu += cpu_time() - cpu_before;
        wall += began.elapsed();
        memory = memory.max(rows.memory());
    }
    let (cpu_before, began) = (cpu_time(), Instant::now());
    let (_, _, files) = rows.finish().expect("the file can be written");
    cpu += cpu_time() - cpu_before;
    wall += began.elapsed();
    let file_bytes: usize = files.iter().map(|f| f.file.bytes.len()).sum();
    let mb = |bytes: usize| bytes as f64 / 1e6;
    println!(
        "{case:<34} {:>10.2} {:>12.0} {:>10.1} {:>10.1} {:>8.1}",
        cpu.as_secs_f64() * 1e6 / records as f64,
        records as f64 / wall.as_secs_f64(),
        mb(raw_bytes),
        mb(file_bytes),
        mb(memory)
    );
}

fn orders(from: usize, decoded: bool) -> Vec<SinkRecord> {
    let raws: Vec<RawRecord> = (from..from + BATCH).map(order).collect();
    let raws = Arc::new(raws);
    (0..BATCH)
        .map(|index| {
            let origin = Origin::new(raws.clone(), index);
            let mut value = Payload::encoded(origin.value.clone().expect("orders have values"), Format::Json);
            if decoded {
                value.decode_mut().expect("orders are JSON");
            }
            let record = Record {
                topic: origin.topic.clone(),
                partition: Some(0),
                offset: Some(origin.offset),
                key: Payload::encoded(origin.key.clone().expect("orders have keys"), Format::String),
                value,
                headers: Headers::new(),
                timestamp: origin.timestamp,
            };
            SinkRecord { record, timestamp_type: TimestampType::CreateTime, origin }
        })
        .collect()
}

/// An order of some 320 bytes, alike in form and different in content.
fn order(n: usize) -> RawRecord {
    let mix = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let country = ["DE", "FR", "US", "JP", "BR"][n % 5];
    let value = format!(
        r#"{{"order_id":"o-{n:09}","customer":{{"id":{},"email":"user{}@example.com","country":"{country}"}},"items":[{{"sku":"sku-{:04}","qty":{},"price":{}.{:02}}},{{"sku":"sku-{:04}","qty":1,"price":7.50}}],"total":{}.{:02},"currency":"EUR","channel":"web","created_at":"2026-11-23T12:{:02}:{:02}.123Z","test":false}}"#,
        mix % 1_000_000,
        mix % 1_000_000,
        mix >> 20 & 4095,
        mix % 9 + 1,
        mix % 200,
        mix % 100,
        mix >> 32 & 4095,
        mix % 2000,
        mix % 100,
        n / 60 % 60,
        n % 60,
    );
    RawRecord {
        topic: "orders".into(),
        partition: 0,
        offset: n as i64,
        timestamp: Some(1_790_000_000_000 + n as i64),
        timestamp_type: TimestampType::CreateTime,
        key: Some(Bytes::from(format!("o-{n:09}"))),
        value: Some(Bytes::from(value)),
        headers: None,
    }
}

fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process can ask for its own usage");
    let of = |t: nix::sys::time::TimeVal| Duration::new(t.tv_sec() as u64, t.tv_usec() as u32 * 1000);
    of(usage.user_time()) + of(usage.system_time())
}

fn props(more: &[(&str, &str)]) -> Props {
    let base = [
        ("name", "bench"),
        ("snowflake.url.name", "acme.snowflakecomputing.com"),
        ("snowflake.user.name", "u"),
        ("snowflake.authenticator", "snowflake"),
        ("snowflake.password", "p"),
        ("snowflake.database.name", "d"),
        ("snowflake.schema.name", "s"),
    ];
    base.iter().chain(more).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>()
}
