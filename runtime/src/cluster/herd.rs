//! The herd: what is written and what happened go in, actions and statuses come out. It needs no broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use penstock_api::{Error, Props, Result, TaskId};
use tokio::sync::{mpsc, oneshot, watch};

use super::error::HerderError;
use super::herder::Shared;
use super::member::Role;
use super::reconcile::{Action, Unit, desired, reconcile};
use super::restart::RestartPlan;
use super::revive::{self, Revivals, Verdict};
use super::stage::Stages;
use super::starter::Starter;
use super::units::{UnitEvent, Units};
use super::writer::{Reply, Write};
use crate::metrics::Metrics;
use crate::store::Position;
use crate::store::config::{ConfigState, Event, TargetState};
use crate::store::status::{Health, State, Status, StatusStore};
use crate::task::Event as TaskEvent;
use crate::task::errors::trace;

/// What the loop can be asked: what is done here and written nowhere.
pub(super) enum Request {
    Health(Reply<()>),
    RestartConnector(Arc<str>, Reply<()>),
    RestartTask(TaskId, Reply<()>),
}

/// The units of this worker, and what the loop knows of them.
pub(super) struct Herd {
    worker_id: String,
    /// Of the group; statuses carry it.
    pub(super) generation: i32,
    pub(super) configs: watch::Sender<Arc<ConfigState>>,
    statuses: StatusStore,
    metrics: Metrics,
    pub(super) starter: Arc<dyn Starter>,
    units: Units,
    happenings: mpsc::UnboundedSender<UnitEvent>,
    restarts: BTreeMap<Unit, u64>,
    /// Of what failed, by the offset of the configuration that it failed with.
    revivals: BTreeMap<Unit, (i64, Revivals)>,
    writes: mpsc::WeakSender<Write>,
}

/// Before tasks that could not be written are planned anew.
const PLAN_RETRY: Duration = Duration::from_secs(5);

impl Herd {
    pub(super) fn new(
        shared: &Shared,
        grace: Duration,
        configs: watch::Sender<Arc<ConfigState>>,
        happenings: mpsc::UnboundedSender<UnitEvent>,
    ) -> Self {
        revive::look_regularly(shared.metrics.stalled_after(), happenings.clone());
        Self {
            worker_id: shared.worker_id.clone(),
            generation: -1,
            configs,
            statuses: shared.statuses.clone(),
            metrics: shared.metrics.clone(),
            starter: shared.starter.clone(),
            units: Units::new(shared.starter.clone(), grace, happenings.clone()),
            happenings,
            restarts: BTreeMap::new(),
            revivals: BTreeMap::new(),
            writes: shared.writes.downgrade(),
        }
    }

    /// The state at the start: everything begins as it was recorded, failed units too.
    pub(super) fn begin(&mut self, state: ConfigState) {
        let wanted = desired(&state, &self.restarts);
        self.configs.send_replace(Arc::new(state));
        // What runs will say so itself. The others were left behind by deletions that nobody was there to finish, or by a worker
        // that could not say that it ended.
        for unit in self.statuses.units().into_iter().filter(|unit| !wanted.contains_key(unit)) {
            self.after_end(unit);
        }
        self.reconcile();
    }

    pub(super) fn config_record(&mut self, topic: &str, at: Position, key: &str, value: Option<&[u8]>) {
        let mut state = self.config().as_ref().clone();
        let event = read_config(&mut state, topic, at, key, value);
        self.configs.send_replace(Arc::new(state));
        if let Some(Event::Restart { name, include_tasks, only_failed }) = event {
            match RestartPlan::new(&self.statuses, &name, include_tasks, only_failed) {
                Some(plan) => self.restart(plan.units(&name)),
                None => tracing::debug!(connector = %name, "nothing to restart: there is no status yet"),
            }
        }
        self.reconcile();
    }

