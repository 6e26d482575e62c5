//! The status topic: how each connector and task is, and which topics a connector has used.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use penstock_api::TaskId;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::event::{Record, task_id};
use super::json;
use super::log::{Log, Position};

/// Connect's states of a connector or task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    Unassigned,
    Running,
    Paused,
    Failed,
    Restarting,
    Stopped,
    /// Never written: its record is a tombstone.
    Destroyed,
}

/// The value of a connector's or task's record, fields in Java's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub state: State,
    #[serde(default)]
    pub trace: Option<String>,
    pub worker_id: String,
    /// Of the group, when this was written.
    pub generation: i32,
    /// Of the plugin (KIP-891).
    #[serde(default)]
    pub version: Option<String>,
    /// What Connect has no state for; Java's workers ignore it. Written only when there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// What a state does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// It failed, and its connector asked for restarts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartHealth>,
    /// It runs, but does not get on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled: Option<StalledHealth>,
}

/// How far the restarts of what failed are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartHealth {
    pub state: RestartState,
    /// Automatic restarts within the window, the next one included.
    pub attempts: u32,
    /// When it is restarted, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// For people.
    pub message: String,
}

/// Whether it will be restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartState {
    Waiting,
    /// It failed too often: nothing happens until somebody acts.
    CrashLoop,
}

/// Since when a task does not get on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StalledHealth {
    /// RFC 3339.
    pub since: String,
    /// For people.
    pub message: String,
}

/// Whose status it is. Connectors come before tasks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    Connector(Arc<str>),
    Task(TaskId),
}

/// The value of a topic's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicUse {
    pub name: String,
    pub connector: String,
    pub task: u32,
    /// Milliseconds since 1970.
    pub discover_timestamp: i64,
}

/// All statuses as far as they are known here: read from the topic, overlaid by what this worker is about to write. Cheap to
/// clone.
#[derive(Clone, Default)]
pub struct StatusStore {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    table: Mutex<Table>,
    /// Something is to be written.
    dirty: Notify,
    /// Nothing is to be written any more.
    clean: Notify,
}

#[derive(Default)]
struct Table {
    units: BTreeMap<Unit, Slot<Status>>,
    /// By connector and topic.
    topics: BTreeMap<(Arc<str>, String), Slot<TopicUse>>,
    /// Keys to write, each once: however long the broker is away, there are never more than there are units and topics.
    dirty: BTreeSet<Key>,
    writing: usize,
    /// Units that run here, so that nobody else knows better how they are.
    own: BTreeSet<Unit>,
}

/// One key of the topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Unit(Unit),
    Topic(Arc<str>, String),
}

struct Slot<V> {
    /// What stands in the topic, with the highest offset seen or acknowledged.
    written: Option<V>,
    offset: i64,
    /// What is to stand there (`Some(None)`: nothing), until it is acknowledged.
    pending: Option<Option<V>>,
}

const CONNECTOR: &str = "status-connector-";
const TASK: &str = "status-task-";
const TOPIC: &str = "status-topic-";
const TOPIC_SEPARATOR: &str = ":connector-";
/// Written at once; more wait for the acknowledgement of these.
const BATCH_MAX: usize = 200;
const RETRY_WAIT: Duration = Duration::from_secs(1);

impl StatusStore {
    /// The status of a connector or task.
    #[must_use]
    pub fn get(&self, unit: &Unit) -> Option<Status> {
        self.lock().units.get(unit).and_then(Slot::now).cloned()
    }

    /// The status of a connector.
    #[must_use]
    pub fn connector(&self, name: &str) -> Option<Status> {
        self.get(&Unit::Connector(name.into()))
    }

    /// The statuses of a connector's tasks, by number.
    #[must_use]
    pub fn tasks(&self, connector: &str) -> Vec<(u32, Status)> {
        let table = self.lock();
        let from = Unit::Task(TaskId { connector: connector.into(), task: 0 });
        let tasks = table.units.range(from..).map_while(|(unit, slot)| match unit {
            Unit::Task(id) if &*id.connector == connector => Some((id.task, slot.now().cloned())),
            _ => None,
        });
        tasks.filter_map(|(task, status)| Some((task, status?))).collect()
    }

