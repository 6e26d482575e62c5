//! Avro schemas with data: every type and logical type, and what AvroData adds to them.

use apache_avro::types::Value as Avro;
use apache_avro::{Days, Decimal, Duration, Millis, Months};
use serde_json::{Value as Json, json};

/// One schema and what is written by it.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) schema: Json,
    pub(super) data: Vec<Avro>,
    /// Java's converter takes it, too.
    pub(super) java: Java,
}

/// What Java's converter has to do with a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Java {
    /// Reads and writes it alike.
    Alike,
    /// Apicurio's converter differs from Confluent's, or fails; the reason stands at the case.
    Differs,
}

/// A record of one field.
fn one(name: &'static str, of: Json, data: impl IntoIterator<Item = Avro>) -> Case {
    let schema = record(name, json!([{"name": "f", "type": of}]));
    let data = data.into_iter().map(|value| Avro::Record(vec![("f".into(), value)])).collect();
    Case { name, schema, data, java: Java::Alike }
}

fn whole(name: &'static str, schema: Json, data: impl IntoIterator<Item = Avro>) -> Case {
    Case { name, schema, data: data.into_iter().collect(), java: Java::Alike }
}

/// A value that is no record. Apicurio's converter loses its schema, and cannot read texts; Confluent's wraps it.
fn bare(name: &'static str, of: &str, data: impl IntoIterator<Item = Avro>) -> Case {
    Case { java: Java::Differs, ..whole(name, json!(of), data) }
}

fn record(name: &str, fields: Json) -> Json {
    json!({"type": "record", "name": name, "namespace": "shop", "fields": fields})
}

fn logical(of: &str, name: &str) -> Json {
    json!({"type": of, "logicalType": name})
}

fn text(text: &str) -> Avro {
    Avro::String(text.into())
}

fn branch(index: u32, value: Avro) -> Avro {
    Avro::Union(index, Box::new(value))
}

fn fields<const N: usize>(fields: [(&str, Avro); N]) -> Avro {
    Avro::Record(fields.map(|(name, value)| (name.to_owned(), value)).into())
}

pub(super) fn all() -> Vec<Case> {
    [primitives(), logical_types(), nested(), unions(), annotated()].into_iter().flatten().collect()
}

fn primitives() -> Vec<Case> {
    vec![
        bare("BareBoolean", "boolean", [true, false].map(Avro::Boolean)),
        bare("BareInt", "int", [0, -1, i32::MAX, i32::MIN].map(Avro::Int)),
        bare("BareLong", "long", [0, 1, i64::MAX, i64::MIN].map(Avro::Long)),
        bare("BareFloat", "float", [0.0, -1.5, f32::MAX].map(Avro::Float)),
        bare("BareDouble", "double", [0.0, -2.25, f64::MIN_POSITIVE].map(Avro::Double)),
        bare("BareString", "string", ["", "J\u{f6}rg \u{1f69a}", &"long ".repeat(100)].map(text)),
        // Without their length, as Confluent's serializer writes them.
        bare("BareBytes", "bytes", [vec![], vec![0, 1, 255]].map(Avro::Bytes)),
        one("Boolean", json!("boolean"), [true, false].map(Avro::Boolean)),
        one("Int", json!("int"), [63, 64, -64, -65, 8191, 8192].map(Avro::Int)),
        one("Long", json!("long"), [1 << 34, -(1 << 41), 1 << 62].map(Avro::Long)),
        one("Float", json!("float"), [3.25].map(Avro::Float)),
        one("Double", json!("double"), [1e300].map(Avro::Double)),
        one("Text", json!("string"), ["", "x", "\u{0}\u{10ffff}"].map(text)),
        one("Bytes", json!("bytes"), [vec![], vec![7; 300]].map(Avro::Bytes)),
        one(
            "Enum",
            json!({"type": "enum", "name": "Paid", "doc": "how", "symbols": ["CARD", "CASH"], "default": "CASH"}),
            [Avro::Enum(0, "CARD".into()), Avro::Enum(1, "CASH".into())],
        ),
        one("Fixed", json!({"type": "fixed", "name": "Four", "size": 4}), [Avro::Fixed(4, vec![0, 1, 2, 255])]),
        one(
            "Array",
            json!({"type": "array", "items": "int"}),
            [vec![], vec![1, 2, 3]].map(|n| Avro::Array(n.into_iter().map(Avro::Int).collect())),
        ),
        one(
            "Map",
            json!({"type": "map", "values": "double"}),
            [Avro::Map([("a".to_owned(), Avro::Double(1.5))].into()), Avro::Map([].into())],
        ),
    ]
}

