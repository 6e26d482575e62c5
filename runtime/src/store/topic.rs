//! An internal topic made as Connect makes it, or refused when it would lose data.

use penstock_api::{Error, Result};

use crate::config::{InternalTopic, WorkerConfig};
use crate::kafka::{Admin, NewTopic};

/// What an internal topic must be.
#[derive(Clone, Debug)]
pub struct TopicSpec {
    pub topic: InternalTopic,
    /// The worker's key that names the topic, for messages.
    pub property: &'static str,
    /// What it holds, for messages.
    pub holds: &'static str,
    /// Records must stand in one order: exactly one partition.
    pub single_partition: bool,
}

/// The three topics of a worker: configurations, statuses, source offsets.
#[must_use]
pub fn internal_topics(worker: &WorkerConfig) -> [TopicSpec; 3] {
    [
        TopicSpec {
            topic: InternalTopic { partitions: 1, ..worker.config_topic.clone() },
            property: "config.storage.topic",
            holds: "connector configurations",
            single_partition: true,
        },
        TopicSpec {
            topic: worker.status_topic.clone(),
            property: "status.storage.topic",
            holds: "connector and task statuses",
            single_partition: false,
        },
        TopicSpec {
            topic: worker.offset_topic.clone(),
            property: "offset.storage.topic",
            holds: "source connector offsets",
            single_partition: false,
        },
    ]
}

/// The topic that a connector has for its offsets: like the worker's but for its name.
#[must_use]
pub fn own_offset_topic(worker: &WorkerConfig, name: &str) -> TopicSpec {
    TopicSpec {
        topic: InternalTopic { name: name.to_owned(), ..worker.offset_topic.clone() },
        property: "offsets.storage.topic",
        holds: "source connector offsets",
        single_partition: false,
    }
}

/// Our own topic beside Connect's: who runs what in a cluster of workers.
#[must_use]
pub fn assignment_topic(worker: &WorkerConfig) -> TopicSpec {
    TopicSpec {
        topic: worker.assignment_topic.clone(),
        property: "penstock.assignment.topic",
        holds: "the assignment of work to workers",
        single_partition: true,
    }
}

/// Makes the topic unless it exists, and checks it.
///
/// # Errors
/// `Config` when the topic that exists would lose data, or the broker refuses to make it so; `Retriable` when the broker
/// cannot be asked now.
pub async fn ensure(admin: &Admin, spec: &TopicSpec) -> Result<()> {
    let name = &spec.topic.name;
    let partitions = match admin.partitions(name).await? {
        Some(partitions) => {
            check_policy(admin, spec).await?;
            partitions
        }
        None if create(admin, spec).await? => return Ok(()),
        // Somebody else was quicker.
        None => admin.partitions(name).await?.unwrap_or(spec.topic.partitions),
    };
    if spec.single_partition && partitions != 1 {
        return Err(Error::config(format!(
            "Topic '{name}' supplied via the '{}' property is required to have a single partition in order to guarantee \
             consistency of {}, but found {partitions} partitions.",
            spec.property, spec.holds
        )));
    }
    Ok(())
}

/// Answers whether the topic was made now.
async fn create(admin: &Admin, spec: &TopicSpec) -> Result<bool> {
    let mut configs = spec.topic.settings.clone();
    configs.insert("cleanup.policy".into(), "compact".into());
    let topic = NewTopic {
        name: spec.topic.name.clone(),
        partitions: spec.topic.partitions,
        replication_factor: i16::try_from(spec.topic.replication_factor).unwrap_or(-1),
        configs,
    };
    let created = admin.create_topic(&topic).await.map_err(|e| e.context(spec.property))?;
    if created {
        tracing::info!(topic = %topic.name, "created the topic for {}", spec.holds);
    }
    Ok(created)
}

async fn check_policy(admin: &Admin, spec: &TopicSpec) -> Result<()> {
    let name = &spec.topic.name;
    let policy = match admin.topic_configs(name).await {
        Ok(mut configs) => configs.remove("cleanup.policy"),
        Err(error) if error.kind() == penstock_api::ErrorKind::Retriable => return Err(error),
        Err(error) => {
            // Not everybody may ask; Java goes on, too.
            tracing::info!(topic = %name, "cannot see whether the topic is compacted, going on as if it were: {error:#}");
            None
        }
    };
    match policy.as_deref() {
        None | Some("compact") => Ok(()),
        Some(policy) => Err(Error::config(format!(
            "Topic '{name}' supplied via the '{0}' property is required to have 'cleanup.policy=compact' to guarantee \
             consistency and durability of {1}, but found the topic currently has 'cleanup.policy={policy}'. Continuing would \
             likely result in eventually losing {1} and problems restarting this Connect cluster in the future. Change the \
             '{0}' property in the Connect worker configurations to use a topic with 'cleanup.policy=compact'.",
            spec.property, spec.holds
        ))),
    }
}
