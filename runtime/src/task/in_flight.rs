//! Sent but not acknowledged, and the head of each source partition that may be stored.

use penstock_api::{Delivered, SourceMap, SourceOffset, SourcePosition};
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::store::offsets::canonical;

/// Room that is kept for those that are delivered next.
const DELIVERED_KEPT: usize = 20_000;

/// Where Kafka keeps a record: topic, partition, offset.
pub(super) type Kept = (Arc<str>, i32, i64);

/// Records of a source on their way to Kafka, by the numbers that they get here.
///
/// A partition's head is the offset of its newest record of which Kafka has acknowledged all that it became, and all of every record
/// before it in that partition. Partitions do not wait for each other.
#[derive(Default)]
pub(super) struct InFlight {
    /// The number of the first slot.
    first: usize,
    slots: VecDeque<Slot>,
    partitions: Slab<Partition>,
    /// By the address of the map that stands for the partition here, and by its text.
    by_address: HashMap<usize, usize>,
    by_text: HashMap<String, usize>,
    /// The partition that was looked up last, by its address: records of one mostly come together.
    last: Option<(usize, usize)>,
    /// Whether anybody wants to know of deliveries.
    keeps_deliveries: bool,
    delivered: Vec<Delivered>,
}

/// A record under way.
struct Slot {
    /// How many of those that it became are not acknowledged.
    left: u32,
    partition: Option<usize>,
    /// Until it is its partition's head.
    offset: Option<SourceOffset>,
    /// For those who want to know of deliveries: where Kafka keeps the last of them.
    kept: Option<Kept>,
}

struct Partition {
    map: Arc<SourceMap>,
    /// The numbers of its records, in order.
    waiting: VecDeque<usize>,
    /// Acknowledged and not stored yet.
    head: Option<SourceOffset>,
}

/// An offset to store.
pub(super) struct Head {
    pub(super) partition: Arc<SourceMap>,
    pub(super) offset: SourceOffset,
}

impl InFlight {
    pub(super) fn new(keeps_deliveries: bool) -> Self {
        Self { keeps_deliveries, ..Self::default() }
    }

    /// Which the next record gets; those after it follow.
    pub(super) fn next_number(&self) -> usize {
        self.first + self.slots.len()
    }

    /// Takes in a record that became so many; with none it is done as soon as those before it are. Answers its number.
    pub(super) fn add(&mut self, position: Option<SourcePosition>, became: u32) -> usize {
        let number = self.next_number();
        let mut slot = Slot { left: became, partition: None, offset: None, kept: None };
        if let Some(SourcePosition { partition, offset }) = position {
            let id = self.partition(&partition);
            self.partitions[id].waiting.push_back(number);
            (slot.partition, slot.offset) = (Some(id), Some(offset));
        }
        self.slots.push_back(slot);
        if became == 0 {
            self.is_done(number);
        }
        number
    }

    /// One of those that the record became is acknowledged, or needs no sending any more.
    pub(super) fn acknowledged(&mut self, number: usize, kept: Option<Kept>) {
        let keeps = self.keeps_deliveries;
        let Some(slot) = self.slot(number) else { return };
        slot.left = slot.left.saturating_sub(1);
        if keeps && kept.is_some() {
            slot.kept = kept;
        }
        if slot.left == 0 {
            self.is_done(number);
        }
    }

    /// How many records are under way, those behind the first that is not done included.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Where a record that is not done was read.
    pub(super) fn position(&self, number: usize) -> Option<Head> {
        let slot = self.slots.get(number.checked_sub(self.first)?)?;
        let partition = self.partitions.get(slot.partition?)?;
        Some(Head { partition: partition.map.clone(), offset: slot.offset.clone()? })
    }

    /// The heads that have moved since they were taken last.
    pub(super) fn take_heads(&mut self) -> Vec<Head> {
        let moved = self
            .partitions
            .iter_mut()
            .filter_map(|(_, partition)| partition.head.take().map(|offset| Head { partition: partition.map.clone(), offset }));
        moved.collect()
    }

