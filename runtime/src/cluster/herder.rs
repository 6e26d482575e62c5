//! `Herder`, the handle by which others ask; and what it takes to start the worker's share of the cluster behind it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use penstock_api::{Props, Registry, TaskId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::error::{HerderError, Result};
use super::event_loop::EventLoop;
use super::herd::Request;
use super::leadership::Standing;
use super::member::Membership;
use super::peers::Peers;
use super::plans::Plans;
use super::progress::Progress;
use super::share::Placement;
use super::signature::{self, Signature};
use super::stage::Stages;
use super::starter::{PluginStarter, Starter};
use super::view::{ConfigPatch, ConnectorInfo, ConnectorOffset, ConnectorStatus, OffsetPatch, TargetState, TaskInfo, TaskStatus};
use super::writer::{Reply, WAITING, Write};
use super::{answers, observed};
use crate::config::{SigningConfig, WorkerConfig};
use crate::logging::Loggers;
use crate::metrics::Metrics;
use crate::store::config::ConfigState;
use crate::store::status::StatusStore;
use crate::store::{Clients, TopicSpec, assignment_topic, internal_topics};

/// How long a request may take, as in Connect.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
/// Requests that wait; more wait outside, each within its own time.
const QUEUE_MAX: usize = 100;
const HEARTBEAT_MAX: Duration = Duration::from_secs(1);

/// A handle to the one loop that runs this worker's share of the cluster. Cheap to clone.
///
/// Every operation ends within the handle's timeout, with [`HerderError::Timeout`] if need be; dropping its future gives it
/// up if it has not begun. Until the worker has read its topics, operations wait.
#[derive(Clone)]
pub struct Herder {
    shared: Arc<Shared>,
    timeout: Duration,
}

/// What handle and loop share.
pub(super) struct Shared {
    pub(super) worker_id: String,
    /// This worker as others reach it.
    pub(super) url: String,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) peers: Peers,
    pub(super) writes: mpsc::Sender<Write>,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) config: watch::Receiver<Arc<ConfigState>>,
    pub(super) ready: watch::Receiver<bool>,
    /// Connectors of files are yet to be created.
    pub(super) is_filling: AtomicBool,
    pub(super) statuses: StatusStore,
    pub(super) stages: Stages,
    pub(super) starter: Arc<dyn Starter>,
    pub(super) progress: Progress,
    pub(super) metrics: Metrics,
    /// Of a standalone worker, which answers later than others.
    pub(super) plans: Option<Plans>,
}

/// The loop's ends of what it shares.
pub(super) struct Channels {
    pub(super) configs: watch::Sender<Arc<ConfigState>>,
    pub(super) placements: watch::Sender<Arc<Placement>>,
    pub(super) standings: watch::Sender<Standing>,
    pub(super) readies: watch::Sender<bool>,
    pub(super) asked: mpsc::Receiver<Request>,
    pub(super) written: mpsc::Receiver<Write>,
}

/// What a worker's share of the cluster is started from.
pub struct Setup {
    pub clients: Clients,
    /// Configurations, statuses, source offsets.
    pub topics: [TopicSpec; 3],
    pub assignment_topic: TopicSpec,
    pub membership: Membership,
    /// This worker as others reach it: `http://host:port`.
    pub url: String,
    /// How calls between workers are signed.
    pub signing: SigningConfig,
    /// What calls to workers that speak https trust and show; `None`: what the public trusts, and nothing.
    pub peers_tls: Option<rustls::ClientConfig>,
    /// `scheduled.rebalance.max.delay.ms`.
    pub rebalance_delay: Duration,
    /// `task.shutdown.graceful.timeout.ms`.
    pub shutdown_timeout: Duration,
    pub starter: Arc<dyn Starter>,
    pub metrics: Metrics,
    /// The worker counts as started only after [`Herder::filled`].
    pub is_filled_later: bool,
    /// Whose levels the config topic may change.
    pub loggers: Loggers,
}

