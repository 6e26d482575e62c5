//! Performs actions, and knows what runs here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use penstock_api::{Error, Props, Result, TaskId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::fence::Fencer;
use super::reconcile::{Action, Desired, Phase, Running, Unit};
use super::starter::{Launch, StartedTask, Starter};
use crate::store::config::{ConfigState, TargetState};
use crate::task::TaskEvent;

/// What happened to a unit; `launch` says to which start of it.
pub(super) enum UnitEvent {
    /// A connector has planned its tasks, or could not.
    Planned {
        name: Arc<str>,
        launch: i64,
        outcome: Result<Vec<Arc<Props>>>,
    },
    /// A connector wants its tasks planned anew, or has failed.
    Watched {
        name: Arc<str>,
        launch: i64,
        outcome: Result<()>,
    },
    Task(TaskEvent),
    /// The wait before its restart is over.
    Revive {
        unit: Unit,
        launch: i64,
    },
    /// It is time to see whether tasks get on.
    Look,
    /// A unit that was to stop has gone.
    Ended {
        unit: Unit,
        launch: i64,
    },
    /// A task's wish for a new plan has been brought to its connector, or given up.
    Wished {
        name: Arc<str>,
    },
    /// What a connector planned could not be written.
    NotWritten {
        name: Arc<str>,
        launch: i64,
    },
}

/// What runs here.
pub(super) struct Units {
    starter: Arc<dyn Starter>,
    fencer: Fencer,
    events: mpsc::UnboundedSender<UnitEvent>,
    task_events: mpsc::UnboundedSender<TaskEvent>,
    live: BTreeMap<Unit, Live>,
    /// What is on its way out.
    stops: JoinSet<()>,
    /// `task.shutdown.graceful.timeout.ms`.
    grace: Duration,
    launches: i64,
}

struct Live {
    launch: i64,
    running: Running,
    /// A connector that has planned its tasks once has started.
    has_planned: bool,
    task: Option<Box<dyn StartedTask>>,
    /// What a started connector watches: at most one future, which ends with this.
    watch: JoinSet<()>,
}

impl Units {
    /// Nothing runs yet. What happens comes through `events`: at most a few for each unit, so they need no bound.
    pub(super) fn new(
        starter: Arc<dyn Starter>,
        fencer: Fencer,
        grace: Duration,
        events: mpsc::UnboundedSender<UnitEvent>,
    ) -> Self {
        let (task_events, mut from_tasks) = mpsc::unbounded_channel();
        let forward = events.clone();
        tokio::spawn(async move {
            while let Some(event) = from_tasks.recv().await {
                if forward.send(UnitEvent::Task(event)).is_err() {
                    break;
                }
            }
        });
        Self { starter, fencer, events, task_events, live: BTreeMap::new(), stops: JoinSet::new(), grace, launches: 0 }
    }

    /// What is, for `reconcile`.
    pub(super) fn running(&self) -> BTreeMap<Unit, Running> {
        self.live.iter().map(|(unit, live)| (unit.clone(), live.running)).collect()
    }

    /// The state of the unit, if that is the start that is meant and it is not on its way out.
    pub(super) fn state_of(&self, unit: &Unit, launch: i64) -> Option<TargetState> {
        let live = self.live.get(unit).filter(|live| live.launch == launch && live.running.phase != Phase::Stopping);
        live.map(|live| live.running.state)
    }

    /// Whether the unit has failed since that start of it, and nothing was done about it.
    pub(super) fn is_failed(&self, unit: &Unit, launch: i64) -> bool {
        self.live.get(unit).is_some_and(|live| live.launch == launch && live.running.phase == Phase::Failed)
    }

    /// Which start of the unit is the newest.
    pub(super) fn launch_of(&self, unit: &Unit) -> Option<i64> {
        self.live.get(unit).map(|live| live.launch)
    }

    /// Whether the connector is here and has not failed.
    pub(super) fn is_live(&self, name: &Arc<str>) -> bool {
        self.live.get(&Unit::Connector(name.clone())).is_some_and(|live| live.running.phase == Phase::Live)
    }

    /// Whether a connector has planned its tasks for the first time since it was started.
    pub(super) fn is_first_plan(&mut self, unit: &Unit) -> bool {
        self.live.get_mut(unit).is_some_and(|live| !std::mem::replace(&mut live.has_planned, true))
    }

    /// Notes that a unit has failed; `false` when that is old news.
    pub(super) fn failed(&mut self, unit: &Unit, launch: i64) -> bool {
        let live = self.live.get_mut(unit).filter(|live| live.launch == launch && live.running.phase != Phase::Stopping);
        live.map(|live| live.running.phase = Phase::Failed).is_some()
    }

    /// Notes that a unit has gone; `false` when another start of it is meant.
    pub(super) fn ended(&mut self, unit: &Unit, launch: i64) -> bool {
        let gone = self.live.get(unit).is_some_and(|live| live.launch == launch);
        if gone {
            self.live.remove(unit);
        }
        gone
    }

    /// Does it. A task that cannot even start is answered with the reason, and counts as failed. `is_succeeded`: what stops, is to
    /// run again, here or elsewhere.
    pub(super) fn perform(&mut self, action: &Action, config: &ConfigState, is_succeeded: bool) -> Result<()> {
        match action {
            Action::Stop(unit) => self.stop(unit, is_succeeded),
            Action::SetState(unit, state) => self.set_state(unit, *state, config),
            Action::Start(unit, desired) => return self.start(unit, *desired, config),
        }
        Ok(())
    }