    /// These could not be stored, and are to be taken again unless their partitions have moved on.
    pub(super) fn give_back(&mut self, heads: Vec<Head>) {
        for head in heads {
            let id = self.partition(&head.partition);
            self.partitions[id].head.get_or_insert(head.offset);
        }
    }

    /// Forgets partitions of which nothing is under way or to be stored: sources may have any number of them in their time.
    pub(super) fn forget_idle(&mut self) {
        let idle = |partition: &Partition| partition.waiting.is_empty() && partition.head.is_none();
        self.partitions.retain(|_, partition| !idle(partition));
        let known = &self.partitions;
        self.by_address.retain(|_, id| known.contains(*id));
        self.by_text.retain(|_, id| known.contains(*id));
        self.last = None;
    }

    /// What was delivered and is yet to be told.
    pub(super) fn delivered(&self) -> &[Delivered] {
        &self.delivered
    }

    pub(super) fn delivered_are_told(&mut self) {
        self.delivered.clear();
        self.delivered.shrink_to(DELIVERED_KEPT);
    }

    pub(super) fn has_delivered(&self) -> bool {
        !self.delivered.is_empty()
    }

    fn slot(&mut self, number: usize) -> Option<&mut Slot> {
        self.slots.get_mut(number.checked_sub(self.first)?).filter(|slot| slot.left > 0)
    }

    /// All that a record became is acknowledged.
    fn is_done(&mut self, number: usize) {
        let slot = &mut self.slots[number - self.first];
        let partition = slot.partition;
        if self.keeps_deliveries {
            let position = match (partition, &slot.offset) {
                (Some(id), Some(offset)) => {
                    Some(SourcePosition { partition: self.partitions[id].map.clone(), offset: offset.clone() })
                }
                _ => None,
            };
            self.delivered.push(Delivered { position, kept: slot.kept.take() });
        }
        if let Some(id) = partition {
            self.advance(id);
        }
        // What is done is also its partition's head, or was: whatever waited before it stands before it here, too.
        while self.slots.pop_front_if(|slot| slot.left == 0).is_some() {
            self.first += 1;
        }
    }

    fn advance(&mut self, id: usize) {
        let (first, slots) = (self.first, &mut self.slots);
        let partition = &mut self.partitions[id];
        while let Some(number) = partition.waiting.pop_front_if(|number| slots[*number - first].left == 0) {
            partition.head = slots[number - first].offset.take();
        }
    }

