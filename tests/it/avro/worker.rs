//! Whole workers: orders in Avro into Snowflake, and Java's worker on the other side of a topic.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use apache_avro::types::Value as Avro;
use penstock_api::Value;
use penstock_tests::connect::config;
use penstock_tests::java::wait_drained;
use penstock_tests::{FakeSnowflake, JavaConnect, Kafka, Registry, Worker, ground, unique, wait_until};
use serde_json::{Value as Json, json};

use super::{AVRO, JSON, Wire, envelope, message};
use crate::sink::script::{Running, Script};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn orders_of_two_schemas_become_rows() -> Result<()> {
    let (kafka, registry, snowflake) = tokio::try_join!(Kafka::shared(), Registry::shared(), FakeSnowflake::start())?;
    let mut worker = Worker::builder(kafka).start().await?;
    let topic = unique("orders").replace('-', "_");
    kafka.create_topic(&topic, 2).await?;
    let (old, new) = (order_schema(false), order_schema(true));
    let subject = format!("{topic}-value");
    let (old_id, new_id) = (registry.register(&subject, &old).await?, registry.register(&subject, &new).await?);
    let order = |n: i64| if n % 2 == 0 { message(old_id, &old, order(n, false)) } else { message(new_id, &new, order(n, true)) };
    kafka.produce_values(&topic, (0..200).map(order).collect::<Result<Vec<_>>>()?).await?;
    kafka.produce_values(&topic, [b"poison".as_slice()]).await?;

    let (name, dead) = (unique("orders"), unique("dead"));
    let mut connector = snowflake.connector_config();
    connector.extend(config([
        ("topics", &topic),
        ("buffer.flush.time", "1"),
        ("snowflake.enable.schematization", "true"),
        ("penstock.snowflake.schema.evolution", "always"),
        ("value.converter", AVRO),
        ("value.converter.schema.registry.url", registry.url()),
        ("value.converter.schemas.enable", "true"),
        ("errors.tolerance", "all"),
        ("errors.deadletterqueue.topic.name", &dead),
        ("errors.deadletterqueue.topic.replication.factor", "1"),
    ]));
    worker.connect().create(&name, &connector).await?;
    worker.connect().wait_running(&name, 1).await?;
    let table = topic.to_uppercase();
    wait_until("half of it", SOON, async || Ok(snowflake.count(&table).await? == 200)).await?;
    worker.kill();
    kafka.produce_values(&topic, (200..400).map(order).collect::<Result<Vec<_>>>()?).await?;
    worker.restart().await?;
    wait_until("all of it", SOON, async || Ok(snowflake.count(&table).await? == 400)).await?;

    let sql = format!(
        "SELECT COUNT(DISTINCT ID) AS IDS, SUM(TOTAL) AS TOTAL, COUNT(NOTE) AS NOTES, MIN(ORDERED_AT)::VARCHAR AS FIRST FROM \"{table}\""
    );
    let row = &snowflake.query(&sql).await?[0];
    let number = |column: &str| row[column].to_string().trim_matches('"').parse::<f64>();
    ensure!(row["IDS"] == 400 && row["NOTES"] == 200, "{row:?}");
    ensure!((number("TOTAL")? - f64::from((0..400).sum::<i32>()) / 100.0).abs() < 1e-6, "{row:?}");
    ensure!(row["FIRST"].as_str().is_some_and(|first| first.starts_with("2025-10-09 08:53:20")), "{row:?}");
    // A letter may be sent again by a worker that was killed before it could commit.
    let letters = kafka.read(&dead).await?;
    ensure!(!letters.is_empty() && letters.iter().all(|letter| letter.text() == "poison"), "{letters:?}");
    Ok(())
}

