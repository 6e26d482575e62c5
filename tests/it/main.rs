//! Every integration test, in one binary.

mod ground;
mod kafka;
mod rest;
mod tidy;
mod transforms;
