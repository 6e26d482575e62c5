//! Every integration test, in one binary.

mod ground;
mod kafka;
mod rest;
mod store;
mod tidy;
mod transforms;
