//! Connect's internal topics: compacted logs, what their records say, and the state they add up to.

pub mod log;
mod memory;
mod java_map;
mod offset_file;
pub mod topic;
pub mod json;
pub mod event;
pub mod config;
pub mod status;
pub mod offsets;
pub mod offset_store;
pub mod assignment;
pub mod leader_log;

pub use leader_log::LeaderLog;
pub use log::{Clients, Log, Position, Read, Reader};
pub use offset_store::{OffsetStore, OffsetTopic};
pub use topic::{TopicSpec, assignment_topic, internal_topics, own_offset_topic};
