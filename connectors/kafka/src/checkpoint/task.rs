//! Follows some groups of the source.

use penstock_api::{
    Error, Next, Polled, Props, Result, SourceContext, SourceMap, SourceOffset, SourcePosition, SourceRecord, SourceTask,
    TopicPartition, async_trait,
};
use penstock_kafka_clients::{Admin, Commits, Committed, GroupChange};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

use super::config::{Settings, TASK_GROUPS};
use super::store::{CheckpointStore, ahead_of};
use crate::reader::TopicReader;
use crate::sync_store::SyncStore;
use crate::wire::{Checkpoint, OffsetSync};
use crate::{plan, position, record};

/// Of the source partition.
pub(super) const GROUP: &str = "group";
pub(super) const TOPIC: &str = "topic";
const PARTITION: &str = "partition";

#[derive(Default)]
pub(super) struct CheckpointTask {
    started: Option<Started>,
}

struct Started {
    settings: Settings,
    interval: Duration,
    groups: BTreeSet<String>,
    source: Admin,
    target: Admin,
    topic: Arc<str>,
    checkpoints: CheckpointStore,
    /// Until all checkpoints of before were read.
    checkpoints_reader: Option<TopicReader>,
    syncs: SyncStore,
    syncs_reader: TopicReader,
    /// All syncs of before were read.
    is_loaded: bool,
    next_checkpoints_at: Instant,
    next_sync_at: Option<Instant>,
}

#[async_trait]
impl SourceTask for CheckpointTask {
    async fn start(&mut self, config: &Props, context: SourceContext) -> Result<()> {
        let settings = Settings::parse(config)?;
        let nothing = || Error::config("emit.checkpoints.enabled is false: there is nothing to do");
        let interval = settings.interval.ok_or_else(nothing)?;
        let who = format!("task {}", context.task);
        let topic = settings.shared.policy.checkpoints_topic();
        let now = Instant::now();
        self.started = Some(Started {
            groups: config.get(TASK_GROUPS).map_or("", String::as_str).split(',').map(str::to_owned).collect(),
            source: plan::admin(config, &settings.source_admin)?,
            target: plan::admin(config, &settings.target_admin)?,
            checkpoints: CheckpointStore::default(),
            checkpoints_reader: Some(TopicReader::new(&who, &topic, &settings.target_consumer)?),
            syncs: SyncStore::default(),
            syncs_reader: TopicReader::new(&who, &settings.syncs_topic, &settings.syncs_consumer)?,
            is_loaded: false,
            topic: topic.into(),
            next_checkpoints_at: now + interval,
            interval,
            next_sync_at: settings.sync.map(|interval| now + interval),
            settings,
        });
        Ok(())
    }

    async fn poll(&mut self) -> Result<Polled> {
        let started = self.started.as_mut().ok_or_else(|| Error::fatal("poll was called before start"))?;
        loop {
            started.load().await?;
            if started.next_sync_at.is_some_and(|at| at <= Instant::now()) {
                sync_groups(&started.target, &started.checkpoints).await?;
                started.next_sync_at = started.settings.sync.map(|interval| Instant::now() + interval);
            }
            if started.next_checkpoints_at <= Instant::now() {
                // With short intervals there is no time to read any between.
                started.read_syncs(Duration::ZERO).await?;
                let records = started.checkpoints().await?;
                started.next_checkpoints_at = Instant::now() + started.interval;
                return Ok(Polled { records, next: Next::More });
            }
            let until = started.next_sync_at.map_or(started.next_checkpoints_at, |at| at.min(started.next_checkpoints_at));
            started.read_syncs(until.saturating_duration_since(Instant::now())).await?;
        }
    }

    async fn stop(&mut self) {
        self.started = None;
    }
}

impl Started {
    /// Reads what both topics held when the task began. Only then does anything count: what is half read translates wrongly.
    async fn load(&mut self) -> Result<()> {
        const WAIT: Duration = Duration::from_secs(1);
        while let Some(reader) = &mut self.checkpoints_reader {
            for raw in reader.read(WAIT).await? {
                let checkpoint =
                    Checkpoint::read(raw.key.as_deref().unwrap_or_default(), raw.value.as_deref().unwrap_or_default());
                match checkpoint {
                    Some(checkpoint) if self.groups.contains(&checkpoint.group) => self.checkpoints.add(checkpoint),
                    Some(_) => {}
                    None => tracing::warn!(topic = %raw.topic, offset = raw.offset, "this is no checkpoint"),
                }
            }
            if reader.is_at_end() {
                self.checkpoints_reader = None;
            }
        }
        while !self.is_loaded {
            self.read_syncs(WAIT).await?;
            if self.syncs_reader.is_at_end() {
                self.is_loaded = true;
                self.syncs.read_to_end();
            }
        }
        Ok(())
    }

