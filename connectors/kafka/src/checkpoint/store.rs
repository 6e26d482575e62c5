//! The newest checkpoint of each group and partition, and whether another one is worth being written.

use penstock_api::TopicPartition;
use penstock_kafka_clients::{Commits, Committed};
use std::collections::BTreeMap;

use crate::wire::Checkpoint;

#[derive(Default)]
pub(super) struct CheckpointStore {
    groups: BTreeMap<String, BTreeMap<TopicPartition, Checkpoint>>,
}

impl CheckpointStore {
    pub(super) fn add(&mut self, checkpoint: Checkpoint) {
        let group = self.groups.entry(checkpoint.group.clone()).or_default();
        group.insert(checkpoint.partition.clone(), checkpoint);
    }

    /// Whether it says more than the last one: its group has gone back at the source, or on at the target. Never back there alone: that is
    /// no more than a coarser translation.
    pub(super) fn is_news(&self, checkpoint: &Checkpoint) -> bool {
        let last = self.groups.get(&checkpoint.group).and_then(|group| group.get(&checkpoint.partition));
        last.is_none_or(|last| checkpoint.upstream < last.upstream || checkpoint.downstream > last.downstream)
    }

    /// All groups that have one, and where each would go on.
    pub(super) fn commits(&self) -> impl Iterator<Item = (&String, Commits)> {
        let commit = |checkpoint: &Checkpoint| Committed { offset: checkpoint.downstream, note: checkpoint.metadata.clone() };
        self.groups.iter().map(move |(group, checkpoints)| {
            (group, checkpoints.iter().map(|(partition, checkpoint)| (partition.clone(), commit(checkpoint))).collect())
        })
    }
}

/// Of what could be committed at the target what brings the group on: never back.
pub(super) fn ahead_of(wanted: Commits, there: &Commits) -> Commits {
    let is_ahead = |partition: &TopicPartition, commit: &Committed| {
        there.get(partition).is_none_or(|committed| committed.offset < commit.offset)
    };
    wanted.into_iter().filter(|(partition, commit)| is_ahead(partition, commit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(upstream: i64, downstream: i64) -> Checkpoint {
        let partition = TopicPartition { topic: "west.t".into(), partition: 0 };
        Checkpoint { group: "g".into(), partition, upstream, downstream, metadata: String::new() }
    }

    #[test]
    fn news_are_rewinds_of_the_group_and_progress_at_the_target() {
        let mut store = CheckpointStore::default();
        assert!(store.is_news(&checkpoint(100, 50)));
        store.add(checkpoint(100, 50));
        for (upstream, downstream, is_news) in
            [(100, 50, false), (110, 50, false), (110, 49, false), (110, 51, true), (99, 1, true)]
        {
            assert_eq!(store.is_news(&checkpoint(upstream, downstream)), is_news, "{upstream} {downstream}");
        }
    }

    #[test]
    fn groups_never_go_back() {
        let at = |offset: i64| Commits::from([(checkpoint(0, 0).partition, Committed::from(offset))]);
        assert_eq!(ahead_of(at(5), &at(5)), Commits::new());
        assert_eq!(ahead_of(at(4), &at(5)), Commits::new());
        assert_eq!(ahead_of(at(6), &at(5)), at(6));
        assert_eq!(ahead_of(at(6), &Commits::new()), at(6));
    }
}
