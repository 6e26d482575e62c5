//! Sources that are components and give rows under a schema: what a registry, and readers who know nothing of components, see of them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use penstock_tests::connect::{Config, config};
use penstock_tests::{Kafka, Message, Registry, Worker, unique, wait_until};
use serde_json::{Value as Json, json};

use super::{AVRO, JSON, Wire, envelope, id_of, schema_of};

const SOON: Duration = Duration::from_secs(60);

fn orders(class: &str, topic: &str, more: &[(&str, &str)]) -> Config {
    let mut config = config([
        ("connector.class", class),
        ("topic", topic),
        ("tasks.max", "1"),
        ("key.converter", JSON),
        ("key.converter.schemas.enable", "false"),
    ]);
    config.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    config
}

async fn wait_count(kafka: &Kafka, topic: &str, least: i64) -> Result<()> {
    wait_until(&format!("{least} records in {topic}"), SOON, async || {
        Ok(kafka.end_offsets(topic).await?.values().sum::<i64>() >= least)
    })
    .await
}

/// What the fields of order `n` hold, as JSON without a schema.
fn fields(n: i64) -> Json {
    json!({
        "id": n,
        "customer": {"email": if n % 2 == 0 { Json::Null } else { json!(format!("j\u{f6}rg-{n}@example.org")) }, "age": n % 100},
        "at": 1_760_000_000_000_i64 + n,
        "day": if n % 3 == 0 { Json::Null } else { json!(20_000) },
        "tags": (0..n % 3).map(|tag| format!("t{tag}")).collect::<Vec<_>>(),
        "stock": {"hall \"a\"": n},
        "by_number": if n % 2 == 0 { json!([[-1, null]]) } else { Json::Null },
        "state": "new",
    })
}

/// Compares those of `fields`; the others have no form in plain JSON that is the same everywhere.
fn is_order(payload: &Json, n: i64) -> Result<()> {
    let expected = fields(n);
    for (field, value) in expected.as_object().context("an object")? {
        ensure!(payload[field] == *value, "{field} of {n} is {} and not {value}", payload[field]);
    }
    ensure!(payload.as_object().is_some_and(|payload| payload.len() == 11), "{payload}");
    Ok(())
}

fn value(message: &Message) -> &[u8] {
    message.value.as_deref().unwrap_or_default()
}

#[tokio::test]
async fn rows_of_a_component_are_avro_in_the_registry_whatever_becomes_of_the_worker() -> Result<()> {
    const ORDERS: i64 = 1_500;
    let (kafka, registry) = tokio::try_join!(Kafka::shared(), Registry::shared())?;
    let mut worker = Worker::builder(kafka).with_test_components()?.property("offset.flush.interval.ms", 100).start().await?;
    let (name, topic) = (unique("typed"), unique("typed"));
    kafka.create_topic(&topic, 1).await?;
    let config = orders(
        "TypedSource",
        &topic,
        &[
            ("records", &ORDERS.to_string()),
            ("mode", "slow"),
            ("key.converter", AVRO),
            ("key.converter.schema.registry.url", registry.url()),
            ("value.converter", AVRO),
            ("value.converter.schema.registry.url", registry.url()),
        ],
    );
    worker.connect().create(&name, &config).await?;
    for part in 1..=2 {
        wait_count(kafka, &topic, ORDERS / 4 * part).await?;
        worker.kill();
        worker.restart().await?;
    }
    wait_until("the last order's offset", SOON, async || {
        let offsets = worker.connect().get(&format!("/connectors/{name}/offsets")).await?.ok()?;
        Ok(offsets["offsets"][0]["offset"] == json!({"next": ORDERS}))
    })
    .await?;

    let messages = kafka.read(&topic).await?;
    let (mut avro, mut seen, mut ids) = (Wire::avro(registry.url(), &[])?, BTreeSet::<i64>::new(), BTreeSet::new());
    for message in &messages {
        let read = avro.read(value(message)).await?;
        let payload = envelope(&read).await?["payload"].take();
        let n = payload["id"].as_i64().context("an id")?;
        ensure!(seen.last().is_none_or(|last: &i64| n <= *last + 1), "{n} comes before {seen:?}");
        seen.insert(n);
        is_order(&payload, n)?;
        let key = avro.read(message.key.as_deref().context("a key")?).await?;
        ensure!(key.value == penstock_api::Value::Int64(n), "{key:?}");
        ids.insert(id_of(value(message))?);
    }
    ensure!(seen.len() == usize::try_from(ORDERS)?, "{} of {ORDERS} orders are there", seen.len());
    println!("{} records for {ORDERS} orders over two kills", messages.len());

    // One schema, for all instances that have declared it.
    ensure!(ids.len() == 1, "{ids:?}");
    let schema = schema_of(registry, *ids.first().context("an id")?).await?;
    ensure!((&schema["name"], &schema["namespace"]) == (&json!("Order"), &json!("shop")), "{schema}");
    let field = |name: &str| {
        let fields = schema["fields"].as_array().into_iter().flatten();
        fields.clone().find(|field| field["name"] == name).map(|field| &field["type"]).cloned().unwrap_or_default()
    };
    ensure!(field("id") == "long" && field("tags") == json!({"type": "array", "items": "string"}), "{schema}");
    let (total, at) = (field("total"), field("at"));
    ensure!((&total["logicalType"], &total["scale"]) == (&json!("decimal"), &json!(2)), "{total}");
    ensure!(at["logicalType"] == "timestamp-millis", "{at}");
    let versions = registry.api().get(&format!("/subjects/{topic}-value/versions")).await?.ok()?;
    ensure!(versions == json!([1]), "{versions}");
    Ok(())
}

