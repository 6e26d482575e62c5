//! `Herder`, the handle by which others ask the worker's one loop.

use std::future::Future;
use std::time::Duration;

use penstock_api::{Props, TaskId};
use tokio::sync::{mpsc, oneshot};

use super::error::{HerderError, Result};
use super::stage::Stages;
use super::view::{ConfigPatch, ConnectorInfo, ConnectorOffset, ConnectorStatus, TargetState, TaskInfo, TaskStatus};

/// How long a request may take, as in Connect.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);

/// A handle to the one loop that runs this worker's share of the cluster. Cheap to clone.
///
/// Every operation ends within the handle's timeout, with [`HerderError::Timeout`] if need be; dropping its future gives it
/// up if it has not begun.
#[derive(Clone)]
pub struct Herder {
    requests: mpsc::Sender<Request>,
    stages: Stages,
    timeout: Duration,
    worker_id: String,
}

/// What the loop can be asked.
pub(super) enum Request {
    Connectors(Reply<Vec<String>>),
    Info(String, Reply<ConnectorInfo>),
    Put {
        name: String,
        config: Props,
        create_only: bool,
        initial_state: Option<TargetState>,
        reply: Reply<(bool, ConnectorInfo)>,
    },
    Patch {
        name: String,
        patch: ConfigPatch,
        reply: Reply<ConnectorInfo>,
    },
    Delete(String, Reply<()>),
    Status(String, Reply<ConnectorStatus>),
    TaskStatus(TaskId, Reply<TaskStatus>),
    TaskConfigs(String, Reply<Vec<TaskInfo>>),
    RestartTask(TaskId, Reply<()>),
    RestartConnector {
        name: String,
        include_tasks: bool,
        only_failed: bool,
        reply: Reply<Option<ConnectorStatus>>,
    },
    SetTarget(String, TargetState, Reply<()>),
    Offsets(String, Reply<Vec<ConnectorOffset>>),
    ActiveTopics(String, Reply<Vec<String>>),
    ResetActiveTopics(String, Reply<()>),
    Health(Reply<()>),
}

pub(super) type Reply<T> = oneshot::Sender<Result<T>>;

impl Herder {
    /// The same herder with another limit to the time of a request (10 s for health).
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// `host:port`, as statuses name this worker.
    #[must_use]
    pub fn worker_id(&self) -> &str {
        &self.worker_id
    }

    /// Whether the worker has started: it has read its topics and may answer.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        false
    }

    /// What the worker is doing, in Connect's words.
    #[must_use]
    pub fn stage(&self) -> String {
        self.stages.summary()
    }

    /// Answers when the loop has gone round once.
    pub async fn health(&self) -> Result<()> {
        self.ask(Request::Health).await
    }

    /// The names of all connectors, sorted.
    pub async fn connectors(&self) -> Result<Vec<String>> {
        self.ask(Request::Connectors).await
    }

    /// A connector's configuration and tasks.
    pub async fn info(&self, name: &str) -> Result<ConnectorInfo> {
        self.ask(|reply| Request::Info(name.into(), reply)).await
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
        self.ask(|reply| Request::Put { name: name.into(), config, create_only, initial_state, reply }).await
    }

    /// Changes single keys of an existing connector (KIP-477).
    pub async fn patch_config(&self, name: &str, patch: ConfigPatch) -> Result<ConnectorInfo> {
        self.ask(|reply| Request::Patch { name: name.into(), patch, reply }).await
    }

    /// Takes a connector away.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.ask(|reply| Request::Delete(name.into(), reply)).await
    }

    /// How a connector and its tasks are.
    pub async fn status(&self, name: &str) -> Result<ConnectorStatus> {
        self.ask(|reply| Request::Status(name.into(), reply)).await
    }

    /// How a task is.
    pub async fn task_status(&self, name: &str, task: u32) -> Result<TaskStatus> {
        self.ask(|reply| Request::TaskStatus(task_id(name, task), reply)).await
    }

    /// The configurations of a connector's tasks.
    pub async fn task_configs(&self, name: &str) -> Result<Vec<TaskInfo>> {
        self.ask(|reply| Request::TaskConfigs(name.into(), reply)).await
    }

    /// Stops and starts a task; answers when it starts again.
    pub async fn restart_task(&self, name: &str, task: u32) -> Result<()> {
        self.ask(|reply| Request::RestartTask(task_id(name, task), reply)).await
    }

    /// Restarts a connector, with or without its tasks, all or only what failed (KIP-745).
    ///
    /// With both flags false answers `None` when the connector restarts (204); else at once with the plan: the status with
    /// all that will restart shown RESTARTING (202).
    pub async fn restart_connector(&self, name: &str, include_tasks: bool, only_failed: bool) -> Result<Option<ConnectorStatus>> {
        self.ask(|reply| Request::RestartConnector { name: name.into(), include_tasks, only_failed, reply }).await
    }

    /// Pause, resume, stop. Answers when it is written.
    pub async fn set_target_state(&self, name: &str, state: TargetState) -> Result<()> {
        self.ask(|reply| Request::SetTarget(name.into(), state, reply)).await
    }

    /// How far a connector is: for a sink what its consumer group committed.
    pub async fn offsets(&self, name: &str) -> Result<Vec<ConnectorOffset>> {
        self.ask(|reply| Request::Offsets(name.into(), reply)).await
    }

    /// Topics the connector's tasks have used since it was made or the set was reset (KIP-558).
    pub async fn active_topics(&self, name: &str) -> Result<Vec<String>> {
        self.ask(|reply| Request::ActiveTopics(name.into(), reply)).await
    }

    /// Forgets the topics used so far.
    pub async fn reset_active_topics(&self, name: &str) -> Result<()> {
        self.ask(|reply| Request::ResetActiveTopics(name.into(), reply)).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let request = request(reply);
        self.in_time(async {
            let gone = || HerderError::Internal("The worker is shutting down".into());
            self.requests.send(request).await.map_err(|_| gone())?;
            answer.await.unwrap_or_else(|_| Err(gone()))
        })
        .await
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout(self.timeout, work)
            .await
            .unwrap_or_else(|_| Err(HerderError::Timeout { stage: self.stages.summary() }))
    }
}

fn task_id(name: &str, task: u32) -> TaskId {
    TaskId { connector: name.into(), task }
}
