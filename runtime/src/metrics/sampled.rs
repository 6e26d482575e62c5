//! Connect's averages, maxima and rates: over the last few windows of time, not since the start.
//!
//! The rules are those of `SampledStat`, `Rate` and `Frequencies` in Kafka's clients, so that the same load gives the same figure.

use std::time::{Duration, Instant};

use penstock_api::Spread;

/// `metrics.num.samples` windows of `metrics.sample.window.ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// At least one.
    pub samples: usize,
    pub window: Duration,
}

impl Default for Windows {
    fn default() -> Self {
        Self { samples: 2, window: Duration::from_secs(30) }
    }
}

/// Values seen lately.
#[derive(Debug)]
pub struct Sampled {
    windows: Windows,
    /// A ring, as long as `windows.samples` at most.
    samples: Vec<Sample>,
    current: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    began: Instant,
    last: Instant,
    count: u64,
    sum: f64,
    max: f64,
    min: f64,
}

impl Sample {
    fn new(now: Instant) -> Self {
        Self { began: now, last: now, count: 0, sum: 0.0, max: f64::NEG_INFINITY, min: f64::INFINITY }
    }
}

impl Sampled {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(windows: Windows) -> Self {
        Self { windows: Windows { samples: windows.samples.max(1), ..windows }, samples: Vec::new(), current: 0 }
    }

    /// Takes a value in.
    pub fn record(&mut self, value: f64, now: Instant) {
        let sample = self.sample_at(now);
        sample.last = now;
        sample.count += 1;
        sample.sum += value;
        sample.max = sample.max.max(value);
        sample.min = sample.min.min(value);
    }

    /// Takes several values in at once.
    pub fn record_all(&mut self, values: Spread, now: Instant) {
        let sample = self.sample_at(now);
        sample.last = now;
        sample.count += values.count;
        sample.sum += values.sum;
        sample.max = sample.max.max(values.max);
        sample.min = sample.min.min(values.min);
    }

    /// NaN when there was none.
    #[must_use]
    pub fn average(&self, now: Instant) -> f64 {
        let (count, sum) = self.fresh(now).fold((0, 0.0), |(count, sum), sample| (count + sample.count, sum + sample.sum));
        if count == 0 { f64::NAN } else { sum / count as f64 }
    }

    /// NaN when there was none.
    #[must_use]
    pub fn max(&self, now: Instant) -> f64 {
        let max = self.fresh(now).filter(|sample| sample.count > 0).map(|sample| sample.max).reduce(f64::max);
        max.unwrap_or(f64::NAN)
    }

    /// NaN when there was none.
    #[must_use]
    pub fn min(&self, now: Instant) -> f64 {
        let min = self.fresh(now).filter(|sample| sample.count > 0).map(|sample| sample.min).reduce(f64::min);
        min.unwrap_or(f64::NAN)
    }

    /// The sum for each second.
    #[must_use]
    pub fn rate(&self, now: Instant) -> f64 {
        let sum = self.sum(now);
        let Some(oldest) = self.fresh(now).map(|sample| sample.began).min() else { return 0.0 };
        // As in Java a worker that has just started counts as one that has run for all windows but the newest, so that a burst is no
        // enormous rate.
        let elapsed = now.saturating_duration_since(oldest);
        let full = elapsed.as_millis() / self.windows.window.as_millis().max(1);
        let missing = (self.windows.samples as u128 - 1).saturating_sub(full);
        let seconds = elapsed.as_secs_f64() + self.windows.window.as_secs_f64() * missing as f64;
        if seconds == 0.0 { 0.0 } else { sum / seconds }
    }

    /// The sum of all values.
    #[must_use]
    pub fn sum(&self, now: Instant) -> f64 {
        self.fresh(now).map(|sample| sample.sum).sum()
    }

    /// Samples that are not too old to count.
    fn fresh(&self, now: Instant) -> impl Iterator<Item = &Sample> {
        let age_max = self.windows.window.saturating_mul(u32::try_from(self.windows.samples).unwrap_or(u32::MAX));
        self.samples.iter().filter(move |sample| now.saturating_duration_since(sample.last) < age_max)
    }

