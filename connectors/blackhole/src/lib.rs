//! A sink that counts and keeps nothing; it fails or lingers when told to. For tests and benchmarks.

mod config;
mod journal;
mod task;

use penstock_api::{Connector, Constructor, Plugin, Props, Result, SinkConnector, SinkTask};
use std::sync::Arc;

pub use task::delivered;

/// The full class name; `Blackhole` alone will do.
pub const CLASS: &str = "penstock.BlackholeSinkConnector";

/// The sink as a plugin.
#[must_use]
pub fn plugin() -> Plugin {
    Plugin {
        class: CLASS.into(),
        aliases: vec!["penstock.Blackhole".into()],
        version: env!("CARGO_PKG_VERSION").into(),
        config: Arc::new(config::def()),
        construct: Constructor::Sink(Arc::new(|| Box::new(Blackhole))),
    }
}

struct Blackhole;

#[penstock_api::async_trait]
impl Connector for Blackhole {
    async fn task_configs(&self, config: &Props, tasks_max: u32) -> Result<Vec<Props>> {
        config::def().parse(config)?;
        Ok(self.same_for_all(config, tasks_max))
    }
}

impl SinkConnector for Blackhole {
    fn task(&self) -> Box<dyn SinkTask> {
        Box::<task::BlackholeTask>::default()
    }
}