    async fn read_syncs(&mut self, wait: Duration) -> Result<()> {
        for raw in self.syncs_reader.read(wait).await? {
            match OffsetSync::read(raw.key.as_deref().unwrap_or_default(), raw.value.as_deref().unwrap_or_default()) {
                Some(sync) => self.syncs.add(sync),
                None => tracing::warn!(topic = %raw.topic, offset = raw.offset, "this is no offset sync"),
            }
        }
        Ok(())
    }

    /// Records of what is new. Nothing is awaited once it is known.
    async fn checkpoints(&mut self) -> Result<Vec<SourceRecord>> {
        let mut found = Vec::new();
        for group in &self.groups {
            let commits = self.source.group_commits(group).await;
            let commits = commits.map_err(|e| e.context(format!("look up where group {group} of the source cluster is")))?;
            found.extend(self.checkpoints_of(group, commits));
        }
        let timestamp = record::now_ms(SystemTime::now());
        let records = found.iter().map(|checkpoint| self.record(checkpoint, timestamp)).collect();
        found.into_iter().for_each(|checkpoint| self.checkpoints.add(checkpoint));
        Ok(records)
    }

    fn checkpoints_of(&self, group: &str, commits: Commits) -> impl Iterator<Item = Checkpoint> {
        let followed = commits.into_iter().filter(|(partition, _)| self.settings.topics.takes(&partition.topic));
        let checkpoint = move |(partition, committed): (TopicPartition, Committed)| {
            let downstream = self.syncs.translate(&partition, committed.offset).filter(|offset| *offset >= 0)?;
            let (group, partition) = (group.to_owned(), self.at_target(&partition));
            Some(Checkpoint { group, partition, upstream: committed.offset, downstream, metadata: committed.note })
        };
        followed.filter_map(checkpoint).filter(|checkpoint| self.checkpoints.is_news(checkpoint))
    }

    /// Where the target keeps it; what has come from there is where it came from.
    fn at_target(&self, partition: &TopicPartition) -> TopicPartition {
        let (policy, target) = (&self.settings.shared.policy, &self.settings.shared.target_alias);
        let topic = match policy.upstream(&partition.topic) {
            Some((source, _)) if source == target => policy.original(&partition.topic).into(),
            _ => policy.name_here(&partition.topic).into(),
        };
        TopicPartition { topic, partition: partition.partition }
    }

    fn record(&self, checkpoint: &Checkpoint, timestamp: i64) -> SourceRecord {
        let Checkpoint { group, partition, .. } = checkpoint;
        let mut map = SourceMap::new();
        map.insert(GROUP.into(), group.as_str().into());
        map.insert(TOPIC.into(), (*partition.topic).into());
        map.insert(PARTITION.into(), partition.partition.into());
        let offset = SourceOffset::Count(position::OFFSET.into(), 0);
        let position = SourcePosition { partition: Arc::new(map), offset };
        record::of_bytes(self.topic.clone(), checkpoint.key(), checkpoint.value(), timestamp, position)
    }
}

/// Moves groups on at the target that nobody is in there.
async fn sync_groups(target: &Admin, checkpoints: &CheckpointStore) -> Result<()> {
    for (group, commits) in checkpoints.commits() {
        let wanted = ahead_of(commits, &target.group_commits(group).await?);
        if wanted.is_empty() || !target.group_members(group).await?.is_empty() {
            continue;
        }
        match target.alter_group_commits(group, wanted).await {
            Ok(GroupChange::Done) => {}
            Ok(GroupChange::HasMembers) => tracing::debug!(group, "somebody is in the group at the target: it stays where it is"),
            Err(error) => tracing::warn!(group, error = %format!("{error:#}"), "a group could not be moved on at the target"),
        }
    }
    Ok(())
}
