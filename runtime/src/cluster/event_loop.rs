//! The loop around the herd: started when the topics are read, ended in the reverse order.

use std::sync::Arc;
use std::time::Duration;

use penstock_api::Result;
use tokio::sync::{mpsc, watch};

use super::herd::{Herd, Request, read_config};
use super::herder::{Setup, Shared};
use super::member::{Member, Role};
use super::stage::Stages;
use super::units::UnitEvent;
use super::writer::{ConfigTopic, Write, Writer};
use crate::store::config::ConfigState;
use crate::store::status::StatusStore;
use crate::store::{Clients, Log, Position, Read, Reader};

/// The loop with all that it owns.
pub(super) struct EventLoop {
    setup: Setup,
    herd: Herd,
    /// Kept as long as nobody serves them: what is asked before the start waits.
    asked: mpsc::Receiver<Request>,
    written: mpsc::Receiver<Write>,
    happened: mpsc::UnboundedReceiver<UnitEvent>,
    readies: watch::Sender<bool>,
    statuses: StatusStore,
    stages: Stages,
}

/// How long statuses may take to be written at the end.
const LAST_STATUSES: Duration = Duration::from_secs(5);

impl EventLoop {
    pub(super) fn new(
        setup: Setup,
        shared: &Shared,
        configs: watch::Sender<Arc<ConfigState>>,
        readies: watch::Sender<bool>,
        asked: mpsc::Receiver<Request>,
        written: mpsc::Receiver<Write>,
    ) -> Self {
        let (happenings, happened) = mpsc::unbounded_channel();
        let herd = Herd::new(shared, setup.shutdown_timeout, configs, happenings);
        let (statuses, stages) = (shared.statuses.clone(), shared.stages.clone());
        Self { setup, herd, asked, written, happened, readies, statuses, stages }
    }

    /// Runs until told to stop, or until the worker cannot go on.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) -> Result<()> {
        let mut stopping = stop.clone();
        let started = tokio::select! {
            started = self.start() => started?,
            // Nothing runs yet: there is nothing to take down.
            () = told_to_stop(&mut stopping) => return Ok(()),
        };
        started.run(&mut stop).await
    }

    /// Topics, group, state: in this order, waiting for the broker wherever it takes.
    async fn start(mut self) -> Result<Started> {
        let _stage = self.stages.enter("initializing and reading to the end of internal topics");
        let clients = &self.setup.clients;
        clients.ensure_topics(&self.setup.topics).await?;
        let member = self.setup.membership.clone().lead().await?;
        let role = member.role();
        if let Role::Leading { generation } = *role.borrow() {
            self.herd.generation = generation;
        }
        let [config_topic, status_topic, _] = self.setup.topics.each_ref().map(|spec| spec.topic.name.clone());
        let (config_topic_read, status_topic_read) =
            tokio::join!(read_configs(clients, &config_topic), read_statuses(clients, &status_topic, &self.statuses));
        let (config_reader, state) = config_topic_read?;
        let mut status_reader = status_topic_read?;
        let log = clients.log()?;
        let writer = Writer {
            topic: Arc::new(ConfigTopic { log: log.clone(), topic: config_topic.clone() }),
            config: self.herd.configs.subscribe(),
            role: role.clone(),
            statuses: self.statuses.clone(),
            starter: self.herd.starter.clone(),
            stages: self.stages.clone(),
        };
        let mut background = tokio::task::JoinSet::new();
        background.spawn(writer.run(self.written));
        let (statuses, to_log, to_topic) = (self.statuses.clone(), log.clone(), status_topic.clone());
        background.spawn(async move { statuses.write_all(&to_log, &to_topic).await });
        let statuses = self.statuses.clone();
        background.spawn(async move {
            loop {
                if let Read::Record { at, key, value } = status_reader.next().await {
                    read_status(&statuses, &status_topic, at, &key, value.as_deref());
                }
            }
        });
        tracing::info!(connectors = state.connectors().count(), "read the internal topics; this worker leads");
        self.herd.begin(state);
        // Whoever waits for this sees the connectors.
        self.readies.send_replace(true);
        Ok(Started {
            herd: self.herd,
            asked: self.asked,
            happened: self.happened,
            stages: self.stages,
            statuses: self.statuses,
            config_topic,
            config_reader,
            role,
            member,
            log,
            background,
            _ready: self.readies,
        })
    }
}

/// The loop once everything is read.
struct Started {
    herd: Herd,
    asked: mpsc::Receiver<Request>,
    happened: mpsc::UnboundedReceiver<UnitEvent>,
    stages: Stages,
    statuses: StatusStore,
    config_topic: String,
    config_reader: Reader,
    role: watch::Receiver<Role>,
    member: Member,
    log: Log,
    /// Writing configuration, writing statuses, reading statuses.
    background: tokio::task::JoinSet<()>,
    _ready: watch::Sender<bool>,
}

impl Started {
    async fn run(mut self, stop: &mut watch::Receiver<bool>) -> Result<()> {
        let outcome = loop {
            tokio::select! {
                () = told_to_stop(stop) => break Ok(()),
                read = self.config_reader.next() => if let Read::Record { at, key, value } = read {
                    self.herd.config_record(&self.config_topic, at, &key, value.as_deref());
                },
                Some(event) = self.happened.recv() => self.herd.happened(event),
                Some(request) = self.asked.recv() => self.herd.asked(request, &self.stages),
                Ok(()) = self.role.changed() => {
                    let role = self.role.borrow_and_update().clone();
                    if let Err(error) = self.herd.role(role) {
                        break Err(error);
                    }
                }
            }
        };
        if let Err(error) = &outcome {
            tracing::error!("this worker stops: {error:#}");
        }
        self.shut_down().await;
        outcome
    }

    async fn shut_down(mut self) {
        let _stage = self.stages.enter("shutting down");
        self.herd.stop_all().await;
        if tokio::time::timeout(LAST_STATUSES, self.statuses.flushed()).await.is_err() {
            tracing::warn!("the last statuses could not be written; they will look as if this worker still ran");
        }
        self.background.shutdown().await;
        drop(self.config_reader);
        self.member.leave().await;
        self.log.close(LAST_STATUSES).await;
    }
}

/// Reads the config topic to its end.
async fn read_configs(clients: &Clients, topic: &str) -> Result<(Reader, ConfigState)> {
    let mut reader = clients.reader(topic).await?;
    let mut state = ConfigState::default();
    while let Read::Record { at, key, value } = reader.next().await {
        // Restart requests and logger levels of the past say nothing now.
        let _event = read_config(&mut state, topic, at, &key, value.as_deref());
    }
    Ok((reader, state))
}

/// Reads the status topic to its end.
async fn read_statuses(clients: &Clients, topic: &str, statuses: &StatusStore) -> Result<Reader> {
    let mut reader = clients.reader(topic).await?;
    while let Read::Record { at, key, value } = reader.next().await {
        read_status(statuses, topic, at, &key, value.as_deref());
    }
    Ok(reader)
}

async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

fn read_status(statuses: &StatusStore, topic: &str, at: Position, key: &str, value: Option<&[u8]>) {
    if let Err(why) = statuses.read(at, key, value) {
        tracing::error!(%topic, %at, %key, "skipped a record of the status topic: {why}");
    }
}
