//! What one task counts: touched once for each batch and commit, never for a record; read by whoever asks for the page.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use penstock_api::{CopiedPartition, CopyMetrics, Spread, TaskId};

use super::copies::Copies;
use super::histogram::Histogram;
use super::page::Page;
use super::progress::{Progress, Stalled};
use super::sampled::{Outcomes, Sampled, Windows};
use super::table::Metric;
use super::worker::{Startups, lock};

/// A class with its version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    pub class: String,
    pub version: String,
}

/// What a task is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub connector: Class,
    /// `sink` or `source`.
    pub connector_type: &'static str,
    pub task: Class,
    pub key_converter: Class,
    pub value_converter: Class,
    pub header_converter: Class,
    /// By alias.
    pub transforms: Vec<(String, Class)>,
    /// By alias.
    pub predicates: Vec<(String, Class)>,
    /// Of the consumer, as its lag is known by.
    pub client_id: String,
}

/// The stages of a batch whose durations are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Of a sink, with the wait for records.
    Fetch,
    /// Of a source, with the wait for records.
    Poll,
    Convert,
    Transform,
    /// Of a sink.
    Put,
    Commit,
}

/// What a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Not started yet.
    Unassigned,
    Running,
    Paused,
    Failed,
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    Done,
    /// Brokers did not answer in time; a later commit makes up for it.
    Skipped,
    Failed,
}

/// Records between Kafka and a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActiveRecords {
    /// Fetched and not yet committed.
    pub count: u64,
    /// Delivered and not yet committed, of the partition where they are most.
    pub lag_max: u64,
    /// Behind the end of the partition, where they are most; `None`: not known.
    pub behind_end_max: Option<u64>,
    pub partitions: u64,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The metrics of a task.
#[derive(Debug)]
pub struct TaskMetrics {
    id: TaskId,
    about: About,
    pub failures: Counter,
    pub errors: Counter,
    pub skipped: Counter,
    pub retries: Counter,
    pub logged: Counter,
    pub dead_letters: Counter,
    pub dead_letter_failures: Counter,
    /// Fetched from Kafka, or polled from a source.
    read: Counter,
    /// Given to a sink, or acknowledged by Kafka.
    sent: Counter,
    commits_begun: Counter,
    commits: Counter,
    commits_skipped: Counter,
    last_error_ms: AtomicI64,
    stages: [Histogram; STAGES.len()],
    /// Whether it gets on.
    pub progress: Progress,
    stalled_after: Duration,
    lately: Mutex<Lately>,
    copies: Copies,
    startups: Arc<Mutex<Startups>>,
}

const STAGES: [(Stage, &str); 6] = [
    (Stage::Fetch, "fetch"),
    (Stage::Poll, "poll"),
    (Stage::Convert, "convert"),
    (Stage::Transform, "transform"),
    (Stage::Put, "put"),
    (Stage::Commit, "commit"),
];

/// What is not a plain count. The lock is the task's own but for the moments in which a page is made.
#[derive(Debug)]
struct Lately {
    read: Sampled,
    sent: Sampled,
    batch_size: Sampled,
    /// Of a sink's puts, or a source's polls.
    call_ms: Sampled,
    commit_ms: Sampled,
    commits: Sampled,
    commits_skipped: Sampled,
    commit_outcomes: Outcomes,
    active_count: Sampled,
    active: ActiveRecords,
    transaction_size: Sampled,
    times: StateTimes,
}

impl TaskMetrics {
    /// For a task that starts now.
    pub(super) fn new(
        id: TaskId,
        about: About,
        windows: Windows,
        stalled_after: Duration,
        startups: Arc<Mutex<Startups>>,
    ) -> Self {
        let born = Instant::now();
        let sampled = || Sampled::new(windows);
        let lately = Lately {
            read: sampled(),
            sent: sampled(),
            batch_size: sampled(),
            call_ms: sampled(),
            commit_ms: sampled(),
            commits: sampled(),
            commits_skipped: sampled(),
            commit_outcomes: Outcomes::new(windows),
            active_count: sampled(),
            active: ActiveRecords::default(),
            transaction_size: sampled(),
            times: StateTimes::new(born),
        };
        Self {
            id,
            about,
            failures: Counter::default(),
            errors: Counter::default(),
            skipped: Counter::default(),
            retries: Counter::default(),
            logged: Counter::default(),
            dead_letters: Counter::default(),
            dead_letter_failures: Counter::default(),
            read: Counter::default(),
            sent: Counter::default(),
            commits_begun: Counter::default(),
            commits: Counter::default(),
            commits_skipped: Counter::default(),
            last_error_ms: AtomicI64::new(0),
            stages: Default::default(),
            progress: Progress::new(born),
            stalled_after,
            lately: Mutex::new(lately),
            copies: Copies::new(windows),
            startups,
        }
    }

