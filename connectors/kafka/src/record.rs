//! Records that are MirrorMaker's own.

use penstock_api::{Bytes, Format, Headers, Payload, Record, SourcePosition, SourceRecord};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A record of bytes for the first partition of a topic.
pub(crate) fn of_bytes(topic: Arc<str>, key: Bytes, value: Bytes, timestamp: i64, position: SourcePosition) -> SourceRecord {
    let bytes = |bytes| Payload::encoded(bytes, Format::Bytes);
    let record = Record {
        topic,
        partition: Some(0),
        key: bytes(key),
        value: bytes(value),
        headers: Headers::new(),
        timestamp: Some(timestamp),
        offset: None,
    };
    SourceRecord { record, position: Some(position) }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms(now: SystemTime) -> i64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
