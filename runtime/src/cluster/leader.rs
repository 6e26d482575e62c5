//! What the leader does: takes the lead, then keeps the assignment in step with the group, the configuration and the notes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use penstock_api::{Error, Result, TaskId};
use tokio::sync::watch;

use super::assign::{Situation, assign};
use super::attendance::Attendance;
use super::leadership::{Leadership, NotWritten};
use super::member::{Membership, Role, Roster, Seat};
use super::reconcile::{Unit, desired};
use super::share::Placement;
use super::signature;
use super::stage::Stages;
use crate::config::SigningConfig;
use crate::kafka::GroupMember;
use crate::store::LeaderLog;
use crate::store::assignment::{self, Assignment, Entry};
use crate::store::config::{ConfigState, Event};
use crate::store::event::Record;
use crate::store::status::{State, Status, StatusStore};

/// How often the leader looks at the group if nothing tells it to: a worker that restarts within its session, or whose session
/// ends, is seen within this time.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Before the lead is tried to be taken again.
const RETRY: Duration = Duration::from_secs(1);
/// How long what was written may take to be read back.
const READ_BACK: Duration = Duration::from_secs(30);

/// Runs on every worker, and works while that one leads.
pub(super) struct Leader {
    pub(super) membership: Membership,
    /// This worker as others reach it.
    pub(super) url: String,
    pub(super) config_topic: Arc<str>,
    pub(super) assignment_topic: Arc<str>,
    pub(super) role: watch::Receiver<Role>,
    pub(super) config: watch::Receiver<Arc<ConfigState>>,
    pub(super) placement: watch::Receiver<Arc<Placement>>,
    pub(super) statuses: StatusStore,
    pub(super) leadership: Leadership,
    pub(super) stages: Stages,
    pub(super) signing: SigningConfig,
    pub(super) attendance: Attendance,
}

impl Leader {
    /// Runs until its task is ended.
    pub(super) async fn run(mut self) {
        while let Ok(seat) = self.role.wait_for(|role| role.leading().is_some()).await.map(|role| role.leading().cloned()) {
            let Some(seat) = seat else { continue };
            let mut role = self.role.clone();
            let taken = tokio::select! {
                taken = self.take_lead(&seat) => taken,
                _ = role.wait_for(|role| role.leading().is_none_or(|now| now.member != seat.member)) => continue,
            };
            match taken {
                Ok(roster) => {
                    tracing::info!(generation = seat.generation, "this worker leads the cluster");
                    self.lead(&roster).await;
                    self.leadership.end();
                    tracing::info!("this worker does not lead the cluster any more");
                }
                Err(error) => tracing::warn!("cannot take the lead of the cluster, trying again: {error:#}"),
            }
            // Fenced or not, the group may take a moment to say who owns what.
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Fences whoever led before, makes sure that the group still knows this worker, and reads all that was written so far.
    async fn take_lead(&mut self, seat: &Seat) -> Result<Roster> {
        let _stage = self.stages.enter("taking the lead of the cluster");
        let log = self.membership.clients.leader_log().await?;
        let roster = self.membership.roster()?;
        // Asked after the older leader was fenced: should the group have given the lead to another one since, that one fences us.
        let members = roster.members().await?;
        if !members.iter().any(|member| *member.member_id == *seat.member) {
            return Err(Error::retriable("the group does not know this worker any more"));
        }
        self.catch_up(&log, seat).await?;
        self.leadership.begin(log);
        Ok(roster)
    }

    /// Writes a first real record to each topic: an older leader's idle producer is of no use after that, and once they are read
    /// back, so is everything before them.
    async fn catch_up(&mut self, log: &LeaderLog, seat: &Seat) -> Result<()> {
        let leader = assignment::Leader { url: self.url.clone(), member: seat.member.to_string() };
        let records = vec![
            (self.config_topic.clone(), self.new_session_key()?.record()),
            (self.assignment_topic.clone(), Entry::Leader(leader).record()),
        ];
        let written = log.append(records).await.map_err(|error| Error::retriable(error.to_string()))?;
        let [in_config, in_assignment] = written[..] else { return Err(Error::fatal("two records have two positions")) };
        let read = async {
            let config = self.config.wait_for(|config| config.next_offset() > in_config.offset).await.is_ok();
            let placement = self.placement.wait_for(|placement| placement.next_offset > in_assignment.offset).await.is_ok();
            config && placement
        };
        match tokio::time::timeout(READ_BACK, read).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::fatal("the worker is shutting down")),
            Err(_) => Err(Error::retriable("what was written could not be read back in time")),
        }
    }