    /// Whose they are.
    #[must_use]
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// A batch was fetched.
    pub fn fetched(&self, records: usize, took: Duration) {
        self.read.add(records);
        self.stage(Stage::Fetch, took);
        let now = Instant::now();
        let mut lately = self.lately();
        lately.read.record(records as f64, now);
        lately.batch_size.record(records as f64, now);
    }

    /// A poll gave records.
    pub fn polled(&self, records: usize, took: Duration) {
        self.read.add(records);
        self.stage(Stage::Poll, took);
        let now = Instant::now();
        let mut lately = self.lately();
        lately.read.record(records as f64, now);
        lately.batch_size.record(records as f64, now);
        lately.call_ms.record(took.as_secs_f64() * 1e3, now);
    }

    /// A transaction of so many records was committed.
    pub fn transaction(&self, records: usize) {
        self.lately().transaction_size.record(records as f64, Instant::now());
    }

    /// A put of records returned, however it ended.
    pub fn put(&self, took: Duration) {
        self.stage(Stage::Put, took);
        self.lately().call_ms.record(took.as_secs_f64() * 1e3, Instant::now());
    }

    /// The connector took a batch, or Kafka acknowledged these records.
    pub fn sent(&self, records: usize) {
        self.sent.add(records);
        self.lately().sent.record(records as f64, Instant::now());
    }

    /// A commit ended; pre-commit is part of it.
    pub fn committed(&self, outcome: CommitOutcome, took: Duration) {
        self.commits_begun.add(1);
        self.stage(Stage::Commit, took);
        let now = Instant::now();
        let mut lately = self.lately();
        lately.commit_ms.record(took.as_secs_f64() * 1e3, now);
        lately.commit_outcomes.record(outcome == CommitOutcome::Done, now);
        match outcome {
            CommitOutcome::Done => {
                self.commits.add(1);
                lately.commits.record(1.0, now);
            }
            CommitOutcome::Skipped => {
                self.commits_skipped.add(1);
                lately.commits_skipped.record(1.0, now);
            }
            CommitOutcome::Failed => {}
        }
    }

    /// A batch went through a stage.
    pub fn stage(&self, stage: Stage, took: Duration) {
        self.stages[stage as usize].record(took);
    }

    /// How many records are under way; to be told every now and then.
    pub fn active(&self, active: ActiveRecords) {
        let mut lately = self.lately();
        lately.active = active;
        lately.active_count.record(active.count as f64, Instant::now());
    }

