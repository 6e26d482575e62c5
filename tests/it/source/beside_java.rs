//! FileStreamSource on our worker and on Java's, side by side: records, offsets, statuses and answers are the same.

use anyhow::{Result, ensure};
use penstock_tests::connect::Config;
use penstock_tests::java::JavaConnect;
use penstock_tests::kafka::Message;
use penstock_tests::{Connect, Kafka, Worker, unique, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

use super::Lines;

const SOON: Duration = Duration::from_secs(60);

/// One of the two, with its own internal topics and its own topic for the records.
struct Side<'w> {
    connect: &'w Connect,
    offset_topic: String,
    topic: String,
}

#[tokio::test]
async fn a_file_streams_as_on_javas_worker() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let (java_offsets, our_offsets) = (unique("java-offsets"), unique("our-offsets"));
    let java = JavaConnect::builder(kafka)
        .lean()
        .property("offset.storage.topic", &java_offsets)
        .property("offset.flush.interval.ms", 500)
        .start();
    let ours =
        Worker::builder(kafka).property("offset.storage.topic", &our_offsets).property("offset.flush.interval.ms", 500).start();
    let (java, ours) = tokio::try_join!(java, ours)?;
    let lines = Lines::new()?;
    // The same file, and so the same offsets, byte for byte.
    lines.append(["one", "", "thr\u{65}e \"quoted\" \\ \u{1}", "four\r"])?;
    let sides = [(java.connect(), java_offsets), (ours.connect(), our_offsets)].map(|(connect, offset_topic)| Side {
        connect,
        offset_topic,
        topic: unique("streamed"),
    });
    let mut seen = Vec::new();
    for side in &sides {
        kafka.create_topic(&side.topic, 1).await?;
        side.connect.create(&lines.name, &config(&lines, &side.topic)).await?;
        seen.push(told(kafka, side, &lines).await?);
    }
    ensure!(seen[0] == seen[1], "java: {:#}\nours: {:#}", seen[0], seen[1]);
    let mut changed = Vec::new();
    for side in &sides {
        changed.push(changes(kafka, side, &lines).await?);
    }
    ensure!(changed[0] == changed[1], "java: {:#}\nours: {:#}", changed[0], changed[1]);
    Ok(())
}

fn config(lines: &Lines, topic: &str) -> Config {
    let mut config = lines.config(&[
        ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ("value.converter.schemas.enable", "true"),
        ("transforms", "header"),
        ("transforms.header.type", "org.apache.kafka.connect.transforms.InsertHeader"),
        ("transforms.header.header", "origin"),
        ("transforms.header.value.literal", "a file"),
    ]);
    config.insert("topic".into(), topic.into());
    config
}

fn bytes(bytes: Option<&Vec<u8>>) -> Value {
    bytes.map_or(Value::Null, |bytes| String::from_utf8_lossy(bytes).into_owned().into())
}

fn shown(message: &Message) -> Value {
    let headers: Vec<Value> = message.headers.iter().map(|(key, value)| json!([key, bytes(value.as_ref())])).collect();
    json!({"key": bytes(message.key.as_ref()), "value": bytes(message.value.as_ref()), "headers": headers})
}

async fn records(kafka: &Kafka, topic: &str) -> Result<Value> {
    Ok(kafka.read(topic).await?.iter().map(shown).collect())
}

async fn answer(side: &Side<'_>, path: &str) -> Result<Value> {
    let answer = side.connect.get(path).await?;
    Ok(json!([answer.status, neutral(side, &answer.body)]))
}

/// Without what is each side's own.
fn neutral(side: &Side<'_>, body: &Value) -> Value {
    let address = side.connect.url().trim_start_matches("http://");
    let text = body.to_string().replace(&side.topic, "TOPIC").replace(address, "WORKER");
    let mut body: Value = serde_json::from_str(&text).expect("it was JSON before");
    strip(&mut body);
    body
}

