//! Connect's FileStream connectors: a line of a file is a record.

mod config;
mod text;
mod sink;
mod lines;
mod source;

use penstock_api::{Connector, Constructor, OffsetChanges, Plugin, Props, Result, SinkConnector, SinkTask};
use std::sync::Arc;

pub use source::CLASS as SOURCE_CLASS;

/// The sink's class.
pub const SINK_CLASS: &str = "org.apache.kafka.connect.file.FileStreamSinkConnector";

/// The connectors as plugins.
#[must_use]
pub fn plugins() -> Vec<Plugin> {
    let sink = Plugin {
        class: SINK_CLASS.into(),
        aliases: Vec::new(),
        version: env!("CARGO_PKG_VERSION").into(),
        config: Arc::new(config::sink()),
        construct: Constructor::Sink(Arc::new(|| Box::new(FileStreamSink))),
    };
    vec![sink, source::plugin()]
}

struct FileStreamSink;

#[penstock_api::async_trait]
impl Connector for FileStreamSink {
    async fn task_configs(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        config::sink().parse(config)?;
        Ok(self.same_for_all(config, tasks_max))
    }
}

#[penstock_api::async_trait]
impl SinkConnector for FileStreamSink {
    fn task(&self) -> Box<dyn SinkTask> {
        Box::<sink::FileStreamSinkTask>::default()
    }

    /// The file keeps no offsets.
    async fn alter_offsets(&self, _config: &Props, _changes: &OffsetChanges) -> Result<bool> {
        Ok(true)
    }
}
