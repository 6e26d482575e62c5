//! The sink road over a real broker: order, retries, dead letters, commits, rebalances. The sink at its end follows a script.

mod letters;
pub(crate) mod script;

use anyhow::{Result, ensure};
use penstock::task::Event;
use penstock_api::{Error, Offsets, TopicPartition};
use penstock_tests::kafka::NewRecord;
use penstock_tests::{Kafka, unique, wait_until};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use script::{Running, Script};

const SOON: Duration = Duration::from_secs(30);

/// A topic of two partitions with these JSON records, numbered; every other one in the same partition. Left to itself, a busy producer
/// puts all of them into one.
async fn topic_of(kafka: &Kafka, count: usize) -> Result<String> {
    let topic = unique("sink");
    kafka.create_topic(&topic, 2).await?;
    let record = |n| NewRecord {
        value: Some(format!("{{\"n\":{n}}}").into_bytes()),
        partition: Some(n as i32 % 2),
        ..NewRecord::default()
    };
    kafka.produce(&topic, (0..count).map(record)).await?;
    Ok(topic)
}

#[tokio::test]
async fn records_arrive_in_order_and_offsets_follow() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = topic_of(kafka, 1_000).await?;
    let script = Script::new();
    let task = Running::start(kafka, &script, &[("topics", &topic)])?;
    wait_until("all delivered", SOON, async || Ok(script.delivered().len() == 1_000)).await?;
    for partition in 0..2 {
        let offsets: Vec<_> = script.delivered().iter().filter(|d| d.partition == partition).map(|d| d.offset).collect();
        ensure!(offsets.is_sorted() && !offsets.is_empty(), "partition {partition}: {offsets:?}");
    }
    ensure!(task.stop().await, "the task ends by itself");
    ensure!(kafka.lag(&task_group(&task.name), &topic).await? == 0, "everything delivered is committed at the end");
    Ok(())
}

#[tokio::test]
async fn a_batch_refused_for_now_comes_again_whole_and_nothing_is_committed_before() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = topic_of(kafka, 100).await?;
    let script = Script::new();
    let refusals = AtomicU32::new(0);
    script.on_put(move |records, context| {
        if !records.is_empty() && refusals.fetch_add(1, Ordering::Relaxed) < 3 {
            context.retry_after(Duration::from_millis(20));
            context.request_commit();
            return Err(Error::retriable("not now"));
        }
        Ok(())
    });
    let task = Running::start(kafka, &script, &[("topics", &topic)])?;
    wait_until("all delivered", SOON, async || Ok(script.delivered().len() == 100)).await?;
    let distinct: BTreeSet<_> = script.delivered().iter().map(|d| (d.partition, d.offset)).collect();
    ensure!(distinct.len() == 100, "each once: {}", distinct.len());
    ensure!(script.commits_asked().iter().flatten().all(|(_, offset)| *offset > 0), "nothing undelivered was offered for commit");
    task.stop().await;
    Ok(())
}

#[tokio::test]
async fn poison_goes_to_the_dead_letters_and_the_rest_passes() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = topic_of(kafka, 10).await?;
    kafka.produce_values(&topic, ["{\"n\":", "not json at all"]).await?;
    kafka.produce_values(&topic, ["{\"n\":10}"]).await?;
    let dead = unique("dead");
    let script = Script::new();
    let task = Running::start(
        kafka,
        &script,
        &[
            ("topics", &topic),
            ("errors.tolerance", "all"),
            ("errors.deadletterqueue.topic.name", &dead),
            ("errors.deadletterqueue.topic.replication.factor", "1"),
            ("errors.deadletterqueue.context.headers.enable", "true"),
        ],
    )?;
    wait_until("the good ones delivered", SOON, async || Ok(script.delivered().len() == 11)).await?;
    task.stop().await;
    let letters = kafka.read(&dead).await?;
    ensure!(letters.len() == 2, "{letters:?}");
    let values: BTreeSet<_> = letters.iter().map(|m| m.value.clone().unwrap_or_default()).collect();
    ensure!(values == BTreeSet::from([b"{\"n\":".to_vec(), b"not json at all".to_vec()]), "untouched: {values:?}");
    for letter in &letters {
        let header = |name: &str| letter.header(&format!("__connect.errors.{name}"));
        ensure!(header("topic").as_deref() == Some(topic.as_str()));
        ensure!(header("stage").as_deref() == Some("VALUE_CONVERTER"));
        ensure!(header("connector.name").as_deref() == Some(task.name.as_str()));
        ensure!(header("task.id").as_deref() == Some("0"));
        ensure!(header("exception.class.name").is_some_and(|class| class.ends_with("DataException")));
    }
    ensure!(kafka.lag(&task_group(&task.name), &topic).await? == 0, "dead letters count as settled");
    Ok(())
}

