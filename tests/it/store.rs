//! The internal topics and the herder on them, against a real broker and beside a real Java worker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use penstock::cluster::starter::{Description, Launch, StartedTask, Starter};
use penstock::cluster::view::{ConnectorType, State, TargetState};
use penstock::cluster::{Herder, HerderError, Herding, Setup};
use penstock::config::WorkerConfig;
use penstock::kafka::{Admin, settings};
use penstock::logging::Loggers;
use penstock::task::{Event, TaskEvent};
use penstock_api::{Props, Registry, async_trait};
use penstock_tests::java::JavaConnect;
use penstock_tests::kafka::NewRecord;
use penstock_tests::{Kafka, connect, unique, wait_until};
use reqwest::Method;
use tokio::sync::mpsc;

const SOON: Duration = Duration::from_secs(30);
const SINK: &str = "FileStreamSink";

/// Tasks that do nothing but say so; the class `FileStreamSink` is known.
struct Idle;

struct IdleTask(mpsc::UnboundedSender<TaskEvent>, Launch);

impl IdleTask {
    fn say(&self, event: Event) {
        self.0.send(TaskEvent { id: self.1.id.clone(), revision: self.1.launch, event }).ok();
    }
}

#[async_trait]
impl Starter for Idle {
    fn describe(&self, props: &Props) -> Description {
        let known = props.get("connector.class").is_some_and(|class| class == SINK);
        Description {
            class: None,
            kind: if known { ConnectorType::Sink } else { ConnectorType::Unknown },
            version: Some("1".into()),
        }
    }

    async fn validate(&self, _props: &Props) -> Result<(), HerderError> {
        Ok(())
    }

    async fn plan(&self, props: &Props) -> penstock_api::Result<Vec<Props>> {
        if self.describe(props).kind == ConnectorType::Unknown {
            return Err(penstock_api::Error::config(format!("unknown class {}", props["connector.class"])));
        }
        let mut task = props.clone();
        task.insert("task.class".into(), "org.apache.kafka.connect.file.FileStreamSinkTask".into());
        Ok(vec![task; props.get("tasks.max").map_or(1, |n| n.parse().unwrap_or(1))])
    }

    fn start(&self, launch: Launch, events: mpsc::UnboundedSender<TaskEvent>) -> penstock_api::Result<Box<dyn StartedTask>> {
        let paused = launch.paused;
        let task = IdleTask(events, launch);
        task.say(if paused { Event::Paused } else { Event::Running });
        Ok(Box::new(task))
    }
}

impl StartedTask for IdleTask {
    fn pause(&self) {
        self.say(Event::Paused);
    }

    fn resume(&self) {
        self.say(Event::Running);
    }

    fn stop(self: Box<Self>, _grace: Duration, _is_succeeded: bool) -> futures::future::BoxFuture<'static, bool> {
        Box::pin(async move {
            self.say(Event::Stopped);
            true
        })
    }
}

/// A worker's properties with a group and topics of its own.
fn worker(kafka: &Kafka, group: &str, more: &[(&str, &str)]) -> Props {
    let converter = "org.apache.kafka.connect.storage.StringConverter";
    let topics = [format!("{group}-configs"), format!("{group}-offsets"), format!("{group}-status")];
    let base = [
        ("bootstrap.servers", kafka.bootstrap()),
        ("group.id", group),
        ("key.converter", converter),
        ("value.converter", converter),
        ("config.storage.topic", &topics[0]),
        ("offset.storage.topic", &topics[1]),
        ("status.storage.topic", &topics[2]),
        ("config.storage.replication.factor", "1"),
        ("offset.storage.replication.factor", "1"),
        ("status.storage.replication.factor", "1"),
        ("offset.storage.partitions", "2"),
        ("status.storage.partitions", "2"),
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "500"),
    ];
    base.iter().chain(more).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn start(props: &Props, worker_id: &str) -> Result<(Herder, Herding)> {
    let config = Arc::new(WorkerConfig::new(props)?);
    let mut setup = Setup::new(config, Arc::new(Registry::new()), worker_id);
    setup.starter = Arc::new(Idle);
    Ok(setup.start())
}