    pub(super) fn happened(&mut self, event: UnitEvent) {
        match event {
            UnitEvent::Planned { name, launch, outcome } => self.planned(name, launch, outcome),
            UnitEvent::Task(event) => self.task_event(event.id, event.revision, event.event),
            UnitEvent::Ended { unit, launch } => self.ended(unit, launch),
            UnitEvent::Revive { unit, launch } => self.revive(unit, launch),
            UnitEvent::Look => self.look(),
            UnitEvent::NotWritten { name, launch } => {
                if self.units.state_of(&Unit::Connector(name.clone()), launch) == Some(TargetState::Started) {
                    self.units.plan_again(&name, &self.config());
                }
            }
        }
    }

    pub(super) fn asked(&mut self, request: Request, stages: &Stages) {
        let unknown = |name: &str| HerderError::NotFound(format!("Unknown connector: {name}"));
        let config = self.config();
        match request {
            Request::Health(reply) => drop(reply.send(Ok(()))),
            Request::RestartConnector(name, reply) => {
                let _stage = stages.enter(format!("restarting connector {name}"));
                let known = config.connector(&name).map(|_| ()).ok_or_else(|| unknown(&name));
                if known.is_ok() {
                    self.restart([Unit::Connector(name)]);
                }
                drop(reply.send(known));
            }
            Request::RestartTask(id, reply) => {
                let _stage = stages.enter(format!("restarting task {id}"));
                let known = match config.connector(&id.connector) {
                    None => Err(unknown(&id.connector)),
                    Some(connector) if connector.tasks().len() <= id.task as usize => {
                        Err(HerderError::NotFound(format!("Unknown task: {id}")))
                    }
                    Some(_) => Ok(()),
                };
                if known.is_ok() {
                    self.restart([Unit::Task(id)]);
                }
                drop(reply.send(known));
            }
        }
    }

    /// Takes in what has become of this worker's place in the group.
    ///
    /// # Errors
    /// It cannot go on.
    pub(super) fn role(&mut self, role: Role) -> Result<()> {
        match role {
            Role::Leading { generation } => {
                self.generation = generation;
                self.metrics.rebalance_ended(generation.into(), &self.worker_id);
            }
            // Nothing may be written until this worker leads again; what runs goes on, fenced in the data plane if need be.
            Role::Lost | Role::Joining => {
                self.metrics.rebalance_began();
                tracing::warn!("this worker has lost its place in the group; waiting to get it back");
            }
            Role::Following => {
                return Err(Error::config(
                    "another worker has taken over the group: one worker for each group.id in this version, so this one ends",
                ));
            }
            Role::Expelled(why) => return Err(Error::config(why)),
        }
        Ok(())
    }

    /// Raises the revision of units that are desired, and says so.
    fn restart(&mut self, units: impl IntoIterator<Item = Unit>) {
        let wanted = desired(&self.config(), &self.restarts);
        for unit in units.into_iter().filter(|unit| wanted.contains_key(unit)) {
            // Whoever restarts it believes that it will run now.
            self.revivals.remove(&unit);
            self.raise(unit);
        }
        self.reconcile();
    }

    fn raise(&mut self, unit: Unit) {
        self.put(&unit, State::Restarting, None);
        *self.restarts.entry(unit).or_default() += 1;
    }

