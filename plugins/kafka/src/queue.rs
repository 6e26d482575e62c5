//! A queue of a client, and word of it when it is no longer empty: of consumers and of streaming producers.

use rdkafka::bindings as rd;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use tokio::sync::Notify;

pub(super) struct Queue {
    native: NonNull<rd::rd_kafka_queue_t>,
    /// Woken when the queue is no longer empty; librdkafka holds its address as long as this lives.
    filled: Arc<Notify>,
}

// SAFETY: librdkafka's API is thread-safe, and the reference is owned by this alone.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    /// # Safety
    /// `native` is a valid reference, which becomes this one's, and its client lives longer than this.
    pub(super) unsafe fn new(native: NonNull<rd::rd_kafka_queue_t>) -> Self {
        let filled = Arc::new(Notify::new());
        // SAFETY: the queue is valid; the opaque lives until the callback is taken back (see Drop).
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(native.as_ptr(), Some(on_filled), Arc::as_ptr(&filled).cast_mut().cast());
        }
        Self { native, filled }
    }

    /// Valid as long as this lives.
    pub(super) fn native(&self) -> *mut rd::rd_kafka_queue_t {
        self.native.as_ptr()
    }

    /// Woken when something comes and there was nothing.
    pub(super) fn filled(&self) -> &Notify {
        &self.filled
    }

    pub(super) fn is_empty(&self) -> bool {
        // SAFETY: the queue is valid.
        unsafe { rd::rd_kafka_queue_length(self.native()) == 0 }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference is ours; when the callback is taken back none runs any more, for it runs under the queue's lock.
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(self.native(), None, std::ptr::null_mut());
            rd::rd_kafka_queue_destroy(self.native());
        }
    }
}

unsafe extern "C" fn on_filled(_: *mut rd::rd_kafka_t, filled: *mut c_void) {
    // SAFETY: it is the address that `Queue::new` gave, and `Queue` keeps it.
    unsafe { &*filled.cast_const().cast::<Notify>() }.notify_one();
}
