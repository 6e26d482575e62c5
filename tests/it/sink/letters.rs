//! Dead letters: none lost, whatever dies, and each once as long as nothing does; over rebalances, rewinds, pauses and stops.

use anyhow::{Context, Result, ensure};
use penstock_api::{Error, Offsets, TopicPartition};
use penstock_tests::kafka::NewRecord;
use penstock_tests::{Kafka, Message, unique, wait_until};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::script::{Flushing, Running, Script};
use super::{SOON, task_group};

/// Everything tolerated, letters with headers to `dead`.
fn tolerant<'a>(topic: &'a str, dead: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("topics", topic),
        ("errors.tolerance", "all"),
        ("errors.deadletterqueue.topic.name", dead),
        ("errors.deadletterqueue.topic.replication.factor", "1"),
        ("errors.deadletterqueue.context.headers.enable", "true"),
        ("consumer.override.max.poll.records", "20"),
    ]
}

fn with_poison(numbers: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    numbers.map(|n| if n % 10 == 3 { format!("poison {n}") } else { format!("{{\"n\":{n}}}") })
}

/// A sink that makes 100 records of a partition durable at a time, or fewer when it is flushed; `flushes` says whether it does that.
fn holds_back(script: &Script, flushes: bool) {
    let flushed: Arc<Mutex<BTreeSet<TopicPartition>>> = Arc::default();
    let asked = flushed.clone();
    script.on_flush(move |partitions| {
        if flushes {
            asked.lock().unwrap().extend(partitions.iter().cloned());
        }
        Flushing::Done
    });
    let mut durable = Offsets::new();
    script.on_pre_commit(move |put| {
        for (partition, offset) in put {
            let is_flushed = flushed.lock().unwrap().remove(partition);
            let reached = if is_flushed { *offset } else { offset - offset % 100 };
            let known = durable.entry(partition.clone()).or_insert(0);
            *known = reached.max(*known);
        }
        durable.iter().filter(|(partition, _)| put.contains_key(partition)).map(|(p, o)| (p.clone(), *o)).collect()
    });
}

/// The records that the letters tell of.
async fn places(kafka: &Kafka, dead: &str) -> Result<Vec<(i32, i64)>> {
    let place = |letter: &Message| {
        let header = |name: &str| letter.header(&format!("__connect.errors.{name}")).context("a header is missing");
        anyhow::Ok((header("partition")?.parse()?, header("offset")?.parse()?))
    };
    let mut places = kafka.read(dead).await?.iter().map(place).collect::<Result<Vec<_>>>()?;
    places.sort_unstable();
    Ok(places)
}

async fn each_once(kafka: &Kafka, dead: &str, expected: usize) -> Result<()> {
    let places = places(kafka, dead).await?;
    let distinct: BTreeSet<_> = places.iter().collect();
    ensure!(
        places.len() == distinct.len(),
        "{} of {} letters are written twice: {places:?}",
        places.len() - distinct.len(),
        places.len()
    );
    ensure!(places.len() == expected, "{} letters instead of {expected}", places.len());
    Ok(())
}

fn distinct(script: &Script) -> usize {
    script.delivered().iter().map(|d| (d.partition, d.offset)).collect::<BTreeSet<_>>().len()
}

