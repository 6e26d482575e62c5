//! Administration: topics, their settings, and the offsets of groups.

use penstock_api::{Error, Offsets, Result, TopicPartition};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic as RawTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ends::{self, End};
use super::group_members;
pub use super::group_members::GroupMember;
use super::group_offsets::{self, Change};
pub use super::group_offsets::{Commits, Committed};
use super::groups;
use super::native::{self, Failed};
use super::producer::Told;
use super::settings::AdminSettings;
use super::topic_settings;
pub use super::topic_settings::{SettingChange, SettingSource, TopicSetting};
use super::trouble;

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    /// -1 leaves it to the broker.
    pub partitions: i32,
    /// -1 leaves it to the broker.
    pub replication_factor: i16,
    /// `cleanup.policy` and so on.
    pub configs: BTreeMap<String, String>,
}

/// What became of a change to the offsets of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum GroupChange {
    Done,
    /// Nothing was changed: somebody is in the group.
    HasMembers,
}

/// Clones share one connection.
#[derive(Clone)]
pub struct Admin {
    who: Arc<str>,
    inner: Arc<AdminClient<Told>>,
    timeout: Duration,
}

impl Admin {
    /// An admin client; it connects when it is asked first.
    ///
    /// # Errors
    /// `Config` when librdkafka refuses the settings.
    pub fn new(settings: AdminSettings) -> Result<Self> {
        let inner = settings
            .client
            .create_with_context(Told::new(&settings.who))
            .map_err(|e| Error::config(format!("start a Kafka admin client for {}", settings.who)).with_source(e))?;
        Ok(Self { who: settings.who.into(), inner: Arc::new(inner), timeout: settings.api_timeout })
    }

