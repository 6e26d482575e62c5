//! A sink that writes down what it gets and answers as its script says.

use anyhow::{Result, bail};
use penstock::config::{ConnectorConfig, WorkerConfig};
use penstock::metrics::{About, Metrics};
use penstock::task::{Event, TaskEvent, TaskHandle, TaskSpec, start_sink};
use penstock_api::{
    ConfigDef, Connector, Constructor, Offsets, Payload, Plugin, Props, Registry, SinkConnector, SinkContext, SinkRecord,
    SinkTask, TaskId, TopicPartition,
};
use penstock_tests::{Kafka, unique};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::mpsc;

const CLASS: &str = "penstock.tests.Scripted";

/// A record as it was delivered.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub topic: String,
    /// Of the origin.
    pub partition: i32,
    /// Of the origin.
    pub offset: i64,
    pub value: Payload,
}

type PutHook = Box<dyn FnMut(&[SinkRecord], &SinkContext) -> penstock_api::Result<()> + Send>;
type OpenHook = Box<dyn FnMut(&[TopicPartition], &SinkContext) -> penstock_api::Result<()> + Send>;
type PreCommitHook = Box<dyn FnMut(&Offsets) -> Offsets + Send>;
type FlushHook = Box<dyn FnMut(&[TopicPartition]) -> Flushing + Send>;

/// How a flush goes.
pub(crate) enum Flushing {
    Done,
    /// It never answers.
    Hangs,
}

#[derive(Default)]
struct State {
    delivered: Vec<Delivery>,
    commits_asked: Vec<Offsets>,
    open: BTreeMap<u32, BTreeSet<TopicPartition>>,
    on_put: Option<PutHook>,
    on_open: Option<OpenHook>,
    on_pre_commit: Option<PreCommitHook>,
    on_flush: Option<FlushHook>,
}

/// What the sink does, and what it saw. Clones share both.
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<State>>);

impl Script {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Decides on each put; records count as delivered when it answers `Ok`.
    pub(crate) fn on_put(&self, hook: impl FnMut(&[SinkRecord], &SinkContext) -> penstock_api::Result<()> + Send + 'static) {
        self.lock().on_put = Some(Box::new(hook));
    }

    pub(crate) fn on_open(&self, hook: impl FnMut(&[TopicPartition], &SinkContext) -> penstock_api::Result<()> + Send + 'static) {
        self.lock().on_open = Some(Box::new(hook));
    }

    pub(crate) fn on_pre_commit(&self, hook: impl FnMut(&Offsets) -> Offsets + Send + 'static) {
        self.lock().on_pre_commit = Some(Box::new(hook));
    }

    pub(crate) fn on_flush(&self, hook: impl FnMut(&[TopicPartition]) -> Flushing + Send + 'static) {
        self.lock().on_flush = Some(Box::new(hook));
    }

    pub(crate) fn delivered(&self) -> Vec<Delivery> {
        self.lock().delivered.clone()
    }

    /// What the worker offered for commit, each time.
    pub(crate) fn commits_asked(&self) -> Vec<Offsets> {
        self.lock().commits_asked.clone()
    }

    /// The partitions that task has open.
    pub(crate) fn open_by(&self, task: u32) -> BTreeSet<TopicPartition> {
        self.lock().open.get(&task).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("a script does not panic")
    }

    fn plugin(&self) -> Plugin {
        let script = self.clone();
        Plugin {
            class: CLASS.into(),
            aliases: Vec::new(),
            version: "1".into(),
            config: Arc::new(ConfigDef::default()),
            construct: Constructor::Sink(Arc::new(move || Box::new(Scripted(script.clone())))),
        }
    }
}

struct Scripted(Script);

#[penstock_api::async_trait]
impl Connector for Scripted {
    async fn task_configs(&self, config: &Props, tasks_max: u32) -> penstock_api::Result<Vec<Props>> {
        Ok(self.same_for_all(config, tasks_max))
    }
}

impl SinkConnector for Scripted {
    fn task(&self) -> Box<dyn SinkTask> {
        Box::new(ScriptedTask { script: self.0.clone(), context: None })
    }
}

struct ScriptedTask {
    script: Script,
    context: Option<SinkContext>,
}

impl ScriptedTask {
    fn context(&self) -> &SinkContext {
        self.context.as_ref().expect("started")
    }
}

#[penstock_api::async_trait]
impl SinkTask for ScriptedTask {
    async fn start(&mut self, _config: &Props, context: SinkContext) -> penstock_api::Result<()> {
        self.context = Some(context);
        Ok(())
    }

    async fn open(&mut self, partitions: &[TopicPartition]) -> penstock_api::Result<()> {
        let mut state = self.script.lock();
        if let Some(hook) = &mut state.on_open {
            hook(partitions, self.context())?;
        }
        state.open.entry(self.context().task.task).or_default().extend(partitions.iter().cloned());
        Ok(())
    }

