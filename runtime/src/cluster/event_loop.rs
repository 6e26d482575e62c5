//! The loop around the herd: started when the topics are read, ended in the reverse order.

use std::sync::Arc;
use std::time::Duration;

use penstock_api::Result;
use tokio::sync::{mpsc, watch};

use super::attendance::Attendance;
use super::herd::{Herd, Request, Told, read_assignment, read_config};
use super::herder::{Channels, Setup, Shared};
use super::leader::Leader;
use super::leadership::{Leadership, Standing};
use super::member::{Member, Role};
use super::progress::Progress;
use super::share::Placement;
use super::stage::{StageGuard, Stages};
use super::units::UnitEvent;
use super::writer::{ConfigTopic, Write, Writer};
use crate::store::assignment::{Entry, Note};
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
    standings: watch::Sender<Standing>,
    statuses: StatusStore,
    progress: Progress,
    stages: Stages,
    url: String,
}

/// How long statuses may take to be written at the end.
const LAST_STATUSES: Duration = Duration::from_secs(5);
/// How long a worker that stops waits, beyond its tasks' own time, until others have taken over.
const RELIEF: Duration = Duration::from_secs(3);
/// How long a worker that stops goes on while nobody says who has its work next: as long as it takes to find a leader when the
/// last one has just left, as in a rolling restart.
const LINGERING: Duration = Duration::from_secs(2);
/// Before a note that could not be written is tried again.
const NOTE_RETRY: Duration = Duration::from_secs(1);
/// How long a member of the group may say nothing of itself and keep its share: it reads the topics meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

impl EventLoop {
    pub(super) fn new(setup: Setup, shared: &Shared, channels: Channels) -> Self {
        let (happenings, happened) = mpsc::unbounded_channel();
        let Channels { configs, placements, standings, readies, asked, written } = channels;
        let told = Told { configs, placements, notes: watch::channel(None).0 };
        let herd = Herd::new(shared, setup.loggers.clone(), setup.shutdown_timeout, told, happenings);
        let (statuses, progress, stages) = (shared.statuses.clone(), shared.progress.clone(), shared.stages.clone());
        let url = shared.url.clone();
        Self { setup, herd, asked, written, happened, readies, standings, statuses, progress, stages, url }
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
        clients.ensure_topics(std::slice::from_ref(&self.setup.assignment_topic)).await?;
        let member = self.setup.membership.clone().join().await?;
        let [config_topic, status_topic, _] = self.setup.topics.each_ref().map(|spec| Arc::<str>::from(&*spec.topic.name));
        let assignment_topic: Arc<str> = self.setup.assignment_topic.topic.name.as_str().into();
        let (configs, statuses, assignments) = tokio::join!(
            read_configs(clients, &config_topic),
            read_statuses(clients, &status_topic, &self.statuses),
            read_assignments(clients, &assignment_topic)
        );
        let (config_reader, state) = configs?;
        let mut status_reader = statuses?;
        let (assignment_reader, placement) = assignments?;
        let log = clients.log()?;
        let leadership = Leadership::default();
        let mut background = tokio::task::JoinSet::new();
        background.spawn(self.leader(&leadership, member.role(), &config_topic, &assignment_topic).run());
        let writer = Writer {
            topic: Arc::new(ConfigTopic { leadership: leadership.clone(), topic: config_topic.clone() }),
            config: self.herd.configs.subscribe(),
            standing: self.standings.subscribe(),
            statuses: self.statuses.clone(),
            starter: self.herd.starter.clone(),
            progress: self.progress,
            stages: self.stages.clone(),
        };
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
        let notes = self.herd.notes.subscribe();
        let (worker_id, to_log, to_topic) = (self.setup.membership.worker_id.clone(), log.clone(), assignment_topic.clone());
        background.spawn(async move { write_notes(notes, &worker_id, &to_log, &to_topic).await });
        tracing::info!(connectors = state.connectors().count(), "read the internal topics");
        self.herd.begin(state, placement);
        // Whoever waits for this sees the connectors.
        self.readies.send_replace(true);
        Ok(Started {
            herd: self.herd,
            asked: self.asked,
            happened: self.happened,
            standings: self.standings,
            url: self.url,
            leadership,
            waits_for_relief: self.setup.rebalance_delay.is_zero(),
            grace: self.setup.shutdown_timeout,
            outside: None,
            stages: self.stages,
            statuses: self.statuses,
            config_topic,
            config_reader,
            assignment_topic,
            assignment_reader,
            role: member.role(),
            member,
            log,
            background,
            _ready: self.readies,
        })
    }

    fn leader(
        &self,
        leadership: &Leadership,
        role: watch::Receiver<Role>,
        config_topic: &Arc<str>,
        assignment_topic: &Arc<str>,
    ) -> Leader {
        Leader {
            membership: self.setup.membership.clone(),
            url: self.url.clone(),
            config_topic: config_topic.clone(),
            assignment_topic: assignment_topic.clone(),
            role,
            config: self.herd.configs.subscribe(),
            placement: self.herd.placements.subscribe(),
            statuses: self.statuses.clone(),
            leadership: leadership.clone(),
            stages: self.stages.clone(),
            signing: self.setup.signing.clone(),
            attendance: Attendance::new(self.setup.rebalance_delay, PATIENCE),
        }
    }
}