    /// Creates a topic. Answers whether it was not there before.
    ///
    /// # Errors
    /// `Config` when the broker refuses it, `Retriable` when it does not answer.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<bool> {
        let mut raw = RawTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(topic.replication_factor.into()));
        for (key, value) in &topic.configs {
            raw = raw.set(key, value);
        }
        let what = format!("create topic {}", topic.name);
        let outcomes = self.inner.create_topics([&raw], &self.options()).await.map_err(|e| self.error(&e, &what))?;
        match outcomes.into_iter().next() {
            Some(Err((_, Code::TopicAlreadyExists))) => Ok(false),
            Some(Err((_, code))) => Err(match code {
                Code::InvalidReplicationFactor => Error::config(format!(
                    "{what}: the cluster has fewer than {} brokers for its replicas; lower the replication factor",
                    topic.replication_factor
                )),
                Code::InvalidPartitions | Code::InvalidConfig | Code::PolicyViolation | Code::InvalidTopic => {
                    Error::config(format!("{what}: the broker refuses its settings")).with_source(code.to_string())
                }
                Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
                    Error::config(format!("{what}: not allowed; grant CREATE to this principal, or create it by hand"))
                }
                code => trouble::of_request(code, &code.to_string(), &what),
            }),
            Some(Ok(_)) | None => Ok(true),
        }
    }

    /// Gives a topic more partitions, up to so many.
    ///
    /// # Errors
    /// `Config` when it is not allowed, `Retriable` when the broker does not answer.
    pub async fn create_partitions(&self, topic: &str, count: i32) -> Result<()> {
        let what = format!("raise the partitions of topic {topic} to {count}");
        let new = NewPartitions::new(topic, usize::try_from(count).unwrap_or(0));
        let outcomes = self.inner.create_partitions([&new], &self.options()).await.map_err(|e| self.error(&e, &what))?;
        match outcomes.into_iter().next() {
            Some(Err((_, Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed))) => {
                Err(Error::config(format!("{what}: not allowed; grant ALTER on the topic to this principal, or do it by hand")))
            }
            Some(Err((_, code))) => Err(trouble::of_request(code, &code.to_string(), &what)),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// How many partitions a topic has; `None` when it is not there.
    ///
    /// # Errors
    /// `Retriable` when no broker answers.
    pub async fn partitions(&self, topic: &str) -> Result<Option<i32>> {
        Ok(self.topics().await?.remove(topic))
    }

    /// All topics with their numbers of partitions. (Asking for one that is not there might create it.)
    ///
    /// # Errors
    /// `Retriable` when no broker answers.
    pub async fn topics(&self) -> Result<BTreeMap<String, i32>> {
        let timeout = self.timeout;
        self.blocking("list topics", move |inner| {
            let metadata = inner.inner().fetch_metadata(None, timeout).map_err(failed)?;
            let topics = metadata.topics().iter().filter(|t| t.error().is_none());
            Ok(topics.map(|t| (t.name().to_owned(), i32::try_from(t.partitions().len()).unwrap_or(i32::MAX))).collect())
        })
        .await
    }

    /// A topic's settings, defaults included.
    ///
    /// # Errors
    /// `Retriable` when no broker answers, or the topic is not there.
    pub async fn topic_configs(&self, topic: &str) -> Result<BTreeMap<String, String>> {
        Ok(self.topic_settings(topic).await?.into_iter().filter_map(|e| Some((e.name, e.value?))).collect())
    }

    /// A topic's settings, defaults included, and who has set them.
    ///
    /// # Errors
    /// `Retriable` when no broker answers, or the topic is not there.
    pub async fn topic_settings(&self, topic: &str) -> Result<Vec<TopicSetting>> {
        let what = format!("describe topic {topic}");
        let asked = [ResourceSpecifier::Topic(topic)];
        let answers = self.inner.describe_configs(&asked, &self.options()).await.map_err(|e| self.error(&e, &what))?;
        let answer = answers.into_iter().next().ok_or_else(|| Error::retriable(format!("{what}: no answer")))?;
        let entries = answer.map_err(|code| trouble::of_request(code, &code.to_string(), &what))?.entries;
        Ok(entries.into_iter().map(TopicSetting::from).collect())
    }

    /// Changes single settings of a topic and leaves the others.
    ///
    /// # Errors
    /// `Config` when it is not allowed, `Retriable` when the broker does not answer or refuses a value.
    pub async fn change_topic_settings(&self, topic: &str, changes: &BTreeMap<String, SettingChange>) -> Result<()> {
        let (timeout, name, changes) = (self.timeout, topic.to_owned(), changes.clone());
        self.blocking(&format!("change settings of topic {topic}"), move |inner| {
            topic_settings::change(inner.inner().native_client(), &name, &changes, timeout)
        })
        .await
    }

    /// All groups of consumers, those included that have committed without ever having members.
    ///
    /// # Errors
    /// `Retriable` when a broker does not answer.
    pub async fn groups(&self) -> Result<Vec<String>> {
        let timeout = self.timeout;
        self.blocking("list groups", move |inner| {
            once_it_is_there(timeout, || groups::list(inner.inner().native_client(), timeout))
        })
        .await
    }

    /// The cluster's id.
    ///
    /// # Errors
    /// `Retriable` when no broker answers.
    pub async fn cluster_id(&self) -> Result<String> {
        let timeout = self.timeout;
        self.blocking("ask for the cluster's id", move |inner| {
            let silent = || Failed { code: Code::OperationTimedOut, message: "no broker answers".into() };
            inner.inner().fetch_cluster_id(timeout).ok_or_else(silent)
        })
        .await
    }

    /// Who is in a group of consumers; nobody in one that is not there.
    ///
    /// # Errors
    /// `Retriable` when its coordinator does not answer, or the group is not one of consumers.
    pub async fn group_members(&self, group: &str) -> Result<Vec<GroupMember>> {
        let (timeout, name) = (self.timeout, group.to_owned());
        self.blocking(&format!("describe group {group}"), move |inner| {
            group_members::describe(inner.inner().native_client(), &name, timeout)
        })
        .await
    }

    /// What a group has committed; nothing for one that is not there.
    ///
    /// # Errors
    /// `Retriable` when no broker answers.
    pub async fn group_offsets(&self, group: &str) -> Result<Offsets> {
        Ok(self.group_commits(group).await?.into_iter().map(|(p, committed)| (p, committed.offset)).collect())
    }

    /// What a group has committed, with its notes; nothing for one that is not there.
    ///
    /// # Errors
    /// `Retriable` when no broker answers.
    pub async fn group_commits(&self, group: &str) -> Result<Commits> {
        let (timeout, name) = (self.timeout, group.to_owned());
        self.blocking(&format!("list the offsets of group {group}"), move |inner| {
            once_it_is_there(timeout, || group_offsets::list(inner.inner().native_client(), &name, timeout))
        })
        .await
    }

    /// Commits in the name of a group that nobody is in.
    ///
    /// # Errors
    /// `Retriable` when no broker answers, or a partition is not there.
    pub async fn alter_group_offsets(&self, group: &str, offsets: &Offsets) -> Result<GroupChange> {
        self.alter_group_commits(group, offsets.iter().map(|(p, o)| (p.clone(), Committed::from(*o))).collect()).await
    }

    /// Commits in the name of a group that nobody is in, with notes.
    ///
    /// # Errors
    /// `Retriable` when no broker answers, or a partition is not there.
    pub async fn alter_group_commits(&self, group: &str, commits: Commits) -> Result<GroupChange> {
        let wanted = commits.into_iter().map(|(p, committed)| (p, Some(committed))).collect();
        self.change_group(group, "alter", wanted, Change::Alter).await
    }

    /// Forgets what a group has committed for these partitions. Nobody may be reading them.
    ///
    /// # Errors
    /// `Retriable` when no broker answers, or there is no such group or partition.
    pub async fn delete_group_offsets(&self, group: &str, partitions: &[TopicPartition]) -> Result<GroupChange> {
        let wanted = partitions.iter().map(|p| (p.clone(), None)).collect();
        self.change_group(group, "delete", wanted, Change::Delete).await
    }

    async fn change_group(
        &self,
        group: &str,
        verb: &str,
        wanted: Vec<(TopicPartition, Option<Committed>)>,
        change: Change,
    ) -> Result<GroupChange> {
        if wanted.is_empty() {
            return Ok(GroupChange::Done);
        }
        let (timeout, name) = (self.timeout, group.to_owned());
        self.blocking(&format!("{verb} offsets of group {group}"), move |inner| {
            let client = inner.inner().native_client();
            match once_it_is_there(timeout, || group_offsets::change(client, &name, &wanted, change, timeout)) {
                Ok(()) => Ok(GroupChange::Done),
                Err(Failed { code: Code::UnknownMemberId | Code::GroupSubscribedToTopic | Code::NonEmptyGroup, .. }) => {
                    Ok(GroupChange::HasMembers)
                }
                Err(failed) => Err(failed),
            }
        })
        .await
    }

    /// Deletes a group that nobody is in; one that is not there counts as deleted.
    ///
    /// # Errors
    /// `Retriable` when no broker answers.
    pub async fn delete_group(&self, group: &str) -> Result<GroupChange> {
        let what = format!("delete group {group}");
        let began = Instant::now();
        let outcome = loop {
            let outcomes = self.inner.delete_groups(&[group], &self.options()).await.map_err(|e| self.error(&e, &what))?;
            match outcomes.into_iter().next() {
                Some(Err((_, code))) if moves(code) && began.elapsed() < self.timeout => {
                    tokio::time::sleep(COORDINATOR_WAIT).await;
                }
                outcome => break outcome,
            }
        };
        match outcome {
            None | Some(Ok(_) | Err((_, Code::GroupIdNotFound))) => Ok(GroupChange::Done),
            Some(Err((_, Code::NonEmptyGroup))) => Ok(GroupChange::HasMembers),
            Some(Err((_, code))) => Err(trouble::of_request(code, &code.to_string(), &what)),
        }
    }

    /// The first offsets that are still there.
    ///
    /// # Errors
    /// `Retriable` when no broker answers.
    pub async fn begin_offsets(&self, partitions: &[TopicPartition]) -> Result<Offsets> {
        self.watermarks(partitions, |(low, _)| low).await
    }

    /// The offsets behind the last records.
    ///
    /// # Errors
    /// `Retriable` when no broker answers.
    pub async fn end_offsets(&self, partitions: &[TopicPartition]) -> Result<Offsets> {
        self.watermarks(partitions, |(_, high)| high).await
    }

    async fn watermarks(&self, partitions: &[TopicPartition], pick: fn((i64, i64)) -> i64) -> Result<Offsets> {
        let (timeout, partitions) = (self.timeout, partitions.to_vec());
        self.blocking("look up where partitions begin and end", move |inner| {
            let of = |p: TopicPartition| {
                let both = inner.inner().fetch_watermarks(&p.topic, p.partition, timeout).map_err(failed)?;
                Ok((p, pick(both)))
            };
            partitions.into_iter().map(of).collect()
        })
        .await
    }

    /// Where each partition of a topic ends, in one sense or the other.
    ///
    /// # Errors
    /// `Retriable` when no broker answers, or the topic is not there.
    pub async fn topic_ends(&self, topic: &str, end: End) -> Result<BTreeMap<i32, i64>> {
        let what = format!("look up the ends of topic {topic}");
        let missing = || Error::retriable(format!("{what}: it is not there yet"));
        let partitions = self.partitions(topic).await?.ok_or_else(missing)?;
        let (timeout, topic) = (self.timeout, topic.to_owned());
        self.blocking(&what, move |inner| ends::of_topic(inner.inner().native_client(), &topic, partitions, end, timeout)).await
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.timeout)).operation_timeout(Some(self.timeout))
    }

    fn error(&self, error: &KafkaError, what: &str) -> Error {
        let failed = self.explained(failed_ref(error));
        trouble::of_request(failed.code, &failed.message, &format!("{what} for {}", self.who))
    }

    /// With the reason why no broker answers, if there is one.
    fn explained(&self, failed: Failed) -> Failed {
        let client = self.inner.inner();
        // librdkafka says why only in its log, which waits in a queue that rust-rdkafka's admin client does not look into.
        for line in native::take_log(client) {
            client.context().heard(line.level, &line.facility, &line.text);
        }
        match client.context().reason().filter(|_| SILENCE.contains(&failed.code)) {
            Some(reason) => Failed { message: format!("{} ({reason})", failed.message), ..failed },
            None => failed,
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce(&AdminClient<Told>) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T> {
        let inner = self.inner.clone();
        let what = format!("{what} for {}", self.who);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(outcome) => outcome.map_err(|failed| {
                let failed = self.explained(failed);
                trouble::of_request(failed.code, &failed.message, &what)
            }),
            Err(error) => Err(Error::retriable(what).with_source(error)),
        }
    }
}