    async fn put(&mut self, records: &[SinkRecord]) -> penstock_api::Result<()> {
        let mut state = self.script.lock();
        if let Some(hook) = &mut state.on_put {
            hook(records, self.context())?;
        }
        state.delivered.extend(records.iter().map(|r| Delivery {
            topic: r.record.topic.to_string(),
            partition: r.origin.partition,
            offset: r.origin.offset,
            value: r.record.value.clone(),
        }));
        Ok(())
    }

    async fn pre_commit(&mut self, put: &Offsets) -> penstock_api::Result<Offsets> {
        let mut state = self.script.lock();
        state.commits_asked.push(put.clone());
        Ok(state.on_pre_commit.as_mut().map_or_else(|| put.clone(), |hook| hook(put)))
    }

    async fn flush(&mut self, partitions: &[TopicPartition]) -> penstock_api::Result<()> {
        let going = self.script.lock().on_flush.as_mut().map_or(Flushing::Done, |hook| hook(partitions));
        match going {
            Flushing::Done => Ok(()),
            Flushing::Hangs => std::future::pending().await,
        }
    }

    async fn close(&mut self, partitions: &[TopicPartition], _lost: bool) {
        let task = self.context().task.task;
        if let Some(open) = self.script.lock().open.get_mut(&task) {
            open.retain(|p| !partitions.contains(p));
        }
    }
}

/// A sink task in this process, with its events.
pub(crate) struct Running {
    pub name: String,
    pub handle: TaskHandle,
    events: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<TaskEvent>>>,
}

impl Running {
    /// Starts task 0 of a connector with a name of its own.
    pub(crate) fn start(kafka: &Kafka, script: &Script, config: &[(&str, &str)]) -> Result<Self> {
        Self::start_as(&unique("scripted"), kafka, script, config)
    }

    pub(crate) fn start_as(name: &str, kafka: &Kafka, script: &Script, config: &[(&str, &str)]) -> Result<Self> {
        Self::start_task(name, 0, kafka, script, config)
    }

    pub(crate) fn start_task(name: &str, task: u32, kafka: &Kafka, script: &Script, config: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(name, task, kafka, script, config, |_| {})
    }

    /// `change` has the last word on the task's specification.
    pub(crate) fn start_with(
        name: &str,
        task: u32,
        kafka: &Kafka,
        script: &Script,
        config: &[(&str, &str)],
        change: impl FnOnce(&mut TaskSpec),
    ) -> Result<Self> {
        let mut registry = Registry::new();
        registry.extend([script.plugin()]);
        registry.extend(penstock::converters::plugins());
        registry.extend(penstock_transforms::plugins());
        let mut props: Props = config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        for (key, value) in [("name", name), ("connector.class", CLASS)] {
            props.insert(key.into(), value.into());
        }
        let connector = Arc::new(ConnectorConfig::new(&props, &registry, &worker(kafka)?)?);
        let mut spec = TaskSpec {
            id: TaskId { connector: name.into(), task },
            revision: 1,
            props: connector.props.clone(),
            connector,
            paused: false,
            commit_interval: Duration::from_millis(200),
            commit_timeout: Duration::from_secs(5),
            metrics: Metrics::default().task(TaskId { connector: name.into(), task }, About::default()),
            stop_timeout: Duration::from_secs(5),
            track_topics: true,
        };
        change(&mut spec);
        let (sender, events) = mpsc::unbounded_channel();
        let handle = start_sink(spec, sender);
        Ok(Self { name: name.into(), handle, events: Arc::new(tokio::sync::Mutex::new(events)) })
    }

    /// Waits for an event.
    pub(crate) async fn event(&self, limit: Duration, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
        let mut events = self.events.lock().await;
        let found = tokio::time::timeout(limit, async {
            loop {
                match events.recv().await {
                    Some(event) if wanted(&event.event) => return Ok(event.event),
                    Some(TaskEvent { event: Event::Failed { trace }, .. }) => bail!("the task failed: {trace}"),
                    Some(_) => {}
                    None => bail!("the task is gone"),
                }
            }
        });
        found.await?
    }

    /// Waits until the task fails; answers the trace.
    pub(crate) async fn failure(&self, limit: Duration) -> Result<String> {
        match self.event(limit, |event| matches!(event, Event::Failed { .. })).await? {
            Event::Failed { trace } => Ok(trace),
            other => bail!("not a failure: {other:?}"),
        }
    }

    /// Stops the task; answers whether it ended cleanly by itself.
    pub(crate) async fn stop(&self) -> bool {
        self.handle.request_stop();
        self.event(Duration::from_secs(20), |event| *event == Event::Stopped).await.is_ok()
    }
}

fn worker(kafka: &Kafka) -> Result<WorkerConfig> {
    let props = [
        ("bootstrap.servers", kafka.bootstrap()),
        ("group.id", "scripted-worker"),
        ("config.storage.topic", "unused-configs"),
        ("offset.storage.topic", "unused-offsets"),
        ("status.storage.topic", "unused-statuses"),
        ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ("value.converter.schemas.enable", "false"),
    ];
    let props: Props = props.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    Ok(WorkerConfig::new(&props)?)
}
