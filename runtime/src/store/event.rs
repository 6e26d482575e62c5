//! One record of the config topic: what it says, and its bytes.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use penstock_api::{Props, TaskId};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::json;

/// What a user wants a connector to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TargetState {
    Started,
    Paused,
    Stopped,
}

impl TargetState {
    /// By the name that a request to create a connector has for it, in any case.
    #[must_use]
    pub fn of_request(name: &str) -> Option<Self> {
        match name.to_uppercase().as_str() {
            "RUNNING" => Some(Self::Started),
            "PAUSED" => Some(Self::Paused),
            "STOPPED" => Some(Self::Stopped),
            _ => None,
        }
    }
}

/// A record as it stands in the topic; `value: None` is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: String,
    pub value: Option<Vec<u8>>,
}

/// What a record of the config topic says. `None` stands for a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A connector's properties as the user wrote them.
    Connector {
        name: Arc<str>,
        props: Option<Arc<Props>>,
    },
    /// A task's properties; they wait for the next `Commit`.
    Task {
        id: TaskId,
        props: Option<Arc<Props>>,
    },
    /// Makes the tasks `0..tasks` written since the last commit the tasks of the connector.
    Commit {
        name: Arc<str>,
        tasks: Option<u32>,
    },
    Target {
        name: Arc<str>,
        state: Option<TargetState>,
    },
    /// So many producers are to be fenced before the next generation of source tasks (exactly once).
    Fencing {
        name: Arc<str>,
        tasks: Option<u32>,
    },
    SessionKey(SessionKey),
    /// Means something only to those who read it live.
    Restart {
        name: Arc<str>,
        include_tasks: bool,
        only_failed: bool,
    },
    /// Means something only to those who read it live.
    LoggerLevel {
        namespace: String,
        level: String,
    },
}

/// Signs calls between workers.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey {
    pub key: Vec<u8>,
    pub algorithm: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

/// Without the secret.
impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({}, created at {} ms)", self.algorithm, self.created_ms)
    }
}

const CONNECTOR: &str = "connector-";
const TASK: &str = "task-";
const COMMIT: &str = "commit-";
const TARGET: &str = "target-state-";
const FENCING: &str = "tasks-fencing-";
const RESTART: &str = "restart-connector-";
const LOGGER: &str = "logger-cluster-";
const SESSION_KEY: &str = "session-key";

impl Event {
    /// Reads a record.
    ///
    /// # Errors
    /// Why it makes no sense; such a record is to be logged and skipped.
    pub fn parse(key: &str, value: Option<&[u8]>) -> Result<Self, String> {
        let value = match value {
            None => None,
            Some(bytes) => match serde_json::from_slice(bytes).map_err(|e| format!("the value is not JSON: {e}"))? {
                Value::Null => None,
                value => Some(value),
            },
        };
        let value = value.as_ref();
        // In this order: `target-state-` and the others never hide behind a shorter prefix of theirs.
        if let Some(name) = key.strip_prefix(TARGET) {
            Ok(Event::Target { name: name.into(), state: value.map(target_state).transpose()? })
        } else if let Some(name) = key.strip_prefix(CONNECTOR) {
            Ok(Event::Connector { name: name.into(), props: value.map(properties).transpose()? })
        } else if let Some(namespace) = key.strip_prefix(LOGGER) {
            let level = value.map(|v| text(v, "level")).transpose()?.ok_or("it is a tombstone")?;
            Ok(Event::LoggerLevel { namespace: namespace.into(), level })
        } else if let Some(name) = key.strip_prefix(FENCING) {
            Ok(Event::Fencing { name: name.into(), tasks: value.map(|v| count(v, "task-count")).transpose()? })
        } else if let Some(id) = key.strip_prefix(TASK) {
            let id = task_id(id).ok_or("the key does not end in the number of a task")?;
            Ok(Event::Task { id, props: value.map(properties).transpose()? })
        } else if let Some(name) = key.strip_prefix(COMMIT) {
            Ok(Event::Commit { name: name.into(), tasks: value.map(|v| count(v, "tasks")).transpose()? })
        } else if let Some(name) = key.strip_prefix(RESTART) {
            let value = value.ok_or("it is a tombstone")?;
            let flag = |field| value.get(field).and_then(Value::as_bool).unwrap_or(false);
            Ok(Event::Restart { name: name.into(), include_tasks: flag("include-tasks"), only_failed: flag("only-failed") })
        } else if key == SESSION_KEY {
            value.map(session_key).transpose()?.map(Event::SessionKey).ok_or_else(|| "it is a tombstone".into())
        } else {
            Err("nothing is known by this key".into())
        }
    }

