//! What a failure means: tried again, tolerated, logged, sent to the dead-letter topic, or the end of the task.
//!
//! Rules of KIP-298 as `RetryWithToleranceOperator` and its reporters apply them. Two differences on purpose: a dead letter
//! that Kafka refuses fails the task, where Java logs it and loses the record; and a converter that lacks something that is not in the
//! record (a Schema Registry that is down, or refuses us) fails the task whatever the tolerance, where Java skips all records meanwhile.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use penstock_api::batch::{Failure, Stage};
use penstock_api::record::{RawHeader, TimestampType};
use penstock_api::{Bytes, Error, ErrorKind, RawRecord, TaskId};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{ErrorPolicy, Tolerance};
use crate::metrics::TaskMetrics;

/// The wait before the first retry; it doubles from there to `errors.retry.delay.max.ms` (KIP-298).
const RETRY_DELAY_MIN: Duration = Duration::from_millis(300);

/// A record for the dead-letter topic.
#[derive(Debug)]
pub struct DeadLetter {
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub timestamp: Option<i64>,
    pub headers: Vec<RawHeader>,
}

/// A record that failed, as messages and dead letters show it.
#[derive(Clone, Copy)]
pub enum Culprit<'r> {
    /// A sink's.
    Consumed(&'r RawRecord),
    /// A source's.
    Polled(&'r PolledRecord),
}

/// A record of a source that failed, in bytes.
pub struct PolledRecord {
    /// Where it was to go; its partition and offset are -1 as far as they are not known.
    pub raw: RawRecord,
    /// Source partition and offset, in JSON.
    pub position: Option<(String, String)>,
}

impl<'r> Culprit<'r> {
    fn raw(self) -> &'r RawRecord {
        match self {
            Culprit::Consumed(raw) => raw,
            Culprit::Polled(polled) => &polled.raw,
        }
    }

    fn place(self) -> String {
        match self {
            Culprit::Consumed(raw) => format!("the record at {}-{} offset {}", raw.topic, raw.partition, raw.offset),
            Culprit::Polled(PolledRecord { raw, position: Some((partition, offset)) }) => {
                format!("the record for topic {} read at offset {offset} of source partition {partition}", raw.topic)
            }
            Culprit::Polled(PolledRecord { raw, position: None }) => format!("a record for topic {}", raw.topic),
        }
    }
}

/// Decides on failures of one task.
pub struct ErrorHandler {
    task: TaskId,
    policy: ErrorPolicy,
    metrics: Arc<TaskMetrics>,
}

impl ErrorHandler {
    /// A handler under that policy.
    #[must_use]
    pub fn new(task: TaskId, policy: ErrorPolicy, metrics: Arc<TaskMetrics>) -> Self {
        Self { task, policy, metrics }
    }

    /// Whether a failed operation is to be tried again, and after which wait.
    ///
    /// `attempt` counts from 0; `since` is how long ago the operation failed first. Only `Retriable` errors are tried again.
    #[must_use]
    pub fn retry_after(&self, error: &Error, attempt: u32, since: Duration) -> Option<Duration> {
        if error.kind() != ErrorKind::Retriable {
            return None;
        }
        let left = match self.policy.retry_timeout {
            None => Duration::MAX,
            Some(timeout) => timeout.checked_sub(since).filter(|left| !left.is_zero())?,
        };
        let delay = RETRY_DELAY_MIN.saturating_mul(2u32.saturating_pow(attempt)).min(self.policy.retry_delay_max);
        Some(delay.min(left))
    }