    /// A unit has failed: says so, and starts it again later if its connector asks for that.
    fn failed(&mut self, unit: &Unit, launch: i64, trace: String) {
        let (Unit::Connector(name) | Unit::Task(TaskId { connector: name, .. })) = unit;
        let Some(policy) = self.config().connector(name).map(|connector| self.starter.restart_policy(connector.props())) else {
            return;
        };
        let config = desired(&self.config(), &self.restarts).get(unit).map_or(-1, |desired| desired.revision.config);
        let (of, revivals) = self.revivals.entry(unit.clone()).or_default();
        if *of != config {
            (*of, *revivals) = (config, Revivals::default());
        }
        let verdict = revivals.failed(&policy, Instant::now(), rand::random());
        let restart = verdict.health(&policy, Utc::now());
        if let Some(restart) = &restart {
            tracing::warn!("{}: {}", shown(unit), restart.message);
        }
        let health = restart.map(|restart| Health { restart: Some(restart), stalled: None });
        self.put_with(unit, State::Failed, Some(trace), health);
        if let Verdict::Restart { after, .. } = verdict {
            let (happenings, unit) = (self.happenings.clone(), unit.clone());
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                drop(happenings.send(UnitEvent::Revive { unit, launch }));
            });
        }
    }

    /// Starts a unit again, unless somebody has done something about it meanwhile.
    fn revive(&mut self, unit: Unit, launch: i64) {
        if !self.units.is_failed(&unit, launch) {
            return;
        }
        let (Unit::Connector(name) | Unit::Task(TaskId { connector: name, .. })) = &unit;
        self.metrics.restarted(name);
        self.raise(unit);
        self.reconcile();
    }

    /// Shows tasks that do not get on, and those that do again.
    fn look(&self) {
        for unit in self.units.running().into_keys() {
            let Unit::Task(id) = &unit else { continue };
            let Some(metrics) = self.metrics.find(id) else { continue };
            let Some(status) = self.statuses.get(&unit).filter(|status| status.state == State::Running) else { continue };
            let was_stalled = status.health.is_some_and(|health| health.stalled.is_some());
            match metrics.stalled() {
                Some(stalled) if !was_stalled => {
                    tracing::warn!(connector = %id.connector, task = id.task, "the task is stalled: {}", stalled.message());
                    let health = Health { restart: None, stalled: Some(revive::stalled_health(&stalled, Utc::now())) };
                    self.put_with(&unit, State::Running, None, Some(health));
                }
                None if was_stalled => {
                    tracing::info!(connector = %id.connector, task = id.task, "the task gets on again");
                    self.put(&unit, State::Running, None);
                }
                _ => {}
            }
        }
    }

    fn reconcile(&mut self) {
        let config = self.config();
        let wanted = desired(&config, &self.restarts);
        self.restarts.retain(|unit, _| wanted.contains_key(unit));
        self.revivals.retain(|unit, _| wanted.contains_key(unit));
        for action in reconcile(&wanted, &self.units.running()) {
            tracing::info!("{}", told(&action));
            let performed = self.units.perform(&action, &config);
            if let (Err(error), Action::Start(unit, _)) = (performed, &action) {
                tracing::error!("cannot start {}: {error:#}", shown(unit));
                let launch = self.units.launch_of(unit).unwrap_or_default();
                self.failed(unit, launch, trace(&error));
            }
        }
    }

    fn planned(&mut self, name: Arc<str>, launch: i64, outcome: Result<Vec<Arc<Props>>>) {
        let unit = Unit::Connector(name.clone());
        let Some(state) = self.units.state_of(&unit, launch) else { return };
        if self.units.is_first_plan(&unit) {
            self.metrics.connector_started(outcome.is_ok());
        }
        let tasks = match outcome {
            Ok(tasks) => tasks,
            Err(error) => {
                tracing::error!(connector = %name, "the connector failed and stays so until it is changed or restarted: {error:#}");
                self.units.failed(&unit, launch);
                return self.failed(&unit, launch, trace(&error));
            }
        };
        self.put(&unit, state_shown(state), None);
        let config = self.config();
        let Some(connector) = config.connector(&name) else { return };
        if state == TargetState::Started && connector.tasks_differ(&tasks) {
            self.write_tasks(name, connector.written(), launch, tasks);
        }
    }

    /// Hands the tasks to the writing lane, and sees to it that they are planned anew if that fails.
    fn write_tasks(&self, name: Arc<str>, written: i64, launch: i64, tasks: Vec<Arc<Props>>) {
        let Some(writes) = self.writes.upgrade() else { return };
        let happenings = self.happenings.clone();
        tokio::spawn(async move {
            let (reply, answer) = oneshot::channel();
            drop(writes.send(Write::Tasks { name: name.clone(), written, tasks, reply }).await);
            drop(writes);
            // No answer: the worker is shutting down.
            if let Ok(Err(error)) = answer.await {
                tracing::warn!(connector = %name, "cannot write the connector's tasks, trying again: {error}");
                tokio::time::sleep(PLAN_RETRY).await;
                drop(happenings.send(UnitEvent::NotWritten { name, launch }));
            }
        });
    }

    fn task_event(&mut self, id: TaskId, launch: i64, event: TaskEvent) {
        let unit = Unit::Task(id);
        if self.units.state_of(&unit, launch).is_none() {
            return;
        }
        match event {
            TaskEvent::Running => self.put(&unit, State::Running, None),
            TaskEvent::Paused => self.put(&unit, State::Paused, None),
            TaskEvent::Failed { trace } => {
                self.units.failed(&unit, launch);
                self.failed(&unit, launch, trace);
            }
            TaskEvent::Stopped => {}
        }
    }

    fn ended(&mut self, unit: Unit, launch: i64) {
        if !self.units.ended(&unit, launch) {
            return;
        }
        self.after_end(unit);
        self.reconcile();
    }

    fn after_end(&self, unit: Unit) {
        if !self.is_listed(&unit) {
            if let Unit::Connector(name) = &unit {
                self.statuses.forget_topics(name);
                self.metrics.forget(name);
            }
            self.statuses.remove(unit);
        } else if self.statuses.get(&unit).is_none_or(|status| status.state != State::Restarting) {
            let status = self.status(&unit, State::Unassigned, None);
            self.statuses.put_if_newer(unit, status);
        }
    }

    pub(super) async fn stop_all(&mut self) {
        let units: Vec<_> = self.units.running().into_keys().collect();
        self.units.stop_all().await;
        for unit in units {
            let status = self.status(&unit, State::Unassigned, None);
            self.statuses.put_if_newer(unit, status);
        }
    }

    /// Whether the config topic knows the unit, be it to run or not.
    fn is_listed(&self, unit: &Unit) -> bool {
        let config = self.config();
        match unit {
            Unit::Connector(name) => config.connector(name).is_some(),
            Unit::Task(id) => config.connector(&id.connector).is_some_and(|c| (id.task as usize) < c.tasks().len()),
        }
    }

    fn put(&self, unit: &Unit, state: State, trace: Option<String>) {
        self.put_with(unit, state, trace, None);
    }

    fn put_with(&self, unit: &Unit, state: State, trace: Option<String>, health: Option<Health>) {
        self.statuses.put(unit.clone(), Status { health, ..self.status(unit, state, trace) });
    }

    fn status(&self, unit: &Unit, state: State, trace: Option<String>) -> Status {
        let (Unit::Connector(name) | Unit::Task(TaskId { connector: name, .. })) = unit;
        let config = self.config();
        // As in Java, what is not up has no version.
        let version = config.connector(name).filter(|_| !matches!(state, State::Unassigned | State::Restarting));
        let version = version.and_then(|connector| self.starter.describe(connector.props()).version);
        Status { state, trace, worker_id: self.worker_id.clone(), generation: self.generation, version, health: None }
    }

    fn config(&self) -> Arc<ConfigState> {
        self.configs.borrow().clone()
    }
}

/// Takes a record in; a record that makes no sense is logged and skipped.
pub(super) fn read_config(state: &mut ConfigState, topic: &str, at: Position, key: &str, value: Option<&[u8]>) -> Option<Event> {
    match Event::parse(key, value) {
        Ok(event) => {
            state.apply(at.offset, event.clone());
            Some(event)
        }
        Err(why) => {
            tracing::error!(%topic, %at, %key, "skipped a record of the config topic: {why}");
            state.skip(at.offset);
            None
        }
    }
}

fn state_shown(state: TargetState) -> State {
    match state {
        TargetState::Started => State::Running,
        TargetState::Paused => State::Paused,
        TargetState::Stopped => State::Stopped,
    }
}

fn told(action: &Action) -> String {
    match action {
        Action::Stop(unit) => format!("stopping {}", shown(unit)),
        Action::SetState(unit, state) => format!("setting {} to {state:?}", shown(unit)),
        Action::Start(unit, desired) => format!("starting {} ({:?})", shown(unit), desired.state),
    }
}

fn shown(unit: &Unit) -> String {
    match unit {
        Unit::Connector(name) => format!("connector {name}"),
        Unit::Task(id) => format!("task {id}"),
    }
}
