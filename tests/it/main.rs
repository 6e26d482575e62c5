//! Every integration test, in one binary.

mod ground;
mod kafka;
mod tidy;
mod transforms;