    /// Asks a connector for its tasks again.
    pub(super) fn plan_again(&self, name: &Arc<str>, config: &ConfigState) {
        if let Some(live) = self.live.get(&Unit::Connector(name.clone())) {
            self.plan(name, live.launch, config);
        }
    }

    /// Lets a connector watch what its plan depends on, if it is started; what it watched before ends.
    pub(super) fn watch(&mut self, name: &Arc<str>, launch: i64, config: &ConfigState) {
        let Some(props) = config.connector(name).map(|connector| connector.props().clone()) else { return };
        let (starter, events) = (self.starter.clone(), self.events.clone());
        let Some(live) = self.live.get_mut(&Unit::Connector(name.clone())).filter(|live| live.launch == launch) else { return };
        let name = name.clone();
        let watching = async move {
            let outcome = starter.watch(&props).await;
            drop(events.send(UnitEvent::Watched { name, launch, outcome }));
        };
        let is_started = live.running.state == TargetState::Started && live.running.phase == Phase::Live;
        live.watch = JoinSet::new();
        if is_started {
            live.watch.spawn(watching);
        }
    }

    /// Stops everything at once, each within the grace, and waits for what was on its way out already.
    pub(super) async fn stop_all(&mut self, is_succeeded: bool) {
        for (unit, live) in std::mem::take(&mut self.live) {
            if let Some(task) = live.task {
                self.stops.spawn(stop_one(unit, task, self.grace, is_succeeded));
            }
        }
        while self.stops.join_next().await.is_some() {}
    }

    fn start(&mut self, unit: &Unit, desired: Desired, config: &ConfigState) -> Result<()> {
        self.launches += 1;
        let launch = self.launches;
        let running = Running { revision: desired.revision, state: desired.state, phase: Phase::Live };
        self.live.insert(unit.clone(), Live { launch, running, has_planned: false, task: None, watch: JoinSet::new() });
        match unit {
            Unit::Connector(name) => {
                self.plan(name, launch, config);
                Ok(())
            }
            Unit::Task(id) => {
                let started = self.start_task(id, launch, desired, config);
                let live = self.live.get_mut(unit).expect("it was inserted above");
                if started.is_err() {
                    live.running.phase = Phase::Failed;
                }
                started.map(|task| live.task = Some(task))
            }
        }
    }

    fn start_task(&self, id: &TaskId, launch: i64, desired: Desired, config: &ConfigState) -> Result<Box<dyn StartedTask>> {
        let gone = || Error::fatal(format!("task {id} is not in the config topic any more"));
        let connector = config.connector(&id.connector).ok_or_else(gone)?;
        let task = connector.tasks().get(id.task as usize).ok_or_else(gone)?;
        let paused = desired.state != TargetState::Started;
        let what = Launch {
            id: id.clone(),
            launch,
            connector: connector.props().clone(),
            task: task.clone(),
            paused,
            fence: self.fencer.for_task(id, connector.runnable_since().ok_or_else(gone)?),
        };
        self.starter.start(what, self.task_events.clone())
    }

    fn plan(&self, name: &Arc<str>, launch: i64, config: &ConfigState) {
        let Some(props) = config.connector(name).map(|connector| connector.props().clone()) else {
            return;
        };
        let (starter, events, name) = (self.starter.clone(), self.events.clone(), name.clone());
        tokio::spawn(async move {
            let outcome = starter.plan(&props).await.map(|tasks| tasks.into_iter().map(Arc::new).collect());
            drop(events.send(UnitEvent::Planned { name, launch, outcome }));
        });
    }

    fn set_state(&mut self, unit: &Unit, state: TargetState, config: &ConfigState) {
        let Some(live) = self.live.get_mut(unit) else { return };
        live.running.state = state;
        live.watch = JoinSet::new();
        match (unit, &live.task) {
            (Unit::Connector(name), _) => self.plan_again(name, config),
            (Unit::Task(_), Some(task)) if state == TargetState::Started => task.resume(),
            (Unit::Task(_), Some(task)) => task.pause(),
            (Unit::Task(_), None) => {}
        }
    }

    fn stop(&mut self, unit: &Unit, is_succeeded: bool) {
        let Some(live) = self.live.get_mut(unit) else { return };
        live.running.phase = Phase::Stopping;
        live.watch = JoinSet::new();
        let (task, launch, unit) = (live.task.take(), live.launch, unit.clone());
        let (events, grace) = (self.events.clone(), self.grace);
        while self.stops.try_join_next().is_some() {}
        self.stops.spawn(async move {
            if let Some(task) = task {
                stop_one(unit.clone(), task, grace, is_succeeded).await;
            }
            drop(events.send(UnitEvent::Ended { unit, launch }));
        });
    }
}

async fn stop_one(unit: Unit, task: Box<dyn StartedTask>, grace: Duration, is_succeeded: bool) {
    if !task.stop(grace, is_succeeded).await {
        tracing::warn!(
            "{unit:?} did not end within {} ms (task.shutdown.graceful.timeout.ms) and was dropped; what it had not committed will \
             be delivered again",
            grace.as_millis()
        );
    }
}