/// Letters of records that were settled but not yet durable were written by the first task, and again by the second.
async fn over_rebalances(flushes: bool) -> Result<()> {
    const BEFORE: usize = 8_000;
    const ALL: usize = 10_000;
    let kafka = Kafka::shared().await?;
    let (topic, dead) = (unique("sink"), unique("dead"));
    kafka.create_topic(&topic, 4).await?;
    kafka.produce_values(&topic, with_poison(0..BEFORE)).await?;
    let script = Script::new();
    holds_back(&script, flushes);
    script.on_put(|records, _| {
        if !records.is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    });
    let config = tolerant(&topic, &dead);
    let name = unique("pair");
    let zero = Running::start_task(&name, 0, kafka, &script, &config)?;
    wait_until("some delivered", SOON, async || Ok(script.delivered().len() > 500)).await?;
    // The second comes, goes, and comes again, while records flow.
    let one = Running::start_task(&name, 1, kafka, &script, &config)?;
    wait_until("two partitions each", SOON, async || Ok(script.open_by(0).len() == 2 && script.open_by(1).len() == 2)).await?;
    ensure!(distinct(&script) < BEFORE * 9 / 10, "nothing was left to flow when the partitions moved");
    ensure!(one.stop().await);
    wait_until("all with the first", SOON, async || Ok(script.open_by(0).len() == 4)).await?;
    kafka.produce_values(&topic, with_poison(BEFORE..ALL)).await?;
    let one = Running::start_task(&name, 1, kafka, &script, &config)?;
    wait_until("two partitions each", SOON, async || Ok(script.open_by(1).len() == 2)).await?;
    wait_until("all delivered", SOON * 2, async || Ok(distinct(&script) == ALL * 9 / 10)).await?;
    // At last everything is durable, as by more records or by the clock.
    script.on_pre_commit(Clone::clone);
    ensure!(zero.stop().await && one.stop().await);
    ensure!(kafka.lag(&task_group(&name), &topic).await? == 0);
    if flushes {
        ensure!(script.delivered().len() == ALL * 9 / 10, "flushed partitions move without delivering anything again");
    }
    each_once(kafka, &dead, ALL / 10).await
}

#[tokio::test]
async fn every_letter_is_written_once_over_rebalances() -> Result<()> {
    over_rebalances(true).await
}

#[tokio::test]
async fn every_letter_is_written_once_even_if_the_sink_cannot_flush() -> Result<()> {
    over_rebalances(false).await
}

/// A sink that sent a partition back (Snowflake: somebody else has changed the table) had the letters behind it written twice: the
/// demo's `duplicated=3`.
#[tokio::test]
async fn records_that_come_again_leave_one_letter() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let (topic, dead) = (unique("sink"), unique("dead"));
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, with_poison(0..100)).await?;
    let script = Script::new();
    let partition = TopicPartition { topic: topic.as_str().into(), partition: 0 };
    let (times, durable) = (AtomicU32::new(0), Arc::new(AtomicBool::new(false)));
    let is_durable = durable.clone();
    script.on_put(move |records, context| {
        context.request_commit();
        if records.iter().any(|r| r.origin.offset == 99) {
            if times.fetch_add(1, Ordering::Relaxed) < 3 {
                context.seek(partition.clone(), 0);
            } else {
                durable.store(true, Ordering::Relaxed);
            }
        }
        if let Some(record) = records.iter().find(|r| r.origin.offset == 50) {
            context.report(record.origin.clone(), Error::data("does not fit"));
        }
        Ok(())
    });
    script.on_pre_commit(move |put| {
        if is_durable.load(Ordering::Relaxed) { put.clone() } else { put.keys().map(|p| (p.clone(), 0)).collect() }
    });
    let task = Running::start(kafka, &script, &tolerant(&topic, &dead))?;
    let group = task_group(&task.name);
    wait_until("all committed", SOON, async || Ok(kafka.lag(&group, &topic).await? == 0)).await?;
    task.stop().await;
    // The one that was reported has its letter, and does not come again.
    ensure!(script.delivered().len() == 4 * 90 - 3, "four times: {}", script.delivered().len());
    each_once(kafka, &dead, 11).await
}

