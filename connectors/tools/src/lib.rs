//! Connect's own test tools: connectors that say on standard output what passes, and connectors that fail when told to.

mod line;
mod verifiable_sink;
mod verifiable_source;
mod mock;

use penstock_api::{ConfigDef, Constructor, Error, Plugin, Props, Result};
use std::sync::Arc;

/// Says which records came and which were committed.
pub const VERIFIABLE_SINK_CLASS: &str = "org.apache.kafka.connect.tools.VerifiableSinkConnector";
/// Counts into a topic, and says what it sent and what Kafka has.
pub const VERIFIABLE_SOURCE_CLASS: &str = "org.apache.kafka.connect.tools.VerifiableSourceConnector";
/// Does nothing, and fails.
pub const MOCK_SINK_CLASS: &str = "org.apache.kafka.connect.tools.MockSinkConnector";
/// Does nothing, and fails.
pub const MOCK_SOURCE_CLASS: &str = "org.apache.kafka.connect.tools.MockSourceConnector";

/// The connectors as plugins.
#[must_use]
pub fn plugins() -> Vec<Plugin> {
    vec![
        plugin(VERIFIABLE_SINK_CLASS, Constructor::Sink(Arc::new(|| Box::new(verifiable_sink::VerifiableSink)))),
        plugin(MOCK_SINK_CLASS, Constructor::Sink(Arc::new(|| Box::new(mock::Mock)))),
        plugin(VERIFIABLE_SOURCE_CLASS, Constructor::Source(Arc::new(|| Box::new(verifiable_source::VerifiableSource)))),
        plugin(MOCK_SOURCE_CLASS, Constructor::Source(Arc::new(|| Box::new(mock::Mock)))),
    ]
}

/// As in Java, none of them declares its keys.
fn plugin(class: &str, construct: Constructor) -> Plugin {
    Plugin {
        class: class.into(),
        aliases: Vec::new(),
        version: env!("CARGO_PKG_VERSION").into(),
        config: Arc::new(ConfigDef::default()),
        construct,
    }
}

/// A number that a key says; `None` without the key.
fn number<N: std::str::FromStr>(config: &Props, key: &str) -> Result<Option<N>> {
    let read = |text: &String| text.trim().parse().map_err(|_| Error::config(format!("{key} is {text}, which is no number")));
    config.get(key).map(read).transpose()
}

/// The same for each task but for `id`, its number.
fn numbered(config: &Props, tasks_max: u32) -> Vec<Props> {
    let task = |id: u32| {
        let mut task = config.clone();
        task.insert("id".into(), id.to_string());
        task
    };
    (0..tasks_max).map(task).collect()
}
