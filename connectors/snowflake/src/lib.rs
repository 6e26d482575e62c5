//! The Snowflake sink: Kafka's records into Snowflake's tables, exactly once, by Parquet files, PUT and COPY INTO.
//!
//! In reading order: what users say, how values become rows and files, how Snowflake is spoken to, and the task that does it.

pub mod names;

pub mod auth;
pub mod config;

pub mod types;

pub mod json;

pub mod cells;

pub mod segment;

pub mod sql;

pub mod table;

pub mod metadata;
pub mod rows;

pub mod upload;
pub mod wire;

pub mod client;

pub mod offsets;

pub mod load;

pub mod tables;

pub mod partition;
pub mod task;

use std::sync::Arc;

use penstock_api::{Connector, Constructor, Plugin, Props, Result, SinkConnector, SinkTask, async_trait};

/// The plugin, under its own name and those of Snowflake's connector.
#[must_use]
pub fn plugin() -> Plugin {
    Plugin {
        class: "penstock.snowflake.SnowflakeSinkConnector".into(),
        aliases: vec![
            "com.snowflake.kafka.connector.SnowflakeSinkConnector".into(),
            "com.snowflake.kafka.connector.SnowflakeStreamingSinkConnector".into(),
        ],
        version: env!("CARGO_PKG_VERSION").into(),
        config: Arc::new(config::definition()),
        construct: Constructor::Sink(Arc::new(|| Box::new(SnowflakeSinkConnector))),
    }
}

/// Plans nothing: every task gets the connector's own configuration.
struct SnowflakeSinkConnector;

#[async_trait]
impl Connector for SnowflakeSinkConnector {
    async fn validate(&self, config: &Props) -> Vec<(String, String)> {
        config::check(config)
    }

    async fn task_configs(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        Ok(self.same_for_all(config, tasks_max))
    }
}

impl SinkConnector for SnowflakeSinkConnector {
    fn task(&self) -> Box<dyn SinkTask> {
        Box::new(task::Task::default())
    }
}
