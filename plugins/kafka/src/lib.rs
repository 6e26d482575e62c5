//! Kafka clients: settings, batches of records, producing, administration. For the worker, and for connectors to other clusters.

pub mod consumer;
pub mod producer;
pub mod stream;
pub mod transactional;
mod group_offsets;
mod group_members;
mod groups;
mod topic_settings;
mod ends;
pub mod admin;
mod enqueue;
mod event;
mod fetch;
mod message;
mod native;
mod queue;
pub mod jaas;
mod oauth;
mod security;
pub mod settings;
mod subscription;
mod trouble;

pub use admin::{Admin, Commits, Committed, GroupChange, GroupMember, NewTopic};
pub use consumer::{Commit, Connection, Consumer, Departure, Polled};
pub use ends::End;
pub use producer::{Ack, Delivered, Outgoing, Producer};
pub use settings::{AdminSettings, ConsumerSettings, ProducerSettings};
pub use stream::{Outcome, Sending, StreamProducer, Undelivered};
pub use subscription::TopicSelection;
pub use transactional::{TransactionError, Transactional};
