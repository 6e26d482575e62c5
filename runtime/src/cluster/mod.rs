//! From what the config topic says to what runs: decide purely, act at the edge.

pub mod error;
pub mod stage;
pub mod view;
pub mod assign;
pub mod share;
pub mod attendance;
pub mod reconcile;
pub mod restart;
mod revive;
pub mod signature;
pub mod member;
pub mod leadership;
pub mod starter;
mod answers;
mod progress;
mod rewind;
mod writer;
pub mod peers;
mod fence;
mod units;
mod plans;
mod wishes;
mod observed;
mod leader;
mod herd;
mod event_loop;
pub mod herder;
#[cfg(test)]
mod tests;

pub use error::HerderError;
pub use herder::{Herder, Herding, Setup};
pub use stage::Stages;