    /// Gives a record up: counts and logs it. The dead letter to send, if there is a topic for it.
    ///
    /// # Errors
    /// `Fatal` when `errors.tolerance` does not allow it. The dead letter is to be sent even then, as in Java.
    pub fn give_up(&self, culprit: Culprit<'_>, failure: &Failure) -> (Option<DeadLetter>, Result<(), Error>) {
        self.metrics.record_failed();
        if self.policy.log {
            self.log(culprit, failure);
        }
        if !is_of_the_record(failure) {
            return (None, Err(Error::fatal(self.not_of_the_record(culprit, failure))));
        }
        let letters = self.policy.dead_letters.as_ref();
        let letter = letters.map(|to| self.dead_letter(culprit, failure, to.context_headers));
        let outcome = match self.policy.tolerance {
            Tolerance::All => {
                self.metrics.skipped.add(1);
                Ok(())
            }
            Tolerance::None => Err(Error::fatal(format!(
                "Tolerance exceeded in error handler: {}. To go on past such records set errors.tolerance=all, and \
                 errors.deadletterqueue.topic.name to keep them",
                said(culprit, failure)
            ))),
        };
        (letter, outcome)
    }

    fn not_of_the_record(&self, culprit: Culprit<'_>, failure: &Failure) -> String {
        let waited = match self.policy.retry_timeout {
            _ if failure.stage == Stage::KafkaProduce => {
                "Mend this, and restart the task: what Kafka has not acknowledged is read again".into()
            }
            Some(timeout) if failure.error.kind() == ErrorKind::Retriable => {
                format!(
                    "errors.retry.timeout ({} ms) is over: raise it to wait longer (-1 waits for ever), and restart the task",
                    timeout.as_millis()
                )
            }
            _ => "Mend this, and restart the task".into(),
        };
        format!("{}. No record is skipped for this, whatever errors.tolerance says. {waited}", said(culprit, failure))
    }

    fn log(&self, culprit: Culprit<'_>, failure: &Failure) {
        self.metrics.logged.add(1);
        let mut message = format!(
            "Error encountered in task {}. Executing stage '{}' with class '{}'",
            self.task,
            failure.stage.name(),
            failure.class
        );
        if self.policy.log_messages {
            message.push_str(&shown_record(culprit));
        }
        tracing::error!(error = %format!("{:#}", failure.error), "{message}.");
    }

    fn dead_letter(&self, culprit: Culprit<'_>, failure: &Failure, context_headers: bool) -> DeadLetter {
        let raw = culprit.raw();
        let mut headers: Vec<RawHeader> = raw.headers.as_deref().unwrap_or_default().to_vec();
        if context_headers {
            headers.extend(self.context_headers(culprit, failure));
        }
        DeadLetter { key: raw.key.clone(), value: raw.value.clone(), timestamp: raw.timestamp, headers }
    }

    fn context_headers(&self, culprit: Culprit<'_>, failure: &Failure) -> Vec<RawHeader> {
        let header = |name: &str, value: String| RawHeader {
            key: format!("__connect.errors.{name}").into(),
            value: Some(Bytes::from(value)),
        };
        let mut headers = vec![header("topic", culprit.raw().topic.to_string())];
        match culprit {
            Culprit::Consumed(raw) => {
                headers.push(header("partition", raw.partition.to_string()));
                headers.push(header("offset", raw.offset.to_string()));
            }
            Culprit::Polled(polled) => {
                if let Some((partition, offset)) = &polled.position {
                    headers.push(header("source.partition", partition.clone()));
                    headers.push(header("source.offset", offset.clone()));
                }
            }
        }
        headers.extend([
            header("connector.name", self.task.connector.to_string()),
            header("task.id", self.task.task.to_string()),
            header("stage", failure.stage.name().to_owned()),
            header("class.name", failure.class.to_string()),
            header("exception.class.name", failure.error.java_class().to_owned()),
            header("exception.message", failure.error.message().to_owned()),
            header("exception.stacktrace", trace(&failure.error)),
        ]);
        headers
    }
}

