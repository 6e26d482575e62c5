//! One fetched batch: out of librdkafka's messages, into records that share one buffer.

use bytes::{Bytes, BytesMut};
use penstock_api::RawRecord;
use penstock_api::record::RawHeader;
use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_message_t as Message;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::c_void;
use std::sync::Arc;

use super::message::{self, TopicNames};
use super::native::{Handle, millis, text};

/// Takes batches from a consumer's queue. Payloads are copied once, into one buffer for each batch, which costs less than to
/// keep librdkafka's buffers alive (`decisions/0020-batch-consumer.md`).
pub(super) struct Fetcher {
    messages: Vec<*mut Message>,
    topics: TopicNames,
    /// Whether it can be seen without asking that a message has no headers.
    knows_inside: bool,
}

// SAFETY: `messages` is scratch space that is empty between calls.
unsafe impl Send for Fetcher {}

/// What one call took from the queue.
#[derive(Default)]
pub(super) struct Fetched {
    pub(super) records: Vec<RawRecord>,
    pub(super) errors: Vec<FetchError>,
}

/// What librdkafka reports in the place of a record.
pub(super) struct FetchError {
    pub(super) code: RDKafkaErrorCode,
    pub(super) topic: Option<Arc<str>>,
    pub(super) partition: i32,
    pub(super) message: String,
}

impl Fetcher {
    pub(super) fn new(records_max: usize) -> Self {
        let knows_inside = message::knows_inside();
        Self { messages: vec![std::ptr::null_mut(); records_max], topics: TopicNames::default(), knows_inside }
    }

    /// Takes what is there, without waiting. Callbacks run in here.
    pub(super) fn take(&mut self, handle: &Handle) -> Fetched {
        // SAFETY: the queue is valid, and the array has room for as many messages as it says.
        let taken = unsafe {
            let no_wait = millis(std::time::Duration::ZERO);
            rd::rd_kafka_consume_batch_queue(handle.queue().native(), no_wait, self.messages.as_mut_ptr(), self.messages.len())
        };
        let Ok(taken) = usize::try_from(taken) else { return Fetched::default() };
        // The guard destroys the messages whatever happens below.
        let batch = Taken(&self.messages[..taken]);
        let bytes = batch.messages().map(|m| if is_record(m) { m.len + m.key_len } else { 0 }).sum();
        let mut buffer = BytesMut::with_capacity(bytes);
        let mut fetched = Fetched { records: Vec::with_capacity(taken), errors: Vec::new() };
        self.topics.begin_batch();
        for message in batch.messages() {
            if !is_record(message) {
                fetched.errors.push(error(message, &mut self.topics));
                continue;
            }
            let has_none = self.knows_inside && message::has_no_headers(message);
            match if has_none { Ok(None) } else { message::headers(message) } {
                Ok(headers) => fetched.records.push(record(message, headers, &mut self.topics, &mut buffer)),
                Err(code) => fetched.errors.push(FetchError {
                    code,
                    topic: Some(self.topics.name(message.rkt)),
                    partition: message.partition,
                    message: format!("the headers of the record at offset {} cannot be read", message.offset),
                }),
            }
        }
        fetched
    }
}

/// Messages that are to be destroyed.
struct Taken<'m>(&'m [*mut Message]);

impl Taken<'_> {
    fn messages(&self) -> impl Iterator<Item = &Message> {
        // SAFETY: librdkafka filled in valid messages, and they live until the guard goes.
        self.0.iter().map(|m| unsafe { &**m })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for message in self.0 {
            // SAFETY: each message is destroyed once, and nothing points into it any more.
            unsafe { rd::rd_kafka_message_destroy(*message) };
        }
    }
}

fn is_record(message: &Message) -> bool {
    message.err == Code::RD_KAFKA_RESP_ERR_NO_ERROR
}

fn record(message: &Message, headers: Option<Box<[RawHeader]>>, topics: &mut TopicNames, buffer: &mut BytesMut) -> RawRecord {
    let (timestamp, timestamp_type) = message::timestamp(message);
    RawRecord {
        topic: topics.name(message.rkt),
        partition: message.partition,
        offset: message.offset,
        timestamp,
        timestamp_type,
        // SAFETY: a message's key and payload are null or as long as it says.
        key: unsafe { payload(message.key, message.key_len, buffer) },
        // SAFETY: as above.
        value: unsafe { payload(message.payload, message.len, buffer) },
        headers,
    }
}

/// Moves a payload into the batch's buffer.
///
/// # Safety
/// `start` is null or points at `len` bytes.
unsafe fn payload(start: *const c_void, len: usize, buffer: &mut BytesMut) -> Option<Bytes> {
    if start.is_null() {
        return None;
    }
    if len == 0 {
        return Some(Bytes::new());
    }
    // SAFETY: the caller's promise.
    buffer.extend_from_slice(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) });
    Some(buffer.split().freeze())
}

fn error(message: &Message, topics: &mut TopicNames) -> FetchError {
    FetchError {
        code: message.err.into(),
        topic: (!message.rkt.is_null()).then(|| topics.name(message.rkt)),
        partition: message.partition,
        // SAFETY: librdkafka answers a valid text that lives as long as the message.
        message: unsafe { text(rd::rd_kafka_message_errstr(message)) },
    }
}
