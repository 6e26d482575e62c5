//! What a streaming producer's client tells, read from its queue. rust-rdkafka reads the same, but checks a topic's name and counts two
//! references up and down for each record.

use penstock_api::Bytes;
use penstock_api::record::RawHeader;
use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_message_t as Message;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::{c_char, c_int};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use super::message::{self, TopicNames};
use super::native::text;
use super::producer::Delivered;
use super::queue::Queue;

/// An event out of a queue.
pub(super) struct Event(NonNull<rd::rd_kafka_event_t>);

/// What an event tells.
pub(super) enum News<'e> {
    /// What has become of records.
    Reports(Reports<'e>),
    /// Something is wrong with the client as a whole.
    Error { code: RDKafkaErrorCode, reason: String },
    /// A line of its log.
    Line { level: c_int, facility: String, line: String },
    /// Nothing that anybody has asked for; its kind.
    Other(String),
}

impl Event {
    /// The oldest event of the queue, which is one of a producer, without waiting for one.
    pub(super) fn next(queue: &Queue) -> Option<Self> {
        // SAFETY: the queue is valid; the event is ours.
        NonNull::new(unsafe { rd::rd_kafka_queue_poll(queue.native(), 0) }).map(Self)
    }

    pub(super) fn news(&self) -> News<'_> {
        let event = self.0.as_ptr();
        // SAFETY: the event is valid, and each of its parts is asked for only of an event of that kind; texts are copied.
        unsafe {
            match rd::rd_kafka_event_type(event) {
                rd::RD_KAFKA_EVENT_DR => News::Reports(Reports { event: self.0, of: PhantomData }),
                rd::RD_KAFKA_EVENT_ERROR => News::Error {
                    code: rd::rd_kafka_event_error(event).into(),
                    reason: text(rd::rd_kafka_event_error_string(event)),
                },
                rd::RD_KAFKA_EVENT_LOG => {
                    let (mut facility, mut line, mut level): (*const c_char, *const c_char, c_int) =
                        (std::ptr::null(), std::ptr::null(), 0);
                    if rd::rd_kafka_event_log(event, &raw mut facility, &raw mut line, &raw mut level) == 0 {
                        News::Line { level, facility: text(facility), line: text(line) }
                    } else {
                        News::Other("Log without a line".into())
                    }
                }
                _ => News::Other(text(rd::rd_kafka_event_name(event))),
            }
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event is ours, and nothing points into it any more.
        unsafe { rd::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// The records of one event.
pub(super) struct Reports<'e> {
    event: NonNull<rd::rd_kafka_event_t>,
    of: PhantomData<&'e Event>,
}

impl<'e> Iterator for Reports<'e> {
    type Item = Report<'e>;

    fn next(&mut self) -> Option<Report<'e>> {
        // SAFETY: the event is valid, and tells of deliveries; its messages live as long as it does.
        unsafe { rd::rd_kafka_event_message_next(self.event.as_ptr()).as_ref() }.map(Report)
    }
}

/// What has become of one record.
pub(super) struct Report<'e>(&'e Message);

impl Report<'_> {
    /// What it was sent under.
    pub(super) fn number(&self) -> usize {
        self.0._private.addr()
    }

    /// # Errors
    /// Why it was not delivered.
    pub(super) fn result(&self) -> Result<Delivered, RDKafkaErrorCode> {
        match self.0.err {
            Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(Delivered { partition: self.0.partition, offset: self.0.offset }),
            code => Err(code.into()),
        }
    }

    pub(super) fn topic(&self, names: &mut TopicNames) -> Arc<str> {
        names.name(self.0.rkt)
    }

    pub(super) fn key(&self) -> Option<Bytes> {
        // SAFETY: a message's key is null or as long as it says.
        unsafe { message::copied(self.0.key, self.0.key_len) }
    }

    pub(super) fn value(&self) -> Option<Bytes> {
        // SAFETY: a message's payload is null or as long as it says.
        unsafe { message::copied(self.0.payload, self.0.len) }
    }

    /// Empty when they cannot be read.
    pub(super) fn headers(&self) -> Vec<RawHeader> {
        message::headers(self.0).ok().flatten().map_or_else(Vec::new, Vec::from)
    }

    /// Milliseconds since 1970-01-01T00:00Z.
    pub(super) fn timestamp(&self) -> Option<i64> {
        message::timestamp(self.0).0
    }
}
