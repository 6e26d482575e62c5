//! What groups are translated to: by the same syncs ours writes each checkpoint that Java writes.
//!
//! Both translate whenever it is time, by the syncs that they have read by then. For a group that stands between syncs still to come the
//! result hangs on that moment: a sync right before the group may be there for a while and be thinned out later, and whoever looked meanwhile
//! has said more. So no group stands between syncs that come while tasks run: it stands before them, where more syncs can only make a translation
//! coarser, which is no news, or behind all of them, where the newest counts in the end. While tasks are stopped anything may come.

use anyhow::{Context, Result, ensure};
use penstock::kafka::Admin;
use penstock_tests::kafka::NewRecord;
use penstock_tests::{Connect, Kafka, eventually, unique, wait_until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::offsets::{admin, commit, create_checkpoints, syncs_topic};
use super::{Pair, SOON, resume, stop};

const PARTITIONS: i32 = 12;
/// Here all groups stand behind the newest sync and go back by one with each commit, which is always news: that tells what a side has seen.
const MARK: i32 = 0;
/// No sync is about this one.
const UNKNOWN: i32 = PARTITIONS - 1;
const GROUPS: usize = 8;
/// Behind all syncs.
const FAR: i64 = 1_000_000;

/// Where groups stand among syncs.
#[derive(Clone, Copy)]
enum Stand {
    Anywhere,
    /// Up to the newest sync, or behind all that are to come.
    NotBetween,
}

/// The newest checkpoint of each group and partition.
type Checkpoints = BTreeMap<(String, i32), Vec<u8>>;

/// Groups, syncs, and what both sides make of them, Java's first.
struct Translation {
    kafka: &'static Kafka,
    admin: Admin,
    chance: StdRng,
    topic: String,
    /// The target's alias.
    target: String,
    groups: Vec<String>,
    aliases: [String; 2],
    /// Of each partition's newest sync.
    newest: Vec<(i64, i64)>,
    /// Where each group stands.
    standing: BTreeMap<(String, i32), i64>,
    commits: i64,
}

impl Translation {
    async fn new(seed: u64) -> Result<Self> {
        let (kafka, target) = (Kafka::shared().await?, unique("east"));
        let (topic, group) = (unique("followed"), unique("group"));
        let aliases = ["java", "ours"].map(unique);
        kafka.create_topic(&topic, PARTITIONS).await?;
        for alias in &aliases {
            kafka.create_topic(&format!("{alias}.{topic}"), PARTITIONS).await?;
        }
        kafka.create_topic_with(&syncs_topic(&target), 1, &[("cleanup.policy", "compact")]).await?;
        Ok(Self {
            kafka,
            admin: admin(kafka)?,
            chance: StdRng::seed_from_u64(seed),
            topic,
            target,
            groups: (0..GROUPS).map(|n| format!("{group}-{n}")).collect(),
            aliases,
            newest: vec![(0, 0); usize::try_from(PARTITIONS)?],
            standing: BTreeMap::new(),
            commits: 0,
        })
    }

    /// More syncs of all partitions but one, those of the mark's last.
    async fn sync(&mut self, steps: Range<i64>) -> Result<()> {
        let mut records = Vec::new();
        for _ in 0..40 {
            for partition in (0..UNKNOWN).rev() {
                let (upstream, downstream) = &mut self.newest[partition as usize];
                *upstream += self.chance.random_range(steps.clone());
                *downstream += self.chance.random_range(1..100);
                records.push(sync(&self.topic, partition, *upstream, *downstream));
            }
        }
        self.kafka.produce(&syncs_topic(&self.target), records).await
    }

    /// A topic at the source is deleted and made again.
    fn begin_anew(&mut self, partition: i32) {
        self.newest[partition as usize].0 = 0;
    }

    /// Every group goes on or back, in all partitions.
    async fn commit(&mut self, stand: Stand) -> Result<()> {
        self.commits += 1;
        for group in self.groups.clone() {
            let offsets: Vec<_> = (0..PARTITIONS).map(|partition| (partition, self.offset(partition, stand))).collect();
            self.commit_one(group, &offsets).await?;
        }
        Ok(())
    }

    /// Every group goes back by one where that is always news, and stays elsewhere.
    async fn commit_mark(&mut self) -> Result<()> {
        self.commits += 1;
        for group in self.groups.clone() {
            self.commit_one(group, &[(MARK, self.mark())]).await?;
        }
        Ok(())
    }

    async fn commit_one(&mut self, group: String, offsets: &[(i32, i64)]) -> Result<()> {
        commit(&self.admin, &group, &self.topic, offsets).await?;
        self.standing.extend(offsets.iter().map(|(partition, offset)| ((group.clone(), *partition), *offset)));
        Ok(())
    }

    fn offset(&mut self, partition: i32, stand: Stand) -> i64 {
        let newest = self.newest[partition as usize].0;
        match stand {
            _ if partition == MARK => self.mark(),
            Stand::Anywhere => self.chance.random_range(0..newest + 2_000),
            Stand::NotBetween if self.chance.random_ratio(1, 4) => FAR + self.chance.random_range(0..1_000),
            Stand::NotBetween => self.chance.random_range(0..=newest),
        }
    }

    fn mark(&self) -> i64 {
        FAR - self.commits
    }

    /// Starts to translate under an alias of the source.
    async fn start<'p>(&self, connect: &'p Connect, alias: &str, own: &[(&str, &str)]) -> Result<Side<'p>> {
        let (name, groups) = (unique("checkpoints"), self.groups.join(","));
        let own = [&[("topics", self.topic.as_str()), ("groups", &groups)], own].concat();
        create_checkpoints(connect, self.kafka, &name, (alias, &self.target), &own).await?;
        Ok(Side { connect, name })
    }

    async fn read(&self, alias: &str) -> Result<Checkpoints> {
        let topic = format!("{alias}.checkpoints.internal");
        ensure!(self.kafka.has_topic(&topic).await?, "no topic {topic} yet");
        let mut newest = BTreeMap::new();
        for message in self.kafka.read(&topic).await? {
            ensure!(message.partition == 0 && message.headers.is_empty() && message.timestamp_ms.is_some(), "{message:?}");
            let key = message.key.context("a checkpoint has a key")?;
            let (group, rest) = split_text(&key)?;
            let (topic, partition) = split_text(rest)?;
            ensure!(topic == format!("{alias}.{}", self.topic), "a checkpoint of {topic}");
            newest.insert((group, i32::from_be_bytes(partition.try_into()?)), message.value.context("a checkpoint has a value")?);
        }
        Ok(newest)
    }

    async fn count(&self) -> Result<[usize; 2]> {
        let count =
            async |alias: &String| Ok::<_, anyhow::Error>(self.kafka.read(&format!("{alias}.checkpoints.internal")).await?.len());
        Ok([count(&self.aliases[0]).await?, count(&self.aliases[1]).await?])
    }

    /// A side has seen all commits and read all syncs: the mark's last is the last of them.
    fn check_seen(&self, checkpoints: &Checkpoints) -> Result<()> {
        for (key, offset) in
            self.standing.iter().filter(|((_, partition), offset)| *partition != UNKNOWN && **offset > FAR - 1_000)
        {
            let checkpoint = checkpoints.get(key).with_context(|| format!("nothing of {key:?}"))?;
            let (upstream, downstream) = offsets_of(checkpoint)?;
            let expected = self.newest[key.1 as usize].1 + 1;
            ensure!(downstream == expected, "{key:?} is at {downstream}, not yet at {expected}");
            ensure!(key.1 != MARK || upstream == *offset, "the commit of {key:?} at {offset} is not seen yet");
        }
        Ok(())
    }

    /// Waits until both have seen everything and say the same, and until groups at the target are where that says, or further: they are never
    /// moved back, so a stage has to arrive there before the next.
    async fn agree(&self, stage: &str) -> Result<()> {
        let what = format!("the same checkpoints: {stage}");
        let checkpoints = eventually(&what, SOON, async || self.same_checkpoints().await.map(Some)).await?;
        let what = format!("groups to be moved on alike: {stage}");
        wait_until(&what, SOON, async || self.check_moved(&checkpoints).await.map(|()| true)).await
    }

    async fn same_checkpoints(&self) -> Result<Checkpoints> {
        let (java, ours) = (self.read(&self.aliases[0]).await?, self.read(&self.aliases[1]).await?);
        self.check_seen(&java).context("Java")?;
        self.check_seen(&ours).context("ours")?;
        ensure!(java.len() > GROUPS * 6 && !java.keys().any(|(_, partition)| *partition == UNKNOWN), "Java {java:?}");
        let shown = |checkpoints: &Checkpoints, key| checkpoints.get(key).map(|value| offsets_of(value));
        let keys: BTreeSet<_> = java.keys().chain(ours.keys()).filter(|key| java.get(*key) != ours.get(*key)).collect();
        let differ: Vec<_> = keys.into_iter().map(|key| (key, shown(&java, key), shown(&ours, key))).collect();
        ensure!(differ.is_empty(), "Java's and ours, {} of {}: {differ:?}", differ.len(), java.len());
        Ok(java)
    }

    async fn check_moved(&self, checkpoints: &Checkpoints) -> Result<()> {
        let [java, ours] = self.at_target().await?;
        for (key, value) in checkpoints {
            let downstream = offsets_of(value)?.1;
            ensure!(java.get(key) >= Some(&downstream), "Java's {key:?} is at {:?} and not at {downstream}", java.get(key));
        }
        ensure!(java == ours, "Java {java:?}\nours {ours:?}");
        Ok(())
    }

    async fn at_target(&self) -> Result<[BTreeMap<(String, i32), i64>; 2]> {
        let copies = self.aliases.each_ref().map(|alias| format!("{alias}.{}", self.topic));
        let mut found = [BTreeMap::new(), BTreeMap::new()];
        for group in &self.groups {
            for (partition, offset) in self.admin.group_offsets(group).await? {
                for (_, found) in copies.iter().zip(&mut found).filter(|(copy, _)| ***copy == *partition.topic) {
                    found.insert((group.clone(), partition.partition), offset);
                }
            }
        }
        Ok(found)
    }
}

