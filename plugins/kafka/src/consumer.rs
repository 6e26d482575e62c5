//! A sink task's consumer: batches of records, and the group's changes answered when the task is ready for them.
//!
//! librdkafka fetches and decompresses on its own threads and wakes the task; taking a batch from its queue never waits.

use penstock_api::{Error, Offsets, RawRecord, Result, TopicPartition};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::fetch::{FetchError, Fetcher};
use super::native::{Failed, Handle, Signal, c_string, notes_of};
use super::settings::{ConsumerSettings, Reset};
use super::subscription::Subscription;
use super::trouble::{self, Trouble};
use crate::subscription::TopicSelection;

/// A text for each partition that is committed beside its offset.
pub type Notes = BTreeMap<TopicPartition, String>;

/// What [`Consumer::poll`] brought.
#[derive(Debug)]
pub enum Polled {
    /// The wait is over.
    Nothing,
    /// At least one record and at most `max.poll.records`; of each partition in order.
    Records(Arc<Vec<RawRecord>>),
    /// Partitions that are newly ours. Nothing is read from them before [`Consumer::accept`].
    Assigned(Vec<TopicPartition>),
    /// Partitions to be given up. They stay ours until [`Consumer::release`]: put, pre-commit and commit before.
    Revoked(Vec<TopicPartition>),
    /// Partitions that already belong to somebody else: nothing may be committed. [`Consumer::release`] answers this, too.
    Lost(Vec<TopicPartition>),
}

/// Whether brokers answer.
#[derive(Clone, Debug)]
pub enum Connection {
    Up,
    Down { since: std::time::Instant, reason: String },
}

/// How a consumer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// The group gives its partitions to others at once.
    Leave,
    /// A static member's partitions wait for its successor until the session ends. A dynamic member leaves all the same.
    Stay,
}

/// A member of a consumer group. Dropped without [`close`](Self::close) it vanishes as if the process had ended.
pub struct Consumer {
    settings: ConsumerSettings,
    handle: Arc<Handle>,
    fetcher: Fetcher,
    subscription: Subscription,
    partitions: BTreeMap<TopicPartition, Partition>,
    /// The change of the group that waits for its answer.
    unanswered: Option<Change>,
    connection: Connection,
    /// Why a broker could not be reached, last.
    reason: String,
    /// Somebody said that a broker does not answer, and nothing has shown since that one does.
    suspect: bool,
    probe: Option<JoinHandle<bool>>,
    next_probe: Instant,
    /// Passing trouble already told of.
    told: BTreeSet<String>,
}

#[derive(Default)]
struct Partition {
    /// The offset of the next record to hand out; `None` until the first.
    next: Option<i64>,
    /// `auto.offset.reset` has it read on from elsewhere; until a record from there comes.
    is_reset: bool,
    /// Everything was handed out, as far as the last fetch told; only known with `librdkafka.enable.partition.eof=true`.
    is_at_end: bool,
}

enum Change {
    Assign(Vec<TopicPartition>),
    Revoke(Vec<TopicPartition>),
}

/// So many marks of transactions may lie at the end of a partition without anybody believing that records wait there.
const MARKS_MAX: i64 = 16;
/// Without a sign from librdkafka, the queue is looked at as often: callbacks keep the membership alive.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const SEEK_RETRY: Duration = Duration::from_millis(10);
/// How long leaving the group may take when brokers do not answer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

impl Consumer {
    /// A consumer of these topics. It joins its group when it is polled first.
    ///
    /// # Errors
    /// `Config` when librdkafka refuses the settings.
    pub fn new(settings: ConsumerSettings, topics: TopicSelection) -> Result<Self> {
        let handle = Handle::new(&settings.who, &settings.client).map_err(|failed| {
            Error::config(format!("start a Kafka consumer for {}", settings.who)).with_source(failed.message)
        })?;
        Ok(Self {
            handle: Arc::new(handle),
            fetcher: Fetcher::new(settings.records_max),
            subscription: Subscription::new(topics, settings.exclude_internal_topics, settings.metadata_max_age),
            partitions: BTreeMap::new(),
            unanswered: None,
            connection: Connection::Up,
            reason: String::new(),
            suspect: false,
            probe: None,
            next_probe: Instant::now(),
            told: BTreeSet::new(),
            settings,
        })
    }

