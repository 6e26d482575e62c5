//! The one lane through which configuration is written: check, append, read back, answer; one request after another.
//!
//! Only the leader's lane moves; see `leadership.rs` for why nobody else's records get in.

use std::sync::Arc;

use penstock_api::Props;
use tokio::sync::{mpsc, oneshot, watch};

use super::answers;
use super::error::{HerderError, Result};
use super::leadership::{Leadership, NotWritten, Standing};
use super::progress::Progress;
use super::restart::RestartPlan;
use super::stage::Stages;
use super::starter::Starter;
use super::view::{ConfigPatch, ConnectorInfo, ConnectorStatus, ConnectorType, OffsetPatch, TargetState};
use crate::store::config::{ConfigState, ConnectorView, Event, deletion, task_set};
use crate::store::status::StatusStore;

pub(super) type Reply<T> = oneshot::Sender<Result<T>>;

/// What can be written.
pub(super) enum Write {
    /// The configuration was checked.
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
    Delete {
        name: String,
        reply: Reply<()>,
    },
    Target {
        name: String,
        state: TargetState,
        reply: Reply<()>,
    },
    Restart {
        name: String,
        include_tasks: bool,
        only_failed: bool,
        reply: Reply<ConnectorStatus>,
    },
    /// Changes offsets; with `patch: None` resets them all. In this lane though the config topic is not written, so that nobody
    /// resumes the connector meanwhile.
    Offsets {
        name: String,
        patch: Option<Vec<OffsetPatch>>,
        reply: Reply<String>,
    },
    /// The tasks a connector planned, made from its record at offset `written`, if that is known.
    Tasks {
        name: Arc<str>,
        written: Option<i64>,
        tasks: Vec<Arc<Props>>,
        reply: Reply<()>,
    },
    /// Fences the producers of older generations of a source's tasks, for a task of the generation that was committed at that offset, if
    /// it is known.
    Fence {
        name: Arc<str>,
        committed: Option<i64>,
        reply: Reply<()>,
    },
}

/// Where records go, so that tests can do without a broker.
#[async_trait::async_trait]
pub(super) trait Append: Send + Sync + 'static {
    /// Appends records in this order, all or none; answers the offset of the last one.
    async fn append(&self, events: Vec<Event>) -> std::result::Result<i64, NotWritten>;
}

/// The config topic itself.
pub(super) struct ConfigTopic {
    pub(super) leadership: Leadership,
    pub(super) topic: Arc<str>,
}

#[async_trait::async_trait]
impl Append for ConfigTopic {
    async fn append(&self, events: Vec<Event>) -> std::result::Result<i64, NotWritten> {
        let records = events.iter().map(|event| (self.topic.clone(), event.record())).collect();
        Ok(self.leadership.append(records).await?.last().map_or(-1, |at| at.offset))
    }
}

/// What a worker is doing while nobody leads.
pub(super) const WAITING: &str = "waiting for a leader of the cluster before it writes to the config topic";

/// What writing needs to know.
pub(super) struct Writer {
    pub(super) topic: Arc<dyn Append>,
    pub(super) config: watch::Receiver<Arc<ConfigState>>,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) statuses: StatusStore,
    pub(super) starter: Arc<dyn Starter>,
    pub(super) progress: Progress,
    pub(super) stages: Stages,
}

