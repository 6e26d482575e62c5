//! Connect's own connectors beside Java's: the same files, lines, statuses and answers.

use std::time::Duration;

use anyhow::{Result, ensure};
use penstock_tests::kafka::NewRecord;
use penstock_tests::{Connect, JavaConnect, Kafka, Message, Worker, eventually, java, unique, wait_until};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

const LIMIT: Duration = Duration::from_secs(60);

/// A Java worker and one of ours, for all tests of this file and of `mirror`.
pub(crate) struct Pair {
    java: JavaConnect,
    ours: Worker,
}

impl Pair {
    /// Their REST APIs, Java's first.
    pub(crate) fn both(&self) -> [&Connect; 2] {
        [self.java.connect(), self.ours.connect()]
    }

    pub(crate) async fn get() -> Result<&'static Pair> {
        static PAIR: OnceCell<Pair> = OnceCell::const_new();
        PAIR.get_or_try_init(Pair::start).await
    }

    async fn start() -> Result<Pair> {
        let kafka = Kafka::shared().await?;
        let (every, often) = ("offset.flush.interval.ms", 500);
        let java = JavaConnect::builder(kafka).lean().property(every, often).start();
        let ours = Worker::builder(kafka).property(every, often).start();
        let (java, ours) = tokio::join!(java, ours);
        Ok(Pair { java: java?, ours: ours? })
    }

    fn sides(&self) -> [Side<'_>; 2] {
        let java = Side { connect: self.java.connect(), label: "java", log: Box::new(|| self.java.log_text()) };
        let ours = Side { connect: self.ours.connect(), label: "ours", log: Box::new(|| self.ours.log_text()) };
        [java, ours]
    }
}

/// One of the two. Both are on one broker: names of connectors, and so of groups, differ by the label.
struct Side<'p> {
    connect: &'p Connect,
    label: &'static str,
    log: Box<dyn Fn() -> String + Send + Sync + 'p>,
}

impl Side<'_> {
    fn name(&self, connector: &str) -> String {
        format!("{connector}-{}", self.label)
    }

    async fn create(&self, connector: &str, config: &Value) -> Result<()> {
        self.connect.post("/connectors", &json!({"name": self.name(connector), "config": config})).await?.ok()?;
        Ok(())
    }

    /// What it answers, without what must differ.
    fn neutral(&self, answer: &Value, connector: &str) -> Result<Value> {
        let worker = self.connect.url().trim_start_matches("http://");
        let text = answer.to_string().replace(&self.name(connector), "NAME").replace(worker, "WORKER");
        let mut answer: Value = serde_json::from_str(&text)?;
        for unit in units(&mut answer) {
            if let Some(trace) = unit.get_mut("trace") {
                *trace = "TRACE".into();
            }
            if let Some(unit) = unit.as_object_mut() {
                unit.remove("version");
            }
        }
        Ok(answer)
    }

    async fn status(&self, connector: &str) -> Result<Value> {
        self.neutral(&self.connect.status(&self.name(connector)).await?.ok()?, connector)
    }

    /// Waits until the status is so; the connector's state, then those of its tasks.
    async fn wait_states(&self, connector: &str, states: &[&str]) -> Result<Value> {
        eventually(&format!("{} to be {states:?}", self.name(connector)), LIMIT, async || {
            let mut status = self.status(connector).await?;
            let found: Vec<_> = units(&mut status).map(|unit| unit["state"].clone()).collect();
            ensure!(found == states, "its status is {status}");
            Ok(Some(status))
        })
        .await
    }

    /// What it has said of the connector on standard output, with the times taken out.
    fn lines(&self, connector: &str) -> Vec<String> {
        let name = format!("\"name\":\"{}\"", self.name(connector));
        let log = (self.log)();
        let lines = log.lines().filter(|line| line.starts_with('{') && line.contains(&name));
        lines.map(|line| without_time(&line.replace(&name, "\"name\":\"NAME\""))).collect()
    }

    async fn delete(&self, connector: &str) -> Result<()> {
        self.connect.delete(&format!("/connectors/{}", self.name(connector))).await.map(drop)
    }
}

