//! Reading, proved against `apache-avro`'s encoder and by example.

use apache_avro::types::Value as Avro;
use bytes::Bytes;
use penstock_api::{Kind, Payload, Result, SchemaAndValue, Value};
use schema_registry_converter::schema_registry_common::SchemaType;

use super::mapping::Options;
use super::plan::Plan;
use crate::converters::registry::Registered;

const OPTIONS: Options = Options { enhanced: false, meta_data: true };

pub(super) fn plan(schema: &str, options: Options) -> Result<Plan> {
    let registered = Registered { id: 1, text: schema.into(), references: Vec::new(), kind: SchemaType::Avro, version: None };
    Plan::new(&registered, options)
}

pub(super) fn framed(body: &[u8]) -> Bytes {
    [&[0, 0, 0, 0, 1], body].concat().into()
}

fn encode(schema: &str, value: Avro) -> Bytes {
    let schema = apache_avro::Schema::parse_str(schema).unwrap();
    let body =
        apache_avro::writer::datum::GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(value).unwrap();
    framed(&body)
}

fn read(schema: &str, bytes: &Bytes) -> SchemaAndValue {
    let payload: Payload = plan(schema, OPTIONS).unwrap().payload(bytes).unwrap();
    payload.view().unwrap().into_owned()
}

fn field(name: &str, schema: &str) -> String {
    format!(r#"{{"name":"{name}","type":{schema}}}"#)
}

fn record(fields: &[String]) -> String {
    format!(r#"{{"type":"record","name":"shop.Order","fields":[{}]}}"#, fields.join(","))
}

#[test]
fn an_order_becomes_a_struct() {
    let schema = record(&[
        field("id", r#""long""#),
        field("who", r#"["null","string"]"#),
        field("total", r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#),
        field("at", r#"{"type":"long","logicalType":"timestamp-millis"}"#),
        field("state", r#"{"type":"enum","name":"State","symbols":["NEW","PAID"]}"#),
        field("tags", r#"{"type":"array","items":"string"}"#),
        field("small", r#"{"type":"int","connect.type":"int8"}"#),
        field("micros", r#"{"type":"long","logicalType":"timestamp-micros"}"#),
    ]);
    let value = Avro::Record(vec![
        ("id".into(), Avro::Long(7)),
        ("who".into(), Avro::Union(1, Box::new(Avro::String("Ann".into())))),
        ("total".into(), Avro::Decimal(vec![0xfb, 0x2e].into())),
        ("at".into(), Avro::TimestampMillis(1_700_000_000_000)),
        ("state".into(), Avro::Enum(1, "PAID".into())),
        ("tags".into(), Avro::Array(vec![Avro::String("x".into())])),
        ("small".into(), Avro::Int(-3)),
        ("micros".into(), Avro::TimestampMicros(5)),
    ]);
    let read = read(&schema, &encode(&schema, value));
    let connect = read.schema.unwrap();
    assert_eq!(connect.name.as_deref(), Some("shop.Order"));
    assert!(connect.field("who").unwrap().1.schema.optional);
    assert_eq!(connect.field("total").unwrap().1.schema.decimal_scale(), Some(2));
    assert_eq!(connect.field("state").unwrap().1.schema.name.as_deref(), Some("shop.State"));
    assert_eq!(connect.field("micros").unwrap().1.schema.kind, Kind::Int64);
    let Value::Struct(order) = read.value else { panic!("a struct") };
    assert_eq!(order.get("who"), Some(&Value::string("Ann")));
    let Some(Value::Decimal(total)) = order.get("total") else { panic!("a decimal") };
    assert_eq!(total.to_string(), "-12.34");
    assert_eq!(order.get("at"), Some(&Value::Timestamp(1_700_000_000_000)));
    assert_eq!(order.get("state"), Some(&Value::string("PAID")));
    assert_eq!(order.get("small"), Some(&Value::Int8(-3)));
    assert_eq!(order.get("micros"), Some(&Value::Int64(5)));
}

#[test]
fn a_body_that_lies_fails_at_the_converter() {
    let check = |schema: &str, body: &[u8], why: &str| {
        let error = plan(schema, OPTIONS).unwrap().payload(&framed(body)).unwrap_err();
        assert_eq!(error.kind(), penstock_api::ErrorKind::Data);
        assert!(format!("{error:#}").contains(why), "{error:#}");
    };
    check(r#""string""#, &[6, b'a'], "ends too early");
    check(r#""string""#, &[1], "negative length");
    check(r#"["null","string"]"#, &[4], "union branch");
    check(r#"{"type":"enum","name":"E","symbols":["A"]}"#, &[2], "enum symbol");
    check(r#"{"type":"array","items":"long"}"#, &[0x80, 0x80, 0x80, 0x80, 0x80, 0x40], "more items");
    check(
        r#"{"type":"array","items":{"type":"record","name":"Z","fields":[]}}"#,
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x40],
        "more items",
    );
    check(r#"{"type":"int","logicalType":"time-millis"}"#, &[1], "within a day");
    check(&record(&[field("d", r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":1}"#)]), &[0], "without bytes");
    let list = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#;
    check(list, &[2; 1000], "too deep");
}

#[test]
fn a_recursive_record_passes_undecoded() {
    let list = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#;
    let payload = plan(list, OPTIONS).unwrap().payload(&framed(&[2, 2, 0])).unwrap();
    assert!(payload.wire().is_some());
    let error = payload.view().unwrap_err();
    assert!(format!("{error:#}").contains("inside itself"), "{error:#}");
}

#[test]
fn a_value_of_bytes_alone_has_no_length_before_it() {
    let read = read(r#""bytes""#, &framed(&[1, 2, 3]));
    assert_eq!(read.value, Value::Bytes(Bytes::from_static(&[1, 2, 3])));
}

#[test]
fn strings_that_are_not_utf_8_are_read_as_java_reads_them() {
    assert_eq!(read(r#""string""#, &framed(&[4, 0xff, b'a'])).value, Value::string("\u{fffd}a"));
}