    /// Everything that has a status.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        self.lock().units.iter().filter(|(_, slot)| slot.now().is_some()).map(|(unit, _)| unit.clone()).collect()
    }

    /// The topics a connector has used, by name.
    #[must_use]
    pub fn topics(&self, connector: &str) -> Vec<String> {
        let table = self.lock();
        let of_connector = table.topics.range((connector.into(), String::new())..).take_while(|((c, _), _)| &**c == connector);
        of_connector.filter(|(_, slot)| slot.now().is_some()).map(|((_, topic), _)| topic.clone()).collect()
    }

    /// Writes the status of a unit that runs here, soon; readers here see it at once. Should another worker's word, of the same
    /// generation or an older one, come in between, it is written again.
    pub fn put(&self, unit: Unit, status: Status) {
        self.lock().own.insert(unit.clone());
        self.write(unit, Some(status));
    }

    /// Writes a status unless another worker has written a newer one: for what is said of a unit that does not run here (any
    /// more).
    pub fn put_if_newer(&self, unit: Unit, status: Status) {
        self.lock().own.remove(&unit);
        let overtaken = |known: Status| known.worker_id != status.worker_id && known.generation > status.generation;
        if !self.get(&unit).is_some_and(overtaken) {
            self.write(unit, Some(status));
        }
    }

    /// Takes a status away.
    pub fn remove(&self, unit: Unit) {
        self.lock().own.remove(&unit);
        if self.get(&unit).is_some() {
            self.write(unit, None);
        }
    }

    /// Notes that a task has used a topic. Only the first time costs anything.
    pub fn topic_used(&self, id: &TaskId, topic: &str, now_ms: i64) {
        let mut table = self.lock();
        let slot = table.topics.entry((id.connector.clone(), topic.to_owned())).or_default();
        if slot.now().is_none() {
            slot.pending = Some(Some(TopicUse {
                name: topic.to_owned(),
                connector: id.connector.to_string(),
                task: id.task,
                discover_timestamp: now_ms,
            }));
            table.dirty.insert(Key::Topic(id.connector.clone(), topic.to_owned()));
            self.shared.dirty.notify_one();
        }
    }

    /// Forgets which topics a connector has used.
    pub fn forget_topics(&self, connector: &str) {
        for topic in self.topics(connector) {
            let mut table = self.lock();
            let name: Arc<str> = connector.into();
            table.topics.entry((name.clone(), topic.clone())).or_default().pending = Some(None);
            table.dirty.insert(Key::Topic(name, topic));
        }
        self.shared.dirty.notify_one();
    }

    /// Takes in a record of the topic.
    ///
    /// # Errors
    /// Why it makes no sense; such a record is to be logged and skipped.
    pub fn read(&self, at: Position, key: &str, value: Option<&[u8]>) -> Result<(), String> {
        let mut table = self.lock();
        match Key::parse(key).ok_or("nothing is known by this key")? {
            Key::Unit(unit) => {
                let status = value.map(parse::<Option<Status>>).transpose()?.flatten();
                if table.should_correct(&unit, at.offset, status.as_ref()) {
                    table.dirty.insert(Key::Unit(unit));
                    self.shared.dirty.notify_one();
                } else {
                    table.units.entry(unit).or_default().saw(at.offset, status);
                }
            }
            Key::Topic(connector, topic) => {
                let used = value.map(parse::<Option<TopicValue<TopicUse>>>).transpose()?.flatten().map(|value| value.topic);
                table.topics.entry((connector, topic)).or_default().saw(at.offset, used);
            }
        }
        Ok(())
    }

    /// Writes what is to be written, for ever; what fails is tried again with what is to be said by then.
    pub async fn write_all(&self, log: &Log, topic: &str) {
        loop {
            let batch = self.take_batch();
            if batch.is_empty() {
                self.shared.clean.notify_waiters();
                self.shared.dirty.notified().await;
                continue;
            }
            let records: Vec<_> = batch.iter().map(|(key, value)| key.record(value.as_ref())).collect();
            match log.append(topic, records).await {
                Ok(positions) => self.acknowledge(batch, &positions),
                Err(error) => {
                    tracing::warn!("cannot write statuses: {error:#}; trying again");
                    self.put_back(batch);
                    tokio::time::sleep(RETRY_WAIT).await;
                }
            }
        }
    }

    /// Waits until everything is written.
    pub async fn flushed(&self) {
        loop {
            let clean = self.shared.clean.notified();
            if self.is_clean() {
                return;
            }
            // A check from time to time, should the notice have come between the two lines above.
            let _woken = tokio::time::timeout(Duration::from_millis(50), clean).await;
        }
    }

    fn write(&self, unit: Unit, status: Option<Status>) {
        let mut table = self.lock();
        table.units.entry(unit.clone()).or_default().pending = Some(status);
        table.dirty.insert(Key::Unit(unit));
        self.shared.dirty.notify_one();
    }

    fn is_clean(&self) -> bool {
        let table = self.lock();
        table.dirty.is_empty() && table.writing == 0
    }

    fn take_batch(&self) -> Vec<(Key, Option<Value>)> {
        let mut table = self.lock();
        let mut batch = Vec::new();
        while batch.len() < BATCH_MAX
            && let Some(key) = table.dirty.pop_first()
        {
            let value = table.pending(&key);
            batch.push((key, value));
        }
        table.writing = batch.len();
        batch
    }

    fn acknowledge(&self, batch: Vec<(Key, Option<Value>)>, positions: &[Position]) {
        let mut table = self.lock();
        table.writing = 0;
        for ((key, value), at) in batch.into_iter().zip(positions) {
            // Something newer may wait by now.
            let current = !table.dirty.contains(&key);
            match (key, value) {
                (Key::Unit(unit), value) => {
                    let status = value.and_then(Value::status);
                    table.units.entry(unit).or_default().acknowledged(at.offset, status, current);
                }
                (Key::Topic(connector, topic), value) => {
                    let used = value.and_then(Value::topic);
                    table.topics.entry((connector, topic)).or_default().acknowledged(at.offset, used, current);
                }
            }
        }
        table.units.retain(|_, slot| !slot.is_empty());
        table.topics.retain(|_, slot| !slot.is_empty());
    }

    fn put_back(&self, batch: Vec<(Key, Option<Value>)>) {
        let mut table = self.lock();
        table.writing = 0;
        table.dirty.extend(batch.into_iter().map(|(key, _)| key));
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Whether another worker's late word stands over that of this one, where the unit runs; keeps ours to be written again.
    fn should_correct(&mut self, unit: &Unit, offset: i64, read: Option<&Status>) -> bool {
        let Some(slot) = self.units.get_mut(unit).filter(|slot| self.own.contains(unit) && offset > slot.offset) else {
            return false;
        };
        let Some((ours, theirs)) = slot.now().cloned().zip(read) else { return false };
        if theirs.worker_id == ours.worker_id || theirs.generation > ours.generation {
            return false;
        }
        slot.saw(offset, Some(theirs.clone()));
        slot.pending = Some(Some(ours));
        true
    }

    fn pending(&self, key: &Key) -> Option<Value> {
        match key {
            Key::Unit(unit) => self.units.get(unit)?.now().cloned().map(Value::Status),
            Key::Topic(connector, topic) => {
                let slot = self.topics.get(&(connector.clone(), topic.clone()))?;
                slot.now().cloned().map(|topic| Value::Topic(TopicValue { topic }))
            }
        }
    }
}