impl Writer {
    /// Serves until nobody can ask any more. A request whose asker has given up while it waited is dropped: nobody wants to
    /// find a connector created long after the client was told that it failed.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Write>) {
        while let Some(request) = requests.recv().await {
            match request {
                Write::Put { name, config, create_only, initial_state, reply } => {
                    if let Some(reply) = self.admitted(reply).await {
                        send(reply, self.put(&name, config, create_only, initial_state).await);
                    }
                }
                Write::Patch { name, patch, reply } => {
                    if let Some(reply) = self.admitted(reply).await {
                        send(reply, self.patch(&name, patch).await);
                    }
                }
                Write::Delete { name, reply } => {
                    if let Some(reply) = self.admitted(reply).await {
                        send(reply, self.delete(&name).await);
                    }
                }
                Write::Target { name, state, reply } => {
                    if let Some(reply) = self.admitted(reply).await {
                        send(reply, self.target(&name, state).await);
                    }
                }
                Write::Restart { name, include_tasks, only_failed, reply } => {
                    if let Some(reply) = self.admitted(reply).await {
                        send(reply, self.restart(&name, include_tasks, only_failed).await);
                    }
                }
                Write::Offsets { name, patch, reply } => {
                    if let Some(reply) = self.admitted(reply).await {
                        send(reply, self.offsets(&name, patch.as_deref()).await);
                    }
                }
                Write::Tasks { name, written, tasks, reply } => {
                    if let Some(reply) = self.admitted(reply).await {
                        send(reply, self.tasks(&name, written, &tasks).await);
                    }
                }
                Write::Fence { name, committed, reply } => {
                    if let Some(reply) = self.admitted(reply).await {
                        send(reply, self.fence(&name, committed).await);
                    }
                }
            }
        }
    }

    /// Waits until this worker leads; `None` when the asker gives up before, or another worker leads, which it is told.
    async fn admitted<T>(&mut self, mut reply: Reply<T>) -> Option<Reply<T>> {
        if reply.is_closed() {
            return None;
        }
        let known = |standing: &Standing| *standing != Standing::Unknown;
        let waiting = self.stages.enter_if(!known(&self.standing.borrow()), WAITING);
        let standing = tokio::select! {
            biased;
            () = reply.closed() => return None,
            standing = self.standing.wait_for(known) => standing.ok()?.clone(),
        };
        drop(waiting);
        match standing {
            Standing::Following(leader) => {
                send(reply, Err(HerderError::Elsewhere(Some(leader))));
                None
            }
            Standing::Leading | Standing::Unknown => Some(reply),
        }
    }

    async fn put(
        &mut self,
        name: &str,
        config: Props,
        create_only: bool,
        initial_state: Option<TargetState>,
    ) -> Result<(bool, ConnectorInfo)> {
        let now = self.now();
        let exists = now.connector(name).is_some();
        if exists && create_only {
            return Err(HerderError::AlreadyExists(format!("Connector {name} already exists")));
        }
        // A deletion that was cut short may have left a target state, which is not meant for the new connector.
        let target = initial_state.or_else(|| now.lingering_target(name).map(|_| TargetState::Started));
        let shared: Arc<str> = name.into();
        let mut events: Vec<_> =
            target.map(|state| Event::Target { name: shared.clone(), state: Some(state) }).into_iter().collect();
        events.push(Event::Connector { name: shared, props: Some(Arc::new(config)) });
        self.append(format!("writing a config for connector {name} to the config topic"), events).await?;
        let now = self.now();
        Ok((!exists, answers::info(answers::connector(&now, name)?, &*self.starter)))
    }

    async fn patch(&mut self, name: &str, patch: ConfigPatch) -> Result<ConnectorInfo> {
        let mut config = answers::connector(&self.now(), name)?.props().as_ref().clone();
        for (key, value) in patch {
            match value {
                Some(value) => drop(config.insert(key, value)),
                None => drop(config.remove(&key)),
            }
        }
        self.starter.validate(&config).await?;
        self.put(name, config, false, None).await.map(|(_, info)| info)
    }

    async fn delete(&mut self, name: &str) -> Result<()> {
        let events = deletion(&answers::connector(&self.now(), name)?);
        self.append(format!("removing the config for connector {name} from the config topic"), events).await
    }

    async fn target(&mut self, name: &str, state: TargetState) -> Result<()> {
        let now = self.now();
        let connector = now.connector(name).ok_or_else(|| HerderError::NotFound(format!("Unknown connector {name}")))?;
        let mut events = Vec::new();
        if state == TargetState::Stopped {
            // The tasks first: should this be cut short, a running connector without tasks is better than a stopped one with.
            events.push(Event::Commit { name: connector.name.clone(), tasks: Some(0) });
        }
        events.push(Event::Target { name: connector.name.clone(), state: Some(state) });
        self.append(format!("writing the target state for connector {name} to the config topic"), events).await
    }

    async fn restart(&mut self, name: &str, include_tasks: bool, only_failed: bool) -> Result<ConnectorStatus> {
        let now = self.now();
        let connector = now.connector(name).ok_or_else(|| HerderError::NotFound(format!("Unknown connector: {name}")))?;
        let plan = RestartPlan::new(&self.statuses, name, include_tasks, only_failed)
            .ok_or_else(|| HerderError::NotFound(format!("Status for connector {name} not found")))?;
        let event = Event::Restart { name: connector.name.clone(), include_tasks, only_failed };
        self.append(format!("writing restart request for connector {name} to the config topic"), vec![event]).await?;
        Ok(answers::restarting(&plan, connector, &*self.starter))
    }

    async fn offsets(&mut self, name: &str, patch: Option<&[OffsetPatch]>) -> Result<String> {
        let now = self.now();
        let connector = answers::connector(&now, name)?;
        if connector.target() != TargetState::Stopped || !connector.tasks().is_empty() {
            return Err(HerderError::BadRequest(format!(
                "Connectors must be in the STOPPED state before their offsets can be modified. This can be done for the specified \
                 connector by issuing a 'PUT' request to the '/connectors/{name}/stop' endpoint"
            )));
        }
        if self.starter.is_exactly_once() && self.starter.describe(connector.props()).kind == ConnectorType::Source {
            // Invariant 4. Else a task that was frozen might commit over the new offsets. The first half is Java's.
            self.fence_older(connector).await.map_err(|why| {
                let text = "Failed to perform zombie fencing for source connector prior to modifying offsets";
                HerderError::Internal(format!("{text}: {why}"))
            })?;
        }
        let _stage = self.stages.enter(format!("modifying the offsets of connector {name}"));
        self.progress.change(name, connector.props(), patch).await
    }

    async fn tasks(&mut self, name: &Arc<str>, written: Option<i64>, tasks: &[Arc<Props>]) -> Result<()> {
        let now = self.now();
        let connector = answers::connector(&now, name)?;
        // Planned for what no longer is: another plan is on its way.
        let is_current = written.is_none_or(|written| written == connector.written());
        let current = Some(connector).filter(|c| is_current && c.target() == TargetState::Started);
        if !current.is_some_and(|connector| connector.tasks_differ(tasks)) {
            return Ok(());
        }
        self.append(
            format!("writing {} task configs for connector {name} to the config topic", tasks.len()),
            task_set(name, tasks),
        )
        .await
    }

    /// Invariant 4. In this lane, so that no new generation is written meanwhile.
    async fn fence(&mut self, name: &Arc<str>, committed: Option<i64>) -> Result<()> {
        let now = self.now();
        let connector = answers::connector(&now, name)?;
        if self.starter.describe(connector.props()).kind != ConnectorType::Source {
            return Err(HerderError::BadRequest(format!("Connector {name} is not a source connector")));
        }
        if committed.is_some() && committed != connector.runnable_since() {
            return Err(HerderError::Conflict(format!("the tasks of connector {name} were planned anew meanwhile")));
        }
        self.fence_older(connector).await
    }

    /// Fences what older generations of a source's tasks may still write.
    async fn fence_older(&mut self, connector: ConnectorView<'_>) -> Result<()> {
        let name = connector.name;
        let tasks = u32::try_from(connector.tasks().len()).unwrap_or(u32::MAX);
        // As in Java: a single task's successor fences it by its own beginning.
        if let Some(count) = connector.pending_fencing().filter(|count| *count != 1 || tasks != 1) {
            let _stage = self.stages.enter(format!("fencing {count} older tasks of connector {name}"));
            let fenced = self.starter.fence(connector.props(), count).await;
            fenced.map_err(|e| HerderError::Internal(format!("Failed to fence out zombie tasks of connector {name}: {e:#}")))?;
        }
        // Also when nothing was fenced: only who still leads can write it.
        let event = Event::Fencing { name: name.clone(), tasks: Some(tasks) };
        self.append(format!("writing a task count record for connector {name} to the config topic"), vec![event]).await
    }

    /// Appends, then waits until this worker has read it back: what follows sees its effect.
    async fn append(&mut self, stage: String, events: Vec<Event>) -> Result<()> {
        let _stage = self.stages.enter(stage);
        let last = self.topic.append(events).await.map_err(|not_written| match not_written {
            NotWritten::NotLeading => HerderError::Elsewhere(None),
            NotWritten::Failed(error) => HerderError::Internal(format!(
                "Failed to write to config topic; this may be due to a transient error and the request can be safely retried: {error:#}"
            )),
        })?;
        let read = self.config.wait_for(|config| config.next_offset() > last).await;
        read.map(|_| ()).map_err(|_| HerderError::Internal("The worker is shutting down".into()))
    }

    fn now(&self) -> Arc<ConfigState> {
        self.config.borrow().clone()
    }
}

/// Whoever has stopped waiting does not want to know.
fn send<T>(reply: Reply<T>, answer: Result<T>) {
    drop(reply.send(answer));
}
