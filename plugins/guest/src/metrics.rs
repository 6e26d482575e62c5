//! Metrics of a plugin's own, on the worker's page for Prometheus: `Counter::new("requests-total", ..)` is
//! `kafka_connect_plugins_requests_total`, with connector, task and alias as labels.
//!
//! Make each once, when the plugin starts, and update it once for each batch. At most 100 series are kept for each instance. Outside of a
//! component, as in `cargo test`, nothing is counted.

use crate::wit::metrics::{Kind, declare, update};

/// Only grows.
#[derive(Clone, Debug)]
pub struct Counter(Series);

/// Goes up and down.
#[derive(Clone, Debug)]
pub struct Gauge(Series);

/// Counts values up to bounds.
#[derive(Clone, Debug)]
pub struct Histogram(Series);

/// The worker's number of it; `None` where there is no worker.
#[derive(Clone, Debug)]
struct Series(Option<u32>);

impl Counter {
    /// Declares it, with labels of its own.
    #[must_use]
    pub fn new(name: &str, doc: &str, labels: &[(&str, &str)]) -> Self {
        Self(Series::new(name, Kind::Counter, doc, labels))
    }

    /// Lets it grow.
    pub fn add(&self, n: u64) {
        self.0.update(n as f64);
    }
}

impl Gauge {
    /// Declares it, with labels of its own.
    #[must_use]
    pub fn new(name: &str, doc: &str, labels: &[(&str, &str)]) -> Self {
        Self(Series::new(name, Kind::Gauge, doc, labels))
    }

    /// Says what it is now.
    pub fn set(&self, value: f64) {
        self.0.update(value);
    }
}

impl Histogram {
    /// Declares it, with labels of its own; `bounds` ascend, 1 to 20 of them.
    #[must_use]
    pub fn new(name: &str, doc: &str, bounds: &[f64], labels: &[(&str, &str)]) -> Self {
        Self(Series::new(name, Kind::Histogram(bounds.to_vec()), doc, labels))
    }

    /// Takes a value in.
    pub fn record(&self, value: f64) {
        self.0.update(value);
    }
}

impl Series {
    fn new(name: &str, kind: Kind, doc: &str, labels: &[(&str, &str)]) -> Self {
        if cfg!(not(target_family = "wasm")) {
            return Self(None);
        }
        let labels: Vec<(String, String)> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self(Some(declare(name, &kind, doc, &labels)))
    }

    fn update(&self, value: f64) {
        if let Some(number) = self.0 {
            update(number, value);
        }
    }
}
