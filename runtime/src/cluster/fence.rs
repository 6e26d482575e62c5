//! Fencing before a new generation of source tasks (KIP-618): asked for by the worker that is to run them, done by the leader.
//!
//! Each task asks twice. Before its producer begins, so that nothing of an older generation can be committed behind what it reads as its
//! offsets; and after, because it may itself be of an older generation by then, whose producer has just fenced one of the newest: then it
//! is told so, and ends. The leader writes a record for each answer, which a leader that has been succeeded cannot.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use penstock_api::{Error, Result, TaskId};
use tokio::sync::{mpsc, oneshot, watch};

use super::leadership::Standing;
use super::peers::Peers;
use super::writer::Write;
use crate::store::config::ConfigState;
use crate::task::Fence;

/// How often the leader is asked, and the wait before it is asked again: it may be about to change.
const ATTEMPTS: usize = 10;
const RETRY: Duration = Duration::from_secs(1);

/// The way to the leader. Cheap to clone.
#[derive(Clone)]
pub(super) struct Fencer {
    pub(super) writes: mpsc::WeakSender<Write>,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) config: watch::Receiver<Arc<ConfigState>>,
    pub(super) peers: Peers,
}

impl Fencer {
    /// Asks for a task of the generation that was committed at that offset of the config topic.
    pub(super) fn for_task(&self, id: &TaskId, committed: i64) -> Fence {
        let (fencer, id) = (self.clone(), id.clone());
        Arc::new(move || -> BoxFuture<'static, Result<()>> {
            let (fencer, id) = (fencer.clone(), id.clone());
            Box::pin(async move { fencer.fence(&id, committed).await })
        })
    }

    async fn fence(&self, id: &TaskId, committed: i64) -> Result<()> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.ask(&id.connector, committed).await {
                Ok(()) => return Ok(()),
                Err(why) if attempt < ATTEMPTS => {
                    tracing::warn!(attempt, "older tasks are not fenced yet, asking the leader again: {why}");
                    tokio::time::sleep(RETRY).await;
                }
                Err(why) => {
                    return Err(Error::fatal(format!(
                        "start task {id} exactly once: the leader has not fenced older tasks: {why}. Restart the task"
                    )));
                }
            }
        }
    }

    async fn ask(&self, name: &Arc<str>, committed: i64) -> std::result::Result<(), String> {
        let Some(writes) = self.writes.upgrade() else { return Err("the worker is shutting down".into()) };
        let mut standing = self.standing.clone();
        let known = standing.wait_for(|standing| *standing != Standing::Unknown).await.map(|standing| standing.clone());
        match known.map_err(|_| "the worker is shutting down".to_owned())? {
            Standing::Following(leader) => {
                drop(writes);
                let key = self.config.borrow().session_key().cloned().ok_or("no leader has written a session key yet")?;
                self.peers.put_fence(&leader, &key, name, committed).await
            }
            Standing::Leading | Standing::Unknown => {
                let (reply, answer) = oneshot::channel();
                let write = Write::Fence { name: name.clone(), committed: Some(committed), reply };
                writes.send(write).await.map_err(|_| "the worker is shutting down".to_owned())?;
                drop(writes);
                answer.await.map_err(|_| "the worker is shutting down".to_owned())?.map_err(|error| error.to_string())
            }
        }
    }
}