/// The other form, the other converter; and tombstones stay what they are.
#[tokio::test]
async fn rows_of_a_component_come_with_their_schema_in_an_envelope() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let worker = Worker::builder(kafka).with_test_components()?.start().await?;
    let mut schemas = BTreeSet::new();
    for class in ["TypedSource", "TypedRecordsSource"] {
        let (name, topic) = (unique("enveloped"), unique("enveloped"));
        kafka.create_topic(&topic, 1).await?;
        let told =
            [("records", "50"), ("mode", "tombstones"), ("value.converter", JSON), ("value.converter.schemas.enable", "true")];
        worker.connect().create(&name, &orders(class, &topic, &told)).await?;
        wait_count(kafka, &topic, 50).await?;
        for (message, n) in kafka.read(&topic).await?.iter().zip(0..) {
            ensure!(message.key.as_deref() == Some(n.to_string().as_bytes()), "{message:?}");
            if n % 10 == 3 {
                // As Java's converter writes a null without a schema where envelopes are due.
                let text = message.value.as_deref().map(String::from_utf8_lossy);
                ensure!(text.as_deref().is_none_or(|text| text == r#"{"schema":null,"payload":null}"#), "{class}: {text:?}");
                continue;
            }
            let mut envelope: Json = serde_json::from_slice(value(message))?;
            is_order(&envelope["payload"], n)?;
            ensure!(envelope["payload"]["raw"] == json!(STANDARD.encode([n as u8, 0xff])), "{envelope}");
            schemas.insert(envelope["schema"].take().to_string());
        }
        worker.connect().delete(&format!("/connectors/{name}")).await?.ok()?;
    }
    ensure!(schemas.len() == 1, "{schemas:?}");
    let schema: Json = serde_json::from_str(schemas.first().context("a schema")?)?;
    ensure!(schema["version"] == 3 && schema["doc"] == "What somebody wants.", "{schema}");
    ensure!(schema["fields"][1]["fields"][1] == json!({"type": "int8", "optional": false, "field": "age"}), "{schema}");
    Ok(())
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_a_dead_letter_and_garbage_for_a_schema_ends_the_task() -> Result<()> {
    let (kafka, registry) = tokio::try_join!(Kafka::shared(), Registry::shared())?;
    let worker = Worker::builder(kafka).with_test_components()?.start().await?;
    let connect = worker.connect();
    let url = registry.url();
    for class in ["TypedSource", "TypedRecordsSource"] {
        let (name, topic, dead) = (unique("misfit"), unique("misfit"), unique("dead"));
        kafka.create_topic(&topic, 1).await?;
        let told = [("mode", "misfit"), ("value.converter", AVRO), ("value.converter.schema.registry.url", url)];
        let tolerant = [
            &told[..],
            &[
                ("errors.tolerance", "all"),
                ("errors.deadletterqueue.topic.name", dead.as_str()),
                ("errors.deadletterqueue.topic.replication.factor", "1"),
                ("errors.deadletterqueue.context.headers.enable", "true"),
            ],
        ]
        .concat();
        connect.create(&name, &orders(class, &topic, &tolerant)).await?;
        wait_count(kafka, &topic, 90).await?;
        wait_count(kafka, &dead, 10).await?;
        let letters = kafka.read(&dead).await?;
        ensure!(letters.len() == 10 && kafka.read(&topic).await?.len() == 90, "{} letters", letters.len());
        for (letter, n) in letters.iter().zip((7..).step_by(10)) {
            let given: Json = serde_json::from_slice(value(letter)).with_context(|| format!("{letter:?}"))?;
            ensure!(given["id"] == "x" && given["at"] == json!(1_760_000_000_000_i64 + n), "{class}: {given}");
            let why = letter.header("__connect.errors.exception.message").unwrap_or_default();
            ensure!(why.contains("does not fit its schema shop.Order: Invalid type for INT64"), "{class}: {why}");
        }
        connect.delete(&format!("/connectors/{name}")).await?.ok()?;

        let strict = unique("strict");
        connect.create(&strict, &orders(class, &topic, &told)).await?;
        let trace = connect.wait_task_failed(&strict).await?;
        ensure!(trace.contains("does not fit its schema shop.Order: Invalid type for INT64: found STRING"), "{trace}");
        connect.delete(&format!("/connectors/{strict}")).await?.ok()?;
    }
    for (mode, reason) in [
        ("garbage-schema", "misused outbox.declare-schema: the schema cannot be read: Unknown schema type: text"),
        ("null-flood", "misused outbox.add-with-schemas: values: row 0: more values than there is room for"),
    ] {
        let (name, topic) = (unique(mode), unique(mode));
        kafka.create_topic(&topic, 1).await?;
        let told = [("mode", mode), ("value.converter", AVRO), ("value.converter.schema.registry.url", url)];
        connect.create(&name, &orders("TypedSource", &topic, &told)).await?;
        let trace = connect.wait_task_failed(&name).await?;
        ensure!(trace.contains(reason), "{trace}");
        // What the call before has given is there all the same.
        wait_count(kafka, &topic, 10).await?;
        connect.delete(&format!("/connectors/{name}")).await?.ok()?;
    }
    Ok(())
}