    /// The partition of that map; most come with one and the same map for all their records.
    fn partition(&mut self, map: &Arc<SourceMap>) -> usize {
        let address = Arc::as_ptr(map) as usize;
        if let Some((_, id)) = self.last.filter(|(last, _)| *last == address) {
            return id;
        }
        if let Some(&id) = self.by_address.get(&address) {
            self.last = Some((address, id));
            return id;
        }
        let text = canonical(map);
        if let Some(id) = self.by_text.get(&text) {
            return *id;
        }
        // The map is kept as long as its address is known, so that no other gets the same.
        let id = self.partitions.insert(Partition { map: map.clone(), waiting: VecDeque::new(), head: None });
        self.by_address.insert(address, id);
        self.by_text.insert(text, id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(name: &str) -> Arc<SourceMap> {
        Arc::new([("file".to_owned(), name.into())].into_iter().collect())
    }

    fn at(partition: &Arc<SourceMap>, offset: i64) -> Option<SourcePosition> {
        Some(SourcePosition { partition: partition.clone(), offset: SourceOffset::Count("n".into(), offset) })
    }

    fn heads(flight: &mut InFlight) -> Vec<(String, i64)> {
        let mut heads: Vec<_> = flight
            .take_heads()
            .into_iter()
            .map(|head| match head.offset {
                SourceOffset::Count(_, n) => (head.partition["file"].as_str().unwrap_or_default().to_owned(), n),
                SourceOffset::Map(_) => panic!("tests count"),
            })
            .collect();
        heads.sort();
        heads
    }

    #[test]
    fn a_head_waits_for_all_before_it_in_its_partition_and_for_no_other() {
        let (a, b) = (map("a"), map("b"));
        let mut flight = InFlight::new(false);
        let numbers: Vec<_> = [(&a, 1), (&b, 1), (&a, 2), (&b, 2), (&a, 3)].map(|(p, n)| flight.add(at(p, n), 1)).into();
        for number in [numbers[2], numbers[1], numbers[3]] {
            flight.acknowledged(number, None);
        }
        assert_eq!(heads(&mut flight), [("b".to_owned(), 2)]);
        flight.acknowledged(numbers[0], None);
        assert_eq!(heads(&mut flight), [("a".to_owned(), 2)]);
        assert_eq!((heads(&mut flight), flight.len()), (Vec::new(), 1));
        flight.acknowledged(numbers[4], None);
        assert_eq!((heads(&mut flight), flight.is_empty()), (vec![("a".to_owned(), 3)], true));
    }

    #[test]
    fn a_record_is_done_when_all_that_it_became_is() {
        let a = map("a");
        let mut flight = InFlight::new(true);
        let two = flight.add(at(&a, 1), 2);
        let none = flight.add(at(&a, 2), 0);
        flight.acknowledged(two, Some(("t".into(), 0, 5)));
        assert!(heads(&mut flight).is_empty() && flight.position(none).is_some());
        flight.acknowledged(two, Some(("t".into(), 0, 6)));
        assert_eq!(heads(&mut flight), [("a".to_owned(), 2)]);
        let delivered: Vec<_> = flight.delivered().iter().map(|d| d.kept.as_ref().map(|(_, _, offset)| *offset)).collect();
        assert_eq!(delivered, [None, Some(6)]);
        // What is acknowledged twice counts once.
        flight.acknowledged(two, None);
        assert!(flight.is_empty());
    }

    #[test]
    fn what_could_not_be_stored_comes_again_unless_there_is_something_newer() {
        let (a, b) = (map("a"), map("b"));
        let mut flight = InFlight::new(false);
        flight.add(at(&a, 1), 0);
        flight.add(at(&b, 1), 0);
        let taken = flight.take_heads();
        // Another map of the same text is the same partition.
        flight.add(at(&map("a"), 2), 0);
        flight.give_back(taken);
        assert_eq!(heads(&mut flight), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        flight.forget_idle();
        assert!(flight.partitions.is_empty() && flight.by_address.is_empty() && flight.by_text.is_empty());
    }

    proptest! {
        /// Whatever the order of acknowledgements: never ahead of a record that is not acknowledged, and at the end all of it.
        #[test]
        fn heads_are_never_ahead(records in prop::collection::vec((0usize..3, 0u32..3), 1..60), seed in any::<u64>()) {
            let maps = [map("a"), map("b"), map("c")];
            let mut flight = InFlight::new(false);
            let mut left = Vec::new();
            for (place, (partition, became)) in records.iter().enumerate() {
                let number = flight.add(at(&maps[*partition], place as i64), *became);
                left.extend((0..*became).map(|_| number));
            }
            let mut random = seed;
            let mut stored = std::collections::BTreeMap::new();
            loop {
                stored.extend(heads(&mut flight));
                for (place, (partition, _)) in records.iter().enumerate() {
                    let name = ["a", "b", "c"][*partition].to_owned();
                    let is_open = left.contains(&place);
                    prop_assert!(!is_open || stored.get(&name).is_none_or(|head| *head < place as i64));
                }
                if left.is_empty() { break }
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let next = left.swap_remove((random >> 33) as usize % left.len());
                flight.acknowledged(next, None);
            }
            prop_assert!(flight.is_empty());
            for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
                let last = records.iter().rposition(|(partition, _)| *partition == index).map(|place| place as i64);
                prop_assert_eq!(stored.get(name).copied(), last);
            }
        }
    }
}
