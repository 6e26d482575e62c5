//! What the herder needs from the rooms below: look at a connector, plan its tasks, start one.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use penstock_api::{Constructor, Error, Props, Registry, Result, SinkConnector, SourceConnector, TaskId, async_trait};
use tokio::sync::mpsc;

use super::error::{HerderError, Result as HerderResult};
use super::view::ConnectorType;
use crate::config::validate::{CONNECTORS, find_connector};
use crate::config::{ConnectorConfig, RestartPolicy, WorkerConfig, validate};
use crate::kafka::Transactional;
use crate::kafka::admin::Admin;
use crate::kafka::settings;
use crate::metrics::Metrics;
use crate::store::{Clients, OffsetStore, OffsetTopic, internal_topics, own_offset_topic};
use crate::task::{ExactlyOnce, Fence, TaskEvent, TaskHandle, TaskSpec, about, start_sink, start_source};

/// Producers that are fenced side by side.
const FENCED_AT_ONCE: usize = 8;
/// How long a round of fencing may take; the writing lane waits for it.
const FENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes things run. The herder decides what, so it can be tested with one that starts nothing.
#[async_trait]
pub trait Starter: Send + Sync + 'static {
    /// What can be said of a connector by its configuration alone.
    fn describe(&self, props: &Props) -> Description;

    /// What the connector wants done about failures.
    fn restart_policy(&self, props: &Props) -> RestartPolicy {
        RestartPolicy::of(props)
    }

    /// Checks a configuration that somebody wants to write.
    async fn validate(&self, props: &Props) -> HerderResult<()>;

    /// The configurations of the connector's tasks.
    async fn plan(&self, props: &Props) -> Result<Vec<Props>>;

    /// Ends when the connector's tasks are to be planned anew, or with what it fails of.
    async fn watch(&self, _props: &Props) -> Result<()> {
        std::future::pending().await
    }

    /// What it takes to see and change the offsets of a sink.
    fn sink(&self, _props: &Props) -> Result<Sink> {
        Err(Error::config("there are no sinks here"))
    }

    /// What it takes to see and change the offsets of a source.
    fn source(&self, _props: &Props) -> Result<Source> {
        Err(Error::config("there are no sources here"))
    }

    /// Whether this worker's sources are exactly once.
    fn is_exactly_once(&self) -> bool {
        false
    }

    /// Fences the producers of so many tasks of a source: nothing that they have not committed is ever seen.
    async fn fence(&self, _props: &Props, _tasks: u32) -> Result<()> {
        Err(Error::config("there are no sources here"))
    }

    /// Starts a task. It reports with `launch` as its revision.
    fn start(&self, launch: Launch, events: mpsc::UnboundedSender<TaskEvent>) -> Result<Box<dyn StartedTask>>;
}

/// A connector's class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    pub kind: ConnectorType,
    /// In full, when it is known here.
    pub class: Option<String>,
    pub version: Option<String>,
}

/// A sink that need not run: who knows where it is.
pub struct Sink {
    /// Hears of changes to its offsets.
    pub connector: Box<dyn SinkConnector>,
    /// Its configuration, variables resolved.
    pub props: Props,
    /// Its consumer group.
    pub group: String,
    /// By the connector's own settings.
    pub admin: Admin,
}

/// A source that need not run: who knows where it is.
pub struct Source {
    /// Hears of changes to its offsets.
    pub connector: Box<dyn SourceConnector>,
    /// Its configuration, variables resolved.
    pub props: Props,
    pub offsets: OffsetStore,
}

/// A task to start.
pub struct Launch {
    pub id: TaskId,
    /// Tells the events of this start from those of another one of the same task.
    pub launch: i64,
    pub connector: Arc<Props>,
    pub task: Arc<Props>,
    pub paused: bool,
    /// Fences older generations of the connector's tasks, if it is a source that is exactly once.
    pub fence: Fence,
}

/// A task that was started.
pub trait StartedTask: Send {
    fn pause(&self);
    fn resume(&self);
    /// Asks it to commit and end, waits for `grace`, then drops it. Answers whether it ended by itself. One that is succeeded, here
    /// or elsewhere, keeps its place in its consumer group for that.
    fn stop(self: Box<Self>, grace: Duration, is_succeeded: bool) -> BoxFuture<'static, bool>;
}

impl StartedTask for TaskHandle {
    fn pause(&self) {
        TaskHandle::pause(self);
    }

    fn resume(&self) {
        TaskHandle::resume(self);
    }

    fn stop(self: Box<Self>, grace: Duration, is_succeeded: bool) -> BoxFuture<'static, bool> {
        if is_succeeded { Box::pin(TaskHandle::hand_over(*self, grace)) } else { Box::pin(TaskHandle::stop(*self, grace)) }
    }
}

