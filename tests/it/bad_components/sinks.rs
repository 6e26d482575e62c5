//! Sinks that are components: they work like built-in ones, and what they do wrong fails their own task alone.

use super::*;

/// A connector of a class of `tests/guests/sinks`.
fn counting(class: &str, topic: &str, mode: &str, more: &[(&str, &str)]) -> Config {
    let mut config = config([
        ("connector.class", class),
        ("topics", topic),
        ("mode", mode),
        ("value.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("errors.deadletterqueue.topic.replication.factor", "1"),
        ("errors.deadletterqueue.context.headers.enable", "true"),
    ]);
    config.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    config
}

const TEN: [&str; 10] = ["a", "b", "c", "poison", "d", "e", "f", "g", "h", "i"];

#[tokio::test]
async fn components_are_sinks_like_built_in_ones() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let worker = worker(kafka).with_test_components()?.start().await?;
    let connect = worker.connect();
    let plugins = connect.get("/connector-plugins").await?.ok()?;
    let topic = topic_of(kafka, &TEN).await?;
    for class in ["penstock.tests.CountSink", "penstock.tests.CountRecordsSink"] {
        let listed = plugins.as_array().into_iter().flatten().any(|plugin| {
            (&plugin["class"], &plugin["type"], &plugin["version"]) == (&json!(class), &json!("sink"), &json!("1.0.0"))
        });
        ensure!(listed, "{class} is not in {plugins}");
        let keys = connect.get(&format!("/connector-plugins/{class}/config")).await?.ok()?;
        ensure!(
            keys.as_array().into_iter().flatten().any(|key| key["name"] == "mode" && key["default_value"] == "well"),
            "{keys}"
        );

        let (name, dead) = (unique("counts"), unique("dead"));
        let tolerant = [("errors.tolerance", "all"), ("errors.deadletterqueue.topic.name", dead.as_str())];
        connect.create(&name, &counting(class, &topic, "well", &tolerant)).await?;
        wait_settled(kafka, &name, &topic).await?;
        let letters = kafka.read(&dead).await?;
        ensure!(letters.len() == 1, "{letters:?}");
        has_all(&reason(&letters[0]), &["this is poison"])?;
        let counted = format!("{name}-0 has counted 9");
        wait_until("the count in the log", LIMIT, async || Ok(worker.log_text().contains(&counted))).await?;
        // Paused, resumed and deleted as any other.
        connect.put(&format!("/connectors/{name}/pause"), &json!(null)).await?.ok()?;
        connect.put(&format!("/connectors/{name}/resume"), &json!(null)).await?.ok()?;
        connect.wait_running(&name, 1).await?;
        connect.delete(&format!("/connectors/{name}")).await?.ok()?;
    }
    wait_until("the sink to be told to stop", LIMIT, async || Ok(worker.log_text().contains("-0 stops"))).await
}

#[tokio::test]
async fn a_sink_begins_where_it_says() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let worker = worker(kafka).with_test_components()?.start().await?;
    let topic = topic_of(kafka, &["a", "b", "c", "d", "e"]).await?;
    let name = unique("begins");
    worker.connect().create(&name, &counting("CountSink", &topic, "begin-behind", &[])).await?;
    let counted = format!("{name}-0 has counted 2");
    wait_until("the two records behind offset 3", LIMIT, async || Ok(worker.log_text().contains(&counted))).await?;
    wait_settled(kafka, &name, &topic).await
}

#[tokio::test]
async fn what_a_connector_says_of_its_configuration_is_told() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let worker = worker(kafka).with_test_components()?.start().await?;
    let connect = worker.connect();
    let topic = topic_of(kafka, &TEN).await?;
    let wrong = counting("CountRecordsSink", &topic, "wrong", &[]);
    let refused = connect.post("/connectors", &json!({"name": unique("wrong"), "config": wrong})).await?;
    ensure!(refused.status == 400, "{refused:?}");
    has_all(refused.message(), &["mode is wrong: choose another one"])?;

    let name = unique("unplanned");
    connect.create(&name, &counting("CountRecordsSink", &topic, "no-plan", &[])).await?;
    wait_until("the connector to fail", LIMIT, async || {
        let status = connect.status(&name).await?.ok()?;
        Ok(status["connector"]["trace"].as_str().is_some_and(|trace| trace.contains("mode is no-plan: there is nothing to plan")))
    })
    .await?;

    let name = unique("planned");
    connect.create(&name, &counting("CountRecordsSink", &topic, "well", &[("tasks.max", "5")])).await?;
    connect.wait_running(&name, 2).await
}

#[tokio::test]
async fn what_a_sink_does_wrong_fails_its_task_alone_and_commits_nothing() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let worker = worker(kafka).with_test_components()?.start().await?;
    let connect = worker.connect();
    let topic = topic_of(kafka, &TEN).await?;
    let healthy = unique("healthy");
    connect.create(&healthy, &counting("CountSink", &topic, "well", &[("errors.tolerance", "all")])).await?;
    connect.wait_running(&healthy, 1).await?;
    let cases: [(&str, &[&str]); 11] = [
        ("trap-at-start", &["start plugin", "the plugin trapped", "no licence found"]),
        ("refuse-at-start", &["mode is refuse-at-start: set another one"]),
        ("begin-elsewhere", &["wants to begin at offset 3 of elsewhere-7"]),
        ("loop", &["put records to plugin", "did not return within 300 ms (penstock.plugin.call.timeout.ms)"]),
        ("recurse", &["put records to plugin", "the plugin trapped"]),
        ("allocate", &["needs more than the 64 MiB of memory", "penstock.plugin.memory.max.bytes"]),
        ("discard", &["misused batch.discard: predicates and sinks cannot change records"]),
        ("trap-on-poison", &["the plugin trapped", "poison in row 3"]),
        ("well", &["this is poison"]),
        ("commit-ahead", &["calls offset 1010 of", "durable, but got only up to 10"]),
        ("commit-garbage", &["of elsewhere-7 durable, but got nothing of it"]),
    ];
    for (mode, reasons) in cases {
        let name = unique(mode);
        let tolerance = if mode.starts_with("commit") { "all" } else { "none" };
        let began = Instant::now();
        connect.create(&name, &counting("CountSink", &topic, mode, &[("errors.tolerance", tolerance)])).await?;
        let trace = connect.wait_task_failed(&name).await?;
        println!("{mode}: FAILED {:?} after it was created: {trace}", began.elapsed());
        has_all(&trace, reasons)?;
        let committed = kafka.committed(&format!("connect-{name}"), &topic).await?;
        // Without tolerance what came before the poison may be committed, and no more.
        ensure!(committed.values().all(|offset| *offset <= 3), "{mode}: {committed:?}");
    }
    connect.wait_running(&healthy, 1).await?;
    kafka.produce_values(&topic, &TEN).await?;
    wait_settled(kafka, &healthy, &topic).await
}