/// Whether the fault lies in the record. A converter's other failures, and the broker's (something it needs is away, or refuses us) would meet any
/// record, and skipping them would skip a whole topic.
fn is_of_the_record(failure: &Failure) -> bool {
    let is_shared =
        matches!(failure.stage, Stage::KeyConverter | Stage::ValueConverter | Stage::HeaderConverter | Stage::KafkaProduce);
    !is_shared || failure.error.kind() == ErrorKind::Data
}

/// Which step failed, for which record, and why.
fn said(culprit: Culprit<'_>, failure: &Failure) -> String {
    let (class, stage, error) = (&failure.class, failure.stage.name(), &failure.error);
    format!("{class} at {stage} failed for {}: {error:#}", culprit.place())
}

/// An error as a Java user reads a stack trace: the class and message, then each cause.
#[must_use]
pub fn trace(error: &Error) -> String {
    let mut text = format!("{}: {}", error.java_class(), error.message());
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let _infallible = write!(text, "\nCaused by: {cause}");
        next = cause.source();
    }
    text.push('\n');
    text
}

fn shown_record(culprit: Culprit<'_>) -> String {
    match culprit {
        Culprit::Consumed(raw) => consumed_record(raw),
        Culprit::Polled(polled) => polled_record(polled),
    }
}

fn polled_record(polled: &PolledRecord) -> String {
    let raw = &polled.raw;
    let (partition, offset) =
        polled.position.as_ref().map_or(("null", "null"), |(partition, offset)| (partition.as_str(), offset.as_str()));
    format!(
        ", where source record is = SourceRecord{{sourcePartition={partition}, sourceOffset={offset}}} ConnectRecord{{topic='{}', \
         kafkaPartition={}, key={}, value={}, timestamp={}}}",
        raw.topic,
        Some(raw.partition).filter(|p| *p >= 0).map_or_else(|| "null".to_owned(), |p| p.to_string()),
        shown(raw.key.as_ref()),
        shown(raw.value.as_ref()),
        raw.timestamp.map_or_else(|| "null".to_owned(), |t| t.to_string()),
    )
}

fn consumed_record(raw: &RawRecord) -> String {
    let timestamp_type = match raw.timestamp_type {
        TimestampType::NoTimestamp => "NoTimestampType",
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    };
    format!(
        ", where consumed record is {{topic='{}', partition={}, offset={}, timestamp={}, timestampType={timestamp_type}, key={}, value={}}}",
        raw.topic,
        raw.partition,
        raw.offset,
        raw.timestamp.unwrap_or(-1),
        shown(raw.key.as_ref()),
        shown(raw.value.as_ref()),
    )
}

/// Bytes for the log: as text when they are text, else in base64.
fn shown(bytes: Option<&Bytes>) -> String {
    match bytes {
        None => "null".into(),
        Some(bytes) => std::str::from_utf8(bytes).map_or_else(|_| BASE64.encode(bytes), str::to_owned),
    }
}

