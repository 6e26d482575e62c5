//! librdkafka's consumer as it is, made safe: every `unsafe` of the consumer's control side stands here, the records' in `fetch`.
//!
//! The safe consumers of rust-rdkafka hand out one record a call, a third dearer than librdkafka's own batches; hence this handle.

use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;
use rdkafka::client::{Client, ClientContext, NativeClient};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{ClientConfig, TopicPartitionList};
use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::queue::Queue;

/// What librdkafka said between two polls, in order.
#[derive(Debug)]
pub(super) enum Signal {
    Assign(Vec<(String, i32)>),
    Revoke { partitions: Vec<(String, i32)>, lost: bool },
    Error(RDKafkaErrorCode, String),
}

/// A failed call.
pub(super) struct Failed {
    pub(super) code: RDKafkaErrorCode,
    pub(super) message: String,
}

type Outcome<T> = Result<T, Failed>;

/// A consumer handle with its queue. All of librdkafka's calls may be made from any thread.
pub(super) struct Handle {
    client: NonNull<rd::rd_kafka_t>,
    /// Of what it reads; taken out when the handle goes, for it goes before the client.
    queue: ManuallyDrop<Queue>,
    /// What the callbacks see; librdkafka holds its address, so it lives as long as the client.
    shared: Arc<Shared>,
}

// SAFETY: librdkafka's API is thread-safe, and the pointers are owned by this handle alone.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

/// The callbacks' side.
pub(super) struct Shared {
    who: String,
    /// In which the client was made: its lines belong there, too.
    span: tracing::Span,
    signals: Mutex<VecDeque<Signal>>,
    /// Set when the consumer closes: from then on revocations are answered at once.
    closing: AtomicBool,
    /// Partitions that are read on from elsewhere, for what was to be read next is not there (any more).
    resets: Mutex<Vec<(String, i32)>>,
    has_resets: AtomicBool,
}

