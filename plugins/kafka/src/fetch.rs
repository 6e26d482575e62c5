//! One fetched batch: out of librdkafka's messages, into records that share one buffer.

use bytes::{Bytes, BytesMut};
use penstock_api::record::RawHeader;
use penstock_api::{CompactString, RawRecord, TimestampType};
use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_message_t as Message;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::{CStr, c_int, c_void};
use std::sync::Arc;

use super::native::{Handle, millis, text};

/// Takes batches from a consumer's queue. Payloads are copied once, into one buffer for each batch, which costs less than to
/// keep librdkafka's buffers alive (`decisions/0020-batch-consumer.md`).
pub(super) struct Fetcher {
    messages: Vec<*mut Message>,
    topics: Topics,
    /// Whether [`Inside`] is how this librdkafka lays its messages out.
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
        // SAFETY: answers a number.
        let knows_inside = unsafe { rd::rd_kafka_version() } == INSIDE_VERSION;
        Self { messages: vec![std::ptr::null_mut(); records_max], topics: Topics::default(), knows_inside }
    }

    /// Takes what is there, without waiting. Callbacks run in here.
    pub(super) fn take(&mut self, handle: &Handle) -> Fetched {
        // SAFETY: the queue is valid, and the array has room for as many messages as it says.
        let taken = unsafe {
            let no_wait = millis(std::time::Duration::ZERO);
            rd::rd_kafka_consume_batch_queue(handle.queue(), no_wait, self.messages.as_mut_ptr(), self.messages.len())
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
            match headers(message, self.knows_inside) {
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

fn record(message: &Message, headers: Option<Box<[RawHeader]>>, topics: &mut Topics, buffer: &mut BytesMut) -> RawRecord {
    let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message is valid, and `kind` can be written.
    let timestamp = unsafe { rd::rd_kafka_message_timestamp(message, &raw mut kind) };
    let timestamp_type = match kind {
        rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => TimestampType::NoTimestamp,
        rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => TimestampType::CreateTime,
        rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => TimestampType::LogAppendTime,
    };
    RawRecord {
        topic: topics.name(message.rkt),
        partition: message.partition,
        offset: message.offset,
        timestamp: (timestamp_type != TimestampType::NoTimestamp).then_some(timestamp),
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

/// How librdkafka 2.12.1 lays a consumed message out, as far as the length of its raw headers (`rdkafka_msg.h`, `rd_kafka_msg_s`).
///
/// Asking for the headers of a record that has none costs two allocations, a fifth of all the work for each record; this look
/// costs nothing. With another librdkafka the question is asked.
#[repr(C)]
struct Inside {
    message: Message,
    link: [*mut c_void; 2],
    flags: c_int,
    timestamp_type: c_int,
    timestamp: i64,
    headers: *mut c_void,
    status: c_int,
    broker_id: i32,
    raw_headers_len: i32,
}

const INSIDE_VERSION: c_int = 0x020c_01ff;

/// The headers, or `None` without any; they are rare, so each value is a copy of its own.
fn headers(message: &Message, knows_inside: bool) -> Result<Option<Box<[RawHeader]>>, RDKafkaErrorCode> {
    if knows_inside {
        let inside: *const Inside = std::ptr::from_ref(message).cast();
        // SAFETY: the message is the first part of a consumed message of that version.
        let raw_headers_len = unsafe { (*inside).raw_headers_len };
        // Nothing in the old message formats, a zero in the new one.
        if raw_headers_len <= 1 {
            return Ok(None);
        }
    }
    let mut list = std::ptr::null_mut();
    // SAFETY: the message is valid; librdkafka parses its headers in place, for which it wants a pointer to change.
    match unsafe { rd::rd_kafka_message_headers(message, &raw mut list) } {
        Code::RD_KAFKA_RESP_ERR_NO_ERROR => {}
        Code::RD_KAFKA_RESP_ERR__NOENT => return Ok(None),
        code => return Err(code.into()),
    }
    // SAFETY: the list is valid as long as the message.
    let count = unsafe { rd::rd_kafka_header_cnt(list) };
    let headers = (0..count).filter_map(|index| {
        let (mut name, mut value, mut len) = (std::ptr::null(), std::ptr::null(), 0);
        // SAFETY: the list is valid, and all three can be written.
        let code = unsafe { rd::rd_kafka_header_get_all(list, index, &raw mut name, &raw mut value, &raw mut len) };
        (code == Code::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| RawHeader {
            // SAFETY: a header's name is a valid text.
            key: CompactString::from(unsafe { CStr::from_ptr(name) }.to_string_lossy()),
            // SAFETY: a header's value is null or as long as it says.
            value: (!value.is_null())
                .then(|| Bytes::copy_from_slice(unsafe { std::slice::from_raw_parts(value.cast::<u8>(), len) })),
        })
    });
    Ok(Some(headers.collect::<Box<[_]>>()).filter(|h| !h.is_empty()))
}

fn error(message: &Message, topics: &mut Topics) -> FetchError {
    FetchError {
        code: message.err.into(),
        topic: (!message.rkt.is_null()).then(|| topics.name(message.rkt)),
        partition: message.partition,
        // SAFETY: librdkafka answers a valid text that lives as long as the message.
        message: unsafe { text(rd::rd_kafka_message_errstr(message)) },
    }
}

/// Names of topics by librdkafka's handle: each name is made once and shared by all records.
#[derive(Default)]
struct Topics {
    known: Vec<(*mut rd::rd_kafka_topic_t, Arc<str>)>,
    /// The handle that was asked for last in this batch; its name is `known[0]`.
    last: Option<*mut rd::rd_kafka_topic_t>,
}

impl Topics {
    /// Handles are not freed while messages of theirs live, so names hold for a batch.
    fn begin_batch(&mut self) {
        self.last = None;
    }

    /// The name of a handle. From batch to batch a handle may be freed and used again for another topic, so that a hit is
    /// checked against the name.
    fn name(&mut self, topic: *mut rd::rd_kafka_topic_t) -> Arc<str> {
        if self.last != Some(topic) {
            self.find(topic);
            self.last = Some(topic);
        }
        self.known[0].1.clone()
    }

    /// Brings the topic's name to the front.
    fn find(&mut self, topic: *mut rd::rd_kafka_topic_t) {
        // SAFETY: the message holds a reference to its topic.
        let name = unsafe { CStr::from_ptr(rd::rd_kafka_topic_name(topic)) };
        let at = self.known.iter().position(|(handle, _)| *handle == topic).unwrap_or(self.known.len());
        if self.known.get(at).is_none_or(|(_, known)| known.as_bytes() != name.to_bytes()) {
            let fresh = (topic, name.to_string_lossy().into());
            match self.known.get_mut(at) {
                Some(stale) => *stale = fresh,
                None => self.known.push(fresh),
            }
        }
        self.known.swap(0, at);
    }
}