    /// A reader of these partitions from these offsets on, `None`: from where `auto.offset.reset` says. It is in no group:
    /// [`poll`](Self::poll) answers records or nothing, and nothing can be committed.
    ///
    /// # Errors
    /// `Config` when librdkafka refuses the settings, or a partition has no offset and `auto.offset.reset` is `none`.
    pub fn of_partitions(settings: ConsumerSettings, starts: &BTreeMap<TopicPartition, Option<i64>>) -> Result<Self> {
        let mut consumer = Self::new(settings, TopicSelection::List(Vec::new()))?;
        consumer.subscription.end();
        let mut list = TopicPartitionList::with_capacity(starts.len());
        for (partition, start) in starts {
            let offset = match (start, consumer.settings.reset) {
                (Some(start), _) => Offset::Offset(*start),
                (None, Reset::Earliest) => Offset::Beginning,
                (None, Reset::Latest) => Offset::End,
                (None, Reset::None) => {
                    let message = format!("no offset is known for {partition}, and auto.offset.reset is none");
                    return Err(Error::config(message));
                }
            };
            list.add_partition_offset(&partition.topic, partition.partition, offset)
                .map_err(|e| Error::fatal(format!("{offset:?} is no offset to begin at in {partition}")).with_source(e))?;
        }
        consumer.handle.assign(&list).map_err(|failed| consumer.request_error(&failed, "begin to read"))?;
        consumer.partitions = starts.keys().map(|partition| (partition.clone(), Partition::default())).collect();
        Ok(consumer)
    }

