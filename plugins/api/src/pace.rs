//! Keeping a rate: how many records are due, and when the next one is.

use std::time::Duration;

/// Records at a rate since a beginning, from which the caller counts the time. What was missed, for instance while Kafka was slow, is
/// made up for.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Records a second, above 0; `None`: as fast as can be.
    rate: Option<f64>,
    sent: u64,
}

impl Pace {
    /// So many records a second, above 0; `None`: as fast as can be.
    #[must_use]
    pub fn new(rate: Option<f64>) -> Self {
        Self { rate, sent: 0 }
    }

    /// How many may be sent now, at most `max`: the first one at once.
    #[must_use]
    pub fn due(&self, elapsed: Duration, max: u64) -> u64 {
        let Some(rate) = self.rate else { return max };
        let by_now = (elapsed.as_secs_f64() * rate) as u64 + 1;
        by_now.saturating_sub(self.sent).min(max)
    }

    /// Notes that so many were sent.
    pub fn sent(&mut self, count: u64) {
        self.sent += count;
    }

    /// How long until the next one is due.
    #[must_use]
    pub fn wait(&self, elapsed: Duration) -> Duration {
        let at = |rate: f64| Duration::try_from_secs_f64(self.sent as f64 / rate).unwrap_or(Duration::MAX);
        self.rate.map_or(Duration::ZERO, |rate| at(rate).saturating_sub(elapsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_whatever_the_steps() {
        let mut pace = Pace::new(Some(1000.0));
        let mut sent = 0;
        for at_ms in [0, 1, 11, 14, 514, 600] {
            let due = pace.due(Duration::from_millis(at_ms), 250);
            pace.sent(due);
            sent += due;
        }
        // 601 are due after 600 ms; no step takes more than 250.
        let end = Duration::from_millis(600);
        assert_eq!((sent, pace.due(end, 1000)), (515, 86));
        pace.sent(86);
        assert_eq!(pace.wait(end), Duration::from_millis(1));
        let fast = Pace::new(None);
        assert_eq!((fast.due(end, 7), fast.wait(end)), (7, Duration::ZERO));
    }
}
