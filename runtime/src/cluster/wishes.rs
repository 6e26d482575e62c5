//! Wishes of tasks that their connectors plan anew, brought to the workers where these run.
//!
//! In Java only a connector itself can ask. Here its tasks may, and run anywhere; the worker with the connector then plans, and hands what
//! has changed to the leader, as it does of its own accord.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::peers::Peers;
use super::reconcile::Unit;
use super::share::Placement;
use super::units::UnitEvent;
use crate::store::config::ConfigState;

/// How often the connector's worker is asked, and the wait before it is asked again: it may be about to change.
const ATTEMPTS: u32 = 30;
const RETRY: Duration = Duration::from_secs(1);

/// What is on its way: one message for each connector, however often its tasks ask.
pub(super) struct Wishes {
    /// Whether it was asked again since the message left: then another one follows, for the plan may have been made before.
    under_way: BTreeMap<Arc<str>, bool>,
    way: Way,
    events: mpsc::UnboundedSender<UnitEvent>,
}

#[derive(Clone)]
struct Way {
    placement: watch::Receiver<Arc<Placement>>,
    config: watch::Receiver<Arc<ConfigState>>,
    peers: Peers,
}

impl Wishes {
    pub(super) fn new(
        placement: watch::Receiver<Arc<Placement>>,
        config: watch::Receiver<Arc<ConfigState>>,
        peers: Peers,
        events: mpsc::UnboundedSender<UnitEvent>,
    ) -> Self {
        Self { under_way: BTreeMap::new(), way: Way { placement, config, peers }, events }
    }

    /// Brings a wish to the connector's worker; a [`UnitEvent::Wished`] says when that is done.
    pub(super) fn bring(&mut self, name: &Arc<str>) {
        if let Some(again) = self.under_way.get_mut(name) {
            *again = true;
            return;
        }
        self.under_way.insert(name.clone(), false);
        let (way, events, name) = (self.way.clone(), self.events.clone(), name.clone());
        tokio::spawn(async move {
            way.bring(&name).await;
            drop(events.send(UnitEvent::Wished { name }));
        });
    }

    /// The message has arrived, or was given up.
    pub(super) fn brought(&mut self, name: &Arc<str>) {
        if self.under_way.remove(name) == Some(true) {
            self.bring(name);
        }
    }
}

impl Way {
    async fn bring(&self, name: &Arc<str>) {
        let mut why = String::new();
        for _ in 0..ATTEMPTS {
            if self.config.borrow().connector(name).is_none() {
                return;
            }
            match self.ask(name).await {
                Ok(()) => return,
                Err(error) => why = error,
            }
            tracing::debug!(connector = %name, "the connector is not asked for a new plan yet: {why}");
            tokio::time::sleep(RETRY).await;
        }
        tracing::warn!(
            connector = %name,
            "a task wants its connector to plan its tasks anew, and the worker that runs the connector was not reached: restart the \
             connector ({why})"
        );
    }

    async fn ask(&self, name: &Arc<str>) -> Result<(), String> {
        let key = self.config.borrow().session_key().cloned().ok_or("no leader has written a session key yet")?;
        let unit = Unit::Connector(name.clone());
        let worker = self.placement.borrow().owner_url(&unit).map(str::to_owned).ok_or("nobody runs the connector now")?;
        self.peers.put_plan(&worker, &key, name).await
    }
}
