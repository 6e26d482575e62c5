//! Connect's internal topics: compacted logs, what their records say, and the state they add up to.

pub mod json;
pub mod event;
pub mod config;
pub mod status;