    /// Its bytes, as Java writes them.
    #[must_use]
    pub fn record(&self) -> Record {
        match self {
            Event::Connector { name, props } => Record::new(format!("{CONNECTOR}{name}"), props.as_deref().map(Properties)),
            Event::Task { id, props } => Record::new(format!("{TASK}{id}"), props.as_deref().map(Properties)),
            Event::Commit { name, tasks } => {
                Record::new(format!("{COMMIT}{name}"), tasks.map(|tasks| fields([("tasks", tasks)])))
            }
            Event::Target { name, state } => Record::new(format!("{TARGET}{name}"), state.map(target_fields)),
            Event::Fencing { name, tasks } => {
                Record::new(format!("{FENCING}{name}"), tasks.map(|tasks| fields([("task-count", tasks)])))
            }
            Event::Restart { name, include_tasks, only_failed } => {
                let flags = fields([("include-tasks", *include_tasks), ("only-failed", *only_failed)]);
                Record::new(format!("{RESTART}{name}"), Some(flags))
            }
            Event::LoggerLevel { namespace, level } => {
                Record::new(format!("{LOGGER}{namespace}"), Some(fields([("level", level.as_str())])))
            }
            Event::SessionKey(key) => Record::new(
                SESSION_KEY.into(),
                Some(fields([
                    ("key", Value::from(BASE64.encode(&key.key))),
                    ("algorithm", key.algorithm.as_str().into()),
                    ("creation-timestamp", key.created_ms.into()),
                ])),
            ),
        }
    }
}

impl Record {
    fn new(key: String, value: Option<impl Serialize>) -> Self {
        let value = value.map(|v| json::to_vec(&v).expect("maps with text keys and plain values always become JSON"));
        Self { key, value }
    }
}

/// `name-0` taken apart.
#[must_use]
pub fn task_id(text: &str) -> Option<TaskId> {
    let (connector, task) = text.rsplit_once('-')?;
    Some(TaskId { connector: connector.into(), task: task.parse().ok()? })
}

/// A JSON object with its fields in this order.
struct Fields<T, const N: usize>([(&'static str, T); N]);

fn fields<T: Serialize, const N: usize>(fields: [(&'static str, T); N]) -> Fields<T, N> {
    Fields(fields)
}

impl<T: Serialize, const N: usize> Serialize for Fields<T, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

struct Properties<'p>(&'p Props);

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Ordered<'p>(&'p Props);
        impl Serialize for Ordered<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(json::hash_map_order(self.0))
            }
        }
        fields([("properties", Ordered(self.0))]).serialize(serializer)
    }
}

fn target_fields(state: TargetState) -> Fields<TargetState, 2> {
    // Workers before 3.5 do not know STOPPED and read the first field.
    let old = if state == TargetState::Stopped { TargetState::Paused } else { state };
    fields([("state", old), ("state.v2", state)])
}

fn target_state(value: &Value) -> Result<TargetState, String> {
    let state = value.get("state.v2").filter(|v| v.is_string()).or_else(|| value.get("state"));
    let state = state.ok_or("the field `state` is missing")?;
    TargetState::deserialize(state).map_err(|_| format!("{state} is not a target state"))
}

fn properties(value: &Value) -> Result<Arc<Props>, String> {
    let Some(Value::Object(entries)) = value.get("properties") else {
        return Err("the field `properties` is not a map".into());
    };
    let mut props = Props::new();
    for (key, value) in entries {
        match value {
            // A key with null is as good as no key.
            Value::Null => {}
            Value::String(text) => {
                props.insert(key.clone(), text.clone());
            }
            other => return Err(format!("the property {key} is not a text but {other}")),
        }
    }
    Ok(Arc::new(props))
}

