//! Transactions that connectors bound themselves (`transaction.boundary=connector`): what readers of committed records see, what is
//! stored, and what connectors are told, for built-in sources and for components.

use anyhow::{Result, ensure};
use penstock_api::SourceContext;
use penstock_tests::{Kafka, Worker, unique, wait_until};
use serde_json::{Value, json};

use super::SOON;
use super::script::{Poll, Running, Script};

const BOUND: (&str, &str) = ("transaction.boundary", "connector");

/// What a reader of committed records sees.
async fn numbers(kafka: &Kafka, topic: &str) -> Result<Vec<i64>> {
    kafka.read(topic).await?.iter().map(|message| Ok(message.text().parse()?)).collect()
}

async fn wait_for_numbers(kafka: &Kafka, topic: &str, expected: &[i64]) -> Result<()> {
    wait_until(&format!("{expected:?}"), SOON, async || {
        let read = numbers(kafka, topic).await?;
        ensure!(read == expected, "there are {read:?}");
        Ok(true)
    })
    .await
}

#[tokio::test]
async fn transactions_end_where_the_connector_says() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let (name, topic, offsets) = (unique("bound"), unique("bound"), unique("bound-offsets"));
    kafka.create_topic(&topic, 1).await?;
    let script = Script::default();
    // 0 to 2 are of a transaction of two polls.
    script.poll(&topic, 2, |_| {});
    script.poll(&topic, 1, SourceContext::commit_transaction);
    // 3 and 4 are aborted, 5 is committed, 6 goes on into the next poll.
    script.poll(&topic, 4, |context| {
        context.abort_transaction_behind(2);
        context.commit_transaction_behind(3);
    });
    script.poll(&topic, 1, SourceContext::commit_transaction);
    // A poll that fails has asked for nothing; 8 stays open.
    let fails = Poll { topic: topic.clone(), numbers: 0, asks: Box::new(SourceContext::commit_transaction), fails: true };
    script.poll(&topic, 1, |_| {});
    script.add(fails);
    let task = Running::start(&name, &offsets, kafka, &script, &[BOUND]).await?;
    wait_for_numbers(kafka, &topic, &[0, 1, 2, 5, 6, 7]).await?;
    wait_until("the last poll", SOON, async || Ok(script.is_empty())).await?;
    wait_until("the offset", SOON, async || Ok(task.stored().await? == Some(8))).await?;
    // Of aborted ones it is told as well, as in Java; of 8 not, for nobody has it.
    ensure!(script.delivered() == [0, 1, 2, 3, 4, 5, 6, 7], "{:?}", script.delivered());
    task.stop().await?;
    ensure!(numbers(kafka, &topic).await? == [0, 1, 2, 5, 6, 7], "what was not ended was aborted");

    // The successor reads 8 again. An abort with nothing to abort stores nothing that was not.
    script.poll(&topic, 0, SourceContext::abort_transaction);
    script.poll(&topic, 2, |_| {});
    script.poll(&topic, 0, SourceContext::commit_transaction);
    let task = Running::start(&name, &offsets, kafka, &script, &[BOUND]).await?;
    wait_for_numbers(kafka, &topic, &[0, 1, 2, 5, 6, 7, 8, 9]).await?;
    // A whole batch aborted: its offsets are stored all the same.
    script.poll(&topic, 3, SourceContext::abort_transaction);
    wait_until("the offset", SOON, async || Ok(task.stored().await? == Some(13))).await?;
    task.stop().await?;
    ensure!(numbers(kafka, &topic).await?.len() == 8);
    Ok(())
}

#[tokio::test]
async fn a_connector_that_contradicts_itself_or_writes_to_its_own_offsets_fails() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let offsets = unique("bound-offsets");
    let topic = unique("bound");
    kafka.create_topic(&topic, 1).await?;
    let check = async |to: &str, asks: fn(&SourceContext), says: &str| -> Result<()> {
        let script = Script::default();
        script.poll(to, 2, asks);
        let mut task = Running::start(&unique("bound"), &offsets, kafka, &script, &[BOUND]).await?;
        let trace = task.failure().await?;
        ensure!(trace.contains(says), "{trace}");
        ensure!(task.stored().await?.is_none() && script.delivered().is_empty(), "nothing is stored");
        Ok(())
    };
    let both = |context: &SourceContext| {
        context.commit_transaction();
        context.abort_transaction();
    };
    check(&topic, both, "requested both commit and abort of the transaction behind record 2").await?;
    check(&topic, |context| context.commit_transaction_behind(3), "behind record 3 of a poll that gave 2").await?;
    check(&offsets, |_| {}, "Source tasks may not produce to their own offsets topics").await?;
    ensure!(numbers(kafka, &topic).await?.is_empty());
    Ok(())
}

