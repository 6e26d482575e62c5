//! What connectors have planned here, for whoever waits for it: a standalone worker answers a new configuration when the connector
//! has started and has its tasks, as Java's does.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_api::Props;
use tokio::sync::watch;

use crate::store::config::{ConfigState, TargetState};

/// The newest plan of each connector. Clones share them.
#[derive(Clone)]
pub(super) struct Plans {
    newest: Arc<watch::Sender<BTreeMap<Arc<str>, Plan>>>,
}

/// The tasks that a connector wants, or why it has none.
#[derive(Clone)]
struct Plan {
    /// Offset of the connector's record that it was made from.
    written: i64,
    tasks: Result<Vec<Arc<Props>>, String>,
}

impl Default for Plans {
    fn default() -> Self {
        Self { newest: Arc::new(watch::channel(BTreeMap::new()).0) }
    }
}

impl Plans {
    /// Notes a plan, and forgets those of connectors that are no more.
    pub(super) fn note(&self, config: &ConfigState, name: &Arc<str>, tasks: Result<Vec<Arc<Props>>, String>) {
        let Some(written) = config.connector(name).map(|connector| connector.written()) else { return };
        self.newest.send_modify(|newest| {
            newest.retain(|name, _| config.connector(name).is_some());
            newest.insert(name.clone(), Plan { written, tasks });
        });
    }

    /// Waits until a connector has started as it is configured now and its tasks are written, or it has gone.
    ///
    /// # Errors
    /// Why it did not start.
    pub(super) async fn settled(&self, name: &str, config: &mut watch::Receiver<Arc<ConfigState>>) -> Result<(), String> {
        let mut newest = self.newest.subscribe();
        loop {
            let now = config.borrow_and_update().clone();
            let Some(connector) = now.connector(name) else { return Ok(()) };
            let plan = newest.borrow_and_update().get(name).filter(|plan| plan.written == connector.written()).cloned();
            match plan.map(|plan| plan.tasks) {
                Some(Err(why)) => return Err(why),
                Some(Ok(tasks)) if connector.target() != TargetState::Started || !connector.tasks_differ(&tasks) => return Ok(()),
                _ => {}
            }
            let changed = tokio::select! {
                changed = newest.changed() => changed,
                changed = config.changed() => changed,
            };
            if changed.is_err() {
                // The worker is shutting down.
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::config::{Event, task_set};

    fn props(version: &str) -> Arc<Props> {
        Arc::new(Props::from([("version".to_owned(), version.to_owned())]))
    }

    fn state(events: impl IntoIterator<Item = Event>) -> ConfigState {
        let mut state = ConfigState::default();
        (0..).zip(events).for_each(|(offset, event)| state.apply(offset, event));
        state
    }

    #[tokio::test]
    async fn a_configuration_is_settled_by_its_own_plan_and_its_written_tasks() {
        let name: Arc<str> = "a".into();
        let connector = |version| Event::Connector { name: name.clone(), props: Some(props(version)) };
        let tasks = vec![props("t")];
        let mut events = vec![connector("1")];
        let (configs, mut config) = watch::channel(Arc::new(state(events.clone())));
        let plans = Plans::default();
        let soon = |plans: Plans, mut config: watch::Receiver<Arc<ConfigState>>| async move {
            tokio::time::timeout(Duration::from_millis(20), plans.settled("a", &mut config)).await
        };
        assert!(soon(plans.clone(), config.clone()).await.is_err(), "nothing is planned yet");
        plans.note(&configs.borrow(), &name, Ok(tasks.clone()));
        assert!(soon(plans.clone(), config.clone()).await.is_err(), "the tasks are not written yet");
        events.extend(task_set(&name, &tasks));
        configs.send_replace(Arc::new(state(events.clone())));
        assert_eq!(plans.settled("a", &mut config).await, Ok(()));

        events.push(connector("2"));
        configs.send_replace(Arc::new(state(events)));
        assert!(soon(plans.clone(), config.clone()).await.is_err(), "that was the plan of an older configuration");
        plans.note(&configs.borrow(), &name, Err("no such table".into()));
        assert_eq!(plans.settled("a", &mut config).await, Err("no such table".to_owned()));
        assert_eq!(plans.settled("gone", &mut config).await, Ok(()));
    }
}
