//! Values as the JSON text that VARIANT columns hold, by the official connector's rules.
//!
//! Bytes are base64, decimals numbers (text beyond 38 digits), dates and times ISO text in UTC, NaN and infinities text.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveTime};
use penstock_api::value::Value;

/// Appends the value as JSON.
pub fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Boolean(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int8(_) | Value::Int16(_) | Value::Int32(_) | Value::Int64(_) => {
            write_integer(value.as_i64().expect("an integer is one"), out);
        }
        Value::Float32(x) => write_float(f64::from(*x), &x.to_string(), out),
        Value::Float64(x) => write_float(*x, &x.to_string(), out),
        Value::String(text) => write_text(text, out),
        Value::Bytes(bytes) => write_text(&base64_text(bytes), out),
        Value::Decimal(n) => write_decimal(n, out),
        Value::Date(days) => write_text(&date_text(*days), out),
        Value::Time(ms) => write_text(&time_text(*ms), out),
        Value::Timestamp(ms) => write_text(&timestamp_text(*ms), out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                comma(at, out);
                write(item, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (at, (key, value)) in map.entries().iter().enumerate() {
                comma(at, out);
                write_text(&plain(key), out);
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
        Value::Struct(record) => {
            out.push('{');
            for (at, (field, value)) in record.schema().fields.iter().zip(record.values()).enumerate() {
                comma(at, out);
                write_text(&field.name, out);
                out.push(':');
                write(or_default(value, field.schema.default.as_ref()), out);
            }
            out.push('}');
        }
    }
}

/// The value, or the schema's default when it is null, as Connect's converters read it.
#[must_use]
pub fn or_default<'v>(value: &'v Value, default: Option<&'v Value>) -> &'v Value {
    if value.is_null() { default.unwrap_or(value) } else { value }
}

/// A value as plain text: what map keys and headers become.
#[must_use]
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string(),
        Value::Bytes(_) | Value::Date(_) | Value::Time(_) | Value::Timestamp(_) => {
            let mut text = String::new();
            write(value, &mut text);
            text.trim_matches('"').to_owned()
        }
        other => {
            let mut text = String::new();
            write(other, &mut text);
            text
        }
    }
}

/// Appends a JSON string.
pub fn write_text(text: &str, out: &mut String) {
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).expect("text has a JSON form"));
    }
}

/// Appends an integer.
pub fn write_integer(n: i64, out: &mut String) {
    write!(out, "{n}").expect("text can be written");
}

/// A comma before every item but the first.
pub fn comma(at: usize, out: &mut String) {
    if at > 0 {
        out.push(',');
    }
}

fn write_float(x: f64, shortest: &str, out: &mut String) {
    if x.is_finite() { out.push_str(shortest) } else { write_text(&float_text(x), out) }
}

/// Digits of the largest number that Snowflake holds.
const NUMBER_DIGITS_MAX: u64 = 38;

fn write_decimal(n: &BigDecimal, out: &mut String) {
    let (_, scale) = n.as_bigint_and_exponent();
    let fits = n.digits() <= NUMBER_DIGITS_MAX && (0..=38).contains(&scale);
    if fits { out.push_str(&n.to_plain_string()) } else { write_text(&n.to_string(), out) }
}

/// `NaN`, `Infinity` as Java and Snowflake write them.
#[must_use]
pub fn float_text(x: f64) -> String {
    if x.is_nan() {
        "NaN".into()
    } else if x.is_infinite() {
        if x > 0.0 { "Inf".into() } else { "-Inf".into() }
    } else {
        x.to_string()
    }
}

/// Standard base64.
#[must_use]
pub fn base64_text(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// `2026-11-23T00:00:00.000Z`.
#[must_use]
pub fn date_text(days: i32) -> String {
    timestamp_text(i64::from(days) * 86_400_000)
}

/// `12:34:56.789Z`: UTC, where Java takes the zone its virtual machine happens to run in.
#[must_use]
pub fn time_text(ms: i32) -> String {
    let ms = ms.rem_euclid(86_400_000).unsigned_abs();
    let time = NaiveTime::from_num_seconds_from_midnight_opt(ms / 1000, ms % 1000 * 1_000_000);
    format!("{}Z", time.expect("within a day").format("%H:%M:%S%.3f"))
}

/// `2026-11-23T12:34:56.789Z`; the bare number when it is beyond any calendar.
#[must_use]
pub fn timestamp_text(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).map_or_else(|| ms.to_string(), |t| t.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_api::Map;
    use std::str::FromStr;

    fn check(value: Value, expected: &str) {
        let mut out = String::new();
        write(&value, &mut out);
        assert_eq!(out, expected);
    }

    #[test]
    fn values_follow_the_official_connector() {
        check(Value::Bytes(vec![1, 2].into()), r#""AQI=""#);
        check(Value::Decimal(Box::new(BigDecimal::from_str("12.50").unwrap())), "12.50");
        check(Value::Decimal(Box::new(BigDecimal::from_str(&"9".repeat(39)).unwrap())), &format!("\"{}\"", "9".repeat(39)));
        check(Value::Date(20780), r#""2026-11-23T00:00:00.000Z""#);
        check(Value::Time(45_296_789), r#""12:34:56.789Z""#);
        check(Value::Timestamp(1_700_000_000_123), r#""2023-11-14T22:13:20.123Z""#);
        check(Value::Float64(f64::NAN), r#""NaN""#);
        check(Value::Float32(0.1), "0.1");
        check(Value::string("a\"b\n"), r#""a\"b\n""#);
    }

    #[test]
    fn keys_of_maps_become_text() {
        let map = Map::from_unique(vec![(Value::Int32(1), Value::Boolean(true)), (Value::string("x"), Value::Null)]);
        check(Value::Map(map), r#"{"1":true,"x":null}"#);
    }
}