impl<V> Default for Slot<V> {
    fn default() -> Self {
        Self { written: None, offset: -1, pending: None }
    }
}

impl<V> Slot<V> {
    fn now(&self) -> Option<&V> {
        self.pending.as_ref().map_or(self.written.as_ref(), Option::as_ref)
    }

    /// A key stays in its partition, so its highest offset is its newest value.
    fn saw(&mut self, offset: i64, value: Option<V>) {
        if offset >= self.offset {
            self.offset = offset;
            self.written = value;
        }
    }

    fn acknowledged(&mut self, offset: i64, value: Option<V>, current: bool) {
        self.saw(offset, value);
        if current {
            self.pending = None;
        }
    }

    fn is_empty(&self) -> bool {
        self.written.is_none() && self.pending.is_none()
    }
}

/// What a record says.
#[derive(Serialize)]
#[serde(untagged)]
enum Value {
    Status(Status),
    Topic(TopicValue<TopicUse>),
}

#[derive(Serialize, Deserialize)]
struct TopicValue<T> {
    topic: T,
}

impl Value {
    fn status(self) -> Option<Status> {
        if let Value::Status(status) = self { Some(status) } else { None }
    }

    fn topic(self) -> Option<TopicUse> {
        if let Value::Topic(value) = self { Some(value.topic) } else { None }
    }
}

