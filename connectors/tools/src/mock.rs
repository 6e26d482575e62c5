//! Connectors that do nothing, and fail when told to: the connector (`mock_mode=connector-failure`) or its task (`task-failure`),
//! `delay_ms` after their start.

use penstock_api::{
    Connector, Error, Next, Polled, Props, Result, SinkConnector, SinkContext, SinkRecord, SinkTask, SourceConnector,
    SourceContext, SourceTask, async_trait,
};
use std::time::{Duration, Instant};

use crate::number;

const MODE: &str = "mock_mode";
const CONNECTOR_FAILURE: &str = "connector-failure";
const TASK_FAILURE: &str = "task-failure";
const DELAY: &str = "delay_ms";
const DELAY_DEFAULT_MS: i64 = 15_000;
/// How often a task that does not fail is asked for records.
const IDLE: Duration = Duration::from_millis(500);

/// Source or sink.
pub(crate) struct Mock;

#[async_trait]
impl Connector for Mock {
    async fn task_configs(&self, config: &Props, _tasks_max: u32) -> Result<Vec<Props>> {
        delay_of(config, CONNECTOR_FAILURE)?;
        Ok(vec![config.clone()])
    }

    async fn watch(&self, config: &Props) -> Result<()> {
        let Some(delay) = delay_of(config, CONNECTOR_FAILURE)? else { return std::future::pending().await };
        tokio::time::sleep(delay).await;
        tracing::debug!("triggering connector failure");
        Err(told_to(CONNECTOR_FAILURE, delay))
    }
}

impl SinkConnector for Mock {
    fn task(&self) -> Box<dyn SinkTask> {
        Box::<MockTask>::default()
    }
}

impl SourceConnector for Mock {
    fn task(&self) -> Box<dyn SourceTask> {
        Box::<MockTask>::default()
    }
}

/// Source or sink.
#[derive(Default)]
struct MockTask {
    /// When it was started, and how long after that it fails.
    fails: Option<(Instant, Duration)>,
}

impl MockTask {
    fn begin(&mut self, config: &Props) -> Result<()> {
        self.fails = delay_of(config, TASK_FAILURE)?.map(|delay| (Instant::now(), delay));
        Ok(())
    }

    /// Fails if it is time; else answers how long that is not so.
    fn check(&self, now: Instant) -> Result<Duration> {
        let Some((started, delay)) = self.fails else { return Ok(Duration::MAX) };
        let left = delay.saturating_sub(now.duration_since(started));
        if left.is_zero() { Err(told_to(TASK_FAILURE, delay)) } else { Ok(left) }
    }
}

#[async_trait]
impl SinkTask for MockTask {
    async fn start(&mut self, config: &Props, _context: SinkContext) -> Result<()> {
        self.begin(config)
    }

    async fn put(&mut self, _records: &[SinkRecord]) -> Result<()> {
        self.check(Instant::now()).map(drop)
    }
}

#[async_trait]
impl SourceTask for MockTask {
    async fn start(&mut self, config: &Props, _context: SourceContext) -> Result<()> {
        self.begin(config)
    }

    async fn poll(&mut self) -> Result<Polled> {
        let left = self.check(Instant::now())?;
        Ok(Polled { records: Vec::new(), next: Next::Wait(left.min(IDLE)) })
    }
}

/// How long after its start what the mode names fails; `None`: it does not.
fn delay_of(config: &Props, mode: &str) -> Result<Option<Duration>> {
    if config.get(MODE).map(String::as_str) != Some(mode) {
        return Ok(None);
    }
    let delay_ms = number(config, DELAY)?.unwrap_or(DELAY_DEFAULT_MS);
    Ok(Some(Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0))))
}

fn told_to(mode: &str, delay: Duration) -> Error {
    Error::fatal(format!("told to fail after {} ms by mock_mode={mode}", delay.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_api::TaskId;

    fn config(mode: &str, delay_ms: &str) -> Props {
        [(MODE, mode), (DELAY, delay_ms)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    #[tokio::test]
    async fn a_task_fails_after_its_delay() {
        let mut task = MockTask::default();
        let context = SinkContext::new(TaskId { connector: "m".into(), task: 0 });
        SinkTask::start(&mut task, &config(TASK_FAILURE, "60000"), context).await.unwrap();
        task.put(&[]).await.unwrap();
        assert_eq!(task.poll().await.unwrap().next, Next::Wait(IDLE));
        let (started, delay) = task.fails.unwrap();
        assert_eq!(task.check(started + Duration::from_millis(59_999)).unwrap(), Duration::from_millis(1));
        let error = task.check(started + delay).unwrap_err();
        assert_eq!(error.message(), "told to fail after 60000 ms by mock_mode=task-failure");
    }

    #[tokio::test]
    async fn a_connector_fails_while_its_task_goes_on() {
        let config = config(CONNECTOR_FAILURE, "1");
        assert_eq!(Mock.task_configs(&config, 5).await.unwrap(), vec![config.clone()]);
        Mock.watch(&config).await.unwrap_err();
        assert!(delay_of(&config, TASK_FAILURE).unwrap().is_none());
    }

    #[tokio::test]
    async fn a_delay_that_is_no_number_fails_the_connector() {
        let error = Mock.task_configs(&config(CONNECTOR_FAILURE, "soon"), 1).await.unwrap_err();
        assert_eq!(error.message(), "delay_ms is soon, which is no number");
        assert!(Mock.task_configs(&config("other", "soon"), 1).await.is_ok(), "nobody looks at it");
    }
}
