//! MirrorHeartbeatConnector: says again and again, in the topic `heartbeats`, that records get through.

use penstock_api::{
    ConfigDef, ConfigType, Connector, Error, Next, Polled, Props, Result, SourceConnector, SourceContext, SourceMap,
    SourceOffset, SourcePosition, SourceRecord, SourceTask, async_trait,
};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

use crate::clients::{self, Cluster};
use crate::keys::{self, Shared, low};
use crate::wire::Heartbeat;
use crate::{plan, position, record};

pub(crate) const CLASS: &str = "org.apache.kafka.connect.mirror.MirrorHeartbeatConnector";

const EMIT: &str = "emit.heartbeats.enabled";
const INTERVAL: &str = "emit.heartbeats.interval.seconds";
const REPLICATION_FACTOR: &str = "heartbeats.topic.replication.factor";
/// Of the source partition.
const SOURCE: &str = "sourceClusterAlias";
const TARGET: &str = "targetClusterAlias";

pub(crate) fn def() -> ConfigDef {
    let own = [
        low(EMIT, ConfigType::Boolean, "true", "Whether heartbeats are written."),
        low(INTERVAL, ConfigType::Long, "1", "How often, in seconds."),
        low(
            REPLICATION_FACTOR,
            ConfigType::Short,
            "3",
            "Of the topic of heartbeats. The connector creates it when target.cluster.bootstrap.servers says where.",
        ),
    ];
    ConfigDef::new(keys::shared().into_iter().chain(own))
}

struct Settings {
    shared: Shared,
    /// `None`: never.
    interval: Option<Duration>,
    replication_factor: i16,
}

impl Settings {
    fn parse(config: &Props) -> Result<Self> {
        let parsed = def().parse(config)?;
        // As in Java a negative one is none.
        let seconds = u64::try_from(parsed.number::<i64>(INTERVAL)).ok().map(Duration::from_secs);
        Ok(Self {
            shared: Shared::of(&parsed)?,
            interval: seconds.filter(|_| parsed.boolean(EMIT)),
            replication_factor: parsed.number(REPLICATION_FACTOR),
        })
    }
}

pub(crate) struct HeartbeatConnector;

#[async_trait]
impl Connector for HeartbeatConnector {
    /// One, whatever `tasks.max` is.
    async fn task_configs(&self, config: &Props, _tasks_max: u32) -> Result<Vec<Props>> {
        let settings = Settings::parse(config)?;
        keys::tell_without_effect(config);
        if !settings.shared.enabled {
            return Ok(Vec::new());
        }
        if let Some(admin) = clients::admin(config, Cluster::Target) {
            let topic = settings.shared.policy.heartbeats_topic();
            plan::create_compacted(&plan::admin(config, &admin)?, topic, settings.replication_factor, REPLICATION_FACTOR).await?;
        }
        Ok(settings.interval.map(|_| config.clone()).into_iter().collect())
    }
}

#[async_trait]
impl SourceConnector for HeartbeatConnector {
    fn task(&self) -> Box<dyn SourceTask> {
        Box::<HeartbeatTask>::default()
    }

    async fn alter_offsets(&self, _config: &Props, changes: &[(SourceMap, Option<SourceMap>)]) -> Result<bool> {
        for (partition, offset) in changes {
            position::check_fixed(partition, offset.as_ref(), &[SOURCE, TARGET], false)?;
        }
        Ok(true)
    }
}

#[derive(Default)]
struct HeartbeatTask {
    started: Option<Started>,
}

struct Started {
    shared: Shared,
    topic: Arc<str>,
    partition: Arc<SourceMap>,
    interval: Duration,
    next_at: Instant,
}

#[async_trait]
impl SourceTask for HeartbeatTask {
    async fn start(&mut self, config: &Props, _context: SourceContext) -> Result<()> {
        let Settings { shared, interval, .. } = Settings::parse(config)?;
        let interval = interval.ok_or_else(|| Error::config(format!("{EMIT} is false: there is nothing to do")))?;
        let partition = [(SOURCE, &shared.source_alias), (TARGET, &shared.target_alias)];
        let partition = partition.map(|(key, alias)| (key.to_owned(), alias.as_str().into())).into_iter().collect();
        self.started = Some(Started {
            topic: shared.policy.heartbeats_topic().into(),
            shared,
            partition: Arc::new(partition),
            interval,
            next_at: Instant::now() + interval,
        });
        Ok(())
    }

    async fn poll(&mut self) -> Result<Polled> {
        let started = self.started.as_mut().ok_or_else(|| Error::fatal("poll was called before start"))?;
        tokio::time::sleep_until(started.next_at).await;
        started.next_at = Instant::now() + started.interval;
        Ok(Polled { records: vec![started.beat(record::now_ms(SystemTime::now()))], next: Next::More })
    }
}

impl Started {
    fn beat(&self, timestamp: i64) -> SourceRecord {
        let Shared { source_alias, target_alias, .. } = &self.shared;
        let beat = Heartbeat { source: source_alias.clone(), target: target_alias.clone(), timestamp };
        let position =
            SourcePosition { partition: self.partition.clone(), offset: SourceOffset::Count(position::OFFSET.into(), 0) };
        record::of_bytes(self.topic.clone(), beat.key(), beat.value(), timestamp, position)
    }
}