#[tokio::test]
async fn without_tolerance_poison_ends_the_task_and_is_not_passed_over() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("sink");
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, ["{}", "poison", "{}"]).await?;
    let script = Script::new();
    let task = Running::start(kafka, &script, &[("topics", &topic), ("consumer.override.max.poll.records", "1")])?;
    let trace = task.failure(SOON).await?;
    ensure!(trace.contains("Tolerance exceeded in error handler"), "{trace}");
    ensure!(trace.contains(&format!("{topic}-0 offset 1")) && trace.contains("errors.tolerance=all"), "{trace}");
    let committed = kafka.committed(&task_group(&task.name), &topic).await?;
    ensure!(committed.get(&0).is_none_or(|offset| *offset <= 1), "the poison record was passed over: {committed:?}");
    Ok(())
}

#[tokio::test]
async fn records_the_sink_reports_are_settled_like_any_failure() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = topic_of(kafka, 50).await?;
    let dead = unique("dead");
    let script = Script::new();
    script.on_put(|records, context| {
        for record in records.iter().filter(|r| r.origin.offset % 10 == 0) {
            context.report(record.origin.clone(), Error::data("value does not fit the column"));
        }
        Ok(())
    });
    let task = Running::start(
        kafka,
        &script,
        &[
            ("topics", &topic),
            ("errors.tolerance", "all"),
            ("errors.deadletterqueue.topic.name", &dead),
            ("errors.deadletterqueue.topic.replication.factor", "1"),
        ],
    )?;
    wait_until("all delivered", SOON, async || Ok(script.delivered().len() == 50)).await?;
    task.stop().await;
    let reported = script.delivered().iter().filter(|d| d.offset % 10 == 0).count();
    ensure!(kafka.read(&dead).await?.len() == reported);
    Ok(())
}

#[tokio::test]
async fn commits_go_by_origin_whatever_transforms_do_to_the_topic() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = topic_of(kafka, 20).await?;
    let script = Script::new();
    let task = Running::start(
        kafka,
        &script,
        &[
            ("topics", &topic),
            ("transforms", "route"),
            ("transforms.route.type", "org.apache.kafka.connect.transforms.RegexRouter"),
            ("transforms.route.regex", ".*"),
            ("transforms.route.replacement", "elsewhere"),
        ],
    )?;
    wait_until("all delivered", SOON, async || Ok(script.delivered().len() == 20)).await?;
    ensure!(script.delivered().iter().all(|d| d.topic == "elsewhere"));
    task.stop().await;
    ensure!(kafka.lag(&task_group(&task.name), &topic).await? == 0);
    Ok(())
}

#[tokio::test]
async fn only_what_the_sink_calls_durable_is_committed() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("sink");
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, (0..30).map(|n| n.to_string())).await?;
    let script = Script::new();
    script.on_pre_commit(|put| put.iter().map(|(p, offset)| (p.clone(), (*offset).min(7))).collect());
    let task = Running::start(kafka, &script, &[("topics", &topic)])?;
    wait_until("all delivered", SOON, async || Ok(script.delivered().len() == 30)).await?;
    task.stop().await;
    ensure!(kafka.committed(&task_group(&task.name), &topic).await?[&0] == 7);
    Ok(())
}

#[tokio::test]
async fn a_sink_may_start_elsewhere_than_at_the_committed_offset() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("sink");
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, (0..30).map(|n| n.to_string())).await?;
    let script = Script::new();
    script.on_open(|partitions, context| {
        for partition in partitions {
            context.seek(partition.clone(), 25);
        }
        Ok(())
    });
    let task = Running::start(kafka, &script, &[("topics", &topic)])?;
    wait_until("the rest delivered", SOON, async || Ok(script.delivered().len() >= 5)).await?;
    let offsets: Vec<_> = script.delivered().iter().map(|d| d.offset).collect();
    ensure!(offsets == (25..30).collect::<Vec<_>>(), "{offsets:?}");
    task.stop().await;
    Ok(())
}

