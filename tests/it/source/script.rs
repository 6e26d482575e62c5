//! A source in this process that gives what its script says, exactly once, and notes what it is told.

use anyhow::{Result, bail};
use penstock::config::{ConnectorConfig, WorkerConfig};
use penstock::metrics::{About, Metrics};
use penstock::store::{Clients, OffsetStore, OffsetTopic, internal_topics};
use penstock::task::{Event, ExactlyOnce, TaskEvent, TaskHandle, TaskSpec, start_source};
use penstock_api::{
    Bytes, ConfigDef, Connector, Constructor, Delivered, Format, Headers, Next, Payload, Plugin, Polled, Props, Record, Registry,
    SourceConnector, SourceContext, SourceMap, SourceOffset, SourcePosition, SourceRecord, SourceTask, TaskId,
};
use penstock_tests::{Kafka, unique};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::mpsc;

const CLASS: &str = "penstock.tests.ScriptedSource";

/// What a poll gives: so many numbers, to one topic, and what else it does.
pub(super) struct Poll {
    pub(super) topic: String,
    pub(super) numbers: i64,
    pub(super) asks: Box<dyn Fn(&SourceContext) + Send>,
    /// It fails for now, behind what it asked.
    pub(super) fails: bool,
}

#[derive(Default)]
struct State {
    polls: VecDeque<Poll>,
    /// Numbers that the task was told are delivered.
    delivered: Vec<i64>,
}

/// Clones share it.
#[derive(Clone, Default)]
pub(super) struct Script(Arc<Mutex<State>>);

impl Script {
    /// The next poll.
    pub(super) fn poll(&self, topic: &str, numbers: i64, asks: impl Fn(&SourceContext) + Send + 'static) {
        self.add(Poll { topic: topic.into(), numbers, asks: Box::new(asks), fails: false });
    }

    pub(super) fn add(&self, poll: Poll) {
        self.lock().polls.push_back(poll);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().polls.is_empty()
    }

    pub(super) fn delivered(&self) -> Vec<i64> {
        self.lock().delivered.clone()
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
            construct: Constructor::Source(Arc::new(move || Box::new(Scripted(script.clone())))),
        }
    }
}

struct Scripted(Script);

#[penstock_api::async_trait]
impl Connector for Scripted {
    async fn task_configs(&self, config: &Props, _tasks_max: u32) -> penstock_api::Result<Vec<Props>> {
        Ok(vec![config.clone()])
    }
}

impl SourceConnector for Scripted {
    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(ScriptedTask { script: self.0.clone(), context: None, partition: partition().into(), next: 0 })
    }
}

struct ScriptedTask {
    script: Script,
    context: Option<SourceContext>,
    partition: Arc<SourceMap>,
    next: i64,
}

fn partition() -> SourceMap {
    [("numbers".to_owned(), "all".into())].into_iter().collect()
}

fn number(offset: &SourceMap) -> i64 {
    offset["next"].as_i64().expect("a number")
}

#[penstock_api::async_trait]
impl SourceTask for ScriptedTask {
    async fn start(&mut self, _config: &Props, context: SourceContext) -> penstock_api::Result<()> {
        let stored = context.stored(&[partition()]).await?;
        self.next = stored[0].as_ref().map_or(0, number);
        self.context = Some(context);
        Ok(())
    }

    async fn poll(&mut self) -> penstock_api::Result<Polled> {
        let Some(poll) = self.script.lock().polls.pop_front() else {
            return Ok(Polled { records: Vec::new(), next: Next::Wait(Duration::from_millis(20)) });
        };
        (poll.asks)(self.context.as_ref().expect("started"));
        if poll.fails {
            return Err(penstock_api::Error::retriable("not now"));
        }
        let topic: Arc<str> = poll.topic.as_str().into();
        let from = self.next;
        self.next += poll.numbers;
        let record = |n: i64| SourceRecord {
            record: Record {
                topic: topic.clone(),
                partition: None,
                key: Payload::null(),
                value: Payload::encoded(Bytes::from(n.to_string()), Format::Json),
                headers: Headers::new(),
                timestamp: None,
                offset: None,
            },
            position: Some(SourcePosition {
                partition: self.partition.clone(),
                offset: SourceOffset::Count("next".into(), n + 1),
            }),
        };
        Ok(Polled { records: (from..self.next).map(record).collect(), next: Next::More })
    }

