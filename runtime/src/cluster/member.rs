//! Being in the group: as which member, at which generation, and whether this worker leads. The only place that knows how that
//! is found out.
//!
//! Workers are static members of the group `group.id`, subscribed to the config topic; whoever owns its one partition leads
//! (`runtime/decisions/0032-a-cluster-of-workers.md`).

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use penstock_api::{Error, ErrorKind, Result};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::kafka::{Admin, GroupMember};
use crate::store::Clients;

/// What this worker is in its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Not known yet.
    Joining,
    In(Seat),
    /// The group has given it up, or cannot be reached for longer than the session: others may run its units. It joins anew by
    /// itself.
    Lost,
    /// It will never be a member again under this name; why.
    Expelled(String),
}

/// A place in the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The member's id, another one after each start and each expulsion.
    pub member: Arc<str>,
    /// Of the group; statuses carry it.
    pub generation: i32,
    /// It owns the config topic's partition.
    pub leads: bool,
}

impl Role {
    /// The place in the group, if there is one.
    #[must_use]
    pub fn seat(&self) -> Option<&Seat> {
        if let Role::In(seat) = self { Some(seat) } else { None }
    }

    /// The place of the one that leads.
    #[must_use]
    pub fn leading(&self) -> Option<&Seat> {
        self.seat().filter(|seat| seat.leads)
    }
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
    /// How long a rebalance waits for a member that does not answer it.
    pub rebalance_timeout: Duration,
}

/// A worker in its group. It leaves when dropped; [`leave`](Self::leave) waits for that.
pub struct Member {
    role: watch::Receiver<Role>,
    /// Of a worker without a group: nothing ever changes.
    _fixed: Option<watch::Sender<Role>>,
    stop: watch::Sender<bool>,
    polling: Option<JoinHandle<()>>,
}

/// Who is in the group, for the leader to ask.
pub enum Roster {
    Group { admin: Admin, group: Arc<str> },
    Alone(GroupMember),
}

/// The id of a worker without a group: nobody else has one.
const ALONE: &str = "standalone";

const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// An expelled member hears of nothing; it sees that its id has changed.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// librdkafka sends the leave request while it is polled.
const LEAVE_TIME: Duration = Duration::from_millis(200);

impl Membership {
    /// Joins the group, and waits until this worker is in it.
    ///
    /// # Errors
    /// `Config` when workers of Java Kafka Connect or other clients use the group, or another worker has this one's address.
    pub async fn join(self) -> Result<Member> {
        if self.clients.is_standalone() {
            return Ok(Member::alone());
        }
        self.refuse_java().await?;
        let (roles, role) = watch::channel(Role::Joining);
        let consumer = self.consumer(roles)?;
        consumer.subscribe(&[&self.config_topic]).map_err(|e| Error::config("join the group").with_source(e))?;
        let (stop, stopped) = watch::channel(false);
        let mut member = Member { role, _fixed: None, stop, polling: Some(tokio::spawn(poll(consumer, stopped))) };
        let settled = |role: &Role| matches!(role, Role::In(_) | Role::Expelled(_));
        let role = member.role.wait_for(settled).await.map(|role| role.clone());
        match role.map_err(|_| Error::fatal("the group member has ended"))? {
            Role::Expelled(why) => {
                member.leave().await;
                Err(Error::config(why))
            }
            _ => Ok(member),
        }
    }

