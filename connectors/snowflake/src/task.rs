//! The task: takes records into rows, loads what is due beside the work, and answers which offsets are safe.
//!
//! Invariants, by number where they are upheld:
//! 1. A partition has one load at a time, and the next one expects the offset that this one left.
//! 2. All rows of an offset are in one load.
//! 3. Nothing behind a reported record begins to load before the next call: only then its dead letter is safe.
//! 4. `put` that sends a partition back succeeds, so that no batch read before comes again after it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use penstock_api::{Error, ErrorKind, Offsets, Props, Result, SinkContext, SinkRecord, SinkTask, TopicPartition, async_trait};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::config::{self, Config, TopicRecreated};
use crate::load::{self, Load, Outcome};
use crate::names::TableName;
use crate::partition::{Partition, Sealed, SealedState};
use crate::rows::Scratch;
use crate::sql::Failure;
use crate::table::Table;
use crate::tables;

/// How long `put` waits for a load before it asks the worker to come again.
const HOLD_BACK_MAX: Duration = Duration::from_secs(5);
/// How long the end of a task waits for its sessions to end.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// How often a flush looks whether more loads can begin.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How often in a row a load may find a table or an offset other than expected.
const SETBACKS_MAX: u32 = 5;

/// The task, before and after its start.
#[derive(Default)]
pub struct Task {
    running: Option<Running>,
}

struct Running {
    config: Arc<Config>,
    client: Arc<Client>,
    context: SinkContext,
    tables: HashMap<Arc<str>, Arc<Table>>,
    /// Tables that are not as they were thought to be: looked at again before anything else is taken.
    stale: Vec<TableName>,
    partitions: Vec<Partition>,
    /// How often partitions were opened.
    openings: u64,
    loads: JoinSet<Ended>,
    scratch: Scratch,
}

/// A load that has ended.
struct Ended {
    load: Box<Load>,
    result: Result<Outcome>,
    took: Duration,
}

impl Task {
    fn running(&mut self) -> Result<&mut Running> {
        self.running.as_mut().ok_or_else(|| Error::fatal("the task was not started"))
    }
}

#[async_trait]
impl SinkTask for Task {
    async fn start(&mut self, config: &Props, context: SinkContext) -> Result<()> {
        for (key, why) in config::ineffective(config) {
            tracing::warn!(task = %context.task, "`{key}` has no effect: {why}");
        }
        let mut props = config.clone();
        props.entry("name".into()).or_insert_with(|| context.task.connector.to_string());
        let config = Config::read(&props)?;
        // The worker's word for the connector is the one that counts: rows of the offsets table hang on it.
        let config = Config { connector: context.task.connector.clone(), ..config };
        let client = Client::new(&config.account)?;
        self.running = Some(Running {
            config: Arc::new(config),
            client: Arc::new(client),
            context,
            tables: HashMap::new(),
            stale: Vec::new(),
            partitions: Vec::new(),
            openings: 0,
            loads: JoinSet::new(),
            scratch: Scratch::default(),
        });
        Ok(())
    }

    async fn open(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.running()?.open(partitions).await
    }

    async fn put(&mut self, records: &[SinkRecord]) -> Result<()> {
        self.running()?.put(records).await
    }

    async fn pre_commit(&mut self, put: &Offsets) -> Result<Offsets> {
        let running = self.running()?;
        let safe = |id: &TopicPartition, put: i64| Some(running.partitions.iter().find(|p| p.id == *id)?.safe(put));
        Ok(put.iter().filter_map(|(id, &put)| Some((id.clone(), safe(id, put)?))).collect())
    }

    async fn flush(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.running()?.flush(partitions).await
    }

    async fn close(&mut self, partitions: &[TopicPartition], _lost: bool) {
        if let Some(running) = &mut self.running {
            running.close(partitions);
        }
    }

    async fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let all: Vec<TopicPartition> = running.partitions.iter().map(|p| p.id.clone()).collect();
            running.close(&all);
            running.say_farewell().await;
        }
    }
}

