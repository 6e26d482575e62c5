//! MirrorMaker's connectors: copies topics of another Kafka cluster byte for byte, under MirrorMaker's keys, names and offsets, notes
//! where each group of that cluster would go on, and says by heartbeats that records get through.

mod policy;
mod wire;
mod clients;
mod keys;
mod config;
mod position;
mod record;
mod reader;
mod topic_settings;
mod plan;
mod syncs;
mod sync_store;
mod under_way;
mod task;
mod checkpoint;
mod heartbeat;

use penstock_api::{
    ConfigDef, Connector, Constructor, ExactlyOnceSupport, Plugin, Props, Result, SourceConnector, SourceMap, SourceTask,
    async_trait,
};
use std::sync::Arc;
use tokio::time::Instant;

use topic_settings::Clock;

/// The full class name; `KafkaSource` alone will do.
pub const CLASS: &str = "penstock.KafkaSourceConnector";
/// Whose configurations it takes.
pub const MIRROR_CLASS: &str = "org.apache.kafka.connect.mirror.MirrorSourceConnector";

/// The connectors as plugins.
#[must_use]
pub fn plugins() -> Vec<Plugin> {
    let synced = Arc::<Clock>::default();
    let aliases = vec!["penstock.KafkaSource".into(), MIRROR_CLASS.into()];
    vec![
        plugin(CLASS, aliases, config::def(), move || Box::new(KafkaSource { synced: synced.clone() })),
        plugin(checkpoint::CLASS, Vec::new(), checkpoint::def(), || Box::new(checkpoint::CheckpointConnector)),
        plugin(heartbeat::CLASS, Vec::new(), heartbeat::def(), || Box::new(heartbeat::HeartbeatConnector)),
    ]
}

fn plugin(
    class: &str,
    aliases: Vec<String>,
    config: ConfigDef,
    construct: impl Fn() -> Box<dyn SourceConnector> + Send + Sync + 'static,
) -> Plugin {
    Plugin {
        class: class.into(),
        aliases,
        version: env!("CARGO_PKG_VERSION").into(),
        config: Arc::new(config),
        construct: Constructor::Source(Arc::new(construct)),
    }
}

struct KafkaSource {
    synced: Arc<Clock>,
}

#[async_trait]
impl Connector for KafkaSource {
    async fn validate(&self, config: &Props) -> Vec<(String, String)> {
        config::problems(config)
    }

    async fn task_configs(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        plan::tasks(config, tasks_max).await
    }

    /// New topics and partitions are found by planning again. Meanwhile settings of topics are copied when it is time.
    async fn watch(&self, config: &Props) -> Result<()> {
        let settings = config::Settings::parse(config)?;
        let name = config.get("name").map_or("", String::as_str);
        let began = Instant::now();
        let refreshed = async {
            match settings.refresh {
                Some(interval) => tokio::time::sleep_until(began + interval).await,
                None => std::future::pending().await,
            }
        };
        let synced = async {
            let Some(interval) = settings.sync_configs.filter(|_| settings.shared.enabled) else {
                return std::future::pending().await;
            };
            loop {
                tokio::time::sleep_until(self.synced.next(name, interval)).await;
                if let Err(error) = plan::sync_topic_settings(config, &settings).await {
                    tracing::warn!(connector = name, error = %format!("{error:#}"), "settings of topics were not copied this time");
                }
                self.synced.done(name);
            }
        };
        tokio::select! {
            () = refreshed => Ok(()),
            () = synced => Ok(()),
        }
    }
}

#[async_trait]
impl SourceConnector for KafkaSource {
    fn task(&self) -> Box<dyn SourceTask> {
        Box::<task::KafkaSourceTask>::default()
    }

    /// As MirrorMaker: when nothing is read that may be aborted yet.
    async fn exactly_once_support(&self, config: &Props) -> Result<Option<ExactlyOnceSupport>> {
        // What is wrong with them is told key by key.
        let Ok(settings) = config::Settings::parse(config) else { return Ok(None) };
        Ok(Some(if config::reads_committed(&settings.consumer) {
            ExactlyOnceSupport::Supported
        } else {
            ExactlyOnceSupport::Unsupported
        }))
    }

    async fn alter_offsets(&self, _config: &Props, changes: &[(SourceMap, Option<SourceMap>)]) -> Result<bool> {
        for (partition, offset) in changes {
            position::check(partition, offset.as_ref())?;
        }
        Ok(true)
    }
}
