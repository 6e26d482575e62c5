//! Where groups go on at the other cluster: offset syncs and checkpoints, beside Java's and each from the other's.

use anyhow::{Context, Result, ensure};
use penstock::kafka::{Admin, settings};
use penstock_api::{Offsets, TopicPartition};
use penstock_tests::{Connect, Kafka, eventually, unique, wait_until};
use std::collections::BTreeMap;

use super::{Copied, Pair, SOON, between, pair};

const CHECKPOINTS: &str = "org.apache.kafka.connect.mirror.MirrorCheckpointConnector";

pub(super) fn admin(kafka: &Kafka) -> Result<Admin> {
    let props = [("bootstrap.servers".to_owned(), kafka.bootstrap().to_owned())].into();
    Ok(Admin::new(settings::admin("test", &props)?)?)
}

/// Where the offset syncs for that target are kept.
pub(super) fn syncs_topic(target: &str) -> String {
    format!("mm2-offset-syncs.{target}.internal")
}

/// Groups commit without being there.
pub(super) async fn commit(admin: &Admin, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<()> {
    let at = |(partition, offset): &(i32, i64)| (TopicPartition { topic: topic.into(), partition: *partition }, *offset);
    let offsets: Offsets = offsets.iter().map(at).collect();
    let changed = admin.alter_group_offsets(group, &offsets).await?;
    ensure!(changed == penstock::kafka::admin::GroupChange::Done, "somebody is in {group}");
    Ok(())
}

/// Upstream and downstream offsets of a topic of syncs, by its keys and in order.
async fn syncs(kafka: &Kafka, topic: &str) -> Result<BTreeMap<Vec<u8>, Vec<(i64, i64)>>> {
    ensure!(kafka.has_topic(topic).await?, "no topic {topic} yet");
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for message in kafka.read(topic).await? {
        ensure!(message.partition == 0 && message.headers.is_empty(), "{message:?}");
        let value = message.value.context("a sync has a value")?;
        ensure!(value.len() == 16, "a sync is two numbers: {value:?}");
        let (upstream, downstream) = value.split_at(8);
        let number = |bytes: &[u8]| i64::from_be_bytes(bytes.try_into().expect("eight bytes"));
        found.entry(message.key.unwrap_or_default()).or_default().push((number(upstream), number(downstream)));
    }
    Ok(found)
}

pub(super) async fn create_checkpoints(
    connect: &Connect,
    kafka: &Kafka,
    name: &str,
    (alias, target): (&str, &str),
    own: &[(&str, &str)],
) -> Result<()> {
    let mut config = between(kafka, kafka, alias, target);
    config.extend(
        [
            ("connector.class", CHECKPOINTS),
            ("tasks.max", "2"),
            ("emit.checkpoints.interval.seconds", "1"),
            ("sync.group.offsets.enabled", "true"),
            ("sync.group.offsets.interval.seconds", "1"),
            ("refresh.groups.interval.seconds", "1"),
        ]
        .map(pair),
    );
    config.extend(own.iter().copied().map(pair));
    connect.create(name, &config).await.map(drop)
}

/// Both sources write the same syncs of the same records; and by each one's syncs the other's checkpoints are right.
#[tokio::test(flavor = "multi_thread")]
async fn syncs_of_each_are_read_by_the_other() -> Result<()> {
    const NUMBERS: usize = 350;
    let (kafka, workers) = (Kafka::shared().await?, Pair::get().await?);
    let copied = Copied::new(kafka, 2).await?;
    copied.produce(kafka, 0..NUMBERS).await?;
    let id = rand::random_range(1_000..9_999);
    let sides = [(format!("j{id}"), format!("y{id}")), (format!("o{id}"), format!("z{id}"))];
    let mut found = Vec::new();
    for (connect, (alias, target)) in workers.both().into_iter().zip(&sides) {
        let name = unique("syncs");
        let mut config = copied.config(kafka, kafka, &[("source.cluster.alias", alias), ("target.cluster.alias", target)]);
        config.insert("offset.lag.max".into(), "100".into());
        connect.create(&name, &config).await?;
        let syncs = eventually("the last sync", SOON, async || {
            let found = syncs(kafka, &syncs_topic(target)).await?;
            let is_last = |syncs: &Vec<(i64, i64)>| syncs.last() == Some(&(NUMBERS as i64 - 1, NUMBERS as i64 - 1));
            ensure!(found.len() == 2 && found.values().all(is_last), "found {found:?}");
            Ok(Some(found))
        });
        found.push(syncs.await?);
        connect.delete(&format!("/connectors/{name}")).await?.ok()?;
    }
    ensure!(found[0].keys().eq(found[1].keys()), "Java {found:?}");
    for syncs in found.iter().flat_map(BTreeMap::values) {
        // What is due at once is there, whatever was written between because offsets were stored.
        for due in [0, 101, 202, 303] {
            ensure!(syncs.contains(&(due, due)), "{due} is missing in {syncs:?}");
        }
        ensure!(syncs.is_sorted() && syncs.iter().all(|(upstream, downstream)| upstream == downstream), "{syncs:?}");
    }
    // Each other's.
    let (group, admin) = (unique("reader"), admin(kafka)?);
    let offsets = [0, 1, 50, 101, 102, 250, 349, 350];
    for (n, offset) in offsets.iter().enumerate() {
        commit(&admin, &format!("{group}-{n}"), &copied.topic, &[(0, *offset), (1, *offset)]).await?;
    }
    for (connect, (alias, target)) in workers.both().into_iter().zip(sides.iter().rev()) {
        let name = unique("checkpoints");
        let pattern = format!("{group}-.*");
        let own = [("topics", copied.topic.as_str()), ("groups", pattern.as_str())];
        create_checkpoints(connect, kafka, &name, (alias, target), &own).await?;
        let copy = format!("{alias}.{}", copied.topic);
        wait_until(&format!("groups to be moved on in {copy}"), SOON, async || {
            for (n, offset) in offsets.iter().enumerate() {
                let at = kafka.committed(&format!("{group}-{n}"), &copy).await?;
                ensure!(at.len() == 2, "{group}-{n} is at {at:?}");
                for at in at.into_values() {
                    let lag = offset - at;
                    // Of the syncs between some are not kept.
                    ensure!((0..=250).contains(&lag), "{offset} became {at}");
                    // Exactly, at both ends.
                    ensure!(lag == 0 || ![0, 349, 350].contains(offset), "{offset} became {at}");
                }
            }
            Ok(true)
        })
        .await?;
        connect.delete(&format!("/connectors/{name}")).await?.ok()?;
    }
    Ok(())
}
