//! Cases that run natively and inside wasmtime: `penstock plugin test` does both, `cargo test` the first.
//!
//! ```
//! use penstock_plugin::testing::{Outcome, TestRecord, json, run};
//! # use penstock_plugin::{ConfigDef, Flow, Parsed, Record, Result, Transform, TransformClass, async_trait};
//! # struct DropTombstones;
//! # #[async_trait]
//! # impl Transform for DropTombstones {
//! #     fn apply(&mut self, record: &mut Record) -> Result<Flow> {
//! #         Ok(if record.value.is_null() { Flow::Drop } else { Flow::Keep })
//! #     }
//! # }
//! # fn classes() -> Vec<TransformClass> {
//! #     vec![TransformClass::records("com.example.DropTombstones", "1.0.0", ConfigDef::default(), |_: &Parsed| Ok(DropTombstones))]
//! # }
//!
//! run(classes, |plugins| {
//!     let mut task = plugins.transform("com.example.DropTombstones", &[]).unwrap();
//!     let order = TestRecord::new("orders").key("o-1").value(json!({"total": 12}));
//!     let outcomes = task.apply([order.clone(), TestRecord::new("orders").key("o-2")]).unwrap();
//!     assert_eq!(outcomes, [Outcome::Passed(order), Outcome::Dropped]);
//! });
//! ```
//!
//! A class in the form of columns works on a batch that only a worker has: its cases need `penstock plugin test`.

use penstock_plugin_testing::Class;
pub use penstock_plugin_testing::{
    Content, Failure, FailureKind, HttpAnswer, HttpRequest, HttpServer, Next, Outcome, Plugins, Polled, PredicateTask, Report,
    SinkTask, SourceTask, TestRecord, TransformTask, json,
};

use crate::{PredicateClass, SinkClass, SourceClass, TransformClass};

/// Runs a case on the classes of a crate, `fn classes() -> Vec<TransformClass>` or the like, in each place where they run.
///
/// # Panics
/// When the case does.
pub fn run<C: Testable>(classes: impl Fn() -> Vec<C>, case: impl Fn(&Plugins)) {
    penstock_plugin_testing::run(|| classes().into_iter().map(Testable::class).collect(), case);
}

/// A class that cases can use.
pub trait Testable {
    #[doc(hidden)]
    fn class(self) -> Class;
}

impl Testable for TransformClass {
    fn class(self) -> Class {
        self.about.class(self.native)
    }
}

impl Testable for PredicateClass {
    fn class(self) -> Class {
        self.about.class(self.native)
    }
}

impl Testable for SinkClass {
    fn class(self) -> Class {
        self.0.about.class(self.0.native)
    }
}

impl Testable for SourceClass {
    fn class(self) -> Class {
        self.inner.about.class(self.inner.native)
    }
}
