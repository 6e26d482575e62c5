//! A task as its herder sees it: started from a specification, told what to be, reporting what it is.

use penstock_api::TaskId;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::Instrument;

use crate::config::ConnectorConfig;
use crate::metrics::{TaskMetrics, TaskState};

/// Everything a task needs to run.
#[derive(Clone)]
pub struct TaskSpec {
    pub id: TaskId,
    /// Offset in the config topic of what made this task; events carry it back.
    pub revision: i64,
    pub connector: Arc<ConnectorConfig>,
    /// What the connector planned for this task.
    pub props: penstock_api::Props,
    /// Start without fetching.
    pub paused: bool,
    /// `offset.flush.interval.ms`.
    pub commit_interval: Duration,
    /// `offset.flush.timeout.ms`.
    pub commit_timeout: Duration,
    pub metrics: Arc<TaskMetrics>,
    /// `task.shutdown.graceful.timeout.ms`: a task that was asked to stop is dropped after it.
    pub stop_timeout: Duration,
    /// `topic.tracking.enable`: tell of the topics that are used.
    pub track_topics: bool,
}

/// What a task has become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Running,
    Paused,
    /// It uses a topic; told again from time to time as long as it does.
    TopicUsed {
        topic: Arc<str>,
    },
    /// Its connector is to plan its tasks anew.
    Reconfigure,
    /// It will not go on; the trace names what to do.
    Failed {
        trace: String,
    },
    /// It ended because it was told to.
    Stopped,
}

/// An [`Event`] with its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEvent {
    pub id: TaskId,
    pub revision: i64,
    pub event: Event,
}

/// What a task is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Running,
    Paused,
    Stopped,
    /// Stopped, for a successor that is about to take its place in the consumer group: the place is kept.
    HandedOver,
}

impl Wanted {
    /// Whether the task is to end.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Wanted::Stopped | Wanted::HandedOver)
    }
}

/// A task that was started. Dropping the handle ends the task without a commit, as a crash would.
pub struct TaskHandle {
    pub id: TaskId,
    pub revision: i64,
    pub metrics: Arc<TaskMetrics>,
    wanted: watch::Sender<Wanted>,
    supervisor: JoinHandle<()>,
}

impl TaskHandle {
    /// Stops fetching, keeps the partitions. Twice is the same as once.
    pub fn pause(&self) {
        self.want(Wanted::Paused);
    }

    /// Fetches again.
    pub fn resume(&self) {
        self.want(Wanted::Running);
    }

    /// Asks the task to commit and end, without waiting.
    pub fn request_stop(&self) {
        self.want(Wanted::Stopped);
    }

    /// Stops the task and waits for its last commit, at most `grace`. Then it is dropped where it stands, which loses nothing:
    /// what it had not committed is delivered again.
    ///
    /// Answers whether it ended by itself.
    pub async fn stop(self, grace: Duration) -> bool {
        self.end(Wanted::Stopped, grace).await
    }

    /// The same for a task whose successor takes its place in the consumer group at once: the other tasks need not share out its
    /// partitions, only to give them back.
    pub async fn hand_over(self, grace: Duration) -> bool {
        self.end(Wanted::HandedOver, grace).await
    }

    async fn end(mut self, how: Wanted, grace: Duration) -> bool {
        self.want(how);
        tokio::time::timeout(grace, &mut self.supervisor).await.is_ok()
    }

    /// Whether the task has ended, for whatever reason.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.supervisor.is_finished()
    }

    /// Never overrides a stop.
    fn want(&self, state: Wanted) {
        self.wanted.send_if_modified(|now| {
            let changes = !now.is_end() && *now != state;
            if changes {
                *now = state;
            }
            changes
        });
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

/// Runs `body` as a task under supervision: its end, be it an error or a panic, becomes an event.
pub(super) fn supervise<F>(
    spec: &TaskSpec,
    events: mpsc::UnboundedSender<TaskEvent>,
    body: impl FnOnce(watch::Receiver<Wanted>, Reporter) -> F,
) -> TaskHandle
where
    F: Future<Output = Result<(), penstock_api::Error>> + Send + 'static,
{
    let first = if spec.paused { Wanted::Paused } else { Wanted::Running };
    let (wanted, watcher) = watch::channel(first);
    let told = wanted.subscribe();
    let metrics = spec.metrics.clone();
    let reporter = Reporter { id: spec.id.clone(), revision: spec.revision, metrics: metrics.clone(), events };
    // Every line that is logged on the task's behalf says whose it is (KIP-449).
    // At the highest level, so that no choice of levels hides it.
    let span = tracing::error_span!("task", connector = %spec.id.connector, task = spec.id.task);
    let running = AbortOnDrop(tokio::spawn(body(watcher, reporter.clone()).instrument(span.clone())));
    let supervising = async move {
        let mut running = running;
        let event = match (&mut running.0).await {
            Ok(Ok(())) => Event::Stopped,
            Ok(Err(error)) => Event::Failed { trace: super::errors::trace(&error) },
            Err(panicked) => Event::Failed { trace: format!("the task panicked, which is a bug: {panicked}\n") },
        };
        if let Event::Failed { trace } = &event
            && told.borrow().is_end()
        {
            // Nobody need act: it may be the zombie of one that runs elsewhere by now.
            tracing::warn!("the task ended as it was told, and what it had not committed is delivered again: {trace}");
        } else if let Event::Failed { trace } = &event {
            tracing::error!("task failed and will not go on until it is restarted: {trace}");
        }
        reporter.report(event);
    };
    let supervisor = tokio::spawn(supervising.instrument(span));
    TaskHandle { id: spec.id.clone(), revision: spec.revision, metrics, wanted, supervisor }
}

/// A spawned future that ends with its owner.
struct AbortOnDrop(JoinHandle<Result<(), penstock_api::Error>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where a task says what it has become.
#[derive(Clone)]
pub(super) struct Reporter {
    id: TaskId,
    revision: i64,
    metrics: Arc<TaskMetrics>,
    events: mpsc::UnboundedSender<TaskEvent>,
}

impl Reporter {
    /// Sends an event; a herder that is gone no longer wants to know.
    pub(super) fn report(&self, event: Event) {
        match &event {
            Event::Running => self.metrics.became(TaskState::Running),
            Event::Paused => self.metrics.became(TaskState::Paused),
            Event::Failed { .. } => self.metrics.became(TaskState::Failed),
            Event::TopicUsed { .. } | Event::Reconfigure | Event::Stopped => {}
        }
        let _gone = self.events.send(TaskEvent { id: self.id.clone(), revision: self.revision, event });
    }
}
