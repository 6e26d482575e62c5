//! A source that copies topics of another Kafka cluster to this one, byte for byte, under MirrorMaker's keys, names and offsets.

mod policy;
mod config;
mod position;
mod plan;
mod task;

use penstock_api::{
    Connector, Constructor, ExactlyOnceSupport, Plugin, Props, Result, SourceConnector, SourceMap, SourceTask, async_trait,
};
use std::sync::Arc;

/// The full class name; `KafkaSource` alone will do.
pub const CLASS: &str = "penstock.KafkaSourceConnector";
/// Whose configurations it takes.
pub const MIRROR_CLASS: &str = "org.apache.kafka.connect.mirror.MirrorSourceConnector";

/// The source as a plugin.
#[must_use]
pub fn plugin() -> Plugin {
    Plugin {
        class: CLASS.into(),
        aliases: vec!["penstock.KafkaSource".into(), MIRROR_CLASS.into()],
        version: env!("CARGO_PKG_VERSION").into(),
        config: Arc::new(config::def()),
        construct: Constructor::Source(Arc::new(|| Box::new(KafkaSource))),
    }
}

struct KafkaSource;

#[async_trait]
impl Connector for KafkaSource {
    async fn validate(&self, config: &Props) -> Vec<(String, String)> {
        config::problems(config)
    }

    async fn task_configs(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        plan::tasks(config, tasks_max).await
    }

    /// New topics and partitions are found by planning again.
    async fn watch(&self, config: &Props) -> Result<()> {
        match config::Settings::parse(config)?.refresh {
            Some(interval) => tokio::time::sleep(interval).await,
            None => std::future::pending().await,
        }
        Ok(())
    }
}

#[async_trait]
impl SourceConnector for KafkaSource {
    fn task(&self) -> Box<dyn SourceTask> {
        Box::<task::KafkaSourceTask>::default()
    }

    /// As MirrorMaker: when nothing is read that may be aborted yet.
    fn exactly_once_support(&self, config: &Props) -> Option<ExactlyOnceSupport> {
        let settings = config::Settings::parse(config).ok()?;
        let is_committed = settings.consumer.get("isolation.level").is_some_and(|level| level.trim() == "read_committed");
        Some(if is_committed { ExactlyOnceSupport::Supported } else { ExactlyOnceSupport::Unsupported })
    }

    async fn alter_offsets(&self, _config: &Props, changes: &[(SourceMap, Option<SourceMap>)]) -> Result<bool> {
        for (partition, offset) in changes {
            position::check(partition, offset.as_ref())?;
        }
        Ok(true)
    }
}
