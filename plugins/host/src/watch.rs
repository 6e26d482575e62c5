//! What is watched while a call runs: what of its time is the guest's own, and the first grant or limit that it breaks.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::own_time::OwnTime;

/// Of one instance; its store, its requests and its calls share it.
pub(crate) struct Watch {
    waits: Mutex<Waits>,
    /// How long a call may wait for the network.
    network_wait_max: Duration,
    /// Answers of the network that the guest may be waiting for.
    expected: AtomicUsize,
    /// The guest sleeps while answers are expected.
    waits_for_network: AtomicBool,
    breach: OnceLock<String>,
}

/// Of the running call.
#[derive(Default)]
struct Waits {
    all: Duration,
    network: Duration,
    since: Option<Instant>,
    own: OwnTime,
}

/// The guest broke a grant or a limit: see [`Watch::breach`].
pub(crate) struct Broken;

/// Holds while something of the network is expected.
pub(crate) struct Expected(Arc<Watch>);

impl Watch {
    pub(crate) fn new(network_wait_max: Duration) -> Arc<Self> {
        Arc::new(Self {
            waits: Mutex::default(),
            network_wait_max,
            expected: AtomicUsize::new(0),
            waits_for_network: AtomicBool::new(false),
            breach: OnceLock::new(),
        })
    }

    /// A call begins.
    pub(crate) fn begin(&self) {
        *self.lock() = Waits::default();
    }

    /// Waits for the worker itself on the guest's behalf.
    pub(crate) async fn wait<T>(&self, something: impl Future<Output = T>) -> T {
        self.lock().since = Some(Instant::now());
        let answer = something.await;
        self.lock().end();
        answer
    }

    /// Notes what a guest broke, as what follows "the plugin"; the first counts. The call it runs in ends with it.
    pub(crate) fn broke(&self, what: String) {
        // Later ones mostly follow from the first.
        let _first = self.breach.set(what);
    }

    pub(crate) fn breach(&self) -> Option<&str> {
        self.breach.get().map(String::as_str)
    }

    /// From now on until it is dropped, the guest may be waiting for the network.
    pub(crate) fn expect(self: &Arc<Self>) -> Expected {
        self.expected.fetch_add(1, Ordering::AcqRel);
        Expected(self.clone())
    }

    /// Lets a call go on. Time it sleeps while answers of the network are expected is not its own.
    pub(crate) fn poll<F: Future>(&self, call: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<Result<F::Output, Broken>> {
        if self.breach.get().is_some() {
            return Poll::Ready(Err(Broken));
        }
        let turn = {
            let mut waits = self.lock();
            if self.waits_for_network.swap(false, Ordering::AcqRel) {
                let waited = waits.end();
                waits.network += waited;
            }
            waits.own.resume(cx)
        };
        let polled = turn.poll(call);
        if self.breach.get().is_some() {
            return Poll::Ready(Err(Broken));
        }
        if polled.is_pending() {
            let mut waits = self.lock();
            if self.expected.load(Ordering::Acquire) > 0 {
                waits.since = Some(Instant::now());
                self.waits_for_network.store(true, Ordering::Release);
            }
            let waits_for_others = waits.since.is_some();
            waits.own.pause(turn, waits_for_others);
        }
        polled.map(Ok)
    }

    /// What of the call's time was the guest's own so far, as [`OwnTime`] has it.
    pub(crate) fn own(&self) -> Duration {
        self.lock().own.get()
    }

    /// How long the call has waited so far.
    pub(crate) fn waited(&self) -> Duration {
        let waits = self.lock();
        waits.all + waits.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// How long the call may still wait for the network.
    pub(crate) fn network_wait_left(&self) -> Duration {
        let waits = self.lock();
        let running = waits.since.filter(|_| self.waits_for_network.load(Ordering::Acquire));
        self.network_wait_max.saturating_sub(waits.network + running.map_or(Duration::ZERO, |since| since.elapsed()))
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waits {
    fn end(&mut self) -> Duration {
        let waited = self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.all += waited;
        waited
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.0.expected.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(watch: &Watch, call: impl Future<Output = ()>) -> Result<(), Broken> {
        let mut call = std::pin::pin!(call);
        std::future::poll_fn(|cx| watch.poll(call.as_mut(), cx)).await
    }

    #[tokio::test]
    async fn only_waiting_for_the_network_is_not_the_guests_time() {
        let watch = Watch::new(Duration::from_secs(9));
        let nap = || tokio::time::sleep(Duration::from_millis(20));
        assert!(run(&watch, nap()).await.is_ok());
        assert_eq!(watch.waited(), Duration::ZERO);
        let expected = watch.expect();
        assert!(run(&watch, nap()).await.is_ok());
        drop(expected);
        assert!(watch.waited() >= Duration::from_millis(20) && watch.network_wait_left() <= Duration::from_millis(8980));
        watch.begin();
        watch.wait(nap()).await;
        assert!(watch.waited() >= Duration::from_millis(20) && watch.network_wait_left() == Duration::from_secs(9));
    }

    #[tokio::test]
    async fn a_breach_ends_the_call_and_the_first_counts() {
        let watch = Watch::new(Duration::ZERO);
        let breaks = async {
            watch.broke("did this".to_owned());
            watch.broke("did that".to_owned());
            std::future::pending::<()>().await;
        };
        assert!(run(&watch, breaks).await.is_err());
        assert!(run(&watch, async {}).await.is_err());
        assert_eq!(watch.breach(), Some("did this"));
    }
}