    fn sample_at(&mut self, now: Instant) -> &mut Sample {
        if self.samples.is_empty() {
            self.samples.push(Sample::new(now));
        } else if now.saturating_duration_since(self.samples[self.current].began) >= self.windows.window {
            self.current = (self.current + 1) % self.windows.samples;
            match self.samples.get_mut(self.current) {
                Some(reused) => *reused = Sample::new(now),
                None => self.samples.push(Sample::new(now)),
            }
        }
        &mut self.samples[self.current]
    }
}

/// How often something went well lately, as shares of 1; Connect calls them percentages.
#[derive(Debug)]
pub struct Outcomes {
    good: Sampled,
    bad: Sampled,
}

impl Outcomes {
    #[must_use]
    pub fn new(windows: Windows) -> Self {
        Self { good: Sampled::new(windows), bad: Sampled::new(windows) }
    }

    pub fn record(&mut self, is_good: bool, now: Instant) {
        let (hit, other) = if is_good { (&mut self.good, &mut self.bad) } else { (&mut self.bad, &mut self.good) };
        hit.record(1.0, now);
        // Both rings turn together.
        other.record(0.0, now);
    }

    /// (good, bad); both 0 when nothing happened.
    #[must_use]
    pub fn shares(&self, now: Instant) -> (f64, f64) {
        let (good, bad) = (self.good.sum(now), self.bad.sum(now));
        let all = good + bad;
        if all == 0.0 { (0.0, 0.0) } else { (good / all, bad / all) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Windows = Windows { samples: 2, window: Duration::from_secs(30) };

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-9, "{got} is not {expected}");
    }

    /// 0.4 after 20 s is what `Rate` answers for 20 events: 20 / (20 s + one window of 30 s that has not been).
    #[test]
    fn a_rate_counts_windows_that_have_not_been() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut sampled = Sampled::new(TWO);
        close(sampled.rate(at(0)), 0.0);
        for second in 0..20 {
            sampled.record(1.0, at(second));
        }
        close(sampled.rate(at(20)), 20.0 / 50.0);
        for second in 20..40 {
            sampled.record(1.0, at(second));
        }
        close(sampled.rate(at(40)), 40.0 / 40.0);
    }

    #[test]
    fn what_is_too_old_does_not_count() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut sampled = Sampled::new(TWO);
        assert!(sampled.max(at(0)).is_nan() && sampled.average(at(0)).is_nan());
        sampled.record(9.0, at(0));
        sampled.record(1.0, at(31));
        close(sampled.max(at(40)), 9.0);
        close(sampled.average(at(40)), 5.0);
        // The third window takes the place of the first.
        sampled.record(3.0, at(62));
        close(sampled.max(at(62)), 3.0);
        close(sampled.average(at(62)), 2.0);
        assert!(sampled.max(at(200)).is_nan());
        close(sampled.rate(at(200)), 0.0);
    }

    #[test]
    fn values_of_a_batch_count_one_by_one() {
        let now = Instant::now();
        let (mut one_by_one, mut at_once, mut batch) = (Sampled::new(TWO), Sampled::new(TWO), Spread::NONE);
        for value in [3.0, 9.0, 6.0] {
            one_by_one.record(value, now);
            batch.add(value);
        }
        at_once.record_all(batch, now);
        let figures = |sampled: &Sampled| [sampled.average(now), sampled.min(now), sampled.max(now), sampled.sum(now)];
        assert_eq!(figures(&one_by_one), figures(&at_once));
        assert_eq!(batch.last, 6.0);
    }

    #[test]
    fn outcomes_are_shares() {
        let now = Instant::now();
        let mut outcomes = Outcomes::new(TWO);
        assert_eq!(outcomes.shares(now), (0.0, 0.0));
        for is_good in [true, true, true, false] {
            outcomes.record(is_good, now);
        }
        assert_eq!(outcomes.shares(now), (0.75, 0.25));
        assert_eq!(outcomes.shares(now + Duration::from_secs(100)), (0.0, 0.0));
    }
}