fn sync(topic: &str, partition: i32, upstream: i64, downstream: i64) -> NewRecord {
    let length = u16::try_from(topic.len()).expect("a short name").to_be_bytes();
    let key = [&length[..], topic.as_bytes(), &partition.to_be_bytes()].concat();
    let value = [upstream.to_be_bytes(), downstream.to_be_bytes()].concat();
    NewRecord { key: Some(key), value: Some(value), partition: Some(0), ..NewRecord::default() }
}

/// A text as Kafka's protocol types are written, and what is behind it.
fn split_text(bytes: &[u8]) -> Result<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk().context("a length")?;
    let (text, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into()).context("a text")?;
    Ok((String::from_utf8(text.to_vec())?, rest))
}

/// Upstream and downstream, of a checkpoint's value.
fn offsets_of(value: &[u8]) -> Result<(i64, i64)> {
    let number = |at: Range<usize>| Ok::<_, anyhow::Error>(i64::from_be_bytes(value.get(at).context("a number")?.try_into()?));
    Ok((number(2..10)?, number(10..18)?))
}

/// A connector on one of the workers.
struct Side<'p> {
    connect: &'p Connect,
    name: String,
}

impl Side<'_> {
    async fn stop(&self) -> Result<()> {
        stop(self.connect, &self.name).await.map(drop)
    }

    async fn resume(&self) -> Result<()> {
        resume(self.connect, &self.name).await
    }

    /// What it has to say is written before.
    async fn end(self) -> Result<()> {
        self.stop().await?;
        self.connect.delete(&format!("/connectors/{}", self.name)).await?.ok().map(drop)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_translated_as_java_does() -> Result<()> {
    let seed = std::env::var("PENSTOCK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_128);
    println!("translation: PENSTOCK_SEED={seed}");
    let mut of = Translation::new(seed).await?;
    let [java, ours] = Pair::get().await?.both();

    of.sync(1..500).await?;
    of.commit(Stand::Anywhere).await?;
    let sides = [of.start(java, &of.aliases[0], &[]).await?, of.start(ours, &of.aliases[1], &[]).await?];
    of.agree("as it was at the start").await?;
    of.commit(Stand::NotBetween).await?;
    of.agree("groups went on and back").await?;
    of.sync(1..50).await?;
    of.agree("more syncs came").await?;
    of.commit(Stand::Anywhere).await?;
    of.agree("groups went on and back again").await?;

    for side in &sides {
        side.stop().await?;
    }
    of.begin_anew(3);
    of.sync(1..20).await?;
    of.commit(Stand::Anywhere).await?;
    for side in &sides {
        side.resume().await?;
    }
    of.agree("all that came while the tasks were away").await?;

    // Each goes on where the other was, and has nothing to say but what is new.
    for side in sides {
        side.end().await?;
    }
    let before = of.count().await?;
    of.commit_mark().await?;
    let sides = [of.start(java, &of.aliases[1], &[]).await?, of.start(ours, &of.aliases[0], &[]).await?];
    of.agree("each in the other's place").await?;
    for side in sides {
        side.end().await?;
    }
    let written = of.count().await?;
    ensure!(written == before.map(|count| count + GROUPS), "{before:?} checkpoints of each other became {written:?}");
    Ok(())
}

/// Syncs that came while the task ran were never read when there was no time between checkpoints.
#[tokio::test(flavor = "multi_thread")]
async fn syncs_are_read_without_a_pause_between_checkpoints() -> Result<()> {
    let mut of = Translation::new(1).await?;
    let [_, ours] = Pair::get().await?.both();
    of.sync(1..500).await?;
    of.commit_mark().await?;
    let alias = of.aliases[1].clone();
    let side = of.start(ours, &alias, &[("emit.checkpoints.interval.seconds", "0")]).await?;
    for stage in ["syncs of before", "syncs of now"] {
        wait_until(stage, SOON, async || of.check_seen(&of.read(&alias).await?).map(|()| true)).await?;
        of.sync(1..50).await?;
    }
    side.end().await
}
