//! What the worker counts beside its tasks, and where its tasks' metrics are found.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use penstock_api::TaskId;

use super::page::Page;
use super::sampled::{Outcomes, Sampled, Windows};
use super::table::Metric;
use super::task::{About, TaskMetrics};

/// The metrics of a worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    windows: Windows,
    /// `penstock.task.stalled.after.ms`; zero: never.
    stalled_after: Duration,
    /// Metrics end with their task's handle.
    tasks: Mutex<BTreeMap<TaskId, Weak<TaskMetrics>>>,
    connectors: Mutex<Startups>,
    task_startups: Arc<Mutex<Startups>>,
    rebalance: Mutex<Rebalance>,
    /// Automatic ones, by connector.
    restarts: Mutex<BTreeMap<String, u64>>,
}

/// Starts of connectors or tasks.
#[derive(Debug)]
pub(super) struct Startups {
    good: u64,
    bad: u64,
    lately: Outcomes,
}

/// Of `connect-protocol`: Java's are `eager`, `compatible` and `sessioned`.
const PROTOCOL: &str = "penstock";

/// This worker's place in its group.
#[derive(Debug)]
struct Rebalance {
    leader: String,
    epoch: i64,
    completed: u64,
    /// Since when there is no settled place.
    began: Option<Instant>,
    settled: Option<Instant>,
    took_ms: Sampled,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Windows::default(), Duration::ZERO)
    }
}

impl Metrics {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(windows: Windows, stalled_after: Duration) -> Self {
        let startups = || Mutex::new(Startups { good: 0, bad: 0, lately: Outcomes::new(windows) });
        Self {
            shared: Arc::new(Shared {
                windows,
                stalled_after,
                tasks: Mutex::default(),
                connectors: startups(),
                task_startups: Arc::new(startups()),
                rebalance: Mutex::new(Rebalance::new(windows)),
                restarts: Mutex::default(),
            }),
        }
    }

    /// The metrics of a task that starts. They are on the page as long as somebody holds them.
    #[must_use]
    pub fn task(&self, id: TaskId, about: About) -> Arc<TaskMetrics> {
        let startups = self.shared.task_startups.clone();
        let Shared { windows, stalled_after, .. } = *self.shared;
        let metrics = Arc::new(TaskMetrics::new(id.clone(), about, windows, stalled_after, startups));
        let mut tasks = lock(&self.shared.tasks);
        tasks.retain(|_, task| task.strong_count() > 0);
        tasks.insert(id, Arc::downgrade(&metrics));
        metrics
    }

    /// The metrics of a task that runs here or failed here.
    #[must_use]
    pub fn find(&self, id: &TaskId) -> Option<Arc<TaskMetrics>> {
        lock(&self.shared.tasks).get(id)?.upgrade()
    }

    /// A connector was started, or could not be.
    pub fn connector_started(&self, is_good: bool) {
        lock(&self.shared.connectors).record(is_good);
    }

    /// A task could not even be made. What becomes of those that could, their own metrics say.
    pub fn task_not_made(&self) {
        lock(&self.shared.task_startups).record(false);
    }

    /// `penstock.task.stalled.after.ms`; zero: never.
    #[must_use]
    pub fn stalled_after(&self) -> Duration {
        self.shared.stalled_after
    }

    /// A connector or one of its tasks is restarted because it failed.
    pub fn restarted(&self, connector: &str) {
        *lock(&self.shared.restarts).entry(connector.to_owned()).or_default() += 1;
    }

    /// How often that was.
    #[must_use]
    pub fn restarts(&self, connector: &str) -> u64 {
        lock(&self.shared.restarts).get(connector).copied().unwrap_or_default()
    }

    /// Forgets a connector that is not there any more.
    pub fn forget(&self, connector: &str) {
        lock(&self.shared.restarts).remove(connector);
    }

    /// This worker has no settled place in its group from now on.
    pub fn rebalance_began(&self) {
        lock(&self.shared.rebalance).began.get_or_insert_with(Instant::now);
    }

    /// It has one, at this generation, under this leader.
    pub fn rebalance_ended(&self, generation: i64, leader: &str) {
        lock(&self.shared.rebalance).ended(generation, leader, Instant::now());
    }