impl Running {
    async fn open(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let mut session = self.client.session()?;
        let durable = match tables::open(&mut session, &self.config, partitions).await {
            Ok(durable) => durable,
            Err(error) => {
                session.close().await;
                return Err(error);
            }
        };
        self.client.give_back(session);
        for (id, durable) in durable {
            self.partitions.retain(|p| p.id != id);
            if durable > crate::offsets::NONE {
                self.context.seek(id.clone(), durable + 1);
                self.context.begins_at(id.clone(), durable + 1);
            }
            tracing::info!(task = %self.context.task, partition = %id, durable, "opened");
            self.openings += 1;
            self.partitions.push(Partition::new(id, self.openings, durable, &self.config.flush));
        }
        Ok(())
    }

    async fn put(&mut self, records: &[SinkRecord]) -> Result<()> {
        for partition in &mut self.partitions {
            partition.ignoring = false;
            partition.reported = false;
        }
        // First, while nothing has changed yet: it may fail, and the batch then comes again.
        self.know_tables(records).await?;
        while let Some(ended) = self.loads.try_join_next() {
            self.settle(ended)?;
        }
        self.take(records)?;
        self.schedule()?;
        self.hold_back().await
    }

    /// Looks at the tables of topics that were not seen before, and makes them if they are missing; and again at those that are not
    /// as they were thought to be.
    async fn know_tables(&mut self, records: &[SinkRecord]) -> Result<()> {
        while let Some(name) = self.stale.last().cloned() {
            let table = self.look_at(name).await?;
            self.adopt(vec![table]);
            self.stale.pop();
        }
        let mut last: Option<&Arc<str>> = None;
        for record in records {
            let topic = &record.record.topic;
            if last.is_some_and(|last| Arc::ptr_eq(last, topic)) || self.tables.contains_key(topic) {
                last = Some(topic);
                continue;
            }
            let name = self.config.table_for(topic);
            let table = match self.tables.values().find(|t| t.name == name) {
                Some(table) => table.clone(),
                None => Arc::new(self.look_at(name).await?),
            };
            self.tables.insert(topic.clone(), table);
            last = Some(topic);
        }
        Ok(())
    }

    async fn look_at(&mut self, name: TableName) -> Result<Table> {
        let mut session = self.client.session()?;
        match tables::ensure(&mut session, &self.config, name).await {
            Ok(table) => {
                self.client.give_back(session);
                Ok(table)
            }
            Err(error) => {
                session.close().await;
                Err(error)
            }
        }
    }

