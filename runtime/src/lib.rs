//! The worker, in reading order: a module uses only those above it.

pub mod metrics;
pub mod config;
pub mod logging;
pub use penstock_kafka_clients as kafka;
pub mod converters;
pub mod store;
pub mod task;
pub mod cluster;
pub mod rest;
pub mod fill;
pub mod run;
pub mod cli;
