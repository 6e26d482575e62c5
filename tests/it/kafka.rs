//! Consumers, producers and administration against a real broker.

use anyhow::{Context, Result, bail, ensure};
use penstock::kafka::admin::GroupChange;
use penstock::kafka::{Admin, Connection, Consumer, Departure, NewTopic, Outgoing, Polled, Producer, TopicSelection, settings};
use penstock_api::record::RawHeader;
use penstock_api::{Offsets, Props, RawRecord, TimestampType, TopicPartition};
use penstock_tests::kafka::NewRecord;
use penstock_tests::{Kafka, unique, wait_until};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

fn props(kafka: &Kafka, more: &[(&str, &str)]) -> Props {
    let base = [("bootstrap.servers", kafka.bootstrap())];
    base.iter().chain(more).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn consumer(kafka: &Kafka, group: &str, topics: TopicSelection, more: &[(&str, &str)]) -> Result<Consumer> {
    let more = [&[("group.id", group), ("metadata.max.age.ms", "500")], more].concat();
    Ok(Consumer::new(settings::consumer("test", &props(kafka, &more))?, topics)?)
}

fn admin(kafka: &Kafka) -> Result<Admin> {
    Ok(Admin::new(settings::admin("test", &props(kafka, &[]))?)?)
}

fn one(topic: &str) -> TopicSelection {
    TopicSelection::List(vec![topic.into()])
}

fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

fn numbered(from: i64, to: i64, partitions: i64) -> impl Iterator<Item = NewRecord> {
    (from..to).map(move |n| NewRecord {
        value: Some(n.to_string().into_bytes()),
        partition: i32::try_from(n % partitions).ok(),
        ..NewRecord::default()
    })
}

/// A consumer and what it has seen. Changes of the group are answered at once.
struct Reader {
    consumer: Consumer,
    seen: Vec<RawRecord>,
    changes: Vec<String>,
    lost: usize,
}

impl Reader {
    fn new(consumer: Consumer) -> Self {
        Self { consumer, seen: Vec::new(), changes: Vec::new(), lost: 0 }
    }

    async fn turn(&mut self) -> Result<()> {
        match self.consumer.poll(POLL).await? {
            Polled::Nothing => {}
            Polled::Records(records) => {
                let owned: BTreeSet<_> = self.consumer.assignment().cloned().collect();
                for record in records.iter() {
                    let from = partition(&record.topic, record.partition);
                    ensure!(owned.contains(&from), "a record of {from}, which is not ours");
                }
                self.seen.extend(records.iter().cloned());
            }
            Polled::Assigned(partitions) => {
                self.changes.push(format!("+{}", partitions.len()));
                self.consumer.accept(&Offsets::new())?;
            }
            Polled::Revoked(partitions) => {
                self.changes.push(format!("-{}", partitions.len()));
                self.commit().await?;
                self.consumer.release()?;
            }
            Polled::Lost(partitions) => {
                self.lost += partitions.len();
                self.consumer.release()?;
            }
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        let owned: Vec<_> = self.consumer.assignment().cloned().collect();
        let offsets = owned.into_iter().filter_map(|p| Some((p.clone(), self.consumer.position(&p)?))).collect();
        Ok(self.consumer.commit(&offsets).await?)
    }

    async fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) -> Result<()> {
        let start = Instant::now();
        while !done(self) {
            if start.elapsed() > SOON {
                bail!("{what}: not after {SOON:?}; {} records, changes {:?}", self.seen.len(), self.changes);
            }
            self.turn().await?;
        }
        Ok(())
    }

    async fn until_records(&mut self, count: usize) -> Result<()> {
        self.until(&format!("{count} records"), |r| r.seen.len() >= count).await
    }

    fn values(&self) -> Vec<i64> {
        self.seen.iter().map(|r| std::str::from_utf8(r.value.as_ref().unwrap()).unwrap().parse().unwrap()).collect()
    }

    fn owned(&self) -> usize {
        self.consumer.assignment().len()
    }
}

/// Polls several readers in turn.
async fn until_all(readers: &mut [Reader], what: &str, mut done: impl FnMut(&[Reader]) -> bool) -> Result<()> {
    let start = Instant::now();
    while !done(readers) {
        if start.elapsed() > SOON {
            bail!("{what}: not after {SOON:?}: {:?}", readers.iter().map(|r| (r.owned(), &r.changes)).collect::<Vec<_>>());
        }
        for reader in &mut *readers {
            reader.turn().await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_arrive_as_they_were_written() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("raw");
    kafka.create_topic(&topic, 1).await?;
    let headers = vec![("a".to_owned(), Some(b"1".to_vec())), ("a".to_owned(), None), ("b".to_owned(), Some(Vec::new()))];
    let full = NewRecord {
        key: Some(b"k".to_vec()),
        value: Some(b"v".to_vec()),
        headers,
        partition: Some(0),
        timestamp_ms: Some(1_700_000_000_123),
    };
    let tombstone = NewRecord { key: Some(b"k".to_vec()), partition: Some(0), ..NewRecord::default() };
    let empty = NewRecord { key: Some(Vec::new()), value: Some(Vec::new()), partition: Some(0), ..NewRecord::default() };
    kafka.produce(&topic, [full.clone(), tombstone, empty, full]).await?;

    let mut reader = Reader::new(consumer(kafka, &unique("g"), one(&topic), &[])?);
    reader.until_records(4).await?;
    let [first, tombstone, empty, last] = &reader.seen[..] else { bail!("four records") };
    assert_eq!((first.offset, first.key.as_deref(), first.value.as_deref()), (0, Some(&b"k"[..]), Some(&b"v"[..])));
    assert_eq!((first.timestamp, first.timestamp_type), (Some(1_700_000_000_123), TimestampType::CreateTime));
    for record in [first, last] {
        let headers: Vec<_> = record.headers.iter().flatten().map(|h| (h.key.as_str(), h.value.as_deref())).collect();
        assert_eq!(headers, [("a", Some(&b"1"[..])), ("a", None), ("b", Some(&b""[..]))]);
    }
    assert!(tombstone.headers.is_none() && tombstone.value.is_none());
    assert_eq!((empty.key.as_deref(), empty.value.as_deref()), (Some(&b""[..]), Some(&b""[..])));
    assert!(Arc::ptr_eq(&first.topic, &last.topic), "names are shared");
    reader.consumer.close(Departure::Leave).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_append_time_is_told_as_such() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("append");
    kafka.create_topic_with(&topic, 1, &[("message.timestamp.type", "LogAppendTime")]).await?;
    kafka.produce_values(&topic, ["1"]).await?;
    let mut reader = Reader::new(consumer(kafka, &unique("g"), one(&topic), &[])?);
    reader.until_records(1).await?;
    assert_eq!(reader.seen[0].timestamp_type, TimestampType::LogAppendTime);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_move_between_two_consumers_and_nothing_is_lost_or_read_twice() -> Result<()> {
    for strategy in ["CooperativeStickyAssignor", "RangeAssignor"] {
        let kafka = Kafka::shared().await?;
        let (topic, group) = (unique("moving"), unique("g"));
        kafka.create_topic(&topic, 4).await?;
        kafka.produce(&topic, numbered(0, 4_000, 4)).await?;
        let join = || consumer(kafka, &group, one(&topic), &[("partition.assignment.strategy", strategy)]).map(Reader::new);

        let mut readers = vec![join()?];
        until_all(&mut readers, "the first has all", |r| r[0].owned() == 4 && r[0].seen.len() >= 1_000).await?;
        readers.push(join()?);
        until_all(&mut readers, "each has half", |r| r.iter().all(|r| r.owned() == 2)).await?;
        kafka.produce(&topic, numbered(4_000, 6_000, 4)).await?;
        let total = |r: &[Reader]| r.iter().map(|r| r.seen.len()).sum::<usize>();
        until_all(&mut readers, "all records", |r| total(r) >= 6_000).await?;
        let mut first = readers.remove(0);
        first.commit().await?;
        let mut values = first.values();
        first.consumer.close(Departure::Leave).await;
        until_all(&mut readers, "the second has all", |r| r[0].owned() == 4).await?;
        kafka.produce(&topic, numbered(6_000, 6_400, 4)).await?;
        until_all(&mut readers, "the last records", |r| values.len() + r[0].seen.len() >= 6_400).await?;
        values.extend(readers[0].values());
        values.sort_unstable();
        // Each move was committed up to the last record handed out, so every record was read once.
        assert!(values == (0..6_400).collect::<Vec<_>>(), "{strategy}: {} values, {:?}", values.len(), readers[0].changes);
        if strategy == "CooperativeStickyAssignor" {
            assert!(readers[0].changes.iter().all(|c| c != "-2"), "siblings are undisturbed: {:?}", readers[0].changes);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_waits_until_the_task_has_committed() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let (topic, group) = (unique("wait"), unique("g"));
    kafka.create_topic(&topic, 2).await?;
    kafka.produce(&topic, numbered(0, 100, 2)).await?;
    let mut first = Reader::new(consumer(kafka, &group, one(&topic), &[])?);
    first.until_records(100).await?;
    let mut second = Reader::new(consumer(kafka, &group, one(&topic), &[])?);
    let start = Instant::now();
    let revoked = loop {
        ensure!(start.elapsed() < SOON, "no revocation");
        second.turn().await?;
        if let Polled::Revoked(revoked) = first.consumer.poll(POLL).await? {
            break revoked;
        }
    };
    // While the first flushes, the second must not get the partition.
    for _ in 0..20 {
        second.turn().await?;
        assert_eq!(second.owned(), 0);
    }
    let offsets: Offsets = revoked.iter().map(|p| (p.clone(), 50)).collect();
    first.consumer.commit(&offsets).await?;
    first.consumer.release()?;
    let mut both = [first, second];
    until_all(&mut both, "the second has it", |r| r[1].owned() == 1).await?;
    assert_eq!(both[1].seen.len(), 0, "it begins behind what the first committed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_is_succeeded_without_a_rebalance_and_fenced_by_its_successor() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let (topic, group) = (unique("static"), unique("g"));
    kafka.create_topic(&topic, 2).await?;
    let join = |instance: &str| {
        let more = [("group.instance.id", instance), ("session.timeout.ms", "60000"), ("heartbeat.interval.ms", "200")];
        consumer(kafka, &group, one(&topic), &more).map(Reader::new)
    };
    let mut readers = vec![join("task-0")?, join("task-1")?];
    until_all(&mut readers, "one each", |r| r.iter().all(|r| r.owned() == 1)).await?;
    let before = readers[0].changes.clone();

    // Killed: dropped without a word. Its successor reads at once, and the sibling notices nothing.
    drop(readers.pop());
    readers.push(join("task-1")?);
    let start = Instant::now();
    until_all(&mut readers, "the successor has its partition", |r| r[1].owned() == 1).await?;
    assert!(start.elapsed() < Duration::from_secs(45), "took {:?}, so it waited for the session", start.elapsed());
    assert_eq!(readers[0].changes, before);

    // A second one of the same name takes the place; the first learns that it must stop.
    let mut usurper = join("task-1")?;
    usurper.until("the usurper has it", |r| r.owned() == 1).await?;
    let mut fenced = readers.pop().context("the fenced one")?;
    let start = Instant::now();
    let error = loop {
        ensure!(start.elapsed() < SOON, "it was never fenced");
        if let Err(error) = fenced.turn().await {
            break format!("{error:#}");
        }
    };
    assert!(error.contains("taken the place of task-1") && error.contains(&group), "{error}");

    // Leaving for good gives the partition away at once.
    usurper.consumer.close(Departure::Leave).await;
    let start = Instant::now();
    until_all(&mut readers, "the other has all", |r| r[0].owned() == 2).await?;
    assert!(start.elapsed() < Duration::from_secs(45), "took {:?}, so it waited for the session", start.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn seeks_hold_right_after_assignment_and_in_full_flow() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("seek");
    kafka.create_topic(&topic, 2).await?;
    kafka.produce(&topic, numbered(0, 20_000, 2)).await?;
    let mut consumer = consumer(kafka, &unique("g"), one(&topic), &[])?;
    // Begin where the sink says, not where the group does.
    loop {
        if let Polled::Assigned(partitions) = consumer.poll(POLL).await? {
            let starts = consumer.start_offsets(&partitions).await?;
            assert_eq!(starts.values().copied().collect::<Vec<_>>(), [0, 0]);
            consumer.accept(&Offsets::from([(partition(&topic, 0), 9_000)]))?;
            // And change one's mind at once.
            consumer.seek(&Offsets::from([(partition(&topic, 1), 8_000)])).await?;
            break;
        }
    }
    let mut next = BTreeMap::from([(0, 9_000), (1, 8_000)]);
    let mut jumps = [(0, 100), (1, 9_900), (0, 5_000), (1, 5), (0, 5_001)].into_iter();
    let start = Instant::now();
    while next != BTreeMap::from([(0, 10_000), (1, 10_000)]) {
        ensure!(start.elapsed() < SOON, "stuck at {next:?}");
        let Polled::Records(records) = consumer.poll(POLL).await? else { continue };
        for record in records.iter() {
            let expected = next.get_mut(&record.partition).context("a partition of ours")?;
            assert_eq!(record.offset, *expected, "partition {}", record.partition);
            *expected += 1;
        }
        if let Some((p, offset)) = jumps.next() {
            consumer.seek(&Offsets::from([(partition(&topic, p), offset)])).await?;
            next.insert(p, offset);
        }
    }
    assert!(jumps.next().is_none(), "all jumps were made");
    assert_eq!(consumer.lag_max(), Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_consumer_stays_a_member_and_goes_on_where_it_was() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("pause");
    kafka.create_topic(&topic, 1).await?;
    kafka.produce(&topic, numbered(0, 3_000, 1)).await?;
    let more = [("max.poll.interval.ms", "6000"), ("session.timeout.ms", "6000"), ("max.poll.records", "100")];
    let mut reader = Reader::new(consumer(kafka, &unique("g"), one(&topic), &more)?);
    reader.until_records(100).await?;
    reader.consumer.pause(&[partition(&topic, 0)])?;
    let (seen, start) = (reader.seen.len(), Instant::now());
    while start.elapsed() < Duration::from_secs(8) {
        reader.turn().await?;
    }
    assert_eq!((reader.seen.len(), reader.lost), (seen, 0));
    reader.consumer.resume(&[partition(&topic, 0)])?;
    reader.until_records(3_000).await?;
    assert_eq!(reader.values(), (0..3_000).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn new_topics_of_a_pattern_are_found() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let name = unique("regex");
    // Java's dialect: a look-behind, which librdkafka's own patterns do not have.
    let pattern = format!("^(?:{name}\\.(?:\\w+)(?<!skip))$");
    let topics = TopicSelection::Regex(pattern.clone(), Arc::new(fancy_regex(&pattern)));
    let mut reader = Reader::new(consumer(kafka, &unique("g"), topics, &[])?);
    for _ in 0..10 {
        reader.turn().await?;
    }
    for topic in ["a", "b", "skip"] {
        let topic = format!("{name}.{topic}");
        kafka.create_topic(&topic, 1).await?;
        kafka.produce(&topic, numbered(0, 10, 1)).await?;
        if topic.ends_with(".a") {
            reader.until_records(10).await?;
        }
    }
    reader.until_records(20).await?;
    let topics: BTreeSet<_> = reader.seen.iter().map(|r| r.topic.to_string()).collect();
    assert_eq!(topics, BTreeSet::from([format!("{name}.a"), format!("{name}.b")]));
    Ok(())
}

fn fancy_regex(pattern: &str) -> fancy_regex::Regex {
    fancy_regex::Regex::new(pattern).expect("a valid pattern")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_in_the_middle_costs_nothing_but_time() -> Result<()> {
    let mut kafka = Kafka::start().await?;
    let topic = unique("outage");
    kafka.create_topic(&topic, 2).await?;
    kafka.produce(&topic, numbered(0, 5_000, 2)).await?;
    let mut reader = Reader::new(consumer(&kafka, "g", one(&topic), &[("max.poll.records", "100")])?);
    reader.until_records(1_000).await?;
    let sender = Producer::new(settings::producer("test", &props(&kafka, &[]))?)?;
    kafka.kill();
    reader.until("the outage is noticed", |r| matches!(r.consumer.connection(), Connection::Down { .. })).await?;
    let record = Outgoing {
        topic: topic.as_str().into(),
        partition: Some(0),
        key: None,
        value: Some("5000".into()),
        headers: vec![RawHeader { key: "h".into(), value: None }],
        timestamp: Some(77),
    };
    let waiting = sender.send(&record).await?;
    kafka.restart().await?;
    assert!(waiting.await?.offset >= 2_500);
    reader.until_records(5_001).await?;
    let mut values = reader.values();
    values.sort_unstable();
    assert_eq!(values, (0..=5_000).collect::<Vec<_>>());
    reader.until("the broker is back", |r| matches!(r.consumer.connection(), Connection::Up)).await?;
    reader.commit().await?;
    assert_eq!(kafka.committed("g", &topic).await?.values().sum::<i64>(), 5_001);
    reader.consumer.close(Departure::Leave).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_a_group_are_listed_altered_and_deleted() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let admin = admin(kafka)?;
    let (topic, group) = (unique("admin"), unique("g"));
    let configs = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
    let new = NewTopic { name: topic.clone(), partitions: 2, replication_factor: 1, configs };
    assert!(admin.create_topic(&new).await?);
    assert!(!admin.create_topic(&new).await?);
    wait_until("the topic is known", SOON, async || Ok(admin.partitions(&topic).await? == Some(2))).await?;
    assert_eq!(admin.topic_configs(&topic).await?.get("cleanup.policy").map(String::as_str), Some("compact"));
    assert_eq!(admin.partitions(&unique("nowhere")).await?, None);
    assert!(!admin.cluster_id().await?.is_empty());

    assert_eq!(admin.group_offsets(&group).await?, Offsets::new());
    let offsets = Offsets::from([(partition(&topic, 0), 3), (partition(&topic, 1), 4)]);
    assert_eq!(admin.alter_group_offsets(&group, &offsets).await?, GroupChange::Done);
    assert_eq!(admin.group_offsets(&group).await?, offsets);
    assert_eq!(admin.delete_group_offsets(&group, &[partition(&topic, 0)]).await?, GroupChange::Done);
    assert_eq!(admin.group_offsets(&group).await?, Offsets::from([(partition(&topic, 1), 4)]));

    let mut member = Reader::new(consumer(kafka, &group, one(&topic), &[])?);
    member.until("it is a member", |r| r.owned() == 2).await?;
    assert_eq!(admin.delete_group(&group).await?, GroupChange::HasMembers);
    assert_eq!(admin.alter_group_offsets(&group, &offsets).await?, GroupChange::HasMembers);
    assert_eq!(admin.delete_group_offsets(&group, &[partition(&topic, 1)]).await?, GroupChange::HasMembers);
    member.consumer.close(Departure::Leave).await;
    for _ in 0..2 {
        assert_eq!(admin.delete_group(&group).await?, GroupChange::Done);
    }
    assert_eq!(admin.group_offsets(&group).await?, Offsets::new());

    let too_many = NewTopic { name: unique("wide"), partitions: 1, replication_factor: 3, configs: BTreeMap::new() };
    let refused = admin.create_topic(&too_many).await.unwrap_err();
    assert!(refused.to_string().contains("fewer than 3 brokers"), "{refused:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_large_is_refused_for_good() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let topic = unique("large");
    kafka.create_topic_with(&topic, 1, &[("max.message.bytes", "2000")]).await?;
    let sender = Producer::new(settings::producer("test", &props(kafka, &[]))?)?;
    let record = |bytes: usize| Outgoing {
        topic: topic.as_str().into(),
        partition: None,
        key: None,
        value: Some(vec![b'x'; bytes].into()),
        headers: Vec::new(),
        timestamp: None,
    };
    let outcomes = sender.send_all(&[record(10), record(5_000), record(10)]).await;
    let kinds: Vec<_> = outcomes.iter().map(|o| o.as_ref().err().map(penstock_api::Error::kind)).collect();
    assert_eq!(kinds[1], Some(penstock_api::ErrorKind::Data), "{outcomes:?}");
    sender.flush(SOON).await?;
    assert_eq!(sender.in_flight(), 0);
    Ok(())
}