fn strip(body: &mut Value) {
    match body {
        Value::Object(fields) => {
            fields.retain(|key, _| key != "version");
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// What each side has to say of the running connector.
async fn told(kafka: &Kafka, side: &Side<'_>, lines: &Lines) -> Result<Value> {
    let size = fs::metadata(&lines.path)?.len();
    side.connect.wait_running(&lines.name, 1).await?;
    wait_until("the offset to be stored", SOON, async || {
        Ok(lines.position(side.connect).await?.is_some_and(|position| position.unsigned_abs() == size))
    })
    .await?;
    let name = &lines.name;
    let mut said = vec![records(kafka, &side.topic).await?];
    for path in ["", "/status", "/config", "/tasks", "/offsets", "/topics", "/tasks/0/status"] {
        said.push(answer(side, &format!("/connectors/{name}{path}")).await?);
    }
    let stored = kafka.read(&side.offset_topic).await?;
    let last = stored.last().map(shown).unwrap_or_default();
    said.push(last);
    // Which partition a key goes to decides where the other kind of worker finds it.
    said.push(stored.last().map(|message| message.partition).into());
    said.push(validated(side, lines).await?);
    Ok(said.into())
}

/// The keys that a validation shows, but for those that only we have, and what it finds wrong.
async fn validated(side: &Side<'_>, lines: &Lines) -> Result<Value> {
    let mut all = Vec::new();
    let wrong = [
        ("exactly.once.support", "sometimes"),
        ("transaction.boundary", "never"),
        ("offsets.storage.topic", " "),
        ("topic.creation.groups", "a,a"),
        ("tasks.max", "0"),
    ];
    for own in [&[] as &[(&str, &str)], &wrong] {
        let mut config = config(lines, &side.topic);
        config.extend(own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        config.insert("name".into(), "validated".into());
        let path = "/connector-plugins/FileStreamSource/config/validate";
        let answer = side.connect.put(path, &json!(config)).await?.ok()?;
        let configs = answer["configs"].as_array().cloned().unwrap_or_default();
        // `runtime/DIFFERENCES.md` has them all.
        let is_ours = |name: &str| name.starts_with("errors.restart.") || name.starts_with("errors.deadletterqueue.");
        let is_shared = |name: &str| !is_ours(name) && !name.ends_with(".converter.type");
        let key = |info: &Value| {
            let (definition, value) = (&info["definition"], &info["value"]);
            let name = value["name"].as_str().unwrap_or_default().to_owned();
            let is_version = name.ends_with("plugin.version");
            is_shared(&name).then(|| {
                json!([
                    name,
                    definition["type"],
                    definition["required"],
                    definition["importance"],
                    definition["group"],
                    definition["order"],
                    definition["order_in_group"],
                    definition["width"],
                    definition["display_name"],
                    if is_version { &Value::Null } else { &definition["default_value"] },
                    value["errors"],
                    value["visible"],
                ])
            })
        };
        // Java has the converters' groups in the order of a hash set.
        let mut groups: Vec<&str> = answer["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        groups.sort_unstable();
        all.push(json!([answer["name"], answer["error_count"], groups]));
        let mut keys: Vec<Value> = configs.iter().filter_map(key).collect();
        keys.sort_by_key(|key| key[0].as_str().unwrap_or_default().to_owned());
        all.extend(keys);
    }
    Ok(neutral(side, &all.into()))
}

/// Offsets altered and reset, and what is read then.
async fn changes(kafka: &Kafka, side: &Side<'_>, lines: &Lines) -> Result<Value> {
    let name = &lines.name;
    let path = format!("/connectors/{name}/offsets");
    let partition = json!({"filename": lines.path});
    let alter = async |partition: &Value, offset: Value| -> Result<Value> {
        let body = json!({"offsets": [{"partition": partition, "offset": offset}]});
        let answer = side.connect.send(reqwest::Method::PATCH, &path, Some(&body)).await?;
        Ok(json!([answer.status, answer.body]))
    };
    let mut said = vec![alter(&partition, json!({"position": 4})).await?];
    side.connect.put(&format!("/connectors/{name}/stop"), &Value::Null).await?.ok()?;
    wait_until("the tasks to be gone", SOON, async || {
        Ok(side.connect.status(name).await?.ok()?["tasks"].as_array().is_some_and(Vec::is_empty))
    })
    .await?;
    said.push(alter(&partition, json!({"position": -4})).await?);
    said.push(alter(&partition, json!({"position": "4"})).await?);
    said.push(alter(&partition, json!({"at": 4})).await?);
    said.push(alter(&json!({"file": "x"}), json!({"position": 4})).await?);
    said.push(alter(&partition, json!({"position": 4})).await?);
    said.push(answer(side, &path).await?);
    side.connect.put(&format!("/connectors/{name}/resume"), &Value::Null).await?.ok()?;
    let count = async || kafka.read(&side.topic).await.map(|records| records.len());
    wait_until("the lines behind the first to be read again", SOON, async || Ok(count().await? == 7)).await?;
    side.connect.put(&format!("/connectors/{name}/stop"), &Value::Null).await?.ok()?;
    wait_until("the offsets to be reset", SOON, async || Ok(side.connect.delete(&path).await?.status == 200)).await?;
    let reset = side.connect.delete(&path).await?;
    said.push(json!([reset.status, reset.body]));
    said.push(answer(side, &path).await?);
    side.connect.put(&format!("/connectors/{name}/resume"), &Value::Null).await?.ok()?;
    wait_until("all lines to be read again", SOON, async || Ok(count().await? == 11)).await?;
    said.push(records(kafka, &side.topic).await?);
    Ok(said.into())
}

/// The same standalone worker file, ours and Java's in turn: each goes on where the other stopped.
#[tokio::test]
async fn standalone_workers_go_on_from_each_others_offset_file() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let lines = Lines::new()?;
    kafka.create_topic(&lines.topic, 1).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("connect.offsets");
    let mut config = lines.config(&[("name", &lines.name)]);
    config.insert("connector.class".into(), "org.apache.kafka.connect.file.FileStreamSourceConnector".into());
    let text: String = config.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    let connectors = [("lines.properties", text)];
    let mut expected: Vec<String> = Vec::new();
    for turn in 0..4 {
        for line in ["first", "second"] {
            expected.push(format!("{line} of turn {turn}"));
        }
        lines.append(&expected[turn * 2..])?;
        let wanted: Vec<&str> = expected.iter().map(String::as_str).collect();
        if turn % 2 == 0 {
            let ours = Worker::builder(kafka).standalone(&connectors).property("offset.storage.file.filename", file.display());
            let mut ours = ours.start().await?;
            lines.wait_for(kafka, &wanted).await?;
            ours.stop().await?;
        } else {
            let java = JavaConnect::builder(kafka).lean().standalone(&connectors);
            let mut java = java.property("offset.storage.file.filename", file.display()).start().await?;
            lines.wait_for(kafka, &wanted).await?;
            java.stop().await?;
        }
    }
    Ok(())
}
