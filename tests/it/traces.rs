//! What a sink leaves behind beside its records, compared with what Java's leaves: the topics it has used, and its dead letters.

use anyhow::{Context, Result, ensure};
use penstock_tests::connect::{Config, Connect, config};
use penstock_tests::java::wait_drained;
use penstock_tests::kafka::{Message, NewRecord};
use penstock_tests::{JavaConnect, Kafka, Worker, unique, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
/// Records that fail in the test below.
const POISONS: usize = 7;

/// A worker of either kind.
struct Side<'s> {
    connect: &'s Connect,
    sink: Config,
    status_topic: &'s str,
}

impl Side<'_> {
    /// A connector of that name over the topics, dropping what `filtered` brings, with dead letters.
    async fn create(&self, name: &str, topics: &[String], dead: &str) -> Result<()> {
        let mut config = self.sink.clone();
        for (key, value) in [
            ("topics", topics.join(",").as_str()),
            ("key.converter", "org.apache.kafka.connect.json.JsonConverter"),
            ("key.converter.schemas.enable", "false"),
            ("header.converter", "org.apache.kafka.connect.converters.IntegerConverter"),
            ("transforms", "drop,add"),
            ("transforms.drop.type", "org.apache.kafka.connect.transforms.Filter"),
            ("transforms.drop.predicate", "filtered"),
            ("transforms.add.type", "org.apache.kafka.connect.transforms.InsertField$Value"),
            ("transforms.add.static.field", "source"),
            ("transforms.add.static.value", "test"),
            ("predicates", "filtered"),
            ("predicates.filtered.type", "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"),
            ("predicates.filtered.pattern", ".*filtered.*"),
            ("errors.tolerance", "all"),
            ("errors.deadletterqueue.topic.name", dead),
            ("errors.deadletterqueue.topic.replication.factor", "1"),
            ("errors.deadletterqueue.context.headers.enable", "true"),
        ] {
            config.insert(key.into(), value.into());
        }
        self.connect.create(name, &config).await?;
        self.connect.wait_running(name, 1).await
    }

    async fn topics(&self, name: &str) -> Result<Value> {
        let mut answer = self.connect.get(&format!("/connectors/{name}/topics")).await?.ok()?;
        let topics = answer[name]["topics"].as_array_mut().context("read the topics")?;
        topics.sort_by_key(ToString::to_string);
        Ok(answer)
    }

    /// The newest record of a topic's use in the status topic.
    async fn written(&self, kafka: &Kafka, topic: &str, name: &str) -> Result<Option<Value>> {
        let key = format!("status-topic-{topic}:connector-{name}");
        let records = kafka.read(self.status_topic).await?;
        let newest = records.into_iter().rfind(|record| record.key.as_deref() == Some(key.as_bytes())).context("no record")?;
        let mut value = newest.value.map(|bytes| serde_json::from_slice::<Value>(&bytes)).transpose()?;
        if let Some(value) = &mut value {
            ensure!(value["topic"]["discoverTimestamp"].as_i64().is_some_and(|at| at > 1_700_000_000_000), "{value}");
            value["topic"]["discoverTimestamp"] = json!(0);
        }
        Ok(value)
    }
}

fn record(key: &str, value: &str) -> NewRecord {
    NewRecord { key: Some(key.into()), value: Some(value.into()), ..NewRecord::default() }
}

