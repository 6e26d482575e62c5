//! The herder with a starter that starts nothing and a config topic in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use penstock_api::{Error, Props, Result, async_trait};
use tokio::sync::{mpsc, watch};

use super::error::{HerderError, Result as HerderResult};
use super::herd::{Herd, Told};
use super::herder::{Herder, Shared};
use super::leadership::{NotWritten, Standing};
use super::member::{Role, Seat};
use super::peers::Peers;
use super::progress::Progress;
use super::reconcile::desired;
use super::share::Placement;
use super::stage::Stages;
use super::starter::{Description, Launch, StartedTask, Starter};
use super::view::{ConnectorStatus, ConnectorType, TargetState};
use super::writer::{Append, Writer};
use crate::config::WorkerConfig;
use crate::logging::Loggers;
use crate::metrics::Metrics;
use crate::store::assignment::{Assignment, Entry, Share};
use crate::store::config::{ConfigState, Event, Record};
use crate::store::status::{RestartState, State, StatusStore};
use crate::store::{Clients, Position};
use crate::task::{Event as TaskEvent, TaskEvent as TaskSays};

const SOON: Duration = Duration::from_secs(10);

/// Starts nothing, but says so.
#[derive(Default)]
struct Fake {
    log: Arc<Mutex<Vec<String>>>,
    live: Arc<Mutex<BTreeMap<String, u32>>>,
}

struct FakeTask {
    name: String,
    launch: Launch,
    events: mpsc::UnboundedSender<TaskSays>,
    log: Arc<Mutex<Vec<String>>>,
    live: Arc<Mutex<BTreeMap<String, u32>>>,
}

#[async_trait]
impl Starter for Fake {
    fn describe(&self, props: &Props) -> Description {
        let known = props.get("connector.class").is_some_and(|class| class == "Known");
        let kind = if known { ConnectorType::Sink } else { ConnectorType::Unknown };
        Description { kind, class: None, version: known.then(|| "1.0".to_owned()) }
    }

    async fn validate(&self, props: &Props) -> HerderResult<()> {
        let refused = props.contains_key("refused").then(|| HerderError::BadRequest("refused".into()));
        refused.map_or(Ok(()), Err)
    }

    async fn plan(&self, props: &Props) -> Result<Vec<Props>> {
        self.log.lock().unwrap().push("plan".into());
        if self.describe(props).kind == ConnectorType::Unknown {
            return Err(Error::config(format!("no class {}", props["connector.class"])));
        }
        let plans = self.log.lock().unwrap().iter().filter(|line| *line == "plan").count();
        if props.get("away.for.plans").is_some_and(|away| plans <= away.parse().unwrap()) {
            return Err(Error::retriable("the other side is away"));
        }
        Ok(vec![props.clone(); props["tasks.max"].parse().unwrap()])
    }

    fn start(&self, launch: Launch, events: mpsc::UnboundedSender<TaskSays>) -> Result<Box<dyn StartedTask>> {
        let name = launch.id.to_string();
        self.log.lock().unwrap().push(format!("start {name}"));
        if launch.task.get("fails").is_some_and(|fails| fails == "start") {
            return Err(Error::config("cannot start"));
        }
        let mut live = self.live.lock().unwrap();
        let running = live.entry(name.clone()).or_default();
        *running += 1;
        assert_eq!(*running, 1, "two of {name} at once");
        drop(live);
        let fails = launch.task.get("fails").is_some_and(|fails| *fails == launch.id.task.to_string());
        let task = FakeTask { name, launch, events, log: self.log.clone(), live: self.live.clone() };
        task.say(match (fails, task.launch.paused) {
            (true, _) => TaskEvent::Failed { trace: "it broke".into() },
            (false, true) => TaskEvent::Paused,
            (false, false) => TaskEvent::Running,
        });
        Ok(Box::new(task))
    }
}

impl FakeTask {
    fn say(&self, event: TaskEvent) {
        self.events.send(TaskSays { id: self.launch.id.clone(), revision: self.launch.launch, event }).ok();
    }
}

impl StartedTask for FakeTask {
    fn pause(&self) {
        self.say(TaskEvent::Paused);
    }

