//! Kafka clients: settings, batches of records, producing, administration.

pub mod consumer;
mod fetch;
mod native;
mod security;
pub mod settings;
mod subscription;
mod trouble;

pub use consumer::{Commit, Connection, Consumer, Departure, Polled};
pub use settings::{AdminSettings, ConsumerSettings, ProducerSettings};
