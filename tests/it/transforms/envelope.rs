//! Data as Java's `JsonConverter` writes it, nulls as they are (`replace.null.with.default=false`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use penstock_api::{Kind, Schema, Value};
use serde_json::{Map, Value as Json, json};

/// Schema and payload.
pub(super) fn envelope(schema: &Schema, value: &Value) -> Json {
    json!({"schema": schema_json(schema), "payload": payload(schema, value)})
}

/// A value without a schema.
pub(super) fn plain(value: &Value) -> Json {
    match value {
        Value::Decimal(decimal) => json!(BASE64.encode(decimal.as_bigint_and_exponent().0.to_signed_bytes_be())),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Map(map) => map.entries().iter().map(|(k, v)| (k.as_str().expect("string keys").to_owned(), plain(v))).collect(),
        // Jackson writes what is no number as text.
        Value::Float32(x) if x.is_infinite() => json!(if *x > 0.0 { "Infinity" } else { "-Infinity" }),
        other => {
            let mut text = Vec::new();
            penstock_api::json::write(other, &mut text).expect("a value with a JSON form");
            serde_json::from_slice(&text).expect("JSON was written")
        }
    }
}

fn schema_json(schema: &Schema) -> Json {
    let mut out = Map::new();
    out.insert("type".into(), json!(type_name(schema.kind)));
    out.insert("optional".into(), json!(schema.optional));
    let mut set = |name: &str, value: Option<Json>| {
        if let Some(value) = value {
            out.insert(name.into(), value);
        }
    };
    set("name", schema.name.as_ref().map(|n| json!(n)));
    set("version", schema.version.map(|v| json!(v)));
    set("doc", schema.doc.as_ref().map(|d| json!(d)));
    set("parameters", (!schema.parameters.is_empty()).then(|| json!(schema.parameters)));
    set("default", schema.default.as_ref().map(|value| payload(schema, value)));
    match schema.kind {
        Kind::Array => set("items", schema.value.as_deref().map(schema_json)),
        Kind::Map => {
            set("keys", schema.key.as_deref().map(schema_json));
            set("values", schema.value.as_deref().map(schema_json));
        }
        Kind::Struct => {
            let field = |field: &penstock_api::Field| {
                let mut inner = schema_json(&field.schema);
                inner["field"] = json!(field.name);
                inner
            };
            set("fields", Some(schema.fields.iter().map(field).collect()));
        }
        _ => {}
    }
    Json::Object(out)
}

fn payload(schema: &Schema, value: &Value) -> Json {
    let part = |schema: &Option<penstock_api::SchemaRef>, value: &Value| {
        schema.as_deref().map_or_else(|| plain(value), |schema| payload(schema, value))
    };
    match value {
        Value::Struct(record) => {
            let fields = record.schema().fields.iter().zip(record.values());
            fields.map(|(field, value)| (field.name.clone(), payload(&field.schema, value))).collect()
        }
        Value::Array(items) => items.iter().map(|item| part(&schema.value, item)).collect(),
        Value::Map(map) if schema.key.as_ref().is_some_and(|key| key.kind == Kind::String) => {
            map.entries().iter().map(|(k, v)| (k.as_str().expect("string keys").to_owned(), part(&schema.value, v))).collect()
        }
        Value::Map(map) => map.entries().iter().map(|(k, v)| json!([part(&schema.key, k), part(&schema.value, v)])).collect(),
        other => plain(other),
    }
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Int8 => "int8",
        Kind::Int16 => "int16",
        Kind::Int32 => "int32",
        Kind::Int64 => "int64",
        Kind::Float32 => "float",
        Kind::Float64 => "double",
        Kind::Boolean => "boolean",
        Kind::String => "string",
        Kind::Bytes => "bytes",
        Kind::Array => "array",
        Kind::Map => "map",
        Kind::Struct => "struct",
    }
}