    /// Waits for records or a change of the group. To be called at least every `max.poll.interval.ms`, also while all partitions
    /// are [paused](Self::pause). Dropped while it waits, it has taken nothing.
    ///
    /// # Errors
    /// `Config` or `Fatal`: the consumer is of no use any more. Brokers that do not answer are no error, see
    /// [`connection`](Self::connection).
    pub async fn poll(&mut self, wait: Duration) -> Result<Polled> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(change) = self.next_change()? {
                return Ok(change);
            }
            self.subscription.refresh(&self.handle).await.map_err(|failed| self.request_error(&failed, "subscribe to topics"))?;
            let fetched = self.fetcher.take(&self.handle);
            let records = self.admit(fetched.records);
            let mut is_at_end = false;
            for error in fetched.errors {
                is_at_end |= error.code == Code::PartitionEOF;
                self.fetch_error(error)?;
            }
            if !records.is_empty() {
                return Ok(Polled::Records(Arc::new(records)));
            }
            if is_at_end {
                return Ok(Polled::Nothing);
            }
            if let Some(change) = self.next_change()? {
                return Ok(change);
            }
            self.probe_connection().await;
            let now = Instant::now();
            if now >= deadline {
                return Ok(Polled::Nothing);
            }
            let look = if self.subscription.is_looking() { LOOK_INTERVAL / 10 } else { LOOK_INTERVAL };
            let until = deadline.min(now + look.min(self.settings.max_poll_interval / 3));
            // Whether it was a sign or the time: look again.
            let _signed_or_timed_out = tokio::time::timeout_at(until, self.handle.queue().filled().notified()).await;
        }
    }

    /// Answers [`Polled::Assigned`]: reads from these offsets on, and from the committed one where none is given.
    ///
    /// # Errors
    /// As for [`poll`](Self::poll).
    pub fn accept(&mut self, starts: &Offsets) -> Result<()> {
        let Some(Change::Assign(partitions)) = self.unanswered.take() else {
            return Err(Error::fatal("no assignment waits to be accepted"));
        };
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in &partitions {
            match starts.get(partition) {
                Some(start) => list
                    .add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*start))
                    .map_err(|e| Error::fatal(format!("{start} is no offset to begin at in {partition}")).with_source(e))?,
                None => drop(list.add_partition(&partition.topic, partition.partition)),
            }
        }
        self.handle.assign(&list).map_err(|failed| self.request_error(&failed, "take over partitions"))?;
        for partition in partitions {
            let next = starts.get(&partition).copied();
            self.partitions.insert(partition, Partition { next, ..Partition::default() });
        }
        Ok(())
    }

    /// Answers [`Polled::Revoked`] and [`Polled::Lost`]: gives the partitions up.
    ///
    /// # Errors
    /// As for [`poll`](Self::poll).
    pub fn release(&mut self) -> Result<()> {
        let Some(Change::Revoke(partitions)) = self.unanswered.take() else {
            return Err(Error::fatal("no revocation waits to be answered"));
        };
        let list = list_of(&partitions);
        self.handle.unassign(&list).map_err(|failed| self.request_error(&failed, "give partitions up"))?;
        for partition in &partitions {
            self.partitions.remove(partition);
        }
        Ok(())
    }

    /// Where reading begins without [`accept`](Self::accept)'s offsets: the committed ones, or where `auto.offset.reset` says.
    /// With `auto.offset.reset=none`, partitions without a committed offset are left out.
    ///
    /// # Errors
    /// `Retriable` when brokers do not answer within `default.api.timeout.ms`.
    pub async fn start_offsets(&mut self, partitions: &[TopicPartition]) -> Result<Offsets> {
        let mut starts = self.committed(partitions).await?;
        let missing: Vec<_> = partitions.iter().filter(|p| !starts.contains_key(p)).cloned().collect();
        if missing.is_empty() || self.settings.reset == Reset::None {
            return Ok(starts);
        }
        let (handle, reset, timeout) = (self.handle.clone(), self.settings.reset, self.settings.api_timeout);
        let found = blocking(move || {
            let start = |p: TopicPartition| {
                let (low, high) = handle.watermarks(&p.topic, p.partition, timeout)?;
                Ok((p, if reset == Reset::Earliest { low } else { high }))
            };
            missing.into_iter().map(start).collect::<Result<Vec<_>, Failed>>()
        });
        starts.extend(found.await.map_err(|failed| self.request_error(&failed, "look up where partitions begin"))?);
        Ok(starts)
    }

    /// The group's committed offsets, without partitions that have none.
    ///
    /// # Errors
    /// `Retriable` when brokers do not answer within `default.api.timeout.ms`.
    pub async fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Offsets> {
        Ok(self.committed_with_notes(partitions).await?.0)
    }

    /// The group's committed offsets and the notes beside them, without partitions that have none.
    ///
    /// # Errors
    /// As for [`committed`](Self::committed).
    pub async fn committed_with_notes(&mut self, partitions: &[TopicPartition]) -> Result<(Offsets, Notes)> {
        if partitions.is_empty() {
            return Ok((Offsets::new(), Notes::new()));
        }
        let (handle, list, timeout) = (self.handle.clone(), list_of(partitions), self.settings.api_timeout);
        let found = blocking(move || handle.committed(&list, timeout).map(|()| list)).await;
        let list = found.map_err(|failed| self.request_error(&failed, "look up committed offsets"))?;
        let mut offsets = Offsets::new();
        for element in list.elements() {
            element.error().map_err(|e| Error::retriable("look up committed offsets").with_source(e))?;
            if let Offset::Offset(offset) = element.offset() {
                offsets.insert(TopicPartition { topic: element.topic().into(), partition: element.partition() }, offset);
            }
        }
        let notes = notes_of(&list).into_iter();
        let notes = notes.map(|(topic, partition, note)| (TopicPartition { topic: topic.into(), partition }, note)).collect();
        Ok((offsets, notes))
    }

    /// Commits. It begins at once, later calls reach the broker later, and it ends even if nobody awaits it.
    #[must_use = "a commit may be refused"]
    pub fn commit(&self, offsets: &Offsets) -> Commit {
        self.commit_with_notes(offsets, &Notes::new())
    }

    /// Commits, with a note for each partition that has one; others lose theirs. `Data`: the broker takes no notes so long.
    #[must_use = "a commit may be refused"]
    pub fn commit_with_notes(&self, offsets: &Offsets, notes: &Notes) -> Commit {
        if offsets.is_empty() {
            return Commit(None);
        }
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (partition, offset) in offsets {
            let added = list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset));
            if let Err(error) = added {
                let error = Error::fatal(format!("{offset} is no offset to commit for {partition}")).with_source(error);
                return Commit(Some(tokio::spawn(async { Err(error) })));
            }
            if let Some(note) = notes.get(partition)
                && let Some(mut element) = list.find_partition(&partition.topic, partition.partition)
            {
                element.set_metadata(note);
            }
        }
        let sent = self.handle.commit(&list);
        let timeout = self.settings.api_timeout;
        let (group, instance) = (self.settings.group.clone(), self.settings.instance.clone());
        Commit(Some(tokio::task::spawn_blocking(move || {
            let outcome = sent.and_then(|reply| reply.wait(timeout));
            outcome.map_err(|failed| trouble::of_commit(failed.code, &failed.message, &group, instance.as_deref()))
        })))
    }

    /// Reads on from other offsets; nothing fetched before is handed out any more. Partitions that are not ours are left alone.
    ///
    /// # Errors
    /// `Retriable` when librdkafka does not come round to it within `default.api.timeout.ms`.
    pub async fn seek(&mut self, offsets: &Offsets) -> Result<()> {
        let mut left: Offsets =
            offsets.iter().filter(|(p, _)| self.partitions.contains_key(p)).map(|(p, o)| (p.clone(), *o)).collect();
        let deadline = Instant::now() + self.settings.api_timeout;
        while !left.is_empty() {
            let (handle, wanted, timeout) = (self.handle.clone(), left.clone(), self.settings.api_timeout);
            let outcome = blocking(move || {
                let mut list = TopicPartitionList::with_capacity(wanted.len());
                for (partition, offset) in &wanted {
                    let added = list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset));
                    added.map_err(|e| Failed { code: Code::InvalidArgument, message: e.to_string() })?;
                }
                handle.seek(&list, timeout)?;
                Ok(list)
            });
            let list = outcome.await.map_err(|failed| self.request_error(&failed, "seek"))?;
            for element in list.elements() {
                let partition = TopicPartition { topic: element.topic().into(), partition: element.partition() };
                match element.error().err().and_then(|e| e.rdkafka_error_code()) {
                    None => {
                        let next = left.remove(&partition);
                        self.partitions.insert(partition, Partition { next, ..Partition::default() });
                    }
                    // It has not begun to read the partition yet, or is about to stop doing so.
                    Some(Code::State | Code::PreviousInProgress | Code::UnknownPartition) => {}
                    Some(code) => return Err(trouble::of_request(code, &code.to_string(), &format!("seek in {partition}"))),
                }
            }
            if !left.is_empty() {
                if Instant::now() >= deadline {
                    let partition = left.keys().next().expect("there is one left");
                    return Err(Error::retriable(format!("seek in {partition}: the Kafka client does not read it yet")));
                }
                tokio::time::sleep(SEEK_RETRY).await;
            }
        }
        Ok(())
    }

    /// Hands out nothing from these partitions until [`resume`](Self::resume).
    ///
    /// # Errors
    /// `Retriable`.
    pub fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.handle.pause(&list_of(partitions)).map_err(|failed| self.request_error(&failed, "pause partitions"))
    }

    /// Goes on behind the last record handed out.
    ///
    /// # Errors
    /// `Retriable`.
    pub fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.handle.resume(&list_of(partitions)).map_err(|failed| self.request_error(&failed, "resume partitions"))
    }

    /// The partitions that are ours: accepted, and not yet released.
    pub fn assignment(&self) -> impl ExactSizeIterator<Item = &TopicPartition> {
        self.partitions.keys()
    }

    /// The offset of the next record to be handed out, once one was.
    #[must_use]
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.partitions.get(partition)?.next
    }

    /// Whether everything there was has been handed out. Only known with `librdkafka.enable.partition.eof=true`; then [`poll`](Self::poll)
    /// comes back early when it becomes so.
    #[must_use]
    pub fn is_at_end(&self, partition: &TopicPartition) -> bool {
        self.partitions.get(partition).is_some_and(|state| state.is_at_end)
    }

    /// By how many records each partition is behind its end, as far as fetches have told.
    pub fn lags(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        self.partitions.iter().filter_map(|(partition, state)| Some((partition, self.lag(partition, state)?)))
    }

    fn lag(&self, partition: &TopicPartition, state: &Partition) -> Option<i64> {
        if state.is_at_end {
            return Some(0);
        }
        let end = self.handle.known_end(&c_string(&partition.topic), partition.partition)?;
        Some((end - state.next?).max(0))
    }

    /// How long the group waits for a [`poll`](Self::poll) before it gives the consumer up.
    #[must_use]
    pub fn max_poll_interval(&self) -> Duration {
        self.settings.max_poll_interval
    }

    /// Whether brokers answer.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// By how many records the slowest partition is behind its end, as far as fetches have told.
    #[must_use]
    pub fn lag_max(&self) -> Option<i64> {
        self.lags().map(|(_, lag)| lag).max()
    }

    /// Whether records wait in Kafka that should have been fetched, or nobody can tell because no broker answers.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        if matches!(self.connection, Connection::Down { .. }) {
            return true;
        }
        // The end of a partition may hold what is never handed out: marks of transactions, and whole aborted transactions for
        // those who read committed records only.
        let reads_all = self.settings.client.get("isolation.level") != Some("read_committed");
        reads_all && self.lag_max().is_some_and(|lag| lag > MARKS_MAX)
    }

    /// Goes. What is to be committed is to be committed before.
    pub async fn close(self, departure: Departure) {
        let who = self.settings.who.clone();
        let handle = self.handle.clone();
        drop(self);
        let closing = tokio::task::spawn_blocking(move || match departure {
            Departure::Leave => handle.leave(),
            Departure::Stay => handle.close(),
        });
        match tokio::time::timeout(CLOSE_TIMEOUT, closing).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(failed))) => tracing::debug!(who, error = failed.message, "close consumer"),
            Ok(Err(_)) | Err(_) => tracing::warn!(who, "brokers do not answer: left the group without a word"),
        }
    }

    /// The next change of the group; errors on the way are noted.
    fn next_change(&mut self) -> Result<Option<Polled>> {
        while let Some(signal) = self.handle.signal() {
            match signal {
                Signal::Error(code, message) => self.note(code, &message, &message)?,
                Signal::Assign(partitions) => {
                    self.is_up();
                    let partitions = partitions_of(partitions);
                    self.unanswered = Some(Change::Assign(partitions.clone()));
                    if !partitions.is_empty() {
                        return Ok(Some(Polled::Assigned(partitions)));
                    }
                    self.accept(&Offsets::new())?;
                }
                Signal::Revoke { partitions, lost } => {
                    let partitions = partitions_of(partitions);
                    self.unanswered = Some(Change::Revoke(partitions.clone()));
                    match (partitions.is_empty(), lost) {
                        (true, _) => self.release()?,
                        (false, true) => return Ok(Some(Polled::Lost(partitions))),
                        (false, false) => return Ok(Some(Polled::Revoked(partitions))),
                    }
                }
            }
        }
        Ok(None)
    }

    /// Keeps what may be handed out, and notes how far that goes. Of a partition only what lies behind the last record: when
    /// librdkafka pauses for a rebalance while a batch is taken, it may fetch the end of that batch again.
    fn admit(&mut self, mut records: Vec<RawRecord>) -> Vec<RawRecord> {
        if records.is_empty() {
            return records;
        }
        self.is_up();
        self.note_resets();
        let lost = self.handle.lost();
        let mut at = 0;
        while at < records.len() {
            let (topic, partition) = (records[at].topic.clone(), records[at].partition);
            let same = |r: &RawRecord| Arc::ptr_eq(&r.topic, &topic) && r.partition == partition;
            let end = at + records[at..].iter().take_while(|r| same(r)).count();
            let is_lost = lost.iter().any(|(t, p)| *p == partition && **t == *topic);
            let key = TopicPartition { topic, partition };
            let state = self.partitions.get_mut(&key).filter(|_| !is_lost);
            // A topic that was made anew, or cut off, begins lower than what was read of it before.
            let next = state.as_ref().map_or(i64::MAX, |s| if s.is_reset { 0 } else { s.next.unwrap_or(0) });
            let stale = records[at..end].iter().take_while(|r| r.offset < next).count();
            if let Some(state) = state
                && stale < end - at
            {
                state.is_reset &= is_continued(state.next, &records[at..end]);
                state.is_at_end = false;
                state.next = Some(records[end - 1].offset + 1);
            }
            records.drain(at..at + stale);
            at = end - stale;
        }
        records
    }

    fn note_resets(&mut self) {
        for (topic, partition) in self.handle.take_resets() {
            if let Some(state) = self.partitions.get_mut(&TopicPartition { topic: topic.into(), partition }) {
                state.is_reset = true;
            }
        }
    }

    fn fetch_error(&mut self, error: FetchError) -> Result<()> {
        if error.code == Code::PartitionEOF {
            let topic = error.topic.unwrap_or_else(|| "".into());
            if let Some(state) = self.partitions.get_mut(&TopicPartition { topic, partition: error.partition }) {
                state.is_at_end = true;
            }
            return Ok(());
        }
        let place = error.topic.map_or_else(String::new, |topic| {
            if error.partition < 0 { topic.to_string() } else { format!("{topic}-{}", error.partition) }
        });
        self.note(error.code, &error.message, &place)
    }

    fn note(&mut self, code: Code, message: &str, place: &str) -> Result<()> {
        if code == Code::Fatal
            && let Some(failed) = self.handle.fatal()
        {
            let trouble = self.trouble(failed.code, &failed.message, place);
            let Trouble::Fails(error) = trouble else { return Err(self.request_error(&failed, "go on after a fatal error")) };
            return Err(error);
        }
        match self.trouble(code, message, place) {
            Trouble::Fails(error) => return Err(error.context(format!("consumer of {}", self.settings.who))),
            Trouble::Unreachable => {
                message.clone_into(&mut self.reason);
                self.suspect = true;
            }
            Trouble::Passing => {
                if self.told.insert(format!("{code:?} {place}")) {
                    tracing::warn!(who = self.settings.who, ?code, place, "{message}");
                }
            }
        }
        Ok(())
    }

    fn trouble(&self, code: Code, message: &str, place: &str) -> Trouble {
        trouble::of_consumer(code, message, &self.settings.group, self.settings.instance.as_deref(), place)
    }

    fn is_up(&mut self) {
        self.suspect = false;
        if let Connection::Down { since, .. } = &self.connection {
            let seconds = since.elapsed().as_secs();
            tracing::info!(who = self.settings.who, seconds, "brokers can be reached again");
            self.connection = Connection::Up;
        }
    }

    fn is_down(&mut self) {
        if matches!(self.connection, Connection::Up) {
            tracing::warn!(who = self.settings.who, reason = self.reason, "no broker answers; trying on");
            self.connection = Connection::Down { since: std::time::Instant::now(), reason: self.reason.clone() };
        }
    }

    /// librdkafka tells neither reliably when no broker is left nor when one is back, so when in doubt somebody asks.
    async fn probe_connection(&mut self) {
        if !self.suspect {
            return;
        }
        if let Some(probe) = self.probe.take_if(|p| p.is_finished()) {
            if probe.await.unwrap_or(false) {
                self.is_up();
            } else {
                self.is_down();
            }
            self.next_probe = Instant::now() + PROBE_INTERVAL;
        } else if self.probe.is_none() && Instant::now() >= self.next_probe {
            let handle = self.handle.clone();
            self.probe = Some(tokio::task::spawn_blocking(move || handle.probe(PROBE_TIMEOUT)));
        }
    }

    fn request_error(&self, failed: &Failed, what: &str) -> Error {
        let fatal = self.handle.fatal();
        let failed = fatal.as_ref().unwrap_or(failed);
        match self.trouble(failed.code, &failed.message, &self.settings.who) {
            Trouble::Fails(error) => error.context(format!("{what} for {}", self.settings.who)),
            _ => Error::retriable(format!("{what} for {}", self.settings.who)).with_source(failed.message.clone()),
        }
    }
}