/// The loop behind a [`Herder`]. Dropping it lets it run on; [`stop`](Self::stop) ends it.
pub struct Herding {
    stop: watch::Sender<bool>,
    ended: JoinHandle<penstock_api::Result<()>>,
}

impl Setup {
    /// What a worker file says. `worker_id` is `host:port`, as others reach this worker's REST API.
    #[must_use]
    pub fn new(worker: Arc<WorkerConfig>, registry: Arc<Registry>, worker_id: &str) -> Self {
        let clients = Clients::new(&worker);
        let metrics = Metrics::new(worker.metric_windows, worker.stalled_after);
        Self {
            topics: internal_topics(&worker),
            assignment_topic: assignment_topic(&worker),
            url: format!("{}://{worker_id}", worker.rest.advertised_scheme.name()),
            signing: worker.signing.clone(),
            peers_tls: None,
            rebalance_delay: worker.rebalance_delay,
            membership: Membership {
                clients: clients.clone(),
                config_topic: worker.config_topic.name.clone(),
                worker_id: worker_id.to_owned(),
                session_timeout: worker.session_timeout,
                // A member that stops answering is noticed after the session; the beat only has to fit in several times.
                heartbeat_interval: worker.heartbeat_interval.min(HEARTBEAT_MAX),
                rebalance_timeout: worker.rebalance_timeout,
            },
            shutdown_timeout: worker.shutdown_timeout,
            starter: Arc::new(PluginStarter::new(registry, worker, metrics.clone(), clients.clone())),
            clients,
            metrics,
            is_filled_later: false,
            loggers: Loggers::detached(),
        }
    }

    /// Starts. The handle answers at once that it is not ready, until the topics are read.
    #[must_use]
    pub fn start(self) -> (Herder, Herding) {
        let (writes, written) = mpsc::channel(QUEUE_MAX);
        let (requests, asked) = mpsc::channel(QUEUE_MAX);
        let (configs, config) = watch::channel(Arc::default());
        let (readies, ready) = watch::channel(false);
        let (standings, standing) = watch::channel(Standing::Unknown);
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            worker_id: self.membership.worker_id.clone(),
            url: self.url.clone(),
            standing,
            peers: Peers::new(self.signing.clone(), self.peers_tls.clone()),
            writes,
            requests,
            config,
            ready,
            is_filling: AtomicBool::new(self.is_filled_later),
            statuses: StatusStore::default(),
            stages: Stages::default(),
            starter: self.starter.clone(),
            progress: Progress {
                clients: self.clients.clone(),
                starter: self.starter.clone(),
                config_topic: self.topics[0].topic.name.clone(),
            },
            metrics: self.metrics.clone(),
            plans: self.clients.is_standalone().then(Plans::default),
        });
        let placements = watch::channel(Arc::default()).0;
        let channels = Channels { configs, placements, standings, readies, asked, written };
        let event_loop = EventLoop::new(self, &shared, channels);
        let herder = Herder::new(shared);
        (herder, Herding { stop, ended: tokio::spawn(event_loop.run(stopped)) })
    }
}

impl Herding {
    /// Waits until the loop has ended by itself, which it does only when the worker cannot go on.
    ///
    /// # Errors
    /// Why it cannot go on: a person must act.
    pub async fn ended(&mut self) -> penstock_api::Result<()> {
        match (&mut self.ended).await {
            Ok(outcome) => outcome,
            Err(panicked) => Err(penstock_api::Error::fatal("the herder ended badly, which is a bug").with_source(panicked)),
        }
    }

    /// Stops all tasks in parallel, each within its grace, writes the statuses, leaves the group, closes the clients.
    ///
    /// # Errors
    /// As [`ended`](Self::ended).
    pub async fn stop(mut self) -> penstock_api::Result<()> {
        self.stop.send_replace(true);
        self.ended().await
    }
}

