//! Raw, then typed, once: properties become typed settings at the door.

pub mod connector;

pub use connector::{ConnectorConfig, DeadLetters, ErrorPolicy, PluginUse, PredicateStep, Tolerance, TopicSelection, TransformStep};
