//! Raw, then typed, once: properties become typed settings at the door.

pub mod properties;
pub mod provider;
pub mod listener;
pub mod overrides;
pub mod worker_keys;
pub mod worker;
pub mod version;
pub mod common;
pub mod restart;
pub mod infos;
pub mod validate;
pub mod connector;
pub mod connector_file;

pub use connector::{
    ConnectorConfig, DeadLetters, ErrorPolicy, PluginUse, PredicateStep, Tolerance, TopicSelection, TransformStep,
};
pub use connector_file::ConnectorFile;
pub use infos::ConfigInfos;
pub use listener::Listener;
pub use overrides::OverridePolicy;
pub use provider::Providers;
pub use restart::RestartPolicy;
pub use validate::{RawConfig, validate};
pub use worker::{
    ClientConfig, ConverterChoice, InternalTopic, LogFormat, PluginConfig, RestConfig, SigningConfig, Standalone, WorkerConfig,
};
pub use worker_keys::Mode;