impl Herder {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, timeout: REQUEST_TIMEOUT }
    }

    /// The same herder with another limit to the time of a request (10 s for health).
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// `host:port`, as statuses name this worker.
    #[must_use]
    pub fn worker_id(&self) -> &str {
        &self.shared.worker_id
    }

    /// Whether the worker has started: it has read its topics and may answer, and has all connectors that it was started with.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.shared.ready.borrow() && !self.shared.is_filling.load(Ordering::Relaxed)
    }

    /// Says that the connectors that the worker was started with have been created.
    pub fn filled(&self) {
        self.shared.is_filling.store(false, Ordering::Relaxed);
    }

    /// What the worker is doing, in Connect's words.
    #[must_use]
    pub fn stage(&self) -> String {
        self.shared.stages.summary()
    }

    /// The way to other workers.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.shared.peers
    }

    /// All statuses, for tasks that note which topics they use, and for metrics.
    #[must_use]
    pub fn statuses(&self) -> &StatusStore {
        &self.shared.statuses
    }

    /// The page that Prometheus reads.
    #[must_use]
    pub fn metrics_page(&self) -> String {
        observed::page(&self.shared)
    }

    /// Answers when the loop has gone round once, and this worker is in the group and knows who leads: until then it runs nothing and
    /// takes nothing.
    pub async fn health(&self) -> Result<()> {
        self.in_time(async {
            self.ask(Request::Health).await?;
            let mut standing = self.shared.standing.clone();
            let known = standing.wait_for(|standing| *standing != Standing::Unknown).await;
            known.map(drop).map_err(|_| closing())
        })
        .await
    }

    /// The names of all connectors, sorted.
    pub async fn connectors(&self) -> Result<Vec<String>> {
        self.read(|config| Ok(config.connectors().map(|connector| connector.name.to_string()).collect())).await
    }

    /// A connector's configuration and tasks.
    pub async fn info(&self, name: &str) -> Result<ConnectorInfo> {
        self.read(|config| Ok(answers::info(answers::connector(config, name)?, &*self.shared.starter))).await
    }

    /// Checks and writes a connector's configuration; answers whether the connector is new, and what it is now.
    ///
    /// `config` must hold the `name`. With `create_only` an existing connector is an error.
    pub async fn put_config(
        &self,
        name: &str,
        config: Props,
        create_only: bool,
        initial_state: Option<TargetState>,
    ) -> Result<(bool, ConnectorInfo)> {
        // Here and not in the lane: a connector may take its time, and others want to write meanwhile.
        self.in_time(async {
            self.started().await?;
            self.shared.starter.validate(&config).await
        })
        .await?;
        let (is_new, info) =
            self.write(|reply| Write::Put { name: name.into(), config, create_only, initial_state, reply }).await?;
        Ok((is_new, self.settled(name, info).await?))
    }

    /// Changes single keys of an existing connector (KIP-477).
    pub async fn patch_config(&self, name: &str, patch: ConfigPatch) -> Result<ConnectorInfo> {
        let info = self.write(|reply| Write::Patch { name: name.into(), patch, reply }).await?;
        self.settled(name, info).await
    }

    /// The answer to a new configuration: at once, and on a standalone worker when the connector has started, with its tasks.
    async fn settled(&self, name: &str, info: ConnectorInfo) -> Result<ConnectorInfo> {
        let Some(plans) = &self.shared.plans else { return Ok(info) };
        let mut config = self.shared.config.clone();
        let settled = async { Ok(plans.settled(name, &mut config).await) };
        // Java says no more than the first half.
        let failed = |why| HerderError::Internal(format!("Failed to start connector {name}: {why}"));
        self.in_time(settled).await?.map_err(failed)?;
        let now = config.borrow();
        Ok(now.connector(name).map_or(info, |connector| answers::info(connector, &*self.shared.starter)))
    }

    /// Takes the tasks that a connector has planned on another worker, from its record at offset `written`, if that is given.
    /// The call is to be signed by that worker.
    pub async fn put_tasks(
        &self,
        name: &str,
        tasks: Vec<Props>,
        written: Option<i64>,
        body: &[u8],
        signature: Signature<'_>,
    ) -> Result<()> {
        self.of_cluster("externally setting task configurations")?;
        self.verify(body, signature).await?;
        let tasks = tasks.into_iter().map(Arc::new).collect();
        self.write(|reply| Write::Tasks { name: name.into(), written, tasks, reply }).await
    }

    /// Fences the producers of a source's older tasks, before new ones start (exactly once). The call is to be signed by the
    /// worker that is to run them.
    pub async fn fence(&self, name: &str, committed: Option<i64>, body: &[u8], signature: Signature<'_>) -> Result<()> {
        self.of_cluster("exactly-once source connectors")?;
        self.verify(body, signature).await?;
        self.write(|reply| Write::Fence { name: name.into(), committed, reply }).await
    }

    /// Has a connector that runs here plan its tasks anew, for one of its tasks elsewhere. The call is to be signed by that worker.
    pub async fn plan(&self, name: &str, body: &[u8], signature: Signature<'_>) -> Result<()> {
        self.of_cluster("requests for new task configurations")?;
        self.verify(body, signature).await?;
        self.ask(|reply| Request::Plan(name.into(), reply)).await
    }

    /// Refuses what only workers of a cluster ask of each other.
    fn of_cluster(&self, what: &str) -> Result<()> {
        match self.shared.progress.clients.is_standalone() {
            true => Err(HerderError::Internal(format!("Kafka Connect in standalone mode does not support {what}."))),
            false => Ok(()),
        }
    }

    /// Whether a call was signed by a worker of this cluster.
    async fn verify(&self, body: &[u8], signature: Signature<'_>) -> Result<()> {
        self.read(|config| signature::verify(config.session_key(), self.shared.peers.signing(), signature, body)).await
    }

    /// Takes a connector away.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.write(|reply| Write::Delete { name: name.into(), reply }).await
    }

    /// How a connector and its tasks are.
    pub async fn status(&self, name: &str) -> Result<ConnectorStatus> {
        self.read(|config| answers::status(config, &self.shared.statuses, &*self.shared.starter, name)).await
    }

    /// How a task is.
    pub async fn task_status(&self, name: &str, task: u32) -> Result<TaskStatus> {
        let tasks = self.read(|_| Ok(self.shared.statuses.tasks(name))).await?;
        let found = tasks.into_iter().find(|(id, _)| *id == task);
        let missing = || HerderError::NotFound(format!("No status found for task {name}-{task}"));
        found.map(|(id, status)| TaskStatus { id, status: answers::unit_status(status) }).ok_or_else(missing)
    }

    /// The configurations of a connector's tasks.
    pub async fn task_configs(&self, name: &str) -> Result<Vec<TaskInfo>> {
        self.read(|config| Ok(answers::task_configs(answers::connector(config, name)?))).await
    }

    /// Stops and starts a task; answers when it is on its way.
    pub async fn restart_task(&self, name: &str, task: u32) -> Result<()> {
        let id = TaskId { connector: name.into(), task };
        self.ask(|reply| Request::RestartTask(id, reply)).await
    }

    /// Restarts a connector, with or without its tasks, all or only what failed (KIP-745).
    ///
    /// With both flags false answers `None` when the connector restarts (204); else at once with the plan: the status with
    /// all that will restart shown RESTARTING (202).
    pub async fn restart_connector(&self, name: &str, include_tasks: bool, only_failed: bool) -> Result<Option<ConnectorStatus>> {
        if !include_tasks && !only_failed {
            return self.ask(|reply| Request::RestartConnector(name.into(), reply)).await.map(|()| None);
        }
        self.write(|reply| Write::Restart { name: name.into(), include_tasks, only_failed, reply }).await.map(Some)
    }

    /// Pause, resume, stop. Answers when it is written.
    pub async fn set_target_state(&self, name: &str, state: TargetState) -> Result<()> {
        self.write(|reply| Write::Target { name: name.into(), state, reply }).await
    }

    /// Sets the level of a logger and of all below it, on all workers that run now. As in Java any worker says so: a level is no
    /// configuration, and the leader may not serve `/admin` where others reach it.
    pub async fn set_logger_level(&self, namespace: &str, level: &str) -> Result<()> {
        self.in_time(async {
            self.started().await?;
            let written = self.shared.progress.write_logger_level(namespace, level).await?;
            let read = self.shared.config.clone().wait_for(|config| config.next_offset() > written).await.is_ok();
            if read { Ok(()) } else { Err(closing()) }
        })
        .await
    }

    /// How far a connector is: for a sink what its consumer group has committed, else what its tasks stored.
    pub async fn offsets(&self, name: &str) -> Result<Vec<ConnectorOffset>> {
        let props = self.read(|config| Ok(answers::connector(config, name)?.props().clone())).await?;
        self.in_time(self.shared.progress.offsets(name, &props)).await
    }

    /// Alters the offsets of a stopped connector, or with `None` resets them all; answers what to tell the user.
    pub async fn change_offsets(&self, name: &str, patch: Option<Vec<OffsetPatch>>) -> Result<String> {
        self.write(|reply| Write::Offsets { name: name.into(), patch, reply }).await
    }

    /// Topics the connector's tasks have used since it was made or the set was reset (KIP-558).
    pub async fn active_topics(&self, name: &str) -> Result<Vec<String>> {
        self.read(|_| Ok(self.shared.statuses.topics(name))).await
    }

    /// Forgets the topics used so far.
    pub async fn reset_active_topics(&self, name: &str) -> Result<()> {
        self.read(|_| {
            self.shared.statuses.forget_topics(name);
            Ok(())
        })
        .await
    }

    async fn read<T>(&self, answer: impl FnOnce(&ConfigState) -> Result<T>) -> Result<T> {
        self.in_time(async {
            self.started().await?;
            let config = self.shared.config.borrow().clone();
            answer(&config)
        })
        .await
    }

    async fn write<T>(&self, request: impl FnOnce(Reply<T>) -> Write) -> Result<T> {
        self.in_time(async {
            self.started().await?;
            self.until_leading().await?;
            let (reply, answer) = oneshot::channel();
            self.shared.writes.send(request(reply)).await.map_err(|_| closing())?;
            answer.await.unwrap_or_else(|_| Err(closing()))
        })
        .await
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T> {
        self.in_time(async {
            self.started().await?;
            let (reply, answer) = oneshot::channel();
            self.shared.requests.send(request(reply)).await.map_err(|_| closing())?;
            answer.await.unwrap_or_else(|_| Err(closing()))
        })
        .await
    }

    async fn started(&self) -> Result<()> {
        self.shared.ready.clone().wait_for(|ready| *ready).await.map(|_| ()).map_err(|_| closing())
    }

    /// Waits until it is known who leads.
    async fn until_leading(&self) -> Result<()> {
        let known = |standing: &Standing| *standing != Standing::Unknown;
        let mut standing = self.shared.standing.clone();
        let _stage = self.shared.stages.enter_if(!known(&standing.borrow()), WAITING);
        match standing.wait_for(known).await.map_err(|_| closing())?.clone() {
            Standing::Following(leader) => Err(HerderError::Elsewhere(Some(leader))),
            Standing::Leading | Standing::Unknown => Ok(()),
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let is_leaderless = || *self.shared.ready.borrow() && *self.shared.standing.borrow() == Standing::Unknown;
        let late = || match is_leaderless() {
            true => Err(HerderError::Elsewhere(None)),
            false => Err(HerderError::Timeout { stage: self.shared.stages.summary() }),
        };
        tokio::time::timeout(self.timeout, work).await.unwrap_or_else(|_| late())
    }
}

fn closing() -> HerderError {
    HerderError::Internal("The worker is shutting down".into())
}