/// Whether these are what was to be read next, without a gap and in order: then they may be of before a reset.
fn is_continued(next: Option<i64>, records: &[RawRecord]) -> bool {
    let follows = |pair: &[RawRecord]| pair[1].offset == pair[0].offset + 1;
    records.first().is_none_or(|first| next == Some(first.offset)) && records.windows(2).all(follows)
}

/// A commit on its way.
pub struct Commit(Option<JoinHandle<Result<()>>>);

impl Future for Commit {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(waiting) = &mut self.0 else { return Poll::Ready(Ok(())) };
        let outcome = ready!(Pin::new(waiting).poll(context));
        self.0 = None;
        Poll::Ready(outcome.unwrap_or_else(|e| Err(Error::retriable("commit offsets").with_source(e))))
    }
}

fn list_of(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition);
    }
    list
}

fn partitions_of(partitions: Vec<(String, i32)>) -> Vec<TopicPartition> {
    partitions.into_iter().map(|(topic, partition)| TopicPartition { topic: topic.into(), partition }).collect()
}

/// Runs what blocks where that hurts nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failed> + Send + 'static) -> Result<T, Failed> {
    let lost = |e: tokio::task::JoinError| Err(Failed { code: Code::Interrupted, message: e.to_string() });
    tokio::task::spawn_blocking(work).await.unwrap_or_else(lost)
}
