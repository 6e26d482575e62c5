//! Every integration test, in one binary.

mod ground;
mod tidy;
