//! What the herder answers, in the shape REST sends it: field names and their order are Connect's.

use std::collections::BTreeMap;

use penstock_api::{PluginKind, Props};
use serde::{Deserialize, Serialize, Serializer};

pub use crate::store::config::TargetState;
pub use crate::store::status::{Health, State};

/// Whether a connector is a source or a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectorType {
    Source,
    Sink,
    /// Its class is not known here.
    Unknown,
}

impl ConnectorType {
    /// As REST shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ConnectorType::Source => "source",
            ConnectorType::Sink => "sink",
            ConnectorType::Unknown => "unknown",
        }
    }
}

impl From<Option<PluginKind>> for ConnectorType {
    fn from(kind: Option<PluginKind>) -> Self {
        match kind {
            Some(PluginKind::Source) => ConnectorType::Source,
            Some(PluginKind::Sink) => ConnectorType::Sink,
            _ => ConnectorType::Unknown,
        }
    }
}

impl Serialize for ConnectorType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A task's name in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRef {
    pub connector: String,
    pub task: u32,
}

/// `GET /connectors/{c}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectorInfo {
    pub name: String,
    /// As written by the user: variables are not resolved.
    pub config: Props,
    pub tasks: Vec<TaskRef>,
    #[serde(rename = "type")]
    pub kind: ConnectorType,
}

/// One entry of `GET /connectors/{c}/tasks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskInfo {
    pub id: TaskRef,
    pub config: Props,
}

/// How a connector or task is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnitStatus {
    pub state: State,
    pub worker_id: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Of the plugin that runs it; null when nothing does.
    pub version: Option<String>,
    /// What Connect's states do not say: a crash loop, a task that does not get on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// `GET /connectors/{c}/tasks/{n}/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskStatus {
    pub id: u32,
    #[serde(flatten)]
    pub status: UnitStatus,
}

/// `GET /connectors/{c}/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectorStatus {
    pub name: String,
    pub connector: UnitStatus,
    pub tasks: Vec<TaskStatus>,
    #[serde(rename = "type")]
    pub kind: ConnectorType,
}

/// One entry of `GET /connectors/{c}/offsets`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConnectorOffset {
    pub partition: serde_json::Value,
    pub offset: serde_json::Value,
}

/// One entry of `PATCH /connectors/{c}/offsets`: a partition with its new offset, `None` to forget the one it has.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffsetPatch {
    pub partition: Option<serde_json::Map<String, serde_json::Value>>,
    pub offset: Option<serde_json::Map<String, serde_json::Value>>,
}

/// `PATCH /connectors/{c}/config`: a value, or `None` to take the key away.
pub type ConfigPatch = BTreeMap<String, Option<String>>;