fn logical_types() -> Vec<Case> {
    let decimal =
        |precision: u32, scale: u32| json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale});
    let fixed_decimal =
        json!({"type": "fixed", "name": "Money", "size": 8, "logicalType": "decimal", "precision": 18, "scale": 2});
    let number = |bytes: &[u8]| Avro::Decimal(Decimal::from(bytes));
    vec![
        one("Date", logical("int", "date"), [0, 20_000, -1].map(Avro::Date)),
        one("TimeMillis", logical("int", "time-millis"), [0, 86_399_999].map(Avro::TimeMillis)),
        one("TimestampMillis", logical("long", "timestamp-millis"), [0, 1_760_000_000_123, -1].map(Avro::TimestampMillis)),
        one("DecimalBytes", decimal(9, 2), [number(&[0]), number(&[0xfb, 0x2e]), number(&[0x7f, 0xff, 0xff, 0xff])]),
        one("DecimalWide", decimal(40, 10), [number(&[0x12; 16]), number(&[0xed; 16])]),
        one("DecimalWithoutScale", json!({"type": "bytes", "logicalType": "decimal", "precision": 5}), [number(&[0x30, 0x39])]),
        // Java's converter trips over the name of the fixed.
        Case {
            java: Java::Differs,
            ..one("DecimalFixed", fixed_decimal, [number(&[0, 0, 0, 0, 0, 0, 0x30, 0x39]), number(&[0xff; 8])])
        },
        // Connect has no types for these: their numbers and texts pass.
        one("TimeMicros", logical("long", "time-micros"), [86_399_999_999].map(Avro::TimeMicros)),
        one("TimestampMicros", logical("long", "timestamp-micros"), [1_760_000_000_123_456].map(Avro::TimestampMicros)),
        one("LocalTimestampMillis", logical("long", "local-timestamp-millis"), [5].map(Avro::LocalTimestampMillis)),
        one("LocalTimestampMicros", logical("long", "local-timestamp-micros"), [5].map(Avro::LocalTimestampMicros)),
        one("Uuid", logical("string", "uuid"), [Avro::Uuid(uuid::Uuid::from_u128(7))]),
        one(
            "Duration",
            json!({"type": "fixed", "name": "Span", "size": 12, "logicalType": "duration"}),
            [Avro::Duration(Duration::new(Months::new(1), Days::new(2), Millis::new(3)))],
        ),
    ]
}

fn nested() -> Vec<Case> {
    let item = record("Item", json!([{"name": "sku", "type": "string"}, {"name": "count", "type": "int"}]));
    let of_item = |sku: &str, count: i32| fields([("sku", text(sku)), ("count", Avro::Int(count))]);
    let order = record(
        "Order",
        json!([
            {"name": "first", "type": item},
            {"name": "others", "type": {"type": "array", "items": "Item"}},
            {"name": "by_name", "type": {"type": "map", "values": "shop.Item"}},
            {"name": "grid", "type": {"type": "array", "items": {"type": "array", "items": ["null", "long"]}}},
        ]),
    );
    let value = fields([
        ("first", of_item("mug", 1)),
        ("others", Avro::Array(vec![of_item("lamp", 2), of_item("book", 3)])),
        ("by_name", Avro::Map([("x".to_owned(), of_item("chair", 4))].into())),
        ("grid", Avro::Array(vec![Avro::Array(vec![branch(1, Avro::Long(5)), branch(0, Avro::Null)]), Avro::Array(vec![])])),
    ]);
    // How AvroData writes maps whose keys are not strings.
    let entry = json!({"type": "record", "name": "MapEntry", "namespace": "io.confluent.connect.avro", "fields": [
        {"name": "key", "type": "int"}, {"name": "value", "type": "string"}]});
    let pair = |key: i32, value: &str| fields([("key", Avro::Int(key)), ("value", text(value))]);
    vec![
        whole("Order", order, [value]),
        whole("Empty", record("Empty", json!([])), [Avro::Record(vec![])]),
        one("MapOfInts", json!({"type": "array", "items": entry}), [Avro::Array(vec![pair(1, "one"), pair(2, "two")])]),
    ]
}