    /// A record failed just now.
    pub fn record_failed(&self) {
        self.errors.add(1);
        self.failures.add(1);
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        self.last_error_ms.store(i64::try_from(now_ms).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// The task has become something else.
    pub fn became(&self, state: TaskState) {
        let before = self.lately().times.change(state, Instant::now());
        if before == TaskState::Unassigned {
            lock(&self.startups).record(state != TaskState::Failed);
        }
    }

    /// What the task is.
    #[must_use]
    pub fn state(&self) -> TaskState {
        self.lately().times.state
    }

    /// Whether the task runs and does not get on.
    #[must_use]
    pub fn stalled(&self) -> Option<Stalled> {
        self.progress.stalled(self.stalled_after, Instant::now()).filter(|_| self.state() == TaskState::Running)
    }

    /// Writes all of it.
    pub(super) fn write(&self, page: &mut Page) {
        let number = self.id.task.to_string();
        let labels = [&*self.id.connector, number.as_str()];
        self.write_task(page, labels);
        if self.is_source() {
            self.write_source(page, labels);
            self.copies.write(page, labels);
        } else {
            self.write_sink(page, labels);
        }
        self.write_errors(page, labels);
        self.write_plugins(page, labels);
        page.count(Metric::TaskStalled, &labels, u64::from(self.stalled().is_some()));
        let foreign: &[Stage] = if self.is_source() { &[Stage::Fetch, Stage::Put] } else { &[Stage::Poll] };
        for (stage, name) in STAGES.into_iter().filter(|(stage, _)| !foreign.contains(stage)) {
            page.histogram(Metric::StageDuration, &[labels[0], labels[1], name], &self.stages[stage as usize]);
        }
    }

    fn write_task(&self, page: &mut Page, labels: [&str; 2]) {
        let now = Instant::now();
        let lately = self.lately();
        page.text(Metric::TaskStatus, &labels, lately.times.state.name());
        let (good, bad) = lately.commit_outcomes.shares(now);
        for (metric, value) in [
            (Metric::RunningRatio, lately.times.share(TaskState::Running, now)),
            (Metric::PauseRatio, lately.times.share(TaskState::Paused, now)),
            (Metric::CommitMaxTime, lately.commit_ms.max(now)),
            (Metric::CommitAvgTime, lately.commit_ms.average(now)),
            (Metric::BatchSizeMax, lately.batch_size.max(now)),
            (Metric::BatchSizeAvg, lately.batch_size.average(now)),
            (Metric::CommitSuccessShare, good),
            (Metric::CommitFailureShare, bad),
        ] {
            page.number(metric, &labels, value);
        }
    }

    fn write_sink(&self, page: &mut Page, labels: [&str; 2]) {
        for (metric, counter) in [
            (Metric::ReadTotal, &self.read),
            (Metric::SendTotal, &self.sent),
            (Metric::CommitSeqNo, &self.commits_begun),
            (Metric::CommitTotal, &self.commits),
            (Metric::CommitSkipTotal, &self.commits_skipped),
        ] {
            page.count(metric, &labels, counter.get());
        }
        let now = Instant::now();
        let lately = self.lately();
        for (metric, value) in [
            (Metric::ReadRate, lately.read.rate(now)),
            (Metric::SendRate, lately.sent.rate(now)),
            (Metric::CommitRate, lately.commits.rate(now)),
            (Metric::CommitSkipRate, lately.commits_skipped.rate(now)),
            (Metric::PutMaxTime, lately.call_ms.max(now)),
            (Metric::PutAvgTime, lately.call_ms.average(now)),
            (Metric::ActiveCount, lately.active.count as f64),
            (Metric::ActiveCountMax, lately.active_count.max(now)),
            (Metric::ActiveCountAvg, lately.active_count.average(now)),
            (Metric::LagMax, lately.active.lag_max as f64),
            (Metric::PartitionCount, lately.active.partitions as f64),
        ] {
            page.number(metric, &labels, value);
        }
        // As in Java: not a number until something was fetched.
        let behind_end = lately.active.behind_end_max.map_or(f64::NAN, |behind| behind as f64);
        page.number(Metric::RecordsLagMax, &[&self.about.client_id], behind_end);
    }

    fn is_source(&self) -> bool {
        self.about.connector_type == "source"
    }

    fn write_source(&self, page: &mut Page, labels: [&str; 2]) {
        for (metric, counter) in [(Metric::PollTotal, &self.read), (Metric::WriteTotal, &self.sent)] {
            page.count(metric, &labels, counter.get());
        }
        let now = Instant::now();
        let lately = self.lately();
        for (metric, value) in [
            (Metric::PollRate, lately.read.rate(now)),
            (Metric::WriteRate, lately.sent.rate(now)),
            (Metric::PollMaxTime, lately.call_ms.max(now)),
            (Metric::PollAvgTime, lately.call_ms.average(now)),
            (Metric::SourceActiveCount, lately.active.count as f64),
            (Metric::SourceActiveCountMax, lately.active_count.max(now)),
            (Metric::SourceActiveCountAvg, lately.active_count.average(now)),
            (Metric::TransactionSizeMin, lately.transaction_size.min(now)),
            (Metric::TransactionSizeMax, lately.transaction_size.max(now)),
            (Metric::TransactionSizeAvg, lately.transaction_size.average(now)),
        ] {
            page.number(metric, &labels, value);
        }
    }

    fn write_errors(&self, page: &mut Page, labels: [&str; 2]) {
        for (metric, counter) in [
            (Metric::RecordFailures, &self.failures),
            (Metric::RecordErrors, &self.errors),
            (Metric::RecordsSkipped, &self.skipped),
            (Metric::Retries, &self.retries),
            (Metric::ErrorsLogged, &self.logged),
            (Metric::DeadLetters, &self.dead_letters),
            (Metric::DeadLetterFailures, &self.dead_letter_failures),
        ] {
            page.count(metric, &labels, counter.get());
        }
        page.number(Metric::LastError, &labels, self.last_error_ms.load(Ordering::Relaxed) as f64);
    }

    fn write_plugins(&self, page: &mut Page, labels: [&str; 2]) {
        let about = &self.about;
        page.text(Metric::TaskConnectorType, &labels, about.connector_type);
        for (class_metric, version_metric, class) in [
            (Metric::TaskConnectorClass, Metric::TaskConnectorVersion, &about.connector),
            (Metric::TaskClass, Metric::TaskVersion, &about.task),
            (Metric::KeyConverterClass, Metric::KeyConverterVersion, &about.key_converter),
            (Metric::ValueConverterClass, Metric::ValueConverterVersion, &about.value_converter),
            (Metric::HeaderConverterClass, Metric::HeaderConverterVersion, &about.header_converter),
        ] {
            page.text(class_metric, &labels, &class.class);
            page.text(version_metric, &labels, &class.version);
        }
        for (alias, class) in &about.transforms {
            page.text(Metric::TransformClass, &[labels[0], labels[1], alias], &class.class);
            page.text(Metric::TransformVersion, &[labels[0], labels[1], alias], &class.version);
        }
        for (alias, class) in &about.predicates {
            page.text(Metric::PredicateClass, &[labels[0], labels[1], alias], &class.class);
            page.text(Metric::PredicateVersion, &[labels[0], labels[1], alias], &class.version);
        }
    }

    fn lately(&self) -> MutexGuard<'_, Lately> {
        lock(&self.lately)
    }
}

impl TaskState {
    /// As Connect's metrics name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TaskState::Unassigned => "unassigned",
            TaskState::Running => "running",
            TaskState::Paused => "paused",
            TaskState::Failed => "failed",
        }
    }
}

