//! The herd: what is written and what happened go in, actions and statuses come out. It needs no broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use penstock_api::{Error, ErrorKind, Props, Result, TaskId};
use tokio::sync::{mpsc, oneshot, watch};

use super::error::HerderError;
use super::fence::Fencer;
use super::herder::Shared;
use super::leader::is_listed;
use super::leadership::Standing;
use super::member::{Role, Seat};
use super::peers::Peers;
use super::plans::Plans;
use super::reconcile::{Action, Desired, Running, Unit, desired, reconcile};
use super::restart::RestartPlan;
use super::revive::{self, Revivals, Verdict};
use super::share::Placement;
use super::stage::Stages;
use super::starter::Starter;
use super::units::{UnitEvent, Units};
use super::wishes::Wishes;
use super::writer::{Reply, Write};
use crate::logging::Loggers;
use crate::metrics::Metrics;
use crate::store::Position;
use crate::store::assignment::{Entry, Note};
use crate::store::config::{ConfigState, Event, TargetState};
use crate::store::status::{Health, State, Status, StatusStore};
use crate::task::Event as TaskEvent;
use crate::task::errors::trace;

/// What the loop can be asked: what is done here and written nowhere.
pub(super) enum Request {
    Health(Reply<()>),
    /// A task of the connector, on another worker, wants its tasks planned anew.
    Plan(Arc<str>, Reply<()>),
    RestartConnector(Arc<str>, Reply<()>),
    RestartTask(TaskId, Reply<()>),
}

/// The units of this worker, and what the loop knows of them.
pub(super) struct Herd {
    worker_id: String,
    /// This worker as others reach it.
    url: String,
    /// `None` while it is not in the group: then it runs nothing.
    seat: Option<Seat>,
    last_generation: i32,
    pub(super) configs: watch::Sender<Arc<ConfigState>>,
    pub(super) placements: watch::Sender<Arc<Placement>>,
    /// What this worker has to say to the others.
    pub(super) notes: watch::Sender<Option<Note>>,
    statuses: StatusStore,
    metrics: Metrics,
    pub(super) starter: Arc<dyn Starter>,
    loggers: Loggers,
    units: Units,
    happenings: mpsc::UnboundedSender<UnitEvent>,
    restarts: BTreeMap<Unit, u64>,
    /// Of what failed, by the offset of the configuration that it failed with.
    revivals: BTreeMap<Unit, (i64, Revivals)>,
    writes: mpsc::WeakSender<Write>,
    standing: watch::Receiver<Standing>,
    peers: Peers,
    plans: Option<Plans>,
    wishes: Wishes,
    leaving: bool,
    /// It leaves, and goes on until others are given what it runs.
    lingers: bool,
}

/// What the loop tells the others, beside statuses.
pub(super) struct Told {
    pub(super) configs: watch::Sender<Arc<ConfigState>>,
    pub(super) placements: watch::Sender<Arc<Placement>>,
    pub(super) notes: watch::Sender<Option<Note>>,
}

/// Before tasks that could not be written are planned anew.
const PLAN_RETRY: Duration = Duration::from_secs(2);

impl Herd {
    pub(super) fn new(
        shared: &Shared,
        loggers: Loggers,
        grace: Duration,
        told: Told,
        happenings: mpsc::UnboundedSender<UnitEvent>,
    ) -> Self {
        let fencer = Fencer {
            writes: shared.writes.downgrade(),
            standing: shared.standing.clone(),
            config: told.configs.subscribe(),
            peers: shared.peers.clone(),
        };
        let wishes = Wishes::new(told.placements.subscribe(), told.configs.subscribe(), shared.peers.clone(), happenings.clone());
        revive::look_regularly(shared.metrics.stalled_after(), happenings.clone());
        Self {
            worker_id: shared.worker_id.clone(),
            url: shared.url.clone(),
            seat: None,
            last_generation: -1,
            configs: told.configs,
            placements: told.placements,
            notes: told.notes,
            statuses: shared.statuses.clone(),
            metrics: shared.metrics.clone(),
            starter: shared.starter.clone(),
            loggers,
            units: Units::new(shared.starter.clone(), fencer, grace, happenings.clone()),
            happenings,
            restarts: BTreeMap::new(),
            revivals: BTreeMap::new(),
            writes: shared.writes.downgrade(),
            standing: shared.standing.clone(),
            peers: shared.peers.clone(),
            plans: shared.plans.clone(),
            wishes,
            leaving: false,
            lingers: false,
        }
    }