/// The group's lag stayed as it was when a sink knew at its start that everything is durable already.
#[tokio::test]
async fn a_start_behind_the_last_record_is_committed() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("sink");
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, (0..30).map(|n| n.to_string())).await?;
    let script = Script::new();
    script.on_open(|partitions, context| {
        for partition in partitions {
            context.seek(partition.clone(), 30);
        }
        Ok(())
    });
    let task = Running::start(kafka, &script, &[("topics", &topic)])?;
    let group = task_group(&task.name);
    wait_until("lag 0", SOON, async || Ok(kafka.lag(&group, &topic).await? == 0)).await?;
    ensure!(script.delivered().is_empty());
    task.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_task_that_vanishes_loses_nothing() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = topic_of(kafka, 200).await?;
    let script = Script::new();
    let (taken, full) = (AtomicU32::new(0), Arc::new(AtomicBool::new(true)));
    let still_full = full.clone();
    script.on_put(move |records, _context| {
        let before = taken.fetch_add(records.len() as u32, Ordering::Relaxed);
        if before >= 50 && still_full.load(Ordering::Relaxed) { Err(Error::retriable("full for now")) } else { Ok(()) }
    });
    let first = Running::start(kafka, &script, &[("topics", &topic), ("consumer.override.max.poll.records", "10")])?;
    wait_until("some delivered", SOON, async || Ok(script.delivered().len() >= 50)).await?;
    let name = first.name.clone();
    drop(first);
    ensure!(script.delivered().len() < 200, "the first task was to end half way");
    full.store(false, Ordering::Relaxed);
    let second = Running::start_as(&name, kafka, &script, &[("topics", &topic)])?;
    wait_until("all delivered", SOON, async || {
        Ok(script.delivered().iter().map(|d| (d.partition, d.offset)).collect::<BTreeSet<_>>().len() == 200)
    })
    .await?;
    second.stop().await;
    ensure!(kafka.lag(&task_group(&name), &topic).await? == 0);
    Ok(())
}

#[tokio::test]
async fn two_tasks_share_the_partitions_and_take_over_from_each_other() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = topic_of(kafka, 100).await?;
    let script = Script::new();
    let name = unique("pair");
    let zero = Running::start_task(&name, 0, kafka, &script, &[("topics", &topic)])?;
    wait_until("all delivered by the first", SOON, async || Ok(script.delivered().len() == 100)).await?;
    let one = Running::start_task(&name, 1, kafka, &script, &[("topics", &topic)])?;
    wait_until("one partition each", SOON, async || Ok(script.open_by(0).len() == 1 && script.open_by(1).len() == 1)).await?;
    zero.stop().await;
    wait_until("all partitions with the second", SOON, async || Ok(script.open_by(1).len() == 2)).await?;
    kafka.produce_values(&topic, (0..20).map(|n| n.to_string())).await?;
    wait_until("the new ones delivered", SOON, async || Ok(script.delivered().len() >= 120)).await?;
    one.stop().await;
    ensure!(
        script.delivered().len() == 120,
        "a rebalance without a failure delivers nothing twice: {}",
        script.delivered().len()
    );
    ensure!(kafka.lag(&task_group(&name), &topic).await? == 0);
    Ok(())
}

#[tokio::test]
async fn a_paused_task_keeps_its_place_and_goes_on() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = topic_of(kafka, 10).await?;
    let script = Script::new();
    let task = Running::start(kafka, &script, &[("topics", &topic)])?;
    wait_until("all delivered", SOON, async || Ok(script.delivered().len() == 10)).await?;
    task.handle.pause();
    task.event(SOON, |event| *event == Event::Paused).await?;
    kafka.produce_values(&topic, ["{}"]).await?;
    // Another task of the same broker delivers meanwhile, so time enough has passed for this one to have done it too.
    let other = Script::new();
    let witness = Running::start(kafka, &other, &[("topics", &topic)])?;
    wait_until("the witness has it", SOON, async || Ok(other.delivered().len() == 11)).await?;
    ensure!(script.delivered().len() == 10, "a paused task delivered");
    task.handle.resume();
    wait_until("it goes on", SOON, async || Ok(script.delivered().len() == 11)).await?;
    ensure!(task.stop().await && witness.stop().await);
    Ok(())
}

#[tokio::test]
async fn a_sink_that_goes_back_gets_the_records_again() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("sink");
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, (0..10).map(|n| n.to_string())).await?;
    let script = Script::new();
    let rewound = AtomicU32::new(0);
    let partition = TopicPartition { topic: topic.as_str().into(), partition: 0 };
    script.on_put(move |records, context| {
        if records.iter().any(|r| r.origin.offset == 9) && rewound.fetch_add(1, Ordering::Relaxed) == 0 {
            context.seek(partition.clone(), 4);
        }
        Ok(())
    });
    let task = Running::start(kafka, &script, &[("topics", &topic)])?;
    wait_until("again from 4", SOON, async || Ok(script.delivered().len() == 16)).await?;
    task.stop().await;
    let committed: Offsets = script.commits_asked().into_iter().flatten().collect();
    ensure!(committed.values().all(|offset| *offset == 10), "{committed:?}");
    Ok(())
}

fn task_group(connector: &str) -> String {
    format!("connect-{connector}")
}