/// With another boundary the connector's wishes do not count, and neither is it told of records that are not committed.
#[tokio::test]
async fn only_the_configuration_lets_a_connector_bound_transactions() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let (topic, offsets) = (unique("unbound"), unique("unbound-offsets"));
    kafka.create_topic(&topic, 1).await?;
    let script = Script::default();
    script.poll(&topic, 3, SourceContext::abort_transaction);
    let hour = [("transaction.boundary", "interval"), ("transaction.boundary.interval.ms", "3600000")];
    let task = Running::start(&unique("unbound"), &offsets, kafka, &script, &hour).await?;
    // Sent, for a reader of all records; the transaction is open.
    wait_until("the records", SOON, async || Ok(kafka.end_offsets(&topic).await?.values().sum::<i64>() >= 3)).await?;
    ensure!(numbers(kafka, &topic).await?.is_empty() && task.stored().await?.is_none() && script.delivered().is_empty());
    task.stop().await?;
    ensure!(numbers(kafka, &topic).await? == [0, 1, 2], "{:?}", numbers(kafka, &topic).await?);
    ensure!(script.delivered() == [0, 1, 2], "{:?}", script.delivered());
    Ok(())
}

/// Both forms of the SDK: groups of ten numbers, of which each third is aborted, and polls that do not end where groups do.
#[tokio::test]
async fn components_bound_transactions_too() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let worker =
        Worker::builder(kafka).property("exactly.once.source.support", "enabled").with_test_components()?.start().await?;
    let connect = worker.connect();
    for class in ["CountSource", "CountRecordsSource"] {
        let (name, topic) = (unique("groups"), unique("groups"));
        kafka.create_topic(&topic, 1).await?;
        let config = |own: &[(&str, &str)]| -> Value {
            let mut config = json!({
                "connector.class": class, "topic": topic, "records": "105", "batch": "25", "mode": "groups",
                "exactly.once.support": "required", "transaction.boundary": "connector",
            });
            own.iter().for_each(|(key, value)| config[*key] = (*value).into());
            config
        };
        // What a class promises depends on its configuration.
        let refused = connect.post("/connectors", &json!({"name": name, "config": config(&[("mode", "well")])})).await?;
        for says in ["does not support exactly-once semantics", "does not support connector-defined transaction boundaries"] {
            ensure!(refused.status == 400 && refused.message().contains(says), "{refused:?}");
        }
        let path = format!("/connector-plugins/{class}/config/validate");
        let trap = config(&[("mode", "trap-at-guarantee"), ("name", &name)]);
        let traps = connect.put(&path, &trap).await?.ok()?;
        ensure!(traps.to_string().contains("cannot promise anything"), "{traps}");

        connect.post("/connectors", &json!({"name": name, "config": config(&[])})).await?.ok()?;
        let expected: Vec<i64> = (0..100).filter(|number| number / 10 % 3 != 2).collect();
        wait_until("the groups", SOON, async || {
            let read = kafka.read(&topic).await?;
            let read =
                read.iter().map(|message| Ok(message.json()?["number"].as_i64().unwrap_or(-1))).collect::<Result<Vec<_>>>()?;
            ensure!(read == expected, "{class}: there are {read:?}");
            Ok(true)
        })
        .await?;
        wait_until("the offset of the last whole group", SOON, async || {
            let offsets = connect.get(&format!("/connectors/{name}/offsets")).await?.ok()?;
            ensure!(offsets["offsets"][0]["offset"]["next"] == 100, "{offsets}");
            Ok(true)
        })
        .await?;
    }
    Ok(())
}
