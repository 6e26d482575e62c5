//! Answers that need nothing but the snapshot and the statuses: built by whoever asks, without a word to the loop.

use super::error::{HerderError, Result};
use super::restart::RestartPlan;
use super::starter::Starter;
use super::view::{ConnectorInfo, ConnectorStatus, TaskInfo, TaskRef, TaskStatus, UnitStatus};
use crate::store::config::{ConfigState, ConnectorView};
use crate::store::status::{State, Status, StatusStore};

/// The connector, or 404 in Java's words.
pub(super) fn connector<'s>(config: &'s ConfigState, name: &str) -> Result<ConnectorView<'s>> {
    config.connector(name).ok_or_else(|| HerderError::NotFound(format!("Connector {name} not found")))
}

/// `GET /connectors/{c}`.
pub(super) fn info(connector: ConnectorView<'_>, starter: &dyn Starter) -> ConnectorInfo {
    ConnectorInfo {
        name: connector.name.to_string(),
        config: connector.props().as_ref().clone(),
        tasks: (0..connector.tasks().len() as u32).map(|task| task_ref(&connector, task)).collect(),
        kind: starter.describe(connector.props()).kind,
    }
}

/// `GET /connectors/{c}/tasks`.
pub(super) fn task_configs(connector: ConnectorView<'_>) -> Vec<TaskInfo> {
    let tasks = (0..).zip(connector.tasks());
    tasks.map(|(task, props)| TaskInfo { id: task_ref(&connector, task), config: props.as_ref().clone() }).collect()
}

/// `GET /connectors/{c}/status`.
pub(super) fn status(config: &ConfigState, statuses: &StatusStore, starter: &dyn Starter, name: &str) -> Result<ConnectorStatus> {
    let missing = || HerderError::NotFound(format!("No status found for connector {name}"));
    let kind = starter.describe(config.connector(name).ok_or_else(missing)?.props()).kind;
    let connector = unit_status(statuses.connector(name).ok_or_else(missing)?);
    let tasks = statuses.tasks(name).into_iter().map(|(id, status)| TaskStatus { id, status: unit_status(status) });
    Ok(ConnectorStatus { name: name.to_owned(), connector, tasks: tasks.collect(), kind })
}

/// The answer to a restart: all that will restart is shown so.
pub(super) fn restarting(plan: &RestartPlan, connector: ConnectorView<'_>, starter: &dyn Starter) -> ConnectorStatus {
    let shown = |(status, restarts): (&Status, bool)| {
        let status = unit_status(status.clone());
        if restarts { UnitStatus { state: State::Restarting, health: None, ..status } } else { status }
    };
    let tasks = plan.tasks.iter().map(|(id, status, restarts)| TaskStatus { id: *id, status: shown((status, *restarts)) });
    ConnectorStatus {
        name: connector.name.to_string(),
        connector: shown((&plan.connector.0, plan.connector.1)),
        tasks: tasks.collect(),
        kind: starter.describe(connector.props()).kind,
    }
}

/// As REST shows it: an empty trace is none.
pub(super) fn unit_status(status: Status) -> UnitStatus {
    UnitStatus {
        state: status.state,
        worker_id: status.worker_id,
        trace: status.trace.filter(|trace| !trace.is_empty()),
        version: status.version,
        health: status.health,
    }
}

fn task_ref(connector: &ConnectorView<'_>, task: u32) -> TaskRef {
    TaskRef { connector: connector.name.to_string(), task }
}
