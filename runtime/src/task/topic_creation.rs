//! Creates the topics of a source as its connector asks for it (KIP-158).

use penstock_api::{Error, ErrorKind, Result, TaskId};
use std::collections::HashSet;
use std::sync::Arc;

use crate::config::{ConnectorConfig, TopicGroup};
use crate::kafka::admin::{Admin, NewTopic};
use crate::kafka::settings;

/// Sees to it that topics are there before a record is sent to them.
pub(super) struct TopicCreator {
    admin: Admin,
    groups: Vec<TopicGroup>,
    known: HashSet<Arc<str>>,
    /// The known one that was asked for last: records of one topic mostly come together.
    last: Option<Arc<str>>,
}

impl TopicCreator {
    /// `None` when the connector leaves its topics to the brokers.
    ///
    /// # Errors
    /// `Config` when the settings of its admin client are wrong.
    pub(super) fn start(config: &ConnectorConfig, task: &TaskId) -> Result<Option<Self>> {
        let groups = config.source.as_ref().map(|source| source.topic_groups.clone()).unwrap_or_default();
        if groups.is_empty() {
            return Ok(None);
        }
        let admin = Admin::new(settings::admin(&format!("topics of task {task}"), &config.admin)?)?;
        Ok(Some(Self { admin, groups, known: HashSet::new(), last: None }))
    }

    /// Whether these topics are there as far as is known, so that no broker need be asked.
    pub(super) fn knows(&mut self, topic: &Arc<str>) -> bool {
        if self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, topic)) {
            return true;
        }
        let is_known = self.known.contains(topic);
        if is_known {
            self.last = Some(topic.clone());
        }
        is_known
    }

    /// Creates the topic unless it is there.
    ///
    /// # Errors
    /// `Retriable` when no broker answers; else a person must act.
    pub(super) async fn ensure(&mut self, topic: &Arc<str>) -> Result<()> {
        if self.admin.partitions(topic).await?.is_none() {
            self.create(topic).await?;
        }
        self.known.insert(topic.clone());
        Ok(())
    }

    async fn create(&self, topic: &Arc<str>) -> Result<()> {
        let Some(group) = self.groups.iter().find(|group| group.matches(topic)) else {
            tracing::info!(%topic, "no group of topic.creation.groups matches: the topic is left to the brokers");
            return Ok(());
        };
        let new = NewTopic {
            name: topic.to_string(),
            partitions: group.partitions,
            replication_factor: group.replication_factor,
            configs: group.configs.clone(),
        };
        match self.admin.create_topic(&new).await {
            Ok(_) => {
                tracing::info!(%topic, group = group.name, "created the topic");
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Retriable => Err(error),
            Err(error) => Err(Error::fatal(format!(
                "Task failed to create new topic {topic} by the group {} of topic.creation.groups. Ensure that the task is authorized \
                 to create topics, or create it by hand, and restart the task",
                group.name
            ))
            .with_source(error)),
        }
    }
}
