//! Kafka clients: settings, batches of records, producing, administration.

pub mod consumer;
pub mod producer;
mod group_offsets;
pub mod admin;
mod fetch;
mod native;
mod security;
pub mod settings;
mod subscription;
mod trouble;

pub use admin::{Admin, NewTopic};
pub use consumer::{Commit, Connection, Consumer, Departure, Polled};
pub use producer::{Ack, Delivered, Outgoing, Producer};
pub use settings::{AdminSettings, ConsumerSettings, ProducerSettings};
