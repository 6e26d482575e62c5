//! A source of what happens in a shop, made up: the same for the same seed, at any pace, for demos, tests and benchmarks.

mod chance;
mod config;
mod events;
mod task;

use penstock_api::{
    Connector, Constructor, Error, ExactlyOnceSupport, Plugin, Props, Result, SourceConnector, SourceMap, SourceTask, async_trait,
};
use std::sync::Arc;

/// The full class name; `Datagen` alone will do.
pub const CLASS: &str = "penstock.DatagenSourceConnector";

/// The source as a plugin.
#[must_use]
pub fn plugin() -> Plugin {
    Plugin {
        class: CLASS.into(),
        aliases: vec!["penstock.Datagen".into()],
        version: env!("CARGO_PKG_VERSION").into(),
        config: Arc::new(config::def()),
        construct: Constructor::Source(Arc::new(|| Box::new(Datagen))),
    }
}

struct Datagen;

#[async_trait]
impl Connector for Datagen {
    /// Each kind of events is made by one task.
    async fn task_configs(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        config::tasks(config, tasks_max)
    }
}

#[async_trait]
impl SourceConnector for Datagen {
    fn task(&self) -> Box<dyn SourceTask> {
        Box::<task::DatagenTask>::default()
    }

    async fn exactly_once_support(&self, _config: &Props) -> Result<Option<ExactlyOnceSupport>> {
        Ok(Some(ExactlyOnceSupport::Supported))
    }

    async fn alter_offsets(&self, _config: &Props, changes: &[(SourceMap, Option<SourceMap>)]) -> Result<bool> {
        for (partition, offset) in changes {
            let shown = || serde_json::Value::from(partition.clone());
            task::kind_of(partition).ok_or_else(|| {
                Error::config(format!("{} is no partition: expected {{\"events\": \"orders\"}} or another kind", shown()))
            })?;
            offset
                .as_ref()
                .map_or(Ok(0), |offset| task::next_of(offset).map_err(|e| e.context(format!("partition {}", shown()))))?;
        }
        Ok(true)
    }
}
