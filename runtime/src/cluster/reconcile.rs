//! Desired x running -> actions. Pure: no clock, no client, no lock.
//!
//! There are no pending updates to keep in step: whatever was missed or came twice, the next round puts it right.

use std::collections::BTreeMap;

use penstock_api::TaskId;

use crate::store::config::{ConfigState, TargetState};
pub use crate::store::status::Unit;

/// What a unit was made from. Another revision, higher or not, means: stop it and start it anew. So a new configuration, a
/// restart and a task that moved here are one case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// Offset in the config topic of the connector's record, or of the commit that holds the task.
    pub config: i64,
    /// How often a restart was asked for here.
    pub restart: u64,
}

/// What a unit is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Desired {
    pub revision: Revision,
    /// `Stopped` only for connectors: their tasks are not desired at all then.
    pub state: TargetState,
}

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    pub revision: Revision,
    pub state: TargetState,
    pub phase: Phase,
}

/// How far a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Live,
    /// Counts as running at its revision, so it stays down until that changes.
    Failed,
    /// On its way out; what comes next waits until it has gone.
    Stopping,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Stop(Unit),
    SetState(Unit, TargetState),
    Start(Unit, Desired),
}

/// The steps from what runs to what is desired, stops first.
#[must_use]
pub fn reconcile(desired: &BTreeMap<Unit, Desired>, running: &BTreeMap<Unit, Running>) -> Vec<Action> {
    let mut stops = Vec::new();
    let mut others = Vec::new();
    for (unit, is) in running {
        match (desired.get(unit), is.phase) {
            (_, Phase::Stopping) => {}
            (Some(wanted), _) if wanted.revision != is.revision => stops.push(Action::Stop(unit.clone())),
            (None, _) => stops.push(Action::Stop(unit.clone())),
            (Some(wanted), Phase::Live) if wanted.state != is.state => {
                others.push(Action::SetState(unit.clone(), wanted.state));
            }
            (Some(_), _) => {}
        }
    }
    let missing = desired.iter().filter(|(unit, _)| !running.contains_key(unit));
    others.extend(missing.map(|(unit, wanted)| Action::Start(unit.clone(), *wanted)));
    stops.extend(others);
    stops
}

/// What is to run according to the config topic, with the restarts asked for on top.
#[must_use]
pub fn desired(config: &ConfigState, restarts: &BTreeMap<Unit, u64>) -> BTreeMap<Unit, Desired> {
    let mut all = BTreeMap::new();
    let mut add = |unit: Unit, config: i64, state: TargetState| {
        let restart = restarts.get(&unit).copied().unwrap_or_default();
        all.insert(unit, Desired { revision: Revision { config, restart }, state });
    };
    for connector in config.connectors() {
        add(Unit::Connector(connector.name.clone()), connector.written(), connector.target());
        let Some(committed) = connector.runnable_since().filter(|_| connector.target() != TargetState::Stopped) else {
            continue;
        };
        for task in 0..connector.tasks().len() as u32 {
            add(Unit::Task(TaskId { connector: connector.name.clone(), task }), committed, connector.target());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [TargetState; 3] = [TargetState::Started, TargetState::Paused, TargetState::Stopped];
    const PHASES: [Phase; 3] = [Phase::Live, Phase::Failed, Phase::Stopping];

    fn revisions() -> impl Iterator<Item = Revision> {
        (0..2).flat_map(|config| (0..2).map(move |restart| Revision { config, restart }))
    }

    fn every_desired() -> Vec<Option<Desired>> {
        let some = revisions().flat_map(|revision| STATES.map(|state| Some(Desired { revision, state })));
        some.chain([None]).collect()
    }

    fn every_running() -> Vec<Option<Running>> {
        let states = || revisions().flat_map(|revision| STATES.map(|state| (revision, state)));
        let some = states().flat_map(|(revision, state)| PHASES.map(|phase| Some(Running { revision, state, phase })));
        some.chain([None]).collect()
    }

    fn unit() -> Unit {
        Unit::Connector("a".into())
    }

    fn actions(desired: Option<Desired>, running: Option<Running>) -> Vec<Action> {
        let desired = desired.map(|d| (unit(), d)).into_iter().collect();
        let running = running.map(|r| (unit(), r)).into_iter().collect();
        reconcile(&desired, &running)
    }

    /// What the worker makes of an action; a stop takes a while.
    fn perform(action: &Action, running: Option<Running>) -> Option<Running> {
        match action {
            Action::Stop(_) => running.map(|r| Running { phase: Phase::Stopping, ..r }),
            Action::SetState(_, state) => running.map(|r| Running { state: *state, ..r }),
            Action::Start(_, d) => Some(Running { revision: d.revision, state: d.state, phase: Phase::Live }),
        }
    }

    #[test]
    fn every_pair_comes_to_rest_at_what_is_desired() {
        for desired in every_desired() {
            for running in every_running() {
                let mut now = running;
                for _round in 0..3 {
                    let todo = actions(desired, now);
                    assert!(todo.len() <= 1, "{desired:?} {now:?}: {todo:?}");
                    now = todo.first().map_or(now, |action| perform(action, now));
                    // What was stopping has gone by the next round.
                    now = now.filter(|r| r.phase != Phase::Stopping);
                }
                assert!(actions(desired, now).is_empty(), "{desired:?} {running:?}: never comes to rest");
                let stays_failed = now.is_some_and(|r| r.phase == Phase::Failed);
                match desired {
                    None => assert_eq!(now, None),
                    Some(d) if stays_failed => assert_eq!(now.map(|r| r.revision), Some(d.revision)),
                    Some(d) => assert_eq!(now.map(|r| (r.revision, r.state)), Some((d.revision, d.state))),
                }
            }
        }
    }

    #[test]
    fn what_is_as_desired_is_left_alone_and_what_stops_is_waited_for() {
        for desired in every_desired() {
            for running in every_running().into_iter().flatten() {
                let todo = actions(desired, Some(running));
                let same = desired == Some(Desired { revision: running.revision, state: running.state });
                if same || running.phase == Phase::Stopping {
                    assert_eq!(todo, [], "{desired:?} {running:?}");
                }
                let failed_at_it = running.phase == Phase::Failed && desired.is_some_and(|d| d.revision == running.revision);
                if failed_at_it {
                    assert_eq!(todo, [], "a failure stands until its revision changes");
                }
            }
        }
    }

    #[test]
    fn stops_come_before_starts() {
        let at = |config| Desired { revision: Revision { config, restart: 0 }, state: TargetState::Started };
        let live = Running { revision: at(1).revision, state: TargetState::Started, phase: Phase::Live };
        let (gone, new) = (Unit::Connector("z".into()), Unit::Connector("a".into()));
        let todo = reconcile(&[(new.clone(), at(2))].into(), &[(gone.clone(), live)].into());
        assert_eq!(todo, [Action::Stop(gone), Action::Start(new, at(2))]);
    }
}
