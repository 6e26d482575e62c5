//! A value as Java's `String.valueOf` writes it: `{a=1, b=[2, 3]}`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::DateTime;
use penstock_api::{Value, java};
use std::fmt::Write;

const DAY_MS: i64 = 86_400_000;

/// Appends it. Bytes are written as base64, where Java writes an address.
pub(crate) fn append(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Boolean(b) => append_display(b, out),
        Value::Int8(n) => append_display(n, out),
        Value::Int16(n) => append_display(n, out),
        Value::Int32(n) => append_display(n, out),
        Value::Int64(n) => append_display(n, out),
        Value::Float32(x) => out.push_str(&java::float(*x)),
        Value::Float64(x) => out.push_str(&java::double(*x)),
        Value::Decimal(d) => out.push_str(&java::decimal(d)),
        Value::String(text) => out.push_str(text),
        Value::Bytes(bytes) => BASE64.encode_string(bytes, out),
        Value::Date(days) => append_date(i64::from(*days) * DAY_MS, out),
        Value::Time(millis) => append_date((*millis).into(), out),
        Value::Timestamp(millis) => append_date(*millis, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                append(item, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (at, (key, value)) in java::hash_order(map.entries()).into_iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                append(key, out);
                out.push('=');
                append(value, out);
            }
            out.push('}');
        }
        Value::Struct(record) => {
            out.push_str("Struct{");
            let fields = record.schema().fields.iter().zip(record.values());
            for (at, (field, value)) in fields.filter(|(_, value)| !value.is_null()).enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(&field.name);
                out.push('=');
                append(value, out);
            }
            out.push('}');
        }
    }
}

fn append_display(value: &impl std::fmt::Display, out: &mut String) {
    write!(out, "{value}").expect("a text takes everything");
}

/// `java.util.Date.toString` on a machine whose time zone is UTC; beyond the calendar just the milliseconds.
fn append_date(millis: i64, out: &mut String) {
    match DateTime::from_timestamp_millis(millis) {
        Some(instant) => append_display(&instant.format("%a %b %d %H:%M:%S UTC %Y"), out),
        None => append_display(&millis, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_api::{Kind, Schema, Struct, schema};
    use std::sync::Arc;

    /// Each text is what Java 17 printed for the same value.
    fn check(value: &Value, expected: &str) {
        let mut out = String::new();
        append(value, &mut out);
        assert_eq!(out, expected);
    }

    #[test]
    fn values_are_written_as_java_prints_them() {
        check(&Value::Null, "null");
        check(&Value::Float64(1e10), "1.0E10");
        check(&Value::Timestamp(1_234_567_890_123), "Fri Feb 13 23:31:30 UTC 2009");
        check(&Value::Date(0), "Thu Jan 01 00:00:00 UTC 1970");
        let parsed = penstock_api::json::parse("[1, \"a\u{e4}\\\"\u{1F69A}\", {\"x\": []}]".as_bytes()).unwrap();
        check(&parsed, "[1, a\u{e4}\"\u{1F69A}, {x=[]}]");
        let parsed = penstock_api::json::parse(br#"{"name": 1, "task": 2, "topic": 3, "committed": true}"#).unwrap();
        check(&parsed, "{committed=true, task=2, name=1, topic=3}");
    }

    #[test]
    fn fields_of_structs_that_are_null_are_left_out() {
        let fields =
            [("a", schema::INT32.clone()), ("b", schema::OPTIONAL_STRING.clone()), ("c", Arc::new(Schema::new(Kind::String)))];
        let schema = Arc::new(Schema::record(fields));
        check(
            &Value::Struct(Struct::from_values(schema, vec![Value::Int32(1), Value::Null, Value::string("x")])),
            "Struct{a=1,c=x}",
        );
    }
}
