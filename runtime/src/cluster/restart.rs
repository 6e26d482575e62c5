//! What a restart request restarts (KIP-745).

use penstock_api::TaskId;

use super::reconcile::Unit;
use crate::store::status::{State, Status, StatusStore};

/// A restart request with the statuses it was made on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartPlan {
    /// The connector's status as it was, and whether it restarts.
    pub connector: (Status, bool),
    /// The same for each task, by number.
    pub tasks: Vec<(u32, Status, bool)>,
}

impl RestartPlan {
    /// The plan; `None` when nothing is known of the connector yet.
    #[must_use]
    pub fn new(statuses: &StatusStore, name: &str, include_tasks: bool, only_failed: bool) -> Option<Self> {
        let fits = |status: &Status| !only_failed || status.state == State::Failed;
        let connector = statuses.connector(name)?;
        let tasks = statuses.tasks(name).into_iter().map(|(task, status)| {
            let restarts = include_tasks && fits(&status);
            (task, status, restarts)
        });
        Some(Self { tasks: tasks.collect(), connector: (connector.clone(), fits(&connector)) })
    }

    /// What restarts.
    #[must_use]
    pub fn units(&self, name: &str) -> Vec<Unit> {
        let connector = self.connector.1.then(|| Unit::Connector(name.into()));
        let tasks = self.tasks.iter().filter(|(_, _, restarts)| *restarts);
        connector
            .into_iter()
            .chain(tasks.map(|(task, _, _)| Unit::Task(TaskId { connector: name.into(), task: *task })))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The truth table of KIP-745: which of connector, failed task 0 and running task 1 restart.
    #[test]
    fn truth_table() {
        let check = |connector: State, include_tasks: bool, only_failed: bool, expected: [bool; 3]| {
            let statuses = StatusStore::default();
            let status = |state| Status { state, trace: None, worker_id: "w".into(), generation: 1, version: None, health: None };
            let task = |task| Unit::Task(TaskId { connector: "c".into(), task });
            statuses.put(Unit::Connector("c".into()), status(connector));
            statuses.put(task(0), status(State::Failed));
            statuses.put(task(1), status(State::Running));
            let plan = RestartPlan::new(&statuses, "c", include_tasks, only_failed).unwrap();
            assert_eq!(
                [plan.connector.1, plan.tasks[0].2, plan.tasks[1].2],
                expected,
                "{connector:?} {include_tasks} {only_failed}"
            );
            assert_eq!(plan.units("c").len(), expected.iter().filter(|e| **e).count());
        };
        check(State::Running, false, false, [true, false, false]);
        check(State::Running, false, true, [false, false, false]);
        check(State::Running, true, false, [true, true, true]);
        check(State::Running, true, true, [false, true, false]);
        check(State::Failed, false, false, [true, false, false]);
        check(State::Failed, false, true, [true, false, false]);
        check(State::Failed, true, false, [true, true, true]);
        check(State::Failed, true, true, [true, true, false]);
    }

    #[test]
    fn without_a_status_there_is_no_plan() {
        assert_eq!(RestartPlan::new(&StatusStore::default(), "c", true, false), None);
    }
}