    /// The way to ask who is there.
    ///
    /// # Errors
    /// `Config`, naming the key.
    pub fn roster(&self) -> Result<Roster> {
        if self.clients.is_standalone() {
            let (id, worker_id) = (ALONE.to_owned(), self.worker_id.clone());
            return Ok(Roster::Alone(GroupMember { member_id: id, instance_id: worker_id.clone(), client_id: worker_id }));
        }
        Ok(Roster::Group { admin: self.clients.admin()?, group: self.clients.group.clone() })
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
        let millis = |duration: Duration| duration.as_millis().to_string();
        let (session, heartbeat) = (millis(self.session_timeout), millis(self.heartbeat_interval));
        // What librdkafka calls the longest pause between two polls is the time that a rebalance waits for a member.
        let poll_interval = millis(self.rebalance_timeout.max(self.session_timeout));
        let own = [
            ("session.timeout.ms", session.as_str()),
            ("heartbeat.interval.ms", &heartbeat),
            ("max.poll.interval.ms", &poll_interval),
        ];
        let mut settings = self.clients.consumer("the worker's membership", &own)?;
        settings.set("partition.assignment.strategy", "cooperative-sticky");
        settings.set("enable.auto.commit", "false");
        settings.set("group.instance.id", &self.worker_id).set("client.id", &self.worker_id);
        // Records are read elsewhere; here only ownership counts.
        settings.set("auto.offset.reset", "latest");
        settings
            .create_with_context(Watcher { roles: Arc::new(roles), leaving: AtomicBool::new(false) })
            .map_err(|e| Error::config("join the group").with_source(e))
    }
}

impl Roster {
    /// The members, now.
    ///
    /// # Errors
    /// `Retriable` when no broker answers.
    pub async fn members(&self) -> Result<Vec<GroupMember>> {
        match self {
            Roster::Group { admin, group } => admin.group_members(group).await,
            Roster::Alone(member) => Ok(vec![member.clone()]),
        }
    }
}

impl Member {
    /// Of a worker without a group: it leads, in Java's generation of standalone workers.
    fn alone() -> Self {
        let (fixed, role) = watch::channel(Role::In(Seat { member: ALONE.into(), generation: 0, leads: true }));
        Self { role, _fixed: Some(fixed), stop: watch::channel(false).0, polling: None }
    }

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
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = told(&mut stop) => break,
            received = consumer.recv() => if let Err(error) = received {
                consumer.context().failed(&error);
                tokio::time::sleep(LOOK_INTERVAL).await;
            },
            _ = look.tick() => consumer.context().look(&consumer),
        }
    }
    consumer.context().leaving.store(true, Ordering::Relaxed);
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

fn cannot_ask(error: &KafkaError) -> Error {
    Error::retriable(error.to_string())
}

/// Hears of rebalances.
struct Watcher {
    roles: Arc<watch::Sender<Role>>,
    /// It is giving its place up itself.
    leaving: AtomicBool,
}

impl Watcher {
    /// Takes in how things are now.
    fn look<C: Consumer<Watcher>>(&self, consumer: &C) {
        let (member, generation) = membership(consumer);
        if member.is_empty() || generation < 0 {
            // Before it was in, it is still joining.
            if self.roles.borrow().seat().is_some() && !self.leaving.load(Ordering::Relaxed) {
                tracing::warn!("this worker has lost its place in the group; it joins anew");
                self.become_(Role::Lost);
            }
            return;
        }
        if self.roles.borrow().seat().is_some_and(|seat| *seat.member != *member) {
            // Between two looks: expelled, and in again. What ran under the old place must end.
            self.become_(Role::Lost);
        }
        let owned = consumer.assignment().map_or(0, |partitions| partitions.count());
        self.become_(Role::In(Seat { member: member.into(), generation, leads: owned > 0 }));
    }

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
        if let Rebalance::Error(error) = rebalance {
            self.failed(error);
        }
        self.look(consumer);
    }
}

/// The member's id, empty for none, and the group's generation, which statuses carry.
fn membership<C: Consumer<Watcher>>(consumer: &C) -> (String, i32) {
    use rdkafka::bindings as native;
    // SAFETY: the client outlives the call; the metadata is a copy, null when there is none, read and freed here.
    unsafe {
        let metadata = native::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if metadata.is_null() {
            return (String::new(), -1);
        }
        let member = CStr::from_ptr(native::rd_kafka_consumer_group_metadata_member_id(metadata));
        let member = member.to_string_lossy().into_owned();
        let generation = native::rd_kafka_consumer_group_metadata_generation_id(metadata);
        native::rd_kafka_consumer_group_metadata_destroy(metadata);
        (member, generation)
    }
}
