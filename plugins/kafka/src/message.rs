//! What librdkafka's messages hold, consumed and delivered ones alike.

use bytes::Bytes;
use penstock_api::record::RawHeader;
use penstock_api::{CompactString, TimestampType};
use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_message_t as Message;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;
use rdkafka::bindings::rd_kafka_timestamp_type_t as Kind;
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::{CStr, c_int, c_void};
use std::sync::Arc;

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

/// Whether [`Inside`] is how this librdkafka lays its messages out.
pub(super) fn knows_inside() -> bool {
    // SAFETY: answers a number.
    let version = unsafe { rd::rd_kafka_version() };
    version == INSIDE_VERSION
}

/// Of a consumed message, and only where its [inside is known](knows_inside): it may well say no of one that has none.
pub(super) fn has_no_headers(message: &Message) -> bool {
    let inside: *const Inside = std::ptr::from_ref(message).cast();
    // SAFETY: the message is the first part of a consumed message of that version.
    let raw_headers_len = unsafe { (*inside).raw_headers_len };
    // Nothing in the old message formats, a zero in the new one.
    raw_headers_len <= 1
}

/// The headers, or `None` without any; they are rare, so each value is a copy of its own.
pub(super) fn headers(message: &Message) -> Result<Option<Box<[RawHeader]>>, RDKafkaErrorCode> {
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
            value: unsafe { copied(value, len) },
        })
    });
    Ok(Some(headers.collect::<Box<[_]>>()).filter(|h| !h.is_empty()))
}

/// A copy of what a message holds there.
///
/// # Safety
/// `start` is null or points at `len` bytes.
pub(super) unsafe fn copied(start: *const c_void, len: usize) -> Option<Bytes> {
    if start.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(Bytes::copy_from_slice(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) }))
}

/// When it was written, in milliseconds since 1970-01-01T00:00Z, and who says so.
pub(super) fn timestamp(message: &Message) -> (Option<i64>, TimestampType) {
    let mut kind = Kind::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message is valid, and `kind` can be written.
    let timestamp = unsafe { rd::rd_kafka_message_timestamp(message, &raw mut kind) };
    match kind {
        Kind::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => (None, TimestampType::NoTimestamp),
        Kind::RD_KAFKA_TIMESTAMP_CREATE_TIME => (Some(timestamp), TimestampType::CreateTime),
        Kind::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => (Some(timestamp), TimestampType::LogAppendTime),
    }
}

/// A client with more topics than that makes some names again.
const NAMES_MAX: usize = 1_000;

/// Names of topics by librdkafka's handle: each name is made once and shared by all records.
#[derive(Default)]
pub(super) struct TopicNames {
    known: Vec<(*mut rd::rd_kafka_topic_t, Arc<str>)>,
    /// The handle that was asked for last in this batch; its name is `known[0]`.
    last: Option<*mut rd::rd_kafka_topic_t>,
}

// SAFETY: handles are only compared, and looked into while a message of theirs lives.
unsafe impl Send for TopicNames {}

impl TopicNames {
    /// Handles are not freed while messages of theirs live, so names hold for a batch.
    pub(super) fn begin_batch(&mut self) {
        self.last = None;
    }

    /// The name of a handle. From batch to batch a handle may be freed and used again for another topic, so that a hit is
    /// checked against the name.
    pub(super) fn name(&mut self, topic: *mut rd::rd_kafka_topic_t) -> Arc<str> {
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
        self.known.truncate(NAMES_MAX);
    }
}
