//! Whether a task gets on. The task says what it does; whoever looks sees how long that has been going on, even while the task
//! cannot say anything because its connector does not return.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What keeps records from being delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Doing {
    /// The connector has been given partitions.
    Open = 1,
    /// The connector has been given records.
    Put,
    /// The connector was asked what may be committed, or Kafka to commit it.
    Commit,
    /// Records were fetched and are yet to be delivered.
    Deliver,
    /// There are records in Kafka, and none were fetched.
    Fetch,
    /// Records of a source were sent, and Kafka does not acknowledge them.
    Produce,
}

/// A task that does not get on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stalled {
    /// For how long.
    pub duration: Duration,
    pub doing: Doing,
}

impl Stalled {
    /// For people: what it waits for.
    #[must_use]
    pub fn message(&self) -> &'static str {
        match self.doing {
            Doing::Open => "the connector has not yet opened its partitions",
            Doing::Put => "the connector has not yet taken the records it was given",
            Doing::Commit => "the connector or Kafka has not yet answered a commit",
            Doing::Deliver => "fetched records are not delivered: the connector or a service it needs asks to try again",
            Doing::Produce => "records were read and Kafka does not acknowledge them",
            Doing::Fetch => "there are records in Kafka and none are fetched",
        }
    }
}

/// Since when a task is at something. Written by the task alone.
#[derive(Debug)]
pub struct Progress {
    born: Instant,
    /// The call into the connector or Kafka that is under way.
    call: AtomicU64,
    /// The wait of records, over many calls.
    wait: AtomicU64,
}

const NOTHING: u64 = 0;
const DOING_BITS: u32 = 8;

impl Progress {
    #[must_use]
    pub fn new(born: Instant) -> Self {
        Self { born, call: AtomicU64::new(NOTHING), wait: AtomicU64::new(NOTHING) }
    }

    /// A call begins.
    pub fn call(&self, doing: Doing) {
        self.call.store(self.packed(doing, Instant::now()), Ordering::Relaxed);
    }

    /// It returned.
    pub fn returned(&self) {
        self.call.store(NOTHING, Ordering::Relaxed);
    }

    /// Records wait, unless some do already.
    pub fn waits(&self, doing: Doing) {
        if self.wait.load(Ordering::Relaxed) == NOTHING {
            self.wait.store(self.packed(doing, Instant::now()), Ordering::Relaxed);
        }
    }

    /// Records were delivered, or none are there.
    pub fn got_on(&self) {
        self.wait.store(NOTHING, Ordering::Relaxed);
    }

    /// Whether the task has been at the same thing for so long; a call says more than a wait. Zero: never.
    #[must_use]
    pub fn stalled(&self, after: Duration, now: Instant) -> Option<Stalled> {
        if after.is_zero() {
            return None;
        }
        let at = |what: &AtomicU64| self.unpacked(what.load(Ordering::Relaxed), now).filter(|s| s.duration >= after);
        at(&self.call).or_else(|| at(&self.wait))
    }

    /// Milliseconds since the task was born, and what it does, in one word.
    fn packed(&self, doing: Doing, now: Instant) -> u64 {
        let ms = u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX);
        ms << DOING_BITS | doing as u64
    }

    fn unpacked(&self, packed: u64, now: Instant) -> Option<Stalled> {
        let doing = match packed & ((1 << DOING_BITS) - 1) {
            1 => Doing::Open,
            2 => Doing::Put,
            3 => Doing::Commit,
            4 => Doing::Deliver,
            5 => Doing::Fetch,
            6 => Doing::Produce,
            _ => return None,
        };
        let since = self.born + Duration::from_millis(packed >> DOING_BITS);
        Some(Stalled { duration: now.saturating_duration_since(since), doing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(60);

    #[test]
    fn a_task_is_stalled_when_something_takes_too_long() {
        let born = Instant::now();
        let progress = Progress::new(born);
        let stalled = |seconds| progress.stalled(AFTER, Instant::now() + Duration::from_secs(seconds)).map(|s| s.doing);
        assert_eq!(stalled(100), None);
        progress.waits(Doing::Deliver);
        assert_eq!((stalled(50), stalled(61)), (None, Some(Doing::Deliver)));
        // The call that hangs is the better reason.
        progress.call(Doing::Put);
        assert_eq!(stalled(61), Some(Doing::Put));
        progress.returned();
        assert_eq!(stalled(61), Some(Doing::Deliver));
        progress.got_on();
        assert_eq!(stalled(100), None);
        assert_eq!(progress.stalled(Duration::ZERO, Instant::now()), None);
    }

    #[test]
    fn what_waits_longest_counts() {
        let progress = Progress::new(Instant::now());
        progress.waits(Doing::Fetch);
        progress.waits(Doing::Deliver);
        let later = Instant::now() + AFTER * 2;
        assert_eq!(progress.stalled(AFTER, later).map(|s| s.doing), Some(Doing::Fetch));
    }
}
