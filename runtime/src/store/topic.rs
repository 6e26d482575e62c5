//! An internal topic made as Connect makes it, or refused when it would lose data.

use std::time::Duration;

use penstock_api::{Error, Props, Result};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// What an internal topic must be.
#[derive(Clone, Debug)]
pub struct TopicSpec {
    pub name: String,
    /// -1: the broker's default.
    pub partitions: i32,
    /// -1: the broker's default.
    pub replication_factor: i32,
    /// Further settings of a topic that is made now; the cleanup policy is not among them.
    pub settings: Props,
    /// The worker's key that names the topic, for messages.
    pub property: &'static str,
    /// What it holds, for messages.
    pub holds: &'static str,
    /// Records must stand in one order: exactly one partition.
    pub single_partition: bool,
}

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes the topic unless it exists; answers how many partitions it has.
///
/// # Errors
/// `Config` when the topic that exists would lose data, or the broker refuses to make it so; `Retriable` when the broker
/// cannot be asked now.
pub async fn ensure(admin: &AdminClient<DefaultClientContext>, spec: &TopicSpec) -> Result<i32> {
    if !create(admin, spec).await? {
        check_policy(admin, spec).await?;
    }
    let partitions = partitions(admin, spec).await?;
    if spec.single_partition && partitions != 1 {
        return Err(Error::config(format!(
            "Topic '{}' supplied via the '{}' property is required to have a single partition in order to guarantee \
             consistency of {}, but found {partitions} partitions.",
            spec.name, spec.property, spec.holds
        )));
    }
    Ok(partitions)
}

/// Answers whether the topic was made now.
async fn create(admin: &AdminClient<DefaultClientContext>, spec: &TopicSpec) -> Result<bool> {
    let mut topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(spec.replication_factor));
    for (key, value) in spec.settings.iter().filter(|(key, _)| *key != "cleanup.policy") {
        topic = topic.set(key, value);
    }
    topic = topic.set("cleanup.policy", "compact");
    let options = AdminOptions::new().operation_timeout(Some(REQUEST_TIMEOUT)).request_timeout(Some(REQUEST_TIMEOUT));
    let results = admin.create_topics([&topic], &options).await.map_err(|e| unreachable_now("create", spec, &e))?;
    match results.into_iter().next() {
        Some(Err((_, Code::TopicAlreadyExists))) => Ok(false),
        // Who may not make topics may still use one that somebody made for him: the next step shows.
        Some(Err((_, Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed))) => Ok(false),
        Some(Err((_, Code::InvalidReplicationFactor))) => Err(Error::config(format!(
            "create topic {} ({}) with {} replicas: the cluster has fewer brokers; start more, or lower the replication factor \
             of this topic in the worker's configuration",
            spec.name, spec.property, spec.replication_factor
        ))),
        Some(Err((_, code @ (Code::PolicyViolation | Code::InvalidPartitions | Code::InvalidConfig | Code::InvalidTopic)))) => {
            Err(Error::config(format!("create topic {} ({}): {code}", spec.name, spec.property)))
        }
        Some(Err((_, code))) => Err(unreachable_now("create", spec, &KafkaError::AdminOp(code))),
        Some(Ok(_)) => {
            tracing::info!(topic = %spec.name, "created the topic for {}", spec.holds);
            Ok(true)
        }
        None => Err(Error::retriable(format!("create topic {}: the broker gave no answer", spec.name))),
    }
}

async fn check_policy(admin: &AdminClient<DefaultClientContext>, spec: &TopicSpec) -> Result<()> {
    let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
    let asked = admin.describe_configs([&ResourceSpecifier::Topic(&spec.name)], &options).await;
    let described = asked.map_err(|e| unreachable_now("describe", spec, &e))?;
    let policy = match described.into_iter().next() {
        Some(Ok(resource)) => resource.entry_map().get("cleanup.policy").and_then(|entry| entry.value.clone()),
        Some(Err(code)) => {
            tracing::info!(topic = %spec.name, %code, "cannot see whether the topic is compacted; going on as if it were");
            return Ok(());
        }
        None => None,
    };
    match policy.as_deref() {
        None | Some("compact") => Ok(()),
        Some(policy) => Err(Error::config(format!(
            "Topic '{0}' supplied via the '{1}' property is required to have 'cleanup.policy=compact' to guarantee consistency \
             and durability of {2}, but found the topic currently has 'cleanup.policy={policy}'. Continuing would likely result \
             in eventually losing {2} and problems restarting this Connect cluster in the future. Change the '{1}' property in \
             the Connect worker configurations to use a topic with 'cleanup.policy=compact'.",
            spec.name, spec.property, spec.holds
        ))),
    }
}

async fn partitions(admin: &AdminClient<DefaultClientContext>, spec: &TopicSpec) -> Result<i32> {
    let (client, name) = (admin.inner(), spec.name.clone());
    // The call blocks, and borrows the client; it ends by its own timeout.
    let metadata = tokio::task::block_in_place(|| client.fetch_metadata(Some(&name), REQUEST_TIMEOUT));
    let metadata = metadata.map_err(|e| unreachable_now("describe", spec, &e))?;
    let found = metadata.topics().iter().find(|topic| topic.name() == spec.name);
    match found.map(|topic| (topic.partitions().len(), topic.error())) {
        Some((count, None)) if count > 0 => Ok(count as i32),
        _ => Err(Error::retriable(format!("describe topic {}: it is not there yet", spec.name))),
    }
}

fn unreachable_now(what: &str, spec: &TopicSpec, error: &KafkaError) -> Error {
    Error::retriable(format!("{what} topic {}: {error}", spec.name))
}