fn unions() -> Vec<Case> {
    let one_of = json!(["null", "string", "long", record("Point", json!([{"name": "x", "type": "int"}]))]);
    vec![
        one("NullFirst", json!(["null", "string"]), [branch(0, Avro::Null), branch(1, text("here"))]),
        one("NullLast", json!(["int", "null"]), [branch(0, Avro::Int(5)), branch(1, Avro::Null)]),
        one(
            "NullableArray",
            json!(["null", {"type": "array", "items": "int"}]),
            [branch(0, Avro::Null), branch(1, Avro::Array(vec![Avro::Int(1)]))],
        ),
        one(
            "NullableTimestamp",
            json!(["null", logical("long", "timestamp-millis")]),
            [branch(0, Avro::Null), branch(1, Avro::TimestampMillis(9))],
        ),
        one("Union", json!(["string", "int"]), [branch(0, text("a")), branch(1, Avro::Int(1))]),
        one(
            "NullableUnion",
            one_of,
            [branch(0, Avro::Null), branch(1, text("a")), branch(2, Avro::Long(1)), branch(3, fields([("x", Avro::Int(1))]))],
        ),
    ]
}

/// What Connect alone has no types for: these pass unchanged with `enhanced.avro.schema.support` only.
pub(super) fn enhanced() -> Vec<Case> {
    let side = json!({"type": "enum", "name": "Side", "symbols": ["L", "R"]});
    let four = json!({"type": "fixed", "name": "Four", "size": 4});
    let point = record("Point", json!([{"name": "x", "type": "int"}]));
    vec![
        one("EnhancedEnum", side.clone(), [Avro::Enum(1, "R".into())]),
        one("EnhancedFixed", four.clone(), [Avro::Fixed(4, vec![1, 2, 3, 4])]),
        one(
            "EnhancedUnion",
            json!(["null", "string", side, four, point]),
            [
                branch(0, Avro::Null),
                branch(1, text("a")),
                branch(2, Avro::Enum(0, "L".into())),
                branch(3, Avro::Fixed(4, vec![0; 4])),
                branch(4, fields([("x", Avro::Int(-1))])),
            ],
        ),
    ]
}

/// What AvroData writes into properties, and what Avro's own annotations become.
fn annotated() -> Vec<Case> {
    let noted = json!({"type": "record", "name": "Noted", "namespace": "shop", "doc": "what it is", "connect.version": 3,
        "connect.parameters": {"a": "b"}, "connect.doc": "for Connect", "fields": [
        {"name": "small", "type": {"type": "int", "connect.type": "int8"}, "doc": "one byte"},
        {"name": "short", "type": {"type": "int", "connect.type": "int16"}},
        {"name": "named", "type": {"type": "string", "connect.name": "shop.Sku", "connect.version": 1}},
        {"name": "counted", "type": "int", "default": 7},
        {"name": "called", "type": "string", "default": "nobody"},
        {"name": "perhaps", "type": ["null", "double"], "default": null},
        {"name": "old", "type": {"type": "long", "connect.default": 12}},
    ]});
    let value = fields([
        ("small", Avro::Int(-128)),
        ("short", Avro::Int(32_767)),
        ("named", text("mug")),
        ("counted", Avro::Int(8)),
        ("called", text("Ann")),
        ("perhaps", branch(0, Avro::Null)),
        ("old", Avro::Long(13)),
    ]);
    vec![whole("Noted", noted, [value])]
}
