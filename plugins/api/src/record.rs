//! Records: what came from the wire, what transforms may change, and the two kept apart.

use bytes::Bytes;
use compact_str::CompactString;
use std::ops::Deref;
use std::sync::Arc;

use crate::payload::Payload;
use crate::value::SchemaAndValue;

/// What a transform may change. Where the record came from is kept elsewhere, out of its reach.
#[derive(Clone, Debug)]
pub struct Record {
    pub topic: Arc<str>,
    /// `None` lets the producer choose (sources).
    pub partition: Option<i32>,
    pub key: Payload,
    pub value: Payload,
    pub headers: Headers,
    /// Milliseconds since 1970-01-01T00:00Z.
    pub timestamp: Option<i64>,
    /// Where Kafka keeps it, for transforms that write it into the data; `None` for records of a source. Changing it
    /// changes nothing else: offsets are committed by [`Origin`].
    pub offset: Option<i64>,
}

/// A record from Kafka on its way to a sink.
#[derive(Clone, Debug)]
pub struct SinkRecord {
    pub record: Record,
    pub timestamp_type: TimestampType,
    pub origin: Origin,
}

/// Who set a record's timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    NoTimestamp,
    CreateTime,
    LogAppendTime,
}

/// A record as it came from Kafka, untouched.
#[derive(Clone, Debug)]
pub struct RawRecord {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since 1970-01-01T00:00Z.
    pub timestamp: Option<i64>,
    pub timestamp_type: TimestampType,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    /// `None` when there are none, which is the common case.
    pub headers: Option<Box<[RawHeader]>>,
}

/// A header as it came from Kafka.
#[derive(Clone, Debug)]
pub struct RawHeader {
    pub key: CompactString,
    pub value: Option<Bytes>,
}

/// Which consumed record a [`SinkRecord`] stems from: read it like a [`RawRecord`].
///
/// Offsets are committed by it (invariant 2), and dead letters carry its bytes.
#[derive(Clone, Debug)]
pub struct Origin {
    batch: Arc<Vec<RawRecord>>,
    index: u32,
}

impl Origin {
    /// The `index`th record of the fetched batch.
    ///
    /// # Panics
    /// When the batch has no such record.
    #[must_use]
    pub fn new(batch: Arc<Vec<RawRecord>>, index: usize) -> Self {
        assert!(index < batch.len(), "an origin lies in its batch");
        Self { batch, index: u32::try_from(index).expect("a batch has fewer than 2^32 records") }
    }
}

impl Deref for Origin {
    type Target = RawRecord;

    fn deref(&self) -> &RawRecord {
        &self.batch[self.index as usize]
    }
}

/// Headers, in order; names may repeat.
#[derive(Clone, Debug, Default)]
pub struct Headers(Vec<Header>);

/// One header.
#[derive(Clone, Debug)]
pub struct Header {
    pub key: CompactString,
    pub value: Payload,
}

impl Headers {
    /// No headers; does not allocate.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends a header.
    pub fn add(&mut self, key: impl Into<CompactString>, value: impl Into<Payload>) {
        self.0.push(Header { key: key.into(), value: value.into() });
    }

    /// The last header of that name.
    #[must_use]
    pub fn last(&self, key: &str) -> Option<&Header> {
        self.0.iter().rev().find(|h| h.key == key)
    }

    /// Removes all headers of that name.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|h| h.key != key);
    }

    /// Sets a header to a value, removing others of that name.
    pub fn set(&mut self, key: &str, value: SchemaAndValue) {
        self.remove(key);
        self.add(key, value);
    }
}

impl Deref for Headers {
    type Target = [Header];

    fn deref(&self) -> &[Header] {
        &self.0
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(headers: I) -> Self {
        Self(headers.into_iter().collect())
    }
}
