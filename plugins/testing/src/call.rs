//! What a plugin under test can be told, and what it answers, as data: it crosses to the process that runs a component.

use std::time::Duration;

use penstock_api::{Error, ErrorKind, Props, SourceMap};
use serde::{Deserialize, Serialize};

use crate::record::TestRecord;

/// One call, in the order of a task's life.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// Asks a connector what is wrong with a configuration.
    Validate { class: String, config: Props },
    /// Asks a connector for its tasks.
    Plan { class: String, config: Props, tasks_max: u32 },
    /// Starts a task. `stored`: the source offsets that the worker keeps.
    Start { class: String, config: Props, stored: Vec<(SourceMap, SourceMap)> },
    /// Lets a transform work on a batch.
    Apply(Vec<TestRecord>),
    /// Asks a predicate.
    Test(Vec<TestRecord>),
    /// Assigns partitions to a sink.
    Open(Vec<(String, i32)>),
    /// Gives records to a sink; none: it is its time to do what is due by the clock.
    Put(Vec<TestRecord>),
    /// Asks a sink what may be committed.
    PreCommit,
    /// Has a sink write what it holds back.
    Flush,
    /// Takes all partitions from a sink.
    Close { lost: bool },
    /// Asks a source for records.
    Poll,
    /// Tells a source that all it has given is in Kafka.
    Acknowledge,
    /// Ends the task.
    Stop,
}

/// What a call came to.
pub type Reply = Result<Answer, Failure>;

/// What a call answers if it goes well.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Done,
    /// Pairs of key and message.
    Problems(Vec<(String, String)>),
    Plan(Vec<Props>),
    Outcomes(Vec<Outcome>),
    Matches(Vec<Result<bool, Failure>>),
    Offsets(Vec<(String, i32, i64)>),
    Reports(Vec<Report>),
    Polled(Polled),
}

/// What has become of a record that a transform worked on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "a box would stand in every assertion")]
pub enum Outcome {
    /// It passes, as it is now.
    Passed(TestRecord),
    Dropped,
    Failed(Failure),
}

/// A record that a sink could not take while others went on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub failure: Failure,
}

/// What a source gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Polled {
    pub records: Vec<TestRecord>,
    pub next: Next,
}

/// What a source wants after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Next {
    /// To be polled at once.
    More,
    /// To be polled after this time.
    Wait(Duration),
    /// A bounded source has read everything.
    Done,
}

/// An error of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// As the plugin said it, with all causes.
    pub message: String,
}

/// What the worker can do about it: see [`ErrorKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    Retriable,
    Data,
    Config,
    Fatal,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: String) -> Self {
        let kind = match kind {
            ErrorKind::Retriable => FailureKind::Retriable,
            ErrorKind::Data => FailureKind::Data,
            ErrorKind::Config => FailureKind::Config,
            ErrorKind::Fatal => FailureKind::Fatal,
        };
        Self { kind, message }
    }

    /// What a plugin in this process said.
    pub(crate) fn of(error: &Error) -> Self {
        Self::new(error.kind(), format!("{error:#}"))
    }

    /// What a component said, without the words that the worker puts before it: the innermost cause, which crossed as one text.
    pub(crate) fn of_component(error: &Error) -> Self {
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Self::new(error.kind(), cause.to_string())
    }
}
