//! The assignment topic: what the leader has given to whom, and what each worker says of itself.
//!
//! Compacted, one partition. The leader writes `leader` and `assignment`, in transactions; each worker its `worker-<id>`. Which
//! rules make of this that a unit never runs twice stands in `cluster/assign.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_api::TaskId;
use serde::{Deserialize, Serialize};

use super::event::Record;
use super::status::Unit;

/// `host:port`, as statuses and the group name a worker.
pub type WorkerId = Arc<str>;

/// Who is to run what. Replaced as a whole, never changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// One more than that of the assignment before.
    pub version: i64,
    pub shares: BTreeMap<WorkerId, Share>,
    /// Units that workers may still be running though they are no longer theirs, with the version that took them away.
    pub leftovers: BTreeMap<Unit, BTreeMap<WorkerId, i64>>,
}

/// What one worker is to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The member of the group that this is meant for: another one by the same worker id, an earlier or later start, must not
    /// act on it.
    pub member: String,
    pub units: BTreeSet<Unit>,
}

/// What a worker says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Where others reach it.
    pub url: String,
    /// Its id in the group, which changes with each start and after an expulsion.
    pub member: String,
    /// The newest assignment that it has acted on: of what is not in its share there it runs nothing but `releasing`.
    pub version: i64,
    /// What is not its own any more and has not ended yet.
    #[serde(with = "listed")]
    pub releasing: BTreeSet<Unit>,
    /// It is shutting down, and its units are to go elsewhere.
    #[serde(default)]
    pub leaving: bool,
}

/// Who leads: the first record of each leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Where others reach it.
    pub url: String,
    /// Its id in the group.
    pub member: String,
}

/// A record of the topic; `None` stands for a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Leader(Leader),
    Assignment(Assignment),
    Note(WorkerId, Option<Note>),
}

const LEADER: &str = "leader";
const ASSIGNMENT: &str = "assignment";
const WORKER: &str = "worker-";

impl Assignment {
    /// The worker that is to run the unit.
    #[must_use]
    pub fn owner(&self, unit: &Unit) -> Option<&WorkerId> {
        self.shares.iter().find(|(_, share)| share.units.contains(unit)).map(|(worker, _)| worker)
    }
}