impl Shared {
    fn signals(&self) -> MutexGuard<'_, VecDeque<Signal>> {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// A consumer that has subscribed to nothing yet.
    pub(super) fn new(who: &str, config: &ClientConfig) -> Outcome<Self> {
        let shared = Arc::new(Shared {
            who: who.to_owned(),
            span: tracing::Span::current(),
            signals: Mutex::default(),
            closing: AtomicBool::new(false),
            resets: Mutex::default(),
            has_resets: AtomicBool::new(false),
        });
        let conf = config
            .create_native_config()
            .map_err(|e| Failed { code: RDKafkaErrorCode::InvalidArgument, message: e.to_string() })?;
        let conf = ManuallyDrop::new(conf);
        let mut reason = [0 as c_char; 512];
        // SAFETY: `conf` is valid and, once rd_kafka_new succeeds, owned by librdkafka; the opaque outlives the client (see Drop).
        let client = unsafe {
            rd::rd_kafka_conf_set_opaque(conf.ptr(), Arc::as_ptr(&shared).cast_mut().cast());
            rd::rd_kafka_conf_set_rebalance_cb(conf.ptr(), Some(on_rebalance));
            rd::rd_kafka_conf_set_error_cb(conf.ptr(), Some(on_error));
            rd::rd_kafka_conf_set_log_cb(conf.ptr(), Some(on_log));
            rd::rd_kafka_new(rd::rd_kafka_type_t::RD_KAFKA_CONSUMER, conf.ptr(), reason.as_mut_ptr(), reason.len())
        };
        let Some(client) = NonNull::new(client) else {
            drop(ManuallyDrop::into_inner(conf));
            // SAFETY: librdkafka ended the text with a nul.
            let message = unsafe { text(reason.as_ptr()) };
            return Err(Failed { code: RDKafkaErrorCode::InvalidArgument, message });
        };
        // SAFETY: the client is valid and a group consumer (settings demand group.id), so that it has a consumer queue.
        let queue = unsafe {
            rd::rd_kafka_poll_set_consumer(client.as_ptr());
            Queue::new(NonNull::new(rd::rd_kafka_queue_get_consumer(client.as_ptr())).expect("a group consumer has a queue"))
        };
        Ok(Self { client, queue: ManuallyDrop::new(queue), shared })
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The oldest signal nobody has taken yet. Signals arrive while the queue is polled.
    pub(super) fn signal(&self) -> Option<Signal> {
        self.shared.signals().pop_front()
    }

    /// Partitions that were reset by `auto.offset.reset` since it was asked last. It is known before a record from there comes.
    pub(super) fn take_resets(&self) -> Vec<(String, i32)> {
        if !self.shared.has_resets.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        std::mem::take(&mut *self.shared.resets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The partitions of a loss that nobody has taken notice of yet.
    pub(super) fn lost(&self) -> Vec<(String, i32)> {
        let signals = self.shared.signals();
        let lost = signals.iter().filter_map(|s| match s {
            Signal::Revoke { partitions, lost: true } => Some(partitions.clone()),
            _ => None,
        });
        lost.flatten().collect()
    }

    pub(super) fn subscribe<'t>(&self, topics: impl IntoIterator<Item = &'t str>) -> Outcome<()> {
        let mut list = TopicPartitionList::new();
        for topic in topics {
            list.add_topic_unassigned(topic);
        }
        // SAFETY: both pointers are valid; librdkafka copies the list.
        check(unsafe { rd::rd_kafka_subscribe(self.client.as_ptr(), list.ptr()) })
    }

    pub(super) fn unsubscribe(&self) -> Outcome<()> {
        // SAFETY: the client is valid.
        check(unsafe { rd::rd_kafka_unsubscribe(self.client.as_ptr()) })
    }

    /// Whether the group uses cooperative rebalancing; known while it has an assignment.
    fn is_cooperative(&self) -> bool {
        is_cooperative(self.client.as_ptr())
    }

    /// Starts reading newly assigned partitions.
    pub(super) fn assign(&self, list: &TopicPartitionList) -> Outcome<()> {
        let client = self.client.as_ptr();
        if self.is_cooperative() {
            // SAFETY: both pointers are valid; librdkafka copies the list.
            check_error(unsafe { rd::rd_kafka_incremental_assign(client, list.ptr()) })
        } else {
            // SAFETY: as above.
            check(unsafe { rd::rd_kafka_assign(client, list.ptr()) })
        }
    }

    /// Gives partitions up (all of them, if the group is not cooperative).
    pub(super) fn unassign(&self, list: &TopicPartitionList) -> Outcome<()> {
        unassign(self.client.as_ptr(), list.ptr())
    }

    pub(super) fn pause(&self, list: &TopicPartitionList) -> Outcome<()> {
        // SAFETY: both pointers are valid.
        check(unsafe { rd::rd_kafka_pause_partitions(self.client.as_ptr(), list.ptr()) })
    }

    pub(super) fn resume(&self, list: &TopicPartitionList) -> Outcome<()> {
        // SAFETY: both pointers are valid.
        check(unsafe { rd::rd_kafka_resume_partitions(self.client.as_ptr(), list.ptr()) })
    }

    /// Seeks and waits until nothing fetched before can be handed out any more; each element carries its own outcome. Blocks.
    pub(super) fn seek(&self, list: &TopicPartitionList, timeout: Duration) -> Outcome<()> {
        // SAFETY: both pointers are valid.
        check_error(unsafe { rd::rd_kafka_seek_partitions(self.client.as_ptr(), list.ptr(), millis(timeout)) })
    }

    /// Fills in the committed offsets. Blocks.
    pub(super) fn committed(&self, list: &TopicPartitionList, timeout: Duration) -> Outcome<()> {
        // SAFETY: both pointers are valid.
        check(unsafe { rd::rd_kafka_committed(self.client.as_ptr(), list.ptr(), millis(timeout)) })
    }

    /// First and behind-the-last offset, asked from the broker. Blocks.
    pub(super) fn watermarks(&self, topic: &str, partition: i32, timeout: Duration) -> Outcome<(i64, i64)> {
        let (mut low, mut high) = (0, 0);
        let topic = c_string(topic);
        // SAFETY: all pointers are valid for the call.
        check(unsafe {
            rd::rd_kafka_query_watermark_offsets(
                self.client.as_ptr(),
                topic.as_ptr(),
                partition,
                &raw mut low,
                &raw mut high,
                millis(timeout),
            )
        })?;
        Ok((low, high))
    }

    /// The end of a partition as the last fetch told; `None` before the first. Does not block.
    pub(super) fn known_end(&self, topic: &CStr, partition: i32) -> Option<i64> {
        let (mut low, mut high) = (0, 0);
        // SAFETY: all pointers are valid for the call.
        let code = unsafe {
            rd::rd_kafka_get_watermark_offsets(self.client.as_ptr(), topic.as_ptr(), partition, &raw mut low, &raw mut high)
        };
        (code == Code::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }

    /// The fatal error the client is in.
    pub(super) fn fatal(&self) -> Option<Failed> {
        let mut reason = [0 as c_char; 512];
        // SAFETY: librdkafka ends the text with a nul within the buffer.
        unsafe {
            let code = rd::rd_kafka_fatal_error(self.client.as_ptr(), reason.as_mut_ptr(), reason.len());
            (code != Code::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| Failed { code: code.into(), message: text(reason.as_ptr()) })
        }
    }

    /// A client that has ended says only that; what ended it, a successor in its place for example, it knows.
    fn cause(&self, failed: Failed) -> Failed {
        if failed.code == RDKafkaErrorCode::Fatal { self.fatal().unwrap_or(failed) } else { failed }
    }

    /// Sends a commit off; commits reach the broker in the order of these calls.
    pub(super) fn commit(self: &Arc<Self>, list: &TopicPartitionList) -> Outcome<CommitReply> {
        // SAFETY: all pointers are valid; librdkafka copies the list and keeps a reference to the queue.
        unsafe {
            let queue = NonNull::new(rd::rd_kafka_queue_new(self.client.as_ptr())).expect("a queue can always be made");
            let reply = CommitReply { queue, client: self.clone() };
            let code = rd::rd_kafka_commit_queue(self.client.as_ptr(), list.ptr(), queue.as_ptr(), None, std::ptr::null_mut());
            check(code).map_err(|failed| self.cause(failed))?;
            Ok(reply)
        }
    }

    /// All topics of the cluster with their number of partitions. Blocks.
    pub(super) fn topics(&self, timeout: Duration) -> Outcome<Vec<(String, usize)>> {
        let mut metadata = std::ptr::null();
        // SAFETY: librdkafka fills the pointer on success; it is read before it is destroyed.
        unsafe {
            let all = 1;
            let client = self.client.as_ptr();
            check(rd::rd_kafka_metadata(client, all, std::ptr::null_mut(), &raw mut metadata, millis(timeout)))?;
            let topics = slice((*metadata).topics, (*metadata).topic_cnt);
            let topics = topics.iter().map(|t| (text(t.topic), usize::try_from(t.partition_cnt).unwrap_or(0))).collect();
            rd::rd_kafka_metadata_destroy(metadata);
            Ok(topics)
        }
    }

    /// Whether a broker answers. Blocks.
    pub(super) fn probe(&self, timeout: Duration) -> bool {
        let mut metadata = std::ptr::null();
        // SAFETY: as in `topics`.
        unsafe {
            let client = self.client.as_ptr();
            let code = rd::rd_kafka_metadata(client, 0, std::ptr::null_mut(), &raw mut metadata, millis(timeout));
            if !metadata.is_null() {
                rd::rd_kafka_metadata_destroy(metadata);
            }
            code == Code::RD_KAFKA_RESP_ERR_NO_ERROR
        }
    }

    /// From now on revocations are answered at once, without asking anybody.
    pub(super) fn begin_close(&self) {
        self.shared.closing.store(true, Ordering::SeqCst);
    }

    /// Closes the consumer; a dynamic member leaves its group, a static one stays until its session ends. Blocks.
    pub(super) fn close(&self) -> Outcome<()> {
        self.begin_close();
        // SAFETY: the client is valid; the rebalance callback answers by itself while closing.
        check(unsafe { rd::rd_kafka_consumer_close(self.client.as_ptr()) })
    }

    /// Closes the consumer so that also a static member leaves its group: it does so when it unsubscribes, and only then. Blocks.
    pub(super) fn leave(&self) -> Outcome<()> {
        const LEAVE_POLLS_MAX: u32 = 50;
        self.begin_close();
        self.unsubscribe()?;
        for _ in 0..LEAVE_POLLS_MAX {
            if self.member_id().is_empty() {
                break;
            }
            let mut message = std::ptr::null_mut();
            // SAFETY: the queue is valid, there is room for one message, and it is destroyed at once.
            unsafe {
                if rd::rd_kafka_consume_batch_queue(self.queue.native(), 20, &raw mut message, 1) == 1 {
                    rd::rd_kafka_message_destroy(message);
                }
            }
        }
        self.close()
    }

    /// Empty while the client is no member.
    fn member_id(&self) -> String {
        // SAFETY: librdkafka answers null or a text that is ours to free.
        unsafe {
            let id = rd::rd_kafka_memberid(self.client.as_ptr());
            let member_id = text(id);
            rd::rd_kafka_mem_free(self.client.as_ptr(), id.cast());
            member_id
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        /// Moves the pointers to the thread that ends them.
        struct Ending(NonNull<rd::rd_kafka_t>, Queue, Arc<Shared>);
        // SAFETY: the handle is gone, so this is the only user.
        unsafe impl Send for Ending {}
        impl Ending {
            fn end(self) {
                let Self(client, queue, shared) = self;
                drop(queue);
                // SAFETY: nobody else holds the pointer; `Shared` is still alive while librdkafka may call back.
                unsafe { rd::rd_kafka_destroy_flags(client.as_ptr(), rd::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE as c_int) };
                drop(shared);
            }
        }
        self.begin_close();
        // SAFETY: it is taken once, and nobody uses it from here on.
        let queue = unsafe { ManuallyDrop::take(&mut self.queue) };
        let ending = Ending(self.client, queue, self.shared.clone());
        // Ending a client waits for its threads, and this may be a thread that must not wait.
        let spawned = std::thread::Builder::new().name("kafka-end".into()).spawn(move || ending.end());
        if let Err(error) = spawned {
            tracing::warn!(who = self.shared.who, %error, "no thread to end a Kafka client with; it stays in memory");
        }
    }
}

/// The answer to a commit that is on its way.
pub(super) struct CommitReply {
    queue: NonNull<rd::rd_kafka_queue_t>,
    /// Alive while the commit is on its way.
    client: Arc<Handle>,
}

// SAFETY: the queue is owned by this reply alone, and librdkafka's queues may be used from any thread.
unsafe impl Send for CommitReply {}

impl CommitReply {
    /// Waits for the broker's answer. Blocks.
    pub(super) fn wait(self, timeout: Duration) -> Outcome<()> {
        // SAFETY: the queue is valid; the event is read before it is destroyed.
        unsafe {
            let event = rd::rd_kafka_queue_poll(self.queue.as_ptr(), millis(timeout));
            if event.is_null() {
                return Err(Failed { code: RDKafkaErrorCode::OperationTimedOut, message: "the broker did not answer".into() });
            }
            let outcome = check(rd::rd_kafka_event_error(event)).and_then(|()| {
                let list = rd::rd_kafka_event_topic_partition_list(event);
                if list.is_null() { Ok(()) } else { first_failure(&elements(list)) }
            });
            rd::rd_kafka_event_destroy(event);
            outcome.map_err(|failed| self.client.cause(failed))
        }
    }
}

impl Drop for CommitReply {
    fn drop(&mut self) {
        // SAFETY: the queue is valid, and nobody uses it any more.
        unsafe { rd::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

unsafe extern "C" fn on_rebalance(
    client: *mut rd::rd_kafka_t,
    code: Code,
    list: *mut rd::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: the opaque is the `Shared` that outlives the client; the list is valid during the call.
    let (shared, partitions) = unsafe { (&*opaque.cast_const().cast::<Shared>(), elements(list)) };
    let partitions: Vec<_> = partitions.into_iter().map(|e| (e.topic, e.partition)).collect();
    if shared.closing.load(Ordering::SeqCst) {
        let outcome = if code == Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // SAFETY: assigning nothing ends the rebalance.
            unsafe { assign_nothing(client) }
        } else {
            unassign(client, list)
        };
        if let Err(failed) = outcome {
            tracing::debug!(who = shared.who, error = failed.message, "give up partitions while closing");
        }
        return;
    }
    let signal = if code == Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
        Signal::Assign(partitions)
    } else {
        // SAFETY: the client is valid during its callback.
        let lost = unsafe { rd::rd_kafka_assignment_lost(client) } != 0;
        Signal::Revoke { partitions, lost }
    };
    shared.signals().push_back(signal);
    // Nothing that comes behind this signal may be handed out before it.
    // SAFETY: the client is valid during its callback.
    unsafe { rd::rd_kafka_yield(client) };
}

unsafe fn assign_nothing(client: *mut rd::rd_kafka_t) -> Outcome<()> {
    let nothing = TopicPartitionList::new();
    if is_cooperative(client) {
        // SAFETY: both pointers are valid.
        check_error(unsafe { rd::rd_kafka_incremental_assign(client, nothing.ptr()) })
    } else {
        // SAFETY: both pointers are valid.
        check(unsafe { rd::rd_kafka_assign(client, nothing.ptr()) })
    }
}

fn unassign(client: *mut rd::rd_kafka_t, list: *const rd::rd_kafka_topic_partition_list_t) -> Outcome<()> {
    if is_cooperative(client) {
        // SAFETY: both pointers are valid; librdkafka copies the list.
        check_error(unsafe { rd::rd_kafka_incremental_unassign(client, list) })
    } else {
        // SAFETY: the client is valid; null means nothing is assigned.
        check(unsafe { rd::rd_kafka_assign(client, std::ptr::null()) })
    }
}

fn is_cooperative(client: *mut rd::rd_kafka_t) -> bool {
    // SAFETY: librdkafka answers null or a static text.
    unsafe {
        let protocol = rd::rd_kafka_rebalance_protocol(client);
        !protocol.is_null() && CStr::from_ptr(protocol) == c"COOPERATIVE"
    }
}

unsafe extern "C" fn on_error(_: *mut rd::rd_kafka_t, code: c_int, reason: *const c_char, opaque: *mut c_void) {
    // SAFETY: the opaque is the `Shared` that outlives the client; the reason is valid during the call.
    let (shared, reason) = unsafe { (&*opaque.cast_const().cast::<Shared>(), text(reason)) };
    shared.signals().push_back(Signal::Error(error_code(code), reason));
}

/// librdkafka tells of every lost connection; whoever owns the client reports that once, so here it is detail.
unsafe extern "C" fn on_log(client: *const rd::rd_kafka_t, level: c_int, facility: *const c_char, line: *const c_char) {
    // SAFETY: librdkafka's texts are valid during the call, and so is the opaque, where there is one.
    unsafe {
        let shared = rd::rd_kafka_opaque(client).cast_const().cast::<Shared>();
        let Some(shared) = shared.as_ref() else { return };
        let (facility, line) = (text(facility), text(line));
        if facility == "OFFSET"
            && let Some(reset) = reset_of(&line)
        {
            shared.resets.lock().unwrap_or_else(PoisonError::into_inner).push(reset);
            shared.has_resets.store(true, Ordering::SeqCst);
        }
        shared.span.in_scope(|| log(&shared.who, level, &facility, &line));
    }
}

/// Which partition a line of the log says was reset; librdkafka has no other way to tell.
/// `[thrd:main]: orders [3]: offset reset (at offset 7 (leader epoch 0), broker 1) to offset BEGINNING (...): ...`
fn reset_of(line: &str) -> Option<(String, i32)> {
    let (place, _) = line.split_once("]: offset reset (")?;
    let (topic, partition) = place.rsplit_once(" [")?;
    let topic = topic.rsplit_once("]: ").map_or(topic, |(_thread, topic)| topic);
    Some((topic.to_owned(), partition.parse().ok()?))
}

/// Writes a line of librdkafka's into our log.
pub(super) fn log(who: &str, level: c_int, facility: &str, line: &str) {
    const CONNECTIONS: [&str; 4] = ["FAIL", "ERROR", "REQTMOUT", "BROKERFAIL"];
    match level {
        0..=4 if !CONNECTIONS.contains(&facility) => tracing::warn!(target: "librdkafka", who, facility, "{line}"),
        0..=6 => tracing::debug!(target: "librdkafka", who, facility, "{line}"),
        _ => tracing::trace!(target: "librdkafka", who, facility, "{line}"),
    }
}

/// A line of librdkafka's log.
pub(super) struct LogLine {
    pub(super) level: c_int,
    pub(super) facility: String,
    pub(super) text: String,
}

/// Takes the lines that wait in the main queue of a client which nobody polls.
pub(super) fn take_log<C: ClientContext>(client: &Client<C>) -> Vec<LogLine> {
    let mut lines = Vec::new();
    // SAFETY: the client outlives the call; the queue and each event are ours until they are destroyed here, and the texts of an
    // event are copied before.
    unsafe {
        let queue = rd::rd_kafka_queue_get_main(client.native_ptr());
        loop {
            let event = rd::rd_kafka_queue_poll(queue, 0);
            if event.is_null() {
                break;
            }
            let (mut facility, mut line, mut level) = (std::ptr::null(), std::ptr::null(), 0);
            // Other events than lines of the log answer -1.
            if rd::rd_kafka_event_log(event, &raw mut facility, &raw mut line, &raw mut level) == 0 {
                lines.push(LogLine { level, facility: text(facility), text: text(line) });
            }
            rd::rd_kafka_event_destroy(event);
        }
        rd::rd_kafka_queue_destroy(queue);
    }
    lines
}

/// One partition of librdkafka's lists.
pub(super) struct Element {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// What was noted beside it.
    pub(super) note: String,
    code: Code,
}

/// # Safety
/// The list must be valid.
pub(super) unsafe fn elements(list: *const rd::rd_kafka_topic_partition_list_t) -> Vec<Element> {
    // SAFETY: a valid list has `cnt` elements.
    let list = unsafe { slice((*list).elems, (*list).cnt) };
    // SAFETY: the elements of a valid list are valid.
    list.iter().map(|e| unsafe { element(e) }).collect()
}

/// # Safety
/// Its topic must be a valid text, and its metadata as long as it says.
pub(super) unsafe fn element(e: &rd::rd_kafka_topic_partition_t) -> Element {
    // SAFETY: the caller's promise.
    let (topic, note) = unsafe { (text(e.topic), note(e)) };
    Element { topic, partition: e.partition, offset: e.offset, note, code: e.err }
}

/// The notes that stand beside committed offsets: topic, partition and text of those that have one.
pub(super) fn notes_of(list: &TopicPartitionList) -> Vec<(String, i32, String)> {
    // SAFETY: a list is valid as long as it lives.
    let elements = unsafe { elements(list.ptr()) };
    elements.into_iter().filter(|e| !e.note.is_empty()).map(|e| (e.topic, e.partition, e.note)).collect()
}

/// # Safety
/// The element's metadata is null or as long as it says.
unsafe fn note(element: &rd::rd_kafka_topic_partition_t) -> String {
    if element.metadata.is_null() || element.metadata_size == 0 {
        return String::new();
    }
    // SAFETY: the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size) };
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn first_failure(elements: &[Element]) -> Outcome<()> {
    match elements.iter().find(|e| e.code != Code::RD_KAFKA_RESP_ERR_NO_ERROR) {
        None => Ok(()),
        Some(e) => {
            let code = RDKafkaErrorCode::from(e.code);
            Err(Failed { code, message: format!("{}-{}: {code}", e.topic, e.partition) })
        }
    }
}

/// # Safety
/// `start` points at `count` elements, or `count` is not positive.
unsafe fn slice<'a, T>(start: *const T, count: c_int) -> &'a [T] {
    match usize::try_from(count) {
        // SAFETY: the caller's promise.
        Ok(count) if count > 0 => unsafe { std::slice::from_raw_parts(start, count) },
        _ => &[],
    }
}

pub(super) fn check(code: Code) -> Outcome<()> {
    if code == Code::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    let code = RDKafkaErrorCode::from(code);
    Err(Failed { code, message: code.to_string() })
}

/// An error within an answer, which owns it.
///
/// # Safety
/// The error is null or valid.
pub(super) unsafe fn check_answer(error: *const rd::rd_kafka_error_t) -> Outcome<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the caller's promise.
    unsafe { Err(Failed { code: rd::rd_kafka_error_code(error).into(), message: text(rd::rd_kafka_error_string(error)) }) }
}

/// Sends one administrative request and waits for its answer. Blocks.
///
/// # Safety
/// `send` sends with the options and queue it is given; `read` reads the answer of that request, which lives as long as it runs.
pub(super) unsafe fn ask<T>(
    client: &NativeClient,
    op: rd::rd_kafka_admin_op_t,
    timeout: Duration,
    send: impl FnOnce(*mut rd::rd_kafka_AdminOptions_t, *mut rd::rd_kafka_queue_t),
    read: impl FnOnce(*mut rd::rd_kafka_event_t) -> Outcome<T>,
) -> Outcome<T> {
    // SAFETY: options, queue and event are made and destroyed here, and the caller keeps its promise.
    unsafe {
        let options = rd::rd_kafka_AdminOptions_new(client.ptr(), op);
        let mut reason = [0 as c_char; 256];
        let set = rd::rd_kafka_AdminOptions_set_request_timeout(options, millis(timeout), reason.as_mut_ptr(), reason.len());
        let queue = rd::rd_kafka_queue_new(client.ptr());
        let outcome = check(set).and_then(|()| {
            send(options, queue);
            let event = rd::rd_kafka_queue_poll(queue, millis(timeout));
            if event.is_null() {
                return Err(Failed { code: RDKafkaErrorCode::OperationTimedOut, message: "no broker answers".into() });
            }
            let code = rd::rd_kafka_event_error(event);
            let outcome = if code == Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                read(event)
            } else {
                Err(Failed { code: code.into(), message: text(rd::rd_kafka_event_error_string(event)) })
            };
            rd::rd_kafka_event_destroy(event);
            outcome
        });
        rd::rd_kafka_queue_destroy(queue);
        rd::rd_kafka_AdminOptions_destroy(options);
        outcome
    }
}

/// What became of the settings of one resource.
///
/// # Safety
/// The resource is valid.
pub(super) unsafe fn check_resource(resource: *const rd::rd_kafka_ConfigResource_t) -> Outcome<()> {
    // SAFETY: the caller's promise; a resource's texts live as long as it does.
    unsafe {
        check(rd::rd_kafka_ConfigResource_error(resource)).map_err(|failed| {
            let message = text(rd::rd_kafka_ConfigResource_error_string(resource));
            Failed { message: if message.is_empty() { failed.message } else { message }, ..failed }
        })
    }
}

pub(super) fn check_error(error: *mut rd::rd_kafka_error_t) -> Outcome<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null error is valid until destroyed.
    unsafe {
        let failed = Failed { code: rd::rd_kafka_error_code(error).into(), message: text(rd::rd_kafka_error_string(error)) };
        rd::rd_kafka_error_destroy(error);
        Err(failed)
    }
}

/// The error callback gets a number; librdkafka's own table turns it into a code without guessing.
fn error_code(code: c_int) -> RDKafkaErrorCode {
    let (mut descriptions, mut count) = (std::ptr::null(), 0);
    // SAFETY: librdkafka points at a static table of `count` entries.
    let table: &[rd::rd_kafka_err_desc] = unsafe {
        rd::rd_kafka_get_err_descs(&raw mut descriptions, &raw mut count);
        slice(descriptions, c_int::try_from(count).unwrap_or(0))
    };
    let found = table.iter().find(|d| d.code as c_int == code && !d.name.is_null());
    found.map_or(RDKafkaErrorCode::Unknown, |d| d.code.into())
}

/// # Safety
/// `text` is null or a valid C string.
pub(super) unsafe fn text(text: *const c_char) -> String {
    // SAFETY: the caller's promise.
    if text.is_null() { String::new() } else { unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned() }
}

/// Topic names hold no nul; one that does, names no topic.
pub(super) fn c_string(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}

pub(super) fn millis(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_told_by_a_line_of_the_log() {
        let line = "[thrd:main]: my.orders-1 [3]: offset reset (at offset 7 (leader epoch 0), broker 1) to offset BEGINNING \
                    (leader epoch -1): fetch failed due to requested offset not available on the broker: Broker: Offset out of range";
        assert_eq!(reset_of(line), Some(("my.orders-1".to_owned(), 3)));
        assert_eq!(
            reset_of("orders [12]: offset reset (at INVALID, broker -1) to TAIL(5): x: y"),
            Some(("orders".to_owned(), 12))
        );
        assert_eq!(reset_of("[thrd:main]: orders [3]: committed offset 7"), None);
    }
}