/// Codes that say no more than that nobody answered.
const SILENCE: [Code; 4] = [Code::OperationTimedOut, Code::RequestTimedOut, Code::AllBrokersDown, Code::BrokerTransportFailure];
/// Before a group's coordinator that is on the move is asked again.
const COORDINATOR_WAIT: Duration = Duration::from_millis(200);

/// Whether the group's coordinator has to be waited for; librdkafka does not do that for these requests.
fn moves(code: Code) -> bool {
    matches!(code, Code::CoordinatorLoadInProgress | Code::CoordinatorNotAvailable | Code::NotCoordinator)
}

/// Asks until the group's coordinator is there. Blocks.
fn once_it_is_there<T>(timeout: Duration, ask: impl Fn() -> Result<T, Failed>) -> Result<T, Failed> {
    let began = Instant::now();
    loop {
        match ask() {
            Err(failed) if moves(failed.code) && began.elapsed() < timeout => std::thread::sleep(COORDINATOR_WAIT),
            outcome => return outcome,
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape `map_err` wants")]
fn failed(error: KafkaError) -> Failed {
    failed_ref(&error)
}

fn failed_ref(error: &KafkaError) -> Failed {
    Failed { code: error.rdkafka_error_code().unwrap_or(Code::Unknown), message: error.to_string() }
}