    fn wants_deliveries(&self) -> bool {
        true
    }

    async fn delivered(&mut self, records: &[Delivered]) -> penstock_api::Result<()> {
        let numbers = records.iter().filter_map(|r| r.position.as_ref()).map(|at| number(&at.offset.to_map()) - 1);
        self.script.lock().delivered.extend(numbers);
        Ok(())
    }
}

/// A task in this process, exactly once, and the offsets it stores.
pub(super) struct Running {
    pub(super) offsets: OffsetStore,
    name: String,
    handle: TaskHandle,
    events: mpsc::UnboundedReceiver<TaskEvent>,
}

impl Running {
    /// Starts task 0 of the connector of that name, whose offsets are in that topic.
    pub(super) async fn start(
        name: &str,
        offset_topic: &str,
        kafka: &Kafka,
        script: &Script,
        config: &[(&str, &str)],
    ) -> Result<Self> {
        let mut registry = Registry::new();
        registry.extend([script.plugin()]);
        registry.extend(penstock::converters::plugins());
        registry.extend(penstock_transforms::plugins());
        let mut props: Props = config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        props.extend([("name", name), ("connector.class", CLASS)].map(|(k, v)| (k.to_owned(), v.to_owned())));
        let worker = worker(kafka, offset_topic)?;
        let connector = Arc::new(ConnectorConfig::new(&props, &registry, &worker)?);
        let id = TaskId { connector: name.into(), task: 0 };
        let spec = TaskSpec {
            revision: 1,
            props: connector.props.clone(),
            connector,
            paused: false,
            commit_interval: Duration::from_millis(200),
            commit_timeout: Duration::from_secs(5),
            metrics: Metrics::default().task(id.clone(), About::default()),
            stop_timeout: Duration::from_secs(10),
            track_topics: false,
            id,
        };
        let clients = Clients::new(&worker);
        let [_, _, spec_of_offsets] = internal_topics(&worker);
        clients.ensure_topics(std::slice::from_ref(&spec_of_offsets)).await?;
        let offsets = OffsetStore::new(name.into(), vec![OffsetTopic::new(clients, spec_of_offsets, true)]);
        // Nobody else runs it.
        let once = ExactlyOnce { transactional_id: unique(name), fence: Arc::new(|| Box::pin(async { Ok(()) })) };
        let (sender, events) = mpsc::unbounded_channel();
        let handle = start_source(spec, offsets.clone(), Some(once), sender);
        Ok(Self { offsets, name: name.into(), handle, events })
    }

    /// The number to go on with, as it is stored.
    pub(super) async fn stored(&self) -> Result<Option<i64>> {
        let offsets = self.offsets.read().await?;
        Ok(offsets.get(&self.name, &partition()).map(number))
    }

    /// Waits until the task fails; answers the trace.
    pub(super) async fn failure(&mut self) -> Result<String> {
        match self.event(|event| matches!(event, Event::Failed { .. })).await? {
            Event::Failed { trace } => Ok(trace),
            other => bail!("not a failure: {other:?}"),
        }
    }

    /// Stops the task and waits for its end.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.handle.request_stop();
        self.event(|event| *event == Event::Stopped).await.map(drop)
    }

    async fn event(&mut self, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
        let events = &mut self.events;
        tokio::time::timeout(super::SOON, async {
            loop {
                match events.recv().await {
                    Some(event) if wanted(&event.event) => return Ok(event.event),
                    Some(TaskEvent { event: Event::Failed { trace }, .. }) => bail!("the task failed: {trace}"),
                    Some(_) => {}
                    None => bail!("the task is gone"),
                }
            }
        })
        .await?
    }
}

fn worker(kafka: &Kafka, offset_topic: &str) -> Result<WorkerConfig> {
    let props = [
        ("bootstrap.servers", kafka.bootstrap()),
        ("group.id", "scripted-worker"),
        ("config.storage.topic", "unused-configs"),
        ("offset.storage.topic", offset_topic),
        ("status.storage.topic", "unused-statuses"),
        ("offset.storage.replication.factor", "1"),
        ("offset.storage.partitions", "1"),
        ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ("value.converter.schemas.enable", "false"),
        ("exactly.once.source.support", "enabled"),
    ];
    let props: Props = props.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    Ok(WorkerConfig::new(&props)?)
}
