//! Our workers as users run several of them: processes of one cluster, to kill, to freeze, to stop and to add to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::connect::Connect;
use crate::wait::wait_until;
use crate::worker::{Builder, Worker};

/// How many tasks each connector has.
pub type Tasks = BTreeMap<String, usize>;

/// Workers of one cluster, by number; what was killed keeps its number.
pub struct Cluster {
    /// Clones share the group and the topics; each gets a port of its own.
    pub builder: Builder,
    pub workers: Vec<Worker>,
}

impl Cluster {
    /// So many workers, one after the other.
    pub async fn start(builder: Builder, workers: usize) -> Result<Self> {
        let mut cluster = Self { builder, workers: Vec::new() };
        for _ in 0..workers {
            cluster.add().await?;
        }
        Ok(cluster)
    }

    /// One more; answers its number.
    pub async fn add(&mut self) -> Result<usize> {
        self.workers.push(self.builder.clone().start().await?);
        Ok(self.workers.len() - 1)
    }

    /// `host:port`, as statuses name a worker.
    pub fn id(&self, worker: usize) -> String {
        self.workers[worker].connect().url().trim_start_matches("http://").to_owned()
    }

    pub fn connect(&self, worker: usize) -> &Connect {
        self.workers[worker].connect()
    }

    /// Which worker leads, of those that are up: the one whose log said so last.
    pub fn leader(&self, among: &[usize]) -> Result<usize> {
        let leads = |worker: &&usize| {
            let log = self.workers[**worker].log_text();
            log.rfind("this worker leads the cluster") > log.rfind("does not lead the cluster any more")
        };
        among.iter().find(leads).copied().context("nobody leads")
    }

    /// Waits until the connectors and all their tasks run on these workers only, in even shares.
    pub async fn wait_shared_out(&self, tasks: &Tasks, among: &[usize], limit: Duration) -> Result<()> {
        let ids: Vec<String> = among.iter().map(|worker| self.id(*worker)).collect();
        wait_until(&format!("all tasks of {:?} to run on {ids:?}", tasks.keys()), limit, async || {
            is_shared_out(self.connect(among[0]), tasks, &ids).await.map(|()| true)
        })
        .await
    }

    /// The tasks of a connector that a worker runs, by the statuses that another one knows.
    pub async fn tasks_of(&self, name: &str, worker: usize, asked: usize) -> Result<BTreeSet<u64>> {
        let status = self.connect(asked).status(name).await?.ok()?;
        let of_worker = status["tasks"].as_array().into_iter().flatten().filter(|t| t["worker_id"] == *self.id(worker));
        Ok(of_worker.filter_map(|task| task["id"].as_u64()).collect())
    }
}

/// Whether the connectors and all their tasks run on these workers only, the tasks in even shares; an error says what is not so.
pub async fn is_shared_out(asked: &Connect, tasks: &Tasks, workers: &[String]) -> Result<()> {
    let all = asked.get("/connectors?expand=status").await?.ok()?;
    let mut counts = vec![0; workers.len()];
    for (name, expected) in tasks {
        let status = &all[name]["status"];
        let place = |unit: &Value| {
            let place = workers.iter().position(|id| unit["state"] == "RUNNING" && unit["worker_id"] == **id);
            place.with_context(|| format!("not all of {name} runs where it should: {status}"))
        };
        place(&status["connector"])?;
        let running = status["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
        for task in running {
            counts[place(task)?] += 1;
        }
        ensure!(running.len() == *expected, "{name} has other tasks: {status}");
    }
    let is_even = counts.iter().max().zip(counts.iter().min()).is_some_and(|(most, least)| most - least <= 1);
    ensure!(is_even, "the shares are {counts:?}");
    Ok(())
}
