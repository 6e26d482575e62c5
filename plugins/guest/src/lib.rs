//! The SDK of plugin authors: write a trait, list your classes, and `cargo build --target wasm32-wasip2` gives a component.
//!
//! A transform has one of two forms. [`Transform`] is the small one, the same trait that Penstock's built-in transforms
//! implement: `apply` gets one record and changes it.
//!
//! ```
//! use penstock_plugin::{ConfigDef, Flow, Parsed, Record, Result, Transform, TransformClass, async_trait};
//!
//! struct DropTombstones;
//!
//! #[async_trait]
//! impl Transform for DropTombstones {
//!     fn apply(&mut self, record: &mut Record) -> Result<Flow> {
//!         Ok(if record.value.is_null() { Flow::Drop } else { Flow::Keep })
//!     }
//! }
//!
//! fn classes() -> Vec<TransformClass> {
//!     let keys = ConfigDef::default();
//!     vec![TransformClass::records("com.example.DropTombstones", "1.0.0", keys, |_: &Parsed| Ok(DropTombstones))]
//! }
//!
//! penstock_plugin::export_transforms!(classes);
//! # fn main() {}
//! ```
//!
//! [`ColumnTransform`] is the fast one: it gets the batch and reads only the columns it needs, without any parser.
//!
//! ```
//! use penstock_plugin::{Batch, ColumnTransform, Part, Result, TextEdits};
//!
//! struct MaskEmail;
//!
//! impl ColumnTransform for MaskEmail {
//!     fn apply(&mut self, batch: &Batch<'_>) -> Result<()> {
//!         let mut masked = TextEdits::new();
//!         for (row, email) in batch.texts(Part::Value, "customer.email").iter().enumerate() {
//!             if email.is_some() {
//!                 masked.set(row, "***");
//!             }
//!         }
//!         batch.set_texts(Part::Value, "customer.email", &masked);
//!         Ok(())
//!     }
//! }
//! ```
//!
//! Sinks have both forms too: [`SinkConnector`] with [`SinkTask`], or [`ColumnSink`]; `export_sinks!` takes a list of [`SinkClass`].
//! So have sources: [`SourceConnector`] with [`SourceTask`], or [`ColumnSource`]; `export_sources!` takes a list of [`SourceClass`].
//!
//! [`http`] sends requests to hosts that the connector was granted, with [`secrets`] in their headers; [`metrics`] are on the worker's page; a class says with `wants` which ones it needs.
//!
//! A component is of one kind - transforms, predicates, sinks or sources - and holds any number of classes. What the functions promise stands
//! in the WIT files, which are the manual. The crate must be a `cdylib`, and chooses `opt-level`, `lto`, `strip` and
//! `panic = "abort"` in its own profile: see `examples/retail/transform`. `penstock plugin new` writes such a crate, and [`testing`] runs its
//! cases natively and inside wasmtime.

mod class;
mod columns;
mod connector_class;
mod rows;
#[doc(hidden)]
pub mod export;
pub mod http;
pub mod log;
pub mod metrics;
mod records;
pub mod secrets;
#[doc(hidden)]
pub mod sink;
#[doc(hidden)]
pub mod source;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod wit;

pub use class::{ColumnPredicate, ColumnTransform, Grant, PredicateClass, TransformClass};
pub use columns::{BlobEdits, Blobs, Edits, HeaderColumns, Names, Scalars, TextEdits, Texts};
pub use penstock_api::config::{Check, Default as ConfigDefault, Width};
pub use penstock_api::*;
pub use rows::Batch;
pub use sink::{ColumnSink, SinkClass};
pub use source::{ColumnSource, DeclaredSchema, Guarantees, Outbox, OutgoingRow, OutgoingRows, SourceClass, SourceTaskContext};
pub use wit::batches::{Encoding, FieldKind, Format as RowFormat, HeaderForm};
pub use wit::outgoing::Form;
