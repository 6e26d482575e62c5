//! Workers of either kind, in clusters.

use anyhow::{Context, Result};
use clap::ValueEnum;
use penstock_tests::{JavaConnect, Kafka, Worker, ground};

use crate::rival::Rival;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum System {
    Penstock,
    Java,
    JavaDefaultDelay,
}

impl System {
    pub(super) const ALL: [System; 3] = [System::Penstock, System::Java, System::JavaDefaultDelay];

    pub(super) fn name(self) -> &'static str {
        match self {
            System::Penstock => "penstock",
            System::Java => "java",
            System::JavaDefaultDelay => "java-default-delay",
        }
    }

    /// The class of the sink that keeps a journal.
    pub(super) fn sink(self) -> &'static str {
        if self == System::Penstock { "penstock.Blackhole" } else { "penstock.bench.BlackholeSink" }
    }

    /// Starts the workers of one cluster.
    pub(super) async fn start(self, kafka: &Kafka, count: usize, session_ms: u32) -> Result<Vec<Rival>> {
        let mut workers = Vec::new();
        // That of their defaults, unless it would not fit in.
        let heartbeat_ms = if session_ms < 10_000 { session_ms / 5 } else { 3_000 };
        if self == System::Penstock {
            let builder =
                Worker::builder(kafka).property("session.timeout.ms", session_ms).property("heartbeat.interval.ms", heartbeat_ms);
            for _ in 0..count {
                workers.push(Rival::Penstock(builder.clone().start().await?));
            }
            return Ok(workers);
        }
        let sink = ground::part("blackhole-java")?.join("plugins");
        let mut builder = JavaConnect::builder(kafka)
            .lean()
            .plugin_path(sink)
            .property("session.timeout.ms", session_ms)
            .property("heartbeat.interval.ms", heartbeat_ms);
        if self == System::Java {
            builder = builder.property("scheduled.rebalance.max.delay.ms", 0);
        }
        for _ in 0..count {
            workers.push(Rival::Java(builder.clone().start().await?));
        }
        Ok(workers)
    }

    /// The REST URL of the worker that leads, as their logs tell.
    pub(super) fn leader_url(self, workers: &[Rival]) -> Result<String> {
        let leads = |worker: &&Rival| {
            let log = worker.log_text();
            log.rfind("this worker leads the cluster") > log.rfind("does not lead the cluster any more")
        };
        if self == System::Penstock {
            let leader = workers.iter().find(leads).context("nobody leads")?;
            return Ok(leader.connect().url().to_owned());
        }
        // Assignment{error=0, leader='connect-...', leaderUrl='http://127.0.0.1:12345/', ...
        let log = workers[0].log_text();
        let (_, newest) = log.rsplit_once("leaderUrl='").context("the log does not say who leads")?;
        let (url, _) = newest.split_once("/'").context("the log says something else about the leader")?;
        Ok(url.to_owned())
    }
}
