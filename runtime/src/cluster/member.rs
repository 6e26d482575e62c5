//! Being in the group: who leads, at which generation. The only place that knows how that is found out.
//!
//! Now a cluster has one worker. It leads because it owns the partition of the config topic in the group `group.id`; whoever
//! comes second is refused rather than let loose on the same topics (`runtime/decisions/0030-one-worker-leads.md`).

use std::sync::Arc;
use std::time::Duration;

use penstock_api::{Error, ErrorKind, Result};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::store::Clients;

/// What this worker is in its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Not known yet.
    Joining,
    /// It owns the config topic's partition.
    Leading { generation: i32 },
    /// In the group, but another worker leads.
    Following,
    /// The group has given it up, or cannot be reached for longer than the session: it may not write until it leads again.
    Lost,
    /// It will never lead again under this name; why.
    Expelled(String),
}

/// How to be in the group.
#[derive(Clone)]
pub struct Membership {
    pub clients: Clients,
    pub config_topic: String,
    /// `host:port`; also the member's static id, so that a worker that restarts takes its own place.
    pub worker_id: String,
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
}

/// A worker in its group. It leaves when dropped; [`leave`](Self::leave) waits for that.
pub struct Member {
    role: watch::Receiver<Role>,
    stop: watch::Sender<bool>,
    polling: Option<JoinHandle<()>>,
}

/// A dead predecessor keeps its place for its session; then this long for the group to notice.
const GRACE: Duration = Duration::from_secs(5);
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// librdkafka sends the leave request while it is polled.
const LEAVE_TIME: Duration = Duration::from_millis(200);

impl Membership {
    /// Joins, and waits until this worker leads.
    ///
    /// # Errors
    /// `Config` when others use the group: workers of Java Kafka Connect, or another worker that is alive.
    pub async fn lead(self) -> Result<Member> {
        self.refuse_java().await?;
        let (roles, role) = watch::channel(Role::Joining);
        let consumer = self.consumer(roles)?;
        consumer.subscribe(&[&self.config_topic]).map_err(|e| Error::config("join the group").with_source(e))?;
        let (stop, stopped) = watch::channel(false);
        let mut member = Member { role, stop, polling: Some(tokio::spawn(poll(consumer, stopped))) };
        match self.wait_to_lead(&mut member).await {
            Ok(()) => Ok(member),
            Err(error) => {
                member.leave().await;
                Err(error)
            }
        }
    }

    async fn wait_to_lead(&self, member: &mut Member) -> Result<()> {
        let settled = |role: &Role| !matches!(role, Role::Joining | Role::Lost);
        if wait(&mut member.role, settled).await? == Role::Following {
            let limit = self.session_timeout + GRACE;
            let others = self.others().await.join(", ");
            tracing::warn!(
                "another worker ({others}) is in the group {}; waiting {} s in case it is gone",
                self.clients.group,
                limit.as_secs()
            );
            let leads = |role: &Role| matches!(role, Role::Leading { .. } | Role::Expelled(_));
            // Whether in time or not is seen by the role.
            let _late = tokio::time::timeout(limit, wait(&mut member.role, leads)).await;
        }
        let role = member.role.borrow().clone();
        match role {
            Role::Leading { .. } => Ok(()),
            Role::Expelled(why) => Err(Error::config(why)),
            _ => Err(Error::config(format!(
                "another worker ({}) runs with group.id={} and would write to the same topics: stop it, or give this worker its own \
                 group.id and config, offset and status topics. Clusters of several workers come with a later version",
                self.others().await.join(", "),
                self.clients.group
            ))),
        }
    }

