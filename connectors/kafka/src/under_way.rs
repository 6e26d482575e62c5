//! The timestamps of records that are on their way: how long each took is known only when it is delivered.

use penstock_api::Spread;
use std::collections::VecDeque;

/// So many records are looked at for one; further back it is not found.
const LOOK_MAX: usize = 1_000;

/// By the partitions' places in the task's list. Bounded by what the worker lets be under way.
pub(crate) struct UnderWay(Vec<VecDeque<(i64, i64)>>);

impl UnderWay {
    pub(crate) fn new(partitions: usize) -> Self {
        Self(vec![VecDeque::new(); partitions])
    }

    /// A record was read.
    pub(crate) fn begin(&mut self, partition: usize, offset: i64, timestamp: i64) {
        self.0[partition].push_back((offset, timestamp));
    }

    /// The timestamp of a record that was delivered. They mostly come in order; one that is overtaken is not found any more.
    pub(crate) fn end(&mut self, partition: usize, offset: i64) -> Option<i64> {
        let under_way = &mut self.0[partition];
        if let Some((_, timestamp)) = under_way.pop_front_if(|(known, _)| *known == offset) {
            return Some(timestamp);
        }
        let at = under_way.iter().take(LOOK_MAX).position(|(known, _)| *known == offset)?;
        under_way.drain(..=at).next_back().map(|(_, timestamp)| timestamp)
    }
}

/// Values of one partition after the other, told when the partition changes.
#[derive(Default)]
pub(crate) struct Counted(Option<(usize, Spread)>);

impl Counted {
    /// The values of a partition; those of another one before are told.
    pub(crate) fn of(&mut self, partition: usize, tell: impl FnOnce(usize, Spread)) -> &mut Spread {
        if self.0.as_ref().is_some_and(|(known, _)| *known != partition) {
            self.take(tell);
        }
        &mut self.0.get_or_insert((partition, Spread::NONE)).1
    }

    /// Tells the last.
    pub(crate) fn end(mut self, tell: impl FnOnce(usize, Spread)) {
        self.take(tell);
    }

    fn take(&mut self, tell: impl FnOnce(usize, Spread)) {
        if let Some((partition, spread)) = self.0.take() {
            tell(partition, spread);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_overtaken_is_forgotten() {
        let mut under_way = UnderWay::new(1);
        for offset in 0..5 {
            under_way.begin(0, offset, offset * 10);
        }
        assert_eq!(
            (under_way.end(0, 0), under_way.end(0, 3), under_way.end(0, 2), under_way.end(0, 4)),
            (Some(0), Some(30), None, Some(40))
        );
        // A topic that was made anew.
        under_way.begin(0, 7, 70);
        under_way.begin(0, 0, 1);
        assert_eq!(under_way.end(0, 0), Some(1));
    }

    #[test]
    fn values_are_told_by_partition() {
        let mut told = Vec::new();
        let mut counted = Counted::default();
        for (partition, value) in [(0, 1.0), (0, 2.0), (1, 3.0)] {
            counted.of(partition, |partition, spread| told.push((partition, spread.count))).add(value);
        }
        counted.end(|partition, spread| told.push((partition, spread.count)));
        assert_eq!(told, [(0, 2), (1, 1)]);
    }
}