impl Entry {
    /// Reads a record.
    ///
    /// # Errors
    /// Why it makes no sense; such a record is to be logged and skipped.
    pub fn parse(key: &str, value: Option<&[u8]>) -> Result<Self, String> {
        let not_read = |e: serde_json::Error| format!("the value cannot be read: {e}");
        let some = || value.ok_or("it is a tombstone");
        if key == LEADER {
            serde_json::from_slice(some()?).map(Entry::Leader).map_err(not_read)
        } else if key == ASSIGNMENT {
            let written: Written = serde_json::from_slice(some()?).map_err(not_read)?;
            Ok(Entry::Assignment(written.into()))
        } else if let Some(worker) = key.strip_prefix(WORKER) {
            let note = value.map(serde_json::from_slice).transpose().map_err(not_read)?;
            Ok(Entry::Note(worker.into(), note))
        } else {
            Err("nothing is known by this key".into())
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn record(&self) -> Record {
        let bytes = |json: serde_json::Result<Vec<u8>>| json.expect("maps with text keys always become JSON");
        match self {
            Entry::Leader(leader) => Record { key: LEADER.into(), value: Some(bytes(serde_json::to_vec(leader))) },
            Entry::Assignment(assignment) => {
                Record { key: ASSIGNMENT.into(), value: Some(bytes(serde_json::to_vec(&Written::from(assignment)))) }
            }
            Entry::Note(worker, note) => {
                Record { key: format!("{WORKER}{worker}"), value: note.as_ref().map(|note| bytes(serde_json::to_vec(note))) }
            }
        }
    }
}

/// An assignment as it stands in the topic: tasks by connector, so that a thousand of them stay small.
#[derive(Serialize, Deserialize)]
struct Written {
    version: i64,
    workers: BTreeMap<String, WrittenShare>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    leftovers: Vec<WrittenLeftover>,
}

#[derive(Serialize, Deserialize)]
struct WrittenShare {
    member: String,
    connectors: Vec<String>,
    tasks: BTreeMap<String, Vec<u32>>,
}

#[derive(Serialize, Deserialize)]
struct WrittenLeftover {
    #[serde(flatten)]
    unit: UnitName,
    /// By worker the version that took the unit away.
    workers: BTreeMap<String, i64>,
}

/// A connector, or with a number one of its tasks.
#[derive(Serialize, Deserialize)]
struct UnitName {
    connector: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<u32>,
}

impl From<&Unit> for UnitName {
    fn from(unit: &Unit) -> Self {
        match unit {
            Unit::Connector(connector) => Self { connector: connector.to_string(), task: None },
            Unit::Task(id) => Self { connector: id.connector.to_string(), task: Some(id.task) },
        }
    }
}

impl From<UnitName> for Unit {
    fn from(UnitName { connector, task }: UnitName) -> Self {
        match task {
            None => Unit::Connector(connector.into()),
            Some(task) => Unit::Task(TaskId { connector: connector.into(), task }),
        }
    }
}

impl From<&Share> for WrittenShare {
    fn from(share: &Share) -> Self {
        let mut written = Self { member: share.member.clone(), connectors: Vec::new(), tasks: BTreeMap::new() };
        for unit in &share.units {
            match unit {
                Unit::Connector(name) => written.connectors.push(name.to_string()),
                Unit::Task(id) => written.tasks.entry(id.connector.to_string()).or_default().push(id.task),
            }
        }
        written
    }
}

impl From<WrittenShare> for Share {
    fn from(WrittenShare { member, connectors, tasks }: WrittenShare) -> Self {
        let mut units: BTreeSet<Unit> = connectors.into_iter().map(|name| Unit::Connector(name.into())).collect();
        for (connector, tasks) in tasks {
            let connector: Arc<str> = connector.into();
            units.extend(tasks.into_iter().map(|task| Unit::Task(TaskId { connector: connector.clone(), task })));
        }
        Self { member, units }
    }
}

impl From<&Assignment> for Written {
    fn from(Assignment { version, shares, leftovers }: &Assignment) -> Self {
        let leftover = |(unit, workers): (&Unit, &BTreeMap<WorkerId, i64>)| WrittenLeftover {
            unit: unit.into(),
            workers: workers.iter().map(|(worker, since)| (worker.to_string(), *since)).collect(),
        };
        Self {
            version: *version,
            workers: shares.iter().map(|(worker, share)| (worker.to_string(), share.into())).collect(),
            leftovers: leftovers.iter().map(leftover).collect(),
        }
    }
}

impl From<Written> for Assignment {
    fn from(Written { version, workers, leftovers }: Written) -> Self {
        let leftover = |WrittenLeftover { unit, workers }: WrittenLeftover| {
            (unit.into(), workers.into_iter().map(|(worker, since)| (worker.into(), since)).collect())
        };
        Self {
            version,
            shares: workers.into_iter().map(|(worker, share)| (worker.into(), share.into())).collect(),
            leftovers: leftovers.into_iter().map(leftover).collect(),
        }
    }
}

/// Units as a list of names.
mod listed {
    use std::collections::BTreeSet;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Unit, UnitName};

    pub(super) fn serialize<S: Serializer>(units: &BTreeSet<Unit>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(units.iter().map(UnitName::from))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<BTreeSet<Unit>, D::Error> {
        Ok(Vec::<UnitName>::deserialize(deserializer)?.into_iter().map(Unit::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(connector: &str, task: u32) -> Unit {
        Unit::Task(TaskId { connector: connector.into(), task })
    }

    fn check(entry: Entry, key: &str, json: &str) {
        let record = entry.record();
        assert_eq!((record.key.as_str(), record.value.as_deref()), (key, Some(json.as_bytes())));
        assert_eq!(Entry::parse(key, Some(json.as_bytes())), Ok(entry));
    }

    #[test]
    fn an_assignment_and_its_bytes() {
        let units = [Unit::Connector("a".into()), task("a", 0), task("a", 2), task("b-1", 1)];
        let assignment = Assignment {
            version: 7,
            shares: [("h:1".into(), Share { member: "m".into(), units: units.into() }), ("h:2".into(), Share::default())].into(),
            leftovers: [(task("a", 1), [("h:3".into(), 6)].into())].into(),
        };
        assert_eq!(assignment.owner(&task("a", 2)).map(|w| &**w), Some("h:1"));
        assert_eq!(assignment.owner(&task("a", 1)), None);
        check(
            Entry::Assignment(assignment),
            "assignment",
            r#"{"version":7,"workers":{"h:1":{"member":"m","connectors":["a"],"tasks":{"a":[0,2],"b-1":[1]}},"h:2":{"member":"","connectors":[],"tasks":{}}},"leftovers":[{"connector":"a","task":1,"workers":{"h:3":6}}]}"#,
        );
    }

    #[test]
    fn a_leader_and_its_bytes() {
        let leader = Leader { url: "http://h:1".into(), member: "m".into() };
        check(Entry::Leader(leader), "leader", r#"{"url":"http://h:1","member":"m"}"#);
    }

    #[test]
    fn a_note_and_its_bytes() {
        let note = Note {
            url: "http://h:1".into(),
            member: "m".into(),
            version: 7,
            releasing: [Unit::Connector("a".into()), task("a", 1)].into(),
            leaving: false,
        };
        check(
            Entry::Note("h:1".into(), Some(note)),
            "worker-h:1",
            r#"{"url":"http://h:1","member":"m","version":7,"releasing":[{"connector":"a"},{"connector":"a","task":1}],"leaving":false}"#,
        );
        assert_eq!(Entry::parse("worker-h:1", None), Ok(Entry::Note("h:1".into(), None)));
    }

    #[test]
    fn garbage_is_refused_with_a_reason() {
        let check = |key: &str, value: Option<&str>, reason: &str| {
            let error = Entry::parse(key, value.map(str::as_bytes)).unwrap_err();
            assert!(error.contains(reason), "{error}");
        };
        check("assignment", None, "tombstone");
        check("assignment", Some("{}"), "missing field");
        check("worker-h:1", Some("[1]"), "cannot be read");
        check("whatever", Some("{}"), "nothing is known");
    }
}
