//! Every metric in one table, by Connect's names; what tasks count, and the page that Prometheus reads.
//!
//! A task owns what it counts ([`TaskMetrics`]) and touches it once for each batch; whoever asks for the page reads it there.
//! How names are made, and which figures are windows as in Connect: `runtime/decisions/0045-metrics.md`.

pub mod table;
pub mod sampled;
pub mod histogram;
pub mod page;
pub mod progress;
mod copies;
mod task;
mod worker;

pub use histogram::Histogram;
pub use page::Page;
pub use progress::{Doing, Progress, Stalled};
pub use sampled::Windows;
pub use table::Metric;
pub use task::{About, ActiveRecords, Class, CommitOutcome, Counter, Stage, TaskMetrics, TaskState};
pub use worker::Metrics;