    fn resume(&self) {
        self.say(TaskEvent::Running);
    }

    fn stop(self: Box<Self>, _grace: Duration, _is_succeeded: bool) -> BoxFuture<'static, bool> {
        Box::pin(async move {
            // Long enough for a start that does not wait to be caught.
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.say(TaskEvent::Stopped);
            self.log.lock().unwrap().push(format!("stop {}", self.name));
            self.live.lock().unwrap().remove(&self.name);
            true
        })
    }
}

/// The config topic.
struct Memory {
    next: AtomicI64,
    records: mpsc::UnboundedSender<(i64, Record)>,
    down: AtomicBool,
}

#[async_trait]
impl Append for Memory {
    async fn append(&self, events: Vec<Event>) -> std::result::Result<i64, NotWritten> {
        if self.down.load(Ordering::SeqCst) {
            return Err(NotWritten::Failed(Error::retriable("the broker is down")));
        }
        for event in &events {
            let offset = self.next.fetch_add(1, Ordering::SeqCst);
            self.records.send((offset, event.record())).expect("the loop runs as long as the test");
        }
        Ok(self.next.load(Ordering::SeqCst) - 1)
    }
}

struct Cluster {
    herder: Herder,
    starter: Arc<Fake>,
    topic: Arc<Memory>,
    standing: watch::Sender<Standing>,
}

impl Cluster {
    fn start() -> Self {
        Self::start_with(ConfigState::default(), StatusStore::default())
    }

    fn start_with(state: ConfigState, statuses: StatusStore) -> Self {
        let starter = Arc::new(Fake::default());
        let (records, mut written) = mpsc::unbounded_channel();
        let topic = Arc::new(Memory { next: AtomicI64::new(state.next_offset()), records, down: AtomicBool::new(false) });
        let (standing, standings) = watch::channel(Standing::Leading);
        let (configs, config) = watch::channel(Arc::new(ConfigState::default()));
        let (writes, to_write) = mpsc::channel(10);
        let (requests, mut asked) = mpsc::channel(10);
        let worker = WorkerConfig::new(&worker_props()).unwrap();
        let shared = Arc::new(Shared {
            worker_id: "w:1".into(),
            url: "http://w:1".into(),
            standing: standings.clone(),
            peers: Peers::new(worker.signing.clone(), None),
            writes,
            requests,
            config: config.clone(),
            ready: watch::channel(true).1,
            is_filling: AtomicBool::new(false),
            statuses: statuses.clone(),
            stages: Stages::default(),
            starter: starter.clone(),
            progress: Progress { clients: Clients::new(&worker), starter: starter.clone(), config_topic: "configs".into() },
            metrics: Metrics::default(),
            plans: None,
        });
        let writer = Writer {
            topic: topic.clone(),
            config,
            standing: standings,
            statuses,
            starter: starter.clone(),
            progress: shared.progress.clone(),
            stages: shared.stages.clone(),
        };
        tokio::spawn(writer.run(to_write));
        let (happenings, mut happened) = mpsc::unbounded_channel();
        let told = Told { configs, placements: watch::channel(Arc::default()).0, notes: watch::channel(None).0 };
        let mut herd = Herd::new(&shared, Loggers::detached(), Duration::from_secs(1), told, happenings);
        let stages = shared.stages.clone();
        herd.begin(state, Placement::default());
        herd.role(Role::In(Seat { member: "m".into(), generation: 3, leads: true })).unwrap();
        give_everything(&mut herd);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some((offset, record)) = written.recv() => {
                        let at = Position { partition: 0, offset };
                        herd.config_record("configs", at, &record.key, record.value.as_deref());
                        give_everything(&mut herd);
                    }
                    Some(event) = happened.recv() => herd.happened(event),
                    Some(request) = asked.recv() => herd.asked(request, &stages),
                    else => break,
                }
            }
        });
        // The sender of `ready` is gone, which is as good as a worker that stays ready.
        Self { herder: Herder::new(shared), starter, topic, standing }
    }

    async fn create(&self, name: &str, more: &[(&str, &str)]) {
        self.herder.put_config(name, props(name, more), false, None).await.unwrap();
    }

    /// Waits until the status reads so: `RUNNING: 0 RUNNING, 1 FAILED`.
    async fn wait_for(&self, name: &str, expected: &str) {
        let mut last = String::new();
        for _ in 0..SOON.as_millis() / 5 {
            last = self.herder.status(name).await.map_or_else(|error| error.to_string(), |status| summary(&status));
            if last == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{name} should be {expected} and is {last}");
    }

    fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.starter.log.lock().unwrap())
    }
}

