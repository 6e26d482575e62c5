//! A worker of either kind.

use std::time::Duration;

use anyhow::Result;
use penstock_tests::connect::Connect;
use penstock_tests::{JavaConnect, Usage, Worker};

/// A worker that is measured.
pub(crate) enum Rival {
    Java(JavaConnect),
    Penstock(Worker),
}

impl Rival {
    pub(crate) fn connect(&self) -> &Connect {
        match self {
            Rival::Java(java) => java.connect(),
            Rival::Penstock(worker) => worker.connect(),
        }
    }

    /// `host:port`, as statuses name it.
    pub(crate) fn id(&self) -> String {
        self.connect().url().trim_start_matches("http://").to_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        match self {
            Rival::Java(java) => java.pid(),
            Rival::Penstock(worker) => worker.pid(),
        }
    }

    pub(crate) fn log_text(&self) -> String {
        match self {
            Rival::Java(java) => java.log_text(),
            Rival::Penstock(worker) => worker.log_text(),
        }
    }

    pub(crate) fn kill(&mut self) {
        match self {
            Rival::Java(java) => java.kill(),
            Rival::Penstock(worker) => worker.kill(),
        }
    }

    /// Asks it to stop and waits for its end.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        match self {
            Rival::Java(java) => java.stop().await,
            Rival::Penstock(worker) => worker.stop().await.map(|_| ()),
        }
    }

    /// Starts it again, and waits until it answers.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        match self {
            Rival::Java(java) => java.restart().await,
            Rival::Penstock(worker) => worker.restart().await,
        }
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        match self {
            Rival::Java(java) => java.usage(),
            Rival::Penstock(worker) => worker.usage(),
        }
    }

    pub(crate) fn first_answer(&self) -> Duration {
        match self {
            Rival::Java(java) => java.first_answer,
            Rival::Penstock(worker) => worker.first_answer,
        }
    }
}