    /// The state at the start: everything begins as it was recorded, failed units too, once the leader has given it to this
    /// worker.
    pub(super) fn begin(&mut self, state: ConfigState, placement: Placement) {
        self.configs.send_replace(Arc::new(state));
        self.placements.send_replace(Arc::new(placement));
        // Left behind by an earlier start of this worker that could not say that it ended.
        for unit in self.statuses.units() {
            if self.statuses.get(&unit).is_some_and(|status| status.worker_id == self.worker_id) {
                self.after_end(unit);
            }
        }
        self.reconcile();
    }

    pub(super) fn assignment_record(&mut self, topic: &str, at: Position, key: &str, value: Option<&[u8]>) {
        let mut placement = self.placements.borrow().as_ref().clone();
        let entry = read_assignment(&mut placement, topic, at, key, value);
        self.placements.send_replace(Arc::new(placement));
        match entry {
            Some(Entry::Note(worker, None)) if *worker == *self.worker_id => {
                // The leader did not know that this worker is back.
                self.notes.send_modify(|_| ());
            }
            Some(Entry::Leader(leader)) => tracing::info!(leader = leader.url, "a worker has taken the lead"),
            _ => {}
        }
        self.reconcile();
    }

    pub(super) fn config_record(&mut self, topic: &str, at: Position, key: &str, value: Option<&[u8]>) {
        let mut state = self.config().as_ref().clone();
        let event = read_config(&mut state, topic, at, key, value);
        // Before whoever waits for this record goes on.
        if let Some(Event::LoggerLevel { namespace, level }) = &event
            && let Err(why) = self.loggers.set(namespace, level)
        {
            tracing::warn!(logger = %namespace, %level, ?why, "cannot set the level that the config topic asks for");
        }
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
            UnitEvent::Watched { name, launch, outcome } => self.watched(name, launch, outcome),
            UnitEvent::Task(event) => self.task_event(event.id, event.revision, event.event),
            UnitEvent::Ended { unit, launch } => self.ended(unit, launch),
            UnitEvent::Revive { unit, launch } => self.revive(unit, launch),
            UnitEvent::Look => self.look(),
            UnitEvent::Wished { name } => self.wishes.brought(&name),
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
            Request::Plan(name, reply) => {
                let known = config.connector(&name).map(|_| ()).ok_or_else(|| unknown(&name));
                drop(reply.send(known.and_then(|()| self.plan_own(&name))));
            }
            Request::RestartConnector(name, reply) => {
                let _stage = stages.enter(format!("restarting connector {name}"));
                let known = config.connector(&name).map(|_| ()).ok_or_else(|| unknown(&name));
                drop(reply.send(known.and_then(|()| self.restart_own(Unit::Connector(name)))));
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
                drop(reply.send(known.and_then(|()| self.restart_own(Unit::Task(id)))));
            }
        }
    }

    /// Takes in what has become of this worker's place in the group.
    ///
    /// # Errors
    /// It cannot go on.
    pub(super) fn role(&mut self, role: Role) -> Result<()> {
        if let Role::Expelled(why) = role {
            return Err(Error::config(why));
        }
        self.seat = role.seat().cloned();
        self.last_generation = self.generation();
        match &self.seat {
            Some(seat) => self.metrics.rebalance_ended(seat.generation.into(), &self.leader_shown()),
            None => {
                self.metrics.rebalance_began();
                tracing::warn!("this worker is not in the group: it stops what it runs, for others will take it over");
            }
        }
        self.reconcile();
        Ok(())
    }

    /// Has the leader give everything to others. If they are there, and will be given it, it runs on here until they are: a leader
    /// that has just gone has no successor yet. Otherwise it stops now.
    pub(super) fn leave(&mut self, others_take_over: bool) {
        self.leaving = true;
        self.lingers = others_take_over && self.has_others();
        self.reconcile();
    }

    /// What runs on here stops now, if others are not there any more, or in any case.
    pub(super) fn end_lingering(&mut self, in_any_case: bool) {
        if self.lingers && (in_any_case || !self.has_others()) {
            self.lingers = false;
            self.reconcile();
        }
    }

    /// Whether all that ran here has ended.
    pub(super) fn is_idle(&self) -> bool {
        self.units.running().is_empty()
    }

    /// Whether the leader has given this worker's share to others, and they know that it is free.
    pub(super) fn is_relieved(&self) -> bool {
        // Whoever is not in the group can only stop.
        if self.seat.is_none() {
            return self.is_idle();
        }
        let placement = self.placement();
        let is_heard = placement.notes.get(self.worker_id.as_str()) == self.notes.borrow().as_ref();
        self.is_idle() && is_heard && !placement.assignment.shares.contains_key(self.worker_id.as_str())
    }

    /// Whether others are there to take over.
    pub(super) fn has_others(&self) -> bool {
        self.placement().has_others(&self.worker_id)
    }

    fn restart_own(&mut self, unit: Unit) -> std::result::Result<(), HerderError> {
        let placement = self.placement();
        match placement.assignment.owner(&unit) {
            Some(owner) if **owner == *self.worker_id => {
                self.restart([unit]);
                Ok(())
            }
            _ => Err(HerderError::Elsewhere(placement.owner_url(&unit).map(Into::into))),
        }
    }

    /// Raises the revision of units that are desired, and says so.
    fn restart(&mut self, units: impl IntoIterator<Item = Unit>) {
        let wanted = self.wanted();
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
        let wanted = self.wanted();
        self.restarts.retain(|unit, _| wanted.contains_key(unit));
        self.revivals.retain(|unit, _| wanted.contains_key(unit));
        let running = self.units.running();
        for action in reconcile(&wanted, &running) {
            tracing::info!("{}", told(&action));
            let is_succeeded = matches!(&action, Action::Stop(unit) if self.is_succeeded(unit, running[unit]));
            let performed = self.units.perform(&action, &config, is_succeeded);
            if let (Err(error), Action::Start(unit, _)) = (performed, &action) {
                tracing::error!("cannot start {}: {error:#}", shown(unit));
                let launch = self.units.launch_of(unit).unwrap_or_default();
                self.failed(unit, launch, trace(&error));
            }
        }
        self.say();
    }

    /// Whether a unit that stops is to run again as it is, here or elsewhere.
    fn is_succeeded(&self, unit: &Unit, running: Running) -> bool {
        let is_listed =
            desired(&self.config(), &self.restarts).get(unit).is_some_and(|d| d.revision.config == running.revision.config);
        is_listed && (!self.leaving || self.has_others())
    }

    /// What is to run here now.
    fn wanted(&self) -> BTreeMap<Unit, Desired> {
        let Some(seat) = self.seat.as_ref().filter(|_| !self.leaving || self.lingers) else { return BTreeMap::new() };
        let placement = self.placement();
        let mut wanted = desired(&self.config(), &self.restarts);
        wanted.retain(|unit, _| placement.may_run(&self.worker_id, &seat.member, unit));
        wanted
    }

    /// Tells the others what this worker has acted on and what it is still letting go of, if that is news.
    fn say(&self) {
        let Some(seat) = &self.seat else { return };
        let (placement, running) = (self.placement(), self.units.running());
        let note = placement.note(&self.worker_id, &seat.member, &self.url, self.leaving, running.keys());
        self.notes.send_if_modified(|said| {
            let is_news = said.as_ref().is_none_or(|said| placement.is_news(&self.worker_id, said, &note));
            if is_news {
                *said = Some(note);
            }
            is_news
        });
    }

    fn planned(&mut self, name: Arc<str>, launch: i64, outcome: Result<Vec<Arc<Props>>>) {
        let unit = Unit::Connector(name.clone());
        let Some(state) = self.units.state_of(&unit, launch) else { return };
        if self.units.is_first_plan(&unit) {
            self.metrics.connector_started(outcome.is_ok());
        }
        if let Some(plans) = &self.plans {
            plans.note(&self.config(), &name, outcome.as_ref().map(Clone::clone).map_err(|error| format!("{error:#}")));
        }
        let tasks = match outcome {
            Ok(tasks) => tasks,
            // As in Java: whatever it has asked may be away for a while, and the tasks that it has go on.
            Err(error) if error.kind() == ErrorKind::Retriable => {
                tracing::warn!(connector = %name, "the connector cannot plan its tasks now, trying again: {error:#}");
                self.put(&unit, state_shown(state), None);
                return self.plan_later(name, launch);
            }
            Err(error) => {
                tracing::error!(connector = %name, "the connector failed and stays so until it is changed or restarted: {error:#}");
                self.units.failed(&unit, launch);
                return self.failed(&unit, launch, trace(&error));
            }
        };
        self.put(&unit, state_shown(state), None);
        let config = self.config();
        self.units.watch(&name, launch, &config);
        let Some(connector) = config.connector(&name) else { return };
        let tasks = connector.with_task_class(tasks);
        if state == TargetState::Started && connector.tasks_differ(&tasks) {
            self.write_tasks(name, connector.written(), launch, tasks);
        }
    }

    fn watched(&mut self, name: Arc<str>, launch: i64, outcome: Result<()>) {
        let unit = Unit::Connector(name);
        if self.units.state_of(&unit, launch) != Some(TargetState::Started) {
            return;
        }
        let Unit::Connector(name) = &unit else { unreachable!("made above") };
        match outcome {
            Ok(()) => self.units.plan_again(name, &self.config()),
            Err(error) => {
                tracing::error!(connector = %name, "the connector failed and stays so until it is changed or restarted: {error:#}");
                self.units.failed(&unit, launch);
                self.failed(&unit, launch, trace(&error));
            }
        }
    }

    /// Hands the tasks to the leader, and sees to it that they are planned anew if that fails.
    fn write_tasks(&self, name: Arc<str>, written: i64, launch: i64, tasks: Vec<Arc<Props>>) {
        let Some(writes) = self.writes.upgrade() else { return };
        let (standing, config, peers) = (self.standing.clone(), self.configs.subscribe(), self.peers.clone());
        let happenings = self.happenings.clone();
        tokio::spawn(async move {
            let given = hand_in(writes, standing, config, peers, &name, written, tasks).await;
            if let Err(error) = given {
                tracing::warn!(connector = %name, "cannot write the connector's tasks, trying again: {error}");
                tokio::time::sleep(PLAN_RETRY).await;
                drop(happenings.send(UnitEvent::NotWritten { name, launch }));
            }
        });
    }

    fn plan_later(&self, name: Arc<str>, launch: i64) {
        let happenings = self.happenings.clone();
        tokio::spawn(async move {
            tokio::time::sleep(PLAN_RETRY).await;
            drop(happenings.send(UnitEvent::NotWritten { name, launch }));
        });
    }

    fn task_event(&mut self, id: TaskId, launch: i64, event: TaskEvent) {
        let unit = Unit::Task(id.clone());
        if self.units.state_of(&unit, launch).is_none() {
            return;
        }
        match event {
            TaskEvent::TopicUsed { topic } => self.statuses.topic_used(&id, &topic, Utc::now().timestamp_millis()),
            TaskEvent::Reconfigure => self.plan_again(&id.connector),
            TaskEvent::Running => self.put(&unit, State::Running, None),
            TaskEvent::Paused => self.put(&unit, State::Paused, None),
            TaskEvent::Failed { trace } => {
                self.units.failed(&unit, launch);
                self.failed(&unit, launch, trace);
            }
            TaskEvent::Stopped => {}
        }
    }

    /// A task wants its connector to plan anew; the connector may be elsewhere.
    fn plan_again(&mut self, name: &Arc<str>) {
        if self.plan_own(name).is_err() {
            self.wishes.bring(name);
        }
    }

    /// One that has failed plans when it is restarted.
    fn plan_own(&self, name: &Arc<str>) -> std::result::Result<(), HerderError> {
        let unit = Unit::Connector(name.clone());
        if self.units.launch_of(&unit).is_none() {
            return Err(HerderError::Elsewhere(self.placement().owner_url(&unit).map(Into::into)));
        }
        if self.units.is_live(name) {
            self.units.plan_again(name, &self.config());
        }
        Ok(())
    }

    fn ended(&mut self, unit: Unit, launch: i64) {
        if !self.units.ended(&unit, launch) {
            return;
        }
        self.after_end(unit);
        self.reconcile();
    }

    fn after_end(&self, unit: Unit) {
        if !is_listed(&self.config(), &unit) {
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
        self.units.stop_all(self.has_others()).await;
        for unit in units {
            let status = self.status(&unit, State::Unassigned, None);
            self.statuses.put_if_newer(unit, status);
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
        Status { state, trace, worker_id: self.worker_id.clone(), generation: self.generation(), version, health: None }
    }

    /// Of the group, as far as it is known: statuses carry it.
    fn generation(&self) -> i32 {
        self.seat.as_ref().map_or(self.last_generation, |seat| seat.generation)
    }

    /// For metrics: the leader's `host:port`, as far as it is known.
    fn leader_shown(&self) -> String {
        if self.seat.as_ref().is_some_and(|seat| seat.leads) {
            return self.worker_id.clone();
        }
        let leader = self.placement().leader.as_ref().map(|leader| leader.url.clone()).unwrap_or_default();
        leader.split_once("://").map_or(leader.clone(), |(_, id)| id.to_owned())
    }

    fn config(&self) -> Arc<ConfigState> {
        self.configs.borrow().clone()
    }

    fn placement(&self) -> Arc<Placement> {
        self.placements.borrow().clone()
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

/// The same for a record of the assignment topic.
pub(super) fn read_assignment(
    placement: &mut Placement,
    topic: &str,
    at: Position,
    key: &str,
    value: Option<&[u8]>,
) -> Option<Entry> {
    placement.next_offset = at.offset + 1;
    match Entry::parse(key, value) {
        Ok(entry) => {
            placement.apply(entry.clone());
            Some(entry)
        }
        Err(why) => {
            tracing::error!(%topic, %at, %key, "skipped a record of the assignment topic: {why}");
            None
        }
    }
}

/// Gives planned tasks to the leader, here or elsewhere. No answer: the worker is shutting down.
async fn hand_in(
    writes: mpsc::Sender<Write>,
    mut standing: watch::Receiver<Standing>,
    config: watch::Receiver<Arc<ConfigState>>,
    peers: Peers,
    name: &Arc<str>,
    written: i64,
    tasks: Vec<Arc<Props>>,
) -> std::result::Result<(), String> {
    let Ok(known) = standing.wait_for(|standing| *standing != Standing::Unknown).await.map(|standing| standing.clone()) else {
        return Ok(());
    };
    match known {
        Standing::Following(leader) => {
            let key = config.borrow().session_key().cloned().ok_or("no leader has written a session key yet")?;
            peers.put_tasks(&leader, &key, name, written, &tasks).await
        }
        Standing::Leading | Standing::Unknown => {
            let (reply, answer) = oneshot::channel();
            drop(writes.send(Write::Tasks { name: name.clone(), written: Some(written), tasks, reply }).await);
            drop(writes);
            answer.await.unwrap_or(Ok(())).map_err(|error| error.to_string())
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