/// A Snowflake that hangs must not keep the consumer from leaving its group.
#[tokio::test]
async fn a_flush_that_hangs_is_left_behind_and_nothing_is_lost_or_doubled() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let (topic, dead) = (unique("sink"), unique("dead"));
    kafka.create_topic(&topic, 2).await?;
    kafka.produce_values(&topic, with_poison(0..150)).await?;
    let script = Script::new();
    holds_back(&script, false);
    script.on_flush(|_| Flushing::Hangs);
    let config = tolerant(&topic, &dead);
    let name = unique("hangs");
    let quick = |spec: &mut penstock::task::TaskSpec| {
        spec.commit_timeout = Duration::from_secs(1);
        spec.stop_timeout = Duration::from_secs(2);
    };
    let zero = Running::start_with(&name, 0, kafka, &script, &config, quick)?;
    wait_until("all delivered", SOON, async || Ok(distinct(&script) == 135)).await?;
    // A partition moves all the same, and the task stops all the same.
    let one = Running::start_with(&name, 1, kafka, &script, &config, quick)?;
    wait_until("a partition each", SOON, async || Ok(script.open_by(0).len() == 1 && script.open_by(1).len() == 1)).await?;
    let began = Instant::now();
    ensure!(zero.stop().await && one.stop().await);
    ensure!(began.elapsed() < SOON, "stopping took {:?}", began.elapsed());
    script.on_flush(|_| Flushing::Done);
    script.on_pre_commit(Clone::clone);
    let again = Running::start_with(&name, 0, kafka, &script, &config, quick)?;
    wait_until("all committed", SOON, async || Ok(kafka.lag(&task_group(&name), &topic).await? == 0)).await?;
    ensure!(again.stop().await);
    each_once(kafka, &dead, 15).await
}

#[tokio::test]
async fn a_pause_makes_durable_what_the_sink_holds() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let (topic, dead) = (unique("sink"), unique("dead"));
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, with_poison(0..50)).await?;
    let script = Script::new();
    holds_back(&script, true);
    let task = Running::start(kafka, &script, &tolerant(&topic, &dead))?;
    wait_until("all delivered", SOON, async || Ok(script.delivered().len() == 45)).await?;
    ensure!(kafka.lag(&task_group(&task.name), &topic).await? == 50, "the sink holds everything back");
    task.handle.pause();
    wait_until("all committed", SOON, async || Ok(kafka.lag(&task_group(&task.name), &topic).await? == 0)).await?;
    each_once(kafka, &dead, 5).await?;
    ensure!(task.stop().await);
    Ok(())
}

/// With Connect's default of a minute between commits, people would look for their letters in vain.
#[tokio::test]
async fn letters_do_not_wait_for_the_commit_interval() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let (topic, dead) = (unique("sink"), unique("dead"));
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, with_poison(0..10)).await?;
    let script = Script::new();
    let hour = |spec: &mut penstock::task::TaskSpec| spec.commit_interval = Duration::from_secs(3600);
    let task = Running::start_with(&unique("soon"), 0, kafka, &script, &tolerant(&topic, &dead), hour)?;
    let written = async || Ok(kafka.has_topic(&dead).await? && kafka.read(&dead).await?.len() == 1);
    wait_until("the letter", SOON, written).await?;
    ensure!(task.stop().await);
    each_once(kafka, &dead, 1).await
}

/// A sink that keeps its offsets itself begins behind the committed one: a letter that was still under way when the process died
/// was lost, for nobody read its record again.
#[tokio::test]
async fn a_sink_that_is_ahead_of_the_commits_loses_no_letter() -> Result<()> {
    const ALL: usize = 3_000;
    let kafka = Kafka::shared().await?;
    let (topic, dead) = (unique("sink"), unique("dead"));
    kafka.create_topic(&topic, 1).await?;
    kafka.produce_values(&topic, with_poison(0..ALL)).await?;
    let script = Script::new();
    // What was put before is durable as soon as the next call comes, in the sink's own books. Kafka learns nothing of it.
    let books = Arc::new(Mutex::new((0, 0)));
    let (opened, put) = (books.clone(), books.clone());
    script.on_open(move |partitions, context| {
        let mut books = opened.lock().unwrap();
        books.1 = books.0;
        context.seek(partitions[0].clone(), books.0);
        Ok(())
    });
    script.on_put(move |records, context| {
        let mut books = put.lock().unwrap();
        books.0 = books.1;
        books.1 = records.iter().map(|r| r.origin.offset + 1).fold(books.1, i64::max);
        for record in records.iter().filter(|r| r.origin.offset % 10 == 7) {
            context.report(record.origin.clone(), Error::data("does not fit"));
        }
        Ok(())
    });
    script.on_pre_commit(|put| put.keys().map(|p| (p.clone(), 0)).collect());
    let name = unique("ahead");
    let mut config = tolerant(&topic, &dead);
    // Letters that are slow to leave: most die with their task, unless it waits for them.
    config.push(("producer.override.linger.ms", "30"));
    for life in 1..=4 {
        let task = Running::start_task(&name, 0, kafka, &script, &config)?;
        wait_until("some more delivered", SOON, async || Ok(distinct(&script) > life * 400)).await?;
        drop(task);
    }
    let last = Running::start_task(&name, 0, kafka, &script, &config)?;
    wait_until("all delivered", SOON, async || Ok(distinct(&script) == ALL * 9 / 10)).await?;
    ensure!(last.stop().await);
    let with_letter: BTreeSet<_> = places(kafka, &dead).await?.into_iter().collect();
    ensure!(with_letter.len() == ALL / 5, "{} records have a letter instead of {}", with_letter.len(), ALL / 5);
    Ok(())
}