    /// Joining a group of Java workers would only be refused by the broker, for ever and without a reason anybody understands.
    async fn refuse_java(&self) -> Result<()> {
        let (protocol_type, members) = loop {
            match self.describe().await {
                Ok(described) => break described,
                Err(error) if error.kind() == ErrorKind::Retriable => {
                    tracing::warn!("cannot ask for the group {}: {error:#}; trying again", self.clients.group);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(error) => return Err(error),
            }
        };
        if members.is_empty() || protocol_type.is_empty() || protocol_type == "consumer" {
            return Ok(());
        }
        let who = if protocol_type == "connect" { "workers of Java Kafka Connect" } else { "other clients" };
        Err(Error::config(format!(
            "the group {} has {} members that are {who} (protocol type {protocol_type}): stop them before this worker takes over, or \
             give it another group.id",
            self.clients.group,
            members.len()
        )))
    }

    /// The client ids of the members but this one; empty when nobody can be asked.
    async fn others(&self) -> Vec<String> {
        let members = self.describe().await.map(|(_, members)| members).unwrap_or_default();
        members.into_iter().filter(|id| *id != self.worker_id).collect()
    }

    async fn describe(&self) -> Result<(String, Vec<String>)> {
        let group = self.clients.group.clone();
        let consumer: BaseConsumer = self.clients.consumer("the worker", &[])?.create().map_err(|e| cannot_ask(&e))?;
        let asked = tokio::task::spawn_blocking(move || {
            let list = consumer.fetch_group_list(Some(&group), ASK_TIMEOUT)?;
            let found = list.groups().iter().find(|found| found.name() == &*group);
            Ok(found.map_or_else(Default::default, |found| {
                let members = found.members().iter().map(|member| member.client_id().to_owned()).collect();
                (found.protocol_type().to_owned(), members)
            }))
        });
        match asked.await {
            Ok(answer) => answer.map_err(|e: KafkaError| cannot_ask(&e)),
            Err(panicked) => Err(Error::fatal("ask for the group").with_source(panicked)),
        }
    }

    fn consumer(&self, roles: watch::Sender<Role>) -> Result<StreamConsumer<Watcher>> {
        let (session, heartbeat) =
            (self.session_timeout.as_millis().to_string(), self.heartbeat_interval.as_millis().to_string());
        let own = [("session.timeout.ms", session.as_str()), ("heartbeat.interval.ms", &heartbeat)];
        let mut settings = self.clients.consumer("the worker's membership", &own)?;
        settings.set("partition.assignment.strategy", "cooperative-sticky");
        settings.set("enable.auto.commit", "false");
        settings.set("group.instance.id", &self.worker_id).set("client.id", &self.worker_id);
        // Records are read elsewhere; here only ownership counts.
        settings.set("auto.offset.reset", "latest");
        settings
            .create_with_context(Watcher { roles: Arc::new(roles) })
            .map_err(|e| Error::config("join the group").with_source(e))
    }
}

impl Member {
    /// The role, now and from now on.
    #[must_use]
    pub fn role(&self) -> watch::Receiver<Role> {
        self.role.clone()
    }

    /// Leaves the group at once, so that nobody waits for a session to end.
    pub async fn leave(mut self) {
        self.stop.send_replace(true);
        if let Some(polling) = self.polling.take()
            && let Err(panicked) = polling.await
        {
            tracing::error!("the group member ended badly: {panicked}");
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Keeps the member alive until told to stop: callbacks run only inside `recv`.
async fn poll(consumer: StreamConsumer<Watcher>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = told(&mut stop) => break,
            received = consumer.recv() => if let Err(error) = received {
                consumer.context().failed(&error);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // Unsubscribe, poll, close: a static member that only closes would keep its place for its session.
    consumer.unsubscribe();
    let _elapsed = tokio::time::timeout(LEAVE_TIME, async {
        while consumer.recv().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Closing blocks.
    drop(tokio::task::spawn_blocking(move || drop(consumer)).await);
}

async fn told(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

async fn wait(role: &mut watch::Receiver<Role>, until: impl Fn(&Role) -> bool) -> Result<Role> {
    let reached = role.wait_for(until).await.map_err(|_| Error::fatal("the group member has ended"))?;
    Ok(reached.clone())
}

fn cannot_ask(error: &KafkaError) -> Error {
    Error::retriable(error.to_string())
}

/// Hears of rebalances.
struct Watcher {
    roles: Arc<watch::Sender<Role>>,
}

impl Watcher {
    fn become_(&self, role: Role) {
        self.roles.send_if_modified(|now| {
            let changes = *now != role && !matches!(now, Role::Expelled(_));
            if changes {
                tracing::debug!("in the group this worker is now {role:?}");
                *now = role;
            }
            changes
        });
    }

    fn failed(&self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::FencedInstanceId) => {
                self.become_(Role::Expelled(
                    "another worker has joined the group under this worker's address: give each worker its own \
                     rest.advertised.host.name and port"
                        .into(),
                ));
            }
            _ => tracing::debug!("in the group: {error}"),
        }
    }
}

impl ClientContext for Watcher {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("in the group: {error}: {reason}");
        self.failed(&error);
    }
}

impl ConsumerContext for Watcher {
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => {
                let leads = partitions.count() > 0 || matches!(*self.roles.borrow(), Role::Leading { .. });
                self.become_(if leads { Role::Leading { generation: generation(consumer) } } else { Role::Following });
            }
            Rebalance::Revoke(partitions) if partitions.count() > 0 => self.become_(Role::Lost),
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => self.failed(error),
        }
    }
}

/// The group's generation, which statuses carry.
fn generation(consumer: &BaseConsumer<Watcher>) -> i32 {
    use rdkafka::bindings as native;
    // SAFETY: the client outlives the call; the metadata is a copy, null when there is none, read and freed here.
    unsafe {
        let metadata = native::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if metadata.is_null() {
            return -1;
        }
        let generation = native::rd_kafka_consumer_group_metadata_generation_id(metadata);
        native::rd_kafka_consumer_group_metadata_destroy(metadata);
        generation
    }
}