/// How long the task has been what.
#[derive(Debug)]
struct StateTimes {
    state: TaskState,
    since: Instant,
    born: Instant,
    running: Duration,
    paused: Duration,
}

impl StateTimes {
    fn new(now: Instant) -> Self {
        Self { state: TaskState::Unassigned, since: now, born: now, running: Duration::ZERO, paused: Duration::ZERO }
    }

    /// Answers what it was before.
    fn change(&mut self, state: TaskState, now: Instant) -> TaskState {
        let spent = now.saturating_duration_since(self.since);
        match self.state {
            TaskState::Running => self.running += spent,
            TaskState::Paused => self.paused += spent,
            _ => {}
        }
        self.since = now;
        std::mem::replace(&mut self.state, state)
    }

    fn share(&self, of: TaskState, now: Instant) -> f64 {
        let so_far = if of == TaskState::Running { self.running } else { self.paused };
        let current = if self.state == of { now.saturating_duration_since(self.since) } else { Duration::ZERO };
        let all = now.saturating_duration_since(self.born).as_secs_f64();
        if all == 0.0 { 0.0 } else { (so_far + current).as_secs_f64() / all }
    }
}

impl CopyMetrics for TaskMetrics {
    fn begin(&self, source: &str, target: &str, client_id: &str, partitions: Vec<CopiedPartition>) {
        self.copies.begin(source, target, client_id, partitions);
    }

    fn read(&self, partition: usize, bytes: u64, ages_ms: Spread) {
        self.copies.read(partition, bytes, ages_ms);
    }

    fn copied(&self, partition: usize, latencies_ms: Spread) {
        self.copies.copied(partition, latencies_ms);
    }

    fn behind(&self, partition: usize, records: i64) {
        self.copies.behind(partition, records);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_time_add_up() {
        let born = Instant::now();
        let at = |seconds| born + Duration::from_secs(seconds);
        let mut times = StateTimes::new(born);
        times.change(TaskState::Running, at(1));
        times.change(TaskState::Paused, at(5));
        times.change(TaskState::Running, at(7));
        let near = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-9, "{got} is not {expected}");
        near(times.share(TaskState::Running, at(10)), 0.7);
        near(times.share(TaskState::Paused, at(10)), 0.2);
        times.change(TaskState::Failed, at(10));
        near(times.share(TaskState::Running, at(20)), 0.35);
    }

    #[test]
    fn stages_are_listed_in_their_order() {
        for (place, (stage, _)) in STAGES.iter().enumerate() {
            assert_eq!(*stage as usize, place);
        }
    }
}
