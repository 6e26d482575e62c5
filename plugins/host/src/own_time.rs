//! How much of a call's time was the guest's own. On a machine that is short of time most of it may be others', and a record must not be
//! blamed for that.
//!
//! Its own is the processor's time that it used, and that in which it slept. Not: waiting for its turn after it had yielded or woken up,
//! nor for a processor that others had.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// Of the running call.
#[derive(Default)]
pub(crate) struct OwnTime {
    known: Duration,
    /// It was polled before: most calls return the first time, and pay nothing for being measured.
    is_slow: bool,
    pause: Option<Pause>,
}

/// It sleeps, or waits for its turn.
struct Pause {
    since: Instant,
    woken: Arc<Woken>,
}

/// Notes when it was woken.
struct Woken {
    task: Waker,
    at: OnceLock<Instant>,
}

/// A turn of the guest under measurement.
pub(crate) struct Turn {
    woken: Arc<Woken>,
    waker: Waker,
    used_before: Option<Duration>,
}

impl OwnTime {
    /// The guest is about to run.
    pub(crate) fn resume(&mut self, cx: &Context<'_>) -> Turn {
        self.known += self.pause.take().map_or(Duration::ZERO, |pause| pause.slept());
        let woken = Arc::new(Woken { task: cx.waker().clone(), at: OnceLock::new() });
        let waker = Waker::from(woken.clone());
        let used_before = self.is_slow.then(processor_time);
        self.is_slow = true;
        Turn { woken, waker, used_before }
    }

    /// It gave its thread back without having returned. `waits`: for somebody else, and so it does not sleep.
    pub(crate) fn pause(&mut self, turn: Turn, waits: bool) {
        if let Some(before) = turn.used_before {
            self.known += processor_time().saturating_sub(before);
        }
        self.pause = (!waits).then(|| Pause { since: Instant::now(), woken: turn.woken });
    }

    /// So far. Too little rather than too much: the first turn is not counted, which is one tick of the clock at most.
    pub(crate) fn get(&self) -> Duration {
        self.known + self.pause.as_ref().map_or(Duration::ZERO, Pause::slept)
    }
}

impl Turn {
    pub(crate) fn poll<F: Future>(&self, call: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        call.poll(&mut Context::from_waker(&self.waker))
    }
}

impl Pause {
    fn slept(&self) -> Duration {
        self.woken.at.get().copied().unwrap_or_else(Instant::now).saturating_duration_since(self.since)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.at.get_or_init(Instant::now);
        self.task.wake_by_ref();
    }
}

/// What this thread has used so far; nothing where that cannot be known.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIT: Duration = Duration::from_millis(20);

    /// Runs a call to its end; `busy`: before each turn others have the thread for so long.
    async fn measured(call: impl Future<Output = ()>, busy: Duration) -> Duration {
        let mut own = OwnTime::default();
        let mut call = std::pin::pin!(call);
        std::future::poll_fn(|cx| {
            std::thread::sleep(busy);
            let turn = own.resume(cx);
            let polled = turn.poll(call.as_mut());
            if polled.is_pending() {
                own.pause(turn, false);
            }
            polled
        })
        .await;
        own.get()
    }

    fn burn(until_used: Duration) {
        let before = processor_time();
        while processor_time() - before < until_used {}
    }

    #[tokio::test]
    async fn sleeping_and_computing_count_and_waiting_for_a_turn_does_not() {
        let sleeps = async { tokio::time::sleep(BIT).await };
        assert!(measured(sleeps, Duration::ZERO).await >= BIT);
        let computes = async {
            for _ in 0..3 {
                burn(BIT);
                tokio::task::yield_now().await;
            }
        };
        // Neither the first turn, nor what others took.
        let own = measured(computes, 5 * BIT).await;
        assert!(own >= 2 * BIT && own < 5 * BIT, "{own:?}");
    }
}
