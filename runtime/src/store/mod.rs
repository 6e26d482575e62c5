//! Connect's internal topics: compacted logs, what their records say, and the state they add up to.

pub mod log;
pub mod topic;
pub mod json;
pub mod event;
pub mod config;
pub mod status;
pub mod offsets;

pub use log::{Clients, Log, Position, Read, Reader};
pub use topic::{TopicSpec, internal_topics};