async fn ready(herder: &Herder) -> Result<()> {
    wait_until("the worker is ready", SOON, async || Ok(herder.is_ready())).await
}

/// Why the worker ended by itself.
async fn refusal(props: &Props, worker_id: &str) -> Result<String> {
    let (_herder, mut herding) = start(props, worker_id)?;
    match tokio::time::timeout(SOON, herding.ended()).await? {
        Ok(()) => anyhow::bail!("it ended as if all were well"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

fn sink(name: &str, tasks: &str) -> Props {
    let props = [("name", name), ("connector.class", SINK), ("tasks.max", tasks), ("topics", "t"), ("file", "/dev/null")];
    props.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// `RUNNING: RUNNING RUNNING`.
async fn shown(herder: &Herder, name: &str) -> String {
    match herder.status(name).await {
        Ok(status) => {
            let state = |state: State| format!("{state:?}").to_uppercase();
            let tasks: Vec<_> = status.tasks.iter().map(|task| state(task.status.state)).collect();
            format!("{}: {}", state(status.connector.state), tasks.join(" "))
        }
        Err(error) => error.to_string(),
    }
}

async fn wait_shown(herder: &Herder, name: &str, expected: &str) -> Result<()> {
    let what = format!("{name} is {expected}");
    wait_until(&what, SOON, async || Ok(shown(herder, name).await == expected)).await
}

fn record(key: &str, value: Option<&str>) -> NewRecord {
    let bytes = |text: &str| text.as_bytes().to_vec();
    NewRecord { key: Some(bytes(key)), value: value.map(bytes), ..NewRecord::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_resumes_what_was_recorded() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let props = worker(kafka, &unique("resume"), &[]);
    let (herder, herding) = start(&props, "127.0.0.1:1")?;
    ready(&herder).await?;
    for (name, target) in [("runs", None), ("pauses", Some(TargetState::Paused)), ("stops", Some(TargetState::Stopped))] {
        herder.put_config(name, sink(name, "2"), true, None).await?;
        wait_shown(&herder, name, "RUNNING: RUNNING RUNNING").await?;
        if let Some(target) = target {
            herder.set_target_state(name, target).await?;
        }
    }
    let gone = herder.put_config("gone", sink("gone", "1"), true, None).await?;
    ensure!(gone.0, "it is new");
    wait_shown(&herder, "gone", "RUNNING: RUNNING").await?;
    herder.delete("gone").await?;
    wait_shown(&herder, "stops", "STOPPED: ").await?;
    wait_shown(&herder, "pauses", "PAUSED: PAUSED PAUSED").await?;
    wait_shown(&herder, "gone", "No status found for connector gone").await?;
    // Each leader begins with a session key of its own.
    let written = async || -> Result<usize> {
        let records = kafka.read(&props["config.storage.topic"]).await?;
        Ok(records.iter().filter(|record| record.key.as_deref() != Some(b"session-key")).count())
    };
    let written_before = written().await?;
    herding.stop().await?;

    // What a stopped worker leaves behind is UNASSIGNED, written before it ended.
    let last: BTreeMap<_, _> =
        kafka.read(&props["status.storage.topic"]).await?.into_iter().map(|m| (m.key.clone(), m)).collect();
    for (key, message) in &last {
        let key = String::from_utf8_lossy(key.as_deref().unwrap_or_default()).into_owned();
        match &message.value {
            None => ensure!(key.contains("gone") || key.contains("stops-"), "{key} was taken away"),
            Some(_) => ensure!(message.json()?["state"] == "UNASSIGNED", "{key}: {}", message.text()),
        }
    }

    let (herder, herding) = start(&props, "127.0.0.1:1")?;
    ready(&herder).await?;
    wait_shown(&herder, "runs", "RUNNING: RUNNING RUNNING").await?;
    wait_shown(&herder, "pauses", "PAUSED: PAUSED PAUSED").await?;
    wait_shown(&herder, "stops", "STOPPED: ").await?;
    ensure!(herder.connectors().await? == ["pauses", "runs", "stops"]);
    ensure!(written().await? == written_before, "a restart writes no configuration");
    herding.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn logger_levels_of_the_cluster_hold_until_a_worker_starts_anew() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let props = worker(kafka, &unique("loggers"), &[]);
    let start = || -> Result<(Loggers, Herder, Herding)> {
        let config = Arc::new(WorkerConfig::new(&props)?);
        let mut setup = Setup::new(config, Arc::new(Registry::new()), "127.0.0.1:1");
        (setup.starter, setup.loggers) = (Arc::new(Idle), Loggers::detached());
        let loggers = setup.loggers.clone();
        let (herder, herding) = setup.start();
        Ok((loggers, herder, herding))
    };
    let (loggers, herder, herding) = start()?;
    herder.set_logger_level("a.b", "TRACE").await?;
    ensure!(loggers.get("a.b").is_some_and(|logger| logger.level == "TRACE"));
    let written = kafka.read(&props["config.storage.topic"]).await?;
    // Behind it may stand the session key of a leader that has taken the lead once more.
    let levels: Vec<_> =
        written.iter().filter(|m| m.key.as_deref() == Some(b"logger-cluster-a.b")).map(penstock_tests::Message::text).collect();
    ensure!(levels == [r#"{"level":"TRACE"}"#], "{levels:?}");
    // As another worker would write it.
    kafka.produce(&props["config.storage.topic"], [record("logger-cluster-c", Some(r#"{"level":"WARN"}"#))]).await?;
    let heard = async || Ok(loggers.get("c").is_some_and(|logger| logger.level == "WARN"));
    wait_until("the level to be heard of", SOON, heard).await?;
    herding.stop().await?;
    let (loggers, herder, herding) = start()?;
    ready(&herder).await?;
    ensure!(loggers.get("a.b").is_none() && loggers.get("c").is_none(), "what was said to others is past");
    herding.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_would_lose_data_are_refused_with_javas_words() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let group = unique("unfit");
    let props = worker(kafka, &group, &[]);
    let (herder, herding) = start(&props, "127.0.0.1:1")?;
    ready(&herder).await?;
    herding.stop().await?;
    for (key, partitions) in [("config", 1), ("offset", 2), ("status", 2)] {
        let topic = &props[&format!("{key}.storage.topic")];
        ensure!(kafka.partitions(topic).await?.len() == partitions, "{topic}");
    }

    let wide = unique("wide");
    kafka.create_topic_with(&wide, 2, &[("cleanup.policy", "compact")]).await?;
    let error = refusal(&worker(kafka, &group, &[("config.storage.topic", &wide)]), "127.0.0.1:1").await?;
    let expected = format!(
        "Topic '{wide}' supplied via the 'config.storage.topic' property is required to have a single partition in order to \
         guarantee consistency of connector configurations, but found 2 partitions."
    );
    ensure!(error == expected, "{error}");

    let deleting = unique("deleting");
    kafka.create_topic_with(&deleting, 2, &[("cleanup.policy", "delete")]).await?;
    let error = refusal(&worker(kafka, &group, &[("status.storage.topic", &deleting)]), "127.0.0.1:1").await?;
    let begins = format!(
        "Topic '{deleting}' supplied via the 'status.storage.topic' property is required to have 'cleanup.policy=compact'"
    );
    ensure!(error.starts_with(&begins) && error.contains("found the topic currently has 'cleanup.policy=delete'"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_as_the_worker_file_says() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let more = [
        ("offset.storage.partitions", "-1"),
        ("status.storage.partitions", "3"),
        ("config.storage.replication.factor", "-1"),
        ("status.storage.segment.bytes", "1048576"),
        ("offset.storage.min.insync.replicas", "1"),
        // Whatever is asked for: data would be lost.
        ("config.storage.cleanup.policy", "delete"),
    ];
    let props = worker(kafka, &unique("settings"), &more);
    let (herder, herding) = start(&props, "127.0.0.1:1")?;
    ready(&herder).await?;
    herding.stop().await?;
    let brokers = BTreeMap::from([("bootstrap.servers".to_owned(), kafka.bootstrap().to_owned())]);
    let admin = Admin::new(settings::admin("test", &brokers)?)?;
    for (kind, partitions) in [("config", 1), ("offset", 1), ("status", 3)] {
        let topic = &props[&format!("{kind}.storage.topic")];
        ensure!(admin.partitions(topic).await? == Some(partitions), "{topic}");
        let configs = admin.topic_configs(topic).await?;
        ensure!(configs["cleanup.policy"] == "compact", "{topic}: {configs:?}");
        ensure!((configs["segment.bytes"] == "1048576") == (kind == "status"), "{topic}: {configs:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_compaction_leaves_is_read_in_every_order() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let props = worker(kafka, &unique("compacted"), &[]);
    let (herder, herding) = start(&props, "127.0.0.1:1")?;
    ready(&herder).await?;
    herding.stop().await?;
    let properties = |name: &str| serde_json::json!({"properties": sink(name, "1")}).to_string();
    let task = |name: &str| serde_json::json!({"properties": {"task.class": "x", "name": name}}).to_string();
    let (one, state) = (r#"{"tasks":1}"#, |state: &str| serde_json::json!({"state": state, "state.v2": state}).to_string());
    let records = [
        // Only the connector's record was written again.
        record("task-early-0", Some(&task("early"))),
        record("commit-early", Some(one)),
        record("connector-early", Some(&properties("early"))),
        // The target state came first.
        record("target-state-paused", Some(&state("PAUSED"))),
        record("connector-paused", Some(&properties("paused"))),
        record("task-paused-0", Some(&task("paused"))),
        record("commit-paused", Some(one)),
        // A deletion of Java's leaves the tasks and their commit.
        record("task-gone-0", Some(&task("gone"))),
        record("commit-gone", Some(one)),
        // A task of the set is not there any more.
        record("connector-torn", Some(&properties("torn"))),
        record("commit-torn", Some(r#"{"tasks":2}"#)),
        // What a deletion that was cut short leaves.
        record("target-state-left", Some(&state("STOPPED"))),
    ];
    kafka.produce(&props["config.storage.topic"], records).await?;
    let (herder, herding) = start(&props, "127.0.0.1:1")?;
    ready(&herder).await?;
    wait_shown(&herder, "early", "RUNNING: RUNNING").await?;
    wait_shown(&herder, "paused", "PAUSED: PAUSED").await?;
    wait_shown(&herder, "torn", "RUNNING: RUNNING").await?;
    ensure!(herder.connectors().await? == ["early", "paused", "torn"]);
    herder.put_config("gone", sink("gone", "2"), true, None).await?;
    wait_shown(&herder, "gone", "RUNNING: RUNNING RUNNING").await?;
    herder.put_config("left", sink("left", "1"), true, None).await?;
    wait_shown(&herder, "left", "RUNNING: RUNNING").await?;
    herding.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_the_topics_is_skipped() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let props = worker(kafka, &unique("garbage"), &[]);
    let (herder, herding) = start(&props, "127.0.0.1:1")?;
    ready(&herder).await?;
    herder.put_config("a", sink("a", "1"), true, None).await?;
    wait_shown(&herder, "a", "RUNNING: RUNNING").await?;
    let garbage = || {
        let mut records = vec![
            record("connector-b", Some("{")),
            record("connector-a", Some(r#"{"properties":{"tasks.max":7}}"#)),
            record("target-state-a", Some(r#"{"state":"ASLEEP"}"#)),
            record("nonsense", Some("{}")),
            record("commit-a", Some("[]")),
        ];
        records.push(NewRecord { key: Some(vec![0xFF, 0xFE]), value: None, ..NewRecord::default() });
        records.push(NewRecord { key: None, value: Some(b"x".to_vec()), ..NewRecord::default() });
        records
    };
    // A compacted topic refuses a record without a key, so that one goes nowhere.
    let fit = || garbage().into_iter().filter(|record| record.key.is_some());
    kafka.produce(&props["config.storage.topic"], fit()).await?;
    kafka.produce(&props["status.storage.topic"], fit()).await?;
    herder.put_config("b", sink("b", "1"), true, None).await?;
    wait_shown(&herder, "b", "RUNNING: RUNNING").await?;
    ensure!(shown(&herder, "a").await == "RUNNING: RUNNING");
    herding.stop().await?;

    let (herder, herding) = start(&props, "127.0.0.1:1")?;
    ready(&herder).await?;
    wait_shown(&herder, "a", "RUNNING: RUNNING").await?;
    wait_shown(&herder, "b", "RUNNING: RUNNING").await?;
    herding.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_worker_shares_the_work_and_takes_over_when_the_first_leaves() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let group = unique("second");
    let props = worker(kafka, &group, &[("session.timeout.ms", "60000")]);
    let (first, first_herding) = start(&props, "127.0.0.1:1")?;
    ready(&first).await?;
    first.put_config("a", sink("a", "2"), true, None).await?;
    wait_shown(&first, "a", "RUNNING: RUNNING RUNNING").await?;
    let (second, second_herding) = start(&props, "127.0.0.1:2")?;
    ready(&second).await?;
    let owners = async |herder: &Herder| -> Result<Vec<String>> {
        Ok(herder.status("a").await?.tasks.into_iter().map(|task| task.status.worker_id).collect())
    };
    wait_until("each to run a task", SOON, async || {
        let mut owners = owners(&second).await?;
        owners.sort();
        Ok(owners == ["127.0.0.1:1", "127.0.0.1:2"] && shown(&second, "a").await == "RUNNING: RUNNING RUNNING")
    })
    .await?;
    let error = second.put_config("b", sink("b", "1"), true, None).await.expect_err("the other one leads");
    ensure!(error == HerderError::Elsewhere(Some("http://127.0.0.1:1".into())), "{error:?}");
    // The first leaves the group at once, so nobody waits for a session to end.
    let began = std::time::Instant::now();
    first_herding.stop().await?;
    wait_until("the second to run everything", SOON, async || {
        Ok(owners(&second).await? == ["127.0.0.1:2", "127.0.0.1:2"] && shown(&second, "a").await == "RUNNING: RUNNING RUNNING")
    })
    .await?;
    // Until it leads it would send its clients to the first.
    wait_until("the second to lead", SOON, async || Ok(second.put_config("b", sink("b", "1"), false, None).await.is_ok()))
        .await?;
    wait_shown(&second, "b", "RUNNING: RUNNING").await?;
    ensure!(began.elapsed() < Duration::from_secs(30), "it took {:?}", began.elapsed());
    second_herding.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_down_is_waited_for_at_the_start_and_in_the_middle() -> Result<()> {
    let mut kafka = Kafka::start().await?;
    kafka.stop().await?;
    let props = worker(&kafka, &unique("down"), &[]);
    let (herder, herding) = start(&props, "127.0.0.1:1")?;
    let hasty = herder.with_timeout(Duration::from_secs(1));
    let error = hasty.connectors().await.expect_err("nothing is known yet");
    let text = error.to_string();
    let begins =
        "Request timed out. The worker is currently initializing and reading to the end of internal topics, which began at ";
    ensure!(error.status() == 500 && text.starts_with(begins), "{text}");
    ensure!(!herder.is_ready());
    kafka.restart().await?;
    ready(&herder).await?;
    herder.put_config("a", sink("a", "1"), true, None).await?;
    wait_shown(&herder, "a", "RUNNING: RUNNING").await?;

    kafka.kill();
    let error = hasty.put_config("b", sink("b", "1"), true, None).await.expect_err("it cannot be written");
    ensure!(
        error.to_string().starts_with("Request timed out. The worker is currently writing a config for connector b"),
        "{error}"
    );
    ensure!(hasty.connectors().await? == ["a"], "what is known can be read");
    let unwell = async || Ok(hasty.health().await.is_err());
    wait_until("the worker to find that it is in no group", SOON, unwell).await?;
    ensure!(herder.stage().starts_with("The worker is currently ensuring membership in the cluster"), "{}", herder.stage());
    kafka.restart().await?;
    wait_until("the worker to be in its group again", SOON, async || Ok(hasty.health().await.is_ok())).await?;
    herder.put_config("c", sink("c", "1"), true, None).await?;
    wait_shown(&herder, "c", "RUNNING: RUNNING").await?;
    herding.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_java_cluster_is_taken_over_and_handed_back() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let group = unique("takeover");
    let props = worker(kafka, &group, &[]);
    kafka.create_topic("takeover-in", 1).await?;
    let mut java = JavaConnect::builder(kafka).lean();
    for (key, value) in props.iter().filter(|(key, _)| *key != "session.timeout.ms" && *key != "heartbeat.interval.ms") {
        java = java.property(key, value);
    }
    let mut java = java.start().await?;
    let sink_config = |file: &str| {
        connect::config([
            ("connector.class", SINK),
            ("topics", "takeover-in"),
            ("file", file),
            ("tasks.max", "2"),
            ("zeta", "😀"),
        ])
    };
    for name in ["runs", "pauses", "stops", "deleted"] {
        java.connect().create(name, &sink_config("/dev/null")).await?;
        java.connect().wait_running(name, 2).await?;
    }
    java.connect().send(Method::PUT, "/connectors/pauses/pause", None).await?.ok()?;
    java.connect().send(Method::PUT, "/connectors/stops/stop", None).await?.ok()?;
    java.connect().delete("/connectors/deleted").await?.ok()?;
    let source = connect::config([("connector.class", "FileStreamSource"), ("topic", "takeover-in"), ("file", "/dev/null")]);
    java.connect().create("foreign", &source).await?;
    java.connect().wait_running("foreign", 1).await?;
    let of_java = java.connect().get("/connectors/runs/tasks").await?.ok()?;

    let error = refusal(&props, "127.0.0.1:1").await?;
    ensure!(error.contains("workers of Java Kafka Connect") && error.contains("stop them before"), "{error}");

    java.stop().await?;
    let (herder, herding) = start(&props, "127.0.0.1:1")?;
    ready(&herder).await?;
    wait_shown(&herder, "runs", "RUNNING: RUNNING RUNNING").await?;
    wait_shown(&herder, "pauses", "PAUSED: PAUSED PAUSED").await?;
    wait_shown(&herder, "stops", "STOPPED: ").await?;
    ensure!(herder.connectors().await? == ["foreign", "pauses", "runs", "stops"]);
    let foreign = herder.status("foreign").await?;
    ensure!(foreign.connector.trace.as_deref().is_some_and(|trace| trace.contains("FileStreamSource")), "{foreign:?}");
    ensure!(serde_json::to_value(herder.task_configs("runs").await?)? == of_java, "the tasks are Java's");
    let mut changed = sink("pauses", "1");
    changed.insert("topics".into(), "takeover-in".into());
    herder.put_config("pauses", changed, false, None).await?;
    herder.set_target_state("pauses", TargetState::Started).await?;
    wait_shown(&herder, "pauses", "RUNNING: RUNNING").await?;
    herder.delete("stops").await?;
    herding.stop().await?;

    java.restart().await?;
    let names = java.connect().get("/connectors").await?.ok()?;
    let mut names: Vec<_> = names.as_array().into_iter().flatten().filter_map(|n| n.as_str()).collect();
    names.sort_unstable();
    ensure!(names == ["foreign", "pauses", "runs"], "{names:?}");
    java.connect().wait_running("runs", 2).await?;
    java.connect().wait_running("pauses", 1).await?;
    java.connect().wait_running("foreign", 1).await?;
    java.stop().await?;
    Ok(())
}
