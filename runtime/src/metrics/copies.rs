//! What a task counts that copies partitions of another cluster: MirrorMaker's figures, by partition.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use penstock_api::{CopiedPartition, Spread};

use super::page::Page;
use super::sampled::{Sampled, Windows};
use super::table::Metric;

/// Nothing for tasks that copy nothing.
#[derive(Debug)]
pub(super) struct Copies {
    windows: Windows,
    begun: Mutex<Option<Begun>>,
}

#[derive(Debug)]
struct Begun {
    source: String,
    target: String,
    client_id: String,
    partitions: Vec<Partition>,
}

#[derive(Debug)]
struct Partition {
    at: CopiedPartition,
    number: String,
    records: u64,
    record_rate: Sampled,
    bytes: u64,
    byte_rate: Sampled,
    age_ms: Sampled,
    last_age_ms: f64,
    latency_ms: Sampled,
    last_latency_ms: f64,
    lag: Option<i64>,
}

impl Copies {
    pub(super) fn new(windows: Windows) -> Self {
        Self { windows, begun: Mutex::new(None) }
    }

    pub(super) fn begin(&self, source: &str, target: &str, client_id: &str, partitions: Vec<CopiedPartition>) {
        let sampled = || Sampled::new(self.windows);
        let partition = |at: CopiedPartition| Partition {
            number: at.at_source.partition.to_string(),
            at,
            records: 0,
            record_rate: sampled(),
            bytes: 0,
            byte_rate: sampled(),
            age_ms: sampled(),
            last_age_ms: 0.0,
            latency_ms: sampled(),
            last_latency_ms: 0.0,
            lag: None,
        };
        let partitions = partitions.into_iter().map(partition).collect();
        let (source, target, client_id) = (source.to_owned(), target.to_owned(), client_id.to_owned());
        *self.lock() = Some(Begun { source, target, client_id, partitions });
    }

    pub(super) fn read(&self, partition: usize, bytes: u64, ages_ms: Spread) {
        self.with(partition, |counted| {
            let now = Instant::now();
            counted.bytes += bytes;
            counted.byte_rate.record(bytes as f64, now);
            counted.age_ms.record_all(ages_ms, now);
            counted.last_age_ms = ages_ms.last;
        });
    }

    pub(super) fn copied(&self, partition: usize, latencies_ms: Spread) {
        self.with(partition, |counted| {
            let now = Instant::now();
            counted.records += latencies_ms.count;
            counted.record_rate.record(latencies_ms.count as f64, now);
            counted.latency_ms.record_all(latencies_ms, now);
            counted.last_latency_ms = latencies_ms.last;
        });
    }

    pub(super) fn behind(&self, partition: usize, records: i64) {
        self.with(partition, |counted| counted.lag = Some(records));
    }

    pub(super) fn write(&self, page: &mut Page, [connector, task]: [&str; 2]) {
        let begun = self.lock();
        let Some(Begun { source, target, client_id, partitions }) = &*begun else { return };
        let now = Instant::now();
        for counted in partitions {
            let labels = [connector, task, source, target, &counted.at.topic, &counted.number];
            page.count(Metric::MirrorRecordCount, &labels, counted.records);
            page.count(Metric::MirrorByteCount, &labels, counted.bytes);
            for (metric, value) in [
                (Metric::MirrorRecordRate, counted.record_rate.rate(now)),
                (Metric::MirrorByteRate, counted.byte_rate.rate(now)),
                (Metric::MirrorRecordAge, counted.last_age_ms),
                (Metric::MirrorRecordAgeMax, counted.age_ms.max(now)),
                (Metric::MirrorRecordAgeMin, counted.age_ms.min(now)),
                (Metric::MirrorRecordAgeAvg, counted.age_ms.average(now)),
                (Metric::MirrorLatency, counted.last_latency_ms),
                (Metric::MirrorLatencyMax, counted.latency_ms.max(now)),
                (Metric::MirrorLatencyMin, counted.latency_ms.min(now)),
                (Metric::MirrorLatencyAvg, counted.latency_ms.average(now)),
            ] {
                page.number(metric, &labels, value);
            }
            if let Some(lag) = counted.lag {
                page.number(Metric::RecordsLag, &[client_id, &counted.at.at_source.topic, &counted.number], lag as f64);
            }
        }
    }

    fn with(&self, partition: usize, count: impl FnOnce(&mut Partition)) {
        if let Some(counted) = self.lock().as_mut().and_then(|begun| begun.partitions.get_mut(partition)) {
            count(counted);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Begun>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