/// A letter without what differs by nature: the wording of its error.
fn shown(letter: &Message) -> Result<Value> {
    let mut headers = Vec::new();
    for (key, value) in &letter.headers {
        let text = value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned());
        let worded = key.ends_with("exception.message") || key.ends_with("exception.stacktrace");
        ensure!(!worded || text.as_ref().is_some_and(|text| !text.is_empty()), "{key} is empty");
        headers.push(json!([key, if worded { None } else { text }]));
    }
    let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    Ok(json!({"key": text(&letter.key), "value": text(&letter.value), "at": letter.timestamp_ms, "headers": headers}))
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_used_and_dead_letters_are_javas() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let (java_status, our_status) = (unique("java-status"), unique("our-status"));
    let java = JavaConnect::builder(kafka).lean().property("status.storage.topic", &java_status);
    let ours = Worker::builder(kafka).property("status.storage.topic", &our_status).property("offset.flush.interval.ms", 500);
    let (java, mut ours) = tokio::try_join!(java.start(), ours.start())?;
    let file_sink = config([("connector.class", "org.apache.kafka.connect.file.FileStreamSinkConnector"), ("file", "/dev/null")]);
    let sides = [
        Side { connect: java.connect(), sink: file_sink, status_topic: &java_status },
        Side { connect: ours.connect(), sink: config([("connector.class", "Blackhole")]), status_topic: &our_status },
    ];

    let topics = ["used", "poison", "filtered", "failing", "empty"].map(unique);
    for topic in &topics {
        kafka.create_topic(topic, 1).await?;
    }
    let [used, poison, filtered, failing, empty] = &topics;
    kafka.produce(used, [record("1", r#"{"a":1}"#), NewRecord { key: Some(b"1".to_vec()), ..NewRecord::default() }]).await?;
    let header = |value: &[u8]| vec![("own".to_owned(), Some(value.to_vec()))];
    let poisons = [
        record("{", "{}"),
        record("1", "{\"a\":"),
        NewRecord { headers: header(b"12345"), ..record("1", "{}") },
        NewRecord { headers: header(&[0, 0, 0, 7]), timestamp_ms: Some(1_700_000_000_123), ..record("[", "[") },
        NewRecord { value: Some(b"?".to_vec()), ..NewRecord::default() },
    ];
    kafka.produce(poison, poisons).await?;
    kafka.produce(filtered, [record("1", "{}")]).await?;
    kafka.produce(failing, [record("1", "[1]"), record("1", "5")]).await?;

    let mut letters: Vec<BTreeMap<String, Value>> = Vec::new();
    let name = unique("traces");
    for side in &sides {
        let dead = unique("dead");
        let group = [("consumer.override.group.id", format!("connect-{name}-{}", side.status_topic))];
        let side = &Side { sink: side.sink.clone().into_iter().chain(group.map(|(k, v)| (k.into(), v))).collect(), ..*side };
        side.create(&name, &topics, &dead).await?;
        let connector = format!("{name}-{}", side.status_topic);
        for topic in &topics {
            wait_drained(kafka, &connector, topic, LIMIT).await?;
        }
        // Java does not wait for them.
        wait_until("all dead letters", LIMIT, async || Ok(kafka.read(&dead).await?.len() >= POISONS)).await?;
        let shown = kafka.read(&dead).await?.iter().map(|letter| Ok((place(letter)?, shown(letter)?))).collect::<Result<_>>()?;
        letters.push(shown);
    }
    assert_eq!(letters[0].len(), POISONS, "{:#?}", letters[0]);
    for (at, letter) in &letters[0] {
        assert_eq!(Some(letter), letters[1].get(at), "Java's letter and ours of {at}");
    }
    assert_eq!(letters[0].len(), letters[1].len());

    // Which topics: those with a record that the converters could read.
    let mut expected = vec![used, filtered, failing];
    expected.sort();
    for side in &sides {
        wait_until("the topics", LIMIT, async || Ok(side.topics(&name).await? == json!({&name: {"topics": expected}})))
            .await
            .with_context(|| side.status_topic.to_owned())?;
    }
    let [java_wrote, we_wrote] = [sides[0].written(kafka, used, &name).await?, sides[1].written(kafka, used, &name).await?];
    assert_eq!(java_wrote, we_wrote);
    assert!(java_wrote.is_some());

    // Reset, then used anew.
    for side in &sides {
        let reset = side.connect.put(&format!("/connectors/{name}/topics/reset"), &json!(null)).await?;
        assert!((200..300).contains(&reset.status), "{reset:?}");
        wait_until("no topics", LIMIT, async || Ok(side.topics(&name).await? == json!({&name: {"topics": []}}))).await?;
        wait_until("a tombstone", LIMIT, async || Ok(side.written(kafka, used, &name).await?.is_none())).await?;
    }
    kafka.produce(empty, [record("1", "{}")]).await?;
    kafka.produce(used, [record("1", "{}")]).await?;
    let mut expected = [used, empty];
    expected.sort();
    for side in &sides {
        wait_until(
            "the topics used since",
            LIMIT,
            async || Ok(side.topics(&name).await? == json!({&name: {"topics": expected}})),
        )
        .await?;
    }
    // They outlast the worker, and end with the connector.
    wait_until("it is written", LIMIT, async || Ok(sides[1].written(kafka, empty, &name).await?.is_some())).await?;
    let before = sides[1].topics(&name).await?;
    drop(sides);
    ours.kill();
    ours.restart().await?;
    let connect = ours.connect();
    let after = connect.get(&format!("/connectors/{name}/topics")).await?.ok()?;
    assert_eq!(before[&name]["topics"].as_array().map(Vec::len), after[&name]["topics"].as_array().map(Vec::len));
    connect.delete(&format!("/connectors/{name}")).await?.ok()?;
    connect.create(&name, &config([("connector.class", "Blackhole"), ("topics", &unique("none"))])).await?;
    let fresh = connect.get(&format!("/connectors/{name}/topics")).await?.ok()?;
    assert_eq!(fresh, json!({&name: {"topics": []}}));
    Ok(())
}

/// Topic, partition and offset of the record that a letter tells of.
fn place(letter: &Message) -> Result<String> {
    let header = |name: &str| letter.header(&format!("__connect.errors.{name}")).with_context(|| format!("find {name}"));
    Ok(format!("{}-{}@{}", header("topic")?, header("partition")?, header("offset")?))
}

#[tokio::test]
async fn without_tracking_no_topic_is_noted() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("untracked");
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, ["{}"]).await?;
    let statuses = unique("status");
    let worker = Worker::builder(kafka)
        .property("topic.tracking.enable", false)
        .property("status.storage.topic", &statuses)
        .start()
        .await?;
    let name = unique("untracked");
    worker.connect().create(&name, &config([("connector.class", "Blackhole"), ("topics", &topic)])).await?;
    worker.connect().wait_running(&name, 1).await?;
    wait_until("a status", LIMIT, async || Ok(!kafka.read(&statuses).await?.is_empty())).await?;
    let answer = worker.connect().get(&format!("/connectors/{name}/topics")).await?;
    assert_eq!((answer.status, answer.message()), (403, "Topic tracking is disabled."));
    let noted = kafka.read(&statuses).await?;
    let noted = noted.iter().filter(|r| r.key.as_deref().is_some_and(|key| key.starts_with(b"status-topic-"))).count();
    assert_eq!(noted, 0);
    Ok(())
}