    /// Writes everything that this knows.
    pub fn write(&self, page: &mut Page) {
        page.count(Metric::BuildInfo, &[env!("CARGO_PKG_VERSION")], 1);
        let tasks: Vec<_> = lock(&self.shared.tasks).values().filter_map(Weak::upgrade).collect();
        for task in tasks {
            task.write(page);
        }
        lock(&self.shared.connectors).write(
            page,
            [
                Metric::ConnectorStartupAttempts,
                Metric::ConnectorStartupSuccess,
                Metric::ConnectorStartupFailure,
                Metric::ConnectorStartupSuccessShare,
                Metric::ConnectorStartupFailureShare,
            ],
        );
        lock(&self.shared.task_startups).write(
            page,
            [
                Metric::TaskStartupAttempts,
                Metric::TaskStartupSuccess,
                Metric::TaskStartupFailure,
                Metric::TaskStartupSuccessShare,
                Metric::TaskStartupFailureShare,
            ],
        );
        lock(&self.shared.rebalance).write(page, Instant::now());
    }
}

impl Startups {
    pub(super) fn record(&mut self, is_good: bool) {
        *if is_good { &mut self.good } else { &mut self.bad } += 1;
        self.lately.record(is_good, Instant::now());
    }

    /// Writes them as these metrics.
    fn write(&self, page: &mut Page, [attempts, success, failure, success_share, failure_share]: [Metric; 5]) {
        let (good, bad) = self.lately.shares(Instant::now());
        page.count(attempts, &[], self.good + self.bad);
        page.count(success, &[], self.good);
        page.count(failure, &[], self.bad);
        page.number(success_share, &[], good);
        page.number(failure_share, &[], bad);
    }
}

impl Rebalance {
    fn new(windows: Windows) -> Self {
        Self { leader: String::new(), epoch: -1, completed: 0, began: None, settled: None, took_ms: Sampled::new(windows) }
    }

    fn ended(&mut self, generation: i64, leader: &str, now: Instant) {
        let began = self.began.take();
        if began.is_none() && self.epoch == generation && self.leader == leader {
            return;
        }
        self.completed += 1;
        self.settled = Some(now);
        self.epoch = generation;
        leader.clone_into(&mut self.leader);
        // A new generation that was not felt here took no time.
        self.took_ms.record(began.map_or(0.0, |began| now.saturating_duration_since(began).as_secs_f64() * 1e3), now);
    }

    fn write(&self, page: &mut Page, now: Instant) {
        page.text(Metric::ConnectProtocol, &[], PROTOCOL);
        page.text(Metric::LeaderName, &[], &self.leader);
        page.number(Metric::Epoch, &[], self.epoch as f64);
        page.count(Metric::CompletedRebalances, &[], self.completed);
        page.count(Metric::Rebalancing, &[], u64::from(self.began.is_some()));
        page.number(Metric::RebalanceMaxTime, &[], self.took_ms.max(now));
        page.number(Metric::RebalanceAvgTime, &[], self.took_ms.average(now));
        // As in Java: for ever.
        let since = self.settled.map_or(f64::INFINITY, |settled| now.saturating_duration_since(settled).as_secs_f64() * 1e3);
        page.number(Metric::TimeSinceRebalance, &[], since);
    }
}

/// What a panic left behind is still good enough to count with.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_on_the_page_as_long_as_it_is_held() {
        let metrics = Metrics::default();
        let id = TaskId { connector: "orders".into(), task: 1 };
        let page = || {
            let mut page = Page::default();
            metrics.write(&mut page);
            page.finish()
        };
        let task = metrics.task(id.clone(), About::default());
        task.fetched(7, Duration::from_millis(3));
        let read = "kafka_connect_sink_task_metrics_sink_record_read_total{connector=\"orders\",task=\"1\"}";
        assert!(page().contains(&format!("{read} 7\n")));
        assert!(metrics.find(&id).is_some());
        // A restarted task counts anew; its predecessor may still be held by somebody.
        let next = metrics.task(id.clone(), About::default());
        assert!(page().contains(&format!("{read} 0\n")));
        drop((task, next));
        assert!(!page().contains(read));
        assert!(metrics.find(&id).is_none());
    }

    #[test]
    fn rebalances_are_counted_once() {
        let now = Instant::now();
        let mut rebalance = Rebalance::new(Windows::default());
        rebalance.began = Some(now);
        let later = now + Duration::from_millis(250);
        rebalance.ended(3, "a:1", later);
        rebalance.ended(3, "a:1", later);
        assert_eq!((rebalance.completed, rebalance.epoch, rebalance.began), (1, 3, None));
        assert!((rebalance.took_ms.max(later) - 250.0).abs() < 1e-6);
        rebalance.ended(4, "b:1", later);
        assert_eq!((rebalance.completed, rebalance.epoch), (2, 4));
    }
}