#[tokio::test]
async fn a_letter_that_the_topic_does_not_take_stops_the_task_and_says_what_to_raise() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let (topic, dead) = (unique("sink"), unique("dead"));
    kafka.create_topic(&topic, 1).await?;
    kafka.create_topic_with(&dead, 1, &[("max.message.bytes", "2000")]).await?;
    kafka.produce_values(&topic, ["{}".to_owned(), format!("poison {}", "x".repeat(3_000))]).await?;
    let script = Script::new();
    let task = Running::start(kafka, &script, &tolerant(&topic, &dead))?;
    let trace = task.failure(SOON).await?;
    for part in [&*dead, "max.message.bytes", "producer.override.max.request.size", "restart"] {
        ensure!(trace.contains(part), "{part} is missing: {trace}");
    }
    let group = task_group(&task.name);
    ensure!(kafka.committed(&group, &topic).await?.get(&0).is_none_or(|offset| *offset <= 1), "the record was passed over");
    // Larger than the client itself would send.
    let records = [NewRecord { value: Some(vec![b'x'; 900_000]), ..NewRecord::default() }];
    let topic = unique("sink");
    kafka.create_topic(&topic, 1).await?;
    kafka.produce(&topic, records).await?;
    let mut config = tolerant(&topic, &dead);
    config.push(("producer.override.max.request.size", "100000"));
    let trace = Running::start(kafka, &script, &config)?.failure(SOON).await?;
    ensure!(trace.contains("producer.override.max.request.size"), "{trace}");
    Ok(())
}

#[tokio::test]
async fn a_letter_topic_that_cannot_be_made_is_said_at_the_start() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("sink");
    kafka.create_topic(&topic, 1).await?;
    let dead = unique("dead");
    let cases: BTreeMap<&str, (Vec<(&str, &str)>, [&str; 2])> = [
        (
            "too few brokers",
            (
                vec![("errors.deadletterqueue.topic.name", &*dead), ("errors.deadletterqueue.topic.replication.factor", "3")],
                ["errors.deadletterqueue.topic.replication.factor=3", "lower the replication factor"],
            ),
        ),
        (
            "no name of a topic",
            (
                vec![
                    ("errors.deadletterqueue.topic.name", "dead letters"),
                    ("errors.deadletterqueue.topic.replication.factor", "1"),
                ],
                ["errors.deadletterqueue.topic.name=dead letters", "InvalidTopic"],
            ),
        ),
    ]
    .into();
    for (what, (mut config, said)) in cases {
        config.extend([("topics", &*topic), ("errors.tolerance", "all")]);
        let trace = Running::start(kafka, &Script::new(), &config)?.failure(SOON).await?;
        for part in said {
            ensure!(trace.contains(part), "{what}: {part} is missing: {trace}");
        }
    }
    Ok(())
}