fn count(value: &Value, field: &str) -> Result<u32, String> {
    let number = value.get(field).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    number.ok_or_else(|| format!("the field `{field}` is not a number"))
}

fn text(value: &Value, field: &str) -> Result<String, String> {
    value.get(field).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| format!("the field `{field}` is not a text"))
}

fn session_key(value: &Value) -> Result<SessionKey, String> {
    Ok(SessionKey {
        key: BASE64.decode(text(value, "key")?).map_err(|e| format!("the key is not base64: {e}"))?,
        algorithm: text(value, "algorithm")?,
        created_ms: value.get("creation-timestamp").and_then(Value::as_i64).ok_or("`creation-timestamp` is not a number")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `offset`, key and value of every record that a Java worker wrote; how it was made stands on top of the file.
    fn recorded() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
        include_str!("recorded/config.tsv").lines().filter(|line| !line.starts_with('#')).map(|line| {
            let mut columns = line.splitn(3, '\t').skip(1);
            let key = columns.next().expect("the file has three columns");
            (key, columns.next().filter(|value| *value != "NULL"))
        })
    }

    #[test]
    fn writes_what_java_wrote() {
        let mut in_users_order = 0;
        for (key, value) in recorded() {
            let event = Event::parse(key, value.map(str::as_bytes)).unwrap_or_else(|e| panic!("{key}: {e}"));
            let record = event.record();
            assert_eq!(record.key, key);
            let ours = record.value.map(|bytes| String::from_utf8(bytes).unwrap());
            if key.starts_with(CONNECTOR) && ours.as_deref() != value {
                // Java keeps the order of the request for what POST and PUT bring; the same entries nevertheless.
                assert_eq!(
                    serde_json::from_str::<Value>(&ours.unwrap()).unwrap(),
                    serde_json::from_str::<Value>(value.unwrap()).unwrap()
                );
                in_users_order += 1;
            } else {
                assert_eq!(ours.as_deref(), value, "{key}");
            }
        }
        assert!(in_users_order <= 6, "the record of a PATCH is in the order of a HashMap");
    }

    #[test]
    fn names_with_dashes_keep_them() {
        let check = |key: &str, expected: Event| assert_eq!(Event::parse(key, None), Ok(expected));
        check("task-a-b-1-12", Event::Task { id: TaskId { connector: "a-b-1".into(), task: 12 }, props: None });
        check("connector-task-x-0", Event::Connector { name: "task-x-0".into(), props: None });
        check("target-state-connector-x", Event::Target { name: "connector-x".into(), state: None });
    }

    #[test]
    fn garbage_is_refused_with_a_reason() {
        let check = |key: &str, value: &str, reason: &str| {
            let error = Event::parse(key, Some(value.as_bytes())).unwrap_err();
            assert!(error.contains(reason), "{error}");
        };
        check("connector-a", "{", "not JSON");
        check("connector-a", "[]", "not a map");
        check("connector-a", r#"{"properties":{"tasks.max":1}}"#, "tasks.max");
        check("task-a", r#"{"properties":{}}"#, "number of a task");
        check("commit-a", r#"{"tasks":-1}"#, "`tasks`");
        check("target-state-a", r#"{"state":"ASLEEP"}"#, "ASLEEP");
        check("target-state-a", "{}", "missing");
        check("session-key", r#"{"key":"%","algorithm":"x","creation-timestamp":1}"#, "base64");
        check("whatever", "{}", "nothing is known");
    }

    #[test]
    fn stopped_is_read_from_the_newer_field() {
        let read = |json: &str| Event::parse("target-state-a", Some(json.as_bytes()));
        let expected = |state| Ok(Event::Target { name: "a".into(), state: Some(state) });
        assert_eq!(read(r#"{"state":"PAUSED","state.v2":"STOPPED"}"#), expected(TargetState::Stopped));
        assert_eq!(read(r#"{"state":"PAUSED","state.v2":null}"#), expected(TargetState::Paused));
        assert_eq!(read(r#"{"state":"STARTED"}"#), expected(TargetState::Started));
    }
}
