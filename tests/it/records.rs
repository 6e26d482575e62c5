//! The internal topics, record by record beside those of a Java worker that was asked for the same: keys, values and partitions.
//!
//! What differs by nature is masked, each in [`MASKED`] with its reason. Nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fancy_regex::Regex;
use penstock_tests::kafka::Message;
use penstock_tests::{Connect, JavaConnect, Kafka, Worker, connect, ground, unique, wait_until};
use reqwest::Method;
use serde_json::json;
use serde_json::value::RawValue;

const SOON: Duration = Duration::from_secs(120);

/// By this name there is a sink on either side.
const SINK: &str = "penstock.BlackholeSinkConnector";

/// What stands in quotes, or the number, behind these; and why it differs.
const MASKED: [(&str, &str); 9] = [
    (r#""worker_id":"([^"]*)""#, "each has an address of its own"),
    (r#""generation":(\d+)"#, "Java's group agrees anew for each new task, ours when a worker comes or goes"),
    (r#""version":"([^"]*)""#, "that of either side's sink"),
    (r#""trace":"((?:[^"\\]|\\.)*)""#, "in the words of either side"),
    (r#""discoverTimestamp":(\d+)"#, "when it was"),
    (r#""connector":"[^"]*","task":(\d+)"#, "which of two tasks gets the only partition is up to their group"),
    (r#""task.class":"([^"]*)""#, "that of either side's sink"),
    (r#"\.group\.id":"records-([\w-]+)"#, "on one broker each needs a group of its own"),
    (
        r#"^\{"key":"([^"]{44})","algorithm":"HmacSHA256","creation-timestamp":(\d+)\}$"#,
        "of session keys: drawn by lot, and when",
    ),
];

fn masked(text: &str) -> String {
    let mask = |text: String, pattern: &str| {
        let pattern = Regex::new(pattern).expect("a pattern");
        let found: Vec<_> = pattern
            .captures_iter(&text)
            .flatten()
            .flat_map(|c| c.iter().skip(1).flatten().map(|g| g.range()).collect::<Vec<_>>())
            .collect();
        found.into_iter().rev().fold(text.clone(), |mut text, range| {
            text.replace_range(range, "X");
            text
        })
    };
    MASKED.iter().fold(text.to_owned(), |text, (pattern, _)| mask(text, pattern))
}

/// A record, with what is masked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    partition: i32,
    pub(crate) key: String,
    /// `None`: a tombstone.
    value: Option<String>,
}

impl Record {
    fn of(message: &Message) -> Result<Self> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).context("a record of an internal topic is text");
        let key = text(message.key.as_deref().unwrap_or_default())?;
        let value = message.value.as_deref().map(text).transpose()?.map(|value| masked(&value));
        ensure!(message.headers.is_empty(), "{key} has headers");
        Ok(Self { partition: message.partition, key, value })
    }
}

/// All of a topic, in order within each partition.
pub(crate) async fn records(kafka: &Kafka, topic: &str) -> Result<Vec<Record>> {
    let mut records = kafka.read(topic).await?.iter().map(Record::of).collect::<Result<Vec<_>>>()?;
    records.sort_by_key(|record| record.partition);
    Ok(records)
}

/// The first record that differs.
pub(crate) fn same(java: &[Record], ours: &[Record]) -> Result<()> {
    for (at, (theirs, our)) in java.iter().zip(ours).enumerate() {
        ensure!(theirs == our, "record {at}:\njava {theirs:?}\nours {our:?}\njava has {java:#?}\nours has {ours:#?}");
    }
    ensure!(java.len() == ours.len(), "java has {} records, ours {}:\n{java:#?}\n{ours:#?}", java.len(), ours.len());
    Ok(())
}

/// A worker of either kind, and its topics.
struct Side<'s> {
    name: &'static str,
    connect: &'s Connect,
    group: String,
}

impl Side<'_> {
    async fn records(&self, kafka: &Kafka, kind: &str) -> Result<Vec<Record>> {
        records(kafka, &format!("{}-{kind}", self.group)).await
    }

    /// A group that tells the sides apart, of the length that both have.
    fn sink(&self, topic: &str, more: &[(&str, &str)]) -> connect::Config {
        let group = format!("records-{}-{}", self.name, unique("in"));
        let mut config = connect::config([("connector.class", SINK), ("topics", topic), ("consumer.override.group.id", &group)]);
        config.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        config
    }

    async fn put(&self, path: &str) -> Result<()> {
        self.connect.send(Method::PUT, path, None).await?.ok().map(drop)
    }

    async fn state(&self, name: &str, state: &str, tasks: &[&str]) -> Result<()> {
        let is_so = async || {
            let status = self.connect.status(name).await?.ok()?;
            let of_tasks: Vec<_> = status["tasks"].as_array().into_iter().flatten().map(|task| &task["state"]).collect();
            ensure!(status["connector"]["state"] == state && of_tasks == tasks, "{status}");
            Ok(true)
        };
        wait_until(&format!("{name} of {} to be {state} {tasks:?}", self.name), SOON, is_so).await
    }
}

/// What strings can hold, and numbers that are text.
const ODD: &[(&str, &str)] = &[
    ("zeta.\u{fc}/\u{1f600}", "\u{fc}\"\\/\u{1f600}<&>'\u{1}\u{7f}\t\u{2028}"),
    ("empty", ""),
    ("alpha", " 1 "),
    ("tasks.max", "2"),
];

/// Asks for every kind of record there is. Each step waits until it is done, so that the records of both stand in one order.
async fn ask_for_everything(side: &Side<'_>, topic: &str, poison: &str) -> Result<()> {
    let connect = side.connect;
    let config = side.sink(topic, ODD);
    connect.create("life", &config).await?;
    side.state("life", "RUNNING", &["RUNNING", "RUNNING"]).await?;
    let used = async || Ok(connect.get("/connectors/life/topics").await?.ok()?["life"]["topics"] == json!([topic]));
    wait_until("the topic to be used", SOON, used).await?;
    side.put("/connectors/life/pause").await?;
    side.state("life", "PAUSED", &["PAUSED", "PAUSED"]).await?;
    side.put("/connectors/life/resume").await?;
    side.state("life", "RUNNING", &["RUNNING", "RUNNING"]).await?;
    side.put("/connectors/life/stop").await?;
    side.state("life", "STOPPED", &[]).await?;
    side.put("/connectors/life/resume").await?;
    side.state("life", "RUNNING", &["RUNNING", "RUNNING"]).await?;
    connect.send(Method::POST, "/connectors/life/restart?includeTasks=true", None).await?.ok()?;
    side.state("life", "RUNNING", &["RUNNING", "RUNNING"]).await?;
    let mut changed = config.clone();
    changed.insert("tasks.max".into(), "1".into());
    connect.put("/connectors/life/config", &json!(changed)).await?.ok()?;
    side.state("life", "RUNNING", &["RUNNING"]).await?;
    let patch = json!({"gamma": "3", "alpha": null});
    connect.send(Method::PATCH, "/connectors/life/config", Some(&patch)).await?.ok()?;
    let planned = async || Ok(connect.get("/connectors/life/tasks").await?.ok()?[0]["config"]["gamma"] == "3");
    wait_until("the task to be planned anew", SOON, planned).await?;
    side.state("life", "RUNNING", &["RUNNING"]).await?;
    for (name, state, tasks) in
        [("late", "STOPPED", &[][..]), ("slow", "PAUSED", &[]), ("soon \u{fc}\"😀", "RUNNING", &["RUNNING"])]
    {
        let config = side.sink(topic, &[]);
        connect.post("/connectors", &json!({"name": name, "config": config, "initial_state": state})).await?.ok()?;
        side.state(name, state, tasks).await?;
    }
    connect.create("fails", &side.sink(poison, &[])).await?;
    side.state("fails", "RUNNING", &["FAILED"]).await?;
    connect.send(Method::POST, "/connectors/fails/restart?includeTasks=true&onlyFailed=true", None).await?.ok()?;
    connect.put("/admin/loggers/some.logger?scope=cluster", &json!({"level": "debug"})).await?;
    connect.delete("/connectors/late").await?.ok()?;
    connect.delete("/connectors/soon%20%C3%BC%22%F0%9F%98%80").await?.ok()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_topics_is_what_java_writes() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let (topic, poison) = (unique("records-in"), unique("records-poison"));
    for (topic, value) in [(&topic, "{}"), (&poison, "{bad")] {
        kafka.create_topic(topic, 1).await?;
        kafka.produce_values(topic, [value]).await?;
    }
    let groups = ["java", "ours"].map(|name| unique(&format!("records-of-{name}")));
    let plugins = tokio::task::spawn_blocking(|| ground::part("blackhole-java")).await??.join("plugins");
    let (mut java, mut ours) = (JavaConnect::builder(kafka).lean().plugin_path(plugins), Worker::builder(kafka));
    for kind in ["config", "offset", "status"] {
        let key = format!("{kind}.storage.topic");
        java = java.property(&key, format!("{}-{kind}", groups[0]));
        ours = ours.property(&key, format!("{}-{kind}", groups[1]));
    }
    let key = "status.storage.partitions";
    let (java, ours) = tokio::join!(java.property(key, 5).start(), ours.property(key, 5).start());
    let (java, ours) = (java?, ours?);
    let [of_java, of_ours] = groups;
    let java = Side { name: "java", connect: java.connect(), group: of_java };
    let ours = Side { name: "ours", connect: ours.connect(), group: of_ours };
    let asked = tokio::join!(ask_for_everything(&java, &topic, &poison), ask_for_everything(&ours, &topic, &poison));
    asked.0?;
    asked.1?;

    let alike = async || configs_are_alike(java.records(kafka, "config").await?, ours.records(kafka, "config").await?);
    wait_until("the configurations to be alike", SOON, alike).await?;
    let alike = async || statuses_are_alike(&java.records(kafka, "status").await?, &ours.records(kafka, "status").await?);
    wait_until("the statuses to be alike", SOON, alike).await
}

/// Record for record but for what `runtime/decisions/0031` says: tombstones for the tasks of a deleted connector, and the order of
/// a connector's own properties.
fn configs_are_alike(java: Vec<Record>, ours: Vec<Record>) -> Result<bool> {
    let is_more =
        |record: &Record| record.value.is_none() && ["task-", "commit-"].iter().any(|kind| record.key.starts_with(kind));
    ensure!(ours.iter().any(is_more), "the tasks of a deleted connector are taken away: {ours:#?}");
    let ours: Vec<_> = ours.into_iter().filter(|record| !is_more(record)).map(without_order).collect();
    let java: Vec<_> = java.into_iter().map(without_order).collect();
    for kind in ["session-key", "connector-", "task-", "commit-", "target-state-", "restart-connector-", "logger-cluster-"] {
        ensure!(java.iter().any(|record| record.key.starts_with(kind)), "no record {kind}: {java:#?}");
    }
    same(&java, &ours)?;
    Ok(true)
}

/// The values of the properties stay as they are written.
fn without_order(record: Record) -> Record {
    let Some(value) = record.value.as_deref().filter(|_| record.key.starts_with("connector-")) else { return record };
    let properties: BTreeMap<String, BTreeMap<String, Box<RawValue>>> = serde_json::from_str(value).expect("JSON");
    Record { value: Some(serde_json::to_string(&properties).expect("JSON")), ..record }
}

/// Each side writes statuses in its own time, so that what stands in between may be passed over; but what is left after compaction is the
/// same, and each of ours has the bytes of one that Java has written of such a unit.
fn statuses_are_alike(java: &[Record], ours: &[Record]) -> Result<bool> {
    let (theirs, our) = (left(java), left(ours));
    ensure!(theirs == our, "the statuses that are left differ:\njava {theirs:#?}\nours {our:#?}");
    let (theirs, our) = (forms(java), forms(ours));
    for kind in KINDS {
        ensure!(our.iter().any(|(k, _)| *k == kind), "no record {kind}: {our:#?}");
    }
    let unknown: Vec<_> = our.difference(&theirs).collect();
    ensure!(unknown.is_empty(), "Java writes no such statuses: {unknown:#?}\nbut {theirs:#?}");
    Ok(true)
}

/// What compaction leaves, by partition and key.
fn left(records: &[Record]) -> BTreeMap<(i32, &str), &str> {
    let mut left = BTreeMap::new();
    for Record { partition, key, value } in records {
        match value {
            Some(value) => drop(left.insert((*partition, key.as_str()), value.as_str())),
            None => drop(left.remove(&(*partition, key.as_str()))),
        }
    }
    left
}

const KINDS: [&str; 3] = ["status-connector-", "status-task-", "status-topic-"];

fn forms(records: &[Record]) -> BTreeSet<(&'static str, Option<&str>)> {
    let kind = |key: &str| KINDS.into_iter().find(|kind| key.starts_with(kind)).expect("a kind of status");
    records.iter().map(|record| (kind(&record.key), record.value.as_deref())).collect()
}