fn units(status: &mut Value) -> impl Iterator<Item = &mut Value> {
    let mut parts: Vec<&mut Value> = Vec::new();
    if let Some(status) = status.as_object_mut() {
        for (key, value) in status {
            match key.as_str() {
                "connector" => parts.insert(0, value),
                "tasks" => parts.extend(value.as_array_mut().into_iter().flatten()),
                _ => {}
            }
        }
    }
    parts.into_iter()
}

fn without_time(line: &str) -> String {
    let Some((before, after)) = line.split_once("\"time_ms\":") else { return line.to_owned() };
    format!("{before}\"time_ms\":T{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// Values with which a map's order, numbers and letters show.
const VALUES: [&str; 9] = [
    r#"{"event_id":1,"session":"s","customer_id":null,"action":[1,2.5,"x"],"sku":{"b":1e10,"a":true}}"#,
    r#""text with \"quotes\" and ä🚚""#,
    "12",
    "-0.00001",
    "12345678.9",
    "[]",
    "{}",
    "true",
    "null",
];

async fn topic_of_values(kafka: &Kafka, name: &str) -> Result<String> {
    let topic = unique(name);
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, VALUES).await?;
    Ok(topic)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_sink_writes_the_same_lines() -> Result<()> {
    let (kafka, pair) = (Kafka::shared().await?, Pair::get().await?);
    let topic = topic_of_values(kafka, "file-sink").await?;
    let folder = tempfile::tempdir()?;
    let mut found = Vec::new();
    for side in pair.sides() {
        let (file, connector) = (folder.path().join(side.label), topic.as_str());
        let class = "org.apache.kafka.connect.file.FileStreamSinkConnector";
        let config = json!({"connector.class": class, "topics": topic, "tasks.max": 1, "file": file});
        side.create(connector, &config).await?;
        java::wait_drained(kafka, &side.name(connector), &topic, LIMIT).await?;
        let status = side.status(connector).await?;
        let name = side.name(connector);
        side.connect.put(&format!("/connectors/{name}/stop"), &Value::Null).await?.ok()?;
        side.wait_states(connector, &["STOPPED"]).await?;
        let change =
            json!({"offsets": [{"partition": {"kafka_topic": topic, "kafka_partition": 0}, "offset": {"kafka_offset": 8}}]});
        let path = format!("/connectors/{name}/offsets");
        // Java refuses for a moment, while it takes in what was written before.
        let altered = eventually("offsets to be altered", LIMIT, async || {
            Ok(Some(side.connect.send(reqwest::Method::PATCH, &path, Some(&change)).await?.ok()?))
        });
        let altered = altered.await?;
        let offsets = side.connect.get(&path).await?.ok()?;
        // Again from there: the last one once more.
        side.connect.put(&format!("/connectors/{name}/resume"), &Value::Null).await?.ok()?;
        java::wait_drained(kafka, &name, &topic, LIMIT).await?;
        side.delete(connector).await?;
        found.push((std::fs::read_to_string(&file)?, status, altered, offsets));
    }
    ensure!(found[0].0.lines().count() == VALUES.len() + 1, "Java wrote {}", found[0].0);
    ensure!(found[0] == found[1], "Java {:#?}\nours {:#?}", found[0], found[1]);
    Ok(())
}

const TOOLS: &str = "org.apache.kafka.connect.tools";

#[tokio::test(flavor = "multi_thread")]
async fn a_verifiable_sink_says_the_same_lines() -> Result<()> {
    let (kafka, pair) = (Kafka::shared().await?, Pair::get().await?);
    let topic = topic_of_values(kafka, "verifiable-sink").await?;
    let connector = topic.as_str();
    let mut found = Vec::new();
    for side in pair.sides() {
        // One task has the partition, and says so.
        let config = json!({"connector.class": format!("{TOOLS}.VerifiableSinkConnector"), "topics": topic, "tasks.max": 1});
        side.create(connector, &config).await?;
        java::wait_drained(kafka, &side.name(connector), &topic, LIMIT).await?;
        // What came and what was committed is said in between each other.
        let (flushed, put): (Vec<_>, Vec<_>) =
            side.lines(connector).into_iter().partition(|line| line.contains("\"flushed\":true"));
        let tasks = side.connect.get(&format!("/connectors/{}/tasks", side.name(connector))).await?.ok()?;
        found.push((put, flushed, side.status(connector).await?, side.neutral(&tasks, connector)?));
        side.delete(connector).await?;
    }
    ensure!(found[0].0.len() == VALUES.len() && found[0].1.len() == VALUES.len(), "Java said {:#?}", found[0]);
    ensure!(found[0] == found[1], "Java {:#?}\nours {:#?}", found[0], found[1]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mock_sinks_fail_as_they_are_told() -> Result<()> {
    let (kafka, pair) = (Kafka::shared().await?, Pair::get().await?);
    let topic = topic_of_values(kafka, "mock-sink").await?;
    let config = |mode: &str| {
        json!({"connector.class": format!("{TOOLS}.MockSinkConnector"), "topics": topic, "tasks.max": 3,
        "mock_mode": mode, "delay_ms": "1000"})
    };
    for (mode, before, after) in [
        ("none", ["RUNNING", "RUNNING"], ["RUNNING", "RUNNING"]),
        ("connector-failure", ["RUNNING", "RUNNING"], ["FAILED", "RUNNING"]),
        ("task-failure", ["RUNNING", "RUNNING"], ["RUNNING", "FAILED"]),
    ] {
        let connector = unique(mode);
        let mut found = Vec::new();
        for side in pair.sides() {
            side.create(&connector, &config(mode)).await?;
            side.wait_states(&connector, &before).await?;
            let status = side.wait_states(&connector, &after).await?;
            // It runs again when it is restarted, and fails again.
            let path = format!("/connectors/{}/restart?includeTasks=true&onlyFailed=true", side.name(&connector));
            side.connect.post(&path, &Value::Null).await?.ok()?;
            if mode != "none" {
                side.wait_states(&connector, &before).await?;
            }
            found.push((status, side.wait_states(&connector, &after).await?));
            side.delete(&connector).await?;
        }
        ensure!(found[0] == found[1], "{mode}: Java {:#?}\nours {:#?}", found[0], found[1]);
    }
    Ok(())
}

/// Paused, it need not run: only once it is resumed does the time begin.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_mock_connector_does_not_fail() -> Result<()> {
    let (kafka, pair) = (Kafka::shared().await?, Pair::get().await?);
    let topic = topic_of_values(kafka, "mock-paused").await?;
    let connector = topic.as_str();
    let config = json!({"connector.class": format!("{TOOLS}.MockSinkConnector"), "topics": topic, "mock_mode": "connector-failure",
        "delay_ms": "500"});
    for side in pair.sides() {
        let name = side.name(connector);
        let paused = json!({"name": name, "config": config, "initial_state": "PAUSED"});
        side.connect.post("/connectors", &paused).await?.ok()?;
        let is_paused = async || Ok(side.status(connector).await?["connector"]["state"] == "PAUSED");
        wait_until("the connector to be paused", LIMIT, is_paused).await?;
        // Twice its delay: there is nothing to wait for.
        tokio::time::sleep(Duration::from_secs(1)).await;
        ensure!(is_paused().await?, "{} failed while it was paused", side.label);
        side.connect.put(&format!("/connectors/{name}/resume"), &Value::Null).await?.ok()?;
        side.wait_states(connector, &["FAILED", "RUNNING"]).await?;
        side.delete(connector).await?;
    }
    Ok(())
}

/// Waits until Kafka holds so many records of a topic.
async fn wait_records(kafka: &Kafka, topic: &str, count: usize) -> Result<()> {
    wait_until(&format!("{count} records of {topic}"), LIMIT, async || {
        let found: i64 = kafka.end_offsets(topic).await?.values().sum();
        ensure!(found >= count as i64, "there are {found}");
        Ok(true)
    })
    .await
}

fn text(bytes: Option<&Vec<u8>>) -> String {
    bytes.map_or_else(|| "null".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
}

async fn stop(side: &Side<'_>, connector: &str) -> Result<Value> {
    let name = side.name(connector);
    side.connect.put(&format!("/connectors/{name}/stop"), &Value::Null).await?.ok()?;
    side.wait_states(connector, &["STOPPED"]).await?;
    side.connect.get(&format!("/connectors/{name}/offsets")).await?.ok()
}

/// Each number once, in order, also over a stop; said when it is sent, and when Kafka has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_verifiable_source_counts_as_javas_does() -> Result<()> {
    let (kafka, pair) = (Kafka::shared().await?, Pair::get().await?);
    let (mut first, mut statuses) = (Vec::new(), Vec::new());
    for side in pair.sides() {
        let topic = unique("verifiable-source");
        let connector = topic.as_str();
        kafka.create_topic(&topic, 1).await?;
        let class = format!("{TOOLS}.VerifiableSourceConnector");
        side.create(connector, &json!({"connector.class": class, "topic": topic, "throughput": "200", "tasks.max": "1"})).await?;
        wait_records(kafka, &topic, 50).await?;
        statuses.push(side.status(connector).await?);
        let offsets = stop(&side, connector).await?;
        let sent = kafka.read(&topic).await?;
        ensure!(offsets == json!({"offsets": [{"partition": {"id": 0}, "offset": {"seqno": sent.len() - 1}}]}), "{offsets}");
        let resumed = side.connect.put(&format!("/connectors/{}/resume", side.name(connector)), &Value::Null).await?;
        resumed.ok()?;
        wait_records(kafka, &topic, sent.len() + 50).await?;
        stop(&side, connector).await?;
        let all = kafka.read(&topic).await?;
        let numbers: Vec<_> = all.iter().map(|message| text(message.value.as_ref())).collect();
        ensure!(numbers == (0..all.len()).map(|n| n.to_string()).collect::<Vec<_>>(), "{}: {numbers:?}", side.label);
        let (committed, said): (Vec<_>, Vec<_>) =
            side.lines(connector).into_iter().partition(|line| line.contains("\"committed\":true"));
        ensure!(committed.len() == all.len() && said.len() >= all.len(), "{}: {committed:#?}\n{said:#?}", side.label);
        let neutral = |line: &String| line.replace(&topic, "TOPIC");
        let records =
            all.iter().take(50).map(|m| (text(m.key.as_ref()), text(m.value.as_ref()), m.headers.clone())).collect::<Vec<_>>();
        let lines = |lines: &[String]| lines.iter().take(50).map(neutral).collect::<Vec<_>>();
        first.push((records, lines(&said), lines(&committed)));
        side.delete(connector).await?;
    }
    ensure!(first[0] == first[1], "Java {:#?}\nours {:#?}", first[0], first[1]);
    ensure!(statuses[0] == statuses[1], "{statuses:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_values_of_a_verifiable_source_are_javas() -> Result<()> {
    let (kafka, pair) = (Kafka::shared().await?, Pair::get().await?);
    let mut found = Vec::new();
    for side in pair.sides() {
        let topic = unique("verifiable-complete");
        kafka.create_topic(&topic, 1).await?;
        let config = json!({"connector.class": format!("{TOOLS}.VerifiableSourceConnector"), "topic": topic, "throughput": "100",
            "complete.record.data": "true", "value.converter": "org.apache.kafka.connect.json.JsonConverter"});
        side.create(&topic, &config).await?;
        wait_records(kafka, &topic, 3).await?;
        // The end of a topic is not found while it grows.
        stop(&side, &topic).await?;
        let messages = kafka.read(&topic).await?;
        let values = messages.iter().take(3).map(|message| text(message.value.as_ref()));
        found.push(
            values
                .map(|value| without_time(&value.replace(&side.name(&topic), "NAME").replace(&topic, "TOPIC")))
                .collect::<Vec<_>>(),
        );
        side.delete(&topic).await?;
    }
    ensure!(found[0] == found[1], "Java {:#?}\nours {:#?}", found[0], found[1]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mock_sources_fail_as_they_are_told() -> Result<()> {
    let pair = Pair::get().await?;
    for (mode, after) in [("connector-failure", ["FAILED", "RUNNING"]), ("task-failure", ["RUNNING", "FAILED"])] {
        let connector = unique(mode);
        let mut found = Vec::new();
        for side in pair.sides() {
            let config =
                json!({"connector.class": format!("{TOOLS}.MockSourceConnector"), "mock_mode": mode, "delay_ms": "1000"});
            side.create(&connector, &config).await?;
            side.wait_states(&connector, &["RUNNING", "RUNNING"]).await?;
            found.push(side.wait_states(&connector, &after).await?);
            side.delete(&connector).await?;
        }
        ensure!(found[0] == found[1], "{mode}: Java {:#?}\nours {:#?}", found[0], found[1]);
    }
    Ok(())
}

/// A seed and a number settle an event: over a stop, and over `kill -9`, none is missing, and they are what another worker makes of them.
#[tokio::test(flavor = "multi_thread")]
async fn datagen_goes_on_with_the_next_event() -> Result<()> {
    const COUNT: usize = 3000;
    let kafka = Kafka::shared().await?;
    let mut worker = Worker::builder(kafka).property("offset.flush.interval.ms", 200).start().await?;
    let (killed, whole) = (unique("datagen-killed"), unique("datagen-whole"));
    let create = async |worker: &Worker, name: &str, rate: u32| {
        kafka.create_topic(&format!("{name}.orders"), 1).await?;
        let config = json!({"connector.class": "Datagen", "datagen.events": "orders", "datagen.seed": 7, "datagen.rate": rate,
            "datagen.records.max": COUNT, "datagen.topic.prefix": format!("{name}.")});
        worker.connect().post("/connectors", &json!({"name": name, "config": config})).await?.ok()
    };
    create(&worker, &killed, 1000).await?;
    wait_records(kafka, &format!("{killed}.orders"), 500).await?;
    worker.kill();
    worker.restart().await?;
    create(&worker, &whole, 0).await?;
    let whole = format!("{whole}.orders");
    wait_records(kafka, &whole, COUNT).await?;
    let whole = kafka.read(&whole).await?;
    let order = |message: &Message| (message.key.clone(), message.value.clone(), message.timestamp_ms);
    let last = order(&whole[COUNT - 1]);
    let found = eventually("the last order", LIMIT, async || {
        let found = kafka.read(&format!("{killed}.orders")).await?;
        Ok(Some(found).filter(|found| found.last().is_some_and(|message| order(message) == last)))
    });
    // At least once: what was not yet noted when it was killed comes again.
    let mut found: Vec<_> = found.await?.iter().map(order).collect();
    let mut seen = std::collections::HashSet::new();
    found.retain(|order| seen.insert(order.clone()));
    let expected: Vec<_> = whole.iter().map(order).collect();
    ensure!(found == expected, "{} of {COUNT} orders came, or in another order", found.len());
    Ok(())
}

const BYTES: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";

/// Whatever bytes can hold.
fn odd_records() -> Vec<NewRecord> {
    let record = |partition, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]| NewRecord {
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec))).collect(),
        partition: Some(partition),
        timestamp_ms: Some(1_700_000_000_000 + i64::from(partition)),
    };
    vec![
        record(0, Some(b"k"), Some(b"v"), &[]),
        record(0, Some(b"k"), None, &[]),
        record(0, None, Some(b""), &[]),
        record(1, Some(b""), Some(b"\xff\x00\xfe"), &[("h", Some(b"\x00\x80")), ("h", Some(b"1")), ("e", Some(b""))]),
        record(2, Some(b"{\"a\":1}"), Some(b"null"), &[("t\u{e4}", Some(b"true"))]),
    ]
}

fn shown(messages: Vec<Message>) -> Vec<String> {
    let mut shown: Vec<_> = messages
        .into_iter()
        .map(|m| format!("{} {:?} {:?} {:?} {:?}", m.partition, m.timestamp_ms, m.key, m.value, m.headers))
        .collect();
    // Of each partition they come in order; partitions come in any.
    shown.sort_by_key(|text| text.split(' ').next().map(str::to_owned));
    shown
}

/// Java's MirrorSourceConnector and ours, by the same configuration: bytes, partitions, timestamps, headers, offsets; topics that are
/// new, and what was written while it was stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_kafka_source_copies_as_mirrormaker_does() -> Result<()> {
    let (kafka, pair) = (Kafka::shared().await?, Pair::get().await?);
    let topic = unique("mirrored");
    kafka.create_topic(&topic, 3).await?;
    kafka.produce(&topic, odd_records()).await?;
    let connector = topic.as_str();
    let mut found = Vec::new();
    for side in pair.sides() {
        let config = json!({
            "connector.class": "org.apache.kafka.connect.mirror.MirrorSourceConnector", "tasks.max": "2",
            "source.cluster.alias": side.label, "target.cluster.alias": "here", "topics": format!("{topic}, {topic}-{}-.*", side.label),
            "source.cluster.bootstrap.servers": kafka.bootstrap(), "target.cluster.bootstrap.servers": kafka.bootstrap(),
            "replication.factor": "1", "offset-syncs.topic.replication.factor": "1", "replication.policy.separator": "_",
            "refresh.topics.interval.seconds": "1", "sync.topic.acls.enabled": "false", "consumer.auto.offset.reset": "earliest",
            "heartbeats.replication.enabled": "false",
            "key.converter": BYTES, "value.converter": BYTES, "header.converter": BYTES,
        });
        side.create(connector, &config).await?;
        let copy = format!("{}_{topic}", side.label);
        let first = eventually("the first records", LIMIT, async || {
            ensure!(kafka.has_topic(&copy).await?, "no topic {copy} yet");
            Ok(Some(kafka.read(&copy).await?).filter(|found| found.len() == odd_records().len()))
        });
        let first = first.await?;
        let status = side.wait_states(connector, &["RUNNING", "RUNNING", "RUNNING"]).await?;
        // A topic that matches only now.
        let new = format!("{topic}-{}-new", side.label);
        kafka.create_topic(&new, 1).await?;
        kafka.produce_values(&new, ["late"]).await?;
        let copy_of_new = format!("{}_{new}", side.label);
        wait_until("the new topic to be copied", LIMIT, async || {
            ensure!(kafka.has_topic(&copy_of_new).await?, "no topic {copy_of_new} yet");
            Ok(kafka.read(&copy_of_new).await?.len() == 1)
        })
        .await?;
        let offsets = stop(&side, connector).await?;
        kafka.produce_values(&new, ["while it was stopped"]).await?;
        side.connect.put(&format!("/connectors/{}/resume", side.name(connector)), &Value::Null).await?.ok()?;
        wait_records(kafka, &copy_of_new, 2).await?;
        let after: Vec<_> = kafka.read(&copy_of_new).await?.iter().map(|message| text(message.value.as_ref())).collect();
        side.delete(connector).await?;
        let mut offsets: Vec<String> = offsets["offsets"].as_array().into_iter().flatten().map(ToString::to_string).collect();
        offsets.iter_mut().for_each(|offset| *offset = offset.replace(side.label, "SIDE"));
        offsets.sort();
        found.push((shown(first), status, offsets, after));
    }
    ensure!(found[0].0.len() == odd_records().len() && found[0].2.len() == 4, "Java {:#?}", found[0]);
    ensure!(found[0] == found[1], "Java {:#?}\nours {:#?}", found[0], found[1]);
    Ok(())
}
