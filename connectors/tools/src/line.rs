//! A line of JSON on standard output, as Java's tools write it: Jackson's numbers, and fields in the order of a `HashMap`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use penstock_api::{Map, Value, java};
use std::io::{self, Write as _};
use std::time::SystemTime;

const DAY_MS: i64 = 86_400_000;

/// Prints a line for each, in one piece. Where standard output leads nowhere, nobody misses them.
pub(crate) fn print(lines: &[Map]) {
    let mut text = String::new();
    for line in lines {
        append_map(line, &mut text);
        text.push('\n');
    }
    let mut stdout = io::stdout().lock();
    drop(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// Milliseconds since 1970-01-01T00:00Z.
pub(crate) fn now_ms() -> i64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as i64)
}

fn append_map(map: &Map, out: &mut String) {
    out.push('{');
    for (at, (key, value)) in java::hash_order(map.entries()).into_iter().enumerate() {
        match key {
            Value::String(key) => append_field(at, key, value, out),
            other => {
                let mut key = String::new();
                append(other, &mut key);
                append_field(at, &key, value, out);
            }
        }
    }
    out.push('}');
}

fn append_field(at: usize, key: &str, value: &Value, out: &mut String) {
    out.push_str(if at > 0 { "," } else { "" });
    append_text(key, out);
    out.push(':');
    append(value, out);
}

fn append(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Boolean(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int8(_) | Value::Int16(_) | Value::Int32(_) | Value::Int64(_) => {
            out.push_str(&value.as_i64().expect("an integer").to_string());
        }
        Value::Float32(x) => append_float(x.is_finite(), &java::float(*x), out),
        Value::Float64(x) => append_float(x.is_finite(), &java::double(*x), out),
        Value::Decimal(d) => out.push_str(&java::decimal(d)),
        Value::String(text) => append_text(text, out),
        Value::Bytes(bytes) => append_text(&BASE64.encode(bytes), out),
        Value::Date(days) => out.push_str(&(i64::from(*days) * DAY_MS).to_string()),
        Value::Time(millis) => out.push_str(&millis.to_string()),
        Value::Timestamp(millis) => out.push_str(&millis.to_string()),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                append(item, out);
            }
            out.push(']');
        }
        Value::Map(map) => append_map(map, out),
        Value::Struct(record) => {
            out.push('{');
            for (at, (field, value)) in record.schema().fields.iter().zip(record.values()).enumerate() {
                append_field(at, &field.name, value, out);
            }
            out.push('}');
        }
    }
}

fn append_float(is_finite: bool, text: &str, out: &mut String) {
    if is_finite { out.push_str(text) } else { append_text(text, out) }
}

fn append_text(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            letter if letter < ' ' => out.push_str(&format!("\\u{:04X}", u32::from(letter))),
            letter => out.push(letter),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line is what Jackson wrote for the same value in Java's map.
    #[test]
    fn lines_are_as_java_prints_them() {
        let check = |value: Value, expected: &str| {
            let mut line = Map::new();
            line.insert("name", Value::string("n"));
            line.insert("task", Value::Null);
            line.insert("sinkTask", Value::Int32(0));
            line.insert("topic", Value::string("t"));
            line.insert("time_ms", Value::Int64(5));
            line.insert("seqno", value);
            line.insert("offset", Value::Int64(7));
            let mut out = String::new();
            append_map(&line, &mut out);
            let expected =
                format!(r#"{{"task":null,"seqno":{expected},"offset":7,"time_ms":5,"name":"n","topic":"t","sinkTask":0}}"#);
            assert_eq!(out, expected);
        };
        check(Value::Bytes(vec![1, 2, 3].into()), r#""AQID""#);
        check(Value::Float32(0.1), "0.1");
        check(Value::Float64(1e10), "1.0E10");
        check(Value::Float64(f64::NAN), r#""NaN""#);
        check(Value::Decimal(Box::new("12.3400".parse().unwrap())), "12.3400");
        check(Value::Timestamp(1_234_567_890_123), "1234567890123");
        check(Value::Date(1), "86400000");
        check(Value::string("l1\nl\u{1f}\u{2028}"), "\"l1\\nl\\u001F\u{2028}\"");
        let nested = penstock_api::json::parse("[1,\"a\u{e4}\\u0001\\\"/\",{\"x\":[]}]".as_bytes()).unwrap();
        check(nested, "[1,\"a\u{e4}\\u0001\\\"/\",{\"x\":[]}]");
    }
}
