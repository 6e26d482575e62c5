//! The page of metrics: what the worker counted, and what the statuses say of the units that are here.

use std::collections::BTreeMap;

use penstock_api::TaskId;

use super::herder::Shared;
use super::reconcile::Unit;
use crate::metrics::{Metric, Page};
use crate::store::status::{RestartState, State, Status};

/// The page that Prometheus reads.
pub(super) fn page(shared: &Shared) -> String {
    let mut page = Page::default();
    shared.metrics.write(&mut page);
    write_units(shared, &mut page);
    page.finish()
}

/// States in the order of [`COUNTS`].
const STATES: [State; 6] = [State::Running, State::Paused, State::Failed, State::Unassigned, State::Destroyed, State::Restarting];
const COUNTS: [Metric; 6] = [
    Metric::ConnectorRunningTasks,
    Metric::ConnectorPausedTasks,
    Metric::ConnectorFailedTasks,
    Metric::ConnectorUnassignedTasks,
    Metric::ConnectorDestroyedTasks,
    Metric::ConnectorRestartingTasks,
];

fn write_units(shared: &Shared, page: &mut Page) {
    let mut tasks: BTreeMap<String, Vec<State>> = BTreeMap::new();
    let mut crash_loops: BTreeMap<String, u64> = BTreeMap::new();
    let mut connectors = 0;
    for unit in shared.statuses.units() {
        let Some(status) = shared.statuses.get(&unit).filter(|status| status.worker_id == shared.worker_id) else { continue };
        let (Unit::Connector(name) | Unit::Task(TaskId { connector: name, .. })) = &unit;
        *crash_loops.entry(name.to_string()).or_default() += u64::from(is_crash_loop(&status));
        match unit {
            Unit::Connector(name) => {
                connectors += 1;
                write_connector(shared, page, &name, status.state, status.version.as_deref());
            }
            Unit::Task(id) => tasks.entry(id.connector.to_string()).or_default().push(status.state),
        }
    }
    for (connector, count) in crash_loops {
        page.count(Metric::CrashLoops, &[&connector], count);
        page.count(Metric::Restarts, &[&connector], shared.metrics.restarts(&connector));
    }
    page.count(Metric::ConnectorCount, &[], connectors);
    page.count(Metric::TaskCount, &[], tasks.values().map(Vec::len).sum::<usize>() as u64);
    for (connector, states) in tasks {
        page.count(Metric::ConnectorTotalTasks, &[&connector], states.len() as u64);
        for (state, metric) in STATES.iter().zip(COUNTS) {
            let count = states.iter().filter(|is| *is == state).count();
            page.count(metric, &[&connector], count as u64);
        }
    }
}

fn is_crash_loop(status: &Status) -> bool {
    let restart = status.health.as_ref().and_then(|health| health.restart.as_ref());
    restart.is_some_and(|restart| restart.state == RestartState::CrashLoop)
}

fn write_connector(shared: &Shared, page: &mut Page, name: &str, state: State, version: Option<&str>) {
    page.text(Metric::ConnectorStatus, &[name], &format!("{state:?}").to_lowercase());
    let config = shared.config.borrow().clone();
    let Some(connector) = config.connector(name) else { return };
    let description = shared.starter.describe(connector.props());
    page.text(Metric::ConnectorType, &[name], description.kind.name());
    let written = connector.props().get("connector.class").map_or("", |class| class.trim());
    page.text(Metric::ConnectorClass, &[name], description.class.as_deref().unwrap_or(written));
    page.text(Metric::ConnectorVersion, &[name], version.or(description.version.as_deref()).unwrap_or_default());
}