fn order_schema(has_note: bool) -> Json {
    let mut fields = vec![
        json!({"name": "id", "type": "long"}),
        json!({"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}}),
        json!({"name": "ordered_at", "type": {"type": "long", "logicalType": "timestamp-millis"}}),
    ];
    if has_note {
        fields.push(json!({"name": "note", "type": ["null", "string"], "default": null}));
    }
    json!({"type": "record", "name": "Order", "namespace": "shop", "fields": fields})
}

fn order(n: i64, has_note: bool) -> Avro {
    let mut fields = vec![
        ("id".to_owned(), Avro::Long(n)),
        ("total".to_owned(), Avro::Decimal(n.to_be_bytes().into())),
        ("ordered_at".to_owned(), Avro::TimestampMillis(1_760_000_000_000 + n)),
    ];
    if has_note {
        fields.push(("note".into(), Avro::Union(1, Box::new(Avro::String(format!("note {n}"))))));
    }
    Avro::Record(fields)
}

/// Java's own source writes two schemas into one topic, its file sink reads what we wrote.
#[tokio::test]
async fn javas_worker_writes_what_we_read_and_reads_what_we_write() -> Result<()> {
    let (kafka, registry) = tokio::try_join!(Kafka::shared(), Registry::shared())?;
    let converter = tokio::task::spawn_blocking(|| ground::part("avro-converter")).await??;
    let mut java = JavaConnect::builder(kafka).lean().plugin_path(converter).start().await?;
    let javas = [
        ("value.converter", "io.apicurio.registry.utils.converter.AvroConverter".to_owned()),
        ("value.converter.apicurio.registry.url", registry.apicurio_url()),
        ("value.converter.apicurio.registry.as-confluent", "true".into()),
        ("value.converter.apicurio.registry.use-id", "contentId".into()),
        ("value.converter.apicurio.registry.auto-register", "true".into()),
        // Else a worker puts the id into a header.
        ("value.converter.apicurio.registry.headers.enabled", "false".into()),
    ];

    // There.
    let topic = unique("from-java");
    kafka.create_topic(&topic, 1).await?;
    let name = unique("source");
    let mut source = config([
        ("connector.class", "org.apache.kafka.connect.tools.SchemaSourceConnector"),
        ("name", &name),
        ("id", "0"),
        ("topic", &topic),
        ("num.messages", "20"),
        ("throughput", "1000"),
        ("multiple.schema", "true"),
        ("partition.count", "1"),
    ]);
    source.extend(javas.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    java.connect().create(&name, &source).await?;
    let script = Script::new();
    let ours = [("topics", topic.as_str()), ("value.converter", AVRO), ("value.converter.schema.registry.url", registry.url())];
    let task = Running::start(kafka, &script, &ours)?;
    tokio::select! {
        failure = task.failure(SOON) => anyhow::bail!("{failure:?}"),
        all = wait_until("all that Java wrote", SOON, async || Ok(script.delivered().len() == 20)) => all?,
    }
    ensure!(task.stop().await);
    for delivery in script.delivered() {
        let view = delivery.value.view()?;
        let Value::Struct(record) = &view.value else { anyhow::bail!("not a struct: {view:?}") };
        let is_second = delivery.offset % 2 == 1;
        let version = view.schema.as_ref().and_then(|schema| schema.version);
        ensure!(version == Some(if is_second { 2 } else { 1 }), "{version:?} at {}", delivery.offset);
        ensure!(
            record.get("seqno") == Some(&Value::Int64(delivery.offset)) && record.get("double") == Some(&Value::Float64(12.2))
        );
        ensure!(record.get("string") == is_second.then(|| Value::string("def")).as_ref(), "{record:?}");
    }

    // And back.
    let topic = unique("to-java");
    kafka.create_topic(&topic, 1).await?;
    let mut wire = Wire::avro(registry.url(), &[])?;
    let mut messages = Vec::new();
    for n in 0..3 {
        let text = json!({"schema": {"type": "struct", "name": "shop.Line", "fields": [
            {"field": "n", "type": "int32"}, {"field": "who", "type": "string", "optional": true}]},
            "payload": {"n": n, "who": if n == 1 { Json::Null } else { json!(format!("J\u{f6}rg {n}")) }}});
        let value = Wire::new(JSON, &[])?.read(text.to_string().as_bytes()).await?;
        ensure!(envelope(&value).await?["payload"] == text["payload"]);
        messages.push(wire.write(&topic, value).await?.context("a message")?);
    }
    kafka.produce_values(&topic, messages).await?;
    let (file, name) = (tempfile::NamedTempFile::new()?, unique("file-sink"));
    let mut sink = config([
        ("connector.class", "org.apache.kafka.connect.file.FileStreamSinkConnector"),
        ("topics", &topic),
        ("file", &file.path().to_string_lossy()),
    ]);
    sink.extend(javas.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    java.connect().create(&name, &sink).await?;
    java.connect().wait_running(&name, 1).await?;
    wait_drained(kafka, &name, &topic, SOON).await?;
    let lines = std::fs::read_to_string(file.path())?;
    ensure!(lines == "Struct{n=0,who=J\u{f6}rg 0}\nStruct{n=1}\nStruct{n=2,who=J\u{f6}rg 2}\n", "{lines}");
    java.kill();
    Ok(())
}
