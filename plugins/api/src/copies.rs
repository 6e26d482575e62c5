//! What a source counts that copies partitions of another Kafka cluster, as MirrorMaker does; the worker serves it beside its own figures.

use std::sync::Arc;

use crate::connector::TopicPartition;

/// A partition that is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedPartition {
    pub at_source: TopicPartition,
    /// What its topic is called at the target.
    pub topic: Arc<str>,
}

/// Several values, of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub count: u64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    pub last: f64,
}

impl Spread {
    /// No values.
    pub const NONE: Spread = Spread { count: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY, last: 0.0 };

    /// Takes a value in.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.last = value;
    }
}

/// Takes in what is counted, a batch at a time. Partitions are named by their place in the list that was [begun](Self::begin) with.
pub trait CopyMetrics: Send + Sync {
    /// These partitions are copied from now on; called once, before anything else. Aliases are those of the two clusters.
    fn begin(&self, source: &str, target: &str, client_id: &str, partitions: Vec<CopiedPartition>);

    /// Records were read: how many bytes their values have, and how old they were, in milliseconds.
    fn read(&self, partition: usize, bytes: u64, ages_ms: Spread);

    /// Records were delivered, so many milliseconds after their timestamps.
    fn copied(&self, partition: usize, latencies_ms: Spread);

    /// So many records of the partition are still to be read, as far as fetches have told.
    fn behind(&self, partition: usize, records: i64);
}

/// Counts nothing.
pub(crate) struct Uncounted;

impl CopyMetrics for Uncounted {
    fn begin(&self, _source: &str, _target: &str, _client_id: &str, _partitions: Vec<CopiedPartition>) {}
    fn read(&self, _partition: usize, _bytes: u64, _ages_ms: Spread) {}
    fn copied(&self, _partition: usize, _latencies_ms: Spread) {}
    fn behind(&self, _partition: usize, _records: i64) {}
}
