//! Where offsets of the source are at the target: MirrorMaker's `OffsetSyncStore`, rule by rule.
//!
//! Of each partition 64 syncs are kept, closer together towards the end: a group near the end, as most are, is translated exactly or
//! nearly so, one far behind coarsely, and none ever ahead of where it is. With `s[0]` the newest sync and `up` its offset at the
//! source, as in Java:
//!
//! - B: for each i < j, `s[i].up <= s[j].up + 2^j - 2^i`, or they are one and the same: none is too old for its place;
//! - C: for each i < j, `s[i].up >= s[j].up + 2^max(i-2, 0)`, or they are one and the same: none is kept that tells little more than
//!   the one before it.

use penstock_api::TopicPartition;
use std::collections::HashMap;

use crate::wire::OffsetSync;

const KEPT: usize = 64;

/// Offset syncs as far as they were read.
#[derive(Default)]
pub(crate) struct SyncStore {
    partitions: HashMap<TopicPartition, [Sync; KEPT]>,
    /// What the topic held at first was read.
    has_read_to_end: bool,
    next_id: u64,
}

#[derive(Clone, Copy)]
struct Sync {
    /// Java tells syncs apart by their place in memory.
    id: u64,
    upstream: i64,
    downstream: i64,
}

impl SyncStore {
    /// Takes in a sync; in the order of their topic.
    pub(crate) fn add(&mut self, sync: OffsetSync) {
        let new = Sync { id: self.next_id, upstream: sync.upstream, downstream: sync.downstream };
        self.next_id += 1;
        let syncs = self.partitions.entry(sync.partition).or_insert([new; KEPT]);
        // A topic that begins anew makes all older ones wrong.
        if new.upstream < syncs[0].upstream {
            *syncs = [new; KEPT];
        } else if syncs[0].id != new.id {
            update(syncs, new);
        }
    }

    /// The topic was read to its end.
    pub(crate) fn read_to_end(&mut self) {
        self.has_read_to_end = true;
    }

    /// Where the target keeps what the source has at that offset, or something before it; `None` when that cannot be said.
    pub(crate) fn translate(&self, partition: &TopicPartition, upstream: i64) -> Option<i64> {
        if !self.has_read_to_end {
            return None;
        }
        let sync = self.partitions.get(partition)?.iter().find(|sync| sync.upstream <= upstream)?;
        // What lies behind the sync may have been copied or not: one step is all that is certain.
        Some(sync.downstream + i64::from(upstream != sync.upstream))
    }

    #[cfg(test)]
    fn kept(&self, partition: &TopicPartition) -> Vec<(i64, i64)> {
        let mut kept: Vec<_> = self.partitions[partition].to_vec();
        kept.dedup_by_key(|sync| sync.id);
        kept.into_iter().map(|sync| (sync.upstream, sync.downstream)).collect()
    }
}

/// Puts a newer sync first and moves others back as far as they are of use there.
fn update(syncs: &mut [Sync; KEPT], new: Sync) {
    let original = *syncs;
    let mut replacement = new;
    // Of those before, the next that may be used.
    let mut candidate = 0;
    syncs[0] = new;
    for current in 1..KEPT {
        let previous = current - 1;
        loop {
            let old = original[candidate];
            let is_recent = is_recent_enough(syncs[previous], old, previous, current);
            let is_apart = is_far_enough(syncs[previous], old, previous);
            let next = syncs.get(current + 1);
            let is_apart_from_next = next.is_none_or(|next| is_far_enough(old, *next, current));
            let is_repeated = original.get(candidate + 1).is_some_and(|next| next.id == old.id);
            let is_used = is_recent && is_apart && is_apart_from_next;
            if is_used {
                replacement = old;
            }
            let is_useless = is_repeated || !is_apart;
            if is_used || is_useless {
                candidate += 1;
            }
            if candidate >= current || !is_useless {
                break;
            }
        }
        if is_recent_enough(syncs[previous], syncs[current], previous, current) {
            return;
        }
        syncs[current] = replacement;
    }
}