/// Starts real tasks of the plugins in the registry.
pub struct PluginStarter {
    pub registry: Arc<Registry>,
    pub worker: Arc<WorkerConfig>,
    pub metrics: Metrics,
    clients: Clients,
    /// The worker's own offset topic, with one producer for all.
    offsets: OffsetTopic,
}

#[async_trait]
impl Starter for PluginStarter {
    fn describe(&self, props: &Props) -> Description {
        let class = props.get("connector.class").map_or("", |class| class.trim());
        let plugin = self.registry.find(CONNECTORS, class);
        Description {
            kind: plugin.map(|plugin| plugin.kind()).into(),
            class: plugin.map(|plugin| plugin.class.clone()),
            version: plugin.map(|plugin| plugin.version.clone()).filter(|version| !version.is_empty()),
        }
    }

    fn restart_policy(&self, props: &Props) -> RestartPolicy {
        self.worker.providers.resolve(props).map_or(RestartPolicy::OFF, |props| RestartPolicy::of(&props))
    }

    async fn validate(&self, props: &Props) -> HerderResult<()> {
        let raw = props.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        let infos = validate(&raw, &self.registry, &self.worker).await.map_err(|e| HerderError::BadRequest(format!("{e:#}")))?;
        infos.refusal().map_or(Ok(()), |refusal| Err(HerderError::BadRequest(refusal)))
    }

    async fn plan(&self, props: &Props) -> Result<Vec<Props>> {
        // First, for its message names the class, and other parts may be missing along with it.
        find_connector(props.get("connector.class").map_or("", |class| class.trim()), &self.registry)?;
        let config = ConnectorConfig::new(props, &self.registry, &self.worker)?;
        let tasks = match &config.plugin.construct {
            Constructor::Sink(make) => make().task_configs(&config.props, config.tasks_max).await?,
            Constructor::Source(make) => make().task_configs(&config.props, config.tasks_max).await?,
            _ => return Err(Error::config(format!("{} is no connector", config.plugin.class))),
        };
        check_count(&config, props, tasks.len())?;
        // What is written must not hold what variables stand for: other workers resolve them themselves.
        Ok(tasks.into_iter().map(|task| written_form(task, &config, props)).collect())
    }

    async fn watch(&self, props: &Props) -> Result<()> {
        let config = ConnectorConfig::new(props, &self.registry, &self.worker)?;
        match &config.plugin.construct {
            Constructor::Sink(make) => make().watch(&config.props).await,
            Constructor::Source(make) => make().watch(&config.props).await,
            _ => std::future::pending().await,
        }
    }

    fn sink(&self, props: &Props) -> Result<Sink> {
        find_connector(props.get("connector.class").map_or("", |class| class.trim()), &self.registry)?;
        let config = ConnectorConfig::new(props, &self.registry, &self.worker)?;
        let Constructor::Sink(make) = &config.plugin.construct else {
            return Err(Error::config(format!("{} is not a sink", config.plugin.class)));
        };
        Ok(Sink {
            connector: make(),
            admin: Admin::new(settings::admin(&format!("connector {}", config.name), &config.admin)?)?,
            group: config.consumer.get("group.id").cloned().unwrap_or_default(),
            props: config.props,
        })
    }

    fn source(&self, props: &Props) -> Result<Source> {
        find_connector(props.get("connector.class").map_or("", |class| class.trim()), &self.registry)?;
        let config = ConnectorConfig::new(props, &self.registry, &self.worker)?;
        let Constructor::Source(make) = &config.plugin.construct else {
            return Err(Error::config(format!("{} is not a source", config.plugin.class)));
        };
        Ok(Source { connector: make(), offsets: self.offsets_of(&config), props: config.props })
    }

    fn is_exactly_once(&self) -> bool {
        self.worker.exactly_once
    }

    async fn fence(&self, props: &Props, tasks: u32) -> Result<()> {
        let config = ConnectorConfig::new(props, &self.registry, &self.worker)?;
        let fence = |task| {
            let mut props = config.producer.clone();
            let id = self.transactional_id(&TaskId { connector: config.name.clone(), task });
            // A producer of a transaction may take its time here: brokers first end what an older one has left open.
            for (key, value) in [
                ("transactional.id", id.as_str()),
                ("enable.idempotence", "true"),
                ("transaction.timeout.ms", "30000"),
                ("delivery.timeout.ms", "30000"),
            ] {
                props.insert(key.into(), value.into());
            }
            async move { Transactional::open(settings::producer(&format!("fencing of task {id}"), &props)?).await.map(drop) }
        };
        let fenced = futures::stream::iter(0..tasks).map(fence).buffer_unordered(FENCED_AT_ONCE).try_collect::<Vec<()>>();
        let late = || Error::retriable(format!("brokers did not answer within {} s", FENCE_TIMEOUT.as_secs()));
        tokio::time::timeout(FENCE_TIMEOUT, fenced).await.map_err(|_| late())?.map(drop)
    }

