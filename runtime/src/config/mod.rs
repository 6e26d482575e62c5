//! Raw, then typed, once: properties become typed settings at the door.

pub mod properties;
pub mod provider;
pub mod listener;
pub mod tls;
pub mod headers;
pub mod origins;
pub mod basic_auth;
pub mod overrides;
pub mod worker_keys;
pub mod rest;
pub mod worker;
pub mod version;
pub mod common;
pub mod restart;
pub mod infos;
pub mod source;
pub mod validate;
pub mod connector;
pub mod connector_file;

pub use connector::{ConnectorConfig, DeadLetters, ErrorPolicy, PluginUse, PredicateStep, Tolerance, TransformStep};
pub use connector_file::ConnectorFile;
pub use headers::{HeaderRule, HeaderRuleValue};
pub use infos::ConfigInfos;
pub use listener::{Listener, Scheme};
pub use origins::Origins;
pub use overrides::OverridePolicy;
pub use provider::Providers;
pub use rest::RestConfig;
pub use restart::RestartPolicy;
pub use source::{Boundary, SourceSettings, TopicGroup};
pub use tls::{ClientAuth, Store, TlsConfig};
pub use validate::{RawConfig, validate};
pub use worker::{
    ClientConfig, ConverterChoice, InternalTopic, LogFormat, PluginConfig, SigningConfig, Standalone, WorkerConfig,
};
pub use worker_keys::Mode;
