//! How long to leave the other side alone after trouble.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Waits that double, each a fifth more or less, so that many tasks do not come back at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    initial: Duration,
    max: Duration,
    failures: u32,
    since: Option<Instant>,
    due: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max, failures: 0, since: None, due: None }
    }

    /// How long it is still to wait.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now))
    }

    /// Since when nothing has worked.
    pub(crate) fn failing_for(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Notes a failure. `asked`: how long the other side wants to be left alone at least.
    pub(crate) fn failed(&mut self, now: Instant, asked: Option<Duration>) {
        let doubled = self.initial.saturating_mul(2_u32.saturating_pow(self.failures)).min(self.max);
        self.failures += 1;
        self.since.get_or_insert(now);
        self.due = Some(now + doubled.mul_f64(0.8 + 0.4 * chance()).max(asked.unwrap_or_default()));
    }

    pub(crate) fn worked(&mut self) {
        (self.failures, self.since, self.due) = (0, None, None);
    }
}

/// From 0 to 1, by the seed that each hasher gets from the system.
fn chance() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_up_to_their_limit() {
        let now = Instant::now();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(1_000));
        assert_eq!(backoff.left(now), Duration::ZERO);
        for expected in [100_u64, 200, 400, 800, 1_000, 1_000] {
            backoff.failed(now, None);
            let (low, high) = (Duration::from_millis(expected * 8 / 10), Duration::from_millis(expected * 12 / 10 + 1));
            assert!((low..=high).contains(&backoff.left(now)), "{:?} for {expected}", backoff.left(now));
        }
        backoff.failed(now, Some(Duration::from_secs(9)));
        assert_eq!(backoff.left(now), Duration::from_secs(9));
        assert_eq!(backoff.failing_for(now + Duration::from_secs(5)), Duration::from_secs(5));
        backoff.worked();
        assert_eq!((backoff.left(now), backoff.failing_for(now)), (Duration::ZERO, Duration::ZERO));
    }
}
