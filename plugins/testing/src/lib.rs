//! Plugins under test: a case drives one plugin through the calls that a worker makes, and is run twice. In the test's own process, where
//! the plugin is its author's trait object; and inside wasmtime, where it is the built component in a worker's sandbox.
//!
//! `penstock plugin test` builds the component and sets [`COMPONENT_VARIABLE`] and [`HOST_VARIABLE`]; without them a case runs natively only.
//! A component is driven through a child process, `penstock plugin serve FILE`, which answers [`Call`]s from its standard input, one JSON
//! document a line, so that no author has to compile wasmtime. In reading order: records as cases write them; the calls and what they
//! answer; one plugin that is called; where it runs; what a case sees; a
//! server for it.

mod record;
mod call;
mod session;
mod place;
mod cases;
mod server;

pub use call::{Answer, Call, Failure, FailureKind, Next, Outcome, Polled, Reply, Report};
pub use cases::{Class, Plugins, PredicateTask, SinkTask, SourceTask, TransformTask, run};
pub use place::{COMPONENT_VARIABLE, HOST_VARIABLE};
pub use record::{Content, TestRecord};
pub use serde_json::json;
pub use server::{HttpAnswer, HttpRequest, HttpServer};
pub use session::Session;