/// The failure of a record that a sink task reported or that its put refused.
#[must_use]
pub fn put_failure(class: &Arc<str>, error: Error) -> Failure {
    Failure { stage: Stage::TaskPut, class: class.clone(), error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DeadLetters;
    use crate::metrics::{About, Metrics};

    fn handler(tolerance: Tolerance, retry_timeout: Option<Duration>) -> ErrorHandler {
        let policy = ErrorPolicy {
            tolerance,
            retry_timeout,
            retry_delay_max: Duration::from_secs(1),
            log: false,
            log_messages: false,
            dead_letters: Some(DeadLetters { topic: "dead".into(), replication_factor: 1, context_headers: true }),
        };
        let task = TaskId { connector: "orders".into(), task: 0 };
        let metrics = Metrics::default().task(task.clone(), About::default());
        ErrorHandler::new(task, policy, metrics)
    }

    fn raw() -> RawRecord {
        RawRecord {
            topic: "orders".into(),
            partition: 3,
            offset: 42,
            timestamp: Some(7),
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: Some(Bytes::from_static(b"{")),
            headers: Some(Box::new([RawHeader { key: "own".into(), value: None }])),
        }
    }

    fn failure() -> Failure {
        let error = Error::data("unexpected end").context("converting byte[] to Kafka Connect data failed");
        Failure { stage: Stage::ValueConverter, class: "JsonConverter".into(), error }
    }

    #[test]
    fn retries_double_up_to_the_maximum_and_end_with_the_timeout() {
        let error = Error::retriable("registry is down");
        let handler = handler(Tolerance::All, Some(Duration::from_secs(10)));
        let wait = |attempt, since_ms| handler.retry_after(&error, attempt, Duration::from_millis(since_ms));
        assert_eq!(wait(0, 0), Some(Duration::from_millis(300)));
        assert_eq!(wait(1, 300), Some(Duration::from_millis(600)));
        assert_eq!(wait(2, 900), Some(Duration::from_secs(1)));
        assert_eq!(wait(9, 9_900), Some(Duration::from_millis(100)));
        assert_eq!(wait(99, 10_000), None);
    }

    #[test]
    fn only_retriable_errors_are_tried_again_and_only_when_asked() {
        let handler = handler(Tolerance::All, Some(Duration::ZERO));
        assert_eq!(handler.retry_after(&Error::retriable("down"), 0, Duration::ZERO), None);
        assert_eq!(handler.retry_after(&Error::data("poison"), 0, Duration::ZERO), None);
    }

    #[test]
    fn a_dead_letter_says_where_it_came_from_and_why() {
        let (letter, outcome) = handler(Tolerance::All, None).give_up(Culprit::Consumed(&raw()), &failure());
        outcome.unwrap();
        let letter = letter.unwrap();
        let header = |name: &str| {
            let header = letter.headers.iter().find(|h| h.key == name).unwrap();
            String::from_utf8(header.value.clone().unwrap().to_vec()).unwrap()
        };
        assert_eq!(letter.headers[0].key, "own");
        assert_eq!(header("__connect.errors.topic"), "orders");
        assert_eq!(header("__connect.errors.partition"), "3");
        assert_eq!(header("__connect.errors.offset"), "42");
        assert_eq!(header("__connect.errors.stage"), "VALUE_CONVERTER");
        assert_eq!(header("__connect.errors.exception.class.name"), "org.apache.kafka.connect.errors.DataException");
        assert!(header("__connect.errors.exception.stacktrace").contains("Caused by: unexpected end"));
    }

    #[test]
    fn without_tolerance_the_task_fails_and_the_dead_letter_goes_out_all_the_same() {
        let (letter, outcome) = handler(Tolerance::None, None).give_up(Culprit::Consumed(&raw()), &failure());
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fatal);
        assert!(error.message().contains("orders-3 offset 42"), "{error}");
        assert!(error.message().contains("errors.tolerance=all"), "{error}");
        assert!(letter.is_some());
    }

    /// With tolerance a registry's outage once sent a whole topic to the dead letters.
    #[test]
    fn what_is_not_of_the_record_is_never_skipped() {
        let tolerant = handler(Tolerance::All, Some(Duration::from_secs(5)));
        let with = |error: Error| Failure { error, ..failure() };
        for (error, advice) in
            [(Error::retriable("registry is down"), "errors.retry.timeout (5000 ms)"), (Error::config("401"), "Mend this")]
        {
            let (letter, outcome) = tolerant.give_up(Culprit::Consumed(&raw()), &with(error));
            let error = outcome.unwrap_err();
            assert!(letter.is_none());
            assert_eq!(error.kind(), ErrorKind::Fatal);
            assert!(error.message().contains(advice) && error.message().contains("orders-3 offset 42"), "{error}");
        }
        let put = Failure { stage: Stage::TaskPut, ..with(Error::retriable("told to")) };
        assert!(tolerant.give_up(Culprit::Consumed(&raw()), &put).1.is_ok());
    }
}
