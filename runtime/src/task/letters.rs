//! Which records have their dead letter already, so that none gets a second one when it is read again.
//!
//! Remembered by the task for records that it reads again itself, and in a note beside the committed offset for whoever reads the
//! partition next.

use penstock_api::TopicPartition;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Offsets by partition, as stretches.
#[derive(Default)]
pub(super) struct Letters {
    partitions: BTreeMap<TopicPartition, Stretches>,
}

/// First offset and the one behind the last of each stretch; they neither overlap nor touch.
type Stretches = BTreeMap<i64, i64>;

/// What a note begins with; a Java client may have written others.
const MARK: &str = "penstock dead letters:";
/// The longest note: a broker takes 4,096 bytes (`offset.metadata.max.bytes`) unless it is told otherwise. Stretches that do not fit, the
/// highest ones, are left out: their letters may be written again.
const NOTE_BYTES_MAX: usize = 3_800;

impl Letters {
    pub(super) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    pub(super) fn contains(&self, topic: &str, partition: i32, offset: i64) -> bool {
        let of = self.partitions.iter().find(|(p, _)| p.partition == partition && *p.topic == *topic);
        of.and_then(|(_, stretches)| stretches.range(..=offset).next_back()).is_some_and(|(_, end)| offset < *end)
    }

    pub(super) fn insert(&mut self, partition: TopicPartition, offset: i64) {
        add(self.partitions.entry(partition).or_default(), offset, offset + 1);
    }

    /// Forgets what lies below an offset: it is not read again.
    pub(super) fn forget_below(&mut self, partition: &TopicPartition, offset: i64) {
        let Some(stretches) = self.partitions.get_mut(partition) else { return };
        let kept = stretches.split_off(&offset);
        let cut = stretches.last_key_value().filter(|(_, end)| **end > offset).map(|(_, end)| (offset, *end));
        *stretches = kept;
        stretches.extend(cut);
        if stretches.is_empty() {
            self.partitions.remove(partition);
        }
    }

    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        self.partitions.remove(partition);
    }

    /// The note of the stretches from an offset on: that offset, then each by its distance from the end of the one before and its
    /// length, if that is not 1: `penstock dead letters: 100 4 0x3 17` is 104, 105 to 107, 125. Empty when there are none.
    pub(super) fn note(&self, partition: &TopicPartition, offset: i64) -> String {
        let Some(stretches) = self.partitions.get(partition) else { return String::new() };
        let (mut note, mut from) = (String::new(), offset);
        let head = format!("{MARK} {offset}");
        for (start, end) in stretches.iter().filter(|(_, end)| **end > offset) {
            let start = *start.max(&offset);
            let before = note.len();
            let length = end - start;
            let _infallible = match length {
                1 => write!(note, " {}", start - from),
                length => write!(note, " {}x{length}", start - from),
            };
            if head.len() + note.len() > NOTE_BYTES_MAX {
                note.truncate(before);
                break;
            }
            from = *end;
        }
        if note.is_empty() { note } else { head + &note }
    }

    /// Takes in the note that was committed with an offset. One that is not ours says nothing.
    pub(super) fn read_note(&mut self, partition: &TopicPartition, note: &str) {
        let Some(mut list) = note.strip_prefix(MARK).map(str::split_ascii_whitespace) else { return };
        let Some(Ok(mut from)) = list.next().map(str::parse::<i64>) else { return };
        for stretch in list {
            let (distance, length) = stretch.split_once('x').unwrap_or((stretch, "1"));
            let (Ok(distance), Ok(length)) = (distance.parse::<u32>(), length.parse::<u32>()) else { return };
            let start = from + i64::from(distance);
            from = start + i64::from(length);
            add(self.partitions.entry(partition.clone()).or_default(), start, from);
        }
    }
}

/// Adds `start..end`, joining what it touches.
fn add(stretches: &mut Stretches, mut start: i64, mut end: i64) {
    if let Some((first, last)) = stretches.range(..=start).next_back().filter(|(_, last)| **last >= start) {
        start = *first;
        end = end.max(*last);
    }
    while let Some((first, last)) = stretches.range(start..=end).next().map(|(first, last)| (*first, *last)) {
        end = end.max(last);
        stretches.remove(&first);
    }
    stretches.insert(start, end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn partition() -> TopicPartition {
        TopicPartition { topic: "t".into(), partition: 1 }
    }

    fn of(offsets: &[i64]) -> Letters {
        let mut letters = Letters::default();
        offsets.iter().for_each(|offset| letters.insert(partition(), *offset));
        letters
    }

    fn all(letters: &Letters) -> Vec<i64> {
        letters.partitions.values().flatten().flat_map(|(start, end)| *start..*end).collect()
    }

    #[test]
    fn a_note_counts_from_its_offset() {
        let letters = of(&[14, 10, 15, 16, 33]);
        assert_eq!(letters.note(&partition(), 10), "penstock dead letters: 10 0 3x3 16");
        assert_eq!(letters.note(&partition(), 16), "penstock dead letters: 16 0 16");
        assert_eq!(letters.note(&partition(), 40), "");
        assert!(letters.contains("t", 1, 15) && !letters.contains("t", 1, 17) && !letters.contains("t", 0, 15));
    }

    #[test]
    fn notes_of_others_say_nothing() {
        let mut letters = Letters::default();
        for note in [
            "",
            "some client's",
            "penstock dead letters: x",
            "penstock dead letters: 0 -5",
            "penstock dead letters: 0 9999999999999",
        ] {
            letters.read_note(&partition(), note);
        }
        assert!(letters.is_empty());
    }

    #[test]
    fn a_note_is_never_longer_than_a_broker_takes() {
        let letters = of(&(0..10_000).map(|n| n * 1_000).collect::<Vec<_>>());
        let note = letters.note(&partition(), 0);
        assert!(note.len() <= NOTE_BYTES_MAX && note.len() > NOTE_BYTES_MAX - 10, "{}", note.len());
        let mut read = Letters::default();
        read.read_note(&partition(), &note);
        assert!(read.contains("t", 1, 500_000) && all(&read).len() > 900);
    }

    proptest! {
        #[test]
        fn what_is_noted_is_read(offsets in prop::collection::btree_set(0i64..300, 0..80), below in 0i64..320) {
            let mut letters = of(&offsets.iter().copied().collect::<Vec<_>>());
            let left: BTreeSet<i64> = offsets.range(below..).copied().collect();
            let mut read = Letters::default();
            read.read_note(&partition(), &letters.note(&partition(), below));
            prop_assert_eq!(all(&read), left.iter().copied().collect::<Vec<_>>());
            letters.forget_below(&partition(), below);
            prop_assert_eq!(all(&letters), all(&read));
            prop_assert!((0..320).all(|offset| letters.contains("t", 1, offset) == left.contains(&offset)));
        }
    }
}
