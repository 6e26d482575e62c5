//! `RECORD_METADATA`: where a record came from, with the official connector's keys.

use penstock_api::payload::Format;
use penstock_api::value::Value;
use penstock_api::{Headers, Payload, SinkRecord, TimestampType};

use crate::config::Metadata;
use crate::json;

/// Appends the metadata as a JSON object. The topic is the one that transforms left, as in the official connector; partition and
/// offset are where the record lies in Kafka.
pub fn write(record: &SinkRecord, what: &Metadata, now_ms: i64, out: &mut String) {
    out.push('{');
    let start = out.len();
    let name = |out: &mut String, key: &str| {
        json::comma(out.len() - start, out);
        out.push('"');
        out.push_str(key);
        out.push_str("\":");
    };
    if what.topic {
        name(out, "topic");
        json::write_text(&record.record.topic, out);
    }
    if what.offset_and_partition {
        name(out, "partition");
        json::write_integer(record.origin.partition.into(), out);
        name(out, "offset");
        json::write_integer(record.origin.offset, out);
    }
    let timestamp_key = match record.timestamp_type {
        TimestampType::CreateTime => Some("CreateTime"),
        TimestampType::LogAppendTime => Some("LogAppendTime"),
        TimestampType::NoTimestamp => None,
    };
    if let (true, Some(key), Some(at)) = (what.create_time, timestamp_key, record.record.timestamp) {
        name(out, key);
        json::write_integer(at, out);
    }
    if what.push_time {
        name(out, "SnowflakeConnectorPushTime");
        json::write_integer(now_ms, out);
    }
    if !record.record.key.is_null() {
        name(out, "key");
        write_key(&record.record.key, out);
    }
    if !record.record.headers.is_empty() {
        name(out, "headers");
        write_headers(&record.record.headers, what.structured_headers, out);
    }
    out.push('}');
}

fn write_key(key: &Payload, out: &mut String) {
    if let Some(wire) = key.wire() {
        let text = std::str::from_utf8(&wire.bytes);
        match (&wire.format, text) {
            (Format::Json, Ok(text)) => return out.push_str(text),
            (Format::String, Ok(text)) => return json::write_text(text, out),
            _ => {}
        }
    }
    match key.view() {
        Ok(key) => json::write(&key.value, out),
        // As the official connector does: a key that cannot be read is kept as text, and fails nothing.
        Err(_) => {
            let bytes = key.wire().map(|wire| wire.bytes.clone()).unwrap_or_default();
            json::write_text(&String::from_utf8_lossy(&bytes), out);
        }
    }
}

/// An object; of equal names the last one wins.
fn write_headers(headers: &Headers, structured: bool, out: &mut String) {
    out.push('{');
    let mut written = 0;
    for (at, header) in headers.iter().enumerate() {
        if headers[at + 1..].iter().any(|later| later.key == header.key) {
            continue;
        }
        json::comma(written, out);
        written += 1;
        json::write_text(&header.key, out);
        out.push(':');
        match header.value.view() {
            Ok(value) if structured || matches!(value.value, Value::Null) => json::write(&value.value, out),
            Ok(value) => json::write_text(&json::plain(&value.value), out),
            Err(_) => out.push_str("null"),
        }
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use penstock_api::{Origin, RawRecord, Record, SchemaAndValue};
    use std::sync::Arc;

    fn record(key: Payload) -> SinkRecord {
        let raw = RawRecord {
            topic: "orders".into(),
            partition: 3,
            offset: 42,
            timestamp: Some(7),
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: None,
            headers: None,
        };
        let record = Record {
            topic: "routed".into(),
            partition: Some(3),
            offset: Some(42),
            key,
            value: Payload::null(),
            headers: Headers::new(),
            timestamp: Some(7),
        };
        SinkRecord { record, timestamp_type: TimestampType::CreateTime, origin: Origin::new(Arc::new(vec![raw]), 0) }
    }

    const ALL: Metadata = Metadata {
        all: true,
        create_time: true,
        topic: true,
        offset_and_partition: true,
        push_time: true,
        structured_headers: false,
    };

    fn text(record: &SinkRecord, what: &Metadata) -> String {
        let mut out = String::new();
        write(record, what, 99, &mut out);
        out
    }

    #[test]
    fn keys_are_the_official_ones() {
        let mut record = record(Payload::encoded(Bytes::from_static(b"k\"1"), Format::String));
        record.record.headers.add("a", SchemaAndValue::schemaless(Value::Int32(1)));
        record.record.headers.add("a", SchemaAndValue::schemaless(Value::Int32(2)));
        assert_eq!(
            text(&record, &ALL),
            r#"{"topic":"routed","partition":3,"offset":42,"CreateTime":7,"SnowflakeConnectorPushTime":99,"key":"k\"1","headers":{"a":"2"}}"#
        );
        let structured = Metadata { structured_headers: true, push_time: false, create_time: false, ..ALL };
        assert_eq!(text(&record, &structured), r#"{"topic":"routed","partition":3,"offset":42,"key":"k\"1","headers":{"a":2}}"#);
    }

    #[test]
    fn json_keys_are_copied() {
        let record = record(Payload::encoded(Bytes::from_static(br#"{"id": 1}"#), Format::Json));
        let bare = Metadata { topic: false, offset_and_partition: false, push_time: false, create_time: false, ..ALL };
        assert_eq!(text(&record, &bare), r#"{"key":{"id": 1}}"#);
    }
}