/// B. Bounds that overflow, as in Java, hold for all.
fn is_recent_enough(at_i: Sync, at_j: Sync, i: usize, j: usize) -> bool {
    let bound = at_j.upstream.wrapping_add(1i64 << j).wrapping_sub(1i64 << i);
    at_i.id == at_j.id || bound < 0 || at_i.upstream <= bound
}

/// C.
fn is_far_enough(at_i: Sync, at_j: Sync, i: usize) -> bool {
    let bound = at_j.upstream.wrapping_add(1i64 << i.saturating_sub(2));
    at_i.id == at_j.id || (bound >= 0 && at_i.upstream >= bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn partition() -> TopicPartition {
        TopicPartition { topic: "t".into(), partition: 0 }
    }

    fn sync(upstream: i64, downstream: i64) -> OffsetSync {
        OffsetSync { partition: partition(), upstream, downstream }
    }

    fn store(syncs: impl IntoIterator<Item = (i64, i64)>) -> SyncStore {
        let mut store = SyncStore::default();
        store.read_to_end();
        syncs.into_iter().for_each(|(upstream, downstream)| store.add(sync(upstream, downstream)));
        store
    }

    #[test]
    fn a_group_is_never_put_ahead() {
        let store = store([(100, 10), (200, 50)]);
        let translated = |offset| store.translate(&partition(), offset);
        assert_eq!(translated(99), None);
        assert_eq!(translated(100), Some(10));
        assert_eq!(translated(101), Some(11));
        assert_eq!(translated(199), Some(11));
        assert_eq!(translated(200), Some(50));
        assert_eq!(translated(5_000), Some(51));
        assert_eq!(store.translate(&TopicPartition { topic: "t".into(), partition: 1 }, 100), None);
    }

    #[test]
    fn nothing_is_translated_before_all_was_read() {
        let mut store = SyncStore::default();
        store.add(sync(100, 10));
        store.add(sync(200, 50));
        assert_eq!(store.translate(&partition(), 200), None);
        store.read_to_end();
        assert_eq!(store.translate(&partition(), 200), Some(50));
        assert_eq!(store.translate(&partition(), 150), Some(11));
    }

    #[test]
    fn a_topic_that_begins_anew_is_begun_anew() {
        let store = store([(100, 10), (200, 50), (5, 60)]);
        assert_eq!(store.kept(&partition()), [(5, 60)]);
        assert_eq!(store.translate(&partition(), 4), None);
        assert_eq!(store.translate(&partition(), 1_000), Some(61));
    }

    #[test]
    fn syncs_are_kept_closer_together_towards_the_end() {
        let kept = store((0..1000).map(|n| (n * 100, n * 100))).kept(&partition());
        assert!(kept.len() > 8 && kept.len() < 40, "{kept:?}");
        assert_eq!((kept[0], kept[kept.len() - 1]), ((99_900, 99_900), (0, 0)));
        let steps: Vec<i64> = kept.windows(2).map(|pair| pair[0].0 - pair[1].0).collect();
        assert!(steps[0] <= 400 && steps[steps.len() - 1] >= 10_000, "{steps:?}");
    }

    proptest! {
        /// Whatever comes: both invariants hold, what is translated was a sync, and never lies ahead.
        #[test]
        fn invariants_hold(steps in prop::collection::vec((1i64..5_000, 0i64..3), 1..200), asked in 0i64..500_000) {
            let (mut upstream, mut downstream) = (0, 0);
            let mut store = SyncStore::default();
            store.read_to_end();
            for (step, lost) in steps {
                upstream += step;
                downstream += (step - lost).max(1);
                store.add(sync(upstream, downstream));
            }
            let syncs = store.partitions[&partition()];
            for i in 0..KEPT {
                for j in i + 1..KEPT {
                    prop_assert!(is_recent_enough(syncs[i], syncs[j], i, j), "B {i} {j}");
                    prop_assert!(is_far_enough(syncs[i], syncs[j], i), "C {i} {j}");
                }
            }
            if let Some(at) = store.translate(&partition(), asked) {
                prop_assert!(syncs.iter().any(|sync| sync.upstream <= asked && at - sync.downstream <= 1));
            }
        }
    }
}