/// What a leader does that has one worker.
fn give_everything(herd: &mut Herd) {
    let units = desired(&herd.configs.borrow(), &BTreeMap::new()).into_keys().collect();
    let share = Share { member: "m".into(), units };
    let assignment = Assignment { version: 1, shares: [("w:1".into(), share)].into(), ..Assignment::default() };
    let record = Entry::Assignment(assignment).record();
    herd.assignment_record("assignments", Position { partition: 0, offset: 0 }, &record.key, record.value.as_deref());
}

fn summary(status: &ConnectorStatus) -> String {
    let shown = |state: State| format!("{state:?}").to_uppercase();
    let tasks: Vec<_> = status.tasks.iter().map(|task| format!("{} {}", task.id, shown(task.status.state))).collect();
    format!("{}: {}", shown(status.connector.state), tasks.join(", "))
}

fn props(name: &str, more: &[(&str, &str)]) -> Props {
    let base = [("name", name), ("connector.class", "Known"), ("tasks.max", "2")];
    base.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn worker_props() -> Props {
    let props = [
        ("bootstrap.servers", "localhost:1"),
        ("group.id", "g"),
        ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("value.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("config.storage.topic", "configs"),
        ("offset.storage.topic", "offsets"),
        ("status.storage.topic", "statuses"),
    ];
    props.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_connector_runs_pauses_resumes_stops_and_goes() {
    let cluster = Cluster::start();
    let (created, info) = cluster.herder.put_config("a", props("a", &[]), true, None).await.unwrap();
    assert!(created && info.tasks.is_empty());
    cluster.wait_for("a", "RUNNING: 0 RUNNING, 1 RUNNING").await;
    assert_eq!(cluster.log(), ["plan", "start a-0", "start a-1"]);
    cluster.herder.set_target_state("a", TargetState::Paused).await.unwrap();
    cluster.wait_for("a", "PAUSED: 0 PAUSED, 1 PAUSED").await;
    cluster.herder.set_target_state("a", TargetState::Started).await.unwrap();
    cluster.wait_for("a", "RUNNING: 0 RUNNING, 1 RUNNING").await;
    assert_eq!(cluster.log(), ["plan", "plan"], "no task was started anew");
    cluster.herder.set_target_state("a", TargetState::Stopped).await.unwrap();
    cluster.wait_for("a", "STOPPED: ").await;
    assert!(cluster.herder.task_configs("a").await.unwrap().is_empty());
    cluster.herder.set_target_state("a", TargetState::Started).await.unwrap();
    cluster.wait_for("a", "RUNNING: 0 RUNNING, 1 RUNNING").await;
    cluster.herder.delete("a").await.unwrap();
    cluster.wait_for("a", "No status found for connector a").await;
    for _ in 0..2000 {
        if cluster.starter.live.lock().unwrap().is_empty() && cluster.herder.statuses().units().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("something was left behind: {:?}", cluster.herder.statuses().units());
}

#[tokio::test]
async fn a_new_configuration_restarts_all_tasks_and_drops_those_too_many() {
    let cluster = Cluster::start();
    cluster.create("a", &[]).await;
    cluster.wait_for("a", "RUNNING: 0 RUNNING, 1 RUNNING").await;
    cluster.log();
    cluster.create("a", &[("tasks.max", "1"), ("x", "y")]).await;
    cluster.wait_for("a", "RUNNING: 0 RUNNING").await;
    let tasks = cluster.herder.task_configs("a").await.unwrap();
    assert_eq!((tasks.len(), tasks[0].config["x"].as_str()), (1, "y"));
    let mut log = cluster.log();
    log.sort();
    assert_eq!(log, ["plan", "start a-0", "stop a-0", "stop a-1"]);
}

/// A source cluster, say, that is away when its topics are looked up.
#[tokio::test]
async fn a_connector_that_cannot_plan_for_now_is_asked_again() {
    let cluster = Cluster::start();
    cluster.create("a", &[("away.for.plans", "1")]).await;
    cluster.wait_for("a", "RUNNING: ").await;
    cluster.wait_for("a", "RUNNING: 0 RUNNING, 1 RUNNING").await;
    assert_eq!(cluster.log(), ["plan", "plan", "start a-0", "start a-1"]);
}

#[tokio::test]
async fn failures_stand_until_changed_or_restarted() {
    let cluster = Cluster::start();
    cluster.create("a", &[("fails", "1")]).await;
    cluster.wait_for("a", "RUNNING: 0 RUNNING, 1 FAILED").await;
    assert_eq!(cluster.herder.task_status("a", 1).await.unwrap().status.trace.as_deref(), Some("it broke"));
    cluster.log();
    // A failed task does not move to PAUSED.
    cluster.herder.set_target_state("a", TargetState::Paused).await.unwrap();
    cluster.wait_for("a", "PAUSED: 0 PAUSED, 1 FAILED").await;
    cluster.herder.set_target_state("a", TargetState::Started).await.unwrap();
    cluster.wait_for("a", "RUNNING: 0 RUNNING, 1 FAILED").await;
    cluster.log();
    let plan = cluster.herder.restart_connector("a", true, true).await.unwrap().unwrap();
    assert_eq!(summary(&plan), "RUNNING: 0 RUNNING, 1 RESTARTING");
    cluster.wait_for("a", "RUNNING: 0 RUNNING, 1 FAILED").await;
    assert_eq!(cluster.log(), ["stop a-1", "start a-1"]);
    cluster.herder.restart_task("a", 0).await.unwrap();
    cluster.wait_for("a", "RUNNING: 0 RUNNING, 1 FAILED").await;
    assert_eq!(cluster.log(), ["stop a-0", "start a-0"]);
    cluster.create("a", &[]).await;
    cluster.wait_for("a", "RUNNING: 0 RUNNING, 1 RUNNING").await;
}

#[tokio::test]
async fn a_task_that_cannot_start_and_a_class_that_is_not_known_say_why() {
    let cluster = Cluster::start();
    cluster.create("a", &[("fails", "start")]).await;
    cluster.wait_for("a", "RUNNING: 0 FAILED, 1 FAILED").await;
    let trace = cluster.herder.task_status("a", 0).await.unwrap().status.trace.unwrap();
    assert!(trace.contains("cannot start"), "{trace}");
    cluster.create("b", &[("connector.class", "Missing")]).await;
    cluster.wait_for("b", "FAILED: ").await;
    let status = cluster.herder.status("b").await.unwrap();
    assert!(status.connector.trace.unwrap().contains("no class Missing"));
    assert_eq!(cluster.herder.connectors().await.unwrap(), ["a", "b"], "it stays listed");
    cluster.create("b", &[]).await;
    cluster.wait_for("b", "RUNNING: 0 RUNNING, 1 RUNNING").await;
}

#[tokio::test]
async fn a_plain_restart_leaves_the_tasks_alone() {
    let cluster = Cluster::start();
    cluster.create("a", &[]).await;
    cluster.wait_for("a", "RUNNING: 0 RUNNING, 1 RUNNING").await;
    cluster.log();
    assert_eq!(cluster.herder.restart_connector("a", false, false).await.unwrap(), None);
    cluster.wait_for("a", "RUNNING: 0 RUNNING, 1 RUNNING").await;
    assert_eq!(cluster.log(), ["plan"]);
    let plan = cluster.herder.restart_connector("a", true, false).await.unwrap().unwrap();
    assert_eq!(summary(&plan), "RESTARTING: 0 RESTARTING, 1 RESTARTING");
    cluster.wait_for("a", "RUNNING: 0 RUNNING, 1 RUNNING").await;
}

#[tokio::test]
async fn refusals_are_javas() {
    let cluster = Cluster::start();
    cluster.create("a", &[]).await;
    let herder = &cluster.herder;
    let check =
        |error: HerderError, status: u16, text: &str| assert_eq!((error.status(), error.to_string().as_str()), (status, text));
    check(herder.put_config("a", props("a", &[]), true, None).await.unwrap_err(), 409, "Connector a already exists");
    check(herder.put_config("a", props("a", &[("refused", "")]), false, None).await.unwrap_err(), 400, "refused");
    check(herder.info("b").await.unwrap_err(), 404, "Connector b not found");
    check(herder.delete("b").await.unwrap_err(), 404, "Connector b not found");
    check(herder.patch_config("b", BTreeMap::new()).await.unwrap_err(), 404, "Connector b not found");
    check(herder.set_target_state("b", TargetState::Paused).await.unwrap_err(), 404, "Unknown connector b");
    check(herder.restart_connector("b", false, false).await.unwrap_err(), 404, "Unknown connector: b");
    check(herder.restart_connector("b", true, false).await.unwrap_err(), 404, "Unknown connector: b");
    check(herder.restart_task("a", 9).await.unwrap_err(), 404, "Unknown task: a-9");
    check(herder.task_status("a", 9).await.unwrap_err(), 404, "No status found for task a-9");
}

#[tokio::test]
async fn a_patch_changes_and_takes_away_single_keys() {
    let cluster = Cluster::start();
    cluster.create("a", &[("old", "1"), ("kept", "2")]).await;
    let patch = BTreeMap::from([("old".to_owned(), None), ("new".to_owned(), Some("3".to_owned()))]);
    let info = cluster.herder.patch_config("a", patch).await.unwrap();
    assert_eq!(info.config, props("a", &[("kept", "2"), ("new", "3")]));
}

#[tokio::test]
async fn a_connector_can_be_made_stopped_or_paused() {
    let cluster = Cluster::start();
    cluster.herder.put_config("a", props("a", &[]), true, Some(TargetState::Stopped)).await.unwrap();
    cluster.wait_for("a", "STOPPED: ").await;
    cluster.herder.put_config("b", props("b", &[]), true, Some(TargetState::Paused)).await.unwrap();
    cluster.wait_for("b", "PAUSED: ").await;
    cluster.herder.set_target_state("a", TargetState::Started).await.unwrap();
    cluster.wait_for("a", "RUNNING: 0 RUNNING, 1 RUNNING").await;
}

#[tokio::test]
async fn while_nothing_can_be_written_requests_say_what_they_wait_for_and_are_not_done_later() {
    let cluster = Cluster::start();
    cluster.topic.down.store(true, Ordering::SeqCst);
    let error = cluster.herder.put_config("a", props("a", &[]), true, None).await.unwrap_err();
    assert_eq!(error.status(), 500);
    assert!(error.to_string().contains("can be safely retried: the broker is down"), "{error}");
    cluster.topic.down.store(false, Ordering::SeqCst);
    cluster.standing.send_replace(Standing::Unknown);
    let hasty = cluster.herder.with_timeout(Duration::from_millis(50));
    let error = hasty.put_config("a", props("a", &[]), true, None).await.unwrap_err();
    assert_eq!(error.status(), 409);
    assert!(error.to_string().contains("no known leader URL"), "{error}");
    cluster.standing.send_replace(Standing::Following("http://w:2".into()));
    let error = cluster.herder.put_config("a", props("a", &[]), true, None).await.unwrap_err();
    assert_eq!(error, HerderError::Elsewhere(Some("http://w:2".into())));
    cluster.standing.send_replace(Standing::Leading);
    // The next request passes, and the one given up has left no trace.
    cluster.create("b", &[]).await;
    assert_eq!(cluster.herder.connectors().await.unwrap(), ["b"]);
}

#[tokio::test]
async fn a_start_resumes_what_was_recorded_and_cleans_up_what_was_left() {
    let mut state = ConfigState::default();
    let (name, shared) = (Arc::<str>::from("a"), Arc::new(props("a", &[])));
    let mut events = vec![Event::Connector { name: name.clone(), props: Some(shared.clone()) }];
    events.extend(crate::store::config::task_set(&name, &[shared.clone(), shared]));
    events.push(Event::Target { name, state: Some(TargetState::Paused) });
    for (offset, event) in (0..).zip(events) {
        state.apply(offset, event);
    }
    let statuses = StatusStore::default();
    let failed = br#"{"state":"FAILED","trace":"old","worker_id":"w:1","generation":1}"#;
    for key in ["status-connector-a", "status-task-a-0", "status-task-a-7", "status-connector-gone", "status-task-gone-0"] {
        statuses.read(Position { partition: 0, offset: 0 }, key, Some(failed)).unwrap();
    }
    let cluster = Cluster::start_with(state, statuses);
    cluster.wait_for("a", "PAUSED: 0 PAUSED, 1 PAUSED").await;
    assert_eq!(cluster.herder.statuses().units().len(), 3);
    cluster.herder.set_target_state("a", TargetState::Started).await.unwrap();
    cluster.wait_for("a", "RUNNING: 0 RUNNING, 1 RUNNING").await;
    assert_eq!(cluster.log().iter().filter(|line| *line != "plan").count(), 2, "the tasks were started once");
}

#[tokio::test]
async fn what_fails_is_restarted_as_often_as_its_connector_asks_and_then_shown_as_a_crash_loop() {
    let cluster = Cluster::start();
    let asked = [("fails", "1"), ("errors.restart.max.attempts", "2"), ("errors.restart.delay.initial.ms", "5")];
    cluster.create("a", &asked).await;
    let crash_loop = async || {
        for _ in 0..SOON.as_millis() / 5 {
            let status = cluster.herder.task_status("a", 1).await.ok().map(|task| task.status);
            if let Some(restart) = status.clone().and_then(|status| status.health?.restart)
                && restart.state == RestartState::CrashLoop
            {
                assert_eq!(status.map(|status| (status.state, status.trace)), Some((State::Failed, Some("it broke".into()))));
                return restart;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no crash loop: {:?}", cluster.herder.status("a").await);
    };
    let restart = crash_loop().await;
    assert_eq!(restart.attempts, 2);
    assert!(restart.message.contains("2 restarts within 600 s"), "{}", restart.message);
    cluster.wait_for("a", "RUNNING: 0 RUNNING, 1 FAILED").await;
    let starts = |log: &[String]| log.iter().filter(|line| *line == "start a-1").count();
    assert_eq!(starts(&cluster.log()), 3, "once, and two restarts");
    // A person's restart begins anew.
    cluster.herder.restart_task("a", 1).await.unwrap();
    while starts(&cluster.starter.log.lock().unwrap()) < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    crash_loop().await;
    // So does another configuration.
    cluster.log();
    cluster.create("a", &[&asked[..], &[("x", "y")]].concat()).await;
    while starts(&cluster.starter.log.lock().unwrap()) < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cluster.create("a", &[]).await;
    cluster.wait_for("a", "RUNNING: 0 RUNNING, 1 RUNNING").await;
    assert_eq!(cluster.herder.task_status("a", 1).await.unwrap().status.health, None);
}

#[tokio::test]
async fn a_connector_and_a_task_that_cannot_start_are_restarted_too() {
    let cluster = Cluster::start();
    let asked = [("errors.restart.max.attempts", "1"), ("errors.restart.delay.initial.ms", "5")];
    cluster.create("a", &[&asked[..], &[("connector.class", "Missing")]].concat()).await;
    cluster.create("b", &[&asked[..], &[("fails", "start"), ("tasks.max", "1")]].concat()).await;
    let gave_up = async |name: &str| {
        for _ in 0..SOON.as_millis() / 5 {
            if let Ok(status) = cluster.herder.status(name).await {
                let units = std::iter::once(status.connector).chain(status.tasks.into_iter().map(|task| task.status));
                if units.filter_map(|unit| unit.health?.restart).any(|restart| restart.state == RestartState::CrashLoop) {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no crash loop: {:?}", cluster.herder.status(name).await);
    };
    gave_up("a").await;
    gave_up("b").await;
    let log = cluster.log();
    assert_eq!(log.iter().filter(|line| *line == "start b-0").count(), 2, "{log:?}");
}
