//! The status topic: how each connector and task is.

use serde::{Deserialize, Serialize};

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
    /// Never shown: its record is a tombstone.
    Destroyed,
}