    /// Keeps the assignment in step until the lead is lost.
    async fn lead(&mut self, roster: &Roster) {
        let mut last = self.placement.borrow().assignment.as_ref().clone();
        let mut members = Vec::new();
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looks = true;
        loop {
            if looks {
                match roster.members().await {
                    Ok(found) => members = found,
                    Err(error) => tracing::debug!("cannot ask who is in the group: {error:#}"),
                }
            }
            let Some(seat) = self.role.borrow_and_update().leading().cloned() else { return };
            if !self.leadership.is_held() {
                return;
            }
            // Never on an empty description: this worker is in the group, so one without it is wrong.
            if members.iter().any(|member| *member.member_id == *seat.member) {
                match self.round(&members, &seat, &last).await {
                    Ok(Some(next)) => last = next,
                    Ok(None) => {}
                    Err(NotWritten::NotLeading) => return,
                    Err(NotWritten::Failed(error)) => tracing::warn!("cannot write the assignment, trying again: {error:#}"),
                }
            }
            looks = tokio::select! {
                _ = look.tick() => true,
                changed = self.role.changed() => changed.is_ok(),
                changed = self.placement.changed() => changed.is_ok(),
                _ = self.config.changed() => false,
                () = self.leadership.changed(true) => return,
            };
        }
    }

    /// One look at everything; answers the new assignment, if there is one.
    async fn round(&mut self, members: &[GroupMember], seat: &Seat, last: &Assignment) -> Result<Option<Assignment>, NotWritten> {
        let config = self.config.borrow_and_update().clone();
        let placement = self.placement.borrow_and_update().clone();
        self.tidy_statuses(&config, members, seat);
        let units: BTreeSet<Unit> = desired(&config, &BTreeMap::new()).into_keys().collect();
        let workers = self.attendance.take(members, &placement.notes, last, Instant::now());
        let next = assign(last, &Situation { units: &units, workers: &workers, notes: &placement.notes });
        let mut records: Vec<(Arc<str>, Record)> = Vec::new();
        if let Some(next) = &next {
            tracing::info!(
                version = next.version,
                workers = next.shares.len(),
                units = units.len(),
                moves = moves(last, next),
                "assigned the work"
            );
            records.push((self.assignment_topic.clone(), Entry::Assignment(next.clone()).record()));
            // Of those that are not coming back.
            let gone = placement.notes.keys().filter(|worker| !workers.contains_key(*worker));
            records.extend(gone.map(|worker| (self.assignment_topic.clone(), Entry::Note(worker.clone(), None).record())));
        }
        if config.session_key().is_none_or(|key| key.age() >= self.signing.key_ttl) {
            let key = self.new_session_key().map_err(NotWritten::Failed)?;
            records.push((self.config_topic.clone(), key.record()));
        }
        if !records.is_empty() {
            self.leadership.append(records).await?;
        }
        Ok(next)
    }

    fn new_session_key(&self) -> Result<Event> {
        signature::new_key(&self.signing).map(Event::SessionKey)
    }

    /// Says of units whose worker is gone that nobody runs them, and takes away what the configuration does not know any more.
    fn tidy_statuses(&self, config: &ConfigState, members: &[GroupMember], seat: &Seat) {
        for unit in self.statuses.units() {
            if !is_listed(config, &unit) {
                if let Unit::Connector(name) = &unit {
                    self.statuses.forget_topics(name);
                }
                self.statuses.remove(unit);
                continue;
            }
            let Some(status) = self.statuses.get(&unit) else { continue };
            let is_there = members.iter().any(|member| member.instance_id == status.worker_id);
            if status.state != State::Unassigned && !is_there {
                let generation = seat.generation;
                let unassigned =
                    Status { state: State::Unassigned, trace: None, generation, version: None, health: None, ..status };
                self.statuses.put_if_newer(unit, unassigned);
            }
        }
    }
}

/// Whether the config topic knows the unit, be it to run or not.
pub(super) fn is_listed(config: &ConfigState, unit: &Unit) -> bool {
    match unit {
        Unit::Connector(name) => config.connector(name).is_some(),
        Unit::Task(TaskId { connector, task }) => config.connector(connector).is_some_and(|c| (*task as usize) < c.tasks().len()),
    }
}

/// How many units of the old assignment have another owner in the new one.
fn moves(last: &Assignment, next: &Assignment) -> usize {
    let stays = |worker, unit: &&Unit| next.shares.get(worker).is_some_and(|share| share.units.contains(*unit));
    last.shares.iter().map(|(worker, share)| share.units.iter().filter(|unit| !stays(worker, unit)).count()).sum()
}
