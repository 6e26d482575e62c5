//! Tasks: the loops that move data.
//!
//! The invariants of the data path, quoted by number at the line that upholds each:
//!
//! 1. An offset is committed only after the task called it durable, and after the dead letters below it are acknowledged.
//! 2. Commits go by `Origin`, which transforms cannot touch.
//! 3. Only the leader writes configuration; a worker fenced from the config topic stops leading before anything else.
//! 4. New source tasks start only after the older generation's producers are fenced.

pub mod errors;
pub mod pipeline;
mod letters;
pub mod dead_letters;
pub mod unit;
mod about;
mod topics;
pub mod sink;
mod in_flight;
mod topic_creation;
mod outbound;
mod boundaries;
pub mod transaction;
pub mod source;

pub use about::about;
pub use sink::start as start_sink;
pub use source::start as start_source;
pub use transaction::{ExactlyOnce, Fence};
pub use unit::{Event, TaskEvent, TaskHandle, TaskSpec, Wanted};
