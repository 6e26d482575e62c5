//! How often something took how long, since the start. Written without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in seconds: from what a batch of small records takes to what a stuck sink takes.
pub const BOUNDS_S: [f64; 13] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0];

const BOUNDS_NS: [u64; BOUNDS_S.len()] = [
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// Durations by bucket.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Not cumulative; the last one holds what is longer than all bounds.
    buckets: [AtomicU64; BOUNDS_S.len() + 1],
    sum_ns: AtomicU64,
}

impl Histogram {
    /// Takes a duration in.
    pub fn record(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_NS.partition_point(|bound| *bound < ns);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// For each bound, how many took at most so long; and last, how many there were.
    #[must_use]
    pub fn cumulative(&self) -> [u64; BOUNDS_S.len() + 1] {
        let mut sum = 0;
        std::array::from_fn(|bucket| {
            sum += self.buckets[bucket].load(Ordering::Relaxed);
            sum
        })
    }

    /// All durations together.
    #[must_use]
    pub fn sum_s(&self) -> f64 {
        Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_the_same_in_both_units() {
        for (s, ns) in BOUNDS_S.iter().zip(BOUNDS_NS) {
            assert_eq!(Duration::from_secs_f64(*s), Duration::from_nanos(ns));
        }
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::default();
        for ms in [1, 1, 2, 100_000] {
            histogram.record(Duration::from_millis(ms));
        }
        let counts = histogram.cumulative();
        assert_eq!(counts[..4], [0, 0, 2, 3]);
        assert_eq!(counts[BOUNDS_S.len() - 1..], [3, 4]);
        assert!((histogram.sum_s() - 100.004).abs() < 1e-9);
    }
}