    fn start(&self, launch: Launch, events: mpsc::UnboundedSender<TaskEvent>) -> Result<Box<dyn StartedTask>> {
        let started = self.start_task(launch, events);
        if started.is_err() {
            self.metrics.task_not_made();
        }
        started
    }
}

impl PluginStarter {
    /// For a worker with these clients.
    #[must_use]
    pub fn new(registry: Arc<Registry>, worker: Arc<WorkerConfig>, metrics: Metrics, clients: Clients) -> Self {
        let [_, _, offsets] = internal_topics(&worker);
        let offsets = OffsetTopic::new(clients.clone(), offsets, worker.exactly_once);
        Self { registry, worker, metrics, clients, offsets }
    }

    /// Where a source's offsets are: in a topic of its own, in the reach of its own clients, and in the worker's.
    fn offsets_of(&self, config: &ConnectorConfig) -> OffsetStore {
        let own = config.source.as_ref().and_then(|source| source.offsets_topic.as_deref());
        let is_elsewhere = config.producer.get("bootstrap.servers") != self.worker.clients.common.get("bootstrap.servers");
        let own = own.filter(|name| *name != self.offsets.name() || is_elsewhere);
        // A transaction is of one cluster: then the offsets are where the records are, in a topic of the same name.
        let own = own.or_else(|| (self.worker.exactly_once && is_elsewhere).then(|| self.offsets.name()));
        let own = own.map(|name| {
            let clients = self.clients.of_connector(config.producer.clone());
            OffsetTopic::new(clients, own_offset_topic(&self.worker, name), self.worker.exactly_once)
        });
        OffsetStore::new(config.name.clone(), own.into_iter().chain([self.offsets.clone()]).collect())
    }

    /// As in Java.
    fn transactional_id(&self, id: &TaskId) -> String {
        format!("{}-{id}", self.worker.group_id)
    }

    fn start_task(&self, launch: Launch, events: mpsc::UnboundedSender<TaskEvent>) -> Result<Box<dyn StartedTask>> {
        let connector = ConnectorConfig::new(&launch.connector, &self.registry, &self.worker)?;
        let offsets = connector.source.is_some().then(|| self.offsets_of(&connector));
        let once = (offsets.is_some() && self.worker.exactly_once)
            .then(|| ExactlyOnce { transactional_id: self.transactional_id(&launch.id), fence: launch.fence });
        let props = self.worker.providers.resolve(&launch.task)?;
        let spec = TaskSpec {
            metrics: self.metrics.task(launch.id.clone(), about(&launch.id, &connector, &props)),
            id: launch.id,
            revision: launch.launch,
            connector: Arc::new(connector),
            props,
            paused: launch.paused,
            commit_interval: self.worker.offset_flush_interval,
            commit_timeout: self.worker.offset_flush_timeout,
            stop_timeout: self.worker.shutdown_timeout,
            track_topics: self.worker.topic_tracking,
        };
        Ok(Box::new(match offsets {
            Some(offsets) => start_source(spec, offsets, once, events),
            None => start_sink(spec, events),
        }))
    }
}

fn check_count(config: &ConnectorConfig, props: &Props, count: usize) -> Result<()> {
    let enforced = props.get("tasks.max.enforce").is_none_or(|v| !v.trim().eq_ignore_ascii_case("false"));
    if count <= config.tasks_max as usize || !enforced {
        return Ok(());
    }
    Err(Error::config(format!(
        "The connector {} has generated {count} tasks, which is greater than {}, the maximum number of tasks it is configured to \
         create. This behaviour should be considered a bug and is disallowed. If necessary, it can be permitted by reconfiguring \
         the connector with 'tasks.max.enforce' set to false; however, this option will be removed in a future release of Kafka \
         Connect.",
        config.name, config.tasks_max
    )))
}

/// A task's properties as they are written: variables as the user wrote them, and the class that Java asks for.
fn written_form(mut task: Props, config: &ConnectorConfig, raw: &Props) -> Props {
    for (key, written) in raw.iter().filter(|(_, value)| value.contains("${")) {
        if let Some(value) = task.get_mut(key) {
            value.clone_from(written);
        }
    }
    let class = &config.plugin.class;
    let task_class = class.strip_suffix("Connector").map_or_else(|| format!("{class}Task"), |stem| format!("{stem}Task"));
    task.insert("task.class".into(), task_class);
    task
}
