//! Sources that are components, through a real worker.

use super::*;

fn counting(class: &str, topic: &str, mode: &str, more: &[(&str, &str)]) -> Config {
    let mut config = config([
        ("connector.class", class),
        ("topic", topic),
        ("mode", mode),
        ("records", "500"),
        ("tasks.max", "1"),
        ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ("value.converter.schemas.enable", "false"),
    ]);
    config.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    config
}

async fn count(kafka: &Kafka, topic: &str) -> Result<i64> {
    Ok(kafka.end_offsets(topic).await?.values().sum())
}

async fn wait_records(kafka: &Kafka, topic: &str, expected: i64) -> Result<()> {
    wait_until(&format!("{expected} records in {topic}"), LIMIT, async || Ok(count(kafka, topic).await? >= expected)).await
}

#[tokio::test]
async fn components_are_sources_like_built_in_ones() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let mut worker = worker(kafka).with_test_components()?.start().await?;
    let connect = worker.connect().clone();
    let plugins = connect.get("/connector-plugins").await?.ok()?;
    let listed = |class: &str| {
        plugins
            .as_array()
            .into_iter()
            .flatten()
            .any(|plugin| (&plugin["class"], &plugin["type"]) == (&json!(class), &json!("source")))
    };
    ensure!(listed("penstock.tests.CountSource") && listed("penstock.tests.CountRecordsSource"), "{plugins}");

    let (name, topic) = (unique("numbers"), unique("numbers"));
    kafka.create_topic(&topic, 1).await?;
    connect.create(&name, &counting("CountSource", &topic, "acknowledge", &[])).await?;
    wait_records(kafka, &topic, 500).await?;
    let log = "acknowledged {\"numbers\": String(\"all\")} up to 500";
    wait_until("the acknowledgement", LIMIT, async || Ok(worker.log_text().contains(log))).await?;
    let stored = |expected: u64| {
        let (connect, name) = (connect.clone(), name.clone());
        async move {
            wait_until(&format!("offset {expected} to be stored"), LIMIT, async || {
                let offsets = connect.get(&format!("/connectors/{name}/offsets")).await?.ok()?;
                Ok(offsets == json!({"offsets": [{"partition": {"numbers": "all"}, "offset": {"next": expected}}]}))
            })
            .await
        }
    };
    stored(500).await?;

    // Goes on behind what was stored, over a restart of the worker and more to read.
    worker.restart().await?;
    connect.wait_running(&name, 1).await?;
    let more = counting("CountSource", &topic, "well", &[("records", "700")]);
    connect.put(&format!("/connectors/{name}/config"), &json!(more)).await?.ok()?;
    wait_records(kafka, &topic, 700).await?;
    stored(700).await?;
    let read = kafka.read(&topic).await?;
    let numbers: Vec<String> =
        read.iter().map(|message| String::from_utf8_lossy(message.value.as_deref().unwrap_or_default()).into()).collect();
    let expected: Vec<String> = (0..700).map(|number| format!("{{\"number\":{number}}}")).collect();
    ensure!(numbers == expected, "in order and each once: {numbers:?}");
    ensure!(read[3].header("from").as_deref() == Some("count"), "{:?}", read[3]);

    let (name, topic) = (unique("records"), unique("records"));
    kafka.create_topic(&topic, 1).await?;
    connect.create(&name, &counting("CountRecordsSource", &topic, "well", &[("records", "9")])).await?;
    wait_records(kafka, &topic, 9).await?;
    let wrong = counting("CountRecordsSource", &topic, "wrong", &[]);
    let refused = connect.post("/connectors", &json!({"name": unique("wrong"), "config": wrong})).await?;
    ensure!(refused.status == 400, "{refused:?}");
    has_all(refused.message(), &["mode is wrong: choose another one"])
}

#[tokio::test]
async fn what_a_source_does_wrong_fails_its_task_alone() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let worker = worker(kafka).with_test_components()?.start().await?;
    let connect = worker.connect();
    let (healthy, steady) = (unique("healthy"), unique("steady"));
    kafka.create_topic(&steady, 1).await?;
    connect.create(&healthy, &counting("CountSource", &steady, "slow", &[("records", "1000000"), ("batch", "1")])).await?;
    for (mode, reasons) in [
        ("trap-at-start", &["the plugin trapped", "no licence found"][..]),
        ("refuse-at-start", &["mode is refuse-at-start: set another one"]),
        ("loop", &["poll plugin", "did not return within 300 ms (penstock.plugin.call.timeout.ms)"]),
        ("sleep", &["did not return within 300 ms"]),
        ("recurse", &["the plugin trapped"]),
        ("allocate", &["more than the 64 MiB of memory"]),
        ("trap", &["cannot stand the number 10"]),
        ("fail", &["the other side is gone for good"]),
        ("too-many", &["room for 10000 rows more, not for 10001"]),
        ("no-json", &["values: row 0 is no JSON"]),
        ("no-offset", &["offsets: row 0"]),
    ] {
        let (name, topic) = (unique(mode), unique(mode));
        kafka.create_topic(&topic, 1).await?;
        let before = count(kafka, &steady).await?;
        let began = Instant::now();
        connect.create(&name, &counting("CountSource", &topic, mode, &[])).await?;
        let trace = connect.wait_task_failed(&name).await?;
        println!("{mode}: FAILED {:?} after it was created: {trace}", began.elapsed());
        has_all(&trace, reasons)?;
        // What an earlier call gave is delivered all the same, and nothing of the one that went wrong.
        let at_start = mode.ends_with("at-start");
        wait_records(kafka, &topic, if at_start { 0 } else { 10 }).await?;
        ensure!(count(kafka, &topic).await? == if at_start { 0 } else { 10 });
        wait_records(kafka, &steady, before + 1).await?;
        connect.delete(&format!("/connectors/{name}")).await?.ok()?;
    }
    connect.wait_running(&healthy, 1).await
}