    /// Takes records into the rows that wait.
    fn take(&mut self, records: &[SinkRecord]) -> Result<()> {
        let now = Instant::now();
        self.scratch.now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        // What was taken before this call has come again.
        let floors: Vec<i64> = self.partitions.iter().map(|p| p.taken).collect();
        let mut at = 0;
        for record in records {
            let origin = &record.origin;
            let is_it = |p: &Partition| p.id.partition == origin.partition && p.id.topic == origin.topic;
            if !self.partitions.get(at).is_some_and(is_it) {
                let found = self.partitions.iter().position(is_it);
                at = found.ok_or_else(|| {
                    Error::fatal(format!("a record of {}-{} was delivered, which is not open", origin.topic, origin.partition))
                })?;
            }
            let partition = &mut self.partitions[at];
            if partition.ignoring {
                continue;
            }
            if origin.offset <= floors[at] {
                if partition.fresh && origin.offset <= partition.durable {
                    check_recreated(&self.config, partition, origin.offset)?;
                }
                continue;
            }
            // Invariant 2: a load ends between offsets, never inside one.
            let is_next = origin.offset > partition.taken;
            if is_next && partition.searching && partition.is_full(&self.config.flush) {
                partition.await_from(origin.offset);
                self.context.seek(partition.id.clone(), origin.offset);
                continue;
            }
            partition.taken = origin.offset;
            partition.fresh = false;
            partition.rewound_to = None;
            let leaves_no_row = record.record.value.is_null() && (self.config.skip_nulls || !self.config.metadata.all);
            if leaves_no_row {
                continue;
            }
            let table = self.tables.get(&record.record.topic).ok_or_else(|| Error::fatal("a table was forgotten"))?;
            let searching = partition.searching;
            match partition.filling.add(record, table, &self.config, &mut self.scratch) {
                Ok(()) => {
                    partition.filling.since.get_or_insert(now);
                    if searching && partition.filling.suspect.is_none() {
                        partition.filling.suspect = Some(origin.clone());
                    }
                }
                Err(error) if error.kind() == ErrorKind::Data => {
                    partition.reported = true;
                    self.context.report(origin.clone(), error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Seals what is due, and begins loads while there are sessions for them.
    fn schedule(&mut self) -> Result<()> {
        let now = Instant::now();
        let flush = &self.config.flush;
        for partition in &mut self.partitions {
            // Invariant 1: only when the load before has ended.
            if partition.sealed.is_none() && partition.is_due(flush, now) {
                partition.seal(now)?;
            }
        }
        while self.memory() > flush.task_bytes_max {
            let fullest = self.partitions.iter_mut().filter(|p| p.sealed.is_none() && p.filling.rows > 0);
            let Some(fullest) = fullest.max_by_key(|p| p.filling.memory()) else { break };
            fullest.seal(now)?;
        }
        for partition in &mut self.partitions {
            if self.loads.len() >= flush.loads_max {
                break;
            }
            // Invariant 3.
            let Some(sealed) = partition.sealed.as_mut().filter(|_| !partition.reported) else { continue };
            let SealedState::Waiting { not_before, attempts, .. } = &sealed.state else { continue };
            if *not_before > now {
                continue;
            }
            let attempts = *attempts;
            let (give_up, given_up) = oneshot::channel();
            let state = std::mem::replace(&mut sealed.state, SealedState::Loading { give_up, attempts });
            let SealedState::Waiting { load, .. } = state else { continue };
            let (client, config) = (self.client.clone(), self.config.clone());
            self.loads.spawn(async move {
                let began = Instant::now();
                let result = load::run(&client, &config, &load, given_up).await;
                Ended { load, result, took: began.elapsed() }
            });
        }
        Ok(())
    }

    /// Loads all rows of these partitions. Dropped while it waits, it leaves everything as it is.
    async fn flush(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.partitions.iter_mut().for_each(|p| p.reported = false);
        loop {
            while let Some(ended) = self.loads.try_join_next() {
                self.settle(ended)?;
            }
            let now = Instant::now();
            for partition in self.partitions.iter_mut().filter(|p| partitions.contains(&p.id)) {
                if partition.sealed.is_none() && partition.filling.rows > 0 {
                    partition.seal(now)?;
                }
            }
            self.schedule()?;
            let flushing = self.partitions.iter().filter(|p| partitions.contains(&p.id) && !p.reported);
            let sealed = flushing.filter_map(|p| p.sealed.as_ref());
            let next = sealed.map(|sealed| match sealed.state {
                SealedState::Waiting { not_before, .. } => not_before.max(now + LOOK_INTERVAL),
                SealedState::Loading { .. } => now + LOOK_INTERVAL,
            });
            let Some(next) = next.min() else { return Ok(()) };
            if self.loads.is_empty() {
                tokio::time::sleep_until(next.into()).await;
            } else if let Ok(Some(ended)) = tokio::time::timeout_at(next.into(), self.loads.join_next()).await {
                self.settle(ended)?;
            }
        }
    }

    fn memory(&self) -> usize {
        self.partitions.iter().map(|p| p.filling.memory()).sum()
    }

    /// Waits while a partition has more rows than it may and its load is not done. Asks the worker to come again when that
    /// takes long, so that its consumer stays alive.
    async fn hold_back(&mut self) -> Result<()> {
        let until = tokio::time::Instant::now() + HOLD_BACK_MAX;
        while let Some((stuck, wait)) = self.stuck() {
            // Invariant 4.
            let sent_back = self.partitions.iter().any(|p| p.ignoring);
            let ended =
                if self.loads.is_empty() { Ok(None) } else { tokio::time::timeout_at(until, self.loads.join_next()).await };
            match ended {
                Ok(Some(ended)) => self.settle(ended)?,
                _ if sent_back => return Ok(()),
                Ok(None) => {
                    self.context.retry_after(wait.max(Duration::from_millis(50)));
                    return Err(Error::retriable(format!("the rows of {stuck} wait to be loaded again")));
                }
                Err(_) => {
                    self.context.retry_after(Duration::from_millis(100));
                    return Err(Error::retriable(format!("the load of {stuck} is still running")));
                }
            }
            self.schedule()?;
        }
        Ok(())
    }

    /// A partition that may take no more before its load is done, and how long until that is tried again.
    fn stuck(&self) -> Option<(TopicPartition, Duration)> {
        let flush = &self.config.flush;
        let is_over = |p: &&Partition| p.is_full(flush) || p.searching;
        // Those that may load only after this call are not waited for in it.
        let sealed = || self.partitions.iter().filter(|p| p.sealed.is_some() && !p.reported);
        let too_much = self.memory() > flush.task_bytes_max;
        let stuck = sealed().find(is_over).or_else(|| too_much.then(|| sealed().next()).flatten())?;
        let wait = match &stuck.sealed.as_ref()?.state {
            SealedState::Waiting { not_before, .. } => not_before.saturating_duration_since(Instant::now()),
            SealedState::Loading { .. } => Duration::ZERO,
        };
        Some((stuck.id.clone(), wait))
    }

    /// Draws the consequences of a load that has ended. It asks nobody: what it takes out, it must put somewhere.
    fn settle(&mut self, ended: Result<Ended, tokio::task::JoinError>) -> Result<()> {
        let Ended { load, result, took } = match ended {
            Ok(ended) => ended,
            Err(error) if error.is_cancelled() => return Ok(()),
            Err(error) => return Err(Error::fatal("a load panicked").with_source(error)),
        };
        // The partition may have been closed meanwhile, and even opened again.
        let is_its = |p: &Partition| p.id == load.partition && p.opening == load.opening;
        let Some(at) = self.partitions.iter().position(is_its) else { return Ok(()) };
        let Some(sealed) = self.partitions[at].sealed.take() else { return Ok(()) };
        match result {
            Ok(Outcome::Done { changed }) => {
                self.adopt(changed);
                self.loaded(at, &load, took);
                Ok(())
            }
            Ok(Outcome::Moved(offset)) if offset == load.last => {
                // By an attempt of our own whose answer was lost, or by another task with the same records.
                self.loaded(at, &load, took);
                Ok(())
            }
            Ok(Outcome::Moved(offset)) => {
                let partition = &mut self.partitions[at];
                tracing::warn!(
                    task = %self.context.task, partition = %load.partition, expected = load.previous, found = offset,
                    "somebody else has loaded this partition: going on from there"
                );
                partition.durable = offset;
                let error = Error::fatal(format!(
                    "{} is loaded by somebody else as well, again and again: another worker or connector named `{}` writes to {}; \
                     give each its own name",
                    load.partition,
                    self.config.connector,
                    self.config.offsets_table()
                ));
                self.send_back(at, offset + 1, error)
            }
            Ok(Outcome::TableChanged(error)) => {
                tracing::warn!(task = %self.context.task, partition = %load.partition, error = format!("{error:#}"), "looking at the tables again");
                self.stale.extend(load.tables.iter().map(|table| table.table.name.clone()));
                self.send_back(at, load.first, error)
            }
            Ok(Outcome::Unfit(error)) => self.refused(at, &load, sealed.suspect, error),
            Err(error) if error.kind() == ErrorKind::Retriable => {
                let attempts = match sealed.state {
                    SealedState::Loading { attempts, .. } | SealedState::Waiting { attempts, .. } => attempts + 1,
                };
                let wait = load::back_off(attempts + 3, &Failure::protocol(""));
                tracing::warn!(
                    task = %self.context.task, partition = %load.partition, attempts, wait_ms = wait.as_millis() as u64,
                    error = format!("{error:#}"), "could not load, trying again"
                );
                let state = SealedState::Waiting { load, not_before: Instant::now() + wait, attempts };
                self.partitions[at].sealed = Some(Sealed { state, ..sealed });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn loaded(&mut self, at: usize, load: &Load, took: Duration) {
        let partition = &mut self.partitions[at];
        partition.durable = load.last;
        self.context.begins_at(load.partition.clone(), load.last + 1);
        partition.setbacks = 0;
        partition.search_wider(&self.config.flush);
        self.context.request_commit();
        let bytes: usize = load.tables.iter().flat_map(|t| &t.files).map(|f| f.file.bytes.len()).sum();
        tracing::debug!(
            task = %self.context.task, partition = %load.partition, first = load.first, last = load.last, rows = load.rows, bytes,
            took_ms = took.as_millis() as u64, "loaded"
        );
    }

    /// Snowflake refuses a value that was thought to fit. One row: it is reported. Many: they come again in smaller loads.
    fn refused(&mut self, at: usize, load: &Load, suspect: Option<penstock_api::Origin>, error: Error) -> Result<()> {
        if let Some(origin) = suspect {
            tracing::warn!(task = %self.context.task, partition = %load.partition, offset = load.first, error = format!("{error:#}"), "Snowflake refuses a record");
            self.context.report(origin, error);
            self.partitions[at].reported = true;
            return Ok(());
        }
        let partition = &mut self.partitions[at];
        partition.rows_max = partition.rows_max.min(load.rows);
        partition.search_closer();
        tracing::warn!(
            task = %self.context.task, partition = %load.partition, rows = load.rows, next_rows = partition.rows_max,
            error = format!("{error:#}"), "Snowflake refuses a record of a load: searching for it"
        );
        partition.rewind(load.first);
        self.context.seek(partition.id.clone(), load.first);
        Ok(())
    }

    /// Sends a partition back to an offset, unless that happens again and again.
    fn send_back(&mut self, at: usize, offset: i64, error: Error) -> Result<()> {
        let partition = &mut self.partitions[at];
        partition.setbacks += 1;
        if partition.setbacks > SETBACKS_MAX {
            return Err(error);
        }
        partition.rewind(offset);
        self.context.seek(partition.id.clone(), offset);
        Ok(())
    }

    /// Takes tables as they are now.
    fn adopt(&mut self, tables: Vec<Table>) {
        for table in tables {
            let table = Arc::new(table);
            for known in self.tables.values_mut().filter(|t| t.name == table.name) {
                *known = table.clone();
            }
        }
    }

    /// Gives up what is held of these partitions. Loads that still run roll back by themselves, or are done a moment too late: whoever
    /// opens the partition next finds out from the offsets table.
    fn close(&mut self, partitions: &[TopicPartition]) {
        for partition in self.partitions.extract_if(.., |p| partitions.contains(&p.id)) {
            if let Some(Sealed { state: SealedState::Loading { give_up, .. }, .. }) = partition.sealed {
                let _has_ended = give_up.send(());
            }
        }
    }

    /// Ends the sessions. An account that does not answer is not waited for: the rest goes on by itself.
    async fn say_farewell(mut self) {
        let client = self.client;
        let idle = tokio::spawn(async move { client.close().await });
        let ended = async {
            while self.loads.join_next().await.is_some() {}
            idle.await
        };
        if tokio::time::timeout(FAREWELL_MAX, ended).await.is_err() {
            self.loads.detach_all();
        }
    }
}

/// Offsets below what is loaded: the topic was made anew, or somebody has set offsets back.
fn check_recreated(config: &Config, partition: &Partition, offset: i64) -> Result<()> {
    let forget = crate::offsets::Offsets::of(config).forget(&partition.id);
    match config.topic_recreated {
        TopicRecreated::Skip => Ok(()),
        TopicRecreated::Fail => Err(Error::config(format!(
            "{} delivers offset {offset}, but is loaded up to {} already: the topic was made anew or its offsets were set back. To load \
             it again run `{forget}`; to skip what is loaded set `penstock.snowflake.topic.recreated=skip`",
            partition.id, partition.durable
        ))),
    }
}