impl Key {
    fn parse(key: &str) -> Option<Self> {
        if let Some(name) = key.strip_prefix(CONNECTOR) {
            Some(Key::Unit(Unit::Connector(name.into())))
        } else if let Some(id) = key.strip_prefix(TASK) {
            task_id(id).map(|id| Key::Unit(Unit::Task(id)))
        } else {
            let (topic, connector) = key.strip_prefix(TOPIC)?.split_once(TOPIC_SEPARATOR)?;
            Some(Key::Topic(connector.into(), topic.to_owned()))
        }
    }

    fn record(&self, value: Option<&Value>) -> Record {
        let key = match self {
            Key::Unit(Unit::Connector(name)) => format!("{CONNECTOR}{name}"),
            Key::Unit(Unit::Task(id)) => format!("{TASK}{id}"),
            Key::Topic(connector, topic) => format!("{TOPIC}{topic}{TOPIC_SEPARATOR}{connector}"),
        };
        Record { key, value: value.map(|v| json::to_vec(v).expect("a status always becomes JSON")) }
    }
}

fn parse<'v, T: Deserialize<'v>>(value: &'v [u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|e| format!("the value is not a status: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: State, worker: &str, generation: i32) -> Status {
        Status { state, trace: None, worker_id: worker.into(), generation, version: None, health: None }
    }

    fn at(offset: i64) -> Position {
        Position { partition: 0, offset }
    }

    fn unit() -> Unit {
        Unit::Task(TaskId { connector: "a-1".into(), task: 0 })
    }

    /// What the store would write now.
    fn written(store: &StatusStore) -> Vec<Record> {
        let batch = store.take_batch();
        let records = batch.iter().map(|(key, value)| key.record(value.as_ref())).collect();
        store.put_back(batch);
        records
    }

    #[test]
    fn writes_what_java_wrote() {
        let lines = include_str!("recorded/status.tsv").lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            let columns: Vec<_> = line.splitn(4, '\t').collect();
            let value = Some(columns[3].as_bytes()).filter(|v| *v != b"NULL");
            let store = StatusStore::default();
            store.read(at(0), columns[2], value).unwrap();
            let key = Key::parse(columns[2]).unwrap();
            let value_now = store.lock().pending(&key);
            let record = key.record(value_now.as_ref());
            assert_eq!(record.key, columns[2]);
            assert_eq!(record.value.as_deref().map(String::from_utf8_lossy), value.map(String::from_utf8_lossy));
        }
    }

    #[test]
    fn what_is_about_to_be_written_is_seen_at_once_and_wins_over_what_is_read() {
        let store = StatusStore::default();
        store.put(unit(), status(State::Running, "w", 1));
        store.read(at(7), "status-task-a-1-0", Some(br#"{"state":"UNASSIGNED","worker_id":"v","generation":1}"#)).unwrap();
        assert_eq!(store.get(&unit()).unwrap().state, State::Running);
        let batch = store.take_batch();
        store.acknowledge(batch, &[at(8)]);
        assert_eq!(store.get(&unit()).unwrap().state, State::Running);
        // Read back late: older than what is known to be written.
        store.read(at(7), "status-task-a-1-0", Some(br#"{"state":"FAILED","worker_id":"v","generation":1}"#)).unwrap();
        assert_eq!(store.get(&unit()).unwrap().state, State::Running);
        store.read(at(9), "status-task-a-1-0", Some(br#"{"state":"FAILED","worker_id":"v","generation":2}"#)).unwrap();
        assert_eq!(store.get(&unit()).unwrap().state, State::Failed);
    }

    #[test]
    fn only_the_newest_of_a_unit_is_written() {
        let store = StatusStore::default();
        store.put(unit(), status(State::Running, "w", 1));
        store.put(unit(), status(State::Paused, "w", 1));
        let records = written(&store);
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].value.as_deref().unwrap()[..18], *br#"{"state":"PAUSED","#);
        // Changed while the batch is under way: written again.
        let batch = store.take_batch();
        store.put(unit(), status(State::Failed, "w", 1));
        store.acknowledge(batch, &[at(3)]);
        assert_eq!(store.get(&unit()).unwrap().state, State::Failed);
        assert_eq!(written(&store).len(), 1);
    }

    #[test]
    fn a_newer_status_of_another_worker_stands() {
        let store = StatusStore::default();
        store.read(at(0), "status-task-a-1-0", Some(br#"{"state":"RUNNING","worker_id":"other","generation":5}"#)).unwrap();
        store.put_if_newer(unit(), status(State::Unassigned, "w", 4));
        assert_eq!(store.get(&unit()).unwrap().state, State::Running);
        store.put_if_newer(unit(), status(State::Unassigned, "w", 5));
        assert_eq!(store.get(&unit()).unwrap().state, State::Unassigned);
    }

    #[test]
    fn a_late_word_of_the_worker_before_is_corrected_where_the_unit_runs() {
        let store = StatusStore::default();
        store.put(unit(), status(State::Running, "new", 5));
        let batch = store.take_batch();
        store.acknowledge(batch, &[at(3)]);
        let late = |generation| format!(r#"{{"state":"UNASSIGNED","worker_id":"old","generation":{generation}}}"#);
        store.read(at(4), "status-task-a-1-0", Some(late(5).as_bytes())).unwrap();
        assert_eq!(store.get(&unit()).unwrap().state, State::Running);
        assert_eq!(written(&store).len(), 1);
        let batch = store.take_batch();
        store.acknowledge(batch, &[at(5)]);
        store.read(at(5), "status-task-a-1-0", Some(br#"{"state":"RUNNING","worker_id":"new","generation":5}"#)).unwrap();
        assert!(written(&store).is_empty(), "once is enough");
        // Whoever is of a later generation knows better.
        store.read(at(6), "status-task-a-1-0", Some(late(6).as_bytes())).unwrap();
        assert_eq!(store.get(&unit()).unwrap().state, State::Unassigned);
        // What does not run here is left alone.
        store.put_if_newer(unit(), status(State::Unassigned, "new", 7));
        let batch = store.take_batch();
        store.acknowledge(batch, &[at(7)]);
        store.read(at(8), "status-task-a-1-0", Some(late(7).as_bytes())).unwrap();
        assert_eq!(store.get(&unit()).unwrap().worker_id, "old");
        assert!(written(&store).is_empty());
    }

    #[test]
    fn a_removed_unit_becomes_a_tombstone_and_is_forgotten() {
        let store = StatusStore::default();
        store.remove(unit());
        assert!(written(&store).is_empty(), "nothing was there");
        store.read(at(0), "status-task-a-1-0", Some(br#"{"state":"RUNNING","worker_id":"w","generation":5}"#)).unwrap();
        assert_eq!(store.tasks("a-1").len(), 1);
        store.remove(unit());
        assert_eq!(store.get(&unit()), None);
        assert_eq!(written(&store), [Record { key: "status-task-a-1-0".into(), value: None }]);
        let batch = store.take_batch();
        store.acknowledge(batch, &[at(1)]);
        assert!(store.lock().units.is_empty() && store.units().is_empty());
    }

    #[test]
    fn topics_are_noted_once_and_forgotten_together() {
        let store = StatusStore::default();
        let task = TaskId { connector: "a".into(), task: 1 };
        store.topic_used(&task, "t2", 5);
        store.topic_used(&task, "t1", 6);
        store.topic_used(&task, "t1", 7);
        assert_eq!(store.topics("a"), ["t1", "t2"]);
        let records = written(&store);
        let value = r#"{"topic":{"name":"t1","connector":"a","task":1,"discoverTimestamp":6}}"#;
        assert_eq!(records[0], Record { key: "status-topic-t1:connector-a".into(), value: Some(value.into()) });
        let batch = store.take_batch();
        store.acknowledge(batch, &[at(0), at(1)]);
        store.forget_topics("a");
        assert!(store.topics("a").is_empty());
        assert!(written(&store).iter().all(|record| record.value.is_none()));
    }

    #[test]
    fn garbage_is_refused_with_a_reason() {
        let store = StatusStore::default();
        let check = |key: &str, value: &[u8]| assert!(store.read(at(0), key, Some(value)).is_err(), "{key}");
        check("status-task-a", b"{}");
        check("status-connector-a", b"{");
        check("status-connector-a", br#"{"state":"ASLEEP","worker_id":"w","generation":1}"#);
        check("status-topic-a", b"{}");
        assert!(store.units().is_empty());
    }
}