/// The loop once everything is read.
struct Started {
    herd: Herd,
    asked: mpsc::Receiver<Request>,
    happened: mpsc::UnboundedReceiver<UnitEvent>,
    standings: watch::Sender<Standing>,
    url: String,
    leadership: Leadership,
    /// Whether others take over at once when this worker leaves.
    waits_for_relief: bool,
    grace: Duration,
    /// While this worker is not in the group.
    outside: Option<StageGuard>,
    stages: Stages,
    statuses: StatusStore,
    config_topic: Arc<str>,
    config_reader: Reader,
    assignment_topic: Arc<str>,
    assignment_reader: Reader,
    role: watch::Receiver<Role>,
    member: Member,
    log: Log,
    /// Leading, writing configuration, writing and reading statuses, writing notes.
    background: tokio::task::JoinSet<()>,
    _ready: watch::Sender<bool>,
}

impl Started {
    async fn run(mut self, stop: &mut watch::Receiver<bool>) -> Result<()> {
        self.role.mark_changed();
        let outcome = loop {
            tokio::select! {
                () = told_to_stop(stop) => break Ok(()),
                turned = self.turn() => if let Err(error) = turned {
                    break Err(error);
                }
            }
        };
        if let Err(error) = &outcome {
            tracing::error!("this worker stops: {error:#}");
        }
        self.shut_down(outcome.is_ok()).await;
        outcome
    }

    /// Takes in the next thing that happens.
    async fn turn(&mut self) -> Result<()> {
        let leads = self.leadership.is_held();
        tokio::select! {
            read = self.config_reader.next() => if let Read::Record { at, key, value } = read {
                self.herd.config_record(&self.config_topic, at, &key, value.as_deref());
            },
            read = self.assignment_reader.next() => if let Read::Record { at, key, value } = read {
                self.herd.assignment_record(&self.assignment_topic, at, &key, value.as_deref());
            },
            Some(event) = self.happened.recv() => self.herd.happened(event),
            Some(request) = self.asked.recv() => self.herd.asked(request, &self.stages),
            Ok(()) = self.role.changed() => {
                let role = self.role.borrow_and_update().clone();
                self.outside = self.stages.enter_if(role.seat().is_none(), "ensuring membership in the cluster");
                self.herd.role(role)?;
            }
            () = self.leadership.changed(leads) => {}
        }
        self.note_standing();
        Ok(())
    }

    /// Who leads, as far as it is known here.
    fn note_standing(&self) {
        let standing = match &*self.role.borrow() {
            Role::In(_) if self.leadership.is_held() => Standing::Leading,
            Role::In(seat) if !seat.leads => {
                let leader = self.herd.placements.borrow().leader.as_ref().map(|leader| leader.url.clone());
                leader.filter(|url| *url != self.url).map_or(Standing::Unknown, |url| Standing::Following(url.into()))
            }
            _ => Standing::Unknown,
        };
        self.standings.send_if_modified(|now| {
            let changes = *now != standing;
            *now = standing;
            changes
        });
    }

    async fn shut_down(mut self, in_order: bool) {
        let stages = self.stages.clone();
        let _stage = stages.enter("shutting down");
        if in_order {
            self.herd.leave(self.waits_for_relief);
            let limit = self.grace + RELIEF;
            if tokio::time::timeout(limit, self.until_relieved()).await.is_err() {
                tracing::warn!("no other worker has taken over within {} s; stopping all the same", limit.as_secs());
            }
        }
        self.herd.stop_all().await;
        if tokio::time::timeout(LAST_STATUSES, self.statuses.flushed()).await.is_err() {
            tracing::warn!("the last statuses could not be written; they will look as if this worker still ran");
        }
        self.background.shutdown().await;
        drop((self.config_reader, self.assignment_reader));
        self.member.leave().await;
        self.log.close(LAST_STATUSES).await;
    }

    /// Goes on until everything here has ended and others have it, if there are any.
    async fn until_relieved(&mut self) {
        let mut lingering = std::pin::pin!(tokio::time::sleep(LINGERING));
        loop {
            self.herd.end_lingering(lingering.is_elapsed());
            let is_over =
                if self.waits_for_relief && self.herd.has_others() { self.herd.is_relieved() } else { self.herd.is_idle() };
            if is_over {
                return;
            }
            tokio::select! {
                turned = self.turn() => if let Err(error) = turned {
                    tracing::warn!("while stopping: {error:#}");
                    return;
                },
                () = &mut lingering, if !lingering.is_elapsed() => {}
            }
        }
    }
}

/// Writes what this worker says, the newest only, until it is written.
async fn write_notes(mut notes: watch::Receiver<Option<Note>>, worker_id: &str, log: &Log, topic: &str) {
    while notes.changed().await.is_ok() {
        let Some(note) = notes.borrow_and_update().clone() else { continue };
        let record = Entry::Note(worker_id.into(), Some(note)).record();
        if let Err(error) = log.append(topic, vec![record]).await {
            tracing::warn!("cannot tell the other workers how this one is: {error:#}; trying again");
            tokio::time::sleep(NOTE_RETRY).await;
            notes.mark_changed();
        }
    }
}

/// Reads the assignment topic to its end.
async fn read_assignments(clients: &Clients, topic: &str) -> Result<(Reader, Placement)> {
    let mut reader = clients.reader(topic).await?;
    let mut placement = Placement::default();
    while let Read::Record { at, key, value } = reader.next().await {
        let _entry = read_assignment(&mut placement, topic, at, &key, value.as_deref());
    }
    Ok((reader, placement))
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
