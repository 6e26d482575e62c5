//! Records into librdkafka's queue: every `unsafe` of it stands here; what becomes of them is read in `event`.
//!
//! The safe `send` of rust-rdkafka makes a C string of the topic's name and looks the topic up for each record; here topics are looked up
//! once.

use penstock_api::record::RawHeader;
use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;
use rdkafka::bindings::rd_kafka_vtype_t as Tag;
use rdkafka::error::{KafkaError, KafkaResult};
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::producer::Outgoing;

/// What a producer's handle needs besides rust-rdkafka's. Must go before the client does: whoever owns both declares it first.
pub(super) struct Line {
    client: NonNull<rd::rd_kafka_t>,
    topics: Mutex<Topics>,
}

// SAFETY: librdkafka's API is thread-safe, and the pointers are owned by this alone.
unsafe impl Send for Line {}
// SAFETY: as above; the topics are behind a lock.
unsafe impl Sync for Line {}

/// A line while records are put into it; nobody else can put any in meanwhile.
pub(super) struct Entrance<'l> {
    client: NonNull<rd::rd_kafka_t>,
    /// Held until the records are there, so that nobody lets go of their topics.
    topics: MutexGuard<'l, Topics>,
}

/// Handles of topics by name.
#[derive(Default)]
struct Topics {
    known: HashMap<Arc<str>, Topic>,
    last: Option<(Arc<str>, NonNull<rd::rd_kafka_topic_t>)>,
}

/// A producer with more topics than that looks some up again.
const TOPICS_MAX: usize = 1_000;

/// Lets the partitioner choose; `RD_KAFKA_PARTITION_UA` of librdkafka's header.
const PARTITION_UA: i32 = -1;

/// A reference to a topic.
struct Topic(NonNull<rd::rd_kafka_topic_t>);

// SAFETY: as for `Line`.
unsafe impl Send for Topic {}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and the client still lives (see `Line`).
        unsafe { rd::rd_kafka_topic_destroy(self.0.as_ptr()) }
    }
}

// SAFETY: the pointer in `last` belongs to a `Topic` beside it.
unsafe impl Send for Topics {}

impl Line {
    /// # Safety
    /// `client` is a valid producer, and lives longer than the answer.
    pub(super) unsafe fn new(client: NonNull<rd::rd_kafka_t>) -> Self {
        Self { client, topics: Mutex::default() }
    }

    pub(super) fn enter(&self) -> Entrance<'_> {
        Entrance { client: self.client, topics: self.topics.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

impl Entrance<'_> {
    /// Puts a record into the queue; its delivery is told under the number.
    ///
    /// # Errors
    /// librdkafka's: the queue is full, the record is too large, there is no such topic or partition.
    pub(super) fn enqueue(&mut self, number: usize, record: &Outgoing) -> KafkaResult<()> {
        let topic = self.topics.handle(self.client, &record.topic)?;
        let headers = NewHeaders::of(&record.headers);
        let (value, value_len) = parts(record.value.as_deref());
        let (key, key_len) = parts(record.key.as_deref());
        // SAFETY: each tag is followed by what it announces. `self.topics` keeps the topic, librdkafka copies key and value, and takes the
        // headers over if it takes the record.
        let code = unsafe {
            rd::rd_kafka_producev(
                self.client.as_ptr(),
                Tag::RD_KAFKA_VTYPE_RKT,
                topic.as_ptr(),
                Tag::RD_KAFKA_VTYPE_PARTITION,
                record.partition.unwrap_or(PARTITION_UA),
                Tag::RD_KAFKA_VTYPE_MSGFLAGS,
                rd::RD_KAFKA_MSG_F_COPY,
                Tag::RD_KAFKA_VTYPE_VALUE,
                value,
                value_len,
                Tag::RD_KAFKA_VTYPE_KEY,
                key,
                key_len,
                Tag::RD_KAFKA_VTYPE_OPAQUE,
                std::ptr::without_provenance_mut::<c_void>(number),
                Tag::RD_KAFKA_VTYPE_TIMESTAMP,
                record.timestamp.unwrap_or(0),
                Tag::RD_KAFKA_VTYPE_HEADERS,
                headers.0,
                Tag::RD_KAFKA_VTYPE_END,
            )
        };
        if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(KafkaError::MessageProduction(code.into()));
        }
        std::mem::forget(headers);
        Ok(())
    }
}

impl Topics {
    /// Valid until it is asked for another one.
    fn handle(&mut self, client: NonNull<rd::rd_kafka_t>, name: &Arc<str>) -> KafkaResult<NonNull<rd::rd_kafka_topic_t>> {
        if let Some((last, topic)) = &self.last
            && (Arc::ptr_eq(last, name) || last == name)
        {
            return Ok(*topic);
        }
        if !self.known.contains_key(name) {
            if self.known.len() >= TOPICS_MAX {
                self.last = None;
                self.known.clear();
            }
            let text = CString::new(&**name)?;
            // SAFETY: client and text are valid; librdkafka copies the text.
            let topic = NonNull::new(unsafe { rd::rd_kafka_topic_new(client.as_ptr(), text.as_ptr(), std::ptr::null_mut()) });
            // SAFETY: answers the reason of the last call of this thread.
            let topic = topic.ok_or_else(|| KafkaError::MessageProduction(unsafe { rd::rd_kafka_last_error() }.into()))?;
            self.known.insert(name.clone(), Topic(topic));
        }
        let topic = self.known[name].0;
        self.last = Some((name.clone(), topic));
        Ok(topic)
    }
}

/// Headers that librdkafka has not taken over; null when there are none.
struct NewHeaders(*mut rd::rd_kafka_headers_t);

impl NewHeaders {
    fn of(headers: &[RawHeader]) -> Self {
        if headers.is_empty() {
            return Self(std::ptr::null_mut());
        }
        // SAFETY: the list is new, and librdkafka copies names and values.
        unsafe {
            let list = rd::rd_kafka_headers_new(headers.len());
            for header in headers {
                let (value, len) = parts(header.value.as_deref());
                let (name, name_len) = (header.key.as_ptr().cast(), header.key.len().cast_signed());
                rd::rd_kafka_header_add(list, name, name_len, value, len.cast_signed());
            }
            Self(list)
        }
    }
}

impl Drop for NewHeaders {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the list is ours.
            unsafe { rd::rd_kafka_headers_destroy(self.0) }
        }
    }
}

/// As C takes it: null is another thing than nothing.
fn parts(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((std::ptr::null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast(), bytes.len()))
}
