//! Every integration test, in one binary.

mod avro;
mod bad_components;
mod bad_input;
mod cli;
mod cluster;
mod ground;
mod kill;
mod listeners;
mod metrics;
mod secured;
mod sink;
mod kafka;
mod openapi;
mod plugins;
mod rest;
mod restarts;
mod standalone;
mod stop;
mod outages;
mod store;
mod snowflake;
mod takeover;
mod tidy;
mod traces;
mod transforms;
mod worker_file;
