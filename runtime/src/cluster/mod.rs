//! From what the config topic says to what runs: decide purely, act at the edge.

pub mod error;
pub mod stage;
pub mod view;
pub mod herder;

pub use error::HerderError;
pub use herder::Herder;
